"""Mesh files of every format: which one a file is, read to millimetres, written in a stated unit."""

from __future__ import annotations

import re
from pathlib import Path

from affect3d.io import glb, obj, off, ply, stl, wrl
from affect3d.io.mesh_parts import HEAD, build_mesh, naming, read_whole
from affect3d.io.units import UnitGuess, guess_unit
from affect3d.mesh import Mesh

__all__ = ["MESH_SUFFIXES", "guess_file_unit", "read_mesh", "write_mesh"]

_PARSERS = {
    ".obj": obj.parse_obj,
    ".ply": ply.parse_ply,
    ".stl": stl.parse_stl,
    ".off": off.parse_off,
    ".wrl": wrl.parse_wrl,
    ".glb": glb.parse_glb,
}
_WRITERS = {
    ".obj": obj.write_obj,
    ".ply": ply.write_ply,
    ".stl": stl.write_stl,
    ".off": off.write_off,
    ".wrl": wrl.write_wrl,
    ".glb": glb.write_glb,
}
#: Suffixes of the files that `read_mesh` reads and `write_mesh` writes.
MESH_SUFFIXES = tuple(_PARSERS)
_MAGIC = (
    (re.compile(rb"ply[ \t]*[\r\n]"), ".ply"),
    (re.compile(rb"glTF"), ".glb"),
    (re.compile(rb"(?:\xef\xbb\xbf)?#VRML"), ".wrl"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:#[^\n]*\n\s*)*(?:ST)?C?N?4?n?OFF\b"), ".off"),
)


def read_mesh(path, unit: str | None = None) -> Mesh:
    """Read a mesh from an OBJ, PLY, STL, OFF, VRML 2.0 (.wrl) or binary glTF (.glb) file.

    The first bytes say what the file is; where they do not (OBJ, STL), its suffix does.  Vertices, texture
    coordinates and faces keep the order and the count they have in the file; degenerate and duplicate triangles
    are kept.  What each format holds: docs/formats.md.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file.  May be left out where the file states it: our own files do, and glTF is in metres.

    Returns
    -------
    Mesh
        In millimetres.

    Raises
    ------
    ValueError
        If the format or the unit is not known, or the file is damaged: truncated, with numbers that are not finite,
        indices that name nothing, or a header that promises more than the file holds.  The message names the file.
    OSError
        If the file cannot be read.
    """
    with naming(path):
        data = read_whole(path)
        suffix = _format(data, Path(path))
        if unit is None and suffix == ".glb":
            unit = "m"
        return build_mesh(_PARSERS[suffix](data), unit, data[:HEAD])


def guess_file_unit(path) -> UnitGuess:
    """Guess the unit of a file of a face or a head from its size; `read_mesh` never does so by itself.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    UnitGuess
        ``unit`` is "mm", "cm", "m" or None; ``reason`` is a sentence to show.

    Raises
    ------
    ValueError, OSError
        As `read_mesh`.
    """
    with naming(path):
        data = read_whole(path)
        return guess_unit(build_mesh(_PARSERS[_format(data, Path(path))](data), "mm").vertices)


def write_mesh(path, mesh: Mesh, unit: str | None = None) -> None:
    """Write a mesh in the format its suffix names; vertices and faces keep their order.

    Parameters
    ----------
    path : str or Path
        Ends in .obj, .ply, .stl, .off, .wrl or .glb.
    mesh : Mesh
    unit : {"mm", "cm", "m"}, optional
        Of the numbers in the file, which states it.  Millimetres if left out; glTF (.glb) is always in metres.

    Raises
    ------
    ValueError
        If the suffix or the unit is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ValueError(f"{path}: expected a name ending in {_choices()}, got {path.suffix!r}")
    if suffix == ".glb":
        if unit not in (None, "m"):
            raise ValueError(f"unit: glTF files (.glb) are in metres, expected 'm' or nothing, got {unit!r}")
        glb.write_glb(path, mesh)
    else:
        _WRITERS[suffix](path, mesh, "mm" if unit is None else unit)


def _choices() -> str:
    return ", ".join(MESH_SUFFIXES[:-1]) + " or " + MESH_SUFFIXES[-1]


def _format(data: bytes, path: Path) -> str:
    for pattern, suffix in _MAGIC:
        if pattern.match(data, 0, 4096):
            return suffix
    suffix = path.suffix.lower()
    if suffix in _PARSERS:
        return suffix
    if stl.is_stl(data):
        return ".stl"
    raise ValueError(f"expected a mesh file ending in {_choices()}, got {path.suffix!r} and bytes that are none")
