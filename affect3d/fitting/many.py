"""One identity from several pictures of a person: every picture has its own camera and expression, all share the head.

Gauss-Newton on all pictures together; each picture's own unknowns are eliminated from its normal equations (Schur
complement), so that the work grows with the number of pictures and not with its cube.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import ThreadpoolController

from affect3d.fitting.facefit import FaceFit, FitOptions, fit_face
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import LandmarkView, Pose, person_points
from affect3d.landmarks import Landmarks
from affect3d.model import MorphableModel

__all__ = ["ManyFit", "ManyOptions", "fit_many", "fit_views"]

_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class ManyOptions:
    """Options of `fit_many`.

    Attributes
    ----------
    fit : FitOptions
        Of the fits of single pictures, where they start.
    sigma, outline_sigma : float
        Expected deviation of a landmark, and of one of the outline, in interocular distances.
    common : float
        Share of a landmark's error that is the same in all pictures of a person, in [0, 1]: with 1 many pictures
        are worth no more than one.
    iterations : int
        At most.
    tolerance : float
        Stop when no identity coefficient moves more, standard deviations.
    """

    fit: FitOptions = FitOptions()
    sigma: float = 0.04
    outline_sigma: float = 0.08
    common: float = 1.0
    iterations: int = 25
    tolerance: float = 2e-3

    def __post_init__(self):
        if not 0 <= self.common <= 1:
            raise ValueError(f"common: expected a number in [0, 1], got {self.common}")
        for name in ("sigma", "outline_sigma"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.iterations < 1:
            raise ValueError(f"iterations: expected at least 1, got {self.iterations}")
        if not (np.isfinite(self.tolerance) and self.tolerance > 0):
            raise ValueError(f"tolerance: expected a positive number, got {self.tolerance}")


@dataclass(frozen=True, eq=False)
class ManyFit:
    """A person in several pictures.

    Attributes
    ----------
    identity : (K,) float64
        Standard deviations.
    fits : tuple of FaceFit
        One a picture, all with that identity.
    single : tuple of FaceFit
        The fits of each picture alone.
    iterations : int
    converged : bool
    reason : str
    """

    identity: np.ndarray
    fits: tuple[FaceFit, ...]
    single: tuple[FaceFit, ...]
    iterations: int
    converged: bool
    reason: str


def fit_many(detections, model: MorphableModel, image_sizes, options: ManyOptions = ManyOptions()) -> ManyFit:
    """Fit one person to the landmarks of several pictures.

    Parameters
    ----------
    detections : sequence of FaceDetection or Landmarks
        One a picture, all of the same scheme.
    model : MorphableModel
    image_sizes : sequence of (width, height), or one for all
    options : ManyOptions

    Raises
    ------
    ValueError
        If there is no picture, the schemes differ, or as `fit_face`.
    """
    detections = list(detections)
    if not detections:
        raise ValueError("detections: expected at least one picture, got none")
    marks = [d if isinstance(d, Landmarks) else d.landmarks for d in detections]
    schemes = {m.scheme for m in marks}
    if len(schemes) > 1:
        raise ValueError(f"detections: expected landmarks of one scheme, got {', '.join(sorted(schemes))}")
    sizes = np.asarray(image_sizes)
    sizes = [tuple(map(int, s)) for s in (np.tile(sizes, (len(marks), 1)) if sizes.ndim == 1 else sizes)]
    if len(sizes) != len(marks):
        raise ValueError(f"image_sizes: expected {len(marks)}, got {len(sizes)}")
    single = tuple(fit_face(d, model, s, options.fit) for d, s in zip(detections, sizes))
    basis = landmark_basis(model, marks[0].scheme, min(options.fit.identity_modes, len(model.identity)))
    # the single fits' expressions are the first guess: the detector's scores and the landmarks have spoken in them
    trust = np.full(len(basis.expression), options.fit.expression_sigma)
    views = [
        LandmarkView(m.scheme, m.points, s, f.camera.focal, f.expression.copy(), trust, options.sigma,
                     options.outline_sigma)
        for m, s, f in zip(marks, sizes, single)
    ]  # fmt: skip
    poses = [Pose(f.camera.rotation, f.camera.T_camera_world[:3, 3], f.expression.copy()) for f in single]
    start = np.mean([f.identity for f in single], axis=0)
    with _BLAS.limit(limits=1, user_api="blas"):
        identity, poses, count, converged, reason = fit_views(views, basis, start, poses, options)
    person = person_points(basis, identity)
    fits = tuple(_result(v, person, p, f, identity, converged, reason) for v, p, f in zip(views, poses, single))
    return ManyFit(identity, fits, single, count, converged, reason)


def fit_views(views, basis, identity, poses, options: ManyOptions):
    """Refine a shared identity (K,) and the poses of all views; returns both, iterations, converged and reason."""
    identity, poses, damping = np.array(identity, float), list(poses), 1e-3
    # errors that all pictures share do not average out, so the prior keeps this much of its say
    prior = 1 + (len(views) - 1) * options.common
    converged, reason, count = False, "", 0
    for count in range(1, options.iterations + 1):
        person = person_points(basis, identity)
        parts, cost = [], prior * (identity**2).sum()
        for view, pose in zip(views, poses):
            if count <= 10:
                view.look(person, pose)
            residual, _ = view.residual(person, pose)
            weight = view.weights(residual)
            cost += view.cost(residual, weight, pose.expression)
            parts.append((weight, *view.equations(person, pose, residual, weight)))
        moved = None
        for _ in range(8):
            step, own = _joint_step(parts, poses, identity, prior, damping)
            fresh = [pose.moved(s) for pose, s in zip(poses, own)]
            there = person_points(basis, identity + step)
            new, behind = prior * ((identity + step) ** 2).sum(), False
            for view, pose, part in zip(views, fresh, parts):
                residual, depth = view.residual(there, pose)
                behind |= not depth > 1
                new += view.cost(residual, part[0], pose.expression)
            if not behind and new <= cost * (1 + 1e-12):
                moved = float(np.abs(step).max(initial=0))
                identity, poses, damping = identity + step, fresh, max(damping / 5, 1e-7)
                break
            damping *= 8
        if moved is None:
            converged, reason = True, "no step lowers the cost any more"
            break
        if moved < options.tolerance and count > 2:
            converged, reason = True, f"identity moved less than {options.tolerance:g} standard deviations"
            break
    else:
        reason = f"stopped after {options.iterations} iterations; raise iterations"
    return identity, poses, count, converged, reason


def _joint_step(parts, poses, identity, prior, damping):
    """Step of the identity, and of each picture's own unknowns."""
    k = len(identity)
    left, right = np.diag(np.full(k, prior * (1 + damping))), -prior * identity
    kept = []
    for (_, a, b), pose in zip(parts, poses):
        own = 6 + len(pose.expression)
        # expressions that rest on their bound and would leave it do not take part
        e = pose.expression
        held = np.zeros(own, bool)
        held[6:] = ((e <= 0) & (b[6:own] < 0)) | ((e >= 1) & (b[6:own] > 0))
        free = np.flatnonzero(~held)
        A = a[np.ix_(free, free)] + damping * np.diag(np.diag(a)[free])
        solved = np.linalg.solve(A, np.column_stack([a[free, own:], b[free]]))
        left += a[own:, own:] + damping * np.diag(np.diag(a)[own:]) - a[own:][:, free] @ solved[:, :k]
        right += b[own:] - a[own:][:, free] @ solved[:, k]
        kept.append((own, free, solved))
    step = np.linalg.solve(left, right) if k else np.zeros(0)
    steps = []
    for own, free, solved in kept:
        s = np.zeros(own)
        s[free] = solved[:, k] - solved[:, :k] @ step
        steps.append(s)
    return step, steps


def _result(view, person, pose, single, identity, converged, reason) -> FaceFit:
    predicted, _ = view.project(person, pose)
    distance = np.linalg.norm(predicted - view.targets, axis=1)
    rms = float(np.sqrt(np.nanmean(distance**2)))
    return replace(
        single, camera=view.camera(pose), identity=identity, expression=pose.expression, predicted=predicted,
        rms_px=rms, rms_relative=rms / view.unit, converged=converged, reason=reason,
    )  # fmt: skip
