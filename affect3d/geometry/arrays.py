"""Checks that turn what callers pass into read-only arrays of known shape."""

from __future__ import annotations

import numpy as np

__all__ = ["frozen_array", "require_finite"]


def frozen_array(value, dtype, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Read-only C-contiguous copy of `value`, checked against `shape`.

    ``None`` in `shape` allows any length.  An array that already is read-only
    and of the right type is returned as it is.

    Raises
    ------
    ValueError
        If the number of axes or a length differs; the message names `name`.
    """
    array = np.asarray(value)
    if array.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, array.shape)):
        wanted = "(" + ", ".join("*" if s is None else str(s) for s in shape) + ")"
        raise ValueError(f"{name}: expected shape {wanted}, got {array.shape}")
    if array.dtype == dtype and not array.flags.writeable and array.flags.c_contiguous:
        return array
    array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


def require_finite(array, name: str) -> None:
    """Raise ValueError naming `name` if `array` holds NaN or infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        raise ValueError(f"{name}: expected finite numbers, got {int(finite.size - finite.sum())} that are not")
