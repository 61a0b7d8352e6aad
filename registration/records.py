"""The record of one frame: what went in, how, what came out, and what was thought of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace

from affect3d.io.digests import digest, file_digest
from affect3d.io.json_file import read_json, write_json

__all__ = ["FrameRecord", "digest", "file_digest", "read_record", "write_record"]

_FORMAT = "affect3d registration record 2"
_MAX_BYTES = 1_000_000  # a record fills some 2 kB; a file far beyond that is something else
VERDICTS = ("kept", "pruned", "failed")


@dataclass(frozen=True)
class FrameRecord:
    """What is known of a frame.  It holds no times and no machine's paths, so equal work gives equal bytes.

    Attributes
    ----------
    name : str
        Name of the frame, as in ``subject/sequence/frame``; the output is called so too.
    scan : str
        The scan's file within the folder that was given.
    input : str
        SHA-256 of the scan and of its landmark file; empty if the scan cannot be read.  Of a frame of a sequence
        also of all the frames before it, because the result hangs on these.
    settings : dict
        Method, its options, SHA-256 of the template, versions of the software: all that the result hangs on.
    unit, unit_source : str
        Unit of the scan's file, and whether it was given, stated by the file or guessed.
    start : {"alone", "tracked", "afresh"}
        Registered by itself; followed from the frame before it; or found again, by itself, after tracking was lost.
    landmarks : str
        Where the landmarks come from: a file's name, or "found"; empty where a tracked frame needed none.
    residuals : dict of str to float
        Distances of the trusted vertices to the scan's surface, mm: mean, median, p95, max.
    landmark_error : float or None
        Median distance of the template's landmarks to those of the scan after registration, mm; None where none
        are known.
    landmark_count : int
    matched : float
        Share of the template's vertices that found the scan, in [0, 1].
    distorted : float
        Share of the template's triangles that were turned over, crushed or torn apart, in [0, 1].
    iterations : int
    converged : bool
    reason : str
        Of the method.
    mesh : str
        SHA-256 of the registered mesh's file, empty if there is none.
    own_verdict, own_why : str
        Verdict on the frame alone.
    verdict : {"kept", "pruned", "failed"}
        The last word, after the frame was compared with its sequence.
    why : str
        A sentence; empty if kept.
    """

    name: str
    scan: str
    input: str = ""
    settings: dict = field(default_factory=dict)
    unit: str = ""
    unit_source: str = ""
    start: str = "alone"
    landmarks: str = ""
    residuals: dict = field(default_factory=dict)
    landmark_error: float | None = None
    landmark_count: int = 0
    matched: float = 0.0
    distorted: float = 0.0
    iterations: int = 0
    converged: bool = False
    reason: str = ""
    mesh: str = ""
    own_verdict: str = "failed"
    own_why: str = ""
    verdict: str = "failed"
    why: str = ""

    def judged(self, verdict: str, why: str) -> FrameRecord:
        """The same record with another last word."""
        if verdict not in VERDICTS:
            raise ValueError(f"verdict: expected one of {', '.join(VERDICTS)}, got {verdict!r}")
        return replace(self, verdict=verdict, why=why)


def write_record(path, record: FrameRecord) -> None:
    """Write a record; the same record gives the same bytes, and errors are those of `write_json`."""
    write_json(path, {"format": _FORMAT, **asdict(record)})


def read_record(path) -> FrameRecord | None:
    """Read a record; None if there is none, or if what is there is no record of this version.

    Such a file is no error: the frame is simply not done.
    """
    content = read_json(path, _MAX_BYTES)
    if content is None or content.pop("format", None) != _FORMAT:
        return None
    wanted = {f.name: f.type for f in fields(FrameRecord)}
    if set(content) != set(wanted) or not all(_fits(content[name], kind) for name, kind in wanted.items()):
        return None
    record = FrameRecord(**content)
    return record if {record.verdict, record.own_verdict} <= set(VERDICTS) else None


def _fits(value, kind: str) -> bool:
    kinds = {
        "str": (str,), "dict": (dict,), "int": (int,), "bool": (bool,), "float": (int, float),
        "float | None": (int, float, type(None)),
    }  # fmt: skip
    if isinstance(value, bool) and kind != "bool":
        return False
    return isinstance(value, kinds[kind]) and not (isinstance(value, float) and not math.isfinite(value))
