"""A factored matrix that is asked again and again for three coordinates at once.

What SuperLU factors it also solves with, but its panels are small, for they are made for factoring, and three
coordinates take it two and a half times as long as one.  Here the factor is laid out anew, in fewer and larger dense
panels: columns that eliminate one another stand side by side, with zeros where one of them lacks a row, and a compiled
loop runs down a panel's columns with all three coordinates.  That is three times as fast, and the numbers differ in
their last digits only.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.registration.panel_kernels import invert_tops, substitute

__all__ = ["PanelSolver"]

#: Columns of a whole branch of the elimination tree that become one panel: with more there are more zeros among them,
#: with fewer the loops are too short.
_BRANCH = 24


class PanelSolver:
    """The solver of one symmetric positive definite system for displacements.

    Parameters
    ----------
    matrix : (V, V) sparse array
        Symmetric and positive definite.

    Raises
    ------
    ValueError
        If the matrix is not square, not symmetric or not positive definite.

    References
    ----------
    Liu, Ng and Peyton, "On Finding Supernodes for Sparse Matrix Computations", SIAM Journal on Matrix Analysis and
    Applications 14, 1993; Ashcraft and Grimes, "The Influence of Relaxed Supernode Partitions on the Multifrontal
    Method", ACM Transactions on Mathematical Software 15, 1989.
    """

    def __init__(self, matrix):
        matrix = sparse.csc_array(matrix, dtype=np.float64)
        count = matrix.shape[0]
        if matrix.shape != (count, count) or not count:
            raise ValueError(f"matrix: expected a square one of at least one row, got {matrix.shape}")
        if not abs(matrix - matrix.T).max() <= 1e-9 * abs(matrix).max():
            raise ValueError("matrix: expected a symmetric one")
        try:
            factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError as error:
            raise ValueError(f"matrix: expected a positive definite one: {error}") from error
        pivots = factor.U.diagonal()
        if (factor.perm_r != factor.perm_c).any() or not pivots.min() > 0:
            raise ValueError("matrix: expected a positive definite one")
        lower = sparse.tril(factor.L, -1).tocsc()
        order = _postorder(_parents(lower))  # a branch of the tree becomes a run of columns
        lower = lower.tocoo()
        lower = sparse.csc_array((lower.data, (order[lower.coords[0]], order[lower.coords[1]])), lower.shape)
        lower.sort_indices()
        self._place = order[factor.perm_c]
        self._inverse = np.empty(count)
        self._inverse[order] = 1 / pivots
        self._first = _panels(lower)
        self._starts, self._rows, self._values = _laid_out(lower, self._first)
        # then no column of a panel waits for the one before it
        invert_tops(self._first, self._starts, self._values)

    def solve(self, forces) -> np.ndarray:
        """Displacements (V, 3) float64 under forces (V, 3), with the same bits for the same forces.

        Raises
        ------
        ValueError
            If the forces have another shape.
        """
        forces = np.ascontiguousarray(forces, np.float64)
        if forces.shape != (len(self._place), 3):
            raise ValueError(f"forces: expected shape ({len(self._place)}, 3), got {forces.shape}")
        return substitute(self._first, self._starts, self._rows, self._values, self._inverse, self._place, forces)


def _parents(lower) -> np.ndarray:
    """(V,) the first row below the diagonal of each column of a factor, -1 without one: the elimination tree."""
    full = np.diff(lower.indptr) > 0
    lower.sort_indices()
    parents = np.full(lower.shape[0], -1)
    parents[full] = lower.indices[lower.indptr[:-1][full]]
    return parents


def _postorder(parents) -> np.ndarray:
    """(V,) new number of each node of a forest, such that a branch has a run of numbers that its root ends."""
    count = len(parents)
    children = [[] for _ in range(count + 1)]
    for node, parent in enumerate(parents.tolist()):
        children[parent].append(node)  # the last list is that of the roots
    number, left, waiting = np.empty(count, np.int64), count, children[-1]
    while waiting:
        node = waiting.pop()
        left -= 1
        number[node] = left
        waiting += children[node]
    return number


def _panels(lower) -> np.ndarray:
    """(P + 1,) first column of each panel of a factor in postorder, and the number of columns."""
    parents, below = _parents(lower), np.diff(lower.indptr)
    size = [1] * len(parents)
    for node, parent in enumerate(parents.tolist()):
        if parent >= 0:
            size[parent] += size[node]
    size = np.array(size)
    small = size <= _BRANCH
    begins = np.ones(len(parents) + 1, bool)
    begins[:-1] = ~small
    # the rows below a branch are those of its root
    root = np.flatnonzero(small & ~((parents >= 0) & small[parents]))
    begins[root - size[root] + 1] = True
    # a column with the same rows as the one before it goes on with its panel
    begins[1:-1] &= small[1:] | (parents[:-1] != np.arange(1, len(parents))) | (below[:-1] != below[1:] + 1)
    return np.flatnonzero(begins)


def _laid_out(lower, first):
    """Where the panels' rows begin (P + 1,), the rows (R,), and the dense values (E,), column by column."""
    count, width = lower.shape[0], np.diff(first)
    last = first[1:] - 1
    below = np.diff(lower.indptr)[last]
    starts = np.r_[0, np.cumsum(below)]
    rows = np.concatenate([lower.indices[lower.indptr[k] : lower.indptr[k + 1]] for k in last]).astype(np.int64)
    height = width + below
    offset = np.r_[0, np.cumsum(width * height)]
    lower = lower.tocoo()
    row, column = (index.astype(np.int64) for index in lower.coords)
    panel = np.repeat(np.arange(len(width)), width)[column]
    key = np.repeat(np.arange(len(width)), below) * count + rows
    inside = row < first[panel + 1]
    at = np.where(inside, row - first[panel], width[panel] + np.searchsorted(key, panel * count + row) - starts[panel])
    values = np.zeros(offset[-1])
    values[offset[panel] + (column - first[panel]) * height[panel] + at] = lower.data
    return starts, rows, values
