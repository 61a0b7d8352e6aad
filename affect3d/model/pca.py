"""Principal component analysis of a few rows of long vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["PrincipalComponents", "principal_components"]


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Directions of greatest variance.

    Attributes
    ----------
    mean : (D,) float64
    modes : (K, D) float64
        Orthonormal rows, the largest variance first; the entry of greatest
        magnitude in each is positive, so the signs are settled.
    deviations : (K,) float64
        Standard deviation along each mode, in the unit of the samples.
    explained : (K,) float64
        Cumulative share of the total variance, in [0, 1].
    """

    mean: np.ndarray
    modes: np.ndarray
    deviations: np.ndarray
    explained: np.ndarray


def principal_components(samples, count: int) -> PrincipalComponents:
    """The `count` leading principal components of `samples`.

    Parameters
    ----------
    samples : (N, D) float array
        One observation a row, at least two.
    count : int
        At most K modes; fewer come back where the samples span fewer directions.

    Raises
    ------
    ValueError
        If there are fewer than two samples, `count` is not positive, or a number is not finite.
    """
    samples = np.asarray(samples, float)
    if samples.ndim != 2 or len(samples) < 2:
        raise ValueError(f"samples: expected shape (N, D) with N >= 2, got {samples.shape}")
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    require_finite(samples, "samples")
    mean = samples.mean(0)
    centred = samples - mean
    # The smaller of the two Gram matrices has the same nonzero spectrum; its eigenvectors are cheap.
    wide = samples.shape[1] > len(samples)
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int((values > max(values[0], 0) * 1e-12).sum()) if values[0] > 0 else 0
    keep = min(count, rank)
    modes = vectors[:, :keep].T
    if wide:
        modes = modes @ centred / np.sqrt(values[:keep, None])
    signs = np.sign(modes[np.arange(keep), np.abs(modes).argmax(1)]) if keep else np.ones(0)
    total = max(values.clip(0).sum(), 1e-300)
    return PrincipalComponents(
        mean, modes * signs[:, None], np.sqrt(values[:keep] / (len(samples) - 1)), np.cumsum(values[:keep]) / total
    )
