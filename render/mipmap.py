"""Mip-mapped texture lookup as a torch function: no shimmering when a texture is seen small.

Each level of the pyramid averages 2 x 2 texels of the one before; a lookup blends the two levels whose
texels come nearest to a pixel's footprint, each bilinearly (Williams, "Pyramidal Parametrics", SIGGRAPH
1983).  Differentiable in the texture, the coordinates and the level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from affect3d.render.differentiable.checks import all_finite
from affect3d.render.differentiable.texture import Levels, Lookup, Pyramid

__all__ = ["Mipmap", "footprint_level", "mipmap", "sample_mipmap"]


@dataclass(frozen=True, eq=False)
class Mipmap:
    """A texture and its smaller copies in one table.

    Attributes
    ----------
    texels : (T, C) float tensor
        All levels, row by row, the finest first.
    sizes : tuple of (height, width)
        Of each level.
    """

    texels: torch.Tensor
    sizes: tuple[tuple[int, int], ...]


def mipmap(texture, levels: int | None = None) -> Mipmap:
    """Pyramid of a texture (H, W, C), row 0 at the top; differentiable.

    Levels halve until a side is odd or one texel wide, or there are `levels` of them.

    Raises
    ------
    ValueError
        If the texture has another shape or no texels.
    """
    if texture.ndim != 3 or min(texture.shape) < 1:
        raise ValueError(f"texture: expected shape (H, W, C) without zeros, got {tuple(texture.shape)}")
    if texture.device.type == "cpu" and texture.dtype in (torch.float32, torch.float64):
        sizes = _sizes(*texture.shape[:2], levels)
        return Mipmap(Pyramid.apply(texture, sizes), sizes)
    return _mipmap_torch(texture, levels)


def _sizes(height: int, width: int, levels: int | None) -> tuple[tuple[int, int], ...]:
    sizes = [(height, width)]
    while not (height % 2 or width % 2 or len(sizes) == levels):
        height, width = height // 2, width // 2
        sizes.append((height, width))
    return tuple(sizes)


def _mipmap_torch(texture, levels):
    """`mipmap` with torch operations only: for other devices, and to compare with."""
    tables, sizes = [], []
    while True:
        height, width, channels = texture.shape
        tables.append(texture.reshape(-1, channels))
        sizes.append((height, width))
        if height % 2 or width % 2 or len(sizes) == levels:
            break
        texture = texture.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))
    return Mipmap(torch.cat(tables), tuple(sizes))


def footprint_level(uv_corners, derivatives, size) -> torch.Tensor:
    """Level (S,) at which one texel is about as large as a pixel's footprint; differentiable.

    Parameters
    ----------
    uv_corners : (S, 3, 2) float tensor
        Texture coordinates of each sample's triangle.
    derivatives : (S, 3, 2) float tensor
        `differentiable.screen_derivatives`.
    size : (height, width)
        Of the finest level.

    Notes
    -----
    The longer of the two steps across the texture, as in OpenGL; 0 where a pixel is smaller than a texel.
    """
    if uv_corners.device.type == "cpu" and uv_corners.dtype == derivatives.dtype:
        return Levels.apply(uv_corners, derivatives, (int(size[0]), int(size[1])))
    return _level_torch(uv_corners, derivatives, size)


def _level_torch(uv_corners, derivatives, size):
    """`footprint_level` with torch operations only."""
    scale = uv_corners.new_tensor([size[1], size[0]])
    step = torch.einsum("skd,skx->sdx", uv_corners * scale, derivatives)  # texels by pixel
    square = (step * step).sum(1).amax(1)
    return 0.5 * torch.log2(square.clamp(min=1))


def sample_mipmap(pyramid: Mipmap, uv, level=None) -> torch.Tensor:
    """Colours (S, C) at texture coordinates.

    Parameters
    ----------
    pyramid : Mipmap
    uv : (S, 2) float tensor
        (0, 0) at the bottom left corner of the texture, (1, 1) at the top right one; the border's
        texels go on outside.
    level : (S,) float tensor, optional
        0 is the finest; cut to what there is.  Without it the finest level is read.

    Raises
    ------
    ValueError
        If `uv` or `level` has another shape, or numbers that are not finite.
    """
    if uv.ndim != 2 or uv.shape[1] != 2:
        raise ValueError(f"uv: expected shape (S, 2), got {tuple(uv.shape)}")
    if level is not None and level.shape != uv.shape[:1]:
        raise ValueError(f"level: expected shape ({len(uv)},), got {tuple(level.shape)}")
    for name, numbers in (("uv", uv), ("level", level)):
        if numbers is not None and not all_finite(numbers):
            raise ValueError(f"{name}: expected finite numbers")
    kinds = {pyramid.texels.dtype, uv.dtype} | ({level.dtype} if level is not None else set())
    if uv.device.type == "cpu" and len(kinds) == 1:
        finest = torch.zeros(len(uv), dtype=uv.dtype) if level is None else level
        return Lookup.apply(pyramid.texels, uv, finest, pyramid.sizes[:1] if level is None else pyramid.sizes)
    return _sample_torch(pyramid, uv, level)


def _sample_torch(pyramid, uv, level):
    """`sample_mipmap` with torch operations only."""
    sizes = torch.tensor(pyramid.sizes, device=uv.device)
    first = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    if level is None:
        return _bilinear(pyramid.texels, uv, sizes[0].expand(len(uv), 2), first[0])
    level = level.clamp(0, len(pyramid.sizes) - 1)
    low = level.detach().floor().long().clamp(max=max(len(pyramid.sizes) - 2, 0))
    high = (low + 1).clamp(max=len(pyramid.sizes) - 1)
    share = (level - low)[:, None]
    fine = _bilinear(pyramid.texels, uv, sizes[low], first[low])
    coarse = _bilinear(pyramid.texels, uv, sizes[high], first[high])
    return fine + share * (coarse - fine)


def _bilinear(texels, uv, size, first):
    """Of the level that begins at row `first` of the table and has `size` (S, 2) rows and columns."""
    height, width = size[:, 0], size[:, 1]
    x = (uv[:, 0] * width - 0.5).clamp(min=0)
    y = ((1 - uv[:, 1]) * height - 0.5).clamp(min=0)
    x = torch.minimum(x, (width - 1).to(x.dtype))
    y = torch.minimum(y, (height - 1).to(y.dtype))
    left = torch.minimum(x.detach().floor().long(), (width - 2).clamp(min=0))
    top = torch.minimum(y.detach().floor().long(), (height - 2).clamp(min=0))
    right = torch.minimum(left + 1, width - 1)
    bottom = torch.minimum(top + 1, height - 1)
    a, b = (x - left)[:, None], (y - top)[:, None]

    def texel(row, column):
        return texels.index_select(0, first + row * width + column)

    upper = texel(top, left) * (1 - a) + texel(top, right) * a
    lower = texel(bottom, left) * (1 - a) + texel(bottom, right) * a
    return upper * (1 - b) + lower * b
