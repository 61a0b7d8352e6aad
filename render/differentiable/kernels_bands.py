"""Compiled loops that come before drawing: where triangles and outlines lie, and which band of rows they meet.

A picture is drawn in bands of rows.  Each band has the list of what meets it, in the order of the
mesh, so its depth buffer stays in the cache, threads need no locks, and the result does not depend
on how many there are.  All geometry is in homogeneous pixel coordinates and float64.
"""

# Compiled code is not seen by coverage tools.
from __future__ import annotations

import numba
import numpy as np

__all__ = ["band_lists", "flat_points", "grown", "outline_boxes", "outline_edges", "triangle_boxes"]

_MOST = 1e100


@numba.njit(cache=True, nogil=True)
def _low(value, last):  # pragma: no cover
    return int(np.ceil(min(max(value, 0.0), last + 1.0)))


@numba.njit(cache=True, nogil=True)
def _high(value, last):  # pragma: no cover
    return int(np.floor(max(min(value, last), -1.0)))


@numba.njit(cache=True, nogil=True)
def flat_points(points, near, flat):  # pragma: no cover
    """Pixels (V, 2) of the points before the near plane; zeros for the others."""
    for v in range(len(points)):
        z = points[v, 2]
        if z >= near:
            inverse = 1.0 / z
            flat[v, 0], flat[v, 1] = points[v, 0] * inverse, points[v, 1] * inverse
        else:
            flat[v, 0], flat[v, 1] = 0.0, 0.0


@numba.njit(cache=True, nogil=True)
def triangle_boxes(points, flat, faces, width, height, near, cull, box, side, start, stop):  # pragma: no cover
    """Pixel boxes (left, right, top, bottom), empty if not drawn, and the side of each triangle.

    `side` is -1 for a triangle seen from outside, 1 from behind, 0 where it has no area (or none that
    numbers can hold).
    """
    last_x, last_y = width - 1.0, height - 1.0
    for f in range(start, stop):
        box[f, 0], box[f, 1], box[f, 2], box[f, 3] = 1, 0, 1, 0
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        det = x0 * (y1 * z2 - z1 * y2) + y0 * (z1 * x2 - x1 * z2) + z0 * (x1 * y2 - y1 * x2)
        side[f] = (1 if det > 0.0 else 0) - (1 if det < 0.0 else 0)
        if not abs(det) > 0.0 or (cull and det > 0.0):
            continue
        # products of three larger numbers have no place in a float64
        if not max(abs(x0), abs(y0), abs(z0), abs(x1), abs(y1), abs(z1), abs(x2), abs(y2), abs(z2)) < _MOST:
            side[f] = 0
            continue
        if z0 >= near and z1 >= near and z2 >= near:
            u0, u1, u2 = flat[a, 0], flat[b, 0], flat[c, 0]
            v0, v1, v2 = flat[a, 1], flat[b, 1], flat[c, 1]
            left, right = min(u0, u1, u2), max(u0, u1, u2)
            top, bottom = min(v0, v1, v2), max(v0, v1, v2)
        elif z0 < near and z1 < near and z2 < near:
            continue
        else:
            left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
            for k in range(3):
                i, j = faces[f, k], faces[f, (k + 1) % 3]
                zi, zj = points[i, 2], points[j, 2]
                if zi >= near:
                    u, v = points[i, 0] / zi, points[i, 1] / zi
                    left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
                if (zi >= near) != (zj >= near):
                    t = (near - zi) / (zj - zi)
                    u = (points[i, 0] + t * (points[j, 0] - points[i, 0])) / near
                    v = (points[i, 1] + t * (points[j, 1] - points[i, 1])) / near
                    left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        # a hair of slack: the division above rounds, the edge functions decide
        slack = 1e-9 * (1.0 + max(abs(left), abs(right), abs(top), abs(bottom)))
        box[f, 0], box[f, 1] = _low(left - slack, last_x), _high(right + slack, last_x)
        box[f, 2], box[f, 3] = _low(top - slack, last_y), _high(bottom + slack, last_y)


