"""One reader for galleries of both kinds: expression coefficients of a head, and vertices of registered scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from affect3d.affect.gallery import _zarr
from affect3d.affect.raw_chunks import raw_chunks
from affect3d.affect.store_frames import NeutralOffsets, StreamedCoefficients, basis_gram, rms_distance, take_rows
from affect3d.affect.vaspace import VASpace, checked_affect
from affect3d.io.json_file import read_json
from affect3d.model.frame_products import CoefficientFrames, FrameArray

__all__ = ["COEFFICIENTS", "GalleryStore", "VERTICES", "open_gallery", "stored_attributes", "stored_content"]

COEFFICIENTS = ("affect3d gallery 1", "affect3d gallery 2")
VERTICES = ("affect3d vertex gallery 1",)
_INDICES = ("subject", "sequence", "frame", "neutral")
#: Coefficients of at most this many bytes are read once and kept by `frames`.
_KEEP_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class GalleryStore:
    """A gallery that is open for reading; frames stay on disk until they are asked for.

    Attributes
    ----------
    path : Path
    kind : {"coefficients", "vertices"}
    valence, arousal : (N,) float32
        In [-1, 1].
    subject, sequence : (N,) int32
        Index into `subjects` and `sequences`.
    frame : (N,) int32
        Place within the sequence.
    neutral : (N,) int32
        Row of the neutral face of this frame's sequence.
    subjects, sequences : tuple of str
        Names; where a store holds none, "subject 7" and "sequence 12".
    expression_names : tuple of str
        Of the coefficients; empty where the store holds vertices.
    convention, notes : str
        What the labels mean, and where the frames come from.
    frame_rate : float or None
        Frames a second, where the store says it.
    splits : dict of str to tuple of str
        Named sets of subjects that the store was written with, ``train`` and ``test`` for instance.
    model : str
        Name of the head, "" where the store does not say.
    """

    path: Path
    kind: str
    valence: np.ndarray
    arousal: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    neutral: np.ndarray
    subjects: tuple[str, ...]
    sequences: tuple[str, ...]
    expression_names: tuple[str, ...]
    convention: str
    notes: str
    frame_rate: float | None
    splits: Mapping[str, tuple[str, ...]]
    model: str
    _group: object
    _content: str | None

    def __len__(self) -> int:
        return len(self.valence)

    @cached_property
    def values(self):
        """The stored array, read by slices: (N, E) coefficients or (N, V, 3) vertices in mm, float32."""
        name = "expression" if self.kind == "coefficients" else "vertices"
        return raw_chunks(self._group[name], self.path / name)

    @cached_property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames, for meshes that came from files; empty where none are stored."""
        return tuple(self._group.attrs.get("names", ()))

    @cached_property
    def content(self) -> str:
        """Digest of the content; galleries that differ in it differ."""
        return self._content or _array_digest(self)

    @cached_property
    def _head(self):
        """(rest (V, 3), faces (F, 3), basis (E, V, 3)) of a store of coefficients."""
        if "head" in self._group:
            head = self._group["head"]
            rest, faces, basis = (np.asarray(head[name][...]) for name in ("rest", "faces", "basis"))
        else:
            from affect3d.affect.gallery_head import gallery_head
            from affect3d.model.load import load_model

            known = gallery_head(load_model(), self.expression_names)
            rest, faces, basis = known.rest, known.faces, known.basis
        if basis.shape != (len(self.expression_names), *rest.shape):
            raise ValueError(
                f"path: {self.path} has a head of {len(rest)} vertices and {len(self.expression_names)} expressions, "
                f"but a basis of shape {basis.shape}"
            )
        for array in (rest, faces, basis):
            array.flags.writeable = False
        return rest, faces, basis

    @cached_property
    def faces(self) -> np.ndarray:
        """(F, 3) int32 vertex indices."""
        return self._head[1] if self.kind == "coefficients" else np.asarray(self._group["faces"][...])

    @cached_property
    def rest(self) -> np.ndarray:
        """(V, 3) float64, mm: the head at rest.

        For vertices the template that is stored beside them, else the mean of the neutral faces of all sequences.
        """
        if self.kind == "coefficients":
            return self._head[0].astype(np.float64)
        if "rest" in self._group:
            return np.asarray(self._group["rest"][...], np.float64)
        rows, total = np.unique(self.neutral), 0.0
        for first in range(0, len(rows), 64):
            total = total + take_rows(self.values, rows[first : first + 64]).sum(0, dtype=np.float64)
        return total / len(rows)

    @property
    def basis(self) -> np.ndarray:
        """(E, V, 3) float32, mm: displacements of the expressions at full intensity; None for vertices."""
        return self._head[2] if self.kind == "coefficients" else None

    @cached_property
    def colours(self) -> np.ndarray | None:
        """(V, 3) uint8 sRGB of the head or the template, for pictures; None where the store holds none."""
        for name in ("head/colours", "colours"):
            if name in self._group:
                return np.asarray(self._group[name][...], np.uint8)
        return None

    @cached_property
    def distance(self) -> np.ndarray:
        """(N,) float32, mm: root mean square over the vertices of each frame's displacement from its neutral face."""
        if "distance" in self._group:
            return np.asarray(self._group["distance"][...], np.float32)
        out = np.empty(len(self), np.float32)
        gram = None if self.kind == "vertices" else basis_gram(self.basis)
        for start, block in self.offsets().blocks():
            out[start : start + len(block)] = rms_distance(block, gram)
        return out

    @property
    def hours(self) -> float | None:
        """Length of all sequences together; None where the frame rate is not known."""
        return None if self.frame_rate is None else len(self) / self.frame_rate / 3600

    def select(
        self, classes=None, subjects=None, sequences=None, split=None, space: VASpace | None = None
    ) -> np.ndarray:
        """Rows of which all that is asked for is true.

        Parameters
        ----------
        classes : int or sequence of int, optional
            Classes of `space`.
        subjects, sequences : name, index, or sequence of either, optional
        split : str or (N,) bool array, optional
            Name of one of `splits`, or the rows themselves.
        space : VASpace, optional
            10 x 10 classes by default.

        Returns
        -------
        (M,) int64
            Ascending.

        Raises
        ------
        ValueError
            If a class, a subject, a sequence or a split is not in the gallery.
        """
        keep = np.ones(len(self), bool)
        if classes is not None:
            space = space or VASpace()
            wanted = np.atleast_1d(np.asarray(classes))
            space.centre(wanted)  # refuses what is no class
            keep &= np.isin(space.class_of(self.valence, self.arousal), wanted)
        if subjects is not None:
            keep &= np.isin(self.subject, _numbers(subjects, self.subjects, "subjects"))
        if sequences is not None:
            keep &= np.isin(self.sequence, _numbers(sequences, self.sequences, "sequences"))
        if isinstance(split, str):
            if split not in self.splits:
                known = ", ".join(sorted(self.splits)) or "none"
                raise ValueError(f"split: expected one that the gallery has ({known}), got {split!r}")
            keep &= np.isin(self.subject, _numbers(self.splits[split], self.subjects, "split"))
        elif split is not None:
            mask = np.asarray(split)
            if mask.shape != keep.shape or mask.dtype != bool:
                raise ValueError(f"split: expected a name or {len(self)} booleans, got {mask.dtype} {mask.shape}")
            keep &= mask
        return np.flatnonzero(keep)

    def offsets(self, rows=None) -> NeutralOffsets:
        """Rows of `values` minus their neutral face, an array-like that reads while it is sliced.

        Parameters
        ----------
        rows : (M,) int array, optional
            All by default.
        """
        return NeutralOffsets(self.values, self._rows(rows), self.neutral)

    def frames(self, rows=None):
        """Displacements from the neutral face of the same sequence, mm, as `affect3d.model.frame_products` has them.

        Parameters
        ----------
        rows : (M,) int array, optional
            All by default.

        Returns
        -------
        CoefficientFrames, StreamedCoefficients or FrameArray
            Of shape (M, V, 3).  What is large is read from the store for each product.

        Raises
        ------
        ValueError
            If a row is not in the gallery, or there is none.
        """
        rows = self._rows(rows)
        if not len(rows):
            raise ValueError("rows: expected at least one, got none")
        offsets = self.offsets(rows)
        if self.kind == "vertices":
            return FrameArray(offsets)
        if 4 * len(rows) * len(self.expression_names) <= _KEEP_BYTES:
            kept = np.empty(offsets.shape, np.float32)
            for start, block in offsets.blocks():
                kept[start : start + len(block)] = block
            return CoefficientFrames(kept, self.basis)
        return StreamedCoefficients(offsets, self.basis)

    def vertices(self, rows=None) -> np.ndarray:
        """Whole faces, mm: what is stored, or the head at rest moved by the coefficients.

        Parameters
        ----------
        rows : (M,) int array, optional
            All by default, which may need much memory.

        Returns
        -------
        (M, V, 3) float32
        """
        values = take_rows(self.values, self._rows(rows))
        if self.kind == "vertices":
            return values
        moved = values @ self.basis.reshape(len(self.basis), -1)
        return moved.reshape(len(values), -1, 3) + self.rest.astype(np.float32)

    def apex_rows(self, per_sequence: int, by: str = "distance") -> np.ndarray:
        """The most expressive frames of each sequence.

        The paper learns components from the apex frames of its posed sequences, 12,000 in all, and says of them only
        that they are apexes (section 4.1).  Here they are the frames of a sequence whose faces are farthest from its
        neutral one, or whose labels are.

        Parameters
        ----------
        per_sequence : int
            At least 1; a shorter sequence gives all its frames but the neutral one.
        by : {"distance", "affect"}
            Root mean square displacement of the vertices, or distance of the label from the origin.

        Returns
        -------
        (M,) int64
            Ascending.

        Raises
        ------
        ValueError
            If `per_sequence` or `by` is another.
        """
        if isinstance(per_sequence, bool) or not isinstance(per_sequence, (int, np.integer)) or per_sequence < 1:
            raise ValueError(f"per_sequence: expected a whole number of at least 1, got {per_sequence!r}")
        if by not in ("distance", "affect"):
            raise ValueError(f"by: expected 'distance' or 'affect', got {by!r}")
        size = self.distance if by == "distance" else np.hypot(self.valence, self.arousal)
        rows = np.flatnonzero(self.neutral != np.arange(len(self)))
        # largest first within each sequence, the earlier one of two equals
        rows = rows[np.lexsort((rows, -size[rows], self.sequence[rows]))]
        groups = self.sequence[rows]
        first = np.flatnonzero(np.diff(groups, prepend=-1))
        rank = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
        return np.sort(rows[rank < per_sequence])

    def sequence_rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index of each sequence and its rows in the order of its frames."""
        order = np.lexsort((self.frame, self.sequence))
        cuts = np.flatnonzero(np.diff(self.sequence[order])) + 1
        for rows in np.split(order, cuts):
            yield int(self.sequence[rows[0]]), rows

    def _rows(self, rows) -> np.ndarray:
        if rows is None:
            return np.arange(len(self))
        rows = np.asarray(rows)
        if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise ValueError(f"rows: expected whole numbers of shape (M,), got {rows.dtype} of shape {rows.shape}")
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            bad = rows.min() if rows.min() < 0 else rows.max()
            raise ValueError(f"rows: indices must lie in [0, {len(self)}), got {bad}")
        return rows.astype(np.int64)


def open_gallery(path) -> GalleryStore:
    """Open a gallery of either kind.

    Only the labels are read.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If what is there is no whole gallery, or its labels contradict each other.
    ImportError
        If the package zarr is missing.
    """
    zarr = _zarr()
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path: there is no gallery at {path}")
    try:
        group = zarr.open_group(store=str(path), mode="r")
        attributes = group.attrs.asdict()
        form = attributes.get("format")
        if form not in COEFFICIENTS + VERTICES:
            raise ValueError(f"its format is {form!r}, expected one of {', '.join(COEFFICIENTS + VERTICES)}")
        return _checked(path, group, attributes, "coefficients" if form in COEFFICIENTS else "vertices")
    # zarr and its codecs raise many types for damaged files; to the user they are one fault
    except Exception as error:
        raise ValueError(f"path: {path} is not a readable gallery ({type(error).__name__}: {error})") from error


def stored_attributes(path) -> dict:
    """Attributes of the gallery at `path`, of whatever version, without its arrays; none if there is no gallery."""
    attributes = (read_json(Path(path) / "zarr.json") or {}).get("attributes")
    if not isinstance(attributes, dict) or not str(attributes.get("format")).startswith("affect3d "):
        return {}
    return attributes


def stored_content(path) -> str | None:
    """Digest that the gallery at `path` was written with; None if there is none that could be read."""
    attributes = stored_attributes(path)
    return attributes.get("content") if attributes.get("format") in COEFFICIENTS + VERTICES else None


def _checked(path, group, attributes, kind) -> GalleryStore:
    valence, arousal = (np.asarray(group[name][...], np.float32) for name in ("valence", "arousal"))
    checked_affect(valence, arousal)
    count = len(valence)
    if not count:
        raise ValueError("it holds no frames")
    indices = {name: np.asarray(group[name][...], np.int32) for name in _INDICES}
    values = group["expression" if kind == "coefficients" else "vertices"]
    names = tuple(attributes.get("expression_names", ())) if kind == "coefficients" else ()
    wanted = (count, len(names)) if kind == "coefficients" else (count, *values.shape[1:2], 3)
    if tuple(values.shape) != wanted:
        raise ValueError(f"its frames have shape {tuple(values.shape)}, expected {wanted}")
    lists = {}
    for name, word in (("subject", "subjects"), ("sequence", "sequences")):
        index = indices[name]
        if index.shape != (count,) or index.min() < 0:
            raise ValueError(f"{name}: expected {count} numbers of at least 0, got shape {index.shape}")
        lists[word] = tuple(attributes.get(word) or (f"{name} {i}" for i in range(int(index.max()) + 1)))
        if index.max() >= len(lists[word]):
            raise ValueError(f"{name}: expected numbers below {len(lists[word])}, got {index.max()}")
        if len(set(lists[word])) != len(lists[word]):
            raise ValueError(f"{word}: two have the same name")
    neutral = indices["neutral"]
    if neutral.shape != (count,) or neutral.min() < 0 or neutral.max() >= count:
        raise ValueError(f"neutral: expected {count} rows in [0, {count})")
    if (indices["subject"][neutral] != indices["subject"]).any():
        bad = int(np.flatnonzero(indices["subject"][neutral] != indices["subject"])[0])
        raise ValueError(f"neutral: the neutral face of row {bad} is another subject's")
    _check_chunks(path, values, attributes)
    for array in (valence, arousal, *indices.values()):
        array.flags.writeable = False
    rate = attributes.get("frame_rate")
    return GalleryStore(
        path=path, kind=kind, valence=valence, arousal=arousal, **indices, **lists, expression_names=names,
        convention=str(attributes.get("convention", "")), notes=str(attributes.get("notes", "")),
        frame_rate=None if rate is None else float(rate),
        splits={str(k): tuple(v) for k, v in attributes.get("splits", {}).items()},
        model=str(attributes.get("model", "")), _group=group, _content=attributes.get("content"),
    )  # fmt: skip


def _check_chunks(path, values, attributes) -> None:
    """zarr reads a chunk whose file is gone as zeros, and zeros are a face: count the files instead."""
    wanted = attributes.get("chunk_files")
    if wanted is None:
        return
    folder = Path(path) / values.basename / "c"
    rest = ("0",) * (len(values.shape) - 1)  # chunks are whole rows, so there is one file for each number
    found = sum(entry.joinpath(*rest).is_file() for entry in folder.iterdir()) if folder.is_dir() else 0
    if found != wanted:
        raise ValueError(f"{found} of its {wanted} chunks are there")


def _numbers(wanted, names: tuple[str, ...], argument: str) -> np.ndarray:
    wanted = [wanted] if isinstance(wanted, (str, int, np.integer)) else list(wanted)
    index = {name: i for i, name in enumerate(names)}
    out = []
    for item in wanted:
        number = index.get(item, -1) if isinstance(item, str) else int(item)
        if not 0 <= number < len(names):
            raise ValueError(f"{argument}: the gallery has no {item!r}, its {len(names)} are called {names[0]!r} ...")
        out.append(number)
    return np.array(out, np.int64)


def _array_digest(store: GalleryStore) -> str:
    total = hashlib.sha256(json.dumps([store.kind, store.expression_names, store.convention]).encode())
    for name in ("valence", "arousal", *_INDICES):
        total.update(np.ascontiguousarray(getattr(store, name)))
    values = store.values
    step = max(1, 2**24 // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(store), step):
        total.update(np.ascontiguousarray(values[start : start + step]))
    return total.hexdigest()
