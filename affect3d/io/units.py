"""Lengths in files: what unit they are in, stated by the caller or by the file, or guessed when asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["MILLIMETRES", "UnitGuess", "guess_unit", "millimetres_per", "resolve_unit", "stated_unit", "unit_comment"]

#: Millimetres in one of each unit.
MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_WORDS = {"mm": "millimetres", "cm": "centimetres", "m": "metres"}
_STATED = re.compile(rb"affect3d; (" + b"|".join(word.encode() for word in _WORDS.values()) + rb")\b")
#: Extent of a mesh of a face or a head, mm: a narrow face crop to a head with shoulders.
_EXTENT = (80.0, 600.0)


@dataclass(frozen=True)
class UnitGuess:
    """A guess at the unit of a mesh of a face or a head.

    Attributes
    ----------
    unit : str or None
        "mm", "cm" or "m"; None if no unit makes the mesh as large as a face or a head.
    extent : float
        Longest side of the bounding box, in the file's own unit.
    reason : str
        A sentence for the user: a guess is never taken silently.
    """

    unit: str | None
    extent: float
    reason: str


def millimetres_per(unit, name: str = "unit") -> float:
    """Millimetres in one `unit`.

    Raises
    ------
    ValueError
        If `unit` is none of "mm", "cm" and "m"; the message names `name` and the choices.
    """
    if not isinstance(unit, str) or unit not in MILLIMETRES:
        raise ValueError(f"{name}: expected one of 'mm', 'cm', 'm', got {unit!r}")
    return MILLIMETRES[unit]


def guess_unit(vertices) -> UnitGuess:
    """Guess the unit of a mesh of a face or a head from its size.

    The longest side of a face or head is taken to lie between 80 and 600 mm; these ranges do not overlap for
    millimetres, centimetres and metres.  Nothing else in the package guesses units.

    Parameters
    ----------
    vertices : (V, 3) float array
        In the unknown unit.

    Raises
    ------
    ValueError
        If `vertices` is empty, has another shape or holds numbers that are not finite.
    """
    vertices = np.asarray(vertices, float)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise ValueError(f"vertices: expected shape (V, 3) with V > 0, got {vertices.shape}")
    require_finite(vertices, "vertices")
    extent = float(np.ptp(vertices, axis=0).max())
    for unit, size in MILLIMETRES.items():
        if _EXTENT[0] <= extent * size <= _EXTENT[1]:
            reason = f"guessed {unit}: the longest side, {extent:.4g}, is {extent * size:.0f} mm then, as of a head"
            return UnitGuess(unit, extent, reason)
    low, high = _EXTENT
    reason = (
        f"no guess: with a longest side of {extent:.4g} neither mm, cm nor m makes this {low:.0f} to {high:.0f} mm, "
        "the size of a face or a head"
    )
    return UnitGuess(None, extent, reason)


def unit_comment(unit: str) -> str:
    """The sentence by which our writers state the unit; `stated_unit` finds it again."""
    millimetres_per(unit)
    return f"affect3d; {_WORDS[unit]}, +x to the subject's left, +y up, +z out of the face"


def stated_unit(head: bytes) -> str | None:
    """The unit that one of our writers stated in the first bytes of a file, else None."""
    found = _STATED.search(head)
    if found is None:
        return None
    return {word: unit for unit, word in _WORDS.items()}[found.group(1).decode()]


def resolve_unit(unit, head: bytes = b"") -> float:
    """Millimetres in the unit of a file: the caller's word, else the file's, else a ValueError that asks.

    Parameters
    ----------
    unit : {"mm", "cm", "m"}, optional
        The caller's word; it outranks the file's.
    head : bytes
        First bytes of the file.

    Raises
    ------
    ValueError
        If neither states a unit, or `unit` is not among the choices.
    """
    if unit is None:
        unit = stated_unit(head)
    if unit is None:
        raise ValueError(
            "unit: the file does not state its unit of length; expected 'mm', 'cm' or 'm' "
            "(affect3d.io.mesh_file.guess_file_unit looks at the size of the head)"
        )
    return millimetres_per(unit)
