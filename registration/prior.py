"""A basis of displacements that faces are known to make, and its fit to distances along normals.

Sliding over cheeks, forehead and lips is the error that distances to a surface cannot show.  A model's expressions say
how skin moves *along* the surface when it is seen to move across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.io.atomic import atomic_path
from affect3d.registration.records import digest

__all__ = ["DisplacementPrior", "PriorFit"]


@dataclass(frozen=True, eq=False)
class DisplacementPrior:
    """A basis of displacements of a template.

    Attributes
    ----------
    basis : (K, V, 3) float64
        mm, in the template's pose; a weight of 1 is a full expression, or one deviation of a mode.
    source : str
        A sentence on where it comes from.
    """

    basis: np.ndarray
    source: str = ""

    def __post_init__(self):
        basis = frozen_array(self.basis, np.float64, "basis", (None, None, 3))
        require_finite(basis, "basis")
        object.__setattr__(self, "basis", basis)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the basis."""
        return digest(self.basis)

    def save(self, path) -> None:
        """Write the basis as .npz, exactly and always with the same bytes."""
        with atomic_path(path) as temporary:
            np.savez(temporary, basis=self.basis)

    @staticmethod
    def load(path) -> DisplacementPrior:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return DisplacementPrior(file["basis"])

    def scaled(self, scale: float) -> DisplacementPrior:
        """The same displacements of a template of another size."""
        return DisplacementPrior(scale * self.basis, self.source)


class PriorFit:
    """Weights of a prior, fitted again and again by robust least squares on distances along normals.

    Parameters
    ----------
    prior : DisplacementPrior
    ridge : float
        Variance of the distances over that of the weights, mm².
    spread : float
        mm; distances that the prior leaves much larger than this are not its business.
    points : int
        Vertices that are looked at, about; spread evenly by their numbers.
    """

    def __init__(self, prior: DisplacementPrior, ridge: float, spread: float, points: int = 2000):
        count = prior.basis.shape[1]
        self.ridge, self.spread = ridge, spread
        self._sample = np.arange(0, count, max(count // points, 1))
        self._axes = [np.ascontiguousarray(prior.basis[:, self._sample, k].T) for k in range(3)]
        self._flat = prior.basis.reshape(len(prior.basis), -1)
        self.weights = np.zeros(len(prior.basis))

    def fit(self, wanted, normals, share, iterations: int = 1) -> np.ndarray:
        """Fit the weights and return the displacements (V, 3) in mm that they mean.

        Parameters
        ----------
        wanted : (V,) float array
            How far the scan is away from the rest shape along the normal, mm.
        normals : (V, 3) float array
        share : (V,) float array
            Weights of the vertices, at least 0.
        iterations : int
            Of reweighting, each from the weights of the fit before; who follows a scan in steps needs one in each.
        """
        wanted, normals, share = (a[self._sample] for a in (wanted, normals, share))
        along = sum(axis * normals[:, k, None] for k, axis in enumerate(self._axes))
        total = max(float(share.sum()), 1e-9)
        for _ in range(iterations):
            trust = share / (1 + ((wanted - along @ self.weights) / self.spread) ** 2) ** 2 / total
            left = along.T @ (along * trust[:, None]) + self.ridge * np.eye(len(self.weights))
            self.weights = np.linalg.solve(left, along.T @ (trust * wanted))
        return self.displacements()

    def explain(self, offset) -> None:
        """Set the weights to those that come nearest to displacements `offset` (V, 3) in mm."""
        here = offset[self._sample]
        left = sum(axis.T @ axis for axis in self._axes) / len(here) + self.ridge * np.eye(len(self.weights))
        right = sum(axis.T @ here[:, k] for k, axis in enumerate(self._axes)) / len(here)
        self.weights = np.linalg.solve(left, right)

    def displacements(self) -> np.ndarray:
        """(V, 3) mm, of the weights as they are."""
        return (self.weights @ self._flat).reshape(-1, 3)
