"""Readers of labelled databases into `FaceVideos`; none is shipped or downloaded."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers import list_afew_va, list_affwild
from affect3d.gan.data.readers.common import folder_of, pictures_in
from affect3d.io.label_files import read_label_file
from affect3d.study.videos import FaceVideos

__all__ = ["DATABASES", "read_affectnet", "read_affwild2", "read_database", "read_recola", "videos_of_listing"]

#: What `read_database` knows.
DATABASES = ("afew-va", "aff-wild", "aff-wild2", "recola", "affectnet")


def read_database(name: str, root, every: int = 1) -> FaceVideos:
    """Read the database `name` of `DATABASES` from the folder `root`; only each frame number `every` of a clip.

    Raises
    ------
    ValueError
        If there is no such database, or the folder is not such a one.
    """
    if name == "afew-va":
        return videos_of_listing(list_afew_va(root, every))
    if name == "aff-wild":
        return videos_of_listing(list_affwild(root, every=every))
    readers = {"aff-wild2": read_affwild2, "recola": read_recola, "affectnet": read_affectnet}
    if name not in readers:
        raise ValueError(f"database: expected one of {', '.join(DATABASES)}, got {name!r}")
    return readers[name](root, every)


def videos_of_listing(listing: Listing, boxes=None) -> FaceVideos:
    """The frames of a `gan.data` listing, which has readers for more databases; a clip is a person's film.

    Parameters
    ----------
    listing : Listing
        Neutral frames without labels count as labelled (0, 0), so that sets of neutral faces can be augmented.
    boxes : (N, 4) float array, optional
        left, top, right, bottom of the faces in pixels.
    """
    entries = listing.entries
    if not entries:
        raise ValueError("listing: expected at least one picture, got none")
    names = [(e.subject, e.sequence) for e in entries]
    subjects = {s: k for k, s in enumerate(dict.fromkeys(s for s, _ in names))}
    clips = {c: k for k, c in enumerate(dict.fromkeys(names))}
    values = np.array([(e.valence, e.arousal) for e in entries], float)
    values[np.array([e.neutral for e in entries]) & np.isnan(values).all(1)] = 0.0
    points = None
    if any(e.points is not None for e in entries):
        points = np.stack([np.full((68, 2), np.nan) if e.points is None else e.points for e in entries])
    return FaceVideos(
        [subjects[s] for s, _ in names], tuple(subjects), [clips[c] for c in names],
        tuple(f"{s}, {q}" if q else s for s, q in clips), _places(np.array([clips[c] for c in names]), entries),
        values[:, 0], values[:, 1], points, boxes, entries=entries, source=listing.source,
    )  # fmt: skip


def _places(clip, entries) -> np.ndarray:
    """Frame numbers; stills of one person, which all say 0, are counted."""
    frame = np.array([e.frame for e in entries])
    out = frame.copy()
    for one in np.unique(clip):
        own = np.flatnonzero(clip == one)
        if len(np.unique(frame[own])) < len(own):
            out[own] = np.arange(len(own))
    return out


def read_affwild2(root, every: int = 1) -> FaceVideos:
    """Aff-Wild2 (Kollias and Zafeiriou, 2019): ``cropped_aligned/VIDEO/00001.jpg`` and, anywhere below, ``VIDEO.txt``.

    Label files begin with "valence,arousal", line k + 1 belongs to picture k, -5 is not annotated; frames without a
    picture (no face was found) are left out.  The two people of VIDEO_left and VIDEO_right are two subjects.

    Raises
    ------
    ValueError
        If a folder is missing, a label file is malformed, or a film has labels but no picture; names it.
    """
    from PIL import Image

    pictures = folder_of(root, "Aff-Wild2", "cropped_aligned")
    entries, boxes = [], []
    files = sorted(p for p in Path(root).rglob("*.txt") if (pictures / p.stem).is_dir())
    if not files:
        raise ValueError(f"{root}: is no Aff-Wild2: no VIDEO.txt belongs to a folder of {pictures}")
    for path in files:
        (track,) = read_label_file(path)
        there = {int(p.stem): p for p in pictures_in(pictures / path.stem) if p.stem.isdecimal()}
        known = [k for k in np.flatnonzero(track.annotated)[::every] if int(track.frame[k]) in there]
        if not known:
            raise ValueError(f"{path}: clip {path.stem!r} has no frames: no annotated one has a picture")
        with Image.open(there[int(track.frame[known[0]])]) as first:
            width, height = first.size
        for k in known:
            entries.append(Entry(
                there[int(track.frame[k])], path.stem, "", frame=int(track.frame[k]) - 1,
                valence=float(track.valence[k]), arousal=float(track.arousal[k]),
            ))  # fmt: skip
            boxes.append((0, 0, width, height))
    listing = Listing(tuple(entries), (), (), "Aff-Wild2, cropped and aligned faces.")
    return videos_of_listing(listing, np.array(boxes, float))


def read_recola(root, every: int = 1) -> FaceVideos:
    """RECOLA (Ringeval et al., 2013): ``.../P16.mp4`` and ``.../valence/P16.csv``, ``.../arousal/P16.csv``.

    The tables hold a time in seconds and a column for each annotator, parted by semicolons, every 40 ms; the label is
    the annotators' mean.  There are no landmarks: they have to be found before faces can be cut out.

    Raises
    ------
    ValueError
        If a table or a film is missing, or a table is malformed; names it.
    """
    root = folder_of(root, "RECOLA", "")
    entries = []
    for path in sorted(p for p in root.rglob("P*.csv") if p.parent.name == "valence" and re.fullmatch(r"P\d+", p.stem)):
        other = path.parent.parent / "arousal" / path.name
        if not other.is_file():
            raise ValueError(f"{other}: is missing, its valence is there")
        film = next((p for s in (".mp4", ".avi") for p in sorted(root.rglob(path.stem + s))), None)
        if film is None:
            raise ValueError(f"{root}: has no film {path.stem}.mp4")
        valence, arousal = _recola_table(path), _recola_table(other)
        if len(valence) != len(arousal):
            raise ValueError(f"{path}: has {len(valence)} frames, its arousal {len(arousal)}")
        for k in range(0, len(valence), every):
            entries.append(Entry(
                film, path.stem, "", page=k, frame=k, valence=float(valence[k]), arousal=float(arousal[k])
            ))  # fmt: skip
    if not entries:
        raise ValueError(f"{root}: is no RECOLA: expected valence/P16.csv")
    return videos_of_listing(Listing(tuple(entries), (), (), "RECOLA, dyads that solve a task over a video call."))


def _recola_table(path) -> np.ndarray:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words = [w.strip() for w in line.split(";")]
        if number == 1 and words[0].lower() == "time":
            continue
        try:
            values = [float(w) for w in words[1:] if w]
        except ValueError:
            values = []
        if not values or not all(-1 <= v <= 1 for v in values):
            raise ValueError(f"{path}: line {number}: expected a time and numbers in [-1, 1], got {line[:60]!r}")
        rows.append(np.mean(values))
    return np.array(rows)


def read_affectnet(root, every: int = 1) -> FaceVideos:
    """AffectNet (Mollahosseini et al., 2017): ``training.csv`` or ``validation.csv`` beside the folder of pictures.

    Boxes and 68 landmarks come from the table, -2 is not annotated.  Who is shown is not said: each picture counts as
    a person of its own, which a division by people cannot do better.

    Raises
    ------
    ValueError
        If there is no table, a column is missing or a row is malformed; names file and line.
    """
    root = Path(root)
    tables = [p for name in ("training", "validation") for p in root.rglob(f"{name}.csv")]
    if not tables:
        raise ValueError(f"{root}: is no AffectNet: expected training.csv or validation.csv")
    wanted = (
        "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "valence",
        "arousal",
    )  # fmt: skip
    entries, boxes = [], []
    for table in tables:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [n for n in wanted if n not in (rows.fieldnames or ())]
            if missing:
                raise ValueError(f"{table}: line 1: has no column {missing[0]}")
            for number, row in enumerate(rows, 2):
                if (number - 2) % every:
                    continue
                try:
                    valence, arousal = float(row["valence"]), float(row["arousal"])
                    x, y, w, h = (float(row[n]) for n in wanted[1:5])
                    marks = np.array([float(v) for v in row["facial_landmarks"].split(";")]).reshape(68, 2)
                except (ValueError, TypeError, AttributeError):
                    raise ValueError(f"{table}: line {number}: expected numbers and 68 landmarks") from None
                if valence == -2 or arousal == -2:
                    continue
                if not (abs(valence) <= 1 and abs(arousal) <= 1):
                    raise ValueError(f"{table}: line {number}: valence and arousal must lie in [-1, 1] or be -2")
                place = next((p for p in (table.parent / row[wanted[0]], root / row[wanted[0]]) if p.is_file()),
                             root / row[wanted[0]])  # fmt: skip
                entries.append(Entry(place, row[wanted[0]], "", valence=valence, arousal=arousal, points=marks))
                boxes.append((x, y, x + w, y + h))
    return videos_of_listing(Listing(tuple(entries), (), (), "AffectNet, pictures from the web."), np.array(boxes))
