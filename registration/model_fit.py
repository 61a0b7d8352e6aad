"""A template brought near a scan by the modes of its own model, before it is bent freely.

Bending alone does not know how cheeks and foreheads of people differ *along* the surface; a model of the same topology
does.  Pose and weights of the modes are fitted to landmarks and to distances along the scan's normals by Gauss-Newton,
each from correspondences sought anew; the modes' Gaussian prior is all that holds them.

Source: Blanz and Vetter, "A Morphable Model for the Synthesis of 3D Faces", SIGGRAPH 1999; robust point-to-plane
distances after Chen and Medioni, "Object Modeling by Registration of Multiple Range Images", 1992.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp, skew
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.nonrigid import check_landmarks
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.target import Target

__all__ = ["ModelFit", "ModelFitOptions", "fit_modes"]


@dataclass(frozen=True)
class ModelFitOptions:
    """Options of `fit_modes`.

    Attributes
    ----------
    iterations : int
        At most.
    tolerance : float
        mm; it ends when 99 of 100 vertices move less.
    landmark_sigma : float
        Expected deviation of a landmark's coordinates, mm.
    surface_sigma : float
        Least deviation of the distances that the modes leave, mm; otherwise it is measured.
    information : float
        How many independent distances the surface is worth: neighbours err together.
    points : int
        Vertices whose distances are looked at, about.
    reach : tuple of float
        mm; correspondences farther off count nothing, in the first five iterations and after.
    agreement : float
        Least cosine between the normals of a vertex and its scan point.
    turn, smoothing
        See `Target`.
    """

    iterations: int = 25
    tolerance: float = 0.05
    landmark_sigma: float = 1.5
    surface_sigma: float = 0.4
    information: float = 900.0
    points: int = 4000
    reach: tuple[float, float] = (15.0, 6.0)
    agreement: float = 0.6
    turn: float = 15.0
    smoothing: int = 5


@dataclass(frozen=True, eq=False)
class ModelFit:
    """A template as its model's modes make it, on a scan.

    Attributes
    ----------
    vertices : (V, 3) float64
        mm, in the scan's frame.
    weights : (K,) float64
        Of the modes, in deviations.
    rotation, translation : (3, 3), (3,) float64
        Scan point = rotation @ template point + translation.
    iterations : int
    converged : bool
    reason : str
    """

    vertices: np.ndarray
    weights: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    iterations: int
    converged: bool
    reason: str


def fit_modes(
    template: Mesh, modes: DisplacementPrior, scan: Mesh | Target, landmarks, positions,
    options: ModelFitOptions = ModelFitOptions(),
) -> ModelFit:
    """Fit a template's modes to a scan.

    Parameters
    ----------
    template : Mesh
        mm, its faces facing outwards.
    modes : DisplacementPrior
        Of the template's vertices, each expected to weigh nothing, with a deviation of 1.
    scan : Mesh or Target
        mm, of the same size; any pose.
    landmarks : (L,) int array
        Vertices of the template, at least three that do not lie on a line.
    positions : (L, 3) float array
        Where the scan has them, mm.
    options : ModelFitOptions

    Raises
    ------
    ValueError
        If the modes are of another template, or landmarks or scan are not usable.
    """
    if modes.basis.shape[1] != len(template.vertices):
        raise ValueError(
            f"modes: expected those of {len(template.vertices)} vertices, got {modes.basis.shape[1]}"
        )
    marks, positions = check_landmarks(template, landmarks, positions)
    target = scan if isinstance(scan, Target) else Target(scan, options.turn, smoothing=options.smoothing)
    rest, basis = template.vertices, modes.basis
    count, some = len(basis), np.arange(0, len(rest), max(len(rest) // options.points, 1))
    moves = np.ascontiguousarray(basis[:, some], np.float32)
    moves_marks = basis[:, marks]
    start = procrustes(rest[marks], positions, scale=False)
    rotation, translation, weights = start.rotation, start.translation, np.zeros(count)
    place = rest @ rotation.T + translation
    converged = False
    for iteration in range(1, options.iterations + 1):
        normals = vertex_normals(place, template.faces)[some]
        found = target.nearest(place[some], normals, options.agreement)
        near = found.distance < options.reach[0 if iteration <= 5 else 1]
        away = ((place[some] - found.points) * found.normals).sum(1)
        use = found.trusted & near
        if use.sum() < 10:
            reason = "the scan lies too far from where its landmarks put the template"
            return ModelFit(place, weights, rotation, translation, iteration, False, reason)
        sigma = max(1.5 * float(np.median(np.abs(away[use]))), options.surface_sigma)
        sure = use / (1 + (away / (3 * sigma)) ** 2) ** 2
        sure *= options.information / max(float(sure.sum()), 1e-9) / sigma**2
        rows = np.empty((len(some), 6 + count))
        rows[:, :3] = np.cross(place[some] - translation, found.normals)
        rows[:, 3:6] = found.normals
        rows[:, 6:] = np.einsum("vd,kvd->vk", (found.normals @ rotation).astype(np.float32), moves)
        left, right = rows.T @ (rows * sure[:, None]), -rows.T @ (sure * away)
        points = np.empty((len(marks), 3, 6 + count))
        points[:, :, :3] = -skew(place[marks] - translation)
        points[:, :, 3:6] = np.eye(3)
        points[:, :, 6:] = np.einsum("ij,klj->lik", rotation, moves_marks)
        points = points.reshape(-1, 6 + count) / options.landmark_sigma
        left += points.T @ points
        right -= points.T @ (place[marks] - positions).ravel() / options.landmark_sigma
        at = np.arange(6, 6 + count)
        left[at, at] += 1.0
        right[6:] -= weights
        left[range(6), range(6)] += 1e-9
        step = np.linalg.solve(left, right)
        rotation, translation = rotation_exp(step[:3]) @ rotation, translation + step[3:6]
        weights = weights + step[6:]
        shape = rest + (weights @ basis.reshape(count, -1)).reshape(-1, 3)
        fresh = shape @ rotation.T + translation
        moved = float(np.percentile(np.linalg.norm(fresh - place, axis=1), 99))
        place = fresh
        # the first rounds search farther than the later ones
        if moved < options.tolerance and iteration > 5:
            converged = True
            break
    said = f"the template's modes came to rest after {iteration} iterations" if converged else (
        f"the template's modes still moved by {moved:.2g} mm after {iteration} iterations; allow more"
    )
    return ModelFit(place, weights, rotation, translation, iteration, converged, said)
