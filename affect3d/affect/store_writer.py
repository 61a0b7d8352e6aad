"""Writing a gallery block by block: what was cut short continues, and what has its final name is whole.

A store is a Zarr group (format 3).  ``expression`` (N, E) or ``vertices`` (N, V, 3) float32 is divided into chunks of
whole frames; ``valence``, ``arousal``, ``distance`` float32 and ``subject``, ``sequence``, ``frame``, ``neutral`` int32
are (N,), one chunk each.  Beside vertices lie ``faces`` and perhaps ``rest`` and ``colours``; with coefficients these
and ``basis`` (E, V, 3) are in the group ``head``.  Registered scans have neither ``rest`` nor ``distance``; a reader
finds both from the neutral faces.  Attributes: format, content, subjects, sequences, convention, notes,
units, frame_rate, splits, model, chunk_files, and expression_names or names (of the frames).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affect3d.affect.gallery import _zarr
from affect3d.affect.store import stored_attributes, stored_content
from affect3d.affect.vaspace import checked_affect
from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.io.atomic import atomic_path
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.progress import Progress, silent

__all__ = ["StoreBlock", "StorePlan", "check_replaceable", "require_zarr", "write_frames", "write_store"]

_FORMATS = {"coefficients": ("affect3d gallery 2", "expression"), "vertices": ("affect3d vertex gallery 1", "vertices")}
_UNITS = {
    "coefficients": "expression coefficients in [0, 1], head in mm; valence and arousal in [-1, 1]",
    "vertices": "vertices in mm; valence and arousal in [-1, 1]",
}
#: A chunk holds so many coefficients or vertices: between 1 and 6 MB.
_CHUNK = {"coefficients": 4096 * 64, "vertices": 500_000}
_INDICES = ("subject", "sequence", "frame", "neutral")


@dataclass(frozen=True, eq=False)
class StoreBlock:
    """Consecutive rows of a gallery.

    Attributes
    ----------
    values : (n, E) or (n, V, 3) float32
    valence, arousal : (n,) float32
    distance : (n,) float32, optional
        Root mean square displacement from the neutral face, mm; in all blocks of a gallery or in none.
    """

    values: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    distance: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class StorePlan:
    """All of a gallery but its frames and their labels.

    Attributes
    ----------
    kind : {"coefficients", "vertices"}
    row_shape : tuple of int
        (E,) or (V, 3).
    content : str
        Digest of all that the gallery is made from.
    subject, sequence, frame, neutral : (N,) int32
        As in `affect3d.affect.store.GalleryStore`.
    subjects, sequences : tuple of str
    faces : (F, 3) int array
        Of the head, or of the template.
    rest : (V, 3) float array, optional
        mm; for vertices it may be left out.
    basis : (E, V, 3) float32, optional
        For coefficients.
    colours : (V, 3) uint8, optional
        sRGB, for pictures.
    names : tuple of str
        Of the frames, each once, for vertices.
    attributes : dict
        What else is stored: expression_names, convention, notes, frame_rate, splits, model.
    """

    kind: str
    row_shape: tuple[int, ...]
    content: str
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    neutral: np.ndarray
    subjects: tuple[str, ...]
    sequences: tuple[str, ...]
    faces: np.ndarray
    rest: np.ndarray | None = None
    basis: np.ndarray | None = None
    colours: np.ndarray | None = None
    names: tuple[str, ...] = ()
    attributes: Mapping = field(default_factory=dict)

    def __post_init__(self):
        count = len(self.subject)
        if self.kind not in _FORMATS:
            raise ValueError(f"kind: expected one of {', '.join(_FORMATS)}, got {self.kind!r}")
        if self.kind == "coefficients" and (self.rest is None or self.basis is None):
            raise ValueError("rest: expected the head with its basis beside coefficients")
        if not count:
            raise ValueError("subject: expected at least one frame, got none")
        different = len(set(self.names))
        if self.kind == "vertices" and not different == len(self.names) == count:
            raise ValueError(f"names: expected {count} different names, got {different} of {len(self.names)}")
        limits = (len(self.subjects), len(self.sequences), 2**31, count)
        for name, limit in zip(_INDICES, limits):
            array = frozen_array(getattr(self, name), np.int32, name, (count,))
            if array.min() < 0 or array.max() >= limit:
                raise ValueError(f"{name}: expected whole numbers in [0, {limit}), got {array.min()} to {array.max()}")
            object.__setattr__(self, name, array)

    @property
    def step(self) -> int:
        """Rows of a chunk, which is what is made and written at once."""
        return max(1, min(len(self.subject), _CHUNK[self.kind] // max(1, self.row_shape[0])))


def write_store(
    path, plan: StorePlan, make: Callable[[int, int], StoreBlock], overwrite: bool = False,
    progress: Progress = silent,
) -> bool:  # fmt: skip
    """Write a gallery, continuing what an earlier, killed call for the same content left.

    The store grows under a hidden name beside `path` and is renamed when it is whole.  Each block is one chunk and
    depends on nothing but its place, so the bytes are the same however often the work was cut short.

    Parameters
    ----------
    path : str or Path
        A folder that does not exist, or one that holds a gallery.
    plan : StorePlan
    make : callable
        ``make(first, last)`` gives the `StoreBlock` of these rows; a pure function of them.
    overwrite : bool
        Whether another gallery may be replaced.
    progress : callable

    Returns
    -------
    bool
        False if the gallery was there already, with the same content.

    Raises
    ------
    FileExistsError
        If something else is at `path` and `overwrite` is false, or it is no gallery.
    FileNotFoundError
        If the folder above does not exist.
    ValueError
        If a block has another shape, numbers that are not finite, or labels outside [-1, 1], if some blocks have a
        distance and others none, or another run is writing the same gallery.
    """
    _zarr()
    path = Path(os.path.abspath(path))
    growing = path.with_name(f".{path.name}.growing")
    if stored_content(path) == plan.content:
        shutil.rmtree(growing, ignore_errors=True)  # of a run that was killed after it had renamed the store
        return False
    check_replaceable(path)
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path}: holds another gallery; remove it or ask to overwrite it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    said = {"content": plan.content, "step": plan.step, "rows": len(plan.subject)}
    with one_run(RunFolder(growing, "gallery", said, ("parts",)), anew=True):
        _grow(path, growing, plan, make, progress)
    return True


def check_replaceable(path) -> None:
    """Raise FileExistsError if something is at `path` that is no gallery of any kind."""
    if os.path.lexists(path) and not stored_attributes(path):
        raise FileExistsError(f"{path}: exists and is no gallery, so it is not replaced")


def require_zarr() -> None:
    """Raise the ImportError that says how to get zarr if it is missing; worth asking before long work."""
    _zarr()


def write_frames(
    path, plan: StorePlan, valence, arousal, read: Callable[[str], np.ndarray], overwrite: bool = False,
    progress: Progress = silent,
) -> bool:  # fmt: skip
    """Write a gallery of labelled meshes that are read one by one; otherwise as `write_store`.

    Parameters
    ----------
    valence, arousal : (N,) float array
        In [-1, 1].
    read : callable
        ``read(name) -> (V, 3)`` array, mm, for a name of the plan.

    Raises
    ------
    ValueError
        If the labels are not one for each frame; or it names the frame whose vertices are not finite or of another
        number.
    """
    checked_affect(valence, arousal)
    if len(valence) != len(plan.names):
        raise ValueError(f"valence: expected {len(plan.names)} labels, got {len(valence)}")

    def make(first: int, last: int) -> StoreBlock:
        block = np.empty((last - first, *plan.row_shape), np.float32)
        for row, name in zip(block, plan.names[first:last]):
            array = np.asarray(read(name), np.float32)
            if array.shape != plan.row_shape:
                raise ValueError(f"vertices: expected shape {plan.row_shape} for frame {name}, got {array.shape}")
            require_finite(array, f"vertices of frame {name}")
            row[...] = array
        return StoreBlock(block, valence[first:last], arousal[first:last])

    return write_store(path, plan, make, overwrite, progress)


def _grow(path, growing, plan, make, progress) -> None:
    # the parts' folder is made last, so a store without it was not begun to its end
    if not ((growing / "parts").is_dir() and (growing / "store").is_dir()):
        _begin(growing, plan)
    count, parts = len(plan.subject), growing / "parts"
    # a chunk of zeros would otherwise leave no file, as a chunk that was lost; it counts when an array is opened
    with _zarr().config.set({"array.write_empty_chunks": True}):
        values = _opened(growing / "store")[_FORMATS[plan.kind][1]]
    for first in range(0, count, plan.step):
        last = min(first + plan.step, count)
        part = parts / f"{first:012d}.npy"
        if not part.exists():
            _write_block(values, part, plan, first, make(first, last), last - first)
        progress(last, count, "writing the gallery")
    _finish(growing, plan)
    if path.exists():
        os.replace(path, growing / "old")
    os.replace(growing / "store", path)
    shutil.rmtree(growing, ignore_errors=True)


def _write_block(values, part: Path, plan: StorePlan, first: int, block: StoreBlock, count: int) -> None:
    array = np.asarray(block.values, np.float32)
    if array.shape != (count, *plan.row_shape):
        raise ValueError(f"values: expected shape {(count, *plan.row_shape)} from row {first}, got {array.shape}")
    require_finite(array, f"values from row {first}")
    checked_affect(block.valence, block.arousal)
    columns = [block.valence, block.arousal, *([] if block.distance is None else [block.distance])]
    labels = np.stack([np.asarray(column, np.float32) for column in columns], axis=1)
    if len(labels) != count:
        raise ValueError(f"valence: expected {count} labels from row {first}, got {len(labels)}")
    require_finite(labels, f"distance from row {first}")
    values[first : first + count] = array
    # the labels come after the chunk: a block counts as done when they are there
    with atomic_path(part) as temporary:
        np.save(temporary, labels, allow_pickle=False)


def _begin(growing: Path, plan: StorePlan) -> None:
    zarr = _zarr()
    for left in ("parts", "store"):
        shutil.rmtree(growing / left, ignore_errors=True)
    form, name = _FORMATS[plan.kind]
    group = zarr.open_group(store=str(growing / "store"), mode="w")
    count, step = len(plan.subject), plan.step
    group.create_array(
        name, shape=(count, *plan.row_shape), chunks=(step, *plan.row_shape), dtype="float32",
        # random vertices hardly shrink: a tenth, for four times the time of reading
        **({"compressors": None} if plan.kind == "vertices" else {}),
    )  # fmt: skip
    for key in _INDICES:
        _whole(group, key, getattr(plan, key))
    if plan.kind == "coefficients":
        place = group.create_group("head")
        _whole(place, "basis", np.asarray(plan.basis, np.float32))
    else:
        place = group
    for key, kind in (("rest", np.float32), ("faces", np.int32), ("colours", np.uint8)):
        if getattr(plan, key) is not None:
            _whole(place, key, np.asarray(getattr(plan, key), kind))
    names = {"names": list(plan.names)} if plan.kind == "vertices" else {}
    attributes = {
        "format": form, "content": plan.content, **names, "subjects": list(plan.subjects),
        "sequences": list(plan.sequences), "convention": "", "units": _UNITS[plan.kind],
        "chunk_files": -(-count // step), **plan.attributes,
    }  # fmt: skip
    group.attrs.update(attributes)
    (growing / "parts").mkdir()


def _finish(growing: Path, plan: StorePlan) -> None:
    parts = [np.load(p, allow_pickle=False) for p in sorted((growing / "parts").glob("[0-9]*.npy"))]
    if len({part.shape[1] for part in parts}) > 1:
        raise ValueError("distance: expected in all blocks or in none")
    labels = np.concatenate(parts)
    group = _opened(growing / "store")
    for name, column in zip(("valence", "arousal", "distance"), labels.T):
        _whole(group, name, np.ascontiguousarray(column))


def _whole(group, name: str, array) -> None:
    group.create_array(
        name, shape=array.shape, chunks=tuple(max(1, n) for n in array.shape), dtype=array.dtype, overwrite=True
    )[...] = array


def _opened(store: Path):
    return _zarr().open_group(store=str(store), mode="r+")

