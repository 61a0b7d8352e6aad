"""Rows of a stored array as displacements from the neutral face, read block by block."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from affect3d.model.frame_products import CoefficientFrames

__all__ = ["NeutralOffsets", "StreamedCoefficients", "basis_gram", "block_rows", "rms_distance", "take_rows"]

#: Neutral faces that are kept while a store is read, in bytes.
_NEUTRAL_BYTES = 64 * 2**20
_BLOCK_BYTES = 16 * 2**20


def basis_gram(basis) -> np.ndarray:
    """(E, E) float64: mean over the vertices of the products of two expressions' displacements, mm^2."""
    flat = np.asarray(basis, np.float64).reshape(len(basis), -1)
    return flat @ flat.T / max(1, basis.shape[1])


def rms_distance(offsets, gram=None) -> np.ndarray:
    """Root mean square over the vertices of offsets (n, V, 3), or of coefficients (n, E) with their `basis_gram`."""
    if gram is None:
        return np.sqrt(np.einsum("nvd,nvd->n", offsets, offsets, dtype=np.float32) / max(1, offsets.shape[1]))
    offsets = np.asarray(offsets, np.float64)
    return np.sqrt(np.maximum(np.einsum("ne,ne->n", offsets @ gram, offsets), 0)).astype(np.float32)


