"""Compiled loops over lists of samples: coordinates in triangles, values there, and the gradients of both.

Neighbours in a list mostly see the same triangle: what belongs to the triangle is computed once a run of
equal ones, and gradients are added up over the run before they go to the triangle's corners.
"""

# Compiled code is not seen by coverage tools.
from __future__ import annotations

import numba

from affect3d.render.differentiable.kernels_triangles import adjugate

__all__ = ["barycentric_backward", "barycentric_forward", "interpolate_backward", "interpolate_forward",
           "list_covered", "put_rows", "row_counts", "take_rows"]  # fmt: skip


@numba.njit(cache=True, nogil=True)
def row_counts(face, counts, start, stop):  # pragma: no cover
    """Covered pixels of the rows from start to stop of `face` (R, W)."""
    for y in range(start, stop):
        count = 0
        for x in range(face.shape[1]):
            count += face[y, x] >= 0
        counts[y] = count


@numba.njit(cache=True, nogil=True)
def list_covered(face, height, begin, place, seen, pixel, start, stop):  # pragma: no cover
    """List the covered pixels of those rows; those of row y go to ``begin[y]`` and on."""
    width = face.shape[1]
    for row in range(start, stop):
        n, y = begin[row], row % height
        for x in range(width):
            f = face[row, x]
            if f >= 0:
                place[n] = row * width + x
                seen[n] = f
                pixel[n, 0], pixel[n, 1] = x, y
                n += 1


@numba.njit(cache=True, nogil=True)
def barycentric_forward(points, faces, face, pixel, weights, depth, start, stop):  # pragma: no cover
    """Perspective-correct coordinates and depth of samples (face, pixel)."""
    n = start
    while n < stop:
        f = face[n]
        ax, ay, az, bx, by, bz, cx, cy, cz, det = adjugate(points, faces[f, 0], faces[f, 1], faces[f, 2])
        while n < stop and face[n] == f:
            x, y = pixel[n, 0], pixel[n, 1]
            wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
            inverse = 1.0 / (wa + wb + wc)
            weights[n, 0], weights[n, 1], weights[n, 2] = wa * inverse, wb * inverse, wc * inverse
            depth[n] = det * inverse
            n += 1


