"""Canonical correlation analysis from covariances that were summed over a stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["CanonicalCorrelation", "StreamedCovariance", "canonical_correlation", "canonical_correlation_of"]


class StreamedCovariance:
    """Joint mean and covariance of rows that come in blocks, summed without loss of digits.

    Blocks are merged by their own means, so that a large common offset does not eat the variance.

    References
    ----------
    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    def __init__(self, width: int):
        self.count, self.mean, self._sum = 0, np.zeros(width), np.zeros((width, width))

    def add(self, rows) -> None:
        """Add a block (N, width).

        Raises
        ------
        ValueError
            If it has another width or numbers that are not finite.
        """
        rows = np.asarray(rows, float)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"rows: expected shape (N, {len(self.mean)}), got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError("rows: expected finite numbers")
        if not len(rows):
            return
        mean = rows.mean(0)
        centred, step = rows - mean, mean - self.mean
        total = self.count + len(rows)
        self._sum += centred.T @ centred + np.outer(step, step) * (self.count * len(rows) / total)
        self.mean = self.mean + step * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """(width, width), divided by the count less one."""
        if self.count < 2:
            raise ValueError(f"rows: a covariance needs at least two, got {self.count}")
        return self._sum / (self.count - 1)


@dataclass(frozen=True, eq=False)
class CanonicalCorrelation:
    """Directions in which two sets of variables agree most.

    Attributes
    ----------
    x_mean : (P,), y_mean : (Q,) float64
    x_directions : (P, K), y_directions : (Q, K) float64
        Variates ``(x - x_mean) @ x_directions`` have unit variance and are uncorrelated with one another.
    correlations : (K,) float64
        Falling, in [0, 1].
    rank : int
        Of the first set's covariance: what lies beyond had no variance and is left out.
    """

    x_mean: np.ndarray
    y_mean: np.ndarray
    x_directions: np.ndarray
    y_directions: np.ndarray
    correlations: np.ndarray
    rank: int

    def x_variates(self, x) -> np.ndarray:
        """(N, K) of rows (N, P)."""
        return (np.asarray(x, float) - self.x_mean) @ self.x_directions

    def y_variates(self, y) -> np.ndarray:
        """(N, K) of rows (N, Q)."""
        return (np.asarray(y, float) - self.y_mean) @ self.y_directions


def canonical_correlation_of(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]], components: int = 2, ridge: float = 0.0
) -> CanonicalCorrelation:
    """Canonical correlation analysis of a stream of blocks.

    Parameters
    ----------
    blocks : iterable of ((N, P), (N, Q)) arrays
        Each is looked at once; memory is that of one block and of a (P + Q, P + Q) matrix.
    components, ridge
        See `canonical_correlation`.
    """
    summed, width = None, 0
    for x, y in blocks:
        x, y = np.asarray(x, float), np.asarray(y, float)
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ValueError(f"blocks: expected (N, P) and (N, Q), got {x.shape} and {y.shape}")
        if summed is None:
            summed, width = StreamedCovariance(x.shape[1] + y.shape[1]), x.shape[1]
        summed.add(np.hstack([x, y]))
    if summed is None:
        raise ValueError("blocks: expected at least one, got none")
    return canonical_correlation(summed.mean, summed.covariance, width, components, ridge)


def canonical_correlation(
    mean, covariance, width: int, components: int = 2, ridge: float = 0.0
) -> CanonicalCorrelation:
    """Canonical correlation analysis from a joint mean and covariance.

    Parameters
    ----------
    mean : (P + Q,), covariance : (P + Q, P + Q) float array
    width : int
        P, the number of variables of the first set.
    components : int
        K, at most the ranks of both sets.
    ridge : float
        Added to both sets' variances, as a share of their mean variance.

    Raises
    ------
    ValueError
        If a set has no variance, or fewer dimensions with variance than `components`.

    References
    ----------
    Hotelling, "Relations Between Two Sets of Variates", 1936; by whitening both sets and a singular value
    decomposition of what is left of their covariance (Bjorck and Golub, 1973).
    """
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    if not 0 < width < len(mean):
        raise ValueError(f"width: expected 1 to {len(mean) - 1}, got {width}")
    x_white, x_rank = _whitening(covariance[:width, :width], ridge, "first")
    y_white, y_rank = _whitening(covariance[width:, width:], ridge, "second")
    if not 1 <= components <= min(x_rank, y_rank):
        raise ValueError(
            f"components: expected 1 to {min(x_rank, y_rank)}, the lesser rank of the two sets, got {components}"
        )
    u, correlations, vt = np.linalg.svd(x_white.T @ covariance[:width, width:] @ y_white, full_matrices=False)
    # the largest entry of each direction is positive, so that the same data give the same signs everywhere
    x_directions, y_directions = x_white @ u[:, :components], y_white @ vt[:components].T
    sign = np.sign(y_directions[np.abs(y_directions).argmax(0), np.arange(components)])
    return CanonicalCorrelation(
        mean[:width].copy(), mean[width:].copy(), x_directions * sign, y_directions * sign,
        np.clip(correlations[:components], 0, 1), x_rank,
    )  # fmt: skip


def _whitening(covariance, ridge, name):
    values, vectors = np.linalg.eigh(covariance)
    least = len(values) * np.finfo(float).eps * max(float(values[-1]), 0.0)
    kept = values > least
    if not kept.any():
        raise ValueError(f"covariance: the {name} set of variables has no variance")
    values = values[kept] + ridge * values.mean()
    return vectors[:, kept] / np.sqrt(values), int(kept.sum())
