"""From frames and a table of labels to the rows of a gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from affect3d.affect.store_writer import StorePlan, write_frames
from affect3d.affect.vaspace import checked_affect
from affect3d.io.digests import digest
from affect3d.progress import Progress, silent
from affect3d.registration.batch import BatchResult, sequences_of
from affect3d.registration.frames import Frame, natural_key
from affect3d.registration.labels import label_frames

__all__ = ["LabelledFrames", "labelled_frames", "write_batch_gallery"]

_COLUMNS = {"valence": np.float32, "arousal": np.float32, "subject": np.int32, "sequence": np.int32, "frame": np.int32,
            "neutral": np.int32}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Frames with labels, numbered as a gallery has them, and what is left over.

    Attributes
    ----------
    names, subject, sequence, frame, neutral, subjects, sequences
        As in `StorePlan`: in natural order, sequence by sequence; places are counted over all frames of a sequence.
    valence, arousal : (N,) float32
        In [-1, 1].
    unlabelled : tuple of Frame
        Those that might be used but have no label.
    unused_labels : int
        Labels that belong to no frame.
    unmarked : tuple of str
        Sequences of which no frame is called neutral; their first frame stands for it.
    without_neutral : tuple of str
        Sequences whose neutral frame cannot be used; their first frame stands for it.
    """

    names: tuple[str, ...]
    valence: np.ndarray
    arousal: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    neutral: np.ndarray
    subjects: tuple[str, ...]
    sequences: tuple[str, ...]
    unlabelled: tuple[Frame, ...] = ()
    unused_labels: int = 0
    unmarked: tuple[str, ...] = ()
    without_neutral: tuple[str, ...] = ()

    def plan(self, mesh, content: str, attributes: Mapping) -> StorePlan:
        """The gallery of these frames, all with the vertices and faces of `mesh`; the rest is as in `StorePlan`."""
        return StorePlan(
            "vertices", mesh.vertices.shape, content, self.subject, self.sequence, self.frame, self.neutral,
            self.subjects, self.sequences, mesh.faces, names=self.names, attributes=attributes,
        )  # fmt: skip


def labelled_frames(frames, labels, usable=None) -> LabelledFrames:
    """Choose and number the frames that have labels.

    The neutral face of a sequence is the frame that the labels call so, else its first frame: performances begin with
    a neutral face.

    Parameters
    ----------
    frames : sequence of Frame
    labels : sequence of FrameLabel
    usable : sequence of bool, optional
        Whether each frame may be chosen; all may if left out.

    Raises
    ------
    ValueError
        If a sequence has two neutral frames.
    """
    found = label_frames(frames, labels)
    rows, unlabelled, unmarked, without_neutral = [], [], [], []
    subjects, sequences = {}, {}
    for name, members in sequences_of(frames).items():
        members = sorted(members, key=lambda i: natural_key(frames[i].name))
        called = [i for i in members if (label := found.get(frames[i].name)) and label.neutral]
        if len(called) > 1:
            raise ValueError(f"labels: sequence {name!r} has {len(called)} neutral frames, expected one")
        here = [(place, i) for place, i in enumerate(members) if usable is None or usable[i]]
        unlabelled += [frames[i] for _, i in here if frames[i].name not in found]
        here = [(place, i) for place, i in here if frames[i].name in found]
        if not here:
            continue
        resting = [row for row, (_, i) in enumerate(here) if i in called]
        if not resting:
            (without_neutral if called else unmarked).append(name)
        neutral = len(rows) + (resting[0] if resting else 0)
        for place, i in here:
            frame, label = frames[i], found[frames[i].name]
            subject = subjects.setdefault(frame.subject or name, len(subjects))
            sequence = sequences.setdefault(name, len(sequences))
            rows.append((frame.name, label.valence, label.arousal, subject, sequence, place, neutral))
    names, *columns = zip(*rows) if rows else [()] * (1 + len(_COLUMNS))
    arrays = {name: np.array(column, kind) for (name, kind), column in zip(_COLUMNS.items(), columns)}
    checked_affect(arrays["valence"], arrays["arousal"])
    for array in arrays.values():
        array.flags.writeable = False
    return LabelledFrames(
        tuple(names), **arrays, subjects=tuple(subjects), sequences=tuple(sequences), unlabelled=tuple(unlabelled),
        unused_labels=len(labels) - len(found), unmarked=tuple(unmarked), without_neutral=tuple(without_neutral),
    )  # fmt: skip


def write_batch_gallery(
    path, result: BatchResult, rows: LabelledFrames, template, convention: str = "", overwrite: bool = False,
    progress: Progress = silent,
) -> bool:  # fmt: skip
    """Write the gallery of a run, whose `rows` are of kept frames and whose meshes are as the mesh `template`.

    Raises
    ------
    ValueError
        If no frame was kept and labelled.
    """
    from affect3d.io.mesh_file import read_mesh

    if not rows.names:
        raise ValueError("gallery: no frame was both kept and labelled, so there is nothing to write")
    records = {record.name: record for record in result.records}
    total = digest(
        [[name, records[name].mesh] for name in rows.names], rows.valence, rows.arousal, rows.neutral, convention
    )
    return write_frames(
        path, rows.plan(template, total, {"convention": convention}), rows.valence, rows.arousal,
        lambda name: read_mesh(result.mesh(records[name]), unit="mm").vertices, overwrite, progress,
    )  # fmt: skip
