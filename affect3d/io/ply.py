"""Stanford PLY in and out: text and both byte orders, with whatever properties a file brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.mesh_parts import MeshParts, colours_from_floats, fan, read_parsed
from affect3d.io.ply_elements import Lists, parse_elements
from affect3d.io.units import millimetres_per, unit_comment
from affect3d.mesh import Mesh

__all__ = ["parse_ply", "read_ply", "write_ply"]

_COLOURS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_UVS = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_CORNERS = ("vertex_indices", "vertex_index")


def read_ply(path, unit: str | None = None) -> Mesh:
    """Read a PLY file, text or binary; vertices and faces keep order and count.

    Polygons are fanned out from their first corner.  Texture coordinates are taken from the vertices (``s, t``,
    ``u, v``, ``texture_u, texture_v``) or, as MeshLab writes them, from the list ``texcoord`` of the faces.
    A file without faces gives a mesh without faces.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file.  May be left out for files that `write_ply` wrote.

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
    return read_parsed(path, unit, parse_ply)


def parse_ply(data: bytes) -> MeshParts:
    """What the bytes of a PLY file hold, in the file's unit.

    Raises
    ------
    ValueError
        If the header cannot be understood or promises more than the bytes hold, or the elements make no mesh.
    """
    elements = parse_elements(data)
    vertex = elements.get("vertex")
    if vertex is None or not {"x", "y", "z"} <= vertex.keys():
        raise ValueError("header: expected an element 'vertex' with the properties x, y and z")
    if any(isinstance(vertex[axis], Lists) for axis in "xyz"):
        raise ValueError("header: x, y and z of 'vertex' are lists, expected single numbers")
    for name in ("tristrips", "range_grid"):
        if name in elements and "face" not in elements:
            raise ValueError(f"header: its faces are {name!r}, expected the element 'face'")
    points = np.column_stack([vertex[axis] for axis in "xyz"]).astype(float)
    colours = _colours(vertex)
    face = elements.get("face", {})
    lists = next((face[name] for name in _CORNERS if isinstance(face.get(name), Lists)), None)
    if lists is None:
        if face and any(len(column) for column in face.values()):
            raise ValueError("header: expected a list 'vertex_indices' in the element 'face'")
        return MeshParts(points, np.empty((0, 3), np.int64), colours=colours)
    corners = _whole(lists.values)
    triangle = fan(corners, lists.sizes)
    faces = corners[triangle]
    pair = next((p for p in _UVS if all(isinstance(vertex.get(name), np.ndarray) for name in p)), None)
    texture = face.get("texcoord")
    if isinstance(texture, Lists) and len(texture.values):
        if not (texture.sizes == 2 * lists.sizes).all():
            raise ValueError("face: expected two numbers in 'texcoord' for each corner")
        return MeshParts(points, faces, texture.values.astype(float).reshape(-1, 2), triangle, colours)
    if pair is not None:
        return MeshParts(points, faces, np.column_stack([vertex[name] for name in pair]).astype(float), faces, colours)
    return MeshParts(points, faces, colours=colours)


def _whole(values) -> np.ndarray:
    if values.dtype.kind == "f":  # some programs write indices as float
        if not (np.isfinite(values).all() and (values == np.rint(values)).all() and (np.abs(values) < 2**53).all()):
            raise ValueError("face: expected whole numbers as indices")
    return values.astype(np.int64)


def _colours(vertex):
    for names in _COLOURS:
        columns = [vertex.get(name) for name in names]
        if all(isinstance(column, np.ndarray) for column in columns):
            values = np.column_stack(columns).astype(float)
            if all(column.dtype.kind == "u" for column in columns):
                full = max(float(np.iinfo(column.dtype).max) for column in columns)
                return np.rint(values * (255 / full)).astype(np.uint8)
            return colours_from_floats(values)
    return None


def write_ply(path, mesh: Mesh, unit: str = "mm", text: bool = False) -> None:
    """Write a mesh as PLY; vertices and faces keep their order, coordinates all their digits.

    Texture coordinates become ``s, t`` of the vertices where a vertex has one, else the list ``texcoord`` of the
    faces, which MeshLab reads; then the rows of `mesh.uv` come back in the order of the corners.

    Parameters
    ----------
    path : str or Path
        Suffix .ply.
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the numbers in the file, which states it in a comment.
    text : bool
        Readable numbers instead of bytes (little endian).

    Raises
    ------
    ValueError
        If the suffix or the unit is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise ValueError(f"{path}: expected a name ending in .ply, got {path.suffix!r}")
    vertex = [(axis, "<f8", mesh.vertices[:, i] / millimetres_per(unit)) for i, axis in enumerate("xyz")]
    face = [("size", "u1", np.full(len(mesh.faces), 3)), ("corners", "<i4", mesh.faces)]
    properties = ["property list uchar int vertex_indices"]
    if mesh.uv is not None and len(mesh.uv) == len(mesh.vertices) and np.array_equal(mesh.faces, mesh.uv_faces):
        vertex += [(name, "<f8", mesh.uv[:, i]) for i, name in enumerate("st")]
    elif mesh.uv is not None:
        face += [("sizes", "u1", np.full(len(mesh.faces), 6)), ("uv", "<f8", mesh.uv[mesh.uv_faces].reshape(-1, 6))]
        properties.append("property list uchar double texcoord")
    if mesh.colours is not None:
        vertex += [(name, "u1", mesh.colours[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    header = [
        "ply",
        f"format {'ascii' if text else 'binary_little_endian'} 1.0",
        f"comment {unit_comment(unit)}",
        f"element vertex {len(mesh.vertices)}",
        *(f"property {'uchar' if kind == 'u1' else 'double'} {name}" for name, kind, _ in vertex),
        f"element face {len(mesh.faces)}",
        *properties,
        "end_header",
    ]
    body = b"".join(_text(rows) if text else _packed(rows) for rows in (vertex, face))
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(header).encode("ascii") + b"\n" + body)


def _packed(columns) -> bytes:
    kinds = [(name, kind, values.shape[1:]) for name, kind, values in columns]
    rows = np.empty(len(columns[0][2]), kinds)
    for name, _, values in columns:
        rows[name] = values
    return rows.tobytes()


def _text(columns) -> bytes:
    fields = [column for _, _, values in columns for column in values.reshape(len(values), -1).T.tolist()]
    return "".join(" ".join(map(repr, row)) + "\n" for row in zip(*fields)).encode("ascii")
