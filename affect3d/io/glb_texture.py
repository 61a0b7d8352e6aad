"""The picture inside a binary glTF file: where its texture coordinates come from, and its bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from affect3d.io.glb_container import Container, open_container
from affect3d.io.mesh_parts import naming, read_whole

__all__ = ["base_texture", "placed_uv", "read_glb_picture", "uv_attribute"]

_TRANSFORM, _WEBP = "KHR_texture_transform", "EXT_texture_webp"


def read_glb_picture(path) -> bytes | Path | None:
    """The picture that colours the meshes of a .glb file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bytes, Path or None
        The encoded picture; a file in the folder of the glb or below, if it names one there; None if there is no
        picture, or if parts of the scene have different ones, which one set of texture coordinates cannot address.

    Raises
    ------
    ValueError
        If the file is damaged.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with naming(path):
        container = open_container(read_whole(path))
        found = {_image(container, primitive) for primitive in _primitives(container)} - {None}
        return _content(container, found.pop(), path.parent) if len(found) == 1 else None


def base_texture(container: Container, primitive) -> dict | None:
    """What the material of a primitive says of its colour's texture (glTF 2.0, textureInfo); None if nothing."""
    if not isinstance(primitive, dict) or "material" not in primitive:
        return None
    material = container.item("materials", primitive["material"])
    metallic, extensions = material.get("pbrMetallicRoughness"), material.get("extensions")
    # the older model of materials names it otherwise; many scanners' exporters still write that
    glossy = extensions.get("KHR_materials_pbrSpecularGlossiness") if isinstance(extensions, dict) else None
    for holder, key in ((metallic, "baseColorTexture"), (glossy, "diffuseTexture"), (material, "emissiveTexture")):
        if isinstance(holder, dict) and isinstance(holder.get(key), dict):
            return holder[key]
    return None


def uv_attribute(texture) -> str:
    """Name of the attribute that holds the texture coordinates of a textureInfo."""
    return f"TEXCOORD_{_transform(texture).get('texCoord', (texture or {}).get('texCoord', 0))}"


def placed_uv(uv, texture) -> np.ndarray:
    """Texture coordinates (V, 2), counted from the top, moved as `KHR_texture_transform` of a textureInfo says."""
    moved = _transform(texture)
    if not moved:
        return uv
    try:
        turn = float(moved.get("rotation", 0.0))
        offset, scale = (np.array(moved.get(k, d), float) for k, d in (("offset", (0, 0)), ("scale", (1, 1))))
        good = offset.shape == scale.shape == (2,) and np.isfinite([turn, *offset, *scale]).all()
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"{_TRANSFORM}: expected two numbers each as 'offset' and 'scale', and one as 'rotation'")
    # the sense in which Khronos' own viewer turns; the matrix printed in the extension's text turns the other way
    c, s = np.cos(turn), np.sin(turn)
    return (uv * scale) @ np.array([[c, -s], [s, c]]) + offset


def _transform(texture) -> dict:
    extensions = texture.get("extensions") if isinstance(texture, dict) else None
    moved = extensions.get(_TRANSFORM) if isinstance(extensions, dict) else None
    return moved if isinstance(moved, dict) else {}


def _primitives(container: Container):
    for mesh in _dicts(container.document.get("meshes")):
        yield from _dicts(mesh.get("primitives"))


def _image(container: Container, primitive) -> int | None:
    """Number of the image of a primitive."""
    info = base_texture(container, primitive)
    if info is None:
        return None
    texture = container.item("textures", info.get("index"))
    extensions = texture.get("extensions")
    webp = extensions.get(_WEBP) if isinstance(extensions, dict) else None
    source = texture.get("source", webp.get("source") if isinstance(webp, dict) else None)
    container.item("images", source)
    return source


def _content(container: Container, index: int, folder: Path) -> bytes | Path | None:
    image = container.item("images", index)
    if "bufferView" in image:
        return container.view_bytes(image["bufferView"], "images")
    uri = image.get("uri")
    if not isinstance(uri, str):
        raise ValueError("images: expected a bufferView or a uri")
    head, comma, text = uri.partition(",")
    if head.startswith("data:"):
        if not (comma and head.endswith(";base64")):
            raise ValueError("images: expected base64 text in its data uri")
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise ValueError("images: its base64 text cannot be read") from None
    from affect3d.io.texture_file import inside

    return inside(folder, uri)


def _dicts(value) -> list[dict]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
