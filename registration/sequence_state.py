"""A sequence as a job, what its results hang on, and the state from which it goes on after a death."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.registration.frame_input import input_digest
from affect3d.registration.frame_work import FrameJob, done_before
from affect3d.registration.nonrigid import NonRigidOptions
from affect3d.registration.records import FrameRecord, digest, read_record

__all__ = [
    "Inputs", "SequenceJob", "done_frames", "first_undone", "marker_file", "read_inputs", "what_is_done", "write_state",
]  # fmt: skip


@dataclass(frozen=True)
class SequenceJob:
    """All that a worker is told about a sequence.

    Attributes
    ----------
    name : str
        Of the sequence, as in ``subject/sequence``.
    frames : tuple of FrameJob
        In the order in which they are followed.
    turn_back : int
        From this one on the order goes back from the neutral; the number of frames if it does not.
    neutrals : tuple of FrameJob
        Frames of which the first that can be registered is the neutral; they need not be of the sequence.
    method : str
        A key of `FOLLOWERS`.
    options : object
        Of the method.
    alone : NonRigidOptions
        For the neutral, and for starts after tracking was lost.
    prior : str
        SHA-256 of the prior that lies in the run's folder; empty for none.
    lost_after : int
        Frames not kept in a row after which tracking counts as lost.
    broken : tuple of str
        Names of frames over which a process died; they are passed over.
    careful : bool
        No frame is read before it is its turn.
    """

    name: str
    frames: tuple[FrameJob, ...]
    turn_back: int
    neutrals: tuple[FrameJob, ...]
    method: str
    options: object
    alone: NonRigidOptions
    prior: str = ""
    lost_after: int = 3
    broken: tuple[str, ...] = ()
    careful: bool = False


def first_undone(job: SequenceJob) -> str:
    """Name of the frame that was under way when a process died over a careful job; empty if nobody knows."""
    _, begun, state = what_is_done(job, read_inputs(job))
    if state is None:
        try:
            return marker_file(job).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    return next((f.name for f in job.frames[begun:] if f.name not in job.broken), "")


def done_frames(job: SequenceJob) -> dict[int, FrameRecord]:
    """Records of the frames that are done, by their place in the job."""
    return what_is_done(job, read_inputs(job))[0]


@dataclass(frozen=True)
class Inputs:
    """Digests of what is read for each frame, and of all that results hang on.

    Attributes
    ----------
    job : SequenceJob
    known : dict of str to str
        By the frame's name.
    unreadable : frozenset of str
        Names of frames of which a file cannot be read.
    """

    job: SequenceJob
    known: dict[str, str]
    unreadable: frozenset[str]

    def chain(self, neutral: str | None) -> list[str]:
        """Digests of neutral and settings, then after each frame; `neutral` None if all candidates failed."""
        job, tried = self.job, []
        for candidate in job.neutrals:
            tried.append([candidate.name, self.known[candidate.name]])
            if candidate.name == neutral:
                break
        back = job.turn_back if job.turn_back < len(job.frames) else None  # more frames at the end change nothing
        links = [digest(tried, back, job.frames[0].settings)]
        for frame in job.frames:
            links.append(digest(links[-1], frame.name, self.known[frame.name]))
        return links


def read_inputs(job: SequenceJob) -> Inputs:
    """Digests of the files of a sequence as they are now."""
    known, unreadable = {}, set()
    for frame in (*job.neutrals, *job.frames):
        if frame.name in known:
            continue
        try:
            known[frame.name] = input_digest(frame, texture=True)
        except OSError:
            unreadable.add(frame.name)
            known[frame.name] = "unreadable"
        if frame.name in job.broken:
            known[frame.name] = "a process died over it"
    return Inputs(job, known, frozenset(unreadable))


def what_is_done(job: SequenceJob, inputs: Inputs) -> tuple[dict[int, FrameRecord], int, dict | None]:
    """Valid records by their place; how many frames the state has behind it; and the state, None to begin anew."""
    done, state = {}, _read_state(job)
    neutral = None if state is None else str(state["neutral"])
    links = inputs.chain(neutral)
    for k, (frame, given) in enumerate(zip(job.frames, links[1:])):
        record = done_before(frame, given)
        if record is None and frame.name in inputs.unreadable:
            # it was just tried again, and is no reason to do its sequence again
            old = read_record(frame.places.record(frame.name))
            record = old if old is not None and (old.input, old.settings) == (given, frame.settings) else None
        if record is not None:
            done[k] = record
    if state is None:
        return done, 0, None
    begun = int(state["done"])
    whole = begun < len(links) and str(state["chain"]) == links[begun] and all(k in done for k in range(begun))
    # the record of a neutral that is still to come hangs on its registration
    if not whole or neutral in {frame.name for frame in job.frames[begun:]}:
        return done, 0, None
    return done, begun, state


def marker_file(job: SequenceJob) -> Path:
    """File that names the frame that is tried as the neutral."""
    return job.frames[0].places.state(job.name).with_name("under_way.txt")


def write_state(job: SequenceJob, neutral: str, vertices, follower: dict, done: int, chain: str, lost: int) -> None:
    """Write where a sequence is: its neutral and that one's vertices, the follower's state, and how far it came."""
    path = job.frames[0].places.state(job.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.savez(
            temporary, done=np.array(done), chain=np.array(chain), lost=np.array(lost),
            neutral=np.array(neutral), vertices=vertices, settings=np.array(digest(job.frames[0].settings)),
            **follower,
        )  # fmt: skip


def _read_state(job: SequenceJob) -> dict | None:
    try:
        with np.load(job.frames[0].places.state(job.name), allow_pickle=False) as file:
            state = {name: file[name] for name in file.files}
    except Exception:  # a file that is damaged in whatever way costs time, not the run
        return None
    names = {n.name for n in job.neutrals}
    fits = str(state.get("settings")) == digest(job.frames[0].settings) and str(state.get("neutral")) in names
    return state if fits else None
