"""A triangle mesh as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = ["Mesh"]


@dataclass(frozen=True, eq=False)  # array comparison has no single truth value
class Mesh:
    """Triangle mesh.  Arrays are copied once and made read-only.

    Attributes
    ----------
    vertices : (V, 3) float64
        Millimetres; +x to the subject's left, +y up, +z out of the face.
    faces : (F, 3) int32
        Vertex indices, counter-clockwise seen from outside.
    uv : (T, 2) float64, optional
        Texture coordinates, (0, 0) at the bottom left of the texture.
    uv_faces : (F, 3) int32, optional
        Indices into `uv`; `faces` where `uv` has one row a vertex.
    colours : (V, 3) uint8, optional
        sRGB.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    colours: np.ndarray | None = None

    def __post_init__(self):
        vertices = frozen_array(self.vertices, np.float64, "vertices", (None, 3))
        require_finite(vertices, "vertices")
        faces = _indices(self.faces, "faces", len(vertices))
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        if self.uv is not None:
            uv = frozen_array(self.uv, np.float64, "uv", (None, 2))
            require_finite(uv, "uv")
            uv_faces = faces if self.uv_faces is None else _indices(self.uv_faces, "uv_faces", len(uv))
            if self.uv_faces is None and len(uv) != len(vertices):
                raise ValueError(
                    f"uv: without uv_faces one row a vertex is expected ({len(vertices)}), got {len(uv)}"
                )
            if len(uv_faces) != len(faces):
                raise ValueError(f"uv_faces: expected {len(faces)} rows as in faces, got {len(uv_faces)}")
            object.__setattr__(self, "uv", uv)
            object.__setattr__(self, "uv_faces", uv_faces)
        elif self.uv_faces is not None:
            raise ValueError("uv_faces: given without uv")
        if self.colours is not None:
            colours = frozen_array(self.colours, np.uint8, "colours", (len(vertices), 3))
            object.__setattr__(self, "colours", colours)

    def with_vertices(self, vertices) -> Mesh:
        """The same topology at other positions."""
        if np.shape(vertices) != self.vertices.shape:
            raise ValueError(f"vertices: expected shape {self.vertices.shape}, got {np.shape(vertices)}")
        return replace(self, vertices=vertices)


def _indices(value, name: str, count: int) -> np.ndarray:
    array = np.asarray(value)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name}: expected integers, got {array.dtype}")
    array = array.reshape(-1, 3) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"{name}: expected shape (F, 3), got {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= count):
        bad = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name}: indices must lie in [0, {count}), got {bad}")
    return frozen_array(array, np.int32, name, (None, 3))
