"""Wavefront OBJ in and out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.mesh_parts import MeshParts, colours_from_floats, fan, numbers, read_parsed
from affect3d.io.text_rows import clean_text, table, words_a_row
from affect3d.io.units import millimetres_per, unit_comment
from affect3d.mesh import Mesh

__all__ = ["parse_obj", "read_obj", "write_obj"]

_CONTINUED = re.compile(rb"\\[ \t]*\r?\n")
#: Digits after the point: a tenth of a micrometre in each unit.
_DIGITS = {"mm": 4, "cm": 5, "m": 7}


def read_obj(path, unit: str | None = None) -> Mesh:
    """Read an OBJ file; vertices, texture coordinates and faces keep order and count.

    Polygons are fanned out from their first corner.  Texture coordinates keep their own indices; three numbers after
    the coordinates of every vertex are its colour.  Normals, groups, materials, lines and curves are passed over.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file.  May be left out for files that `write_obj` wrote.

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
    return read_parsed(path, unit, parse_obj)


def parse_obj(data: bytes) -> MeshParts:
    """What the bytes of an OBJ file hold, in the file's unit.

    Raises
    ------
    ValueError
        If a row has too few numbers, something that is no number, or an index that names nothing.
    """
    if b"\\" in data:
        data = _CONTINUED.sub(b" ", data)
    lines = [line.strip() for line in clean_text(data).split(b"\n")]
    for keyword in (b"v", b"f"):
        if keyword in lines:
            raise ValueError(f"expected numbers after every {keyword.decode()!r}, got a line without")
    points = [line[2:] for line in lines if line.startswith(b"v ")]
    values, sizes = table(points, (3, 4, 6, 7), "v: vertex")
    # a fourth number is the weight of a curve's point, or opacity after a colour; neither belongs to a mesh
    colours = None
    if len(sizes) and sizes.min() >= 6:
        colours = colours_from_floats(values[:, 3:6])
    faces = [line[2:] for line in lines if line.startswith(b"f ")]
    if not faces:
        return MeshParts(values[:, :3], np.empty((0, 3), np.int64), colours=colours)
    words = b"\n".join(faces)
    polygon = words_a_row(words, len(faces))
    corners = _corners(words, int(polygon.sum()))
    corner = fan(np.arange(len(corners)), polygon)
    seen = _seen_before(lines, b"v ") if (corners[:, 0] < 0).any() else None
    vertex = _absolute(corners[:, 0], seen, polygon, "f: vertex")
    if (vertex < 0).any():
        raise ValueError("f: a face has a corner without a vertex, indices count from 1")
    uv = uv_faces = None
    if corners.shape[1] > 1 and corners[:, 1].any():
        rows = [line[3:] for line in lines if line.startswith(b"vt ")]
        uv = table(rows, (1, 2, 3), "vt: texture coordinate")[0][:, :2]
        uv = np.hstack([uv, np.zeros((len(uv), 2 - uv.shape[1]))])  # a lone u is legal
        seen = _seen_before(lines, b"vt ") if (corners[:, 1] < 0).any() else None
        uv_faces = _absolute(corners[:, 1], seen, polygon, "f: texture coordinate")[corner]
        if not len(uv):
            raise ValueError("f: faces name texture coordinates, the file holds none")
    return MeshParts(values[:, :3], vertex[corner], uv, uv_faces, colours)


def _corners(words: bytes, count: int) -> np.ndarray:
    """(C, 1 to 3) int64 indices of the corners as written; 0 where one is left out."""
    letters = np.frombuffer(words, np.uint8)
    blank = letters <= 32
    after = np.append(letters[1:], 32)
    uneven = ((letters == 47) & (after <= 32)).any()  # "1/2/", "3/"
    slashes = int(np.count_nonzero(letters == 47))
    if not uneven and slashes % count == 0:
        starts = ~blank
        starts[1:] &= blank[:-1]
        of_word = np.bincount(np.cumsum(starts)[letters == 47] - 1, minlength=count)
        if (of_word == slashes // count).all() and slashes // count <= 2:
            plain = words.replace(b"//", b"/0/").replace(b"/", b" ")
            found = numbers(plain, np.int64, "f")
            if len(found) == count + slashes:
                return found.reshape(count, -1)
    rows = [word.split(b"/") for word in words.split()]
    if max(map(len, rows)) > 3:
        raise ValueError("f: expected corners as v, v/vt, v//vn or v/vt/vn, got more than two slashes")
    plain = b" ".join((number or b"0") for row in rows for number in (row + [b"0", b"0"])[:3])
    found = numbers(plain, np.int64, "f")
    if len(found) != 3 * count:  # "1-2" reads as two numbers
        raise ValueError("f: expected whole numbers separated by blanks or slashes")
    return found.reshape(count, 3)


def _seen_before(lines, keyword: bytes) -> np.ndarray:
    """For each face, the rows of `keyword` that come before it: what negative indices count back from."""
    kind = np.fromiter((1 if line.startswith(keyword) else 2 if line.startswith(b"f ") else 0 for line in lines), int)
    return np.cumsum(kind == 1)[kind == 2]


def _absolute(index, seen, polygon, what: str) -> np.ndarray:
    """Indices counted from 0; -1 where none is given."""
    if seen is None:
        return index - 1
    back = index + np.repeat(seen, polygon)
    bad = np.flatnonzero((index < 0) & (back < 0))
    if len(bad):
        raise ValueError(f"{what} {index[bad[0]]} counts back beyond the first one")
    return np.where(index < 0, back, index - 1)


def write_obj(path, mesh: Mesh, unit: str = "mm") -> None:
    """Write a mesh as OBJ text; vertices, texture coordinates and faces keep their order.

    Colours follow the coordinates as three numbers in [0, 1] (sRGB), which MeshLab, Blender and
    trimesh read.  Coordinates are written to a tenth of a micrometre.

    Parameters
    ----------
    path : str or Path
        Suffix .obj.
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the numbers in the file, which states it in its first line.

    Raises
    ------
    ValueError
        If the suffix or the unit is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".obj":
        raise ValueError(f"{path}: expected a name ending in .obj, got {path.suffix!r}")
    vertices = mesh.vertices / millimetres_per(unit)
    number = f" %.{_DIGITS[unit]}f"
    columns, pattern = [vertices], "v" + 3 * number
    if mesh.colours is not None:
        columns.append(mesh.colours / 255)
        pattern += " %.4f %.4f %.4f"
    corners = mesh.faces + 1  # OBJ counts from 1
    face = "f %d %d %d"
    if mesh.uv is not None:
        corners = np.stack([corners, mesh.uv_faces + 1], axis=2).reshape(-1, 6)
        face = "f %d/%d %d/%d %d/%d"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        file.write(f"# {unit_comment(unit)}\n")
        file.write(_rows(pattern, np.hstack(columns)))
        if mesh.uv is not None:
            file.write(_rows("vt %.6f %.6f", mesh.uv))
        file.write(_rows(face, corners))


def _rows(pattern: str, array) -> str:
    # one formatting of all rows takes a third of the time of np.savetxt
    return ((pattern + "\n") * len(array)) % tuple(array.ravel().tolist())
