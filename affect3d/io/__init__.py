"""Bytes to values and back."""

from affect3d.io.atomic import atomic_path, check_writable
from affect3d.io.image import ImageError, Photo, read_image, write_image
from affect3d.io.landmark_files import read_landmark_vertices, read_landmarks, write_landmarks

__all__ = [
    "ImageError",
    "Photo",
    "atomic_path",
    "check_writable",
    "read_image",
    "read_landmark_vertices",
    "read_landmarks",
    "write_image",
    "write_landmarks",
]
