"""Sparse localized deformation components: what moves together, and only around one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.geometry.geodesic import HeatGeodesics
from affect3d.model.frame_products import as_frames
from affect3d.model.splocs_steps import component_step, weight_step
from affect3d.progress import Progress, silent

__all__ = ["SparseComponents", "SplocsOptions", "component_weights", "reconstruction_error",
           "sparse_localized_components"]  # fmt: skip

#: Lower limit of a weight under each of the paper's two constraints; the upper one is 1.
LOWEST = {"unit": 0.0, "signed": -1.0}


@dataclass(frozen=True)
class SplocsOptions:
    """How components are learned.

    Attributes
    ----------
    constraint : {"unit", "signed"}
        Weights in [0, 1], or in [-1, 1] so that a component deforms both ways.
    sparsity : float
        Weight of the penalty, lambda in [1]; for frames scaled to a standard deviation of 1.
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
        The greedy start looks at no more frames than this, evenly spaced.

    References
    ----------
    [1] Neumann et al., "Sparse Localized Deformation Components", ACM Transactions on Graphics 32, 2013.
    """

    constraint: str = "unit"
    sparsity: float = 2.0
    near: float = 0.1
    far: float = 0.7
    outer_iterations: int = 50
    tolerance: float = 1e-3
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
    f_count, v_count, d = source.shape
    if isinstance(count, bool) or int(count) != count or count < 1:
        raise ValueError(f"count: expected a whole number of at least 1, got {count}")
    seeds = [int(s) for s in seeds]
    if len(seeds) > count or any(not 0 <= s < v_count for s in seeds):
        raise ValueError(f"seeds: expected at most {count} vertices in [0, {v_count}), got {seeds}")
    low = LOWEST[options.constraint]
    support = _Support(rest, faces, options, v_count)
    total, squares = source.moments()
    size = f_count * v_count * d
    power = float(squares.sum())
    variance = power / size - (total / size) ** 2
    if not variance > 1e-24 * max(power / size, 1e-300):
        raise ValueError("frames: expected displacements that differ, got none")
    scale = float(np.sqrt(variance))
    squares = squares / variance

    components, centres = _warm(start, count, (v_count, d), scale)
    if len(components) < count:
        components, centres = _greedy(source, scale, components, centres, count, seeds, support, low, options)
    weights = np.zeros((f_count, count))
    if start is not None and start.weights.shape[0] == f_count:
        weights[:, : min(count, start.weights.shape[1])] = np.clip(start.weights[:, :count], low, 1)
    penalty = np.stack([options.sparsity * support(v) for v in centres])
    # What one coordinate may still gain without being worth another sweep.
    enough = 1e-9 * float(squares.sum())
    energies, converged = [], False
    for step in range(options.outer_iterations):
        gram = np.tensordot(components, components, ((1, 2), (1, 2)))
        products = source.with_components(components) / scale
        weights = weight_step(weights, products, gram, low, options.sweeps, enough / f_count)
        largest = np.abs(weights).max(0)
        alive = (largest > 0) & (np.diagonal(gram) > 0)
        # The fit does not see this scaling, the penalty falls with it.
        weights[:, alive] /= largest[alive]
        components[alive] *= largest[alive, None, None]
        components[~alive] = 0
        weights[:, ~alive] = 0
        if not alive.all():
            _revive(source, scale, squares, components, weights, centres, np.flatnonzero(~alive), low)
            penalty[~alive] = [options.sparsity * support(v) for v in centres[~alive]]
        _move_centres(components, centres, penalty, support, options.sparsity)
        products = source.with_weights(weights) / scale
        gram = weights.T @ weights
        components = component_step(components, products, gram, penalty, options.sweeps, enough / v_count)
        residual = _residual(squares.sum(), components, products, gram)
        lengths = np.sqrt((components**2).sum(2))
        energies.append(residual + float((penalty * lengths).sum()))
        progress(step + 1, options.outer_iterations, "sparse components")
        if step and energies[-2] - energies[-1] <= options.tolerance * energies[-2]:
            converged = True
            progress(options.outer_iterations, options.outer_iterations, "sparse components")
            break
    inner = np.tensordot(components, components, ((1, 2), (1, 2)))
    carried = np.einsum("kvd,kvd->k", components, products) - np.einsum("kj,jk->k", gram, inner)
    explained = (2 * carried + np.diagonal(gram) * np.diagonal(inner)) * variance
    order = np.argsort(-explained, kind="stable")
    reason = (
        f"the energy fell by less than {options.tolerance:g} of itself in round {len(energies)}" if converged
        else f"stopped after {len(energies)} rounds; allow more outer_iterations or a larger tolerance"
    )  # fmt: skip
    return SparseComponents(
        components[order] * scale, weights[:, order], centres[order], explained[order], np.array(energies),
        residual * variance, scale, options.constraint, converged, reason,
    )  # fmt: skip


def component_weights(
    frames, components, constraint: str = "unit", rest=None, neutral=None, sweeps: int = 200
) -> np.ndarray:
    """Weights (F, K) of the best fit of fixed `components` (K, V, d) under the constraint they were learned with.

    Frames as in `sparse_localized_components`; each row is the minimum of ``|x - w C|^2`` in the box, found by
    coordinate descent from zero.
    """
    if constraint not in LOWEST:
        raise ValueError(f"constraint: expected one of {sorted(LOWEST)}, got {constraint!r}")
    source = as_frames(frames, rest, neutral)
    components = np.asarray(components, float)
    if components.ndim != 3 or components.shape[1:] != source.shape[1:]:
        v, d = source.shape[1:]
        raise ValueError(f"components: expected shape (K, {v}, {d}), got {components.shape}")
    require_finite(components, "components")
    gram = np.tensordot(components, components, ((1, 2), (1, 2)))
    tolerance = 1e-12 * max(float(np.diagonal(gram).max(initial=0)), 1e-300)
    products = source.with_components(components)
    return weight_step(np.zeros(products.shape), products, gram, LOWEST[constraint], sweeps, tolerance)


def reconstruction_error(frames, components, weights, rest=None, neutral=None) -> float:
    """Root mean square length of ``x - w C`` over frames and vertices, in the frames' unit."""
    source = as_frames(frames, rest, neutral)
    components, weights = np.asarray(components, float), np.asarray(weights, float)
    squares = source.moments()[1].sum()
    left = _residual(squares, components, source.with_weights(weights), weights.T @ weights)
    return float(np.sqrt(left / (source.shape[0] * source.shape[1])))


