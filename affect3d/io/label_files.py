"""Valence-arousal labels as databases keep them: Aff-Wild text, AFEW-VA JSON and plain CSV, read to [-1, 1].

Aff-Wild keeps one number a line, valence and arousal in files of their own; Aff-Wild2 keeps both, after a line of
names, with -5 where nobody annotated; AFEW-VA keeps whole numbers from -10 to 10 beside 68 landmarks of each frame.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.geometry.arrays import frozen_array

__all__ = ["LabelTrack", "join_tracks", "read_label_file"]

#: What Aff-Wild2 writes for a frame that nobody annotated.
_NOT_ANNOTATED = -5.0
_AFEW_SCALE = 10.0
_TARGETS = ("valence", "arousal")


@dataclass(frozen=True, eq=False)
class LabelTrack:
    """Labels of one sequence by one annotator, or by one consensus of several.

    Attributes
    ----------
    name : str
        Of the sequence: from the file where it says it, else the file's name without suffix.
    frame : (N,) int64
        Numbers of the frames as the file counts them, ascending; Aff-Wild's first line is frame 1.
    valence, arousal : (N,) float64 or None
        In [-1, 1], and 0 where `annotated` is false; None if the file holds the other one only.
    annotated : (N,) bool
        Whether the frame has a label.
    landmarks : (N, 68, 2) float64 or None
        Pixels, ibug68.
    source : str
        The file.
    """

    name: str
    frame: np.ndarray
    valence: np.ndarray | None
    arousal: np.ndarray | None
    annotated: np.ndarray
    landmarks: np.ndarray | None = None
    source: str = ""

    def __post_init__(self):
        frame = frozen_array(self.frame, np.int64, "frame", (None,))
        if len(frame) and (np.diff(frame) <= 0).any():
            raise ValueError("frame: expected ascending numbers, each once")
        annotated = frozen_array(self.annotated, bool, "annotated", (len(frame),))
        if self.valence is None and self.arousal is None:
            raise ValueError("valence: expected valence, arousal or both, got neither")
        for name in _TARGETS:
            value = getattr(self, name)
            if value is None:
                continue
            value = np.where(annotated, frozen_array(value, np.float64, name, (len(frame),)), 0.0)
            if not (np.abs(value) <= 1).all():
                raise ValueError(f"{name}: expected numbers in [-1, 1]")
            object.__setattr__(self, name, frozen_array(value, np.float64, name, (len(frame),)))
        if self.landmarks is not None:
            marks = frozen_array(self.landmarks, np.float64, "landmarks", (len(frame), 68, 2))
            object.__setattr__(self, "landmarks", marks)
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "annotated", annotated)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def missing(self) -> np.ndarray:
        """Numbers between the first and the last frame that the file does not mention."""
        if not len(self.frame):
            return np.empty(0, np.int64)
        return np.setdiff1d(np.arange(self.frame[0], self.frame[-1] + 1), self.frame)


def read_label_file(path, target: str | None = None) -> tuple[LabelTrack, ...]:
    """Read a file of labels; what it is, its content says.

    Parameters
    ----------
    path : str or Path
        AFEW-VA JSON; text with one number a line, or with lines ``valence,arousal`` below these names; or CSV with
        the columns frame, valence and arousal, and perhaps sequence, in any order.  Empty cells and -5 are frames
        that nobody annotated.
    target : {"valence", "arousal"}, optional
        What a file of one number a line holds; by default what its name or its folder's name says.

    Returns
    -------
    tuple of LabelTrack
        One for each sequence of the file.

    Raises
    ------
    ValueError
        If a number lies outside its range, a frame comes twice or a line is not understood; names file and line.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    if target not in (None, *_TARGETS):
        raise ValueError(f"target: expected 'valence' or 'arousal', got {target!r}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected text, got bytes that are none") from None
    try:
        if text.lstrip().startswith(("{", "[")):
            return (_afew(json.loads(text), path),)
        lines = text.splitlines()
        # the end of the last line, and whatever empty lines follow it, are no frames
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            raise ValueError("is empty")
        head = [word.strip().lower() for word in lines[0].replace(";", ",").replace("\t", ",").split(",")]
        if "frame" in head:
            return _table(lines, path)
        if set(head) == set(_TARGETS):
            return (_both(lines, head, path),)
        if len(head) == 1:
            return (_single(lines, path, target),)
        if len(head) == 2 and all(_is_number(word) for word in head):
            return (_both(["", *lines], list(_TARGETS), path, first_line=0),)
        raise ValueError(
            "line 1: expected one number, or the names valence,arousal, or frame,valence,arousal (and sequence), "
            f"got {lines[0][:60]!r}"
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno}: is no JSON ({error.msg})") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None


