"""Sparse localized deformation components: what moves together, and only around one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.model.component_weights import LOWEST, component_weights
from affect3d.model.frame_products import as_frames
from affect3d.model.row_slices import one_blas_thread
from affect3d.model.splocs_start import SupportMaps, greedy_start, leading_weights, warm_start
from affect3d.model.splocs_steps import improve_components, weight_step
from affect3d.progress import Progress, silent

__all__ = ["SparseComponents", "SplocsOptions", "component_weights", "reconstruction_error",
           "scaled_sparsity", "sparse_localized_components"]  # fmt: skip


#: How far a round goes on in the direction of the last one: at first, at most, and how that changes with success.
_FIRST, _FURTHEST, _FASTER, _SLOWER = 0.5, 10.0, 1.3, 0.3


@dataclass(frozen=True)
class SplocsOptions:
    """How components are learned.

    Attributes
    ----------
    constraint : {"unit", "signed"}
        Weights in [0, 1], or in [-1, 1] so that a component deforms both ways.
    sparsity : float
        Weight of the penalty, lambda in [1]; for frames scaled to a standard deviation of 1.  It does not grow with
        the number of frames; `scaled_sparsity` does.
    near, far : float
        Within `near` of its centre a component moves freely, beyond `far` at the full penalty; d_min and d_max in [1],
        as shares of the longest side of the rest shape's bounding box, measured along the surface.
    outer_iterations : int
        At most so many rounds.
    tolerance : float
        Stop when a round lowers the energy by less than this share of it.
    sweeps : int
        Passes of each coordinate descent in a round.
    initial_frames : int
        The greedy start looks at no more frames than this, evenly spaced, nor at more than fit 256 MB.

    References
    ----------
    [1] Neumann et al., "Sparse Localized Deformation Components", ACM Transactions on Graphics 32, 2013.
    """

    constraint: str = "unit"
    sparsity: float = 2.0
    near: float = 0.1
    far: float = 0.7
    outer_iterations: int = 50
    tolerance: float = 1e-2
    sweeps: int = 20
    initial_frames: int = 1000

    def __post_init__(self):
        if self.constraint not in LOWEST:
            raise ValueError(f"constraint: expected one of {sorted(LOWEST)}, got {self.constraint!r}")
        if not 0 <= self.sparsity < np.inf:
            raise ValueError(f"sparsity: expected a number of at least 0, got {self.sparsity}")
        if not 0 <= self.near < self.far < np.inf:
            raise ValueError(f"near, far: expected 0 <= near < far, got {self.near} and {self.far}")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: expected a number in [0, 1), got {self.tolerance}")
        for name in ("outer_iterations", "sweeps", "initial_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class SparseComponents:
    """Learned components, those that explain most first.

    Attributes
    ----------
    components : (K, V, d) float64
        Displacements at weight 1, in the unit of the frames.
    weights : (F, K) float64
        Of the frames that were learned from; in [0, 1] or [-1, 1], largest magnitude of a column 1 (or all zero).
    centres : (K,) int64
        The vertex that each component lies around.
    explained : (K,) float64
        Squared error, summed over frames, that would come back without the component; unit of the frames squared.
    energies : (T,) float64
        After each round, for frames scaled to a standard deviation of 1; they never rise.
    residual : float
        Squared error summed over frames, unit of the frames squared.
    scale : float
        Standard deviation of the displacements, unit of the frames.
    constraint : str
    converged : bool
    reason : str
    """

    components: np.ndarray
    weights: np.ndarray
    centres: np.ndarray
    explained: np.ndarray
    energies: np.ndarray
    residual: float
    scale: float
    constraint: str
    converged: bool
    reason: str

    def __post_init__(self):
        components = frozen_array(self.components, np.float64, "components", (None, None, None))
        k = len(components)
        object.__setattr__(self, "components", components)
        for name, kind, shape in (("weights", np.float64, (None, k)), ("centres", np.int64, (k,)),
                                  ("explained", np.float64, (k,)), ("energies", np.float64, (None,))):  # fmt: skip
            array = frozen_array(getattr(self, name), kind, name, shape)
            require_finite(array, name)
            object.__setattr__(self, name, array)
        require_finite(components, "components")

    @property
    def sparsity(self) -> np.ndarray:
        """(K,) share of the vertices that a component leaves exactly in place."""
        return 1 - (self.components != 0).any(2).mean(1)


def sparse_localized_components(
    frames, count: int, rest=None, faces=None, options: SplocsOptions | None = None, neutral=None, seeds=(),
    start: SparseComponents | None = None, progress: Progress = silent,
) -> SparseComponents:  # fmt: skip
    """Learn components C and weights W with ``min |X - W C|^2 + sum_kv penalty_kv |c_kv|``.

    The energy is Neumann et al. 2013, equation (5), without a factor of 1/2.  Each round updates the weights, the
    centres and the components, each exactly or not at all, so the energy never rises: unlike in the paper a centre
    only moves where its penalty falls, and the weights are projected before, not after, they are scaled to a largest
    magnitude of 1.  The residual of the frames is never formed.

    Parameters
    ----------
    frames : (F, V, d) array-like, FrameArray or CoefficientFrames
        Anything with a shape that gives arrays for slices is read block by block.
    count : int
        K, number of components.
    rest : (V, 3) float array, optional
        Shape that displacements are measured from and distances along.  Needed if `frames` is an array, unless
        `neutral` is given; and with `faces`.
    faces : (T, 3) int array, optional
        Without it the penalty is the same everywhere and components are sparse but not local.
    options : SplocsOptions, optional
    neutral : (F,) int array, optional
        The frame that is subtracted from each, instead of `rest`.
    seeds : sequence of int
        Vertices around which the first components start; they may move later.
    start : SparseComponents, optional
        Warm start: its components, then new ones up to `count`.
    progress : callable

    Returns
    -------
    SparseComponents

    Raises
    ------
    ValueError
        If shapes disagree, frames are not finite or do not move, or a seed names no vertex.
    """
    options = options or SplocsOptions()
    source = as_frames(frames, None if neutral is not None or not _is_array(frames) else rest, neutral)
    v_count = source.shape[1]
    if isinstance(count, bool) or int(count) != count or count < 1:
        raise ValueError(f"count: expected a whole number of at least 1, got {count}")
    seeds = [int(s) for s in seeds]
    if len(seeds) > count or any(not 0 <= s < v_count for s in seeds):
        raise ValueError(f"seeds: expected at most {count} vertices in [0, {v_count}), got {seeds}")
    with one_blas_thread():
        return _learn(source, int(count), rest, faces, options, seeds, start, progress)


def _learn(source, count, rest, faces, options, seeds, start, progress) -> SparseComponents:
    f_count, v_count, d = source.shape
    low = LOWEST[options.constraint]
    support = SupportMaps(rest, faces, options, v_count)
    squares, scale = _scale(source)
    components, centres = warm_start(start, count, (v_count, d), scale)
    if len(components) < count:
        components, centres = greedy_start(source, scale, components, centres, count, seeds, support, low, options)
    weights = np.zeros((f_count, count))
    if start is not None and start.weights.shape[0] == f_count:
        weights[:, : min(count, start.weights.shape[1])] = np.clip(start.weights[:, :count], low, 1)
    penalty = np.stack([options.sparsity * support(v) for v in centres])
    power, energies, converged, ahead = float(squares.sum()), [], False, 0.0
    inner = _inner(components)
    for step in range(options.outer_iterations):
        products = source.with_components(components) / scale
        fresh = weight_step(weights, products, inner, low, options.sweeps)
        dead = np.flatnonzero((np.abs(fresh).max(0) == 0) | (np.diagonal(inner) <= 0))
        if len(dead):
            components[dead], fresh[:, dead] = 0, 0
            _revive(source, scale, squares, components, fresh, centres, dead, low)
            penalty[dead] = [options.sparsity * support(v) for v in centres[dead]]
        _move_centres(components, centres, penalty, support, options.sparsity)
        # Rounds creep along valleys; going on in the direction of the last one saves many, and where it does not
        # help the round is finished without.
        further = bool(ahead) and not len(dead)
        trials = [np.clip(fresh + ahead * (fresh - weights), low, 1), fresh] if further else [fresh]
        for place, trial in enumerate(trials):
            largest = np.abs(trial).max(0)
            largest[largest == 0] = 1
            trial /= largest
            products = source.with_weights(trial)
            products /= scale
            gram = trial.T @ trial
            # The fit does not see this scaling, the penalty falls with it.
            found = components * largest[:, None, None]
            improve_components(found, products, gram, penalty, options.sweeps)
            inner = _inner(found)
            residual = _residual(power, found, products, gram, inner)
            energy = residual + float(np.vdot(penalty, np.sqrt(np.einsum("kvd,kvd->kv", found, found))))
            if not energies or energy <= energies[-1]:
                break
        helped = further and place == 0
        ahead = min(ahead * _FASTER, _FURTHEST) if helped else max(ahead * _SLOWER, _FIRST)
        weights, components = trial, found
        energies.append(energy)
        progress(step + 1, options.outer_iterations, "sparse components")
        if step and energies[-2] - energies[-1] <= options.tolerance * energies[-2]:
            converged = True
            progress(options.outer_iterations, options.outer_iterations, "sparse components")
            break
    carried = np.einsum("kvd,kvd->k", components, products) - np.einsum("kj,jk->k", gram, inner)
    explained = (2 * carried + np.diagonal(gram) * np.diagonal(inner)) * scale**2
    order = np.argsort(-explained, kind="stable")
    reason = (
        f"the energy fell by less than {options.tolerance:g} of itself in round {len(energies)}" if converged
        else f"stopped after {len(energies)} rounds; allow more outer_iterations or a larger tolerance"
    )  # fmt: skip
    del products, found, trial, trials, penalty  # large ones; what follows needs the room
    components = components[order]
    components *= scale
    components.flags.writeable = False
    return SparseComponents(
        components, weights[:, order], centres[order], explained[order], np.array(energies), residual * scale**2, scale,
        options.constraint, converged, reason,
    )  # fmt: skip


def scaled_sparsity(frames: int, sparsity: float = 2.0) -> float:
    """The penalty that weighs as much beside `frames` frames as `sparsity` beside 200.

    The squared error is a sum over frames and the penalty is not, so with a fixed penalty components get denser the
    more frames they are learned from; Neumann et al. use 2 for some 200 frames.
    """
    return sparsity * frames / 200


def reconstruction_error(frames, components, weights, rest=None, neutral=None) -> float:
    """Root mean square length of ``x - w C`` over frames and vertices, in the frames' unit."""
    source = as_frames(frames, rest, neutral)
    components, weights = np.asarray(components, float), np.asarray(weights, float)
    squares = source.moments()[1].sum()
    left = _residual(squares, components, source.with_weights(weights), weights.T @ weights, _inner(components))
    return float(np.sqrt(left / (source.shape[0] * source.shape[1])))


