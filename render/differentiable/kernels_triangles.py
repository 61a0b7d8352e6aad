"""Compiled loops over the pixels of triangles: draw what is nearest, and gather gradients from there.

A triangle's edge functions are the rows of the adjugate of the matrix of its corners (Olano and
Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", Graphics Hardware 1997), so a
triangle that crosses the camera plane is drawn without being cut: each pixel compares its depth
with the near plane instead.  Two triangles compute the same numbers with opposite signs for the
edge they share, so every pixel on it belongs to exactly one of them (top-left rule).

Divided by the determinant the rows are the inverse of the matrix.  Its product with a pixel (x, y, 1)
is the barycentric coordinates divided by the depth, and their sum 1 / depth; values at corners, taken
with the same rows, become planes over the screen.
"""

# Compiled code is not seen by coverage tools.  Numba's cache does not see changes in other files: after
# changing `adjugate`, `pick` or `blend`, remove the `__pycache__` folders.
from __future__ import annotations

import numba
import numpy as np

from affect3d.render.differentiable.kernels_outlines import blend, no_picks, pick, picked

__all__ = ["add_tables", "adjugate", "draw", "gather", "gather_pixels"]

_DOUBT = 1e-6  # px; nearer to an edge than this, the edge function itself decides


@numba.njit(cache=True, nogil=True, inline="always")
def adjugate(points, a, b, c):  # pragma: no cover
    """Rows of the adjugate of a triangle's corners, one row a corner, and its determinant."""
    x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
    x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
    x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
    ax, ay, az = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    bx, by, bz = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
    cx, cy, cz = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
    return ax, ay, az, bx, by, bz, cx, cy, cz, x0 * ax + y0 * ay + z0 * az


@numba.njit(cache=True, nogil=True, inline="always")
def _rows(points, a, b, c):  # pragma: no cover
    """As `adjugate`, with signs so that the inside is positive, and the inverse of the determinant."""
    ax, ay, az, bx, by, bz, cx, cy, cz, det = adjugate(points, a, b, c)
    if det < 0.0:
        ax, ay, az, bx, by, bz, cx, cy, cz = -ax, -ay, -az, -bx, -by, -bz, -cx, -cy, -cz
        det = -det
    return ax, ay, az, bx, by, bz, cx, cy, cz, 1.0 / det


@numba.njit(cache=True, nogil=True)
def _in(w, slope, fall):  # pragma: no cover
    # an edge of value 0 counts if the inside is to its right, or below it
    return w > 0.0 or (w == 0.0 and (slope > 0.0 or (slope == 0.0 and fall > 0.0)))


@numba.njit(cache=True, nogil=True, inline="always")
def _spans(
    ax, ay, az, bx, by, bz, cx, cy, cz, left, right, top, bottom, starts, stops
):  # pragma: no cover
    """First and last pixel inside all three edges, of each row from top to bottom.

    Where an edge crosses a row is known to far less than `_DOUBT` of a pixel; only pixels that near to
    it are tested by the signs themselves, so the outcome is that of testing every pixel.  The rows are done
    in a loop of their own and without branches, because a wrong guess at the end of each row's pixels
    would otherwise keep the next row waiting.
    """
    ia = -1.0 / ax if ax != 0.0 else 0.0
    ib = -1.0 / bx if bx != 0.0 else 0.0
    ic = -1.0 / cx if cx != 0.0 else 0.0
    least, most = left - 0.5, right + 0.5
    doubt = ax == 0.0 or bx == 0.0 or cx == 0.0  # an edge along the rows
    for n in range(bottom - top + 1):
        y = float(top + n)
        ta, tb, tc = (ay * y + az) * ia, (by * y + bz) * ib, (cy * y + cz) * ic
        low = max(max(ta if ax > 0.0 else least, tb if bx > 0.0 else least), max(tc if cx > 0.0 else least, least))
        high = min(min(ta if ax < 0.0 else most, tb if bx < 0.0 else most), min(tc if cx < 0.0 else most, most))
        low, high = min(low, most + 1.0), max(high, least - 1.0)
        first, last = np.ceil(low - _DOUBT), np.floor(high + _DOUBT)
        doubt |= (first - low <= _DOUBT) | (high - last <= _DOUBT)
        starts[n], stops[n] = np.int32(first), np.int32(last)
    if doubt:
        for n in range(bottom - top + 1):
            y = float(top + n)
            ra, rb, rc = ay * y + az, by * y + bz, cy * y + cz
            start, stop = starts[n], stops[n]
            while start <= stop and not (
                _in(ax * start + ra, ax, ay) and _in(bx * start + rb, bx, by) and _in(cx * start + rc, cx, cy)
            ):
                start += 1
            while start <= stop and not (
                _in(ax * stop + ra, ax, ay) and _in(bx * stop + rb, bx, by) and _in(cx * stop + rc, cx, cy)
            ):
                stop -= 1
            starts[n], stops[n] = start, stop


