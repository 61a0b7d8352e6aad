"""Compiled loops of texture lookup: pyramids, footprints of pixels, and blended texels, each with its gradient."""

# Compiled code is not seen by coverage tools.
from __future__ import annotations

import numba
import numpy as np

from affect3d.render.differentiable.kernels_triangles import adjugate

__all__ = ["fold", "halve", "level_backward", "level_forward", "lookup", "lookup_coordinates_backward",
           "lookup_texels_backward", "slopes_backward", "slopes_forward"]  # fmt: skip


@numba.njit(cache=True, nogil=True)
def halve(fine, coarse, start, stop):  # pragma: no cover
    """Rows from start to stop of `coarse` (H, W, C): means of 2 x 2 of `fine` (2 H, 2 W, C)."""
    for y in range(start, stop):
        for x in range(coarse.shape[1]):
            for c in range(coarse.shape[2]):
                upper = fine[2 * y, 2 * x, c] + fine[2 * y, 2 * x + 1, c]
                coarse[y, x, c] = (upper + (fine[2 * y + 1, 2 * x, c] + fine[2 * y + 1, 2 * x + 1, c])) / 4


@numba.njit(cache=True, nogil=True)
def fold(coarse, fine, start, stop):  # pragma: no cover
    """Add to `fine` what `halve` makes of the gradient of `coarse`, rows from start to stop of the latter."""
    for y in range(start, stop):
        for x in range(coarse.shape[1]):
            for c in range(coarse.shape[2]):
                quarter = coarse[y, x, c] / 4
                fine[2 * y, 2 * x, c] += quarter
                fine[2 * y, 2 * x + 1, c] += quarter
                fine[2 * y + 1, 2 * x, c] += quarter
                fine[2 * y + 1, 2 * x + 1, c] += quarter


@numba.njit(cache=True, nogil=True)
def slopes_forward(points, faces, face, weights, depth, out, start, stop):  # pragma: no cover
    """Change of the coordinates with x and y, (S, 3, 2)."""
    n = start
    while n < stop:
        f = face[n]
        ax, ay, _, bx, by, _, cx, cy, _, det = adjugate(points, faces[f, 0], faces[f, 1], faces[f, 2])
        inverse = 1.0 / det
        while n < stop and face[n] == f:
            q = depth[n] * inverse
            tx, ty = (ax + bx + cx) * q, (ay + by + cy) * q
            out[n, 0, 0], out[n, 0, 1] = ax * q - weights[n, 0] * tx, ay * q - weights[n, 0] * ty
            out[n, 1, 0], out[n, 1, 1] = bx * q - weights[n, 1] * tx, by * q - weights[n, 1] * ty
            out[n, 2, 0], out[n, 2, 1] = cx * q - weights[n, 2] * tx, cy * q - weights[n, 2] * ty
            n += 1