def join_tracks(tracks: Iterable[LabelTrack]) -> tuple[LabelTrack, ...]:
    """Put the valence of one file and the arousal of another together, sequence by sequence.

    Raises
    ------
    ValueError
        If both hold valence or both arousal, or their frames differ; names the files.
    """
    found: dict[str, LabelTrack] = {}
    for track in tracks:
        other = found.get(track.name)
        if other is None:
            found[track.name] = track
            continue
        for name in _TARGETS:
            if getattr(track, name) is not None and getattr(other, name) is not None:
                raise ValueError(f"{track.source}: sequence {track.name!r} has its {name} in {other.source} already")
        if not np.array_equal(track.frame, other.frame):
            raise ValueError(
                f"{track.source}: has {len(track)} frames of sequence {track.name!r}, but {other.source} has "
                f"{len(other)}"
                if len(track) != len(other)
                else f"{track.source}: its frames of sequence {track.name!r} are other ones than in {other.source}"
            )
        first, second = (other, track) if other.valence is not None else (track, other)
        marks = other.landmarks if track.landmarks is None else track.landmarks
        found[track.name] = LabelTrack(
            track.name, track.frame, first.valence, second.arousal, first.annotated & second.annotated, marks,
            f"{first.source}, {second.source}",
        )  # fmt: skip
    return tuple(found.values())


def _afew(content, path: Path) -> LabelTrack:
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, dict) or not frames:
        raise ValueError("expected an object with frames, as AFEW-VA has them")
    numbers, rows, marks = [], [], []
    for key, entry in frames.items():
        if not key.isdecimal() or not isinstance(entry, dict):
            raise ValueError(f"frame {key!r}: expected a number that names an object")
        values = []
        for name in _TARGETS:
            value = entry.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _AFEW_SCALE:
                raise ValueError(f"frame {key}: {name}: expected a number in [-10, 10], got {value!r}")
            values.append(value / _AFEW_SCALE)
        numbers.append(int(key))
        rows.append(values)
        marks.append(_marks(entry.get("landmarks"), key))
    if len(set(numbers)) != len(numbers):
        raise ValueError("two frames have the same number")
    with_marks = [m is not None for m in marks]
    if any(with_marks) and not all(with_marks):
        raise ValueError(f"frame {list(frames)[with_marks.index(False)]}: has no landmarks, but other frames do")
    order = np.argsort(numbers)
    values = np.array(rows)[order]
    name = content.get("video_id")
    return LabelTrack(
        str(name) if isinstance(name, (str, int)) and str(name) else path.stem, np.array(numbers)[order], values[:, 0],
        values[:, 1], np.ones(len(order), bool), np.array(marks)[order] if all(with_marks) else None, str(path),
    )  # fmt: skip


def _marks(value, key: str):
    if value is None or value == []:
        return None
    try:
        marks = np.array(value, float)
    except (TypeError, ValueError):
        marks = np.empty(0)
    if marks.shape != (68, 2) or not np.isfinite(marks).all():
        raise ValueError(f"frame {key}: landmarks: expected 68 pairs of numbers, got shape {marks.shape}")
    return marks


