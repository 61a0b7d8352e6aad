"""Normals and areas of triangles."""

from __future__ import annotations

import numpy as np

__all__ = ["face_normals", "triangle_areas", "vertex_normals"]


def _cross(vertices, faces):
    a, b, c = (np.asarray(vertices, float)[np.asarray(faces)[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def face_normals(vertices, faces) -> np.ndarray:
    """Unit normals (F, 3), pointing outside for counter-clockwise faces; zero for triangles without area."""
    n = _cross(vertices, faces)
    length = np.linalg.norm(n, axis=1, keepdims=True)
    return n / np.where(length > 0, length, 1)


def triangle_areas(vertices, faces) -> np.ndarray:
    """Areas (F,) in the square of the vertices' unit."""
    return np.linalg.norm(_cross(vertices, faces), axis=1) / 2


def vertex_normals(vertices, faces) -> np.ndarray:
    """Area-weighted unit normals (V, 3) of vertices (V, 3); zero where a vertex has no triangle with area.

    Raises
    ------
    IndexError
        If faces name no vertex.
    ValueError
        If vertices or faces have another shape than (V, 3) and (F, 3).
    """
    from affect3d.geometry.normal_kernels import summed_normals

    vertices, faces = np.ascontiguousarray(vertices, float), np.ascontiguousarray(faces)
    if vertices.ndim != 2 or faces.ndim != 2 or vertices.shape[1] != 3 or faces.shape[1] != 3:
        raise ValueError(f"vertices, faces: expected (V, 3) and (F, 3), got {vertices.shape} and {faces.shape}")
    return summed_normals(vertices, faces)
