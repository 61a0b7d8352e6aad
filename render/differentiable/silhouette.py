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

from affect3d.render.differentiable import kernels
from affect3d.render.differentiable.checks import topology_of
from affect3d.render.differentiable.threads import bands, in_threads

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
    if not reach > 0:
        raise ValueError(f"reach: expected a positive number of pixels, got {reach}")
    topology = topology_of(faces, points)
    batch, height, width = fragments.samples.shape
    if points.device.type == "cpu" and backend != "torch":
        edge, owner = _pick_kernels(points, topology, fragments, cull, near, reach)
    else:
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
    p = np.ascontiguousarray(points.detach().numpy(), np.float64)
    edges, first, half = topology.edges.numpy(), topology.first.numpy(), topology.half.numpy()
    faces, side, closeness = topology.faces.numpy(), fragments.side.numpy(), fragments.closeness.numpy()
    batch, height, _ = closeness.shape
    outward = np.empty((batch, len(edges)), np.int8)
    owner = np.empty((batch, len(edges)), np.int64)
    edge = np.full(closeness.shape, -1, np.int32)
    distance = np.full(closeness.shape, float(reach))
    in_threads(
        lambda b: kernels.outline_edges(edges, first, half, faces, side[b], cull, outward[b], owner[b]),
        [(b,) for b in range(batch)],
    )
    in_threads(
        lambda b, row0, row1: kernels.pick_edges(
            p[b], edges, outward[b], near, reach, closeness[b], edge[b], distance[b], row0, row1
        ),
        [(b, *rows) for b in range(batch) for rows in bands(height, 4)],
    )
    return torch.from_numpy(edge), torch.from_numpy(owner)


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
