"""Procrustes alignment in any dimension: one set of points onto another, or many onto their mean.

Used for meshes, for landmarks and for the crops of the 2D methods alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = ["GeneralizedProcrustes", "Similarity", "generalized_procrustes", "procrustes"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + translation.

    Attributes
    ----------
    scale : float
    rotation : (D, D) float64
        Orthogonal; its determinant is -1 if a reflection was allowed and fits better.
    translation : (D,) float64
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points) -> np.ndarray:
        """Transformed points (..., D)."""
        return self.scale * np.asarray(points, float) @ self.rotation.T + self.translation

    def inverse(self) -> Similarity:
        """The transform that undoes this one."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -rotation @ self.translation / self.scale)

    def matrix(self) -> np.ndarray:
        """(D + 1, D + 1) homogeneous matrix."""
        n = len(self.translation)
        out = np.eye(n + 1)
        out[:n, :n], out[:n, n] = self.scale * self.rotation, self.translation
        return out


def procrustes(source, target, weights=None, scale: bool = True, reflection: bool = False) -> Similarity:
    """The similarity (or rigid motion) that brings `source` nearest to `target`.

    Minimizes the weighted sum of squared distances in closed form.

    Parameters
    ----------
    source, target : (N, D) float arrays
        Corresponding points.
    weights : (N,) float array, optional
        Not negative; points of weight zero are ignored.
    scale : bool
        False: scale 1, a rigid motion.
    reflection : bool
        True: a mirror image is allowed where it fits better.

    Raises
    ------
    ValueError
        If shapes differ, numbers are not finite, or the weighted points do not determine a rotation
        (fewer than D points, or all in one place).

    References
    ----------
    Umeyama, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns",
    IEEE PAMI 13, 1991.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    if source.ndim != 2 or source.shape != target.shape:
        raise ValueError(f"source, target: expected the same shape (N, D), got {source.shape} and {target.shape}")
    require_finite(source, "source")
    require_finite(target, "target")
    count, dimension = source.shape
    w = np.ones(count) if weights is None else frozen_array(weights, np.float64, "weights", (count,))
    if not np.isfinite(w).all() or (w < 0).any():
        raise ValueError("weights: expected finite numbers that are not negative")
    if (w > 0).sum() < dimension:
        raise ValueError(f"source: at least {dimension} points of positive weight are needed, got {int((w > 0).sum())}")
    w = w / w.sum()
    a, b = w @ source, w @ target
    x, y = source - a, target - b
    spread = float(w @ (x**2).sum(1))
    if spread <= 1e-300 or float(w @ (y**2).sum(1)) <= 1e-300:
        raise ValueError("source, target: the points of one of them all lie in one place")
    u, s, vt = np.linalg.svd((y * w[:, None]).T @ x)
    if s[-2] <= 1e-12 * s[0] and dimension > 1:
        raise ValueError("source, target: the points lie on a line, which leaves the rotation open")
    sign = np.ones(dimension)
    if not reflection and np.linalg.det(u @ vt) < 0:
        sign[-1] = -1
    rotation = (u * sign) @ vt
    size = float((s * sign).sum() / spread) if scale else 1.0
    return Similarity(size, rotation, b - size * rotation @ a)


@dataclass(frozen=True, eq=False)
class GeneralizedProcrustes:
    """Many shapes brought together.

    Attributes
    ----------
    mean : (N, D) float64
        Centred; of the first shape's orientation, of the shapes' mean size.
    aligned : (S, N, D) float64
    transforms : tuple of Similarity
        Each takes its shape to `aligned`.
    iterations : int
    converged : bool
    reason : str
    """

    mean: np.ndarray
    aligned: np.ndarray
    transforms: tuple[Similarity, ...]
    iterations: int
    converged: bool
    reason: str


def generalized_procrustes(
    shapes, scale: bool = True, reflection: bool = False, tolerance: float = 1e-10, max_iterations: int = 100
) -> GeneralizedProcrustes:
    """Align shapes to their common mean, again and again until the mean rests.

    Parameters
    ----------
    shapes : (S, N, D) float array
    tolerance : float
        Stop when the mean moves less than this, relative to its size.

    Raises
    ------
    ValueError
        As `procrustes`, or if there is no shape.

    References
    ----------
    Gower, "Generalized Procrustes Analysis", Psychometrika 40, 1975.
    """
    shapes = np.asarray(shapes, float)
    if shapes.ndim != 3 or len(shapes) == 0:
        raise ValueError(f"shapes: expected (S, N, D) with at least one shape, got {shapes.shape}")
    require_finite(shapes, "shapes")
    centred = shapes - shapes.mean(1, keepdims=True)
    size = float(np.mean(np.linalg.norm(centred, axis=(1, 2))))
    if size <= 0:
        raise ValueError("shapes: the points of every shape lie in one place")
    mean = centred[0] * (size / max(np.linalg.norm(centred[0]), 1e-300) if scale else 1.0)
    change = np.inf
    for iteration in range(1, max_iterations + 1):
        transforms = tuple(procrustes(s, mean, scale=scale, reflection=reflection) for s in shapes)
        aligned = np.stack([t.apply(s) for t, s in zip(transforms, shapes)])
        new = aligned.mean(0)
        # the mean keeps its size and the first shape's orientation; without that both would drift
        turned = procrustes(new, mean, scale=False)
        new = turned.apply(new)
        if scale:
            new *= size / np.linalg.norm(new)
        change = np.linalg.norm(new - mean) / size
        mean = new
        if change < tolerance:
            reason = f"the mean moved less than {tolerance:g} of its size"
            return GeneralizedProcrustes(mean, aligned, transforms, iteration, True, reason)
    reason = f"the mean still moved by {change:.1e} of its size after {max_iterations} iterations; allow more"
    return GeneralizedProcrustes(mean, aligned, transforms, max_iterations, False, reason)
