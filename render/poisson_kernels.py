"""Compiled inner loops of the Poisson blend: relaxation, residual, coarsening and interpolation.

Every grid is stored as a checkerboard.  Cell (i, j) is *red* where i + j is even, else *black*, and an array of shape
(2, H + 2, K + 2) holds colour 0 (red) and colour 1 (black) separately, column j at index ``1 + j // 2`` and row i at
``1 + i``, inside a ring of zeros.  Each colour's neighbours then lie side by side in memory, so that a Gauss-Seidel
half-sweep is a plain vector loop over arrays that it does not write to.

The equation of cell p is ``d_p x_p - sum_q c_pq x_q = f_p``.  On the pixel grid all couplings c are 1 between
pixels of the mask; coarser grids store them, at the red cells, as ``c[0..3]`` = left, right, up, down.  ``w`` is 1/d,
and 0 in cells that are no unknowns: these then stay 0 without a branch, which is the Dirichlet condition.

The relaxation and transfer loops take these arrays raveled, with the row length K + 2 as `pitch`, and count with
unsigned integers: views of rows, and indices that might be negative, cost several times the arithmetic.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = [
    "OUTSIDE", "INSIDE", "BEYOND", "RELAX", "RESTRICT", "CLEAR", "INTERPOLATE", "INVERT",
    "add_correction", "add_interpolated", "boundary_term", "cell_grid", "coarsen", "pixel_grid", "relax_cells",
    "relax_pixels", "restrict_residual", "run_program",
]

OUTSIDE, INSIDE, BEYOND = 0, 1, 2  # codes of a pixel: known, unknown, not in the picture
RELAX, RESTRICT, CLEAR, INTERPOLATE, INVERT = 0, 1, 2, 3, 4  # steps of a program on the coarse grids

# Re-association is not allowed: the order of every sum is as written, the same on every machine.
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nsz"})

_u = np.uint64


@_compiled
def _relax_pixel_row(x, y, f, w, i, o, pitch):
    """x = w (f + sum of the neighbours y) in row i of one colour; its left neighbour is o - 1 places on."""
    start, n, one = _u(i * pitch + 1), _u(pitch - 2), _u(1)
    up, down, left, right = start - _u(pitch), start + _u(pitch), start + _u(o) - one, start + _u(o)
    for k in range(n):
        x[start + k] = w[start + k] * (f[start + k] + ((y[up + k] + y[down + k]) + (y[left + k] + y[right + k])))


@_compiled
def relax_pixels(x, f, w, pitch):
    """One Gauss-Seidel sweep, red then black, where all couplings are 1; black's residual is 0 afterwards."""
    plane = x.shape[0] // 2
    rows = plane // pitch - 2
    red, black = x[:plane], x[plane:]
    for i in range(1, rows + 2):
        # Black follows one row behind red, so that both find their rows in the cache.
        if i <= rows:
            _relax_pixel_row(red, black, f[:plane], w[:plane], i, (i - 1) & 1, pitch)
        if i > 1:
            _relax_pixel_row(black, red, f[plane:], w[plane:], i - 1, (i - 1) & 1, pitch)


@_compiled
def relax_cells(x, f, w, c, pitch):
    """As `relax_pixels`, with the couplings of a coarse grid."""
    plane = x.shape[0] // 2
    rows = plane // pitch - 2
    red, black, f0, f1, w0, w1 = x[:plane], x[plane:], f[:plane], f[plane:], w[:plane], w[plane:]
    n, p, size, one = _u(pitch - 2), _u(pitch), _u(plane), _u(1)
    for i in range(1, rows + 2):
        if i <= rows:
            start, o = _u(i * pitch + 1), _u((i - 1) & 1)
            for k in range(n):
                t = start + k
                vertical = c[size + size + t] * black[t - p] + c[size + size + size + t] * black[t + p]
                horizontal = c[t] * black[t + o - one] + c[size + t] * black[t + o]
                red[t] = w0[t] * (f0[t] + (vertical + horizontal))
        if i > 1:
            # A black cell's coupling to the left is its left neighbour's coupling to the right, and so on.
            start, o = _u((i - 1) * pitch + 1), _u((i - 1) & 1)
            for k in range(n):
                t = start + k
                a, b = t + o - one, t + o
                vertical = c[size + size + size + t - p] * red[t - p] + c[size + size + t + p] * red[t + p]
                horizontal = c[size + a] * red[a] + c[b] * red[b]
                black[t] = w1[t] * (f1[t] + (vertical + horizontal))


