"""The sheet on which skins are painted: the mean head unrolled around its long axis.

All heads of the model share one topology, so a colour that was painted at a place of the mean head
belongs to the same place of everybody.  The sheet gives most of its room to the front of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from affect3d.render.raster import Raster, interpolate, rasterize

__all__ = ["HEIGHT", "WIDTH", "Canvas", "canvas_of", "unrolled"]

#: Size of the sheet in texels; about 0.6 mm each at the nose.
WIDTH, HEIGHT = 288, 416
_AXIS = -35.0  # mm: the axis lies this far behind the point between the eyes
_TOP, _BOTTOM = 122.0, -192.0  # mm, the heights that the sheet shows
_FRONT = 1.7  # how much the front is favoured over the back
#: Parts whose colours are painted on the sheet; the others have colours of their own.
SKIN_PARTS = ("face", "head", "neck", "lips", "socket")


@dataclass(frozen=True, eq=False)
class Canvas:
    """What every texel of the sheet shows on the mean head.

    Attributes
    ----------
    uv : (V, 2) float32
        Place of each vertex in texels.
    place : (H, W, 3) float32
        Position on the mean head, mm.
    normal : (H, W, 3) float32
    lips, skin : (H, W) float32
        How much of it belongs to the red of the lips, and to the face, in [0, 1].
    open : (H, W) float32
        How much of the light around reaches it past the rest of the head, in [0, 1].
    raster : Raster
        Which of `faces` each texel shows, and where in it.
    faces : (F, 3) int32
        Triangles of the skin.
    """

    uv: np.ndarray
    place: np.ndarray
    normal: np.ndarray
    lips: np.ndarray
    skin: np.ndarray
    open: np.ndarray
    raster: Raster
    faces: np.ndarray


def unrolled(points) -> np.ndarray:
    """Texels (V, 2) of points (V, 3) of the mean head, mm."""
    angle = np.arctan2(points[:, 0], points[:, 2] - _AXIS)
    across = np.arctan(_FRONT * angle) / np.arctan(_FRONT * np.pi)
    down = (_TOP - points[:, 1]) / (_TOP - _BOTTOM)
    return np.column_stack([(across + 1) / 2 * (WIDTH - 1), down * (HEIGHT - 1)])


@lru_cache(maxsize=2)
def canvas_of(model) -> Canvas:
    """The sheet of a model whose parts are named as the default head's."""
    from affect3d.geometry.triangles import vertex_normals

    mean = np.asarray(model.mean)
    uv = unrolled(mean)
    faces = model.faces[model.part_faces(*SKIN_PARTS)]
    # Triangles that cross the seam at the back of the head would be drawn over the whole sheet.
    faces = faces[np.ptp(uv[faces, 0], axis=1) < WIDTH / 3]
    distance = np.hypot(mean[:, 0], mean[:, 2] - _AXIS)
    raster = rasterize(np.column_stack([uv, 400.0 - distance]), faces, WIDTH, HEIGHT)
    normals = vertex_normals(mean, model.faces)
    lips = model.part_vertices("lips").astype(float)
    lips[model.part_vertices("lips") & model.part_vertices("face")] = 0.5
    values = np.column_stack([mean, normals, lips, _openness(model, mean, normals)])
    drawn = _filled(interpolate(raster, faces, values), raster.covered)
    skin = model.part_vertices("face", "lips", "neck").astype(float)
    skin_sheet = _filled(interpolate(raster, faces, skin[:, None]), raster.covered)[..., 0]
    soft = [cv2.GaussianBlur(layer, (0, 0), 1.2) for layer in (drawn[..., 6], skin_sheet, drawn[..., 7])]
    normal = drawn[..., 3:6] / np.maximum(np.linalg.norm(drawn[..., 3:6], axis=-1, keepdims=True), 1e-6)
    return Canvas(uv.astype(np.float32), drawn[..., :3], normal, *soft, raster, faces)


def _filled(values, covered):
    """Uncovered texels get the value of the nearest covered one."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return np.ascontiguousarray(values[tuple(nearest)])


def _openness(model, mean, normals, directions: int = 48, size: int = 192) -> np.ndarray:
    """(V,) share of the cosine-weighted sky over each vertex that the mean head does not hide."""
    k = np.arange(directions) + 0.5
    z, turn = 1 - 2 * k / directions, np.pi * (1 + 5**0.5) * k  # an even spiral over the sphere
    sky = np.column_stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z])
    seen, total = np.zeros(len(mean)), np.full(len(mean), 1e-9)
    low, span = mean.min(0), float(np.ptp(mean, axis=0).max()) * 1.5
    centre = low + np.ptp(mean, axis=0) / 2
    for way in sky:
        helper = np.eye(3)[np.argmin(np.abs(way))]
        right = np.cross(helper, way)
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(way, right), -way])
        p = (mean - centre) @ frame.T * (size / span)
        points = np.column_stack([p[:, :2] + size / 2, p[:, 2] + size])
        depth = rasterize(points, model.faces, size, size).depth
        x, y = np.clip(np.rint(points[:, :2]).astype(int), 0, size - 1).T
        weight = np.maximum(normals @ way, 0)
        slack = 2.5 * size / span + 1.0  # a vertex must not hide itself
        seen += weight * (points[:, 2] <= depth[y, x] + slack)
        total += weight
    return seen / total
