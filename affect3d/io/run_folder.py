"""The folder of a run that can be killed at any moment and goes on where it was.

A run holds its folder alone, sweeps away what a killed run left half-written, and keeps beside its results what it was
asked for, in ``plan.json``.  Whoever finds another plan there refuses to mix results, or begins anew.  What cost time
within a run is a step: files, and last a note that names the digest of all that they hang on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from affect3d.io.atomic import remove_unfinished
from affect3d.io.folder_lock import empty_folder, one_run_in
from affect3d.io.json_file import json_ready, read_json, write_json

__all__ = ["RunFolder", "difference", "end_step", "make_folder", "one_run", "read_step"]

_PLAN, _KIND = "plan.json", "run"
#: A value in a sentence is cut after so many letters.
_SHOWN = 60
_MISSING = object()


@dataclass(frozen=True)
class RunFolder:
    """Where a run works, and what all of its results hang on.

    Attributes
    ----------
    path : Path
        Made where it is missing.
    kind : str
        The command whose run it is, "study" for instance.
    plan : dict
        Options, data and whatever else may not change between two runs in this folder, by name; nothing where each
        result tells by itself what it hangs on.
    parts : tuple of str
        Subfolders that are the run's own; what else lies in the folder is never touched.
    """

    path: Path
    kind: str
    plan: Mapping = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    def __post_init__(self):
        if _KIND in self.plan:
            raise ValueError(f"plan: expected another name than {_KIND!r}, which is that of the kind")
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "plan", json_ready(dict(self.plan)))


@contextmanager
def one_run(run: RunFolder, anew: bool = False) -> Iterator[Path]:
    """Hold the folder for the block, alone and for this plan.

    Parameters
    ----------
    run : RunFolder
    anew : bool
        Whether work of another plan is thrown away; else it is refused.  Only for folders that hold nothing else.

    Raises
    ------
    ValueError
        If another run is at work in it, or it holds a run of another kind, or of another plan: the sentence names
        the first difference.
    NotADirectoryError
        If a file is there.
    OSError
        If it cannot be written.
    """
    make_folder(run.path)
    with one_run_in(run.path):
        _claim(run, anew)  # first: nothing is swept out of folders that are not ours
        _sweep(run)
        try:
            yield run.path
        finally:
            _sweep(run)


def make_folder(path) -> Path:
    """Make a folder and those above it where they are missing; the errors are those of `one_run`."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path}: is a file, expected a folder") from None
    return path


def difference(there: Mapping, here: Mapping) -> str:
    """The first difference of two plans as in ``options.seeds was 3, now 2``; "" if there is none.

    Both are as JSON gives them back.  Objects within them are compared by name, in the order of `here`.
    """
    for name in {**here, **there}:
        was, now = there.get(name, _MISSING), here.get(name, _MISSING)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            within = difference(was, now)
            if within:
                return f"{name}.{within}"
        elif was != now:
            return f"{name} was {_shown(was)}, now {_shown(now)}"
    return ""


def read_step(path, digest: str) -> dict | None:
    """What `end_step` wrote at `path` for a step of this digest; None if that is not done."""
    found = read_json(path)
    return found if found is not None and found.get("digest") == digest else None


def end_step(path, digest: str, content: Mapping | None = None) -> None:
    """Say at `path`, a .json file, that a step is done; to be called when its files are there.

    `digest` is that of all that its results hang on, and `content` what `read_step` shall give besides.
    """
    write_json(path, {**(content or {}), "digest": digest})


def _claim(run: RunFolder, anew: bool) -> None:
    path = run.path / _PLAN
    there = read_json(path)
    fault = _fault(run, there) if path.exists() else ""
    if fault and not anew:
        raise ValueError(f"{run.path}: {fault}; name another folder")
    if anew and (fault or there is None):
        empty_folder(run.path)
        there = None
    if there is None:
        write_json(path, {_KIND: run.kind, **run.plan})


def _fault(run: RunFolder, there: Mapping | None) -> str:
    # the first plans, all of studies, did not say whose they are
    if there is None or (_KIND not in there and set(there) != set(run.plan)):
        return f"{_PLAN} in it is not that of a run of affect3d {run.kind}"
    there = dict(there)
    kind = there.pop(_KIND, run.kind)
    if kind != run.kind:
        return f"holds a run of affect3d {kind}, not of affect3d {run.kind}"
    found = difference(there, run.plan)
    return f"was made with other options or data: {found}" if found else ""


def _sweep(run: RunFolder) -> None:
    remove_unfinished(run.path, below=False)
    for part in run.parts:
        remove_unfinished(run.path / part)


def _shown(value) -> str:
    text = "not given" if value is _MISSING else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
