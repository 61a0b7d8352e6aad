"""What the readers of mesh files share: numbers out of text, polygons into triangles, arrays into a mesh."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from affect3d.io.units import resolve_unit
from affect3d.mesh import Mesh

__all__ = [
    "MeshParts", "build_mesh", "colours_from_floats", "fan", "naming", "numbers", "read_parsed", "read_whole",
    "split_seams",
]  # fmt: skip

#: Bytes at the start of a file in which a stated unit is looked for.
HEAD = 512


class MeshParts:
    """What a parser found, in the file's own unit; `build_mesh` makes a `Mesh` of it.

    Attributes
    ----------
    vertices : (V, 3) float array
    faces : (F, 3) int array
    uv : (T, 2) float array, optional
    uv_faces : (F, 3) int array, optional
        -1 where a corner has no texture coordinate.
    colours : (V, 3) uint8 array, optional
    """

    def __init__(self, vertices, faces, uv=None, uv_faces=None, colours=None):
        self.vertices, self.faces, self.uv, self.uv_faces, self.colours = vertices, faces, uv, uv_faces, colours


@contextmanager
def naming(path):
    """Put the name of the file before the message of a ValueError that comes out of the block."""
    try:
        # numbers that are not finite are refused by name, wherever they arise: no warnings besides
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except OverflowError:
        raise ValueError(f"{path}: holds a number that is too large") from None


def read_whole(path) -> bytes:
    """All bytes of a regular file.

    Raises
    ------
    ValueError
        If the file is empty or is no regular file (a pipe or a device may never end).
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ValueError("expected a regular file")
    data = path.read_bytes()
    if not data:
        raise ValueError("the file is empty")
    return data


def read_parsed(path, unit, parse) -> Mesh:
    """The mesh of a file in millimetres: the body of every ``read_<format>``.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file; None if the file states it.
    parse : callable
        Bytes to `MeshParts`.

    Raises
    ------
    ValueError
        Naming the file and what is wrong with it.
    OSError
        If the file cannot be read.
    """
    with naming(path):
        data = read_whole(path)
        return build_mesh(parse(data), unit, data[:HEAD])


def numbers(text: bytes, dtype=float, what: str = "numbers") -> np.ndarray:
    """Numbers separated by blanks or line ends, as a flat array.

    Raises
    ------
    ValueError
        If something else stands between them.
    """
    if not text or text.isspace():
        return np.empty(0, dtype)
    with warnings.catch_warnings():
        # NumPy stops at the first word that is no number and only warns; a truncated result must not pass
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (DeprecationWarning, ValueError, OverflowError):
            raise ValueError(f"{what}: expected {_KIND[np.dtype(dtype).kind]} only, got {_culprit(text)}") from None


_KIND = {"f": "numbers", "i": "whole numbers"}


def _culprit(text: bytes) -> str:
    for word in text.split():
        try:
            float(word)
        except ValueError:
            return repr(word[:40].decode("ascii", "replace"))
    return "a fraction or a number that is too large"


def fan(corners, sizes) -> np.ndarray:
    """Triangles of polygons, each fanned out from its first corner.

    Parameters
    ----------
    corners : (C,) int array
        Corners of all polygons one after the other.
    sizes : (P,) int array
        Corners of each polygon, at least 3.

    Returns
    -------
    (F, 3) int64 array
        Positions in `corners` (not their values): indices of texture and of space are split alike.

    Raises
    ------
    ValueError
        If a polygon has fewer than 3 corners.
    """
    sizes = np.asarray(sizes, np.int64)
    if len(sizes) and sizes.min() < 3:
        bad = int(np.argmin(sizes))
        raise ValueError(f"faces: face {bad} has {sizes[bad]} corners, expected at least 3")
    start = np.cumsum(sizes) - sizes
    if len(sizes) and start[-1] + sizes[-1] != len(corners):
        raise ValueError(f"faces: expected {start[-1] + sizes[-1]} corners, got {len(corners)}")
    triangles = sizes - 2
    first = np.repeat(start, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.column_stack([first, first + step + 1, first + step + 2])


def colours_from_floats(values) -> np.ndarray:
    """(V, 3) uint8 sRGB from numbers in [0, 1] or, if one is larger, in [0, 255].

    Raises
    ------
    ValueError
        If a number lies outside both ranges or is not finite.
    """
    values = np.asarray(values, float)
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= 255):
        raise ValueError(f"colours: expected numbers in [0, 1] or [0, 255], got {low:g} to {high:g}")
    return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)


