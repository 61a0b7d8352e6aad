"""What a point of the valence-arousal plane alone says about mouth corners, lids and jaw.

Words of like valence and arousal still differ in their faces, but three
movements follow the two dimensions themselves: mouth corners rise with
valence, and eyes and mouth open with arousal.  Here they are smooth functions
of the plane; what tells one emotion from another (brows, nose, stretched or
pressed lips) comes from the action-unit tables, see `performances`.

The shapes of the curves are choices of this package, made so that a point 0.8
from the origin is a clear yet natural expression.  They are not measured.
"""

from __future__ import annotations

import numpy as np

from affect3d.affect.tables import ARKIT_SHAPES

__all__ = ["CORE_SHAPES", "core_weights"]

#: Shapes that `core_weights` sets, without their side; action units do not add to the first seven.
CORE_SHAPES = (
    "mouthSmile", "mouthFrown", "eyeWide", "eyeBlink", "eyeSquint", "cheekSquint", "jawOpen",
    "mouthUpperUp", "mouthLowerDown",
)  # fmt: skip


def core_weights(valence, arousal) -> np.ndarray:
    """Weights of the ARKit shapes that follow valence and arousal themselves.

    Everywhere on the plane ``mouthSmile - mouthFrown`` does not fall with
    valence, and ``eyeWide - eyeBlink - eyeSquint``, ``jawOpen`` and
    ``mouthUpperUp + mouthLowerDown`` do not fall with arousal.

    Parameters
    ----------
    valence, arousal : float arrays of one shape (...), in [-1, 1]

    Returns
    -------
    (..., 52) float64 in [0, 1], in the order of `ARKIT_SHAPES`
        The same on both sides of the face; almost zero at the origin.
    """
    v, a = np.asarray(valence, float), np.asarray(arousal, float)
    pleased, displeased = _ramp(v, 0.1), _ramp(-v, 0.1)
    awake, drowsy = _ramp(a, 0.1), _ramp(-a, 0.1)
    # The jaw starts a little below zero arousal and drops ever faster: calm faces keep the mouth closed.
    dropped = _ramp((a + 0.15) / 1.15, 2.0)
    sided = {
        "mouthSmile": pleased * (0.86 + 0.08 * a),
        "mouthFrown": displeased * (0.68 - 0.14 * a),
        "eyeWide": 0.68 * awake * (1 - 0.35 * pleased),
        "eyeBlink": 0.55 * drowsy,
        # A true smile narrows the eyes from below, less so the more aroused it is.
        "eyeSquint": pleased * (0.15 - 0.07 * a) + 0.08 * displeased,
        "cheekSquint": pleased * (0.46 - 0.06 * a),
        "mouthUpperUp": pleased * (0.28 + 0.10 * a) + 0.06 * dropped,
        "mouthLowerDown": pleased * (0.10 + 0.06 * a) + 0.20 * dropped,
    }
    single = {"jawOpen": 0.54 * dropped + 0.06 * pleased * (1 + a)}
    weights = np.zeros(v.shape + (len(ARKIT_SHAPES),))
    index = {name: i for i, name in enumerate(ARKIT_SHAPES)}
    for name, value in sided.items():
        weights[..., index[name + "Left"]] = weights[..., index[name + "Right"]] = value
    for name, value in single.items():
        weights[..., index[name]] = value
    return np.clip(weights, 0, 1)


def _ramp(x: np.ndarray, knee: float) -> np.ndarray:
    """0 below zero, 1 at one, with a continuous slope; the smaller `knee`, the straighter."""
    x = np.maximum(x, 0)
    return x * x * (1 + knee) / (x + knee)
