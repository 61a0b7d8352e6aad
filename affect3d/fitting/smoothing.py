"""Curves over time made smooth without lag: a robust penalty on second differences, solved forward and backward.

Each curve x minimises  Σ w (y - x)² / σ²  +  Σ ρ(x'' / s),  with ρ of Cauchy.  Where a curve rests, the penalty
acts as a low pass of low frequency; where it moves (a blink, a word), its acceleration is far above what noise makes,
the penalty lets go, and the curve is followed.  The equations are banded and symmetric in time, so nothing is late:
the smoother of Rauch, Tung and Striebel (AIAA Journal 3(8), 1965) solves the same problem for a fixed penalty, and
Whittaker's graduation (Proc. Edinburgh Math. Soc. 41, 1923) is the case without ρ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

__all__ = ["SmoothingOptions", "bridged", "low_pass", "noise_of", "smooth_curves", "smooth_rotations"]

#: Share of a measured frame's say that a bridged one gets.
_BRIDGE = 0.02


@dataclass(frozen=True)
class SmoothingOptions:
    """How smooth.

    Attributes
    ----------
    still : float
        Frequency in Hz above which a curve at rest is damped by half or more.
    release : float
        How many deviations an acceleration must have, compared with noise behind that low pass, to count as
        movement.
    floor : float
        Least deviation of the noise that is assumed, in the unit of the curves.
    iterations : int
        Of reweighting.
    """

    still: float = 1.0
    release: float = 2.0
    floor: float = 1e-4
    iterations: int = 12

    def __post_init__(self):
        for name in ("still", "release", "floor"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if self.iterations < 1:
            raise ValueError(f"iterations: expected at least 1, got {self.iterations}")


def smooth_curves(values, found=None, rate: float = 30.0, options: SmoothingOptions = SmoothingOptions()) -> np.ndarray:
    """Smooth curves of equal steps in time.

    Parameters
    ----------
    values : (T, D) float array
        Any unit; one curve a column, each smoothed by itself.  Rows that are not found may hold anything.
    found : (T,) bool array, optional
        Which rows were measured; all if left out.  The others are bridged.
    rate : float
        Rows a second.
    options : SmoothingOptions

    Returns
    -------
    (T, D) float64

    Raises
    ------
    ValueError
        If a measured number is not finite, no row is measured, or `rate` is not positive.
    """
    y, found = bridged(values, found)
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate: expected a positive number of rows a second, got {rate}")
    if len(y) < 3 or not y.shape[1]:
        return y
    weight = np.where(found, 1.0, _BRIDGE)
    stiffness = max((rate / (2 * np.pi * options.still)) ** 4, 1e-3)
    quick = max((rate / (2 * np.pi * 4 * options.still)) ** 4, 1e-3)
    noise = np.maximum(noise_of(y, found), options.floor)
    out = np.empty_like(y)
    for d in range(y.shape[1]):
        # what one deviation of the data's misfit pays for
        scale = options.release * noise[d] / np.sqrt(stiffness)
        x = _penalized(y[:, d], weight, np.full(len(y) - 2, quick))
        for _ in range(options.iterations):
            before = x
            bend = np.diff(x, 2) / scale
            x = _penalized(y[:, d], weight, stiffness / (1 + bend**2))
            if np.abs(x - before).max() < 1e-3 * noise[d]:
                break
        out[:, d] = x
    return out


def smooth_rotations(
    rotations, found=None, rate: float = 30.0, options: SmoothingOptions = SmoothingOptions()
) -> np.ndarray:
    """Smooth a head's rotations (T, 3, 3): as rotation vectors away from their mean, radians.

    The head may turn up to half a turn away from its mean rotation, which no face that is seen does.

    Raises
    ------
    ValueError
        As `smooth_curves`, or if the shape is another.
    """
    R = np.asarray(rotations, float)
    if R.ndim != 3 or R.shape[1:] != (3, 3):
        raise ValueError(f"rotations: expected shape (T, 3, 3), got {R.shape}")
    measured = np.ones(len(R), bool) if found is None else np.asarray(found, bool)
    if not measured.any():
        raise ValueError("found: expected at least one measured row, got none")
    u, _, v = np.linalg.svd(R[measured].sum(0))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    away = np.zeros((len(R), 3))
    away[measured] = Rotation.from_matrix(R[measured] @ mean.T).as_rotvec()
    return Rotation.from_rotvec(smooth_curves(away, measured, rate, options)).as_matrix() @ mean


def low_pass(values, found=None, rate: float = 30.0, hertz: float = 2.0) -> np.ndarray:
    """Curves (T, D) without what is faster than `hertz`, movement or not; else as `smooth_curves`."""
    y, found = bridged(values, found)
    if len(y) < 3:
        return y
    weight = np.where(found, 1.0, _BRIDGE)
    penalty = np.full(len(y) - 2, max((rate / (2 * np.pi * hertz)) ** 4, 1e-3))
    return np.stack([_penalized(y[:, d], weight, penalty) for d in range(y.shape[1])], axis=1)


def bridged(values, found=None) -> tuple[np.ndarray, np.ndarray]:
    """A copy of (T, D) curves whose missing rows lie on straight lines between their neighbours, and `found`.

    Before the first and after the last measured row the curve stays where it was.

    Raises
    ------
    ValueError
        If a shape is another, a measured number is not finite, or no row is measured.
    """
    y = np.array(values, np.float64)
    if y.ndim != 2:
        raise ValueError(f"values: expected shape (T, D), got {y.shape}")
    found = np.ones(len(y), bool) if found is None else np.asarray(found, bool)
    if found.shape != (len(y),):
        raise ValueError(f"found: expected shape ({len(y)},), got {found.shape}")
    if not found.any():
        raise ValueError("found: expected at least one measured row, got none")
    if not np.isfinite(y[found]).all():
        raise ValueError("values: expected finite numbers in the rows that are found")
    if not found.all():
        at, missing = np.flatnonzero(found), np.flatnonzero(~found)
        for d in range(y.shape[1]):
            y[missing, d] = np.interp(missing, at, y[at, d])
    return y, found


def noise_of(values, found=None) -> np.ndarray:
    """(D,) deviation of white noise on smooth curves (T, D): the median of their fourth differences.

    Movement makes fourth differences too, but rarely in more than half of the frames.
    """
    y = np.asarray(values, float)
    if len(y) < 5:
        return np.zeros(y.shape[1])
    fourth = np.abs(np.diff(y, 4, axis=0)) / np.sqrt(70)
    if found is not None:
        whole = np.convolve(np.asarray(found, float), np.ones(5), "valid") > 4.5
        if whole.any():
            fourth = fourth[whole]
    return np.median(fourth, axis=0) / 0.6745


def _penalized(y, weight, penalty) -> np.ndarray:
    """x of least Σ weight (y - x)² + Σ penalty (x[t] - 2 x[t + 1] + x[t + 2])²."""
    n = len(y)
    band = np.zeros((3, n))  # the upper diagonals, as solveh_banded wants them
    band[2] = weight
    band[2, :-2] += penalty
    band[2, 1:-1] += 4 * penalty
    band[2, 2:] += penalty
    band[1, 1:-1] -= 2 * penalty
    band[1, 2:] -= 2 * penalty
    band[0, 2:] = penalty
    return solveh_banded(band, weight * y)
