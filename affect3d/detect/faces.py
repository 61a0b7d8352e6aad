"""One way to ask for faces, whichever detector answers."""

from __future__ import annotations

from affect3d.detect.detection import FaceDetection, check_image
from affect3d.detect.dlib68 import detect_faces_dlib
from affect3d.detect.mediapipe import LandmarkerOptions, landmarker
from affect3d.progress import Progress, silent

__all__ = ["DETECTORS", "detect_faces"]

DETECTORS = ("mediapipe", "dlib")


def detect_faces(
    image,
    detector: str = "mediapipe",
    options: LandmarkerOptions | None = None,
    progress: Progress = silent,
) -> tuple[FaceDetection, ...]:
    """Every face in a picture, largest first.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB, upright.  Faces may be turned in the plane of the picture.
    detector : {"mediapipe", "dlib"}
        478 landmarks with expression scores, or the papers' 68 (extra `dlib`;
        frontal faces only).
    options : LandmarkerOptions, optional
        How hard MediaPipe's networks look; not for dlib.
    progress : callable
        Shows the download of the networks on first use.

    Returns
    -------
    tuple of FaceDetection
        Empty if no face is found.

    Raises
    ------
    ValueError
        If `image` is not (H, W, 3) uint8 or `detector` is unknown.
    ImportError
        If the detector's package is not installed.
    affect3d.assets.AssetError
        If its networks cannot be fetched.
    """
    if detector not in DETECTORS:
        raise ValueError(f"detector: expected one of {', '.join(DETECTORS)}, got {detector!r}")
    image = check_image(image)
    if detector == "dlib":
        if options is not None:
            raise ValueError("options: they are MediaPipe's, and the detector asked for is dlib")
        return detect_faces_dlib(image, progress)
    return landmarker(progress).detect(image, options or LandmarkerOptions())
