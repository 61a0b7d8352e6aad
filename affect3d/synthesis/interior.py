"""The inside of an opened mouth: teeth, gums, tongue and cavity, coloured and lit like the photo."""

from __future__ import annotations

import cv2
import numpy as np

from affect3d.render.shading import harmonics

__all__ = ["render_interior", "white_reference"]


def white_reference(linear, sclera, skin) -> np.ndarray:
    """What a white thing in the place of the face would look like in this photo.

    Parameters
    ----------
    linear : (H, W, 3) float array
        Linear light.
    sclera, skin : (H, W) bool
        Pixels of the visible eyeballs, and of the skin.

    Returns
    -------
    (3,) float64, linear light: the bright, colourless part of the eyes, held between limits that
    the skin sets, because eyes lie in shadow or can be closed.
    """
    skin_colour = np.median(linear[skin], axis=0) if skin.any() else np.full(3, 0.35)
    bright = np.percentile(linear[skin] @ [0.2126, 0.7152, 0.0722], 90) if skin.any() else 0.5
    # Skin reflects less blue than red; a white surface keeps the colour of the light, of which the
    # skin shows a reddened version.  Half-way to grey is a good guess between lamps and daylight.
    colour = skin_colour / max(skin_colour.mean(), 1e-6)
    guess = bright * 1.15 * (0.25 * colour + 0.75)
    if sclera.sum() >= 30:
        eye = linear[sclera]
        luminance = eye @ [0.2126, 0.7152, 0.0722]
        white = eye[luminance >= np.percentile(luminance, 75)].mean(0)
        scale = np.clip(white.mean() * 1.25, 0.75 * bright, 1.9 * bright) / max(white.mean(), 1e-6)
        guess = 0.5 * guess + 0.5 * white * scale
    return np.clip(guess, 0.02, 0.95)


def render_interior(inside, albedo, normals, depth, lip_depth, lighting, white, unit) -> np.ndarray:
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
    """
    shade = harmonics(normals) @ lighting
    frontal = float(harmonics(np.array([0.0, 0.0, -1.0])) @ lighting)
    shade = np.clip(shade / max(frontal, 1e-6), 0.35, 1.3)
    # Light enters through the opening only: it falls off with depth behind the lips, and under the
    # edges of the lips, which cast a soft shadow.
    behind = np.clip(depth - lip_depth, 0, 80)
    falloff = np.exp(-np.maximum(behind - 12, 0) / 16.0)
    edge = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    contact = 0.5 + 0.5 * np.clip(edge / (0.05 * unit), 0, 1) ** 0.7
    light = (shade * falloff * contact)[..., None]
    return (albedo * white * light).astype(np.float32)
