"""From the kept frames of a run and a table of labels to the rows of a gallery."""

from __future__ import annotations

from dataclasses import dataclass

from affect3d.affect.vertex_gallery import GalleryRows, write_vertex_gallery
from affect3d.progress import Progress, silent
from affect3d.registration.batch import BatchResult, sequences_of
from affect3d.registration.frames import natural_key
from affect3d.registration.labels import label_frames
from affect3d.registration.records import digest

__all__ = ["GalleryContent", "gallery_content", "write_batch_gallery"]


@dataclass(frozen=True)
class GalleryContent:
    """What of a run goes into a gallery, and what does not.

    Attributes
    ----------
    rows : GalleryRows or None
        None if nothing does.
    unlabelled : tuple of str
        Frames that were kept but have no label.
    unused_labels : int
        Labels that belong to no frame of the run.
    without_neutral : tuple of str
        Sequences whose labelled neutral frame was not kept; their first kept frame stands for it.
    """

    rows: GalleryRows | None
    unlabelled: tuple[str, ...]
    unused_labels: int
    without_neutral: tuple[str, ...]


def gallery_content(result: BatchResult, labels) -> GalleryContent:
    """Choose and number the rows: frames that were kept and are labelled, in natural order, sequence by sequence.

    The neutral face of a sequence is the frame that the labels call so, else its first labelled frame that was kept:
    performances begin with a neutral face.

    Parameters
    ----------
    result : BatchResult
    labels : sequence of FrameLabel

    Raises
    ------
    ValueError
        If a sequence has two neutral frames.
    """
    found = label_frames(result.frames, labels)
    names, valence, arousal, subject, sequence, place, neutral = [], [], [], [], [], [], []
    unlabelled, without_neutral = [], []
    groups = sequences_of(result.frames)
    subjects, used = {}, {}
    for name, members in groups.items():
        members = sorted(members, key=lambda i: natural_key(result.frames[i].name))
        called = [i for i in members if (label := found.get(result.frames[i].name)) and label.neutral]
        if len(called) > 1:
            raise ValueError(f"labels: sequence {name!r} has {len(called)} neutral frames, expected one")
        first, resting = len(names), None
        for order, i in enumerate(members):
            frame = result.frames[i]
            if result.records[i].verdict != "kept":
                continue
            label = found.get(frame.name)
            if label is None:
                unlabelled.append(frame.name)
                continue
            if i in called:
                resting = len(names)
            names.append(frame.name)
            valence.append(label.valence)
            arousal.append(label.arousal)
            subject.append(subjects.setdefault(frame.subject or name, len(subjects)))
            sequence.append(used.setdefault(name, len(used)))
            place.append(order)
        count = len(names) - first
        if count and called and resting is None:
            without_neutral.append(name)
        neutral += [first if resting is None else resting] * count
    rows = None
    if names:
        rows = GalleryRows(
            tuple(names), valence, arousal, subject, sequence, place, neutral, tuple(subjects), tuple(used)
        )
    return GalleryContent(rows, tuple(unlabelled), len(labels) - len(found), tuple(without_neutral))


def write_batch_gallery(
    path, result: BatchResult, content: GalleryContent, faces, convention: str = "", overwrite: bool = False,
    progress: Progress = silent,
) -> bool:  # fmt: skip
    """Write the gallery of a run; see `write_vertex_gallery` for what is written and what may go wrong.

    Raises
    ------
    ValueError
        If no frame was kept and labelled.
    """
    from affect3d.io.mesh_file import read_mesh

    rows = content.rows
    if rows is None:
        raise ValueError("gallery: no frame was both kept and labelled, so there is nothing to write")
    records = {record.name: record for record in result.records}
    total = digest(
        [[name, records[name].mesh] for name in rows.names], rows.valence, rows.arousal, rows.neutral, convention
    )
    return write_vertex_gallery(
        path, rows, faces, lambda name: read_mesh(result.mesh(records[name]), unit="mm").vertices, total, convention,
        overwrite, progress,
    )  # fmt: skip
