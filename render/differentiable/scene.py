"""Pictures of meshes: rasterize, colour the samples, lay the outlines over, with gradients throughout."""

from __future__ import annotations

from affect3d.render.differentiable.checks import topology_of
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
    pictures = fragments.spread(shade(fragments.samples), background)
    if reach == 0:
        return pictures
    edges = silhouette_samples(points, topology, fragments, cull, near, reach, backend)
    return edges.blend(pictures, shade(edges))


def draw_colours(points, faces, colours, width: int, height: int, **options):
    """`draw` with colours (V, C) or (B, V, C) at the vertices."""
    topology = topology_of(faces, points)
    return draw(points, topology, width, height, lambda s: interpolate(colours, topology.faces, s), **options)
