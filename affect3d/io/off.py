"""Object File Format (OFF) in and out, with colours as COFF."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.mesh_parts import MeshParts, colours_from_floats, fan, numbers, read_parsed
from affect3d.io.text_rows import clean_text, positions_in_rows, table, words_a_row
from affect3d.io.units import millimetres_per, unit_comment
from affect3d.mesh import Mesh

__all__ = ["parse_off", "read_off", "write_off"]

_HEADER = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF[ \t]*(BINARY)?")


def read_off(path, unit: str | None = None) -> Mesh:
    """Read an OFF file: also COFF, NOFF, STOFF and their combinations; vertices and faces keep order and count.

    Polygons are fanned out from their first corner; colours of faces and normals are passed over.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file.  May be left out for files that `write_off` wrote.

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
    return read_parsed(path, unit, parse_off)


def parse_off(data: bytes) -> MeshParts:
    """What the bytes of an OFF file hold, in the file's unit.

    Raises
    ------
    ValueError
        If the header promises more rows than there are, or a row is damaged.
    """
    text = clean_text(data)
    header = _HEADER.match(text)
    if header is None:
        raise ValueError("expected an OFF file, whose first word is 'OFF' or 'COFF'")
    textured, coloured, normals, four, many, binary = header.groups()
    if binary or four or many:
        raise ValueError("expected an OFF file of text with three coordinates, got a binary or higher-dimensional one")
    lines = [line for line in map(bytes.strip, text[header.end() :].split(b"\n")) if line]
    counts = lines[0].split() if lines else []
    if len(counts) not in (2, 3) or not all(word.isdigit() for word in counts):
        raise ValueError("header: expected the numbers of vertices, faces and edges")
    vertices, polygons = int(counts[0]), int(counts[1])
    if vertices + polygons > len(lines) - 1:
        raise ValueError(
            f"header: promises {vertices} vertices and {polygons} faces, the file holds {len(lines) - 1} rows"
        )
    before = 3 + (3 if normals else 0)
    after = 2 if textured else 0
    # MeshLab and others write colours without saying COFF; without a header's word only those widths are open
    middle = (3, 4) if coloured else (0,) if normals or textured else (0, 3, 4)
    values, sizes = table(lines[1 : 1 + vertices], [before + m + after for m in middle], "vertex")
    width = int(sizes.min()) if len(sizes) else before + after
    if len(sizes) and width != sizes.max():
        raise ValueError(f"vertex: expected rows of one length, got {width} and {sizes.max()} numbers")
    colours = colours_from_floats(values[:, before : before + 3]) if width > before + after else None
    faces, triangle = _faces(lines[1 + vertices : 1 + vertices + polygons])
    if textured and len(values):
        return MeshParts(values[:, :3], faces[triangle], values[:, -2:], faces[triangle], colours)
    return MeshParts(values[:, :3], faces[triangle], colours=colours)


def _faces(rows):
    """Corners of all polygons, and the triangles as positions in them."""
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 3), np.int64)
    text = b"\n".join(rows)
    sizes = words_a_row(text, len(rows))
    # not a rectangle: one long row among many short ones would fill the memory with nothing
    values = numbers(text, what="face")
    if len(values) != sizes.sum():  # "1-2" reads as two numbers
        raise ValueError(f"face: expected {sizes.sum()} numbers, got {len(values)}")
    start = np.cumsum(sizes) - sizes
    polygon = values[start]
    bad = np.flatnonzero(~((polygon >= 0) & (polygon <= sizes - 1) & (polygon == np.rint(polygon))))
    if len(bad):
        raise ValueError(f"face {bad[0]}: promises {polygon[bad[0]]:g} corners, its row holds {sizes[bad[0]] - 1}")
    polygon = polygon.astype(np.int64)
    row, place = positions_in_rows(polygon)
    corners = values[start[row] + 1 + place]
    if not ((np.abs(corners) < 2**53) & (corners == np.rint(corners))).all():
        raise ValueError("face: expected whole numbers as indices")
    return corners.astype(np.int64), fan(corners, polygon)


def write_off(path, mesh: Mesh, unit: str = "mm") -> None:
    """Write a mesh as OFF, or COFF if it has colours; vertices and faces keep their order.

    Coordinates are written with all their digits; texture coordinates are lost.

    Parameters
    ----------
    path : str or Path
        Suffix .off.
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the numbers in the file, which states it in a comment.

    Raises
    ------
    ValueError
        If the suffix or the unit is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".off":
        raise ValueError(f"{path}: expected a name ending in .off, got {path.suffix!r}")
    points = (mesh.vertices / millimetres_per(unit)).tolist()
    if mesh.colours is None:
        rows = ["%r %r %r\n" % tuple(point) for point in points]
    else:
        colours = mesh.colours.tolist()
        rows = ["%r %r %r %d %d %d 255\n" % (*point, *colour) for point, colour in zip(points, colours)]
    rows += ["3 %d %d %d\n" % tuple(face) for face in mesh.faces.tolist()]
    kind = "OFF" if mesh.colours is None else "COFF"
    head = f"{kind}\n# {unit_comment(unit)}\n{len(mesh.vertices)} {len(mesh.faces)} 0\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes((head + "".join(rows)).encode("ascii"))
