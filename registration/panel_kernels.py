"""Substitution with the panels of a factored matrix, compiled; see `registration.panels`."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["invert_tops", "substitute"]

# sums may be split into lanes, which compiles to the same order every time
_FAST = {"reassoc", "contract", "nsz"}


@numba.njit(cache=True, nogil=True, fastmath=_FAST)
def substitute(first, starts, rows, values, inverse, place, forces):  # pragma: no cover - compiled
    """Solve L D L^T x = forces, one panel after the other there and back.

    Parameters
    ----------
    first : (P + 1,) int64
        First column of each panel, and the number of columns.
    starts : (P + 1,) int64
        Where the panel's rows below its own begin in `rows`.
    rows : (R,) int64
    values : (E,) float64
        The panels, one after the other, each column by column: 1 / T over B / T, where T are the rows of L that its
        columns have, and B those below.
    inverse : (V,) float64
        1 / D.
    place : (V,) int64
        Where a vertex is in the order of elimination.
    forces : (V, 3) float64

    Returns
    -------
    (V, 3) float64
    """
    count, panels = len(place), len(first) - 1
    x, out = np.empty((count, 3)), np.empty((count, 3))
    for v in range(count):
        for d in range(3):
            x[place[v], d] = forces[v, d]
    highest = 0
    for p in range(panels):
        highest = max(highest, first[p + 1] - first[p] + starts[p + 1] - starts[p])
    block = np.empty((3, highest))
    begin = 0
    for p in range(panels):
        own, below = x[first[p] : first[p + 1]], rows[starts[p] : starts[p + 1]]
        end = begin + len(own) * (len(own) + len(below))
        _forward(values[begin:end], own, below, x, block)
        begin = end
    for v in range(count):
        for d in range(3):
            x[v, d] *= inverse[v]
    for p in range(panels - 1, -1, -1):
        own, below = x[first[p] : first[p + 1]], rows[starts[p] : starts[p + 1]]
        end, begin = begin, begin - len(own) * (len(own) + len(below))
        _backward(values[begin:end], own, below, x, block)
    for v in range(count):
        for d in range(3):
            out[v, d] = x[place[v], d]
    return out


@numba.njit(cache=True, nogil=True, fastmath=_FAST)
def _forward(panel, own, below, x, block):  # pragma: no cover - compiled
    """Solve for the panel's `own` (W, 3) and take what they say off the rows `below` of `x`."""
    width, height = len(own), len(own) + len(below)
    # an array for each coordinate: so the loop over rows runs in lanes
    a, b, c = block[0, :height], block[1, :height], block[2, :height]
    a[:], b[:], c[:] = 0.0, 0.0, 0.0
    for k in range(width):
        column = panel[k * height : (k + 1) * height]
        p, q, s = own[k, 0], own[k, 1], own[k, 2]
        for r in range(height):
            a[r] += column[r] * p
            b[r] += column[r] * q
            c[r] += column[r] * s
    for r in range(width):
        own[r, 0], own[r, 1], own[r, 2] = a[r], b[r], c[r]
    a, b, c = a[width:], b[width:], c[width:]
    for r in range(len(below)):
        i = below[r]
        x[i, 0] -= a[r]
        x[i, 1] -= b[r]
        x[i, 2] -= c[r]


@numba.njit(cache=True, nogil=True, fastmath=_FAST)
def _backward(panel, own, below, x, block):  # pragma: no cover - compiled
    """Solve for the panel's `own` (W, 3) by the transposed panel, with what the rows `below` of `x` are."""
    width, height = len(own), len(own) + len(below)
    a, b, c = block[0, :height], block[1, :height], block[2, :height]
    for r in range(width):
        a[r], b[r], c[r] = own[r, 0], own[r, 1], own[r, 2]
    u, v, w = a[width:], b[width:], c[width:]
    for r in range(len(below)):
        i = below[r]
        u[r], v[r], w[r] = -x[i, 0], -x[i, 1], -x[i, 2]
    for k in range(width):
        column = panel[k * height : (k + 1) * height]
        p = q = s = 0.0
        for r in range(height):
            p += column[r] * a[r]
            q += column[r] * b[r]
            s += column[r] * c[r]
        own[k, 0], own[k, 1], own[k, 2] = p, q, s


@numba.njit(cache=True, nogil=True)
def invert_tops(first, starts, values):  # pragma: no cover - compiled
    """Turn each panel T over B, T unit lower triangular, into 1 / T over B / T, in place.

    Parameters
    ----------
    first, starts, values
        As `substitute` takes them, but with T, of which the diagonal is not looked at, and B.
    """
    begin = 0
    for p in range(len(first) - 1):
        width = first[p + 1] - first[p]
        height = width + starts[p + 1] - starts[p]
        panel = values[begin : begin + width * height].reshape(width, height)
        begin += width * height
        top = panel[:, :width].copy()
        for k in range(width - 1, -1, -1):
            panel[k, :width] = 0.0
            panel[k, k] = 1.0
            for j in range(k + 1, width):
                if top[k, j] != 0:
                    for r in range(height):
                        panel[k, r] -= panel[j, r] * top[k, j]
