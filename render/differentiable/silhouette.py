"""Antialiased outlines, through which silhouettes get a gradient.

An outline edge has triangles on one of its sides only, on the screen.  Pixels just outside of it are
covered by a band of the edge's own colour that fades to nothing over `reach` pixels, so the picture
changes steadily when the outline moves (the edge overdraw of de La Gorce, Fleet and Paragios,
"Model-Based 3D Hand Pose Estimation from Monocular Video", TPAMI 2011, which DEODR uses too).
Differences: the band ends in half discs, so that it has no gaps at corners, and at each pixel only
the nearest outline counts, so that no order of drawing matters.  The outline thereby lies half of
`reach` further out than the triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable import kernels_outlines as kernels
from affect3d.render.differentiable.checks import checked_reach, topology_of
from affect3d.render.differentiable.plan import BITS, groups_of, outlines_of
from affect3d.render.differentiable.samples import added_up, shares
from affect3d.render.differentiable.threads import in_threads

__all__ = ["EdgeSamples", "silhouette_samples"]


@dataclass(frozen=True, eq=False)
class EdgeSamples:
    """Points of outline edges, each fading into one pixel; the fields of `Samples` and one more.

    Attributes
    ----------
    face, weights, depth, place, starts, shape
        As in `Samples`: the nearest point of the edge, as a point of a triangle beside it.
    opacity : (S,) float tensor
        In (0, 1]: 1 on the edge, 0 from `reach` pixels outwards.  Differentiable.
    """

    face: torch.Tensor
    weights: torch.Tensor
    depth: torch.Tensor
    place: torch.Tensor
    starts: tuple[int, ...]
    shape: tuple[int, int, int]
    opacity: torch.Tensor

    def blend(self, pictures, values) -> torch.Tensor:
        """`pictures` (B, H, W, C) with the edges' `values` (S, C) laid over them."""
        flat = pictures.reshape(-1, pictures.shape[-1])
        below = flat.index_select(0, self.place)
        mixed = below + self.opacity[:, None] * (values - below)
        return flat.index_copy(0, self.place, mixed).reshape(pictures.shape)


