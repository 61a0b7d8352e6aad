"""Displacements of many frames, seen only through products with small matrices.

Components need three things of the frames X (F, V, d): ``X C^T``, ``W^T X`` and a few sums.  Each is one stream over
the frames, so they may lie in memory, in a file that is mapped, in a store, or exist only as coefficients.
"""

from __future__ import annotations

import numpy as np

from affect3d.geometry.arrays import require_finite

__all__ = ["CoefficientFrames", "FrameArray", "as_frames"]

#: Displacements of at most this many bytes are kept; larger ones are read again for each product.
_KEEP_BYTES = 512 * 2**20
_BLOCK_BYTES = 64 * 2**20


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
            out[start : start + len(block)] = block @ flat
        return out

    def with_weights(self, weights) -> np.ndarray:
        """W^T X: (K, V, d) for weights (F, K)."""
        total = np.zeros((weights.shape[1], self.shape[1] * self.shape[2]))
        for start, block in self.blocks():
            total += weights[start : start + len(block)].T @ block
        return total.reshape(-1, *self.shape[1:])

    def moments(self) -> tuple[float, np.ndarray]:
        """Sum over all numbers, and (V,) sum of squares at each vertex."""
        total, squares = 0.0, np.zeros(self.shape[1] * self.shape[2])
        for _, block in self.blocks():
            total += float(block.sum())
            squares += np.einsum("ij,ij->j", block, block)
        return total, squares.reshape(self.shape[1:]).sum(1)

    def at_vertex(self, vertex: int) -> np.ndarray:
        """(F, d) displacements of one vertex."""
        place = slice(vertex * self.shape[2], (vertex + 1) * self.shape[2])
        return np.concatenate([block[:, place] for _, block in self.blocks()])

    def subset(self, index) -> FrameArray:
        """The frames of sorted `index` as frames of their own, in memory."""
        index = np.asarray(index)
        parts = [b[index[(index >= s) & (index < s + len(b))] - s] for s, b in self.blocks()]
        return FrameArray(np.concatenate(parts).reshape(-1, *self.shape[1:]))


class CoefficientFrames:
    """Frames that are sums of few shapes: coefficients (F, M) times a basis (M, V, d).

    All products are exact and never expand the frames, so their number hardly matters.
    """

    def __init__(self, coefficients, basis):
        self._coefficients = np.ascontiguousarray(coefficients, float)
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

    def with_weights(self, weights) -> np.ndarray:
        """W^T X: (K, V, d) for weights (F, K)."""
        return np.tensordot(weights.T @ self._coefficients, self._basis, 1)

    def moments(self) -> tuple[float, np.ndarray]:
        """Sum over all numbers, and (V,) sum of squares at each vertex."""
        total = float(self._coefficients.sum(0) @ self._basis.sum((1, 2)))
        gram = self._coefficients.T @ self._coefficients
        squares = np.einsum("mvd,mvd->v", self._basis, np.tensordot(gram, self._basis, 1))
        return total, np.maximum(squares, 0)

    def at_vertex(self, vertex: int) -> np.ndarray:
        """(F, d) displacements of one vertex."""
        return self._coefficients @ self._basis[:, vertex]

    def subset(self, index) -> CoefficientFrames:
        """The frames of `index` as frames of their own."""
        return CoefficientFrames(self._coefficients[np.asarray(index)], self._basis)


def as_frames(frames, rest=None, neutral=None):
    """`frames` as an object with the products above; arrays become a `FrameArray`."""
    if isinstance(frames, (FrameArray, CoefficientFrames)):
        if rest is not None or neutral is not None:
            raise ValueError("rest: expected none, these frames are displacements already")
        return frames
    return FrameArray(frames, rest, neutral)
