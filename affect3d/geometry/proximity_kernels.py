"""The inner loop of searches for nearest surface points, compiled."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["nearest_of"]


@numba.njit(cache=True, nogil=True)
def nearest_of(points, triangles, near):
    """Of each query's candidate triangles the one that is nearest, the first of equals.

    Parameters
    ----------
    points : (N, 3) float64
    triangles : (F, 3, 3) float64
    near : (N, C) int64

    Returns
    -------
    best : (N,) int64
        Numbers of triangles.
    weights : (N, 3) float64
        As `closest_on_triangles` gives them.
    """
    best, weights = np.empty(len(points), np.int64), np.empty((len(points), 3))
    one = np.empty(3)
    for i in range(len(points)):
        least = np.inf
        for j in near[i]:
            away = _closest(points[i], triangles[j], one)
            if away < least or least == np.inf:
                least, best[i] = away, j
                weights[i] = one
    return best, weights


@numba.njit(cache=True, nogil=True)
def _closest(point, triangle, weights):
    """Squared distance; the barycentric coordinates go into `weights`."""
    aa = cc = m = p = q = 0.0
    for d in range(3):
        ab, ac, ap = triangle[1, d] - triangle[0, d], triangle[2, d] - triangle[0, d], point[d] - triangle[0, d]
        aa, cc, m, p, q = aa + ab * ab, cc + ac * ac, m + ab * ac, p + ap * ab, q + ap * ac
    area = aa * cc - m * m
    if area > 0:
        v, w = (cc * p - m * q) / area, (aa * q - m * p) / area
        if v >= 0 and w >= 0 and 1 - v - w >= 0:
            weights[0], weights[1], weights[2] = 1 - v - w, v, w
            return _squared(point, triangle, weights[0], v, w)
    bc = along = 0.0
    for d in range(3):
        edge = triangle[2, d] - triangle[1, d]
        bc, along = bc + edge * edge, along + (point[d] - triangle[1, d]) * edge
    least = np.inf
    for edge in range(3):
        if edge == 0:
            t = _share(p, aa)
            a, b, c = 1 - t, t, 0.0
        elif edge == 1:
            t = _share(q, cc)
            a, b, c = 1 - t, 0.0, t
        else:
            t = _share(along, bc)
            a, b, c = 0.0, 1 - t, t
        away = _squared(point, triangle, a, b, c)
        if away < least or edge == 0:
            least = away
            weights[0], weights[1], weights[2] = a, b, c
    return least


@numba.njit(cache=True, nogil=True)
def _share(x, y):
    return min(max(x / y, 0.0), 1.0) if y > 0 else min(max(x, 0.0), 1.0)


@numba.njit(cache=True, nogil=True)
def _squared(point, triangle, a, b, c):
    total = 0.0
    for d in range(3):
        away = a * triangle[0, d] + b * triangle[1, d] + c * triangle[2, d] - point[d]
        total += away * away
    return total
