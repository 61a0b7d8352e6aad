"""Camera, identity and expression from landmarks: robust nonlinear least squares with priors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController

from affect3d.camera import Camera
from affect3d.fitting.bounded_step import bounded_step
from affect3d.fitting.contour import outline_normals, slide
from affect3d.fitting.landmark_basis import LandmarkBasis, landmark_basis
from affect3d.fitting.smile_evidence import smile_guess
from affect3d.geometry.arrays import require_finite
from affect3d.geometry.rotation import rotation_exp, skew
from affect3d.landmark_groups import FOREHEAD, OUTLINE, UNUSED, interocular
from affect3d.landmarks import Landmarks
from affect3d.model import MorphableModel

__all__ = ["FaceFit", "FitOptions", "fit_face"]


_BLAS = ThreadpoolController()

#: What MediaPipe's scores say of faces at rest: medians (for the shrug of the lower lip the upper
#: quartile, because it varies most) over neutral photographs of 30 people.  Without their side.
RESTING_SCORES = {
    "browDown": 0.09, "browOuterUp": 0.05, "eyeBlink": 0.12, "eyeSquint": 0.26, "eyeLookDown": 0.21, "eyeLookUp": 0.05,
    "eyeLookIn": 0.12, "eyeLookOut": 0.14, "mouthPress": 0.05, "mouthShrugLower": 0.42, "mouthShrugUpper": 0.05,
}


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit_face`.

    Attributes
    ----------
    identity_modes : int
        Identity modes used at most.
    sigma : float
        Expected deviation of a landmark, in interocular distances.  The errors of dense landmarks go
        together, so this is larger than the scatter of one point.
    outline_sigma : float
        The same for points of the outline.
    expression_sigma : float
        Expected deviation of an expression coefficient from its first guess.
    focal : float or None
        Focal length in pixels.  None: 1.4 times the longer side of the picture, or more where that
        would put the head nearer than about 0.7 m, as in cut-outs of larger pictures.
    max_iterations : int
    tolerance : float
        Stop when no landmark moves more than this, in interocular distances.
    """

    identity_modes: int = 60
    sigma: float = 0.02
    outline_sigma: float = 0.04
    expression_sigma: float = 0.15
    focal: float | None = None
    max_iterations: int = 60
    tolerance: float = 1e-4

    def __post_init__(self):
        for name in ("sigma", "outline_sigma", "expression_sigma", "focal", "tolerance"):
            value = getattr(self, name)
            if not (name == "focal" and value is None) and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if self.identity_modes < 0:
            raise ValueError(f"identity_modes: expected a number from 0 up, got {self.identity_modes}")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations: expected at least 1, got {self.max_iterations}")


@dataclass(frozen=True, eq=False)
class FaceFit:
    """A head in a photo.

    Attributes
    ----------
    camera : Camera
        Maps the model frame to the picture.
    identity : (K,) float64
        Standard deviations.
    expression : (E,) float64
        In [0, 1], one for each expression of the model.
    scheme : str
    targets, predicted : (L, 2) float64
        Landmarks in the photo and on the fitted head, px; NaN where there is none.  For points of the
        outline `predicted` is the point of the head that makes the outline there.
    rms_px, rms_relative : float
        Root mean square distance of the two, in pixels and in interocular distances.
    iterations : int
    converged : bool
    reason : str
    foretold, foretold_sigma : (E,) float64, optional
        The expression that the detector's scores foretold and its expected deviation: what the fit took as its
        prior.  None where there were no scores.
    """

    camera: Camera
    identity: np.ndarray
    expression: np.ndarray
    scheme: str
    targets: np.ndarray
    predicted: np.ndarray
    rms_px: float
    rms_relative: float
    iterations: int
    converged: bool
    reason: str
    foretold: np.ndarray | None = None
    foretold_sigma: np.ndarray | None = None

    def vertices(self, model: MorphableModel) -> np.ndarray:
        """(V, 3) mm: the fitted head in the model frame."""
        return model.instance(self.identity, self.expression)


