"""A second look at a film's frames with a head that turns smoothly.

When lids close or lips part, a fit of one frame explains a little of it by a head that nods or comes nearer, and that
in turn by an expression.  Heads have mass: what is faster than a few hertz is no movement of the head.  So rotation and
distance are smoothed over time and held, and place in the picture and expression are fitted again.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from affect3d.fitting.bounded_step import bounded_step
from affect3d.fitting.landmark_view import LandmarkView, PersonPoints, Pose
from affect3d.fitting.smoothing import bridged, low_pass

__all__ = ["fit_held", "share_of_held", "steady_poses"]

#: From one frame to the next a head turns no farther (radians) and its distance changes by no more: else it is a cut.
_TURN, _ZOOM = 0.3, 0.25
#: A head that is held must explain the landmarks nearly as well as one that is free, interocular distances.
_WORSE, _SPARE = 1.4, 0.002


def steady_poses(rotation, shift, found, rate: float, hertz: float):
    """Rotations and distances smoothed within each take.

    Parameters
    ----------
    rotation, shift : (T, 3, 3) and (T, 3) float arrays
        Of the head in the camera's frame, mm.
    found : (T,) bool array
        The others are bridged; at least one.
    rate : float
        Frames a second.
    hertz : float
        What is faster is damped by half or more.

    Returns
    -------
    rotation : (T, 3, 3) float64
    depth : (T,) float64, mm
    """
    rotation, shift, found = np.array(rotation, float), np.asarray(shift, float), np.asarray(found, bool)
    depth, at = np.array(shift[:, 2]), np.flatnonzero(found)
    log = np.log(depth[at])
    turned = np.einsum("tij,tij->t", rotation[at[1:]], rotation[at[:-1]])
    angle = np.arccos(np.clip((turned - 1) / 2, -1, 1))
    cuts = np.flatnonzero((angle > _TURN) | (np.abs(np.diff(log)) > _ZOOM)) + 1
    for take in np.split(at, cuts):
        rows = np.arange(take[0], take[-1] + 1)
        mean = Rotation.from_matrix(rotation[take]).mean().as_matrix()
        curves = np.zeros((len(rows), 4))
        curves[take - take[0], :3] = Rotation.from_matrix(rotation[take] @ mean.T).as_rotvec()
        curves[take - take[0], 3] = np.log(depth[take])
        curves, there = bridged(curves, found[rows])
        curves = low_pass(curves, there, rate, hertz)
        rotation[rows] = Rotation.from_rotvec(curves[:, :3]).as_matrix() @ mean
        depth[rows] = np.exp(curves[:, 3])
    return rotation, depth


def fit_held(
    view: LandmarkView, person: PersonPoints, start: Pose, rotation, depth: float, sliding: bool, iterations: int = 4
) -> tuple[Pose, float]:
    """Expression and place in the picture of a head whose rotation and distance are known.

    Parameters
    ----------
    view, person, start, sliding
        As for `fit_known`.
    rotation : (3, 3) float array
    depth : float
        mm
    iterations : int

    Returns
    -------
    pose : Pose
    rms : float
        Of the landmarks, in interocular distances.
    """
    pose = Pose(np.asarray(rotation, float), start.shift * (depth / start.shift[2]), start.expression)
    free = np.r_[3:5, 6 : 6 + len(pose.expression)]
    view.look(person, pose, sliding)
    residual, _ = view.residual(person, pose)
    for _ in range(iterations):
        weight = view.weights(residual)
        left, right = view.equations(person, pose, residual, weight)
        step = np.zeros(6 + len(pose.expression))
        step[free] = bounded_step(left[np.ix_(free, free)], right[free], 1e-6, pose.expression, slice(2, None))
        fresh = pose.moved(step)
        new, nearest = view.residual(person, fresh)
        if not nearest > 1 or view.cost(new, weight, fresh.expression) > view.cost(residual, weight, pose.expression):
            break
        pose, residual = fresh, new
    return pose, float(np.sqrt(np.nanmean((residual**2).sum(1))))


def share_of_held(free_rms, held_rms, rate: float) -> np.ndarray:
    """(T,) in [0, 1]: how much of the held fit to take; 0 around frames in which it explains clearly less.

    There the head did move faster, as one that is shaken.
    """
    free_rms, held_rms = np.asarray(free_rms, float), np.asarray(held_rms, float)
    quick = (held_rms > _WORSE * free_rms + _SPARE).astype(float)
    return 1 - np.clip(3 * gaussian_filter1d(quick, 0.07 * rate, mode="nearest"), 0, 1)
