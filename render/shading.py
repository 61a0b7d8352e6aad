"""Spherical-harmonic lighting of nine coefficients: evaluate, and estimate from a photo.

Source: Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps",
SIGGRAPH 2001.  The constants of the cosine kernel are left inside the coefficients.
"""

from __future__ import annotations

import numpy as np

__all__ = ["estimate_lighting", "harmonics", "linear_to_srgb", "srgb_to_linear"]

_SRGB_TO_LINEAR = np.where(
    np.arange(256) / 255 <= 0.04045, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)


def srgb_to_linear(pixels) -> np.ndarray:
    """sRGB uint8 -> linear float32 in [0, 1]."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"pixels: expected uint8, got {pixels.dtype}")
    return _SRGB_TO_LINEAR[pixels]


def linear_to_srgb(values) -> np.ndarray:
    """Linear [0, 1] -> sRGB float32 on the scale 0..255, not rounded; input is clipped."""
    x = np.clip(np.asarray(values, np.float32), 0, 1)
    return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, np.float32(1 / 2.4)) - 0.055)


def harmonics(normals) -> np.ndarray:
    """The nine real spherical harmonics up to order two, without constants, of unit normals (..., 3)."""
    n = np.asarray(normals)
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    one = np.ones_like(x)
    return np.stack([one, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)


def estimate_lighting(normals, intensity, weights=None, ridge: float = 0.02, iterations: int = 5) -> np.ndarray:
    """Lighting under which a surface of one albedo looks as observed.

    Robust (Tukey-weighted) least squares of intensity = harmonics(normals) @ coefficients, so that
    brows, beard, highlights and cast shadows count little.

    Parameters
    ----------
    normals : (N, 3) float array
        Unit normals in any one frame.
    intensity : (N,) float array
        Linear light, any scale.
    weights : (N,) float array, optional
    ridge : float
        Relative penalty on all but the constant coefficient, which keeps lighting from directions
        that the visible normals do not show near zero.

    Returns
    -------
    (9,) float64
    """
    intensity = np.asarray(intensity, np.float64)
    basis = harmonics(np.asarray(normals, np.float64))
    if len(basis) < 9:
        raise ValueError(f"normals: at least 9 are needed, got {len(basis)}")
    base = np.ones(len(basis)) if weights is None else np.asarray(weights, np.float64)
    penalty = np.diag([0.0, 1, 1, 1, 2, 2, 2, 2, 2]) * ridge * base.sum()
    robust = np.ones(len(basis))
    coefficients = np.zeros(9)
    for _ in range(iterations):
        w = base * robust
        left = basis.T @ (basis * w[:, None]) + penalty
        left[np.diag_indices(9)] += 1e-12 * max(left.trace(), 1e-300)
        coefficients = np.linalg.solve(left, basis.T @ (w * intensity))
        residual = intensity - basis @ coefficients
        scale = 4.685 * 1.4826 * np.median(np.abs(residual)) + 1e-12
        robust = np.clip(1 - (residual / scale) ** 2, 0, 1) ** 2
    return coefficients
