"""Neutral faces of people who are not in the database: further sources of added pictures (paper, 4.2 and 4.4).

Each reader lists what a set is distributed as and marks its neutral faces; nothing is shipped or downloaded.  Layouts
that are not known for sure are not guessed: for such sets pictures are sorted into folders by hand.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.gan.data.frames import count_frames
from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers import list_folders, list_multipie
from affect3d.gan.data.readers.common import folder_of, require_entries
from affect3d.study.databases import videos_of_listing
from affect3d.study.videos import FaceVideos

__all__ = [
    "NEUTRAL_SOURCES", "list_afew", "list_bosphorus", "list_bu3dfe", "list_face_place", "list_fei",
    "read_neutral_faces",
]  # fmt: skip


def read_neutral_faces(name: str, root, each: int = 1) -> FaceVideos:
    """The neutral faces of a set of `NEUTRAL_SOURCES`, labelled (0, 0).

    Parameters
    ----------
    name : str
    root : path
        Its folder.
    each : int
        Pictures of a person at most, from 1; the first by name.

    Returns
    -------
    FaceVideos
        Subjects are named "NAME/PERSON", so that they cannot be taken for people of a database.

    Raises
    ------
    ValueError
        If there is no such set, the folder is not such a one, or it has no neutral face.
    """
    if name not in NEUTRAL_SOURCES:
        raise ValueError(f"neutral: expected one of {', '.join(NEUTRAL_SOURCES)}, got {name!r}")
    if isinstance(each, bool) or not isinstance(each, (int, np.integer)) or each < 1:
        raise ValueError(f"each: expected a whole number from 1, got {each!r}")
    listing = NEUTRAL_SOURCES[name](root)
    taken: dict[str, int] = {}
    kept = []
    for entry in listing.entries:
        before = taken.get(entry.subject, 0)
        if entry.neutral and before < each:
            # one clip for all pictures of a person: what a take is differs from set to set
            kept.append(replace(entry, subject=f"{name}/{entry.subject}", sequence="", frame=before))
            taken[entry.subject] = before + 1
    if not kept:
        raise ValueError(f"{root}: has no neutral face")
    return videos_of_listing(Listing(tuple(kept), (), (), listing.source))


def list_fei(root) -> Listing:
    """The FEI face database (Thomaz and Giraldi, 2010): ``12-11.jpg`` or, cropped and aligned, ``12a.jpg``.

    Picture 11 of a person is frontal and neutral, 12 the same with a smile; so are "a" and "b" of the frontal set.
    Turned heads and other light (1 to 10, 13 and 14) are left out.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "FEI", "")
    shown = {"11": "neutral", "12": "smile", "a": "neutral", "b": "smile"}
    entries = []
    for path in _pictures(base, ".jpg"):
        found = re.fullmatch(r"(\d{1,3})(?:-(11|12)|([ab]))", path.stem)
        if found:
            name = shown[found[2] or found[3]]
            entries.append(Entry(path, f"{int(found[1]):03d}", found[2] or found[3], expression=name,
                                 neutral=name == "neutral"))  # fmt: skip
    entries.sort(key=lambda e: (e.subject, e.sequence))
    entries = require_entries(entries, base, "FEI", "1-11.jpg or 1a.jpg")
    return Listing(entries, ("neutral", "smile"), (), "FEI, frontal pictures, neutral and with a smile.")


