"""Light that comes into a mouth through its opening."""

from __future__ import annotations

import numpy as np

__all__ = ["between_walls", "opening_light", "opening_ring"]


def opening_light(points, normals, ring) -> np.ndarray:
    """Share of the light of an evenly bright opening that falls on surfaces behind it.

    Lambert's formula for a polygon (Baum, Rushmeier and Winget 1989, equation 3), without occluders; the part of the
    opening below a surface's horizon counts negative, so that surfaces that lie edgewise get a little too little.

    Parameters
    ----------
    points, normals : (V, 3) float arrays
        In the camera's frame (z away from the viewer); mm and unit vectors.
    ring : (N, 3) float array
        Corners of the opening in order, mm.

    Returns
    -------
    (V,) float64 in [0, 1]: 1 is as bright as outside.
    """
    points, normals, ring = (np.asarray(a, np.float64) for a in (points, normals, ring))
    middle = ring.mean(0)
    # the way round is the one in which somebody behind the opening who looks at it sees light
    behind = np.array([[*middle[:2], middle[2] + 10.0]])
    if _form_factor(behind, np.array([[0.0, 0.0, -1.0]]), ring)[0] < 0:
        ring = ring[::-1]
    return np.clip(_form_factor(points, normals, ring), 0, 1)


def _form_factor(points, normals, ring):
    total = np.zeros(len(points))
    to = ring[None] - points[:, None]
    to /= np.maximum(np.linalg.norm(to, axis=2, keepdims=True), 1e-6)
    for k in range(len(ring)):
        a, b = to[:, k], to[:, (k + 1) % len(ring)]
        across = np.cross(a, b)
        sine = np.linalg.norm(across, axis=1)
        angle = np.arctan2(sine, (a * b).sum(1))
        total += angle / np.maximum(sine, 1e-9) * (across * normals).sum(1)
    return total / (2 * np.pi)


def between_walls(light, area: float, walls: float, albedo) -> np.ndarray:
    """What the walls of a cavity throw at each other, (3,): all orders of diffuse reflection, evenly spread.

    Parameters
    ----------
    light : float
        Mean share of outside light on the walls.
    area, walls : float
        Of the opening and of the walls, in one unit.
    albedo : (3,) float array
        Mean reflectance of the walls.
    """
    albedo = np.asarray(albedo, np.float64)
    escapes = area / max(area + walls, 1e-9)
    return light * albedo / (1 - albedo * (1 - escapes))


def opening_ring(upper, lower, corners) -> np.ndarray:
    """Corners of the opening in order: along the upper lip from one corner of the mouth to the other, and back.

    Parameters
    ----------
    upper, lower : (N, 3) float arrays
        Inner edges of the lips, both in the same order.
    corners : (2, 3) float array
        Of the mouth: the one that the lips begin at, then the other.
    """
    return np.concatenate([corners[:1], upper, corners[1:], lower[::-1]])
