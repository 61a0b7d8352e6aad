"""Labels of made pictures in the convention of a database, by what its own labelled frames say.

A gallery and a database may mean different things by the same numbers: words' positions on the plane, ratings of faces,
joysticks moved along a film.  The head that is fitted to the labelled frames of the training people gives each of them
an expression, and a linear map from expressions to labels is learned.  The same fit of each made picture, through the
same map, then says which label these annotators would have given it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = ["Calibration", "calibrate", "calibration_of"]

# Shapes that say where somebody looks or that a frame shows a blink: they pass and tell little.
_PASSING = ("eyeLook", "eyeBlink")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A linear map from expressions to valence and arousal.

    Attributes
    ----------
    names : tuple of str
        Of the shapes.
    weights : (E, 2) float64
        Zero for glances and blinks.
    """

    names: tuple[str, ...]
    weights: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        weights = frozen_array(self.weights, np.float64, "weights", (len(self.names), 2))
        require_finite(weights, "weights")
        object.__setattr__(self, "weights", weights)

    def __call__(self, expressions) -> np.ndarray:
        """(M, 2) labels in [-1, 1] of fitted expressions (M, E); zero for the neutral face."""
        expressions = np.asarray(expressions, float)
        if expressions.ndim != 2 or expressions.shape[1] != len(self.names) or not np.isfinite(expressions).all():
            raise ValueError(f"expressions: expected finite (M, {len(self.names)}), got {expressions.shape}")
        return np.clip(expressions @ self.weights, -1, 1)


def calibrate(expressions, names, labels, ridge: float = 1e-4) -> Calibration:
    """Ridge regression of labels on fitted expressions.

    There is no constant: fits without an expression are neutral, and neutral is zero.

    Parameters
    ----------
    expressions : (N, E) float array
        Weights of the shapes `names`.
    labels : (N, 2) float array
        Of the same frames, in [-1, 1].
    ridge : float
        Above 0, in squared weights: what varies less than this over the frames is hardly used.

    Raises
    ------
    ValueError
        If shapes differ, there is no frame, or a number is not finite.
    """
    x, y = np.asarray(expressions, float), np.asarray(labels, float)
    if x.ndim != 2 or not len(x) or x.shape[1] != len(names) or y.shape != (len(x), 2):
        raise ValueError(
            f"expressions, labels: expected (N, {len(names)}) and (N, 2) with N from 1, got {x.shape}, {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("expressions, labels: expected finite numbers")
    if not ridge > 0:
        raise ValueError(f"ridge: expected a number above 0, got {ridge}")
    used = np.array([not n.startswith(_PASSING) for n in names])
    weights = np.zeros((len(names), 2))
    x = x[:, used]
    weights[used] = np.linalg.solve(x.T @ x / len(x) + ridge * np.eye(x.shape[1]), x.T @ y / len(x))
    return Calibration(tuple(names), weights)


def calibration_of(path, train, labels) -> Calibration:
    """The calibration that the training rows `train` allow, from a file of `affect3d.study.fits.fit_frames`.

    Parameters
    ----------
    path : path
    train : (M,) int array
    labels : (N, 2) float array
        Of all rows; only those of `train` are looked at.

    Raises
    ------
    ValueError
        If none of them was fitted.
    """
    rows, expressions, names = fitted_rows(path)
    known = np.isin(rows, train)
    if not known.any():
        raise ValueError("train: no head was fitted to any frame that is learned from, so labels cannot be calibrated")
    return calibrate(expressions[known], names, np.asarray(labels)[rows[known]])


@lru_cache(maxsize=2)
def fitted_rows(path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Rows (M,), expressions (M, E) and names of a file of `affect3d.study.fits.fit_frames`."""
    with np.load(path, allow_pickle=False) as file:
        return file["rows"], file["expression"], tuple(str(n) for n in file["names"])