def silhouette_samples(points, faces, fragments, cull=False, near=1.0, reach=1.0, backend="auto") -> EdgeSamples:
    """The outline edges that colour pixels, and how much.

    Parameters
    ----------
    points, faces, cull, near, backend
        As given to `rasterize`.
    fragments : Fragments
        Its result.
    reach : float
        Width of the band in pixels.

    Raises
    ------
    ValueError
        If `reach` is not positive or an argument does not fit the others.
    """
    checked_reach(reach)
    topology = topology_of(faces, points)
    batch, height, width = fragments.samples.shape
    if points.device.type == "cpu" and backend != "torch":
        p = np.ascontiguousarray(points.detach().numpy(), np.float64)
        place, half, starts = _pick_kernels(p, topology, fragments, cull, near, reach)
        row, column = np.divmod(place, width)
        pixel = np.stack([column, row % height], 1)
        weights, depth, opacity = _EdgePoints.apply(
            points, p, topology.for_kernels[0], half, pixel, starts, near, reach
        )
        face, place = torch.from_numpy(half // 3), torch.from_numpy(place)
        return EdgeSamples(face, weights, depth, place, starts, (batch, height, width), opacity)
    edge, owner = _pick_torch(points, topology, fragments, cull, near, reach)
    place = torch.nonzero(edge.reshape(-1) >= 0)[:, 0]
    pixels = width * height
    starts = torch.searchsorted(place, torch.arange(batch + 1, device=place.device) * pixels)
    picture = torch.div(place, pixels, rounding_mode="floor")
    chosen = edge.reshape(-1)[place]
    half = owner[picture, chosen]
    inside = place % pixels
    x = (inside % width).to(torch.float64)
    y = torch.div(inside, width, rounding_mode="floor").to(torch.float64)
    face, corner = torch.div(half, 3, rounding_mode="floor"), half % 3
    following = (corner + 1) % 3
    base = picture * topology.count
    rows = points.reshape(-1, 3)
    first = rows.index_select(0, base + topology.faces[face, corner]).double()
    second = rows.index_select(0, base + topology.faces[face, following]).double()
    share, distance, depth = _nearest_on_edge(first, second, x, y, near)
    weights = torch.nn.functional.one_hot(corner, 3) * (1 - share)[:, None]
    weights = weights + torch.nn.functional.one_hot(following, 3) * share[:, None]
    dtype = points.dtype
    opacity = (1 - distance / reach).to(dtype)
    return EdgeSamples(
        face, weights.to(dtype), depth.to(dtype), place, tuple(starts.tolist()), fragments.samples.shape, opacity
    )


class _EdgePoints(torch.autograd.Function):
    """Coordinates, depths and opacities of the points of half-edges nearest to pixels, by the kernels."""

    @staticmethod
    def forward(ctx, points, p, faces, half, pixel, starts, near, reach):
        kind = np.float32 if points.dtype == torch.float32 else np.float64
        weights, depth, opacity = np.empty((len(half), 3), kind), np.empty(len(half), kind), np.empty(len(half), kind)
        in_threads(
            lambda b, k, i, j: kernels.edge_points(
                p[b], faces, half, pixel, near, reach, weights, depth, opacity, i, j
            ),
            shares(starts),
        )
        ctx.save_for_backward(points)
        ctx.kept = p, faces, half, pixel, starts, near, reach
        return torch.from_numpy(weights), torch.from_numpy(depth), torch.from_numpy(opacity)

    @staticmethod
    @once_differentiable
    def backward(ctx, g_weights, g_depth, g_opacity):
        _ = ctx.saved_tensors
        p, faces, half, pixel, starts, near, reach = ctx.kept
        g = [t.contiguous().numpy() for t in (g_weights, g_depth, g_opacity)]
        grad = added_up(
            p.shape, starts,
            lambda b, out, i, j: kernels.edge_points_backward(p[b], faces, half, pixel, near, reach, *g, out, i, j),
        )  # fmt: skip
        return torch.from_numpy(grad.astype(g[0].dtype, copy=False)), *[None] * 7


def _nearest_on_edge(first, second, x, y, near):
    """Share of the second end (perspective-correct), distance in pixels and depth; differentiable."""
    zi, zj = first[:, 2], second[:, 2]
    # ends behind the near plane move along the edge onto it
    cut_i, cut_j = zi < near, zj < near
    span = torch.where(cut_i | cut_j, zj - zi, 1)
    from_i = torch.where(cut_i, (near - zi) / span, 0)
    from_j = torch.where(cut_j, (near - zi) / span, 1)
    a = first + from_i[:, None] * (second - first)
    b = first + from_j[:, None] * (second - first)
    u, v = a[:, 0] / a[:, 2], a[:, 1] / a[:, 2]
    du, dv = b[:, 0] / b[:, 2] - u, b[:, 1] / b[:, 2] - v
    px, py = x - u, y - v
    s = ((px * du + py * dv) / (du * du + dv * dv)).clamp(0, 1)
    rx, ry = px - s * du, py - s * dv
    square = rx * rx + ry * ry
    # the root has no slope at zero: a pixel exactly on the edge gets none
    distance = torch.where(square > 0, torch.sqrt(torch.where(square > 0, square, 1)), 0)
    toward_a, toward_b = (1 - s) / a[:, 2], s / b[:, 2]
    depth = 1 / (toward_a + toward_b)
    share = toward_b * depth
    return from_i + share * (from_j - from_i), distance, depth


def _pick_kernels(points, topology, fragments, cull, near, reach):
    """Pixels (S,), half-edges (S,) and where each picture's begin (B + 1,), as arrays."""
    side, closeness = fragments.side.numpy(), fragments.closeness.numpy()
    batch, height, width = closeness.shape
    tasks = [(b, k, *task) for b in range(batch) for k, task in enumerate(groups_of(width, height))]
    plans = [outlines_of(points[b], topology, side[b], width, height, cull, near, reach) for b in range(batch)]
    found = [[None] * (len(tasks) // batch) for _ in range(batch)]

    def pick(b, k, start, stop):
        place, half = kernels.pick_bands(points[b], plans[b], BITS, start, stop, near, reach, closeness[b])
        order = np.argsort(place)  # places differ, so every way of sorting gives the same
        found[b][k] = place[order], half[order]

    in_threads(pick, tasks)
    places = [np.concatenate([p for p, _ in own]) + b * height * width for b, own in enumerate(found)]
    halves = [h for own in found for _, h in own]
    starts = (0, *np.cumsum([len(p) for p in places]).tolist())
    return np.concatenate(places), np.concatenate(halves), starts


def _pick_torch(points, topology, fragments, cull, near, reach):
    """As the kernels, on any device: all pairs of an outline edge and a pixel near it at once."""
    device = points.device
    batch, height, width = fragments.samples.shape
    outward, owner = _outline_torch(topology, fragments.side, cull)
    rows = points.detach().double().reshape(-1, 3)
    picture, number = torch.nonzero(outward, as_tuple=True)
    ends = topology.edges[number] + (picture * topology.count)[:, None]
    first, second = rows[ends[:, 0]], rows[ends[:, 1]]
    sign = outward[picture, number].double()
    ahead = (first[:, 2] >= near) | (second[:, 2] >= near)
    picture, number, first, second, sign = (t[ahead] for t in (picture, number, first, second, sign))
    a, b = first.clone(), second.clone()
    for end, other in ((a, second), (b, first)):
        behind = end[:, 2] < near
        share = (near - end[:, 2]) / torch.where(behind, other[:, 2] - end[:, 2], 1)
        end += torch.where(behind, share, 0)[:, None] * (other - end)
    u, v, du, dv = _flat_edge(a, b)
    keep = du * du + dv * dv >= 1e-18
    picture, number, a, b, sign, u, v, du, dv = (t[keep] for t in (picture, number, a, b, sign, u, v, du, dv))
    left = torch.ceil((torch.minimum(u, u + du) - reach).clamp(0, width)).long()
    right = torch.floor((torch.maximum(u, u + du) + reach).clamp(-1, width - 1)).long()
    top = torch.ceil((torch.minimum(v, v + dv) - reach).clamp(0, height)).long()
    bottom = torch.floor((torch.maximum(v, v + dv) + reach).clamp(-1, height - 1)).long()
    wide = (right - left + 1).clamp(min=0)
    size = wide * (bottom - top + 1).clamp(min=0)
    t = torch.repeat_interleave(torch.arange(len(size), device=device), size)
    offset = torch.arange(len(t), device=device) - torch.repeat_interleave(size.cumsum(0) - size, size)
    x = left[t] + offset % wide[t]
    y = top[t] + torch.div(offset, wide[t], rounding_mode="floor")
    px, py = x - u[t], y - v[t]
    outside = (du[t] * py - dv[t] * px) * sign[t] >= 0
    s = ((px * du[t] + py * dv[t]) / (du[t] * du[t] + dv[t] * dv[t])).clamp(0, 1)
    rx, ry = px - s * du[t], py - s * dv[t]
    d = torch.sqrt(rx * rx + ry * ry)
    near_by = (1 - s) / a[t, 2] + s / b[t, 2]
    place = (picture[t] * height + y) * width + x
    good = outside & (d < reach) & (near_by > fragments.closeness.reshape(-1)[place])
    t, d, place = t[good], d[good], place[good]
    nearest = torch.full((batch * height * width,), torch.inf, dtype=torch.float64, device=device)
    nearest.scatter_reduce_(0, place, d, "amin")
    count = len(topology.edges)
    edge = torch.full((batch * height * width,), count, dtype=torch.int64, device=device)
    winner = d == nearest[place]
    edge.scatter_reduce_(0, place[winner], number[t[winner]], "amin")
    edge = torch.where(edge == count, -1, edge)
    return edge.reshape(batch, height, width), owner


def _flat_edge(a, b):
    u, v = a[:, 0] / a[:, 2], a[:, 1] / a[:, 2]
    return u, v, b[:, 0] / b[:, 2] - u, b[:, 1] / b[:, 2] - v


def _outline_torch(topology, side, cull):
    """Outward sign (B, E) and owning half-edge (B, E) of each edge."""
    half = topology.half
    face, corner = torch.div(half, 3, rounding_mode="floor"), half % 3
    counts = topology.first[1:] - topology.first[:-1]
    number = torch.repeat_interleave(torch.arange(len(counts), device=half.device), counts)
    along = torch.where(topology.faces[face, corner] == topology.edges[number, 0], 1, -1)
    s = side[:, face].long()  # (B, 3F)
    drawn = (s != 0) & ~(cull & (s > 0))
    lies = torch.where(drawn, s * along, 0)
    shape = (len(side), len(counts))
    index = number.expand(len(side), -1)
    low = torch.zeros(shape, dtype=torch.int64, device=half.device).scatter_reduce(1, index, lies, "amin")
    high = torch.zeros(shape, dtype=torch.int64, device=half.device).scatter_reduce(1, index, lies, "amax")
    outward = -(low + high)  # 0 where there are triangles on both sides, or none
    # the first drawn half-edge, those of triangles seen from outside before the others
    rank = torch.arange(len(half), device=half.device) + torch.where(s < 0, 0, len(half))
    rank = torch.where(drawn, rank, 2 * len(half))
    best = torch.full(shape, 2 * len(half), device=half.device).scatter_reduce(1, index, rank, "amin")
    best = best % max(len(half), 1)
    return outward, half[best]
