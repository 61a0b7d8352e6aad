"""Frames of a film aligned to what the person's skin looks like.

Landmarks of a detector lag behind brows and lips and pull at each other.  The skin itself, its brows, lips, folds and
spots, is in every frame: from the frames that the identity was fitted to follows what each point of the skin looks
like, and then pose and expression of every frame are moved until it looks so again, besides keeping to the landmarks.
As nothing is compared with the frame before, nothing drifts.

Compared are logarithms of linear luminance, so that light, which differs from frame to frame, is a sum: nine
spherical harmonics of the normals, solved for along with the rest.  Gauss-Newton through the picture's gradient, as in
active appearance models (Cootes, Edwards and Taylor 2001; Matthews and Baker 2004), on a head in space.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.fitting.bounded_step import bounded_step
from affect3d.fitting.landmark_view import LandmarkView, PersonPoints, Pose
from affect3d.fitting.photometric_samples import skin_samples
from affect3d.geometry.rotation import skew
from affect3d.model import MorphableModel
from affect3d.render.shading import harmonics, srgb_to_linear

__all__ = ["FilmSkin", "SkinOptions", "film_skin", "fit_skin", "skin_crop"]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: Added to luminance before its logarithm is taken: darker than this is noise.
_DARK = 0.02
#: Cosines between normal and view from which a point counts, and counts in full.
_EDGE, _FULL = 0.25, 0.65
#: Expected deviation of harmonics other than the constant one, against the residuals' information.
_LIGHT_RIDGE = 1e-3
#: Squared residuals, in units of the usual one, at which a point counts a quarter.
_OUTLIER = 4.0
#: Interocular distance, px, that a face is shrunk to if it is larger.
_UNIT = 80.0


@dataclass(frozen=True)
class SkinOptions:
    """Options of `film_skin` and `fit_skin`.

    Attributes
    ----------
    samples : int
        Points of the skin.
    blur : float
        Of the picture, interocular distances.
    sigma : float
        Expected deviation of a logarithm of luminance.
    landmarks : float
        Share of their weight that landmarks keep beside the skin.
    information : float
        How many independent observations all points together are worth at most; neighbours err together.
    iterations : int
    turn_sigma : float
        Expected deviation of the head's rotation from the smoothed one, radians.
    """

    samples: int = 2000
    blur: float = 0.03
    sigma: float = 0.05
    landmarks: float = 0.5
    information: float = 1000.0
    iterations: int = 3
    turn_sigma: float = 0.02

    def __post_init__(self):
        for name, least in (("samples", 100), ("iterations", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("blur", "sigma", "information", "turn_sigma"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        if not 0 <= self.landmarks <= 1:
            raise ValueError(f"landmarks: expected a share in [0, 1], got {self.landmarks}")


@dataclass(frozen=True, eq=False)
class FilmSkin:
    """What a person's skin looks like.

    Attributes
    ----------
    mean : (3, S, 3) float32
        Points of the neutral face and two edges whose cross product is the normal there, mm, model frame.
    expression : (E, 3, S, 3) float32
        How expressions move them.
    level : (S,) float64
        Logarithm of luminance but for light.
    precision : (S,) float64
        Inverse variance of it; 0 where the film never shows the point.
    """

    mean: np.ndarray
    expression: np.ndarray
    level: np.ndarray
    precision: np.ndarray

    def posed(self, pose: Pose):
        """Points (S, 3), model frame, and normals (S, 3), camera frame."""
        moved = pose.expression.astype(np.float32) @ self.expression.reshape(len(self.expression), -1)
        points, first, second = (self.mean + moved.reshape(self.mean.shape)).astype(np.float64)
        normals = np.cross(first, second)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return points, normals @ pose.rotation.T


@dataclass(frozen=True, eq=False)
class _Crop:
    """A part of a frame: `planes` (H, W, 3) holds the logarithm of luminance and its gradient (per px of the crop)."""

    planes: np.ndarray
    corner: np.ndarray
    scale: float

    def sample(self, flat):
        """Planes (S, 3) at (S, 2) px of the frame, gradients by those pixels; and whether they lie inside."""
        at = ((flat + 0.5 - self.corner) * self.scale - 0.5).astype(np.float32)
        inside = (at >= 1).all(1) & (at <= np.array(self.planes.shape[1::-1]) - 2).all(1)
        values = cv2.remap(self.planes, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)[0].astype(np.float64)  # fmt: skip
        values[:, 1:] *= self.scale
        return values, inside


def skin_crop(pixels, view: LandmarkView, blur: float) -> _Crop:
    """The part of a frame around the landmarks, ready for `film_skin` and `fit_skin`.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        sRGB.
    view : LandmarkView
        Of that frame.  Faces more than 80 px between the outer corners of the eyes are shrunk to that.
    blur : float
        Width of the blur, interocular distances.

    Returns
    -------
    A logarithm of linear luminance and its gradient, which is sampled at pixels of the frame.
    """
    height, width = np.shape(pixels)[:2]
    low, high = np.nanmin(view.targets, axis=0), np.nanmax(view.targets, axis=0)
    margin = 0.35 * view.unit
    x0, y0 = np.clip(np.floor(low - margin), 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(high + margin), [x0 + 1, y0 + 1], [width, height]).astype(int)
    part = np.asarray(pixels)[y0:y1, x0:x1]
    scale = min(1.0, _UNIT / view.unit)
    luminance = (srgb_to_linear(part) @ _LUMINANCE).astype(np.float32)
    if scale < 1:
        size = (max(round((x1 - x0) * scale), 4), max(round((y1 - y0) * scale), 4))
        luminance = cv2.resize(luminance, size, interpolation=cv2.INTER_AREA)
        scale = size[0] / (x1 - x0)
    luminance = cv2.GaussianBlur(luminance, (0, 0), max(blur * view.unit * scale, 0.5))
    level = np.log(luminance + _DARK)
    # Scharr's kernels sum to 32 across
    across, down = (cv2.Scharr(level, cv2.CV_32F, *axis) / 32 for axis in ((1, 0), (0, 1)))
    return _Crop(np.stack([level, across, down], axis=-1), np.array([x0, y0], float), scale)


def film_skin(
    model: MorphableModel, identity, frames, options: SkinOptions = SkinOptions()
) -> FilmSkin:
    """Learn the skin from frames whose fit is known.

    Parameters
    ----------
    model : MorphableModel
    identity : (K,) float array
        Standard deviations.
    frames : sequence of (crop, LandmarkView, Pose)
        As `skin_crop` gives the first; at least one.
    options : SkinOptions

    Raises
    ------
    ValueError
        If there are no frames or the model names no skin.
    """
    if not len(frames):
        raise ValueError("frames: expected at least one, got none")
    samples = skin_samples(model, len(identity), options.samples)
    known = np.asarray(identity, np.float32)
    mean = samples.mean + np.tensordot(known, samples.linear[: len(known)], 1)
    skin = FilmSkin(mean, samples.linear[len(known) :], np.zeros(mean.shape[1]), np.ones(mean.shape[1]))
    seen = [_look(skin, crop, view, pose) for crop, view, pose in frames]
    values = np.array([look.values[:, 0] for look in seen])
    weight = np.array([look.visible for look in seen])
    basis = [look.basis for look in seen]
    level = np.zeros(values.shape[1])
    for _ in range(8):
        light = np.array([_light(b, v - level, w) for b, v, w in zip(basis, values, weight)])
        away = values - light
        for _ in range(3):
            # three deviations away is somebody's hand, or a fit that slid
            sure = weight / (1 + ((away - level) / (3 * options.sigma)) ** 2)
            level = (sure * away).sum(0) / np.maximum(sure.sum(0), 1e-9)
    spread = (weight * np.minimum((away - level) ** 2, 0.04)).sum(0) / np.maximum(weight.sum(0), 1e-9)
    precision = np.where(weight.sum(0) > 0.5, 1 / (options.sigma**2 + spread), 0.0)
    return FilmSkin(skin.mean, skin.expression, level, precision)


def fit_skin(
    skin: FilmSkin, crop: _Crop, view: LandmarkView, person: PersonPoints, start: Pose, sliding: bool,
    options: SkinOptions = SkinOptions(),
) -> tuple[Pose, float]:
    """Pose and expression of one frame by its skin and its landmarks.

    Parameters
    ----------
    skin : FilmSkin
    crop : what `skin_crop` gives
    view, person, sliding
        As for `fit_known`.
    start : Pose
        Of the landmarks; its rotation is what is expected.
    options : SkinOptions

    Returns
    -------
    pose : Pose
        `start` where the skin is not to be seen, or nothing came closer to it.
    gain : float
        By which share the sums of squares of skin, landmarks and expectations fell, in all steps; 0 where `start` is
        given back.
    """
    view.look(person, start, sliding)
    pose, fallen = start, 1.0
    residual, nearest = view.residual(person, pose)
    look = _look(skin, crop, view, pose)
    for _ in range(options.iterations):
        landmark, precision = options.landmarks * view.weights(residual), _trusted(skin, look, options)
        if precision.sum() <= 0 or not nearest > 1:
            break
        misfit, turned = _misfit(skin, look, precision), _turn_between(start.rotation, pose.rotation)
        cost = _cost(view, residual, landmark, pose, misfit, precision, turned, options)
        left, right = view.equations(person, pose, residual, landmark)
        size = 6 + len(pose.expression)
        left, right = left[:size, :size], right[:size]
        rows, weighted = _rows(skin, look, view, pose), look.basis * precision[:, None]
        # light is eliminated: what harmonics explain of the residuals and of their derivatives is no movement
        light = np.linalg.solve(look.basis.T @ weighted + _ridge(precision), weighted.T @ rows)
        left = left + rows.T @ (rows * precision[:, None]) - (weighted.T @ rows).T @ light
        right = right - rows.T @ (precision * misfit)
        left[range(3), range(3)] += 1 / options.turn_sigma**2
        right[:3] -= turned / options.turn_sigma**2
        fresh = pose.moved(bounded_step(left, right, 1e-4, pose.expression, slice(6, None)))
        residual, nearest = view.residual(person, fresh)
        look = _look(skin, crop, view, fresh)
        misfit, turned = _misfit(skin, look, precision), _turn_between(start.rotation, fresh.rotation)
        after = _cost(view, residual, landmark, fresh, misfit, precision, turned, options)
        if not nearest > 1 or not after < cost:
            break
        pose, fallen = fresh, fallen * after / cost
    return pose, 1 - fallen


@dataclass(frozen=True, eq=False)
class _Look:
    points: np.ndarray  # (S, 3) camera frame, from the head's origin
    seen: np.ndarray  # (S, 3) camera frame
    basis: np.ndarray  # (S, 9) harmonics of the normals in the camera's frame
    values: np.ndarray
    visible: np.ndarray


def _look(skin: FilmSkin, crop: _Crop, view: LandmarkView, pose: Pose) -> _Look:
    points, normals = skin.posed(pose)
    turned = points @ pose.rotation.T
    seen = turned + pose.shift
    flat = view.focal * seen[:, :2] / np.maximum(seen[:, 2:], 1.0) + view.centre
    values, inside = crop.sample(flat)
    visible = np.clip((-normals[:, 2] - _EDGE) / (_FULL - _EDGE), 0, 1) * inside
    return _Look(turned, seen, harmonics(normals), values, visible)


def _rows(skin: FilmSkin, look: _Look, view: LandmarkView, pose: Pose) -> np.ndarray:
    """(S, 6 + E): how the logarithm of luminance at the points changes with a step of the pose."""
    z = np.maximum(look.seen[:, 2], 1.0)
    gx, gy = look.values[:, 1] * view.focal / z, look.values[:, 2] * view.focal / z
    along = np.column_stack([gx, gy, -(gx * look.seen[:, 0] + gy * look.seen[:, 1]) / z])
    rows = np.empty((len(z), 6 + len(skin.expression)))
    rows[:, :3] = -np.einsum("sd,sdk->sk", along, skew(look.points))
    rows[:, 3:6] = along
    turned = (along @ pose.rotation).astype(np.float32)
    rows[:, 6:] = np.einsum("sd,esd->se", turned, skin.expression[:, 0])
    return rows


def _misfit(skin: FilmSkin, look: _Look, precision) -> np.ndarray:
    """(S,) what light does not explain."""
    away = look.values[:, 0] - skin.level
    return away - _light(look.basis, away, precision)


def _cost(view, residual, landmark, pose, misfit, precision, turned, options) -> float:
    return (
        view.cost(residual, landmark, pose.expression) + float(precision @ misfit**2)
        + float(turned @ turned) / options.turn_sigma**2
    )


def _trusted(skin: FilmSkin, look: _Look, options: SkinOptions) -> np.ndarray:
    """(S,) weights of points that are seen and look like the skin, worth no more than `information` in all."""
    weight = skin.precision * look.visible
    if weight.sum() <= 0:
        return weight
    trusted = weight
    for _ in range(3):
        misfit = _misfit(skin, look, trusted)
        usual = max(2.2 * float(np.median(misfit[weight > 0] ** 2)), options.sigma**2)
        trusted = weight / (1 + misfit**2 / (_OUTLIER * usual)) ** 2
    worth = trusted.sum() * options.sigma**2
    return trusted * min(1.0, options.information / max(worth, 1e-9))


def _light(basis, away, weight) -> np.ndarray:
    """What nine harmonics say of `away` (S,)."""
    weighted = basis * weight[:, None]
    return basis @ np.linalg.solve(basis.T @ weighted + _ridge(weight), weighted.T @ away)


def _ridge(weight) -> np.ndarray:
    total = max(float(weight.sum()), 1e-9)
    return total * np.diag([1e-9, *[_LIGHT_RIDGE] * 8])


def _turn_between(start, now) -> np.ndarray:
    """Rotation vector of a small turn."""
    turn = now @ start.T
    return 0.5 * np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
