"""Compiled loops of the rasterizer; all geometry in homogeneous pixel coordinates and float64.

A triangle's edge functions are the rows of the adjugate of the matrix of its corners (Olano and
Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", Graphics Hardware 1997), so a
triangle that crosses the camera plane is drawn without being cut: each pixel compares its depth
with the near plane instead.  Two triangles compute the same numbers with opposite signs for the
edge they share, so every pixel on it belongs to exactly one of them (top-left rule).
"""

# Compiled code is not seen by coverage tools.
from __future__ import annotations

import numba
import numpy as np

__all__ = ["barycentric_backward", "barycentric_forward", "boxes", "covered", "interpolate_backward",
           "interpolate_forward", "outline_edges", "pick_edges", "scatter_rows", "visible"]  # fmt: skip

_FAR = 1e8  # pixels; larger coordinates are cut so that they fit into an integer


@numba.njit(cache=True, nogil=True)
def _low(value, last):  # pragma: no cover
    return int(np.ceil(min(max(value, 0.0), last + 1.0)))


@numba.njit(cache=True, nogil=True)
def _high(value, last):  # pragma: no cover
    return int(np.floor(max(min(value, last), -1.0)))


@numba.njit(cache=True, nogil=True, inline="always")
def _shorter(slope, crossing, low, high):  # pragma: no cover
    """[low, high] without what lies more than a pixel beyond an edge that crosses the row there."""
    if slope > 0.0 and crossing > low + 1.0:
        low = int(min(crossing, high + 2.0)) - 1
    elif slope < 0.0 and crossing < high - 1.0:
        high = int(max(crossing, low - 2.0)) + 1
    return low, high


@numba.njit(cache=True, nogil=True, inline="always")
def _inside(wa, wb, wc, ta, tb, tc):  # pragma: no cover
    return (wa > 0.0 or (wa == 0.0 and ta)) and (wb > 0.0 or (wb == 0.0 and tb)) and (wc > 0.0 or (wc == 0.0 and tc))


@numba.njit(cache=True, nogil=True)
def boxes(points, faces, width, height, near, cull, box, side, start, stop):  # pragma: no cover
    """Pixel boxes (left, right, top, bottom), empty if not drawn, and the side of each triangle.

    `side` is -1 for a triangle seen from outside, 1 from behind, 0 where it has no area.
    """
    for f in range(start, stop):
        box[f, 0], box[f, 1], box[f, 2], box[f, 3] = 1, 0, 1, 0
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        det = x0 * (y1 * z2 - z1 * y2) + y0 * (z1 * x2 - x1 * z2) + z0 * (x1 * y2 - y1 * x2)
        side[f] = 1 if det > 0.0 else (-1 if det < 0.0 else 0)
        if det == 0.0 or (cull and det > 0.0):
            continue
        if z0 < near and z1 < near and z2 < near:
            continue
        if z0 >= near and z1 >= near and z2 >= near:
            u0, u1, u2 = x0 / z0, x1 / z1, x2 / z2
            v0, v1, v2 = y0 / z0, y1 / z1, y2 / z2
            left, right = min(u0, u1, u2), max(u0, u1, u2)
            top, bottom = min(v0, v1, v2), max(v0, v1, v2)
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
        box[f, 0], box[f, 1] = _low(left - slack, width - 1.0), _high(right + slack, width - 1.0)
        box[f, 2], box[f, 3] = _low(top - slack, height - 1.0), _high(bottom + slack, height - 1.0)


