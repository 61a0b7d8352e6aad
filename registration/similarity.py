"""Robust iterative closest points with a similarity: pose and size of a template on a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.registration.target import Target

__all__ = ["SimilarityResult", "similarity_icp"]


@dataclass(frozen=True, eq=False)
class SimilarityResult:
    """A template moved onto a scan.

    Attributes
    ----------
    vertices : (V, 3) float64
        mm.
    iterations : int
    converged : bool
    reason : str
    """

    vertices: np.ndarray
    iterations: int
    converged: bool
    reason: str


def similarity_icp(
    vertices, faces, target: Target, landmarks=None, positions=None, scale: bool = True, max_iterations: int = 80,
    tolerance: float = 0.01,
) -> SimilarityResult:
    """Move a template as a whole until it lies on the scan.

    Gauss-Newton on point-to-plane distances with Geman-McClure weights; landmarks pull a little.

    Parameters
    ----------
    vertices, faces
        The template where it starts, mm.
    target : Target
    landmarks : (L,) int array, optional
        Template vertices whose `positions` (L, 3) on the scan are known, mm.
    scale : bool
        False: rotation and translation only.
    tolerance : float
        Stop when no vertex moves more than this, mm.

    References
    ----------
    Chen and Medioni, "Object Modeling by Registration of Multiple Range Images", 1992.
    """
    vertices = np.array(vertices, float)
    for iteration in range(1, max_iterations + 1):
        match = target.nearest(vertices, vertex_normals(vertices, faces), agreement=0.5)
        if match.trusted.sum() < 12:
            return SimilarityResult(
                vertices, iteration, False, "hardly any point of the template faces the scan; give better landmarks"
            )
        residual = ((match.points - vertices) * match.normals).sum(1)
        spread = max(1.5 * float(np.median(np.abs(residual[match.trusted]))), 1.0)
        reach = 3 * float(np.median(match.distance[match.trusted])) + 1
        weight = match.trusted / (1 + (residual / spread) ** 2) ** 2 * np.exp(-((match.distance / reach) ** 2))
        centre = vertices.mean(0)
        left, right = _plane_equations(vertices - centre, match.normals, residual, weight)
        if landmarks is not None:
            more = _point_equations(vertices[landmarks] - centre, positions - vertices[landmarks], weight.sum())
            left, right = left + more[0], right + more[1]
        if not scale:
            left, right = left[:6, :6], right[:6]
        step = np.linalg.solve(left + 1e-9 * np.trace(left) * np.eye(len(left)), right)
        size = 1 + step[6] if scale else 1.0
        moved = centre + step[3:6] + size * (vertices - centre) @ rotation_exp(step[:3]).T
        change = float(np.abs(moved - vertices).max())
        vertices = moved
        if change < tolerance:
            return SimilarityResult(vertices, iteration, True, f"no vertex moved more than {tolerance:g} mm")
    return SimilarityResult(
        vertices, max_iterations, False, f"still moved {change:.2g} mm after {max_iterations} iterations; allow more"
    )


def _plane_equations(x, normals, residual, weight):
    rows = np.column_stack([np.cross(x, normals), normals, (x * normals).sum(1)])
    return rows.T @ (rows * weight[:, None]), rows.T @ (weight * residual)


def _point_equations(x, offset, total, share: float = 0.02):
    """Landmarks together weigh `share` of the surface, less where they are far off."""
    weight = share * total / len(x) / (1 + (offset**2).sum(1) / 25.0) ** 2
    left, right = np.zeros((7, 7)), np.zeros(7)
    for axis in np.eye(3):
        rows = np.column_stack([np.cross(x, axis), np.tile(axis, (len(x), 1)), x @ axis])
        left += rows.T @ (rows * weight[:, None])
        right += rows.T @ (weight * (offset @ axis))
    return left, right
