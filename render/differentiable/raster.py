"""Rasterization as a torch function: triangle, coordinates and depth at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from affect3d.render.differentiable import kernels
from affect3d.render.differentiable.checks import checked_near, checked_points, checked_size, topology_of
from affect3d.render.differentiable.compose import compose
from affect3d.render.differentiable.samples import Samples, barycentrics, barycentrics_torch
from affect3d.render.differentiable.threads import bands, in_threads
from affect3d.render.differentiable.visibility import visibility_kernels, visibility_torch

__all__ = ["Fragments", "rasterize"]

BACKENDS = ("auto", "kernels", "torch", "pytorch3d")


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is seen at each pixel of B pictures.

    Attributes
    ----------
    face : (B, H, W) int32 tensor
        Nearest triangle, -1 where there is none.
    samples : Samples
        The covered pixels as a list, row by row, with coordinates and depths that have gradients.
    side : (B, F) int8 tensor
        -1 for a triangle seen from outside, 1 from behind, 0 where it has no area.
    closeness : (B, H, W) float64 tensor
        1 / depth without gradient, 0 where there is nothing.
    """

    face: torch.Tensor
    samples: Samples
    side: torch.Tensor
    closeness: torch.Tensor

    @property
    def weights(self) -> torch.Tensor:
        """(B, H, W, 3): perspective-correct barycentric coordinates, zeros where there is no triangle."""
        return self.spread(self.samples.weights)

    @property
    def depth(self) -> torch.Tensor:
        """(B, H, W): depth along the viewing axis, infinite where there is no triangle."""
        return self.spread(self.samples.depth[:, None], torch.inf)[..., 0]

    def spread(self, values, background=0.0) -> torch.Tensor:
        """Values (S, C) of the samples as pictures (B, H, W, C).

        `background` is a number, or pictures to draw over: (C,), (H, W, C) or (B, H, W, C).
        """
        return compose(values, background, self.samples)


def rasterize(
    points, faces, width: int, height: int, cull: bool = False, near: float = 1.0, backend: str = "auto"
) -> Fragments:
    """Draw triangles with a depth buffer; coordinates and depths are differentiable in `points`.

    Parameters
    ----------
    points : (B, V, 3) float32 or float64 tensor
        Homogeneous pixel coordinates (x z, y z, z), as `pixel_points` gives; results follow its type
        and device.  The geometry inside is float64.
    faces : Topology or (F, 3) int tensor or array
        Counter-clockwise seen from outside.  Give a `Topology` to the second and later calls.
    width, height : int
        Pixels.
    cull : bool
        Leave out triangles seen from behind.
    near : float
        What lies nearer than this depth (mm) is cut off, pixel by pixel.
    backend : {"auto", "kernels", "torch", "pytorch3d"}
        "kernels" needs the CPU; "torch" runs anywhere; "auto" takes kernels on the CPU and torch elsewhere;
        "pytorch3d" lets that package decide what is seen.

    Returns
    -------
    Fragments
        On the CPU the same bits for the same input, gradients included, on any number of cores.
        Edges shared by two triangles are drawn once (top-left rule); of triangles at equal depth
        the one of lower index is seen.

    Raises
    ------
    ValueError
        If an argument has the wrong shape, type or device, or numbers that are not finite.
    """
    points = checked_points(points)
    checked_size(width, height)
    checked_near(near)
    topology = topology_of(faces, points)
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    on_cpu = points.device.type == "cpu"
    if backend == "kernels" and not on_cpu:
        raise ValueError(f"backend: 'kernels' needs tensors on the cpu, got {points.device}")
    use_kernels = on_cpu and backend != "torch"
    find = visibility_kernels if use_kernels else visibility_torch
    if backend == "pytorch3d":
        from affect3d.render.differentiable.backends import visibility_pytorch3d as find
    face, closeness, side = find(points, topology, width, height, cull, near)
    place, seen, pixel = _covered_kernels(face) if use_kernels else _covered_torch(face)
    bounds = torch.arange(len(points) + 1, device=place.device) * (width * height)
    starts = tuple(torch.searchsorted(place, bounds).tolist())
    measure = barycentrics if use_kernels else barycentrics_torch
    weights, along = measure(points, topology.faces, seen, pixel, starts)
    samples = Samples(seen, weights, along, place, starts, (len(points), height, width))
    return Fragments(face, samples, side, closeness)


def _covered_torch(face):
    """Places (S,), triangles (S,) and pixels (S, 2) that are covered, in order."""
    flat, (_, height, width) = face.reshape(-1), face.shape
    place = torch.nonzero(flat >= 0)[:, 0]
    inside = place % (width * height)
    pixel = torch.stack([inside % width, torch.div(inside, width, rounding_mode="floor")], 1)
    return place, flat[place], pixel


def _covered_kernels(face):
    batch, height, width = face.shape
    rows = face.numpy().reshape(-1, width)
    counts = np.empty(len(rows), np.int64)
    parts = bands(len(rows), 1 + rows.size // (1 << 16))
    in_threads(lambda i, j: kernels.row_counts(rows, counts, i, j), parts)
    begin = np.concatenate([[0], np.cumsum(counts)])
    count = int(begin[-1])
    place, seen, pixel = np.empty(count, np.int64), np.empty(count, np.int32), np.empty((count, 2), np.int32)
    in_threads(lambda i, j: kernels.list_covered(rows, height, begin, place, seen, pixel, i, j), parts)
    return tuple(torch.from_numpy(a) for a in (place, seen, pixel))