@numba.njit(cache=True, nogil=True)
def band_lists(box, bits, bands):  # pragma: no cover
    """Numbers of the boxes that meet each band of ``2**bits`` rows, in order, and where each band's begin.

    Returns
    -------
    entries : (N,) int32
        Those of band k are ``entries[first[k] : first[k + 1]]``.
    first : (bands + 1,) int64
    """
    first = np.zeros(bands + 1, np.int64)
    for f in range(len(box)):
        if box[f, 0] <= box[f, 1]:
            for k in range(box[f, 2] >> bits, (box[f, 3] >> bits) + 1 if box[f, 2] <= box[f, 3] else 0):
                first[k + 1] += 1
    for k in range(bands):
        first[k + 1] += first[k]
    entries = np.empty(first[bands], np.int32)
    place = first[:bands].copy()
    for f in range(len(box)):
        if box[f, 0] <= box[f, 1]:
            for k in range(box[f, 2] >> bits, (box[f, 3] >> bits) + 1 if box[f, 2] <= box[f, 3] else 0):
                entries[place[k]] = f
                place[k] += 1
    return entries, first


@numba.njit(cache=True, nogil=True)
def grown(old):  # pragma: no cover
    """A list of twice the length that begins with the old one."""
    new = np.empty(2 * len(old), old.dtype)
    for n in range(len(old)):
        new[n] = old[n]
    return new


@numba.njit(cache=True, nogil=True)
def outline_edges(edges, beside, first, half, faces, side, cull):  # pragma: no cover
    """The edges whose triangles all lie on one side of them on the screen.

    `beside` (E, 2) holds the two half-edges of an edge, each as ``2 * half`` plus 1 if it runs from the
    second vertex to the first; -1 where there is none; -2 in the first place if there are more than two.

    Returns
    -------
    number : (N,) int32
        Of the edge.
    outward : (N,) int8
        The sign of the side where no triangle is, as ``side of the line from the first to the second vertex``.
    owner : (N,) int64
        A half-edge of a triangle that is drawn, seen from outside if there is one.
    """
    number, outward, owner = np.empty(64, np.int32), np.empty(64, np.int8), np.empty(64, np.int64)
    count = 0
    for e in range(len(edges)):
        p, q = beside[e, 0], beside[e, 1]
        if p >= 0:
            s = side[(p >> 1) // 3]
            s = 0 if cull and s > 0 else s
            t = 0
            if q >= 0:
                t = side[(q >> 1) // 3]
                t = 0 if cull and t > 0 else t
            lies = (-s if p & 1 else s) + (-t if q & 1 else t)
            if lies == 0:
                continue
            sign = 1 if lies > 0 else -1
            best = p >> 1 if s != 0 and (s < 0 or t >= 0) else q >> 1
        else:
            sign, best, plain = 0, -1, True
            for h in range(first[e], first[e + 1]):
                f, k = half[h] // 3, half[h] % 3
                s = side[f]
                if s == 0 or (cull and s > 0):
                    continue
                along = 1 if faces[f, k] == edges[e, 0] else -1
                if sign == 0:
                    sign = s * along
                elif sign != s * along:
                    plain = False
                    break
                if best < 0 or (s < 0 and side[best // 3] > 0):
                    best = half[h]
            if not plain or sign == 0:
                continue
        if count == len(number):
            number, outward, owner = grown(number), grown(outward), grown(owner)
        number[count], outward[count], owner[count] = e, -sign, best
        count += 1
    return number[:count].copy(), outward[:count].copy(), owner[:count].copy()


@numba.njit(cache=True, nogil=True)
def outline_boxes(points, edges, number, width, height, near, reach, box):  # pragma: no cover
    """Boxes of the pixels within `reach` of edges, as `triangle_boxes`."""
    last_x, last_y = width - 1.0, height - 1.0
    for n in range(len(number)):
        i, j = edges[number[n], 0], edges[number[n], 1]
        box[n, 0], box[n, 1], box[n, 2], box[n, 3] = 1, 0, 1, 0
        xi, yi, zi, xj, yj, zj = points[i, 0], points[i, 1], points[i, 2], points[j, 0], points[j, 1], points[j, 2]
        if zi < near and zj < near:
            continue
        if zi < near:
            t = (near - zi) / (zj - zi)
            xi, yi, zi = xi + t * (xj - xi), yi + t * (yj - yi), near
        elif zj < near:
            t = (near - zj) / (zi - zj)
            xj, yj, zj = xj + t * (xi - xj), yj + t * (yi - yj), near
        ui, vi, uj, vj = xi / zi, yi / zi, xj / zj, yj / zj
        du, dv = uj - ui, vj - vi
        if not du * du + dv * dv >= 1e-18:
            continue
        box[n, 0], box[n, 1] = _low(min(ui, uj) - reach, last_x), _high(max(ui, uj) + reach, last_x)
        box[n, 2], box[n, 3] = _low(min(vi, vj) - reach, last_y), _high(max(vi, vj) + reach, last_y)
