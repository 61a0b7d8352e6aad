"""Non-rigid registration by a displacement that bends little, from stiff to soft, twice.

As in Amberg et al. 2007 the template is pulled to scan points under a stiffness that falls in
stages.  What differs, and why (figures: benchmarks/README.md):

- The regularizer is the bending energy of the displacement (squared Laplacian), so that the three
  coordinates share one sparse matrix of as many rows as there are vertices.
- Only the distance along the scan's normal pulls: skin may slide, and the stiffness decides where.
- Correspondences are sought by position and normal together, after an affine stage.
- The template's outer border is drawn to the scan's, where the two borders are one another's: the
  only feature of a neck.
- The whole schedule runs twice: what looked nearest from the first start was often wrong.
- The matrix is factored once a stage and corrects the iterations after that.
- At the end the system is solved with the three coordinates coupled (`coupled.py`), a few times: skin that slid while
  the template was stiff slides back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.affine import affine_icp
from affect3d.registration.coupled import CoupledSystem, normal_blocks
from affect3d.registration.similarity import similarity_icp
from affect3d.registration.target import Target, border_loops

__all__ = [
    "NonRigidOptions", "NonRigidResult", "NonRigidStep", "check_landmarks", "check_weights", "nonrigid_steps",
    "register_nonrigid", "registration_result",
]  # fmt: skip

#: mm; the movement of any vertex at which the search for a start ends.
_START = 0.2


@dataclass(frozen=True)
class NonRigidOptions:
    """Options of `register_nonrigid`.

    Attributes
    ----------
    stiffness : tuple of float
        Weight of bending against the scan in each stage, falling.
    passes : int
        How often the stages are gone through.
    stretching : float
        Weight of the displacement's gradient, as a share of the stiffness.
    iterations : int
        In each stage.
    landmark_weight, landmark_decay : float
        Weight of a landmark against a vertex, and its factor from stage to stage.
    landmark_noise : float
        Landmarks further off than this, mm, lose their say towards the end of each pass.
    turn : float
    smoothing : int
        See `Target`.
    border_weight : float
        Of the template's outer border on the scan's; 0 leaves it free.
    agreement : float
        Least cosine between the normals of a vertex and its scan point.
    reach : float
        Correspondences fade beyond so many median distances.
    scale, affine : bool
        Whether the template may change size, and proportions, before it is bent.
    settling : tuple of float
        Stiffness in each of the last iterations, in which vertices are free along the surface.
    settling_stretching : float
        As `stretching`, of these iterations.
    settling_landmarks : float
        Weight of a landmark in them, as a share of the stiffness.
    """

    stiffness: tuple[float, ...] = (10000, 3000, 1000, 300, 100, 30, 10, 3, 1, 0.3)
    passes: int = 2
    stretching: float = 5e-3
    iterations: int = 3
    landmark_weight: float = 30.0
    landmark_decay: float = 0.8
    landmark_noise: float = 3.0
    turn: float = 15.0
    smoothing: int = 5
    border_weight: float = 50.0
    agreement: float = 0.6
    reach: float = 6.0
    scale: bool = True
    affine: bool = True
    settling: tuple[float, ...] = (1.0, 0.3, 0.1)
    settling_stretching: float = 0.01
    settling_landmarks: float = 2.0


@dataclass(frozen=True, eq=False)
class NonRigidStep:
    """One iteration: vertices (V, 3) mm, its stiffness, the median distance to the scan and the
    movement below which 99 of 100 vertices stayed (mm; at the end, while settling, only across the surface), and the
    share that have a correspondence."""

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
        To the nearest scan vertex that looks the same way, mm.
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
    template: Mesh, scan: Mesh, landmarks, positions, options: NonRigidOptions = NonRigidOptions(), weights=None
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
    weights : (V,) float array, optional
        How much each template vertex trusts the scan, at least 0: where it is 0 (eyeballs, the inside of the
        mouth) a vertex follows its neighbours.

    Raises
    ------
    ValueError
        If landmarks are too few, not finite, name no vertex, or lie in another unit than the template.
    """
    target, last, count = Target(scan, options.turn, smoothing=options.smoothing), None, 0
    for last in nonrigid_steps(template, target, landmarks, positions, options, weights):
        count += 1
    return registration_result(template, target, last, count, options.agreement)


