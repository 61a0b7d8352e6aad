"""What colours a model's skin can have: those of its own colour basis, or its plain ones under smooth changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.model import MorphableModel

__all__ = ["Albedo", "bump_centres", "smooth_basis", "triangle_albedo", "vertex_albedo"]

_SPACING = 28.0  # mm between the bumps of the albedo
#: How strongly a model's plain colours show, and the expected deviation of that.
TINT, TINT_SIGMA = 0.7, 0.3
_DARKEST = 0.02


@dataclass(frozen=True, eq=False)
class Albedo:
    """Albedo at N points, linear and relative to the median skin, as a function of A + C weights.

    ``(base + sum_k c_k colours_k) (1 + smooth a)`` for weights ``[a, c]``.  A model with a colour basis has that
    and no smooth functions; any other one has a single colour weight, the strength of its plain colours.

    Attributes
    ----------
    base : (N, 3) float64
    colours : (C, N, 3) float64
        Modes times their deviations, or the plain colours' difference from the median.
    smooth : (N, A) float64
    learned : bool
        Whether the colours are a basis of the model's own.
    """

    base: np.ndarray
    colours: np.ndarray
    smooth: np.ndarray
    learned: bool

    @property
    def count(self) -> int:
        """Number of weights."""
        return self.smooth.shape[1] + len(self.colours)

    def expected(self, smooth_sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Expected weights (A + C,) and their deviations; `smooth_sigma` is that of the smooth functions."""
        mean, deviation = np.zeros(self.count), np.full(self.count, float(smooth_sigma))
        colours = slice(self.smooth.shape[1], None)
        mean[colours], deviation[colours] = (0.0, 1.0) if self.learned else (TINT, TINT_SIGMA)
        return mean, deviation

    def own(self, weights) -> np.ndarray:
        """(N, 3): the model's own colours, without smooth changes."""
        return self.base + np.tensordot(weights[self.smooth.shape[1] :], self.colours, 1)

    def change(self, weights) -> np.ndarray:
        """(N,): the smooth changes as factors."""
        return 1 + self.smooth @ weights[: self.smooth.shape[1]]

    def __call__(self, weights) -> np.ndarray:
        """(N, 3), as the light meets it."""
        return self.own(weights) * self.change(weights)[:, None]

    def drawn(self, weights, full: bool = False) -> np.ndarray:
        """(N, 3) that no weight makes black; `full` shows a model's plain colours at all of their strength."""
        if full and not self.learned:
            weights = np.r_[weights[: self.smooth.shape[1]], np.ones(len(self.colours))]
        return np.maximum(self.own(weights), _DARKEST) * self.change(weights)[:, None]

    def slopes(self, weights, on, channel: int) -> np.ndarray:
        """(n, A + C): derivatives of one channel at the points `on` by the weights."""
        a = self.smooth.shape[1]
        own = self.base[on, channel] + weights[a:] @ self.colours[:, on, channel]
        change = 1 + self.smooth[on] @ weights[:a]
        return np.hstack([own[:, None] * self.smooth[on], (self.colours[:, on, channel] * change).T])


def vertex_albedo(model: MorphableModel, modes: int, centres) -> Albedo:
    """The albedo of all vertices.

    Parameters
    ----------
    model : MorphableModel
    modes : int
        Colour modes used at most, if the model has any.
    centres : (N, 3) array, mm
        Of the smooth functions, see `smooth_basis`.
    """
    base, colours, learned = _vertex_colours(model, modes)
    smooth = np.zeros((len(base), 0)) if learned else smooth_basis(model.mean, centres)
    return Albedo(base, colours, smooth, learned)


def triangle_albedo(model: MorphableModel, modes: int, centres, corners) -> Albedo:
    """The same in the middles of triangles whose corners (S, 3) are vertices of the model."""
    base, colours, learned = _vertex_colours(model, modes)
    middles = model.mean[corners].mean(1)
    smooth = np.zeros((len(corners), 0)) if learned else smooth_basis(middles, centres)
    return Albedo(base[corners].mean(1), np.ascontiguousarray(colours[:, corners].mean(2)), smooth, learned)


@lru_cache(maxsize=4)
def _vertex_colours(model: MorphableModel, modes: int):
    """Base (V, 3) and colours (C, V, 3), divided by the median of the skin, and whether they are a colour basis."""
    skin = model.part_vertices("face", "lips", "skin")
    if model.colour_modes is not None and modes and len(model.colour_modes):
        encoded = np.clip(model.colour_mean.astype(np.float64), 0, 1)
        base = _decoded(encoded)
        median = np.maximum(np.median(base[skin], axis=0), 1e-6)
        # modes are changes of sRGB values: to first order, the slope of the decoding carries them over
        slope = np.where(encoded <= 0.04045, 1 / 12.92, 2.4 / 1.055 * ((encoded + 0.055) / 1.055) ** 1.4)
        scaled = model.colour_modes[:modes] * model.colour_std[:modes, None, None]
        return base / median, scaled * (slope / median), True
    ones = np.ones((len(model.mean), 3))
    if model.colours is None:
        return ones, np.zeros((1, *ones.shape)), False
    linear = _decoded(model.colours / 255)
    tint = linear / np.maximum(np.median(linear[skin], axis=0), 1e-6)
    return ones, (tint - 1)[None], False


def _decoded(encoded):
    """sRGB in [0, 1] -> linear."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def bump_centres(points) -> np.ndarray:
    """Points (N, 3) about 28 mm apart over the left half of the face, farthest first."""
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