def _is_array(frames) -> bool:
    return not hasattr(frames, "with_components")


def _residual(power, components, products, gram) -> float:
    """|X - W C|^2 from |X|^2, W^T X and W^T W; rounding may not carry it below zero."""
    inner = np.tensordot(components, components, ((1, 2), (1, 2)))
    return max(float(power - 2 * np.vdot(components, products) + np.vdot(gram, inner)), 0.0)


class _Support:
    """Support maps (V,) in [0, 1] around vertices, 0 near and 1 far; those asked for before are kept."""

    def __init__(self, rest, faces, options, count):
        self._solver, self._known, self._ones = None, {}, np.ones(count)
        if faces is None:
            return
        if rest is None or np.shape(rest) != (count, 3):
            raise ValueError(f"rest: distances along faces need positions of shape ({count}, 3), got {np.shape(rest)}")
        side = float(np.ptp(np.asarray(rest, float), axis=0).max())
        self._near, self._far = options.near * side, options.far * side
        self._solver = HeatGeodesics(rest, faces)

    def __call__(self, vertex) -> np.ndarray:
        if self._solver is None:
            return self._ones
        vertex = int(vertex)
        if vertex not in self._known:
            distance = np.clip(self._solver.distance(vertex), self._near, self._far)
            if len(self._known) * len(distance) > 4e7:  # some 320 MB
                self._known.clear()
            self._known[vertex] = (distance - self._near) / (self._far - self._near)
        return self._known[vertex]


