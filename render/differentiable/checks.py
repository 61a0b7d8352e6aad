"""Checks of what callers pass to the renderer."""

from __future__ import annotations

import torch

from affect3d.render.differentiable.topology import Topology

__all__ = ["checked_points", "checked_size", "topology_of"]


def checked_points(points) -> torch.Tensor:
    """`points` if it is a finite (B, V, 3) tensor of float32 or float64."""
    if not isinstance(points, torch.Tensor) or points.ndim != 3 or points.shape[2] != 3:
        found = tuple(points.shape) if isinstance(points, torch.Tensor) else type(points).__name__
        raise ValueError(f"points: expected a tensor of shape (B, V, 3), got {found}")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"points: expected float32 or float64, got {points.dtype}")
    if not bool(torch.isfinite(points.detach()).all()):
        raise ValueError("points: expected finite numbers")
    return points


def checked_size(width: int, height: int) -> None:
    """Raise ValueError unless both are at least one pixel."""
    if width < 1 or height < 1:
        raise ValueError(f"width, height: expected positive numbers of pixels, got {width}, {height}")


def topology_of(faces, points) -> Topology:
    """A `Topology` on the device of `points`, made from `faces` if they are none yet."""
    if not isinstance(faces, Topology):
        return Topology.of(faces, points.shape[1], points.device)
    if faces.count != points.shape[1]:
        raise ValueError(f"points: the topology has {faces.count} vertices, got {points.shape[1]}")
    if faces.faces.device != points.device:
        raise ValueError(f"faces: the topology is on {faces.faces.device}, the points on {points.device}")
    return faces
