"""A scan prepared once and asked often for the points that correspond to a template's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.neighbours import Neighbours
from affect3d.registration.surface_kernels import edge_table, parts, smoothing, triangle_sizes

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
        seen = np.zeros(len(scan.vertices), bool)
        seen[faces] = True
        used, new = np.flatnonzero(seen), np.cumsum(seen) - 1
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
    pointers, near, times = edge_table(np.ascontiguousarray(faces), len(vertices))
    free = np.ones(len(vertices), bool)
    free[near[times == 1]] = False
    out = np.array(vertices, float, order="C")
    for _ in range(rounds):
        for part in (0.5, -0.53):
            out = smoothing(out, pointers, near, free, part)
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
    pointers, near, times = edge_table(np.ascontiguousarray(faces), len(vertices))
    sides = np.column_stack([np.repeat(np.arange(len(vertices)), np.diff(pointers)), near])
    rim = sides[(times == 1) & (sides[:, 0] <= near)]
    if not len(rim):
        return []
    part = parts(rim, len(vertices))[rim[:, 0]]
    length = np.linalg.norm(vertices[rim[:, 0]] - vertices[rim[:, 1]], axis=1)
    names, index = np.unique(part, return_inverse=True)
    order = np.argsort(-np.bincount(index, length), kind="stable")
    return [np.unique(rim[part == names[k]]) for k in order]


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

    Raises
    ------
    IndexError
        If a face names no vertex.
    """
    faces = np.ascontiguousarray(faces)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise IndexError(f"faces: expected indices in [0, {len(vertices)}), got {faces.min()} to {faces.max()}")
    area, edges = triangle_sizes(np.ascontiguousarray(vertices, float), faces)
    longest = edges.max(1, initial=0)
    kept = np.flatnonzero(area > 0)
    if not len(kept):
        return kept
    kept = kept[longest[kept] <= CURTAIN * np.median(edges[kept])]
    piece = parts(faces[kept], len(vertices))[faces[kept, 0]]
    total = np.bincount(piece, area[kept])
    return kept[total[piece] >= DUST * total.max()]
