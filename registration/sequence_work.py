"""What is done to one sequence, in whichever process: the neutral first, then frame by frame, and resume.

After each frame its mesh, its record and last the state of the follower are written.  A run that was killed goes on
behind the last state whose frames are all there, and so ends with the bytes of a run that nothing disturbed: the state
holds every bit on which later frames hang.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from affect3d.geometry.procrustes import procrustes
from affect3d.landmark_groups import OUTLINE, UNUSED
from affect3d.mesh import Mesh
from affect3d.registration.follow import FOLLOWERS, Followed, View
from affect3d.registration.frame_input import frame_landmarks, read_scan, read_texture, surface_of
from affect3d.registration.frame_work import (
    FrameJob,
    UNWRITTEN,
    FrameOutcome,
    failed_record,
    finish_frame,
    loaded,
    measured,
    one_blas_thread,
    sentence_of,
    start_shape,
)
from affect3d.registration.nonrigid import register_nonrigid
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.records import FrameRecord
from affect3d.registration.sequence_state import (
    Inputs,
    SequenceJob,
    marker_file,
    read_inputs,
    what_is_done,
    write_state,
)
from affect3d.registration.template import Template, matching_landmarks
from affect3d.registration.verdict import Limits, frame_verdict

__all__ = ["SequenceOutcome", "follow_sequence", "tracking_landmarks"]

#: Tracking is lost by these, whatever limits the user judges frames with: new verdicts must cost no new registration.
_HEALTHY = Limits()


@dataclass(frozen=True)
class SequenceOutcome:
    """One outcome a frame, in the job's order."""

    frames: tuple[FrameOutcome, ...]


def follow_sequence(job: SequenceJob) -> SequenceOutcome:
    """Do a sequence, or the rest of it that is not done."""
    one_blas_thread()
    try:
        inputs = read_inputs(job)
        done, begun, state = what_is_done(job, inputs)
        if len(done) == len(job.frames):
            return SequenceOutcome(tuple(FrameOutcome(done[k], True) for k in range(len(done))))
        # what was done behind the state comes out again, with the same bytes
        outcomes = [FrameOutcome(done[k], True) for k in range(begun)]
        with closing(_frames(job, inputs, begun, state)) as rest:
            outcomes += [FrameOutcome(record, False) for record in rest]
    except Exception as error:  # whatever it is, it must not take the other sequences with it
        why = sentence_of(error, job.frames[0], kind=not isinstance(error, OSError))
        return SequenceOutcome(tuple(FrameOutcome(failed_record(frame, why), False) for frame in job.frames))
    return SequenceOutcome(tuple(outcomes))


def _frames(job: SequenceJob, inputs: Inputs, begun: int, state):
    """Yield the record of each frame from `begun` on; it is on disk then."""
    template = loaded(Template, job.frames[0].places.template, job.frames[0].settings["template"])
    began = time.perf_counter()
    if state is None:
        neutral, own_record, fixed, why = _neutral(job, template)
        if neutral is None:
            for frame, given in zip(job.frames, inputs.chain(None)[1:]):
                record = FrameRecord(frame.name, frame.scan, given, frame.settings, start="tracked")
                yield finish_frame(frame, record, None, *why, began)
            return
    else:
        neutral = next(n for n in job.neutrals if n.name == str(state["neutral"]))
        own_record, fixed = None, np.array(state["vertices"])
    links = inputs.chain(neutral.name)
    sequence = _Sequence(job, template, neutral, fixed)
    # a neutral of elsewhere says nothing of where the head is in the first frame: one failure is enough there
    lost = 0 if neutral.name in {f.name for f in job.frames} else job.lost_after - 1
    if state is not None:
        sequence.follower.restore(state)
        lost = int(state["lost"])
    elif neutral.name not in {f.name for f in job.frames}:
        sequence.write_state(0, links[0], lost)
    with closing(_views(sequence, job.frames[begun:], job.careful)) as views:
        for k, view in enumerate(views, begun):
            frame, given = job.frames[k], links[k + 1]
            if k == job.turn_back:
                sequence.follower.restart(fixed)
                lost = 0
            if frame.name == neutral.name:
                record, mesh, fault = replace(own_record, input=given), template.mesh.with_vertices(fixed), None
                sequence.follower.restart(fixed)
            else:
                record = FrameRecord(frame.name, frame.scan, given, frame.settings, start="tracked")
                record, mesh, fault = sequence.register(frame, record, view, lost)
            healthy = mesh is not None and frame_verdict(record, _HEALTHY)[0] == "kept"
            lost = 0 if healthy else lost + 1
            record = finish_frame(frame, record, mesh, *_judged(record, fault, frame), began)
            if not record.own_why.startswith(UNWRITTEN):
                sequence.write_state(k + 1, given, lost)
            yield record
            began = time.perf_counter()


