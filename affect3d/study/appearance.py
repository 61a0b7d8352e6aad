"""Surfaces for any head with iBUG landmarks: colours of its vertices by rule and chance.

Simpler than the people of `synthesis.rendered_people` on purpose: they share no skin, hair or brow with these, so a
study whose augmenter uses those is not asked about its own pictures.
"""

from __future__ import annotations

import numpy as np

from affect3d.render.shading import srgb_to_linear

__all__ = ["draw_colours"]

# sRGB of skins from light to dark, of hair and of irises' surroundings: chosen by eye.
_SKINS = np.array([(241, 208, 186), (226, 182, 152), (198, 148, 114), (156, 107, 76), (112, 74, 52), (80, 53, 40)])
_HAIRS = np.array([(22, 18, 17), (60, 42, 30), (104, 74, 48), (160, 124, 84), (152, 148, 144), (120, 58, 32)])
_PLAIN_SKIN = (205, 164, 143)  # what heads of this package are coloured with


def draw_colours(model, rng: np.random.Generator) -> np.ndarray:
    """(V, 3) float64 linear colours of one person's head.

    Parameters
    ----------
    model : MorphableModel
        With "ibug68" landmarks, colours and the parts "face", "head", "neck" and "lips".

    Raises
    ------
    ValueError
        If it lacks them.
    """
    missing = {"face", "head", "neck", "lips"} - set(model.part_names)
    if missing or model.colours is None or "ibug68" not in model.landmarks:
        raise ValueError(f"model: expected colours, iBUG landmarks and named parts, {model.name!r} lacks some")
    colours = np.array(srgb_to_linear(model.colours), float)
    _, y, z = model.mean.T
    marks = model.landmarks["ibug68"].locate(model.mean, model.faces)
    skin = model.part_vertices(*(n for n in ("face", "head", "neck", "lips", "socket") if n in model.part_names))
    place = rng.uniform(0, len(_SKINS) - 1)
    low = min(int(place), len(_SKINS) - 2)
    tone = _SKINS[low] + (place - low) * (_SKINS[low + 1] - _SKINS[low])
    tint = _linear(tone) / _linear(_PLAIN_SKIN)
    blotches = sum(
        np.sin(model.mean @ rng.normal(0, 1 / length, 3) + rng.uniform(0, 6.3)) for length in (9, 14, 25, 40)
    )
    colours[skin] *= tint * np.exp(0.04 * blotches[skin])[:, None]
    redder = rng.uniform(0.75, 1.1)
    colours[model.part_vertices("lips")] *= [1, redder, redder]
    hair = _linear(_HAIRS[rng.integers(len(_HAIRS))])
    if rng.random() < 0.35:  # a beard grows below the nose, around the lips
        shade = rng.uniform(0.2, 0.75)
        below = np.clip((marks[33, 1] - 6 - y) / 8, 0, 1) * np.clip((z + 20) / 25, 0, 1)
        beard = _skin_only(model, "face", "head") * below * (y > marks[8, 1] - 15) * shade
        colours += beard[:, None] * (hair - colours)
    half, strength = rng.uniform(2.0, 3.6), rng.uniform(0.55, 0.95)
    for brow in (marks[17:22], marks[22:27]):
        away = _distance(model.mean[:, :2], brow[:, :2] + [0, 1.0])
        there = np.clip(1.4 - away / half, 0, 1) * (z > marks[36, 2] - 15) * strength
        colours += (there * _skin_only(model, "face", "head"))[:, None] * (hair - colours)
    if rng.random() < 0.85:
        line = marks[17:27, 1].max() + rng.uniform(28, 44)
        behind = rng.uniform(-45, -25)
        cap = np.maximum(np.clip((y - line) / 5, 0, 1), np.clip((behind - z) / 8, 0, 1) * (y > marks[33, 1] - 30))
        colours += (cap * _skin_only(model, "face", "head"))[:, None] * (hair - colours)
    return np.clip(colours, 0.002, 1)


def _skin_only(model, *names) -> np.ndarray:
    """(V,) 1.0 for vertices of the parts `names` that belong to no lip."""
    named = np.zeros(len(model.mean))
    named[model.part_vertices(*names)] = 1
    named[model.part_vertices("lips")] = 0
    return named


def _linear(colour) -> np.ndarray:
    return np.asarray(srgb_to_linear(np.rint(colour).astype(np.uint8)), float)


def _distance(points, line) -> np.ndarray:
    """(V,) distance of points in the plane from a polyline."""
    best = np.full(len(points), np.inf)
    for a, b in zip(line[:-1], line[1:]):
        along = np.clip(((points - a) @ (b - a)) / max((b - a) @ (b - a), 1e-9), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1))
    return best