def build_mesh(parts: MeshParts, unit, head: bytes = b"") -> Mesh:
    """The mesh in millimetres.

    Corners without texture coordinates in a mesh that has some get one more row of `uv`, (0, 0), at the end:
    the rows of the file keep their places.

    Parameters
    ----------
    parts : MeshParts
    unit : {"mm", "cm", "m"}, optional
        Of the file; None if the file states it.
    head : bytes
        First bytes of the file, searched for a stated unit.

    Raises
    ------
    ValueError
        If there is no vertex, an index names none, a number is not finite or the unit is not known.
    """
    vertices = np.asarray(parts.vertices, np.float64).reshape(-1, 3)
    if not len(vertices):
        raise ValueError("vertices: the file holds none")
    scale = resolve_unit(unit, head)
    bad = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(bad):
        raise ValueError(
            f"vertices: expected finite numbers, got {len(bad)} rows that are not, the first is vertex {bad[0]}"
        )
    faces = _checked(parts.faces, "faces", len(vertices), least=0)
    uv, uv_faces = parts.uv, parts.uv_faces
    if uv_faces is not None and (not len(uv) or not len(uv_faces)):
        uv = uv_faces = None
    if uv is not None and uv_faces is not None:
        uv_faces = _checked(uv_faces, "texture coordinates of the faces", len(uv), least=-1)
        without = uv_faces < 0
        if without.all():
            uv = uv_faces = None
        elif without.any():
            uv_faces = np.where(without, len(uv), uv_faces)
            uv = np.vstack([uv, np.zeros((1, 2))])
    return Mesh(vertices if scale == 1 else vertices * scale, faces, uv, uv_faces, parts.colours)


def _checked(indices, name: str, count: int, least: int) -> np.ndarray:
    indices = np.asarray(indices).reshape(-1, 3)
    if not indices.size:
        return np.empty((0, 3), np.int32)
    low, high = int(indices.min()), int(indices.max())
    if low < least or high >= count:
        bad = high if high >= count else low
        raise ValueError(f"{name}: indices must lie in [0, {count}) counted from 0, got {bad}")
    return indices.astype(np.int32)


def split_seams(mesh: Mesh):
    """Vertices as formats want them that know one texture coordinate a vertex.

    The first V rows are the mesh's vertices in their order, each with the texture coordinate of its first corner;
    a vertex that lies on a seam comes again at the end, once for each further coordinate.

    Parameters
    ----------
    mesh : Mesh
        With `uv`.

    Returns
    -------
    vertex : (N,) int64 array
        The mesh's vertex behind each row, N >= V.
    coordinate : (N,) int64 array
        The row of `mesh.uv`; -1 for vertices in no face.
    faces : (F, 3) int32 array
        Indices of rows.
    """
    count = len(mesh.vertices)
    corner, texture = mesh.faces.ravel().astype(np.int64), mesh.uv_faces.ravel().astype(np.int64)
    key = corner * max(len(mesh.uv), 1) + texture
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # as they come in the faces
    pair_vertex, pair_texture = corner[first][order], texture[first][order]
    owner, position = np.unique(pair_vertex, return_index=True)
    coordinate = np.full(count, -1, np.int64)
    coordinate[owner] = pair_texture[position]
    further = np.ones(len(order), bool)
    further[position] = False
    place = np.empty(len(order), np.int64)  # of each pair, in order of appearance
    place[position] = owner
    place[further] = count + np.arange(further.sum())
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    faces = place[rank[row.ravel()]].reshape(-1, 3).astype(np.int32)
    vertex = np.concatenate([np.arange(count), pair_vertex[further]])
    return vertex, np.concatenate([coordinate, pair_texture[further]]), faces
