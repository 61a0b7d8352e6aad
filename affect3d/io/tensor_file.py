"""Named arrays with a JSON header in a safetensors file; nothing in it is executed on reading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from affect3d.io.atomic import atomic_path

__all__ = ["TensorFile", "open_tensors", "save_tensors"]

#: Bytes of a header; beyond that it is none that affect3d writes.
_LARGEST_HEADER = 2**20
_KINDS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


@dataclass(frozen=True, eq=False)
class TensorFile:
    """A file that is open for reading: its header, and the names of its arrays."""

    header: dict
    names: frozenset[str]
    _file: object

    def array(self, name: str, kind, axes: int) -> np.ndarray:
        """One array of this dtype and number of axes, read-only; a ValueError if there is none.

        Half precision is welcome in place of single, and nothing else is converted.
        """
        if name not in self.names:
            raise ValueError(f"no array {name!r}")
        view = self._file.get_slice(name)
        stored, shape = _KINDS.get(view.get_dtype()), view.get_shape()
        if not (stored == kind or (stored == np.float16 and kind == np.float32)) or len(shape) != axes:
            raise ValueError(f"{name}: expected {kind.__name__} with {axes} axes, got {view.get_dtype()} {shape}")
        array = self._file.get_tensor(name).astype(kind, copy=False)
        array.flags.writeable = False  # spares the values that are made of it a second copy
        return array


def save_tensors(path, key: str, header: Mapping, arrays: Mapping) -> None:
    """Write a file; it appears complete or not at all, and the same content gives the same bytes.

    Parameters
    ----------
    path : str or Path
    key : str
        Under which the header lies: it tells files of one purpose from others.
    header : dict
        With the "version" of the format, a whole number from 1; finite numbers only.
    arrays : dict of str to array
        Those that are None are left out.
    """
    from safetensors.numpy import save

    content = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None},
        metadata={key: json.dumps(header, sort_keys=True, allow_nan=False)},
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def open_tensors(path, key: str, version: int, purpose: str) -> Iterator[TensorFile]:
    """Open a file; what is wrong with it, and found within the block, becomes one sentence that names it.

    Parameters
    ----------
    path, key
        As in `save_tensors`.
    version : int
        The newest that is understood.
    purpose : str
        What the file should be, as in "a morphable model of affect3d".

    Raises
    ------
    ValueError
        If it is no such file, or the block raises a ValueError, KeyError, TypeError or OverflowError.
    OSError
        If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        # The library checks that the header's sizes add up to the size of the file before anything is allocated.
        with safe_open(path, framework="numpy") as file:
            yield TensorFile(_header(file.metadata(), key, version), frozenset(file.keys()), file)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, TypeError)) else str(error)
        raise ValueError(f"{path}: not {purpose} ({reason.splitlines()[0]})") from None


def _header(metadata, key: str, newest: int) -> dict:
    if not metadata or key not in metadata:
        raise ValueError(f"the header has no {key!r}")
    if len(metadata[key]) > _LARGEST_HEADER:
        raise ValueError("the header is longer than any that affect3d writes")
    header = json.loads(metadata[key])
    version = header.get("version") if isinstance(header, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError("the header is no JSON object with a version")
    if version > newest:
        raise ValueError(f"version {version} is newer than {newest}, update affect3d")
    return header
