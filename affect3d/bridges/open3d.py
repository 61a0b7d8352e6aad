"""Meshes, points and pictures to and from open3d (its legacy ``open3d.geometry`` types)."""

from __future__ import annotations

import numpy as np

from affect3d.bridges.common import in_millimetres, in_unit, picture, require
from affect3d.mesh import Mesh

__all__ = ["from_open3d", "image_from_open3d", "image_to_open3d", "points_from_open3d", "points_to_open3d", "to_open3d"]


def to_open3d(mesh: Mesh, unit: str = "mm"):
    """A mesh as ``open3d.geometry.TriangleMesh``; vertices and triangles keep their order.

    Texture coordinates become ``triangle_uvs``, one for each corner, so that seams are kept.

    Parameters
    ----------
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the result; open3d stores none.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If `unit` is another word.
    """
    points = in_unit(mesh.vertices, unit)
    open3d = require("open3d")
    vector = open3d.utility.Vector3dVector
    result = open3d.geometry.TriangleMesh(vector(points), open3d.utility.Vector3iVector(np.array(mesh.faces)))
    if mesh.colours is not None:
        result.vertex_colors = vector(mesh.colours / 255)
    if mesh.uv is not None:
        result.triangle_uvs = open3d.utility.Vector2dVector(mesh.uv[mesh.uv_faces].reshape(-1, 2))
    return result


def from_open3d(mesh, unit: str) -> Mesh:
    """An ``open3d.geometry.TriangleMesh`` as a mesh in millimetres; vertices and triangles keep their order.

    Parameters
    ----------
    mesh : open3d.geometry.TriangleMesh
    unit : {"mm", "cm", "m"}
        Of its vertices.

    Returns
    -------
    Mesh
        With one row of `uv` for each corner if there are ``triangle_uvs``.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If `mesh` is something else, `unit` another word, or numbers are not finite.
    """
    open3d = require("open3d")
    if not isinstance(mesh, open3d.geometry.TriangleMesh):
        raise ValueError(f"mesh: expected an open3d.geometry.TriangleMesh, got {type(mesh).__name__}")
    faces = np.array(mesh.triangles)
    uv = uv_faces = colours = None
    if mesh.has_triangle_uvs():
        uv, uv_faces = np.array(mesh.triangle_uvs), np.arange(faces.size).reshape(-1, 3)
    if mesh.has_vertex_colors():
        colours = np.rint(np.clip(np.array(mesh.vertex_colors), 0, 1) * 255).astype(np.uint8)
    return Mesh(in_millimetres(np.array(mesh.vertices), unit), faces, uv, uv_faces, colours)


def points_to_open3d(points, unit: str = "mm"):
    """Points in millimetres, (N, 3), such as landmarks, as ``open3d.geometry.PointCloud``; missing ones stay NaN.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If the shape or the unit is another.
    """
    points = in_unit(points, unit)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points: expected shape (N, 3), got {points.shape}")
    open3d = require("open3d")
    return open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))


def points_from_open3d(cloud, unit: str) -> np.ndarray:
    """The points of an ``open3d.geometry.PointCloud`` in millimetres, (N, 3), in their order.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If `cloud` is something else or `unit` another word.
    """
    open3d = require("open3d")
    if not isinstance(cloud, open3d.geometry.PointCloud):
        raise ValueError(f"cloud: expected an open3d.geometry.PointCloud, got {type(cloud).__name__}")
    return in_millimetres(np.array(cloud.points).reshape(-1, 3), unit)


def image_to_open3d(pixels):
    """A picture (H, W, 3) of uint8, sRGB, as ``open3d.geometry.Image``.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If the shape or the type is another.
    """
    pixels = np.ascontiguousarray(picture(pixels))
    return require("open3d").geometry.Image(pixels)


def image_from_open3d(image) -> np.ndarray:
    """An ``open3d.geometry.Image`` of three bytes a pixel as (H, W, 3) uint8.

    Raises
    ------
    ImportError
        If open3d is not installed; the message says how it is.
    ValueError
        If `image` is something else, or grey, or of floats.
    """
    open3d = require("open3d")
    if not isinstance(image, open3d.geometry.Image):
        raise ValueError(f"image: expected an open3d.geometry.Image, got {type(image).__name__}")
    return np.array(picture(np.asarray(image), "image"))
