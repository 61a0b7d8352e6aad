"""Count, mean and spread of the frames of each class, in one pass over a gallery of either kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

from affect3d.affect.store import GalleryStore, open_gallery
from affect3d.affect.store_frames import block_rows
from affect3d.affect.vaspace import VASpace
from affect3d.progress import Progress, silent

__all__ = [
    "ClassMoments", "MomentsJob", "class_moments", "merge_moments", "moments_of_block", "moments_of_job",
    "moments_of_rows",
]  # fmt: skip

#: Frames of one job; enough that what it gives back is small beside what it reads.
_JOB_BYTES = 256 * 2**20
#: Columns at once, so that their sums stay in the processor's nearest cache.
_COLUMNS = 2048


@dataclass(frozen=True, eq=False)
class ClassMoments:
    """What one pass over frames leaves of each class.

    Attributes
    ----------
    space : VASpace
    count : (K,) int64
    mean : (K, ...) float64
        Of coefficients (K, E), or of vertices (K, V, 3) in mm; zeros for a class without frames.
    deviations : (K, ...) float64
        Sum of squared deviations from the mean.
    valence_arousal : (K, 2) float64
        Median label; the centre for a class without frames.
    """

    space: VASpace
    count: np.ndarray
    mean: np.ndarray
    deviations: np.ndarray
    valence_arousal: np.ndarray

    @property
    def spread(self) -> np.ndarray:
        """(K, ...) standard deviation within the class; zeros for a class without frames."""
        divisor = np.maximum(self.count, 1).reshape(-1, *([1] * (self.mean.ndim - 1)))
        return np.sqrt(np.maximum(self.deviations, 0) / divisor)


@dataclass(frozen=True, eq=False)
class MomentsJob:
    """One part of the stream; all that a process on another machine, which sees the same files, must know.

    Attributes
    ----------
    path, content : str
        The gallery, and the digest that it must have.
    rows : (n,) int64
    space : VASpace
    offsets : bool
    """

    path: str
    content: str
    rows: np.ndarray
    space: VASpace
    offsets: bool


def class_moments(
    store: GalleryStore, space: VASpace | None = None, rows=None, offsets: bool = True, progress: Progress = silent,
    run: Callable | None = None,
) -> ClassMoments:  # fmt: skip
    """One stream over the frames, block by block.

    Parameters
    ----------
    store : GalleryStore
    space : VASpace, optional
        10 x 10 classes by default.
    rows : (M,) int array, optional
        All by default.
    offsets : bool
        Of displacements from the neutral face of the same sequence, as in the paper; else of what is stored.
    progress : callable
    run : callable, optional
        ``run(work, jobs)`` yields pairs ``(job, work(job))`` in any order, on a cluster for instance; the numbers are
        the same bit by bit.  Here and one after another if left out.

    Raises
    ------
    ValueError
        If a row is not in the gallery.
    RuntimeError
        If `run` gives something else than a result, the reason being its own.
    """
    space = space or VASpace()
    rows = store.offsets(rows).rows
    width = int(np.prod(store.values.shape[1:]))
    step = max(1, _JOB_BYTES // (4 * max(1, width)) // block_rows(store.values)) * block_rows(store.values)
    # one partition, whoever does the work: sums that are added in another order have other last digits
    parts = [rows[a : a + step] for a in range(0, len(rows), step)]
    if run is None:
        results = ((i, moments_of_rows(store, part, space, offsets)) for i, part in enumerate(parts))
    else:
        jobs = [MomentsJob(os.path.abspath(store.path), store.content, part, space, offsets) for part in parts]
        place = {id(job): i for i, job in enumerate(jobs)}
        results = ((place[id(job)], result) for job, result in run(moments_of_job, jobs))
    count = np.zeros(space.count, np.int64)
    mean, deviations = np.zeros((space.count, width)), np.zeros((space.count, width))
    early, following, done = {}, 0, 0
    for i, result in results:
        if not isinstance(result, tuple):
            raise RuntimeError(f"rows {parts[i][0]} to {parts[i][-1]}: {getattr(result, 'reason', result)}")
        early[i] = result
        while following in early:
            merge_moments(count, mean, deviations, *early.pop(following))
            done += len(parts[following])
            following += 1
            progress(done, len(rows), "statistics of the classes")
    shape = (space.count, *store.values.shape[1:])
    return ClassMoments(
        space, count, mean.reshape(shape), deviations.reshape(shape),
        space.medians(store.valence[rows], store.arousal[rows]),
    )  # fmt: skip


def moments_of_job(job: MomentsJob) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `moments_of_rows` gives for the job's rows.

    Raises
    ------
    ValueError
        If the gallery is not the one that the work began with.
    """
    store = _opened(job.path, job.content)
    return moments_of_rows(store, job.rows, job.space, job.offsets)


