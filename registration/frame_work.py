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
from affect3d.io.units import millimetres_per, stated_unit
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh
from affect3d.registration.distortion import distorted_share
from affect3d.registration.methods import method_named
from affect3d.registration.records import FrameRecord, digest, file_digest, read_record, write_record
from affect3d.registration.template import Template, matching_landmarks
from affect3d.registration.verdict import Limits, frame_verdict

__all__ = ["FrameJob", "FrameOutcome", "Places", "failed_record", "one_blas_thread", "read_scan", "register_frame"]

#: Suffixes of landmark files that lie beside a scan, in the order in which they are looked for.
LANDMARK_SUFFIXES = (".landmarks.json", ".ljson", ".pts", ".pp", ".csv", ".txt")
# of surface triangles looked at for each vertex; those of scans are small and alike
_CANDIDATES = 12


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

    @property
    def template(self) -> Path:
        return Path(self.root, "template.npz")

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
        record = replace(record, input=_input_digest(job))
        done = _done_before(job, record.input)
        if done is not None:
            return FrameOutcome(done, True)
        try:
            record, mesh = _register(job, record)
            own, why = frame_verdict(record, job.limits)
        except ValueError as error:
            own, why = "pruned", _sentence(error, job)
    except Exception as error:  # whatever it is, it must not take the other frames with it
        own, why = "failed", _sentence(error, job, kind=not isinstance(error, OSError))
    record = replace(record, own_verdict=own, own_why=why, verdict=own, why=why)
    try:
        if mesh is not None and own != "failed":
            record = replace(record, mesh=_write_mesh(job, mesh, own))
        _write_record(job.places, record)
    except OSError as error:
        record = failed_record(job, f"the result cannot be written: {_sentence(error, job)}")
    _log_time(job, record, time.perf_counter() - began)
    return FrameOutcome(record, False)


def failed_record(job: FrameJob, why: str) -> FrameRecord:
    """Record of a frame whose worker could not write one itself."""
    return FrameRecord(job.name, job.scan, settings=job.settings, own_why=why, why=why)


def read_scan(path: str, unit: str | None, guessed: str | None) -> tuple[Mesh, str, str]:
    """A scan in millimetres, the unit of its file, and where that is known from.

    Raises
    ------
    ValueError
        If it cannot be understood, or nobody knows its unit.
    """
    from affect3d.io.mesh_file import read_mesh

    if unit is not None:
        return read_mesh(path, unit=unit), unit, "given"
    if Path(path).suffix.lower() == ".glb":
        return read_mesh(path), "m", "stated by the format"
    with open(path, "rb") as file:
        stated = stated_unit(file.read(512))
    if stated is not None:
        return read_mesh(path), stated, "stated by the file"
    return read_mesh(path, unit=guessed), guessed or "", "guessed"


