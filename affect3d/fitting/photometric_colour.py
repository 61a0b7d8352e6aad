"""Colour residuals: linear light in the photo against albedo times irradiance at points of the skin."""

from __future__ import annotations

import cv2
import numpy as np

from affect3d.fitting.photometric_samples import SkinSamples
from affect3d.fitting.photometric_state import Layout, State
from affect3d.render.shading import harmonics

__all__ = ["ColourTerm", "at_pixels", "gradients"]


def at_pixels(maps, pixels) -> np.ndarray:
    """(N, C) float64: maps (H, W, C) read bilinearly at pixels (N, 2); the border's pixels go on outside.

    OpenCV's `remap` rounds places to 1/32 pixel, which the costs of two near states would not survive.
    """
    height, width = maps.shape[:2]
    x, y = np.clip(pixels[:, 0], 0, width - 1), np.clip(pixels[:, 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (x - left)[:, None], (y - top)[:, None]
    upper = maps[top, left] * (1 - a) + maps[top, right] * a
    return upper * (1 - b) + (maps[bottom, left] * (1 - a) + maps[bottom, right] * a) * b


def gradients(maps) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives by x and by y, per pixel."""
    return tuple(
        cv2.Sobel(maps, cv2.CV_32F, dx, 1 - dx, scale=1 / 8, borderType=cv2.BORDER_REPLICATE).reshape(maps.shape)
        for dx in (1, 0)
    )


class ColourTerm:
    """Residual (S, 3): (observed - albedo x irradiance) / the face's median colour.

    Geman-McClure's function of the mean square over the channels; `weight` (S,) is how well each
    sample is seen, `factor` makes all of them together worth `information` independent observations.
    """

    def __init__(self, image, samples: SkinSamples, layout: Layout, deviation: float, information: float):
        self.image, self.samples, self.layout = image, samples, layout
        self.deviation, self.information = deviation, information
        self.scale = np.ones(3)

    def prepare(self, sigma: float) -> None:
        """Blur the picture by `sigma` pixels."""
        self.smooth = cv2.GaussianBlur(self.image, (0, 0), max(sigma, 0.3))
        self.dx, self.dy = gradients(self.smooth)

    def see(self, weight) -> None:
        self.weight = weight
        self.factor = self.information / max(weight.sum(), 1e-9)

    def albedo(self, state: State):
        """(S, 3)"""
        return self.samples.albedo(state.albedo)

    def residual(self, state: State):
        centre, _, _, normal, _ = self.samples.posed(state.coefficients)
        observed = at_pixels(self.smooth, state.view.project(centre)[0])
        return (observed - self.albedo(state) * (harmonics(normal) @ state.light)) / self.scale

    def squared(self, residual):
        """(S,) in expected deviations."""
        return (residual**2).mean(1) / self.deviation**2

    def cost(self, state: State) -> float:
        squared = self.squared(self.residual(state))
        return float((self.weight * squared / (1 + squared / 4)).sum()) * self.factor

    def trust(self, state: State):
        """(S,) in [0, 1]: weights of the residuals alone."""
        return 1 / (1 + self.squared(self.residual(state)) / 4) ** 2

    def equations(self, state: State):
        """J^T W J and -J^T W r over a whole step."""
        s, layout = self.samples, self.layout
        residual = self.residual(state)
        w = self.weight * self.factor / (1 + self.squared(residual) / 4) ** 2 / self.deviation**2 / 3
        on = np.flatnonzero(w > 1e-4 * w.max())
        w, residual = w[on], residual[on]
        centre, first, second, normal, area = (a[on] for a in s.posed(state.coefficients))
        pixels, y = state.view.project(centre)
        gx, gy = at_pixels(self.dx, pixels), at_pixels(self.dy, pixels)
        P = state.view.derivative(y)
        rows = gx[:, :, None] * P[:, None, 0] + gy[:, :, None] * P[:, None, 1]  # light by camera coordinates
        turning = _normal_basis(s, on, first, second, normal, area)
        basis, slopes = harmonics(normal), _harmonic_slopes(normal)
        shade = basis @ state.light
        albedo = s.albedo(state.albedo)[on]
        linear = s.linear[:, 0, on]
        count = layout.albedo.stop
        left, right = np.zeros((layout.size, layout.size)), np.zeros(layout.size)
        for c in range(3):
            J = np.empty((len(on), count + 9))
            J[:, layout.geometry] = state.view.chain(y, rows[:, c : c + 1], linear)[:, 0]
            slope = np.einsum("k,knd->nd", state.light[:, c], slopes) * albedo[:, c : c + 1]
            slope = slope.astype(turning.dtype)
            J[:, 7 : layout.expression.stop] -= np.einsum("nd,pnd->np", slope, turning, optimize=True)
            J[:, layout.albedo] = -shade[:, c : c + 1] * s.albedo.slopes(state.albedo, on, c)
            J[:, count:] = -albedo[:, c : c + 1] * basis
            J /= self.scale[c]
            used = np.r_[0:count, layout.light(c)]
            left[np.ix_(used, used)] += J.T @ (J * w[:, None])
            right[used] -= J.T @ (w * residual[:, c])
        return left, right


def _normal_basis(s, on, first, second, normal, area):
    """(P, N, 3): unit normals by the coefficients."""
    first, second, normal, area = (a.astype(np.float32) for a in (first, second, normal, area))
    turned = np.cross(s.linear[:, 1, on], second[None]) + np.cross(first[None], s.linear[:, 2, on])
    turned /= area[None, :, None]
    return turned - np.einsum("pnd,nd->pn", turned, normal)[..., None] * normal


def _harmonic_slopes(n):
    """(9, N, 3): the basis functions of `harmonics` by the normal."""
    x, y, z = n.T
    o, i = np.zeros_like(x), np.ones_like(x)
    rows = [(o, o, o), (i, o, o), (o, i, o), (o, o, i), (y, x, o), (z, o, x), (o, z, y)]
    rows += [(2 * x, -2 * y, o), (o, o, 6 * z)]
    return np.array(rows).transpose(0, 2, 1)
