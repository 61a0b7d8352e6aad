"""Compiled loops over the pixels beside outlines: find the nearest edge, its nearest point, and its gradient."""

# Compiled code is not seen by coverage tools.
from __future__ import annotations

import numba
import numpy as np

from affect3d.render.differentiable.kernels_bands import grown

__all__ = ["blend", "blend_backward", "edge_points", "edge_points_backward", "no_picks", "pick", "pick_bands",
           "picked"]  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _ahead(points, i, j, near):  # pragma: no cover
    """Shares of the way from point i to j at which the part of the edge before the near plane begins and ends."""
    zi, zj = points[i, 2], points[j, 2]
    low = (near - zi) / (zj - zi) if zi < near else 0.0
    high = (near - zi) / (zj - zi) if zj < near else 1.0
    return low, high


@numba.njit(cache=True, nogil=True)
def no_picks():  # pragma: no cover
    """An empty list for `pick`: pixels, edges, distances, and how many there are."""
    return np.empty(64, np.int64), np.empty(64, np.int32), np.empty(64), 0


@numba.njit(cache=True, nogil=True)
def pick(
    points, edges, number, outward, entries, begin, end, box, near, reach, row0, row1, closeness, shift, slot, picks
):  # pragma: no cover
    """For each pixel of the rows, the nearest listed outline edge within `reach` pixels that lies before it.

    Pixels on the inner side of an edge are none of its business.  Of equally near edges the first wins.
    `slot` (as `closeness`, int32) must come in as -1 and is left so.

    Returns
    -------
    tuple
        The list `picks` with more at its end: pixels, ``y * width + x``, which of `number`, distances, and the count.
    """
    width = closeness.shape[1]
    place, chosen, distance, before = picks
    count = before
    for m in range(begin, end):
        n = entries[m]
        i, j = edges[number[n], 0], edges[number[n], 1]
        xi, yi, zi, xj, yj, zj = points[i, 0], points[i, 1], points[i, 2], points[j, 0], points[j, 1], points[j, 2]
        if zi < near:
            t = (near - zi) / (zj - zi)
            xi, yi, zi = xi + t * (xj - xi), yi + t * (yj - yi), near
        elif zj < near:
            t = (near - zj) / (zi - zj)
            xj, yj, zj = xj + t * (xi - xj), yj + t * (yi - yj), near
        ui, vi = xi / zi, yi / zi
        du, dv = xj / zj - ui, yj / zj - vi
        square = du * du + dv * dv
        for y in range(max(box[n, 2], row0), min(box[n, 3], row1 - 1) + 1):
            # a long edge meets few of the pixels of its box: only those as near to its line as `reach`
            left, right = box[n, 0], box[n, 1]
            if right - left > 8 and abs(dv) > 0.0:
                middle = ui + (y - vi) * du / dv
                wide = reach * np.sqrt(square) / abs(dv) + 1.0
                left = max(left, int(max(middle - wide, -1.0)))
                right = min(right, int(min(middle + wide, width + 1.0)))
            for x in range(left, right + 1):
                px, py = x - ui, y - vi
                if (du * py - dv * px) * outward[n] < 0.0:
                    continue
                s = (px * du + py * dv) / square
                s = min(max(s, 0.0), 1.0)
                qx, qy = px - s * du, py - s * dv
                d = np.sqrt(qx * qx + qy * qy)
                old = slot[y - shift, x]
                if d >= (distance[old] if old >= 0 else reach):
                    continue
                # 1 / z is linear along the edge on the screen
                if not (1.0 - s) / zi + s / zj > closeness[y - shift, x]:
                    continue
                if old < 0:
                    if count == len(place):
                        place, chosen, distance = grown(place), grown(chosen), grown(distance)
                    old = count
                    slot[y - shift, x] = old
                    place[old] = y * width + x
                    count += 1
                distance[old] = d
                chosen[old] = n
    for k in range(before, count):
        slot[place[k] // width - shift, place[k] % width] = -1
    return place, chosen, distance, count


@numba.njit(cache=True, nogil=True)
def picked(picks, owner):  # pragma: no cover
    """Pixels (N,) and half-edges (N,) of triangles beside the outlines, of a list of `pick`."""
    place, chosen, _, count = picks
    half = np.empty(count, np.int64)
    for k in range(count):
        half[k] = owner[chosen[k]]
    return place[:count].copy(), half


@numba.njit(cache=True, nogil=True)
def pick_bands(points, outlines, bits, band0, band1, near, reach, closeness):  # pragma: no cover
    """`pick` for bands of a picture: pixels (N,) and half-edges (N,) of triangles beside the outlines."""
    edges, number, outward, owner, entries, first, box = outlines
    height, width = closeness.shape
    slot = np.full((1 << bits, width), -1, np.int32)
    picks = no_picks()
    for band in range(band0, band1):
        if first[band + 1] > first[band]:
            row0, row1 = band << bits, min((band + 1) << bits, height)
            picks = pick(
                points, edges, number, outward, entries, first[band], first[band + 1], box,
                near, reach, row0, row1, closeness[row0:row1], row0, slot, picks,
            )  # fmt: skip
    return picked(picks, owner)


@numba.njit(cache=True, nogil=True)
def _nearest(points, i, j, x, y, near):  # pragma: no cover
    """Share of point j, distance in pixels and depth of the point of an edge nearest to a pixel."""
    low, high = _ahead(points, i, j, near)
    zi, dz = points[i, 2], points[j, 2] - points[i, 2]
    za, zb = zi + low * dz, zi + high * dz
    dx, dy = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
    u, v = (points[i, 0] + low * dx) / za, (points[i, 1] + low * dy) / za
    du, dv = (points[i, 0] + high * dx) / zb - u, (points[i, 1] + high * dy) / zb - v
    px, py = x - u, y - v
    s = min(max((px * du + py * dv) / (du * du + dv * dv), 0.0), 1.0)
    qx, qy = px - s * du, py - s * dv
    whole = (1.0 - s) * zb + s * za
    return low + s * za / whole * (high - low), np.sqrt(qx * qx + qy * qy), za * zb / whole


@numba.njit(cache=True, nogil=True)
def _nearest_backward(points, i, j, x, y, near, g_share, g_distance, g_depth, out):  # pragma: no cover
    """Add the gradient of `_nearest` to the rows i and j of `out`, whose first three columns are positions.

    A pixel exactly on the edge gives the distance no slope, and a nearest point that is an end of the edge
    stays that end.
    """
    low, high = _ahead(points, i, j, near)
    zi, zj = points[i, 2], points[j, 2]
    dx, dy, dz = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], zj - zi
    xa, ya, za = points[i, 0] + low * dx, points[i, 1] + low * dy, zi + low * dz
    xb, yb, zb = points[i, 0] + high * dx, points[i, 1] + high * dy, zi + high * dz
    u, v = xa / za, ya / za
    du, dv = xb / zb - u, yb / zb - v
    px, py = x - u, y - v
    square = du * du + dv * dv
    free = (px * du + py * dv) / square
    s = min(max(free, 0.0), 1.0)
    qx, qy = px - s * du, py - s * dv
    distance = np.sqrt(qx * qx + qy * qy)
    whole = (1.0 - s) * zb + s * za
    # share = low + along (high - low), along = s za / whole; depth = za zb / whole
    along = s * za / whole
    g_along = g_share * (high - low)
    g_low, g_high = g_share * (1.0 - along), g_share * along
    square_whole = whole * whole
    g_s = (g_along * za * zb + g_depth * za * zb * (zb - za)) / square_whole
    g_za = (g_along * s * (1.0 - s) * zb + g_depth * zb * zb * (1.0 - s)) / square_whole
    g_zb = (-g_along * s * (1.0 - s) * za + g_depth * za * za * s) / square_whole
    gua, gva, gub, gvb = 0.0, 0.0, 0.0, 0.0
    if distance > 0.0:
        nx, ny = g_distance * qx / distance, g_distance * qy / distance
        gua, gva, gub, gvb = -(1.0 - s) * nx, -(1.0 - s) * ny, -s * nx, -s * ny
    if free >= 0.0 and free <= 1.0:
        t = g_s / square
        mx, my = (px - 2.0 * s * du) * t, (py - 2.0 * s * dv) * t
        gub, gvb = gub + mx, gvb + my
        gua, gva = gua - mx - du * t, gva - my - dv * t
    gxa, gya, gxb, gyb = gua / za, gva / za, gub / zb, gvb / zb
    g_za -= (gua * u + gva * v) / za
    g_zb -= (gub * (u + du) + gvb * (v + dv)) / zb
    g_low += gxa * dx + gya * dy + g_za * dz
    g_high += gxb * dx + gyb * dy + g_zb * dz
    gzi, gzj = (1.0 - low) * g_za + (1.0 - high) * g_zb, low * g_za + high * g_zb
    g_cut = (g_low if zi < near else 0.0) + (g_high if zj < near else 0.0)
    if g_cut != 0.0:
        gzi += g_cut * (near - zj) / (dz * dz)
        gzj -= g_cut * (near - zi) / (dz * dz)
    out[i, 0] += (1.0 - low) * gxa + (1.0 - high) * gxb
    out[i, 1] += (1.0 - low) * gya + (1.0 - high) * gyb
    out[i, 2] += gzi
    out[j, 0] += low * gxa + high * gxb
    out[j, 1] += low * gya + high * gyb
    out[j, 2] += gzj