def block_rows(array) -> int:
    """Rows of `array` to read at once: whole chunks, some 16 MB."""
    chunk = int(array.chunks[0]) if hasattr(array, "chunks") and array.chunks else 1
    row = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    return max(1, _BLOCK_BYTES // (row * chunk)) * chunk


def take_rows(array, rows) -> np.ndarray:
    """Rows of a chunked array in any order; each chunk is read once, and few of them at a time.

    Parameters
    ----------
    array : zarr.Array or array
        (N, ...)
    rows : (M,) int array
        In [0, N); may repeat.

    Returns
    -------
    (M, ...) array
    """
    rows = np.asarray(rows, np.int64)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return np.asarray(array[int(rows[0]) : int(rows[-1]) + 1])
    out = np.empty((len(rows), *array.shape[1:]), array.dtype)
    step = int(array.chunks[0]) if hasattr(array, "chunks") and array.chunks else max(1, len(array))
    order = np.argsort(rows, kind="stable")
    place = rows[order]
    edges = np.flatnonzero(np.diff(place // step)) + 1
    for members in np.split(np.arange(len(rows)), edges):
        if not len(members):
            continue
        first, last = int(place[members[0]]), int(place[members[-1]])
        out[order[members]] = np.asarray(array[first : last + 1])[place[members] - first]
    return out


class NeutralOffsets:
    """Rows of an array minus the row of their neutral face, computed while slices are read.

    A neutral face that lies in the block that is being read costs nothing more; the last ones are kept, so that a
    stream over whole sequences reads each byte once.

    Parameters
    ----------
    array : zarr.Array or array
        (N, ...) float32.
    rows : (M,) int array
        Rows that are seen, in this order.
    neutral : (N,) int array
        Row of the neutral face of each row of `array`; without it nothing is subtracted.
    """

    def __init__(self, array, rows, neutral=None):
        self._array, self._rows, self._neutral = array, np.asarray(rows, np.int64), neutral
        self.shape = (len(self._rows), *array.shape[1:])
        self.dtype = np.dtype(np.float32)
        self._faces: OrderedDict[int, np.ndarray] = OrderedDict()
        row = max(1, int(np.prod(array.shape[1:])) * 4)
        self._room = max(2, _NEUTRAL_BYTES // row)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def rows(self) -> np.ndarray:
        """(M,) rows of the array, in the order in which they are seen."""
        return self._rows

    def without_neutral(self) -> NeutralOffsets:
        """The same rows as they are stored."""
        return NeutralOffsets(self._array, self._rows)

    def __getitem__(self, item):
        if isinstance(item, (int, np.integer)):
            return self[int(item) : int(item) + 1][0]
        block, faces, place = self._read(self._rows[item])
        if not len(faces):
            return block
        if not block.flags.writeable:
            block = block.copy()
        order = np.argsort(place, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
            if len(members):
                first, last = members[0], members[-1]
                # frames of one sequence are neighbours nearly always; a slice needs no copy of them
                run = slice(first, last + 1) if last - first == len(members) - 1 else members
                block[run] -= faces[place[first]]
        return block

    def _read(self, rows) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Rows as they are stored (n, ...) float32, neutral faces, and (n,) which of them is each row's."""
        block = np.asarray(take_rows(self._array, rows), np.float32)
        if self._neutral is None:
            return block, [], np.zeros(len(rows), np.int64)
        which, place = np.unique(self._neutral[rows], return_inverse=True)
        # neutral faces that must be read are read together, those of one chunk at the price of one
        missing = [int(i) for i in which if int(i) not in self._faces]
        here = dict(zip(rows.tolist(), range(len(rows))))
        found = {i: block[here[i]].copy() for i in missing if i in here}
        away = [i for i in missing if i not in found]
        for first in range(0, len(away), self._room):
            some = away[first : first + self._room]
            found.update(zip(some, take_rows(self._array, some)))
        faces = {int(i): found[int(i)] if int(i) in found else self._faces[int(i)] for i in which}
        for i, face in faces.items():
            self._faces[i] = face
            self._faces.move_to_end(i)
        while len(self._faces) > self._room:
            self._faces.popitem(last=False)
        return block, [faces[int(i)] for i in which], place

    def neutral_face(self, row: int) -> np.ndarray:
        """The neutral face at `row` of the array, as it is stored; those of the last block are still there."""
        kept = self._faces.get(int(row))
        return np.asarray(self._array[int(row)], np.float32) if kept is None else kept

    def blocks(self, ahead: bool = False):
        """Yield ``(start, offsets)``: consecutive rows, some 16 MB of them at once, cut where chunks are cut.

        With `ahead` the next block is read in a thread while this one is worked on; nothing else may then be read
        from this object.
        """
        blocks = ((start, self[start:stop]) for start, stop in self._cuts())
        return _ahead(blocks) if ahead else blocks

    def parts(self, ahead: bool = False):
        """Yield ``(start, rows, faces, place)``: blocks before the neutral faces are subtracted.

        `rows` (n, ...) float32 are as they are stored, `faces` is a list of neutral faces (empty without `neutral`),
        and row i's is ``faces[place[i]]``.  Who sums rows can subtract as it sums, which saves a pass over them.
        """
        blocks = ((start, *self._read(self._rows[start:stop])) for start, stop in self._cuts())
        return _ahead(blocks) if ahead else blocks

    def _cuts(self):
        step = block_rows(self._array)
        start = 0
        while start < len(self):
            stop = min(start + step - int(self._rows[start] % step), len(self))
            yield start, stop
            start = stop


def _ahead(blocks):
    """The items of `blocks`, each made while the one before it is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, blocks, end)
        while (block := coming.result()) is not end:
            coming = pool.submit(next, blocks, end)
            yield block


class StreamedCoefficients:
    """Frames as coefficients times a basis, for galleries whose very coefficients outgrow memory.

    Has the products of `affect3d.model.frame_products.CoefficientFrames`; each is one stream over `offsets`.

    Parameters
    ----------
    offsets : NeutralOffsets
        (F, M)
    basis : (M, V, 3) float array
    """

    def __init__(self, offsets: NeutralOffsets, basis):
        self._offsets, self._basis = offsets, np.ascontiguousarray(basis, float)
        self.shape = (len(offsets), *self._basis.shape[1:])

    def _parts(self):
        for start, block in self._offsets.blocks():
            yield start, CoefficientFrames(block, self._basis)

    def with_components(self, components) -> np.ndarray:
        """X C^T: (F, K) for components (K, V, d)."""
        return np.concatenate([part.with_components(components) for _, part in self._parts()])

    def component_products(self, components, dtype=np.float64):
        """Yield ``(start, X C^T)`` for consecutive frames."""
        for start, part in self._parts():
            for first, product in part.component_products(components, dtype):
                yield start + first, product

    def with_weights(self, weights) -> np.ndarray:
        """W^T X: (K, V, d) for weights (F, K)."""
        total = np.zeros((weights.shape[1], len(self._basis)))
        for start, block in self._offsets.blocks():
            total += weights[start : start + len(block)].T @ block
        return np.tensordot(total, self._basis, 1)

    def moments(self) -> tuple[float, np.ndarray]:
        """Sum over all numbers, and (V,) sum of squares at each vertex."""
        total, squares = 0.0, np.zeros(self.shape[1])
        for _, part in self._parts():
            one, two = part.moments()
            total, squares = total + one, squares + two
        return total, squares

    def at_vertices(self, vertices) -> np.ndarray:
        """(F, n, d) displacements of few vertices."""
        return np.concatenate([part.at_vertices(vertices) for _, part in self._parts()])

    def subset(self, index) -> CoefficientFrames:
        """The frames of `index` as frames of their own, in memory."""
        index = np.asarray(index, np.int64)
        offsets = NeutralOffsets(self._offsets._array, self._offsets._rows[index], self._offsets._neutral)
        return CoefficientFrames(offsets[:], self._basis)