@numba.njit(cache=True, nogil=True)
def _add_cross(out, v, points, i, gx, gy, sign):  # pragma: no cover
    """Add to row v of `out` the cross product of point i with (gx, gy, 0), times `sign`."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    out[v, 0] -= sign * z * gy
    out[v, 1] += sign * z * gx
    out[v, 2] += sign * (x * gy - y * gx)


@numba.njit(cache=True, nogil=True)
def slopes_backward(points, faces, face, weights, depth, g, g_weights, g_depth, out, start, stop):  # pragma: no cover
    """Gradient of `slopes_forward`: added to `out` (V, 3), written to `g_weights` and `g_depth`.

    With n_i the rows of the adjugate and q = depth / det, t_i = q n_i and the slopes are t_i - w_i sum(t).
    Sums over a run of samples of one triangle come first; its corners after, by n_a = b x c and so on.
    """
    n = start
    while n < stop:
        f = face[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az, bx, by, bz, cx, cy, cz, det = adjugate(points, a, b, c)
        inverse = 1.0 / det
        gax, gay, gbx, gby, gcx, gcy, g_det = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        while n < stop and face[n] == f:
            q = depth[n] * inverse
            tx, ty = (ax + bx + cx) * q, (ay + by + cy) * q
            mean_x, mean_y = 0.0, 0.0
            for k in range(3):
                g_weights[n, k] = -(g[n, k, 0] * tx + g[n, k, 1] * ty)
                mean_x += weights[n, k] * g[n, k, 0]
                mean_y += weights[n, k] * g[n, k, 1]
            hax, hay = g[n, 0, 0] - mean_x, g[n, 0, 1] - mean_y
            hbx, hby = g[n, 1, 0] - mean_x, g[n, 1, 1] - mean_y
            hcx, hcy = g[n, 2, 0] - mean_x, g[n, 2, 1] - mean_y
            g_q = hax * ax + hay * ay + hbx * bx + hby * by + hcx * cx + hcy * cy
            g_depth[n] = g_q * inverse
            g_det -= g_q * q * inverse
            gax, gay, gbx, gby = gax + hax * q, gay + hay * q, gbx + hbx * q, gby + hby * q
            gcx, gcy = gcx + hcx * q, gcy + hcy * q
            n += 1
        out[a, 0] += g_det * ax
        out[a, 1] += g_det * ay
        out[a, 2] += g_det * az
        out[b, 0] += g_det * bx
        out[b, 1] += g_det * by
        out[b, 2] += g_det * bz
        out[c, 0] += g_det * cx
        out[c, 1] += g_det * cy
        out[c, 2] += g_det * cz
        _add_cross(out, b, points, c, gax, gay, 1.0)
        _add_cross(out, c, points, b, gax, gay, -1.0)
        _add_cross(out, c, points, a, gbx, gby, 1.0)
        _add_cross(out, a, points, c, gbx, gby, -1.0)
        _add_cross(out, a, points, b, gcx, gcy, 1.0)
        _add_cross(out, b, points, a, gcx, gcy, -1.0)


@numba.njit(cache=True, nogil=True, inline="always")
def _steps(corners, slopes, n, height, width):  # pragma: no cover
    """Steps in texels, across and up, of one pixel to the right and of one down."""
    ux = corners[n, 0, 0] * slopes[n, 0, 0] + corners[n, 1, 0] * slopes[n, 1, 0] + corners[n, 2, 0] * slopes[n, 2, 0]
    vx = corners[n, 0, 1] * slopes[n, 0, 0] + corners[n, 1, 1] * slopes[n, 1, 0] + corners[n, 2, 1] * slopes[n, 2, 0]
    uy = corners[n, 0, 0] * slopes[n, 0, 1] + corners[n, 1, 0] * slopes[n, 1, 1] + corners[n, 2, 0] * slopes[n, 2, 1]
    vy = corners[n, 0, 1] * slopes[n, 0, 1] + corners[n, 1, 1] * slopes[n, 1, 1] + corners[n, 2, 1] * slopes[n, 2, 1]
    return width * ux, height * vx, width * uy, height * vy


@numba.njit(cache=True, nogil=True)
def level_forward(corners, slopes, height, width, out, start, stop):  # pragma: no cover
    """Half the binary logarithm of the longer step's square, at least 0."""
    for n in range(start, stop):
        ux, vx, uy, vy = _steps(corners, slopes, n, height, width)
        out[n] = 0.5 * np.log2(max(max(ux * ux + vx * vx, uy * uy + vy * vy), 1.0))


@numba.njit(cache=True, nogil=True)
def level_backward(corners, slopes, height, width, g, g_corners, g_slopes, start, stop):  # pragma: no cover
    """Gradients of `level_forward`; of equally long steps the one to the right has it."""
    for n in range(start, stop):
        ux, vx, uy, vy = _steps(corners, slopes, n, height, width)
        right, down = ux * ux + vx * vx, uy * uy + vy * vy
        far = 0 if right >= down else 1
        u, v, square = (ux, vx, right) if right >= down else (uy, vy, down)
        factor = g[n] / (square * np.log(2.0)) if square >= 1.0 else 0.0
        gu, gv = factor * u * width, factor * v * height
        for k in range(3):
            g_corners[n, k, 0], g_corners[n, k, 1] = gu * slopes[n, k, far], gv * slopes[n, k, far]
            g_slopes[n, k, far] = gu * corners[n, k, 0] + gv * corners[n, k, 1]
            g_slopes[n, k, 1 - far] = 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _corner(u, v, height, width):  # pragma: no cover
    """Left column and top row of the four texels around a point, the steps to the others, and the shares of those.

    Also whether the point moves with u and with v, or is held at the border.
    """
    x, y = u * width - 0.5, (1.0 - v) * height - 0.5
    free_x, free_y = x >= 0.0 and x <= width - 1.0, y >= 0.0 and y <= height - 1.0
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
    return left, top, min(1, width - 1), min(1, height - 1), x - left, y - top, free_x, free_y


