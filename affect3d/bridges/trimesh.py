"""Meshes to and from trimesh."""

from __future__ import annotations

import numpy as np

from affect3d.bridges.common import in_millimetres, in_unit, one_uv_a_vertex, require
from affect3d.io.units import MILLIMETRES
from affect3d.mesh import Mesh

__all__ = ["from_trimesh", "to_trimesh"]

_WORDS = {"mm": "millimeters", "cm": "centimeters", "m": "meters"}
_UNITS = {spelling: unit for unit, word in _WORDS.items() for spelling in (unit, word, word[:-1])}


def to_trimesh(mesh: Mesh, unit: str = "mm", seams: str = "drop"):
    """A mesh as ``trimesh.Trimesh``, unprocessed: every vertex and triangle in its place.

    Parameters
    ----------
    mesh : Mesh
    unit : {"mm", "cm", "m"}
        Of the result, which states it as ``units``.
    seams : {"drop", "split"}
        trimesh knows one texture coordinate a vertex.  Where a vertex has several, "drop" all of them, or "split"
        such vertices: their copies follow after the last vertex.

    Returns
    -------
    trimesh.Trimesh
        With texture coordinates if there are some, else with colours if there are some.

    Raises
    ------
    ImportError
        If trimesh is not installed; the message says how it is.
    ValueError
        If `unit` or `seams` is another word.
    """
    vertex, faces, uv = one_uv_a_vertex(mesh, seams)
    points = in_unit(mesh.vertices, unit)[vertex]
    trimesh = require("trimesh")
    result = trimesh.Trimesh(points, faces, process=False, validate=False)
    result.units = _WORDS[unit]
    if uv is not None:
        result.visual = trimesh.visual.TextureVisuals(uv=uv)
    elif mesh.colours is not None:
        result.visual = trimesh.visual.ColorVisuals(result, vertex_colors=np.array(mesh.colours)[vertex])
    return result


def from_trimesh(mesh, unit: str | None = None) -> Mesh:
    """A ``trimesh.Trimesh`` as a mesh in millimetres; vertices and triangles keep their order.

    Parameters
    ----------
    mesh : trimesh.Trimesh
    unit : {"mm", "cm", "m"}, optional
        Of its vertices; may be left out if its ``units`` says so.

    Returns
    -------
    Mesh

    Raises
    ------
    ImportError
        If trimesh is not installed; the message says how it is.
    ValueError
        If `mesh` is something else, its unit is not known, or numbers are not finite.
    """
    trimesh = require("trimesh")
    if not isinstance(mesh, trimesh.Trimesh):
        raise ValueError(f"mesh: expected a trimesh.Trimesh, got {type(mesh).__name__}")
    if unit is None:
        unit = _UNITS.get(mesh.units)
    if unit is None:
        raise ValueError(f"unit: the mesh states {mesh.units!r}, expected one of {', '.join(map(repr, MILLIMETRES))}")
    uv = getattr(mesh.visual, "uv", None)
    uv = uv if uv is not None and np.shape(uv) == (len(mesh.vertices), 2) else None
    colours = mesh.visual.vertex_colors[:, :3] if mesh.visual.kind == "vertex" else None
    return Mesh(in_millimetres(mesh.vertices, unit), np.array(mesh.faces), uv=uv, colours=colours)