@numba.njit(cache=True, nogil=True)
def visible(points, faces, box, near, face, closeness, row0, row1):  # pragma: no cover
    """Buffer of 1 / depth, 0 where empty, of the rows from row0 to row1; of equal depths the lower index wins."""
    limit = 1.0 / near
    for f in range(len(faces)):
        top, bottom = max(box[f, 2], row0), min(box[f, 3], row1 - 1)
        left, right = box[f, 0], box[f, 1]
        if top > bottom or left > right:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        ax, ay, az = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        bx, by, bz = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        cx, cy, cz = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        det = x0 * ax + y0 * ay + z0 * az
        if det < 0.0:
            ax, ay, az, bx, by, bz, cx, cy, cz = -ax, -ay, -az, -bx, -by, -bz, -cx, -cy, -cz
            det = -det
        inverse = 1.0 / det
        # an edge of value 0 counts if the inside is to its right, or below it
        ta = ax > 0.0 or (ax == 0.0 and ay > 0.0)
        tb = bx > 0.0 or (bx == 0.0 and by > 0.0)
        tc = cx > 0.0 or (cx == 0.0 and cy > 0.0)
        # 1 / depth is linear on the screen
        kx, ky, kz = (ax + bx + cx) * inverse, (ay + by + cy) * inverse, (az + bz + cz) * inverse
        narrow = right - left < 4
        if not narrow:
            ia = -1.0 / ax if ax != 0.0 else 0.0
            ib = -1.0 / bx if bx != 0.0 else 0.0
            ic = -1.0 / cx if cx != 0.0 else 0.0
        for y in range(top, bottom + 1):
            ra, rb, rc = ay * y + az, by * y + bz, cy * y + cz
            low, high = left, right
            if not narrow:
                # where the edges cross the row, give or take a pixel; the tests below decide
                low, high = _shorter(ax, ra * ia, low, high)
                low, high = _shorter(bx, rb * ib, low, high)
                low, high = _shorter(cx, rc * ic, low, high)
            while low <= high and not _inside(ax * low + ra, bx * low + rb, cx * low + rc, ta, tb, tc):
                low += 1
            while low <= high and not _inside(ax * high + ra, bx * high + rb, cx * high + rc, ta, tb, tc):
                high -= 1
            # rounding keeps the order of the edges' values along a row, so what lies between is inside
            k = ky * y + kz
            for x in range(low, high + 1):
                near_by = kx * x + k
                if near_by > closeness[y, x] and near_by <= limit:
                    closeness[y, x] = near_by
                    face[y, x] = f


@numba.njit(cache=True, nogil=True)
def covered(face, pixels, width, place, seen, pixel):  # pragma: no cover
    """List the covered pixels of all pictures in order; `place`, `seen` and `pixel` are long enough."""
    count = 0
    for b in range(face.shape[0]):
        for y in range(face.shape[1]):
            for x in range(width):
                f = face[b, y, x]
                if f >= 0:
                    place[count] = b * pixels + y * width + x
                    seen[count] = f
                    pixel[count, 0], pixel[count, 1] = x, y
                    count += 1
    return count


@numba.njit(cache=True, nogil=True)
def barycentric_forward(points, faces, face, pixel, weights, depth, start, stop):  # pragma: no cover
    """Perspective-correct coordinates and depth of samples (face, pixel)."""
    for s in range(start, stop):
        a, b, c = faces[face[s], 0], faces[face[s], 1], faces[face[s], 2]
        x, y = pixel[s, 0], pixel[s, 1]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        wa = (y1 * z2 - z1 * y2) * x + (z1 * x2 - x1 * z2) * y + (x1 * y2 - y1 * x2)
        wb = (y2 * z0 - z2 * y0) * x + (z2 * x0 - x2 * z0) * y + (x2 * y0 - y2 * x0)
        wc = (y0 * z1 - z0 * y1) * x + (z0 * x1 - x0 * z1) * y + (x0 * y1 - y0 * x1)
        inverse = 1.0 / (wa + wb + wc)
        weights[s, 0], weights[s, 1], weights[s, 2] = wa * inverse, wb * inverse, wc * inverse
        det = x0 * (y1 * z2 - z1 * y2) + y0 * (z1 * x2 - x1 * z2) + z0 * (x1 * y2 - y1 * x2)
        depth[s] = det * inverse


@numba.njit(cache=True, nogil=True)
def barycentric_backward(points, faces, face, pixel, g_weights, g_depth, out, start, stop):  # pragma: no cover
    """Add the gradient of the samples from start to stop to `out` (V, 3).

    With N the matrix of the corners and q = N^-1 p, the coordinates are b = q / sum(q) and the depth
    is z = 1 / sum(q); dq = -N^-1 dN q, so corner i receives -(N^-T h) b_i / z, where
    h = z (g_b - (g_b . b)) - g_z z^2.
    """
    for s in range(start, stop):
        a, b, c = faces[face[s], 0], faces[face[s], 1], faces[face[s], 2]
        x, y = pixel[s, 0], pixel[s, 1]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        ax, ay, az = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        bx, by, bz = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        cx, cy, cz = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
        det = x0 * ax + y0 * ay + z0 * az
        inverse = 1.0 / (wa + wb + wc)
        wa, wb, wc = wa * inverse, wb * inverse, wc * inverse
        z = det * inverse
        ga, gb, gc = g_weights[s, 0], g_weights[s, 1], g_weights[s, 2]
        common = ga * wa + gb * wb + gc * wc + g_depth[s] * z
        # h / (det z) in one factor: h carries z, the result is divided by z
        ha, hb, hc = (ga - common) / det, (gb - common) / det, (gc - common) / det
        ux = ha * ax + hb * bx + hc * cx
        uy = ha * ay + hb * by + hc * cy
        uz = ha * az + hb * bz + hc * cz
        out[a, 0] -= ux * wa
        out[a, 1] -= uy * wa
        out[a, 2] -= uz * wa
        out[b, 0] -= ux * wb
        out[b, 1] -= uy * wb
        out[b, 2] -= uz * wb
        out[c, 0] -= ux * wc
        out[c, 1] -= uy * wc
        out[c, 2] -= uz * wc


