"""Edges of a triangle mesh and the triangles beside them, computed once a topology."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

__all__ = ["Topology"]


@dataclass(frozen=True, eq=False)
class Topology:
    """Triangles and their edges.

    Attributes
    ----------
    faces : (F, 3) int64 tensor
        Counter-clockwise seen from outside.
    count : int
        Number of vertices the indices may name.
    edges : (E, 2) int64 tensor
        The two vertices of each edge, the smaller index first.
    first : (E + 1,) int64 tensor
        Half-edges of edge e are rows ``first[e] : first[e + 1]`` of `half`.
    half : (3 F,) int64 tensor
        ``3 * face + corner``: the half-edge from that corner to the next corner of the face.
    """

    faces: torch.Tensor
    count: int
    edges: torch.Tensor
    first: torch.Tensor
    half: torch.Tensor

    @classmethod
    def of(cls, faces, count: int, device=None) -> Topology:
        """Topology of `faces` (F, 3), an int array or tensor, over `count` vertices.

        Raises
        ------
        ValueError
            If `faces` is no (F, 3) array of integers or an index names no vertex.
        """
        if isinstance(faces, torch.Tensor):
            device = faces.device if device is None else device
            faces = faces.detach().cpu().numpy()
        faces = np.asarray(faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
            raise ValueError(f"faces: expected integers of shape (F, 3), got {faces.dtype} {faces.shape}")
        faces = faces.astype(np.int64)
        if faces.size and (faces.min() < 0 or faces.max() >= count):
            bad = faces.min() if faces.min() < 0 else faces.max()
            raise ValueError(f"faces: indices must lie in [0, {count}), got {bad}")
        ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
        ends = np.sort(ends, axis=1)
        key = ends[:, 0] * count + ends[:, 1]
        half = np.argsort(key, kind="stable")
        key = key[half]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
        arrays = [faces, ends[half[starts]], np.r_[starts, len(half)], half]
        faces, edges, first, half = (torch.from_numpy(np.ascontiguousarray(a, np.int64)).to(device) for a in arrays)
        return cls(faces, int(count), edges, first, half)

    @cached_property
    def for_kernels(self) -> tuple[np.ndarray, ...]:
        """Faces, edges, half-edges beside each edge, first and half, as the compiled kernels want them.

        See `kernels_bands.outline_edges` for the third; made at the first call.
        """
        faces, edges, first, half = (t.numpy() for t in (self.faces, self.edges, self.first, self.half))
        beside = np.full((len(edges), 2), -1, np.int32)
        counts = np.diff(first)
        face, corner = np.divmod(half, 3)
        number = np.repeat(np.arange(len(edges)), counts)
        code = 2 * half + (faces[face, corner] != edges[number, 0])
        beside[:, 0] = code[first[:-1]]
        two = counts == 2
        beside[two, 1] = code[first[:-1][two] + 1]
        beside[counts > 2, 0] = -2
        return faces.astype(np.int32), edges.astype(np.int32), beside, first, half

    def to(self, device) -> Topology:
        """The same topology on another device."""
        moved = (t.to(device) for t in (self.edges, self.first, self.half))
        return Topology(self.faces.to(device), self.count, *moved)
