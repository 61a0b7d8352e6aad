"""Lips that stay together on one head stay together on the other."""

from __future__ import annotations

import numpy as np

__all__ = ["LipContact"]

#: mm on a head of usual size: how far from its place a correction reaches along the lips' edges, and by how much lips
#: part on the giver before they count as open.
_WIDTH, _APART = 5.0, 2.0


class LipContact:
    """Takes off the difference by which transferred lips part, or enter one another, where the giver's stay together.

    Gradients know nothing of contact: each lip is carried over by itself, and small errors of both show as a gap.  Half
    of it is taken off each lip, fading with the distance; lips that part on the giver are left as they are.

    Parameters
    ----------
    vertices : (W, 3) float array
        Of the target at rest, mm.
    sides : (W,) int array
        1 on the upper and 2 on the lower lip's side, as `affect3d.geometry.opening_sides` gives.
    upper, lower : (P, 3) float arrays
        Places on the two lips that lie on one another.
    size : float
        The target's against the default head's.
    """

    def __init__(self, vertices, sides, upper, lower, size: float = 1.0):
        self._apart = _APART * size
        self._spread = []
        for side, points, share in ((1, upper, -0.5), (2, lower, 0.5)):
            rows = np.flatnonzero(np.asarray(sides) == side)
            away = ((vertices[rows, None] - np.asarray(points)[None]) ** 2).sum(2)
            weight = np.exp(-away / (2 * (_WIDTH * size) ** 2))
            near = weight.max(1, initial=0.0) > 1e-4
            rows, weight = rows[near], weight[near]
            # between the pairs their mean, and less with the distance to the nearest
            weight *= weight.max(1, keepdims=True) / weight.sum(1, keepdims=True) if len(rows) else 1.0
            self._spread.append((rows, share * weight))

    def correct(self, displacement, parted, wanted) -> np.ndarray:
        """The displacement (W, 3) with lips together where they should be.

        Parameters
        ----------
        displacement : (W, 3) float array
            Of the target's skin.
        parted, wanted : (P, 3) float arrays
            How the upper place of each pair moves against the lower one, on the target and on the giver, mm.
        """
        closed = np.exp(-((wanted**2).sum(1) / self._apart**2))
        error = closed[:, None] * (np.asarray(parted) - wanted)
        out = np.array(displacement, float)
        for rows, weight in self._spread:
            out[rows] += weight @ error
        return out
