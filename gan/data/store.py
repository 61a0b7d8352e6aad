"""Sets of faces as safetensors files: arrays as tensors, names and source as JSON in the header.

Nothing in such a file is executed on reading, and nothing is allocated before its sizes were checked.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from affect3d.gan.data.images import FaceImages
from affect3d.io.atomic import atomic_path

__all__ = ["FORMAT_VERSION", "load_faces", "save_faces"]

#: Written into every file; a reader refuses newer ones.
FORMAT_VERSION = 1

_KEY = "affect3d_faces"
_ARRAYS = {
    "images": ("U8", np.uint8, 4), "subject": ("I64", np.int64, 1), "expression": ("I64", np.int64, 1),
    "units": ("F32", np.float32, 2), "valence": ("F32", np.float32, 1), "arousal": ("F32", np.float32, 1),
    "sequence": ("I64", np.int64, 1), "frame": ("I64", np.int64, 1), "neutral": ("I64", np.int64, 1),
}  # fmt: skip


def save_faces(faces: FaceImages, path) -> None:
    """Write `faces`; the file appears complete or not at all, the same bytes for the same set.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from safetensors.numpy import save_file

    header = {
        "version": FORMAT_VERSION, "expression_names": list(faces.expression_names),
        "unit_names": list(faces.unit_names), "source": faces.source,
    }  # fmt: skip
    with atomic_path(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(getattr(faces, name)) for name in _ARRAYS}, temporary,
            metadata={_KEY: json.dumps(header, sort_keys=True)},
        )  # fmt: skip


def load_faces(path) -> FaceImages:
    """Read a set of faces; raises as `FaceImages.load`."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    with open(path, "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        # The library checks that the header's sizes add up to the size of the file before anything is allocated.
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata())
            return FaceImages(
                **_read_arrays(file), expression_names=tuple(header["expression_names"]),
                unit_names=tuple(header["unit_names"]), source=header["source"],
            )  # fmt: skip
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, TypeError)) else str(error)
        raise ValueError(f"{path}: not a set of faces of affect3d ({reason.splitlines()[0]})") from None


def _header(metadata) -> dict:
    if not metadata or _KEY not in metadata:
        raise ValueError(f"the header has no {_KEY!r}")
    header = json.loads(metadata[_KEY])
    version = header.get("version") if isinstance(header, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("the header is no JSON object with a version")
    if version > FORMAT_VERSION:
        raise ValueError(f"version {version} is newer than {FORMAT_VERSION}, update affect3d")
    for key in ("expression_names", "unit_names"):
        if not isinstance(header.get(key), list) or not all(isinstance(n, str) for n in header[key]):
            raise ValueError(f"the header's {key} is no list of names")
    if not isinstance(header.get("source"), str):
        raise ValueError("the header's source is no text")
    return header


def _read_arrays(file) -> dict[str, np.ndarray]:
    present = set(file.keys())
    arrays = {}
    for name, (stored, kind, axes) in _ARRAYS.items():
        if name not in present:
            raise ValueError(f"no array {name!r}")
        view = file.get_slice(name)
        if view.get_dtype() != stored or len(view.get_shape()) != axes:
            raise ValueError(
                f"{name}: expected {stored} with {axes} axes, got {view.get_dtype()} {tuple(view.get_shape())}"
            )  # fmt: skip
        array = file.get_tensor(name).astype(kind, copy=False)
        array.flags.writeable = False  # spares the value a second copy
        arrays[name] = array
    return arrays