def _views(sequence: _Sequence, frames, careful: bool):
    """Futures of the frames' views: the next scan is read and its tree built while this one is registered."""
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for frame in frames:
            if careful:  # one at a time, so that a death is this frame's
                yield pool.submit(sequence.view, frame)
                continue
            coming = pool.submit(sequence.view, frame)
            if ahead is not None:
                yield ahead
            ahead = coming
        if ahead is not None:
            yield ahead


class _Sequence:
    """A follower with what belongs to it: template, neutral, landmarks."""

    def __init__(self, job: SequenceJob, template: Template, neutral: FrameJob, vertices):
        self.job, self.template = job, template
        self.name, self.vertices = neutral.name, vertices
        # charts want a face that looks along +z, as the template does
        motion = procrustes(template.mesh.vertices, vertices, scale=False)
        back = motion.inverse()
        self.rest = template.mesh.with_vertices(back.apply(vertices))
        self.marks = tracking_landmarks(template)
        kind = FOLLOWERS[job.method]
        view = self.view(neutral)
        scan = view.scan.with_vertices(back.apply(view.scan.vertices))
        prior = None
        if job.prior:
            size = procrustes(template.mesh.vertices, vertices).scale
            prior = loaded(DisplacementPrior, neutral.places.prior, job.prior).scaled(size)
        self.follower = kind(
            self.rest, template.landmarks[self.marks], job.options, replace(view, scan=scan), prior
        )
        self.follower.restart(vertices)

    def write_state(self, done: int, chain: str, lost: int) -> None:
        """Write where the sequence is; see `affect3d.registration.sequence_state`."""
        write_state(self.job, self.name, self.vertices, self.follower.state(), done, chain, lost)

    def view(self, frame: FrameJob):
        """A frame, read and prepared."""
        if frame.name in self.job.broken:
            raise RuntimeError("a process died over this frame, twice; it may need more memory than there is")
        whole, unit, source = read_scan(frame.path, frame.unit, frame.guessed)
        scan = surface_of(whole, frame.scan)
        landmarks, origin = frame_landmarks(frame, whole, unit, search=False)
        positions = None
        if landmarks is not None:
            matching_landmarks(self.template, landmarks)  # complains of what makes no sense
            positions = landmarks.points[self.marks]
        target = FOLLOWERS[self.job.method].prepared(scan, self.job.options)
        texture = read_texture(frame.path, scan) if self.job.method == "uv" else None
        return _Seen(scan, target, positions, texture, whole, unit, source, origin)

    def register(self, frame: FrameJob, record: FrameRecord, ahead, lost: int):
        """Record, mesh or None, and the fault if there is one: a ValueError is the scan's, others the machine's."""
        before = self.follower.state()
        try:
            view = ahead.result()
            record = replace(record, unit=view.unit, unit_source=view.source, landmarks=view.origin)
            found = self.follower.follow(view)
            record = self._measured(record, view, found)
            if (lost + 1) % self.job.lost_after == 0 and frame_verdict(record, _HEALTHY)[0] != "kept":
                self.follower.restore(before)
                record, found = self._afresh(frame, record, view, found, lost)
            mesh = self.template.mesh.with_vertices(found.vertices) if np.any(found.matched) else None
            return record, mesh, None
        except Exception as error:
            self.follower.restore(before)
            return record, None, error

    def _measured(self, record: FrameRecord, view, found: Followed) -> FrameRecord:
        positions = view.positions if view.positions is not None else np.full((len(self.marks), 3), np.nan)
        marks = self.template.landmarks[self.marks]
        record = measured(record, self.rest, view.scan, found.vertices, found.matched, marks, positions)
        return replace(
            record, iterations=int(found.iterations), converged=bool(found.converged), reason=str(found.reason)
        )

    def _afresh(self, frame: FrameJob, record: FrameRecord, view, failed: Followed, lost: int):
        """Register the neutral to a frame without what came before it, and follow from there."""
        said = f"tracking was lost ({lost + 1} frames in a row could not be kept)"
        try:
            landmarks, origin = frame_landmarks(frame, view.whole, view.unit)
            marks, positions = matching_landmarks(self.template, landmarks)
            # the subject's size and proportions are known
            options = replace(self.job.alone, scale=False, affine=False)
            result = register_nonrigid(self.rest, view.scan, marks, positions, options)
        except ValueError as error:
            reason = f"{said}, and no new start was found: {error}"
            return replace(record, converged=False, reason=reason), failed
        record = replace(record, start="afresh", landmarks=origin)
        positions = np.full((len(self.marks), 3), np.nan)
        here = landmarks.points[self.marks]
        view = replace(view, positions=np.where(np.isfinite(here), here, positions))
        self.follower.restart(result.vertices)
        found = self.follower.follow(view)
        tracked = self._measured(record, view, found)
        if frame_verdict(tracked, _HEALTHY)[0] == "kept":
            return replace(tracked, reason=f"{said}; registered afresh and followed from there: {found.reason}"), found
        alone = Followed(result.vertices, result.matched, result.iterations, result.converged, result.reason)
        self.follower.restart(result.vertices)
        own = self._measured(record, view, alone)
        return replace(own, reason=f"{said}; registered afresh: {result.reason}"), alone