def registration_result(template: Mesh, target: Target, last: NonRigidStep, count: int, agreement: float):
    """The `NonRigidResult` of a run of `count` iterations that ended with the step `last`."""
    match = target.nearest(last.vertices, vertex_normals(last.vertices, template.faces), agreement)
    reach = 3.0 * float(np.median(match.distance)) + 1.0
    if match.trusted.mean() < 0.3:
        converged, reason = False, "less than a third of the template found the scan; check landmarks and units (mm)"
    elif last.moved > 1.0:
        converged, reason = False, f"vertices still moved by {last.moved:.1f} mm in the last step; add a stage"
    else:
        converged = True
        reason = f"the last step moved 99 of 100 vertices by less than {last.moved:.2f} mm across the surface"
    matched = match.trusted & (match.distance < reach)
    return NonRigidResult(last.vertices, match.distance, matched, count, converged, reason)


def check_weights(weights, count: int) -> np.ndarray:
    """Weights of `count` vertices as an array, ones if None, or a ValueError that says what is wrong with them."""
    if weights is None:
        return np.ones(count)
    weights = np.asarray(weights, float)
    if weights.shape != (count,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.max() > 0:
        raise ValueError(f"weights: expected ({count},) numbers of at least 0, not all 0, got shape {weights.shape}")
    return weights


def check_landmarks(template: Mesh, landmarks, positions) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and their positions as arrays, or a ValueError that says what is wrong with them."""
    landmarks, positions = np.asarray(landmarks), np.asarray(positions, float)
    count = len(template.vertices)
    if landmarks.ndim != 1 or len(landmarks) < 4 or positions.shape != (len(landmarks), 3):
        raise ValueError(
            f"landmarks, positions: expected (L,) and (L, 3) with L >= 4, got {landmarks.shape} and {positions.shape}"
        )
    if not np.issubdtype(landmarks.dtype, np.integer):
        raise ValueError(f"landmarks: expected vertex indices, got {landmarks.dtype}")
    if landmarks.min() < 0 or landmarks.max() >= count:
        raise ValueError(f"landmarks: indices must lie in [0, {count}), got {landmarks.min()} to {landmarks.max()}")
    if not np.isfinite(positions).all():
        raise ValueError("positions: expected finite numbers")
    spread = [float(np.linalg.norm(p - p.mean(0), axis=1).mean()) for p in (template.vertices[landmarks], positions)]
    if not spread[0] / 3 < spread[1] < spread[0] * 3:
        raise ValueError(
            f"positions: lie {spread[1]:.3g} mm around their centre and {spread[0]:.3g} mm on the template; "
            "expected both in millimetres"
        )
    return landmarks, positions


def nonrigid_steps(
    template: Mesh, target: Target, landmarks, positions, options: NonRigidOptions = NonRigidOptions(), weights=None
) -> Iterator[NonRigidStep]:
    """Yield each iteration of `register_nonrigid`, for plots and tests; the parameters are its own."""
    landmarks, positions = check_landmarks(template, landmarks, positions)
    faces, weights = template.faces, check_weights(weights, len(template.vertices))
    start = procrustes(template.vertices[landmarks], positions, scale=False).apply(template.vertices)
    # a start for what follows; that it is exact would cost more than it gives
    start = similarity_icp(start, faces, target, landmarks, positions, options.scale, tolerance=_START).vertices
    if options.affine:
        start = affine_icp(start, faces, target, landmarks, positions, tolerance=_START)
    rim = _Rim(start, faces, target, options.border_weight)
    vertices = start
    for passed in range(options.passes):
        if passed:  # the first pass tells position and size better than the landmarks did
            start = procrustes(template.vertices, vertices, scale=options.scale).apply(template.vertices)
        smooth, share = _smoothness(start, faces, options.stretching)
        pull = options.landmark_weight
        for stage, stiffness in enumerate(options.stiffness):
            left = (len(options.stiffness) - 1 - stage) / max(len(options.stiffness) - 1, 1)
            forgiving = options.landmark_noise * 10.0**left  # mm; at first a landmark may be far off and right
            solver = None
            for _ in range(options.iterations):
                match, typical, trust = _matched(vertices, faces, target, options, weights * share)
                # along the normal only: tangentially the stiffness decides where skin slides
                force = trust[:, None] * ((match.points - vertices) * match.normals).sum(1, keepdims=True)
                force = force * match.normals
                weight = trust + 1e-9  # the small constant keeps the matrix regular where nothing was matched
                offset = positions - vertices[landmarks]
                held = pull / (1 + (offset**2).sum(1) / forgiving**2) ** 2
                np.add.at(force, landmarks, held[:, None] * offset)
                np.add.at(weight, landmarks, held)
                rim.add(vertices, force, weight)
                if solver is None:
                    # at least so much, so that weights that grow later are followed
                    matrix = (stiffness * smooth + sparse.diags_array(np.maximum(weight, 0.3 * share))).tocsc()
                    solver = splu(
                        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
                    )
                step = solver.solve(force - stiffness * (smooth @ (vertices - start)))
                vertices = vertices + step
                yield _step(vertices, step, stiffness, typical, match)
            pull *= options.landmark_decay
    if options.settling:
        yield from _settled(template, vertices, target, landmarks, positions, options, weights, rim)


def _settled(template, vertices, target, landmarks, positions, options, weights, rim) -> Iterator[NonRigidStep]:
    """Let the skin slide to where it bends least, now that it lies on the scan.

    The stages before hold each vertex in all directions by the weight of its match, so what slid while the template
    was stiff and far away is not taken back when it is soft.
    """
    faces = template.faces
    start = _rest_shape(template.vertices, vertices, options)
    smooth, share = _smoothness(start, faces, options.settling_stretching)
    system = CoupledSystem(smooth)
    # what a scanner closed, as it does eyes, has no counterpart for the template's folds around its opening
    believed = np.where(_closed_openings(vertices, faces, target), 0.0, weights * share)
    for stiffness in options.settling:
        match, typical, trust = _matched(vertices, faces, target, options, believed)
        force = (trust * ((match.points - vertices) * match.normals).sum(1))[:, None] * match.normals
        offset = positions - vertices[landmarks]
        pull = options.settling_landmarks * stiffness
        held = pull / (1 + (offset**2).sum(1) / options.landmark_noise**2) ** 2
        np.add.at(force, landmarks, held[:, None] * offset)
        blocks = normal_blocks(trust, match.normals)
        np.add.at(blocks, landmarks, held[:, None, None] * np.eye(3))
        rim.add_across(vertices, force, blocks)
        # an older factor will not do: along a normal that has turned since, it would let a vertex go far
        solve = system.factored(stiffness, blocks)
        step = solve(force - stiffness * (smooth @ (vertices - start)))
        vertices = vertices + step
        # what slides along the surface is not lost, so it does not count
        across = (step * match.normals).sum(1, keepdims=True)
        yield _step(vertices, across, stiffness, typical, match)


def _closed_openings(vertices, faces, target, width: float = 4.0, near: float = 5.0) -> np.ndarray:
    """(V,) whether a vertex lies within `width` mm of an opening of the template where the scan has a surface.

    An opening is a border but the longest.  The scan has it too if half of its vertices have a border of the scan
    within `near` mm.
    """
    borders = cKDTree(target.border_points) if len(target.border_points) else None
    closed = np.zeros(len(vertices), bool)
    for loop in border_loops(faces, vertices)[1:]:
        if borders is None or np.median(borders.query(vertices[loop])[0]) > near:
            closed |= cKDTree(vertices[loop]).query(vertices, distance_upper_bound=width)[0] < np.inf
    return closed


def _rest_shape(template, vertices, options):
    """The template as it would lie without bending: what an affine map, or a similarity, makes of it."""
    if not options.affine:
        return procrustes(template, vertices, scale=options.scale).apply(template)
    rows = np.column_stack([template - template.mean(0), np.ones(len(template))])
    return rows @ np.linalg.lstsq(rows, vertices, rcond=None)[0]


def _smoothness(start, faces, stretching: float):
    """The matrix of the bending energy of a displacement, and each vertex's area as a share of the mean."""
    stretch = cotangent_laplacian(start, faces, least=0.01)
    share = vertex_areas(start, faces)
    share = share / share.mean()
    bend = stretch @ sparse.diags_array(1 / np.maximum(share, 1e-3)) @ stretch
    return (bend + stretching * stretch).tocsc(), share


def _matched(vertices, faces, target, options, share):
    """Correspondences, their median distance, and how much each is believed."""
    match = target.nearest(vertices, vertex_normals(vertices, faces), options.agreement)
    typical = float(np.median(match.distance[match.trusted])) if match.trusted.any() else 1.0
    fade = np.exp(-((match.distance / max(options.reach * typical, 2.0)) ** 2))
    return match, typical, share * match.trusted * fade


def _step(vertices, step, stiffness, typical, match) -> NonRigidStep:
    moved = float(np.percentile(np.linalg.norm(step, axis=1), 99))
    return NonRigidStep(vertices, stiffness, typical, moved, float(match.trusted.mean()))


class _Rim:
    """The template's outer border and the scan's, if the two are the same line on the head.

    A scan that was cut elsewhere than the template has a border of its own: then parts of the two are far apart, or
    one is much longer.
    """

    def __init__(self, start, faces, target, weight: float, middle: float = 0.05, most: float = 0.145):
        self.weight = 0.0
        loops = border_loops(faces, start)
        if not (weight and loops and target.loops):
            return
        self.mine, theirs = loops[0], target.rim
        there, _ = cKDTree(theirs).query(start[self.mine])
        back, _ = cKDTree(start[self.mine]).query(theirs)
        size = float(np.ptp(start, axis=0).max())
        alike = max(np.median(there), np.median(back)) < middle * size
        if alike and max(np.percentile(there, 90), np.percentile(back, 90)) < most * size:
            self.weight, self.points, self.tree = weight, theirs, cKDTree(theirs)
            self.along = _directions(theirs, self.tree)

    def add(self, vertices, force, weight) -> None:
        """Add the border's pull and its weight, in place."""
        if self.weight:
            offset, share, _ = self._pull(vertices)
            force[self.mine] += share[:, None] * offset
            weight[self.mine] += share

    def add_across(self, vertices, force, blocks) -> None:
        """The same, with all freedom along the border."""
        if self.weight:
            offset, share, index = self._pull(vertices)
            across = share[:, None, None] * np.eye(3) - normal_blocks(share, self.along[index])
            force[self.mine] += (across @ offset[:, :, None])[..., 0]
            blocks[self.mine] += across

    def _pull(self, vertices):
        here = vertices[self.mine]
        distance, index = self.tree.query(here)
        share = self.weight * np.exp(-((distance / max(4 * float(np.median(distance)), 25.0)) ** 2))
        return self.points[index] - here, share, index


def _directions(points, tree, neighbours: int = 7) -> np.ndarray:
    """(N, 3) unit vectors along the line that unordered points (N, 3) lie on."""
    near = points[tree.query(points, k=min(neighbours, len(points)))[1].reshape(len(points), -1)]
    near = near - near.mean(1, keepdims=True)
    return np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][:, :, -1]
