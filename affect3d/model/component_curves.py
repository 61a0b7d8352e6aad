"""How error and sparsity change with the number of components."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array
from affect3d.model.component_weights import component_weights_stream
from affect3d.model.frame_products import as_frames, component_products
from affect3d.model.splocs import SparseComponents, SplocsOptions, sparse_localized_components
from affect3d.progress import Progress, silent

__all__ = ["ComponentCurves", "component_curves", "projection_error"]


@dataclass(frozen=True, eq=False)
class ComponentCurves:
    """One number of each kind for each number of components.

    Attributes
    ----------
    counts : (N,) int64
        Ascending.
    error : (N,) float64
        Root mean square distance of a vertex from where it was, over the frames that were learned from; their unit.
    held_out_error : (N,) float64
        Over the held-out frames, with weights fitted under the constraint; empty without such frames.
    sparsity : (N,) float64
        Mean share of the vertices that a component leaves exactly in place.
    energy : (N,) float64
        Of the last round, for frames scaled to a standard deviation of 1.
    motion : float
        The error of no components at all.
    seconds : (N,) float64
    converged : (N,) bool
    """

    counts: np.ndarray
    error: np.ndarray
    held_out_error: np.ndarray
    sparsity: np.ndarray
    energy: np.ndarray
    motion: float
    seconds: np.ndarray
    converged: np.ndarray

    def __post_init__(self):
        n = len(self.counts)
        kinds = dict(counts=np.int64, converged=bool)
        for name in ("counts", "error", "sparsity", "energy", "seconds", "converged", "held_out_error"):
            length = None if name == "held_out_error" else n
            array = frozen_array(getattr(self, name), kinds.get(name, np.float64), name, (length,))
            object.__setattr__(self, name, array)


def component_curves(
    frames, counts, rest=None, faces=None, options: SplocsOptions | None = None, neutral=None, held_out=None,
    seeds=(), keep: Callable[[int, SparseComponents], None] | None = None, progress: Progress = silent,
) -> ComponentCurves:  # fmt: skip
    """Learn components of each number, fewest first and each from those before, and measure them.

    Parameters
    ----------
    frames, rest, faces, options, neutral, seeds
        As in `sparse_localized_components`.
    counts : sequence of int
        Numbers of components; order and repetitions do not matter.
    held_out : frames, optional
        Others of the same shape; an array is measured from `rest`.
    keep : callable, optional
        Called with each number and what was learned, to save it for instance.
    progress : callable

    Returns
    -------
    ComponentCurves

    Raises
    ------
    ValueError
        As `sparse_localized_components`, and if there is no count.
    """
    options = options or SplocsOptions()
    counts = sorted({int(n) for n in counts})
    if not counts or counts[0] < 1:
        raise ValueError(f"counts: expected whole numbers of at least 1, got {counts}")
    array = not hasattr(frames, "with_components")
    source = as_frames(frames, rest if array and neutral is None else None, neutral)
    if held_out is not None:
        held_out = as_frames(held_out, None if hasattr(held_out, "with_components") else rest)
        if held_out.shape[1:] != source.shape[1:]:
            raise ValueError(f"held_out: expected frames of shape {source.shape[1:]}, got {held_out.shape[1:]}")
    size = source.shape[0] * source.shape[1]
    learned, rows = None, []
    for place, count in enumerate(counts):
        begin = time.perf_counter()
        learned = sparse_localized_components(source, count, rest, faces, options, None, tuple(seeds)[:count], learned)
        seconds = time.perf_counter() - begin
        away = [] if held_out is None else [projection_error(held_out, learned.components, learned.constraint)]
        rows.append((np.sqrt(learned.residual / size), away, learned.sparsity.mean(), learned.energies[-1], seconds,
                     learned.converged))  # fmt: skip
        if keep is not None:
            keep(count, learned)
        progress(place + 1, len(counts), "component curves")
    error, away, sparsity, energy, seconds, converged = zip(*rows)
    motion = float(np.sqrt(source.moments()[1].sum() / size))
    return ComponentCurves(counts, error, np.ravel(away), sparsity, energy, motion, seconds, converged)


def projection_error(frames, components, constraint: str = "unit", rest=None, neutral=None, **how) -> float:
    """Root mean square distance of a vertex after the best fit of fixed components; frames of any number, streamed.

    Further arguments are those of `component_weights_stream`.
    """
    source = as_frames(frames, rest, neutral)
    components = np.asarray(components, float)
    flat = components.reshape(len(components), -1)
    gram = flat @ flat.T
    total = float(source.moments()[1].sum())
    how = {"dtype": np.float64, **how}
    stream = component_weights_stream(source, components, constraint, **how)
    for (_, weights), (_, products) in zip(stream, component_products(source, components)):
        weights = weights.astype(np.float64)
        total += float(np.vdot(weights @ gram, weights) - 2 * np.vdot(weights, products))
    return float(np.sqrt(max(total, 0.0) / (source.shape[0] * source.shape[1])))
