"""The table of a study: measures with intervals over people, and paired tests between conditions."""

from __future__ import annotations

import numpy as np

from affect3d.analysis.scores import subject_moments

__all__ = ["compare", "paired_p_value", "resampled"]

TARGETS = ("valence", "arousal")
_SHOWN = ("ccc", "pearson", "mse")


def compare(
    labels, subject, predictions: dict, baseline: str, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> list[dict]:
    """One row for each condition and number of people.

    Parameters
    ----------
    labels : (N, 2) float array
    subject : (N,) int array
    predictions : dict of (condition, people) to list of (rows, predicted (M, 2))
        One entry for each seed; all seeds of all conditions predict the same people.
    baseline : str
        The condition that the others with the same number of people are compared with.
    resamples : int
        Of the bootstrap over people; all conditions share its draws, so differences are paired.

    Returns
    -------
    list of dict
        "condition", "people", for each target and "mean" (over both) the measures as {value, low, high, seeds}, for
        each target also "bias" (mean prediction minus mean label) and "spread" (standard deviation of the predictions
        over that of the labels), and "against", None for the baseline: differences in "ccc" and "mse" with intervals,
        and "mse_p_value".
    """
    people = np.unique(np.concatenate([subject[runs[0][0]] for runs in predictions.values()]))
    rng = np.random.default_rng([seed, 91])
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=resamples)
    draws = np.concatenate([np.ones((1, len(people)), int), draws])
    found = {}
    for key, runs in predictions.items():
        found[key] = resampled(labels, subject, runs, people, draws)
    ends = (1 - level) / 2, (1 + level) / 2

    def score(table):
        """`table` is (seeds, 1 + resamples)."""
        over = table.mean(0)
        low, high = (float(v) for v in np.quantile(over[1:], ends)) if len(people) > 1 else (None, None)
        return {"value": float(over[0]), "low": low, "high": high, "seeds": [float(v) for v in table[:, 0]]}

    rows = []
    for (condition, amount), tables in found.items():
        row = {"condition": condition, "people": int(amount)}
        for name in TARGETS:
            row[name] = {m: score(tables[name][m]) for m in _SHOWN}
            row[name] |= _bias_and_spread(labels, predictions[(condition, amount)], name)
        row["mean"] = {m: score((tables["valence"][m] + tables["arousal"][m]) / 2) for m in _SHOWN}
        row["against"] = None
        other = found.get((baseline, amount))
        if condition != baseline and other is not None:
            mine = (tables["valence"]["ccc"] + tables["arousal"]["ccc"]) / 2
            theirs = (other["valence"]["ccc"] + other["arousal"]["ccc"]) / 2
            keys = (condition, amount), (baseline, amount)
            errors = [_errors(labels, subject, predictions[key], people) for key in keys]
            row["against"] = {
                "baseline": baseline, "ccc": score(mine - theirs),
                "mse": score(sum(tables[n]["mse"] - other[n]["mse"] for n in TARGETS) / 2),
                "mse_p_value": paired_p_value(errors[0] - errors[1], np.random.default_rng([seed, 92])),
            }  # fmt: skip
        rows.append(row)
    return rows


def resampled(labels, subject, runs, people, draws) -> dict:
    """For each target and measure (seeds, draws) values; undefined ones (a constant prediction) count as zero."""
    out = {name: {m: [] for m in _SHOWN} for name in TARGETS}
    for rows, predicted in runs:
        for t, name in enumerate(TARGETS):
            moments = subject_moments(predicted[:, t], labels[rows, t], subject[rows])
            if not np.array_equal(moments.subjects, people):
                raise ValueError("predictions: expected all runs to predict the same people")
            values = moments.measures(draws)
            for m in _SHOWN:
                out[name][m].append(np.nan_to_num(values[m]))
    return {name: {m: np.array(v) for m, v in table.items()} for name, table in out.items()}


def _bias_and_spread(labels, runs, name) -> dict:
    t = TARGETS.index(name)
    bias = np.mean([(predicted[:, t] - labels[rows, t]).mean() for rows, predicted in runs])
    spread = np.mean([predicted[:, t].std() / max(labels[rows, t].std(), 1e-12) for rows, predicted in runs])
    return {"bias": float(bias), "spread": float(spread)}


def _errors(labels, subject, runs, people) -> np.ndarray:
    """(S,) mean square error of each person, over frames, targets and seeds."""
    total = np.zeros(len(people))
    for rows, predicted in runs:
        error = ((predicted - labels[rows]) ** 2).mean(1)
        place = np.searchsorted(people, subject[rows])
        total += np.bincount(place, error, len(people)) / np.bincount(place, minlength=len(people))
    return total / len(runs)


def paired_p_value(differences, rng: np.random.Generator, permutations: int = 9999) -> float:
    """Two-sided p-value of the mean of paired differences (S,) under random signs (one sign a person).

    With up to 13 people all signs are tried, and the p-value is exact.
    """
    d = np.asarray(differences, float)
    if len(d) <= 13:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        return float((np.abs(signs @ d) >= abs(d.sum()) * (1 - 1e-12)).mean())
    signs = rng.choice([-1, 1], (permutations, len(d)))
    return float((1 + (np.abs(signs @ d) >= abs(d.sum()) * (1 - 1e-12)).sum()) / (permutations + 1))