@numba.njit(cache=True, nogil=True)
def scatter_rows(values, place, out, start, stop):  # pragma: no cover
    for s in range(start, stop):
        for k in range(values.shape[1]):
            out[place[s], k] = values[s, k]


@numba.njit(cache=True, nogil=True)
def interpolate_forward(values, faces, face, weights, out, start, stop):  # pragma: no cover
    for s in range(start, stop):
        a, b, c = faces[face[s], 0], faces[face[s], 1], faces[face[s], 2]
        wa, wb, wc = weights[s, 0], weights[s, 1], weights[s, 2]
        for k in range(values.shape[1]):
            out[s, k] = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]


@numba.njit(cache=True, nogil=True)
def interpolate_backward(values, faces, face, weights, g, g_weights, out, start, stop):  # pragma: no cover
    for s in range(start, stop):
        a, b, c = faces[face[s], 0], faces[face[s], 1], faces[face[s], 2]
        wa, wb, wc = weights[s, 0], weights[s, 1], weights[s, 2]
        ga, gb, gc = 0.0, 0.0, 0.0
        for k in range(values.shape[1]):
            gk = g[s, k]
            ga += gk * values[a, k]
            gb += gk * values[b, k]
            gc += gk * values[c, k]
            out[a, k] += wa * gk
            out[b, k] += wb * gk
            out[c, k] += wc * gk
        g_weights[s, 0], g_weights[s, 1], g_weights[s, 2] = ga, gb, gc


@numba.njit(cache=True, nogil=True)
def outline_edges(edges, first, half, faces, side, cull, outward, owner):  # pragma: no cover
    """Mark the edges whose triangles all lie on one side of them on the screen.

    `outward` is 0 for other edges, else the sign of the side where no triangle is (as
    ``side of the line from the first to the second vertex``); `owner` is a half-edge of a triangle
    that is drawn, seen from outside if there is one.
    """
    for e in range(len(edges)):
        outward[e], owner[e] = 0, -1
        sign, plain = 0, True
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
            if owner[e] < 0 or (s < 0 and side[half[owner[e]] // 3] > 0):
                owner[e] = h
        if plain and sign != 0:
            outward[e] = -sign
            owner[e] = half[owner[e]]


@numba.njit(cache=True, nogil=True)
def pick_edges(points, edges, outward, near, reach, closeness, edge, distance, row0, row1):  # pragma: no cover
    """For each pixel of the rows, the nearest outline edge within `reach` pixels that lies before it.

    Pixels on the inner side of an edge are none of its business.  `distance` must come in as
    `reach`, `edge` as -1.  Of equally near edges the lower index wins.
    """
    height, width = closeness.shape
    for e in range(len(edges)):
        if outward[e] == 0:
            continue
        i, j = edges[e, 0], edges[e, 1]
        zi, zj = points[i, 2], points[j, 2]
        if zi < near and zj < near:
            continue
        xi, yi, xj, yj = points[i, 0], points[i, 1], points[j, 0], points[j, 1]
        if zi < near:
            t = (near - zi) / (zj - zi)
            xi, yi, zi = xi + t * (xj - xi), yi + t * (yj - yi), near
        elif zj < near:
            t = (near - zj) / (zi - zj)
            xj, yj, zj = xj + t * (xi - xj), yj + t * (yi - yj), near
        ui, vi, uj, vj = xi / zi, yi / zi, xj / zj, yj / zj
        top = max(_low(min(vi, vj) - reach, height - 1.0), row0)
        bottom = min(_high(max(vi, vj) + reach, height - 1.0), row1 - 1)
        left = _low(min(ui, uj) - reach, width - 1.0)
        right = _high(max(ui, uj) + reach, width - 1.0)
        du, dv = uj - ui, vj - vi
        square = du * du + dv * dv
        if square < 1e-18:
            continue
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x - ui, y - vi
                if (du * py - dv * px) * outward[e] < 0.0:
                    continue
                s = (px * du + py * dv) / square
                s = min(max(s, 0.0), 1.0)
                rx, ry = px - s * du, py - s * dv
                d = np.sqrt(rx * rx + ry * ry)
                if d >= distance[y, x]:
                    continue
                # 1 / z is linear along the edge on the screen
                if (1.0 - s) / zi + s / zj > closeness[y, x]:
                    distance[y, x] = d
                    edge[y, x] = e
