"""The landmarks' part of a photometric fit: what they ask for, linearised."""

from __future__ import annotations

import numpy as np

from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.landmark_groups import FOREHEAD, OUTLINE, UNUSED, interocular

__all__ = ["LandmarkTerm"]

_MANY = 478  # landmarks of the scheme that the deviations are meant for


class LandmarkTerm:
    """Robust squared distances of the landmarks that are fixed points of the skin, in interocular distances.

    Landmarks of an outline that turns away from us are other points of the skin in every pose; they
    have had their say in the landmark fit.
    """

    def __init__(self, model, fit, modes: int, sigma: float, outline_sigma: float):
        basis = landmark_basis(model, fit.scheme, modes)
        used = np.isfinite(fit.targets).all(1) & np.isfinite(basis.mean).all(1)
        self.unit = interocular(fit.scheme, fit.targets)
        if not np.isfinite(self.unit) or self.unit < 1e-3:
            spread = np.linalg.svd(fit.targets[used] - fit.targets[used].mean(0), compute_uv=False)
            self.unit = float(spread[0] / np.sqrt(used.sum()))
        for group in (FOREHEAD, UNUSED):
            used[list(group[fit.scheme])] = False
        toward = np.nan_to_num(-(basis.normals @ fit.camera.rotation.T)[:, 2])
        # what turns away is seen worse
        weight = np.clip((toward + 0.15) / 0.45, 0.08, 1.0) / sigma**2
        outline = list(OUTLINE[fit.scheme])
        weight[outline] = np.where(toward[outline] > 0.45, 1 / outline_sigma**2, 0.0)
        # neighbours err together: the face's landmarks tell as much in all, be they many or few
        weight *= _MANY / len(weight)
        self.on = np.flatnonzero(used & (weight > 0))
        self.weight = weight[self.on]
        self.aim = fit.targets[self.on]
        self.mean = basis.mean[self.on]
        self.linear = np.concatenate([basis.identity[:, self.on], basis.expression[:, self.on]])

    def points(self, coefficients) -> np.ndarray:
        """(N, 3) mm, model frame."""
        return self.mean + np.tensordot(coefficients, self.linear, 1)

    def residual(self, view, coefficients) -> np.ndarray:
        """(N, 2) in interocular distances."""
        return (view.project(self.points(coefficients))[0] - self.aim) / self.unit

    def cost(self, view, coefficients) -> float:
        """Geman-McClure's function, whose weights the landmark fit uses."""
        squared = (self.residual(view, coefficients) ** 2).sum(1) * self.weight
        return float((squared / (1 + squared / 16)).sum())

    def equations(self, view, coefficients):
        """J^T W J and -J^T W r over (turn 3, shift 3, log focal, coefficients P)."""
        residual = self.residual(view, coefficients)
        squared = (residual**2).sum(1) * self.weight
        w = np.repeat(self.weight / (1 + squared / 16) ** 2, 2)
        J = view.jacobian(self.points(coefficients), self.linear).reshape(2 * len(self.on), -1) / self.unit
        return J.T @ (J * w[:, None]), -J.T @ (w * residual.ravel())