@numba.njit(cache=True, nogil=True)
def edge_points(points, faces, half, pixel, near, reach, weights, depth, opacity, start, stop):  # pragma: no cover
    """Coordinates in their triangle, depth and opacity of the points of half-edges nearest to pixels."""
    for n in range(start, stop):
        f, k = half[n] // 3, half[n] % 3
        following = (k + 1) % 3
        share, distance, z = _nearest(points, faces[f, k], faces[f, following], pixel[n, 0], pixel[n, 1], near)
        weights[n, 0], weights[n, 1], weights[n, 2] = 0.0, 0.0, 0.0
        weights[n, k], weights[n, following] = 1.0 - share, share
        depth[n], opacity[n] = z, 1.0 - distance / reach


@numba.njit(cache=True, nogil=True)
def edge_points_backward(
    points, faces, half, pixel, near, reach, g_weights, g_depth, g_opacity, out, start, stop
):  # pragma: no cover
    """Add the gradient of `edge_points` to `out` (V, 3)."""
    for n in range(start, stop):
        f, k = half[n] // 3, half[n] % 3
        following = (k + 1) % 3
        _nearest_backward(
            points, faces[f, k], faces[f, following], pixel[n, 0], pixel[n, 1], near,
            g_weights[n, following] - g_weights[n, k], -g_opacity[n] / reach, g_depth[n], out,
        )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def blend(points, faces, half, place, near, reach, colours, picture, below):  # pragma: no cover
    """Lay edges' colours over pixels of `picture` (H, W, 3), whose former colours go into `below` (N, 3)."""
    width = picture.shape[1]
    for n in range(len(place)):
        y, x = place[n] // width, place[n] % width
        f, k = half[n] // 3, half[n] % 3
        i, j = faces[f, k], faces[f, (k + 1) % 3]
        share, distance, _ = _nearest(points, i, j, x, y, near)
        opacity = 1.0 - distance / reach
        for c in range(3):
            under = picture[y, x, c]
            below[n, c] = under
            over = (1.0 - share) * colours[i, c] + share * colours[j, c]
            picture[y, x, c] = under + opacity * (over - under)


@numba.njit(cache=True, nogil=True)
def blend_backward(
    points, faces, half, place, near, reach, colours, gradient, below, under, out
):  # pragma: no cover
    """Add to `out` (V, 6), positions and colours, the gradient of the edges.

    `under` (N, 3) receives what the pixels below get less than the picture's gradient, as negative numbers.
    """
    width = gradient.shape[1]
    for n in range(len(place)):
        y, x = place[n] // width, place[n] % width
        f, k = half[n] // 3, half[n] % 3
        i, j = faces[f, k], faces[f, (k + 1) % 3]
        share, distance, _ = _nearest(points, i, j, x, y, near)
        opacity = 1.0 - distance / reach
        g_opacity, g_share = 0.0, 0.0
        for c in range(3):
            g = gradient[y, x, c]
            ci, cj = colours[i, c], colours[j, c]
            over = (1.0 - share) * ci + share * cj
            g_opacity += g * (over - below[n, c])
            g_share += opacity * g * (cj - ci)
            out[i, 3 + c] += (1.0 - share) * opacity * g
            out[j, 3 + c] += share * opacity * g
            under[n, c] = -opacity * g
        _nearest_backward(points, i, j, x, y, near, g_share, -g_opacity / reach, 0.0, out)
