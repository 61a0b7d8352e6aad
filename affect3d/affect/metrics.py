"""How well predicted affect agrees with annotated affect."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["concordance", "mean_squared_error", "pearson", "sign_agreement"]


def concordance(predicted, annotated) -> float:
    """Concordance correlation coefficient of two signals, the paper's equation (2).

    ``2 s_xy / (s_x^2 + s_y^2 + (mean_x - mean_y)^2)`` with variances and
    covariance divided by N.

    Parameters
    ----------
    predicted, annotated : (N,) float arrays, N >= 2

    Returns
    -------
    float
        In [-1, 1]; 1 only for equal signals, 0 where one of them is constant.

    Raises
    ------
    ValueError
        If lengths differ, N < 2, a value is not finite, or both signals are
        the same constant, for which the ratio is 0 / 0.

    References
    ----------
    Lin, "A concordance correlation coefficient to evaluate reproducibility",
    Biometrics 45, 1989.
    """
    x, y = _pair(predicted, annotated, 2)
    x, y = _common_scale(x, y)
    dx, dy = x - x.mean(), y - y.mean()
    denominator = np.mean(dx**2) + np.mean(dy**2) + (x.mean() - y.mean()) ** 2
    if denominator == 0:
        raise ValueError("predicted: the concordance of two equal constants is undefined, expected some variation")
    return float(np.clip(2 * np.mean(dx * dy) / denominator, -1, 1))


def pearson(predicted, annotated) -> float:
    """Pearson's correlation of two (N,) signals, in [-1, 1].

    Raises
    ------
    ValueError
        If lengths differ, N < 2, a value is not finite, or a signal is constant.
    """
    x, y = _pair(predicted, annotated, 2)
    deviations = []
    for name, signal in (("predicted", x), ("annotated", y)):
        if signal.min() == signal.max():
            raise ValueError(f"{name}: the correlation of a constant signal is undefined, expected some variation")
        # Scaled to unit spread first, so that squares of tiny or huge values neither vanish nor overflow.
        scaled = signal / np.abs(signal).max()
        deviation = scaled - scaled.mean()
        deviations.append(deviation / np.linalg.norm(deviation))
    return float(np.clip(deviations[0] @ deviations[1], -1, 1))


def mean_squared_error(predicted, annotated) -> float:
    """Mean of the squared differences of two (N,) signals, N >= 1; ValueError as in `concordance`."""
    x, y = _pair(predicted, annotated, 1)
    return float(np.mean((x - y) ** 2))


def sign_agreement(predicted, annotated) -> float:
    """Share of the N samples whose signs agree (SAGR of the affect challenges), in [0, 1].

    Zero is a sign of its own: it agrees only with zero.  ValueError as in
    `concordance`, with N >= 1.
    """
    x, y = _pair(predicted, annotated, 1)
    return float(np.mean(np.sign(x) == np.sign(y)))


def _pair(predicted, annotated, least: int) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, value in (("predicted", predicted), ("annotated", annotated)):
        array = np.asarray(value, np.float64)
        if array.ndim != 1 or len(array) < least:
            raise ValueError(f"{name}: expected at least {least} numbers in one row, got shape {array.shape}")
        require_finite(array, name)
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(f"annotated: expected {len(arrays[0])} numbers as in predicted, got {len(arrays[1])}")
    return arrays[0], arrays[1]


def _common_scale(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both signals divided by one number, which the coefficient does not see but squares do."""
    largest = max(np.abs(x).max(), np.abs(y).max())
    return (x / largest, y / largest) if largest > 0 else (x, y)
