"""Synthetic performances: one person moves from neutral to an emotion and back.

Stands in for a database of recorded performances such as 4DFAB, which cannot
be shipped.  A performance draws an emotion word, and from the word's published
mean and spread the valence and arousal that this person has in mind.  Corners,
lids and jaw follow that pair (`core_affect`), the rest follows the word's
action units (`tables`), both in the person's own style.  Annotators then
label what they see, a little late and not exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numba
import numpy as np

from affect3d.affect.core_affect import CORE_SHAPES, core_weights
from affect3d.affect.tables import ARKIT_SHAPES, arkit_weights, emotion_terms, expression_families, mirrored_shapes

__all__ = ["PerformanceOptions", "perform", "perform_sequence", "person_style"]

# Distance from the origin at which an action-unit pattern reaches the strength its table gives.
_FULL_RADIUS = 0.65
# Lips part in core_weights already, so the units that only part them would do so twice.
_CORE_UNITS = (25, 26, 27)
# Lips that touch: a jaw that opens takes these away, or the two shapes would fight.
_CLOSED_LIPS = ("mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
                "mouthShrugUpper")  # fmt: skip
# Frames a second of `perform`, and how much of a wavering is left after one of them.
_RATE, _FACE_MEMORY, _LABEL_MEMORY = 10.0, 0.9, 0.8
# How often a word is performed, relative to one that is not named here.  Databases of posed emotions ask everybody
# for the basic emotions.  Anger and fear share a place on the plane; so that their mean is no muddle of both, anger
# is asked for at moderate arousal and fear where "terrified" lies.
_FREQUENCY = {
    "happy": 10, "sad": 24, "depressed": 8, "surprised": 8, "astonished": 10, "terrified": 28, "disgusted": 8,
    "angry": 34, "enraged": 6, "hate": 20, "contemptuous": 6, "excited": 12, "relaxed": 16, "bored": 14,
    "fatigued": 10, "quiet": 8, "leisurely": 8,
}  # fmt: skip


@dataclass(frozen=True)
class PerformanceOptions:
    """How many performances, how long, and how much people and annotators differ.

    Attributes
    ----------
    subjects : int
        People, at least 1.
    sequences : int
        Performances of each person, at least 1.
    frames : int
        Frames of each performance (10 a second), at least 8.
    annotators : int
        Labels are the mean over so many annotators, at least 1.
    style : float
        Spread (SD of the logarithm) of a person's gain of each shape, >= 0.
    asymmetry : float
        Spread (SD) of the relative difference between the two sides, >= 0.
    label_noise : float
        SD of one annotator's slowly wandering error, in units of valence, >= 0.
    label_lag : float
        Mean reaction time of annotators, in frames, >= 0.
    """

    subjects: int = 100
    sequences: int = 80
    frames: int = 36
    annotators: int = 4
    style: float = 0.15
    asymmetry: float = 0.08
    label_noise: float = 0.04
    label_lag: float = 1.5

    def __post_init__(self):
        for name, least in (("subjects", 1), ("sequences", 1), ("frames", 8), ("annotators", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        for name in ("style", "asymmetry", "label_noise", "label_lag"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")


@dataclass(frozen=True, eq=False)
class Performances:
    """All frames of all performances.

    Attributes
    ----------
    expression : (S, Q, T, 52) float32
        Subject, sequence, frame, shape of `ARKIT_SHAPES`.
    valence, arousal : (S, Q, T) float32
        Labels.
    term : (S, Q) int64
        Index into `emotion_terms()`.
    """

    expression: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    term: np.ndarray


def perform(options: PerformanceOptions, rng: np.random.Generator) -> Performances:
    """Draw all performances that `options` asks for; the same `rng` state gives the same bytes.

    The first frame of every performance is neutral.
    """
    s, q, t = options.subjects, options.sequences, options.frames
    term = _terms((s, q), rng)
    felt = _felt_affect(term, rng)
    intensity = _intensity((s, q), t, rng)
    path = felt[:, :, None, :] * intensity[..., None]
    valence, arousal = _labels(path, options, rng)
    gain, baseline = _style(options, rng)
    wobble = _wander((s, q, t, 6), _FACE_MEMORY, rng)
    expression = np.empty((s, q, t, len(ARKIT_SHAPES)), np.float32)
    patterns = _patterns()
    for i in range(s):  # one person at a time keeps the memory at a few megabytes
        expression[i] = _faces(path[i], patterns[term[i]], gain[i], baseline[i], wobble[i])
    return Performances(expression, valence, arousal, term)


def person_style(options: PerformanceOptions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One person's gain (52,) of each shape, mean about 1, and resting face (52,)."""
    gain, baseline = _style(replace(options, subjects=1), rng)
    return gain[0], baseline[0]


