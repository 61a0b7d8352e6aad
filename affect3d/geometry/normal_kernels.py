"""Normals of vertices, compiled."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["summed_normals"]


@numba.njit(cache=True, nogil=True)
def summed_normals(vertices, faces):  # pragma: no cover - compiled
    """Unit normals (V, 3), weighted by area, of vertices (V, 3) float64 and faces (F, 3) int.

    Crosses are summed for each corner by itself, in the order of the faces, and then the three sums.  An IndexError is
    raised if a face names no vertex.
    """
    crosses = np.empty((len(faces), 3))
    for f in range(len(faces)):
        for k in range(3):
            if not 0 <= faces[f, k] < len(vertices):
                raise IndexError("faces: expected indices of vertices")
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        u, v, w = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        p, q, r = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        crosses[f, 0], crosses[f, 1], crosses[f, 2] = v * r - w * q, w * p - u * r, u * q - v * p
    sums = np.zeros((len(vertices), 3, 3))
    for f in range(len(faces)):
        for k in range(3):
            for d in range(3):
                sums[faces[f, k], k, d] += crosses[f, d]
    out = np.empty((len(vertices), 3))
    for i in range(len(vertices)):
        x, y, z = (
            sums[i, 0, 0] + sums[i, 1, 0] + sums[i, 2, 0],
            sums[i, 0, 1] + sums[i, 1, 1] + sums[i, 2, 1],
            sums[i, 0, 2] + sums[i, 1, 2] + sums[i, 2, 2],
        )
        length = np.sqrt(x * x + y * y + z * z)
        if not length > 0:
            length = 1.0
        out[i, 0], out[i, 1], out[i, 2] = x / length, y / length, z / length
    return out
