"""The two convex halves of sparse localized components, each solved by exact coordinate descent.

With the components fixed, the weights of each frame are a least-squares problem in a box of K numbers; with the
weights fixed, the components at each vertex are a least-squares problem of K vectors with a penalty on their lengths.
Both see the frames only through K x K matrices and one product, and neither can raise the energy.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

__all__ = ["component_step", "weight_step"]


def weight_step(weights, products, gram, low: float, sweeps: int = 20, tolerance: float = 1e-12) -> np.ndarray:
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
    tolerance : float
        A frame is done when no weight lowers its energy by more than this.

    Returns
    -------
    (F, K) float array
    """
    out = np.array(weights, np.float64, order="C")
    products, gram = np.ascontiguousarray(products, np.float64), np.ascontiguousarray(gram, np.float64)
    _in_slices(len(out), lambda a, b: _weights(out[a:b], products[a:b], gram, low, sweeps, tolerance))
    return out


def component_step(components, products, gram, penalty, sweeps: int = 20, tolerance: float = 1e-12) -> np.ndarray:
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
    sweeps, tolerance
        As in `weight_step`, for each vertex.

    Returns
    -------
    (K, V, d) float array

    References
    ----------
    The update of one vector is the group soft threshold of Yuan and Lin, "Model selection and estimation in regression
    with grouped variables", 2006; it replaces the ADMM of Neumann et al. 2013, equation (8).
    """
    # A vertex's K vectors lie together, so one vertex is solved inside the processor's cache.
    out = np.array(np.transpose(components, (1, 0, 2)), np.float64, order="C")
    products = np.ascontiguousarray(np.transpose(products, (1, 0, 2)), np.float64)
    half = np.ascontiguousarray(np.asarray(penalty, np.float64).T / 2)
    gram = np.ascontiguousarray(gram, np.float64)
    _in_slices(len(out), lambda a, b: _components(out[a:b], products[a:b], gram, half[a:b], sweeps, tolerance))
    return np.ascontiguousarray(np.transpose(out, (1, 0, 2)))


def _in_slices(count: int, work) -> None:
    """Call ``work(start, stop)`` on slices in threads; rows do not depend on one another, so neither do results."""
    threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
    size = max(256, -(-count // (4 * threads)))
    starts = range(0, count, size)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, a, min(a + size, count)) for a in starts]:
            done.result()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weights(w, b, h, low, sweeps, tolerance):
    count, k_count = w.shape
    g = np.empty(k_count)
    for f in range(count):
        for k in range(k_count):
            g[k] = b[f, k]
        for j in range(k_count):
            value = w[f, j]
            if value != 0:
                for k in range(k_count):
                    g[k] -= h[j, k] * value
        for _ in range(sweeps):
            most = 0.0
            for k in range(k_count):
                if h[k, k] <= 0:
                    continue
                value = min(max(w[f, k] + g[k] / h[k, k], low), 1.0)
                change = value - w[f, k]
                if change != 0:
                    w[f, k] = value
                    for j in range(k_count):
                        g[j] -= h[k, j] * change
                    most = max(most, h[k, k] * change * change)
            if most <= tolerance:
                break


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _components(c, b, gram, half, sweeps, tolerance):
    count, k_count, d = c.shape
    g = np.empty((k_count, d))
    value = np.empty(d)
    for v in range(count):
        for k in range(k_count):
            for i in range(d):
                g[k, i] = b[v, k, i]
        for j in range(k_count):
            moving = False
            for i in range(d):
                moving = moving or c[v, j, i] != 0
            if moving:
                for k in range(k_count):
                    for i in range(d):
                        g[k, i] -= gram[j, k] * c[v, j, i]
        for _ in range(sweeps):
            most = 0.0
            for k in range(k_count):
                diagonal = gram[k, k]
                length = 0.0
                for i in range(d):
                    value[i] = g[k, i] + diagonal * c[v, k, i] if diagonal > 0 else 0.0
                    length += value[i] * value[i]
                length = np.sqrt(length)
                shrink = (1 - half[v, k] / length) / diagonal if length > half[v, k] else 0.0
                moved = 0.0
                for i in range(d):
                    value[i] = value[i] * shrink - c[v, k, i]  # the change
                    moved += value[i] * value[i]
                if moved > 0:
                    for i in range(d):
                        c[v, k, i] += value[i]
                        if shrink == 0:
                            c[v, k, i] = 0.0  # exactly, whatever rounding says
                    for j in range(k_count):
                        for i in range(d):
                            g[j, i] -= gram[k, j] * value[i]
                    most = max(most, diagonal * moved)
            if most <= tolerance:
                break