@numba.njit(cache=True, nogil=True)
def draw(
    points, faces, entries, first, box, bits, band0, band1, near, face, closeness,
    background, colours, picture, outlines, reach,
):  # pragma: no cover  # fmt: skip
    """Draw bands from band0 to band1: which triangle is nearest, and with `colours` (V, 3), not None, the picture.

    Parameters
    ----------
    entries, first : (N,) int32, (K + 1,) int64
        Triangles that meet each band, as `band_lists` gives.  Of equal depths the first wins.
    face : (H, W) int32
        Receives the triangle, -1 where there is none.
    closeness : (H, W) or (2**bits, W) float64
        Receives 1 / depth, 0 where there is none.  If it is only as high as a band, all use it one after
        the other, and it stays in the cache.
    background : (H, 3 W) or (1, 3 W)
        One row or all of what lies behind.
    picture : (H, W, 3)
    outlines : tuple
        Edges, number, outward, owner, entries, first and box of the outlines, for `pick`.

    Returns
    -------
    place : (M,) int64
        Pixels, ``y * width + x``, that outlines lie over, in the order of bands and edges.
    half : (M,) int64
        Half-edge of a triangle beside the outline.
    below : (M, 3)
        The picture's colours without the outlines.
    """
    height, width = face.shape
    limit = 1.0 / near
    starts, stops = np.empty(1 << bits, np.int32), np.empty(1 << bits, np.int32)
    if colours is not None:
        edges, number, outward, owner, edge_entries, edge_first, edge_box = outlines
        flat = picture.reshape(height, 3 * width)
        slot = np.full(closeness.shape, -1, np.int32)
        picks = no_picks()
    for band in range(band0, band1):
        row0, row1 = band << bits, min((band + 1) << bits, height)
        shift = row0 if len(closeness) < height else 0
        for y in range(row0, row1):
            closeness[y - shift, :] = 0.0
            face[y, :] = -1
            if colours is not None:
                flat[y, :] = background[y if len(background) > 1 else 0, :]
        for n in range(first[band], first[band + 1]):
            f = entries[n]
            top, bottom = max(box[f, 2], row0), min(box[f, 3], row1 - 1)
            left, right = box[f, 0], box[f, 1]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az, bx, by, bz, cx, cy, cz, inverse = _rows(points, a, b, c)
            _spans(ax, ay, az, bx, by, bz, cx, cy, cz, left, right, top, bottom, starts, stops)
            # 1 / depth is linear on the screen
            kx, ky, kz = (ax + bx + cx) * inverse, (ay + by + cy) * inverse, (az + bz + cz) * inverse
            if colours is not None:
                c0, c1, c2 = colours[a, 0] * inverse, colours[b, 0] * inverse, colours[c, 0] * inverse
                rx, ry, rz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
                c0, c1, c2 = colours[a, 1] * inverse, colours[b, 1] * inverse, colours[c, 1] * inverse
                gx, gy, gz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
                c0, c1, c2 = colours[a, 2] * inverse, colours[b, 2] * inverse, colours[c, 2] * inverse
                hx, hy, hz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
            for y in range(top, bottom + 1):
                k = ky * y + kz
                if colours is not None:
                    r, g, h = ry * y + rz, gy * y + gz, hy * y + hz
                for x in range(starts[y - top], stops[y - top] + 1):
                    near_by = kx * x + k
                    if near_by > closeness[y - shift, x] and near_by <= limit:
                        closeness[y - shift, x] = near_by
                        face[y, x] = f
                        if colours is not None:
                            z = 1.0 / near_by
                            picture[y, x, 0] = (rx * x + r) * z
                            picture[y, x, 1] = (gx * x + g) * z
                            picture[y, x, 2] = (hx * x + h) * z
        if colours is not None and edge_first[band + 1] > edge_first[band]:
            picks = pick(
                points, edges, number, outward, edge_entries, edge_first[band], edge_first[band + 1], edge_box,
                near, reach, row0, row1, closeness, shift, slot, picks,
            )  # fmt: skip
    if colours is not None:
        place, half = picked(picks, owner)
        below = np.empty((len(place), 3), picture.dtype)
        blend(points, faces, half, place, near, reach, colours, picture, below)
        return place, half, below
    return None


