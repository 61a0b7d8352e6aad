"""Points of a model's skin at which a picture is compared, with all that moves and turns them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.fitting.photometric_albedo import Albedo, bump_centres, triangle_albedo
from affect3d.geometry.triangles import triangle_areas
from affect3d.model import MorphableModel
from affect3d.model.keep_parts import SKIN_PARTS

__all__ = ["SkinSamples", "skin_samples"]


@dataclass(frozen=True, eq=False)
class SkinSamples:
    """Middles of triangles of the skin, as linear functions of the coefficients.

    P is the number of coefficients: identity modes (in standard deviations), then expressions.

    Attributes
    ----------
    face : (S,) int array
        Triangles of the model.
    mean : (3, S, 3) float32
        Middles, and the edges from the first corner to the second and to the third, whose cross product is
        the normal; mm, model frame.
    linear : (P, 3, S, 3) float32
        The same for each coefficient.
    albedo : Albedo
        In the middles.
    centres : (N, 3) float64
        Of its smooth functions, mm.
    """

    face: np.ndarray
    mean: np.ndarray
    linear: np.ndarray
    albedo: Albedo
    centres: np.ndarray

    def posed(self, coefficients):
        """Middles (S, 3), the two edges (S, 3), unit normals (S, 3) and twice the areas (S,); float64."""
        moved = np.asarray(coefficients, np.float32) @ self.linear.reshape(len(self.linear), -1)
        centre, first, second = (self.mean + moved.reshape(self.mean.shape)).astype(np.float64)
        cross = np.cross(first, second)
        area = np.maximum(np.linalg.norm(cross, axis=1), 1e-9)
        return centre, first, second, cross / area[:, None], area


@lru_cache(maxsize=4)
def skin_samples(
    model: MorphableModel, modes: int, count: int, seed: int = 0, colour_modes: int = 0
) -> SkinSamples:
    """Draw about `count` triangles of the face and lips, evenly by area.

    Parameters
    ----------
    model : MorphableModel
    modes, colour_modes : int
        Modes of identity and of colour used at most.
    count, seed : int

    Raises
    ------
    ValueError
        If the model has no part called "face" or "skin".
    """
    skin = np.flatnonzero(model.part_faces(*SKIN_PARTS))
    if not len(skin):
        raise ValueError("model: expected a part named 'face' or 'skin' to compare with the picture, it has none")
    area = triangle_areas(model.mean, model.faces[skin])
    chosen = skin[_evenly(model.mean[model.faces[skin]].mean(1), area, min(count, len(skin)), seed)]
    corners = model.faces[chosen]
    std = model.identity_std[:modes, None, None]

    def rows(k):
        identity = model.identity[:modes, corners[:, k]] * std
        return np.concatenate([identity, model.expression[:, corners[:, k]]])

    a, b, c = (rows(k) for k in range(3))
    p, q, r = (model.mean[corners[:, k]] for k in range(3))
    centre = (p + q + r) / 3
    centres = bump_centres(centre)
    mean = np.stack([centre, q - p, r - p]).astype(np.float32)
    # in C order, which picking vertices does not give: else every use would copy it
    linear = np.ascontiguousarray(np.stack([(a + b + c) / 3, b - a, c - a], axis=1), np.float32)
    return SkinSamples(chosen, mean, linear, triangle_albedo(model, colour_modes, centres, corners), centres)


def _evenly(points, area, count, seed) -> np.ndarray:
    """`count` of the points, spread by area: a systematic draw along a space-filling order."""
    scaled = (points - points.min(0)) / max(np.ptp(points, axis=0).max(), 1e-9)
    cell = np.minimum((scaled * 1024).astype(np.int64), 1023)
    key = np.zeros(len(points), np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = np.argsort(key, kind="stable")
    along = np.cumsum(area[order]) / area.sum()
    start = np.random.default_rng(seed).random()
    picked = np.searchsorted(along, (np.arange(count) + start) / count)
    return np.unique(order[np.minimum(picked, len(order) - 1)])
