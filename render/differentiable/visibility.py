"""Which triangle is nearest at each pixel: on the CPU with compiled kernels, elsewhere with torch operations.

Neither has a gradient: what is seen where is a choice, and what follows from the choice is
differentiated in `samples` and `silhouette`.
"""

from __future__ import annotations

import numpy as np
import torch

from affect3d.render.differentiable import kernels_triangles as kernels
from affect3d.render.differentiable.plan import BITS, groups_of, triangles_of
from affect3d.render.differentiable.threads import in_threads

__all__ = ["sides_of", "visibility_kernels", "visibility_torch"]

_PAIRS = 1 << 22  # (triangle, pixel) pairs looked at in one go by the torch path


def sides_of(points, faces) -> torch.Tensor:
    """(B, F) int8: -1 for a triangle seen from outside, 1 from behind, 0 where it has no area."""
    corners = points.detach().double()[:, faces]  # (B, F, 3, 3)
    det = (corners[:, :, 0] * torch.linalg.cross(corners[:, :, 1], corners[:, :, 2])).sum(-1)
    return torch.sign(det).to(torch.int8)


def visibility_kernels(points, topology, width, height, cull, near):
    """Face (B, H, W) int32, 1 / depth (B, H, W) float64 (0 where empty) and side (B, F) int8."""
    p = np.ascontiguousarray(points.detach().numpy(), np.float64)
    batch = len(p)
    face = np.empty((batch, height, width), np.int32)
    closeness = np.empty((batch, height, width))
    side = np.empty((batch, len(topology.faces)), np.int8)
    plans = [None] * batch
    for b in range(batch):
        plans[b], side[b] = triangles_of(p[b], topology, width, height, cull, near)
    in_threads(
        lambda b, start, stop: kernels.draw(
            *plans[b], BITS, start, stop, near, face[b], closeness[b], None, None, None, None, 0.0
        ),
        [(b, *task) for b in range(batch) for task in groups_of(width, height)],
    )
    return torch.from_numpy(face), torch.from_numpy(closeness), torch.from_numpy(side)


def visibility_torch(points, topology, width, height, cull, near):
    """As `visibility_kernels`, with torch operations only, on any device.

    All pairs of a triangle and a pixel of its box are tested at once; minima are taken with
    `scatter_reduce`, whose result does not depend on the order, so a GPU gives the same picture
    every time.
    """
    device = points.device
    batch, pixels = len(points), width * height
    p = points.detach().double()
    side = sides_of(points, topology.faces)
    corners = p[:, topology.faces].reshape(-1, 3, 3)
    a, b, c = corners.unbind(1)
    edges = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 1)
    det = (a * edges[:, 0]).sum(-1)
    edges = edges * torch.sign(det)[:, None, None]
    det = det.abs()
    close = (edges[:, 0] + edges[:, 1] + edges[:, 2]) * (1 / torch.where(det > 0, det, 1))[:, None]
    left, right, top, bottom = _boxes(corners, width, height, near)
    drawn = (det > 0) & (left <= right) & (top <= bottom)
    if cull:
        drawn &= side.reshape(-1) < 0
    wide, tall = right - left + 1, bottom - top + 1
    closeness = torch.zeros(batch * pixels, dtype=torch.float64, device=device)
    count = max(len(topology.faces), 1)
    face = torch.full((batch * pixels,), count, dtype=torch.int64, device=device)
    keep = torch.nonzero(drawn)[:, 0]
    for part in _chunks(keep, (wide * tall)[keep]):
        size = (wide * tall)[part]
        t = torch.repeat_interleave(part, size)
        offset = torch.arange(len(t), device=device) - torch.repeat_interleave(size.cumsum(0) - size, size)
        x = left[t] + offset % wide[t]
        y = top[t] + offset // wide[t]
        e = edges[t]
        w = e[..., 0] * x[:, None] + (e[..., 1] * y[:, None] + e[..., 2])
        tie = (e[..., 0] > 0) | ((e[..., 0] == 0) & (e[..., 1] > 0))
        inside = ((w > 0) | ((w == 0) & tie)).all(1)
        k = close[t]
        z = k[:, 0] * x + (k[:, 1] * y + k[:, 2])  # 1 / depth
        hit = torch.nonzero(inside & (z > 0) & (z <= 1 / near))[:, 0]
        t, z = t[hit], z[hit]
        place = torch.div(t, count, rounding_mode="floor") * pixels + y[hit] * width + x[hit]
        before = closeness.clone()
        closeness.scatter_reduce_(0, place, z, "amax")
        face = torch.where(closeness > before, count, face)
        winner = z == closeness[place]
        face.scatter_reduce_(0, place[winner], t[winner] % count, "amin")
    face = torch.where(face == count, -1, face).int()
    shape = (batch, height, width)
    return face.reshape(shape), closeness.reshape(shape), side


def _boxes(corners, width, height, near):
    """Pixel boxes of triangles (N, 3, 3), cut at the near plane; int64."""
    z = corners[..., 2]
    front = z >= near
    flat = corners[..., :2] / torch.where(front, z, 1)[..., None]
    following = corners.roll(-1, 1)
    crossing = front != front.roll(-1, 1)
    step = torch.where(crossing, following[..., 2] - z, 1)
    cut = corners[..., :2] + ((near - z) / step)[..., None] * (following[..., :2] - corners[..., :2])
    candidates = torch.cat([flat, cut / near], 1)
    valid = torch.cat([front, crossing], 1)[..., None]
    low = torch.where(valid, candidates, torch.inf).amin(1)
    high = torch.where(valid, candidates, -torch.inf).amax(1)
    slack = 1e-9 * (1 + torch.maximum(low.abs(), high.abs()))
    last = torch.tensor([width - 1.0, height - 1.0], dtype=z.dtype, device=z.device)
    # an empty box has infinite bounds of the wrong sign, which the limits turn into an empty range
    low = torch.ceil(torch.minimum((low - slack).clamp(min=0), last + 1).nan_to_num(posinf=0)).long()
    high = torch.floor(torch.minimum(high + slack, last).clamp(min=-1).nan_to_num(neginf=-1)).long()
    return low[:, 0], high[:, 0], low[:, 1], high[:, 1]


def _chunks(index, sizes):
    """`index` cut so that the sizes of a piece add up to about `_PAIRS` at most."""
    if not len(index):
        return []
    group = torch.div(sizes.cumsum(0) - sizes, _PAIRS, rounding_mode="floor")
    lengths = torch.unique_consecutive(group, return_counts=True)[1]
    return torch.split(index, lengths.tolist())
