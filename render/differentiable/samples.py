"""Points of triangles seen through pixels: coordinates, depths and values there, with gradients.

A *sample* is a triangle and a point of the screen.  All covered pixels make one list of samples,
the outlines another; whatever is computed for the one (interpolation, textures, light) is computed
for the other by the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable import kernels
from affect3d.render.differentiable import kernels_texture as texture_kernels
from affect3d.render.differentiable.checks import checked_values
from affect3d.render.differentiable.threads import bands, in_threads

__all__ = ["Samples", "added_up", "barycentrics", "barycentrics_torch", "interpolate", "interpolate_torch",
           "screen_derivatives", "screen_derivatives_torch", "shares"]  # fmt: skip

_SHARE = 1 << 15  # samples whose gradients one thread adds up


@dataclass(frozen=True, eq=False)
class Samples:
    """A list of points of triangles, in the order of the pictures they belong to.

    Attributes
    ----------
    face : (S,) int32 or int64 tensor
    weights : (S, 3) float tensor
        Perspective-correct barycentric coordinates.
    depth : (S,) float tensor
    place : (S,) int64 tensor
        ``(picture * height + y) * width + x`` of the pixel.
    starts : tuple of B + 1 int
        Samples of picture b are ``starts[b]`` up to ``starts[b + 1]``.
    shape : (B, H, W)
    """

    face: torch.Tensor
    weights: torch.Tensor
    depth: torch.Tensor
    place: torch.Tensor
    starts: tuple[int, ...]
    shape: tuple[int, int, int]

    @property
    def picture(self) -> torch.Tensor:
        """(S,) int64: which picture of the batch each sample belongs to."""
        return torch.div(self.place, self.shape[1] * self.shape[2], rounding_mode="floor")

    @property
    def pixel(self) -> torch.Tensor:
        """(S, 2) int64: x and y."""
        inside = self.place % (self.shape[1] * self.shape[2])
        return torch.stack([inside % self.shape[2], torch.div(inside, self.shape[2], rounding_mode="floor")], 1)


def barycentrics(points, faces, face, pixel, starts) -> tuple[torch.Tensor, torch.Tensor]:
    """Perspective-correct coordinates (S, 3) and depths (S,) where pixels see triangles.

    Differentiable in `points`.  The same formula on every device; on the CPU it is compiled, with
    gradients added up in one fixed order.

    Parameters
    ----------
    points : (B, V, 3) float tensor
        Homogeneous pixel coordinates, as `pixel_points` gives.
    faces : (F, 3) int64 tensor
    face : (S,) int64 tensor
        Triangle of each sample; it must not be seen exactly edge-on.
    pixel : (S, 2) tensor
        Screen position, px.
    starts : sequence of B + 1 int
        See `Samples`.
    """
    if points.device.type == "cpu":
        return _Barycentrics.apply(points, faces, face, pixel, tuple(starts))
    return barycentrics_torch(points, faces, face, pixel, starts)


def barycentrics_torch(points, faces, face, pixel, starts):
    """`barycentrics` with torch operations only: for other devices, and to compare with."""
    flat, corner = _flat(points, faces, face, starts)
    a, b, c = (flat.index_select(0, corner[:, k]).double() for k in range(3))
    p = torch.cat([pixel.double(), torch.ones_like(pixel[:, :1], dtype=torch.float64)], 1)
    normals = [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    w = torch.stack([(n * p).sum(1) for n in normals], 1)
    total = w.sum(1)
    return (w / total[:, None]).to(points.dtype), ((a * normals[0]).sum(1) / total).to(points.dtype)


def interpolate(values, faces, samples) -> torch.Tensor:
    """Values at vertices -> values (S, C) at samples; differentiable in both.

    Parameters
    ----------
    values : (V, C) or (B, V, C) float tensor
    faces : (F, 3) int64 tensor
        Indices into `values`: the mesh's faces, or its `uv_faces` for texture coordinates.
    samples : Samples or EdgeSamples

    Raises
    ------
    ValueError
        If the values have another shape or batch, or another type than the samples' coordinates.
    """
    values = checked_values(values, samples.shape[0], samples.weights.dtype)
    if values.device.type == "cpu":
        return _Interpolate.apply(values, faces, samples.face, samples.weights, samples.starts)
    return interpolate_torch(values, faces, samples)


def interpolate_torch(values, faces, samples) -> torch.Tensor:
    """`interpolate` of (1 or B, V, C) with torch operations only: for other devices, and to compare with."""
    flat, corner = _flat(values, faces, samples.face, samples.starts)
    weights = samples.weights
    return sum(weights[:, k : k + 1] * flat.index_select(0, corner[:, k]) for k in range(3))


def screen_derivatives(points, faces, samples) -> torch.Tensor:
    """How the coordinates change from pixel to pixel: (S, 3, 2), by x and by y; differentiable.

    With it the footprint of a pixel in a texture is known: ``corner_uv.mT @ screen_derivatives``.
    """
    if points.device.type == "cpu":
        return _Slopes.apply(points, samples.weights, samples.depth, faces, samples.face, samples.starts)
    return screen_derivatives_torch(points, faces, samples)


def screen_derivatives_torch(points, faces, samples) -> torch.Tensor:
    """`screen_derivatives` with torch operations only: for other devices, and to compare with."""
    flat, corner = _flat(points, faces, samples.face, samples.starts)
    a, b, c = (flat.index_select(0, corner[:, k]) for k in range(3))
    normals = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 1)
    det = (a * normals[:, 0]).sum(1)
    slope = normals[:, :, :2] * (samples.depth / det)[:, None, None]
    return slope - samples.weights[:, :, None] * slope.sum(1, keepdim=True)


def _flat(values, faces, face, starts):
    """Rows of all pictures in one table (B V, C), and the three rows of each sample."""
    corner = faces[face]
    if len(values) > 1:
        sizes = torch.tensor(np.diff(starts), device=face.device)
        picture = torch.repeat_interleave(torch.arange(len(values), device=face.device), sizes)
        corner = corner + (picture * values.shape[1])[:, None]
    return values.reshape(-1, values.shape[2]), corner


def shares(starts):
    """(picture, slot, start, stop) of the work; depends on the samples only, not on the cores."""
    return [
        (b, k, starts[b] + i, starts[b] + j)
        for b in range(len(starts) - 1)
        for k, (i, j) in enumerate(bands(starts[b + 1] - starts[b], _slots(starts[b + 1] - starts[b])))
    ]


def _slots(count: int) -> int:
    return min(8, 1 + count // _SHARE)


def added_up(shape, starts, work) -> np.ndarray:
    """Gradient (B, V, C) of all samples: each share adds to its own table, tables are added in order."""
    batch = len(starts) - 1
    tables = [np.zeros((_slots(starts[b + 1] - starts[b]), *shape[1:])) for b in range(batch)]
    in_threads(lambda b, k, i, j: work(b, tables[b][k], i, j), shares(starts))
    sums = [table[0] if len(table) == 1 else table.sum(0) for table in tables]
    if shape[0] == batch:
        return sums[0][None] if batch == 1 else np.stack(sums)
    return np.add.reduce(sums)[None]


class _Barycentrics(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, faces, face, pixel, starts):
        p = np.ascontiguousarray(points.detach().numpy(), np.float64)
        where, faces, face = pixel.detach().contiguous().numpy(), faces.numpy(), face.numpy()
        kind = np.float32 if points.dtype == torch.float32 else np.float64
        weights, depth = np.empty((len(face), 3), kind), np.empty(len(face), kind)
        in_threads(
            lambda b, k, i, j: kernels.barycentric_forward(p[b], faces, face, where, weights, depth, i, j),
            shares(starts),
        )
        ctx.save_for_backward(points, pixel)  # torch then notices if they are changed before the way back
        ctx.kept = p, faces, face, where, starts
        return torch.from_numpy(weights), torch.from_numpy(depth)

    @staticmethod
    @once_differentiable
    def backward(ctx, g_weights, g_depth):
        _ = ctx.saved_tensors
        p, faces, face, where, starts = ctx.kept
        gw, gz = g_weights.contiguous().numpy(), g_depth.contiguous().numpy()
        grad = added_up(
            p.shape, starts,
            lambda b, out, i, j: kernels.barycentric_backward(p[b], faces, face, where, gw, gz, out, i, j),
        )  # fmt: skip
        return torch.from_numpy(grad.astype(gw.dtype, copy=False)), None, None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, faces, face, weights, starts):
        v, w = values.detach().contiguous().numpy(), weights.detach().contiguous().numpy()
        faces, face = faces.numpy(), face.numpy()
        out = np.empty((len(face), v.shape[2]), v.dtype)
        in_threads(
            lambda b, k, i, j: kernels.interpolate_forward(v[b % len(v)], faces, face, w, out, i, j), shares(starts)
        )
        ctx.save_for_backward(values, weights)
        ctx.kept = v, faces, face, w, starts
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        _ = ctx.saved_tensors
        v, faces, face, w, starts = ctx.kept
        g = g.contiguous().numpy()
        g_weights = np.empty_like(w)
        grad = added_up(
            v.shape, starts,
            lambda b, out, i, j: kernels.interpolate_backward(v[b % len(v)], faces, face, w, g, g_weights, out, i, j),
        )  # fmt: skip
        return torch.from_numpy(grad.astype(v.dtype, copy=False)), None, None, torch.from_numpy(g_weights), None


class _Slopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, weights, depth, faces, face, starts):
        p = np.ascontiguousarray(points.detach().numpy(), np.float64)
        w, z = weights.detach().contiguous().numpy(), depth.detach().contiguous().numpy()
        faces, face = faces.numpy(), face.numpy()
        out = np.empty((len(face), 3, 2), w.dtype)
        in_threads(
            lambda b, k, i, j: texture_kernels.slopes_forward(p[b], faces, face, w, z, out, i, j), shares(starts)
        )
        ctx.save_for_backward(points, weights, depth)
        ctx.kept = p, faces, face, w, z, starts
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        _ = ctx.saved_tensors
        p, faces, face, w, z, starts = ctx.kept
        g = g.contiguous().numpy()
        g_weights, g_depth = np.empty_like(w), np.empty_like(z)
        grad = added_up(
            p.shape, starts,
            lambda b, out, i, j: texture_kernels.slopes_backward(
                p[b], faces, face, w, z, g, g_weights, g_depth, out, i, j
            ),
        )  # fmt: skip
        found = (torch.from_numpy(a) for a in (grad.astype(w.dtype, copy=False), g_weights, g_depth))
        return *found, None, None, None
