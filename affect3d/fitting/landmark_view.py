"""One picture's share of a fit whose identity belongs to several pictures: residuals and normal equations.

The unknowns of a picture are the head's rotation and place and the expression; those of the person are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from affect3d.camera import Camera
from affect3d.fitting.contour import outline_normals, slide
from affect3d.fitting.landmark_basis import LandmarkBasis
from affect3d.geometry.rotation import rotation_exp, skew
from affect3d.landmark_groups import FOREHEAD, OUTLINE, UNUSED, interocular

__all__ = ["LandmarkView", "PersonPoints", "Pose", "person_points"]


@dataclass(frozen=True, eq=False)
class PersonPoints:
    """The landmarks of one person as functions of the expression.

    Attributes
    ----------
    mean : (L, 3) float64
        Neutral, mm; NaN where the model lacks the landmark.
    expression : (E, L, 3) float64
    identity : (K, L, 3) float64
        For one standard deviation, to be moved along; K may be 0.
    basis : LandmarkBasis
        Of the model they come from.
    coefficients : (K,) float64
        The identity that is contained in `mean`.
    """

    mean: np.ndarray
    expression: np.ndarray
    identity: np.ndarray
    basis: LandmarkBasis
    coefficients: np.ndarray


def person_points(basis: LandmarkBasis, coefficients, offset=None) -> PersonPoints:
    """Landmarks of the identity `coefficients` (K,), displaced by `offset` (L, 3) mm."""
    c = np.asarray(coefficients, float)
    mean = basis.mean + np.tensordot(c, basis.identity[: len(c)], 1)
    return PersonPoints(mean if offset is None else mean + offset, basis.expression, basis.identity[: len(c)], basis, c)


@dataclass(frozen=True, eq=False)
class Pose:
    """Unknowns of one picture: camera point = rotation @ model point + shift (mm), and the expression (E,)."""

    rotation: np.ndarray
    shift: np.ndarray
    expression: np.ndarray

    def moved(self, step) -> Pose:
        """After a step (6 + E,): rotation vector, shift, expression; the latter stays in [0, 1]."""
        return Pose(
            rotation_exp(step[:3]) @ self.rotation, self.shift + step[3:6], np.clip(self.expression + step[6:], 0, 1)
        )


@dataclass(eq=False)
class LandmarkView:
    """Landmarks of one picture and what they say.

    Attributes
    ----------
    scheme : str
    targets : (L, 2) float64
        px; NaN where there is none.
    size : (width, height)
    focal : float
        px
    guess, trust : (E,) float64
        Expected expression and its deviation.
    sigma, outline_sigma : float
        Expected deviation of a landmark, in interocular distances.
    """

    scheme: str
    targets: np.ndarray
    size: tuple[int, int]
    focal: float
    guess: np.ndarray
    trust: np.ndarray
    sigma: float = 0.02
    outline_sigma: float = 0.04
    unit: float = field(init=False)
    sliding: np.ndarray = field(init=False)
    visibility: np.ndarray = field(init=False)

    def __post_init__(self):
        targets = np.array(self.targets, float)[:, :2]
        targets[list(UNUSED[self.scheme])] = np.nan
        self.targets = targets
        self.centre = (np.array(self.size, float) - 1) / 2
        self.unit = float(interocular(self.scheme, targets))
        used = np.isfinite(targets).all(1)
        if not np.isfinite(self.unit) or self.unit < 1e-3:
            self.unit = max(float(np.sqrt(np.nanvar(targets, axis=0).sum())), 1e-3)
        sigma = np.full(len(targets), self.sigma)
        sigma[list(OUTLINE[self.scheme])] = self.outline_sigma
        sigma[list(FOREHEAD[self.scheme])] *= 2.5
        self.base = np.where(used, 1 / sigma**2, 0.0)
        outer = set(OUTLINE[self.scheme]) - set(FOREHEAD[self.scheme])
        self.outline = np.array([k for k in sorted(outer) if used[k]], int)
        self.sliding = np.full(len(targets), -1)
        self.visibility = np.ones(len(targets))

    # -- which point of the head is meant, and how surely it is seen

    def look(self, person: PersonPoints, pose: Pose, sliding: bool = True) -> None:
        """Settle visibility and, where wanted, which points of the head make its outline."""
        basis = person.basis
        toward = -(basis.normals @ pose.rotation.T)[:, 2]  # 1 faces the camera
        self.visibility = np.nan_to_num(np.clip((toward + 0.15) / 0.45, 0.08, 1.0))
        self.sliding[:] = -1
        if not sliding:
            return
        self.visibility[self.outline] = 1.0
        moving = self.outline[toward[self.outline] <= 0.45]  # NaN, a landmark the model lacks, is neither
        if len(moving) < 3:
            return
        candidates = (
            basis.outline_mean
            + np.tensordot(person.coefficients, basis.outline_identity[: len(person.coefficients)], 1)
            + np.tensordot(pose.expression, basis.outline_expression, 1)
        )
        flat, _ = self._flat(candidates, pose)
        chain = np.array(OUTLINE[self.scheme])
        inside = np.nanmean(self.targets, axis=0)
        filled = np.where(np.isfinite(self.targets[chain]), self.targets[chain], inside)
        normal = np.full((len(self.targets), 2), np.nan)
        normal[chain] = outline_normals(filled, inside)
        self.sliding[moving] = slide(flat, self.targets[moving], normal[moving], 0.06 * self.unit, 0.3 * self.unit)

    def points(self, person: PersonPoints, pose: Pose) -> np.ndarray:
        """(L, 3) mm, model frame."""
        points = person.mean + np.tensordot(pose.expression, person.expression, 1)
        on = np.flatnonzero(self.sliding >= 0)
        if len(on):
            basis, k, c = person.basis, self.sliding[on], person.coefficients
            points[on] = (
                basis.outline_mean[k] + np.tensordot(c, basis.outline_identity[: len(c), k], 1)
                + np.tensordot(pose.expression, basis.outline_expression[:, k], 1)
            )
        return points

    def _flat(self, points, pose):
        seen = points @ pose.rotation.T + pose.shift
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.focal * seen[:, :2] / seen[:, 2:] + self.centre, seen

    def project(self, person: PersonPoints, pose: Pose):
        """Landmarks (L, 2) px and in the camera's frame (L, 3) mm."""
        return self._flat(self.points(person, pose), pose)

    # -- residuals

    def residual(self, person: PersonPoints, pose: Pose):
        """(L, 2) in interocular distances, and the least depth, mm."""
        flat, seen = self.project(person, pose)
        return (flat - self.targets) / self.unit, float(np.nanmin(seen[:, 2]))

    def weights(self, residual) -> np.ndarray:
        """(L,) with those of Geman and McClure for outliers; 0 for landmarks that are missing."""
        squared = np.nansum(residual**2, axis=1) * self.base
        known = np.isfinite(residual).all(1)
        return np.where(known, self.base * self.visibility / (1 + squared / 16.0) ** 2, 0.0)

    def cost(self, residual, weight, expression) -> float:
        prior = (((expression - self.guess) / self.trust) ** 2).sum()
        return float((weight * np.nansum(residual**2, axis=1)).sum() + prior)

    def equations(self, person: PersonPoints, pose: Pose, residual, weight):
        """Normal equations (6 + E + K square) of a step of pose, expression and identity; no prior of identity."""
        _, seen = self.project(person, pose)
        expression, identity = person.expression, person.identity
        on = np.flatnonzero(self.sliding >= 0)
        if len(on):
            basis, k = person.basis, self.sliding[on]
            expression, identity = expression.copy(), identity.copy()
            expression[:, on] = basis.outline_expression[:, k]
            identity[:, on] = basis.outline_identity[: len(identity), k]
        use = np.flatnonzero(weight > 0)
        y = seen[use]
        P = np.zeros((len(use), 2, 3))
        P[:, 0, 0] = P[:, 1, 1] = self.focal / y[:, 2]
        P[:, 0, 2], P[:, 1, 2] = -self.focal * y[:, 0] / y[:, 2] ** 2, -self.focal * y[:, 1] / y[:, 2] ** 2
        e, k = len(expression), len(identity)
        J = np.empty((len(use), 2, 6 + e + k))
        J[:, :, :3] = -P @ skew(y - pose.shift)
        J[:, :, 3:6] = P
        turned = (P @ pose.rotation).transpose(0, 2, 1)  # (L, 3, 2)
        J[:, :, 6 : 6 + e] = (expression[:, use].transpose(1, 0, 2) @ turned).transpose(0, 2, 1)
        J[:, :, 6 + e :] = (identity[:, use].transpose(1, 0, 2) @ turned).transpose(0, 2, 1)
        J = J.reshape(-1, J.shape[2]) / self.unit
        w = np.repeat(weight[use], 2)
        left, right = J.T @ (J * w[:, None]), -J.T @ (w * residual[use].ravel())
        at = np.arange(6, 6 + e)
        left[at, at] += 1 / self.trust**2
        right[6 : 6 + e] -= (pose.expression - self.guess) / self.trust**2
        return left, right

    def camera(self, pose: Pose) -> Camera:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = pose.rotation, pose.shift
        return Camera(self.focal, self.centre, self.size, T)
