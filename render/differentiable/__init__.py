"""Differentiable rendering with torch: fast on a CPU, and with plain torch operations anywhere else."""

from affect3d.render.differentiable.camera import camera_tensors, pixel_points
from affect3d.render.differentiable.raster import Fragments, rasterize
from affect3d.render.differentiable.samples import Samples, barycentrics, interpolate, screen_derivatives
from affect3d.render.differentiable.scene import draw, draw_colours
from affect3d.render.differentiable.shading import sh_irradiance, vertex_normals
from affect3d.render.differentiable.silhouette import EdgeSamples, silhouette_samples
from affect3d.render.differentiable.topology import Topology

__all__ = [
    "EdgeSamples", "Fragments", "Samples", "Topology", "barycentrics", "camera_tensors", "draw", "draw_colours",
    "interpolate", "pixel_points", "rasterize", "screen_derivatives", "sh_irradiance", "silhouette_samples",
    "vertex_normals",
]
