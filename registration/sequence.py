"""Registration of 4D sequences: each frame starts where the one before ended, and all hang on the neutral.

The subject's registered neutral is the rest shape of every frame, so nothing can drift: a frame is the neutral, moved
rigidly, plus a displacement that bends little.  The regularizer turns with the head, so its matrices are factored once
a sequence; a frame costs searches and back-substitutions.

Those matrices hold a vertex in all directions by the weight of its match, though only its distance along the normal is
known.  At first that does well: steps are short.  In the iterations at the last stiffness it would keep skin from
sliding to where it bends least, frame after frame; there they only precondition a few steps of conjugate gradients
(`coupled_steps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import ThreadpoolController

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.coupled_steps import coupled_steps
from affect3d.registration.nonrigid import NonRigidOptions, check_weights
from affect3d.registration.panels import PanelSolver
from affect3d.registration.prior import DisplacementPrior, PriorFit
from affect3d.registration.target import Target

__all__ = ["NEUTRAL", "WITH_PRIOR", "FrameResult", "SequenceOptions", "Tracker", "register_sequence"]

_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class SequenceOptions:
    """Options of `register_sequence`.

    Attributes
    ----------
    stiffness : tuple of float
        Weight of bending against the scan, falling; see `NonRigidOptions`.
    iterations : tuple of int
        At each stiffness.
    sliding : int
        Steps of conjugate gradients in each iteration at the last stiffness; 0 leaves them out, and skin hardly slides.
    stretching : float
        Weight of the displacement's gradient, as a share of the stiffness.
    landmark_weight : float
        Of a landmark against a vertex.
    agreement : float
        Least cosine between the normals of a vertex and its scan point.
    reach : float
        mm; correspondences fade beyond it, or beyond four median distances if these are more.
    turn : float
        See `Target`.
    points : int
        Scans with more vertices are thinned to about this number for the search.
    ridge, spread : float
        Of the fit of a prior, see `PriorFit`.
    believed : float
        The part of what the prior explains that need not bend, 0 to 1: another head's motion is like this one's, not
        the same.
    smoothing : int
        Rounds in which noise is smoothed away on the scan first, see `registration.target.smoothed`.
    limit : float
        mm; a frame whose median distance along the normal is larger did not converge.
    """

    stiffness: tuple[float, ...] = (300.0, 30.0, 3.0)
    iterations: tuple[int, ...] = (1, 1, 3)
    sliding: int = 7
    stretching: float = 5e-3
    landmark_weight: float = 5.0
    agreement: float = 0.6
    reach: float = 4.0
    turn: float = 0.0
    points: int = 16000
    ridge: float = 0.05
    spread: float = 1.5
    believed: float = 0.5
    smoothing: int = 5
    limit: float = 1.5

    def __post_init__(self):
        if len(self.stiffness) != len(self.iterations) or not self.stiffness:
            raise ValueError(
                f"iterations: expected one a stiffness, {len(self.stiffness)}, got {len(self.iterations)}"
            )
        if self.sliding < 0:
            raise ValueError(f"sliding: expected at least 0 steps, got {self.sliding}")
        if not 0 <= self.believed <= 1:
            raise ValueError(f"believed: expected a part in [0, 1], got {self.believed}")


#: Options with a prior: what it explains need not bend, so what is left may be stiffer; found on sequences of a head
#: model that the prior does not come from (other people than those of benchmarks/bench_sequence.py).
WITH_PRIOR = SequenceOptions(stiffness=(300.0, 30.0, 5.0))

#: Options of the registration of a neutral.  A face at rest is nearer to the template than one that moves, so that the
#: surface tells where its skin is more exactly than landmarks do that are wrong by a millimetre.
NEUTRAL = NonRigidOptions(settling_landmarks=0.5)


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame of a sequence.

    Attributes
    ----------
    index : int
        Counted from 0.
    vertices : (V, 3) float64
        The template on the frame, mm; where the frame failed, the last good one.
    rotation : (3, 3), translation : (3,) float64
        Rigid motion from the neutral to this frame, mm.
    distance : (V,) float64
        To the nearest scan vertex, mm; infinite in a frame that failed.
    matched : (V,) bool
    converged : bool
    reason : str
    """

    index: int
    vertices: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    distance: np.ndarray
    matched: np.ndarray
    converged: bool
    reason: str