def fit_face(
    detection, model: MorphableModel, image_size: tuple[int, int], options: FitOptions = FitOptions()
) -> FaceFit:
    """Fit `model` to the landmarks of one face.

    Gauss-Newton with Levenberg's damping; Geman-McClure weights; identity ~ N(0, 1); expression
    around the detector's scores and inside [0, 1] (the coefficients at a bound that the step would
    leave are held there); points of the outline slide over the head in the first iterations.

    Parameters
    ----------
    detection : FaceDetection or Landmarks
        Pixels.  A detection's `expression_scores` are the first guess of the expression, with its `depth`
        for the smile (`smile_evidence`).
    model : MorphableModel
    image_size : (width, height)

    Raises
    ------
    ValueError
        If fewer than six landmarks are given, they lie on one point or line, are not in pixels or
        infinite, the picture has no size, or the model lacks their scheme.
    """
    landmarks = detection if isinstance(detection, Landmarks) else detection.landmarks
    if landmarks.unit != "px":
        raise ValueError(f"landmarks: expected pixels, got {landmarks.unit}")
    if np.isinf(landmarks.points[:, :2]).any():
        raise ValueError("landmarks: expected finite numbers, or NaN for a missing point, got infinity")
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"image_size: expected (width, height) of at least one pixel, got {image_size}")
    scores = None if isinstance(detection, Landmarks) else detection.expression_scores
    smile = {}
    if scores and detection.depth is not None and landmarks.scheme == "mediapipe478":
        smile = smile_guess(scores, landmarks.points[:, :2], detection.depth)
    basis = landmark_basis(model, landmarks.scheme, min(options.identity_modes, len(model.identity)))
    problem = _Problem(landmarks, basis, model, scores, image_size, options, smile)
    # The matrices are small: more than one BLAS thread only makes the threads wait for each other.
    with _BLAS.limit(limits=1, user_api="blas"):
        return problem.solve()


def _guess(scores, name) -> float:
    """A score above what a resting face gets, stretched to [0, 1]."""
    resting = RESTING_SCORES.get(name.removesuffix("Left").removesuffix("Right"), 0.0)
    return float(np.clip((scores.get(name, 0.0) - resting) / (1 - resting), 0, 1))


