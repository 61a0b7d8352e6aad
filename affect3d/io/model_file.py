"""Morphable models as safetensors files.

The arrays are tensors under the names of `MorphableModel`'s attributes; names, licence and notes
are JSON in the header.  Nothing in such a file is executed on reading.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.landmarks import SCHEMES, MeshLandmarks
from affect3d.model.morphable import MorphableModel

__all__ = ["FORMAT_VERSION", "load_model_file", "save_model_file"]

#: Written into every file; a reader refuses newer ones.
FORMAT_VERSION = 1

_KEY = "affect3d_model"
_REQUIRED = {
    "mean": (np.float64, 2), "faces": (np.int32, 2), "identity": (np.float32, 3), "identity_std": (np.float64, 1),
    "expression": (np.float32, 3), "parts": (np.uint8, 1),
}  # fmt: skip
# the colour basis came later: readers without it pass over its arrays, so the version stayed
_OPTIONAL = {
    "colours": (np.uint8, 2), "uv": (np.float64, 2), "uv_faces": (np.int32, 2), "colour_mean": (np.float32, 2),
    "colour_modes": (np.float32, 3), "colour_std": (np.float64, 1),
}  # fmt: skip
_TEXTS = ("name", "licence", "source", "notes")
_KINDS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I32": np.int32, "U8": np.uint8}


def save_model_file(model: MorphableModel, path) -> None:
    """Write `model` to `path`; the file appears complete or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: getattr(model, name) for name in (*_REQUIRED, *_OPTIONAL)}
    for scheme, marks in model.landmarks.items():
        arrays[f"landmarks.{scheme}.faces"] = marks.faces
        arrays[f"landmarks.{scheme}.weights"] = marks.weights
    header = {
        "version": FORMAT_VERSION, "unit": "mm", "expression_names": list(model.expression_names),
        "part_names": list(model.part_names), **{key: getattr(model, key) for key in _TEXTS},
    }  # fmt: skip
    content = save(
        {k: np.ascontiguousarray(a) for k, a in arrays.items() if a is not None},
        metadata={_KEY: json.dumps(header, sort_keys=True)},
    )
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(content)


def load_model_file(path) -> MorphableModel:
    """Read a model.

    Raises
    ------
    ValueError
        If the file is not such a model; one sentence that names the file.
    OSError
        If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    with open(path, "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        # The library checks that the header's sizes add up to the size of the file before anything is allocated.
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata())
            arrays = _arrays(file)
        return _model(header, arrays)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, TypeError)) else str(error)
        raise ValueError(f"{path}: not a morphable model of affect3d ({reason.splitlines()[0]})") from None


def _header(metadata) -> dict:
    if not metadata or _KEY not in metadata:
        raise ValueError(f"the header has no {_KEY!r}")
    header = json.loads(metadata[_KEY])
    if not isinstance(header, dict) or not isinstance(header.get("version"), int):
        raise ValueError("the header is no JSON object with a version")
    if header["version"] > FORMAT_VERSION:
        raise ValueError(f"version {header['version']} is newer than {FORMAT_VERSION}, update affect3d")
    for key in ("expression_names", "part_names"):
        if not isinstance(header.get(key), list) or not all(isinstance(n, str) for n in header[key]):
            raise ValueError(f"the header's {key} is no list of names")
    if any(not isinstance(header.get(key, ""), str) for key in _TEXTS):
        raise ValueError(f"the header's {', '.join(_TEXTS)} must be texts")
    return header


def _arrays(file) -> dict[str, np.ndarray]:
    present = set(file.keys())
    wanted = dict(_REQUIRED)
    wanted |= {name: kind for name, kind in _OPTIONAL.items() if name in present}
    for scheme in SCHEMES:
        if f"landmarks.{scheme}.faces" in present:
            wanted |= {f"landmarks.{scheme}.faces": (np.int32, 1), f"landmarks.{scheme}.weights": (np.float64, 2)}
    arrays = {}
    for name, (kind, axes) in wanted.items():
        if name not in present:
            raise ValueError(f"no array {name!r}")
        view = file.get_slice(name)
        stored, shape = _KINDS.get(view.get_dtype()), view.get_shape()
        # halves are welcome in place of single precision; nothing else is converted
        if not (stored == kind or (stored == np.float16 and kind == np.float32)) or len(shape) != axes:
            raise ValueError(f"{name}: expected {kind.__name__} with {axes} axes, got {view.get_dtype()} {shape}")
        array = file.get_tensor(name).astype(kind, copy=False)
        array.flags.writeable = False  # spares the model a second copy
        arrays[name] = array
    return arrays


def _model(header, arrays) -> MorphableModel:
    landmarks = {}
    for scheme in SCHEMES:
        if f"landmarks.{scheme}.faces" in arrays:
            faces, weights = arrays[f"landmarks.{scheme}.faces"], arrays[f"landmarks.{scheme}.weights"]
            if not np.isfinite(weights).all() or (faces < -1).any():
                raise ValueError(f"landmarks.{scheme}: expected finite weights and triangles from -1")
            landmarks[scheme] = MeshLandmarks(scheme, faces, weights)
    return MorphableModel(
        **{name: arrays.get(name) for name in (*_REQUIRED, *_OPTIONAL)}, landmarks=landmarks,
        expression_names=tuple(header["expression_names"]), part_names=tuple(header["part_names"]),
        **{key: header.get(key, "") for key in _TEXTS},
    )
