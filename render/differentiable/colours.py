"""Pictures of coloured vertices by the compiled kernels in one go, without lists of samples in between.

The same picture as `draw` makes with interpolated colours, for up to three channels on the CPU, in
a fraction of the time.  The gradient of a triangle's corners needs only sums over its pixels, four
vectors of three numbers (see `kernels_triangles`), so the way back costs little more than the picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable import kernels_triangles as kernels
from affect3d.render.differentiable.compose import background_rows
from affect3d.render.differentiable.kernels_outlines import blend_backward
from affect3d.render.differentiable.plan import BITS, bands_of, outlines_of, triangles_of
from affect3d.render.differentiable.threads import bands, in_threads

__all__ = ["colours_in_one_go"]


def colours_in_one_go(points, topology, colours, width, height, background, cull, near, reach) -> torch.Tensor:
    """`draw_colours` for checked arguments, on the CPU, of three channels; every tensor has a gradient.

    Parameters
    ----------
    points : (B, V, 3) float tensor
    topology : Topology
    colours : (1 or B, V, 3) float tensor
    background : (B, H, W, 3) float tensor
        May be expanded; a single colour is recognised and costs nothing.
    """
    return _Colours.apply(points, colours, background, topology, width, height, cull, near, reach)


class _Colours(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, colours, background, topology, width, height, cull, near, reach):
        batch = len(points)
        p = np.ascontiguousarray(points.detach().numpy(), np.float64)
        values = colours.detach().contiguous().numpy()
        under = background_rows(background.detach())
        pictures = torch.empty(batch, height, width, 3, dtype=points.dtype)
        out = pictures.numpy()
        face = np.empty((batch, height, width), np.int32)
        tasks = bands(bands_of(height), _groups(width, height))
        kept = []
        for b in range(batch):
            triangles, side = triangles_of(p[b], topology, width, height, cull, near)
            outlines = outlines_of(p[b], topology, side, width, height, cull, near, reach)
            kept.append((triangles, outlines, [None] * len(tasks)))

        def paint(b, k, start, stop):
            triangles, outlines, found = kept[b]
            depth_buffer = np.empty((1 << BITS, width))
            found[k] = kernels.draw(
                *triangles, BITS, start, stop, near, face[b], depth_buffer,
                under[b % len(under)], values[b % len(values)], out[b], outlines, reach,
            )  # fmt: skip

        in_threads(paint, [(b, k, *task) for b in range(batch) for k, task in enumerate(tasks)])
        kept = [(triangles, found) for triangles, _, found in kept]
        ctx.save_for_backward(points, colours)  # torch then notices if they are changed before the way back
        ctx.kept = p, values, face, kept, tasks, (near, reach, points.dtype)
        return pictures

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        _ = ctx.saved_tensors
        p, values, face, kept, tasks, (near, reach, dtype) = ctx.kept
        g = gradient.contiguous().numpy()
        g_points = np.empty(p.shape, values.dtype)
        g_colours = np.empty((len(p), *values.shape[1:]), values.dtype)
        g_background = gradient.clone() if ctx.needs_input_grad[2] else None
        together = max(1, 8 // len(tasks))  # pictures at a time, so that their tables take little room
        for first in range(0, len(p), together):
            chosen = range(first, min(first + together, len(p)))
            tables = np.zeros((len(chosen), len(tasks), p.shape[1], 6))
            taken = [[np.empty(below.shape) for _, _, below in kept[b][1]] for b in chosen]

            def gather(b, k, start, stop, first=first, tables=tables, taken=taken):
                triangles, found = kept[b]
                own, table, less = values[b % len(values)], tables[b - first, k], taken[b - first][k]
                place, half, below = found[k]
                kernels.gather(*triangles, BITS, start, stop, face[b], own, g[b], table)
                corners = triangles[:2]
                blend_backward(*corners, half, place, near, reach, own, g[b], below, less, table)
                kernels.gather_pixels(*corners, face[b], place, less, own, table)

            in_threads(gather, [(b, k, *task) for b in chosen for k, task in enumerate(tasks)])
            for b in chosen:
                kernels.add_tables(tables[b - first], g_points[b], g_colours[b], 0, p.shape[1])
                if g_background is not None:
                    rows = g_background[b].view(-1, 3)
                    for (place, _, _), less in zip(kept[b][1], taken[b - first]):
                        rows[torch.from_numpy(place)] += torch.from_numpy(less).to(dtype)
                    rows[torch.from_numpy(face[b].reshape(-1) >= 0)] = 0
        if len(values) == 1 and len(p) > 1:
            g_colours = g_colours.sum(0, keepdims=True)
        return torch.from_numpy(g_points), torch.from_numpy(g_colours), g_background, *[None] * 6


def _groups(width: int, height: int) -> int:
    """Parts that a picture is drawn in; each has a table of gradients, which small pictures are not worth."""
    return min(4, 1 + width * height // (1 << 16))
