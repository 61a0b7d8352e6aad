"""Binary glTF 2.0 (.glb) out: a mesh with named morph targets, as viewers, Blender and game engines open it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.io.atomic import atomic_path
from affect3d.io.glb_container import pack_container
from affect3d.io.mesh_parts import split_seams
from affect3d.mesh import Mesh
from affect3d.model.morphable import MorphableModel

__all__ = ["glb_document", "glb_path", "save_glb", "write_glb", "write_model_glb"]

_METRES = 0.001
_ARRAY, _INDICES = 34962, 34963  # what a bufferView is for


def write_glb(path, mesh: Mesh, morph_targets: dict[str, np.ndarray] | None = None, texture=None) -> None:
    """Write a mesh as .glb: in metres, +y up, with normals; vertices and faces keep their order.

    glTF knows one texture coordinate a vertex.  Where a seam of the texture gives a vertex several, it comes again
    after the last vertex, once for each further one; `read_glb` puts them together again.  Colours are stored
    linear, as glTF asks, in 16 bits so that every sRGB value comes back.  Coordinates are rounded to float32.

    Parameters
    ----------
    path : str or Path
        Suffix .glb.
    mesh : Mesh
        With at least one vertex.
    morph_targets : dict of str to (V, 3) array, optional
        Displacements in mm at full intensity; the names are stored as ``extras.targetNames``.
    texture : (H, W, 3) uint8, optional
        sRGB, row 0 at the top; stored inside as PNG.  The mesh needs texture coordinates then, and vertex colours,
        which viewers multiply with it, are left out.

    Raises
    ------
    ValueError
        If the suffix is another, the mesh is empty, a morph target has another shape or numbers that are not
        finite, or there is a texture without coordinates or one that is no picture.
    OSError
        If the file cannot be written.

    References
    ----------
    Khronos Group, "glTF 2.0 Specification", sections 3.6, 3.7 and 4.
    """
    path = glb_path(path)
    document, arrays = glb_document(path.stem, mesh, morph_targets, texture)
    save_glb(path, document, arrays)


def glb_path(path) -> Path:
    """`path`; ValueError unless its suffix is .glb."""
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise ValueError(f"{path}: expected a name ending in .glb, got {path.suffix!r}")
    return path


def glb_document(name: str, mesh: Mesh, morph_targets=None, texture=None):
    """The glTF document of `write_glb`, one node and one mesh called `name`, and the arrays it refers to.

    Further arrays may be added before both go to `save_glb`.
    """
    if not len(mesh.vertices):
        raise ValueError("mesh: glTF holds no mesh without vertices")
    targets = _targets(morph_targets or {}, len(mesh.vertices))
    picture = None if texture is None else _png(texture, mesh)
    vertex, faces, uv = np.arange(len(mesh.vertices)), mesh.faces, None
    if mesh.uv is not None:
        vertex, coordinate, faces = split_seams(mesh)
        uv = np.vstack([mesh.uv, np.zeros((1, 2))])[coordinate]  # -1, in no face: the last row
    arrays = _Arrays()
    attributes = {
        "POSITION": arrays.add(_floats(mesh.vertices[vertex] * _METRES, "vertices"), "VEC3", bounds=True),
        "NORMAL": arrays.add(_normals(mesh)[vertex].astype("<f4"), "VEC3"),
    }
    if uv is not None:
        uv = np.column_stack([uv[:, 0], 1 - uv[:, 1]])  # glTF counts from the top
        attributes["TEXCOORD_0"] = arrays.add(_floats(uv, "uv"), "VEC2")
    if mesh.colours is not None and picture is None:
        attributes["COLOR_0"] = arrays.add(_linear(mesh.colours)[vertex], "VEC4", normalized=True)
    if len(vertex) > len(mesh.vertices) and len(mesh.vertices) < 1 << 24:  # float32 counts to 2**24
        attributes["_AFFECT3D_VERTEX"] = arrays.add(vertex.astype("<f4"), "SCALAR")
    primitive = {"attributes": attributes, "mode": 4, "material": 0}
    if len(faces):
        small = len(vertex) < 65535  # the largest number of each type is set aside by glTF
        primitive["indices"] = arrays.add(faces.astype("<u2" if small else "<u4").ravel(), "SCALAR", use=_INDICES)
    else:
        primitive["mode"] = 0  # points
    entry = {"name": name, "primitives": [primitive]}
    if targets:
        primitive["targets"] = [
            {"POSITION": arrays.add(_floats(moved[vertex] * _METRES, shape), "VEC3", bounds=True)}
            for shape, moved in targets.items()
        ]
        entry |= {"weights": [0.0] * len(targets), "extras": {"targetNames": list(targets)}}
    # without it viewers show metal
    surface = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    images = {}
    if picture is not None:
        surface["baseColorTexture"] = {"index": 0}
        images = {
            "textures": [{"source": 0}],
            "images": [{"bufferView": arrays.add_bytes(picture), "mimeType": "image/png", "name": name}],
        }
    document = {
        "asset": {"version": "2.0", "generator": "affect3d"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [entry],
        "materials": [{"pbrMetallicRoughness": surface, "doubleSided": True}],
        **images,
    }
    return document, arrays


def save_glb(path, document: dict, arrays) -> None:
    """Write a document and its arrays as one file."""
    document = {
        **document, "accessors": arrays.accessors, "bufferViews": arrays.views,
        "buffers": [{"byteLength": len(arrays.data)}],
    }  # fmt: skip
    with atomic_path(path) as temporary:
        temporary.write_bytes(pack_container(document, bytes(arrays.data)))


def write_model_glb(path, model: MorphableModel, identity=None) -> None:
    """Write a model's head as .glb with its expressions as named morph targets (weights in [0, 1]).

    Parameters
    ----------
    path : str or Path
        Suffix .glb.
    model : MorphableModel
    identity : (<=K,) float array, optional
        Whose head, in standard deviations; the mean if left out.

    Raises
    ------
    ValueError, OSError
        As `write_glb` and `MorphableModel.instance`.
    """
    write_glb(path, model.mesh(identity), dict(zip(model.expression_names, model.expression)))


class _Arrays:
    """Bytes, bufferViews and accessors as they grow."""

    def __init__(self):
        self.data, self.views, self.accessors = bytearray(), [], []

    def add(self, array, kind: str, use: int | None = _ARRAY, bounds: bool = False, normalized: bool = False) -> int:
        array = np.ascontiguousarray(array)
        self.data += b"\0" * (-len(self.data) % 4)
        component = {"f4": 5126, "u2": 5123, "u4": 5125}[array.dtype.str[1:]]
        accessor = {"bufferView": len(self.views), "componentType": component, "count": len(array), "type": kind}
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        if normalized:
            accessor["normalized"] = True
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        if use is not None:  # arrays that are no vertices or indices, as those of animations
            view["target"] = use
        self.views.append(view)
        self.accessors.append(accessor)
        self.data += array.tobytes()
        return len(self.accessors) - 1

    def add_bytes(self, content: bytes) -> int:
        """A bufferView of its own, without an accessor."""
        self.data += b"\0" * (-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)})
        self.data += content
        return len(self.views) - 1


def _png(texture, mesh: Mesh) -> bytes:
    from PIL import Image

    texture = np.asarray(texture)
    if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8 or not texture.size:
        raise ValueError(f"texture: expected (H, W, 3) uint8, got {texture.dtype} {texture.shape}")
    if mesh.uv is None:
        raise ValueError("mesh: expected texture coordinates (uv) to go with the texture, it has none")
    out = io.BytesIO()
    Image.fromarray(texture).save(out, format="PNG")
    return out.getvalue()


def _targets(given, count: int) -> dict[str, np.ndarray]:
    targets = {}
    for name, moved in given.items():
        if not isinstance(name, str):
            raise ValueError(f"morph_targets: expected names as keys, got {name!r}")
        moved = np.asarray(moved, float)
        if moved.shape != (count, 3):
            raise ValueError(f"morph_targets[{name!r}]: expected shape ({count}, 3), got {moved.shape}")
        targets[name] = moved
    return targets


def _floats(array, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = np.asarray(array).astype("<f4")
    if not np.isfinite(small).all():
        raise ValueError(f"{name}: expected finite numbers that fit into float32")
    return small


def _normals(mesh: Mesh) -> np.ndarray:
    normals = vertex_normals(mesh.vertices, mesh.faces)
    normals[~(np.linalg.norm(normals, axis=1) > 0.5)] = (0.0, 0.0, 1.0)  # glTF asks for unit length everywhere
    return normals


def _linear(colours) -> np.ndarray:
    encoded = colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    opaque = np.ones((len(colours), 1))
    return np.rint(np.hstack([linear, opaque]) * 65535).astype("<u2")
