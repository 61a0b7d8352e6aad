"""The valence-arousal plane and its division into classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["VASpace", "checked_affect"]

# A value this close below an edge (in squares) counts as on the edge.  It is wider than the rounding of float32
# labels and far narrower than any annotation, so 0.2 * k lands in the square that owns the edge, however computed.
_EDGE = 1e-6


@dataclass(frozen=True)
class VASpace:
    """The square [-1, 1] x [-1, 1] of valence and arousal, cut into equal classes.

    ``class = row * columns + column``: the column counts valence from -1, the
    row counts arousal from -1.  A square owns its lower edges; the last row
    and column own their upper edge too.  The default is the paper's 100
    squares of 0.2 (Fig. 3).

    Attributes
    ----------
    columns, rows : int
        Squares along valence and along arousal, at least 1.
    """

    columns: int = 10
    rows: int = 10

    def __post_init__(self):
        for name in ("columns", "rows"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
            object.__setattr__(self, name, int(value))

    @property
    def count(self) -> int:
        """Number of classes."""
        return self.columns * self.rows

    def class_of(self, valence, arousal):
        """Class of each valence-arousal pair.

        Parameters
        ----------
        valence, arousal : float or float array, each in [-1, 1]
            Broadcast against each other.

        Returns
        -------
        int, or int64 array of the broadcast shape

        Raises
        ------
        ValueError
            If a value is NaN or outside [-1, 1]; the message names the argument.
        """
        valence, arousal = checked_affect(valence, arousal)
        index = _square(arousal, self.rows) * self.columns + _square(valence, self.columns)
        return int(index) if index.ndim == 0 else index

    def centre(self, k):
        """Valence and arousal of the middle of class `k`.

        Parameters
        ----------
        k : int, or int array of any shape

        Returns
        -------
        tuple of two floats, or float array (..., 2)
        """
        k = self._checked_class(k)
        row, column = np.divmod(k, self.columns)
        valence = -1 + (2 * column + 1) / self.columns
        arousal = -1 + (2 * row + 1) / self.rows
        return (float(valence), float(arousal)) if k.ndim == 0 else np.stack([valence, arousal], axis=-1)

    def centres(self) -> np.ndarray:
        """(K, 2) valence and arousal of every class centre, in class order."""
        return self.centre(np.arange(self.count))

    def histogram(self, valence, arousal) -> np.ndarray:
        """(K,) int64: how many of the pairs fall into each class (the paper's Fig. 3)."""
        return np.bincount(np.ravel(self.class_of(valence, arousal)), minlength=self.count)

    def medians(self, valence, arousal) -> np.ndarray:
        """Median label of each class, what the paper assigns to a class's synthetic faces.

        Returns
        -------
        (K, 2) float64
            Median valence and median arousal; the centre for a class without pairs.
        """
        valence, arousal = np.broadcast_arrays(*checked_affect(valence, arousal))
        labels = np.stack([valence.ravel(), arousal.ravel()], axis=1)
        index = np.ravel(self.class_of(valence, arousal))
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index[order], np.arange(self.count + 1))
        result = self.centres()
        for k in np.flatnonzero(np.diff(bounds)):
            result[k] = np.median(labels[order[bounds[k] : bounds[k + 1]]], axis=0)
        return result

    def neighbours(self, k: int, diagonal: bool = False) -> tuple[int, ...]:
        """Classes that share an edge with class `k`, or with `diagonal` also a corner, in rising order."""
        row, column = divmod(int(self._checked_class(k)), self.columns)
        steps = [(-1, 0), (0, -1), (0, 1), (1, 0)]
        if diagonal:
            steps += [(-1, -1), (-1, 1), (1, -1), (1, 1)]
        inside = [
            (row + i) * self.columns + column + j
            for i, j in steps
            if 0 <= row + i < self.rows and 0 <= column + j < self.columns
        ]
        return tuple(sorted(inside))

    def _checked_class(self, k) -> np.ndarray:
        k = np.asarray(k)
        if not np.issubdtype(k.dtype, np.integer):
            raise ValueError(f"k: expected whole numbers, got {k.dtype}")
        if k.size and (k.min() < 0 or k.max() >= self.count):
            bad = k.min() if k.min() < 0 else k.max()
            raise ValueError(f"k: classes must lie in [0, {self.count}), got {bad}")
        return k


def checked_affect(valence, arousal) -> tuple[np.ndarray, np.ndarray]:
    """Valence and arousal as float64 arrays.

    Raises
    ------
    ValueError
        If a value is NaN or outside [-1, 1], or the shapes do not broadcast;
        the message names the argument.
    """
    arrays = []
    for name, value in (("valence", valence), ("arousal", arousal)):
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: expected numbers in [-1, 1], got {value!r}") from None
        # Written so that NaN, which fails every comparison, is caught as well.
        inside = np.abs(array) <= 1
        if not inside.all():
            raise ValueError(f"{name}: expected numbers in [-1, 1], got {array[~inside].ravel()[0]:g}")
        arrays.append(array)
    try:
        np.broadcast_shapes(arrays[0].shape, arrays[1].shape)
    except ValueError:
        raise ValueError(
            f"arousal: expected a shape that goes with valence {arrays[0].shape}, got {arrays[1].shape}"
        ) from None
    return arrays[0], arrays[1]


def _square(value: np.ndarray, count: int) -> np.ndarray:
    return np.clip(np.floor((value + 1) * (count / 2) + _EDGE).astype(np.int64), 0, count - 1)
