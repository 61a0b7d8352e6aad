"""Numeric arrays of a MATLAB 5 .mat file.

Sizes in the file are compared with the bytes that are there before anything is allocated; cells, structures, objects
and functions are passed over.

Source: The MathWorks, "MAT-File Format" (MATLAB 5 level 2 files: data elements, small elements, compression).
"""

from __future__ import annotations

import math
import zlib

import numpy as np

__all__ = ["is_mat5", "read_mat5"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
# zlib cannot compress better than 1032 : 1
_RATIO = 1032


def is_mat5(head: bytes) -> bool:
    """Whether the first 128 bytes are the header of a MATLAB 5 file."""
    return len(head) >= 128 and head[126:128] in (b"IM", b"MI") and _version(head) == 0x0100


def read_mat5(data, wanted) -> dict[str, np.ndarray]:
    """Arrays of the names in `wanted` that the file holds.

    Parameters
    ----------
    data : bytes
        The whole file.
    wanted : collection of str

    Returns
    -------
    dict
        In the numeric class that MATLAB showed, with the file's axes (vectors have two, as in MATLAB).

    Raises
    ------
    ValueError
        If the file is broken off or sizes contradict each other, or a wanted variable is no real numeric array.
    """
    data = memoryview(data)
    if not is_mat5(bytes(data[:128])):
        raise ValueError("is no MATLAB 5 file")
    order = "<" if bytes(data[126:128]) == b"IM" else ">"
    found, at = {}, 128
    while at < len(data):
        kind, start, size = _tag(data, at, order)
        if start + size > len(data):
            left = len(data) - start
            raise ValueError(f"is broken off: an element at byte {at} promises {size} bytes, {left} follow")
        content = data[start : start + size]
        # compressed elements are not padded
        at = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if kind == _COMPRESSED:
            content = _inflate(content, wanted, order)
        elif kind != _MATRIX:
            continue
        if content is not None:
            name, array = _matrix(content, wanted, order)
            if array is not None:
                found[name] = array
    return found


def _version(head: bytes) -> int:
    return int.from_bytes(head[124:126], "little" if head[126:128] == b"IM" else "big")


def _tag(data, at: int, order: str) -> tuple[int, int, int]:
    """Type of the element at byte `at`, where its bytes start, and how many they are."""
    if at + 8 > len(data):
        raise ValueError(f"is broken off inside an element at byte {at}")
    kind, size = np.frombuffer(data[at : at + 8], order + "u4").tolist()
    if kind >> 16:  # a small element: both numbers in the first four bytes
        return kind & 0xFFFF, at + 4, kind >> 16
    return kind, at + 8, size


def _inflate(content, wanted, order: str):
    """The matrix inside a compressed element; None if it is not wanted."""
    try:
        head = zlib.decompressobj().decompress(content, 1024)
        kind, start, size = _tag(head, 0, order)
        if kind != _MATRIX:
            return None
        try:
            name, *_ = _header(memoryview(head)[start:], order)
        except ValueError:
            return None  # a name beyond any that is wanted
        if name not in wanted:
            return None
        if size > _RATIO * len(content):
            raise ValueError(f"{name}: promises {size} bytes, {len(content)} compressed ones cannot hold them")
        machine = zlib.decompressobj()
        whole = machine.decompress(content, start + size)
    except zlib.error as error:
        raise ValueError(f"a compressed element is damaged ({error})") from None
    if len(whole) < start + size:
        raise ValueError(f"{name}: is broken off, {len(whole) - start} of {size} bytes are there")
    return memoryview(whole)[start:]


def _header(content, order: str):
    """Name, class, whether complex, dimensions and the place of the numbers of a matrix element."""
    kind, start, size = _tag(content, 0, order)
    if kind != 6 or size != 8 or start + 8 > len(content):
        raise ValueError("a matrix begins without its flags")
    flags = int(np.frombuffer(content[start : start + 4], order + "u4")[0])
    at = start + 8
    kind, start, size = _tag(content, at, order)
    if kind != 5 or size % 4 or size > 128 or start + size > len(content):
        raise ValueError("a matrix has no dimensions")
    dimensions = np.frombuffer(content[start : start + size], order + "i4").tolist()
    at = _behind(start, size, at)
    kind, start, size = _tag(content, at, order)
    if kind not in (1, 16) or size > 256 or start + size > len(content):
        raise ValueError("a matrix has no name")
    name = bytes(content[start : start + size]).decode("latin1").rstrip("\0")
    return name, flags & 0xFF, bool(flags & 0x0800), dimensions, _behind(start, size, at)


def _behind(start: int, size: int, at: int) -> int:
    """Where the next element begins: small elements fill eight bytes, others are padded to eight."""
    return at + 8 if start == at + 4 else start + size + -size % 8


def _matrix(content, wanted, order: str):
    name, kind, imaginary, dimensions, at = _header(content, order)
    if name not in wanted:
        return name, None
    if kind not in _CLASSES or imaginary:
        raise ValueError(f"{name}: expected an array of real numbers")
    if any(n < 0 for n in dimensions):
        raise ValueError(f"{name}: has a negative dimension: {dimensions}")
    stored, start, size = _tag(content, at, order)
    if stored not in _TYPES:
        raise ValueError(f"{name}: numbers of unknown type {stored}")
    count = math.prod(dimensions)
    if size != count * np.dtype(_TYPES[stored]).itemsize or start + size > len(content):
        raise ValueError(f"{name}: {dimensions} numbers do not fit into {min(size, len(content) - start)} bytes")
    flat = np.frombuffer(content[start : start + size], order + _TYPES[stored])
    return name, flat.astype(_CLASSES[kind], copy=False).reshape(dimensions, order="F")
