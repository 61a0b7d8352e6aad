"""Forward rasterization of triangles: which triangle is seen at each pixel, and where in it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

_THREADS = min(os.cpu_count() or 1, 8)

__all__ = ["Raster", "interpolate", "rasterize", "screen_points"]


@dataclass(frozen=True, eq=False)
class Raster:
    """What is seen at each pixel of a (height, width) picture.

    Attributes
    ----------
    face : (H, W) int32
        Nearest triangle, -1 where there is none.
    weights : (H, W, 3) float32
        Perspective-correct barycentric coordinates, zeros where there is no triangle.
    depth : (H, W) float32
        Distance along the viewing axis in the unit of the input, infinite where there is no triangle.
    """

    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """(H, W) bool"""
        return self.face >= 0


def screen_points(camera, vertices) -> np.ndarray:
    """Vertices (V, 3) mm -> (V, 3): x and y in pixels, depth along the viewing axis in mm."""
    p = camera.to_camera(vertices)
    z = np.where(p[:, 2] > 1e-6, p[:, 2], 1e-6)
    out = np.empty_like(p)
    out[:, :2] = camera.focal * p[:, :2] / z[:, None] + camera.centre
    out[:, 2] = p[:, 2]
    return out


def rasterize(points, faces, width: int, height: int, cull: bool = False, near: float = 1e-3) -> Raster:
    """Draw triangles with a depth buffer.

    Parameters
    ----------
    points : (V, 3) float array
        x, y in pixels (pixel (0, 0) is the centre of the top-left pixel) and depth, as `screen_points` gives.
    faces : (F, 3) int array
        Counter-clockwise seen from outside (clockwise on the screen, whose y points down).
    width, height : int
        Size of the picture in pixels.
    cull : bool
        Leave out triangles seen from behind.
    near : float
        Triangles with a vertex nearer than this are left out.

    Returns
    -------
    Raster
        The same bits for the same input.  Edges shared by two triangles are drawn once (top-left rule).

    Raises
    ------
    ValueError
        If the points are not finite or an index names no point.
    """
    points = np.ascontiguousarray(points, np.float64)
    faces = np.ascontiguousarray(faces, np.int32)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points: expected shape (V, 3), got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("points: expected finite numbers")
    if faces.size and (faces.min() < 0 or faces.max() >= len(points)):
        raise ValueError(f"faces: indices must lie in [0, {len(points)})")
    if width < 1 or height < 1:
        raise ValueError(f"width, height: expected positive numbers of pixels, got {width}, {height}")
    face = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    _in_bands(height, lambda row0, row1: _fill(points, faces, cull, near, face, weights, depth, row0, row1))
    return Raster(face, weights, depth)


def interpolate(raster: Raster, faces, values) -> np.ndarray:
    """Per-vertex `values` (V, D) at every pixel, (H, W, D) float32; zeros where there is no triangle."""
    values = np.ascontiguousarray(np.asarray(values, np.float32).reshape(len(values), -1))
    faces = np.ascontiguousarray(faces, np.int32)
    height, width = raster.face.shape
    out = np.zeros((height, width, values.shape[1]), np.float32)
    _in_bands(height, lambda row0, row1: _interpolate(raster.face, raster.weights, faces, values, out, row0, row1))
    return out


def _in_bands(height, work) -> None:
    """Call ``work(row0, row1)`` on bands of rows, each in one thread: no races, one result."""
    bands = min(2 * _THREADS, height)
    edges = [height * k // bands for k in range(bands + 1)]
    if bands < 4:
        work(0, height)
        return
    with ThreadPoolExecutor(_THREADS) as pool:  # a pool of its own, so that forked processes have one too
        list(pool.map(work, edges[:-1], edges[1:]))


@numba.njit(cache=True, nogil=True)
def _fill(points, faces, cull, near, face, weights, depth, row0, row1):  # pragma: no cover - compiled
    width = face.shape[1]
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        if z0 < near or z1 < near or z2 < near:
            continue
        y0, y1, y2 = points[a, 1], points[b, 1], points[c, 1]
        top = max(int(np.ceil(min(y0, y1, y2))), row0)
        bottom = min(int(np.floor(max(y0, y1, y2))), row1 - 1)
        if top > bottom:
            continue
        x0, x1, x2 = points[a, 0], points[b, 0], points[c, 0]
        left = max(int(np.ceil(min(x0, x1, x2))), 0)
        right = min(int(np.floor(max(x0, x1, x2))), width - 1)
        if left > right:
            continue
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area == 0.0 or (cull and area > 0.0):
            continue
        sign = 1.0 if area > 0.0 else -1.0
        # Edge functions, positive inside; an edge of value 0 counts if it is a top or left edge.
        ax, ay = sign * (x2 - x1), sign * (y2 - y1)
        bx, by = sign * (x0 - x2), sign * (y0 - y2)
        cx, cy = sign * (x1 - x0), sign * (y1 - y0)
        ta = ay < 0.0 or (ay == 0.0 and ax > 0.0)
        tb = by < 0.0 or (by == 0.0 and bx > 0.0)
        tc = cy < 0.0 or (cy == 0.0 and cx > 0.0)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wa = ax * (y - y1) - ay * (x - x1)
                if wa < 0.0 or (wa == 0.0 and not ta):
                    continue
                wb = bx * (y - y2) - by * (x - x2)
                if wb < 0.0 or (wb == 0.0 and not tb):
                    continue
                wc = cx * (y - y0) - cy * (x - x0)
                if wc < 0.0 or (wc == 0.0 and not tc):
                    continue
                # 1/z is linear on the screen; dividing by it makes the coordinates perspective-correct.
                pa, pb, pc = wa / z0, wb / z1, wc / z2
                total = pa + pb + pc
                z = (wa + wb + wc) / total
                if z < depth[y, x]:
                    depth[y, x] = z
                    face[y, x] = f
                    weights[y, x, 0] = pa / total
                    weights[y, x, 1] = pb / total
                    weights[y, x, 2] = pc / total


@numba.njit(cache=True, nogil=True)
def _interpolate(face, weights, faces, values, out, row0, row1):  # pragma: no cover - compiled
    width, channels = face.shape[1], values.shape[1]
    for y in range(row0, row1):
        for x in range(width):
            f = face[y, x]
            if f >= 0:
                for k in range(channels):
                    out[y, x, k] = (
                        weights[y, x, 0] * values[faces[f, 0], k]
                        + weights[y, x, 1] * values[faces[f, 1], k]
                        + weights[y, x, 2] * values[faces[f, 2], k]
                    )