def _both(lines, head, path: Path, first_line: int = 1) -> LabelTrack:
    values, annotated = [], []
    for number, line in enumerate(lines[1:], first_line + 1):
        words = line.replace(";", ",").replace("\t", ",").split(",")
        if len(words) != 2:
            raise ValueError(f"line {number}: expected two numbers, got {line[:60]!r}")
        pair = [_value(words[head.index(name)], name, number) for name in _TARGETS]
        annotated.append(None not in pair)
        values.append([value or 0.0 for value in pair])
    if not values:
        raise ValueError("has a line of names and no labels")
    values = np.array(values)
    return LabelTrack(
        path.stem, np.arange(1, len(values) + 1), values[:, 0], values[:, 1], np.array(annotated), None, str(path)
    )


def _single(lines, path: Path, target: str | None) -> LabelTrack:
    number = 1
    if lines[0].strip().lower() in _TARGETS:
        said = lines[0].strip().lower()
        if target not in (None, said):
            raise ValueError(f"line 1: says {said}, expected {target}")
        target, lines, number = said, lines[1:], 2
    if target is None:
        named = [t for t in _TARGETS if any(t in part.lower() for part in (path.stem, path.parent.name))]
        if len(named) != 1:
            raise ValueError(
                "holds one number a line, and neither its name nor its folder's says whether that is valence or arousal"
            )
        target = named[0]
    values = [_value(line, target, i) for i, line in enumerate(lines, number)]
    if not values:
        raise ValueError("has a line of names and no labels")
    annotated = np.array([value is not None for value in values])
    array = np.array([value or 0.0 for value in values])
    track = {t: array if t == target else None for t in _TARGETS}
    return LabelTrack(path.stem, np.arange(1, len(values) + 1), **track, annotated=annotated, source=str(path))


def _table(lines, path: Path) -> tuple[LabelTrack, ...]:
    delimiter = max(",;\t", key=lines[0].count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    head = [name.strip().lower() for name in next(rows)]
    targets = [t for t in _TARGETS if t in head]
    if not targets:
        raise ValueError(f"line 1: expected a column valence or arousal, got {', '.join(head)}")
    if len(set(head)) != len(head):
        raise ValueError("line 1: two columns have the same name")
    where = {name: i for i, name in enumerate(head)}
    found: dict[str, dict[int, list]] = {}
    for row in rows:
        number = rows.line_num
        if not row:
            continue
        if len(row) != len(head):
            raise ValueError(f"line {number}: expected {len(head)} cells, got {len(row)}")
        cell = row[where["frame"]].strip()
        if not cell.isdecimal():
            raise ValueError(f"line {number}: frame: expected a whole number of at least 0, got {cell!r}")
        name = row[where["sequence"]].strip() if "sequence" in where else path.stem
        track = found.setdefault(name, {})
        if int(cell) in track:
            raise ValueError(f"line {number}: frame {cell} of sequence {name!r} comes twice")
        track[int(cell)] = [_value(row[where[t]], t, number) for t in targets]
    if not found:
        raise ValueError("has a line of names and no labels")
    tracks = []
    for name, track in found.items():
        frames = sorted(track)
        annotated = np.array([None not in track[i] for i in frames])
        values = np.array([[v or 0.0 for v in track[i]] for i in frames])
        columns = {t: values[:, targets.index(t)] if t in targets else None for t in _TARGETS}
        tracks.append(LabelTrack(name, np.array(frames), **columns, annotated=annotated, source=str(path)))
    return tuple(tracks)


def _value(word: str, name: str, line: int) -> float | None:
    """The number; None where nobody annotated."""
    word = word.strip()
    if not word:
        return None
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if value == _NOT_ANNOTATED:
        return None
    if not -1 <= value <= 1:
        raise ValueError(f"line {line}: {name}: expected a number in [-1, 1], or -5 for none, got {word!r}")
    return value


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
