"""Nearest points of a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["Nearest", "closest_on_triangles", "nearest_on_mesh"]


@dataclass(frozen=True, eq=False)
class Nearest:
    """Nearest surface points of N queries.

    Attributes
    ----------
    faces : (N,) int32
    weights : (N, 3) float64
        Barycentric coordinates.
    points : (N, 3) float64
    distance : (N,) float64
        In the unit of the vertices.
    """

    faces: np.ndarray
    weights: np.ndarray
    points: np.ndarray
    distance: np.ndarray


def closest_on_triangles(points, triangles) -> np.ndarray:
    """Barycentric coordinates (..., 3) of the point of each triangle nearest to each point.

    Parameters
    ----------
    points : (..., 3) float array
    triangles : (..., 3, 3) float array
        Corners along the last but one axis.

    References
    ----------
    Ericson, "Real-Time Collision Detection", 2005, section 5.1.5 (regions of a triangle).
    """
    a, b, c = triangles[..., 0, :], triangles[..., 1, :], triangles[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a

    def dot(x, y):
        return (x * y).sum(-1)

    def ratio(x, y):
        return np.clip(x / np.where(y > 0, y, 1), 0, 1)

    aa, cc, m = dot(ab, ab), dot(ac, ac), dot(ab, ac)
    p, q = dot(ap, ab), dot(ap, ac)
    area = aa * cc - m * m
    safe = np.where(area > 0, area, 1)
    v, w = (cc * p - m * q) / safe, (aa * q - m * p) / safe
    best = np.stack([1 - v - w, v, w], -1)
    inside = (best >= 0).all(-1) & (area > 0)
    zero = np.zeros_like(p)
    on_ab, on_ac = ratio(p, aa), ratio(q, cc)
    bc, bp = c - b, points - b
    on_bc = ratio(dot(bp, bc), dot(bc, bc))
    edges = np.stack(
        [
            np.stack([1 - on_ab, on_ab, zero], -1), np.stack([1 - on_ac, zero, on_ac], -1),
            np.stack([zero, 1 - on_bc, on_bc], -1),
        ],
        -2,
    )
    there = np.einsum("...ek,...kd->...ed", edges, triangles)
    nearest = ((there - points[..., None, :]) ** 2).sum(-1).argmin(-1)
    edge = np.take_along_axis(edges, nearest[..., None, None], -2)[..., 0, :]
    return np.where(inside[..., None], best, edge)


def nearest_on_mesh(points, vertices, faces, candidates: int = 48) -> Nearest:
    """Nearest surface point of each query among the `candidates` triangles whose centres are nearest.

    Exact where triangles are of like size near the query, which holds for heads.

    Raises
    ------
    ValueError
        If there are no faces.
    """
    from affect3d.geometry.proximity_kernels import nearest_of

    faces = np.asarray(faces)
    if len(faces) == 0:
        raise ValueError("faces: expected at least one triangle")
    points, triangles = np.ascontiguousarray(points, float), np.asarray(vertices, float)[faces]
    count = min(candidates, len(faces))
    _, near = cKDTree(triangles.mean(1), balanced_tree=False, compact_nodes=False).query(points, k=count)
    best, weights = nearest_of(points, triangles, near.reshape(len(points), count).astype(np.int64))
    there = np.einsum("nk,nkd->nd", weights, triangles[best])
    return Nearest(best.astype(np.int32), weights, there, np.linalg.norm(there - points, axis=1))
