"""Finite features whose products are a Gaussian kernel, to a tolerance that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from affect3d.geometry.arrays import require_finite

__all__ = ["FeatureRows", "KernelFeatures", "gaussian_features"]

#: Rows that the first pivots are looked for among, and rows that are treated at a time.
_SAMPLE, _BLOCK = 20_000, 16_384


@dataclass(frozen=True, eq=False)
class KernelFeatures:
    """Features phi with ``phi(x) . phi(z) = exp(-gamma |x - z|^2)``, exact where x or z is a pivot.

    Attributes
    ----------
    pivots : (R, P) float64
    inverse : (R, R) float64
        ``phi(x) = k(x, pivots) @ inverse``; upper triangular.
    gamma : float
    left : float
        Largest part of ``k(x, x) = 1`` that the features miss over the rows that they were made for; bounds the error
        of every entry of the kernel matrix.
    """

    pivots: np.ndarray
    inverse: np.ndarray
    gamma: float
    left: float

    @property
    def rank(self) -> int:
        return len(self.pivots)

    def __call__(self, x, dtype=np.float64) -> np.ndarray:
        """(N, R) features of rows (N, P)."""
        x = np.asarray(x, float)
        if x.ndim != 2 or x.shape[1] != self.pivots.shape[1]:
            raise ValueError(f"x: expected shape (N, {self.pivots.shape[1]}), got {x.shape}")
        require_finite(x, "x")
        out = np.empty((len(x), self.rank), dtype)
        for first in range(0, len(x), _BLOCK):
            rows = slice(first, first + _BLOCK)
            out[rows] = _kernel(x[rows], self.pivots, self.gamma) @ self.inverse
        return out


class FeatureRows:
    """Features of many rows, rounded to single precision; kept, or computed anew where they are asked for.

    Parameters
    ----------
    features : KernelFeatures
    x : (N, P) float array
    memory : float
        Bytes; if all features need more, they are not kept, which changes no more than the last digits.
    """

    def __init__(self, features: KernelFeatures, x, memory: float = 1e9):
        self._features, self._x = features, np.asarray(x, float)
        self.shape = (len(self._x), features.rank)
        self._kept = features(self._x, np.float32) if 4 * self.shape[0] * self.shape[1] <= memory else None

    def take(self, rows) -> np.ndarray:
        """(M, R) float64 of a slice or of an array of row numbers."""
        values = self._features(self._x[rows], np.float32) if self._kept is None else self._kept[rows]
        return values.astype(float)


def gaussian_features(x, gamma: float, tolerance: float = 1e-6, limit: int = 1500) -> KernelFeatures:
    """Features for the Gaussian kernel on the rows of `x`, by pivoted incomplete Cholesky factorization.

    In few dimensions the kernel matrix of any number of rows has a small numerical rank, so a few hundred pivots
    carry all of it.  They are looked for among evenly spaced rows first; then all rows are checked, and those that
    are not represented yet become pivots too.

    Parameters
    ----------
    x : (N, P) float array
    gamma : float
        ``1 / (2 width^2)``, > 0.
    tolerance : float
        What may be missing of ``k(x, x) = 1`` at any row.
    limit : int
        At most so many pivots; where they do not suffice, `left` says what is missing.

    Raises
    ------
    ValueError
        If `x` is empty or not finite, or a number is out of range.

    References
    ----------
    Fine and Scheinberg, "Efficient SVM Training Using Low-Rank Kernel Representations", JMLR 2, 2001.
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"x: expected shape (N, P) with N of at least 1, got {x.shape}")
    require_finite(x, "x")
    if not 0 < gamma < np.inf:
        raise ValueError(f"gamma: expected a number above 0, got {gamma}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: expected a number in (0, 1), got {tolerance}")
    spaced = x[np.unique(np.linspace(0, len(x) - 1, min(len(x), _SAMPLE)).astype(np.int64))]
    pivots = _pivots(spaced, np.zeros((0, x.shape[1])), gamma, tolerance, limit)
    while True:
        features = _features_of(pivots, gamma)
        left, worst = _missing(features, x, tolerance)
        if left <= tolerance or len(pivots) >= limit:
            return KernelFeatures(features.pivots, features.inverse, gamma, left)
        more = _pivots(x[worst], pivots, gamma, tolerance, limit)
        if len(more) == len(pivots):  # what is missing is rounding
            return KernelFeatures(features.pivots, features.inverse, gamma, left)
        pivots = more


def _pivots(candidates, pivots, gamma, tolerance, limit) -> np.ndarray:
    """`pivots`, and those of `candidates` that are missed most, one after the other."""
    count = len(candidates)
    columns = np.empty((min(limit, len(pivots) + count), count))
    left = np.ones(count)
    if len(pivots):
        columns[: len(pivots)] = _features_of(pivots, gamma)(candidates).T
        left -= (columns[: len(pivots)] ** 2).sum(0)
    chosen = []
    for k in range(len(pivots), len(columns)):
        best = int(left.argmax())
        if left[best] <= tolerance:
            break
        column = _kernel(candidates, candidates[best : best + 1], gamma)[:, 0]
        column -= columns[:k, best] @ columns[:k]
        columns[k] = column / np.sqrt(left[best])
        left -= columns[k] ** 2
        left[best] = 0
        chosen.append(best)
    return np.vstack([pivots, candidates[chosen]])


def _features_of(pivots, gamma) -> KernelFeatures:
    # The pivots were chosen so that each adds at least the tolerance; the shift is far below that.
    gram = _kernel(pivots, pivots, gamma) + 1e-13 * len(pivots) * np.eye(len(pivots))
    lower = cholesky(gram, lower=True)
    return KernelFeatures(pivots, solve_triangular(lower, np.eye(len(pivots)), lower=True).T, gamma, np.nan)


def _missing(features, x, tolerance) -> tuple[float, np.ndarray]:
    """Largest missing part over all rows, and up to 2000 rows of those that miss most."""
    left = np.concatenate([
        1 - (features(x[first : first + _BLOCK]) ** 2).sum(1) for first in range(0, len(x), _BLOCK)
    ])  # fmt: skip
    worst = np.flatnonzero(left > tolerance)
    if len(worst) > 2000:
        worst = worst[np.argsort(-left[worst], kind="stable")[:2000]]
    return float(max(left.max(), 0.0)), worst


def _kernel(x, z, gamma) -> np.ndarray:
    # One difference per dimension: |x|^2 - 2 x.z + |z|^2 would lose the digits that near pivots need.
    squares = np.zeros((len(x), len(z)))
    for a, b in zip(x.T, z.T):
        squares += (a[:, None] - b) ** 2
    return np.exp(-gamma * squares)
