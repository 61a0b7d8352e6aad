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
from affect3d.render.shading import harmonics

__all__ = [
    "Field", "above", "carry_over_edge", "extend", "hold_still", "log_gain", "relit", "sample", "skin_field",
    "smoothstep", "soften", "without_inside",
]


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
    x, y = x.astype(np.float32), y.astype(np.float32)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def smoothstep(x, low: float, high: float):
    """0 below `low`, 1 above `high`, C1 between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def relit(image, field, box=None):
    """`image` moved and its light changed as `field` says; `box` is the field's place in the image."""
    displacement = field[..., :2]
    if box is not None:
        top, left = box[0].start, box[1].start
        displacement = displacement + np.array([left, top], np.float32)
    warped = sample(image, displacement).astype(np.float32)
    # a change of light acts on linear light; on encoded values it is close to a power of 1 / 2.2
    return np.clip(warped * np.exp(field[..., 2:] / 2.2), 0, 255)


def hold_still(field, region, kept):
    """In `region` nothing moves where `kept`, and what lies between follows smoothly."""
    if not region.any():
        return field
    out = field.copy()
    out[kept] = 0
    return extend(out, ~region | kept, np.ones_like(region))


def soften(field, region):
    """The field with its steep flanks at the border of `region` smoothed over a pixel or so.

    The border follows whole pixels; without this the stairs show along lids and lips.
    """
    if not region.any():
        return field
    edge = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    weight = cv2.GaussianBlur(cv2.dilate(edge, np.ones((3, 3), np.uint8)).astype(np.float32), (0, 0), 0.8)
    return field + weight[..., None] * (cv2.GaussianBlur(field, (0, 0), 1.0) - field)


def carry_over_edge(colours, region):
    """`colours` (H, W, 3) of `region` carried a little over its edge, for the blurred edge to mix with."""
    weight = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1.5)[..., None]
    carried = cv2.GaussianBlur(np.where(region[..., None], colours, 0).astype(np.float32), (0, 0), 1.5)
    return np.where(region[..., None], colours, carried / np.maximum(weight, 1e-3)).astype(np.float32)


def above(kept, down):
    """(H, W) bool: pixels nearer to the forehead than every kept one of the same column of the face."""
    y, x = np.mgrid[: kept.shape[0], : kept.shape[1]]
    along = x * down[0] + y * down[1]
    column = np.rint(x * down[1] - y * down[0]).astype(int)
    column -= column.min()
    top = np.full(column.max() + 1, np.inf)
    np.minimum.at(top, column[kept], along[kept])
    return (along < top[column]) & np.isfinite(top[column])


def without_inside(crop, inside, unit):
    """The picture with the mouth's inside filled from the lips, darker with depth.

    Between closing lips the displacement jumps; what a pixel there picks up must not be the teeth.
    """
    if not inside.any():
        return crop
    grown = max(1, round(0.012 * unit))
    inside = cv2.dilate(inside.astype(np.uint8), np.ones((2 * grown + 1, 2 * grown + 1), np.uint8)) > 0
    filled = poisson_blend(np.zeros(crop.shape, np.float32), crop, inside).image
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)[..., None]
    shaded = filled * (1 - 0.32 * smoothstep(depth, 0.0, 0.04 * unit))
    return np.where(inside[..., None], np.clip(np.rint(shaded), 0, 255).astype(np.uint8), crop)


def log_gain(before, after, lighting) -> np.ndarray:
    """(V,) logarithm of how much brighter skin becomes whose normals (V, 3) turn from `before` to `after`.

    `lighting` are the nine coefficients of `estimate_lighting`; gains are held within [0.75, 1.2].
    """
    floor = 0.25 * max(float(harmonics(np.array([0.0, 0.0, -1.0])) @ lighting), 1e-6)
    ratio = np.maximum(harmonics(after) @ lighting, floor) / np.maximum(harmonics(before) @ lighting, floor)
    return np.log(np.clip(ratio, 0.75, 1.2))
