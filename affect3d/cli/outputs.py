"""Which files a run of `synthesize` will write, settled and checked before any work."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from affect3d.cli.errors import UsageError

__all__ = ["Job", "check_jobs", "check_output", "plan_jobs"]

#: What can be saved beside a picture, how its name ends, and the suffix it must have.
BESIDE = (("mask", "_mask.png", ".png"), ("landmarks", ".landmarks.json", ".json"), ("mesh", ".obj", ".obj"))


@dataclass(frozen=True)
class Job:
    """One photo and what becomes of it.

    Attributes
    ----------
    photo : Path
    picture : Path
        The image, contact sheet or film.
    mask, landmarks, mesh : Path, optional
    """

    photo: Path
    picture: Path
    mask: Path | None = None
    landmarks: Path | None = None
    mesh: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        return tuple(p for p in (self.picture, self.mask, self.landmarks, self.mesh) if p is not None)


def plan_jobs(options) -> tuple[Job, ...]:
    """Output names for every photo of `SynthesizeOptions`; creates and checks nothing on disk.

    `--out` (and likewise `--save-mask`, `--save-landmarks`, `--save-mesh`) is a folder if it is one, ends with a
    slash, or several photos are given; otherwise the name of the file.

    Raises
    ------
    UsageError
        If a suffix does not fit, two outputs or an output and an input are the same file.
    """
    several = len(options.photos) > 1
    jobs = []
    for photo in map(Path, options.photos):
        picture = _place(options.out, photo.stem + options.ending, several, options.suffixes, "--out")
        # what belongs to a picture is named after it
        beside = {}
        for kind, ending, suffix in BESIDE:
            given = getattr(options, f"save_{kind}")
            if given is not None:
                beside[kind] = _place(given, picture.stem + ending, several, (suffix,), f"--save-{kind}")
        jobs.append(Job(photo, picture, **beside))
    _refuse_clashes(jobs, options)
    return tuple(jobs)


def check_jobs(jobs, create: bool = True) -> None:
    """Make missing output folders (not their parents) and see that every output can be written.

    Raises
    ------
    OSError
        In one sentence, if one cannot.
    """
    for path in {output: None for job in jobs for output in job.outputs}:
        check_output(path, create)


def check_output(path: Path, create: bool = True) -> None:
    """See that a file can be written at `path`; its folder is made if only that one is missing."""
    from affect3d.io.atomic import check_writable

    parent = path.parent
    if not parent.exists() and parent.parent.is_dir():
        if not create:
            return
        try:
            parent.mkdir()
        except OSError as error:
            raise type(error)(f"{path}: the folder {parent} cannot be made ({error.strerror})") from None
    check_writable(path)
    try:
        # permissions do not tell of disks that are full or cannot be written at all
        with tempfile.TemporaryFile(dir=parent) as file:
            file.write(b"affect3d")
    except OSError as error:
        raise type(error)(f"{path}: cannot write in {parent} ({error.strerror})") from None


def _place(given: str | None, name: str, several: bool, suffixes, option: str) -> Path:
    if given is None:
        return Path(name)
    if given.endswith(("/", os.sep)) or Path(given).is_dir():
        return Path(given) / name
    if several:
        if Path(given).suffix:
            raise UsageError(f"{option}: with several photos a folder is expected, got {given!r}")
        return Path(given) / name
    if Path(given).suffix.lower() not in suffixes:
        raise UsageError(f"{option}: expected a folder or a name ending in {', '.join(suffixes)}, got {given!r}")
    return Path(given)


def _refuse_clashes(jobs, options) -> None:
    inputs = {os.path.realpath(job.photo): str(job.photo) for job in jobs}
    for name in (options.landmarks, options.model, options.gallery):
        if name:
            inputs[os.path.realpath(name)] = name
    written: dict[str, str] = {}
    for job in jobs:
        for output in job.outputs:
            real = os.path.realpath(output)
            if real in inputs:
                raise UsageError(f"{output}: is an input as well and is never overwritten; name another output")
            if real in written:
                raise UsageError(f"{output}: would be written for {written[real]} and for {job.photo}")
            written[real] = str(job.photo)
