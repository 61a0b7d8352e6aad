"""Whether lids and lips of a head meet and part as they should, seen at pairs of landmarks."""

from __future__ import annotations

import numpy as np

from affect3d.landmark_groups import LID_PAIRS, LIP_PAIRS
from affect3d.model.morphable import MorphableModel

__all__ = ["closure", "eye_pairs", "is_lid_shape", "lid_factors", "lip_gap"]

#: Expressions that move lids, without Left and Right.
_LID_SHAPES = ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookUp", "eyeLookDown")
#: Lids nearer than this to one another, mm on the mean of the pairs, are closed: no share of the way can be told.
_CLOSED = 1.0
#: A lid that went much too short a way was not seen well.
_LIMITS = (0.5, 1.25)


def is_lid_shape(name: str, side: str) -> bool:
    """Whether an expression moves the lids of a side, ``"Left"`` or ``"Right"``."""
    return name.endswith(side) and name.removesuffix(side) in _LID_SHAPES


def eye_pairs(scheme: str, side: str) -> np.ndarray:
    """(P, 2) landmarks of the upper and the lower lid of a side, the subject's."""
    pairs = np.array(LID_PAIRS[scheme])
    half = len(pairs) // 2
    return pairs[:half] if side == "Right" else pairs[half:]


def closure(before, after, pairs) -> float:
    """Share of the way between the lids that they have come together: 0 still, 1 they touch, more they overlap.

    Parameters
    ----------
    before, after : (L, 3) float arrays
        Landmarks, mm; pairs with a missing one are passed over.
    pairs : (P, 2) int array
        Upper and lower.

    Returns
    -------
    float
        NaN if fewer than half of the pairs are there, or they are less than a millimetre apart on the mean.
    """
    gap, left = (np.asarray(p)[pairs[:, 0]] - np.asarray(p)[pairs[:, 1]] for p in (before, after))
    there = np.isfinite(gap).all(1) & np.isfinite(left).all(1)
    if 2 * there.sum() <= len(pairs):
        return float("nan")
    gap, left = gap[there], left[there]
    width = np.linalg.norm(gap, axis=1)
    if width.mean() < _CLOSED:
        return float("nan")
    # measured along the way from lid to lid; the middle of the eye counts, where the lids are farthest apart
    wide = width > 0.6 * width.max()
    return float(np.median(((gap - left) * gap)[wide].sum(1) / width[wide] ** 2))


def lid_factors(source_closure, target_closure) -> float:
    """What a lid's motion on the target is multiplied by, so that lids meet there as they do on the source.

    1 where either is unknown or the lids do not close; within [0.5, 1.25].
    """
    if not (np.isfinite(source_closure) and np.isfinite(target_closure)):
        return 1.0
    if source_closure < 0.2 or target_closure < 0.2:
        return 1.0
    return float(np.clip(source_closure / target_closure, *_LIMITS))


def lip_gap(model: MorphableModel, name: str) -> tuple[float, float]:
    """Mean distance between the lips' landmarks at rest and with an expression, mm; NaN without landmarks or shape."""
    for scheme in ("mediapipe478", "ibug68"):
        if scheme in model.landmarks and name in model.expression_names:
            pairs = np.array(LIP_PAIRS[scheme])
            marks = model.landmarks[scheme]
            heads = (model.mean, model.instance(expression=model.expression_vector({name: 1.0})))
            points = [marks.locate(head, model.faces) for head in heads]
            gaps = [np.linalg.norm(p[pairs[:, 0]] - p[pairs[:, 1]], axis=1) for p in points]
            there = np.isfinite(gaps[0])
            if there.any():
                return float(gaps[0][there].mean()), float(gaps[1][there].mean())
    return float("nan"), float("nan")
