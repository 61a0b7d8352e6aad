"""Numeric data sets of HDF5 files that nobody vouches for.

A data set's shape is only a number in a header: it is compared with the bytes that are stored for it before anything
is allocated, and nothing is followed into other files.
"""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np

__all__ = ["has", "is_hdf5", "open_hdf5", "read_array", "read_text"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# deflate reaches 1032 : 1, shuffled constant data as well; more is a bomb
_RATIO = 1100
_MAX_TEXT = 4_000_000


def is_hdf5(head: bytes) -> bool:
    """Whether the first 520 bytes are those of an HDF5 file, perhaps behind MATLAB's block of 512 bytes."""
    return head[:8] == _SIGNATURE or head[512:520] == _SIGNATURE


@contextmanager
def open_hdf5(path):
    """The open file; whatever the library finds wrong becomes one ValueError.

    Raises
    ------
    ImportError
        If h5py is not installed.
    ValueError
        If the file is damaged.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(
            "HDF5 models (.h5, MATLAB 7.3) need the package h5py: pip install 'affect3d[h5]', or pip install h5py"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
        if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
            raise
        raise ValueError(f"the HDF5 file is damaged ({' '.join(str(error).split())[:120]})") from None


def has(file, name: str) -> bool:
    """Whether there is a group or data set of that path in this very file."""
    import h5py

    group = file
    for part in name.split("/"):
        if not isinstance(group, h5py.Group):
            return False
        link = group.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            return False  # missing, or a link that may lead into another file
        group = group[part]
    return True


def read_array(file, name: str, axes: int, columns: int | None = None) -> np.ndarray:
    """A real numeric data set of `axes` axes; of a matrix the first `columns` columns if given.

    Raises
    ------
    ValueError
        If it is missing, no real numeric array, or its shape asks for more than is stored.
    """
    import h5py

    if not has(file, name):
        raise ValueError(f"{name}: is missing")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu" or data.shape is None:
        raise ValueError(f"{name}: expected an array of real numbers")
    if data.ndim != axes:
        raise ValueError(f"{name}: expected {axes} axes, got shape {data.shape}")
    _require_stored(data, name)
    return data[:] if columns is None else data[:, :columns]


def read_text(file, name: str) -> str:
    """A text, stored as a string or as bytes.

    Raises
    ------
    ValueError
        If it is missing or no text.
    """
    import h5py

    if not has(file, name):
        raise ValueError(f"{name}: is missing")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.size > _MAX_TEXT:
        raise ValueError(f"{name}: expected a text")
    if h5py.check_string_dtype(data.dtype) is None and data.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected a text, got {data.dtype}")
    if data.dtype.kind in "iu" or data.dtype.itemsize > 16:  # variable texts live in a heap of their own
        _require_stored(data, name)
    value = data[()]
    if isinstance(value, np.ndarray) and data.dtype.kind in "iu":
        value = value.astype("u1").tobytes()
    elif isinstance(value, np.ndarray):
        value = b"".join(v.encode() if isinstance(v, str) else bytes(v) for v in value.ravel())
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace").rstrip("\0")


def _require_stored(data, name: str) -> None:
    if data.is_virtual or data.external:
        raise ValueError(f"{name}: lies in other files, which are not read")
    filters = data.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        if not 1 <= filters.get_filter(i)[0] <= 6:  # deflate, shuffle, checksum, szip, nbit, scale-offset
            raise ValueError(f"{name}: is packed by a filter that is not part of HDF5")
    promised, stored = math.prod(data.shape) * data.dtype.itemsize, data.id.get_storage_size()
    if promised > stored * (_RATIO if filters.get_nfilters() else 1):
        raise ValueError(f"{name}: its shape {data.shape} promises {promised} bytes, {stored} are stored")
