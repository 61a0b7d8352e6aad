"""What a binary glTF file is made of: two chunks, and arrays (accessors) in the second that the first describes."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass

import numpy as np

__all__ = ["Container", "open_container", "pack_container"]

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_KNOWN = {
    "EXT_texture_webp", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_unlit", "KHR_mesh_quantization",
    "KHR_texture_transform",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Container:
    """A glTF document and its bytes.

    Attributes
    ----------
    document : dict
    buffers : tuple of (bytes or None)
        None for one that lies beside the file.
    """

    document: dict
    buffers: tuple[bytes | None, ...]

    @property
    def size(self) -> int:
        """Bytes of all buffers."""
        return sum(len(buffer or b"") for buffer in self.buffers)

    def item(self, kind: str, index) -> dict:
        """Entry `index` of a list of the document, such as "nodes"."""
        entries = self.document.get(kind, [])
        if not (isinstance(entries, list) and isinstance(index, int) and 0 <= index < len(entries)):
            raise ValueError(f"{kind}: expected an index of one of {_length(entries)}, got {index!r}")
        if not isinstance(entries[index], dict):
            raise ValueError(f"{kind}: expected objects, got {type(entries[index]).__name__}")
        return entries[index]

    def array(self, index, width: int | tuple[int, ...], count: int | None = None, what: str = "accessor"):
        """The numbers of an accessor, float64 for floats and normalized integers, int64 for other integers.

        Parameters
        ----------
        index : int
        width : int or tuple of int
            Numbers in a row, 1 to 4.
        count : int, optional
            Rows expected.
        what : str
            What it holds, for messages.

        Returns
        -------
        (N, W) array

        Raises
        ------
        ValueError
            If the accessor is another one, or reaches out of the bytes of the file.
        """
        accessor = self.item("accessors", index)
        rows = _count(accessor, "count", what)
        kind, width = self._kind(accessor, width, what)
        if count is not None and rows != count:
            raise ValueError(f"{what}: expected {count} rows, got {rows}")
        if "bufferView" in accessor:
            values = self._view(accessor, kind, width, rows, what)
        elif count is None:  # zeros: only as many as another array, which lies in the file, asks for
            raise ValueError(f"{what}: an accessor without a bufferView, expected one with")
        else:
            values = np.zeros((rows, width), kind)
        sparse = accessor.get("sparse")
        if sparse is not None:
            values = self._patched(values, sparse, kind, what)
        if kind[1] == "f":
            return values.astype(float)
        if accessor.get("normalized"):
            return np.maximum(values.astype(float) / np.iinfo(kind).max, -1.0)
        return values.astype(np.int64)

    def _kind(self, accessor, width, what: str) -> tuple[str, int]:
        kind = _TYPES.get(_hashable(accessor.get("componentType")))
        held = _WIDTHS.get(_hashable(accessor.get("type")))
        wanted = (width,) if isinstance(width, int) else width
        if kind is None or held not in wanted:
            shown = f"{accessor.get('componentType')!r}, {accessor.get('type')!r}"[:80]
            raise ValueError(f"{what}: expected rows of {' or '.join(map(str, wanted))} numbers, got {shown}")
        return kind, held

    def _view(self, accessor, kind: str, width: int, rows: int, what: str) -> np.ndarray:
        view, buffer, begin, length = self._span(accessor["bufferView"], what)
        offset, item = _count(accessor, "byteOffset", what, 0), np.dtype(kind).itemsize * width
        stride = _count(view, "byteStride", what, 0) or item
        if stride < item or (rows and offset + (rows - 1) * stride + item > length):
            raise ValueError(f"{what}: promises {rows} rows of {stride} bytes, the file holds {length} bytes for them")
        if not rows:
            return np.empty((0, width), kind)
        return np.ndarray((rows, width), kind, buffer, begin + offset, (stride, np.dtype(kind).itemsize))

    def view_bytes(self, index, what: str) -> bytes:
        """The bytes of a bufferView, which must lie within the file."""
        _, buffer, begin, length = self._span(index, what)
        return bytes(buffer[begin : begin + length])

    def _span(self, index, what: str) -> tuple[dict, bytes, int, int]:
        view = self.item("bufferViews", index)
        self.item("buffers", view.get("buffer"))
        buffer = self.buffers[view["buffer"]]
        if buffer is None:
            raise ValueError("buffers: expected all arrays within the file, got one beside it")
        begin, length = _count(view, "byteOffset", what, 0), _count(view, "byteLength", what)
        if begin + length > len(buffer):
            raise ValueError(f"{what}: its bytes end at {begin + length}, the file holds {len(buffer)}")
        return view, buffer, begin, length

    def _patched(self, values, sparse, kind: str, what: str) -> np.ndarray:
        if not (isinstance(sparse, dict) and all(isinstance(sparse.get(k), dict) for k in ("indices", "values"))):
            raise ValueError(f"{what}: expected 'indices' and 'values' in 'sparse'")
        count = _count(sparse, "count", what)
        index_kind = _TYPES.get(_hashable(sparse["indices"].get("componentType")), "<f4")
        if index_kind[1] != "u":
            raise ValueError(f"{what}: expected unsigned indices in 'sparse'")
        rows = self._view(_with_view(sparse["indices"], what), index_kind, 1, count, what)[:, 0].astype(np.int64)
        new = self._view(_with_view(sparse["values"], what), kind, values.shape[1], count, what)
        if count and rows.max() >= len(values):
            raise ValueError(f"{what}: sparse indices must lie in [0, {len(values)}), got {rows.max()}")
        values = np.array(values)
        values[rows] = new
        return values


def _with_view(part, what: str):
    if "bufferView" not in part:
        raise ValueError(f"{what}: expected a bufferView in 'sparse'")
    return part


def _hashable(value):
    return value if isinstance(value, (int, str)) else None


def _length(value) -> str:
    return str(len(value)) if isinstance(value, list) else "none"


def _count(holder: dict, key: str, what: str, default=None) -> int:
    value = holder.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what}: expected a count as {key!r}, got {str(value)[:40]}")
    return value


def open_container(data: bytes) -> Container:
    """Take a .glb file apart.

    Raises
    ------
    ValueError
        If it is no glTF 2.0, shorter than it promises, or asks for an extension that is not read (compression).
    """
    if len(data) < 20 or data[:4] != b"glTF":
        raise ValueError("expected a binary glTF file, which begins with 'glTF'")
    version, total = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise ValueError(f"expected glTF version 2, got {version}")
    if total > len(data):
        raise ValueError(f"header: promises {total} bytes, the file holds {len(data)}")
    chunks, position = [], 12
    while position + 8 <= total and len(chunks) < 2:
        length, kind = struct.unpack_from("<II", data, position)
        position += 8
        if position + length > total:
            raise ValueError(f"header: a chunk promises {length} bytes, the file holds {total - position}")
        chunks.append((kind, data[position : position + length]))
        position += length
    if not chunks or chunks[0][0] != _JSON:
        raise ValueError("expected the JSON chunk first")
    try:
        document = json.loads(chunks[0][1].decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("its JSON chunk cannot be read") from None
    if not isinstance(document, dict):
        raise ValueError("expected an object in the JSON chunk")
    required = document.get("extensionsRequired", [])
    foreign = [str(name)[:60] for name in required if name not in _KNOWN] if isinstance(required, list) else ["?"]
    if foreign:
        raise ValueError(f"needs the extension {foreign[0]}, which is not read; export it without compression")
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == _BIN else b""
    listed = document.get("buffers", [])
    listed = listed if isinstance(listed, list) else []
    return Container(document, tuple(_buffer(entry, binary if i == 0 else None) for i, entry in enumerate(listed)))


def _buffer(entry, binary: bytes | None) -> bytes | None:
    uri = entry.get("uri") if isinstance(entry, dict) else None
    if uri is None:
        return binary
    head, comma, text = str(uri).partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("buffers: its base64 text cannot be read") from None


def pack_container(document: dict, binary: bytes) -> bytes:
    """The bytes of a .glb file; both chunks are filled up to multiples of four bytes."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode("utf-8")
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<II", len(text), _JSON)
    return head + text + struct.pack("<II", len(binary), _BIN) + binary
