"""Pulls along normals, solved by a few steps of conjugate gradients.

The system is that of `affect3d.registration.coupled`: the three coordinates of a vertex hang together by the normal
along which it is pulled, and along the surface nothing but the stiffness has a say.  Factoring it anew whenever the
normals turn is too dear for every iteration of every frame of a sequence.  The system that holds each vertex in all
directions by the weight of its pull is factored once for a whole sequence; taken as the solution it stops skin from
sliding, taken as a preconditioner it only costs some steps more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from affect3d.registration.coupled_kernels import apply_system

__all__ = ["coupled_steps"]


def coupled_steps(
    smooth, stiffness: float, weights, normals, held, forces, solve: Callable[[np.ndarray], np.ndarray], steps: int
) -> np.ndarray:
    """Nearly solve stiffness * smooth x + weights n (n . x) + held x = forces for displacements x.

    Each step brings x nearer to the solution, measured by the system's own energy.

    Parameters
    ----------
    smooth : (V, V) sparse array
        Symmetric and positive semi-definite; acts on each coordinate by itself.
    stiffness : float
    weights, held : (V,) float arrays
        At least 0: pulls along the normals, and in all directions.
    normals : (V, 3) float array
        Of unit length.
    forces : (V, 3) float array
    solve : callable
        Preconditioner: takes (V, 3) and gives (V, 3); linear, symmetric and positive definite.  The nearer it comes to
        the system's inverse, the fewer steps are needed; best it holds no vertex less than the system does.
    steps : int
        At least 1.

    Returns
    -------
    (V, 3) float64

    Raises
    ------
    ValueError
        If there is no step to take, or arrays have other shapes.

    References
    ----------
    Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", Journal of Research of the
    National Bureau of Standards 49, 1952.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    smooth = sparse.csr_array(smooth)
    weights, normals, held = (np.ascontiguousarray(a, np.float64) for a in (weights, normals, held))
    left = np.array(forces, np.float64, order="C")
    count = len(left)
    shapes = [a.shape for a in (smooth, weights, normals, held, left)]
    if shapes != [(count, count), (count,), (count, 3), (count,), (count, 3)]:
        raise ValueError(f"smooth, weights, normals, held, forces: shapes do not belong together: {shapes}")
    found, image, direction = np.zeros_like(left), np.empty_like(left), np.empty_like(left)
    near = np.ascontiguousarray(solve(left), np.float64)
    direction[:], size = near, float((left * near).sum())
    for step in range(steps):
        energy = apply_system(
            smooth.indptr, smooth.indices, smooth.data, float(stiffness), weights, normals, held, direction, image
        )
        if not energy > 0 or not size > 0:  # solved, or a direction in which nothing holds
            break
        length = size / energy
        found += length * direction
        if step + 1 < steps:
            left -= length * image
            near = np.ascontiguousarray(solve(left), np.float64)
            before, size = size, float((left * near).sum())
            direction *= size / before
            direction += near
    return found
