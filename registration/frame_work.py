"""What is done to one frame, in whichever process: read, register, measure, judge, write, and last the record."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import affect3d
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.io.digests import file_digest
from affect3d.mesh import Mesh
from affect3d.registration.distortion import distorted_share
from affect3d.registration.frame_input import frame_landmarks, input_digest, read_scan, surface_of
from affect3d.registration.methods import method_named
from affect3d.registration.model_fit import fit_modes
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.records import FrameRecord, read_record, write_record
from affect3d.registration.template import Template, matching_landmarks
from affect3d.registration.verdict import Limits, frame_verdict

__all__ = [
    "FrameJob", "FrameOutcome", "Places", "UNWRITTEN", "done_before", "failed_record", "finish_frame", "loaded",
    "measured", "one_blas_thread", "read_scan", "register_frame", "sentence_of", "start_shape", "write_frame_mesh",
]  # fmt: skip

# of surface triangles looked at for each vertex; those of scans are small and alike
_CANDIDATES = 12
UNWRITTEN = "the result cannot be written"


@dataclass(frozen=True)
class Places:
    """Where the files of a run lie.

    Attributes
    ----------
    root : str
        Absolute.
    """

    root: str

    def record(self, name: str) -> Path:
        return Path(self.root, "records", f"{name}.json")

    def mesh(self, name: str, verdict: str) -> Path:
        """Kept meshes and pruned ones lie in different folders, so that nobody takes the latter by mistake."""
        return Path(self.root, "meshes" if verdict == "kept" else "pruned", f"{name}.ply")

    def state(self, sequence: str) -> Path:
        """Where a sequence stopped, so that it can go on there."""
        return Path(self.root, "state", sequence, "tracking.npz")

    @property
    def template(self) -> Path:
        return Path(self.root, "template.npz")

    @property
    def prior(self) -> Path:
        return Path(self.root, "prior.npz")

    @property
    def modes(self) -> Path:
        return Path(self.root, "modes.npz")

    @property
    def times(self) -> Path:
        return Path(self.root, "times.jsonl")


@dataclass(frozen=True)
class FrameJob:
    """All that a worker is told about a frame; small, for there are many.

    Attributes
    ----------
    name, scan : str
        As in `Frame`.
    path : str
        Of the scan, absolute.
    places : Places
    settings : dict
        Goes into the record; what the result hangs on.
    method : str
    options : object
        Of the method; None for its defaults.
    unit : {"mm", "cm", "m"}, optional
        Of the scan's file.  If None, the file must state its unit.
    guessed : {"mm", "cm", "m"}, optional
        Of files that do not state theirs, if `unit` is None.
    landmarks : str, optional
        File of the scan's landmarks; if None, `find` is asked.
    find : callable, optional
        ``find(path, mesh) -> (Landmarks or None, reason)``, at module level so that processes can be told of it.
    limits : Limits
    """

    name: str
    scan: str
    path: str
    places: Places
    settings: dict
    method: str = "nonrigid"
    options: object = None
    unit: str | None = None
    guessed: str | None = None
    landmarks: str | None = None
    find: Callable | None = None
    limits: Limits = Limits()


@dataclass(frozen=True)
class FrameOutcome:
    """The record of a frame, and whether it was there already."""

    record: FrameRecord
    reused: bool


def register_frame(job: FrameJob) -> FrameOutcome:
    """Do one frame, unless its record says that just this was done before.

    The record is written last and names the digest of the mesh: whoever finds it finds the whole result.
    A scan that cannot be registered gives a record that says so; only a fault of the machine or of this program
    gives the verdict "failed", which the next run tries again.
    """
    began = time.perf_counter()
    one_blas_thread()
    record = FrameRecord(job.name, job.scan, settings=job.settings)
    mesh = None
    try:
        record = replace(record, input=input_digest(job))
        done = done_before(job, record.input)
        if done is not None:
            return FrameOutcome(done, True)
        try:
            record, mesh = _register(job, record)
            own, why = frame_verdict(record, job.limits)
        except ValueError as error:
            own, why = "pruned", sentence_of(error, job)
    except Exception as error:  # whatever it is, it must not take the other frames with it
        own, why = "failed", sentence_of(error, job, kind=not isinstance(error, OSError))
    return FrameOutcome(finish_frame(job, record, mesh, own, why, began), False)


def finish_frame(job: FrameJob, record: FrameRecord, mesh: Mesh | None, verdict: str, why: str, began: float):
    """Write mesh and record and log the seconds since `began`; the record comes back.

    What cannot be written makes a failed record whose `own_why` begins with `UNWRITTEN`.
    """
    record = replace(record, own_verdict=verdict, own_why=why, verdict=verdict, why=why)
    try:
        if mesh is not None and verdict != "failed":
            record = replace(record, mesh=write_frame_mesh(job, mesh, verdict))
        write_frame_record(job.places, record)
    except OSError as error:
        record = failed_record(job, f"{UNWRITTEN}: {sentence_of(error, job)}")
    log_time(job, record, time.perf_counter() - began)
    return record


def failed_record(job: FrameJob, why: str) -> FrameRecord:
    """Record of a frame whose worker could not write one itself."""
    return FrameRecord(job.name, job.scan, settings=job.settings, own_why=why, why=why)


@functools.cache
def one_blas_thread() -> None:
    """Hold this process to one thread of linear algebra, once and for good.

    Frames run side by side, and sums split over another number of threads have other last bits.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _register(job: FrameJob, record: FrameRecord) -> tuple[FrameRecord, Mesh]:
    template = loaded(Template, job.places.template, job.settings["template"])
    whole, unit, source = read_scan(job.path, job.unit, job.guessed)
    record = replace(record, unit=unit, unit_source=source)
    scan = surface_of(whole, job.scan)
    landmarks, origin = frame_landmarks(job, whole, unit)
    marks, positions = matching_landmarks(template, landmarks)
    record = replace(record, landmarks=origin)
    method = method_named(job.method)
    shape, said = start_shape(job, template, scan, marks, positions)
    result = method.function(shape, scan, marks, positions, job.options or method.options())
    record = measured(record, template.mesh, scan, result.vertices, result.matched, marks, positions)
    record = replace(
        record, iterations=int(result.iterations), converged=bool(result.converged), reason=f"{result.reason}{said}"
    )
    return record, template.mesh.with_vertices(result.vertices)


