"""Faces in pictures: landmarks, expression scores, descriptors of identity."""

from affect3d.detect.detection import FaceDetection, NoFaceError
from affect3d.detect.dlib68 import identity_descriptor, identity_distance
from affect3d.detect.faces import DETECTORS, detect_faces
from affect3d.detect.mediapipe import LandmarkerOptions
from affect3d.detect.schemes import MEDIAPIPE_FOR_IBUG68, to_ibug68

__all__ = [
    "DETECTORS",
    "FaceDetection",
    "LandmarkerOptions",
    "MEDIAPIPE_FOR_IBUG68",
    "NoFaceError",
    "detect_faces",
    "identity_descriptor",
    "identity_distance",
    "to_ibug68",
]
