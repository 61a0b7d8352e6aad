"""Which point of the head makes its outline where the picture shows it.

Landmarks of the outline are no fixed points of the skin: when the head turns, the outline moves over
it.  For each such landmark we take the candidate that lies farthest out, in the outline's normal
direction, among those beside the landmark (a support point, so hidden skin is never chosen).
Compare Zhu, Lei, Yan, Yi, Li, "High-Fidelity Pose and Expression Normalization", CVPR 2015.
"""

from __future__ import annotations

import numpy as np

__all__ = ["outline_normals", "slide"]


def outline_normals(points, centre) -> np.ndarray:
    """Outward unit normals (O, 2) of an open or closed chain of points (O, 2), away from `centre`."""
    tangent = np.gradient(points, axis=0)
    normal = np.column_stack([tangent[:, 1], -tangent[:, 0]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    flip = ((points - centre) * normal).sum(1) < 0
    normal[flip] *= -1
    return normal


def slide(candidates, points, normals, width: float, reach: float) -> np.ndarray:
    """Index of the candidate that makes the outline at each point, -1 where none lies beside it.

    Parameters
    ----------
    candidates : (M, 2) float array
        Projected candidates, px.
    points, normals : (O, 2) float arrays
        Landmarks of the outline and their outward normals.
    width : float
        How far to the side of a landmark a candidate may lie, px.
    reach : float
        How far inside or outside of it, px; beyond that it is another part of the face.
    """
    if not len(candidates):
        return np.full(len(points), -1)
    offset = candidates[None] - points[:, None]  # (O, M, 2)
    out = np.einsum("omd,od->om", offset, normals)
    side = np.abs(offset[..., 0] * normals[:, None, 1] - offset[..., 1] * normals[:, None, 0])
    # within the strip prefer the middle a little, so that a far corner does not win by a hair
    score = np.where((side < width) & (np.abs(out) < reach), out - 0.5 * side, -np.inf)
    best = score.argmax(1)
    return np.where(np.isfinite(score.max(1)), best, -1)