@dataclass(frozen=True, eq=False)
class _Seen(View):
    """A view with what the record says of its file."""

    whole: Mesh | None = None
    unit: str = ""
    source: str = ""
    origin: str = ""


def tracking_landmarks(template: Template) -> np.ndarray:
    """(L,) int: landmarks of the template that are worth following, by their place in its scheme; no outline."""
    present = template.landmarks >= 0
    inner = present.copy()
    inner[[*OUTLINE[template.scheme], *UNUSED[template.scheme]]] = False
    return np.flatnonzero(inner if inner.sum() >= 6 else present)


def _neutral(job: SequenceJob, template: Template):
    """The neutral frame, its record, its vertices, and ("", ""); or None thrice, and verdict and why of all frames."""
    verdict, reasons = "pruned", []
    marker = marker_file(job)
    marker.parent.mkdir(parents=True, exist_ok=True)
    for frame in job.neutrals:
        if frame.name in job.broken:
            verdict = "failed"
            reasons.append(f"{frame.scan}: a process died over it, twice")
            continue
        marker.write_text(frame.name, encoding="utf-8", errors="surrogateescape")
        try:
            record, vertices = _alone(frame, job, template)
        except (ValueError, OSError) as error:
            verdict = "failed" if isinstance(error, OSError) else verdict
            reasons.append(sentence_of(error, frame))
            continue
        why = frame_verdict(record, _HEALTHY)[1]
        if not why:
            marker.unlink(missing_ok=True)
            return frame, record, vertices, ("", "")
        reasons.append(f"{frame.scan}: {why}")
    marker.unlink(missing_ok=True)
    return None, None, None, (verdict, f"the sequence has no neutral: {'; '.join(reasons)}")


def _alone(frame: FrameJob, job: SequenceJob, template: Template):
    """Record and vertices of a frame that is registered by itself, from the template."""
    whole, unit, source = read_scan(frame.path, frame.unit, frame.guessed)
    scan = surface_of(whole, frame.scan)
    landmarks, origin = frame_landmarks(frame, whole, unit)
    marks, positions = matching_landmarks(template, landmarks)
    shape, said = start_shape(frame, template, scan, marks, positions)
    result = register_nonrigid(shape, scan, marks, positions, job.alone)
    record = FrameRecord(
        frame.name, frame.scan, settings=frame.settings, unit=unit, unit_source=source, landmarks=origin,
        iterations=int(result.iterations), converged=bool(result.converged),
        reason=f"the neutral of the sequence: {result.reason}{said}",
    )  # fmt: skip
    return measured(record, template.mesh, scan, result.vertices, result.matched, marks, positions), result.vertices


def _judged(record: FrameRecord, fault, frame: FrameJob) -> tuple[str, str]:
    if not fault:
        return frame_verdict(record, frame.limits)
    if isinstance(fault, ValueError):
        return "pruned", sentence_of(fault, frame)
    told = isinstance(fault, OSError) or "process died" in str(fault)
    return "failed", sentence_of(fault, frame, kind=not told)