def list_bosphorus(root) -> Listing:
    """The Bosphorus database (Savran et al., 2008): ``bs000/bs000_N_N_0.png`` beside its scan and landmarks.

    The parts of a name are the person, the kind (N neutral, E emotion, LFAU, UFAU and CAU action units, YR, PR and CR
    turned heads, O something in front), its code and a number; only pictures of the first five are listed.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "Bosphorus", "BosphorusDB", "")
    entries = []
    for path in _pictures(base, ".png"):
        found = re.fullmatch(r"(bs\d{3})_(N|E|LFAU|UFAU|CAU)_(\w+)_(\d+)", path.stem, re.I)
        if found:
            name = found[3].lower()
            neutral = found[2].upper() == "N"
            entries.append(Entry(path, found[1].lower(), f"{found[2]} {found[3]} {found[4]}",
                                 expression="neutral" if neutral else name, neutral=neutral))  # fmt: skip
    entries = require_entries(entries, base, "Bosphorus", "bs000/bs000_N_N_0.png")
    names = tuple(sorted({e.expression for e in entries}, key=lambda n: (n != "neutral", n)))
    return Listing(entries, names, (), "Bosphorus, posed expressions, the scanner's pictures.")


_BU3DFE = {
    "NE": "neutral", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "SA": "sadness", "SU": "surprise",
}  # fmt: skip


def list_bu3dfe(root) -> Listing:
    """BU-3DFE (Yin et al., 2006): ``F0001/F0001_NE00WH_F2D.bmp``, the frontal pictures beside the scans.

    A name holds sex and number of the person, the expression (NE, AN, DI, FE, HA, SA, SU), its strength from 1 to 4
    (00 for the neutral face) and the ethnic group; F3D files, which are textures, are left out.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "BU-3DFE", "BU_3DFE", "")
    entries = []
    for path in _pictures(base, ".bmp", ".jpg", ".png"):
        found = re.fullmatch(r"([FM]\d{4})_(" + "|".join(_BU3DFE) + r")(\d{2})([A-Z]{2})_F2D", path.stem, re.I)
        if found:
            name = _BU3DFE[found[2].upper()]
            entries.append(Entry(path, found[1].upper(), name, frame=int(found[3]), expression=name,
                                 neutral=name == "neutral"))  # fmt: skip
    entries = require_entries(entries, base, "BU-3DFE", "F0001/F0001_NE00WH_F2D.bmp")
    return Listing(entries, tuple(_BU3DFE.values()), (), "BU-3DFE, posed expressions of four strengths.")


def list_face_place(root) -> Listing:
    """The Face Place database (Tarr): ``Asian/AF0301_1100_00F.jpg``.

    A name holds the person, four digits for what is shown and worn, and the direction.  Only ``1100``, the first plain
    face, is known here to be neutral; seen from the front (``00F``).  Other codes are left out rather than guessed.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "Face Place", "")
    entries = []
    for path in _pictures(base, ".jpg"):
        found = re.fullmatch(r"([A-Z]{1,2}[FM]\d{4})_1100_00F", path.stem, re.I)
        if found:
            entries.append(Entry(path, found[1].upper(), "1100", expression="neutral", neutral=True))
    entries = require_entries(entries, base, "Face Place", "AF0301_1100_00F.jpg")
    return Listing(entries, ("neutral",), (), "Face Place, neutral faces from the front.")


_AFEW = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
    "sad": "sadness", "surprise": "surprise",
}  # fmt: skip


def list_afew(root) -> Listing:
    """AFEW 5.0 of the EmotiW challenges (Dhall et al., 2012): ``Train_AFEW/Neutral/000046280.avi``.

    The middle frame of each film; the folder above it names what is shown.  Who is shown is not said, so each film
    counts as a person of its own: use it for neutral faces only, never to divide people.

    Raises
    ------
    ValueError
        If there is no such film, or one cannot be opened.
    """
    base = folder_of(root, "AFEW", "")
    entries = []
    for path in _pictures(base, ".avi", ".mp4"):
        name = _AFEW.get(path.parent.name.lower())
        if name:
            entries.append(Entry(path, path.stem, "", page=count_frames(path) // 2, expression=name,
                                 neutral=name == "neutral"))  # fmt: skip
    entries = require_entries(entries, base, "AFEW", "Train_AFEW/Neutral/000046280.avi")
    return Listing(entries, tuple(_AFEW.values()), (), "AFEW 5.0, scenes of films.")


def _multipie(root) -> Listing:
    """Multi-PIE's frontal camera and light."""
    return list_multipie(root, (0,), (7,))


def _pictures(base, *suffixes) -> list[Path]:
    return sorted(p for p in Path(base).rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))


#: Function that lists a set, by its name.  "2d-face-sets" (the PICS collection) and "kf-itw" come in layouts that
#: differ or are not public: their pictures are sorted as PERSON/neutral/anything.jpg, which is also "folders".
NEUTRAL_SOURCES = {
    "multi-pie": _multipie, "face-place": list_face_place, "2d-face-sets": list_folders, "fei": list_fei,
    "afew": list_afew, "bu-3dfe": list_bu3dfe, "kf-itw": list_folders, "bosphorus": list_bosphorus,
    "folders": list_folders,
}  # fmt: skip
