"""How a template's faces differ: identities and expressions of the model that it is a part of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.io.atomic import atomic_path
from affect3d.model.morphable import MorphableModel
from affect3d.registration.records import digest
from affect3d.registration.template import Template

__all__ = ["ShapeModes", "model_modes"]

#: Expected deviation of an expression that runs from 0 to 1, and of a mode that stands at three deviations.
_ARTIST, _COMPONENT = 0.35, 1 / 3


@dataclass(frozen=True, eq=False)
class ShapeModes:
    """Displacements of a template that are expected, each with a weight of mean 0 and deviation 1.

    Attributes
    ----------
    basis : (K, V, 3) float32
        mm, for a weight of 1.
    source : str
        A sentence on where they come from.
    """

    basis: np.ndarray
    source: str = ""

    def __post_init__(self):
        basis = frozen_array(self.basis, np.float32, "basis", (None, None, 3))
        require_finite(basis, "basis")
        object.__setattr__(self, "basis", basis)

    @property
    def digest(self) -> str:
        """SHA-256 of the basis."""
        return digest(self.basis)

    def save(self, path) -> None:
        """Write the basis as .npz, exactly and always with the same bytes."""
        with atomic_path(path) as temporary:
            np.savez(temporary, basis=self.basis)

    @staticmethod
    def load(path) -> ShapeModes:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return ShapeModes(file["basis"])


def model_modes(model: MorphableModel, template: Template, least: float = 0.1) -> ShapeModes:
    """Identity and expression modes of a model at the vertices of a template that is a part of it.

    Of the pairs that foreign models' expression components come in (``x`` and ``x_minus``) one is taken, for weights
    may be negative here.

    Parameters
    ----------
    model : MorphableModel
    template : Template
        Made by `affect3d.registration.template.model_template` of this model.
    least : float
        mm; modes that at one deviation move no vertex of the template by so much are left out.

    Raises
    ------
    ValueError
        If the template is no part of the model, or nothing moves it.
    """
    vertices = template.model_vertices
    if vertices is None or vertices.max(initial=-1) >= len(model.mean):
        raise ValueError("template: its modes are wanted, but it is no part of a head model")
    if not np.allclose(model.mean[vertices], template.mesh.vertices, atol=1e-3):
        raise ValueError("template: lies elsewhere than the model's mean; are they of one model?")
    names = set(model.expression_names)
    kept = [k for k, name in enumerate(model.expression_names) if name.removesuffix("_minus") not in names - {name}]
    pairs = np.array([f"{model.expression_names[k]}_minus" in names for k in kept], bool)
    spread = np.where(pairs, _COMPONENT, _ARTIST).astype(np.float32)
    identity = model.identity[:, vertices] * model.identity_std[:, None, None].astype(np.float32)
    expression = model.expression[kept][:, vertices] * spread[:, None, None]
    basis = np.concatenate([identity, expression])
    moving = np.linalg.norm(basis, axis=2).max(1, initial=0) > least
    people, faces = int(moving[: len(identity)].sum()), int(moving[len(identity) :].sum())
    if not moving.any():
        raise ValueError(f"model: none of its modes moves the template by {least} mm")
    name = model.name or "model"
    return ShapeModes(basis[moving], f"{people} identity modes and {faces} expressions of the {name}")
