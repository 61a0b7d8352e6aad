"""Learned components as safetensors files, and as a model with named expressions.

The arrays are tensors under the names of `SparseComponents`' attributes; how they were learned, and from what, is JSON
in the header.  Nothing in such a file is executed on reading.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.io.tensor_file import open_tensors, save_tensors
from affect3d.model.component_weights import LOWEST
from affect3d.model.morphable import MorphableModel
from affect3d.model.splocs import SparseComponents, SplocsOptions

__all__ = ["FORMAT_VERSION", "ComponentFile", "components_to_morphable", "load_components", "save_components"]

#: Written into every file; a reader refuses newer ones.
FORMAT_VERSION = 1

_KEY = "affect3d_components"
_TENSORS = {"components": (np.float32, 3), "centres": (np.int64, 1), "explained": (np.float64, 1),
            "rest": (np.float64, 2), "faces": (np.int32, 2)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ComponentFile:
    """Components with the shape they move, and where they come from.

    Attributes
    ----------
    learned : SparseComponents
        Without weights of frames, unless the file was written with them.
    rest : (V, 3) float64
        The shape at rest, in `unit`.
    faces : (T, 3) int32
    options : SplocsOptions
        What they were learned with.
    source : str
        Digest of the frames they were learned from, "" if unknown.
    notes : str
        Which frames those were.
    unit : str
        Of `rest` and of the components.
    """

    learned: SparseComponents
    rest: np.ndarray
    faces: np.ndarray
    options: SplocsOptions
    source: str = ""
    notes: str = ""
    unit: str = "mm"

    def __post_init__(self):
        v = self.learned.components.shape[1]
        rest = frozen_array(self.rest, np.float64, "rest", (v, 3))
        faces = frozen_array(self.faces, np.int32, "faces", (None, 3))
        require_finite(rest, "rest")
        if faces.size and not 0 <= faces.min() <= faces.max() < v:
            raise ValueError(f"faces: indices must lie in [0, {v}), got {faces.min()} to {faces.max()}")
        if self.options.constraint != self.learned.constraint:
            raise ValueError(f"options: constraint is {self.options.constraint!r}, the components were learned with "
                             f"{self.learned.constraint!r}")  # fmt: skip
        for name in ("source", "notes", "unit"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: expected a text, got {type(getattr(self, name)).__name__}")
        object.__setattr__(self, "rest", rest)
        object.__setattr__(self, "faces", faces)


def save_components(file: ComponentFile, path, weights: bool = False) -> None:
    """Write components to `path`; the file appears complete or not at all.

    Components and weights are kept in single precision.

    Parameters
    ----------
    file : ComponentFile
    path : str or Path
    weights : bool
        Whether the weights of the frames that were learned from are kept: what a warm start on the same frames needs.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    learned = file.learned
    arrays = {
        "components": learned.components.astype(np.float32), "centres": learned.centres,
        "explained": learned.explained, "rest": file.rest, "faces": file.faces,
    }  # fmt: skip
    if weights:
        arrays["weights"] = learned.weights.astype(np.float32)
    header = {
        "version": FORMAT_VERSION, "unit": file.unit, "source": file.source, "notes": file.notes,
        "options": asdict(file.options), "energies": learned.energies.tolist(), "residual": learned.residual,
        "scale": learned.scale, "converged": learned.converged, "reason": learned.reason,
    }  # fmt: skip
    save_tensors(path, _KEY, header, arrays)


def load_components(path) -> ComponentFile:
    """Read components.

    Raises
    ------
    ValueError
        If the file is not such a file; one sentence that names it.
    OSError
        If it cannot be read.
    """
    with open_tensors(path, _KEY, FORMAT_VERSION, "a file of components of affect3d") as file:
        arrays = {name: file.array(name, *kind) for name, kind in _TENSORS.items()}
        frames = np.zeros((0, len(arrays["components"])))
        if "weights" in file.names:
            frames = file.array("weights", np.float32, 2)
        return _value(file.header, arrays, frames)


def components_to_morphable(file: ComponentFile, names=None, name: str = "sparse components") -> MorphableModel:
    """A model whose expressions are the components, as `affect3d.io.glb_write.write_model_glb` writes them.

    Expressions of a model take coefficients in [0, 1] only, so under the signed constraint each component becomes two:
    ``NAME_plus`` and ``NAME_minus``.

    Parameters
    ----------
    file : ComponentFile
        In mm.
    names : sequence of str, optional
        One for each component; ``component_001`` and so on by default.
    name : str
        Of the model.

    Returns
    -------
    MorphableModel
        Without identity modes.

    Raises
    ------
    ValueError
        If the unit is another, frames are not spatial, or names are too few or not different.
    """
    moves = file.learned.components
    if file.unit != "mm":
        raise ValueError(f"file: expected components in mm, got {file.unit!r}")
    if moves.shape[2] != 3:
        raise ValueError(f"file: expected components of shape (K, V, 3), got {moves.shape}")
    names = [f"component_{k + 1:03d}" for k in range(len(moves))] if names is None else [str(n) for n in names]
    if len(names) != len(moves):
        raise ValueError(f"names: expected {len(moves)}, got {len(names)}")
    if file.learned.constraint == "signed":
        names = [f"{n}_{way}" for n in names for way in ("plus", "minus")]
        moves = np.stack([moves, -moves], 1).reshape(-1, *moves.shape[1:])
    return MorphableModel(
        mean=file.rest, faces=file.faces, identity=np.zeros((0, len(file.rest), 3), np.float32),
        identity_std=np.zeros(0), expression=moves.astype(np.float32), expression_names=tuple(names), name=name,
        source=file.source, notes=file.notes,
    )  # fmt: skip


def _value(header, arrays, weights) -> ComponentFile:
    given = header["options"]
    known = {field.name for field in fields(SplocsOptions)}
    if not isinstance(given, dict) or set(given) - known:
        raise ValueError("the header's options are none of this version's")
    for field in fields(SplocsOptions):
        wanted = type(field.default)
        got = given.get(field.name, field.default)
        if isinstance(got, bool) or not isinstance(got, (int, float) if wanted is float else wanted):
            raise ValueError(f"the header's {field.name} is no {wanted.__name__}")
    options = SplocsOptions(**given)
    energies = [_number(e, "energies") for e in header["energies"]]
    scale = _number(header["scale"], "scale")
    if not scale > 0 or not isinstance(header["converged"], bool) or not isinstance(header["reason"], str):
        raise ValueError("the header's scale, converged or reason is of another kind")
    if len(weights) and not LOWEST[options.constraint] <= weights.min() <= weights.max() <= 1:
        raise ValueError("weights: outside of the limits of the constraint")
    if not np.isfinite(arrays["components"]).all():
        raise ValueError("components: expected finite numbers")
    centres = arrays["centres"]
    if centres.size and not 0 <= centres.min() <= centres.max() < arrays["components"].shape[1]:
        raise ValueError("centres: a vertex that is not there")
    learned = SparseComponents(
        arrays["components"], weights, centres, arrays["explained"], energies,
        _number(header["residual"], "residual"), scale, options.constraint, header["converged"], header["reason"],
    )  # fmt: skip
    return ComponentFile(
        learned, arrays["rest"], arrays["faces"], options, header["source"], header["notes"], header["unit"]
    )


def _number(value, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"the header's {name} holds something that is no finite number")
    return float(value)
