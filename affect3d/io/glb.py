"""Binary glTF 2.0 (.glb) in: triangles, texture coordinates, colours and named morph targets.

Pictures are read by `affect3d.io.texture_file.read_texture`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.glb_container import Container, open_container
from affect3d.io.glb_texture import base_texture, placed_uv, uv_attribute
from affect3d.io.glb_write import write_glb, write_model_glb
from affect3d.io.mesh_parts import MeshParts, build_mesh, naming, read_whole
from affect3d.io.units import millimetres_per
from affect3d.mesh import Mesh

__all__ = ["parse_glb", "read_glb", "read_morph_targets", "write_glb", "write_model_glb"]

#: Attribute by which `write_glb` says which rows are one vertex that a seam of the texture splits.
VERTEX = "_AFFECT3D_VERTEX"
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


def read_glb(path, unit: str | None = "m") -> Mesh:
    """Read the triangles of a .glb file; vertices and faces keep order and count.

    Meshes come in the order of the scene with their nodes' transforms, primitives one after the other; those that
    share their vertices share them here.  A vertex that glTF splits along a seam of the texture stays split, except
    in files of `write_glb`, which come back with the vertices that were written.

    Parameters
    ----------
    path : str or Path
        Arrays must lie within the file; compression (Draco, meshopt) is not read.
    unit : {"mm", "cm", "m"}
        Of the file; glTF asks for metres, but some programs write what they have.

    Returns
    -------
    Mesh
        In millimetres, +y up.

    Raises
    ------
    ValueError
        If the file is damaged or needs what is not read; the message names the file.
    OSError
        If the file cannot be read.
    """
    with naming(path):
        return build_mesh(parse_glb(read_whole(path)), "m" if unit is None else unit)


def read_morph_targets(path, unit: str | None = "m") -> dict[str, np.ndarray]:
    """Read the morph targets (blendshapes) of a .glb file.

    Parameters
    ----------
    path : str or Path
    unit : {"mm", "cm", "m"}
        Of the file.

    Returns
    -------
    dict of str to (V, 3) float64 array
        Displacements in millimetres of the vertices of `read_glb`, by the names in ``extras.targetNames``, which
        most programs write, or ``target_0``, ``target_1``, ...  Zero where a part of the scene lacks a target.

    Raises
    ------
    ValueError, OSError
        As `read_glb`.
    """
    with naming(path):
        scale = millimetres_per("m" if unit is None else unit)
        targets = _Scene(open_container(read_whole(Path(path)))).targets()
        for name, moved in targets.items():
            if not np.isfinite(moved * scale).all():
                raise ValueError(f"morph target {name!r}: expected finite numbers")
        return {name: moved * scale for name, moved in targets.items()}


def parse_glb(data: bytes) -> MeshParts:
    """What the bytes of a .glb file hold, in the file's unit.

    Raises
    ------
    ValueError
        If the file promises more than it holds, breaks the rules of glTF or needs what is not read.
    """
    return _Scene(open_container(data)).parts()


class _Scene:
    """Vertices of all primitives of the scene one after the other, and what belongs to them."""

    def __init__(self, container: Container):
        self.file = container
        self.points, self.faces, self.uv, self.colours, self.owner, self.moved = [], [], [], [], [], []
        self.count = 0
        self.corners = 0
        self.placed = {}  # vertices that primitives share: where they begin and how many they are
        # a mesh may stand in many places; no honest file repeats one until its points outnumber its bytes
        self.most = max(container.size, 1)
        for mesh, transform in self._meshes():
            self._add(mesh, transform)
        if not self.count:
            raise ValueError("expected a mesh in the scene, found none")

    def _meshes(self):
        document = self.file.document
        if not document.get("scenes") and not document.get("nodes"):
            return [(i, np.eye(4)) for i in range(len(_list(document, "meshes")))]
        if document.get("scenes"):
            roots = _list(self.file.item("scenes", document.get("scene", 0)), "nodes")
        else:
            below = {child for node in _list(document, "nodes") for child in _list(node, "children")}
            roots = [i for i in range(len(document["nodes"])) if i not in below]
        found, seen = [], set()
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        while waiting:
            index, above = waiting.pop()
            node = self.file.item("nodes", index)
            if index in seen:
                raise ValueError(f"nodes: expected a tree, node {index} comes twice")
            seen.add(index)
            transform = above @ _local(node)
            if "mesh" in node:  # the vertices of a mesh with a skin are placed by its joints, not by its node
                found.append((node["mesh"], np.eye(4) if "skin" in node else transform))
            waiting += [(child, transform) for child in reversed(_list(node, "children"))]
        return found

    def _add(self, index, transform) -> None:
        mesh = self.file.item("meshes", index)
        extras = mesh.get("extras")
        names = extras.get("targetNames") if isinstance(extras, dict) else None
        shared = len(self.points)  # only within one node, whose transform is the same
        for primitive in _list(mesh, "primitives"):
            attributes = primitive.get("attributes") if isinstance(primitive, dict) else None
            if not isinstance(attributes, dict) or "POSITION" not in attributes:
                raise ValueError("primitives: expected the attribute POSITION")
            if "KHR_draco_mesh_compression" in str(primitive.get("extensions", "")):
                raise ValueError("primitives: compressed with Draco, which is not read; export without compression")
            texture = base_texture(self.file, primitive)
            key = (shared, str(sorted(attributes.items(), key=str)), str(primitive.get("targets")), str(texture))
            if key not in self.placed:
                start = self.count
                self._vertices(attributes, _list(primitive, "targets"), names, transform, texture)
                self.placed[key] = start, self.count - start
            self._triangles(primitive, *self.placed[key], transform)

    def _vertices(self, attributes, targets, names, transform, texture) -> None:
        read, linear = self.file.array, transform[:3, :3]
        points = read(attributes["POSITION"], 3, what="POSITION").astype(float)
        count = len(points)
        self.count += count
        if self.count > self.most:
            raise ValueError("nodes: the scene repeats its meshes until it has more points than bytes")
        self.points.append(points if np.array_equal(transform, np.eye(4)) else points @ linear.T + transform[:3, 3])
        uv = colours = owner = None
        which = uv_attribute(texture)
        if which in attributes:
            uv = placed_uv(read(attributes[which], 2, count, which).astype(float), texture)
            uv = np.column_stack([uv[:, 0], 1 - uv[:, 1]])  # glTF counts from the top
        if "COLOR_0" in attributes:
            colours = _srgb(read(attributes["COLOR_0"], (3, 4), count, "COLOR_0")[:, :3])
        if VERTEX in attributes:
            owner = np.rint(read(attributes[VERTEX], 1, count, VERTEX)[:, 0])
        moved = {}
        for i, target in enumerate(targets):
            if isinstance(target, dict) and "POSITION" in target:
                name = names[i] if isinstance(names, list) and i < len(names) else None
                name = name if isinstance(name, str) else f"target_{i}"
                if name in moved:
                    name = f"{name}_{i}"
                moved[name] = (target["POSITION"], count, linear)
        self.uv.append(uv)
        self.colours.append(colours)
        self.owner.append(owner)
        self.moved.append(moved)

    def _triangles(self, primitive, start: int, count: int, transform) -> None:
        mode = primitive.get("mode", _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN):
            return  # points and lines
        if "indices" in primitive:
            corner = self.file.array(primitive["indices"], 1, what="indices")[:, 0]
        else:
            corner = np.arange(count)
        self.corners += len(corner)
        if self.corners > 4 * self.most:
            raise ValueError("primitives: the file repeats its triangles until they outnumber its bytes")
        if len(corner) and not (corner.min() >= 0 and corner.max() < count):
            raise ValueError(f"indices: must lie in [0, {count}), got {corner.max()}")
        if mode == _TRIANGLES:
            if len(corner) % 3:
                raise ValueError(f"indices: expected three for each triangle, got {len(corner)}")
            faces = corner.reshape(-1, 3)
        else:
            step = np.arange(max(len(corner) - 2, 0))
            odd = step % 2 if mode == _STRIP else 0
            first = step if mode == _STRIP else np.zeros_like(step)
            faces = np.column_stack([corner[first], corner[step + 1 + odd], corner[step + 2 - odd]])
        if np.linalg.det(transform[:3, :3]) < 0:  # a mirror turns the triangles inside out
            faces = faces[:, ::-1]
        self.faces.append(faces + start)

    def _merged(self) -> np.ndarray | None:
        """The vertex each row belongs to, in files of `write_glb` with seams; else None."""
        if len(self.owner) != 1 or self.owner[0] is None:
            return None
        owner, rows = self.owner[0], np.arange(self.count)
        kept = int(np.count_nonzero(owner == rows))
        if not (kept and (owner[:kept] == rows[:kept]).all() and (owner >= 0).all() and (owner < kept).all()):
            return None
        return owner.astype(np.int64)

    def parts(self) -> MeshParts:
        points = np.vstack(self.points)
        faces = np.vstack(self.faces) if self.faces else np.empty((0, 3), np.int64)
        uv = uv_faces = colours = None
        if any(rows is not None for rows in self.uv):
            uv = np.vstack([np.zeros((len(p), 2)) if u is None else u for p, u in zip(self.points, self.uv)])
            uv_faces = faces
        if all(rows is not None for rows in self.colours):
            colours = np.vstack(self.colours)
        owner = self._merged()
        if owner is not None:
            faces, kept = owner[faces], int(owner.max()) + 1
            points, colours = points[:kept], None if colours is None else colours[:kept]
        return MeshParts(points, faces, uv, uv_faces, colours)

    def targets(self) -> dict[str, np.ndarray]:
        names = list(dict.fromkeys(name for moved in self.moved for name in moved))
        # targets may be sparse, and so larger than the file: what they come to is known before they are made
        if len(names) * self.count * 24 > 64 * self.file.size + (1 << 26):
            raise ValueError(f"morph targets: {len(names)} of {self.count} rows are far more than the file holds")
        owner = self._merged()
        kept = self.count if owner is None else int(owner.max()) + 1
        found = {}
        for name in names:
            rows = []
            for points, moved in zip(self.points, self.moved):
                if name in moved:
                    accessor, count, linear = moved[name]
                    rows.append(self.file.array(accessor, 3, count, f"morph target {name!r}") @ linear.T)
                else:
                    rows.append(np.zeros((len(points), 3)))
            found[name] = np.vstack(rows)[:kept]
        return found


def _list(holder, key: str) -> list:
    value = holder.get(key, []) if isinstance(holder, dict) else None
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list")
    return value


def _numbers(node: dict, key: str, default) -> np.ndarray:
    value = node.get(key, default)
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != np.shape(default) or not np.isfinite(array).all():
        raise ValueError(f"nodes: expected {len(default)} finite numbers as {key!r}")
    return array


def _local(node: dict) -> np.ndarray:
    """Transform of a node into the one above it."""
    if "matrix" in node:
        return _numbers(node, "matrix", np.eye(4).ravel()).reshape(4, 4).T  # glTF writes columns
    x, y, z, w = _numbers(node, "rotation", (0, 0, 0, 1))
    norm = x * x + y * y + z * z + w * w
    if norm == 0:
        raise ValueError("nodes: expected a rotation, got a quaternion of zeros")
    s = 2 / norm
    rotation = np.array([
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * _numbers(node, "scale", (1, 1, 1))
    matrix[:3, 3] = _numbers(node, "translation", (0, 0, 0))
    return matrix


def _srgb(linear) -> np.ndarray:
    if linear.size and not (linear.min() >= 0 and np.isfinite(linear).all()):
        raise ValueError("COLOR_0: expected finite numbers of at least 0")
    linear = np.minimum(linear, 1.0)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
