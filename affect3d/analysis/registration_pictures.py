"""Pictures of one registration: the scan, the template on it, and how far they are apart."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.procrustes import Similarity, procrustes
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.render.raster import interpolate, rasterize
from affect3d.render.shading import linear_to_srgb

__all__ = ["BEYOND", "SCALE_MM", "distance_colours", "registration_panels"]

#: The error map runs from 0 to so many millimetres.
SCALE_MM = 2.0
#: Colours of the error map at equal steps, sRGB, from dark to bright, so that it also reads in grey.
SCALE_COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
#: Colour of distances beyond the scale.
BEYOND = (220, 60, 40)
_PAPER = 250
_LIGHT = np.array([0.25, 0.35, 0.9]) / np.linalg.norm([0.25, 0.35, 0.9])


def distance_colours(distance) -> np.ndarray:
    """(N, 3) uint8 sRGB of distances (N,) mm on the scale of the error map."""
    distance = np.asarray(distance, float)
    place = np.clip(distance / SCALE_MM, 0, 1) * (len(SCALE_COLOURS) - 1)
    table = np.array(SCALE_COLOURS, float)
    colours = np.stack([np.interp(place, np.arange(len(table)), table[:, k]) for k in range(3)], axis=-1)
    colours[distance > SCALE_MM] = BEYOND
    return np.rint(colours).astype(np.uint8)


def registration_panels(template: Mesh, registered, scan: Mesh, size: int = 260) -> list[np.ndarray]:
    """Three pictures seen from the front: the scan, the template on it, and the distance between them.

    Parameters
    ----------
    template : Mesh
        As it was before; it says where the front is.
    registered : (V, 3) float array
        The template on the scan, mm.
    scan : Mesh
        mm, in any pose.
    size : int
        Side of each picture in pixels.

    Returns
    -------
    list of three (size, size, 3) uint8 arrays
        sRGB.  The last shows each vertex's distance to the scan's surface by `distance_colours`.
    """
    registered = np.asarray(registered, float)
    upright = procrustes(registered, template.vertices, scale=False)
    face, around = upright.apply(registered), _moved(scan, upright)
    distance = nearest_on_mesh(registered, scan.vertices, scan.faces, 12).distance
    middle = (face.min(0) + face.max(0)) / 2
    # a registration that shrank to a knot is shown beside a whole face, not the scan's pores beside the knot
    reach = 0.55 * float(max(np.ptp(points[:, :2], axis=0).max() for points in (face, template.vertices)))
    # the colours of the error map are not shaded: they must be found again on the scale
    return [
        _shaded(around, scan.faces, middle, reach, size),
        _shaded(face, template.faces, middle, reach, size),
        _drawn(face, template.faces, middle, reach, size, lambda r: distance_picture(r, template.faces, distance)),
    ]


def distance_picture(raster, faces, distance) -> np.ndarray:
    """(H, W, 3) uint8 colours of interpolated distances where there is a surface."""
    values = interpolate(raster, faces, distance[:, None])[..., 0]
    return distance_colours(values.ravel()).reshape(*values.shape, 3)


def _moved(mesh: Mesh, transform: Similarity) -> np.ndarray:
    return transform.apply(mesh.vertices)


def _shaded(vertices, faces, middle, reach, size) -> np.ndarray:
    normals = vertex_normals(vertices, faces)

    def colours(raster):
        n = interpolate(raster, faces, normals)
        n /= np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9)
        n *= np.where(n[..., 2:] < 0, -1, 1)  # scans that are turned inside out are shown all the same
        light = 0.12 + 0.75 * np.clip(n @ _LIGHT, 0, 1)
        return np.rint(linear_to_srgb(light[..., None] * np.array([0.80, 0.78, 0.76]))).astype(np.uint8)

    return _drawn(vertices, faces, middle, reach, size, colours)


def _drawn(vertices, faces, middle, reach, size, colours) -> np.ndarray:
    """Parallel projection from the front, at twice the size and averaged down."""
    pixels = 2 * size
    scale = pixels / (2 * reach)
    points = np.empty((len(vertices), 3))
    points[:, 0] = (vertices[:, 0] - middle[0]) * scale + pixels / 2 - 0.5
    points[:, 1] = (middle[1] - vertices[:, 1]) * scale + pixels / 2 - 0.5
    # from far away the rasterizer's perspective is none
    points[:, 2] = 1e5 - vertices[:, 2]
    raster = rasterize(points, faces, pixels, pixels)
    picture = np.where(raster.covered[..., None], colours(raster), np.uint8(_PAPER))
    return np.rint(picture.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))).astype(np.uint8)
