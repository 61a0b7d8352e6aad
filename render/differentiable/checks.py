"""Checks of what callers pass to the renderer."""

from __future__ import annotations

import numpy as np
import torch

from affect3d.render.differentiable.topology import Topology

__all__ = ["all_finite", "checked_background", "checked_near", "checked_points", "checked_reach", "checked_size",
           "checked_values", "topology_of"]  # fmt: skip


def checked_points(points) -> torch.Tensor:
    """`points` if it is a finite (B, V, 3) tensor of float32 or float64."""
    if not isinstance(points, torch.Tensor) or points.ndim != 3 or points.shape[2] != 3:
        found = tuple(points.shape) if isinstance(points, torch.Tensor) else type(points).__name__
        raise ValueError(f"points: expected a tensor of shape (B, V, 3), got {found}")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"points: expected float32 or float64, got {points.dtype}")
    if not all_finite(points):
        raise ValueError("points: expected finite numbers")
    return points


def all_finite(tensor) -> bool:
    """Whether all numbers are finite; on the CPU by NumPy, because torch would wake its threads for so little."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu":
        return bool(np.isfinite(tensor.numpy()).all())
    return bool(torch.isfinite(tensor).all())


def checked_size(width: int, height: int) -> None:
    """Raise ValueError unless both are at least one pixel."""
    if width < 1 or height < 1:
        raise ValueError(f"width, height: expected positive numbers of pixels, got {width}, {height}")


def checked_near(near: float) -> None:
    """Raise ValueError unless the near plane lies before the camera."""
    if not near > 0:
        raise ValueError(f"near: expected a positive depth, got {near}")


def checked_reach(reach: float) -> None:
    """Raise ValueError unless the width of outlines is a positive number of pixels."""
    if not reach > 0:
        raise ValueError(f"reach: expected a positive number of pixels, got {reach}")


def checked_values(values, batch: int, dtype) -> torch.Tensor:
    """`values` as (1 or B, V, C) if they fit `batch` pictures of points of that type."""
    if values.ndim not in (2, 3):
        raise ValueError(f"values: expected shape (V, C) or (B, V, C), got {tuple(values.shape)}")
    if values.ndim == 2:
        values = values[None]
    if len(values) not in (1, batch):
        raise ValueError(f"values: expected a batch of 1 or {batch}, got {len(values)}")
    if values.dtype != dtype:
        raise ValueError(f"values: expected {dtype} as the points are, got {values.dtype}")
    return values


def checked_background(background, values, batch: int, width: int, height: int) -> torch.Tensor:
    """`background`, a number or tensor, expanded to (batch, height, width, C) with the type of `values` (..., C)."""
    shape = (batch, height, width, values.shape[-1])
    if not isinstance(background, torch.Tensor):
        background = values.new_full((), float(background))
    try:
        return background.to(values.dtype).expand(shape)
    except RuntimeError:
        found = tuple(background.shape)
        raise ValueError(f"background: expected numbers that broadcast to {shape}, got shape {found}") from None


def topology_of(faces, points) -> Topology:
    """A `Topology` on the device of `points`, made from `faces` if they are none yet."""
    if not isinstance(faces, Topology):
        return Topology.of(faces, points.shape[1], points.device)
    if faces.count != points.shape[1]:
        raise ValueError(f"points: the topology has {faces.count} vertices, got {points.shape[1]}")
    if faces.faces.device != points.device:
        raise ValueError(f"faces: the topology is on {faces.faces.device}, the points on {points.device}")
    return faces
