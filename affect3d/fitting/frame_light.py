"""The light of one frame, from the skin of a fitted head."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.model import MorphableModel
from affect3d.render.shading import estimate_lighting, srgb_to_linear

__all__ = ["frame_lighting"]

#: Cosine between normal and view below which skin is left out: there it is hidden, or seen with what lies behind it.
_FACING = 0.35
_LEAST = 60


def frame_lighting(pixels, model: MorphableModel, vertices, camera) -> np.ndarray:
    """Irradiance times albedo of the skin as a function of the normal.

    Robust least squares over the vertices of the face that look towards the camera; brows, beard and highlights
    count little.  Which part is light and which albedo one picture cannot tell.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        sRGB.
    model : MorphableModel
    vertices : (V, 3) float array
        The fitted head, mm, model frame.
    camera : Camera
        Of a picture of that size.

    Returns
    -------
    (9, 3) float64
        Coefficients for the basis of `render.shading.harmonics` at normals in the camera's frame (so that a head
        that turns under a fixed lamp keeps them), for linear red, green and blue.  Zeros if too little of the face
        lies in the picture.

    Raises
    ------
    ValueError
        If the camera is for a picture of another size.
    """
    pixels = np.asarray(pixels)
    if tuple(camera.size) != pixels.shape[1::-1]:
        raise ValueError(f"camera: expected one for {pixels.shape[1::-1]} (width, height), got {camera.size}")
    normals = vertex_normals(vertices, model.faces) @ camera.rotation.T
    flat = camera.project(vertices)
    skin = model.part_vertices("face", "skin")
    skin &= -normals[:, 2] > _FACING
    skin &= np.isfinite(flat).all(1)
    at = np.rint(np.where(np.isfinite(flat), flat, -1)).astype(int)
    skin &= (at >= 0).all(1) & (at < camera.size).all(1)
    if skin.sum() < _LEAST:
        return np.zeros((9, 3))
    colour = srgb_to_linear(pixels[at[skin, 1], at[skin, 0]])
    return np.stack([estimate_lighting(normals[skin], colour[:, k]) for k in range(3)], axis=1)