def perform_sequence(
    frames: int, style, options: PerformanceOptions, frame_rate: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One performance of any length by one person.

    Parameters
    ----------
    frames : int
        At least 8.
    style : pair of arrays
        What `person_style` gave.
    options : PerformanceOptions
        Its numbers of subjects, sequences and frames do not matter; its lag is in frames.
    frame_rate : float
        Frames a second: faces and annotators waver as fast at any rate.
    rng : numpy.random.Generator

    Returns
    -------
    expression (T, 52), valence (T,), arousal (T,) : float32
        The first frame is the person's neutral face.
    """
    if frames < 8:
        raise ValueError(f"frames: expected a whole number of at least 8, got {frames}")
    term = _terms((1, 1), rng)
    felt = _felt_affect(term, rng)
    path = felt[:, :, None, :] * _intensity((1, 1), frames, rng)[..., None]
    one = replace(options, subjects=1, sequences=1, frames=frames)
    slower = _RATE / frame_rate
    valence, arousal = _labels(path, one, rng, _LABEL_MEMORY**slower)
    wobble = _wander((1, frames, 6), _FACE_MEMORY**slower, rng)
    expression = _faces(path[0], _patterns()[term[0]], *style, wobble).astype(np.float32)
    return expression[0], valence[0, 0], arousal[0, 0]


@lru_cache(maxsize=1)
def _patterns() -> np.ndarray:
    """(terms, 52) what each term's family adds to the core weights."""
    return np.stack([_pattern(term.family) for term in emotion_terms()])


def _terms(shape, rng: np.random.Generator) -> np.ndarray:
    """Indices into `emotion_terms()`, as often as each is performed."""
    chance = np.array([float(_FREQUENCY.get(term.name, 1)) for term in emotion_terms()])
    return rng.choice(len(chance), size=shape, p=chance / chance.sum())


def _felt_affect(term: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, Q, 2) valence and arousal at full intensity: the word's normal distribution, cut off at the square."""
    table = np.array([[t.valence, t.arousal, t.valence_sd, t.arousal_sd] for t in emotion_terms()])[term]
    mean, sd = table[..., :2], table[..., 2:]
    felt = mean + sd * rng.standard_normal(mean.shape)
    outside = np.abs(felt) > 1
    while outside.any():
        felt[outside] = (mean + sd * rng.standard_normal(mean.shape))[outside]
        outside = np.abs(felt) > 1
    return felt


def _intensity(shape: tuple[int, int], frames: int, rng: np.random.Generator) -> np.ndarray:
    """(S, Q, T) in [0, 1]: neutral, onset, apex, offset, with random times and mostly full apexes."""
    clock = np.arange(frames) / (frames - 1)
    onset = rng.uniform(0.02, 0.12, shape)[..., None]
    apex = onset + rng.uniform(0.15, 0.35, shape)[..., None]
    release = apex + rng.uniform(0.15, 0.35, shape)[..., None]
    end = release + rng.uniform(0.15, 0.30, shape)[..., None]
    height = 1 - 0.4 * rng.beta(1.0, 3.0, shape)[..., None]
    return height * _smoothstep((clock - onset) / (apex - onset)) * _smoothstep((end - clock) / (end - release))


def _labels(
    path: np.ndarray, options: PerformanceOptions, rng: np.random.Generator, memory: float = _LABEL_MEMORY
) -> tuple[np.ndarray, np.ndarray]:
    """(S, Q, T) float32 valence and arousal: the path as annotators report it, averaged over them."""
    s, q, t, _ = path.shape
    total = np.zeros_like(path)
    for _ in range(options.annotators):
        lag = rng.gamma(4.0, options.label_lag / 4.0, (s, q))[..., None] if options.label_lag else np.zeros((s, q, 1))
        moment = np.maximum(np.arange(t) - lag, 0)
        before = np.minimum(moment.astype(np.int64), t - 2)
        part = (moment - before)[..., None]
        seen = np.take_along_axis(path, before[..., None], 2) * (1 - part)
        seen += np.take_along_axis(path, before[..., None] + 1, 2) * part
        total += seen + options.label_noise * _wander((s, q, t, 2), memory, rng)
    labels = np.clip(total / options.annotators, -1, 1).astype(np.float32)
    return labels[..., 0], labels[..., 1]


def _style(options: PerformanceOptions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gain (S, 52), mean about 1, and resting face (S, 52) of each person."""
    mirror = mirrored_shapes(ARKIT_SHAPES)
    shape = (options.subjects, len(ARKIT_SHAPES))
    gain = rng.standard_normal(shape)
    gain = (gain + gain[:, mirror]) / np.where(mirror == np.arange(shape[1]), 2.0, np.sqrt(2.0))
    gain = np.exp(options.style * gain - options.style**2 / 2)
    side = np.array([1.0 if n.endswith("Left") else -1.0 if n.endswith("Right") else 0.0 for n in ARKIT_SHAPES])
    lean = rng.standard_normal(shape)
    lean = (lean + lean[:, mirror]) / 2
    gain *= 1 + np.clip(options.asymmetry * lean, -0.4, 0.4) * side
    resting = np.zeros(shape)
    used = arkit_weights({1: 1, 4: 1, 12: 1, 14: 1, 15: 1, 23: 1}) > 0
    resting[:, used] = options.style * 0.2 * rng.beta(1.0, 3.0, (options.subjects, int(used.sum())))
    return gain, (resting + resting[:, mirror]) / 2


def _pattern(family: str) -> np.ndarray:
    """(52,) what the family's action units add to the core weights."""
    units = {u: p for u, p in expression_families()[family].items() if u not in _CORE_UNITS}
    weights = arkit_weights(units)
    for i, name in enumerate(ARKIT_SHAPES):
        if name.removesuffix("Left").removesuffix("Right") in CORE_SHAPES[:7]:
            weights[i] = 0
    return weights


def _faces(path, pattern, gain, baseline, wobble) -> np.ndarray:
    """(Q, T, 52) one person's expressions along (Q, T, 2) paths."""
    core = core_weights(path[..., 0], path[..., 1])
    strength = np.minimum(np.hypot(path[..., 0], path[..., 1]) / _FULL_RADIUS, 1.25)[..., None]
    faces = 1 - (1 - core) * (1 - np.clip(strength * pattern[:, None, :], 0, 1))
    index = {name: i for i, name in enumerate(ARKIT_SHAPES)}
    # Units 1 and 4 act on the same skin: a brow that is raised as well as drawn together sinks less.
    raised = faces[..., index["browInnerUp"], None]
    faces[..., [index["browDownLeft"], index["browDownRight"]]] *= 1 - 0.6 * raised
    jaw = faces[..., index["jawOpen"], None]
    faces[..., [index[name] for name in _CLOSED_LIPS]] /= 1 + (jaw / 0.10) ** 2
    # No two frames of a held expression are alike: each sixth of the shapes swells and fades by about
    # 4 %, both sides together.
    groups = np.minimum(mirrored_shapes(ARKIT_SHAPES), np.arange(len(ARKIT_SHAPES))) % wobble.shape[-1]
    faces = faces * gain * (1 + 0.04 * wobble[..., groups]) + baseline
    # The first frame is the person's neutral, whatever the path.
    faces[:, 0] = baseline
    return np.clip(faces, 0, 1)


def _wander(shape: tuple[int, ...], memory: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary first-order noise of unit variance along the last but one axis."""
    noise = rng.standard_normal(shape)
    _remember(noise.reshape(-1, *shape[-2:]), memory, np.sqrt(1 - memory**2))
    return noise


@numba.njit(cache=True, nogil=True)  # without fastmath: the shipped gallery keeps its bytes
def _remember(noise, memory, fresh):  # pragma: no cover - compiled
    for k in range(noise.shape[0]):
        for i in range(1, noise.shape[1]):
            for j in range(noise.shape[2]):
                noise[k, i, j] = memory * noise[k, i - 1, j] + fresh * noise[k, i, j]


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
