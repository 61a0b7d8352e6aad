"""What MakeHuman's shapes need before they serve as a morphable head: lips that meet, lids that close."""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["lip_seal", "rigid_displacement", "sealing_shift"]

# How far each loop around the mouth follows the line where the lips meet (loops counted from that line,
# negative towards the skin).
_FALL_OFF = {-7: 0.02, -6: 0.08, -5: 0.2, -4: 0.38, -3: 0.58, -2: 0.78, -1: 0.94, 0: 1.0, 1: 0.96, 2: 0.6, 3: 0.25, 4: 0.08}


def lip_seal(regions, positions) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Two matrices on heights (y) of base vertices: the gap between the lips, and how closing it moves them.

    Parameters
    ----------
    regions : HeadRegions
    positions : (V, 3) float array
        A head whose lips show which point of one faces which of the other.

    Returns
    -------
    gap : (38, V) sparse
        For each vertex of the contact line, half the height by which the lips are apart; negative where they overlap.
    spread : (V, 38) sparse
        ``y + spread @ (gap @ y)`` has lips that meet.
    """
    loop = regions.mouth_loops[regions.contact]
    count = len(positions)
    x = positions[loop, 0]
    # The loop starts in the middle of the upper lip; the corners are its outermost vertices.
    left, right = int(np.argmax(x)), int(np.argmin(x))
    upper = np.r_[right : len(loop), 0 : left + 1]
    lower = np.arange(left, right + 1)
    if not (0 < left < right and np.abs(x[lower]).min() < 0.1):
        raise ValueError("regions: the contact line does not run through both lips")
    rows, columns, values = [], [], []
    for here, there in ((upper, lower), (lower, upper)):
        other = there[np.argsort(x[there])]
        for k in here:
            if k in (left, right):
                continue
            j = int(np.clip(np.searchsorted(x[other], x[k]), 1, len(other) - 1))
            a, b = other[j - 1], other[j]
            t = float(np.clip((x[k] - x[a]) / (x[b] - x[a]), 0, 1))
            sign = 0.5 if here is upper else -0.5
            rows += [k, k, k]
            columns += [loop[k], loop[a], loop[b]]
            values += [sign, -sign * (1 - t), -sign * t]
    gap = sparse.csr_array((values, (rows, columns)), shape=(len(loop), count))
    rows, columns, values = [], [], []
    direction = np.where(np.isin(np.arange(len(loop)), upper), -1.0, 1.0)
    for offset, weight in _FALL_OFF.items():
        ring = regions.mouth_loops[regions.contact + offset]
        rows += ring.tolist()
        columns += list(range(len(loop)))
        values += (weight * direction).tolist()
    spread = sparse.csr_array((values, (rows, columns)), shape=(count, len(loop)))
    return gap, spread


def sealing_shift(gap, spread, heights, refined_gap, rounds: int = 12) -> np.ndarray:
    """(V,) shift in height after which the lips meet on the refined surface.

    Refining rounds the thin edges of the lips and parts them again, so the coarse lips must overlap a little.

    Parameters
    ----------
    refined_gap : callable
        Heights (V,) of base vertices -> (38,) half gaps after refinement.
    """
    shift = np.zeros(len(heights))
    for _ in range(rounds):
        shift += spread @ refined_gap(heights + shift)
    return shift


def rigid_displacement(source, moved, points) -> np.ndarray:
    """Displacement of `points` (P, 3) under the rotation and translation that best take `source` (N, 3) to `moved`.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976.
    """
    a, b = source.mean(0), moved.mean(0)
    u, _, vt = np.linalg.svd((source - a).T @ (moved - b))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).T
    return (points - a) @ rotation.T + b - points
