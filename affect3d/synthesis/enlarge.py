"""From the working resolution to that of a large photo.

Displacements, light changes and the mouth's inside are smooth or small, so on a face of many hundred
pixels they are found at a lower resolution and enlarged; colour is still taken from the photo itself,
at its own resolution, in bands of rows, so that memory stays bounded.
"""

from __future__ import annotations

import cv2
import numpy as np

from affect3d.synthesis.warp import relit

__all__ = ["BAND", "WORKING_UNIT", "enlarge", "enlarge_fill"]

#: Distance between the outer eye corners, px, above which a face is worked on at a lower resolution.
WORKING_UNIT = 440.0
#: Rows worked on at once.
BAND = 512


def enlarge_fill(full, small, filled) -> np.ndarray:
    """`full` (H, W, 3) uint8 with the places enlarged where `filled` (h, w, 3) differs from `small`."""
    changed = (filled != small).any(-1).astype(np.uint8)
    size = (full.shape[1], full.shape[0])
    where = cv2.resize(changed, size, interpolation=cv2.INTER_NEAREST) > 0
    out = full.copy()
    out[where] = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR)[where]
    return out


def enlarge(full, skin, field, correction, drawn, alpha):
    """The result at the photo's resolution.

    Parameters
    ----------
    full : (H, W, 3) uint8
        The photo.
    skin : (H, W, 3) uint8
        The photo as skin samples it (see `enlarge_fill`).
    field : (h, w, 3) float32
        Displacement (pixels of the working resolution) and logarithm of the light's change.
    correction : (h, w, 3) float32
        What blending added, grey levels.
    drawn, alpha : (h, w, 3) and (h, w) float32
        The mouth's inside and its coverage.

    Returns
    -------
    (image (H, W, 3) uint8, mask (H, W) bool)
    """
    height, width = full.shape[:2]
    zoom = field.shape[1] / width
    image, mask = full.copy(), np.zeros((height, width), bool)
    x = _positions(width, field.shape[1])
    y = _positions(height, field.shape[0])
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height))
        at = np.meshgrid(x, y[rows])

        def up(layer):
            return cv2.remap(layer, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

        moved = up(field)
        moved[..., :2] /= zoom
        cover = up(alpha)[..., None]
        changed = (np.abs(moved[..., :2]).max(-1) > 0.03) | (np.abs(moved[..., 2]) > 0.004) | (cover[..., 0] > 0)
        if not changed.any():
            continue
        warped = relit(skin, moved, (rows, slice(0, width)))
        warped = warped * (1 - cover) + up(drawn) * cover + up(correction)
        mask[rows] = changed
        image[rows][changed] = np.clip(np.rint(warped[changed]), 0, 255).astype(np.uint8)
    return image, mask


def _positions(count: int, small: int) -> np.ndarray:
    """Pixel centres of the large picture on the small one."""
    return ((np.arange(count) + 0.5) * small / count - 0.5).astype(np.float32)
