"""Displacements of many frames, seen only through products with small matrices.

Components need three things of the frames X (F, V, d): ``X C^T``, ``W^T X`` and a few sums.  Each is one stream over
the frames, so they may lie in memory, in a file that is mapped, in a store, or exist only as coefficients.
"""

from __future__ import annotations

import numba
import numpy as np

from affect3d.geometry.arrays import require_finite
from affect3d.model.row_slices import in_slices, one_blas_thread

__all__ = ["CoefficientFrames", "FrameArray", "as_frames", "component_products"]

#: Displacements of at most this many bytes are kept; larger ones are read again for each product.
_KEEP_BYTES = 512 * 2**20
_BLOCK_BYTES = 64 * 2**20
#: Frames of which products are made at once: with 500 components 16 MB in single precision.
_ROWS = 8192


class FrameArray:
    """Frames that are an array, or anything with a shape that gives arrays for slices.

    Parameters
    ----------
    frames : (F, V, d) array-like
        Read in blocks of consecutive frames and computed with in float64.
    rest : (V, d) float array, optional
        Subtracted from each frame; zeros if left out.
    neutral : (F,) int array, optional
        Instead of `rest`: the frame that is subtracted from each, as the paper does with the neutral of a sequence.

    Raises
    ------
    ValueError
        If shapes disagree; and, while reading, if a number is not finite.
    """

    def __init__(self, frames, rest=None, neutral=None):
        if not hasattr(frames, "shape"):
            frames = np.asarray(frames, float)
        if len(frames.shape) != 3 or min(frames.shape) < 1:
            raise ValueError(f"frames: expected shape (F, V, d), none of them zero, got {tuple(frames.shape)}")
        self.shape = tuple(int(n) for n in frames.shape)
        self._frames = frames
        self._rest = np.zeros(self.shape[1:]) if rest is None else np.array(rest, float)
        if self._rest.shape != self.shape[1:]:
            raise ValueError(f"rest: expected shape {self.shape[1:]}, got {self._rest.shape}")
        require_finite(self._rest, "rest")
        self._neutral = None
        if neutral is not None:
            if rest is not None:
                raise ValueError("neutral: expected either neutral or rest, got both")
            self._neutral = np.asarray(neutral)
            if self._neutral.shape != self.shape[:1] or not np.issubdtype(self._neutral.dtype, np.integer):
                raise ValueError(f"neutral: expected whole numbers of shape ({self.shape[0]},), "
                                 f"got {self._neutral.dtype} of shape {self._neutral.shape}")  # fmt: skip
            if self._neutral.min() < 0 or self._neutral.max() >= self.shape[0]:
                raise ValueError(f"neutral: indices must lie in [0, {self.shape[0]}), got {self._neutral.min()} "
                                 f"to {self._neutral.max()}")  # fmt: skip
        per_frame = self.shape[1] * self.shape[2] * 8
        self._step = max(1, _BLOCK_BYTES // per_frame)
        self._kept = None
        if self.shape[0] * per_frame <= _KEEP_BYTES:
            self._kept = np.concatenate([block for _, block in self._read()])

    def blocks(self):
        """Yield ``(start, displacements)``, the latter (n, V d) float64; consecutive frames."""
        if self._kept is not None:
            yield 0, self._kept
        else:
            yield from self._read()

    def _read(self):
        for start in range(0, self.shape[0], self._step):
            stop = min(start + self._step, self.shape[0])
            block = np.array(self._frames[start:stop], np.float64)
            if self._neutral is None:
                block -= self._rest
            else:
                which, place = np.unique(self._neutral[start:stop], return_inverse=True)
                faces = np.stack([np.asarray(self._frames[int(i)], np.float64) for i in which])
                for i in range(len(block)):
                    block[i] -= faces[place[i]]
            require_finite(block, "frames")
            yield start, block.reshape(len(block), -1)

    def with_components(self, components) -> np.ndarray:
        """X C^T: (F, K) for components (K, V, d)."""
        flat = np.ascontiguousarray(components, float).reshape(len(components), -1).T
        out = np.empty((self.shape[0], len(components)))
        for start, block in self.blocks():
            _block_products(block, flat, out[start : start + len(block)])
        return out

    def component_products(self, components, dtype=np.float64):
        """Yield ``(start, X C^T)`` for consecutive frames."""
        flat = np.ascontiguousarray(components, float).reshape(len(components), -1).T
        for start, block in self.blocks():
            for first in range(0, len(block), _ROWS):
                part = block[first : first + _ROWS]
                out = np.empty((len(part), flat.shape[1]), dtype)
                _block_products(part, flat, out)
                yield start + first, out

    def with_weights(self, weights) -> np.ndarray:
        """W^T X: (K, V, d) for weights (F, K)."""
        total = np.zeros((weights.shape[1], self.shape[1] * self.shape[2]))
        for start, block in self.blocks():
            _add_weighted(weights[start : start + len(block)], block, total)
        return total.reshape(-1, *self.shape[1:])

    def moments(self) -> tuple[float, np.ndarray]:
        """Sum over all numbers, and (V,) sum of squares at each vertex."""
        total, squares = 0.0, np.zeros(self.shape[1] * self.shape[2])
        for _, block in self.blocks():
            total += float(block.sum())
            squares += np.einsum("ij,ij->j", block, block)
        return total, squares.reshape(self.shape[1:]).sum(1)

    def at_vertices(self, vertices) -> np.ndarray:
        """(F, n, d) displacements of few vertices, in one stream."""
        d = self.shape[2]
        place = (np.asarray(vertices, np.int64)[:, None] * d + np.arange(d)).ravel()
        return np.concatenate([block[:, place] for _, block in self.blocks()]).reshape(self.shape[0], -1, d)

    def subset(self, index) -> FrameArray:
        """The frames of sorted `index` as frames of their own, in memory."""
        index = np.asarray(index)
        parts = [b[index[(index >= s) & (index < s + len(b))] - s] for s, b in self.blocks()]
        part = object.__new__(FrameArray)  # not through the constructor, which would copy them twice
        part._kept = np.concatenate(parts)
        part.shape = (len(part._kept), *self.shape[1:])
        return part


class CoefficientFrames:
    """Frames that are sums of few shapes: coefficients (F, M) times a basis (M, V, d).

    All products are exact and never expand the frames, so their number hardly matters.
    """

    def __init__(self, coefficients, basis):
        # Single precision stays as it is: 600,000 frames of 52 are 125 MB then.
        kind = np.float32 if getattr(coefficients, "dtype", None) == np.float32 else np.float64
        self._coefficients = np.ascontiguousarray(coefficients, kind)
        self._basis = np.ascontiguousarray(basis, float)
        if self._coefficients.ndim != 2 or self._basis.ndim != 3 or not self._coefficients.size:
            raise ValueError(f"coefficients: expected (F, M) with a basis (M, V, d), got {self._coefficients.shape} "
                             f"and {self._basis.shape}")  # fmt: skip
        if self._coefficients.shape[1] != len(self._basis):
            raise ValueError(
                f"basis: expected {self._coefficients.shape[1]} shapes as in coefficients, got {len(self._basis)}"
            )
        require_finite(self._coefficients, "coefficients")
        require_finite(self._basis, "basis")
        self.shape = (len(self._coefficients), *self._basis.shape[1:])

    def with_components(self, components) -> np.ndarray:
        """X C^T: (F, K) for components (K, V, d)."""
        flat = self._basis.reshape(len(self._basis), -1)
        return self._coefficients @ (flat @ np.asarray(components, float).reshape(len(components), -1).T)

    def component_products(self, components, dtype=np.float64):
        """Yield ``(start, X C^T)`` for consecutive frames."""
        flat = self._basis.reshape(len(self._basis), -1)
        matrix = flat @ np.asarray(components, float).reshape(len(components), -1).T
        for start in range(0, self.shape[0], _ROWS):
            block = np.asarray(self._coefficients[start : start + _ROWS], np.float64)
            out = np.empty((len(block), len(components)), dtype)
            in_slices(len(block), 512, lambda a, b: _multiply(block[a:b], matrix, out[a:b]))
            yield start, out

    def with_weights(self, weights) -> np.ndarray:
        """W^T X: (K, V, d) for weights (F, K)."""
        return np.tensordot(weights.T @ self._coefficients, self._basis, 1)

    def moments(self) -> tuple[float, np.ndarray]:
        """Sum over all numbers, and (V,) sum of squares at each vertex."""
        total, gram = 0.0, 0.0
        for start in range(0, self.shape[0], _ROWS):
            rows = np.asarray(self._coefficients[start : start + _ROWS], np.float64)
            total, gram = total + rows.sum(0), gram + rows.T @ rows
        total = float(total @ self._basis.sum((1, 2)))
        squares = np.einsum("mvd,mvd->v", self._basis, np.tensordot(gram, self._basis, 1))
        return total, np.maximum(squares, 0)

    def at_vertices(self, vertices) -> np.ndarray:
        """(F, n, d) displacements of few vertices."""
        return np.tensordot(self._coefficients, self._basis[:, np.asarray(vertices, np.int64)], 1)

    def subset(self, index) -> CoefficientFrames:
        """The frames of `index` as frames of their own."""
        return CoefficientFrames(self._coefficients[np.asarray(index)], self._basis)


def as_frames(frames, rest=None, neutral=None):
    """`frames` as an object with the products above; arrays become a `FrameArray`.

    Whatever has the methods of `CoefficientFrames` is taken as it is.
    """
    if hasattr(frames, "with_components") and hasattr(frames, "with_weights"):
        if rest is not None or neutral is not None:
            raise ValueError("rest: expected none, these frames are displacements already")
        return frames
    return FrameArray(frames, rest, neutral)


def component_products(source, components, dtype=np.float64):
    """Yield ``(start, X C^T)`` of consecutive frames of any source; the products of all never lie in memory."""
    if hasattr(source, "component_products"):
        yield from source.component_products(components, dtype)
        return
    for start in range(0, source.shape[0], _ROWS):
        part = source.subset(np.arange(start, min(start + _ROWS, source.shape[0])))
        yield start, np.asarray(part.with_components(components), dtype)


def _block_products(block, flat, out) -> None:
    """out = block @ flat, some frames in each thread."""

    def work(a, b):
        out[a:b] = block[a:b] @ flat

    with one_blas_thread():
        in_slices(len(block), 64, work)


def _add_weighted(weights, block, total) -> None:
    """total += weights^T @ block, some vertices in each thread."""
    left = np.ascontiguousarray(weights.T)

    def work(a, b):
        total[:, a:b] += left @ block[:, a:b]

    with one_blas_thread():
        in_slices(block.shape[1], 4096, work)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _multiply(rows, matrix, out):
    """out = rows @ matrix, term by term, so that a row's bits depend on nothing but the row; zeros cost nothing."""
    total = np.empty(matrix.shape[1])
    for f in range(len(rows)):
        total[:] = 0
        for m in range(rows.shape[1]):
            value = rows[f, m]
            if value != 0:
                for k in range(len(total)):
                    total[k] += value * matrix[m, k]
        for k in range(len(total)):
            out[f, k] = total[k]
