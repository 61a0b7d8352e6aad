"""All unknowns of a photometric fit as one value, and where each stands in a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.fitting.photometric_view import View

__all__ = ["Layout", "State"]


@dataclass(frozen=True)
class Layout:
    """Slices of a step: pose (7), identity, expression, albedo, light (27)."""

    modes: int
    expressions: int
    albedo_count: int

    @property
    def size(self) -> int:
        return 7 + self.modes + self.expressions + self.albedo_count + 27

    @property
    def geometry(self) -> slice:
        """Pose and shape: what moves points."""
        return slice(0, 7 + self.modes + self.expressions)

    @property
    def identity(self) -> slice:
        return slice(7, 7 + self.modes)

    @property
    def expression(self) -> slice:
        return slice(7 + self.modes, 7 + self.modes + self.expressions)

    @property
    def albedo(self) -> slice:
        start = 7 + self.modes + self.expressions
        return slice(start, start + self.albedo_count)

    def light(self, channel: int) -> slice:
        start = 7 + self.modes + self.expressions + self.albedo_count + 9 * channel
        return slice(start, start + 9)


@dataclass(frozen=True, eq=False)
class State:
    """View, coefficients (identity, then expression), light (9, 3) and albedo.

    `albedo` are the weights of `photometric_albedo.Albedo`.
    """

    view: View
    coefficients: np.ndarray
    light: np.ndarray
    albedo: np.ndarray

    def moved(self, step, layout: Layout) -> State:
        """After a step; expressions stay in [0, 1]."""
        coefficients = self.coefficients + np.r_[step[layout.identity], step[layout.expression]]
        coefficients[layout.modes :] = np.clip(coefficients[layout.modes :], 0, 1)
        light = self.light + np.stack([step[layout.light(c)] for c in range(3)], axis=1)
        return State(self.view.moved(step), coefficients, light, self.albedo + step[layout.albedo])
