"""Distances along a surface by the heat method."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from affect3d.geometry.arrays import require_finite
from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas

__all__ = ["HeatGeodesics", "geodesic_distance"]


class HeatGeodesics:
    """Factors a mesh once and then answers distances from any vertex by two triangular solves.

    Parameters
    ----------
    vertices : (V, 3) float array
        Any unit; distances come back in it.
    faces : (F, 3) int array
    smoothing : float
        The heat flows for ``smoothing * h**2``, h the mean edge length.  1 is the paper's choice and the most exact;
        larger values round the distance near ridges.

    Raises
    ------
    ValueError
        If a number is not finite, a face names no vertex, or `smoothing` is not positive.

    References
    ----------
    Crane, Weischedel and Wardetzky, "Geodesics in Heat", ACM Transactions on Graphics 32, 2013, Algorithm 1.
    """

    def __init__(self, vertices, faces, smoothing: float = 1.0):
        vertices, faces = np.asarray(vertices, float), np.asarray(faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
            raise ValueError(f"vertices: expected shape (V, 3) with V >= 1, got {vertices.shape}")
        require_finite(vertices, "vertices")
        if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer) or not len(faces):
            raise ValueError(f"faces: expected whole numbers of shape (F, 3) with F >= 1, got {faces.shape}")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"faces: indices must lie in [0, {len(vertices)}), got {faces.min()} to {faces.max()}")
        if not smoothing > 0:
            raise ValueError(f"smoothing: expected a positive number, got {smoothing}")
        count = len(vertices)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        if not lengths.max() > 0:
            raise ValueError("vertices: all edges have length zero, expected a surface")
        area = vertex_areas(vertices, faces)
        # Vertices of no triangle keep a place of their own, so that the matrices can be factored.
        area = np.where(area > 0, area, area[area > 0].mean())
        mass = sparse.diags_array(area)
        laplacian = cotangent_laplacian(vertices, faces, least=-np.inf)  # exact, so that it fits the gradient
        self._gradient, self._divergence = _gradient_and_divergence(vertices, faces)
        self._heat = splu((mass + smoothing * lengths.mean() ** 2 * laplacian).tocsc())
        # Constants (one for each piece of the surface) are in the null space: a trace of mass settles them.
        self._poisson = splu((laplacian + 1e-9 / lengths.mean() ** 2 * mass).tocsc())
        graph = sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
        self._piece = connected_components(graph, directed=False)[1]
        self._count = count

    def distance(self, source: int) -> np.ndarray:
        """(V,) distances from vertex `source`, 0 there; infinite on pieces that it is not joined to."""
        if not 0 <= source < self._count:
            raise ValueError(f"source: expected a vertex in [0, {self._count}), got {source}")
        pulse = np.zeros(self._count)
        pulse[source] = 1.0
        heat = self._heat.solve(pulse)
        gradient = (self._gradient @ heat).reshape(3, -1)
        length = np.linalg.norm(gradient, axis=0)
        direction = -gradient / np.where(length > 0, length, 1)
        distance = self._poisson.solve(self._divergence @ direction.ravel())
        inside = self._piece == self._piece[source]
        # The potential is settled up to a constant; noise must not put a vertex nearer than the source itself.
        return np.where(inside, np.maximum(distance - distance[source], 0), np.inf)


def geodesic_distance(vertices, faces, source: int) -> np.ndarray:
    """(V,) distances along the surface from vertex `source`; for many sources keep a `HeatGeodesics`."""
    return HeatGeodesics(vertices, faces).distance(source)


def _gradient_and_divergence(vertices, faces):
    """Gradient (3F, V), rows ordered by axis, and minus the integrated divergence (V, 3F) of a field on faces.

    With this sign the divergence of a gradient is the positive Laplacian times the function.
    """
    corners = vertices[faces]  # (F, 3, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(normal, axis=1)
    tiny = 1e-12 * twice.max()
    rows, columns, values = [], [], []
    count = len(faces)
    for k in range(3):
        edge = corners[:, (k + 2) % 3] - corners[:, (k + 1) % 3]
        slope = np.cross(normal, edge) / np.maximum(twice, tiny)[:, None] ** 2  # gradient of the hat function
        for axis in range(3):
            rows.append(axis * count + np.arange(count))
            columns.append(faces[:, k])
            values.append(slope[:, axis])
    index = (np.concatenate(rows), np.concatenate(columns))
    gradient = sparse.coo_array((np.concatenate(values), index), shape=(3 * count, len(vertices))).tocsr()
    weights = sparse.diags_array(np.tile(twice / 2, 3))
    return gradient, (gradient.T @ weights).tocsr()
