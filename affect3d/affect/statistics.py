"""Class statistics: the mean expression of each valence-arousal class, the paper's Section 3.2."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from affect3d.affect.class_moments import class_moments
from affect3d.affect.gallery import Gallery
from affect3d.affect.store import GalleryStore
from affect3d.affect.tables import mirrored_shapes
from affect3d.affect.vaspace import VASpace
from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = [
    "ClassStatistics", "FilledMeans", "class_statistics", "default_statistics", "fill_empty_classes",
    "load_statistics", "save_statistics",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """What the frames of each class have in common.

    Attributes
    ----------
    space : VASpace
    expression_names : tuple of str
    count : (K,) int64
        Frames of each class.
    mean : (K, E) float32
        Mean expression; zeros for a class without frames.
    spread : (K, E) float32
        Standard deviation of the expression; zeros for a class without frames.
    valence_arousal : (K, 2) float32
        Median label; the centre for a class without frames.
    least : int
        A class with fewer frames counts as empty: the mean of a handful of
        frames shows single people rather than the affect.
    convention : str
        What the labels mean, from the gallery.
    """

    space: VASpace
    expression_names: tuple[str, ...]
    count: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    valence_arousal: np.ndarray
    least: int = 20
    convention: str = ""

    def __post_init__(self):
        names = tuple(self.expression_names)
        k, e = self.space.count, len(names)
        arrays = {
            "count": frozen_array(self.count, np.int64, "count", (k,)),
            "mean": frozen_array(self.mean, np.float32, "mean", (k, e)),
            "spread": frozen_array(self.spread, np.float32, "spread", (k, e)),
            "valence_arousal": frozen_array(self.valence_arousal, np.float32, "valence_arousal", (k, 2)),
        }
        for name, array in arrays.items():
            require_finite(array, name)
        if arrays["mean"].min(initial=0) < 0 or arrays["mean"].max(initial=0) > 1:
            raise ValueError("mean: coefficients must lie in [0, 1]")
        if self.least < 1:
            raise ValueError(f"least: expected at least 1 frame, got {self.least}")
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        object.__setattr__(self, "expression_names", names)

    @property
    def populated(self) -> np.ndarray:
        """(K,) bool: classes with at least `least` frames."""
        return self.count >= self.least

    @cached_property
    def filled(self) -> FilledMeans:
        """Means of all classes, the empty ones answered from their neighbours."""
        return fill_empty_classes(self.mean, self.populated, self.space)


@dataclass(frozen=True, eq=False)
class FilledMeans:
    """Class means without holes.

    Attributes
    ----------
    mean : (K, E) float64
    sources : dict of int to tuple of int
        For each empty class the populated classes that it was answered from.
    """

    mean: np.ndarray
    sources: dict[int, tuple[int, ...]]


def class_statistics(gallery: Gallery | GalleryStore, space: VASpace | None = None, least: int = 20) -> ClassStatistics:
    """Count, mean and spread of the expressions and median label of each class.

    Every frame enters together with its mirror image, which has the same
    affect, so that the mean is the same on both sides of the face.

    Parameters
    ----------
    gallery : Gallery or GalleryStore
        A store is read in one stream.
    space : VASpace, optional
        By default 10 x 10 classes.
    least : int
        See `ClassStatistics`.

    Raises
    ------
    ValueError
        If a store holds vertices: their statistics are `affect3d.affect.class_moments.class_moments`.
    """
    space = space or VASpace()
    if isinstance(gallery, GalleryStore):
        return _stored_statistics(gallery, space, least)
    index = space.class_of(gallery.valence, gallery.arousal)
    count = np.bincount(index, minlength=space.count)
    # A sparse sum over frames: (K, N) @ (N, E) needs no copy of the gallery for each class.
    member = sparse.csr_matrix(
        (np.ones(len(gallery)), (index, np.arange(len(gallery)))), shape=(space.count, len(gallery))
    )
    divisor = np.maximum(count, 1)[:, None]
    mean = member @ gallery.expression.astype(np.float64) / divisor
    square = member @ gallery.expression.astype(np.float64) ** 2 / divisor
    mirror = mirrored_shapes(gallery.expression_names)
    mean = (mean + mean[:, mirror]) / 2
    square = (square + square[:, mirror]) / 2
    return ClassStatistics(
        space=space,
        expression_names=gallery.expression_names,
        count=count,
        mean=np.clip(mean, 0, 1),
        spread=np.sqrt(np.maximum(square - mean**2, 0)),
        valence_arousal=space.medians(gallery.valence, gallery.arousal),
        least=least,
        convention=gallery.convention,
    )


def _stored_statistics(store: GalleryStore, space: VASpace, least: int) -> ClassStatistics:
    if store.kind != "coefficients":
        raise ValueError(
            f"gallery: {store.path} holds vertices, expected expression coefficients; project its frames on a head "
            "first"
        )
    found = class_moments(store, space, offsets=False)
    mirror = mirrored_shapes(store.expression_names)
    variance = found.deviations / np.maximum(found.count, 1)[:, None]
    square = variance + found.mean**2
    mean, square = (found.mean + found.mean[:, mirror]) / 2, (square + square[:, mirror]) / 2
    return ClassStatistics(
        space=space, expression_names=store.expression_names, count=found.count, mean=np.clip(mean, 0, 1),
        spread=np.sqrt(np.maximum(square - mean**2, 0)), valence_arousal=found.valence_arousal, least=least,
        convention=store.convention,
    )  # fmt: skip


def fill_empty_classes(mean, populated, space: VASpace) -> FilledMeans:
    """Give empty classes the harmonic function that agrees with the populated ones.

    Each filled value is the average of its neighbours (those that share an
    edge), so it lies between the values it was filled from.

    Parameters
    ----------
    mean : (K, E) float array
    populated : (K,) bool array
    space : VASpace

    Raises
    ------
    ValueError
        If no class is populated.
    """
    mean = np.array(mean, np.float64)
    populated = np.asarray(populated, bool)
    if not populated.any():
        raise ValueError("populated: expected at least one class with frames, got none")
    empty = np.flatnonzero(~populated)
    if not len(empty):
        return FilledMeans(mean, {})
    unknown = {int(k): i for i, k in enumerate(empty)}
    laplacian = sparse.lil_matrix((len(empty), len(empty)))
    known = np.zeros((len(empty), mean.shape[1]))
    for k, i in unknown.items():
        near = space.neighbours(k)
        laplacian[i, i] = len(near)
        for j in near:
            if j in unknown:
                laplacian[i, unknown[j]] = -1
            else:
                known[i] += mean[j]
    mean[empty] = spsolve(laplacian.tocsc(), known).reshape(len(empty), -1)
    # Solving leaves rounding errors, which must not carry a weight out of the range it was filled from.
    mean[empty] = np.clip(mean[empty], mean[populated].min(axis=0), mean[populated].max(axis=0))

    holes, number = ndimage.label(~populated.reshape(space.rows, space.columns))
    sources = {}
    for hole in range(1, number + 1):
        inside = np.flatnonzero(holes.ravel() == hole)
        around = tuple(sorted({j for k in inside for j in space.neighbours(int(k)) if populated[j]}))
        sources.update({int(k): around for k in inside})
    return FilledMeans(mean, sources)


def save_statistics(statistics: ClassStatistics, path) -> None:
    """Write `statistics` as a small .npz, under a temporary name that is then renamed."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(
                file, shape=np.array([statistics.space.columns, statistics.space.rows]),
                expression_names=np.array(statistics.expression_names), count=statistics.count, mean=statistics.mean,
                spread=statistics.spread, valence_arousal=statistics.valence_arousal, least=np.array(statistics.least),
                convention=np.array(statistics.convention),
            )  # fmt: skip
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load_statistics(path) -> ClassStatistics:
    """Read what `save_statistics` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If the file is not complete class statistics.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path: there are no class statistics at {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            columns, rows = map(int, file["shape"])
            return ClassStatistics(
                VASpace(columns, rows), tuple(map(str, file["expression_names"])), file["count"], file["mean"],
                file["spread"], file["valence_arousal"], int(file["least"]), str(file["convention"]),
            )  # fmt: skip
    # Damaged zip members raise zlib, zipfile, key and type errors; to the user they are one fault.
    except Exception as error:
        raise ValueError(f"path: {path} holds no class statistics ({type(error).__name__}: {error})") from error


@lru_cache(maxsize=1)
def default_statistics() -> ClassStatistics:
    """Statistics of `generate_gallery()` with its defaults, which ship with the package."""
    with resources.as_file(resources.files("affect3d.affect").joinpath("data", "default_classes.npz")) as path:
        return load_statistics(path)
