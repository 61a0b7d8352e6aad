"""Sequences as jobs of a batch: who is whose neutral, in which order frames are followed, and what a death costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from affect3d.registration.frame_work import FrameJob, FrameOutcome
from affect3d.registration.labels import FrameLabel, label_frames
from affect3d.registration.methods import method_named
from affect3d.registration.sequence_state import SequenceJob, done_frames, first_undone
from affect3d.registration.sequence_work import follow_sequence
from affect3d.registration.workers import Death, run_dask, run_processes

__all__ = ["named_neutrals", "run_sequences", "sequence_jobs"]

#: Frames at the beginning of a sequence that are tried as its neutral where nobody names one.
_CANDIDATES = 3
#: Deaths in one sequence after which the rest of it is not tried.
_DEATHS = 3


def named_neutrals(frames, labels=(), given: str | None = None) -> dict[str, str]:
    """The neutral frame of each sequence for which labels or the user name one.

    Parameters
    ----------
    frames : sequence of Frame
    labels : sequence of FrameLabel
        Those marked as neutral count.
    given : str, optional
        A frame's name (its file without suffix, or its number), to be found in each sequence; it outranks the labels.
        With folders, as in ``rest/0``, it is sought in the sequence's subject: one neutral then serves all its
        sequences.

    Returns
    -------
    dict of str to str
        Names of frames by names of sequences.

    Raises
    ------
    ValueError
        If a sequence has two neutral frames, or none of the given name.
    """
    groups = defaultdict(list)
    for frame in frames:
        groups[frame.sequence].append(frame)
    found = {}
    if given is None:
        for name, label in label_frames(frames, labels).items():
            sequence = name.rpartition("/")[0]
            if label.neutral and found.setdefault(sequence, name) != name:
                raise ValueError(f"labels: sequence {sequence!r} has two neutral frames, {found[sequence]} and {name}")
        return found
    folder, _, wanted = given.strip("/").rpartition("/")
    for sequence, members in groups.items():
        place = sequence
        if folder:
            place = f"{members[0].subject}/{folder}".strip("/")
        # the rules by which labels name frames
        hit = label_frames(groups.get(place, ()), [FrameLabel(place, wanted, 0.0, 0.0)])
        if not hit:
            raise ValueError(f"neutral: sequence {sequence!r} has no frame {given!r}")
        found[sequence] = next(iter(hit))
    return found


def sequence_jobs(jobs: list[FrameJob], options) -> list[SequenceJob]:
    """Jobs of frames, sequence by sequence.

    A sequence is followed from its neutral to its end, and from the neutral back to its beginning.

    Parameters
    ----------
    jobs : list of FrameJob
    options : BatchOptions
    """
    by_name = {job.name: job for job in jobs}
    groups = defaultdict(list)
    for job in jobs:
        groups[job.name.rpartition("/")[0]].append(job)
    out = []
    for name, members in groups.items():
        neutral, turn = options.neutrals.get(name), len(members)
        candidates = tuple(members[:_CANDIDATES])
        if neutral is not None:
            if neutral not in by_name:
                raise ValueError(f"neutrals: expected frames of the run, got {neutral!r}")
            candidates = (by_name[neutral],)
            place = next((k for k, job in enumerate(members) if job.name == neutral), None)
            if place is not None:
                members, turn = members[place:] + members[:place][::-1], len(members) - place
        settings = members[0].options or method_named(options.method).options()
        out.append(
            SequenceJob(
                name, tuple(members), turn, candidates, options.method, settings, options.neutral_options,
                members[0].settings.get("prior", ""), options.lost_after,
            )  # fmt: skip
        )
    return out


def run_sequences(jobs: list[FrameJob], options) -> Iterator[tuple[FrameJob, FrameOutcome | Death]]:
    """Do all frames, sequences side by side in processes or on a cluster; yields as `run_processes` does.

    If a process dies over a sequence, this is done again without reading ahead, so that the frame whose fault it is
    is known; then without that frame.
    """
    waiting = sequence_jobs(jobs, options)
    while waiting:
        if options.scheduler is not None:
            outcomes = run_dask(follow_sequence, waiting, options.scheduler)
        else:
            outcomes = run_processes(follow_sequence, waiting, min(options.jobs, len(waiting)))
        again = []
        for job, outcome in outcomes:
            if not isinstance(outcome, Death):
                yield from zip(job.frames, outcome.frames)
                continue
            following = _without_the_guilty(job)
            if following is not None:
                again.append(following)
                continue
            done = done_frames(job)
            for k, frame in enumerate(job.frames):
                yield frame, FrameOutcome(done[k], True) if k in done else outcome
        waiting = again


def _without_the_guilty(job: SequenceJob) -> SequenceJob | None:
    """What to try after a death; None if enough was tried."""
    if not job.careful:
        return replace(job, careful=True)
    guilty = first_undone(job)
    if not guilty or guilty in job.broken or len(job.broken) >= _DEATHS:
        return None
    return replace(job, broken=(*job.broken, guilty))
