"""Posed pictures one by one: RaFD, JAFFE, Multi-PIE and TFD."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from affect3d.gan.data.images import FaceImages
from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers.common import folder_of, pictures_in, require_entries

__all__ = ["list_jaffe", "list_multipie", "list_rafd", "read_tfd"]

_EIGHT = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_RAFD = {
    "neutral": "neutral", "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear",
    "happy": "happiness", "sad": "sadness", "surprised": "surprise",
}  # fmt: skip


def list_rafd(root, angles=(90,), children: bool = False) -> Listing:
    """The Radboud Faces Database (Langner et al., 2010): ``Rafd090_01_Caucasian_female_angry_frontal.jpg``.

    A take is one camera and gaze, so that `same_person_pairs` makes CDAAE's pairs.

    Parameters
    ----------
    root : path
        The folder of the pictures, searched with its subfolders.
    angles : tuple of int
        Cameras in degrees; 90 is frontal, as CDAAE uses.
    children : bool
        Also the ten child models.

    Raises
    ------
    ValueError
        If there is no such picture, or an angle is unknown.
    """
    if not set(angles) <= {0, 45, 90, 135, 180} or not angles:
        raise ValueError(f"angles: expected some of 0, 45, 90, 135, 180, got {angles}")
    base = folder_of(root, "RaFD", "")
    entries = []
    pattern = re.compile(
        r"rafd(\d{3})_(\d{2})_(\w+)_(female|male)_(" + "|".join(_RAFD) + r")_(frontal|left|right)", re.I
    )  # fmt: skip
    for path in sorted(p for p in base.rglob("*.jpg") if not p.name.startswith(".")):
        found = pattern.fullmatch(path.stem)
        if not found or int(found[1]) not in angles or (found[3].lower() == "kid" and not children):
            continue
        name = _RAFD[found[5].lower()]
        entries.append(Entry(
            path, found[2], f"{found[1]} {found[6].lower()}", expression=name, neutral=name == "neutral"
        ))  # fmt: skip
    entries = require_entries(entries, base, "RaFD", "Rafd090_01_Caucasian_female_angry_frontal.jpg")
    return Listing(entries, _EIGHT, (), f"RaFD, posed expressions, cameras {', '.join(map(str, angles))} degrees.")


_JAFFE = {"NE": "neutral", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "SA": "sadness",
          "SU": "surprise"}  # fmt: skip


def list_jaffe(root) -> Listing:
    """The Japanese Female Facial Expression database (Lyons et al., 1998): ``KA.AN1.39.tiff``.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "JAFFE", "jaffe", "")
    entries = []
    for path in pictures_in(base):
        found = re.fullmatch(r"([A-Z]{2})\.([A-Z]{2})(\d)\.(\d+)", path.stem)
        if found and found[2] in _JAFFE:
            name = _JAFFE[found[2]]
            entries.append(
                Entry(path, found[1], "", frame=int(found[4]), expression=name, neutral=name == "neutral")
            )  # fmt: skip
    entries = require_entries(entries, base, "JAFFE", "KA.AN1.39.tiff")
    return Listing(entries, tuple(_JAFFE.values()), (), "JAFFE, posed expressions of ten Japanese women.")


#: Expression of each recording of Multi-PIE, by session and recording.
_MULTIPIE = {
    (1, 1): "neutral", (1, 2): "smile", (2, 1): "neutral", (2, 2): "surprise", (2, 3): "squint", (3, 1): "neutral",
    (3, 2): "smile", (3, 3): "disgust", (4, 1): "neutral", (4, 2): "scream", (4, 3): "neutral",
}  # fmt: skip
_MULTIPIE_NAMES = ("neutral", "disgust", "surprise", "smile", "scream", "squint")
#: Cameras of Multi-PIE by yaw in degrees.
MULTIPIE_CAMERAS = {-30: "13_0", -15: "14_0", 0: "05_1", 15: "05_0", 30: "04_1"}


