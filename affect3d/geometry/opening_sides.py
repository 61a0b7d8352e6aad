"""Which side of an opening a vertex lies on: the upper or the lower lip, the upper or the lower lid."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

__all__ = ["edge_graph", "opening_sides"]


def edge_graph(vertices, faces) -> sparse.csr_array:
    """(V, V) lengths of a mesh's edges, both ways."""
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    sides = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    i, j = sides.T
    # an edge of no length would be no edge at all in a sparse matrix
    length = np.maximum(np.linalg.norm(vertices[i] - vertices[j], axis=1), 1e-12)
    index = (np.r_[i, j], np.r_[j, i])
    return sparse.coo_array((np.r_[length, length], index), (len(vertices), len(vertices))).tocsr()


def opening_sides(vertices, faces, openings, reach, clear: float = 0.6) -> np.ndarray:
    """Label the two sides of slits by distances along the surface, which do not cross them.

    Lips that touch are near in space and far from one another on the skin: from a point of the lower lip the way to
    the upper lip's border leads around the corner of the mouth, or through the mouth.

    Parameters
    ----------
    vertices : (V, 3) float array
    faces : (F, 3) int array
    openings : sequence of (upper, lower)
        (K, 3) points each, in the vertices' unit, in order along the two sides, corners left out; an opening with a
        missing point (NaN) loses that point, and one without points on a side is passed over.
    reach : sequence of float
        How far along the surface from the points each opening's sides go, same unit.
    clear : float
        Vertices whose nearer side is not nearer than this share of the way to the other belong to neither.

    Returns
    -------
    (V,) int64
        0 for no side, 2 k + 1 for the upper and 2 k + 2 for the lower side of opening k.
    """
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    graph, used = edge_graph(vertices, faces), np.unique(faces)
    tree = cKDTree(vertices[used])
    sides = np.zeros(len(vertices), np.int64)
    for k, (pair, limit) in enumerate(zip(openings, reach, strict=True)):
        seeds = [_seeds(points, tree, used) for points in pair]
        if not all(len(s) for s in seeds) or np.isin(*seeds).any():
            continue
        up, down = (dijkstra(graph, indices=s, min_only=True, limit=4 * limit) for s in seeds)
        near = np.minimum(up, down) < limit
        sides[near & (up < clear * down)] = 2 * k + 1
        sides[near & (down < clear * up)] = 2 * k + 2
    return sides


def _seeds(points, tree, used) -> np.ndarray:
    """Vertices along a polyline; two neighbours far apart would leave its middle to the other side."""
    points = np.asarray(points, float)
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.empty(0, np.int64)
    steps = np.linspace(0, 1, 4, endpoint=False)[None, :, None]
    between = points[:-1, None] * (1 - steps) + points[1:, None] * steps
    return np.unique(used[tree.query(np.concatenate([between.reshape(-1, 3), points[-1:]]))[1]])
