"""The elements of a PLY file: its header, and columns of numbers and lists under it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from affect3d.io.mesh_parts import numbers

__all__ = ["Lists", "parse_elements"]

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_ORDERS = {b"ascii": "", b"binary_little_endian": "<", b"binary_big_endian": ">"}
_END = re.compile(rb"(?:^|[\r\n])[ \t]*end_header[ \t]*(\r\n|\n|\r)")
#: Headers are a few hundred bytes; what looks longer is no header.
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True, eq=False)
class Lists:
    """A column whose rows are lists: all values one after the other, and the length of each list."""

    values: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str  # NumPy's letter and size
    count: str | None = None  # of the number before a list


def parse_elements(data: bytes) -> dict[str, dict[str, np.ndarray | Lists]]:
    """Columns of all elements of a PLY file, by the names of element and property.

    Columns have the types of the header; the fractions of a text file are float64.  Nothing is allocated on the
    word of the header: a row takes at least one byte for each number, so counts are compared with the bytes there are.

    Raises
    ------
    ValueError
        If the header cannot be understood or promises more than the bytes hold.
    """
    elements, order, start = _header(data)
    if order:
        stream = data
        position, size_of = start, lambda kind: np.dtype(kind).itemsize
    else:
        stream = numbers(data[start:], what="numbers after the header")
        position, size_of = 0, lambda kind: 1
    found = {}
    for name, count, properties in elements:
        least = sum(size_of(p.count or p.kind) for p in properties)
        left = (len(stream) - position) // least if least else count
        if count > left:
            raise ValueError(f"header: promises {count} rows of {name!r}, the file holds at most {left}")
        read = _even(stream, position, count, properties, order)
        if read is None:
            read = _uneven(stream, position, count, properties, order, size_of, name)
        found[name], position = read
    return found


def _header(data: bytes):
    if not re.match(rb"ply[ \t]*[\r\n]", data):
        raise ValueError("expected a PLY file, whose first line is 'ply'")
    end = _END.search(data, 0, _LONGEST_HEADER)
    if end is None:
        raise ValueError("header: expected a line 'end_header'")
    order, elements, known = None, [], set()
    for line in data[: end.start()].splitlines()[1:]:
        words = line.split()
        if not words or words[0] in (b"comment", b"obj_info"):
            continue
        shown = line[:60].decode("ascii", "replace").strip()
        if words[0] == b"format" and len(words) >= 2 and words[1] in _ORDERS:
            order = _ORDERS[words[1]]
        elif words[0] == b"element" and len(words) == 3 and words[2].isdigit():
            name = words[1].decode("ascii", "replace")
            if name in known:
                raise ValueError(f"header: two elements {name!r}")
            known.add(name)
            elements.append((name, int(words[2]), {}))
        elif words[0] == b"property" and elements and len(words) in (3, 5):
            _add(elements[-1][2], [word.decode("ascii", "replace") for word in words[1:]], shown)
        else:
            raise ValueError(f"header: cannot understand the line {shown!r}")
    if order is None:
        raise ValueError("header: expected a line 'format ascii', 'binary_little_endian' or 'binary_big_endian'")
    return [(name, count, list(found.values())) for name, count, found in elements], order, end.end()


def _add(properties, words, shown: str) -> None:
    is_list = len(words) == 4
    kinds = words[1:3] if is_list else words[:1]
    if (is_list and words[0] != "list") or any(kind not in _TYPES for kind in kinds):
        raise ValueError(f"header: cannot understand the line {shown!r}")
    if words[-1] in properties:
        raise ValueError(f"header: two properties {words[-1]!r} in one element")
    if is_list and _TYPES[kinds[0]][0] == "f":
        raise ValueError(f"header: a list counted by fractions, {shown!r}")
    properties[words[-1]] = _Property(words[-1], _TYPES[kinds[-1]], _TYPES[kinds[0]] if is_list else None)


def _typed(values, kind: str, name: str):
    """Numbers of a text file in the header's type; fractions keep all their digits."""
    if kind[0] == "f":
        return values
    bounds = np.iinfo(kind)
    with np.errstate(invalid="ignore"):
        if len(values) and not ((values == np.rint(values)) & (values >= bounds.min) & (values <= bounds.max)).all():
            raise ValueError(f"{name}: expected whole numbers in [{bounds.min}, {bounds.max}], as the header says")
    return values.astype(kind)


