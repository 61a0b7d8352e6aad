"""Plain skin with painted lips and brows, for heads that are drawn without a photo."""

from __future__ import annotations

import numpy as np

from affect3d.model.head_regions import PART_NAMES

__all__ = ["skin_colours"]

_SKIN, _LIP, _CAVITY = np.array([214.0, 168.0, 142.0]), np.array([186.0, 96.0, 92.0]), np.array([120.0, 44.0, 44.0])
_BROW, _RIM = np.array([84.0, 60.0, 46.0]), np.array([196.0, 132.0, 118.0])
# The left brow as (x, y) of its middle line and half its height, mm from the point between the eyes.
_BROW_LINE = np.array([(13.0, 17.2, 3.6), (20.0, 20.0, 3.6), (29.0, 22.2, 3.2), (38.0, 22.0, 2.6), (47.0, 18.6, 1.6)])


def skin_colours(regions, topology, mean) -> np.ndarray:
    """(N, 3) uint8 sRGB of every vertex of the head."""
    colours = topology.part_colours.astype(float)
    skin = topology.skin
    colours[:skin] = _SKIN
    for name, colour in zip(("lips", "mouth", "socket"), (_LIP, _CAVITY, _RIM)):
        where = np.unique(topology.faces[topology.parts == PART_NAMES.index(name)])
        colours[where] = colour
    # Vertices on the border of the red part belong to lips and skin alike; soften the line.
    border = topology.head_of_base[regions.mouth_loops[regions.vermilion]]
    colours[border] = (colours[border] + _SKIN) / 2
    x, y = np.abs(mean[:skin, 0]), mean[:skin, 1]
    line = np.interp(x, _BROW_LINE[:, 0], _BROW_LINE[:, 1])
    half = np.interp(x, _BROW_LINE[:, 0], _BROW_LINE[:, 2])
    inside = np.clip(1.6 - np.abs(y - line) / half, 0, 1)
    inside *= np.clip((x - 11.0) / 3, 0, 1) * np.clip((50.0 - x) / 4, 0, 1) * (mean[:skin, 2] > 0)
    colours[:skin] += inside[:, None] * (_BROW - colours[:skin]) * 0.9
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)