@_compiled
def restrict_residual(x, f, w, c, pitch, coarse, pitch2):
    """Write the residual, summed over 2 x 2 cells, to `coarse` and return its largest size before summing.

    Only red cells are visited: black's residual is 0 after a sweep.  ``c`` of length 0 means couplings of 1.
    """
    plane, plane2 = x.shape[0] // 2, coarse.shape[0] // 2
    rows, rows2 = plane // pitch - 2, plane2 // pitch2 - 2
    red, black = x[:plane], x[plane:]
    n, p, size, one, zero = _u(pitch - 2), _u(pitch), _u(plane), _u(1), np.float32(0)
    r = np.zeros(2 * pitch2, np.float32)
    peak = np.zeros(pitch, np.float32)
    for i2 in range(rows2):
        for k in range(n):
            r[k] = zero
        for second in range(min(2, rows - 2 * i2)):
            start, o = _u((2 * i2 + 1 + second) * pitch + 1), _u(second)
            if c.shape[0] == 0:
                for k in range(n):
                    t = start + k
                    s = f[t] + ((black[t - p] + black[t + p]) + (black[t + o - one] + black[t + o]))
                    s = s - red[t] / w[t] if w[t] > zero else zero
                    r[k] += s
                    # A running maximum per column is a vector loop; one over the row is not.
                    s = abs(s)
                    peak[k] = s if s > peak[k] else peak[k]
            else:
                for k in range(n):
                    t = start + k
                    vertical = c[size + size + t] * black[t - p] + c[size + size + size + t] * black[t + p]
                    horizontal = c[t] * black[t + o - one] + c[size + t] * black[t + o]
                    s = f[t] + (vertical + horizontal)
                    r[k] += s - red[t] / w[t] if w[t] > zero else zero
        even = _u((i2 & 1) * plane2 + (i2 + 1) * pitch2 + 1)
        odd = _u((1 - (i2 & 1)) * plane2 + (i2 + 1) * pitch2 + 1)
        for k in range(_u(pitch2 - 2)):
            coarse[even + k] = r[k + k]
            coarse[odd + k] = r[k + k + one]
    largest = zero
    for k in range(n):
        largest = max(largest, peak[k])
    return largest


@_compiled
def add_interpolated(x, w, pitch, e, pitch2, closed):
    """Add the coarse correction `e`, interpolated bilinearly, to the black cells of `x`.

    Red cells need none: the sweep that follows overwrites them.  `closed` holds for left, right, top, bottom whether
    the grid ends at the picture's border; there the correction continues as it is (no flux), elsewhere it is 0 beyond
    the grid.
    """
    plane, plane2 = x.shape[0] // 2, e.shape[0] // 2
    rows, height, width = plane // pitch - 2, plane2 // pitch2 - 2, pitch - 2
    near, far, zero, one = np.float32(0.75), np.float32(0.25), np.float32(0), _u(1)
    black, free = x[plane:], w[plane:]
    v = np.zeros(2 * pitch2, np.float32)
    for i in range(rows):
        above = i >> 1
        other = above - 1 if i & 1 == 0 else above + 1
        if other < 0 and closed[2]:
            other = 0
        if other >= height and closed[3]:
            other = height - 1
        row, row2 = (above + 1) * pitch2 + 1, (other + 1) * pitch2 + 1
        a, b = _u((above & 1) * plane2 + row), _u((other & 1) * plane2 + row2)
        c, d = _u((1 - (above & 1)) * plane2 + row), _u((1 - (other & 1)) * plane2 + row2)
        for k in range(_u(pitch2 - 2)):
            v[k + k + one] = near * e[a + k] + far * e[b + k]
            v[k + k + one + one] = near * e[c + k] + far * e[d + k]
        v[0] = v[1] if closed[0] else zero
        v[width + 1] = v[width] if closed[1] else zero
        # Black cells of an even row are right children, those of an odd row left children.
        start, beside = _u((i + 1) * pitch + 1), _u(2 if i & 1 == 0 else 0)
        for k in range(_u(width)):
            t = start + k
            s = near * v[k + one] + far * v[k + beside]
            black[t] += s if free[t] > zero else zero


@_compiled
def _apply_inverse(x, f, pitch, inverse):
    """x = inverse f on the coarsest grid, cells counted colour by colour, row by row, without the ring."""
    rows, n = x.shape[0] // (2 * pitch), pitch - 2
    out = np.zeros(inverse.shape[0], np.float32)
    cell = 0
    for row in range(2 * rows):
        if 0 < row % rows < rows - 1:
            for k in range(n):
                # The matrix is symmetric: its rows are its columns, and adding these up is a vector loop.
                value, column = f[row * pitch + 1 + k], inverse[cell]
                for other in range(out.shape[0]):
                    out[other] += value * column[other]
                cell += 1
    cell = 0
    for row in range(2 * rows):
        if 0 < row % rows < rows - 1:
            for k in range(n):
                x[row * pitch + 1 + k] = out[cell]
                cell += 1


@_compiled
def run_program(program, table, x, f, w, c, inverse, closed):
    """Carry out the steps of a multigrid cycle on the coarse grids.

    `program` is (S, 2): step and grid.  Row g of `table` holds for grid g where its arrays start in the packed
    x, f, w (twice that in c), where they end, and its pitch.
    """
    for step in range(program.shape[0]):
        what, g = program[step, 0], program[step, 1]
        a, b, pitch = table[g, 0], table[g, 1], table[g, 2]
        if what == CLEAR:
            for t in range(a, b):
                x[t] = np.float32(0)
        elif what == INVERT:
            _apply_inverse(x[a:b], f[a:b], pitch, inverse)
        elif what == RELAX:
            relax_cells(x[a:b], f[a:b], w[a:b], c[2 * a : 2 * b], pitch)
        else:
            a2, b2, pitch2 = table[g + 1, 0], table[g + 1, 1], table[g + 1, 2]
            if what == RESTRICT:
                restrict_residual(x[a:b], f[a:b], w[a:b], c[2 * a : 2 * b], pitch, f[a2:b2], pitch2)
            else:
                add_interpolated(x[a:b], w[a:b], pitch, x[a2:b2], pitch2, closed)


