"""Weights of fixed components for any number of frames, in the box that the components were learned with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from affect3d.geometry.arrays import require_finite
from affect3d.model.box_least_squares import box_least_squares, solution_without_box
from affect3d.model.frame_products import as_frames, component_products
from affect3d.model.row_slices import one_blas_thread

__all__ = ["LOWEST", "component_weights", "component_weights_stream"]

#: Lower limit of a weight under each of the paper's two constraints; the upper one is 1.
LOWEST = {"unit": 0.0, "signed": -1.0}


def component_weights(
    frames, components, constraint: str = "unit", rest=None, neutral=None, ridge: float = 1e-4,
    sweeps: int = 16, tolerance: float = 1e-2, dtype=np.float32,
) -> np.ndarray:  # fmt: skip
    """Weights (F, K) of the best fit of fixed components; see `component_weights_stream`, whose blocks these are."""
    source = as_frames(frames, rest, neutral)
    out = np.empty((source.shape[0], len(components)), dtype)
    for start, weights in component_weights_stream(
        source, components, constraint, ridge=ridge, sweeps=sweeps, tolerance=tolerance, dtype=dtype
    ):
        out[start : start + len(weights)] = weights
    return out


def component_weights_stream(
    frames, components, constraint: str = "unit", rest=None, neutral=None, ridge: float = 1e-4,
    sweeps: int = 16, tolerance: float = 1e-2, dtype=np.float32,
) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """Yield ``(start, weights)`` of consecutive frames, so that the weights of all are never in memory at once.

    A row is the w in the box that makes ``|x - w C|^2 + ridge h |w|^2`` least, h being the mean of ``|C_k|^2``.  With
    many components most frames can be made in many nearly equal ways; the small ridge chooses the one with the
    smallest weights, which also follows the frames smoothly.  Each row starts from the solution without the box,
    clipped to it, and is improved by coordinate descent until what can still be gained is certainly less than
    `tolerance` h (`box_least_squares` says how that is known), or for `sweeps` passes.  A row depends on its frame
    alone: not on its neighbours, nor on how many there are, nor on the number of threads.

    Parameters
    ----------
    frames, rest, neutral
        As in `sparse_localized_components`.
    components : (K, V, d) float array
        Displacements at weight 1, unit of the frames.
    constraint : {"unit", "signed"}
        Weights in [0, 1] or [-1, 1].
    ridge : float
        At least 0.
    sweeps : int
        At least 1.  The bound is cautious: what is truly left is often a hundredth of it.
    tolerance : float
        At least 0; 0.01 is a hundredth of the energy of a mean component.
    dtype : {float32, float64}
        Precision of the computation and of the result.

    Yields
    ------
    start : int
    weights : (n, K) float array

    Raises
    ------
    ValueError
        If shapes disagree, numbers are not finite, or an argument is out of range.
    """
    if constraint not in LOWEST:
        raise ValueError(f"constraint: expected one of {sorted(LOWEST)}, got {constraint!r}")
    for name, value in (("ridge", ridge), ("tolerance", tolerance)):
        if not 0 <= value < np.inf:
            raise ValueError(f"{name}: expected a number of at least 0, got {value}")
    if sweeps < 1:
        raise ValueError(f"sweeps: expected at least 1, got {sweeps}")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype}")
    source = as_frames(frames, rest, neutral)
    components = np.asarray(components, float)
    if components.ndim != 3 or components.shape[1:] != source.shape[1:]:
        v, d = source.shape[1:]
        raise ValueError(f"components: expected shape (K, {v}, {d}), got {components.shape}")
    require_finite(components, "components")
    return _stream(source, components, LOWEST[constraint], ridge, sweeps, tolerance, np.dtype(dtype))


def _stream(source, components, low, ridge, sweeps, tolerance, dtype):
    flat = components.reshape(len(components), -1)
    with one_blas_thread():
        gram = flat @ flat.T
        mean = float(np.trace(gram)) / max(len(gram), 1)
        first = solution_without_box(gram, ridge * mean).astype(dtype)
    # Single precision cannot tell what is below its rounding, so it is not asked to.
    least = max(tolerance, 1e-12 if dtype == np.float64 else 1e-6) * mean
    for start, products in component_products(source, components, dtype):
        found = box_least_squares(products, gram, low, None, ridge * mean, sweeps, least, first)
        yield start, found.weights

