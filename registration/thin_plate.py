"""Thin-plate splines in the plane: the smoothest map that takes given points (nearly) to given points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["ThinPlate", "thin_plate"]


@dataclass(frozen=True, eq=False)
class ThinPlate:
    """A map of the plane.

    Attributes
    ----------
    centres : (L, 2) float64
    bends : (L, 2) float64
        Coefficients of r² log r around each centre.
    affine : (3, 2) float64
        Image of (1, x, y).
    """

    centres: np.ndarray
    bends: np.ndarray
    affine: np.ndarray

    def __call__(self, points) -> np.ndarray:
        """Images (N, 2) of `points` (N, 2)."""
        points = np.asarray(points, float)
        return self.affine[0] + points @ self.affine[1:] + _kernel(points, self.centres) @ self.bends


def thin_plate(source, goal, smoothness: float = 0.0) -> ThinPlate:
    """Thin-plate spline from `source` to `goal`.

    Parameters
    ----------
    source, goal : (L, 2) float array
        L >= 3, not all on one line.
    smoothness : float
        0 goes through every point; more lets noisy points be missed for less bending.  At least 0, in squared
        units of `source`.

    Raises
    ------
    ValueError
        If shapes differ, points are too few, on a line, doubled without smoothness, or not finite.

    References
    ----------
    Bookstein, "Principal Warps: Thin-Plate Splines and the Decomposition of Deformations", 1989.
    """
    source, goal = np.asarray(source, float), np.asarray(goal, float)
    if source.ndim != 2 or source.shape[1] != 2 or len(source) < 3 or goal.shape != source.shape:
        raise ValueError(f"source, goal: expected (L, 2) with L >= 3, got {source.shape} and {goal.shape}")
    require_finite(source, "source")
    require_finite(goal, "goal")
    if not smoothness >= 0:
        raise ValueError(f"smoothness: expected at least 0, got {smoothness}")
    spread = np.linalg.svd(source - source.mean(0), compute_uv=False)
    if spread[1] < 1e-9 * max(spread[0], 1e-300):
        raise ValueError("source: expected points that do not lie on one line")
    count = len(source)
    plane = np.column_stack([np.ones(count), source])
    matrix = np.zeros((count + 3, count + 3))
    matrix[:count, :count] = _kernel(source, source) + smoothness * np.eye(count)
    matrix[:count, count:], matrix[count:, :count] = plane, plane.T
    try:
        answer = np.linalg.solve(matrix, np.vstack([goal, np.zeros((3, 2))]))
    except np.linalg.LinAlgError:
        raise ValueError("source: expected different points, or a smoothness above 0") from None
    return ThinPlate(source.copy(), answer[:count], answer[count:])


def _kernel(points, centres):
    square = ((points[:, None] - centres) ** 2).sum(-1)
    return 0.5 * square * np.log(np.where(square > 0, square, 1.0))
