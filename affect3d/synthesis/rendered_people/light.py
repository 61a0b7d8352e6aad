"""Light as spherical harmonics: a sky, a key lamp and a fill, in the frame of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Light", "draw_light", "lamp"]


@dataclass(frozen=True, eq=False)
class Light:
    """What falls on a matt white surface, by its normal.

    Attributes
    ----------
    coefficients : (9, 3) float64
        Of `render.shading.harmonics` for each colour; a white surface that faces the camera gets light 1.
    key : (3,) float64
        Unit vector towards the key lamp (x right, y down, z away from the camera).
    key_colour : (3,) float64
    """

    coefficients: np.ndarray
    key: np.ndarray
    key_colour: np.ndarray


def lamp(direction, width: float = 1.0) -> np.ndarray:
    """(9,) harmonics of the light max(0, n . d) of a distant lamp (Ramamoorthi and Hanrahan 2001).

    `width` below 1 softens it: the lamp fills part of the sky, and higher orders fade.
    """
    x, y, z = np.asarray(direction, float) / np.linalg.norm(direction)
    first, second = 0.5 * width, 15 / 32 * width**3
    # max(0, c) is about 1/4 + c/2 + 5/32 (3 c^2 - 1); the square of c is written out in the basis below
    return np.array([
        0.25, first * x, first * y, first * z, 2 * second * x * y, 2 * second * x * z, 2 * second * y * z,
        second * (x * x - y * y) / 2, second * (z * z / 3 - (x * x + y * y) / 6),
    ])  # fmt: skip


def draw_light(rng: np.random.Generator, studio: float = 0.0) -> Light:
    """A light by chance; `studio` from 0 (anything) to 1 (even, frontal, neutral)."""
    wild = 1 - studio
    azimuth = np.radians(rng.uniform(-75, 75) * wild + rng.uniform(-20, 20) * studio)
    height = np.radians(rng.uniform(0, 55) * wild + 30 * studio)
    key = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), -np.cos(azimuth) * np.cos(height)])
    warm = rng.normal(0, 0.08) * wild
    key_colour = np.array([1 + warm, 1.0, 1 - warm]) * rng.uniform(0.45, 0.6)
    fill = lamp([-key[0] + rng.normal(0, 0.3), -0.1, -0.8], 0.7)
    cool = -0.5 * warm + rng.normal(0, 0.03) * wild
    fill_colour = np.array([1 + cool, 1.0, 1 - cool]) * rng.uniform(0.2, 0.5)
    sky = lamp([0, -1, -0.2], 0.5)
    coefficients = np.outer(lamp(key, 0.95), key_colour) + np.outer(fill, fill_colour)
    coefficients += np.outer(sky, fill_colour) * 0.8 + np.outer(np.eye(9)[0], fill_colour) * 0.35
    facing = np.array([1, 0, 0, -1, 0, 0, 0, 0, 2.0]) @ coefficients @ [0.2126, 0.7152, 0.0722]
    # Light that entered the skin nearby comes out redder and blurs the shadow's edge.
    coefficients[4:, 0] *= 0.7
    coefficients[1:4, 0] *= 0.94
    return Light(coefficients / facing, key, key_colour / facing)
