"""A scan prepared once and asked often for the points that correspond to a template's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from affect3d.geometry.triangles import triangle_areas, vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.neighbours import Neighbours

__all__ = ["Correspondence", "Target", "border_loops", "smoothed", "trusted_faces"]

#: Pieces of a scan with less than this share of the largest piece's area are dust and attract nothing.
DUST = 0.05
#: Triangles with an edge so many times the median edge are curtains that scanners hang between things.
CURTAIN = 15.0


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Scan points nearest to template vertices.

    Attributes
    ----------
    points, normals : (V, 3) float64
        mm; unit normals of the scan there.
    distance : (V,) float64
        mm.
    trusted : (V,) bool
        The normals agree, and the scan point is not on the scan's border (where points beyond it
        would pile up).
    """

    points: np.ndarray
    normals: np.ndarray
    distance: np.ndarray
    trusted: np.ndarray


class Target:
    """A scan with its search tree, normals and borders; `rim` (B, 3) holds the points of its longest border,
    `border_points` those of all.

    Parameters
    ----------
    scan : Mesh
        mm.  Vertices in no triangle, triangles without area and floating dust are left aside.
    turn : float
        Distance, mm, that counts as much as normals at right angles to one another do (divided by
        the root of two).  Looking for places that are near *and* look the same way keeps an ear from
        landing on the cheek before it; 0 looks for the nearest place.
    points : int, optional
        Scans with more vertices are thinned to about this number for the search.
    smoothing : int
        Rounds of smoothing against the scanner's noise, whose few tenths of a millimetre turn the normals of a dense
        scan by several degrees; see `smoothed`.

    Raises
    ------
    ValueError
        If the scan has fewer than four vertices or no triangle with an area.
    """

    def __init__(self, scan: Mesh, turn: float = 0.0, points: int | None = None, smoothing: int = 0):
        if len(scan.vertices) < 4 or len(scan.faces) == 0:
            raise ValueError("scan: expected a surface with at least four vertices")
        faces = scan.faces[trusted_faces(scan.vertices, scan.faces)]
        if not len(faces):
            raise ValueError("scan: expected a surface, got triangles without area only")
        used = np.unique(faces)
        new = np.full(len(scan.vertices), -1)
        new[used] = np.arange(len(used))
        self.vertices, self.faces, self.turn = scan.vertices[used], new[faces], turn
        if smoothing:
            self.vertices = smoothed(self.vertices, self.faces, smoothing)
        self.normals = vertex_normals(self.vertices, self.faces)
        self.loops = border_loops(self.faces, self.vertices)
        self.border = np.zeros(len(self.vertices), bool)
        for loop in self.loops:
            self.border[loop] = True
        self.rim = self.vertices[self.loops[0]] if self.loops else np.empty((0, 3))
        self.border_points = self.vertices[self.border]
        if points is not None and len(used) > points:
            # every k-th vertex: scanners and shuffles leave no pattern in the order that would matter
            kept = slice(None, None, -(-len(used) // points))
            self.vertices, self.normals, self.border = self.vertices[kept], self.normals[kept], self.border[kept]
        self._places = Neighbours(np.hstack([self.vertices, turn * self.normals]) if turn else self.vertices)

    def nearest(self, vertices, normals, agreement: float) -> Correspondence:
        """Correspondences of `vertices`; normals must agree to at least the cosine `agreement`."""
        query = np.hstack([vertices, self.turn * normals]) if self.turn else vertices
        index = self._places.nearest(query)
        points, found = self.vertices[index], self.normals[index]
        distance = np.sqrt(((points - vertices) ** 2).sum(1))
        trusted = ((normals * found).sum(1) > agreement) & ~self.border[index]
        return Correspondence(points, found, distance, trusted)


def smoothed(vertices, faces, rounds: int) -> np.ndarray:
    """Vertices (V, 3) of a mesh without the noise that differs from each to the next, and without shrinking.

    Each round draws every vertex half of the way to the mean of its neighbours and lets it back a little more than
    that.  The border stays where it is.

    References
    ----------
    Taubin, "A Signal Processing Approach to Fair Surface Design", SIGGRAPH 1995.
    """
    faces, count = np.asarray(faces), len(vertices)
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    key, times = np.unique(sides[:, 0].astype(np.int64) * count + sides[:, 1], return_counts=True)
    i, j = np.divmod(key, count)
    near = sparse.coo_array((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), (count, count)).tocsr()
    degree = np.maximum(near.sum(axis=1), 1.0)[:, None]
    free = np.ones((count, 1))
    free[np.r_[i[times == 1], j[times == 1]]] = 0.0
    out = np.array(vertices, float)
    for _ in range(rounds):
        for part in (0.5, -0.53):
            out = out + part * free * ((near @ out) / degree - out)
    return out


def border_loops(faces, vertices) -> list[np.ndarray]:
    """Vertices of each connected part of a mesh's border, the longest part first.

    Parameters
    ----------
    faces : (F, 3) int array
    vertices : (V, 3) float array

    Returns
    -------
    list of (B,) int arrays
        Sorted vertex indices; empty for a closed mesh.
    """
    sides = np.sort(np.asarray(faces)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    key, count = np.unique(sides[:, 0].astype(np.int64) * len(vertices) + sides[:, 1], return_counts=True)
    rim = np.stack(np.divmod(key[count == 1], len(vertices)), 1)
    if not len(rim):
        return []
    part = _parts(rim, len(vertices))[rim[:, 0]]
    length = np.linalg.norm(vertices[rim[:, 0]] - vertices[rim[:, 1]], axis=1)
    names, index = np.unique(part, return_inverse=True)
    order = np.argsort(-np.bincount(index, length), kind="stable")
    return [np.unique(rim[part == names[k]]) for k in order]


def _parts(pairs, count: int) -> np.ndarray:
    graph = sparse.coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1]


def trusted_faces(vertices, faces) -> np.ndarray:
    """Triangles of a scan that are surface: none without area, no curtains between things, no floating dust.

    Parameters
    ----------
    vertices : (V, 3) float array
    faces : (F, 3) int array

    Returns
    -------
    (K,) int array
        Rows of `faces`, rising.
    """
    faces = np.asarray(faces)
    area = triangle_areas(vertices, faces)
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2)
    longest = edges.max(1, initial=0)
    kept = np.flatnonzero(area > 0)
    if not len(kept):
        return kept
    kept = kept[longest[kept] <= CURTAIN * np.median(edges[kept])]
    piece = _parts(faces[kept][:, [0, 1, 1, 2]].reshape(-1, 2), len(vertices))[faces[kept, 0]]
    total = np.bincount(piece, area[kept])
    return kept[total[piece] >= DUST * total.max()]
