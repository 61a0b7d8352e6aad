"""The same picture by other programs: DEODR and PyTorch3D, for those who have them.

Both are optional and never installed by this package.  DEODR draws and differentiates by itself.
PyTorch3D decides which triangle is seen; coordinates, outlines and all gradients are ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from affect3d.render.differentiable.checks import checked_points, checked_size, topology_of
from affect3d.render.differentiable.visibility import sides_of

__all__ = ["draw_colours_deodr", "visibility_pytorch3d"]


def draw_colours_deodr(points, faces, colours, width: int, height: int, background=0.0, reach: float = 1.0):
    """`draw_colours` by DEODR, triangles seen from behind left out; differentiable in points and colours.

    DEODR interpolates colours along the screen, not in perspective, and cannot draw what lies behind
    the camera; the depth has no gradient.  See `draw_colours` for the arguments; `background` is a
    number or (C,).

    Raises
    ------
    ImportError
        If deodr is not installed.
    ValueError
        If a point lies behind the near plane (1 mm), which DEODR cannot cut.
    """
    try:
        import deodr.differentiable_renderer as deodr
    except ImportError as error:
        raise ImportError("the deodr backend needs the package deodr: pip install deodr==0.2.3") from error
    points = checked_points(points)
    checked_size(width, height)
    if float(points.detach()[..., 2].min()) < 1.0:
        raise ValueError("points: DEODR cannot draw points behind the camera or nearer than 1 mm")
    topology = topology_of(faces, points)
    colours = colours if colours.ndim == 3 else colours[None].expand(len(points), -1, -1)
    below = torch.as_tensor(background, dtype=points.dtype).expand(colours.shape[2])
    flat = points[..., :2] / points[..., 2:]
    pictures = [
        _Deodr.apply(flat[b], points[b, :, 2].detach(), colours[b], below, topology, width, height, reach, deodr)
        for b in range(len(points))
    ]
    return torch.stack(pictures)


class _Deodr(torch.autograd.Function):
    @staticmethod
    def forward(ctx, flat, depth, colours, background, topology, width, height, reach, deodr):
        faces = topology.faces.numpy().astype(np.uint32)
        count = len(flat)
        p = torch.cat([flat.detach() * depth[:, None], depth[:, None]], 1)
        scene = deodr.Scene2D(
            faces=faces, faces_uv=faces, ij=_doubles(flat), depths=_doubles(depth),
            textured=np.zeros(len(faces), bool), uv=np.zeros((count, 2)), shade=np.zeros(count),
            colors=_doubles(colours), shaded=np.zeros(len(faces), bool),
            edgeflags=outline_flags(p, topology), height=height, width=width, nb_colors=colours.shape[1],
            texture=np.zeros((0, 0, colours.shape[1])), background_color=_doubles(background),
            clockwise=False, backface_culling=True, perspective_correct=False,
        )  # fmt: skip
        picture, _ = scene.render(reach)
        ctx.scene, ctx.dtype = scene, flat.dtype
        return torch.from_numpy(picture).to(flat.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        scene = ctx.scene
        scene.clear_gradients()
        scene.render_backward(_doubles(gradient))
        flat, colours = (torch.from_numpy(g).to(ctx.dtype) for g in (scene.ij_b, scene.colors_b))
        return flat, None, colours, None, None, None, None, None, None


def _doubles(tensor) -> np.ndarray:
    return tensor.detach().double().contiguous().numpy()


def outline_flags(points, topology) -> np.ndarray:
    """(F, 3) bool: half-edges of triangles seen from outside whose other triangle is not, or is missing."""
    side = sides_of(points[None], topology.faces)[0].numpy()
    first, half = topology.first.numpy(), topology.half.numpy()
    seen = side[half // 3] < 0
    number = np.repeat(np.arange(len(first) - 1), np.diff(first))
    alone = np.bincount(number[seen], minlength=len(first) - 1) == 1
    flags = np.zeros(3 * len(side), bool)
    flags[half[seen & alone[number]]] = True
    return flags.reshape(-1, 3)


def visibility_pytorch3d(points, topology, width, height, cull, near):
    """As `visibility_kernels`, by PyTorch3D's rasterizer, on any device it was built for.

    Its pictures have +x to the left and +y up, and the shorter side reaches from -1 to 1.

    Raises
    ------
    ImportError
        If pytorch3d is not installed.
    """
    try:
        from pytorch3d.renderer.mesh import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise ImportError("backend 'pytorch3d' needs the package pytorch3d, built for your machine") from error
    p = points.detach().float()
    z = p[..., 2:]
    half = min(width, height) / 2
    ahead = torch.where(z.abs() > 1e-6, z, 1e-6)
    x = ((width - 1) / 2 - p[..., :1] / ahead) / half
    y = ((height - 1) / 2 - p[..., 1:2] / ahead) / half
    meshes = Meshes(verts=torch.cat([x, y, z], -1), faces=topology.faces[None].expand(len(p), -1, -1))
    face, depth, _, _ = rasterize_meshes(
        meshes, (height, width), blur_radius=0.0, faces_per_pixel=1, perspective_correct=True,
        cull_backfaces=cull, z_clip_value=near, cull_to_frustum=False,
    )  # fmt: skip
    face, depth = face[..., 0], depth[..., 0].double()
    # its face numbers run on through the batch
    start = torch.arange(len(p), device=p.device)[:, None, None] * len(topology.faces)
    empty = face < 0
    number = torch.where(empty, -1, face - start).int()
    return number, torch.where(empty, 0, 1 / depth), sides_of(points, topology.faces)
