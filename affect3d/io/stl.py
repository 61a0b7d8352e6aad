"""STL in and out: loose triangles, as text or as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.geometry.triangles import face_normals
from affect3d.io.atomic import atomic_path
from affect3d.io.mesh_parts import MeshParts, read_parsed
from affect3d.io.text_rows import clean_text, table
from affect3d.io.units import millimetres_per, unit_comment
from affect3d.mesh import Mesh

__all__ = ["is_stl", "merge_identical", "parse_stl", "read_stl", "write_stl"]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = 84  # 80 bytes of text and the number of triangles


def read_stl(path, unit: str | None = None, merge: bool = False) -> Mesh:
    """Read an STL file, text or binary.

    STL knows no shared vertices: the mesh has three vertices for each triangle, in the order of the file.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file.  May be left out for files that `write_stl` wrote.
    merge : bool
        Join vertices at exactly the same place (`merge_identical`).

    Returns
    -------
    Mesh
        In millimetres.

    Raises
    ------
    ValueError
        If the unit is not known, or the file is damaged; the message names the file.
    OSError
        If the file cannot be read.
    """
    mesh = read_parsed(path, unit, parse_stl)
    return merge_identical(mesh) if merge else mesh


def merge_identical(mesh: Mesh) -> Mesh:
    """The mesh with vertices at exactly the same place joined; they come in the order of their first appearance.

    Triangles keep order and count, those that become degenerate included.  Texture coordinates are kept, of
    colours the first at each place.
    """
    rows = mesh.vertices + 0.0  # -0 and 0 are one place
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, 24))).ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kept = first[order]
    colours = None if mesh.colours is None else mesh.colours[kept]
    return Mesh(mesh.vertices[kept], place[group.ravel()][mesh.faces], mesh.uv, mesh.uv_faces, colours)


def is_stl(data: bytes) -> bool:
    """Whether the bytes are an STL file: text, or bytes of exactly the length their count asks for."""
    return _declared_length(data) == len(data) or _is_text(data)


def _declared_length(data: bytes) -> int | None:
    if len(data) < _HEADER:
        return None
    return _HEADER + _TRIANGLE.itemsize * int.from_bytes(data[80:84], "little")


def _is_text(data: bytes) -> bool:
    # bytes may begin with "solid" too, and a text may be of any length
    return data[:512].lstrip().lower().startswith(b"solid") and b"\0" not in data[:512]


def parse_stl(data: bytes) -> MeshParts:
    """What the bytes of an STL file hold, in the file's unit.

    Raises
    ------
    ValueError
        If the file is shorter than it promises, or its text breaks off.
    """
    declared = _declared_length(data)
    if declared == len(data) or not _is_text(data):
        return _bytes(data, declared)
    return _words(data)


def _bytes(data: bytes, declared: int | None) -> MeshParts:
    if declared is None:
        raise ValueError(f"expected an STL file of at least {_HEADER} bytes, got {len(data)}")
    if declared > len(data):
        count = (declared - _HEADER) // _TRIANGLE.itemsize
        held = (len(data) - _HEADER) // _TRIANGLE.itemsize
        raise ValueError(f"header: promises {count} triangles, the file holds {held}")
    rows = np.frombuffer(data[_HEADER:declared], _TRIANGLE)
    return _loose(rows["corners"].reshape(-1, 3).astype(float))


def _words(data: bytes) -> MeshParts:
    # names after "solid" may hold a #, so nothing is a comment here
    lines = [line.strip() for line in clean_text(data, comments=False).lower().split(b"\n")]
    corners = [line[6:] for line in lines if line.startswith(b"vertex")]
    facets = sum(line.startswith(b"facet") for line in lines)
    closed = sum(line.startswith(b"endfacet") or line == b"end facet" for line in lines)
    if not (len(corners) == 3 * facets and closed == facets and any(line.startswith(b"endsolid") for line in lines)):
        raise ValueError(
            f"expected three vertices in each facet and 'endsolid' at the end, "
            f"got {facets} facets of which {closed} end, {len(corners)} vertices"
        )
    return _loose(table(corners, (3,), "vertex")[0][:, :3])


def _loose(points) -> MeshParts:
    return MeshParts(points, np.arange(len(points)).reshape(-1, 3))


def write_stl(path, mesh: Mesh, unit: str = "mm") -> None:
    """Write the triangles of a mesh as binary STL, in their order; coordinates are rounded to float32.

    Shared vertices, texture coordinates and colours are lost: STL has none.

    Parameters
    ----------
    path : str or Path
        Suffix .stl.
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the numbers in the file, which states it in its header.

    Raises
    ------
    ValueError
        If the suffix or the unit is another, or a number is too large for float32.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".stl":
        raise ValueError(f"{path}: expected a name ending in .stl, got {path.suffix!r}")
    vertices = mesh.vertices / millimetres_per(unit)
    if np.abs(vertices).max(initial=0) > np.finfo(np.float32).max:
        raise ValueError("vertices: expected numbers that fit into float32")
    rows = np.zeros(len(mesh.faces), _TRIANGLE)
    rows["corners"] = vertices[mesh.faces]
    rows["normal"] = face_normals(vertices, mesh.faces)
    header = unit_comment(unit).encode("ascii").ljust(80)[:80]
    with atomic_path(path) as temporary:
        temporary.write_bytes(header + len(rows).to_bytes(4, "little") + rows.tobytes())