def register_sequence(
    neutral: Mesh, frames: Iterable, landmarks=None, options: SequenceOptions | None = None, weights=None,
    start: tuple[np.ndarray, np.ndarray] | None = None, prior: DisplacementPrior | None = None,
) -> Iterator[FrameResult]:
    """Register the frames of one subject's sequence, in their order, at constant memory.

    Parameters
    ----------
    neutral : Mesh
        The template registered to the subject's neutral frame, mm, as `register_nonrigid` gives it.
    frames : iterable of Mesh, of (Mesh, (L, 3) array), or of None
        Scans in mm; with positions of the landmarks (NaN where missing) if `landmarks` are given.  None stands for a
        frame that could not be read.  They are taken one ahead of the result.
    landmarks : (L,) int array, optional
        Template vertices.
    options : SequenceOptions, optional
        By default `SequenceOptions()`, or `WITH_PRIOR` if there is one.
    weights : (V,) float array, optional
        See `register_nonrigid`.
    start : (rotation (3, 3), translation (3,)), optional
        Rigid motion from the neutral to the first frame; by default they are in the same pose or nearly so.
    prior : DisplacementPrior, optional
        How faces of this topology move (`expression_prior`), in the neutral's pose: only what it does not explain is
        kept from bending, which takes away much of the sliding at strong expressions.

    Yields
    ------
    FrameResult
        One a frame.  A frame that fails says why and changes nothing: the next one starts from the last good frame.

    Raises
    ------
    ValueError
        If landmarks name no vertex, or positions have another shape.
    """
    if options is None:
        options = SequenceOptions() if prior is None else WITH_PRIOR
    tracker = Tracker(neutral, landmarks, options, weights, start, prior)
    # the next scan's tree is built while this one is registered
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        index = -1
        for index, frame in enumerate(frames):
            coming = pool.submit(_prepared, frame, options)
            if ahead is not None:
                yield tracker.frame(index - 1, *ahead.result())
            ahead = coming
        if ahead is not None:
            yield tracker.frame(index, *ahead.result())


def _prepared(frame, options: SequenceOptions):
    scan, positions = frame if isinstance(frame, tuple) else (frame, None)
    if scan is None:
        return None, None, "the frame could not be read"
    try:
        return Target(scan, options.turn, options.points, options.smoothing), positions, ""
    except ValueError as error:
        return None, None, str(error)


