"""Choice of the regression's constants by cross-validation in which no subject is on both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from affect3d.analysis.kernel_features import FeatureRows, gaussian_features
from affect3d.analysis.scores import subject_moments
from affect3d.analysis.splits import subject_folds
from affect3d.analysis.svr import SvrOptions, fit_support_vectors
from affect3d.progress import Progress, silent

__all__ = ["Tuning", "spaced_rows", "tune_support_vectors"]

#: Variates have unit variance, so widths of the kernel from half of it to three times.
GAMMAS = (0.05, 0.4, 2.0)
COSTS = (0.1, 1.0, 10.0)
EPSILONS = (0.1,)


@dataclass(frozen=True)
class Tuning:
    """What cross-validation found for one target.

    Attributes
    ----------
    options : SvrOptions
        Those with the highest concordance.
    ccc : float
        Theirs, over all held-out frames together.
    table : tuple of (cost, epsilon, gamma, ccc)
    folds, rows : int
    """

    options: SvrOptions
    ccc: float
    table: tuple[tuple[float, float, float, float], ...]
    folds: int
    rows: int


def tune_support_vectors(
    x, targets, subjects, folds: int, rng: np.random.Generator, rows: int = 8000, gammas=GAMMAS, costs=COSTS,
    epsilons=EPSILONS, options: SvrOptions | None = None, progress: Progress = silent,
) -> list[Tuning]:  # fmt: skip
    """Grid search for each target.

    Parameters
    ----------
    x : (N, P), targets : (N, T) float array
    subjects : (N,) array
    folds : int
        At most the number of subjects.
    rng : numpy.random.Generator
        Deals subjects to folds.
    rows : int
        Evenly spaced rows that the search looks at; the constants hardly depend on their number, its time does.
    gammas, costs, epsilons : sequence of float
    options : SvrOptions, optional
        What the grid does not name.
    progress : callable

    Returns
    -------
    list of Tuning
        One for each target.
    """
    # Of the kernel less is needed to choose than to predict.
    base = replace(options or SvrOptions(), kernel_tolerance=1e-3, gap=1e-2)
    chosen = spaced_rows(len(x), rows)
    x, targets, subjects = (
        np.asarray(x, float)[chosen],
        np.asarray(targets, float)[chosen],
        np.asarray(subjects)[chosen],
    )
    parts = subject_folds(subjects, folds, rng)
    grid = [(c, e, g) for g in gammas for e in epsilons for c in sorted(costs)]
    held = np.empty((len(grid), *targets.shape))
    done, total = 0, folds * len(gammas)
    for train, test in parts:
        for gamma in gammas:
            with threadpool_limits(1):
                features = gaussian_features(x[train], gamma, base.kernel_tolerance)
                rows_of, before = FeatureRows(features, x[train]), None
            for k, (cost, epsilon, width) in enumerate(grid):
                if width != gamma:
                    continue
                setting = replace(base, cost=cost, epsilon=epsilon, gamma=gamma)
                before = fit_support_vectors(features, rows_of, targets[train], setting, before)
                held[k][test] = before.predict(x[test])
            done += 1
            progress(done, total, "cross-validation")
    out = []
    for t in range(targets.shape[1]):
        ccc = [
            float(
                subject_moments(h[:, t], targets[:, t], subjects).measures(np.ones(len(np.unique(subjects))))["ccc"][0]
            )
            for h in held
        ]
        best = int(np.nanargmax(ccc))
        cost, epsilon, gamma = grid[best]
        table = tuple((*point, value) for point, value in zip(grid, ccc))
        out.append(Tuning(replace(options or SvrOptions(), cost=cost, epsilon=epsilon, gamma=gamma), ccc[best], table,
                          folds, len(x)))  # fmt: skip
    return out


def spaced_rows(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` rows of `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))
