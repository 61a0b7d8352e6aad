"""Normals and spherical-harmonic light as torch functions."""

from __future__ import annotations

import torch

__all__ = ["sh_irradiance", "vertex_normals"]


def vertex_normals(vertices, faces) -> torch.Tensor:
    """Unit normals (B, V, 3) of vertices (B, V, 3), weighted by area; zeros where there is no area.

    The sum over the triangles of a vertex runs in a fixed order on the CPU.
    """
    corners = vertices[:, faces.reshape(-1)].reshape(len(vertices), -1, 3, 3)
    cross = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    rows = cross.repeat_interleave(3, dim=1)
    total = torch.zeros_like(vertices).index_add(1, faces.reshape(-1), rows)
    square = (total * total).sum(-1, keepdim=True)
    # the root of zero has no slope
    length = torch.sqrt(torch.where(square > 0, square, 1))
    return torch.where(square > 0, total / length, 0)


def sh_irradiance(normals, coefficients) -> torch.Tensor:
    """Light arriving at surfaces, (S, C), from nine coefficients a channel.

    Parameters
    ----------
    normals : (S, 3) float tensor
        Unit length, in the frame the coefficients belong to.
    coefficients : (9, C) float tensor
        Of the basis 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1, as `render.shading.harmonics`; the
        constants of Ramamoorthi and Hanrahan (2001) are inside the coefficients.
    """
    x, y, z = normals.unbind(-1)
    basis = torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)
    return basis @ coefficients
