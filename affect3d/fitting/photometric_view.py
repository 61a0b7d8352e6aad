"""A pose that a fit changes step by step: projection and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.camera import Camera
from affect3d.geometry.rotation import rotation_exp, skew

__all__ = ["View"]


@dataclass(frozen=True, eq=False)
class View:
    """Rotation (3, 3), shift (3,) mm, focal length (px) and principal point (2,) px."""

    R: np.ndarray
    t: np.ndarray
    focal: float
    centre: np.ndarray

    @classmethod
    def of(cls, camera: Camera) -> View:
        return cls(camera.rotation.copy(), camera.T_camera_world[:3, 3].copy(), camera.focal, camera.centre)

    def camera(self, size) -> Camera:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t
        return Camera(self.focal, self.centre, size, T)

    def moved(self, step) -> View:
        """Turned by step[:3] (radians, about the model's origin), shifted by step[3:6], log focal by step[6]."""
        focal = self.focal * float(np.exp(np.clip(step[6], -0.5, 0.5)))
        return View(rotation_exp(step[:3]) @ self.R, self.t + step[3:6], focal, self.centre)

    def project(self, points):
        """Pixels (N, 2) and camera coordinates (N, 3)."""
        y = points @ self.R.T + self.t
        return self.focal * y[:, :2] / y[:, 2:] + self.centre, y

    def derivative(self, y) -> np.ndarray:
        """(N, 2, 3): pixels by camera coordinates."""
        z = y[:, 2]
        P = np.zeros((len(y), 2, 3))
        P[:, 0, 0] = P[:, 1, 1] = self.focal / z
        P[:, 0, 2], P[:, 1, 2] = -self.focal * y[:, 0] / z**2, -self.focal * y[:, 1] / z**2
        return P

    def jacobian(self, points, linear) -> np.ndarray:
        """(N, 2, 7 + P): pixels by the step and the coefficients of `linear` (P, N, 3)."""
        y = points @ self.R.T + self.t
        return self.chain(y, self.derivative(y), linear)

    def chain(self, y, rows, linear) -> np.ndarray:
        """(N, C, 7 + P): values whose derivative by camera coordinates is `rows` (N, C, 3)."""
        out = np.empty((len(y), rows.shape[1], 7 + len(linear)))
        out[:, :, :3] = -rows @ skew(y - self.t)
        out[:, :, 3:6] = rows
        # a longer focal length moves pixels as a wider head would
        out[:, :, 6] = (rows[:, :, :2] * y[:, None, :2]).sum(-1)
        turned = rows @ self.R
        for c in range(rows.shape[1]):
            out[:, c, 7:] = np.einsum("nd,pnd->np", turned[:, c].astype(linear.dtype), linear, optimize=True)
        return out