@numba.njit(cache=True, nogil=True, inline="always")
def _two_levels(level, count):  # pragma: no cover
    """The finer and the coarser level, and the share of the coarser one."""
    level = min(max(level, 0.0), count - 1.0)
    low = min(int(level), max(count - 2, 0))
    return low, min(low + 1, count - 1), level - low


@numba.njit(cache=True, nogil=True)
def lookup(texels, sizes, first, uv, level, out, start, stop):  # pragma: no cover
    """Colours (S, C) at texture coordinates, blended of four texels in each of two levels."""
    for n in range(start, stop):
        low, high, share = _two_levels(level[n], len(sizes))
        for step in range(2 if share > 0.0 else 1):
            k = low if step == 0 else high
            height, width = sizes[k, 0], sizes[k, 1]
            left, top, right, down, a, b, _, _ = _corner(uv[n, 0], uv[n, 1], height, width)
            i = first[k] + top * width + left
            j = i + down * width
            part = share if step == 1 else 1.0 - share
            for c in range(out.shape[1]):
                upper = texels[i, c] * (1.0 - a) + texels[i + right, c] * a
                lower = texels[j, c] * (1.0 - a) + texels[j + right, c] * a
                value = part * (upper * (1.0 - b) + lower * b)
                out[n, c] = value if step == 0 else out[n, c] + value


@numba.njit(cache=True, nogil=True)
def lookup_coordinates_backward(texels, sizes, first, uv, level, g, g_uv, g_level, start, stop):  # pragma: no cover
    """Gradients of `lookup` by the coordinates and the level."""
    most = len(sizes) - 1.0
    for n in range(start, stop):
        low, high, share = _two_levels(level[n], len(sizes))
        gu, gv, gl = 0.0, 0.0, 0.0
        for step in range(2):
            k = low if step == 0 else high
            height, width = sizes[k, 0], sizes[k, 1]
            left, top, right, down, a, b, free_x, free_y = _corner(uv[n, 0], uv[n, 1], height, width)
            i = first[k] + top * width + left
            j = i + down * width
            part = share if step == 1 else 1.0 - share
            across, along, whole = 0.0, 0.0, 0.0
            for c in range(texels.shape[1]):
                p, q, r, s = texels[i, c], texels[i + right, c], texels[j, c], texels[j + right, c]
                upper, lower = p * (1.0 - a) + q * a, r * (1.0 - a) + s * a
                across += g[n, c] * ((q - p) * (1.0 - b) + (s - r) * b)
                along += g[n, c] * (lower - upper)
                whole += g[n, c] * (upper * (1.0 - b) + lower * b)
            gu += part * across * width if free_x else 0.0
            gv -= part * along * height if free_y else 0.0
            gl += whole if step == 1 else -whole
        g_uv[n, 0], g_uv[n, 1] = gu, gv
        g_level[n] = gl if level[n] >= 0.0 and level[n] <= most else 0.0


@numba.njit(cache=True, nogil=True)
def lookup_texels_backward(sizes, first, uv, level, g, out):  # pragma: no cover
    """Add the gradient of `lookup` by the texels to `out` (T, C), sample after sample."""
    for n in range(len(uv)):
        low, high, share = _two_levels(level[n], len(sizes))
        for step in range(2 if share > 0.0 else 1):
            k = low if step == 0 else high
            height, width = sizes[k, 0], sizes[k, 1]
            left, top, right, down, a, b, _, _ = _corner(uv[n, 0], uv[n, 1], height, width)
            i = first[k] + top * width + left
            j = i + down * width
            part = share if step == 1 else 1.0 - share
            for c in range(out.shape[1]):
                e = part * g[n, c]
                out[i, c] += e * (1.0 - a) * (1.0 - b)
                out[i + right, c] += e * a * (1.0 - b)
                out[j, c] += e * (1.0 - a) * b
                out[j + right, c] += e * a * b
