"""Which of the pixels inside a photo's open mouth are its upper teeth.

They stay where they are when the jaw moves; the lower teeth, the tongue and the dark between them do not.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["staying", "upper_teeth"]

#: Below its teeth a column of the mouth is darker than this share of them.
_DARKER = 0.6


def upper_teeth(luminance, inside, down) -> np.ndarray:
    """The part of `inside` above the lower edge of the upper teeth; all of it where no edge shows.

    Each column is followed from its brightest place in its upper half, where teeth are if any show, down to where it
    has become darker.  Columns lie along `down`; their edges are smoothed by a median over neighbours.

    Parameters
    ----------
    luminance : (H, W) float array
        Linear light.
    inside : (H, W) bool
        The open mouth without its rim.
    down : (2,) float array
        Unit vector towards the chin, px.

    Returns
    -------
    (H, W) bool
    """
    if not inside.any():
        return inside.copy()
    height, width = inside.shape
    angle = float(np.degrees(np.arctan2(-down[0], down[1])))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    light = cv2.warpAffine(luminance.astype(np.float32), turn, (width, height), flags=cv2.INTER_LINEAR)
    upright = cv2.warpAffine(inside.astype(np.uint8), turn, (width, height), flags=cv2.INTER_NEAREST) > 0
    columns = np.flatnonzero(upright.any(0))
    last = np.full(len(columns), float(height))
    for k, x in enumerate(columns):
        rows = np.flatnonzero(upright[:, x])
        line = light[rows, x]
        first = int(np.argmax(line[: max(len(rows) // 2, 1)]))
        dark = np.flatnonzero(line[first:] < _DARKER * line[first])
        if len(dark):
            last[k] = rows[first + dark[0]]
    reach = max(len(columns) // 24, 1)
    padded = np.pad(last, reach, mode="edge")
    last = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)
    kept = np.zeros((height, width), np.uint8)
    kept[:, columns] = np.arange(height)[:, None] < last
    back = cv2.warpAffine(kept, turn, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return inside & (back > 0)


def staying(seen, upper, after, down) -> np.ndarray:
    """What of the inside of a photo's mouth is still where it was when the mouth is open as in `after`.

    The upper teeth, and of the rest what the lower lip leaves in its place: that goes from below, by twice what the lip
    sinks.  A lip that does not sink changes nothing, and one that sinks little changes little, so films do not jump.

    Parameters
    ----------
    seen, upper, after : (H, W) bool
        The photo's open mouth, its upper teeth (`upper_teeth`), and the mouth to be drawn.
    down : (2,) float array
        Unit vector towards the chin, px.

    Returns
    -------
    (H, W) bool
    """
    sunk = max(_lowest(after, down) - _lowest(seen, down), 0.0)
    shift = np.array([[1, 0, -2 * sunk * down[0]], [0, 1, -2 * sunk * down[1]]])
    raised = cv2.warpAffine(seen.astype(np.uint8), shift, seen.shape[::-1], flags=cv2.INTER_NEAREST) > 0
    return seen & (upper | raised)


def _lowest(mask, down) -> float:
    rows, columns = np.nonzero(mask)
    return float(np.percentile(columns * down[0] + rows * down[1], 98)) if len(rows) else 0.0
