"""A gallery of registered scans: vertices in one topology with affect labels, in a Zarr store.

The store holds ``vertices`` (N, V, 3) float32 mm, chunked by frame, and beside it ``faces``, ``valence``, ``arousal``,
``subject``, ``sequence``, ``frame`` and ``neutral``; its attributes name subjects, sequences, frames and the unit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.affect.gallery import _zarr
from affect3d.affect.store import VERTICES, stored_content
from affect3d.affect.vaspace import checked_affect
from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.io.atomic import atomic_path
from affect3d.io.folder_lock import empty_folder, one_run_in
from affect3d.progress import Progress, silent

__all__ = ["GalleryRows", "require_zarr", "write_vertex_gallery"]

#: Vertices of a chunk: some 6 MB.
_CHUNK_VERTICES = 500_000
_LABELS = {"valence": np.float32, "arousal": np.float32, "subject": np.int32, "sequence": np.int32,
           "frame": np.int32, "neutral": np.int32}  # fmt: skip


@dataclass(frozen=True, eq=False)
class GalleryRows:
    """The rows of a vertex gallery, all but the vertices.

    Attributes
    ----------
    names : tuple of str
        Of the frames, each once.
    valence, arousal : (N,) float32
        In [-1, 1].
    subject, sequence : (N,) int32
        Index into `subjects` and `sequences`.
    frame : (N,) int32
        Place within the sequence, counted over all its frames, pruned ones included.
    neutral : (N,) int32
        Row of the neutral face of this frame's sequence.
    subjects, sequences : tuple of str
    """

    names: tuple[str, ...]
    valence: np.ndarray
    arousal: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    neutral: np.ndarray
    subjects: tuple[str, ...]
    sequences: tuple[str, ...]

    def __post_init__(self):
        count = len(self.names)
        if not count or len(set(self.names)) != count:
            raise ValueError(f"names: expected different names, at least one, got {len(set(self.names))} of {count}")
        checked_affect(self.valence, self.arousal)
        for name, kind in _LABELS.items():
            object.__setattr__(self, name, frozen_array(getattr(self, name), kind, name, (count,)))
        for name, limit in (
            ("subject", len(self.subjects)), ("sequence", len(self.sequences)), ("frame", 2**31), ("neutral", count),
        ):  # fmt: skip
            array = getattr(self, name)
            if array.min() < 0 or array.max() >= limit:
                raise ValueError(f"{name}: expected whole numbers in [0, {limit}), got {array.min()} to {array.max()}")

    def __len__(self) -> int:
        return len(self.names)


def write_vertex_gallery(
    path, rows: GalleryRows, faces, read: Callable[[str], np.ndarray], content: str, convention: str = "",
    overwrite: bool = False, progress: Progress = silent, attributes: Mapping | None = None,
) -> bool:  # fmt: skip
    """Write a store frame by frame, continuing what an earlier, killed call for the same content left.

    The store grows under a hidden name beside `path` and is renamed when it is complete, so what is found at `path`
    is whole.  The same content gives the same bytes, however often the work was interrupted.

    Parameters
    ----------
    path : str or Path
        A folder that does not exist, or one that holds a gallery.
    rows : GalleryRows
    faces : (F, 3) int array
    read : callable
        ``read(name) -> (V, 3)`` array, mm, for a name of `rows`.
    content : str
        Digest of all that the gallery is made from.
    convention : str
        What the labels mean.
    overwrite : bool
        Whether a gallery of other content may be replaced.
    progress : callable
    attributes : dict, optional
        What else is stored, ``frame_rate``, ``splits`` and ``notes`` for instance.

    Returns
    -------
    bool
        False if the gallery was there already, with the same content.

    Raises
    ------
    FileExistsError
        If something else is at `path` and `overwrite` is false, or it is no gallery.
    ValueError
        If vertices are not finite or two frames differ in their number, or another run is writing the same gallery.
    """
    _zarr()
    path = Path(os.path.abspath(path))
    if os.path.lexists(path):
        found = stored_content(path, VERTICES)
        if found == content:
            return False
        if found is None:
            raise FileExistsError(f"path: {path} exists and is no vertex gallery, so it is not replaced")
        if not overwrite:
            raise FileExistsError(f"path: {path} holds another gallery; remove it or ask to overwrite it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: the folder {path.parent} does not exist")
    growing = path.with_name(f".{path.name}.growing")
    growing.mkdir(exist_ok=True)
    with one_run_in(growing):
        _grow(path, growing, rows, faces, read, content, convention, progress, attributes)
    return True


def _grow(path, growing, rows, faces, read, content, convention, progress, attributes) -> None:
    zarr = _zarr()
    state = growing / "state.json"
    store = growing / "store"
    faces = np.ascontiguousarray(faces, np.int32)
    first = _read(read, rows.names[0], None)
    step = max(1, min(len(rows), _CHUNK_VERTICES // max(len(first), 1)))
    done = _chunks_done(state, content, step)
    if done == 0:
        empty_folder(growing)
        group = zarr.open_group(store=str(store), mode="w")
        # vertices hardly shrink, and what is not compressed is read several times faster
        group.create_array(
            "vertices", shape=(len(rows), *first.shape), chunks=(step, *first.shape), dtype="float32", compressors=None
        )
        group.create_array("faces", shape=faces.shape, chunks=(max(len(faces), 1), 3), dtype="int32")[...] = faces
        for name, kind in _LABELS.items():
            array = group.create_array(name, shape=(len(rows),), chunks=(len(rows),), dtype=kind)
            array[...] = getattr(rows, name)
        group.attrs.update(
            {
                "format": VERTICES[-1], "content": content, "names": list(rows.names), "subjects": list(rows.subjects),
                "sequences": list(rows.sequences), "convention": convention,
                "units": "vertices in mm; valence and arousal in [-1, 1]", "chunk_files": -(-len(rows) // step),
                **(attributes or {}),
            }  # fmt: skip
        )
    vertices = zarr.open_group(store=str(store), mode="r+")["vertices"]
    for start in range(done * step, len(rows), step):
        names = rows.names[start : start + step]
        block = np.stack([_read(read, name, first.shape) for name in names])
        with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk without a file is one that was lost
            vertices[start : start + len(names)] = block
        # said only after the chunk is there; a chunk that was written but not counted is written again
        with atomic_path(state) as temporary:
            temporary.write_text(json.dumps({"content": content, "step": step, "done": start // step + 1}))
        progress(start + len(names), len(rows), "writing the gallery")
    if path.exists():
        os.replace(path, growing / "old")
    os.replace(store, path)
    shutil.rmtree(growing, ignore_errors=True)


def _chunks_done(state: Path, content: str, step: int) -> int:
    try:
        found = json.loads(state.read_text())
        return int(found["done"]) if (found["content"], found["step"]) == (content, step) else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def require_zarr() -> None:
    """Raise the ImportError that says how to get zarr if it is missing; worth asking before long work."""
    _zarr()


def _read(read, name: str, shape) -> np.ndarray:
    array = np.asarray(read(name), np.float32)
    if array.ndim != 2 or array.shape[1] != 3 or (shape is not None and array.shape != shape):
        raise ValueError(f"vertices: expected shape {shape or '(V, 3)'} for frame {name}, got {array.shape}")
    require_finite(array, f"vertices of frame {name}")
    return array
