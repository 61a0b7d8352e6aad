"""Meshes, landmarks and pictures to and from menpo, whose types menpo3d uses too."""

from __future__ import annotations

import numpy as np

from affect3d.bridges.common import in_millimetres, in_unit, one_uv_a_vertex, picture, require
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh

__all__ = ["from_menpo", "image_from_menpo", "image_to_menpo", "landmarks_from_menpo", "landmarks_to_menpo", "to_menpo"]


def to_menpo(mesh: Mesh, unit: str = "mm", texture=None, seams: str = "drop"):
    """A mesh as ``menpo.shape.TriMesh``; vertices and triangles keep their order.

    Parameters
    ----------
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the result; menpo stores none.
    texture : (H, W, 3) uint8 array, optional
        Gives a ``TexturedTriMesh``; needs texture coordinates.  Without it a mesh with colours gives a
        ``ColouredTriMesh``.
    seams : {"drop", "split"}
        menpo knows one texture coordinate a vertex.  With a texture, vertices that have several are refused
        ("drop") or "split": their copies follow after the last vertex.

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If an argument is another, or `texture` is given for a mesh without texture coordinates.
    """
    points = in_unit(mesh.vertices, unit)
    if texture is not None:
        texture = picture(texture, "texture")
        vertex, faces, uv = one_uv_a_vertex(mesh, seams)
        if mesh.uv is None:
            raise ValueError("texture: given for a mesh without texture coordinates")
        if uv is None:
            raise ValueError("seams: vertices have several texture coordinates, expected 'split' with a texture")
        shape = require("menpo.shape")
        return shape.TexturedTriMesh(points[vertex], uv, image_to_menpo(texture), trilist=faces)
    one_uv_a_vertex(mesh, seams)  # for its check of the word
    shape, faces = require("menpo.shape"), np.array(mesh.faces)
    if mesh.colours is not None:
        return shape.ColouredTriMesh(points, trilist=faces, colours=mesh.colours / 255)
    return shape.TriMesh(points, trilist=faces)


def from_menpo(mesh, unit: str) -> Mesh:
    """A ``menpo.shape.TriMesh`` as a mesh in millimetres; vertices and triangles keep their order.

    Parameters
    ----------
    mesh : menpo.shape.TriMesh
        Also the coloured and the textured one; the texture itself is `image_from_menpo(mesh.texture)`.
    unit : {"mm", "cm", "m"}
        Of its points.

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If `mesh` is something else, not in space, `unit` another word, or numbers are not finite.
    """
    shape = require("menpo.shape")
    if not isinstance(mesh, shape.TriMesh):
        raise ValueError(f"mesh: expected a menpo.shape.TriMesh, got {type(mesh).__name__}")
    uv = colours = None
    if isinstance(mesh, shape.TexturedTriMesh):
        uv = np.array(mesh.tcoords.points, float)
    elif isinstance(mesh, shape.ColouredTriMesh):
        colours = np.rint(np.clip(np.asarray(mesh.colours, float), 0, 1) * 255).astype(np.uint8)
    return Mesh(in_millimetres(mesh.points, unit), np.array(mesh.trilist), uv=uv, colours=colours)


def landmarks_to_menpo(landmarks: Landmarks, unit: str | None = None):
    """Landmarks as ``menpo.shape.PointCloud``; missing ones stay NaN.

    menpo counts the axes of a picture from the top: its points are (y, x) there, ours (x, y).

    Parameters
    ----------
    landmarks : Landmarks
    unit : {"mm", "cm", "m"}, optional
        Of the result for landmarks in space, millimetres if left out; pixels stay pixels.

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If `unit` is another word or given for pixels.
    """
    if landmarks.unit == "px":
        if unit is not None:
            raise ValueError(f"unit: expected none for landmarks in pixels, got {unit!r}")
        points = np.array(landmarks.points)
        points = points[:, ::-1].copy() if points.shape[1] == 2 else points
    else:
        points = in_unit(landmarks.points, "mm" if unit is None else unit)
    return require("menpo.shape").PointCloud(points)


def landmarks_from_menpo(cloud, scheme: str, unit: str) -> Landmarks:
    """A ``menpo.shape.PointCloud`` as landmarks.

    Parameters
    ----------
    cloud : menpo.shape.PointCloud
        In the plane as (y, x) in pixels, or in space.
    scheme : {"ibug68", "mediapipe478"}
    unit : {"px", "mm", "cm", "m"}
        Of its points; lengths become millimetres.

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If `cloud` is something else, has another number of points, or `scheme` or `unit` is another word.
    """
    if not isinstance(cloud, require("menpo.shape").PointCloud):
        raise ValueError(f"cloud: expected a menpo.shape.PointCloud, got {type(cloud).__name__}")
    points = np.array(cloud.points, float)
    if unit == "px":
        return Landmarks(scheme, points[:, ::-1] if points.shape[1] == 2 else points, "px")
    if points.shape[1] != 3:
        raise ValueError(f"unit: expected 'px' for points in the plane, got {unit!r}")
    return Landmarks(scheme, in_millimetres(points, unit), "mm")


def image_to_menpo(pixels):
    """A picture (H, W, 3) of uint8, sRGB, as ``menpo.image.Image``: (3, H, W) floats in [0, 1].

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If the shape or the type is another.
    """
    pixels = picture(pixels)
    return require("menpo.image").Image(np.ascontiguousarray(np.moveaxis(pixels, 2, 0) / 255))


def image_from_menpo(image) -> np.ndarray:
    """A ``menpo.image.Image`` of one or three channels as (H, W, 3) uint8.

    Floats are taken to lie in [0, 1], as menpo's do; what lies outside is clipped.

    Raises
    ------
    ImportError
        If menpo is not installed; the message says how it is.
    ValueError
        If `image` is something else, has other channels, or numbers that are not finite.
    """
    if not isinstance(image, require("menpo.image").Image):
        raise ValueError(f"image: expected a menpo.image.Image, got {type(image).__name__}")
    pixels = np.asarray(image.pixels)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(f"image: expected pixels (1 or 3, H, W), got {pixels.shape}")
    if pixels.dtype != np.uint8:
        if not np.isfinite(pixels).all():
            raise ValueError("image: expected finite numbers")
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    pixels = np.moveaxis(pixels, 0, 2)
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
