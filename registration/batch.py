"""A run over many scans that can be killed at any moment and ends with the same bytes.

Each frame is done by itself (`frame_work`) and leaves a mesh and a record.  When all are done the frames of each
sequence are compared and outliers pruned; this last step reads nothing but the records, so it may be repeated.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from affect3d.io.json_file import json_ready, write_json
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.progress import Progress, silent
from affect3d.registration.frame_input import LANDMARK_SUFFIXES
from affect3d.registration.frame_work import (
    FrameJob,
    Places,
    failed_record,
    register_frame,
    software_versions,
    write_frame_record,
)
from affect3d.registration.frames import Frame, natural_key
from affect3d.registration.methods import ALIASES, SEQUENCE_METHODS, method_named
from affect3d.registration.nonrigid import NonRigidOptions
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.records import FrameRecord, read_record
from affect3d.registration.sequence import NEUTRAL, WITH_PRIOR
from affect3d.registration.sequence_batch import run_sequences
from affect3d.registration.template import Template
from affect3d.registration.verdict import Limits, sequence_outliers
from affect3d.registration.workers import Death, run_dask, run_processes

__all__ = ["BatchOptions", "BatchResult", "find_landmark_files", "left_over", "register_batch", "sequences_of"]


@dataclass(frozen=True)
class BatchOptions:
    """How a run is done.

    Attributes
    ----------
    method : str
        A key of `METHODS`, or an alias.
    method_options : object, optional
        Of the class that belongs to the method; its defaults if left out.
    neutral_options : NonRigidOptions
        Of the registration by which a sequence method brings the template to the neutral, and starts afresh where it
        lost a face.
    neutrals : dict of str to str
        Name of the frame that is the neutral of a sequence, by the sequence's name (see `named_neutrals`).  For the
        others the first of their frames that can be registered is.
    lost_after : int
        Frames in a row that could not be kept, after which a sequence method starts afresh.
    prior : DisplacementPrior, optional
        How faces of the template's topology move; the method "track" uses it.
    modes : DisplacementPrior, optional
        How faces of the template's model differ: frames that are registered by themselves (with "track" and "uv" the
        neutrals) begin from there.
    unit : {"mm", "cm", "m"}, optional
        Of the scans; it outranks what a file states.
    guessed : {"mm", "cm", "m"}, optional
        Of scans whose files do not state a unit, where `unit` is left out.
    find : callable, optional
        Finds landmarks where a scan has no file of them: ``find(path, mesh) -> (Landmarks or None, reason)``, at
        module level.
    limits : Limits
    jobs : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler to be used instead.
    """

    method: str = "nonrigid"
    method_options: object = None
    neutral_options: NonRigidOptions = NEUTRAL
    neutrals: dict[str, str] = field(default_factory=dict)
    lost_after: int = 3
    prior: DisplacementPrior | None = None
    modes: DisplacementPrior | None = None
    unit: str | None = None
    guessed: str | None = None
    find: Callable | None = None
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    scheduler: str | None = None

    def __post_init__(self):
        method_named(self.method)
        for name in ("unit", "guessed"):
            if getattr(self, name) not in (None, "mm", "cm", "m"):
                raise ValueError(f"{name}: expected 'mm', 'cm' or 'm', got {getattr(self, name)!r}")
        if self.lost_after < 1:
            raise ValueError(f"lost_after: expected at least one frame, got {self.lost_after}")
        if self.jobs < 1:
            raise ValueError(f"jobs: expected at least one process, got {self.jobs}")


@dataclass(frozen=True)
class BatchResult:
    """What a run came to.

    Attributes
    ----------
    frames : tuple of Frame
    records : tuple of FrameRecord
        One a frame, in the same order.
    places : Places
    reused : int
        Frames that were done in an earlier run.
    """

    frames: tuple[Frame, ...]
    records: tuple[FrameRecord, ...]
    places: Places
    reused: int

    def mesh(self, record: FrameRecord) -> Path | None:
        """File of a frame's registered mesh; None if there is none."""
        return self.places.mesh(record.name, record.verdict) if record.mesh else None

    def count(self, verdict: str) -> int:
        return sum(record.verdict == verdict for record in self.records)


