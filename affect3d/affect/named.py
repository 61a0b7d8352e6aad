"""Expressions asked for by name: anger, surprise, or one of 137 words, instead of by valence and arousal."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from affect3d.affect.tables import (
    ARKIT_SHAPES,
    arkit_weights,
    compound_expressions,
    emotion_terms,
    expression_families,
    unit_probabilities,
)
from affect3d.geometry.arrays import frozen_array

__all__ = [
    "EXPRESSION_LABELS", "NamedExpression", "known_expressions", "named_expression", "posed_units", "shape_reach",
]  # fmt: skip

#: What sets of labelled faces call their expressions, and the family of faces that shows each.
EXPRESSION_LABELS = {
    "neutral": None, "anger": "anger", "contempt": "contempt", "disgust": "disgust", "fear": "fear",
    "happiness": "joy", "sadness": "sadness", "surprise": "surprise",
}  # fmt: skip
# Strengths in the tables are shares of people; a clear posed expression goes further.
_POSED = 1.25
# The table's weights of shapes are those of everyday faces; FACS intensity 5 goes to the end of what a face can do.
_REACH = {
    "jawOpen": 1.0, "mouthUpperUp": 1.0, "mouthRollLower": 1.0, "mouthRollUpper": 1.0, "mouthSmile": 1.7,
    "browDown": 1.6, "noseSneer": 1.6, "cheekSquint": 1.5, "mouthPress": 1.5,
}  # fmt: skip
_OTHER_REACH = 1.25
# Units 1 and 4 act on the same skin: a brow that is raised as well as drawn together sinks less.
_RAISED_BROW = 0.6


@dataclass(frozen=True, eq=False)
class NamedExpression:
    """The expression that a name stands for.

    Attributes
    ----------
    name : str
        As it was asked for.
    family : str or None
        Key of `expression_families`; None for the neutral face.
    strength : float
        In [0, 1].
    expression : (52,) float64
        Coefficients in [0, 1]; the same on both sides.
    names : tuple of str
        ARKit names of the coefficients.
    source : str
        Where its action units come from.
    note : str
        A sentence where they were not measured; otherwise "".
    """

    name: str
    family: str | None
    strength: float
    expression: np.ndarray
    names: tuple[str, ...]
    source: str
    note: str = ""


def known_expressions() -> tuple[str, ...]:
    """All names `named_expression` knows: the labels of databases, families of expressions, then words."""
    words = (term.name for term in emotion_terms())
    return tuple(dict.fromkeys((*EXPRESSION_LABELS, *sorted(expression_families()), *sorted(words))))


def named_expression(name: str, strength: float = 1.0) -> NamedExpression:
    """The posed expression that a name stands for, from published action units.

    A valence-arousal pair cannot tell some expressions apart: anger, fear and disgust lie close together on the plane.
    A name can.  The action units of anger, contempt, disgust, fear, happiness, sadness and surprise are those measured
    on CK+ (`unit_probabilities`), with the share of people who showed a unit as its strength; those of compound
    expressions are prototypes (`compound_expressions`); the others, and which word is shown by which family, are
    choices of this package.

    Parameters
    ----------
    name : str
        One of `known_expressions()`; capitals do not matter.
    strength : float
        In [0, 1]; scales the action units.

    Raises
    ------
    ValueError
        If the name is not known or the strength out of range.

    References
    ----------
    Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010.
    Du, Tao and Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014.
    """
    if not (np.ndim(strength) == 0 and 0 <= strength <= 1):  # NaN too
        raise ValueError(f"strength: expected a number in [0, 1], got {strength!r}")
    family = _family(name)
    if family is None:
        return _made(name, None, strength, {}, "the face at rest")
    units = {unit: share * strength for unit, share in posed_units(family).items()}
    if family in unit_probabilities() or family == "joy":
        return _made(name, family, strength, units, "action units measured on CK+")
    if family in compound_expressions():
        return _made(name, family, strength, units, "prototypical action units (Du, Tao and Martinez 2014)")
    note = f"The expression {family!r} is a choice of this package: no publication measured its action units."
    return _made(name, family, strength, units, "a choice of this package", note)


def posed_units(family: str) -> dict[int, float]:
    """Action units of a family at a posed apex: strengths in (0, 1] by number.

    Units that fewer than 15 % of people showed are left out.

    Parameters
    ----------
    family : str
        Key of `expression_families`.
    """
    return {unit: min(_POSED * share, 1.0) for unit, share in expression_families()[family].items() if share >= 0.15}


def shape_reach(shape: str) -> float:
    """How much further than its weight of `arkit_weights` an ARKit shape goes in a face that poses."""
    return _REACH.get(shape.removesuffix("Left").removesuffix("Right"), _OTHER_REACH)


def _family(name: str) -> str | None:
    key = " ".join(str(name).lower().replace("_", " ").split())
    if key in EXPRESSION_LABELS:
        return EXPRESSION_LABELS[key]
    if key in expression_families():
        return key
    for term in emotion_terms():
        if term.name == key:
            return term.family
    like = difflib.get_close_matches(key, known_expressions(), n=3)
    hint = f"; did you mean {' or '.join(map(repr, like))}?" if like else ""
    raise ValueError(
        f"name: expected an expression such as {', '.join(EXPRESSION_LABELS)}, or an emotion word of Russell and "
        f"Mehrabian (1977), got {name!r}{hint}"
    )


def _made(name, family, strength, units, source, note="") -> NamedExpression:
    weights = np.minimum(arkit_weights(units) * [shape_reach(shape) for shape in ARKIT_SHAPES], 1)
    index = {shape: i for i, shape in enumerate(ARKIT_SHAPES)}
    sunk = [index["browDownLeft"], index["browDownRight"]]
    weights[sunk] *= 1 - _RAISED_BROW * weights[index["browInnerUp"]]
    expression = frozen_array(weights, np.float64, "expression", (len(ARKIT_SHAPES),))
    return NamedExpression(str(name), family, float(strength), expression, ARKIT_SHAPES, source, note)
