"""What a set shows: the papers' emotions, action units and sequences as strengths of action units.

A shot is one picture of one person: strengths of action units in [0, 1] and the labels that follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.affect.named import EXPRESSION_LABELS, posed_units, shape_reach
from affect3d.affect.tables import ARKIT_SHAPES, arkit_weights, expression_families, face_ratings

__all__ = ["DISFA_UNITS", "EMOTION_SETS", "Shot", "Style", "draw_style", "emotion_shots", "sequence_shots",
           "shape_weights", "unit_shots"]  # fmt: skip

#: The emotions of the papers' databases; RaFD counts the neutral face as one.
EMOTION_SETS = {
    "rafd": ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "ck+": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "oulu-casia": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
    "tfd": ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"),
}
#: The twelve action units that DISFA rates.
DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
# Shares of the intensities 1 to 5 among active units: high ones are rare, as in spontaneous faces.
_INTENSITY_SHARES = np.array([0.33, 0.29, 0.21, 0.12, 0.05])
_RATED = {"happiness": "happy"}
_LIMIT = 1.3  # what a linear shape bears without tearing


@dataclass(frozen=True, eq=False)
class Style:
    """How one person moves.

    Attributes
    ----------
    gain : dict of int to float
        Strength of each action unit in this person, about 1.
    lean : float
        By how much the left side moves more than the right one.
    jaw : float
        How far the mouth opens in joy and surprise, 0 to 1.
    side : str
        "Left" or "Right": the half of the mouth that shows contempt.
    rest : dict of str to float
        Shapes of the face at rest, which are part of the person and of no expression.
    """

    gain: dict
    lean: float
    jaw: float
    side: str
    rest: dict


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture to be taken.

    Attributes
    ----------
    units : dict of int to float
        Strength in [0, 1]; 1 is FACS intensity 5.
    emotion : str
        What the picture shows; "" for no name.
    valence, arousal : float
        NaN where nothing is known.
    take, frame : int
        Which light and view, and the place in the film.
    film : int
        Number of the film or take among this person's.
    neutral : int
        Which of this person's shots is the neutral one that belongs to it.
    """

    units: dict
    emotion: str
    valence: float
    arousal: float
    take: int
    film: int
    frame: int
    neutral: int


def draw_style(rng: np.random.Generator) -> Style:
    """How one person moves, by chance."""
    gain = {u: float(np.clip(rng.normal(1, 0.16), 0.6, 1.3)) for u in range(1, 44)}
    lean, jaw, side = float(rng.normal(0, 0.07)), float(rng.random()), str(rng.choice(["Left", "Right"]))
    rest = {
        name: float(rng.uniform(low, high))
        for name, low, high in (
            ("mouthSmile", 0.02, 0.20), ("browDown", 0.0, 0.15), ("eyeSquint", 0.0, 0.25), ("mouthPress", 0.0, 0.15),
            ("browOuterUp", 0.0, 0.12),
        )
    }  # fmt: skip
    return Style(gain, lean, jaw, side, {n + s: w for n, w in rest.items() for s in ("Left", "Right")})


def emotion_shots(emotions, style: Style, takes: int, rng: np.random.Generator) -> list[Shot]:
    """A neutral face and each of `emotions` at its apex, in every take."""
    shots = []
    for take in range(takes):
        start = len(shots)
        for name in ("neutral", *(e for e in emotions if e != "neutral")):
            amount = 0.0 if name == "neutral" else rng.uniform(0.82, 1.0)
            shots.append(_shot(name, amount, style, take, take, len(shots) - start, start))
    return shots


def sequence_shots(emotions, style: Style, length: int, rng: np.random.Generator) -> list[Shot]:
    """For each of `emotions` a film of `length` frames from the neutral face to the apex."""
    shots = []
    for film, name in enumerate(e for e in emotions if e != "neutral"):
        start, apex = len(shots), rng.uniform(0.82, 1.0)
        pace = rng.uniform(0.8, 1.4)
        for frame in range(length):
            t = (frame / max(length - 1, 1)) ** pace
            amount = apex * t * t * (3 - 2 * t)
            # Only the neutral start and the last three frames, which papers take for the apex, have a name.
            label = "neutral" if frame == 0 else name if frame >= max(length - 3, 1) else ""
            shots.append(_shot(name, amount, style, 0, film, frame, start, label))
    return shots


def unit_shots(frames: int, style: Style, rng: np.random.Generator) -> list[Shot]:
    """A neutral face, then `frames` - 1 faces with some of DISFA's units at intensities 1 to 5."""
    shots = [Shot({}, "", np.nan, np.nan, 0, 0, 0, 0)]
    for frame in range(1, frames):
        count = min(1 + rng.poisson(1.6), 6)
        active = rng.choice(DISFA_UNITS, count, replace=False)
        units = {int(u): float(rng.choice(5, p=_INTENSITY_SHARES) + 1) / 5 for u in active}
        shots.append(Shot(units, "", np.nan, np.nan, 0, 0, frame, 0))
    return shots


def _shot(name, amount, style, take, film, frame, neutral, label=None) -> Shot:
    ratings = face_ratings()
    rest = np.array(ratings["neutral"])
    there = np.array(ratings[_RATED.get(name, name)]) if name != "neutral" else rest
    valence, arousal = rest + amount * (there - rest)
    units = {} if name == "neutral" else emotion_units(name, style)
    units = {u: float(np.clip(amount * s * style.gain[u], 0, 1)) for u, s in units.items()}
    return Shot(units, name if label is None else label, float(valence), float(arousal), take, film, frame, neutral)


def emotion_units(name: str, style: Style) -> dict[int, float]:
    """Action units of an emotion as this person shows it at the apex.

    Raises
    ------
    ValueError
        If there is no such emotion.
    """
    families = expression_families()
    family = EXPRESSION_LABELS.get(name, name)
    if family not in families:
        known = sorted(set(families) - {"joy"} | {"happiness", "neutral"})
        raise ValueError(f"emotions: expected some of {', '.join(known)}, got {name!r}")
    units = posed_units(family)
    if family in ("joy", "surprise"):
        units[26] = max(units.get(26, 0.0), 0.2 + 0.6 * style.jaw)
    return units


def shape_weights(units: dict, style: Style, names, gaze: float = 0.0, contempt: bool = False) -> np.ndarray:
    """(E,) weights in [0, 1.3] of the shapes `names`.

    Parameters
    ----------
    units : dict of int to float
        Strengths of action units in [0, 1].
    style : Style
    names : sequence of str
        Shapes of the model; those it lacks are left out.
    gaze : float
        In [-1, 1]; 1 looks to the subject's left.
    contempt : bool
        Contempt shows on one half of the mouth only.
    """
    weights = {}
    for name, weight in zip(ARKIT_SHAPES, arkit_weights(units)):
        lean = style.lean if name.endswith("Left") else -style.lean if name.endswith("Right") else 0.0
        amount = min(shape_reach(name) * weight * (1 + lean), _LIMIT)
        if contempt and name.startswith("mouth") and name.endswith(("Left", "Right")) and not name.endswith(style.side):
            amount *= 0.15
        weights[name] = amount + max(1 - amount, 0) * style.rest.get(name, 0.0)
    left, right = max(gaze, 0.0), max(-gaze, 0.0)
    weights |= {"eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": right, "eyeLookOutRight": right}
    return np.array([weights.get(name, 0.0) for name in names])
