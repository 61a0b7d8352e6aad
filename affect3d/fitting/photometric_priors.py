"""What a photometric fit expects of coefficients, focal length, light and albedo before it looks."""

from __future__ import annotations

import numpy as np

from affect3d.fitting.photometric_albedo import Albedo
from affect3d.fitting.photometric_state import Layout, State

__all__ = ["PriorTerm"]


class PriorTerm:
    """Sums of squares of the unknowns' distances from what is expected, in expected deviations.

    Identity: N(0, 1).  Expression: what the detector foretold, as the landmark fit took it, because that fit's own
    answer holds the landmarks' errors, which would count twice; of a fit that kept no such thing, its expression.
    Focal length: the landmark fit's.  Albedo: see `Albedo.expected`.  Light: even, apart from the constant
    coefficient, of which nothing is expected.
    """

    def __init__(self, layout: Layout, fit, model, albedo: Albedo, scale, options):
        self.layout, self.focal = layout, fit.camera.focal
        n = layout.size
        self.inverse, self.expected = np.zeros(n), np.zeros(n)
        self.inverse[6] = 1 / options.focal_sigma**2
        self.inverse[layout.identity] = 1
        known = fit.foretold is not None and fit.foretold_sigma is not None
        trust = fit.foretold_sigma.copy() if known else np.full(len(fit.expression), float(options.expression_sigma))
        # the skin says nothing of the gaze
        trust[[name.startswith("eyeLook") for name in model.expression_names]] = 0.02
        self.inverse[layout.expression] = 1 / trust**2
        self.expected[layout.expression] = fit.foretold if known else fit.expression
        self.expected[layout.albedo], deviation = albedo.expected(options.albedo_sigma)
        self.inverse[layout.albedo] = 1 / deviation**2
        for c in range(3):
            light = layout.light(c)
            self.inverse[light.start + 1 : light.stop] = 1 / (scale[c] * options.light_sigma) ** 2

    def distance(self, state: State) -> np.ndarray:
        layout = self.layout
        now = np.zeros(layout.size)
        now[6] = np.log(state.view.focal / self.focal)
        now[layout.identity] = state.coefficients[: layout.modes]
        now[layout.expression] = state.coefficients[layout.modes :]
        now[layout.albedo] = state.albedo
        for c in range(3):
            now[layout.light(c)] = state.light[:, c]
        return now - self.expected

    def cost(self, state: State) -> float:
        return float((self.inverse * self.distance(state) ** 2).sum())

    def equations(self, state: State):
        """Diagonal matrix and right-hand side over a whole step."""
        return np.diag(self.inverse), -self.inverse * self.distance(state)
