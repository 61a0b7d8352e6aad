"""From the model frame to homogeneous pixel coordinates, differentiable in points and camera."""

from __future__ import annotations

import torch

__all__ = ["camera_tensors", "pixel_points"]


def camera_tensors(camera, dtype=torch.float32, device=None) -> tuple[torch.Tensor, ...]:
    """A `Camera` as tensors: focal (), centre (2,), rotation (3, 3) and translation (3,)."""
    T = torch.tensor(camera.T_camera_world, dtype=dtype, device=device)
    focal = torch.tensor(camera.focal, dtype=dtype, device=device)
    centre = torch.tensor(camera.centre, dtype=dtype, device=device)
    return focal, centre, T[:3, :3], T[:3, 3]


def pixel_points(vertices, focal, centre, rotation, translation) -> torch.Tensor:
    """World points -> homogeneous pixel coordinates (x z, y z, z).

    Dividing the first two numbers by the third gives pixels; the third is the depth.  In this form
    nothing happens at depth zero, so triangles that reach behind the camera need no special case.

    Parameters
    ----------
    vertices : (V, 3) or (B, V, 3) float tensor
        mm.
    focal : () or (B,) float tensor
        Pixels.
    centre : (2,) or (B, 2) float tensor
        Principal point in pixels; pixel (0, 0) is the centre of the top-left pixel.
    rotation, translation : (3, 3) or (B, 3, 3), (3,) or (B, 3) float tensors
        `T_camera_world`; x right, y down, z forward.

    Returns
    -------
    (B, V, 3) float tensor
        B is 1 where no argument has a batch.
    """
    vertices = vertices if vertices.ndim == 3 else vertices[None]
    rotation = rotation if rotation.ndim == 3 else rotation[None]
    translation = translation if translation.ndim == 2 else translation[None]
    focal = focal.reshape(-1, 1, 1)
    centre = centre.reshape(-1, 1, 2)
    p = vertices @ rotation.transpose(1, 2) + translation[:, None]
    z = p[..., 2:]
    flat = focal * p[..., :2] + centre * z
    return torch.cat([flat, z.expand(*flat.shape[:-1], 1)], dim=-1)
