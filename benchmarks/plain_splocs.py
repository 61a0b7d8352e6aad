"""Sparse localized components as the paper describes them, in plain NumPy: the yardstick of `bench_splocs.py`.

Follows Neumann et al., "Sparse Localized Deformation Components", ACM Transactions on Graphics 32, 2013: components
are started one after the other from the vertex that is explained worst, by a singular value decomposition of its
motion, which is taken off the frames (section 5.3); then weights are updated one component after the other on the
residual of the frames (5.1), and components by ADMM with support maps around where they move most (5.2).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from affect3d.geometry.geodesic import HeatGeodesics

__all__ = ["plain_splocs"]


def plain_splocs(
    frames, rest, faces, count, sparsity=2.0, near=0.1, far=0.7, rounds=10, inner=10, rho=10.0, progress=None
):
    """(components (K, V, 3), weights (F, K), energies (rounds,)) of frames scaled to a standard deviation of 1."""
    x = (frames - rest) / np.std(frames - rest)
    geodesics, side = HeatGeodesics(rest, faces), np.ptp(rest, axis=0).max()

    def support(vertex):
        return np.clip((geodesics.distance(int(vertex)) / side - near) / (far - near), 0, 1)

    residual = x.copy()
    components, weights = [], []
    for _ in range(count):
        vertex = int((residual**2).sum((0, 2)).argmax())
        left, values, _ = np.linalg.svd(residual[:, vertex], full_matrices=False)
        column = left[:, 0] * values[0]
        column = max(_in_box(column), _in_box(-column), key=lambda w: float(w @ w))
        move = np.tensordot(column, residual, 1) / (column @ column) * (1 - support(vertex))[:, None]
        residual -= column[:, None, None] * move
        components.append(move)
        weights.append(column)
    c, w = np.array(components), np.array(weights).T

    energies, u = [], np.zeros_like(c)
    for turn in range(rounds):
        flat = residual.reshape(len(x), -1)
        for k in range(count):
            move = c[k].ravel()
            size = move @ move
            if size <= 1e-8:
                w[:, k] = 0
                continue
            column = _in_box(flat @ move / size + w[:, k])
            flat -= np.outer(column - w[:, k], move)
            w[:, k] = column
        penalty = sparsity * np.stack([support((move**2).sum(1).argmax()) for move in c])
        gram, products = w.T @ w, np.tensordot(w.T, x, 1).reshape(count, -1)
        factor = cho_factor(gram + rho * np.eye(count))
        z = c.copy()
        for _ in range(inner):
            free = cho_solve(factor, products + rho * (z - u).reshape(count, -1)).reshape(c.shape)
            length = np.linalg.norm(free + u, axis=2)
            shrink = np.maximum(0, 1 - penalty / (rho * np.maximum(length, 1e-300)))
            z = shrink[..., None] * (free + u)
            u += free - z
        c = z
        residual = x - np.tensordot(w, c, 1)
        energies.append(float((residual**2).sum() + (penalty * np.linalg.norm(c, axis=2)).sum()))
        if progress is not None:
            progress(turn + 1, energies[-1])
    return c, w, np.array(energies)


def _in_box(column):
    """The column in [0, 1], its largest weight 1."""
    column = np.maximum(column, 0)
    largest = column.max()
    return column / largest if largest > 1e-8 else np.zeros_like(column)
