"""VRML 2.0 (.wrl) in and out: the IndexedFaceSets of a scene, as BU-3DFE and other collections of scans use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.geometry.rotation import rotation_exp
from affect3d.io.atomic import atomic_path
from affect3d.io.mesh_parts import MeshParts, colours_from_floats, fan, numbers, read_parsed
from affect3d.io.units import millimetres_per, unit_comment
from affect3d.io.wrl_nodes import Node, parse_nodes
from affect3d.mesh import Mesh

__all__ = ["parse_wrl", "read_wrl", "write_wrl"]

#: Nodes looked at, those that are used again counted each time: a file can name one node many times over.
_MOST_NODES = 20_000
_DEEPEST = 100


def read_wrl(path, unit: str | None = None) -> Mesh:
    """Read the faces of a VRML 2.0 file; vertices and faces keep order and count, shapes follow one another.

    Polygons are fanned out from their first corner.  Transform nodes are applied.  Colours are read where there is
    one for each vertex.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}, optional
        Of the file; VRML asks for metres but few files keep to it.  May be left out for files of `write_wrl`.

    Returns
    -------
    Mesh
        In millimetres.

    Raises
    ------
    ValueError
        If the unit is not known, or the file is damaged or VRML 1.0; the message names the file.
    OSError
        If the file cannot be read.
    """
    return read_parsed(path, unit, parse_wrl)


def parse_wrl(data: bytes) -> MeshParts:
    """What the bytes of a VRML 2.0 file hold, in the file's unit.

    Raises
    ------
    ValueError
        If the file is no VRML 2.0, breaks off, or holds no IndexedFaceSet with points.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if not data.startswith(b"#VRML V2.0"):
        shown = data[:16].decode("ascii", "replace")
        raise ValueError(f"expected a file that begins with '#VRML V2.0 utf8', got {shown!r}")
    shapes, held = [], 0
    for shape, transform in _face_sets(parse_nodes(data)):
        parts = _shape(shape, transform)
        if parts is not None:
            held += len(parts.vertices) + len(parts.faces)
            if held > len(data):  # points and corners take bytes; only shapes used over and over come here
                raise ValueError("the file uses its shapes over and over, expected more bytes than points and faces")
            shapes.append(parts)
    if not shapes:
        raise ValueError("expected an IndexedFaceSet with a Coordinate node, found none")
    return _joined(shapes)


def _face_sets(root: Node):
    """IndexedFaceSet nodes and their 4 x 4 transforms, in the order of the file."""
    waiting = [(root, np.eye(4), 0)]
    seen = 0
    while waiting:
        node, transform, depth = waiting.pop()
        seen += 1
        if seen > _MOST_NODES or depth > _DEEPEST:
            raise ValueError("the scene has too many nodes, or a node that holds itself")
        if node.kind == "IndexedFaceSet":
            yield node, transform
            continue
        if node.kind == "Transform":
            transform = transform @ _transform(node)
        waiting += [(child, transform, depth + 1) for _, child in reversed(node.children)]


def _vector(node: Node, name: str, default) -> np.ndarray:
    if name not in node.fields:
        return np.array(default, float)
    values = numbers(node.fields[name], what=name)
    if len(values) != len(default) or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected {len(default)} finite numbers, got {len(values)}")
    return values


def _transform(node: Node) -> np.ndarray:
    """Section 6.52 of ISO/IEC 14772-1: T C R SR S SR^-1 C^-1."""
    centre = _vector(node, "center", (0, 0, 0))
    rotation = _rotation(_vector(node, "rotation", (0, 0, 1, 0)))
    skew = _rotation(_vector(node, "scaleOrientation", (0, 0, 1, 0)))
    linear = rotation @ skew @ np.diag(_vector(node, "scale", (1, 1, 1))) @ skew.T
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = _vector(node, "translation", (0, 0, 0)) + centre - linear @ centre
    return matrix


def _rotation(axis_angle) -> np.ndarray:
    length = np.linalg.norm(axis_angle[:3])
    return rotation_exp(axis_angle[:3] / length * axis_angle[3]) if length > 0 else np.eye(3)


def _rows(node: Node | None, name: str, width: int, what: str) -> np.ndarray | None:
    if node is None or name not in node.fields:
        return None
    values = numbers(node.fields[name], what=what)
    if len(values) % width:
        raise ValueError(f"{what}: expected {width} numbers each, got {len(values)}")
    return values.reshape(-1, width)


def _polygons(words: bytes, what: str):
    """Corners of polygons that end with -1, and how many each has."""
    indices = numbers(words, np.int64, what)
    if len(indices) and indices[-1] != -1:
        indices = np.append(indices, -1)
    if len(indices) and indices.min() < -1:
        raise ValueError(f"{what}: indices count from 0, got {indices.min()}")
    ends = np.flatnonzero(indices == -1)
    sizes = np.diff(ends, prepend=-1) - 1
    return indices[indices != -1], sizes[sizes > 0]


