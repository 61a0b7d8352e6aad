"""Points of a model's skin at which a picture is compared, with all that moves and turns them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.geometry.triangles import triangle_areas
from affect3d.model import MorphableModel

__all__ = ["SkinSamples", "skin_samples", "smooth_basis", "vertex_tint"]

_SPACING = 28.0  # mm between the bumps of the albedo


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
    albedo_basis : (S, A) float64
        Smooth functions over the face, symmetric about its middle plane and antisymmetric ones.
    albedo_centres : (N, 3) float64
        mm; see `smooth_basis`.
    tint : (S, 3) float64
        The model's own colours, linear, divided by their median over the skin; ones where it has none.
    """

    face: np.ndarray
    mean: np.ndarray
    linear: np.ndarray
    albedo_basis: np.ndarray
    albedo_centres: np.ndarray
    tint: np.ndarray

    def posed(self, coefficients):
        """Middles (S, 3), the two edges (S, 3), unit normals (S, 3) and twice the areas (S,); float64."""
        moved = np.asarray(coefficients, np.float32) @ self.linear.reshape(len(self.linear), -1)
        centre, first, second = (self.mean + moved.reshape(self.mean.shape)).astype(np.float64)
        cross = np.cross(first, second)
        area = np.maximum(np.linalg.norm(cross, axis=1), 1e-9)
        return centre, first, second, cross / area[:, None], area


@lru_cache(maxsize=4)
def skin_samples(model: MorphableModel, modes: int, count: int, seed: int = 0) -> SkinSamples:
    """Draw about `count` triangles of the face and lips, evenly by area.

    Raises
    ------
    ValueError
        If the model has no part called "face" or "skin".
    """
    skin = np.flatnonzero(model.part_faces("face", "lips", "skin"))
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
    bumps = _bump_centres(centre)
    mean = np.stack([centre, q - p, r - p]).astype(np.float32)
    # in C order, which picking vertices does not give: else every use would copy it
    linear = np.ascontiguousarray(np.stack([(a + b + c) / 3, b - a, c - a], axis=1), np.float32)
    tint = vertex_tint(model)[corners].mean(1)
    return SkinSamples(chosen, mean, linear, smooth_basis(centre, bumps), bumps, tint)


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


def _bump_centres(points) -> np.ndarray:
    """Points (N, 3) about `_SPACING` apart over the left half of the face, farthest first."""
    half = np.column_stack([np.abs(points[:, 0]), points[:, 1:]])
    centres = [half[np.argmin(np.linalg.norm(half - half.mean(0), axis=1))]]
    distance = np.linalg.norm(half - centres[0], axis=1)
    while distance.max() > _SPACING and len(centres) < 60:
        centres.append(half[distance.argmax()])
        distance = np.minimum(distance, np.linalg.norm(half - centres[-1], axis=1))
    return np.array(centres)


def smooth_basis(points, centres) -> np.ndarray:
    """Gaussian bumps (N, A) at points of the mean head, in mirrored pairs: their sums, then their differences."""

    def bumps(at):
        return np.exp(-((points[:, None] - at[None]) ** 2).sum(-1) / (2 * (0.8 * _SPACING) ** 2))

    left, right = bumps(centres), bumps(centres * [-1, 1, 1])
    paired = centres[:, 0] > 0.25 * _SPACING  # those in the middle are their own mirror images
    return np.hstack([left + right * paired, (left - right)[:, paired]])


def vertex_tint(model) -> np.ndarray:
    """The model's own colours (V, 3), linear, divided by their median over the skin; ones where it has none."""
    if model.colours is None:
        return np.ones((len(model.mean), 3))
    encoded = model.colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    skin = model.part_vertices("face", "lips", "skin")
    return linear / np.maximum(np.median(linear[skin], axis=0), 1e-6)