def _warm(start, count, shape, scale) -> tuple[np.ndarray, np.ndarray]:
    if start is None:
        return np.zeros((0, *shape)), np.zeros(0, np.int64)
    if start.components.shape[1:] != shape:
        raise ValueError(f"start: expected components of shape (K, {shape[0]}, {shape[1]}), "
                         f"got {start.components.shape}")  # fmt: skip
    return start.components[:count] / scale, np.array(start.centres[:count])


def _allowed(weights, low) -> np.ndarray:
    """A column of weights brought into its box, of the sign that loses less, with largest magnitude 1 (or zeros)."""
    if low == 0:
        up, down = np.maximum(weights, 0), np.maximum(-weights, 0)
        weights = up if up @ up >= down @ down else down
    largest = np.abs(weights).max()
    return weights / largest if largest > 0 else weights


def _leading(motion, low) -> np.ndarray:
    """(F,) weights of the direction in which one vertex's `motion` (F, d) is greatest."""
    direction = np.linalg.eigh(motion.T @ motion)[1][:, -1]
    direction = direction * (1 if direction[np.abs(direction).argmax()] > 0 else -1)  # a settled sign
    return _allowed(motion @ direction, low)


def _greedy(source, scale, components, centres, count, seeds, support, low, options):
    """Take the vertex that moves most in what is left, its leading direction, and what follows it nearby."""
    every = -(-source.shape[0] // options.initial_frames)
    if every > 1:
        source = source.subset(np.arange(0, source.shape[0], every))
    squares = source.moments()[1] / scale**2
    weights = np.zeros((source.shape[0], count))
    known = len(components)
    grown = np.zeros((count, *source.shape[1:]))
    grown[:known] = components
    places = np.zeros(count, np.int64)
    places[:known] = centres
    if known:
        inner = np.tensordot(components, components, ((1, 2), (1, 2)))
        weights[:, :known] = weight_step(weights[:, :known], source.with_components(components) / scale, inner, low)
        products = source.with_weights(weights[:, :known]) / scale
        follow = np.tensordot(weights[:, :known].T @ weights[:, :known], components, 1)
        squares = squares - 2 * np.einsum("kvd,kvd->v", components, products)
        squares += np.einsum("kvd,kvd->v", components, follow)
    for k in range(known, count):
        vertex = seeds[k - known] if k - known < len(seeds) else int(squares.argmax())
        places[k] = vertex
        motion = source.at_vertex(vertex) / scale - weights[:, :k] @ grown[:k, vertex]
        column = _leading(motion, low)
        power = float(column @ column)
        if power == 0:
            continue  # nothing is left to explain here; the component starts at zero
        weights[:, k] = column
        left = source.with_weights(column[:, None])[0] / scale - np.tensordot(column @ weights[:, :k], grown[:k], 1)
        share = 1 - support(vertex) if support(vertex).min() < 1 else np.ones(len(left))
        grown[k] = share[:, None] * left / power
        squares = np.maximum(squares - (2 * share - share**2) * (left**2).sum(1) / power, 0)
    return grown, places


def _revive(source, scale, squares, components, weights, centres, dead, low) -> None:
    """Give components that died the motion of the vertices that are explained worst; the energy does not change."""
    products = source.with_weights(weights) / scale
    follow = np.tensordot(weights.T @ weights, components, 1)
    left = squares - 2 * np.einsum("kvd,kvd->v", components, products) + np.einsum("kvd,kvd->v", components, follow)
    for k, vertex in zip(dead, np.argsort(-left, kind="stable")):
        motion = source.at_vertex(int(vertex)) / scale - weights @ components[:, vertex]
        weights[:, k] = _leading(motion, low)
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
