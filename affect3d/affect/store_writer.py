"""Writing a gallery block by block: what was cut short continues, and what has its final name is whole.

A store is a Zarr group (format 3).  ``expression`` (N, E) or ``vertices`` (N, V, 3) float32 is divided into chunks of
whole frames; ``valence``, ``arousal``, ``distance`` float32 and ``subject``, ``sequence``, ``frame``, ``neutral`` int32
are (N,), one chunk each.  Beside vertices lie ``rest``, ``faces`` and perhaps ``colours``; with coefficients these and
``basis`` (E, V, 3) are in the group ``head``.  Attributes: format, content, subjects, sequences, convention, notes,
units, frame_rate, splits, model, chunk_files, and expression_names or names (of the frames).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affect3d.affect.gallery import _zarr
from affect3d.affect.store import stored_content
from affect3d.affect.vaspace import checked_affect
from affect3d.geometry.arrays import require_finite
from affect3d.io.atomic import atomic_path
from affect3d.io.folder_lock import empty_folder, one_run_in
from affect3d.progress import Progress, silent

__all__ = ["StoreBlock", "StorePlan", "write_store"]

_FORMATS = {"coefficients": ("affect3d gallery 2", "expression"), "vertices": ("affect3d vertex gallery 1", "vertices")}
_UNITS = {
    "coefficients": "expression coefficients in [0, 1], head in mm; valence and arousal in [-1, 1]",
    "vertices": "vertices in mm; valence and arousal in [-1, 1]",
}
#: A chunk holds so many coefficients or vertices: between 1 and 6 MB.
_CHUNK = {"coefficients": 4096 * 64, "vertices": 500_000}


@dataclass(frozen=True, eq=False)
class StoreBlock:
    """Consecutive rows of a gallery.

    Attributes
    ----------
    values : (n, E) or (n, V, 3) float32
    valence, arousal : (n,) float32
    distance : (n,) float32
        Root mean square displacement from the neutral face, mm.
    """

    values: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    distance: np.ndarray


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
    subject, sequence, frame, neutral : (N,) int array
        As in `affect3d.affect.store.GalleryStore`.
    subjects, sequences : tuple of str
    names : callable
        ``names(rows) -> list of str``, the frames' names, for vertices.
    rest : (V, 3), faces : (F, 3)
        mm; of the head, or of the template.
    basis : (E, V, 3) float32, optional
        For coefficients.
    colours : (V, 3) uint8, optional
        sRGB, for pictures.
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
    rest: np.ndarray
    faces: np.ndarray
    basis: np.ndarray | None = None
    colours: np.ndarray | None = None
    names: Callable | None = None
    attributes: Mapping = field(default_factory=dict)

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
        If a block has another shape, numbers that are not finite, or labels outside [-1, 1], or another run is
        writing the same gallery.
    """
    _zarr()
    path = Path(os.path.abspath(path))
    growing = path.with_name(f".{path.name}.growing")
    if os.path.lexists(path):
        if stored_content(path) == plan.content:
            shutil.rmtree(growing, ignore_errors=True)  # of a run that was killed after it had renamed the store
            return False
        if not _is_gallery(path):
            raise FileExistsError(f"path: {path} exists and is no gallery, so it is not replaced")
        if not overwrite:
            raise FileExistsError(f"path: {path} holds another gallery; remove it or ask to overwrite it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: the folder {path.parent} does not exist")
    growing.mkdir(exist_ok=True)
    with one_run_in(growing):
        _grow(path, growing, plan, make, progress)
    return True


def _grow(path, growing, plan, make, progress) -> None:
    if not _same_work(growing, plan):
        empty_folder(growing)
        _begin(growing, plan)
    count, parts = len(plan.subject), growing / "parts"
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
    zarr = _zarr()
    array = np.asarray(block.values, np.float32)
    if array.shape != (count, *plan.row_shape):
        raise ValueError(f"values: expected shape {(count, *plan.row_shape)} from row {first}, got {array.shape}")
    require_finite(array, f"values from row {first}")
    checked_affect(block.valence, block.arousal)
    labels = np.stack([np.asarray(x, np.float32) for x in (block.valence, block.arousal, block.distance)], axis=1)
    if labels.shape != (count, 3):
        raise ValueError(f"valence: expected {count} labels from row {first}, got {len(labels)}")
    require_finite(labels, f"distance from row {first}")
    # a chunk of zeros would otherwise leave no file, as a chunk that was lost
    with zarr.config.set({"array.write_empty_chunks": True}):
        values[first : first + count] = array
    # the labels come after the chunk: a block counts as done when they are there
    with atomic_path(part) as temporary:
        np.save(temporary, labels, allow_pickle=False)


def _begin(growing: Path, plan: StorePlan) -> None:
    zarr = _zarr()
    (growing / "parts").mkdir(parents=True)
    form, name = _FORMATS[plan.kind]
    group = zarr.open_group(store=str(growing / "store"), mode="w")
    count, step = len(plan.subject), plan.step
    group.create_array(
        name, shape=(count, *plan.row_shape), chunks=(step, *plan.row_shape), dtype="float32",
        # random vertices hardly shrink: a tenth, for four times the time of reading
        **({"compressors": None} if plan.kind == "vertices" else {}),
    )  # fmt: skip
    for key in ("subject", "sequence", "frame", "neutral"):
        _whole(group, key, np.asarray(getattr(plan, key), np.int32))
    if plan.kind == "coefficients":
        place = group.create_group("head")
        _whole(place, "basis", np.asarray(plan.basis, np.float32))
    else:
        place = group
    _whole(place, "rest", np.asarray(plan.rest, np.float32))
    _whole(place, "faces", np.asarray(plan.faces, np.int32))
    if plan.colours is not None:
        _whole(place, "colours", np.asarray(plan.colours, np.uint8))
    attributes = {
        "format": form, "content": plan.content, "subjects": list(plan.subjects), "sequences": list(plan.sequences),
        "convention": "", "units": _UNITS[plan.kind], "chunk_files": -(-count // step), **plan.attributes,
    }  # fmt: skip
    if plan.kind == "vertices":
        attributes["names"] = list(plan.names(np.arange(count)))
    group.attrs.update(attributes)
    with atomic_path(growing / "plan.json") as temporary:
        temporary.write_text(json.dumps(_said(plan)))


def _finish(growing: Path, plan: StorePlan) -> None:
    parts = [np.load(p, allow_pickle=False) for p in sorted((growing / "parts").glob("[0-9]*.npy"))]
    labels = np.concatenate(parts)
    group = _opened(growing / "store")
    for k, name in enumerate(("valence", "arousal", "distance")):
        _whole(group, name, np.ascontiguousarray(labels[:, k]))


def _whole(group, name: str, array) -> None:
    group.create_array(
        name, shape=array.shape, chunks=tuple(max(1, n) for n in array.shape), dtype=array.dtype, overwrite=True
    )[...] = array


def _opened(store: Path):
    return _zarr().open_group(store=str(store), mode="r+")


def _said(plan: StorePlan) -> dict:
    return {"content": plan.content, "step": plan.step, "rows": len(plan.subject)}


def _same_work(growing: Path, plan: StorePlan) -> bool:
    try:
        return json.loads((growing / "plan.json").read_text()) == _said(plan) and (growing / "store").is_dir()
    except (OSError, ValueError):
        return False


def _is_gallery(path: Path) -> bool:
    """Whether `path` is a gallery of any kind, one without a digest included."""
    try:
        return str(json.loads((path / "zarr.json").read_text())["attributes"]["format"]).startswith("affect3d ")
    except (OSError, ValueError, KeyError, TypeError):
        return False
