"""The two convex halves of sparse localized components, each improved by exact coordinate descent.

With the components fixed, the weights of each frame are a least-squares problem in a box of K numbers; with the
weights fixed, the components at each vertex are a least-squares problem of K vectors with a penalty on their lengths.
Both see the frames only through K x K matrices and one product, and neither can raise the energy.
"""

from __future__ import annotations

import numba
import numpy as np

from affect3d.model.box_least_squares import box_least_squares
from affect3d.model.row_slices import in_slices

__all__ = ["component_step", "improve_components", "weight_step"]

#: Vertices of a tile; with three axes 48 numbers.
_TILE = 16
_UNROLL = 8
#: A frame, or a tile of vertices, is done when a pass gains less than this share of what all its passes gained: what
#: is left costs less in the next round, from a better place.
_ENOUGH_WEIGHTS, _ENOUGH_COMPONENTS = 0.1, 0.05


def weight_step(weights, products, gram, low: float, sweeps: int = 20, enough: float = _ENOUGH_WEIGHTS) -> np.ndarray:
    """Weights in [low, 1] that lower ``|x_f - w_f C|^2`` for every frame.

    Parameters
    ----------
    weights : (F, K) float array
        Where to start, in the box.
    products : (F, K) float array
        X C^T.
    gram : (K, K) float array
        C C^T; a component that is zero keeps its weights.
    low : float
        0 or -1.
    sweeps : int
        At most so many passes over the K weights of a frame.
    enough : float
        A frame is done when a pass gains less than this share of what all passes gained; 0 makes all passes.

    Returns
    -------
    (F, K) float array
    """
    products = np.asarray(products, np.float64)
    return box_least_squares(products, gram, low, weights, sweeps=sweeps, tolerance=None, enough=enough).weights


def component_step(
    components, products, gram, penalty, sweeps: int = 20, enough: float = _ENOUGH_COMPONENTS
) -> np.ndarray:
    """Components that lower ``|X - W C|^2 + sum penalty_kv |c_kv|``.

    Parameters
    ----------
    components : (K, V, d) float array
        Where to start.
    products : (K, V, d) float array
        W^T X.
    gram : (K, K) float array
        W^T W; a component whose weights are zero becomes zero.
    penalty : (K, V) float array, at least 0
    sweeps : int
        At most so many passes over the K vectors of a vertex.
    enough : float
        Vertices are done when a pass gains less than this share of what all passes gained; 0 makes all passes.

    Returns
    -------
    (K, V, d) float array

    References
    ----------
    The update of one vector is the group soft threshold of Yuan and Lin, "Model selection and estimation in regression
    with grouped variables", 2006; it replaces the ADMM of Neumann et al. 2013, equation (8).
    """
    out = np.array(components, np.float64, order="C")
    improve_components(out, np.asarray(products, np.float64), gram, np.asarray(penalty, np.float64), sweeps, enough)
    return out


def improve_components(out, products, gram, penalty, sweeps: int = 20, enough: float = _ENOUGH_COMPONENTS) -> None:
    """`component_step` in place, for arrays of float64 that are too large to be copied."""
    k, v, _ = out.shape
    matrix = np.zeros((k, k + 1))  # a column of zeros for tiles whose moving components do not fill the last sum
    matrix[:, :k] = gram
    in_slices(
        v, 4 * _TILE, lambda a, b: _components(out[:, a:b], products[:, a:b], matrix, penalty[:, a:b], sweeps, enough)
    )


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _gradient(matrix, c, b, k, moving, count, g):
    """g = b_k - H_k c for the columns of a tile, summed over the `count` components that move in it."""
    width = len(g)
    for t in range(width):
        g[t] = b[k, t]
    for i in range(0, count, _UNROLL):
        j0, j1, j2, j3 = moving[i], moving[i + 1], moving[i + 2], moving[i + 3]
        j4, j5, j6, j7 = moving[i + 4], moving[i + 5], moving[i + 6], moving[i + 7]
        h0, h1, h2, h3 = matrix[k, j0], matrix[k, j1], matrix[k, j2], matrix[k, j3]
        h4, h5, h6, h7 = matrix[k, j4], matrix[k, j5], matrix[k, j6], matrix[k, j7]
        for t in range(width):
            g[t] -= (
                (h0 * c[j0, t] + h1 * c[j1, t]) + (h2 * c[j2, t] + h3 * c[j3, t])
                + ((h4 * c[j4, t] + h5 * c[j5, t]) + (h6 * c[j6, t] + h7 * c[j7, t]))
            )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _components(out, products, matrix, penalty, sweeps, enough):
    k_count, v_count, d = out.shape
    width = d * _TILE
    c, b = np.zeros((k_count + 1, width)), np.zeros((k_count + 1, width))
    half = np.zeros((k_count, _TILE))
    g, shrink = np.empty(width), np.empty(_TILE)
    moving = np.empty(k_count + _UNROLL, np.int64)
    listed = np.empty(k_count + 1, np.bool_)
    for first in range(0, v_count, _TILE):
        rows = min(_TILE, v_count - first)
        for k in range(k_count):
            for t in range(_TILE):
                v = first + min(t, rows - 1)
                half[k, t] = penalty[k, v] / 2
                for i in range(d):
                    c[k, i * _TILE + t] = out[k, v, i]
                    b[k, i * _TILE + t] = products[k, v, i]
        gained = 0.0
        for _ in range(sweeps):
            # Components that are zero in all of the tile add nothing to a gradient.
            count = 0
            for k in range(k_count):
                listed[k] = False
                for t in range(width):
                    if c[k, t] != 0:
                        listed[k] = True
                        break
                if listed[k]:
                    moving[count] = k
                    count += 1
            for i in range(_UNROLL):
                moving[count + i] = k_count
            gain = 0.0
            for k in range(k_count):
                diagonal = matrix[k, k]
                if diagonal <= 0:
                    for t in range(width):
                        c[k, t] = 0.0
                    continue
                _gradient(matrix, c, b, k, moving, count, g)
                for t in range(width):
                    g[t] += diagonal * c[k, t]
                for t in range(_TILE):
                    length = 0.0
                    for i in range(d):
                        length += g[i * _TILE + t] * g[i * _TILE + t]
                    length = np.sqrt(length)
                    keep = (1 - half[k, t] / length) / diagonal if length > half[k, t] else 0.0
                    shrink[t] = keep
                wakes = False
                for i in range(d):
                    for t in range(_TILE):
                        value = g[i * _TILE + t] * shrink[t]
                        change = value - c[k, i * _TILE + t]
                        gain += diagonal * change * change
                        c[k, i * _TILE + t] = value
                        wakes = wakes or value != 0
                if wakes and not listed[k]:
                    listed[k] = True
                    moving[count] = k
                    count += 1
                    for i in range(_UNROLL):
                        moving[count + i] = k_count
            gained += gain
            if gain <= enough * gained:
                break
        for k in range(k_count):
            for t in range(rows):
                for i in range(d):
                    out[k, first + t, i] = c[k, i * _TILE + t]
