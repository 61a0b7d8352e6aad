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
    """Area-weighted unit normals (V, 3); zero where a vertex has no triangle with area."""
    n = _cross(vertices, faces)
    count = len(vertices)
    faces = np.asarray(faces)
    total = np.stack(
        [sum(np.bincount(faces[:, k], n[:, axis], count) for k in range(3)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(length > 0, length, 1)
