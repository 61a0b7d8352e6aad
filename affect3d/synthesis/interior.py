"""The inside of an opened mouth: teeth, gums, tongue and cavity, coloured and lit like the photo."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse

from affect3d.model.morphable import MorphableModel
from affect3d.render.shading import harmonics, srgb_to_linear

__all__ = ["FLESH", "inside_colours", "render_interior", "white_reference"]

#: Parts that are lit through the opening of the mouth only; teeth stand in it.
FLESH = ("mouth", "gums", "tongue")

#: Linear colour of a tongue.
_TONGUE = (0.56, 0.20, 0.18)
_SHINE = 0.03
#: Light that flesh gets in any mouth, through lips and cheeks and around edges: no mouth is black inside.
_LEAST = np.array([0.13, 0.08, 0.075])
#: White over the upper quartile of teeth: their reflectance and shading are below one.
WHITER = 1.3


def white_reference(linear, skin, teeth) -> np.ndarray:
    """What a white thing in the place of the teeth looks like in this photo.

    Teeth that the photo shows answer it.  Otherwise it is guessed from the skin, whose brightness
    says as much of the person as of the light: on 14 smiling photographs of one studio the teeth's
    upper quartile was 0.54 of full scale within 16 %, while the bright skin ranged from 0.14 to 0.55,
    so the guess follows the skin with the power 0.4 only.  The colour of those teeth lay three tenths
    of the way from grey to the colour of the skin.

    Parameters
    ----------
    linear : (H, W, 3) float array
        Linear light.
    skin, teeth : (H, W) bool
        Pixels that show skin, and the inside of the mouth.

    Returns
    -------
    (3,) float64, linear light.
    """
    weights = [0.2126, 0.7152, 0.0722]
    if skin.any():
        bright = float(np.percentile(linear[skin] @ weights, 90))
        colour = linear[skin].mean(0)
        colour = 1 + 0.3 * (colour / max(colour.mean(), 1e-6) - 1)
    else:
        bright, colour = 0.4, np.ones(3)
    level = 0.54**0.6 * (1.35 * max(bright, 1e-3)) ** 0.4
    if teeth.sum() >= 60:
        luminance = linear[teeth] @ weights
        shown = float(np.percentile(luminance, 75))
        if shown > 0.55 * level:  # otherwise the mouth is open and dark, or the teeth lie in shadow
            seen = linear[teeth][luminance >= shown].mean(0)
            level, colour = shown, seen / max(seen.mean(), 1e-6)
    return np.clip(WHITER * level * colour, 0.01, 1.0)


def inside_colours(model: MorphableModel) -> np.ndarray:
    """Linear colours (V, 3) of a model, its tongue painted anew: paler than most models', with a groove and flecks.

    Flecks are the same for the same number of vertices, about as large as the tongue's triangles.
    """
    colours = srgb_to_linear(model.colours).astype(np.float64)
    tongue = np.flatnonzero(model.part_vertices("tongue"))
    if not len(tongue):
        return colours
    faces = model.faces[model.part_faces("tongue")]
    noise = np.zeros(len(model.mean))
    noise[tongue] = np.random.default_rng(len(tongue)).normal(size=len(tongue))
    rows = np.concatenate([faces[:, k] for k in (0, 1, 2, 1, 2, 0)])
    columns = np.concatenate([faces[:, k] for k in (1, 2, 0, 0, 1, 2)])
    link = sparse.csr_array((np.ones(len(rows)), (rows, columns)), (len(noise), len(noise)))
    noise = noise + link @ noise / np.maximum(link.sum(1), 1)
    x = model.mean[tongue, 0] - np.median(model.mean[tongue, 0])
    groove = 1 - 0.22 * np.exp(-((x / 2.5) ** 2))
    flecks = 1 + 0.07 * np.clip(noise[tongue] / max(float(noise[tongue].std()), 1e-9), -2, 2)
    colours[tongue] = np.array(_TONGUE) * (groove * flecks)[:, None]
    return colours


def render_interior(
    inside, albedo, normals, depth, lip_depth, lighting, white, unit, flesh, opening, ambient
) -> np.ndarray:
    """Linear light of the mouth's inside, (H, W, 3).

    Parameters
    ----------
    inside : (H, W) bool
        Pixels that show teeth, gums, tongue or cavity.
    albedo : (H, W, 3) float array
        Linear reflectance, 1 is white.
    normals : (H, W, 3) float array
        In the frame of `lighting`.
    depth : (H, W) float array
        mm along the viewing axis.
    lip_depth : float
        Depth of the lips' middle, mm.
    lighting : (9,) float array
        Spherical-harmonic coefficients.
    white : (3,) float array
        As `white_reference` gives.
    unit : float
        Interocular distance in pixels.
    flesh : (H, W) bool
        Pixels that are lit through the opening: all of the inside but teeth.
    opening : (H, W) float array
        There, the share of outside light that comes in, as `opening_light.opening_light` gives it.
    ambient : (3,) float array
        And what the walls throw at each other.
    """
    shade = harmonics(normals) @ lighting
    frontal = float(harmonics(np.array([0.0, 0.0, -1.0])) @ lighting)
    shade = np.clip(shade / max(frontal, 1e-6), 0.7, 1.15)
    # Teeth stand close behind the lips: light falls off with depth, the slower the wider the lips are open, and under
    # their edges, which cast a soft shadow.
    edge = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    wide = max(float(edge.max()) / unit / 0.06, 1.0) if edge.size else 1.0  # a smile's opening is 0.06 from its edges
    behind = np.clip(depth - lip_depth, 0, 80)
    deep = np.maximum(behind - 10, 0)
    falloff = np.exp(-deep / (13.0 * wide**0.8))
    contact = 0.38 + 0.62 * np.clip(edge / (0.035 * unit), 0, 1) ** 0.6
    light = (shade * falloff * contact)[..., None]
    # what arrives deep inside has met red flesh on its way
    warm = np.exp(-deep[..., None] * np.array([0.0, 0.012, 0.016]))
    # teeth in shadow are lit by the flesh around them: without its red they would look grey
    teeth = albedo * white * (warm * light + np.maximum(1 - light, 0) * (ambient + _LEAST))
    # what is wet mirrors the opening where it faces it
    shine = _SHINE * opening * np.clip(-normals[..., 2], 0, 1) ** 12
    lit = albedo * (opening[..., None] + ambient + _LEAST) + shine[..., None]
    return np.where(flesh[..., None], white * lit * contact[..., None], teeth).astype(np.float32)