@numba.njit(cache=True, nogil=True, inline="always")
def _spread(faces, colours, f, ax, ay, az, bx, by, bz, cx, cy, cz, inverse, moments, out):  # pragma: no cover
    """Add to `out` (V, 6), positions and colours, the gradient that a triangle's `moments` stand for.

    With a_j the rows of the inverse, P_k the plane of channel k over the depth, A that of 1 over it, and
    M_k = sum of g_k z (x, y, 1) over the pixels, M = the same with the sum of g_k times the colour for g_k:
    corner j's colour has the gradient a_j . M_k, and its position A (a_j . M) - sum P_k (a_j . M_k).
    """
    ax, ay, az, bx, by, bz = ax * inverse, ay * inverse, az * inverse, bx * inverse, by * inverse, bz * inverse
    cx, cy, cz = cx * inverse, cy * inverse, cz * inverse
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    m = moments
    da, db, dc = (ax * m[9] + ay * m[10] + az * m[11], bx * m[9] + by * m[10] + bz * m[11],
                  cx * m[9] + cy * m[10] + cz * m[11])  # fmt: skip
    px, py, pz = ax + bx + cx, ay + by + cy, az + bz + cz
    xa, ya, za, xb, yb, zb, xc, yc, zc = px * da, py * da, pz * da, px * db, py * db, pz * db, px * dc, py * dc, pz * dc
    for k in range(3):
        mx, my, mz = m[3 * k], m[3 * k + 1], m[3 * k + 2]
        da, db, dc = ax * mx + ay * my + az * mz, bx * mx + by * my + bz * mz, cx * mx + cy * my + cz * mz
        out[a, 3 + k] += da
        out[b, 3 + k] += db
        out[c, 3 + k] += dc
        c0, c1, c2 = colours[a, k], colours[b, k], colours[c, k]
        px, py, pz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
        xa, ya, za = xa - px * da, ya - py * da, za - pz * da
        xb, yb, zb = xb - px * db, yb - py * db, zb - pz * db
        xc, yc, zc = xc - px * dc, yc - py * dc, zc - pz * dc
    out[a, 0] += xa
    out[a, 1] += ya
    out[a, 2] += za
    out[b, 0] += xb
    out[b, 1] += yb
    out[b, 2] += zb
    out[c, 0] += xc
    out[c, 1] += yc
    out[c, 2] += zc


