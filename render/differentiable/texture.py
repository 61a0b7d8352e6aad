"""Texture lookup by the compiled kernels, for `render.mipmap` and `screen_derivatives` on the CPU.

Gradients of texels are added up by one thread, sample after sample; all else is shared among threads.
Either way the bits do not depend on their number.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable import kernels_texture as kernels
from affect3d.render.differentiable.threads import bands, in_threads

__all__ = ["Levels", "Lookup", "Pyramid"]


def _shares(count: int) -> list[tuple[int, int]]:
    return bands(count, 1 + count // (1 << 14))


def _array(tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _levels_of(table, sizes):
    """The levels (H, W, C) of a table, as views."""
    at = 0
    for height, width in sizes:
        yield table[at : at + height * width].reshape(height, width, -1)
        at += height * width


class Pyramid(torch.autograd.Function):
    """All levels of a texture (H, W, C) in one table (T, C)."""

    @staticmethod
    def forward(ctx, texture, sizes):
        table = torch.empty(sum(h * w for h, w in sizes), texture.shape[2], dtype=texture.dtype)
        levels = list(_levels_of(table.numpy(), sizes))
        levels[0][:] = texture.detach().numpy()
        for fine, coarse in zip(levels, levels[1:]):
            in_threads(lambda i, j: kernels.halve(fine, coarse, i, j), bands(len(coarse), 1 + coarse.size // (1 << 16)))
        ctx.sizes = sizes
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        levels = list(_levels_of(gradient.clone(memory_format=torch.contiguous_format).numpy(), ctx.sizes))
        for coarse, fine in zip(levels[:0:-1], levels[-2::-1]):
            in_threads(lambda i, j: kernels.fold(coarse, fine, i, j), bands(len(coarse), 1 + coarse.size // (1 << 16)))
        return torch.from_numpy(levels[0]), None


class Levels(torch.autograd.Function):
    """`render.mipmap.footprint_level`."""

    @staticmethod
    def forward(ctx, corners, slopes, size):
        c, s, out = _array(corners), _array(slopes), torch.empty(len(corners), dtype=corners.dtype)
        target = out.numpy()
        in_threads(lambda i, j: kernels.level_forward(c, s, *size, target, i, j), _shares(len(c)))
        ctx.save_for_backward(corners, slopes)  # torch then notices if they are changed before the way back
        ctx.kept = c, s, size
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        _ = ctx.saved_tensors
        c, s, size = ctx.kept
        g, g_corners, g_slopes = _array(gradient), np.empty_like(c), np.empty_like(s)
        in_threads(lambda i, j: kernels.level_backward(c, s, *size, g, g_corners, g_slopes, i, j), _shares(len(c)))
        return torch.from_numpy(g_corners), torch.from_numpy(g_slopes), None


class Lookup(torch.autograd.Function):
    """`render.mipmap.sample_mipmap`."""

    @staticmethod
    def forward(ctx, texels, uv, level, sizes):
        t, p, q = _array(texels), _array(uv), _array(level)
        sizes = np.array(sizes, np.int64)
        first = np.r_[0, np.cumsum(sizes.prod(1))[:-1]]
        out = torch.empty(len(p), t.shape[1], dtype=texels.dtype)
        target = out.numpy()
        in_threads(lambda i, j: kernels.lookup(t, sizes, first, p, q, target, i, j), _shares(len(p)))
        ctx.save_for_backward(texels, uv, level)
        ctx.kept = t, p, q, sizes, first
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        _ = ctx.saved_tensors
        t, p, q, sizes, first = ctx.kept
        g, g_texels, g_uv, g_level = _array(gradient), None, None, None
        if ctx.needs_input_grad[0]:
            g_texels = torch.zeros(t.shape, dtype=gradient.dtype)
            kernels.lookup_texels_backward(sizes, first, p, q, g, g_texels.numpy())
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            g_uv, g_level = torch.empty(p.shape, dtype=gradient.dtype), torch.empty(len(q), dtype=gradient.dtype)
            to_uv, to_level = g_uv.numpy(), g_level.numpy()
            in_threads(
                lambda i, j: kernels.lookup_coordinates_backward(t, sizes, first, p, q, g, to_uv, to_level, i, j),
                _shares(len(p)),
            )
        return g_texels, g_uv, g_level, None
