"""What a photometric fit needs drawn: which points of the skin are seen, and the model's own picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.render.raster import Raster, interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics

__all__ = ["Window", "draw_window", "lit_picture", "sample_weights"]

_EYES_APART = 80.0  # pixels between the outer eye corners that are enough to see what hides what
_MOST = 1200  # pixels along a side, for faces much larger than their landmarks say


@dataclass(frozen=True, eq=False)
class Window:
    """A depth buffer of the head.

    Attributes
    ----------
    raster : Raster
    low : (2,) float64
        Pixel of the photo at which the window's pixel (0, 0) lies.
    scale : float
        Pixels of the window by pixel of the photo, at most 1.
    vertices : (V, 3) float64
        mm, model frame.
    """

    raster: Raster
    low: np.ndarray
    scale: float
    vertices: np.ndarray


def draw_window(
    model, vertices, view, around, unit: float, eyes_apart: float = _EYES_APART, margin: float = 0.2
) -> Window:
    """Depth buffer around points (N, 2) of the photo.

    `unit` is the interocular distance in its pixels, `eyes_apart` that of the window where the photo has more,
    `margin` how far beyond the points the window reaches, in interocular distances.
    """
    margin = margin * unit
    low = around.min(0) - margin
    extent = np.ptp(around, axis=0) + 2 * margin
    scale = float(min(1.0, eyes_apart / unit, _MOST / extent.max()))
    screen = screen_points(view.camera((1, 1)), vertices)
    screen[:, :2] = (screen[:, :2] - low) * scale
    width, height = (np.maximum(extent * scale, 1)).astype(int) + 1
    return Window(rasterize(screen, model.faces, int(width), int(height)), low, scale, vertices)


def sample_weights(window: Window, view, centre, normal, size) -> np.ndarray:
    """(S,) in [0, 1]: how well points of the skin are seen; 0 if hidden, turned away or off the picture."""
    pixels, y = view.project(centre)
    depth = window.raster.depth
    at = np.clip(np.rint((pixels - window.low) * window.scale).astype(int), 0, np.array(depth.shape)[::-1] - 1)
    # 4 mm: the window's pixels are coarse where the skin turns away
    seen = (y[:, 2] < depth[at[:, 1], at[:, 0]] + 4.0) & (y[:, 2] > 1)
    ray = y / np.linalg.norm(y, axis=1, keepdims=True)
    toward = -(normal * (ray @ view.R)).sum(1)
    inside = ((pixels > 0) & (pixels < np.array(size) - 1)).all(1)
    return np.where(seen & inside, np.clip((toward - 0.15) / 0.35, 0, 1), 0.0)


def lit_picture(window: Window, faces, albedo, light, background: float) -> np.ndarray:
    """(h, w, 3) float32 linear: the head with albedo (V, 3) in the light (9, 3)."""
    shade = harmonics(vertex_normals(window.vertices, faces)) @ light
    # light below zero is an artefact of the few coefficients
    colours = albedo * np.maximum(shade, 0.02 * shade.max())
    picture = interpolate(window.raster, faces, colours)
    return np.where(window.raster.covered[..., None], picture, np.float32(background))