@numba.njit(cache=True, nogil=True)
def gather(points, faces, entries, first, box, bits, band0, band1, face, colours, gradient, out):  # pragma: no cover
    """Add to `out` (V, 6), positions and colours, what the gradient (H, W, 3) says where listed triangles are seen.

    Sums over the pixels of a triangle come first, its corners after.
    """
    moments = np.zeros(12)
    starts, stops = np.empty(1 << bits, np.int32), np.empty(1 << bits, np.int32)
    for band in range(band0, band1):
        row0, row1 = band << bits, min((band + 1) << bits, len(face))
        for n in range(first[band], first[band + 1]):
            f = entries[n]
            top, bottom = max(box[f, 2], row0), min(box[f, 3], row1 - 1)
            left, right = box[f, 0], box[f, 1]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az, bx, by, bz, cx, cy, cz, inverse = _rows(points, a, b, c)
            _spans(ax, ay, az, bx, by, bz, cx, cy, cz, left, right, top, bottom, starts, stops)
            kx, ky, kz = (ax + bx + cx) * inverse, (ay + by + cy) * inverse, (az + bz + cz) * inverse
            c0, c1, c2 = colours[a, 0] * inverse, colours[b, 0] * inverse, colours[c, 0] * inverse
            rx, ry, rz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
            c0, c1, c2 = colours[a, 1] * inverse, colours[b, 1] * inverse, colours[c, 1] * inverse
            gx, gy, gz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
            c0, c1, c2 = colours[a, 2] * inverse, colours[b, 2] * inverse, colours[c, 2] * inverse
            hx, hy, hz = ax * c0 + bx * c1 + cx * c2, ay * c0 + by * c1 + cy * c2, az * c0 + bz * c1 + cz * c2
            seen = 0
            r1, r2, r3, g1, g2, g3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            h1, h2, h3, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(top, bottom + 1):
                k, r, g, h = ky * y + kz, ry * y + rz, gy * y + gz, hy * y + hz
                mr, mg, mh, ms = 0.0, 0.0, 0.0, 0.0
                for x in range(starts[y - top], stops[y - top] + 1):
                    if face[y, x] != f:
                        continue
                    seen += 1
                    z = 1.0 / (kx * x + k)
                    er, eg, eh = gradient[y, x, 0] * z, gradient[y, x, 1] * z, gradient[y, x, 2] * z
                    es = ((rx * x + r) * er + (gx * x + g) * eg + (hx * x + h) * eh) * z
                    mr, mg, mh, ms = mr + er, mg + eg, mh + eh, ms + es
                    r1, g1, h1, s1 = r1 + er * x, g1 + eg * x, h1 + eh * x, s1 + es * x
                r2, g2, h2, s2 = r2 + mr * y, g2 + mg * y, h2 + mh * y, s2 + ms * y
                r3, g3, h3, s3 = r3 + mr, g3 + mg, h3 + mh, s3 + ms
            if seen > 0:
                moments[0], moments[1], moments[2], moments[3], moments[4], moments[5] = r1, r2, r3, g1, g2, g3
                moments[6], moments[7], moments[8], moments[9], moments[10], moments[11] = h1, h2, h3, s1, s2, s3
                _spread(faces, colours, f, ax, ay, az, bx, by, bz, cx, cy, cz, inverse, moments, out)


@numba.njit(cache=True, nogil=True)
def gather_pixels(points, faces, face, place, gradient, colours, out):  # pragma: no cover
    """As `gather`, for single pixels at `place` (N,) of the picture with gradients (N, 3)."""
    moments = np.zeros(12)
    width = face.shape[1]
    for n in range(len(place)):
        y, x = place[n] // width, place[n] % width
        f = face[y, x]
        if f < 0:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az, bx, by, bz, cx, cy, cz, inverse = _rows(points, a, b, c)
        wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
        z = 1.0 / ((wa + wb + wc) * inverse)
        total = 0.0
        for k in range(3):
            e = gradient[n, k] * z
            total += e * (wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]) * inverse * z
            moments[3 * k], moments[3 * k + 1], moments[3 * k + 2] = e * x, e * y, e
        moments[9], moments[10], moments[11] = total * x, total * y, total
        _spread(faces, colours, f, ax, ay, az, bx, by, bz, cx, cy, cz, inverse, moments, out)


@numba.njit(cache=True, nogil=True)
def add_tables(tables, positions, colours, start, stop):  # pragma: no cover
    """Sums of tables (K, V, 6), in order: three columns for positions (V, 3) and three for colours (V, 3)."""
    for v in range(start, stop):
        for c in range(3):
            p, q = tables[0, v, c], tables[0, v, 3 + c]
            for k in range(1, len(tables)):
                p += tables[k, v, c]
                q += tables[k, v, 3 + c]
            positions[v, c] = p
            colours[v, c] = q