def register_batch(
    frames, template: Template, out, landmarks=None, options: BatchOptions = BatchOptions(), progress: Progress = silent
) -> BatchResult:
    """Register many scans into one folder, continuing what an earlier run left.

    The folder then holds ``meshes/NAME.ply`` of the frames that were kept, ``pruned/NAME.ply`` of those that were
    registered but not kept, ``records/NAME.json`` of all, the template, and ``times.jsonl``, the only file that
    differs from run to run.  Methods for sequences also leave ``state/SEQUENCE/tracking.npz``, from which a sequence
    that was not finished, or that got more frames, goes on.

    Parameters
    ----------
    frames : sequence of Frame
    template : Template
    out : str or Path
        Is made if it is missing.
    landmarks : dict of str to str, optional
        Landmark file of each frame that has one, by the frame's name (`find_landmark_files`).
    options : BatchOptions
    progress : callable

    Returns
    -------
    BatchResult

    Raises
    ------
    ValueError
        If another run is writing to the folder, or it holds a run of another kind.
    OSError
        If the folder cannot be written, or the cluster does not answer.  What goes wrong with single frames is told
        in their records.
    """
    frames = tuple(frames)
    places = Places(os.path.abspath(out))
    landmarks = landmarks or {}
    # each record tells what it hangs on, so nothing has to be the same for all runs in one folder
    with one_run(RunFolder(places.root, "register", parts=("meshes", "pruned", "records", "state"))):
        _write_template(places, template)
        if _prior(options) is not None:
            options.prior.save(places.prior)
        if options.modes is not None:
            if options.modes.basis.shape[1] != len(template.mesh.vertices):
                raise ValueError(
                    f"modes: expected those of the template's {len(template.mesh.vertices)} vertices, got "
                    f"{options.modes.basis.shape[1]}"
                )
            options.modes.save(places.modes)
        jobs = {frame.name: _job(frame, landmarks.get(frame.name), template, places, options) for frame in frames}
        records, reused = {}, 0
        progress(0, len(frames), "registering")
        with closing(_run(list(jobs.values()), options)) as outcomes:  # an interrupt ends the processes at once
            for job, outcome in outcomes:
                if isinstance(outcome, Death):
                    record = failed_record(job, outcome.reason)
                    write_frame_record(places, record)
                else:
                    record = outcome.record
                    reused += outcome.reused
                records[job.name] = record
                progress(len(records), len(frames), "registering")
        final = _judge([records[frame.name] for frame in frames], frames, options.limits)
        for record in final:
            _settle(places, record)
    return BatchResult(frames, tuple(final), places, reused)


def left_over(result: BatchResult) -> tuple[str, ...]:
    """Frames of earlier runs whose records lie in the folder but which this run did not have.

    They stay where they are.  They may have been registered to another template.
    """
    root = Path(result.places.root, "records")
    here = {record.name for record in result.records}
    names = (path.relative_to(root).as_posix()[: -len(".json")] for path in root.rglob("*.json"))
    return tuple(sorted((name for name in names if name not in here), key=natural_key))


def find_landmark_files(frames, given=None) -> dict[str, str]:
    """The landmark file of each frame that has one.

    Parameters
    ----------
    frames : sequence of Frame
    given : str or Path, optional
        A file, if there is one frame only; or a folder that holds files named as the frames, in the same subfolders
        or all at its top.  If left out, or where the folder has none, files beside the scans are looked for.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `given`.
    ValueError
        If one file is given for several frames.
    """
    if given is not None:
        if not os.path.exists(given):
            raise FileNotFoundError(f"{given}: there is no such file or folder")
        if not os.path.isdir(given):
            if len(frames) != 1:
                raise ValueError(
                    f"{given}: is the landmark file of one scan, and {len(frames)} scans are given; name a folder "
                    "that holds a file for each"
                )
            return {frames[0].name: os.path.abspath(given)}
    labels = defaultdict(int)
    for frame in frames:
        labels[frame.label] += 1
    found = {}
    for frame in frames:
        stems = [os.path.splitext(frame.path)[0]]
        if given is not None:
            # at the top of the folder a name must be that of one frame only
            top = [os.path.join(given, frame.label)] if labels[frame.label] == 1 else []
            stems = [os.path.join(given, frame.name), *top, *stems]
        path = next((s + suffix for s in stems for suffix in LANDMARK_SUFFIXES if os.path.isfile(s + suffix)), None)
        if path is not None:
            found[frame.name] = os.path.abspath(path)
    return found


