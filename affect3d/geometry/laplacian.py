"""The cotangent Laplacian and the areas that belong to vertices."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from affect3d.geometry.triangles import triangle_areas

__all__ = ["cotangent_laplacian", "vertex_areas"]


def cotangent_laplacian(vertices, faces, least: float = 0.0) -> sparse.csr_array:
    """Cotangent Laplacian of a triangle mesh.

    Parameters
    ----------
    vertices : (V, 3) float array
        The result does not depend on their unit.
    faces : (F, 3) int array
    least : float
        Lower limit of each triangle's half-cotangent weight; a small positive one keeps the matrix
        positive semi-definite on meshes with obtuse triangles, at some cost in exactness.

    Returns
    -------
    (V, V) sparse array
        Symmetric, constants in its null space; positive on the diagonal (libigl's has the other sign).

    References
    ----------
    Pinkall and Polthier, "Computing Discrete Minimal Surfaces and Their Conjugates", 1993.
    """
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    count = len(vertices)
    rows, columns, weights = [], [], []
    for k in range(3):
        i, j, o = faces[:, (k + 1) % 3], faces[:, (k + 2) % 3], faces[:, k]
        u, v = vertices[i] - vertices[o], vertices[j] - vertices[o]
        twice = np.linalg.norm(np.cross(u, v), axis=1)
        tiny = 1e-12 * max(float(twice.max(initial=0)), 1e-300)  # triangles without area get a finite weight
        half = np.maximum((u * v).sum(1) / np.maximum(twice, tiny) / 2, least)
        rows += [i, j]
        columns += [j, i]
        weights += [half, half]
    index = (np.concatenate(rows), np.concatenate(columns))
    adjacency = sparse.coo_array((np.concatenate(weights), index), shape=(count, count)).tocsr()
    return (sparse.diags_array(adjacency.sum(axis=1)) - adjacency).tocsr()


def vertex_areas(vertices, faces) -> np.ndarray:
    """(V,) a third of the area of each triangle around a vertex; they sum to the surface's area."""
    third = np.repeat(triangle_areas(vertices, faces) / 3, 3)
    return np.bincount(np.asarray(faces).ravel(), third, len(vertices))
