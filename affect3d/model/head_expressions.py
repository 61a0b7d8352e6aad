"""The 52 ARKit shapes of the default head."""

from __future__ import annotations

import numpy as np

from affect3d.model.anny_targets import read_target, target_names
from affect3d.model.head_repairs import rigid_displacement

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


def head_expressions(folder, base, regions, topology, body, mean, mirror, scale: float):
    """Names and displacements (52, N, 3) in mm.

    Parameters
    ----------
    body, mean : (V, 3), (N, 3) float arrays
        The mean body and head in mm.
    mirror : (V,) int array
        The base vertex on the other side.
    scale : float
        Millimetres per unit of the targets.
    """
    have = {n.partition("/")[2] for n in target_names(folder, "faceunits")}
    missing = [n for n in ARKIT_NAMES if n not in have]
    if missing:
        raise ValueError(f"folder: no face unit target for {', '.join(missing)}")
    count = len(base.vertices)
    raw = {n: read_target(folder, f"faceunits/{n}", count).dense(count) * scale for n in ARKIT_NAMES}
    coarse = {}
    for name in ARKIT_NAMES:
        # The two sides were drawn by hand and differ a little; the mean of each and the other's mirror image is kept.
        coarse[name] = (raw[name] + raw[_other(name)][mirror] * [-1, 1, 1]) / 2
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


def _other(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name
