"""Support vector regression with a Gaussian kernel on few variables and very many rows.

`sklearn.svm.SVR` solves the same problem in time that grows faster than the square of the number of rows.  Here the
kernel is written as products of finite features (`kernel_features`), and the primal problem in their weights is
solved by Newton's method, which needs only sums over the rows; the duality gap says how far the answer can be from
the exact one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from affect3d.analysis.kernel_features import FeatureRows, KernelFeatures, gaussian_features
from affect3d.geometry.arrays import require_finite

__all__ = ["SupportVectorRegression", "SvrOptions", "fit_support_vectors", "support_vector_regression"]

_BLOCK = 16_384
#: Width of the rounding at the start as a share of the target's spread, and what it is multiplied by.
_FIRST_WIDTH, _SHRINK = 0.3, 0.25
#: Share of the greatest curvature below which a row is left out of Newton's matrix.
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class SvrOptions:
    """The regression's constants, with the meaning that `sklearn.svm.SVR` gives them.

    Attributes
    ----------
    cost : float
        C, price of an error beyond `epsilon`; > 0.
    epsilon : float
        Errors up to here cost nothing; in the unit of the targets, >= 0.
    gamma : float
        Of the kernel ``exp(-gamma |x - z|^2)``; > 0.
    gap : float
        Stop when the duality gap is below this share of the objective.
    kernel_tolerance : float
        How much of the kernel's diagonal the features may miss.
    steps : int
        At most so many Newton steps.
    memory : float
        Bytes that the features of all rows may take; beyond it they are computed anew for each use.
    """

    cost: float = 1.0
    epsilon: float = 0.1
    gamma: float = 0.5
    gap: float = 1e-3
    kernel_tolerance: float = 1e-6
    steps: int = 300
    memory: float = 1e9

    def __post_init__(self):
        for name in ("cost", "gamma", "gap", "kernel_tolerance"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 <= self.epsilon < np.inf:
            raise ValueError(f"epsilon: expected a number of at least 0, got {self.epsilon}")
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")


@dataclass(frozen=True, eq=False)
class SupportVectorRegression:
    """A function of the rows' variables, one column for each target.

    Attributes
    ----------
    features : KernelFeatures
    weights : (R, T) float64
    offset : (T,) float64
    objective, gap : (T,) float64
        Value of ``|w|^2 / 2 + C sum(max(0, |y - f| - epsilon))``, and the share of it by which the optimum may be less.
    support : (T,) float64
        Share of the rows that are support vectors.
    steps : (T,) int64
        Newton steps.
    converged : bool
    reason : str
    """

    features: KernelFeatures
    weights: np.ndarray
    offset: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    support: np.ndarray
    steps: np.ndarray
    converged: bool
    reason: str

    def predict(self, x) -> np.ndarray:
        """(N, T) of rows (N, P)."""
        x = np.asarray(x, float)
        out = np.empty((len(x), len(self.offset)))
        for first in range(0, len(x), _BLOCK):
            rows = slice(first, first + _BLOCK)
            out[rows] = self.features(x[rows], np.float32).astype(float) @ self.weights + self.offset
        return out


def support_vector_regression(x, targets, options: SvrOptions | None = None) -> SupportVectorRegression:
    """Fit epsilon-insensitive regressions with a Gaussian kernel.

    Parameters
    ----------
    x : (N, P) float array
        Few variables: two or three; the rank of the kernel grows quickly with their number.
    targets : (N,) or (N, T) float array
    options : SvrOptions, optional

    Returns
    -------
    SupportVectorRegression
        Memory while fitting: ``4 N R`` bytes, R the rank, some hundred for two variables of unit variance; or
        ``options.memory``, if that is less.

    Raises
    ------
    ValueError
        If shapes disagree or numbers are not finite.

    References
    ----------
    Drucker et al., "Support Vector Regression Machines", 1996; Chapelle, "Training a Support Vector Machine in the
    Primal", 2007 (Newton's method on a smoothed loss); Fine and Scheinberg 2001 (low rank kernels).
    """
    options = options or SvrOptions()
    x, targets = np.asarray(x, float), np.asarray(targets, float)
    if targets.ndim == 1:
        targets = targets[:, None]
    if x.ndim != 2 or targets.ndim != 2 or len(x) != len(targets) or len(x) < 2:
        raise ValueError(f"x, targets: expected (N, P) and (N, T) with N of at least 2, got {x.shape}, {targets.shape}")
    require_finite(targets, "targets")
    with threadpool_limits(1):
        features = gaussian_features(x, options.gamma, options.kernel_tolerance)
        rows = FeatureRows(features, x, options.memory)
    return fit_support_vectors(features, rows, targets, options)


def fit_support_vectors(
    features: KernelFeatures, rows: FeatureRows, targets, options: SvrOptions, start=None
) -> SupportVectorRegression:
    """`support_vector_regression` for rows whose features are known already.

    `start`, an earlier result for the same features, saves steps where only the constants changed.
    """

    def solve(t):
        opening = None if start is None else (start.weights[:, t], start.offset[t])
        return _Problem(rows, targets[:, t], options).solve(opening)

    # One target a thread: threads inside the linear algebra wait for one another on every small product, which on a
    # busy machine costs many times what they gain.
    with threadpool_limits(1), ThreadPoolExecutor(targets.shape[1]) as pool:
        found = list(pool.map(solve, range(targets.shape[1])))
    weights, offset, objective, gap, support, steps = map(np.array, zip(*found))
    converged = bool((gap <= options.gap).all())
    reason = (
        f"the duality gap is below {options.gap:g} of the objective" if converged
        else f"stopped after {int(steps.max())} Newton steps at a duality gap of {gap.max():.2g} of the objective; "
        "allow more steps, or a smaller cost"
    )  # fmt: skip
    return SupportVectorRegression(
        features, weights.T.copy(), offset, objective, gap, support, steps, converged, reason
    )


class _Problem:
    """One target: ``|w|^2 / 2 + C sum(loss(y - phi w - b))``, its corners rounded over a width that shrinks.

    ``max(0, t)`` becomes ``(t + sqrt(t^2 + width^2)) / 2``: as smooth as Newton's method wants it, and its slope, in
    (0, 1), gives a feasible point of the dual problem.
    """

    def __init__(self, rows, target, options):
        self.rows, self.target = rows, np.asarray(target, float)
        self.cost, self.epsilon, self.options = options.cost, options.epsilon, options

    def solve(self, start):
        spread = max(float(self.target.std()), 1e-12)
        if start is None:
            weights, offset = np.zeros(self.rows.shape[1]), float(np.median(self.target))
        else:
            weights, offset = np.array(start[0]), float(start[1])
        residual = self.target - self.products(weights) - offset
        # Wide at first: rounded narrowly, Newton's model holds only near the answer.
        width = _FIRST_WIDTH * spread * (1.0 if start is None else 0.1)
        steps, best = 0, None
        while True:
            weights, offset, residual, steps = self._newton(weights, offset, residual, width, steps)
            objective, gap = self._gap(weights, residual, width)
            if best is None or gap < best[3]:
                best = (weights, offset, objective, gap, float((np.abs(residual) >= self.epsilon).mean()))
            if best[3] <= self.options.gap or steps >= self.options.steps or width < 1e-7 * spread:
                return (*best, steps)
            width *= _SHRINK

    def _newton(self, weights, offset, residual, width, steps):
        """Minimize the rounded problem, not much closer than the rounding itself is to the true one."""
        while steps < self.options.steps:
            slope, curve = self._derivatives(residual, width)
            gradient = np.append(weights - self.transposed(slope), -slope.sum())
            step = -cho_solve(cho_factor(self._hessian(curve)), gradient)
            fall = -float(gradient @ step)
            # the rounded loss lies above the true one by at most half the width a row, by much less at most rows
            exact = self._value(weights, residual, 0.0)
            rounding = self._value(weights, residual, width) - exact
            # half the squared gradient is part of the duality gap, which counts once the rounding is small enough
            close = 0.5 * float(gradient[:-1] @ gradient[:-1]) <= 0.1 * self.options.gap * exact
            if fall <= 0.1 * rounding and (close or rounding > self.options.gap * exact):
                break
            moved = self.products(step[:-1]) + step[-1]
            length = self._length(weights, step[:-1], residual, moved, width)
            weights, offset = weights + length * step[:-1], offset + length * step[-1]
            residual = residual - length * moved
            steps += 1
        return weights, offset, residual, steps

    def _length(self, weights, step, residual, moved, width) -> float:
        """Where the slope along the step vanishes, roughly; it rises all the way, so halving an interval finds it."""
        along, square = float(weights @ step), float(step @ step)

        def slope(t):
            return along + t * square - float(self._derivatives(residual - t * moved, width)[0] @ moved)

        first, last = slope(0.0), slope(1.0)
        if abs(last) <= 0.5 * abs(first):
            return 1.0
        low, high = 0.0, 1.0
        while last < 0 and high < 64:
            low, high = high, 2 * high
            last = slope(high)
        for _ in range(20):
            middle = 0.5 * (low + high)
            value = slope(middle)
            if abs(value) <= 0.1 * abs(first):
                return middle
            low, high = (middle, high) if value < 0 else (low, middle)
        return 0.5 * (low + high)

    def _derivatives(self, residual, width):
        """First and second derivative, times C, of the rounded loss by the residual."""
        above, below = residual - self.epsilon, -residual - self.epsilon
        a, b = 1 / np.sqrt(above**2 + width**2), 1 / np.sqrt(below**2 + width**2)
        return 0.5 * self.cost * (above * a - below * b), 0.5 * self.cost * width**2 * (a**3 + b**3)

    def _value(self, weights, residual, width) -> float:
        above, below = residual - self.epsilon, -residual - self.epsilon
        loss = above + np.sqrt(above**2 + width**2) + below + np.sqrt(below**2 + width**2)
        return 0.5 * float(weights @ weights) + 0.5 * self.cost * float(loss.sum())

    def _gap(self, weights, residual, width) -> tuple[float, float]:
        """The objective, and the share of it by which it may lie above the optimum.

        The slopes of the rounded loss, their sum brought to zero, are a feasible point of the dual problem
        ``y.b - epsilon |b|_1 - |phi^T b|^2 / 2`` with |b| <= C.
        """
        primal = self._value(weights, residual, 0.0)
        dual = self._derivatives(residual, width)[0]
        surplus = float(dual.sum())
        side = dual > 0 if surplus > 0 else dual < 0
        total = float(dual[side].sum())
        if total:
            dual = np.where(side, dual * (1 - surplus / total), dual)
        value = float(self.target @ dual) - self.epsilon * float(np.abs(dual).sum())
        value -= 0.5 * float((self.transposed(dual) ** 2).sum())
        return primal, max(primal - value, 0.0) / max(primal, 1e-300)

    def _hessian(self, curve) -> np.ndarray:
        rank = self.rows.shape[1]
        gram, sums = np.zeros((rank, rank)), np.zeros(rank)
        # Rows far from the corners add next to nothing; without them the steps are as good and cost a part.
        rows = np.flatnonzero(curve > _NEGLIGIBLE * curve.max())
        for first in range(0, len(rows), _BLOCK):
            block = self.rows.take(rows[first : first + _BLOCK])
            heavy = np.sqrt(curve[rows[first : first + _BLOCK]])
            block *= heavy[:, None]
            gram += block.T @ block
            sums += heavy @ block
        out = np.empty((rank + 1, rank + 1))
        out[:rank, :rank] = gram
        out[:rank, rank] = out[rank, :rank] = sums
        out[rank, rank] = curve[rows].sum() * (1 + 1e-9)
        out[np.arange(rank), np.arange(rank)] += 1
        return out

    def products(self, weights) -> np.ndarray:
        return np.concatenate([self.rows.take(slice(i, i + _BLOCK)) @ weights
                               for i in range(0, self.rows.shape[0], _BLOCK)])  # fmt: skip

    def transposed(self, rows) -> np.ndarray:
        total = np.zeros(self.rows.shape[1])
        for i in range(0, self.rows.shape[0], _BLOCK):
            total += rows[i : i + _BLOCK] @ self.rows.take(slice(i, i + _BLOCK))
        return total
