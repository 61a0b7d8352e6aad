"""A mesh and its texture as OBJ, MTL and PNG side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.image import write_image
from affect3d.io.obj import write_obj
from affect3d.mesh import Mesh

__all__ = ["write_textured_obj"]


def write_textured_obj(path, mesh: Mesh, texture, unit: str = "mm") -> tuple[Path, Path, Path]:
    """Write NAME.obj, NAME.mtl and NAME.png; the OBJ names the material, the material the picture.

    Parameters
    ----------
    path : str or Path
        Suffix .obj; the name must hold no blanks, which MTL readers cut names at.
    mesh : Mesh
        With texture coordinates.
    texture : (H, W, 3) uint8
        sRGB, row 0 at the top.
    unit : {"mm", "cm", "m"}
        Of the numbers in the file.

    Returns
    -------
    tuple of Path
        The three files.

    Raises
    ------
    ValueError
        If the mesh has no texture coordinates, the texture is no picture, or the name does not fit.
    OSError
        If a file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".obj":
        raise ValueError(f"{path}: expected a name ending in .obj, got {path.suffix!r}")
    if any(c.isspace() for c in path.name):
        raise ValueError(f"{path.name}: expected a name without blanks, which material files cannot hold")
    if mesh.uv is None:
        raise ValueError("mesh: expected texture coordinates (uv), it has none")
    texture = np.asarray(texture)
    if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8:
        raise ValueError(f"texture: expected (H, W, 3) uint8, got {texture.dtype} {texture.shape}")
    picture, material = path.with_suffix(".png"), path.with_suffix(".mtl")
    write_image(picture, texture)
    with atomic_path(material) as temporary:
        temporary.write_text(
            f"newmtl {path.stem}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n", encoding="utf-8"
        )
    with atomic_path(path) as temporary:
        write_obj(temporary, mesh, unit)
        first, rest = temporary.read_text(encoding="ascii").split("\n", 1)
        temporary.write_text(
            f"{first}\nmtllib {material.name}\nusemtl {path.stem}\n{rest}", encoding="utf-8", newline="\n"
        )
    return path, material, picture