@functools.cache
def one_blas_thread() -> None:
    """Hold this process to one thread of linear algebra, once and for good.

    Frames run side by side, and sums split over another number of threads have other last bits.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _register(job: FrameJob, record: FrameRecord) -> tuple[FrameRecord, Mesh]:
    template = _template(str(job.places.template), job.settings["template"])
    scan, unit, source = read_scan(job.path, job.unit, job.guessed)
    record = replace(record, unit=unit, unit_source=source)
    if not len(scan.faces):
        raise ValueError(f"{job.scan}: holds no triangles, expected a surface")
    landmarks, origin = _landmarks(job, scan, unit)
    marks, positions = matching_landmarks(template, landmarks)
    record = replace(record, landmarks=origin, landmark_count=len(marks))
    # vertices without a triangle (some scanners leave thousands) are no part of the surface
    used = np.unique(scan.faces)
    if len(used) < len(scan.vertices):
        place = np.zeros(len(scan.vertices), np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        scan = Mesh(scan.vertices[used], place[scan.faces])
    method = method_named(job.method)
    result = method.function(template.mesh, scan, marks, positions, job.options or method.options())
    if not np.isfinite(result.vertices).all():
        raise ValueError(f"{job.scan}: the registration gave vertices that are not finite")
    distance = nearest_on_mesh(result.vertices, scan.vertices, scan.faces, _CANDIDATES).distance
    trusted = distance[np.asarray(result.matched, bool)]
    residuals = {}
    if len(trusted):
        residuals = {
            "mean": trusted.mean(), "median": np.median(trusted), "p95": np.percentile(trusted, 95),
            "max": trusted.max(),
        }  # fmt: skip
    error = float(np.median(np.linalg.norm(result.vertices[marks] - positions, axis=1)))
    record = replace(
        record, residuals={k: round(float(v), 6) for k, v in residuals.items()}, landmark_error=round(error, 6),
        matched=round(float(np.mean(result.matched)), 6),
        distorted=round(distorted_share(template.mesh, result.vertices), 6), iterations=int(result.iterations),
        converged=bool(result.converged), reason=str(result.reason),
    )  # fmt: skip
    return record, template.mesh.with_vertices(result.vertices)


def _landmarks(job: FrameJob, whole: Mesh, unit: str) -> tuple[Landmarks, str]:
    if job.landmarks is not None:
        return _landmark_file(Path(job.landmarks), whole, unit), Path(job.landmarks).name
    if job.find is None:
        raise ValueError(
            f"{job.scan}: there are no landmarks beside it; expected a file of the same name ending in one of "
            f"{', '.join(LANDMARK_SUFFIXES)}"
        )
    found, reason = job.find(job.path, whole)
    if found is None:
        raise ValueError(f"{job.scan}: no landmarks were found: {reason}")
    return found, "found"


def _landmark_file(path: Path, scan: Mesh, unit: str) -> Landmarks:
    """Landmarks of a scan in mm: points, or in our own JSON vertices of the scan as well."""
    from affect3d.io.landmark_files import read_landmark_vertices, read_landmarks

    ours = path.suffix.lower() == ".json"
    try:
        found = read_landmarks(path)
    except ValueError:
        if not ours or '"vertices"' not in path.read_text(encoding="utf-8"):
            raise
        scheme, marks = read_landmark_vertices(path)
        if marks.max() >= len(scan.vertices):
            raise ValueError(
                f"{path.name}: indices must lie in [0, {len(scan.vertices)}), got {marks.max()}"
            ) from None
        return Landmarks(scheme, np.where(marks[:, None] < 0, np.nan, scan.vertices[marks]), "mm")
    # only our own JSON states a unit; the others are clicked on the scan and share its unit
    if not ours and found.points.shape[1] == 3:
        found = Landmarks(found.scheme, found.points * millimetres_per(unit), "mm")
    return found


def _input_digest(job: FrameJob) -> str:
    files = {"scan": file_digest(job.path), "unit": job.unit or job.guessed}
    if job.landmarks is not None:
        files["landmarks"] = [Path(job.landmarks).suffix.lower(), file_digest(job.landmarks)]
    elif job.find is not None:
        from affect3d.io.texture_file import find_texture

        texture = find_texture(job.path)
        files["texture"] = None if texture is None else file_digest(texture)
    return digest(files)


def _done_before(job: FrameJob, given: str) -> FrameRecord | None:
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


def _write_mesh(job: FrameJob, mesh: Mesh, verdict: str) -> str:
    from affect3d.io.mesh_file import write_mesh

    path = job.places.mesh(job.name, verdict)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mesh(path, mesh, unit="mm")
    other = job.places.mesh(job.name, "pruned" if verdict == "kept" else "kept")
    other.unlink(missing_ok=True)  # of an earlier run with other settings
    return file_digest(path)


def _write_record(places: Places, record: FrameRecord) -> None:
    path = places.record(record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)


def _log_time(job: FrameJob, record: FrameRecord, seconds: float) -> None:
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


@functools.lru_cache(maxsize=2)
def _template(path: str, expected: str) -> Template:
    template = Template.load(path)
    if template.digest != expected:
        raise RuntimeError(f"{path}: is not the template of this run; another run may write to the same folder")
    return template


def _sentence(error: Exception, job: FrameJob, kind: bool = False) -> str:
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
