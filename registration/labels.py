"""Valence-arousal labels of frames, from a table."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import dataclass

from affect3d.registration.frames import Frame

__all__ = ["FrameLabel", "label_frames", "read_frame_labels"]

_WANTED = ("sequence", "frame", "valence", "arousal")
_WORDS = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(frozen=True)
class FrameLabel:
    """Label of one frame.

    Attributes
    ----------
    sequence, frame : str
        As in the table.
    valence, arousal : float
        In [-1, 1].
    neutral : bool
        Whether this is the neutral face of its sequence.
    """

    sequence: str
    frame: str
    valence: float
    arousal: float
    neutral: bool = False


def read_frame_labels(path) -> tuple[FrameLabel, ...]:
    """Read a table with the columns sequence, frame, valence and arousal, and perhaps neutral.

    Parameters
    ----------
    path : str or Path
        CSV with a line of column names; further columns are passed over.  ``neutral`` is 1 at the neutral frame of
        a sequence.

    Raises
    ------
    ValueError
        If a column is missing, a number is none or lies outside [-1, 1], or a frame comes twice; names the line.
    OSError
        If the file cannot be read.
    """
    try:
        # utf-8-sig: spreadsheets put a mark at the beginning
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            missing = [name for name in _WANTED if name not in names]
            if missing:
                raise ValueError(f"columns: expected {', '.join(_WANTED)}, missing {', '.join(missing)}")
            rows.fieldnames = names
            labels = [_label(row, rows.line_num) for row in rows]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None
    seen = set()
    for label in labels:
        key = (label.sequence, label.frame)
        if key in seen:
            raise ValueError(f"{path}: frame {label.frame!r} of sequence {label.sequence!r} has two lines")
        seen.add(key)
    return tuple(labels)


def label_frames(frames, labels) -> dict[str, FrameLabel]:
    """The label of each frame that has one, by the frame's name.

    A label's sequence is the folder of the frame, whole (``subject/sequence``) or its last part if only one
    sequence's is so called.  Its frame is the file's name without suffix, or the same number (7 is 0007 and
    frame_007) if only one frame of the sequence has it.

    Parameters
    ----------
    frames : sequence of Frame
    labels : sequence of FrameLabel

    Raises
    ------
    ValueError
        If two labels mean one frame.
    """
    sequences, members = defaultdict(set), defaultdict(lambda: defaultdict(set))
    for frame in frames:
        for key in (frame.sequence, frame.sequence.rpartition("/")[2]):
            sequences[key].add(frame.sequence)
        for key in (frame.label, *_numbers(frame)):
            members[frame.sequence][key].add(frame.name)
    found = {}
    for label in labels:
        sequence = _one(label.sequence, sequences, label.sequence)
        if sequence is None:
            continue
        name = _one(label.frame, members[sequence], None)
        if name is None and label.frame.isdecimal():
            name = _one(int(label.frame), members[sequence], None)
        if name is None:
            continue
        if name in found:
            raise ValueError(f"labels: the lines of frames {found[name].frame!r} and {label.frame!r} both mean {name}")
        found[name] = label
    return found


def _one(key, table, preferred):
    choices = table.get(key, ())
    if preferred in choices:
        return preferred
    return next(iter(choices)) if len(choices) == 1 else None


def _numbers(frame: Frame) -> tuple[int, ...]:
    digits = "".join(c if c in "0123456789" else " " for c in frame.label).split()
    return (int(digits[-1]),) if digits else ()


def _label(row: dict, line: int) -> FrameLabel:
    if None in row or any(row[name] is None for name in _WANTED):
        raise ValueError(f"line {line}: expected as many cells as there are columns")
    values = {}
    for name in ("valence", "arousal"):
        try:
            values[name] = float(row[name])
        except ValueError:
            values[name] = math.nan
        if not -1 <= values[name] <= 1:
            raise ValueError(f"line {line}: {name}: expected a number in [-1, 1], got {row[name]!r}")
    word = (row.get("neutral") or "").strip().lower()
    if word not in _WORDS:
        raise ValueError(f"line {line}: neutral: expected 1 or 0, got {row['neutral']!r}")
    sequence = row["sequence"].strip().replace("\\", "/").strip("/")
    return FrameLabel(sequence, row["frame"].strip(), **values, neutral=_WORDS[word])
