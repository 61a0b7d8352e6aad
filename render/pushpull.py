"""Fill what is unknown in a picture smoothly from what is known, in one pass down and one up a pyramid.

Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996 (section 3.4).
"""

from __future__ import annotations

import numpy as np

__all__ = ["push_pull"]


def push_pull(values, weights) -> np.ndarray:
    """`values` where `weights` is 1, averages of the neighbourhood where it is 0, blends between.

    Parameters
    ----------
    values : (H, W, C) float array
        Finite where the weight is above 0.
    weights : (H, W) float array
        In [0, 1].

    Returns
    -------
    (H, W, C) float array of the type of `values`
        Zeros if nothing is known.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    values = np.asarray(values)
    weights = np.asarray(weights, values.dtype)
    if values.ndim != 3 or weights.shape != values.shape[:2]:
        raise ValueError(f"weights: expected shape {values.shape[:2]}, got {weights.shape}")
    known = weights[..., None] > 0
    return _fill(np.where(known, values, 0), weights)


def _fill(values, weights):
    height, width = weights.shape
    if height == 1 and width == 1 or not (weights < 1).any():
        return values
    smaller, kept = _halved(values, weights)
    filled = _doubled(_fill(smaller, kept), height, width)
    w = weights[..., None]
    return w * values + (1 - w) * filled


def _halved(values, weights):
    height, width = weights.shape
    pad = ((0, height % 2), (0, width % 2))
    w = np.pad(weights, pad)
    sums = np.pad(values * weights[..., None], (*pad, (0, 0)))
    shape = (w.shape[0] // 2, 2, w.shape[1] // 2, 2)
    total = w.reshape(shape).sum((1, 3))
    mean = sums.reshape(*shape, -1).sum((1, 3)) / np.maximum(total, 1e-12)[..., None]
    return mean, np.minimum(total, 1)


def _doubled(values, height, width):
    """Bilinear enlargement; the middles of four pixels lie on the middle of the one they came from."""
    rows = _between(height, len(values))
    columns = _between(width, values.shape[1])
    tall = values[rows[0]] * (1 - rows[2])[:, None, None] + values[rows[1]] * rows[2][:, None, None]
    a, b, share = columns
    share = share[None, :, None].astype(values.dtype)
    return (tall[:, a] * (1 - share) + tall[:, b] * share).astype(values.dtype)


def _between(count, small):
    at = np.clip((np.arange(count) + 0.5) / 2 - 0.5, 0, small - 1)
    low = np.floor(at).astype(int)
    return low, np.minimum(low + 1, small - 1), at - low
