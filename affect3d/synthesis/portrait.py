"""One photo, fitted once; any affect, as often as wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from affect3d.affect import express as query_affect
from affect3d.affect import expression_for
from affect3d.detect import FaceDetection, LandmarkerOptions, NoFaceError, detect_faces
from affect3d.detect.schemes import to_ibug68
from affect3d.fitting import FaceFit, fit_face
from affect3d.fitting.resting import over_rest, resting_expression
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmark_groups import LID_PAIRS, LIP_PAIRS, OUTLINE, UNUSED, interocular
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh
from affect3d.model import MorphableModel
from affect3d.progress import Progress, silent
from affect3d.render.poisson import poisson_blend
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import estimate_lighting, srgb_to_linear
from affect3d.synthesis.conform import Conformer, open_pose
from affect3d.synthesis.enlarge import WORKING_UNIT, enlarge, enlarge_fill
from affect3d.synthesis.interior import white_reference
from affect3d.synthesis.model_mouth import INSIDE, ModelMouth, MouthScene
from affect3d.synthesis.own_teeth import staying, upper_teeth
from affect3d.synthesis.residuals import close_lips, closed_where_touching, down_vector, shrink_gaps
from affect3d.synthesis.warp import (
    above, hold_still, log_gain, relit, skin_field, smoothstep, soften, without_inside,
)

__all__ = ["Portrait", "Synthesis"]

SKIN = ("face", "lips")
EYES = ("eye_left", "eye_right")
#: Eyeballs are drawn this much farther away, so that a lid always covers them, mm.
EYE_SINK = 3.0
#: The middle of the lips lies this far in front of the middle of all landmarks, mm.
LIP_FORWARD = 9.0


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A photo with another affect.

    Attributes
    ----------
    image : (H, W, 3) uint8
        sRGB; bit-identical to the photo where `mask` is False.
    mask : (H, W) bool
        Pixels that may differ from the photo.
    landmarks : Landmarks
        Where the 68 points should be in `image`, px.
    mesh : Mesh
        The fitted head with the new expression, mm, model frame.
    expression : (E,) float64
        Its expression coefficients: what was asked, over the person's rest.
    query : AffectQuery, NamedExpression or None
        What the gallery or the tables answered; None for an expression given directly.
    notes : tuple of str
        What a user should know of this result.
    """

    image: np.ndarray
    mask: np.ndarray
    landmarks: Landmarks
    mesh: Mesh
    expression: np.ndarray
    query: object
    notes: tuple[str, ...]