def _scale(source) -> tuple[np.ndarray, float]:
    """(V,) sum of squares at each vertex of frames scaled to a standard deviation of 1, and that deviation."""
    total, squares = source.moments()
    size, power = int(np.prod(source.shape)), float(squares.sum())
    variance = power / size - (total / size) ** 2
    if not variance > 1e-24 * max(power / size, 1e-300):
        raise ValueError("frames: expected displacements that differ, got none")
    return squares / variance, float(np.sqrt(variance))


def _is_array(frames) -> bool:
    return not hasattr(frames, "with_components")


def _inner(components) -> np.ndarray:
    """C C^T: (K, K)."""
    flat = components.reshape(len(components), -1)
    return flat @ flat.T


def _residual(power, components, products, gram, inner) -> float:
    """|X - W C|^2 from |X|^2, W^T X, W^T W and C C^T; rounding may not carry it below zero."""
    return max(float(power - 2 * np.vdot(components, products) + np.vdot(gram, inner)), 0.0)


def _revive(source, scale, squares, components, weights, centres, dead, low) -> None:
    """Give components that died the motion of the vertices that are explained worst; the energy does not change."""
    products = source.with_weights(weights) / scale
    follow = np.tensordot(weights.T @ weights, components, 1)
    left = squares - 2 * np.einsum("kvd,kvd->v", components, products) + np.einsum("kvd,kvd->v", components, follow)
    worst = np.argsort(-left, kind="stable")[: len(dead)]
    motions = source.at_vertices(worst)
    for place, (k, vertex) in enumerate(zip(dead, worst)):
        motion = motions[:, place] / scale - weights @ components[:, vertex]
        weights[:, k] = leading_weights(motion, low)
        centres[k] = vertex


def _move_centres(components, centres, penalty, support, sparsity) -> None:
    """Move each centre to where its component moves most, where that costs less than the centre it has."""
    for k, component in enumerate(components):
        lengths = np.sqrt((component**2).sum(1))
        peak = int(lengths.argmax())
        if peak == centres[k] or lengths[peak] == 0:
            continue
        candidate = sparsity * support(peak)
        if candidate @ lengths < penalty[k] @ lengths:
            centres[k], penalty[k] = peak, candidate