@_compiled
def pixel_grid(code, screening, has_screening, w, right, down, outer):
    """Fill ``w`` of the pixel grid, and the couplings of the grid half as fine.

    `code` is (h + 2, w + 2) with a ring; `right`, `down`, `outer` are the zeroed full-layout arrays of the coarse
    grid: coupling to the right, downwards, and the stiffness that ties a cell to the known pixels (and the screening).
    """
    half = np.float32(0.5)
    for i in range(code.shape[0] - 2):
        I = i >> 1
        for j in range(code.shape[1] - 2):
            if code[i + 1, j + 1] != INSIDE:
                continue
            J = j >> 1
            l, r, u, d = code[i + 1, j], code[i + 1, j + 2], code[i, j + 1], code[i + 2, j + 1]
            known = np.float32((l == OUTSIDE) + (r == OUTSIDE) + (u == OUTSIDE) + (d == OUTSIDE))
            if has_screening:
                known += screening[i, j]
            free = (l == INSIDE) + (r == INSIDE) + (u == INSIDE) + (d == INSIDE)
            total = known + np.float32(free)
            w[(i + j) & 1, i + 1, (j >> 1) + 1] = np.float32(1) / total if total > 0 else np.float32(0)
            outer[I, J] += known
            # Half of the links that cross: two links over twice the distance count as one.
            if j & 1 and r == INSIDE:
                right[I, J] += half
            if i & 1 and d == INSIDE:
                down[I, J] += half


@_compiled
def coarsen(right, down, outer, right2, down2, outer2):
    """Couplings of the next coarser grid from those of a grid, both in full layout; the output arrives zeroed."""
    half = np.float32(0.5)
    for i in range(outer.shape[0]):
        I = i >> 1
        for j in range(outer.shape[1]):
            J = j >> 1
            outer2[I, J] += outer[i, j]
            if j & 1:
                right2[I, J] += half * right[i, j]
            if i & 1:
                down2[I, J] += half * down[i, j]


@_compiled
def cell_grid(right, down, outer, w, c):
    """Bring full-layout couplings into the checkerboard arrays ``w`` and ``c``; both arrive zeroed."""
    for i in range(outer.shape[0]):
        for j in range(outer.shape[1]):
            l = right[i, j - 1] if j > 0 else np.float32(0)
            u = down[i - 1, j] if i > 0 else np.float32(0)
            total = (outer[i, j] + (l + right[i, j])) + (u + down[i, j])
            k = (j >> 1) + 1
            colour = (i + j) & 1
            w[colour, i + 1, k] = np.float32(1) / total if total > 0 else np.float32(0)
            if colour == 0:
                c[0, i + 1, k] = l
                c[1, i + 1, k] = right[i, j]
                c[2, i + 1, k] = u
                c[3, i + 1, k] = down[i, j]


@_compiled
def boundary_term(code, source, photo, f):
    """Fill `f` (3, 2, H + 2, K + 2), zeroed, with photo - source summed over the known neighbours of each unknown.

    `code`, `source`, `photo` cover the same window, one pixel wider on every side than the grid.
    """
    for i in range(1, code.shape[0] - 1):
        for j in range(1, code.shape[1] - 1):
            if code[i, j] != INSIDE:
                continue
            l, r, u, d = code[i, j - 1], code[i, j + 1], code[i - 1, j], code[i + 1, j]
            if l != OUTSIDE and r != OUTSIDE and u != OUTSIDE and d != OUTSIDE:
                continue
            k, colour = ((j - 1) >> 1) + 1, (i + j) & 1
            for channel in range(3):
                t = np.float32(0)
                if l == OUTSIDE:
                    t += photo[i, j - 1, channel] - source[i, j - 1, channel]
                if r == OUTSIDE:
                    t += photo[i, j + 1, channel] - source[i, j + 1, channel]
                if u == OUTSIDE:
                    t += photo[i - 1, j, channel] - source[i - 1, j, channel]
                if d == OUTSIDE:
                    t += photo[i + 1, j, channel] - source[i + 1, j, channel]
                f[channel, colour, i, k] = t


@_compiled
def add_correction(code, source, x, out):
    """out = source + x in the unknowns; `code`, `source`, `out` are windows as in `boundary_term`."""
    for i in range(1, code.shape[0] - 1):
        for j in range(1, code.shape[1] - 1):
            if code[i, j] == INSIDE:
                k, colour = ((j - 1) >> 1) + 1, (i + j) & 1
                out[i, j, 0] = source[i, j, 0] + x[0, colour, i, k]
                out[i, j, 1] = source[i, j, 1] + x[1, colour, i, k]
                out[i, j, 2] = source[i, j, 2] + x[2, colour, i, k]
