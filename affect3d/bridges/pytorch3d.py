"""Meshes and pictures to and from PyTorch3D."""

from __future__ import annotations

import numpy as np

from affect3d.bridges.common import in_millimetres, in_unit, picture, require
from affect3d.mesh import Mesh

__all__ = ["from_pytorch3d", "to_pytorch3d"]


def to_pytorch3d(meshes, unit: str = "m", texture=None, device: str = "cpu"):
    """One or more meshes as a batch, ``pytorch3d.structures.Meshes``; vertices and triangles keep their order.

    Coordinates stay in the model frame (+x to the subject's left, +y up, +z out of the face); float32, as
    PyTorch3D computes.

    Parameters
    ----------
    meshes : Mesh or sequence of Mesh
    unit : {"mm", "cm", "m"}
        Of the result; PyTorch3D stores none, its cameras suit metres.
    texture : (H, W, 3) uint8 array, optional
        One picture for all; needs texture coordinates, gives ``TexturesUV`` (seams are kept).  Without it meshes
        that all have colours give ``TexturesVertex``.
    device : str

    Raises
    ------
    ImportError
        If PyTorch3D or torch is not installed; the message says how they are.
    ValueError
        If an argument is another, or `texture` is given for a mesh without texture coordinates.
    """
    meshes = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    if not meshes or not all(isinstance(mesh, Mesh) for mesh in meshes):
        raise ValueError("meshes: expected a Mesh or a sequence of some")
    points = [in_unit(mesh.vertices, unit) for mesh in meshes]
    if texture is not None:
        texture = picture(texture, "texture")
        if any(mesh.uv is None for mesh in meshes):
            raise ValueError("texture: given for a mesh without texture coordinates")
    structures, torch = require("pytorch3d.structures"), require("torch")

    def floats(array):
        return torch.tensor(np.asarray(array, np.float32), device=device)

    def indices(array):
        return torch.tensor(np.asarray(array, np.int64), device=device)

    textures = None
    if texture is not None:
        textures = require("pytorch3d.renderer").TexturesUV(
            maps=[floats(texture / 255) for _ in meshes],
            faces_uvs=[indices(mesh.uv_faces) for mesh in meshes],
            verts_uvs=[floats(mesh.uv) for mesh in meshes],
        )
    elif all(mesh.colours is not None for mesh in meshes):
        textures = require("pytorch3d.renderer").TexturesVertex([floats(mesh.colours / 255) for mesh in meshes])
    return structures.Meshes(
        verts=[floats(p) for p in points], faces=[indices(mesh.faces) for mesh in meshes], textures=textures
    )


def from_pytorch3d(meshes, unit: str) -> list[Mesh]:
    """The meshes of a batch, in millimetres; vertices and triangles keep their order.

    Parameters
    ----------
    meshes : pytorch3d.structures.Meshes
    unit : {"mm", "cm", "m"}
        Of its vertices.

    Returns
    -------
    list of Mesh
        With the texture coordinates of ``TexturesUV`` or the colours of ``TexturesVertex``.

    Raises
    ------
    ImportError
        If PyTorch3D is not installed; the message says how it is.
    ValueError
        If `meshes` is something else, `unit` another word, or numbers are not finite.
    """
    structures, renderer = require("pytorch3d.structures"), require("pytorch3d.renderer")
    if not isinstance(meshes, structures.Meshes):
        raise ValueError(f"meshes: expected a pytorch3d.structures.Meshes, got {type(meshes).__name__}")
    textures, found = meshes.textures, []
    for i, (verts, faces) in enumerate(zip(meshes.verts_list(), meshes.faces_list())):
        extra = {}
        if isinstance(textures, renderer.TexturesUV):
            extra = {"uv": _array(textures.verts_uvs_list()[i]), "uv_faces": _array(textures.faces_uvs_list()[i])}
        elif isinstance(textures, renderer.TexturesVertex):
            colours = _array(textures.verts_features_list()[i])
            if colours.ndim == 2 and colours.shape[1] == 3:  # other widths are features, not colours
                extra = {"colours": np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)}
        found.append(Mesh(in_millimetres(_array(verts), unit), _array(faces), **extra))
    return found


def _array(tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