def _job(frame: Frame, landmarks, template: Template, places: Places, options: BatchOptions) -> FrameJob:
    method = method_named(options.method)
    wanted = options.method_options
    if wanted is None and _prior(options) is not None:
        wanted = WITH_PRIOR
    settings = {
        "method": ALIASES.get(options.method, options.method), "options": json_ready(method.described(wanted)),
        "template": template.digest, "software": software_versions(),
    }  # fmt: skip
    if settings["method"] in SEQUENCE_METHODS:
        settings["neutral"] = {"options": json_ready(options.neutral_options), "lost_after": options.lost_after}
        settings["prior"] = "" if _prior(options) is None else options.prior.digest
    if options.modes is not None:
        settings["modes"] = options.modes.digest
    return FrameJob(
        frame.name, frame.scan, os.path.abspath(frame.path), places, settings, settings["method"], wanted,
        options.unit, options.guessed, landmarks, None if landmarks else options.find, options.limits,
    )  # fmt: skip


def _prior(options: BatchOptions) -> DisplacementPrior | None:
    return options.prior if options.method == "track" else None


def _run(jobs: list[FrameJob], options: BatchOptions) -> Iterator[tuple[FrameJob, object]]:
    if options.method in SEQUENCE_METHODS:
        yield from run_sequences(jobs, options)
    elif options.scheduler is not None:
        yield from run_dask(register_frame, jobs, options.scheduler)
    elif len(jobs) == 1:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # one frame is not worth a process, but its bits are those of many
            yield jobs[0], register_frame(jobs[0])
    else:
        yield from run_processes(register_frame, jobs, min(options.jobs, len(jobs)))


def _judge(records, frames, limits: Limits) -> list[FrameRecord]:
    """Last verdicts: a frame's own, or pruned as an outlier of its sequence."""
    sequences = defaultdict(list)
    for i, frame in enumerate(frames):
        sequences[frame.sequence].append(i)
    final = list(records)
    for members in sequences.values():
        reasons = sequence_outliers([records[i] for i in members], limits)
        for i, reason in zip(members, reasons):
            record = records[i]
            final[i] = record.judged("pruned", reason) if reason else record.judged(record.own_verdict, record.own_why)
    return final


def _settle(places: Places, record: FrameRecord) -> None:
    """Bring mesh and record to where the last verdict wants them; does nothing where they are there."""
    kept, pruned = places.mesh(record.name, "kept"), places.mesh(record.name, "pruned")
    here, there = (kept, pruned) if record.verdict == "kept" else (pruned, kept)
    if not record.mesh:
        here.unlink(missing_ok=True)  # of an earlier run that went better
    elif not here.exists() and there.exists():
        here.parent.mkdir(parents=True, exist_ok=True)
        os.replace(there, here)
    there.unlink(missing_ok=True)
    if read_record(places.record(record.name)) != record:
        write_frame_record(places, record)


def _write_template(places: Places, template: Template) -> None:
    from affect3d.io.mesh_file import write_mesh

    template.save(places.template)
    # the same for people and other programs
    write_mesh(places.template.with_suffix(".ply"), template.mesh, unit="mm")
    marks = [None if v < 0 else int(v) for v in template.landmarks]
    write_json(places.template.with_name("template.landmarks.json"), {"scheme": template.scheme, "vertices": marks})
    if template.model_vertices is not None:
        write_json(places.template.with_name("template.model_vertices.json"), template.model_vertices.tolist())


def sequences_of(frames) -> dict[str, list[int]]:
    """Positions of the frames of each sequence, sequences in natural order."""
    found = defaultdict(list)
    for i, frame in enumerate(frames):
        found[frame.sequence].append(i)
    return {name: found[name] for name in sorted(found, key=natural_key)}
