"""What MakeHuman's shapes need before they serve as a morphable head: lips that meet, lids that close."""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["LID_FALL_OFF", "LIP_FALL_OFF", "rigid_displacement", "seal", "sealing_shift"]

#: How far each loop around the mouth follows the line where the lips meet, by its place counted from that line,
#: negative towards the skin.
LIP_FALL_OFF = {
    -7: 0.02, -6: 0.08, -5: 0.2, -4: 0.38, -3: 0.58, -2: 0.78, -1: 0.94, 0: 1.0, 1: 0.96, 2: 0.6, 3: 0.25, 4: 0.08,
}  # fmt: skip
#: The same for the loops around an eye and the margin of the lids.
LID_FALL_OFF = {-6: 0.1, -5: 0.3, -4: 0.5, -3: 0.7, -2: 0.85, -1: 0.95, 0: 1.0, 1: 1.0, 2: 0.7, 3: 0.2}


def seal(loops, contact: int, positions, fall_off) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Two matrices on heights (y) of base vertices: the gap of a slit, and how closing it moves them.

    Parameters
    ----------
    loops : sequence of (n,) int array
        Edge loops around the slit whose vertices match.
    contact : int
        Which of the loops has the edges that are to meet.
    positions : (V, 3) float array
        A head that shows which point of the upper edge faces which of the lower one.
    fall_off : dict of int to float
        How far each loop follows, by its place counted from `contact`.

    Returns
    -------
    gap : (n, V) sparse
        For each vertex of the contact loop, half the height by which the edges are apart there; negative where
        they overlap, zero at the two corners.
    spread : (V, n) sparse
        ``y + spread @ (gap @ y)`` has edges that meet.
    """
    loop = np.asarray(loops[contact])
    count = len(positions)
    x, y = positions[loop].T[:2]
    one, other = sorted((int(np.argmax(x)), int(np.argmin(x))))
    arcs = np.arange(one, other + 1), np.r_[other : len(loop), 0 : one + 1]
    upper, lower = sorted(arcs, key=lambda arc: -y[arc].mean())
    rows, columns, values = [], [], []
    for here, there in ((upper, lower), (lower, upper)):
        facing = there[np.argsort(x[there], kind="stable")]
        for k in here:
            if k in (one, other):
                continue
            j = int(np.clip(np.searchsorted(x[facing], x[k]), 1, len(facing) - 1))
            a, b = facing[j - 1], facing[j]
            t = float(np.clip((x[k] - x[a]) / max(x[b] - x[a], 1e-9), 0, 1))
            sign = 0.5 if here is upper else -0.5
            rows += [k, k, k]
            columns += [loop[k], loop[a], loop[b]]
            values += [sign, -sign * (1 - t), -sign * t]
    gap = sparse.csr_array((values, (rows, columns)), shape=(len(loop), count))
    direction = np.where(np.isin(np.arange(len(loop)), upper), -1.0, 1.0)
    rows, columns, values = [], [], []
    for offset, weight in fall_off.items():
        rows += np.asarray(loops[contact + offset]).tolist()
        columns += list(range(len(loop)))
        values += (weight * direction).tolist()
    spread = sparse.csr_array((values, (rows, columns)), shape=(count, len(loop)))
    return gap, spread


def sealing_shift(spread, heights, refined_gap, rounds: int = 12) -> np.ndarray:
    """Shift in height, shaped as `heights`, after which the edges of a slit meet on the refined surface.

    Refining rounds thin edges and parts them again, so the coarse ones must overlap a little.

    Parameters
    ----------
    spread : (V, n) sparse
        From `seal`.
    heights : (V,) or (V, M) float array
        Of base vertices; M displacements at once.
    refined_gap : callable
        Heights of base vertices -> half gaps (n,) or (n, M) after refinement.
    """
    shift = np.zeros_like(heights, float)
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
