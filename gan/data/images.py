"""The value that every method trains on: many face pictures of one size, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from affect3d.geometry.arrays import frozen_array

__all__ = ["FaceImages", "join_faces"]

#: Largest action-unit intensity: FACS counts from 0 (absent) to 5 (maximum).
MAX_INTENSITY = 5.0


@dataclass(frozen=True, eq=False)
class FaceImages:
    """Face pictures of one size with their labels; every change gives a new value.

    Attributes
    ----------
    images : (N, H, W, C) uint8
        sRGB (C = 3) or grey (C = 1).
    subject : (N,) int64
        Number of the person, from 0.
    expression : (N,) int64
        Index into `expression_names`, -1 where it is not known.
    expression_names : tuple of str
    units : (N, A) float32
        Intensity of the action units in [0, 5] (FACS), NaN where not known.
    unit_names : tuple of str
        ``"AU1"``, ``"AU2"``, ...
    valence, arousal : (N,) float32
        In [-1, 1], NaN where not known.
    sequence : (N,) int64
        Number of the film, or of the take (one light, one gaze) a still belongs to.
    frame : (N,) int64
        Place in the sequence, from 0.
    neutral : (N,) int64
        Row with the neutral face of the same person, -1 where there is none.
    source : str
        Where the pictures come from, in a sentence.

    Raises
    ------
    ValueError
        If a shape, a range or an index is not as above.
    """

    images: np.ndarray
    subject: np.ndarray
    expression: np.ndarray | None = None
    expression_names: tuple[str, ...] = ()
    units: np.ndarray | None = None
    unit_names: tuple[str, ...] = ()
    valence: np.ndarray | None = None
    arousal: np.ndarray | None = None
    sequence: np.ndarray | None = None
    frame: np.ndarray | None = None
    neutral: np.ndarray | None = None
    source: str = ""

    def __post_init__(self):
        images = np.asarray(self.images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
            raise ValueError(
                f"images: expected (N, H, W, 1 or 3) uint8, got shape {images.shape} of {images.dtype}"
            )  # fmt: skip
        count = len(images)
        names, unit_names = _names(self.expression_names, "expression_names"), _names(self.unit_names, "unit_names")
        known = dict(
            subject=(self.subject, None), expression=(self.expression, -1), sequence=(self.sequence, 0),
            frame=(self.frame, 0), neutral=(self.neutral, -1),
        )  # fmt: skip
        values = {name: _whole(value, name, count, missing) for name, (value, missing) in known.items()}
        for name, low, high in (
            ("subject", 0, None), ("expression", -1, len(names)), ("sequence", 0, None), ("frame", 0, None),
            ("neutral", -1, count),
        ):  # fmt: skip
            _in_range(values[name], name, low, high)
        units = np.full((count, len(unit_names)), np.nan) if self.units is None else self.units
        values["units"] = frozen_array(units, np.float32, "units", (count, len(unit_names)))
        for name in ("valence", "arousal"):
            given = getattr(self, name)
            values[name] = frozen_array(np.full(count, np.nan) if given is None else given, np.float32, name, (count,))
        for name, low, high in (("units", 0, MAX_INTENSITY), ("valence", -1, 1), ("arousal", -1, 1)):
            wrong = ~np.isnan(values[name]) & ~((values[name] >= low) & (values[name] <= high))
            if wrong.any():
                raise ValueError(f"{name}: expected numbers in [{low:g}, {high:g}], got {values[name][wrong][0]:g}")
        has = values["neutral"] >= 0
        if (values["subject"][values["neutral"][has]] != values["subject"][has]).any():
            row = np.flatnonzero(has)[values["subject"][values["neutral"][has]] != values["subject"][has]][0]
            raise ValueError(f"neutral: row {row} points to the neutral face of another subject")
        if not isinstance(self.source, str):
            raise ValueError(f"source: expected a text, got {type(self.source).__name__}")
        values |= {
            "images": frozen_array(images, np.uint8, "images", images.shape), "expression_names": names,
            "unit_names": unit_names,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels of each picture."""
        return self.images.shape[1:]

    @property
    def subjects(self) -> np.ndarray:
        """Numbers of the people, each once, in order."""
        return np.unique(self.subject)

    def select(self, rows) -> FaceImages:
        """The pictures `rows` ((M,) int, or (N,) bool) in that order.

        Where a picture's neutral face is not among them its `neutral` becomes -1; where that row is
        named more than once, the first of them counts.

        Raises
        ------
        ValueError
            If `rows` are neither, or name a row that is not there.
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise ValueError(f"rows: expected {len(self)} booleans, got shape {rows.shape}")
            rows = np.flatnonzero(rows)
        if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
            raise ValueError(f"rows: expected (M,) int or ({len(self)},) bool, got {rows.shape} of {rows.dtype}")
        rows = rows.astype(np.int64)
        _in_range(rows, "rows", 0, len(self))
        place = np.full(len(self) + 1, -1, np.int64)  # the last stands for "no neutral"
        place[rows[::-1]] = np.arange(len(rows))[::-1]
        picked = {name: _frozen(getattr(self, name)[rows]) for name in _PER_ROW if name != "neutral"}
        return replace(self, **picked, neutral=place[self.neutral[rows]])

    def grey(self) -> FaceImages:
        """The same with one channel: the luma of ITU-R BT.601, as OpenCV's conversion to grey gives it."""
        if self.images.shape[3] == 1:
            return self
        grey = np.empty(self.images.shape[:3] + (1,), np.uint8)
        for k in range(0, len(self), 1024):  # in parts, because the floats take four times the room
            grey[k : k + 1024, ..., 0] = np.rint(self.images[k : k + 1024] @ np.float32([0.299, 0.587, 0.114]))
        return replace(self, images=_frozen(grey))

    def resized(self, size: int) -> FaceImages:
        """The same with square pictures of `size` pixels: averaged where they shrink, interpolated where they grow.

        For sets that come as crops, as TFD's of 48 pixels; pictures from elsewhere are better cropped anew.

        Raises
        ------
        ValueError
            If `size` is no positive whole number.
        """
        import cv2

        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"size: expected a whole number of pixels from 1, got {size!r}")
        if self.images.shape[1:3] == (size, size):
            return self
        shrinks = size <= min(self.images.shape[1:3])
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        images = np.empty((len(self), size, size, self.images.shape[3]), np.uint8)
        for row, image in enumerate(self.images):
            images[row] = cv2.resize(image, (int(size), int(size)), interpolation=how).reshape(images.shape[1:])
        return replace(self, images=_frozen(images))

    def save(self, path) -> None:
        """Write to a safetensors file that appears complete or not at all; see `load`."""
        from affect3d.gan.data.store import save_faces

        save_faces(self, path)

    @classmethod
    def load(cls, path) -> FaceImages:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is not such a set, damaged, or of a newer version.
        OSError
            If it cannot be read.
        """
        from affect3d.gan.data.store import load_faces

        return load_faces(path)


_PER_ROW = ("images", "subject", "expression", "units", "valence", "arousal", "sequence", "frame", "neutral")


def join_faces(sets) -> FaceImages:
    """Several sets as one; their people and sequences are taken to be different.

    Names of expressions and units are joined in the order of their first appearance.  Units that a set
    does not name are NaN in its rows.  Subjects and sequences are numbered anew.

    Parameters
    ----------
    sets : sequence of FaceImages
        Pictures of one size.

    Raises
    ------
    ValueError
        If there is none, or sizes differ.
    """
    sets = list(sets)
    if not sets:
        raise ValueError("sets: expected at least one set of faces, got none")
    if len({s.size for s in sets}) > 1:
        raise ValueError(f"sets: expected pictures of one size, got {sorted({s.size for s in sets})}")
    names = tuple(dict.fromkeys(n for s in sets for n in s.expression_names))
    unit_names = tuple(dict.fromkeys(n for s in sets for n in s.unit_names))
    columns: dict[str, list] = {name: [] for name in _PER_ROW}
    people = films = rows = 0
    for s in sets:
        own, subject = np.unique(s.subject, return_inverse=True)
        takes, sequence = np.unique(s.sequence, return_inverse=True)
        units = np.full((len(s), len(unit_names)), np.nan, np.float32)
        units[:, [unit_names.index(n) for n in s.unit_names]] = s.units
        renamed = np.array([names.index(n) for n in s.expression_names] + [-1], np.int64)
        for name, value in dict(
            images=s.images, subject=subject + people, expression=renamed[s.expression], units=units,
            valence=s.valence, arousal=s.arousal, sequence=sequence + films, frame=s.frame,
            neutral=np.where(s.neutral >= 0, s.neutral + rows, -1),
        ).items():
            columns[name].append(value)
        people, films, rows = people + len(own), films + len(takes), rows + len(s)
    return FaceImages(
        **{name: _frozen(np.concatenate(parts)) for name, parts in columns.items()}, expression_names=names,
        unit_names=unit_names, source=" ".join(dict.fromkeys(s.source for s in sets if s.source)),
    )  # fmt: skip


def _frozen(array) -> np.ndarray:
    """The array itself, read-only: it is ours, so the type need not copy it."""
    array.flags.writeable = False
    return array


def _names(value, name) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if isinstance(value, str) or not all(isinstance(n, str) and n for n in names) or len(set(names)) != len(names):
        raise ValueError(f"{name}: expected different names, got {value!r}")
    return names


def _whole(value, name, count, missing) -> np.ndarray:
    if value is None:
        if missing is None:
            raise ValueError(f"{name}: expected {count} whole numbers, got none")
        value = np.full(count, missing)
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected whole numbers, got {array.dtype}")
    return frozen_array(array, np.int64, name, (count,))


def _in_range(array, name, low, high) -> None:
    wrong = (array < low) | (False if high is None else array >= high)
    if np.any(wrong):
        limit = f"in [{low}, {high})" if high is not None else f"from {low}"
        raise ValueError(f"{name}: expected numbers {limit}, got {array[wrong][0]}")
