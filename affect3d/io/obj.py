"""Wavefront OBJ out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.mesh import Mesh

__all__ = ["write_obj"]


def write_obj(path, mesh: Mesh) -> None:
    """Write a mesh as OBJ text; vertices and faces keep their order.

    Colours follow the coordinates as three numbers in [0, 1] (sRGB), which MeshLab, Blender and
    trimesh read.  Coordinates are in millimetres with four digits after the point.

    Parameters
    ----------
    path : str or Path
        Suffix .obj.
    mesh : Mesh

    Raises
    ------
    ValueError
        If the suffix is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".obj":
        raise ValueError(f"{path}: expected a name ending in .obj, got {path.suffix!r}")
    columns = [mesh.vertices]
    pattern = "v %.4f %.4f %.4f"
    if mesh.colours is not None:
        columns.append(mesh.colours / 255)
        pattern += " %.4f %.4f %.4f"
    corners = mesh.faces + 1  # OBJ counts from 1
    face = "f %d %d %d"
    if mesh.uv is not None:
        corners = np.stack([corners, mesh.uv_faces + 1], axis=2).reshape(-1, 6)
        face = "f %d/%d %d/%d %d/%d"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        file.write("# affect3d; millimetres, +x to the subject's left, +y up, +z out of the face\n")
        np.savetxt(file, np.hstack(columns), fmt=pattern)
        if mesh.uv is not None:
            np.savetxt(file, mesh.uv, fmt="vt %.6f %.6f")
        np.savetxt(file, corners, fmt=face)
