"""Robust iterative closest points with an affine map: proportions of a template fitted to a scan."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.registration.target import Target

__all__ = ["affine_icp"]


def affine_icp(
    vertices, faces, target: Target, landmarks, positions, max_iterations: int = 40, tolerance: float = 0.05,
    ridge: float = 1e-6,
) -> np.ndarray:
    """Stretch and shear a template until it lies on the scan as well as an affine map can.

    Heads differ most in width, height and depth; once these fit, nearest points are near the true
    ones.  Gauss-Newton on point-to-plane distances with Geman-McClure weights, as in `similarity_icp`.

    Parameters
    ----------
    vertices, faces
        The template, already turned and moved onto the scan, mm.
    target : Target
    landmarks : (L,) int array
    positions : (L, 3) float array
        Of the landmarks on the scan, mm; they pull a little.
    tolerance : float
        Stop when no vertex moves more than this, mm.
    ridge : float
        Share of the system's mean diagonal that holds the map back.

    Returns
    -------
    (V, 3) float64
    """
    vertices = np.array(vertices, float)
    for _ in range(max_iterations):
        match = target.nearest(vertices, vertex_normals(vertices, faces), agreement=0.5)
        if match.trusted.sum() < 24:
            return vertices
        residual = ((match.points - vertices) * match.normals).sum(1)
        spread = max(1.5 * float(np.median(np.abs(residual[match.trusted]))), 1.0)
        reach = 3 * float(np.median(match.distance[match.trusted])) + 1
        weight = match.trusted / (1 + (residual / spread) ** 2) ** 2 * np.exp(-((match.distance / reach) ** 2))
        centre = vertices.mean(0)
        size = float(np.abs(vertices - centre).max()) or 1.0
        basis = np.column_stack([(vertices - centre) / size, np.ones(len(vertices))])
        rows = (basis[:, :, None] * match.normals[:, None, :]).reshape(-1, 12)
        left, right = rows.T @ (rows * weight[:, None]), rows.T @ (weight * residual)
        offset = positions - vertices[landmarks]
        pull = 0.02 * weight.sum() / len(landmarks) / (1 + (offset**2).sum(1) / 25.0) ** 2
        marked = basis[landmarks]
        left += np.kron(marked.T @ (marked * pull[:, None]), np.eye(3))
        right += (marked.T @ (offset * pull[:, None])).ravel()
        step = np.linalg.solve(left + ridge * np.trace(left) / 12 * np.eye(12), right).reshape(4, 3)
        moved = vertices + basis @ step
        change, vertices = float(np.abs(moved - vertices).max()), moved
        if change < tolerance:
            break
    return vertices
