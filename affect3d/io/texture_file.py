"""The picture that belongs to a mesh file: beside it, or inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["find_texture", "inside", "read_texture"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MAX_BYTES = 4_000_000


def find_texture(mesh_path) -> Path | None:
    """The texture of a mesh file: the one its material names, else a picture of the same name beside it.

    Only files in the mesh's own folder or below are named: a material file from a stranger may point anywhere.

    Parameters
    ----------
    mesh_path : str or Path

    Returns
    -------
    Path or None
        A file that exists.
    """
    mesh_path = Path(mesh_path)
    folder = mesh_path.parent
    if mesh_path.suffix.lower() == ".obj":
        for library in _words_after(mesh_path, b"mtllib", head=65536):
            material = inside(folder, library)
            for name in _words_after(material, b"map_Kd") if material else []:
                picture = inside(folder, name)
                if picture is not None and picture.suffix.lower() in _SUFFIXES:
                    return picture
    if mesh_path.suffix.lower() == ".ply":  # as MeshLab and photogrammetry programs write it
        for name in _words_after(mesh_path, b"comment", head=65536):
            key, _, name = name.partition(" ")
            picture = inside(folder, name.strip()) if key == "TextureFile" else None
            if picture is not None and picture.suffix.lower() in _SUFFIXES:
                return picture
    for suffix in _SUFFIXES:
        for name in (mesh_path.stem + suffix, mesh_path.stem + suffix.upper()):
            if (folder / name).is_file():
                return folder / name
    return None


def read_texture(mesh_path) -> np.ndarray | None:
    """The picture of a mesh file as (H, W, 3) uint8 sRGB: the one beside it, or the one inside a .glb.

    Parameters
    ----------
    mesh_path : str or Path

    Returns
    -------
    array or None
        None where there is none, and for a .glb whose parts have different pictures.

    Raises
    ------
    ValueError
        If the picture, or the .glb, is damaged; the message names the file.
    OSError
        If it cannot be read.
    """
    from affect3d.io.image import decode_image, read_image

    mesh_path, picture = Path(mesh_path), find_texture(mesh_path)
    if picture is None and mesh_path.suffix.lower() == ".glb":
        from affect3d.io.glb_texture import read_glb_picture

        picture = read_glb_picture(mesh_path)
    if picture is None:
        return None
    if isinstance(picture, bytes):
        return decode_image(picture, f"{mesh_path}: the picture inside").pixels
    return read_image(picture).pixels


def _words_after(path: Path, key: bytes, head: int = _MAX_BYTES) -> list[str]:
    """What stands after a keyword, one entry a line; options such as ``-s 1 1 1`` before the name are passed over."""
    try:
        with open(path, "rb") as file:
            text = file.read(head)
    except OSError:
        return []
    out = []
    for line in text.splitlines():
        parts = line.strip().split(None, 1)
        if len(parts) == 2 and parts[0] == key:
            whole = parts[1].decode("utf-8", "replace").strip()
            out.append(whole)
            if whole.startswith("-"):
                out.append(whole.split()[-1])
    return out


def inside(folder: Path, name: str) -> Path | None:
    """The file that `name` means in a folder or below it; None if there is none, or it lies elsewhere."""
    try:
        path = (folder / name.replace("\\", "/")).resolve()
        return path if path.is_file() and path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None
