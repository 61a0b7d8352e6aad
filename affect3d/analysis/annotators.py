"""How far several annotators of the same frames agree, how late each of them is, and what they say together.

A continuous annotation is a person's reaction to what they see: it lags behind the face, by another time for each
person.  Lags are found where the cross-correlation is largest, agreement is measured with and without them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.affect.metrics import concordance, pearson

__all__ = [
    "Agreement", "IntraclassCorrelation", "Lag", "agreement", "annotator_lags", "corrected_mean", "intraclass",
    "lag_between", "lags_behind", "shifted",
]  # fmt: skip


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Shrout and Fleiss's coefficients; each is 0 where nothing varies.

    Attributes
    ----------
    one_way, two_way, fixed : float
        ICC(1,1), ICC(2,1) and ICC(3,1): of a single rating, by raters drawn for each target, by the same raters drawn
        at random for all targets, by exactly these raters.
    one_way_mean, two_way_mean, fixed_mean : float
        ICC(1,k), ICC(2,k) and ICC(3,k): of the mean of k ratings.
    targets, raters : int
    """

    one_way: float
    two_way: float
    fixed: float
    one_way_mean: float
    two_way_mean: float
    fixed_mean: float
    targets: int
    raters: int


@dataclass(frozen=True)
class Lag:
    """How much later one signal is than another.

    Attributes
    ----------
    frames : float
        Positive if the second is later; parts of frames come from a parabola through the largest correlation.
    correlation : float
        Pearson at this lag; negative ones are never chosen over positive ones.
    at_zero : float
        Pearson without any shift.
    edge : bool
        Whether the largest correlation lies at the end of the range that was searched: then the lag is not known.
    """

    frames: float
    correlation: float
    at_zero: float
    edge: bool


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of A annotators.

    Attributes
    ----------
    pearson, ccc : (A, A) float64
        Of each pair, over the frames both annotated.
    frames : (A, A) int64
        How many those are.
    icc : IntraclassCorrelation
        Over the frames that all annotated.
    """

    pearson: np.ndarray
    ccc: np.ndarray
    frames: np.ndarray
    icc: IntraclassCorrelation

    @property
    def mean_pearson(self) -> float:
        """Mean over the pairs."""
        return _mean_of_pairs(self.pearson)

    @property
    def mean_ccc(self) -> float:
        """Mean over the pairs."""
        return _mean_of_pairs(self.ccc)


def intraclass(ratings) -> IntraclassCorrelation:
    """Intraclass correlations from two-way mean squares.

    Parameters
    ----------
    ratings : (n, k) float array
        n targets, at least two, by k raters, at least two; none missing.

    Raises
    ------
    ValueError
        If the shape is another or a number is not finite.

    References
    ----------
    Shrout and Fleiss, "Intraclass Correlations: Uses in Assessing Rater Reliability", Psychological Bulletin, 1979.
    """
    x = np.asarray(ratings, np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(f"ratings: expected at least two targets by two raters, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("ratings: expected finite numbers")
    n, k = x.shape
    mean, rows, columns = x.mean(), x.mean(1), x.mean(0)
    between = k * ((rows - mean) ** 2).sum() / (n - 1)
    judges = n * ((columns - mean) ** 2).sum() / (k - 1)
    within = ((x - rows[:, None]) ** 2).sum() / (n * (k - 1))
    error = ((x - rows[:, None] - columns[None] + mean) ** 2).sum() / ((n - 1) * (k - 1))
    return IntraclassCorrelation(
        one_way=_ratio(between - within, between + (k - 1) * within),
        two_way=_ratio(between - error, between + (k - 1) * error + k * (judges - error) / n),
        fixed=_ratio(between - error, between + (k - 1) * error),
        one_way_mean=_ratio(between - within, between),
        two_way_mean=_ratio(between - error, between + (judges - error) / n),
        fixed_mean=_ratio(between - error, between),
        targets=n,
        raters=k,
    )


def agreement(sequences) -> Agreement:
    """Agreement over all sequences together.

    Parameters
    ----------
    sequences : list of pairs ``(values (A, T) float array, annotated (A, T) bool array)``
        One for each sequence, the same annotators in each.

    Raises
    ------
    ValueError
        If there are fewer than two annotators, or two of them share fewer than two frames.
    """
    values, annotated = _checked(sequences)
    x, seen = np.concatenate(values, 1), np.concatenate(annotated, 1)
    count = len(x)
    for i in range(count):
        if seen[i].any() and np.ptp(x[i, seen[i]]) == 0:
            raise ValueError(f"sequences: annotator {i} says the same number at all frames, so nothing agrees with it")
    r, c = np.eye(count), np.eye(count)
    frames = (seen.astype(np.int64) @ seen.T.astype(np.int64)).astype(np.int64)
    for i in range(count):
        for j in range(i):
            both = seen[i] & seen[j]
            if frames[i, j] < 2:
                raise ValueError(
                    f"sequences: annotators {j} and {i} share {frames[i, j]} frames, expected at least two"
                )
            r[i, j] = r[j, i] = float(pearson(x[i, both], x[j, both]))
            c[i, j] = c[j, i] = float(concordance(x[i, both], x[j, both]))
    everybody = seen.all(0)
    if everybody.sum() < 2:
        raise ValueError(f"sequences: all annotators share {int(everybody.sum())} frames, expected at least two")
    return Agreement(r, c, frames, intraclass(x[:, everybody].T))


def lag_between(first, second, largest: int) -> Lag:
    """How many frames `second` is later than `first`.

    Parameters
    ----------
    first, second : list of pairs ``(values (T,), annotated (T,) bool)``
        The same sequences in both; what was not annotated takes no part.
    largest : int
        Lags from ``-largest`` to ``largest`` are tried, at least 1.

    Raises
    ------
    ValueError
        If no shift leaves frames to correlate, or either signal is constant.
    """
    if isinstance(largest, bool) or not isinstance(largest, (int, np.integer)) or largest < 1:
        raise ValueError(f"largest: expected a whole number of at least 1, got {largest!r}")
    if len(first) != len(second):
        raise ValueError(f"second: expected {len(first)} sequences as in first, got {len(second)}")
    lags = np.arange(-largest, largest + 1)
    sums = np.zeros((len(lags), 6))
    for (x, x_seen), (y, y_seen) in zip(first, second):
        x, y = np.asarray(x, float), np.asarray(y, float)
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(f"second: expected {x.shape} numbers as in first, got {y.shape}")
        for i, lag in enumerate(lags):
            if abs(lag) >= len(x):
                continue
            a = slice(max(0, -lag), len(x) - max(0, lag))
            b = slice(max(0, lag), len(x) - max(0, -lag))
            both = np.asarray(x_seen)[a] & np.asarray(y_seen)[b]
            u, v = x[a][both], y[b][both]
            sums[i] += [len(u), u.sum(), v.sum(), u @ u, v @ v, u @ v]
    n, u, v, uu, vv, uv = sums.T
    # a correlation of a few frames is chance; at least a quarter of what is there must take part
    usable = n >= max(3, n.max() / 4)
    if not usable.any():
        raise ValueError("first: expected at least three frames that both signals have, got fewer")
    m = np.maximum(n, 1)
    left, right = uu - u * u / m, vv - v * v / m
    # rounding must not make a constant signal vary
    usable &= (left > 1e-12 * np.maximum(uu, 1e-300)) & (right > 1e-12 * np.maximum(vv, 1e-300))
    if not usable.any():
        raise ValueError("first: one of the signals is constant, so no lag can be seen")
    r = np.full(len(lags), -np.inf)
    r[usable] = (uv - u * v / m)[usable] / np.sqrt(left[usable] * right[usable])
    best = int(np.argmax(r))
    part = 0.0
    if 0 < best < len(r) - 1 and np.isfinite(r[best - 1]) and np.isfinite(r[best + 1]):
        bend = r[best - 1] - 2 * r[best] + r[best + 1]
        part = 0.0 if bend >= 0 else float(np.clip(0.5 * (r[best - 1] - r[best + 1]) / bend, -0.5, 0.5))
    zero = float(r[largest]) if np.isfinite(r[largest]) else 0.0
    return Lag(float(lags[best] + part), float(r[best]), zero, best in (0, len(r) - 1))


def annotator_lags(sequences, largest: int) -> np.ndarray:
    """(A,) lag of each annotator relative to the mean of all, in frames; positive is later.

    The lags of all pairs are brought together by least squares, weighted by the square of their correlation, so that
    an annotator who agrees with nobody moves nobody.  Pairs whose lag lies at the edge of the range take no part.

    Parameters
    ----------
    sequences : as in `agreement`
    largest : int
        In frames.

    Raises
    ------
    ValueError
        If an annotator has no usable pair.
    """
    values, annotated = _checked(sequences)
    count = len(values[0])
    laplacian, right = np.zeros((count, count)), np.zeros(count)
    for i in range(count):
        for j in range(i):
            lag = lag_between(
                [(x[i], s[i]) for x, s in zip(values, annotated)], [(x[j], s[j]) for x, s in zip(values, annotated)],
                largest,
            )  # fmt: skip
            if lag.edge or lag.correlation <= 0:
                continue
            weight = lag.correlation**2
            laplacian[[i, j], [i, j]] += weight
            laplacian[[i, j], [j, i]] -= weight
            right[j] += weight * lag.frames
            right[i] -= weight * lag.frames
    alone = np.flatnonzero(laplacian.diagonal() == 0)
    if len(alone):
        raise ValueError(f"sequences: no lag of annotator {alone[0]} to any other can be seen within {largest} frames")
    return np.linalg.lstsq(laplacian, right, rcond=1e-10)[0]


def lags_behind(sequences, signal, largest: int) -> list[Lag]:
    """Lag of each annotator behind a signal of the geometry, the distance from the neutral face for instance.

    Parameters
    ----------
    sequences : as in `agreement`
    signal : list of (T,) arrays
        One for each sequence.
    largest : int
        In frames.
    """
    values, annotated = _checked(sequences, least=1)
    geometry = [(np.asarray(s, float), np.ones(len(s), bool)) for s in signal]
    return [
        lag_between(geometry, [(x[i], s[i]) for x, s in zip(values, annotated)], largest) for i in range(len(values[0]))
    ]


def shifted(values, annotated, lag: float) -> tuple[np.ndarray, np.ndarray]:
    """Take a lag away: what was said `lag` frames later, between frames by linear interpolation.

    Returns
    -------
    values (T,), annotated (T,)
        Not annotated, and 0, where that lies outside of the sequence or beside a gap.
    """
    values, annotated = np.asarray(values, float), np.asarray(annotated, bool)
    moment = np.arange(len(values)) + lag
    before = np.floor(moment).astype(np.int64)
    part = moment - before
    inside = (before >= 0) & (before + (part > 0) < len(values))
    low = np.where(inside, before, 0)
    high = np.where(inside, before + (part > 0), 0)
    seen = inside & annotated[low] & annotated[high]
    return np.where(seen, values[low] * (1 - part) + values[high] * part, 0.0), seen


def corrected_mean(sequences, lags) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean of the annotators without their lags.

    Parameters
    ----------
    sequences : as in `agreement`
    lags : (A,) float array
        In frames, relative to their mean to keep the common lag, or behind the geometry to take it away too.

    Returns
    -------
    list of pairs ``(mean (T,), raters (T,) int64)``
        The mean over those who annotated the moment, 0 where `raters` says that nobody did.
    """
    values, annotated = _checked(sequences, least=1)
    lags = np.asarray(lags, float)
    if lags.shape != (len(values[0]),) or not np.isfinite(lags).all():
        raise ValueError(f"lags: expected {len(values[0])} finite numbers, got shape {lags.shape}")
    out = []
    for x, seen in zip(values, annotated):
        moved = [shifted(x[i], seen[i], lag) for i, lag in enumerate(lags)]
        raters = np.sum([s for _, s in moved], axis=0)
        out.append((np.sum([v for v, _ in moved], axis=0) / np.maximum(raters, 1), raters.astype(np.int64)))
    return out


def _checked(sequences, least: int = 2):
    values = [np.atleast_2d(np.asarray(x, float)) for x, _ in sequences]
    annotated = [np.atleast_2d(np.asarray(s, bool)) for _, s in sequences]
    if not values:
        raise ValueError("sequences: expected at least one, got none")
    for x, seen in zip(values, annotated):
        if x.shape != seen.shape or len(x) != len(values[0]):
            raise ValueError(f"sequences: expected {len(values[0])} annotators in each, got {x.shape} and {seen.shape}")
        if not np.isfinite(x[seen]).all():
            raise ValueError("sequences: expected finite numbers where frames are annotated")
    if len(values[0]) < least:
        raise ValueError(f"sequences: expected at least {least} annotators, got {len(values[0])}")
    return [np.where(seen, x, 0.0) for x, seen in zip(values, annotated)], annotated


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else 0.0


def _mean_of_pairs(matrix: np.ndarray) -> float:
    return float(matrix[np.tril_indices(len(matrix), -1)].mean())
