"""Light from a photo: nine spherical-harmonic coefficients a channel, with known normals and albedo.

Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001.
`shading.estimate_lighting` does the same for one channel of a surface of one albedo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.render.shading import harmonics

__all__ = ["LightEstimate", "estimate_sh_lighting"]


@dataclass(frozen=True, eq=False)
class LightEstimate:
    """Light and how well it explains what was seen.

    Attributes
    ----------
    coefficients : (9, C) float64
        Of the basis of `shading.harmonics`; irradiance is ``harmonics(normals) @ coefficients``.
    trust : (N,) float64
        In [0, 1]: near 0 where the observation is something else than lit skin.
    deviation : float
        Robust standard deviation of the residuals, relative to the median observation.
    converged : bool
    reason : str
    """

    coefficients: np.ndarray
    trust: np.ndarray
    deviation: float
    converged: bool
    reason: str


def estimate_sh_lighting(
    normals, albedo, observed, weights=None, ridge: float = 1e-4, max_iterations: int = 50, tolerance: float = 1e-4
) -> LightEstimate:
    """Robust least squares of observed = albedo * (harmonics(normals) @ coefficients).

    Tukey's weights, shared by the channels, with the residuals' own scale (median absolute deviation).

    Parameters
    ----------
    normals : (N, 3) float array
        Unit normals in any one frame, which becomes the frame of the light.
    albedo : (N, C), (N, 1) or (C,) float array
        Linear, at least 0.
    observed : (N, C) float array
        Linear light.
    weights : (N,) float array, optional
        How much each observation counts.
    ridge : float
        Penalty on all but the constant coefficient, relative to the data: light from directions that no
        normal shows stays near zero.
    max_iterations, tolerance
        Stop when no coefficient moves by more than `tolerance` of the largest.

    Raises
    ------
    ValueError
        If there are fewer than nine observations of positive weight, shapes differ, or numbers are not finite.
    """
    normals = np.asarray(normals, np.float64)
    observed = np.asarray(observed, np.float64)
    if normals.ndim != 2 or normals.shape[1] != 3:
        raise ValueError(f"normals: expected shape (N, 3), got {normals.shape}")
    if observed.ndim != 2 or len(observed) != len(normals):
        raise ValueError(f"observed: expected shape ({len(normals)}, C), got {observed.shape}")
    try:
        albedo = np.broadcast_to(np.asarray(albedo, np.float64), observed.shape)
    except ValueError:
        raise ValueError(f"albedo: expected a shape that fits {observed.shape}, got {np.shape(albedo)}") from None
    base = np.ones(len(normals)) if weights is None else np.asarray(weights, np.float64)
    if base.shape != (len(normals),) or not (np.isfinite(base).all() and (base >= 0).all()):
        raise ValueError(f"weights: expected {len(normals)} numbers from 0 up, got shape {base.shape}")
    for name, array in (("normals", normals), ("albedo", albedo), ("observed", observed)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers")
    if (base > 0).sum() < 9:
        raise ValueError(f"weights: at least 9 observations must count, got {int((base > 0).sum())}")
    basis = harmonics(normals)
    penalty = np.r_[0.0, np.ones(8)] * ridge
    robust = np.ones(len(normals))
    coefficients = np.zeros((9, observed.shape[1]))
    converged, typical = False, np.median(np.abs(observed[base > 0])) + 1e-12
    iteration, scale = 0, 0.0
    for iteration in range(1, max_iterations + 1):
        before = coefficients.copy()
        for c in range(observed.shape[1]):
            w = base * robust * albedo[:, c]
            left = basis.T @ (basis * (w * albedo[:, c])[:, None])
            size = max(np.trace(left), 1e-300)
            left += np.diag(penalty * size) + 1e-12 * size * np.eye(9)
            coefficients[:, c] = np.linalg.solve(left, basis.T @ (w * observed[:, c]))
        residual = np.sqrt(((observed - albedo * (basis @ coefficients)) ** 2).mean(1))
        scale = 1.4826 * np.median(residual[base > 0]) + 1e-9 * typical
        robust = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, 1) ** 2
        if np.abs(coefficients - before).max() <= tolerance * max(np.abs(coefficients).max(), 1e-300):
            converged = True
            break
    reason = (
        f"no coefficient moved by more than {tolerance:g} of the largest after {iteration} steps" if converged
        else f"stopped after {max_iterations} steps; try a looser tolerance"
    )
    return LightEstimate(coefficients, robust * (base > 0), float(scale / typical), converged, reason)