def _even(stream, position: int, count: int, properties, order: str):
    """Columns and the place after them if every list is as long as in the first row, else None; at NumPy's speed."""
    sizes, at = [], position
    for p in properties:  # how long are the lists of the first row?
        if p.count is None:
            sizes.append(None)
            at += np.dtype(p.kind).itemsize if order else 1
            continue
        head = np.dtype(p.count).itemsize if order else 1
        if not count or at + head > len(stream):
            return ({p.name: _empty(p) for p in properties}, position) if not count else None
        n = np.frombuffer(stream, order + p.count, 1, at)[0] if order else stream[at]
        if not 0 <= n <= len(stream) or n != int(n):
            return None
        sizes.append(int(n))
        at += head + int(n) * (np.dtype(p.kind).itemsize if order else 1)
    if not properties:
        return {}, position
    row = at - position
    if position + row * count > len(stream):
        return None
    columns = {}
    if order:
        fields = []
        for i, (p, n) in enumerate(zip(properties, sizes)):
            fields += [] if n is None else [(f"n{i}", order + p.count)]
            fields.append((f"v{i}", order + p.kind, () if n is None else (n,)))
        rows = np.frombuffer(stream, np.dtype(fields), count, position)
        for i, (p, n) in enumerate(zip(properties, sizes)):
            if n is not None and (rows[f"n{i}"] != n).any():
                return None
            values = np.ascontiguousarray(rows[f"v{i}"]).astype(p.kind)
            columns[p.name] = values if n is None else Lists(values.ravel(), np.full(count, n))
    else:
        rows, at = stream[position : position + row * count].reshape(count, row), 0
        for p, n in zip(properties, sizes):
            if n is None:
                columns[p.name] = _typed(rows[:, at], p.kind, p.name)
                at += 1
                continue
            if (rows[:, at] != n).any():
                return None
            values = _typed(rows[:, at + 1 : at + 1 + n].ravel(), p.kind, p.name)
            columns[p.name] = Lists(values, np.full(count, n))
            at += 1 + n
    return columns, position + row * count


def _empty(p: _Property):
    values = np.empty(0, p.kind)
    return values if p.count is None else Lists(values, np.empty(0, np.int64))


def _uneven(stream, position: int, count: int, properties, order: str, size_of, name: str):
    """The same row by row, for lists of different lengths: each says only where the next begins."""
    starts = [[] for _ in properties]
    sizes = [[] for _ in properties]
    steps = [(p.count is not None, size_of(p.count or p.kind), size_of(p.kind), i) for i, p in enumerate(properties)]
    signs = [p.count is not None and p.count[0] == "i" for p in properties]
    endian = "big" if order == ">" else "little"
    end = len(stream)
    for row in range(count):
        for is_list, head, item, i in steps:
            if not is_list:
                starts[i].append(position)
                position += head
                continue
            if position + head > end:
                raise ValueError(f"{name}: the file ends in row {row} of {count}")
            if order:
                n = int.from_bytes(stream[position : position + head], endian, signed=signs[i])
            else:
                n = stream[position]
                if not 0 <= n <= end or n != int(n):
                    n = -1
                n = int(n)
            if n < 0:
                raise ValueError(f"{name}: row {row} has a list of a length that is no count")
            position += head
            starts[i].append(position)
            sizes[i].append(n)
            position += n * item
        if position > end:
            raise ValueError(f"{name}: the file ends in row {row} of {count}")
    columns = {}
    for p, start, size in zip(properties, starts, sizes):
        start = np.array(start, np.int64)
        lengths = np.ones(count, np.int64) if p.count is None else np.array(size, np.int64)
        step = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        if order:
            width = size_of(p.kind)
            place = (np.repeat(start, lengths) + step * width)[:, None] + np.arange(width)
            values = np.frombuffer(stream, np.uint8)[place].reshape(-1).view(order + p.kind).astype(p.kind)
        else:
            values = _typed(stream[np.repeat(start, lengths) + step], p.kind, p.name)
        columns[p.name] = values if p.count is None else Lists(values, lengths)
    return columns, position
