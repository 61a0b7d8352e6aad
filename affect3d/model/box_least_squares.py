"""Least squares in a box for very many right-hand sides that share one small matrix.

For each row b of products the w in [low, 1]^K with the least ``w (H + ridge I) w - 2 b w``: the weights of a frame x
for fixed components C, with ``H = C C^T`` and ``b = C x``.  Coordinate descent, one coordinate after the other, on
tiles of rows that lie side by side in the processor's cache; each gradient is computed anew from the weights, so
rounding errors do not grow and single precision is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from affect3d.model.row_slices import in_slices

__all__ = ["BoxSolution", "box_least_squares", "solution_without_box"]

#: Rows of a tile.  A fixed number, padded, so that every row sees the same instructions wherever it stands.
_TILE = 32
#: Rows that a thread solves at once.
_SLICE = 2 * _TILE
#: The matrix is padded to a multiple of this many columns, which are summed at once.
_UNROLL = 8
#: The gap is measured every so many passes; measuring costs as much as one.
_CHECK = 4


@dataclass(frozen=True, eq=False)
class BoxSolution:
    """Solutions, and how near to the minimum they are known to be.

    Attributes
    ----------
    weights : (F, K) float array
    gap : (F,) float array
        Upper bound of the energy that is still to be gained, unit of the matrix.
    sweeps : (F,) int32 array
        Passes over the coordinates that were made.
    """

    weights: np.ndarray
    gap: np.ndarray
    sweeps: np.ndarray


def box_least_squares(
    products, gram, low: float, start=None, ridge: float = 0.0, sweeps: int = 200, tolerance=0.0, first=None,
    enough: float = 0.0,
) -> BoxSolution:  # fmt: skip
    """Minimize ``w (H + ridge I) w - 2 b w`` over w in [low, 1]^K for every row b of `products`.

    A row is done when its gap is at most its tolerance.  The gap is what the tangent of the energy, curved by the
    ridge, promises over the whole box: ``sum_k max_v -g_k (v - w_k) - ridge (v - w_k)^2`` with the gradient g; since
    the energy is at least that curved, it is never below what can still be gained.  Rows do not influence one another:
    neither the order nor the number of rows or threads changes a bit.

    Parameters
    ----------
    products : (F, K) float array
        Computed with in their own precision, float32 or float64.
    gram : (K, K) float array
        H, positive semidefinite; a coordinate whose diagonal and ridge are zero keeps its start.
    low : float
        Below 1.
    start : (F, K) float array, optional
        In the box; zeros if left out.
    ridge : float
        At least 0.
    sweeps : int
        At most so many passes over the coordinates.
    tolerance : float or (F,) float array, optional
        Without it every row is given all passes, and gaps are not measured (and told as infinite).
    first : (K, K) float array, optional
        Start from ``b A``, clipped to the box, for this matrix A instead of from `start`.
    enough : float
        A row is done, too, when a pass gains less than this share of what all its passes gained.

    Returns
    -------
    BoxSolution
        Weights in the precision of `products`.
    """
    products = np.asarray(products)
    kind = np.dtype(np.float32 if products.dtype == np.float32 else np.float64)
    count, k = products.shape
    width = -(-k // _UNROLL) * _UNROLL
    matrix = np.zeros((width, width), kind)
    matrix[:k, :k] = gram
    slope = np.zeros(width, kind)
    diagonal = np.diagonal(matrix) + kind.type(ridge)
    slope[diagonal > 0] = 1 / diagonal[diagonal > 0]
    weights = np.zeros((count, k), kind) if start is None else np.array(start, kind, order="C")
    if weights.shape != products.shape:
        raise ValueError(f"start: expected shape {products.shape}, got {weights.shape}")
    opening = np.zeros((0, 0), kind)
    if first is not None:
        opening = np.zeros((width, width), kind)
        opening[:k, :k] = -np.asarray(first).T  # `_gradient` subtracts
    check = sweeps + 1 if tolerance is None else _CHECK
    limits = np.broadcast_to(np.asarray(0.0 if tolerance is None else tolerance, kind), (count,))
    gap, made = np.full(count, np.inf, kind), np.full(count, sweeps, np.int32)
    low, ridge = kind.type(low), kind.type(ridge)
    in_slices(
        count, _SLICE,
        lambda a, b: _solve(weights[a:b], products[a:b], matrix, slope, opening, low, ridge, sweeps, check, limits[a:b],
                            kind.type(enough), gap[a:b], made[a:b]),
    )  # fmt: skip
    return BoxSolution(weights, gap, made)


def solution_without_box(gram, ridge: float) -> np.ndarray:
    """(K, K) matrix A so that ``b A`` is the solution without the box; clipped to it, a good start."""
    gram = np.asarray(gram, np.float64)
    values, vectors = np.linalg.eigh(gram)
    # What rounding left of zero eigenvalues would blow up rounding errors of the products.
    least = max(float(ridge), 1e-9 * max(float(values[-1]), 1e-300))
    return (vectors / (np.maximum(values, 0) + least)) @ vectors.T


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _gradient(matrix, w, b, k, g):
    """g = b_k - H_k w for the rows of a tile; half the downward slope."""
    for t in range(_TILE):
        g[t] = b[k, t]
    for j in range(0, matrix.shape[1], _UNROLL):
        h0, h1, h2, h3 = matrix[k, j], matrix[k, j + 1], matrix[k, j + 2], matrix[k, j + 3]
        h4, h5, h6, h7 = matrix[k, j + 4], matrix[k, j + 5], matrix[k, j + 6], matrix[k, j + 7]
        for t in range(_TILE):
            g[t] -= (
                (h0 * w[j, t] + h1 * w[j + 1, t]) + (h2 * w[j + 2, t] + h3 * w[j + 3, t])
                + ((h4 * w[j + 4, t] + h5 * w[j + 5, t]) + (h6 * w[j + 6, t] + h7 * w[j + 7, t]))
            )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _solve(weights, products, matrix, slope, opening, low, ridge, sweeps, check, limits, enough, gaps, made):
    width = len(matrix)
    count, k_count = weights.shape
    kind = weights.dtype
    one, zero = kind.type(1), kind.type(0)
    w, b = np.zeros((width, _TILE), kind), np.zeros((width, _TILE), kind)
    blank = np.zeros((width, _TILE), kind)
    g, gap = np.empty(_TILE, kind), np.empty(_TILE, kind)
    moving, gain, gained = np.empty(_TILE, kind), np.empty(_TILE, kind), np.empty(_TILE, kind)
    for first in range(0, count, _TILE):
        rows = min(_TILE, count - first)
        for k in range(k_count):
            for t in range(_TILE):
                row = first + min(t, rows - 1)
                w[k, t], b[k, t] = weights[row, k], products[row, k]
        if len(opening):
            for k in range(k_count):
                _gradient(opening, b, blank, k, g)
                for t in range(_TILE):
                    w[k, t] = min(max(g[t], low), one)
        for t in range(_TILE):
            moving[t] = one if t < rows else zero
            gained[t] = zero
        for sweep in range(sweeps + 1):
            if check <= sweeps and (sweep % check == 0 or sweep == sweeps):
                for t in range(_TILE):
                    gap[t] = zero
                for k in range(k_count):
                    _gradient(matrix, w, b, k, g)
                    for t in range(_TILE):
                        down = g[t] - ridge * w[k, t]
                        room = one - w[k, t] if down > zero else low - w[k, t]
                        step = room
                        if ridge > zero and abs(down) < ridge * abs(room):
                            step = down / ridge
                        gap[t] += 2 * down * step - ridge * step * step
                still = False
                for t in range(rows):
                    if moving[t] > zero:
                        gaps[first + t] = gap[t]
                        made[first + t] = sweep
                        if gap[t] <= limits[first + t]:
                            moving[t] = zero
                        else:
                            still = True
                if not still:
                    break
            if sweep == sweeps:
                break
            for t in range(_TILE):
                gain[t] = zero
            for k in range(k_count):
                if slope[k] == zero:
                    continue
                curve = matrix[k, k] + ridge
                _gradient(matrix, w, b, k, g)
                for t in range(_TILE):
                    value = w[k, t] + (g[t] - ridge * w[k, t]) * slope[k]
                    value = min(max(value, low), one)
                    change = moving[t] * (value - w[k, t])
                    gain[t] += curve * change * change
                    w[k, t] += change
            if enough > zero:
                still = False
                for t in range(rows):
                    gained[t] += gain[t]
                    if moving[t] > zero:
                        made[first + t] = sweep + 1
                        if gain[t] <= enough * gained[t]:
                            moving[t] = zero
                        else:
                            still = True
                if not still:
                    break
        for t in range(rows):
            for k in range(k_count):
                weights[first + t, k] = min(max(w[k, t], low), one)
