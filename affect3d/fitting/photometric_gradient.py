"""Feature residuals: in which direction the picture's brightness changes, in the photo and on the model.

The channels are the cosine and sine of the gradient's direction, faded out where there is hardly any
gradient (image gradient orientations: Tzimiropoulos, Zafeiriou and Pantic, "Subspace Learning from
Image Gradient Orientations", TPAMI 2012; one of the dense features that Booth et al., "3D Face
Morphable Models In-the-Wild", CVPR 2017, compare).  They do not know how bright or of what colour a
picture is.  The model's side is drawn with its own colours in the light found so far, and held fixed
for a step.
"""

from __future__ import annotations

import cv2
import numpy as np

from affect3d.fitting.photometric_colour import at_pixels, gradients
from affect3d.fitting.photometric_samples import SkinSamples
from affect3d.fitting.photometric_state import State

__all__ = ["GradientTerm", "orientation_channels"]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def orientation_channels(linear, sigma: float, floor: float = 0.01) -> np.ndarray:
    """(H, W, 2) float32 in [-1, 1]: direction of the gradient of log luminance after a blur of `sigma` pixels.

    Gradients below `floor` / sigma per pixel count as none.
    """
    sigma = max(sigma, 0.3)
    brightness = np.log(cv2.GaussianBlur(linear, (0, 0), sigma) @ _LUMINANCE + np.float32(0.02))
    gx, gy = gradients(brightness[..., None])
    both = np.concatenate([gx, gy], axis=-1)
    length = np.sqrt((both**2).sum(-1, keepdims=True) + (floor / sigma) ** 2)
    return both / length


class GradientTerm:
    """Residual (S, 2) of the orientation channels at points of the skin; weights as in `ColourTerm`."""

    def __init__(self, image, samples: SkinSamples, deviation: float, information: float):
        self.image, self.samples = image, samples
        self.deviation, self.information = deviation, information

    def prepare(self, sigma: float) -> None:
        self.channels = orientation_channels(self.image, sigma)
        # one more small blur: the channels turn abruptly where the gradient vanishes
        self.channels = cv2.GaussianBlur(self.channels, (0, 0), max(0.5 * sigma, 0.3))
        self.sigma = sigma
        self.dx, self.dy = gradients(self.channels)

    def see(self, weight) -> None:
        self.weight = weight
        self.factor = self.information / max(weight.sum(), 1e-9)

    def draw(self, state: State, picture, low, scale: float) -> None:
        """Take the model's channels from a `picture` of it whose pixel (0, 0) is `low` in the photo."""
        sigma = self.sigma * scale
        channels = orientation_channels(picture, sigma)
        channels = cv2.GaussianBlur(channels, (0, 0), max(0.5 * sigma, 0.3))
        pixels = state.view.project(self.samples.posed(state.coefficients)[0])[0]
        self.template = at_pixels(channels, (pixels - low) * scale)

    def residual(self, state: State):
        pixels = state.view.project(self.samples.posed(state.coefficients)[0])[0]
        return at_pixels(self.channels, pixels) - self.template

    def cost(self, state: State) -> float:
        squared = (self.residual(state) ** 2).mean(1) / self.deviation**2
        return float((self.weight * squared / (1 + squared / 4)).sum()) * self.factor

    def equations(self, state: State):
        """J^T W J and -J^T W r over pose and shape."""
        centre = self.samples.posed(state.coefficients)[0]
        pixels, y = state.view.project(centre)
        residual = at_pixels(self.channels, pixels) - self.template
        squared = (residual**2).mean(1) / self.deviation**2
        w = self.weight * self.factor / (1 + squared / 4) ** 2 / self.deviation**2 / 2
        on = np.flatnonzero(w > 1e-4 * w.max())
        gx, gy = at_pixels(self.dx, pixels[on]), at_pixels(self.dy, pixels[on])
        P = state.view.derivative(y[on])
        rows = gx[:, :, None] * P[:, None, 0] + gy[:, :, None] * P[:, None, 1]
        J = state.view.chain(y[on], rows, self.samples.linear[:, 0, on])
        left, right = 0.0, 0.0
        for c in range(2):
            left = left + J[:, c].T @ (J[:, c] * w[on, None])
            right = right - J[:, c].T @ (w[on] * residual[on, c])
        return left, right