@numba.njit(cache=True, nogil=True)
def barycentric_backward(points, faces, face, pixel, g_weights, g_depth, out, start, stop):  # pragma: no cover
    """Add the gradient of the samples from start to stop to `out` (V, 3).

    With N the matrix of the corners and q = N^-1 p, the coordinates are b = q / sum(q) and the depth
    is z = 1 / sum(q); dq = -N^-1 dN q, so corner i receives -(N^-T h) b_i / z, where
    h = z (g_b - (g_b . b)) - g_z z^2.  For one triangle N^-T comes out of the sum over samples.
    """
    n = start
    while n < stop:
        f = face[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az, bx, by, bz, cx, cy, cz, det = adjugate(points, a, b, c)
        # sums of h_i b_j / z
        aa, ab, ac, ba, bb, bc, ca, cb, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        while n < stop and face[n] == f:
            x, y = pixel[n, 0], pixel[n, 1]
            wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
            inverse = 1.0 / (wa + wb + wc)
            wa, wb, wc = wa * inverse, wb * inverse, wc * inverse
            ga, gb, gc = g_weights[n, 0], g_weights[n, 1], g_weights[n, 2]
            common = ga * wa + gb * wb + gc * wc + g_depth[n] * det * inverse
            ga, gb, gc = ga - common, gb - common, gc - common
            aa, ab, ac = aa + ga * wa, ab + ga * wb, ac + ga * wc
            ba, bb, bc = ba + gb * wa, bb + gb * wb, bc + gb * wc
            ca, cb, cc = ca + gc * wa, cb + gc * wb, cc + gc * wc
            n += 1
        scale = -1.0 / det
        ax, ay, az, bx, by, bz = ax * scale, ay * scale, az * scale, bx * scale, by * scale, bz * scale
        cx, cy, cz = cx * scale, cy * scale, cz * scale
        out[a, 0] += ax * aa + bx * ba + cx * ca
        out[a, 1] += ay * aa + by * ba + cy * ca
        out[a, 2] += az * aa + bz * ba + cz * ca
        out[b, 0] += ax * ab + bx * bb + cx * cb
        out[b, 1] += ay * ab + by * bb + cy * cb
        out[b, 2] += az * ab + bz * bb + cz * cb
        out[c, 0] += ax * ac + bx * bc + cx * cc
        out[c, 1] += ay * ac + by * bc + cy * cc
        out[c, 2] += az * ac + bz * bc + cz * cc


@numba.njit(cache=True, nogil=True)
def interpolate_forward(values, faces, face, weights, out, start, stop):  # pragma: no cover
    n = start
    while n < stop:
        f = face[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        first = n
        if values.shape[1] == 3:  # the usual case, colours and normals, reads each weight once
            a0, b0, c0 = values[a, 0], values[b, 0], values[c, 0]
            a1, b1, c1 = values[a, 1], values[b, 1], values[c, 1]
            a2, b2, c2 = values[a, 2], values[b, 2], values[c, 2]
            while n < stop and face[n] == f:
                wa, wb, wc = weights[n, 0], weights[n, 1], weights[n, 2]
                out[n, 0] = wa * a0 + wb * b0 + wc * c0
                out[n, 1] = wa * a1 + wb * b1 + wc * c1
                out[n, 2] = wa * a2 + wb * b2 + wc * c2
                n += 1
            continue
        while n < stop and face[n] == f:
            n += 1
        for k in range(values.shape[1]):
            va, vb, vc = values[a, k], values[b, k], values[c, k]
            for s in range(first, n):
                out[s, k] = weights[s, 0] * va + weights[s, 1] * vb + weights[s, 2] * vc


@numba.njit(cache=True, nogil=True)
def interpolate_backward(values, faces, face, weights, g, g_weights, out, start, stop):  # pragma: no cover
    n = start
    while n < stop:
        f = face[n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        first = n
        if values.shape[1] == 3:
            a0, b0, c0 = values[a, 0], values[b, 0], values[c, 0]
            a1, b1, c1 = values[a, 1], values[b, 1], values[c, 1]
            a2, b2, c2 = values[a, 2], values[b, 2], values[c, 2]
            ga0, gb0, gc0, ga1, gb1, gc1, ga2, gb2, gc2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            while n < stop and face[n] == f:
                wa, wb, wc = weights[n, 0], weights[n, 1], weights[n, 2]
                g0, g1, g2 = g[n, 0], g[n, 1], g[n, 2]
                g_weights[n, 0] = g0 * a0 + g1 * a1 + g2 * a2
                g_weights[n, 1] = g0 * b0 + g1 * b1 + g2 * b2
                g_weights[n, 2] = g0 * c0 + g1 * c1 + g2 * c2
                ga0, gb0, gc0 = ga0 + wa * g0, gb0 + wb * g0, gc0 + wc * g0
                ga1, gb1, gc1 = ga1 + wa * g1, gb1 + wb * g1, gc1 + wc * g1
                ga2, gb2, gc2 = ga2 + wa * g2, gb2 + wb * g2, gc2 + wc * g2
                n += 1
            out[a, 0] += ga0
            out[a, 1] += ga1
            out[a, 2] += ga2
            out[b, 0] += gb0
            out[b, 1] += gb1
            out[b, 2] += gb2
            out[c, 0] += gc0
            out[c, 1] += gc1
            out[c, 2] += gc2
            continue
        while n < stop and face[n] == f:
            g_weights[n, 0], g_weights[n, 1], g_weights[n, 2] = 0.0, 0.0, 0.0
            n += 1
        for k in range(values.shape[1]):
            va, vb, vc = values[a, k], values[b, k], values[c, k]
            ga, gb, gc = 0.0, 0.0, 0.0
            for s in range(first, n):
                gk = g[s, k]
                ga, gb, gc = ga + weights[s, 0] * gk, gb + weights[s, 1] * gk, gc + weights[s, 2] * gk
                g_weights[s, 0] += gk * va
                g_weights[s, 1] += gk * vb
                g_weights[s, 2] += gk * vc
            out[a, k] += ga
            out[b, k] += gb
            out[c, k] += gc


@numba.njit(cache=True, nogil=True)
def put_rows(values, place, out, start, stop):  # pragma: no cover
    """Rows of `values` (S, C) to their places in `out` (P, C)."""
    for s in range(start, stop):
        for k in range(values.shape[1]):
            out[place[s], k] = values[s, k]


@numba.njit(cache=True, nogil=True)
def take_rows(gradient, place, out, start, stop):  # pragma: no cover
    """Rows of `gradient` (P, C) at places into `out` (S, C)."""
    for s in range(start, stop):
        for k in range(out.shape[1]):
            out[s, k] = gradient[place[s], k]
