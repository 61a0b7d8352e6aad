"""Published tables of affect: words, rated faces, action units, and their ARKit shapes.

The numbers live in ``data/*.csv``, each with its source in the first lines.
Two of the tables are choices of this package and say so: which family of
expressions a word belongs to, and the action units of families that no
publication measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Mapping

import numpy as np

__all__ = [
    "ARKIT_SHAPES", "EmotionTerm", "arkit_weights", "compound_expressions", "emotion_terms", "expression_families",
    "face_ratings", "mirrored_shapes", "unit_probabilities", "unit_shapes",
]  # fmt: skip

#: The 52 ARKit expression shapes in alphabetical order (as MediaPipe lists them, with ``tongueOut`` last).
ARKIT_SHAPES: tuple[str, ...] = tuple(
    """browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
    cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft
    eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft
    mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight
    mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft
    noseSneerRight tongueOut""".split()
)


@dataclass(frozen=True)
class EmotionTerm:
    """One emotion word.

    Attributes
    ----------
    name : str
    valence, arousal : float
        Mean rating on [-1, 1].
    valence_sd, arousal_sd : float
        Standard deviation over raters.
    family : str
        Key of `expression_families`.
    """

    name: str
    valence: float
    valence_sd: float
    arousal: float
    arousal_sd: float
    family: str


@cache
def emotion_terms() -> tuple[EmotionTerm, ...]:
    """The 137 emotion words of Russell and Mehrabian (1977) with the family of faces each is shown by."""
    family = {row["term"]: row["family"] for row in _rows("term_families.csv")}
    return tuple(
        EmotionTerm(
            row["term"], float(row["valence"]), float(row["valence_sd"]), float(row["arousal"]),
            float(row["arousal_sd"]), family[row["term"]],
        )  # fmt: skip
        for row in _rows("emotion_terms.csv")
    )


@cache
def face_ratings() -> Mapping[str, tuple[float, float]]:
    """Mean (valence, arousal) of rated *faces* of eight emotions (AffectNet-C25).

    They disagree with the words on arousal and on surprise, and rate the
    neutral face at arousal -0.40, so the two conventions must not be mixed.
    """
    return MappingProxyType(
        {row["emotion"]: (float(row["valence"]), float(row["arousal"])) for row in _rows("face_ratings.csv")}
    )


@cache
def unit_probabilities() -> Mapping[str, Mapping[int, float]]:
    """P(action unit | emotion) measured on CK+, for seven emotions."""
    return MappingProxyType(
        {
            row["emotion"]: MappingProxyType({int(k): float(v) for k, v in row.items() if k != "emotion"})
            for row in _rows("ckplus_units.csv")
        }
    )


@cache
def compound_expressions() -> Mapping[str, tuple[int, ...]]:
    """Prototypical action units of compound expressions (Du, Tao and Martinez 2014)."""
    return MappingProxyType(
        {row["expression"]: tuple(map(int, row["units"].split("+"))) for row in _rows("compound_expressions.csv")}
    )


@cache
def unit_shapes() -> Mapping[int, Mapping[str, float]]:
    """ARKit shapes that one action unit sets at full strength, sided shapes on both sides."""
    table: dict[int, dict[str, float]] = {}
    for row in _rows("unit_shapes.csv"):
        shape, weight = row["shape"], float(row["weight"])
        names = [shape] if shape in ARKIT_SHAPES else [shape + "Left", shape + "Right"]
        table.setdefault(int(row["unit"]), {}).update(dict.fromkeys(names, weight))
    return MappingProxyType({unit: MappingProxyType(shapes) for unit, shapes in table.items()})


@cache
def expression_families() -> Mapping[str, Mapping[int, float]]:
    """Action units and their strength in [0, 1] for every family of expressions.

    The seven emotions of CK+ come with measured probabilities as strengths,
    "happy" and "sadness" under the names ``joy`` and ``sadness``; the compound
    expressions with the strength 0.8 of a prototype; the rest is designed.
    """
    families: dict[str, dict[int, float]] = {}
    for emotion, units in unit_probabilities().items():
        # Units seen in fewer than one sequence in ten are accidents of single people.
        families["joy" if emotion == "happy" else emotion] = {u: p for u, p in units.items() if p >= 0.1}
    for name, units in compound_expressions().items():
        families[name] = dict.fromkeys(units, 0.8)
    for row in _rows("designed_families.csv"):
        families.setdefault(row["family"], {})[int(row["unit"])] = float(row["strength"])
    return MappingProxyType({name: MappingProxyType(units) for name, units in families.items()})


def arkit_weights(units: Mapping[int, float]) -> np.ndarray:
    """Weights of the ARKit shapes for action units of given strength.

    Parameters
    ----------
    units : mapping of action unit number to strength in [0, 1]
        Units without an ARKit shape (11 and 21, which deepen furrows) add nothing.

    Returns
    -------
    (52,) float64 in [0, 1], in the order of `ARKIT_SHAPES`
        Where two units move one shape the weights join as ``1 - (1 - a)(1 - b)``.

    Raises
    ------
    ValueError
        If a strength is NaN or outside [0, 1].
    """
    index = {name: i for i, name in enumerate(ARKIT_SHAPES)}
    still = np.ones(len(ARKIT_SHAPES))
    for unit, strength in units.items():
        if not 0 <= strength <= 1:
            raise ValueError(f"units: strengths must lie in [0, 1], got {strength} for action unit {unit}")
        for shape, weight in unit_shapes().get(unit, {}).items():
            still[index[shape]] *= 1 - strength * weight
    return 1 - still


def mirrored_shapes(names) -> np.ndarray:
    """(E,) int64: for each shape the position of its mirror image among `names`.

    A shape without a side, or whose other side is not in `names`, is its own
    mirror image.
    """
    names = list(names)
    index = {name: i for i, name in enumerate(names)}
    swap = {"Left": "Right", "Right": "Left"}

    def other(name: str) -> str:
        for side, opposite in swap.items():
            if name.endswith(side):
                return name[: -len(side)] + opposite
        return name

    return np.array([index.get(other(name), i) for i, name in enumerate(names)], np.int64)


def _rows(name: str) -> list[dict[str, str]]:
    """Rows of a table in ``data``, by column; lines that begin with # are remarks."""
    text = resources.files("affect3d.affect").joinpath("data", name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    header = lines[0].split(",")
    return [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
