"""What a person looks like at rest, in the coefficients of a model.

A fit to a face at rest is not zero.  Landmarks of a network lie where they lie, a model's lips are thicker or its chin
is shorter than theirs, brows and lids differ from person to person, and some shapes of the expression make up for all
that.  A head posed with zeros, or with nothing but an affect, has lost this: its lips are thicker than the person's
and its chin is a tenth shorter.  Here is what of a fit belongs to the person, so that an affect can be laid over it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from affect3d.detect import to_ibug68
from affect3d.fitting.facefit import fit_face
from affect3d.landmarks import Landmarks
from affect3d.model import MorphableModel

__all__ = ["average_rest", "over_rest", "resting_expression"]

_FACE = Path(__file__).parent / "data" / "resting_face.npz"
_SIZE, _UNIT = 512, 110.0
_MOUTH = ("mouth", "jaw", "cheekPuff", "tongue")
#: Shapes that affects ask for: a face shows no more of them at rest than the average does.
_ASKED = (
    "jawOpen", "mouthClose", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthSmile", "mouthStretch",
    "mouthUpperUp",
)  # fmt: skip
_LIDS = ("eyeBlink", "eyeSquint", "eyeWide", "cheekSquint", "noseSneer")
#: A mouth whose strongest shape is below the first is at rest, above the second it says nothing of how it rests.
_RESTING, _MOVING = 0.15, 0.4
#: How much of what brows show is the person's: fits to a neutral and a smiling photograph of the same person
#: correlate by 0.9, but frowns are asked for and taken away, so not all is kept.
_BROWS = 0.6
_OPPOSITE = {
    ("browDown", "browInnerUp"), ("browDown", "browOuterUp"), ("eyeBlink", "eyeWide"), ("eyeSquint", "eyeWide"),
    ("mouthFrown", "mouthSmile"),
}  # fmt: skip
#: By how much a brow or lid at rest may differ from the average's.
_MOST = 0.3


@lru_cache(maxsize=8)
def average_rest(model: MorphableModel, scheme: str) -> np.ndarray:
    """Expression with which a model looks as resting faces look on the average.

    That is the fit to the mean landmarks of 30 neutral photographs
    (`docs/tools/measure_resting_face.py`), so it is found for any model.

    Parameters
    ----------
    model : MorphableModel
    scheme : {"mediapipe478", "ibug68"}
        By whose landmarks faces are fitted.

    Returns
    -------
    (E,) float64 in [0, 1], read-only.  Gaze is zero.
    """
    with np.load(_FACE, allow_pickle=False) as table:
        points = table["points"] * _UNIT + [_SIZE / 2, 0.45 * _SIZE]
    marks = Landmarks("mediapipe478", points.astype(float), "px")
    if scheme == "ibug68":
        marks = to_ibug68(marks)
    rest = np.array(fit_face(marks, model, (_SIZE, _SIZE)).expression)
    rest[_named(model, "eyeLook")] = 0
    rest.setflags(write=False)
    return rest


def resting_expression(model: MorphableModel, scheme: str, seen, foretold=None) -> np.ndarray:
    """Expression of the person of a fit at rest.

    One photo does not say how much of it is passing.  What it shows is taken for the person's as far as faces at rest
    differ: all of a mouth that does not move, a share of the brows, lids and nose.  The rest is the average's.

    Parameters
    ----------
    model : MorphableModel
    scheme : {"mediapipe478", "ibug68"}
    seen : (E,) float array in [0, 1]
        Of a fit (`FaceFit.expression`).
    foretold : (E,) float array, optional
        What the detector's scores say of it (`FaceFit.foretold`), which tells a moving mouth from a resting one better
        than the fit does.  Without it, what exceeds the average.

    Returns
    -------
    (E,) float64 in [0, 1].  The gaze is the fit's.

    Raises
    ------
    ValueError
        If there is not one number for each expression.
    """
    seen = np.asarray(seen, float)
    if seen.shape != (len(model.expression),):
        raise ValueError(f"seen: expected {len(model.expression)} numbers, got shape {seen.shape}")
    average = average_rest(model, scheme)
    moving = seen - average if foretold is None else np.asarray(foretold, float)
    off = seen - average
    share = np.zeros(len(seen))
    mouth = _named(model, *_MOUTH)
    if mouth.any():
        share[mouth] = np.clip((_MOVING - moving[mouth].max()) / (_MOVING - _RESTING), 0, 1)
    brows, lids, asked = _named(model, "brow"), _named(model, *_LIDS), _named(model, *_ASKED)
    share[brows], share[lids] = _BROWS, 1.0
    off[brows | lids] = np.minimum(off[brows | lids], _MOST)
    off[asked] = np.minimum(off[asked], 0)
    rest = average + share * off
    gaze = _named(model, "eyeLook")
    rest[gaze] = seen[gaze]
    return rest


def over_rest(names, rest, asked) -> np.ndarray:
    """Expressions laid over a face at rest.

    What is there already needs less, and what is asked takes away what would undo it: brows that rest high do not stay
    high in anger.

    Parameters
    ----------
    names : tuple of str
        Of the expressions (`MorphableModel.expression_names`).
    rest : (E,) float array in [0, 1]
    asked : (..., E) float array in [0, 1]

    Returns
    -------
    (..., E) float64 in [0, 1].  The gaze is that of `rest`.
    """
    asked, rest = np.asarray(asked, float), np.asarray(rest, float)
    kept = rest * (1 - (asked[..., None, :] * _undoing(tuple(names))).max(-1, initial=0))
    pose = kept + (1 - kept) * asked
    gaze = np.array([name.startswith("eyeLook") for name in names], bool)
    pose[..., gaze] = rest[gaze]
    return pose


@lru_cache(maxsize=8)
def _undoing(names) -> np.ndarray:
    """(E, E) bool: whether the shape of a column undoes that of a row, on the same side of the face."""
    out = np.zeros((len(names), len(names)), bool)
    whole = [name.removesuffix("Left").removesuffix("Right") for name in names]
    side = [name[len(part) :] for name, part in zip(names, whole, strict=True)]
    for i, one in enumerate(whole):
        for j, other in enumerate(whole):
            same = not side[i] or not side[j] or side[i] == side[j]
            out[i, j] = same and ((one, other) in _OPPOSITE or (other, one) in _OPPOSITE)
    return out


def _named(model: MorphableModel, *starts: str) -> np.ndarray:
    return np.array([name.startswith(starts) for name in model.expression_names], bool)