def moments_of_rows(
    store: GalleryStore, rows, space: VASpace, offsets: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes of some rows, and their counts, means and sums of squared deviations, read block by block."""
    rows = np.asarray(rows, np.int64)
    stream = store.offsets(rows)
    if not offsets:
        stream = stream.without_neutral()
    classes, index = np.unique(space.class_of(store.valence[rows], store.arousal[rows]), return_inverse=True)
    sums = _Sums(len(classes), int(np.prod(stream.shape[1:])))
    for start, block, faces, place in stream.parts(ahead=True):
        faces = np.reshape(faces, (len(faces), -1)) if len(faces) else None
        sums.add(block.reshape(len(block), -1), index[start : start + len(block)], faces, place)
    return classes, *sums.moments()


def moments_of_block(block, index) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes of a block, and their counts, means and sums of squared deviations; a pure function of its arguments.

    Parameters
    ----------
    block : (n, D) float32 array
    index : (n,) int array
        Class of each row.

    Returns
    -------
    classes (k,), count (k,) int64, mean (k, D), deviations (k, D) float64
    """
    classes, place = np.unique(index, return_inverse=True)
    sums = _Sums(len(classes), block.shape[1])
    sums.add(block, place)
    return classes, *sums.moments()


class _Sums:
    """Running sums of each class's differences to its first row, so that little cancels."""

    def __init__(self, classes: int, width: int):
        self._count = np.zeros(classes, np.int64)
        self._first = np.zeros((classes, width), np.float32)
        self._one, self._two = np.zeros((classes, width)), np.zeros((classes, width))

    def add(self, block, index, faces=None, place=None) -> None:
        """Rows (n, D) float32 and the class (n,) of each; ``faces[place[i]]`` (D,) is subtracted from row i."""
        block = np.ascontiguousarray(block, np.float32)
        if faces is None:
            faces, place = np.zeros((1, block.shape[1]), np.float32), np.zeros(len(block), np.int64)
        # rows of one class and one neutral face are summed together, as differences to one face
        order = np.lexsort((place, index))
        kinds, first = np.unique(np.stack([index[order], place[order]]), axis=1, return_index=True)
        classes, of = kinds
        bounds = np.append(first, len(order))
        new, at = np.unique(classes, return_index=True)
        at = at[self._count[new] == 0]
        self._first[classes[at]] = block[order[first[at]]] - faces[of[at]]
        pilots = self._first[classes] + faces[of]
        # in one thread, as another reads the next block
        _accumulate(block, order, classes, bounds, pilots, self._one, self._two)
        np.add.at(self._count, classes, np.diff(bounds))

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count, mean and sum of squared deviations; the sums are used up."""
        n = np.maximum(self._count, 1)[:, None]
        self._two -= self._one * self._one / n
        self._one /= n
        self._one += self._first
        return self._count, self._one, self._two


def merge_moments(count, mean, deviations, classes, n, block_mean, block_deviations) -> None:
    """Add a block's moments to running ones, in place (Chan, Golub and LeVeque 1979)."""
    for k, number, m, s in zip(classes, n, block_mean, block_deviations):
        total = count[k] + number
        step = m - mean[k]
        mean[k] += step * (number / total)
        deviations[k] += s + step * step * (count[k] * number / total)
        count[k] = total


@lru_cache(maxsize=2)
def _opened(path: str, content: str) -> GalleryStore:
    store = open_gallery(path)
    if store.content != content:
        raise ValueError(f"path: the gallery at {path} is not the one that the statistics began with")
    return store


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _accumulate(block, order, classes, bounds, pilots, ones, twos):  # pragma: no cover - compiled
    """Sum the rows ``order[bounds[k] : bounds[k + 1]]`` less ``pilots[k]`` into the row ``classes[k]`` of both sums.

    Differences to the pilot are nearly exact in single precision, and so few of them are added in it that seven digits
    stay.  The loops over columns stand alone with few arrays each: with more of them the compiler no longer proves
    that they do not overlap, and adds one number at a time.
    """
    one, two = np.empty(_COLUMNS, np.float32), np.empty(_COLUMNS, np.float32)
    for first in range(0, block.shape[1], _COLUMNS):
        last = min(first + _COLUMNS, block.shape[1])
        a, b = one[: last - first], two[: last - first]
        for k in range(len(classes)):
            pilot = pilots[k, first:last]
            left = bounds[k]
            while left < bounds[k + 1]:
                stop = min(left + 8, bounds[k + 1])
                a[:] = 0
                b[:] = 0
                for i in range(left, stop - 1, 2):
                    _add_pair(block[order[i], first:last], block[order[i + 1], first:last], pilot, a, b)
                if (stop - left) % 2:
                    _add_pair(block[order[stop - 1], first:last], pilot, pilot, a, b)
                _add(ones[classes[k], first:last], a)
                _add(twos[classes[k], first:last], b)
                left = stop


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_pair(row, other, pilot, one, two):  # pragma: no cover - compiled
    for j in range(len(pilot)):
        x, y = row[j] - pilot[j], other[j] - pilot[j]
        one[j] += x + y
        two[j] += x * x + y * y


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(total, part):  # pragma: no cover - compiled
    for j in range(len(part)):
        total[j] += part[j]
