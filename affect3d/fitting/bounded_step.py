"""Damped Gauss-Newton steps that keep expressions within [0, 1]."""

from __future__ import annotations

import numpy as np

__all__ = ["bounded_step"]


def bounded_step(left, right, damping: float, expression, where: slice) -> np.ndarray:
    """Solve the damped normal equations; expressions that would leave [0, 1] are held at the bound.

    Parameters
    ----------
    left : (N, N) float array
    right : (N,) float array
    damping : float
        Share of the diagonal that is added to it (Levenberg).
    expression : (E,) float array
        Where the expressions are now.
    where : slice
        Their places among the unknowns.

    Returns
    -------
    (N,) float64
        Each round holds those that leave and solves for the others anew, six times at most.
    """
    damped = left + damping * np.diag(np.diag(left))
    held, step = np.zeros(len(right), bool), np.zeros(len(right))
    for _ in range(6):
        free = ~held
        aim = right[free] - damped[np.ix_(free, held)] @ step[held]
        step[free] = np.linalg.solve(damped[np.ix_(free, free)], aim)
        low, high = expression + step[where] < -1e-12, expression + step[where] > 1 + 1e-12
        if not (low | high).any():
            break
        step[where][low] = -expression[low]
        step[where][high] = 1 - expression[high]
        held[where] |= low | high
    return step
