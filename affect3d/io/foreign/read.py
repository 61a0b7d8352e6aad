"""Which foreign layout a file has, told by its content, and the model in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.io.foreign import bfm2009, flame, gnm, lsfm
from affect3d.io.foreign.array_files import npz_names, read_npz
from affect3d.io.foreign.array_pickle import looks_pickled, unpickle_arrays
from affect3d.io.foreign.assemble import ForeignModel, assemble
from affect3d.io.foreign.eos import eos_blendshapes, eos_model, looks_like_eos
from affect3d.io.foreign.hdf5 import has, is_hdf5, open_hdf5
from affect3d.io.foreign.landmarks import read_model_landmarks
from affect3d.io.foreign.mat5 import is_mat5
from affect3d.io.foreign.matlab import matlab_matrices
from affect3d.io.foreign.statismo import is_statismo, statismo_model
from affect3d.model.morphable import MorphableModel

__all__ = ["LAYOUTS", "foreign_layout", "read_foreign_model"]

#: What `foreign_layout` may say, and which models come so.
LAYOUTS = {
    "matlab": "MATLAB 5 .mat: Basel Face Model 2009, Large Scale Facial Model",
    "hdf5": "HDF5: Basel Face Models 2017 and 2019, scalismo, statismo, MATLAB 7.3 .mat",
    "pickle": "pickle: FLAME",
    "npz": "NumPy .npz: FLAME",
    "gnm": "NumPy .npz: GNM Head",
    "eos": "cereal's binary archive: eos, Surrey Face Model",
}

#: Arrays by which an .npz is told.
_MARKS = {"npz": {"v_template", "shapedirs"}, "gnm": {"template_vertex_positions", "vertex_identity_basis"}}


def foreign_layout(path) -> str | None:
    """Layout of a file by its first bytes: a key of `LAYOUTS`, or None if it is none of them.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        head = file.read(520)
    if is_hdf5(head):
        return "hdf5"
    if is_mat5(head):
        return "matlab"
    if head[:4] == b"PK\x03\x04":
        names = npz_names(path)
        return next((layout for layout, marks in _MARKS.items() if marks <= names), None)
    if looks_pickled(head):
        return "pickle"
    return "eos" if looks_like_eos(head, path.stat().st_size) else None


def read_foreign_model(
    path, *, modes: int | None = None, expression_modes: int | None = None, unit: str | None = None,
    axes: str = "+x+y+z", licence: str | None = None, landmarks=None, blendshapes=None,
) -> MorphableModel:  # fmt: skip
    """Read a head model of another project.

    Parameters
    ----------
    path : str or Path
        Of a file in one of `LAYOUTS`, recognised by its content.
    modes : int, optional
        Identity and colour modes to keep, the strongest first; all if left out.
    expression_modes : int, optional
        Expression modes to keep; all if left out.
    unit : {"um", "mm", "cm", "m"}, optional
        Of the file's lengths.  Left out, the layout's documentation decides (micrometres for BFM 2009, millimetres
        for scalismo's face models, metres for FLAME and GNM); layouts that state none need it.
    axes : str
        The file's axes that become ours, see `assemble`; "+x+y+z" is what all the models named here have.
    licence : str, optional
        Kept in the model instead of the general sentence.
    landmarks : str or Path, optional
        Of a file with landmarks for the model, see `affect3d.io.foreign.landmarks.read_model_landmarks`.
    blendshapes : str or Path, optional
        Of a file of eos with blendshapes for a model of eos that has no expressions itself.

    Returns
    -------
    MorphableModel
        In millimetres, +x to the subject's left, +y up, +z out of the face, triangles facing outwards.  Its notes
        say what was converted and left out.

    Raises
    ------
    ValueError
        If the file is none of these models, is damaged or hostile, or its unit is not known; one sentence that
        names the file.
    ImportError
        If an HDF5 file is to be read and h5py is not installed.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    for name, count in (("modes", modes), ("expression_modes", expression_modes)):
        if count is not None and (not isinstance(count, int) or count < 0):
            raise ValueError(f"{name}: expected a whole number that is not negative, got {count!r}")
    layout = foreign_layout(path)
    if layout is None:
        raise ValueError(f"{path}: is none of the head models that can be read ({'; '.join(LAYOUTS.values())})")
    # a damaged file may hold any number: what overflows is found by the checks, not by warnings
    with np.errstate(over="ignore", invalid="ignore"):
        raw = _named(path, _raw, path, layout, modes, expression_modes)
        if blendshapes is not None:
            if layout != "eos" or len(raw.expression):
                why = "has expressions itself" if layout == "eos" else "is no model of eos"
                raise ValueError(f"{path}: {why}; blendshapes are for models of eos without expressions")
            raw = _named(blendshapes, _with_blendshapes, raw, Path(blendshapes))
        model = _named(path, assemble, raw, unit, axes, licence)
    if landmarks is not None:
        marks = read_model_landmarks(landmarks, model.mean, model.faces)
        model = replace(model, landmarks={**model.landmarks, marks.scheme: marks})
    return model


def _named(path, work, *arguments):
    """What `work` gives; its errors name the file."""
    try:
        return work(*arguments)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _raw(path: Path, layout: str, keep, keep_expressions) -> ForeignModel:
    if layout == "eos":
        return eos_model(path.read_bytes(), keep, keep_expressions)
    if layout == "pickle":
        return flame.flame_model(unpickle_arrays(path.read_bytes()), keep, keep_expressions)
    if layout == "npz":
        return flame.flame_model(read_npz(path, flame.VARIABLES), keep, keep_expressions)
    if layout == "gnm":
        return gnm.gnm_model(read_npz(path, gnm.VARIABLES), keep, keep_expressions)
    if layout == "hdf5":
        with open_hdf5(path) as file:
            if is_statismo(file):
                return statismo_model(file, keep, keep_expressions)
            if not (has(file, "shapeMU") or has(file, "components")):
                raise ValueError("is an HDF5 file without a model of scalismo, statismo, BFM or LSFM")
    arrays = matlab_matrices(path, {*bfm2009.VARIABLES, *lsfm.VARIABLES})
    if "shapeMU" in arrays or "shapePC" in arrays:
        return bfm2009.bfm2009_model(arrays, keep)
    if "components" in arrays or "trilist" in arrays:
        return lsfm.lsfm_model(arrays, keep)
    raise ValueError("is a .mat file with the variables of neither the Basel Face Model 2009 nor LSFM")


def _with_blendshapes(raw: ForeignModel, path: Path) -> ForeignModel:
    shapes = eos_blendshapes(path.read_bytes())
    for name, moved in shapes.items():
        if len(moved) != len(raw.mean):
            raise ValueError(f"blendshape {name!r}: moves {len(moved)} vertices, the model has {len(raw.mean)}")
    notes = [*raw.notes, "blendshapes under the names that their file gives them"]
    return replace(raw, expression=np.stack(list(shapes.values())), expression_names=tuple(shapes), notes=notes)
