"""Pose and expression of a person whose identity is known, from the landmarks of one picture.

Gauss-Newton from a start that is near (the last frame of a film); a few milliseconds a picture.
"""

from __future__ import annotations

import numpy as np

from affect3d.fitting.bounded_step import bounded_step
from affect3d.fitting.landmark_view import LandmarkView, PersonPoints, Pose

__all__ = ["fit_known"]


def fit_known(
    view: LandmarkView, person: PersonPoints, start: Pose, iterations: int = 12, tolerance: float = 2e-4,
    sliding: bool = False,
) -> tuple[Pose, float, bool]:
    """Fit one picture.

    Parameters
    ----------
    view : LandmarkView
    person : PersonPoints
    start : Pose
    iterations : int
        At most.
    tolerance : float
        Stop when no landmark moves more, in interocular distances.
    sliding : bool
        Whether points of the outline may slide over the head; where `person` holds the person's own offsets of the
        landmarks they need not.

    Returns
    -------
    pose : Pose
    rms : float
        Of the landmarks, in interocular distances.
    converged : bool
    """
    pose, damping, converged = start, 1e-3, False
    for iteration in range(iterations):
        if iteration < 3:
            view.look(person, pose, sliding)
        residual, _ = view.residual(person, pose)
        weight = view.weights(residual)
        cost = view.cost(residual, weight, pose.expression)
        left, right = view.equations(person, pose, residual, weight)
        count = 6 + len(pose.expression)
        left, right = left[:count, :count], right[:count]
        moved = None
        for _ in range(8):
            fresh = pose.moved(bounded_step(left, right, damping, pose.expression, slice(6, None)))
            new, depth = view.residual(person, fresh)
            if depth > 1 and view.cost(new, weight, fresh.expression) <= cost * (1 + 1e-12):
                moved = float(np.nanmax(np.abs(new - residual)))
                pose, damping = fresh, max(damping / 5, 1e-7)
                break
            damping *= 8
        if moved is None or (moved < tolerance and iteration >= 2):
            converged = True
            break
    residual, _ = view.residual(person, pose)
    rms = float(np.sqrt(np.nanmean((residual**2).sum(1))))
    return pose, rms, converged
