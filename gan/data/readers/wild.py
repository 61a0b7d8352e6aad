"""Spontaneous faces and pictures from the wild: DISFA, AFEW-VA, Aff-Wild and LFW."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers.common import folder_of, numbers_in, pictures_in, read_text, require_entries

__all__ = ["list_affwild", "list_afew_va", "list_disfa", "list_lfw"]

_DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)


def list_disfa(root, camera: str = "Left", every: int = 1) -> Listing:
    """The Denver Intensity of Spontaneous Facial Action database (Mavadati et al., 2013).

    ``Videos_LeftCamera/LeftVideoSN001_comp.avi`` and ``ActionUnit_Labels/SN001/SN001_au1.txt`` with lines
    "frame,intensity", frames from 1.  A frame on which all twelve units are zero is neutral.

    Parameters
    ----------
    root : path
        The folder that holds these two.
    camera : {"Left", "Right"}
    every : int
        Only each such frame: neighbours in a film hardly differ.

    Raises
    ------
    ValueError
        If the folder is not such a one, a file is malformed, or the units of a person have different lengths.
    """
    if camera not in ("Left", "Right"):
        raise ValueError(f"camera: expected 'Left' or 'Right', got {camera!r}")
    if not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(f"every: expected a whole number from 1, got {every!r}")
    labels = folder_of(root, "DISFA", "ActionUnit_Labels")
    films = folder_of(root, "DISFA", f"Videos_{camera}Camera", f"Video_{camera}Camera")
    entries = []
    for person in sorted(p for p in labels.iterdir() if re.fullmatch(r"SN\d+", p.name)):
        film = next((films / n for n in (f"{camera}Video{person.name}_comp.avi", f"{camera}Video{person.name}_Comp.avi")
                     if (films / n).is_file()), None)  # fmt: skip
        if film is None:
            raise ValueError(f"{films}: has no film {camera}Video{person.name}_comp.avi for {person.name}")
        columns = []
        for unit in _DISFA_UNITS:
            path = person / f"{person.name}_au{unit}.txt"
            table = numbers_in(path, 2)
            if not ((table[:, 1] >= 0) & (table[:, 1] <= 5)).all():
                raise ValueError(f"{path}: intensities must lie in [0, 5]")
            if (table[:, 0] < 1).any() or (table[:, 0] % 1).any() or (np.diff(table[:, 0]) <= 0).any():
                raise ValueError(f"{path}: frames must be whole numbers from 1 that grow")
            columns.append(table)
        if len({len(c) for c in columns}) != 1 or any((c[:, 0] != columns[0][:, 0]).any() for c in columns):
            raise ValueError(f"{person}: the twelve units are not given for the same frames")
        values = np.stack([c[:, 1] for c in columns], 1)
        for k in range(0, len(values), every):
            page = int(columns[0][k, 0]) - 1
            entries.append(Entry(
                film, person.name, "", page=page, frame=page, units=dict(zip(_DISFA_UNITS, map(float, values[k]))),
                neutral=not values[k].any(),
            ))  # fmt: skip
    entries = require_entries(entries, labels, "DISFA", "SN001/SN001_au1.txt")
    return Listing(entries, (), tuple(f"AU{u}" for u in _DISFA_UNITS), f"DISFA, {camera.lower()} camera.")


def list_afew_va(root, every: int = 1) -> Listing:
    """AFEW-VA (Kossaifi et al., 2017): ``01/001/00000.png`` and ``01/001/001.json``.

    The JSON file holds the actor and, for each frame, valence and arousal from -10 to 10 (divided by ten here)
    and 68 landmarks, which are used for the crop.

    Raises
    ------
    ValueError
        If there is no such film, or a file is malformed.
    """
    if not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(f"every: expected a whole number from 1, got {every!r}")
    base = folder_of(root, "AFEW-VA", "")
    entries = []
    for path in sorted(p for p in base.rglob("*.json") if p.stem == p.parent.name):
        try:
            content = json.loads(read_text(path))
            actor, frames = str(content.get("actor") or f"film {path.stem}"), content["frames"]
            items = sorted(frames.items())
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: is not the label file of a film of AFEW-VA ({type(error).__name__})") from None
        for name, values in items[::every]:
            picture = path.parent / f"{name}.png"
            valence, arousal, points = _afew_values(path, name, values)
            entries.append(Entry(
                picture, actor, path.stem, frame=int(name), valence=valence, arousal=arousal, points=points
            ))  # fmt: skip
    entries = require_entries(entries, base, "AFEW-VA", "001/00000.png with 001/001.json")
    return Listing(entries, (), (), "AFEW-VA, clips of films with valence and arousal.")


def _afew_values(path, name, values):
    try:
        valence, arousal = float(values["valence"]), float(values["arousal"])
        points = np.asarray(values["landmarks"], float)
        usable = (
            name.isascii()
            and name.isdigit()
            and abs(valence) <= 10
            and abs(arousal) <= 10
            and np.isfinite(points).all()
        )
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable or points.shape != (68, 2):
        raise ValueError(f"{path}: frame {name!r}: expected valence and arousal in [-10, 10] and 68 landmarks")
    return valence / 10, arousal / 10, points


def list_affwild(root, part: str = "train", every: int = 1) -> Listing:
    """Aff-Wild (Zafeiriou et al., 2017): ``videos/train/105.mp4``, ``annotations/train/valence/105.txt``.

    One number a frame in [-1, 1]; arousal lies beside valence, and ``landmarks/train/105/0.pts`` is used for the crop
    where it is there.  Who is in a film is not said, so each film counts as one person.

    Parameters
    ----------
    part : str
        "train"; the test films have no labels.
    every : int
        Only each such frame.

    Raises
    ------
    ValueError
        If the folder is not such a one, a film is missing, or labels are malformed.
    """
    if not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(f"every: expected a whole number from 1, got {every!r}")
    labels = folder_of(root, "Aff-Wild", f"annotations/{part}")
    films = folder_of(root, "Aff-Wild", f"videos/{part}")
    marks = Path(root) / "landmarks" / part
    entries = []
    for path in sorted((labels / "valence").glob("*.txt")):
        film = next((films / f"{path.stem}{s}" for s in (".mp4", ".avi", ".webm", ".mov")
                     if (films / f"{path.stem}{s}").is_file()), None)  # fmt: skip
        if film is None:
            raise ValueError(f"{films}: has no film {path.stem}")
        valence, arousal = numbers_in(path, 1)[:, 0], numbers_in(labels / "arousal" / path.name, 1)[:, 0]
        if len(valence) != len(arousal):
            raise ValueError(f"{path}: has {len(valence)} frames, its arousal {len(arousal)}")
        for name, values in (("valence", valence), ("arousal", arousal)):
            if (np.abs(values) > 1).any():
                raise ValueError(f"{labels / name / path.name}: expected numbers in [-1, 1], got {values.max():g}")
        for k in range(0, len(valence), every):
            points = marks / path.stem / f"{k}.pts"
            entries.append(Entry(
                film, path.stem, "", page=k, frame=k, valence=float(valence[k]), arousal=float(arousal[k]),
                points=_read_pts(points) if points.is_file() else None,
            ))  # fmt: skip
    entries = require_entries(entries, labels, "Aff-Wild", "valence/105.txt")
    return Listing(entries, (), (), "Aff-Wild, films from the web with valence and arousal.")


def _read_pts(path) -> np.ndarray:
    text = read_text(path)
    body = text[text.find("{") + 1 : text.rfind("}")] if "{" in text else text
    try:
        points = np.array([float(f) for f in body.split()]).reshape(-1, 2)
    except ValueError:
        points = np.zeros((0, 2))
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"{path}: expected 68 landmarks")
    return points


def list_lfw(root, at_least: int = 1) -> Listing:
    """Labeled Faces in the Wild (Huang et al., 2007), or its funnelled form.

    ``lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg``; the person is the folder.

    Parameters
    ----------
    at_least : int
        Only people with that many pictures.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "LFW", "lfw", "lfw_funneled", "lfw-deepfunneled", "")
    entries = []
    for person in sorted(p for p in base.iterdir() if p.is_dir()):
        own = [p for p in pictures_in(person) if re.fullmatch(re.escape(person.name) + r"_\d{4}", p.stem)]
        if len(own) >= at_least:
            entries += [Entry(p, person.name, p.stem[-4:]) for p in own]
    entries = require_entries(entries, base, "LFW", "Aaron_Eckhart/Aaron_Eckhart_0001.jpg")
    return Listing(entries, (), (), "Labeled Faces in the Wild, without labels of expression.")
