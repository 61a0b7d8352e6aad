"""What was added to a training set: one record a picture, the same for the 3D route and for every generative method."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.image import read_image

__all__ = ["AddedPicture", "read_manifest", "read_pictures", "write_manifest"]

_FORMAT = "affect3d added pictures 1"


@dataclass(frozen=True)
class AddedPicture:
    """One made picture; squares of one size lie side by side in the file.

    Attributes
    ----------
    file : str
        Below the manifest's folder.
    column : int
        Which square of it, from 0.
    subject, clip : str
        Of the source frame.
    frame : int
        Of the source frame, in its clip.
    valence, arousal : float
        The label, in [-1, 1].
    affect_class : int
        Class of the valence-arousal plane; -1 where the method knows none.
    seed : int
        Of the draws.
    method : str
        "3d-mean", "3d-sampled", or the name of a generative method.
    model : str
        The head model, or the weights file of the method.
    """

    file: str
    column: int
    subject: str
    clip: str
    frame: int
    valence: float
    arousal: float
    affect_class: int
    seed: int
    method: str
    model: str

    def __post_init__(self):
        for name in ("valence", "arousal"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise ValueError(f"{self.file}, column {self.column}: {name}: expected [-1, 1], got {value!r}")
        if Path(self.file).is_absolute() or ".." in Path(self.file).parts:
            raise ValueError(f"file: expected a path below the manifest's folder, got {self.file!r}")


def write_manifest(folder, pictures) -> Path:
    """Write manifest.json beside the pictures; it appears complete or not at all."""
    path = Path(folder) / "manifest.json"
    content = {"format": _FORMAT, "pictures": [asdict(p) for p in pictures]}
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=0, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return path


def read_manifest(folder) -> tuple[AddedPicture, ...]:
    """The records of a folder with made pictures.

    Raises
    ------
    ValueError
        If it is no manifest, or a record is wrong; names file and record.
    OSError
        If it cannot be read.
    """
    path = Path(folder) / "manifest.json"
    names = [f.name for f in fields(AddedPicture)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"expected the format {_FORMAT!r}")
        out = []
        for number, record in enumerate(content["pictures"]):
            if not isinstance(record, dict) or set(record) != set(names):
                raise ValueError(f"record {number}: expected the fields {', '.join(names)}")
            out.append(AddedPicture(**record))
        return tuple(out)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def read_pictures(folder, pictures) -> np.ndarray:
    """(M, S, S, 3) uint8 squares of the records, in their order.

    Raises
    ------
    ValueError
        If a file is no row of squares, has too few, or sizes differ.
    """
    files: dict[str, np.ndarray] = {}
    out = []
    for record in pictures:
        if record.file not in files:
            files[record.file] = read_image(Path(folder) / record.file).pixels
        strip = files[record.file]
        size = strip.shape[0]
        if strip.shape[1] % size or not 0 <= record.column < strip.shape[1] // size:
            raise ValueError(f"{record.file}: has no square {record.column}, its size is {strip.shape[1]} x {size}")
        out.append(strip[:, record.column * size : (record.column + 1) * size])
    if len({square.shape for square in out}) > 1:
        raise ValueError("pictures: expected squares of one size")
    return np.stack(out) if out else np.empty((0, 1, 1, 3), np.uint8)
