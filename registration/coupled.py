"""The system of a registration whose vertices are pulled along normals and free along the surface.

A pull along a normal couples the three coordinates of a vertex: its weight is a 3 x 3 block.  Solved as it is, the
stiffness alone decides where skin slides.  The cheaper system that gives each coordinate the same weight holds the skin
where it happens to be whenever the stiffness is small, so it cannot take back how far it slid when it was stiff.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

__all__ = ["CoupledSystem", "normal_blocks"]

#: Added to each diagonal entry: directions that nothing holds stay where they are.
_REST = 1e-9


class CoupledSystem:
    """stiffness * smooth (each coordinate by itself) + a 3 x 3 block for each vertex, factored again and again.

    The pattern and the order of elimination are found once.

    Parameters
    ----------
    smooth : (V, V) sparse array
        Symmetric and positive semi-definite, as a squared Laplacian.
    """

    def __init__(self, smooth):
        smooth = sparse.csc_array(smooth)
        count = smooth.shape[0]
        if smooth.shape != (count, count):
            raise ValueError(f"smooth: expected a square matrix, got {smooth.shape}")
        # what fills least for single vertices does so for their three coordinates
        sample = smooth + sparse.diags_array(np.full(count, max(float(abs(smooth.diagonal()).mean()), 1.0)))
        place = splu(
            sample.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        ).perm_c.astype(np.int64)
        self._place = place
        smooth = smooth.tocoo()
        row, column = place[smooth.coords[0]], place[smooth.coords[1]]
        axis = np.arange(3)
        rows = [(3 * row[:, None] + axis).ravel(), np.repeat(3 * place[:, None] + axis, 3, axis=1).ravel()]
        columns = [(3 * column[:, None] + axis).ravel(), np.tile(3 * place[:, None] + axis, (1, 3)).ravel()]
        rows, columns = np.concatenate(rows), np.concatenate(columns)
        size = 3 * count
        key, entry = np.unique(columns.astype(np.int64) * size + rows, return_inverse=True)
        inner = len(row) * 3
        self._smooth = np.bincount(entry[:inner], np.repeat(smooth.data, 3), len(key))
        self._blocks = entry[inner:]
        self._indices = (key % size).astype(np.int32)
        self._pointers = np.searchsorted(key, np.arange(size + 1) * size).astype(np.int32)
        self._size = size

    def factored(self, stiffness: float, blocks) -> Callable[[np.ndarray], np.ndarray]:
        """The solver of the system: it takes forces (V, 3) and gives displacements (V, 3).

        Parameters
        ----------
        stiffness : float
        blocks : (V, 3, 3) float array
            Symmetric and positive semi-definite.
        """
        blocks = np.asarray(blocks, float)
        if blocks.shape != (self._size // 3, 3, 3):
            raise ValueError(f"blocks: expected shape ({self._size // 3}, 3, 3), got {blocks.shape}")
        data = stiffness * self._smooth
        data[self._blocks] += (blocks + _REST * np.eye(3)).ravel()
        matrix = sparse.csc_array((data, self._indices, self._pointers), shape=(self._size, self._size))
        factor = splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

        def solve(forces):
            ordered = np.empty((self._size // 3, 3))
            ordered[self._place] = forces
            return factor.solve(ordered.ravel()).reshape(-1, 3)[self._place]

        return solve


def normal_blocks(weights, directions) -> np.ndarray:
    """(V, 3, 3) weights (V,) times the outer products of directions (V, 3) with themselves."""
    return (weights[:, None, None] * directions[:, :, None]) * directions[:, None, :]
