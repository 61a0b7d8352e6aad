"""The common chart of a sequence: a cylinder around the head, and images of surfaces drawn in it."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.ndimage import map_coordinates

__all__ = ["Chart", "chart_around", "draw", "sample"]


@dataclass(frozen=True, eq=False)
class Chart:
    """A cylinder whose axis is parallel to y, unrolled at its mean radius.

    Attributes
    ----------
    centre : (2,) float64
        x and z of the axis, mm.
    radius : float
        mm along an arc of it are mm in the chart.
    low : (2,) float64
        Chart coordinates (arc, y) of the first pixel's centre, mm.
    pixel : float
        mm.
    shape : (rows, columns)
    """

    centre: np.ndarray
    radius: float
    low: np.ndarray
    pixel: float
    shape: tuple[int, int]

    def flatten(self, points) -> np.ndarray:
        """(N, 3): column and row in pixels, and the distance from the axis in mm."""
        x, z = points[:, 0] - self.centre[0], points[:, 2] - self.centre[1]
        plane = np.column_stack([self.radius * np.arctan2(x, z), points[:, 1]])
        return np.column_stack([(plane - self.low) / self.pixel, np.hypot(x, z)])


def chart_around(vertices, pixel: float = 1.0, margin: float = 12.0, depth: float = 70.0) -> Chart:
    """A chart for faces that look along +z.

    Parameters
    ----------
    vertices : (V, 3) float array
        mm, model frame.
    pixel, margin : float
        Size of a pixel and room around the face, mm.
    depth : float
        How far the axis lies behind the foremost vertex, mm; what is behind the axis and near the seam is not seen.
    """
    vertices = np.asarray(vertices, float)
    centre = np.array([np.median(vertices[:, 0]), vertices[:, 2].max() - depth])
    radius = float(np.median(np.hypot(*(vertices[:, [0, 2]] - centre).T)))
    unit = Chart(centre, radius, np.zeros(2), 1.0, (1, 1)).flatten(vertices)[:, :2]
    low, high = unit.min(0) - margin, unit.max(0) + margin
    columns, rows = np.ceil((high - low) / pixel).astype(int) + 1
    return Chart(centre, radius, low, pixel, (int(rows), int(columns)))


def draw(flat, faces, values, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw values at vertices into an image; the outermost surface is seen.

    Parameters
    ----------
    flat : (V, 3) float array
        Column, row and height above the axis, as `Chart.flatten` gives them.
    faces : (F, 3) int array
    values : (V, C) float array

    Returns
    -------
    image : (rows, columns, C) float64
        Zero where nothing was drawn.
    seen : (rows, columns) bool
    """
    height = np.full(shape, -np.inf)
    image = np.zeros((*shape, values.shape[1]))
    _draw(
        np.ascontiguousarray(flat, np.float64), np.ascontiguousarray(faces, np.int32),
        np.ascontiguousarray(values, np.float64), height, image,
    )  # fmt: skip
    return image, np.isfinite(height)


def sample(image, columns, rows, order: int = 1) -> np.ndarray:
    """(N, C) values of `image` (rows, columns, C) between pixels; the border continues outside."""
    where = np.stack([rows, columns])
    return np.stack(
        [map_coordinates(image[..., k], where, order=order, mode="nearest") for k in range(image.shape[-1])], -1
    )


@numba.njit(cache=True, nogil=True)
def _draw(flat, faces, values, height, image):
    rows, columns = height.shape
    for f in range(len(faces)):
        a, b, c = faces[f]
        ax, ay, bx, by, cx, cy = flat[a, 0], flat[a, 1], flat[b, 0], flat[b, 1], flat[c, 0], flat[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        left, right = min(ax, bx, cx), max(ax, bx, cx)
        # a triangle across the seam behind the head would be drawn over the whole face
        if abs(area) < 1e-12 or right - left > 0.5 * columns:
            continue
        for i in range(max(0, int(np.ceil(min(ay, by, cy)))), min(rows - 1, int(max(ay, by, cy))) + 1):
            for j in range(max(0, int(np.ceil(left))), min(columns - 1, int(right)) + 1):
                v = ((j - ax) * (cy - ay) - (i - ay) * (cx - ax)) / area
                w = ((bx - ax) * (i - ay) - (by - ay) * (j - ax)) / area
                u = 1 - v - w
                if u < -1e-9 or v < -1e-9 or w < -1e-9:
                    continue
                here = u * flat[a, 2] + v * flat[b, 2] + w * flat[c, 2]
                if here > height[i, j]:
                    height[i, j] = here
                    for k in range(values.shape[1]):
                        image[i, j, k] = u * values[a, k] + v * values[b, k] + w * values[c, k]
