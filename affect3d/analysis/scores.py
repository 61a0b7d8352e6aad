"""Scores of predicted affect with intervals that respect that frames of one person are no independent draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["MEASURES", "Score", "SubjectMoments", "score_with_intervals", "subject_moments"]

#: Concordance (the paper's equation 2), mean squared error, Pearson's correlation, share of agreeing signs.
MEASURES = ("ccc", "mse", "pearson", "sagr")


@dataclass(frozen=True)
class Score:
    """One measure of one signal.

    Attributes
    ----------
    value : float or None
        None where it is undefined, as the correlation of a constant is.
    low, high : float or None
        Ends of the bootstrap interval; None with fewer than two subjects, or where most resamples are undefined.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class SubjectMoments:
    """All that the measures need of each subject's frames.

    Attributes
    ----------
    subjects : (S,) array
    sums : (S, 7) float64
        Count, then sums of predicted, annotated, their squares, their product, and of agreeing signs.
    """

    subjects: np.ndarray
    sums: np.ndarray

    def measures(self, multiplicity) -> dict[str, np.ndarray]:
        """Each of `MEASURES` for every row of `multiplicity` (B, S), which says how often a subject is counted.

        NaN where a measure is undefined.
        """
        total = np.atleast_2d(np.asarray(multiplicity, float)) @ self.sums
        n, p, a, pp, aa, pa, same = total.T
        with np.errstate(divide="ignore", invalid="ignore"):
            p, a, pp, aa, pa = p / n, a / n, pp / n, aa / n, pa / n
            mse = np.maximum(pp - 2 * pa + aa, 0)
            var_p, var_a, cov = pp - p * p, aa - a * a, pa - p * a
            # What is left of a constant is rounding, not variance.
            var_p, var_a = np.where(var_p > 1e-12 * pp, var_p, 0), np.where(var_a > 1e-12 * aa, var_a, 0)
            cov = np.where((var_p > 0) & (var_a > 0), cov, 0)
            ccc = 2 * cov / (var_p + var_a + (p - a) ** 2)
            pearson = np.where((var_p > 0) & (var_a > 0), cov / np.sqrt(var_p * var_a), np.nan)
        return {"ccc": np.clip(ccc, -1, 1), "mse": mse, "pearson": np.clip(pearson, -1, 1), "sagr": same / n}


def subject_moments(predicted, annotated, subjects) -> SubjectMoments:
    """Sum frames by subject.

    Parameters
    ----------
    predicted, annotated : (N,) float array
    subjects : (N,) array

    Raises
    ------
    ValueError
        If lengths differ, there are no frames, or a number is not finite.
    """
    predicted, annotated = np.asarray(predicted, float), np.asarray(annotated, float)
    subjects = np.asarray(subjects)
    if predicted.ndim != 1 or not len(predicted) or not predicted.shape == annotated.shape == subjects.shape:
        raise ValueError(
            "predicted, annotated, subjects: expected one of each frame, at least one, got shapes "
            f"{predicted.shape}, {annotated.shape} and {subjects.shape}"
        )
    require_finite(predicted, "predicted")
    require_finite(annotated, "annotated")
    names, index = np.unique(subjects, return_inverse=True)
    columns = (
        np.ones(len(predicted)), predicted, annotated, predicted**2, annotated**2, predicted * annotated,
        (np.sign(predicted) == np.sign(annotated)).astype(float),
    )  # fmt: skip
    sums = np.stack([np.bincount(index, column, len(names)) for column in columns], axis=1)
    return SubjectMoments(names, sums)


def score_with_intervals(
    moments: SubjectMoments, resamples: int, rng: np.random.Generator, level: float = 0.95
) -> dict[str, Score]:
    """Each measure with a percentile interval from a bootstrap over subjects.

    Whole subjects are drawn with replacement: frames of one person resemble one another, and an interval over frames
    would be many times too narrow.

    Parameters
    ----------
    moments : SubjectMoments
    resamples : int
        Draws, at least 1.
    rng : numpy.random.Generator
    level : float
        Share of the draws within the interval, in (0, 1).

    References
    ----------
    Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 (clustered data).
    """
    if resamples < 1:
        raise ValueError(f"resamples: expected at least 1, got {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number in (0, 1), got {level}")
    count = len(moments.subjects)
    values = moments.measures(np.ones(count))
    if count > 1:
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
        spread = moments.measures(drawn)
    out = {}
    for name in MEASURES:
        value = float(values[name][0])
        low = high = None
        if count > 1:
            defined = spread[name][np.isfinite(spread[name])]
            if 2 * len(defined) > resamples:
                low, high = map(float, np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
        out[name] = Score(value if np.isfinite(value) else None, low, high)
    return out
