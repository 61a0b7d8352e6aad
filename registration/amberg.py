"""Non-rigid iterative closest points as published: an affine map for each vertex, neighbours alike.

Slower and on the reference pairs less exact than `register_nonrigid`; here for those who compare, and as
the method that the papers mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.nonrigid import (
    NonRigidResult,
    NonRigidStep,
    check_landmarks,
    check_weights,
    registration_result,
)
from affect3d.registration.target import Target

__all__ = ["AmbergOptions", "amberg_steps", "register_amberg"]


@dataclass(frozen=True)
class AmbergOptions:
    """Options of `register_amberg`.

    Attributes
    ----------
    stiffness : tuple of float
        alpha of equation 5 in each stage, falling.  As in the paper the template is scaled to unit size.
    landmark_weights : tuple of float
        beta of equation 6 in each stage.
    gamma : float
        Weight of differences in rotation and skew against differences in translation.
    iterations : int
        At most in each stage; a stage ends earlier when hardly anything moves.
    tolerance : float
        mm; mean movement at which a stage ends.
    agreement : float
        Least cosine between the normals of a vertex and its scan point.
    reach : float
        Correspondences beyond so many median distances are dropped.
    """

    stiffness: tuple[float, ...] = (50, 20, 8, 3, 1.5, 0.8)
    landmark_weights: tuple[float, ...] = (5, 3, 2, 1, 0.5, 0.2)
    gamma: float = 1.0
    iterations: int = 4
    tolerance: float = 0.05
    agreement: float = 0.6
    reach: float = 5.0

    def __post_init__(self):
        if len(self.stiffness) != len(self.landmark_weights):
            raise ValueError(
                f"landmark_weights: expected one a stage, {len(self.stiffness)}, got {len(self.landmark_weights)}"
            )


def register_amberg(
    template: Mesh, scan: Mesh, landmarks, positions, options: AmbergOptions = AmbergOptions(), weights=None
) -> NonRigidResult:
    """Bring a template into correspondence with a scan by the optimal step non-rigid ICP algorithm.

    Parameters and errors are those of `register_nonrigid`.

    References
    ----------
    Amberg, Romdhani and Vetter, "Optimal Step Nonrigid ICP Algorithms for Surface Registration", CVPR 2007.
    """
    target, last, count = Target(scan), None, 0
    for last in amberg_steps(template, target, landmarks, positions, options, weights):
        count += 1
    return registration_result(template, target, last, count, options.agreement)


def amberg_steps(
    template: Mesh, target: Target, landmarks, positions, options: AmbergOptions = AmbergOptions(), weights=None
) -> Iterator[NonRigidStep]:
    """Yield each iteration of `register_amberg`."""
    landmarks, positions = check_landmarks(template, landmarks, positions)
    faces, count = template.faces, len(template.vertices)
    weights = check_weights(weights, count)
    start = procrustes(template.vertices[landmarks], positions).apply(template.vertices)
    centre = start.mean(0)
    size = float(np.abs(start - centre).max())
    source = np.column_stack([(start - centre) / size, np.ones(count)])
    goals = (positions - centre) / size
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    index = (np.repeat(np.arange(len(edges)), 2), edges.ravel())
    incidence = sparse.csr_array((np.tile([-1.0, 1.0], len(edges)), index), (len(edges), count))
    alike = sparse.kron(incidence.T @ incidence, np.diag([1, 1, 1, options.gamma**2]), format="csc")
    rows = np.repeat(np.arange(4 * count).reshape(count, 4), 4, axis=1).ravel()
    columns = np.tile(np.arange(4 * count).reshape(count, 4), (1, 4)).ravel()
    outer = source[:, :, None] * source[:, None, :]
    maps = np.tile(np.vstack([np.eye(3), np.zeros((1, 3))]), (count, 1))
    vertices = start
    for alpha, beta in zip(options.stiffness, options.landmark_weights, strict=True):
        for _ in range(options.iterations):
            match = target.nearest(vertices, vertex_normals(vertices, faces), options.agreement)
            typical = float(np.median(match.distance[match.trusted])) if match.trusted.any() else 1.0
            share = weights * (match.trusted & (match.distance < max(options.reach * typical, 2.0)))
            pulled = share[:, None] * (match.points - centre) / size
            total = share.copy()
            np.add.at(total, landmarks, beta)
            np.add.at(pulled, landmarks, beta * goals)
            data = sparse.csc_array(((total[:, None, None] * outer).ravel(), (rows, columns)), (4 * count, 4 * count))
            right = (source[:, :, None] * pulled[:, None, :]).reshape(4 * count, 3)
            matrix = (alpha**2 * alike + data + 1e-9 * sparse.eye_array(4 * count)).tocsc()
            solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            maps = solver.solve(right)
            moved = centre + size * (source[:, :, None] * maps.reshape(count, 4, 3)).sum(1)
            step = np.linalg.norm(moved - vertices, axis=1)
            vertices = moved
            yield NonRigidStep(vertices, alpha, typical, float(np.percentile(step, 99)), float(match.trusted.mean()))
            if step.mean() < options.tolerance:
                break
