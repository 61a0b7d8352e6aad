"""A pinhole camera as a frozen value (OpenCV conventions)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = ["Camera"]


@dataclass(frozen=True, eq=False)
class Camera:
    """Perspective camera: x right, y down, z forward.

    Pixel (0, 0) is the centre of the top-left pixel.

    Attributes
    ----------
    focal : float
        Focal length in pixels, the same for x and y.
    centre : (2,) float64
        Principal point (x, y) in pixels.
    size : (2,) tuple of int
        Image width and height in pixels.
    T_camera_world : (4, 4) float64
        Rigid transform from world (model frame, mm) to camera frame (mm).
    """

    focal: float
    centre: np.ndarray
    size: tuple[int, int]
    T_camera_world: np.ndarray

    def __post_init__(self):
        if not (np.isfinite(self.focal) and self.focal > 0):
            raise ValueError(f"focal: expected a positive number of pixels, got {self.focal}")
        centre = frozen_array(self.centre, np.float64, "centre", (2,))
        T = frozen_array(self.T_camera_world, np.float64, "T_camera_world", (4, 4))
        require_finite(centre, "centre")
        require_finite(T, "T_camera_world")
        object.__setattr__(self, "focal", float(self.focal))
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        object.__setattr__(self, "T_camera_world", T)

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) rotation part of `T_camera_world`."""
        return self.T_camera_world[:3, :3]

    @property
    def position(self) -> np.ndarray:
        """(3,) optical centre in world coordinates, mm."""
        return -self.rotation.T @ self.T_camera_world[:3, 3]

    def to_camera(self, points) -> np.ndarray:
        """World points (..., 3) mm -> camera frame (..., 3) mm."""
        return np.asarray(points, float) @ self.rotation.T + self.T_camera_world[:3, 3]

    def project(self, points) -> np.ndarray:
        """World points (..., 3) mm -> pixels (..., 2).

        Points at or behind the optical centre give NaN.
        """
        p = self.to_camera(points)
        z = np.where(p[..., 2:] > 1e-9, p[..., 2:], np.nan)
        return self.focal * p[..., :2] / z + self.centre

    def resized(self, width: int, height: int) -> Camera:
        """The same view on a picture of another size (same aspect)."""
        sx = width / self.size[0]
        # the pixel grid is centred on pixel centres, so scale about (-0.5, -0.5)
        return Camera(self.focal * sx, (self.centre + 0.5) * sx - 0.5, (width, height), self.T_camera_world)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The same view on the window whose top-left pixel is (left, top)."""
        return Camera(self.focal, self.centre - [left, top], (width, height), self.T_camera_world)