def list_multipie(root, yaws=(-30, -15, 0, 15, 30), lights=(7,)) -> Listing:
    """CMU Multi-PIE (Gross et al., 2010): ``data/session01/multiview/001/01/05_1/001_01_01_051_07.png``.

    A take is a session, camera and light; the neutral face of a take is that of its own session.

    Parameters
    ----------
    root : path
        The folder that holds ``data``, or ``session01``.
    yaws : tuple of int
        Views in degrees, keys of `MULTIPIE_CAMERAS`; all five are FESGAN's.
    lights : tuple of int
        Numbers of the flashes, 0 to 19; 7 is the frontal one.

    Raises
    ------
    ValueError
        If an option is unknown or the folder is not such a one.
    """
    if not set(yaws) <= set(MULTIPIE_CAMERAS) or not yaws:
        raise ValueError(f"yaws: expected some of {', '.join(map(str, MULTIPIE_CAMERAS))}, got {yaws}")
    if not set(lights) <= set(range(20)) or not lights:
        raise ValueError(f"lights: expected numbers from 0 to 19, got {lights}")
    session = folder_of(
        root, "Multi-PIE", "data/session01", "session01", "data/session02", "session02", "data/session03",
        "session03", "data/session04", "session04",
    )  # fmt: skip
    base = session.parent
    cameras = {MULTIPIE_CAMERAS[yaw] for yaw in yaws}
    entries = []
    for path in sorted(base.glob("session0[1-4]/multiview/*/*/*/*.png")):
        found = re.fullmatch(r"(\d{3})_(\d{2})_(\d{2})_(\d{3})_(\d{2})", path.stem)
        if not found or path.parent.name not in cameras or int(found[5]) not in lights:
            continue
        name = _MULTIPIE.get((int(found[2]), int(found[3])))
        if name:
            entries.append(Entry(
                path, found[1], f"session {found[2]} camera {found[4]} light {found[5]}", frame=int(found[3]) - 1,
                expression=name, neutral=name == "neutral",
            ))  # fmt: skip
    entries = require_entries(entries, base, "Multi-PIE", "session01/multiview/001/01/05_1/001_01_01_051_07.png")
    return Listing(entries, _MULTIPIE_NAMES, (), f"Multi-PIE, yaws {', '.join(map(str, yaws))} degrees.")


_TFD = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def read_tfd(path, labelled_only: bool = True) -> tuple[FaceImages, np.ndarray]:
    """The Toronto Face Database (Susskind et al., 2010): ``TFD_48x48.mat`` or ``TFD_96x96.mat``.

    Its pictures are cropped and grey already and stay as they are.  Pictures of unknown people (`labs_id` -1)
    count as one person each; with the folds that come with the file nobody known is in two parts.

    Parameters
    ----------
    path : path
        A MATLAB file (not of version 7.3) with ``images`` (N, H, W), ``labs_ex`` (1 to 7, -1 none), ``labs_id`` and
        ``folds`` (N, 5).
    labelled_only : bool
        Leave out pictures without an expression.

    Returns
    -------
    faces : FaceImages
    assignment : (N, 5) int64
        1 train, 2 valid, 3 test, 0 none; for `given_folds`.

    Raises
    ------
    ValueError
        If the file is not such a one.
    OSError
        If it cannot be read.
    """
    from scipy.io import loadmat

    path = Path(path)
    with open(path, "rb"):
        pass
    try:
        content = loadmat(path, variable_names=["images", "labs_ex", "labs_id", "folds"])
    except Exception as error:  # the reader raises nearly every type there is for damaged files
        raise ValueError(f"{path}: is not a MATLAB file that can be read ({type(error).__name__})") from None
    missing = {"images", "labs_ex", "labs_id", "folds"} - set(content)
    if missing:
        raise ValueError(f"{path}: is not the Toronto Face Database; it has no {', '.join(sorted(missing))}")
    images, folds = np.asarray(content["images"]), np.asarray(content["folds"])
    label, person = np.ravel(content["labs_ex"]), np.ravel(content["labs_id"])
    count = len(images)
    for name, values in (("labs_ex", label), ("labs_id", person), ("folds", folds)):
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise ValueError(f"{path}: expected numbers in {name}, got {values.dtype}")
    if images.ndim != 3 or images.dtype != np.uint8 or len(label) != count or len(person) != count:
        raise ValueError(f"{path}: expected (N, H, W) uint8 with N labels, got {images.shape} of {images.dtype}")
    if folds.ndim != 2 or len(folds) != count or not np.isin(folds, (0, 1, 2, 3)).all():
        raise ValueError(f"{path}: expected folds (N, K) of numbers 0 to 3, got {folds.shape}")
    if not np.isin(label, (-1, *range(1, 8))).all():
        raise ValueError(f"{path}: expected expressions 1 to 7, or -1, got {label[~np.isin(label, range(-1, 8))][:1]}")
    keep = label > 0 if labelled_only else np.ones(count, bool)
    if not keep.any():
        raise ValueError(f"{path}: has no picture with an expression")
    label, person = label[keep].astype(np.int64), person[keep].astype(np.int64)
    known = person >= 0
    names, subject = np.unique(person[known], return_inverse=True)
    number = np.empty(len(person), np.int64)
    number[known] = subject
    number[~known] = len(names) + np.arange((~known).sum())
    neutral_rows: dict[int, int] = {}
    for row in np.flatnonzero(label == 7):
        neutral_rows.setdefault(int(number[row]), int(row))
    expression = np.where(label > 0, label - 1, -1)
    neutral = np.array([neutral_rows.get(int(n), -1) for n in number], np.int64)
    faces = FaceImages(
        images[keep][..., None], number, expression, _TFD, sequence=number, neutral=neutral,
        source=f"The Toronto Face Database, {path.name}.",
    )  # fmt: skip
    return faces, folds[keep].astype(np.int64)