def start_shape(job: FrameJob, template: Template, scan: Mesh, marks, positions) -> tuple[Mesh, str]:
    """The template, brought near the scan by its model's modes if the run has some; and what the reason is to add."""
    wanted = job.settings.get("modes")
    if not wanted:
        return template.mesh, ""
    fit = fit_modes(template.mesh, loaded(DisplacementPrior, job.places.modes, wanted), scan, marks, positions)
    return template.mesh.with_vertices(fit.vertices), "" if fit.converged else f"; {fit.reason}"


def measured(record: FrameRecord, template: Mesh, scan: Mesh, vertices, matched, marks, positions) -> FrameRecord:
    """The record with what can be measured of a registration: residuals, landmarks, matched and distorted shares.

    Parameters
    ----------
    record : FrameRecord
    template, scan : Mesh
        mm.
    vertices : (V, 3) float array
        The template on the scan.
    matched : (V,) bool array
    marks : (L,) int array
        Vertices that are landmarks.
    positions : (L, 3) float array
        Where the scan has them, mm; NaN where it has not.

    Raises
    ------
    ValueError
        If a vertex is not finite.
    """
    if not np.isfinite(vertices).all():
        raise ValueError(f"{record.scan}: the registration gave vertices that are not finite")
    distance = nearest_on_mesh(vertices, scan.vertices, scan.faces, _CANDIDATES).distance
    trusted = distance[np.asarray(matched, bool)]
    residuals = {}
    if len(trusted):
        residuals = {
            "mean": trusted.mean(), "median": np.median(trusted), "p95": np.percentile(trusted, 95),
            "max": trusted.max(),
        }  # fmt: skip
    known = np.isfinite(positions).all(1)
    error = None
    if known.any():
        error = round(float(np.median(np.linalg.norm((vertices[marks] - positions)[known], axis=1))), 6)
    return replace(
        record, residuals={k: round(float(v), 6) for k, v in residuals.items()}, landmark_error=error,
        landmark_count=int(known.sum()), matched=round(float(np.mean(matched)), 6),
        distorted=round(distorted_share(template, vertices), 6),
    )  # fmt: skip


def done_before(job: FrameJob, given: str) -> FrameRecord | None:
    """The record of a frame that was done with the same input and settings, judged anew; else None."""
    record = read_record(job.places.record(job.name))
    if record is None or record.own_verdict == "failed":
        return None
    if (record.name, record.scan, record.input, record.settings) != (job.name, job.scan, given, job.settings):
        return None
    if record.mesh and not any(
        path.is_file() and file_digest(path) == record.mesh
        for path in (job.places.mesh(job.name, "kept"), job.places.mesh(job.name, "pruned"))
    ):
        return None
    if record.residuals or record.mesh:
        # limits are no part of the settings: other limits cost a new verdict, no new registration
        own, why = frame_verdict(record, job.limits)
        record = replace(record, own_verdict=own, own_why=why)
    return record


def write_frame_mesh(job: FrameJob, mesh: Mesh, verdict: str) -> str:
    """Write a registered mesh where its verdict wants it; its SHA-256 comes back."""
    from affect3d.io.mesh_file import write_mesh

    path = job.places.mesh(job.name, verdict)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mesh(path, mesh, unit="mm")
    other = job.places.mesh(job.name, "pruned" if verdict == "kept" else "kept")
    other.unlink(missing_ok=True)  # of an earlier run with other settings
    return file_digest(path)


def write_frame_record(places: Places, record: FrameRecord) -> None:
    """Write a record to its place."""
    path = places.record(record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)


def log_time(job: FrameJob, record: FrameRecord, seconds: float) -> None:
    """Add a line to the log of times."""
    line = json.dumps({"name": job.name, "seconds": round(seconds, 3), "verdict": record.own_verdict}) + "\n"
    try:
        # one write of one short line at the end of the file: lines of several processes do not mix
        handle = os.open(job.places.times, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError:
        pass  # a log that cannot be written costs nobody a result


@functools.lru_cache(maxsize=4)
def loaded(kind, path: Path, expected: str):
    """The template, the modes or the prior (its class `kind`) of a run, kept in memory.

    Raises
    ------
    RuntimeError
        If the file holds another one than that of the digest `expected`.
    """
    found = kind.load(path)
    if found.digest != expected:
        raise RuntimeError(f"{path}: is not that of this run; another run may write to the same folder")
    return found


def sentence_of(error: Exception, job: FrameJob, kind: bool = False) -> str:
    """What went wrong, in terms of the scan's name: paths of this machine are no part of a record."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{job.scan}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    for path in filter(None, (job.path, job.landmarks)):
        text = text.replace(path, job.scan if path == job.path else Path(path).name)
    text = text.replace(job.places.root + os.sep, "")
    return f"internal error: {type(error).__name__}: {text}" if kind else text


def software_versions() -> dict[str, str]:
    """Versions of what computes; another version may give other bits."""
    import scipy

    return {"affect3d": affect3d.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
