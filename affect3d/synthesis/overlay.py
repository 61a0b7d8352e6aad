"""The fitted head drawn over the frames it was fitted to."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.render.raster import interpolate, rasterize, screen_points

__all__ = ["draw_overlay", "overlay_frames"]

_SHOWN = ("face", "lips", "eye_left", "eye_right", "skin")
_COLOUR = np.array([120.0, 190.0, 255.0])
_GREY = np.array([235.0, 235.0, 240.0])


def draw_overlay(pixels, model, vertices, camera, strength: float = 0.55) -> np.ndarray:
    """A frame with the head over it: shaded, blue on the skin and white on the eyes.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    model : MorphableModel
    vertices : (V, 3) float array
        mm, model frame.
    camera : Camera
        Of a picture of that size.
    strength : float
        In [0, 1]; 1 hides the face.

    Returns
    -------
    (H, W, 3) uint8

    Raises
    ------
    ValueError
        If the camera is for a picture of another size, or `strength` is out of range.
    """
    pixels = np.asarray(pixels)
    if tuple(camera.size) != pixels.shape[1::-1]:
        raise ValueError(f"camera: expected one for {pixels.shape[1::-1]} (width, height), got {camera.size}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number in [0, 1], got {strength}")
    parts = model.part_faces(*_SHOWN)
    faces = np.ascontiguousarray(model.faces[parts] if parts.any() else model.faces)
    eyes = model.part_vertices("eye_left", "eye_right")
    points = screen_points(camera, vertices)
    raster = rasterize(points, faces, camera.size[0], camera.size[1], cull=True)
    facing = np.clip(-(vertex_normals(vertices, model.faces) @ camera.rotation.T)[:, 2], 0, 1)
    shade = (0.25 + 0.75 * facing)[:, None] * np.where(eyes[:, None], _GREY, _COLOUR)
    drawn = interpolate(raster, faces, shade)
    over = np.where(raster.covered[..., None], strength, 0.0)
    return np.clip(np.rint(pixels * (1 - over) + drawn * over), 0, 255).astype(np.uint8)


def overlay_frames(frames, track, model):
    """Yield the frames of a film with a track's head over them; where no face was found the bare frame."""
    for k, pixels in zip(range(len(track)), frames):
        if track.found[k]:
            yield draw_overlay(pixels, model, track.vertices(model, k), track.camera(k))
        else:
            yield np.asarray(pixels)
