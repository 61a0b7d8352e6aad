"""What the gallery commands do: build from meshes, describe, and save statistics."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from affect3d.affect.vaspace import VASpace
from affect3d.progress import Progress, silent

__all__ = ["build_gallery", "histogram_lines", "save_class_statistics", "store_facts", "store_lines"]

_LABEL_SUFFIXES = (".csv", ".txt", ".json")
#: Offending files that an error names.
_NAMED = 10
#: A class with fewer frames counts as empty, as in `affect3d.affect.statistics.ClassStatistics`.
_LEAST = 20


def build_gallery(
    folder, labels, out, unit=None, convention: str = "", frame_rate: float | None = None, overwrite: bool = False,
    progress: Progress = silent, splits=None,
) -> list[str]:  # fmt: skip
    """Write a gallery of vertices from registered meshes and their labels.

    Parameters
    ----------
    folder : path
        Meshes of one topology, ``SUBJECT/SEQUENCE/FRAME.ply`` or any other format.
    labels : sequence of paths
        Tables, or files of one sequence each, see `affect3d.io.label_files`; folders stand for the files below them.
    out : path
    unit, convention, frame_rate, overwrite, progress
    splits : dict of str to sequence of str, optional
        Names of the subjects of each split, ``test`` for instance.

    Returns
    -------
    list of str
        What was left out, a sentence each.

    Raises
    ------
    ValueError
        If meshes differ in topology or cannot be read (the files are named), a label's sequence is not one folder but
        several, no frame has a label, or a split names a person who is not there or is in another split.
    OSError
        If files cannot be read or written.
    """
    from affect3d.affect.store_writer import write_frames
    from affect3d.io.mesh_file import read_mesh
    from affect3d.registration.frames import find_frames

    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    frames = find_frames([folder])
    rows, notes = _rows(frames, _frame_labels(labels))
    splits = _checked_splits(splits or {}, rows.subjects)
    paths = {frame.name: frame.path for frame in frames}
    first = None

    def read(name):
        nonlocal first
        mesh = read_mesh(paths[name], unit=unit)
        first = first or mesh
        if not np.array_equal(mesh.faces, first.faces):
            raise ValueError(f"{paths[name]}: its triangles are other ones than those of {paths[rows.names[0]]}")
        return mesh.vertices

    def checked(name):
        try:
            return read(name)
        except (ValueError, OSError):
            progress(0, 1, "looking for further faults")
            raise ValueError(_faults(read, rows.names, name)) from None

    checked(rows.names[0])
    content = hashlib.sha256(json.dumps([unit, convention, frame_rate, *([splits] if splits else [])]).encode())
    for name in rows.names:
        content.update(name.encode())
        content.update(Path(paths[name]).read_bytes())
    for array in (rows.valence, rows.arousal, rows.subject, rows.sequence, rows.frame, rows.neutral):
        content.update(np.ascontiguousarray(array))
    extra = {"convention": convention} if frame_rate is None else {"convention": convention, "frame_rate": frame_rate}
    if splits:
        extra["splits"] = splits
    plan = rows.plan(first, content.hexdigest(), extra)
    write_frames(out, plan, rows.valence, rows.arousal, checked, overwrite, progress)
    return notes


def _checked_splits(splits, subjects) -> dict[str, list[str]]:
    seen: dict[str, str] = {}
    for name, members in splits.items():
        for subject in members:
            if subject not in subjects:
                raise ValueError(f"splits: {name!r} names {subject!r}, of whom there is no frame")
            if subject in seen:
                raise ValueError(f"splits: {subject!r} is in both {seen[subject]!r} and {name!r}")
            seen[subject] = name
    return {name: sorted(members) for name, members in splits.items()}


def _faults(read, names, first: str) -> str:
    """One sentence that names the files with faults, from the one where the first was found."""
    found = []
    for name in names[names.index(first) :]:
        try:
            read(name)
        except (ValueError, OSError) as error:
            found.append(str(error))
        if len(found) > _NAMED:
            return "; ".join(found[:_NAMED]) + "; and further files"
    return "; ".join(found)


def _frame_labels(paths):
    """FrameLabel of every line of every file, whatever its format."""
    from affect3d.io.label_files import join_tracks, read_label_file
    from affect3d.registration.labels import FrameLabel, read_frame_labels

    out, tracks = [], []
    for path in _label_files(paths):
        if _is_table(path):
            out += read_frame_labels(path)
        else:
            tracks += read_label_file(path)
    for track in join_tracks(tracks):
        for name in ("valence", "arousal"):
            if getattr(track, name) is None:
                raise ValueError(f"{track.source}: has no {name} of sequence {track.name!r}, and no other file has it")
        out += [
            FrameLabel(track.name, str(n), float(v), float(a))
            for n, v, a, seen in zip(track.frame, track.valence, track.arousal, track.annotated) if seen
        ]  # fmt: skip
    return out


def _label_files(paths) -> list[Path]:
    """Files as they are, folders as the label files below them."""
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _LABEL_SUFFIXES and p.is_file())
        if not inside:
            raise ValueError(f"{path}: holds no labels; expected files ending in {', '.join(_LABEL_SUFFIXES)}")
        found += inside
    return found


def _is_table(path) -> bool:
    """Whether the first line names a column sequence and there is a comma: what `read_frame_labels` reads."""
    with open(path, "rb") as file:
        head = file.readline(4096).decode("utf-8-sig", "replace").lower()
    return "sequence" in [word.strip() for word in head.split(",")]


def _rows(frames, labels):
    from affect3d.registration.batch import sequences_of
    from affect3d.registration.gallery_rows import labelled_frames

    _refuse_ambiguous(sequences_of(frames), labels)
    rows = labelled_frames(frames, labels)
    if not rows.names:
        raise ValueError(
            "labels: no mesh has a label; expected the sequences' folders and the frames' names or numbers"
        )
    notes = []
    if rows.unlabelled:
        notes.append(
            f"{len(rows.unlabelled)} meshes have no label and are not in the gallery, {rows.unlabelled[0].path} for one"
        )
    if rows.unused_labels:
        notes.append(f"{rows.unused_labels} labels belong to none of the meshes")
    if rows.unmarked:
        notes.append(
            f"{len(rows.unmarked)} sequences have no frame that is called neutral, {rows.unmarked[0]!r} for one; their "
            "first labelled frame stands for it"
        )
    return rows, notes


def _refuse_ambiguous(groups, labels) -> None:
    last: dict[str, list[str]] = {}
    for name in groups:
        last.setdefault(name.rpartition("/")[2], []).append(name)
    for name in {label.sequence for label in labels}:
        if name not in groups and len(last.get(name, ())) > 1:
            raise ValueError(
                f"labels: the sequence {name!r} may be {last[name][0]!r} or {last[name][1]!r}; expected its whole name"
            )


def store_facts(store, frame_rate: float | None = None, space: VASpace | None = None) -> dict:
    """What `gallery info` says of a gallery, without reading its frames."""
    space = space or VASpace()
    count = space.histogram(store.valence, store.arousal)
    rate = store.frame_rate if frame_rate is None else frame_rate
    lengths = np.bincount(store.sequence, minlength=len(store.sequences))
    lengths = lengths[lengths > 0]
    people = len(np.unique(store.subject))
    return {
        "kind": store.kind, "frames": len(store), "subjects": people, "sequences": int(len(lengths)),
        "frames_of_a_sequence": {
            "least": int(lengths.min()), "median": float(np.median(lengths)), "most": int(lengths.max()),
        },
        "frame_rate": rate, "hours": None if rate is None else len(store) / rate / 3600,
        "vertices": int(store.values.shape[1]) if store.kind == "vertices" else _head_vertices(store),
        "model": store.model, "expressions": list(store.expression_names),
        "labels": {
            name: {
                "mean": float(v.mean(dtype=float)), "sd": float(v.std(dtype=float)), "least": float(v.min()),
                "most": float(v.max()),
            } for name, v in (("valence", store.valence), ("arousal", store.arousal))
        },
        "splits": {name: len(members) for name, members in store.splits.items()},
        "convention": store.convention, "notes": store.notes, "content": store.content,
        "populated_classes": int((count >= _LEAST).sum()), "class_counts": [int(n) for n in count],
    }  # fmt: skip


def store_lines(facts: dict) -> list[str]:
    """The same for readers."""
    long = facts["frames_of_a_sequence"]
    time = "" if facts["hours"] is None else f", {facts['hours']:.2f} hours at {facts['frame_rate']:g} frames a second"
    what = "expression coefficients" if facts["kind"] == "coefficients" else f"meshes of {facts['vertices']} vertices"
    head = f" on {facts['model']}" if facts["model"] else ""
    lines = [
        f"{facts['frames']} frames of {facts['subjects']} subjects in {facts['sequences']} sequences{time}",
        f"{what}{head}; sequences of {long['least']} to {long['most']} frames, median {long['median']:g}",
    ]
    for name, label in facts["labels"].items():
        lines.append(
            f"{name}: mean {label['mean']:+.3f}, deviation {label['sd']:.3f}, from {label['least']:+.3f} to "
            f"{label['most']:+.3f}"
        )
    if facts["splits"]:
        lines.append("splits: " + ", ".join(f"{name} {n} subjects" for name, n in facts["splits"].items()))
    lines.append(f"labels: {facts['convention'] or 'convention not stated'}")
    if facts["notes"]:
        lines.append(facts["notes"])
    lines.append(f"{facts['populated_classes']} of {len(facts['class_counts'])} classes have {_LEAST} frames or more")
    return lines


def histogram_lines(count, space: VASpace | None = None) -> list[str]:
    """The frames of each class as a table."""
    space = space or VASpace()
    rows = np.reshape(count, (space.rows, space.columns))[::-1]
    return ["frames of each class; valence grows to the right, arousal upwards:"] + [
        "  " + " ".join(f"{n:6d}" for n in row) for row in rows
    ]


def save_class_statistics(store, out, progress: Progress = silent, scheduler: str | None = None) -> np.ndarray:
    """Write statistics of the classes of either kind as .npz; returns the count of each class.

    Of coefficients it is what `affect3d.affect.statistics.load_statistics` reads.  Of vertices it holds the mean
    displacements ``mean`` (K, V, 3) and their ``spread``, mm, ``count``, ``valence_arousal``, ``rest`` and ``faces``; a
    Dask cluster at the address `scheduler` gives the same bytes, coefficients are too quick to be worth one.
    """
    from affect3d.affect.class_moments import class_moments
    from affect3d.affect.statistics import class_statistics, save_statistics
    from affect3d.io.atomic import atomic_path

    if store.kind == "coefficients":
        statistics = class_statistics(store)
        save_statistics(statistics, out)
        return statistics.count
    run = None
    if scheduler is not None:
        from affect3d.registration.workers import run_dask

        def run(work, jobs):
            return run_dask(work, jobs, scheduler)

    found = class_moments(store, progress=progress, run=run)
    with atomic_path(out) as temporary, open(temporary, "wb") as file:
        np.savez(  # packing random millimetres takes longer than the statistics do, for a tenth of the size
            file, count=found.count, mean=found.mean.astype(np.float32), spread=found.spread.astype(np.float32),
            valence_arousal=found.valence_arousal, rest=store.rest, faces=store.faces,
            convention=np.array(store.convention), shape=np.array([found.space.columns, found.space.rows]),
        )  # fmt: skip
    return found.count


def _head_vertices(store) -> int | None:
    """None where the store holds no head: the default one is not loaded just to count its vertices."""
    path = os.path.join(store.path, "head", "rest", "zarr.json")
    return int(len(store.rest)) if os.path.exists(path) else None
