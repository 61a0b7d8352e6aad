"""Films from the neutral face to an expression: CK+, Oulu-CASIA and MMI."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from affect3d.gan.data.frames import count_frames
from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers.common import folder_of, numbers_in, pictures_in, read_text, require_entries

__all__ = ["list_ckplus", "list_mmi", "list_oulu_casia"]

_CKPLUS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_CKPLUS_UNITS = (1, 2, 4, 5, 6, 7, 9, 12, 15, 17, 20, 23, 24, 25, 26, 27)
_SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_PEAK = 3  # frames at the end that papers take for the apex


def list_ckplus(root, labelled_only: bool = True) -> Listing:
    """The Extended Cohn-Kanade database (Lucey et al., 2010).

    ``cohn-kanade-images/S005/001/S005_001_00000011.png``, ``Emotion/S005/001/..._emotion.txt`` (0 neutral,
    1 anger, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise), ``FACS/.../..._facs.txt`` (unit,
    intensity) and ``Landmarks/.../..._landmarks.txt`` (68 points, used for the crop).

    The first frame of a film is neutral, the last three have its label, those between have none.  Units are
    those of the last frame; where it gives one without intensity (0) that is NaN; the first frame has none.

    Parameters
    ----------
    root : path
        The folder that holds these four (the last three may be missing).
    labelled_only : bool
        Only the 327 films with an emotion, as papers do; else all 593.

    Raises
    ------
    ValueError
        If the folder is not such a one, or a label file is malformed.
    """
    images = folder_of(
        root, "CK+", "cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images", "CK+/cohn-kanade-images"
    )  # fmt: skip
    base = images.parent.parent if images.parent.name == "extended-cohn-kanade-images" else images.parent
    places = {
        kind: next((p for p in (base / kind, base / f"{kind}_labels" / kind, base / kind / kind) if p.is_dir()), None)
        for kind in ("Emotion", "FACS", "Landmarks")
    }  # fmt: skip
    if labelled_only and places["Emotion"] is None:
        raise ValueError(f"{root}: has no folder Emotion with the labels of CK+")
    entries = []
    for film in sorted(p for person in images.iterdir() if person.is_dir() for p in person.iterdir() if p.is_dir()):
        frames = pictures_in(film)
        if len(frames) < 2:
            continue
        below = Path(film.parent.name) / film.name
        label = _ckplus_label(places["Emotion"], below)
        if labelled_only and not label:
            continue
        units = _ckplus_units(places["FACS"], below)
        for k, path in enumerate(frames):
            last = k == len(frames) - 1
            name = "neutral" if k == 0 else label if k >= len(frames) - _PEAK else ""
            known = units if last else dict.fromkeys(_CKPLUS_UNITS, 0.0) if k == 0 else {}
            marks = places["Landmarks"] and places["Landmarks"] / below / f"{path.stem}_landmarks.txt"
            entries.append(Entry(
                path, film.parent.name, film.name, frame=k, expression=name, units=known, neutral=k == 0,
                points=_points(marks) if marks and marks.is_file() else None,
            ))  # fmt: skip
    entries = require_entries(entries, root, "CK+", "cohn-kanade-images/S005/001/S005_001_00000001.png")
    return Listing(entries, _CKPLUS, tuple(f"AU{u}" for u in _CKPLUS_UNITS), "CK+, posed expressions.")


def _ckplus_label(place, below) -> str:
    files = sorted((place / below).glob("*_emotion.txt")) if place else []
    if not files:
        return ""
    value = numbers_in(files[0], 1)
    if value.shape != (1, 1) or value[0, 0] not in range(8):
        raise ValueError(f"{files[0]}: expected one number from 0 to 7, got {read_text(files[0]).strip()[:40]!r}")
    return _CKPLUS[int(value[0, 0])]


def _ckplus_units(place, below) -> dict:
    files = sorted((place / below).glob("*_facs.txt")) if place else []
    if not files:
        return {}
    units = dict.fromkeys(_CKPLUS_UNITS, 0.0)
    for unit, intensity in numbers_in(files[0], 2):
        if not 0 <= intensity <= 5:
            raise ValueError(f"{files[0]}: intensities must lie in [0, 5], got {intensity:g} for action unit {unit:g}")
        units[int(unit)] = float(intensity) if intensity > 0 else np.nan
    return units


def _points(path) -> np.ndarray:
    points = numbers_in(path, 2)
    if len(points) != 68:
        raise ValueError(f"{path}: expected 68 points, got {len(points)}")
    return points


def list_oulu_casia(root, camera: str = "VL", light: str = "Strong") -> Listing:
    """Oulu-CASIA NIR & VIS (Zhao et al., 2011): ``OriginalImg/VL/Strong/P001/Anger/000.jpeg``.

    The first frame of a film is neutral, the last three have its label, those between have none.

    Parameters
    ----------
    root : path
        The folder that holds ``OriginalImg`` (or ``VL``), or the one of the cropped pictures
        (``VL_Acropped``).
    camera : {"VL", "NI"}
        Visible light, as the papers use, or near infrared.
    light : {"Strong", "Weak", "Dark"}

    Raises
    ------
    ValueError
        If an option is unknown or the folder is not such a one.
    """
    if camera not in ("VL", "NI") or light not in ("Strong", "Weak", "Dark"):
        raise ValueError(f"camera, light: expected VL or NI and Strong, Weak or Dark, got {camera!r}, {light!r}")
    base = folder_of(
        root, "Oulu-CASIA", f"OriginalImg/{camera}/{light}", f"{camera}/{light}", f"{camera}_Acropped/{light}",
        f"PreProcess Img/{camera}_Acropped/{light}",
    )  # fmt: skip
    entries = []
    for person in sorted(p for p in base.iterdir() if re.fullmatch(r"P\d+", p.name)):
        for film in sorted(p for p in person.iterdir() if p.is_dir() and p.name.lower() in _SIX):
            frames = pictures_in(film)
            for k, path in enumerate(frames):
                name = film.name.lower() if k >= max(len(frames) - _PEAK, 1) else ""
                entries.append(
                    Entry(path, person.name, film.name, frame=k, expression=name, neutral=k == 0)
                )  # fmt: skip
    entries = require_entries(entries, base, "Oulu-CASIA", "P001/Anger/000.jpeg")
    return Listing(entries, _SIX, (), f"Oulu-CASIA, posed expressions, {camera}, {light} light.")


#: MMI's numbers for the emotion of a session; others are combinations that the papers leave out.
_MMI = {1: "anger", 2: "disgust", 3: "fear", 4: "happiness", 5: "sadness", 6: "surprise"}


def list_mmi(root, apex: dict | None = None) -> Listing:
    """The MMI facial expression database (Pantic et al., 2005).

    ``Sessions/1767/S028-001.avi`` and beside it ``S028-001.xml`` with ``<Metatag Name="Emotion"
    Value="4"/>``; sessions without an emotion from 1 to 6 are left out.  A film goes from the neutral face to
    the apex and back.  Papers choose the apex by hand; here it is the middle of the film unless
    `apex` says otherwise, and the three frames around it have the label.

    Parameters
    ----------
    root : path
        The folder that holds ``Sessions``, or that folder.
    apex : dict of str to int, optional
        Frame of the apex by session.

    Raises
    ------
    ValueError
        If the folder is not such a one, or a file is malformed.
    """
    root = Path(root)
    base = folder_of(root, "MMI", "Sessions", *([""] if root.name == "Sessions" else []))
    entries = []
    for session in sorted((p for p in base.iterdir() if p.is_dir()), key=lambda p: (len(p.name), p.name)):
        label = next(filter(None, (_mmi_label(p) for p in sorted(session.glob("*.xml")))), "")
        film = next(iter(sorted(session.glob("*.avi"))), None)
        if not label or film is None:
            continue
        found = re.match(r"(S\d+)-", film.name)
        if not found:
            raise ValueError(f"{film}: expected a name like S028-001.avi that begins with the subject")
        count = count_frames(film)
        middle = (apex or {}).get(session.name, count // 2)
        if not 1 <= middle < count:
            raise ValueError(f"apex: session {session.name} has {count} frames, got {middle}")
        for k in range(count):
            near = abs(k - middle) <= _PEAK // 2
            entries.append(Entry(
                film, found[1], session.name, page=k, frame=k, expression=label if near and k else "", neutral=k == 0,
            ))  # fmt: skip
    entries = require_entries(entries, base, "MMI", "1767/S028-001.avi with an emotion in S028-001.xml")
    return Listing(entries, _SIX, (), "MMI, posed expressions, from neutral to apex and back.")


def _mmi_label(path) -> str:
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path}: declares entities, which no file of MMI does")
    try:
        tree = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: is not XML ({error})") from None
    for tag in tree.iter():
        if tag.get("Name") == "Emotion":
            try:
                return _MMI.get(int(tag.get("Value", "")), "")
            except ValueError:
                raise ValueError(f"{path}: expected a number for Emotion, got {tag.get('Value')!r}") from None
    return ""