class Portrait:
    """A fitted photo.  Use `from_photo`; then `express`, `show` or `with_expression`.

    Attributes
    ----------
    rest : (E,) float64 in [0, 1]
        Expression of the person at rest, over which what is asked is laid (`affect3d.fitting.resting`).
    """

    def __init__(
        self, pixels, model: MorphableModel, fit: FaceFit, detection: FaceDetection, face_count: int = 1, rest=None
    ):
        self.pixels = pixels
        self.model = model
        self.fit = fit
        self.detection = detection
        self.face_count = face_count
        marks = detection.landmarks
        if rest is None:
            rest = resting_expression(model, marks.scheme, fit.expression, fit.foretold)
        self.rest = np.asarray(rest, float)
        self._unit = interocular(marks.scheme, marks.points)
        if not self._unit >= 8:  # NaN too
            raise ValueError(
                f"landmarks: the outer eye corners must be at least 8 px apart to draw a face, got {self._unit:.1f}"
            )
        self._left, self._top, width, height = _window(marks, self._unit, pixels.shape)
        self._full = np.ascontiguousarray(pixels[self._top : self._top + height, self._left : self._left + width])
        self._crop, self._camera = self._full, fit.camera.cropped(self._left, self._top, width, height)
        if self._unit > WORKING_UNIT:
            zoom = WORKING_UNIT / self._unit
            size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
            self._crop = cv2.resize(self._full, size, interpolation=cv2.INTER_AREA)
            self._camera = self._camera.resized(*size)
        self._setup_conformer(marks)
        self._unit *= self._crop.shape[1] / self._full.shape[1]  # from here on, of the working resolution
        self._setup_source()

    @classmethod
    def from_photo(
        cls, pixels, model=None, face: int = 0, landmarks=None, detector="mediapipe", progress: Progress = silent,
        thorough: bool = False,
    ) -> Portrait:
        """Find a face, fit the model.

        Parameters
        ----------
        pixels : (H, W, 3) uint8
            sRGB.
        model : MorphableModel, optional
            The default head if left out.
        face : int
            Which face, by size, the largest first.
        landmarks : Landmarks, optional
            Used instead of a detector.
        detector : {"mediapipe", "dlib"}
        thorough : bool
            Look for small faces beside large ones too (slower; MediaPipe only).

        Raises
        ------
        NoFaceError
            If no face is found, or fewer than `face` + 1.
        """
        pixels = np.asarray(pixels)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"pixels: expected (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
        if model is None:
            from affect3d.model.load import load_model

            model = load_model(progress=progress)
        if landmarks is not None:
            points = landmarks.points[:, :2]
            low, high = np.nanmin(points, 0), np.nanmax(points, 0)
            detections = (FaceDetection(np.r_[low, high], 1.0, landmarks, None, None),)
        else:
            progress(0, 2, "finding faces")
            looking = LandmarkerOptions(thorough=True) if thorough and detector == "mediapipe" else None
            detections = detect_faces(pixels, detector, looking)
        if not detections:
            raise NoFaceError("no face was found in the photo; try a larger or more frontal picture, or give landmarks")
        if not 0 <= face < len(detections):
            raise NoFaceError(f"face: expected a number in [0, {len(detections)}), got {face}")
        progress(1, 2, "fitting the head")
        detection = detections[face]
        fit = fit_face(detection, model, (pixels.shape[1], pixels.shape[0]))
        progress(2, 2, "fitting the head")
        return cls(pixels, model, fit, detection, len(detections))

    def close_up(self, size: int) -> Portrait:
        """The face cut out and scaled to (size, size) pixels; the fit is kept."""
        if size < 32:
            raise ValueError(f"size: expected at least 32 pixels, got {size}")
        points = self.detection.landmarks.points[:, :2]
        low, high = np.nanmin(points, 0), np.nanmax(points, 0)
        side = int(round(1.6 * float((high - low).max())))
        left, top = np.floor((low + high) / 2 - [side * 0.5, side * 0.53]).astype(int)
        height, width = self.pixels.shape[:2]
        # inside the picture where that is possible, otherwise its edge is repeated
        left = int(np.clip(left, 0, width - side)) if side <= width else (width - side) // 2
        top = int(np.clip(top, 0, height - side)) if side <= height else (height - side) // 2
        rows = np.clip(np.arange(top, top + side), 0, height - 1)
        columns = np.clip(np.arange(left, left + side), 0, width - 1)
        cut = np.ascontiguousarray(self.pixels[rows[:, None], columns])
        scale = size / side
        pixels = cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)

        def moved(p):
            return (np.asarray(p) - [left, top] + 0.5) * scale - 0.5

        marks = self.detection.landmarks
        detection = replace(self.detection, landmarks=Landmarks(marks.scheme, moved(marks.points[:, :2]), "px"))
        camera = self.fit.camera.cropped(left, top, side, side).resized(size, size)
        fit = replace(self.fit, camera=camera, targets=moved(self.fit.targets), predicted=moved(self.fit.predicted))
        return Portrait(pixels, self.model, fit, detection, self.face_count, self.rest)

    # -- preparation, once a photo ---------------------------------------------------------------

    def _setup_conformer(self, marks: Landmarks):
        model, fit = self.model, self.fit
        on_mesh = model.landmarks[marks.scheme]
        usable = on_mesh.present & np.isfinite(marks.points).all(1)
        usable[list(UNUSED[marks.scheme])] = False
        outline = np.zeros(len(usable), bool)
        outline[list(OUTLINE[marks.scheme])] = True
        self._used = np.flatnonzero(usable)
        self._conformer = _conformer(model, marks.scheme, tuple(self._used.tolist()))
        self._fitted = model.instance(fit.identity, fit.expression)
        located = on_mesh.locate(self._fitted, model.faces)
        self._rest = fit.camera.project(on_mesh.locate(model.instance(fit.identity, self.rest), model.faces))
        self._depths = fit.camera.to_camera(located)[:, 2]
        self._lip_depth = float(np.nanmedian(self._depths[self._used])) - LIP_FORWARD
        target = closed_where_touching(marks, LIP_PAIRS[marks.scheme], 0.022 * self._unit)
        predicted = fit.camera.project(located)
        predicted[outline] = fit.predicted[outline]
        self._residual = target - predicted

    def _conform(self, vertices, residual) -> np.ndarray:
        """Vertices moved so that the landmarks' projections move by `residual` (L, 2) px."""
        shift = np.zeros((len(self._used), 3))
        shift[:, :2] = residual[self._used] * (self._depths[self._used] / self.fit.camera.focal)[:, None]
        spread = self._conformer.spread(shift @ self.fit.camera.rotation)
        # Eyeballs and teeth are rigid: each moves by its mean.
        for names in (("eye_left",), ("eye_right",), ("teeth_upper", "teeth_lower", "gums", "tongue")):
            part = self.model.part_vertices(*names)
            if part.any():
                spread[part] = spread[part].mean(0)
        return vertices + spread

    def _setup_source(self):
        model = self.model
        self._source = self._conform(self._fitted, self._residual)
        self._sink = np.where(model.part_vertices(*EYES), EYE_SINK, 0.0)
        self._source_points = self._screen(self._source)
        height, width = self._crop.shape[:2]
        raster = rasterize(self._source_points, model.faces, width, height)
        # Which surface the photo shows at each pixel, named by its place on the head with open mouth
        # and eyes: there, skin that lies folded in the photo is far from the skin in front of it.
        self._place = open_pose(model)
        self._place_seen = interpolate(raster, model.faces, self._place)
        self._place_seen[~raster.covered] = np.inf
        millimetres = float(np.median(self._depths[self._used])) / self._camera.focal
        self._place_tolerance = max(1.5, 2.0 * millimetres)
        part = self._parts(raster)
        self._skin_crop = without_inside(self._crop, np.isin(part, self._ids(INSIDE)), self._unit)
        if self._crop is not self._full:
            self._skin_full = enlarge_fill(self._full, self._crop, self._skin_crop)
        margin = max(1, round(0.012 * self._unit))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        self._eyes_seen = cv2.erode(np.isin(part, self._ids(EYES)).astype(np.uint8), kernel) > 0
        self._inside_seen = cv2.erode(np.isin(part, self._ids(INSIDE)).astype(np.uint8), kernel) > 0
        coloured = bool(np.ptp(self._crop.astype(np.int16), axis=2).mean() > 1.5)
        self._skin_seen = np.isin(part, self._ids(("face",)))
        self._source_normals = self._camera_normals(self._source)
        linear = srgb_to_linear(self._crop)
        normals = interpolate(raster, model.faces, self._source_normals)
        luminance = linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        pick = self._skin_seen & (normals[..., 2] < -0.2)
        step = max(1, int(np.sqrt(pick.sum() / 20000)))
        chosen = np.zeros_like(pick)
        chosen[::step, ::step] = pick[::step, ::step]
        if chosen.sum() < 9:  # a face of a few pixels, or one that lies outside the picture
            raise ValueError("landmarks: hardly any skin of the fitted face lies in the picture; check them")
        shown = luminance[self._inside_seen]
        self._own_teeth = bool(
            shown.size > 0.004 * self._unit**2 and np.percentile(shown, 75) > 0.5 * np.median(luminance[pick])
        )
        self._upper_seen = upper_teeth(luminance, self._inside_seen, down_vector(self.detection.landmarks))
        self._lighting = estimate_lighting(normals[chosen], luminance[chosen])
        white = white_reference(linear, pick, self._inside_seen)
        scene = MouthScene(self._lighting, white, self._lip_depth, self._unit, coloured)
        self._mouth = ModelMouth(model, self.detection.landmarks.scheme, scene)

    @property
    def white(self) -> np.ndarray:
        """(3,) linear light of a white thing in the place of the teeth; may be set, as for all frames of a film."""
        return self._mouth.scene.white

    @white.setter
    def white(self, value):
        self._mouth.scene = replace(self._mouth.scene, white=value)

    def _screen(self, vertices):
        points = screen_points(self._camera, vertices)
        points[:, 2] += self._sink
        return points

    def _camera_normals(self, vertices):
        return vertex_normals(vertices, self.model.faces) @ self._camera.rotation.T

    def _ids(self, names):
        return [i for i, n in enumerate(self.model.part_names) if n in names]

    def _parts(self, raster):
        return np.where(raster.covered, self.model.parts[np.maximum(raster.face, 0)].astype(np.int16), -1)

    # -- one expression --------------------------------------------------------------------------

    def express(self, valence: float, arousal: float, statistics) -> Synthesis:
        """The person with the affect (valence, arousal), each in [-1, 1]."""
        return self.show(query_affect(statistics, valence, arousal))

    def show(self, asked) -> Synthesis:
        """The person with the expression of an `AffectQuery` or a `NamedExpression`."""
        return self._over_rest(expression_for(self.model.expression_names, asked), asked)

    def with_expression(self, weights: dict[str, float]) -> Synthesis:
        """The person with given ARKit weights in [0, 1], laid over the person at rest; the gaze stays."""
        return self._over_rest(self.model.expression_vector(weights), None)

    def posed(self, expression) -> Synthesis:
        """The person with exactly the expression (E,) of the model: rest and gaze are the caller's matter too."""
        expression = np.asarray(expression, float)
        if expression.shape != self.rest.shape:
            raise ValueError(f"expression: expected {len(self.rest)} numbers, got shape {expression.shape}")
        return self._synthesize(expression, None)

    def _over_rest(self, asked, query):
        return self._synthesize(over_rest(self.model.expression_names, self.rest, asked), query)

    def target_vertices(self, expression) -> np.ndarray:
        """(V, 3) mm: the head in the photo, its expression replaced."""
        model, scheme = self.model, self.detection.landmarks.scheme
        posed = model.instance(self.fit.identity, expression)
        camera = self.fit.camera
        here = camera.project(model.landmarks[scheme].locate(self._fitted, model.faces))
        there = camera.project(model.landmarks[scheme].locate(posed, model.faces))
        residual = shrink_gaps(self._residual, here, there, LID_PAIRS[scheme])
        residual = close_lips(residual, self._rest, here, there, self.detection.landmarks)
        return self._conform(posed, residual)

    def _synthesize(self, expression, query) -> Synthesis:
        model = self.model
        target = self.target_vertices(expression)
        crop, mask = self._compose(target)
        height, width = crop.shape[:2]
        rows, columns = slice(self._top, self._top + height), slice(self._left, self._left + width)
        image = self.pixels.copy()
        image[rows, columns] = crop
        full = np.zeros(image.shape[:2], bool)
        full[rows, columns] = mask
        notes = () if self.fit.converged else (f"the fit did not converge: {self.fit.reason}",)
        if query is not None and query.note:
            notes += (query.note,)
        mesh = Mesh(target, model.faces, model.uv, model.uv_faces, model.colours)
        return Synthesis(image, full, self._expected_landmarks(target), mesh, expression, query, notes)

    def _expected_landmarks(self, target) -> Landmarks:
        marks = self.detection.landmarks
        seen = to_ibug68(marks) if marks.scheme != "ibug68" else marks
        on_mesh = self.model.landmarks["ibug68"]
        camera, faces = self.fit.camera, self.model.faces
        moved = camera.project(on_mesh.locate(target, faces)) - camera.project(on_mesh.locate(self._source, faces))
        return Landmarks("ibug68", seen.points[:, :2] + np.nan_to_num(moved), "px")

    def _compose(self, target):
        model, crop = self.model, self._crop
        height, width = crop.shape[:2]
        points = self._screen(target)
        raster = rasterize(points, model.faces, width, height)
        part = self._parts(raster)
        skin = np.isin(part, self._ids(SKIN))
        normals = self._camera_normals(target)
        gain = log_gain(self._source_normals, normals, self._lighting)
        seen = interpolate(raster, model.faces, np.column_stack([self._source_points[:, :2], gain, self._place]))
        there = cv2.remap(
            self._place_seen, seen[..., 0], seen[..., 1], cv2.INTER_NEAREST, borderValue=(np.inf, np.inf, np.inf)
        )
        known = skin & (np.abs(there - seen[..., 3:6]).max(-1) < self._place_tolerance)
        domain = self._domain(skin)
        known &= domain
        field = skin_field(seen[..., :2], known, seen[..., 2], domain).values
        # Light changes on the face, not on what lies behind it.
        beside = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
        field[..., 2] *= 1 - smoothstep(beside, 0.0, 0.12 * self._unit)

        eyes = np.isin(part, self._ids(EYES))
        eyes_kept = eyes & self._eyes_seen
        field = hold_still(field, eyes, eyes_kept)
        inside = np.isin(part, self._ids(INSIDE))
        field = soften(field, eyes)
        warped = skin = relit(self._skin_crop, field)
        drawn, cover = np.zeros_like(skin), np.zeros(skin.shape[:2], np.float32)
        if inside.any():
            box = self._mouth_box(inside)
            drawn[box], cover[box] = self._draw_inside(field, target, points, normals, inside, box)
            warped = skin * (1 - cover[..., None]) + drawn * cover[..., None]
        mask = (np.abs(field[..., :2]).max(-1) > 0.03) | (np.abs(field[..., 2]) > 0.004) | inside
        mask &= domain | inside
        blended = poisson_blend(warped, crop, mask).image
        if crop is not self._full:
            correction = np.where(mask[..., None], blended - warped, 0)
            return enlarge(self._full, self._skin_full, field, correction, drawn, cover)
        result = np.where(mask[..., None], np.clip(np.rint(blended), 0, 255).astype(np.uint8), crop)
        return result, mask

    def _domain(self, skin):
        """Where the picture may change: around the face, before and after."""
        face = skin | self._skin_seen
        away = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 5)
        return away < 0.65 * self._unit

    def _mouth_box(self, inside):
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        pad = 6 + int(0.05 * self._unit)
        return slice(max(rows[0] - pad, 0), rows[-1] + pad + 1), slice(max(columns[0] - pad, 0), columns[-1] + pad + 1)

    def _draw_inside(self, field, target, points, normals, inside, box):
        """The mouth's inside in `box` and its coverage: the photo's own where it shows it, else the model's."""
        hole = inside[box]
        down, seen = down_vector(self.detection.landmarks), self._inside_seen
        if self._own_teeth:
            seen = staying(seen, self._upper_seen, inside, down)
        kept = hole & seen[box]
        # the photo's upper teeth stay, unless lips that were drawn up hide most of them now
        upper = not (self._own_teeth and kept.sum() > 0.35 * seen.sum())
        place = target @ self.fit.camera.rotation.T
        drawn, cover = self._mouth.draw(points, place, normals, box, hole.shape, upper)
        if kept.any():
            own = relit(self._crop, hold_still(field[box], hole, kept), box)
            away = cv2.distanceTransform((~kept).astype(np.uint8), cv2.DIST_L2, 5)
            # Above the teeth that the photo shows are more teeth: stretch them.  Below is the cavity.
            near, far = (0.008, 0.03) if self._own_teeth else (0.02, 0.07)
            away[above(kept, down)] *= 0.5
            fade = smoothstep(away, near * self._unit, far * self._unit)[..., None]
            drawn = own * (1 - fade) + drawn * fade
        # An opening thinner than a lip's edge is a closed mouth: what is left there fades out.
        depth = cv2.distanceTransform(np.pad(hole, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        reach = 2 * int(np.ceil(0.02 * self._unit)) + 1
        thick = cv2.dilate(depth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        alpha = cover * smoothstep(thick, 0.4 + 0.005 * self._unit, 0.8 + 0.018 * self._unit)
        return drawn, cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 0.6)


@lru_cache(maxsize=4)
def _conformer(model, scheme, used) -> Conformer:
    """Prepared once for a model and a set of landmarks; every photo then costs a matrix product."""
    pose = open_pose(model)
    outline = set(OUTLINE[scheme])
    stiffness = np.array([2.0 if k in outline else 0.02 for k in used])
    return Conformer(pose, model.landmarks[scheme].locate(pose, model.faces)[list(used)], stiffness)


def _window(marks, unit, shape):
    points = marks.points[:, :2]
    low = np.floor(np.nanmin(points, 0) - 1.0 * unit).astype(int)
    high = np.ceil(np.nanmax(points, 0) + 1.0 * unit).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = min(high[0], shape[1]), min(high[1], shape[0])
    if right - left < 16 or bottom - top < 16:
        raise ValueError(f"landmarks: they lie outside the picture of {shape[1]} x {shape[0]} pixels")
    return int(left), int(top), int(right - left), int(bottom - top)
