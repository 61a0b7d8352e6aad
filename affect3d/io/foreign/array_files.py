"""NumPy's .npy and .npz files, read without unpickling and without trusting their headers."""

from __future__ import annotations

import io
import math
import sys
import zipfile

import numpy as np

from affect3d.io.foreign.array_pickle import unpickle_arrays

__all__ = ["npz_names", "parse_npy", "read_npz"]

_RATIO = 1032


def npz_names(path) -> set[str]:
    """Names of the arrays; empty if the file is no .npz.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return set()


def read_npz(path, wanted) -> dict[str, object]:
    """Members of the names in `wanted` that the archive holds.

    Raises
    ------
    ValueError
        If a member is damaged or larger than its header or its packed size allow.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name not in wanted:
                    continue
                if info.file_size > _RATIO * info.compress_size + 1024:
                    raise ValueError(f"{name}: promises {info.file_size} bytes out of {info.compress_size} packed ones")
                with archive.open(info) as member:
                    content = member.read(info.file_size + 1)
                if len(content) != info.file_size:
                    raise ValueError(f"{name}: promises {info.file_size} bytes and has others")
                try:
                    found[name] = parse_npy(content)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        raise ValueError(f"the .npz archive is damaged ({error})") from None
    except Exception as error:  # zlib's own error class
        if type(error).__module__ == "zlib":
            raise ValueError(f"the .npz archive is damaged ({error})") from None
        raise
    return found


def parse_npy(content: bytes):
    """The array in the bytes of a .npy file; of an array of objects, what `unpickle_arrays` makes of it.

    Raises
    ------
    ValueError
        If the header is malformed or promises other than what follows.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = readers.get(version, readers[(2, 0)])(stream)
    except Exception as error:  # the header is parsed as Python's literals, which fail in many ways
        raise ValueError(f"is no .npy array ({' '.join(str(error).split())[:80]})") from None
    rest = content[stream.tell() :]
    if dtype.hasobject:
        return unpickle_arrays(rest)
    if dtype.kind not in "biufU" or dtype.subdtype is not None:
        raise ValueError(f"expected numbers or text, got {dtype}")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"its header promises {shape} of {dtype}, {len(rest)} bytes follow")
    if dtype.kind == "U" and np.frombuffer(rest, dtype.str[0] + "u4").max(initial=0) > sys.maxunicode:
        raise ValueError("its text has characters that do not exist")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