class Tracker:
    """State between frames: pose, displacement and the factors that do not change.

    `register_sequence` drives one; so can whoever has to stop in between and go on later (`state`, `restore`).
    """

    def __init__(self, neutral: Mesh, landmarks, options: SequenceOptions, weights=None, start=None, prior=None):
        self.options, self.faces, self.rest = options, neutral.faces, neutral.vertices
        count = len(self.rest)
        self.marks = None if landmarks is None else np.asarray(landmarks)
        if self.marks is not None and (
            self.marks.ndim != 1 or not len(self.marks) or self.marks.min() < 0 or self.marks.max() >= count
        ):
            raise ValueError(f"landmarks: expected vertex indices in [0, {count})")
        self.weights = check_weights(weights, count)
        self.rotation, self.translation = (np.eye(3), np.zeros(3)) if start is None else start
        self.offset = np.zeros_like(self.rest)  # of the neutral, in its own frame
        if prior is not None and prior.basis.shape[1] != count:
            raise ValueError(f"prior: expected displacements of {count} vertices, got {prior.basis.shape[1]}")
        self.prior = None if prior is None else PriorFit(prior, options.ridge, options.spread)
        stretch = cotangent_laplacian(self.rest, self.faces, least=0.01)
        area = vertex_areas(self.rest, self.faces)
        self.share = area / area.mean()
        bend = stretch @ sparse.diags_array(1 / np.maximum(self.share, 1e-3)) @ stretch
        self.smooth = (bend + options.stretching * stretch).tocsr()
        held = self.share + 1e-6  # vertices in no triangle stay where they are
        if self.marks is not None:
            np.add.at(held, self.marks, options.landmark_weight)
        self.solvers = [PanelSolver(k * self.smooth + sparse.diags_array(held)) for k in options.stiffness]
        # the pose is found from a part of the vertices, spread evenly by their numbers
        self.sample = np.arange(0, count, max(count // 1500, 1))
        self.good = False

    def frame(self, index: int, target: Target | None, positions, reason: str) -> FrameResult:
        # sums split over another number of threads have other last bits
        with _BLAS.limit(limits=1, user_api="blas"):
            return self._frame(index, target, positions, reason)

    def _frame(self, index: int, target: Target | None, positions, reason: str) -> FrameResult:
        if target is None:
            return self._failed(index, reason)
        if self.marks is not None and positions is not None:
            positions = np.asarray(positions, float)
            if positions.shape != (len(self.marks), 3):
                raise ValueError(f"frames: expected positions of shape ({len(self.marks)}, 3), got {positions.shape}")
        else:
            positions = None
        before = self.state()
        for _ in range(2):
            self.find_pose(target, 8 if self.good else 30)
            for k, solver, times in zip(
                self.options.stiffness, self.solvers, self.options.iterations, strict=True
            ):
                sliding = self.options.sliding if solver is self.solvers[-1] else 0
                for _ in range(times):
                    match, moved = self._bend(target, positions, k, solver, sliding)
            off = np.abs(((match.points - self.posed()) * match.normals).sum(1))  # coarse scans have no vertex near
            typical = float(np.median(off[match.trusted])) if match.trusted.any() else np.inf
            if typical < self.options.limit and match.trusted.mean() > 0.4:
                break
            # from the neutral's shape again: what was carried over may be what is wrong
            self.restore(before | {"offset": np.zeros_like(self.rest), "weights": np.zeros_like(before["weights"])})
        else:
            self.restore(before)
            return self._failed(
                index, f"the scan is {typical:.1f} mm away and {match.trusted.mean():.0%} of the template found it; "
                "the head jumped or the frame is broken",
            )  # fmt: skip
        self.good = True
        matched = match.trusted & (off < 3 * typical + 1)
        reason = f"the last step moved no vertex by more than {moved:.2f} mm"
        return FrameResult(
            index, self.posed(), self.rotation, self.translation, match.distance, matched, True, reason
        )

    def state(self) -> dict[str, np.ndarray]:
        """All that changes from frame to frame, as arrays: `restore` goes on from there with the same bits."""
        weights = np.zeros(0) if self.prior is None else self.prior.weights
        return {
            "rotation": self.rotation, "translation": self.translation, "offset": self.offset,
            "good": np.array(self.good), "weights": weights,
        }  # fmt: skip

    def restore(self, state) -> None:
        """Go back to what `state` told."""
        self.rotation, self.translation = np.array(state["rotation"]), np.array(state["translation"])
        self.offset, self.good = np.array(state["offset"]), bool(state["good"])
        if self.prior is not None:
            self.prior.weights = np.array(state["weights"])

    def restart(self, vertices) -> None:
        """Let the next frame start from `vertices` (V, 3) in mm, the neutral moved and deformed."""
        motion = procrustes(self.rest, vertices, scale=False)
        self.rotation, self.translation = motion.rotation, motion.translation
        self.offset = (vertices - self.translation) @ self.rotation - self.rest
        self.good = False
        if self.prior is not None:
            self.prior.explain(self.offset)

    def _failed(self, index, reason):
        nothing = np.full(len(self.rest), np.inf), np.zeros(len(self.rest), bool)
        return FrameResult(index, self.posed(), self.rotation, self.translation, *nothing, False, reason)

    def posed(self):
        """(V, 3) vertices of the state, mm."""
        return (self.rest + self.offset) @ self.rotation.T + self.translation

    def find_pose(self, target: Target, most: int) -> None:
        """Move the state's pose to the scan by robust point-to-plane Gauss-Newton, in at most `most` steps."""
        for _ in range(most):
            vertices = self.posed()
            normals = vertex_normals(vertices, self.faces)[self.sample]
            x = vertices[self.sample]
            match = target.nearest(x, normals, self.options.agreement)
            if match.trusted.sum() < 12:
                return
            residual = ((match.points - x) * match.normals).sum(1)
            spread = max(1.5 * float(np.median(np.abs(residual[match.trusted]))), 0.3)
            weight = match.trusted * self.weights[self.sample] / (1 + (residual / spread) ** 2) ** 2
            centre = x.mean(0)
            rows = np.column_stack([np.cross(x - centre, match.normals), match.normals])
            left = rows.T @ (rows * weight[:, None])
            step = np.linalg.solve(left + 1e-9 * np.trace(left) * np.eye(6), rows.T @ (weight * residual))
            turn = rotation_exp(step[:3])
            self.rotation = turn @ self.rotation
            self.translation = turn @ (self.translation - centre) + centre + step[3:]
            if np.abs(step[:3]).max() * 100 + np.abs(step[3:]).max() < 0.05:
                return

    def _bend(self, target: Target, positions, stiffness: float, solver, sliding: int):
        vertices = self.posed()
        match = target.nearest(vertices, vertex_normals(vertices, self.faces), self.options.agreement)
        typical = float(np.median(match.distance[match.trusted])) if match.trusted.any() else 1.0
        fade = np.exp(-((match.distance / max(4 * typical, self.options.reach)) ** 2))
        share = self.weights * match.trusted * fade * self.share
        gap = ((match.points - vertices) * match.normals).sum(1)
        normals = match.normals @ self.rotation
        force = (gap * share)[:, None] * normals
        held = np.zeros(len(force))
        if positions is not None:
            pull = (positions - vertices[self.marks]) @ self.rotation
            trust = np.nan_to_num(self.options.landmark_weight / (1 + (pull**2).sum(1) / 9.0) ** 2)
            np.add.at(force, self.marks, trust[:, None] * np.nan_to_num(pull))
            np.add.at(held, self.marks, trust)
        bent = self.offset
        if self.prior is not None:
            bent = bent - self.options.believed * self.prior.fit(gap + (self.offset * normals).sum(1), normals, share)
        force = force - stiffness * (self.smooth @ bent)
        if sliding:
            step = coupled_steps(self.smooth, stiffness, share, normals, held, force, solver.solve, sliding)
        else:
            step = solver.solve(force)
        self.offset = self.offset + step
        return match, float(np.abs(step).max())
