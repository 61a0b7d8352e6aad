"""Models of statismo and scalismo (.h5), the Basel Face Models 2017 and 2019 among them.

A model is a group with ``representer/points`` (3, V), ``representer/cells`` (3, F), ``model/mean`` (3V), ``model/
pcaBasis`` (3V, K) and ``model/pcaVariance`` (K); ``version/majorVersion`` and ``minorVersion`` beside them.  Since
version 0.9 the basis is orthonormal, in 0.8 its columns were scaled by the deviations.  A face model has three such
groups: ``shape``, ``color`` and ``expression``, whose mean and modes are added to those of the shape, and named points
under ``metadata/landmarks/json``.  A plain shape model lies at the root.

Source: Lüthi et al., "Statismo - A Framework for PCA Based Statistical Models", Insight Journal 2012; Gerig et al.,
"Morphable Face Models - An Open Framework", FG 2018.  Units of the Basel models: unibas-gravis/basel-face-model-viewer,
issue 20.
"""

from __future__ import annotations

import json

import numpy as np

from affect3d.io.foreign.assemble import ForeignModel, expressions_of_modes, pca_modes, require_shape
from affect3d.io.foreign.hdf5 import has, read_array, read_text

__all__ = ["is_statismo", "statismo_model"]

#: Named points of the Basel models that are, by their names, points of iBUG's 68 (counted from 0).
_IBUG = {
    "center.chin.tip": 8, "center.nose.tip": 30, "right.eye.corner_outer": 36, "right.eye.corner_inner": 39,
    "left.eye.corner_inner": 42, "left.eye.corner_outer": 45, "right.lips.corner": 48, "center.lips.upper.outer": 51,
    "left.lips.corner": 54, "center.lips.lower.outer": 57, "center.lips.upper.inner": 62, "center.lips.lower.inner": 66,
}  # fmt: skip


def is_statismo(file) -> bool:
    """Whether an open HDF5 file holds such a model."""
    return has(file, "shape/model/pcaBasis") or has(file, "model/pcaBasis")


def statismo_model(file, keep: int | None = None, keep_expressions: int | None = None) -> ForeignModel:
    """The model in an open HDF5 file.

    Parameters
    ----------
    file : h5py.File
    keep, keep_expressions : int, optional
        Identity and colour modes, and expression modes, to keep; all of them if left out.

    Raises
    ------
    ValueError
        If a data set is missing or does not fit the others.
    """
    face = has(file, "shape/model/pcaBasis")
    root = "shape/" if face else ""
    faces = _triangles(file, root)
    mean, identity, std = _pca(file, root, keep)
    count = len(mean)
    notes = []
    _say_noise(file, root, notes)
    expression, names = np.zeros((0, count, 3), np.float32), ()
    if has(file, "expression/model/pcaBasis"):
        shift, modes, deviations = _pca(file, "expression/", keep_expressions, count)
        expression, names = expressions_of_modes(modes, deviations, shift)
        notes.append(
            "expression modes at 3 and -3 deviations; the head at rest is the mean of the neutral scans"
            + (", the mean expression is one of the expressions" if "expression_mean" in names else "")
        )
    colour = {}
    if has(file, "color/model/pcaBasis"):
        colour_mean, modes, deviations = _pca(file, "color/", keep, count)
        full = 255.0 if colour_mean.max(initial=0) > 2 else 1.0
        colour = {"colour_mean": colour_mean / full, "colour_modes": modes, "colour_std": deviations / full}
        notes.append("colours are taken as sRGB")
    landmarks = _named_points(file)
    if landmarks:
        there = int(np.isfinite(landmarks["ibug68"][:, 0]).sum())
        notes.append(f"{there} of the 68 landmarks are points that the file names")
    return ForeignModel(
        mean=mean, faces=faces, identity=identity, identity_std=std, expression=expression, expression_names=names,
        landmark_points=landmarks, unit="mm" if face else None,
        name="Basel Face Model or another face model of scalismo" if face else "statismo shape model",
        licence="as agreed with its provider", source="a scalismo / statismo file", notes=notes, **colour,
    )  # fmt: skip