class _Problem:
    def __init__(self, landmarks, basis: LandmarkBasis, model, scores, image_size, options, smile=None):
        self.basis, self.options, self.scheme = basis, options, landmarks.scheme
        smile = smile or {}
        self.size = image_size
        self.targets = landmarks.points[:, :2].copy()
        self.targets[list(UNUSED[self.scheme])] = np.nan
        self.targets[~np.isfinite(basis.mean).all(1)] = np.nan
        used = np.isfinite(self.targets).all(1)
        if used.sum() < 6:
            raise ValueError(f"landmarks: at least 6 usable points are needed, got {int(used.sum())}")
        spread = np.linalg.svd(self.targets[used] - self.targets[used].mean(0), compute_uv=False)
        if spread[1] <= 1e-3 * max(spread[0], 1e-9) or spread[0] < 1e-6:
            raise ValueError("landmarks: the points lie on one line or point; no head can be fitted to them")
        self.unit = interocular(self.scheme, self.targets)
        if not np.isfinite(self.unit) or self.unit < 1e-3:
            self.unit = float(spread[0] / np.sqrt(used.sum()))
        outline = np.zeros(len(used), bool)
        outline[list(OUTLINE[self.scheme])] = True
        forehead = np.zeros(len(used), bool)
        forehead[list(FOREHEAD[self.scheme])] = True
        sigma = np.where(outline, options.outline_sigma, options.sigma)
        sigma[forehead] *= 2.5
        self.base = np.where(used, 1 / sigma**2, 0.0)
        self.outline = np.array([k for k in OUTLINE[self.scheme] if used[k] and not forehead[k]], int)
        self.sliding = np.full(len(used), -1)
        self.focal = options.focal or max(1.4 * max(image_size), 8.0 * self.unit)
        self.centre = (np.array(image_size, float) - 1) / 2
        count = len(basis.expression)
        self.guess, self.foretold = np.zeros(count), bool(scores)
        if scores:
            self.guess = np.array([smile.get(name, _guess(scores, name)) for name in model.expression_names])
            require_finite(self.guess, "expression_scores")
        trust = np.full(count, float(options.expression_sigma))
        for i, name in enumerate(model.expression_names):
            if name.startswith("eyeLook"):
                trust[i] = 0.05  # the lids say little of the gaze
            elif name in smile:
                # on drawn heads the landmarks, taken for surer than they are, add nothing to that but noise:
                # wide lips may be the person's, corners that lie back are a smile
                trust[i] *= 0.2
        self.trust = trust
        self._start(used & ~outline)

    def _start(self, reliable):
        """Pose of the mean head with the guessed expression."""
        points = self.basis.mean + np.tensordot(self.guess, self.basis.expression, 1)
        if reliable.sum() < 6:
            reliable = self.base > 0
        matrix = np.array([[self.focal, 0, self.centre[0]], [0, self.focal, self.centre[1]], [0, 0, 1]])
        try:
            found, vector, shift = cv2.solvePnP(
                points[reliable], self.targets[reliable], matrix, None, flags=cv2.SOLVEPNP_SQPNP
            )
        except cv2.error:
            found = False
        self.R, self.t = np.diag([1.0, -1.0, -1.0]), None
        if found:
            self.R, self.t = cv2.Rodrigues(vector)[0], shift.ravel()
        if self.t is None or np.nanmin(points @ self.R[2]) + self.t[2] < 50:
            self.R = np.diag([1.0, -1.0, -1.0])
            size = np.ptp(points[reliable][:, 0])
            # never so near that part of the head would lie behind the camera
            depth = max(self.focal * size / max(np.ptp(self.targets[reliable][:, 0]), 1e-6), 300.0)
            middle = (self.targets[reliable].mean(0) - self.centre) * depth / self.focal
            self.t = np.array([*middle, depth])
        self.c = np.zeros(len(self.basis.identity))
        self.e = self.guess.copy()

    def _points(self, c, e):
        b = self.basis
        points = b.mean + np.tensordot(c, b.identity, 1) + np.tensordot(e, b.expression, 1)
        on = np.flatnonzero(self.sliding >= 0)
        if len(on):
            k = self.sliding[on]
            points[on] = (
                b.outline_mean[k] + np.tensordot(c, b.outline_identity[:, k], 1)
                + np.tensordot(e, b.outline_expression[:, k], 1)
            )
        return points

    def _project(self, R, t, c, e):
        y = self._points(c, e) @ R.T + t
        return self.focal * y[:, :2] / y[:, 2:] + self.centre, y

    def _slide(self):
        """Give each outline landmark the point of the head that makes the outline there."""
        normals = self.basis.normals @ self.R.T
        toward = -normals[:, 2]  # 1 faces the camera
        self.sliding[:] = -1
        fixed = np.isin(np.arange(len(toward)), self.outline) & (toward > 0.45)
        moving = np.array([k for k in self.outline if not fixed[k]], int)
        if len(moving) < 3:
            return
        b = self.basis
        candidates = (
            b.outline_mean + np.tensordot(self.c, b.outline_identity, 1) + np.tensordot(self.e, b.outline_expression, 1)
        )
        y = candidates @ self.R.T + self.t
        flat = self.focal * y[:, :2] / y[:, 2:] + self.centre
        chain = np.array(OUTLINE[self.scheme])
        inside = np.nanmean(self.targets, axis=0)
        filled = self.targets[chain]
        normal = np.full((len(self.targets), 2), np.nan)
        normal[chain] = outline_normals(np.where(np.isfinite(filled), filled, inside), inside)
        self.sliding[moving] = slide(flat, self.targets[moving], normal[moving], 0.06 * self.unit, 0.3 * self.unit)

    def _visibility(self):
        toward = -(self.basis.normals @ self.R.T)[:, 2]
        weight = np.clip((toward + 0.15) / 0.45, 0.08, 1.0)
        weight[self.outline] = 1.0
        return np.nan_to_num(weight)

    def _robust(self, residual):
        """Geman-McClure weights; residual (L, 2) in interocular distances."""
        squared = np.nansum(residual**2, axis=1) * self.base
        return 1 / (1 + squared / 16.0) ** 2

    def _cost(self, residual, weight, c, e):
        data = (weight * np.nansum(residual**2, axis=1)).sum()
        return data + (c**2).sum() + (((e - self.guess) / self.trust) ** 2).sum()

    def solve(self) -> FaceFit:
        o = self.options
        damping, converged, reason, iteration = 1e-3, False, "", 0
        slides = min(12, o.max_iterations // 2)
        for iteration in range(1, o.max_iterations + 1):
            if iteration <= max(slides, 1):
                self._slide()
                visibility = self._visibility()
            predicted, y = self._project(self.R, self.t, self.c, self.e)
            residual = (predicted - self.targets) / self.unit
            weight = self.base * visibility * self._robust(residual)
            cost = self._cost(residual, weight, self.c, self.e)
            jacobian = self._jacobian(y)
            left, right = self._normal_equations(jacobian, residual, weight)
            moved = None
            for _ in range(8):
                step = bounded_step(left, right, damping, self.e, slice(6 + len(self.c), None))
                R = rotation_exp(step[:3]) @ self.R
                t, c = self.t + step[3:6], self.c + step[6 : 6 + len(self.c)]
                e = np.clip(self.e + step[6 + len(self.c) :], 0, 1)
                new, depth = self._project(R, t, c, e)
                if np.nanmin(depth[:, 2]) > 1:  # NaN: landmarks the model lacks
                    fresh = (new - self.targets) / self.unit
                    if self._cost(fresh, weight, c, e) <= cost * (1 + 1e-12):
                        moved = float(np.nanmax(np.abs(new - predicted))) / self.unit
                        self.R, self.t, self.c, self.e = R, t, c, e
                        damping = max(damping / 5, 1e-7)
                        break
                damping *= 8
            if moved is None:
                converged, reason = True, "no step lowers the cost any more"
                break
            if moved < o.tolerance and iteration > slides:
                converged, reason = True, f"landmarks moved less than {o.tolerance:g} interocular distances"
                break
        else:
            reason = f"stopped after {o.max_iterations} iterations; raise max_iterations or check the landmarks"
        return self._result(iteration, converged, reason)

    def _jacobian(self, y):
        """(L, 2, 6 + K + E) of the projection, px, with respect to the step."""
        b = self.basis
        identity, expression = b.identity, b.expression
        on = np.flatnonzero(self.sliding >= 0)
        if len(on):
            identity, expression = identity.copy(), expression.copy()
            identity[:, on] = b.outline_identity[:, self.sliding[on]]
            expression[:, on] = b.outline_expression[:, self.sliding[on]]
        z = y[:, 2]
        P = np.zeros((len(y), 2, 3))
        P[:, 0, 0] = P[:, 1, 1] = self.focal / z
        P[:, 0, 2], P[:, 1, 2] = -self.focal * y[:, 0] / z**2, -self.focal * y[:, 1] / z**2
        out = np.empty((len(y), 2, 6 + len(identity) + len(expression)))
        out[:, :, :3] = -P @ skew(y - self.t)
        out[:, :, 3:6] = P
        turned = (P @ self.R).transpose(0, 2, 1)  # (L, 3, 2)
        k = len(identity)
        out[:, :, 6 : 6 + k] = (identity.transpose(1, 0, 2) @ turned).transpose(0, 2, 1)
        out[:, :, 6 + k :] = (expression.transpose(1, 0, 2) @ turned).transpose(0, 2, 1)
        return out

    def _normal_equations(self, jacobian, residual, weight):
        on = weight > 0
        J = (jacobian[on] / self.unit).reshape(-1, jacobian.shape[2])
        w = np.repeat(weight[on], 2)
        left = J.T @ (J * w[:, None])
        right = -J.T @ (w * residual[on].ravel())
        k = len(self.c)
        index = np.arange(6, left.shape[0])
        inverse = np.r_[np.ones(k), 1 / self.trust**2]
        left[index, index] += inverse
        right[6:] -= inverse * np.r_[self.c, self.e - self.guess]
        return left, right

    def _result(self, iterations, converged, reason):
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t
        predicted, _ = self._project(self.R, self.t, self.c, self.e)
        distance = np.linalg.norm(predicted - self.targets, axis=1)
        rms = float(np.sqrt(np.nanmean(distance**2)))
        if rms > 0.12 * self.unit and converged:
            converged = False
            reason = "the head does not match the landmarks (over 12 % of the interocular distance); check them"
        for array in (self.c, self.e, self.targets, predicted, self.guess, self.trust):
            array.flags.writeable = False
        return FaceFit(
            Camera(self.focal, self.centre, self.size, T), self.c, self.e, self.scheme, self.targets, predicted,
            rms, rms / self.unit, iterations, converged, reason, *((self.guess, self.trust) if self.foretold else ()),
        )
