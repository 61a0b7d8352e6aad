"""Non-rigid registration by a displacement that bends little, from stiff to soft.

As in Amberg et al. 2007 the template is pulled to the nearest scan points under a stiffness that
falls in stages.  The regularizer is the bending energy of the displacement (squared Laplacian), so
that the three coordinates share one sparse matrix of as many rows as there are vertices; and only the
distance along the scan's normal pulls, so that skin may slide and the stiffness decides how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.similarity import similarity_icp
from affect3d.registration.target import Target

__all__ = ["NonRigidOptions", "NonRigidResult", "NonRigidStep", "nonrigid_steps", "register_nonrigid"]


@dataclass(frozen=True)
class NonRigidOptions:
    """Options of `register_nonrigid`.

    Attributes
    ----------
    stiffness : tuple of float
        Weight of bending against the scan in each stage, falling.
    stretching : float
        Weight of the displacement's gradient, as a share of the stiffness.
    iterations : int
        In each stage.
    landmark_weight, landmark_decay : float
        Weight of a landmark against a vertex, and its factor from stage to stage: landmarks lead at
        first and are too noisy to have the last word.
    agreement : float
        Least cosine between the normals of a vertex and its scan point.
    reach : float
        Correspondences fade beyond so many median distances.
    scale : bool
        Whether the template may change size before it is bent.
    """

    stiffness: tuple[float, ...] = (10000, 3000, 1000, 300, 100, 30, 10, 3, 1, 0.3)
    stretching: float = 5e-4
    iterations: int = 6
    landmark_weight: float = 30.0
    landmark_decay: float = 0.5
    agreement: float = 0.6
    reach: float = 6.0
    scale: bool = True


@dataclass(frozen=True, eq=False)
class NonRigidStep:
    """One iteration: vertices (V, 3) mm, its stiffness, the median distance to the scan and the
    largest movement (mm), and the share of vertices that have a correspondence."""

    vertices: np.ndarray
    stiffness: float
    distance: float
    moved: float
    matched: float


@dataclass(frozen=True, eq=False)
class NonRigidResult:
    """A template registered to a scan.

    Attributes
    ----------
    vertices : (V, 3) float64
        The template on the scan, mm.
    distance : (V,) float64
        To the nearest scan vertex, mm.
    matched : (V,) bool
        Vertices with a trusted correspondence; the others follow their neighbours.
    iterations : int
    converged : bool
    reason : str
    """

    vertices: np.ndarray
    distance: np.ndarray
    matched: np.ndarray
    iterations: int
    converged: bool
    reason: str


def register_nonrigid(
    template: Mesh, scan: Mesh, landmarks, positions, options: NonRigidOptions = NonRigidOptions()
) -> NonRigidResult:
    """Bring a template into correspondence with a scan.

    Parameters
    ----------
    template, scan : Mesh
        mm, any topologies.
    landmarks : (L,) int array
        Template vertices, L >= 4.
    positions : (L, 3) float array
        Where these are on the scan, mm.

    Raises
    ------
    ValueError
        If landmarks are too few, not finite, or name no vertex.
    """
    target, last, count = Target(scan), None, 0
    for last in nonrigid_steps(template, target, landmarks, positions, options):
        count += 1
    match = target.nearest(last.vertices, vertex_normals(last.vertices, template.faces), options.agreement)
    reach = 3.0 * float(np.median(match.distance)) + 1.0
    if match.trusted.mean() < 0.3:
        converged, reason = False, "less than a third of the template found the scan; check landmarks and units (mm)"
    elif last.moved > 2.0:
        converged, reason = False, f"vertices still moved by {last.moved:.1f} mm in the last step; add a stage"
    else:
        converged, reason = True, f"the last step moved no vertex by more than {last.moved:.2f} mm"
    matched = match.trusted & (match.distance < reach)
    return NonRigidResult(last.vertices, match.distance, matched, count, converged, reason)


def nonrigid_steps(
    template: Mesh, target: Target, landmarks, positions, options: NonRigidOptions = NonRigidOptions()
) -> Iterator[NonRigidStep]:
    """Yield each iteration of `register_nonrigid`, for plots and tests; the parameters are its own."""
    landmarks, positions = np.asarray(landmarks), np.asarray(positions, float)
    count = len(template.vertices)
    if landmarks.ndim != 1 or len(landmarks) < 4 or positions.shape != (len(landmarks), 3):
        raise ValueError(
            f"landmarks, positions: expected (L,) and (L, 3) with L >= 4, got {landmarks.shape} and {positions.shape}"
        )
    if landmarks.min() < 0 or landmarks.max() >= count:
        raise ValueError(f"landmarks: indices must lie in [0, {count}), got {landmarks.min()} to {landmarks.max()}")
    if not np.isfinite(positions).all():
        raise ValueError("positions: expected finite numbers")
    start = procrustes(template.vertices[landmarks], positions, scale=False).apply(template.vertices)
    start = similarity_icp(start, template.faces, target, landmarks, positions, options.scale).vertices
    stretch = cotangent_laplacian(start, template.faces, least=0.01)
    area = vertex_areas(start, template.faces)
    size = area.mean()
    bend = (stretch @ sparse.diags_array(size / np.maximum(area, 1e-3 * size)) @ stretch).tocsc()
    pick = sparse.csc_array((np.ones(len(landmarks)), (np.arange(len(landmarks)), landmarks)), (len(landmarks), count))
    pull, goal = (pick.T @ pick).tocsc(), pick.T @ (positions - start[landmarks])
    vertices, weight = start.copy(), options.landmark_weight
    for stiffness in options.stiffness:
        smooth = stiffness * (bend + options.stretching * stretch) + weight * pull
        for _ in range(options.iterations):
            match = target.nearest(vertices, vertex_normals(vertices, template.faces), options.agreement)
            typical = float(np.median(match.distance[match.trusted])) if match.trusted.any() else 1.0
            fade = np.exp(-((match.distance / max(options.reach * typical, 2.0)) ** 2))
            share = match.trusted * fade * area / size
            # along the normal only: tangentially the stiffness decides where skin slides
            normal_part = ((match.points - vertices) * match.normals).sum(1, keepdims=True) * match.normals
            right = share[:, None] * (vertices - start + normal_part) + weight * goal
            # the small constant keeps the matrix regular where nothing at all was matched
            matrix = (smooth + sparse.diags_array(share + 1e-9)).tocsc()
            solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            moved = start + solver.solve(right)
            step = float(np.abs(moved - vertices).max())
            vertices = moved
            yield NonRigidStep(vertices, stiffness, typical, step, float(match.trusted.mean()))
        weight *= options.landmark_decay
