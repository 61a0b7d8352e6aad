"""Morphable models as safetensors files.

The arrays are tensors under the names of `MorphableModel`'s attributes; names, licence and notes
are JSON in the header.  Nothing in such a file is executed on reading.
"""

from __future__ import annotations

import numpy as np

from affect3d.io.tensor_file import open_tensors, save_tensors
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


def save_model_file(model: MorphableModel, path) -> None:
    """Write `model` to `path`; the file appears complete or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    arrays = {name: getattr(model, name) for name in (*_REQUIRED, *_OPTIONAL)}
    for scheme, marks in model.landmarks.items():
        arrays[f"landmarks.{scheme}.faces"] = marks.faces
        arrays[f"landmarks.{scheme}.weights"] = marks.weights
    header = {
        "version": FORMAT_VERSION, "unit": "mm", "expression_names": list(model.expression_names),
        "part_names": list(model.part_names), **{key: getattr(model, key) for key in _TEXTS},
    }  # fmt: skip
    save_tensors(path, _KEY, header, arrays)


def load_model_file(path) -> MorphableModel:
    """Read a model.

    Raises
    ------
    ValueError
        If the file is not such a model; one sentence that names the file.
    OSError
        If it cannot be read.
    """
    with open_tensors(path, _KEY, FORMAT_VERSION, "a morphable model of affect3d") as file:
        _check_header(file.header)
        return _model(file.header, _arrays(file))


def _check_header(header) -> None:
    for key in ("expression_names", "part_names"):
        if not isinstance(header.get(key), list) or not all(isinstance(n, str) for n in header[key]):
            raise ValueError(f"the header's {key} is no list of names")
    if any(not isinstance(header.get(key, ""), str) for key in _TEXTS):
        raise ValueError(f"the header's {', '.join(_TEXTS)} must be texts")


def _arrays(file) -> dict[str, np.ndarray]:
    wanted = _REQUIRED | {name: kind for name, kind in _OPTIONAL.items() if name in file.names}
    for scheme in SCHEMES:
        if f"landmarks.{scheme}.faces" in file.names:
            wanted |= {f"landmarks.{scheme}.faces": (np.int32, 1), f"landmarks.{scheme}.weights": (np.float64, 2)}
    return {name: file.array(name, *kind) for name, kind in wanted.items()}


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
