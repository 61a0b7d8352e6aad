"""What the bridges share: a missing package, lengths, and texture coordinates one a vertex."""

from __future__ import annotations

import importlib

import numpy as np

from affect3d.io.mesh_parts import split_seams
from affect3d.io.units import millimetres_per
from affect3d.mesh import Mesh

__all__ = ["in_millimetres", "in_unit", "one_uv_a_vertex", "picture", "require"]

#: How each package is got, as its error says.
_INSTALL = {
    "trimesh": "pip install affect3d[trimesh]",
    "menpo": "pip install affect3d[menpo] (from source, it needs a compiler)",
    "open3d": "pip install affect3d[open3d] (and the system library libusb-1.0-0)",
    "pytorch3d": "see its installation page, no package index has it",
    "torch": "pip install affect3d[torch]",
}


def require(module: str):
    """Import a module of an optional package.

    Raises
    ------
    ImportError
        In one sentence, naming the package and how it is installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in (package, module)
        cause = "" if missing else f" ({error})"  # there, but broken
        raise ImportError(
            f"the bridge to {package} needs the package {package}{cause}: {_INSTALL[package]}"
        ) from None


def in_unit(points, unit: str) -> np.ndarray:
    """Millimetres as another unit, "mm", "cm" or "m"; a fresh array."""
    return np.array(points, float) / millimetres_per(unit)


def in_millimetres(points, unit: str) -> np.ndarray:
    """Lengths in `unit`, "mm", "cm" or "m", as millimetres; a fresh array."""
    return np.array(points, float) * millimetres_per(unit)


def one_uv_a_vertex(mesh: Mesh, seams: str):
    """Rows of a mesh for packages that know one texture coordinate a vertex.

    Parameters
    ----------
    mesh : Mesh
    seams : {"drop", "split"}
        What becomes of texture coordinates if a vertex has several: "drop" them all and keep vertices and faces, or
        "split" such vertices, their copies following after the last vertex.

    Returns
    -------
    vertex : (N,) int array
        The mesh's vertex of each row.
    faces : (F, 3) int array
        Indices of rows.
    uv : (N, 2) float array or None

    Raises
    ------
    ValueError
        If `seams` is another word.
    """
    if seams not in ("drop", "split"):
        raise ValueError(f"seams: expected 'drop' or 'split', got {seams!r}")
    count = len(mesh.vertices)
    plain = np.arange(count), np.array(mesh.faces), None
    if mesh.uv is None:
        return plain
    vertex, coordinate, faces = split_seams(mesh)
    if len(vertex) > count and seams == "drop":
        return plain
    return vertex, faces, np.vstack([mesh.uv, np.zeros((1, 2))])[coordinate]  # -1, in no face: the last row


def picture(pixels, name: str = "pixels") -> np.ndarray:
    """(H, W, 3) uint8, or a ValueError that names it."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"{name}: expected a picture (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}")
    return pixels
