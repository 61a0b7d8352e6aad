"""How a template's faces differ: identities and expressions of the model that it is a part of."""

from __future__ import annotations

import numpy as np

from affect3d.model.morphable import MorphableModel
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.template import Template, is_part_of

__all__ = ["model_modes"]

#: Expected deviation of an expression that runs from 0 to 1, and of a mode that stands at three deviations.
_ARTIST, _COMPONENT = 0.35, 1 / 3


def model_modes(model: MorphableModel, template: Template, least: float = 0.1) -> DisplacementPrior:
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

    Returns
    -------
    DisplacementPrior
        A weight of 1 is one deviation.

    Raises
    ------
    ValueError
        If the template is no part of the model, or nothing moves it.
    """
    vertices = template.model_vertices
    if not is_part_of(template, model):
        raise ValueError("template: its modes are wanted, but it is no part of the head model, or lies elsewhere")
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
    return DisplacementPrior(basis[moving], f"{people} identity modes and {faces} expressions of the {name}")
