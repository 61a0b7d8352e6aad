"""The numeric variables of a .mat file, of MATLAB 5 (as SciPy writes them) or 7.3 (HDF5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.foreign.hdf5 import has, open_hdf5, read_array
from affect3d.io.foreign.mat5 import is_mat5, read_mat5

__all__ = ["matlab_matrices"]


def matlab_matrices(path, wanted) -> dict[str, np.ndarray]:
    """Those of the `wanted` variables that the file holds, as matrices with MATLAB's rows and columns.

    Raises
    ------
    ValueError
        If the file is damaged, or one of them is no matrix of real numbers.
    """
    path = Path(path)
    with open(path, "rb") as file:
        head = file.read(128)
    if is_mat5(head):
        found = read_mat5(path.read_bytes(), wanted)
    else:
        with open_hdf5(path) as file:
            # MATLAB counts along columns first, HDF5 along rows
            found = {name: read_array(file, name, 2).T for name in wanted if has(file, name)}
    for name, array in found.items():
        if array.ndim != 2:
            raise ValueError(f"{name}: expected a matrix, got shape {array.shape}")
    return found
