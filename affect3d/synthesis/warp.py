"""The picture's own pixels, moved: where in the photo each pixel of the result takes its colour.

The photo is seen through the fitted head: a pixel of the result shows a surface point of the target
mesh, and that point of the source mesh lies somewhere in the photo.  Colour comes only from where
the point was seen; elsewhere (skin that was folded away, hair and background beside the face) the
*displacement* is continued as a harmonic function, so the surroundings stretch and no old outline
stays behind.  At the border of the domain the displacement is zero, so nothing needs to be hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.render.poisson import poisson_blend

__all__ = ["Field", "extend", "sample", "skin_field", "smoothstep"]


@dataclass(frozen=True, eq=False)
class Field:
    """Displacement and light change at each pixel.

    Attributes
    ----------
    values : (H, W, 3) float32
        x and y displacement in pixels (photo position minus result position) and the natural
        logarithm of the change in light.
    domain : (H, W) bool
        Where it may differ from zero.
    """

    values: np.ndarray
    domain: np.ndarray


def extend(values, known, domain) -> np.ndarray:
    """Continue `values` (H, W, 3) harmonically from `known` over `domain`; what lies outside is kept.

    Solves Laplace's equation on domain & ~known with the given values around it.
    """
    unknown = domain & ~known
    if not unknown.any():
        return np.asarray(values, np.float32)
    return poisson_blend(np.zeros_like(values, dtype=np.float32), values, unknown, tolerance=0.01).image


def skin_field(source, known, log_gain, domain) -> Field:
    """Field of the skin, continued over the whole domain.

    Parameters
    ----------
    source : (H, W, 2) float array
        Photo position of the surface point at each pixel, px.
    known : (H, W) bool
        Where that point is skin that the photo shows.
    log_gain : (H, W) float array
    domain : (H, W) bool
    """
    height, width = known.shape
    values = np.zeros((height, width, 3), np.float32)
    values[..., 0] = source[..., 0] - np.arange(width)
    values[..., 1] = source[..., 1] - np.arange(height)[:, None]
    values[..., 2] = log_gain
    values[~known] = 0
    return Field(extend(values, known, domain), domain)


def sample(image, displacement) -> np.ndarray:
    """`image` (H, W, C) at each pixel plus its displacement (H, W, 2), bicubic, edges repeated."""
    height, width = displacement.shape[:2]
    x = displacement[..., 0] + np.arange(width, dtype=np.float32)
    y = displacement[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def smoothstep(x, low: float, high: float):
    """0 below `low`, 1 above `high`, C1 between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
