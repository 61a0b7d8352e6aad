"""The system of `registration.coupled_steps` applied to displacements, compiled."""

from __future__ import annotations

import numba

__all__ = ["apply_system"]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def apply_system(pointers, columns, values, stiffness, weights, normals, held, x, image):  # pragma: no cover - compiled
    """Fill `image` with stiffness * smooth x + weights n (n . x) + held x; the energy x . image is returned.

    Parameters
    ----------
    pointers, columns, values
        The matrix `smooth` by rows, as scipy's `csr_array` keeps it.
    stiffness : float
    weights, held : (V,) float64
    normals, x, image : (V, 3) float64
    """
    energy = 0.0
    for v in range(len(x)):
        a = b = c = 0.0
        for k in range(pointers[v], pointers[v + 1]):
            j = columns[k]
            a += values[k] * x[j, 0]
            b += values[k] * x[j, 1]
            c += values[k] * x[j, 2]
        pull = weights[v] * (x[v, 0] * normals[v, 0] + x[v, 1] * normals[v, 1] + x[v, 2] * normals[v, 2])
        image[v, 0] = stiffness * a + pull * normals[v, 0] + held[v] * x[v, 0]
        image[v, 1] = stiffness * b + pull * normals[v, 1] + held[v] * x[v, 1]
        image[v, 2] = stiffness * c + pull * normals[v, 2] + held[v] * x[v, 2]
        energy += x[v, 0] * image[v, 0] + x[v, 1] * image[v, 1] + x[v, 2] * image[v, 2]
    return energy
