"""Colours of samples and outlines as pictures, in one step with one copy of the picture."""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable import kernels
from affect3d.render.differentiable.checks import checked_background
from affect3d.render.differentiable.threads import bands, in_threads

__all__ = ["background_rows", "compose"]


def compose(values, background, samples, edges=None, edge_values=None) -> torch.Tensor:
    """Pictures (B, H, W, C): a background, the samples' values over it, and over both what fades at outlines.

    Parameters
    ----------
    values : (S, C) float tensor
    background : float or tensor
        Broadcast to (B, H, W, C).
    samples : Samples
    edges, edge_values : EdgeSamples and (N, C) float tensor, optional
    """
    batch, height, width = samples.shape
    background = checked_background(background, values, batch, width, height)
    if edges is None:
        return _Compose.apply(values, background, samples.place, None, None, None)
    return _Compose.apply(values, background, samples.place, edge_values, edges.opacity, edges.place)


class _Compose(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, background, place, edge_values, opacity, edge_place):
        pictures = _filled(background.detach())
        flat = pictures.view(-1, values.shape[1])
        _put(values.detach(), place, flat)
        if edge_place is None:
            ctx.save_for_backward(place)
            return pictures
        under = flat.index_select(0, edge_place)
        over = edge_values - under
        flat[edge_place] = torch.addcmul(under, opacity[:, None], over)
        ctx.save_for_backward(place, edge_place, opacity, over)
        return pictures

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        place, *edges = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        g_values = _take(flat, place)
        g_background = None
        if ctx.needs_input_grad[1]:
            g_background = flat.index_fill(0, place, 0)
        g_edge, g_opacity = None, None
        if edges:
            edge_place, opacity, over = edges
            g = flat.index_select(0, edge_place)
            g_edge, g_opacity = opacity[:, None] * g, (g * over).sum(1)
            # what the outlines take is missing below them: at a sample, or at the background
            at = torch.searchsorted(place, edge_place).clamp(max=max(len(place) - 1, 0))
            hit = place[at] == edge_place if len(place) else torch.zeros_like(edge_place, dtype=torch.bool)
            g_values[at[hit]] -= g_edge[hit]
            if g_background is not None:
                g_background[edge_place[~hit]] -= g_edge[~hit]
        if g_background is not None:
            g_background = g_background.reshape(gradient.shape)
        return g_values, g_background, None, g_edge, g_opacity, None


def _filled(background):
    """A copy without steps of zero."""
    if background.device.type != "cpu":
        return background.clone(memory_format=torch.contiguous_format)
    batch, height, width, channels = background.shape
    pictures, rows = torch.empty(background.shape, dtype=background.dtype), background_rows(background)
    out = pictures.numpy().reshape(batch, height, width * channels)

    def fill(b, i, j):
        own = rows[b % len(rows)]
        out[b, i:j] = own if len(own) == 1 else own[i:j]

    in_threads(fill, [(b, *part) for b in range(batch) for part in bands(height, 1 + height * width // (1 << 17))])
    return pictures


def _put(values, place, flat) -> None:
    """Write rows to their places."""
    if flat.device.type != "cpu":
        flat.index_copy_(0, place, values)
        return
    rows, where, out = values.contiguous().numpy(), place.numpy(), flat.numpy()
    in_threads(lambda i, j: kernels.put_rows(rows, where, out, i, j), bands(len(where), 4))


def _take(flat, place):
    """The rows at the places."""
    if flat.device.type != "cpu":
        return flat.index_select(0, place)
    out = flat.new_empty(len(place), flat.shape[1])
    rows, where, to = flat.contiguous().numpy(), place.numpy(), out.numpy()
    in_threads(lambda i, j: kernels.take_rows(rows, where, to, i, j), bands(len(where), 4))
    return out


def background_rows(background) -> np.ndarray:
    """An expanded background (B, H, W, C) as an array (1 or B, 1 or H, W C) without repetitions."""
    steps = background.stride()
    batch, height, width, channels = background.shape
    if steps[1] == 0 and steps[2] == 0:
        small = background[: 1 if steps[0] == 0 else batch, :1]
        return np.ascontiguousarray(small.numpy()).reshape(-1, 1, width * channels)
    small = background[: 1 if steps[0] == 0 else batch]
    return np.ascontiguousarray(small.numpy()).reshape(-1, height, width * channels)
