"""Bends the fitted head so that its landmarks lie exactly where the photo shows them.

A statistical model leaves a few per cent of the interocular distance between its landmarks and the
picture's.  Warping a picture by such a model would cut through lips and lids, so the remaining
residual is spread over the head smoothly: a radial basis interpolation whose distances are measured
in a pose with open mouth and eyes, where the upper and the lower lip (and lid) are far apart.  With
that, the two lips of a closed mouth can move differently although they touch.
"""

from __future__ import annotations

import numpy as np

from affect3d.model import MorphableModel

__all__ = ["Conformer", "open_pose"]

#: ARKit shapes that separate surfaces which touch at rest.
OPEN_POSE = {"jawOpen": 1.0, "eyeWideLeft": 1.0, "eyeWideRight": 1.0}


class Conformer:
    """Solver that spreads residuals at landmarks over all vertices.

    Parameters
    ----------
    model : MorphableModel
    centres : (C, 3) float array
        Landmarks in the model's open pose, mm (`open_pose` gives the vertices).
    stiffness : (C,) float array
        Ridge at each centre: 0 interpolates exactly, larger values smooth.
    radius : float
        Rounds the kernel sqrt(r² + radius²), mm.
    """

    def __init__(self, vertices, centres, stiffness, radius: float = 6.0):
        # Anchors hold the back of the head and the neck where no landmark speaks.
        centres = np.asarray(centres, float)
        lo, hi = vertices.min(0), vertices.max(0)
        away = np.linalg.norm(vertices[:, None] - centres[None, ::4], axis=2).min(1)
        far = np.flatnonzero(away > 45)
        anchors = vertices[far[np.linspace(0, len(far) - 1, 40).astype(int)]] if len(far) else np.empty((0, 3))
        nodes = np.concatenate([centres, anchors])
        ridge = np.concatenate([stiffness, np.full(len(anchors), 1.0)])
        self._count = len(centres)
        self._scale = float(np.linalg.norm(hi - lo))
        kernel = _kernel(nodes, nodes, radius) / self._scale
        # conditionally positive definite of order one: a constant completes it
        n = len(nodes)
        system = np.zeros((n + 1, n + 1))
        system[:n, :n] = kernel - np.diag(ridge * 0.01)
        system[:n, n] = system[n, :n] = 1
        self._inverse = np.linalg.inv(system)[:, : self._count].astype(np.float32)
        self._response = (_kernel(vertices, nodes, radius) / self._scale).astype(np.float32)

    def spread(self, residuals) -> np.ndarray:
        """Displacements (V, D) from residuals (C, D) at the centres, same unit."""
        c = self._inverse @ np.asarray(residuals, np.float32)
        return (self._response @ c[:-1] + c[-1]).astype(np.float64)


def open_pose(model: MorphableModel) -> np.ndarray:
    """(V, 3) vertices of the mean head with open mouth and eyes, mm."""
    weights = {k: v for k, v in OPEN_POSE.items() if k in model.expression_names}
    return model.instance(expression=model.expression_vector(weights))


def _kernel(a, b, radius):
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0) + radius**2)
