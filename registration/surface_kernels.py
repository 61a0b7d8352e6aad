"""What a scan is asked once, compiled: its edges, its parts, the sizes of its triangles, and smoothing."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["edge_table", "parts", "smoothing", "triangle_sizes"]

# Neighbours beyond this number are sorted first: putting each in its place one by one takes the square of their number.
_MANY = 64


@numba.njit(cache=True, nogil=True)
def edge_table(faces, count):  # pragma: no cover - compiled
    """Neighbours of each vertex of a mesh.

    Parameters
    ----------
    faces : (F, 3) int array
    count : int
        Of vertices.

    Returns
    -------
    pointers : (V + 1,) int64
    near : (N,) int64
        The neighbours of vertex i, rising, from `pointers[i]` to `pointers[i + 1]`.
    times : (N,) int64
        How many triangles have that edge.

    Raises
    ------
    IndexError
        If a face names no vertex.
    """
    ends = np.zeros(count + 1, np.int64)
    for f in range(len(faces)):
        for k in range(3):
            i, j = faces[f, k], faces[f, (k + 1) % 3]
            if not 0 <= i < count:
                raise IndexError("faces: expected indices of vertices")
            if not 0 <= j < count:
                raise IndexError("faces: expected indices of vertices")
            ends[i] += 1
            ends[j] += i != j
    total = 0
    for v in range(count + 1):
        ends[v], total = total, total + ends[v]
    every = np.empty(total, np.int64)
    for f in range(len(faces)):
        for k in range(3):
            i, j = faces[f, k], faces[f, (k + 1) % 3]
            every[ends[i]] = j
            ends[i] += 1
            if i != j:
                every[ends[j]] = i
                ends[j] += 1
    pointers, times = np.zeros(count + 1, np.int64), np.empty(total, np.int64)
    kept = begin = 0
    for v in range(count):
        if ends[v] - begin > _MANY:
            every[begin : ends[v]].sort()
        # what is kept takes no more room than what was read
        for k in range(begin, ends[v]):
            j, at = every[k], kept
            while at > pointers[v] and every[at - 1] > j:
                at -= 1
            if at > pointers[v] and every[at - 1] == j:
                times[at - 1] += 1
                continue
            for m in range(kept, at, -1):
                every[m], times[m] = every[m - 1], times[m - 1]
            every[at], times[at] = j, 1
            kept += 1
        begin = ends[v]
        pointers[v + 1] = kept
    return pointers, every[:kept].copy(), times[:kept].copy()


@numba.njit(cache=True, nogil=True)
def parts(rows, count):  # pragma: no cover - compiled
    """(count,) number of the connected part of each vertex, where all vertices of a row (N, K) hang together.

    Parts are counted from 0 by their first vertices.

    References
    ----------
    Tarjan, "Efficiency of a Good But Not Linear Set Union Algorithm", Journal of the ACM 22, 1975.
    """
    above = np.arange(count)
    for n in range(len(rows)):
        i = _root(above, rows[n, 0])
        for k in range(1, rows.shape[1]):
            j = _root(above, rows[n, k])
            i, j = min(i, j), max(i, j)
            above[j] = i
    names, found = np.empty(count, np.int64), 0
    for v in range(count):
        root = _root(above, v)
        if root == v:
            names[v] = found
            found += 1
        else:
            names[v] = names[root]
    return names


@numba.njit(cache=True, nogil=True)
def _root(above, v):  # pragma: no cover - compiled
    while above[v] != v:
        above[v] = above[above[v]]
        v = above[v]
    return v


@numba.njit(cache=True, nogil=True)
def triangle_sizes(vertices, faces):  # pragma: no cover - compiled
    """Areas (F,) and lengths of the edges (F, 3), the first from the last corner to the first, of triangles."""
    areas, edges = np.empty(len(faces)), np.empty((len(faces), 3))
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        u, v, w = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        p, q, r = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        areas[f] = _length(v * r - w * q, w * p - u * r, u * q - v * p) / 2
        edges[f, 0], edges[f, 1] = _length(p, q, r), _length(u, v, w)
        edges[f, 2] = _length(c[0] - b[0], c[1] - b[1], c[2] - b[2])
    return areas, edges


@numba.njit(cache=True, nogil=True)
def _length(x, y, z):  # pragma: no cover - compiled
    return np.sqrt(x * x + y * y + z * z)


@numba.njit(cache=True, nogil=True)
def smoothing(vertices, pointers, near, free, share):  # pragma: no cover - compiled
    """Vertices (V, 3), those that are `free` (V,) drawn by a `share` of the way to the mean of their neighbours."""
    out = np.empty_like(vertices)
    for v in range(len(vertices)):
        degree = pointers[v + 1] - pointers[v]
        x, y, z = vertices[v]
        if degree and free[v]:
            a = b = c = 0.0
            for k in range(pointers[v], pointers[v + 1]):
                a += vertices[near[k], 0]
                b += vertices[near[k], 1]
                c += vertices[near[k], 2]
            x += share * (a / degree - x)
            y += share * (b / degree - y)
            z += share * (c / degree - z)
        out[v, 0], out[v, 1], out[v, 2] = x, y, z
    return out
