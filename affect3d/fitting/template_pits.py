"""Nostrils and other pits of a template, which no scanner sees into.

Where a template has the inside of nostrils and a scan has only a dent, a registration turns the inside out over the
cheek.  So what hardly any direction sees is left out of templates of scans.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.template import Template
from affect3d.render.raster import rasterize

__all__ = ["seen_share", "without_pits"]

_DIRECTIONS = 60
#: Side of the pictures, px; and how far behind what is seen a vertex may lie, as a share of the mesh's radius.
_SIZE, _BEHIND = 400, 0.01


def seen_share(mesh: Mesh) -> np.ndarray:
    """Share of all directions from which each vertex is seen, (V,) in [0, 1]; a half is an open plane.

    Sixty directions spread evenly over the sphere, a picture of 400 x 400 from each.
    """
    middle = mesh.vertices.mean(0)
    radius = max(float(np.linalg.norm(mesh.vertices - middle, axis=1).max()), 1e-9)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    scale = _SIZE / 2.05 / radius
    k = np.arange(_DIRECTIONS)
    up = 1 - 2 * (k + 0.5) / _DIRECTIONS
    around = np.sqrt(1 - up**2)
    golden = np.pi * (3 - np.sqrt(5))  # Fibonacci's sphere
    total = np.zeros(len(normals))
    for z in np.stack([around * np.cos(golden * k), around * np.sin(golden * k), up], axis=1):
        x = np.cross([0.0, 1, 0] if abs(z[1]) < 0.9 else [1.0, 0, 0], z)
        x /= np.linalg.norm(x)
        turned = (mesh.vertices - middle) @ np.stack([x, np.cross(z, x), z]).T * scale
        points = np.column_stack([_SIZE / 2 + turned[:, 0], _SIZE / 2 - turned[:, 1], 1e5 - turned[:, 2]])
        raster = rasterize(points, mesh.faces, _SIZE, _SIZE)
        # what lies beside the mesh shows nothing
        depth = np.where(raster.covered, raster.depth, -np.inf)
        at = np.clip(np.rint(points[:, :2]).astype(int), 1, _SIZE - 2)
        # the farthest of the pixels around, so that a slanted surface does not hide itself
        near = np.max(
            [depth[at[:, 1] + row, at[:, 0] + column] for row in (-1, 0, 1) for column in (-1, 0, 1)], axis=0
        )
        near = np.where(np.isfinite(near), near, np.inf)
        total += (points[:, 2] <= near + _BEHIND * radius * scale) & (normals @ z > 0.1)
    return total / _DIRECTIONS


def without_pits(template: Template, share: float = 0.1, least: int = 20) -> tuple[Template, int]:
    """A template without its pits.

    Parameters
    ----------
    template : Template
    share : float
        Vertices seen from a smaller share of directions lie in a pit.
    least : int
        Connected vertices that make a pit; smaller dents stay.

    Returns
    -------
    template : Template
        The same one if it has no pit; else without texture coordinates and colours, its vertices in their order; of a
        part of a model `model_vertices` tells which they are.  Landmarks in pits are missing.
    count : int
        Vertices left out.

    Raises
    ------
    ValueError
        If fewer than four landmarks lie outside pits.
    """
    mesh, count = template.mesh, len(template.mesh.vertices)
    hidden = seen_share(mesh) < share
    sides = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    sides = sides[hidden[sides].all(1)]
    links = sparse.csr_array((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), (count, count))
    pieces, label = connected_components(links, directed=False)
    size = np.bincount(label[hidden], minlength=pieces)
    dropped = hidden & (size[label] >= least)
    if not dropped.any():
        return template, 0
    faces = mesh.faces[~dropped[mesh.faces].any(1)]
    used = np.unique(faces)
    new = np.full(count, -1)
    new[used] = np.arange(len(used))
    marks = np.where(template.landmarks >= 0, new[np.maximum(template.landmarks, 0)], -1)
    whose = None if template.model_vertices is None else template.model_vertices[used]
    cut = Mesh(mesh.vertices[used], new[faces])
    return Template(cut, template.scheme, marks, template.source, whose), count - len(used)
