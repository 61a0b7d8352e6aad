"""Points and polygons in the plane."""

from __future__ import annotations

import numpy as np

__all__ = ["inside_polygon"]


def inside_polygon(points, polygon) -> np.ndarray:
    """(N,) bool: which points (N, 2) lie inside a simple polygon (P, 2), by the even-odd rule."""
    points, polygon = np.asarray(points, float), np.asarray(polygon, float)
    inside = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