def _shape(node: Node, transform) -> MeshParts | None:
    points = _rows(node.child("coord"), "point", 3, "Coordinate")
    if points is None or not len(points):
        return None
    if not np.array_equal(transform, np.eye(4)):
        points = points @ transform[:3, :3].T + transform[:3, 3]
    corners, sizes = _polygons(node.fields.get("coordIndex", b""), "coordIndex")
    triangle = fan(corners, sizes)
    # "ccw FALSE" says the corners run clockwise; a mirroring transform turns them as well
    if (node.fields.get("ccw", b"TRUE") == b"FALSE") != (np.linalg.det(transform[:3, :3]) < 0):
        triangle = triangle[:, ::-1]
    faces = corners[triangle]
    if len(faces) and faces.max() >= len(points):
        raise ValueError(f"coordIndex: indices must lie in [0, {len(points)}), got {faces.max()}")
    uv = _rows(node.child("texCoord"), "point", 2, "TextureCoordinate")
    uv_faces = None
    if uv is not None and len(uv):
        uv_faces = faces
        if "texCoordIndex" in node.fields:
            own, own_sizes = _polygons(node.fields["texCoordIndex"], "texCoordIndex")
            if len(own) and not np.array_equal(own_sizes, sizes):
                raise ValueError("texCoordIndex: expected as many corners as coordIndex has in each face")
            uv_faces = own[triangle] if len(own) else faces
        if len(uv_faces) and uv_faces.max() >= len(uv):
            raise ValueError(f"texCoordIndex: indices must lie in [0, {len(uv)}), got {uv_faces.max()}")
    return MeshParts(points, faces, uv if uv_faces is not None else None, uv_faces, _colours(node, len(points)))


def _colours(node: Node, count: int):
    values = _rows(node.child("color"), "color", 3, "Color")
    a_vertex = node.fields.get("colorPerVertex", b"TRUE") == b"TRUE" and not node.fields.get("colorIndex", b"").strip()
    if values is None or not a_vertex or len(values) != count:
        return None
    return colours_from_floats(values)


def _joined(shapes: list[MeshParts]) -> MeshParts:
    if len(shapes) == 1:
        return shapes[0]
    start = np.cumsum([0, *(len(s.vertices) for s in shapes)])
    points = np.vstack([s.vertices for s in shapes])
    faces = np.vstack([s.faces + n for s, n in zip(shapes, start)])
    colours = None
    if all(s.colours is not None for s in shapes):
        colours = np.vstack([s.colours for s in shapes])
    uv = uv_faces = None
    textured = [s for s in shapes if s.uv is not None]
    if textured:
        uv = np.vstack([s.uv for s in textured])
        rows, used = [], 0
        for shape in shapes:
            rows.append(np.full_like(shape.faces, -1) if shape.uv is None else shape.uv_faces + used)
            used += 0 if shape.uv is None else len(shape.uv)
        uv_faces = np.vstack(rows)
    return MeshParts(points, faces, uv, uv_faces, colours)


def write_wrl(path, mesh: Mesh, unit: str = "mm") -> None:
    """Write a mesh as one IndexedFaceSet of VRML 2.0; vertices, texture coordinates and faces keep their order.

    Coordinates are written with all their digits, colours with four after the point.

    Parameters
    ----------
    path : str or Path
        Suffix .wrl.
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
    if path.suffix.lower() != ".wrl":
        raise ValueError(f"{path}: expected a name ending in .wrl, got {path.suffix!r}")
    fields = [f"coord Coordinate {{ point [\n{_lines('%r %r %r,', mesh.vertices / millimetres_per(unit))}] }}"]
    fields.append(f"coordIndex [\n{_lines('%d %d %d -1,', mesh.faces)}]")
    if mesh.uv is not None:
        fields.append(f"texCoord TextureCoordinate {{ point [\n{_lines('%r %r,', mesh.uv)}] }}")
        fields.append(f"texCoordIndex [\n{_lines('%d %d %d -1,', mesh.uv_faces)}]")
    if mesh.colours is not None:
        fields.append(f"color Color {{ color [\n{_lines('%.4f %.4f %.4f,', mesh.colours / 255)}] }}")
    body = "\n".join(fields)
    text = f"#VRML V2.0 utf8\n# {unit_comment(unit)}\nShape {{ geometry IndexedFaceSet {{\n{body}\n}} }}\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))


def _lines(pattern: str, array) -> str:
    return ((pattern + "\n") * len(array)) % tuple(array.ravel().tolist())
