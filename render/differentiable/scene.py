"""Pictures of meshes: rasterize, colour the samples, lay the outlines over, with gradients throughout."""

from __future__ import annotations

import torch

from affect3d.render.differentiable.checks import (
    checked_background, checked_near, checked_points, checked_reach, checked_size, checked_values, topology_of,
)  # fmt: skip
from affect3d.render.differentiable.colours import colours_in_one_go
from affect3d.render.differentiable.compose import compose
from affect3d.render.differentiable.raster import rasterize
from affect3d.render.differentiable.samples import interpolate
from affect3d.render.differentiable.silhouette import silhouette_samples

__all__ = ["draw", "draw_colours"]


def draw(
    points, faces, width: int, height: int, shade, background=0.0, cull: bool = False, near: float = 1.0,
    reach: float = 1.0, backend: str = "auto",
):  # fmt: skip
    """Pictures (B, H, W, C) of a mesh, antialiased at its outlines.

    Parameters
    ----------
    points, faces, width, height, cull, near, backend
        As in `rasterize`.
    shade : callable
        ``shade(samples) -> (S, C)`` colours; called once with `Samples` and once with `EdgeSamples`.
    background : float or tensor
        Broadcast to (B, H, W, C).
    reach : float
        Width in pixels of the fading band at outlines; 0 leaves it out, and silhouettes then have no gradient.

    Returns
    -------
    (B, H, W, C) float tensor
    """
    topology = topology_of(faces, points)
    fragments = rasterize(points, topology, width, height, cull, near, backend)
    values = shade(fragments.samples)
    if reach == 0:
        return compose(values, background, fragments.samples)
    edges = silhouette_samples(points, topology, fragments, cull, near, reach, backend)
    return compose(values, background, fragments.samples, edges, shade(edges))


def draw_colours(
    points, faces, colours, width: int, height: int, background=0.0, cull: bool = False, near: float = 1.0,
    reach: float = 1.0, backend: str = "auto",
):  # fmt: skip
    """`draw` with colours (V, C) or (B, V, C) at the vertices.

    On the CPU up to three channels are drawn in one go (`colours`), the same picture in less time.
    """
    topology = topology_of(faces, points)
    if points.device.type == "cpu" and backend in ("auto", "kernels") and 1 <= colours.shape[-1] <= 3:
        return _in_one_go(points, topology, colours, width, height, background, cull, near, reach)
    return draw(
        points, topology, width, height, lambda s: interpolate(colours, topology.faces, s), background, cull, near,
        reach, backend,
    )  # fmt: skip


def _in_one_go(points, topology, colours, width, height, background, cull, near, reach):
    checked_points(points)
    checked_size(width, height)
    checked_near(near)
    if reach != 0:
        checked_reach(reach)
    values = checked_values(colours, len(points), points.dtype)
    if values.shape[1] != topology.count:
        raise ValueError(f"values: expected {topology.count} vertices, got {values.shape[1]}")
    channels = values.shape[2]
    background = checked_background(background, values, len(points), width, height)
    if channels < 3:
        values, background = (torch.nn.functional.pad(t, (0, 3 - channels)) for t in (values, background))
    pictures = colours_in_one_go(points, topology, values, width, height, background, cull, near, reach)
    return pictures if channels == 3 else pictures[..., :channels].contiguous()
