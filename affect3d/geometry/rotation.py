"""Rotations as matrices, and small ones as vectors."""

from __future__ import annotations

import numpy as np

__all__ = ["rotation_exp", "skew"]


def skew(vectors) -> np.ndarray:
    """(..., 3) -> (..., 3, 3) with skew(a) @ b == cross(a, b)."""
    v = np.asarray(vectors, float)
    out = np.zeros(v.shape[:-1] + (3, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def rotation_exp(vector) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector (3,) in radians (Rodrigues' formula)."""
    v = np.asarray(vector, float)
    angle = np.linalg.norm(v)
    k = skew(v)
    if angle < 1e-8:
        return np.eye(3) + k + k @ k / 2
    return np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * k @ k