def _pca(file, root: str, keep, count: int | None = None):
    """Mean (V, 3), modes (K, V, 3) and deviations (K,) of one group."""
    name = f"{root}model/"
    mean = read_array(file, name + "mean", 1)
    count = len(mean) // 3 if count is None else count
    require_shape(mean, (3 * count,), name + "mean")
    variances = read_array(file, name + "pcaVariance", 1).astype(np.float64)
    if not np.isfinite(variances).all() or (variances < 0).any():
        raise ValueError(f"{name}pcaVariance: expected finite numbers that are not negative")
    deviations = np.sqrt(variances)
    require_shape(file[name + "pcaBasis"], (3 * count, len(variances)), name + "pcaBasis")
    columns = len(variances) if keep is None else min(keep, len(variances))
    basis = read_array(file, name + "pcaBasis", 2, columns)
    modes, deviations = pca_modes(basis, deviations[:columns], name + "pcaBasis", count)
    if _version(file, root) == (0, 8):
        modes = modes / np.where(deviations > 0, deviations, 1).astype(np.float32)[:, None, None]
    return mean.astype(np.float64).reshape(count, 3), modes, deviations


def _version(file, root: str) -> tuple[int, int]:
    """Of the group if it states one, else of the file; 0.9 if neither does."""
    for place in (root, ""):
        names = [f"{place}version/{part}Version" for part in ("major", "minor")]
        if all(has(file, name) for name in names):
            numbers = [_number(file, name) for name in names]
            if any(n is None or n != int(n) for n in numbers):
                raise ValueError(f"{place}version: expected two whole numbers")
            version = (int(numbers[0]), int(numbers[1]))
            if version[0] != 1 and version not in ((0, 8), (0, 9)):
                raise ValueError(f"{place}version: expected 0.8, 0.9 or 1.x, got {version[0]}.{version[1]}")
            return version
    return 0, 9


def _triangles(file, root: str) -> np.ndarray:
    name = f"{root}representer/cells"
    if not has(file, name):
        raise ValueError(f"{name}: is missing; meshes inside the file in another form (VTK, before 0.9) are not read")
    cells = read_array(file, name, 2)
    require_shape(cells, (3, None), name)
    if cells.dtype.kind == "f":
        if not np.isfinite(cells).all() or (cells != np.rint(cells)).any():
            raise ValueError(f"{name}: expected whole numbers")
    return cells.T.astype(np.int64)


def _say_noise(file, root: str, notes) -> None:
    if has(file, f"{root}model/noiseVariance"):
        noise = _number(file, f"{root}model/noiseVariance")
        if noise:
            notes.append(f"the noise that the file adds to the modes (variance {noise:.3g}) was left out")


def _number(file, name: str) -> float | None:
    """A single number, alone or in a list of one; None if it is something else."""
    data = file[name]
    if getattr(data, "size", None) != 1 or data.dtype.kind not in "fiu":
        return None
    value = float(np.ravel(data[()])[0])
    return value if np.isfinite(value) else None


def _named_points(file) -> dict[str, np.ndarray]:
    """The 68 points as far as the file names them; empty if fewer than four are."""
    if not has(file, "metadata/landmarks/json"):
        return {}
    try:
        content = json.loads(read_text(file, "metadata/landmarks/json"))
    except (json.JSONDecodeError, RecursionError):
        return {}
    if isinstance(content, list):
        entries = [e for e in content if isinstance(e, dict) and isinstance(e.get("id"), str)]
        content = {entry["id"]: entry.get("coordinates") for entry in entries}
    if not isinstance(content, dict):
        return {}
    points = np.full((68, 3), np.nan)
    for name, index in _IBUG.items():
        place = content.get(name)
        if isinstance(place, list) and len(place) == 3 and all(isinstance(x, (int, float)) for x in place):
            points[index] = place
    # a file whose left is the picture's would put the landmarks on the wrong side without a word
    there = np.isfinite(points).all(1)
    left, right = (points[[k for k in side if there[k]], 0] for side in ((42, 45, 54), (36, 39, 48)))
    if there.sum() < 4 or not len(left) or not len(right) or left.mean() <= right.mean():
        return {}
    return {"ibug68": points}
