"""Models of eos (.bin), the Surrey Face Model among them: cereal's binary archive of its MorphableModel.

The archive is a bare sequence.  A model: its version (uint32), the shape model, the colour model, then in version 2
the expressions, in 3 and 4 the expressions and named vertices, then texture coordinates (vector of two doubles), in 4
their triangles.  A PCA model: mean, orthonormal basis, eigenvalues (matrices), triangles (vector of three int32).
A matrix: rows and columns (int32), float32 by columns.  A vector: uint64 and the items; a text likewise.  What may be
missing begins with one byte, 1 if it is missing.  Expressions: int32 0 and a PCA model, or 1 and a vector of
blendshapes, each a name and a matrix.  The portable archive begins with one byte more, 1 if the rest is little-endian.

Source: eos (github.com/patrikhuber/eos) 1.5, morphablemodel/{MorphableModel,PcaModel,Blendshape}.hpp and
io/eigen_cerealisation.hpp; cereal 1.3.  The format states no unit of length.
"""

from __future__ import annotations

import numpy as np

from affect3d.io.foreign.assemble import ForeignModel, expressions_of_modes, pca_modes, require_shape

__all__ = ["eos_blendshapes", "eos_model", "looks_like_eos"]

_VERSIONS = (1, 2, 3, 4)


def looks_like_eos(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `head` (at least 21 bytes) may be a model of eos.

    There is no signature: the version and the first matrix, which must be a column that fits into the file.
    """
    if len(head) < 21:
        return False
    order, start = _archive(head)
    version, rows, columns = np.frombuffer(head[start : start + 12], order + "i4").tolist()
    return 0 <= version <= 16 and columns == 1 and 9 <= rows and rows % 3 == 0 and 4 * rows <= size


def eos_model(data: bytes, keep: int | None = None, keep_expressions: int | None = None) -> ForeignModel:
    """The model in the bytes of the file.

    Parameters
    ----------
    data : bytes
    keep, keep_expressions : int, optional
        Identity and colour modes, and expression modes, to keep; all of them if left out.

    Raises
    ------
    ValueError
        If the file is broken off, longer than the model, of an unknown version, or its parts do not fit together.
    """
    order, start = _archive(data)
    archive = _Archive(data, order, start)
    version = archive.number("u4", "the version")
    if version not in _VERSIONS:
        raise ValueError(f"is a model of version {version}, expected one of {', '.join(map(str, _VERSIONS))}")
    shape, colour = archive.pca("shape"), archive.pca("colour")
    expressions = archive.optional(lambda: archive.expressions(), "expressions") if version >= 2 else None
    named = archive.optional(lambda: archive.named_vertices(), "named vertices") if version >= 3 else None
    uv = archive.rows("f8", 2, "texture coordinates")
    uv_faces = archive.rows("i4", 3, "texture triangles") if version == 4 else np.zeros((0, 3), "i4")
    archive.finish()

    count = shape.mean.size // 3
    require_shape(shape.mean, (3 * count, 1), "shape mean")
    identity, std = pca_modes(shape.basis, shape.deviations("shape"), "shape", count, keep)
    raw = {"expression": np.zeros((0, count, 3), np.float32), "expression_names": ()}
    notes = []
    if isinstance(expressions, _Pca):
        require_shape(expressions.mean, (3 * count, 1), "expression mean")
        deviations = expressions.deviations("expression")
        modes, deviations = pca_modes(expressions.basis, deviations, "expression", count, keep_expressions)
        moved, names = expressions_of_modes(modes, deviations, expressions.mean.reshape(count, 3))
        raw = {"expression": moved, "expression_names": names}
        notes.append("expression modes at 3 and -3 deviations")
    elif expressions:
        for name, moved in expressions:
            require_shape(moved, (3 * count, 1), f"blendshape {name!r}")
        moved = np.stack([moved for _, moved in expressions]).reshape(-1, count, 3)
        raw = {"expression": moved, "expression_names": tuple(name for name, _ in expressions)}
        notes.append("blendshapes under the names that the file gives them")
    if colour.mean.size:
        require_shape(colour.mean, (3 * count, 1), "colour mean")
        modes, deviations = pca_modes(colour.basis, colour.deviations("colour"), "colour", count, keep)
        raw |= {"colour_mean": colour.mean.reshape(count, 3), "colour_modes": modes, "colour_std": deviations}
        notes.append("colours are taken as sRGB")
    if len(uv):
        # eos counts v from the top of the texture
        raw["uv"] = np.column_stack([uv[:, 0], 1 - uv[:, 1]])
        raw["uv_faces"] = uv_faces if len(uv_faces) else None
        if not len(uv_faces):
            require_shape(uv, (count, 2), "texture coordinates")
        elif len(uv_faces) != len(shape.triangles):
            raise ValueError(f"texture triangles: expected {len(shape.triangles)}, got {len(uv_faces)}")
    return ForeignModel(
        mean=shape.mean.reshape(count, 3), faces=shape.triangles, identity=identity, identity_std=std,
        landmark_vertices=_ibug(named or {}, count), name="eos model", licence="as agreed with its provider",
        source=f"an eos file of version {version}", notes=notes, **raw,
    )  # fmt: skip


def eos_blendshapes(data: bytes) -> dict[str, np.ndarray]:
    """The blendshapes in the bytes of a file of their own, as eos ships them beside the Surrey Face Model.

    Returns
    -------
    dict of str to (V, 3) float32
        Displacements in the unit of the model they belong to.

    Raises
    ------
    ValueError
        If the file is broken off, longer than its content, empty or repeats a name.
    """
    try:
        shapes = _only_blendshapes(_Archive(data, "<", 0))
    except ValueError:
        if data[:1] not in (b"\0", b"\1"):
            raise
        try:  # the portable archive, told apart by nothing else
            shapes = _only_blendshapes(_Archive(data, "<" if data[:1] == b"\1" else ">", 1))
        except ValueError:
            shapes = None
        if shapes is None:
            raise
    found = {}
    for name, moved in shapes:
        require_shape(moved, (None, 1), f"blendshape {name!r}")
        if name in found or moved.size % 3:
            raise ValueError(f"blendshape {name!r}: expected different names and three numbers for each vertex")
        found[name] = moved.reshape(-1, 3)
    if not found:
        raise ValueError("holds no blendshapes")
    return found


def _only_blendshapes(archive: _Archive) -> list[tuple[str, np.ndarray]]:
    shapes = archive.blendshapes()
    archive.finish()
    return shapes


def _archive(data) -> tuple[str, int]:
    """Byte order, and where the archive begins: behind its first byte if it is a portable one."""
    if data[0] == 1 and 1 <= data[1] <= 16 and not any(data[2:5]):
        return "<", 1
    if data[0] == 0 and not any(data[1:4]) and 1 <= data[4] <= 16:
        return ">", 1
    return "<", 0


def _ibug(named: dict[str, int], count: int) -> dict[str, np.ndarray]:
    """Vertices of the 68 points where the file names them by their numbers, counted from 1."""
    numbers = {str(number): number for number in range(1, 69)}
    points = {numbers[name]: vertex for name, vertex in named.items() if name in numbers}
    if not points:
        return {}
    vertices = np.full(68, -1)
    for number, vertex in points.items():
        if not 0 <= vertex < count:
            raise ValueError(f"landmark {number}: there is no vertex {vertex}")
        vertices[number - 1] = vertex
    return {"ibug68": vertices}


class _Pca:
    def __init__(self, mean, basis, eigenvalues, triangles):
        self.mean, self.basis, self.eigenvalues, self.triangles = mean, basis, eigenvalues, triangles

    def deviations(self, name: str) -> np.ndarray:
        values = self.eigenvalues.astype(np.float64).ravel()
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} eigenvalues: expected finite numbers that are not negative")
        return np.sqrt(values)


class _Archive:
    """A place in the bytes; each promise is compared with what is left before it is believed."""

    def __init__(self, data, order: str, at: int):
        self.data, self.order, self.at = memoryview(data), order, at

    def take(self, count: int, size: int, what: str):
        left = len(self.data) - self.at
        if count < 0 or count * size > left:
            raise ValueError(f"is broken off: {what} promises {count * size} bytes at byte {self.at}, {left} follow")
        self.at += count * size
        return self.data[self.at - count * size : self.at]

    def number(self, kind: str, what: str) -> int:
        return int(np.frombuffer(self.take(1, np.dtype(kind).itemsize, what), self.order + kind)[0])

    def flag(self, what: str) -> bool:
        value = self.number("u1", what)
        if value > 1:
            raise ValueError(f"{what}: expected 0 or 1 at byte {self.at - 1}, got {value}")
        return bool(value)

    def optional(self, read, what: str):
        return None if self.flag(what) else read()

    def matrix(self, what: str) -> np.ndarray:
        rows, columns = self.number("i4", what), self.number("i4", what)
        if rows < 0 or columns < 0:
            raise ValueError(f"{what}: has {rows} rows and {columns} columns")
        content = self.take(rows * columns, 4, what)
        return np.frombuffer(content, self.order + "f4").reshape(rows, columns, order="F")

    def rows(self, kind: str, columns: int, what: str) -> np.ndarray:
        count = self.number("u8", what)
        content = self.take(count, columns * np.dtype(kind).itemsize, what)
        return np.frombuffer(content, self.order + kind).reshape(count, columns)

    def text(self, what: str) -> str:
        count = self.number("u8", what)
        content = bytes(self.take(count, 1, what))
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{what}: is no text") from None

    def pca(self, name: str) -> _Pca:
        parts = [self.matrix(f"{name} {part}") for part in ("mean", "basis", "eigenvalues")]
        return _Pca(*parts, self.rows("i4", 3, f"{name} triangles"))

    def expressions(self):
        kind = self.number("i4", "the kind of expressions")
        if kind == 0:
            return self.pca("expression")
        if kind != 1:
            raise ValueError(f"the kind of expressions: expected 0 or 1, got {kind}")
        return self.blendshapes()

    def blendshapes(self) -> list[tuple[str, np.ndarray]]:
        count = self.number("u8", "blendshapes")
        if count * 16 > len(self.data) - self.at:
            raise ValueError(f"is broken off: {count} blendshapes do not fit into the rest of the file")
        return [(self.text("the name of a blendshape"), self.matrix("a blendshape")) for _ in range(count)]

    def named_vertices(self) -> dict[str, int]:
        count = self.number("u8", "named vertices")
        if count * 12 > len(self.data) - self.at:
            raise ValueError(f"is broken off: {count} named vertices do not fit into the rest of the file")
        return {self.text("the name of a vertex"): self.number("i4", "a vertex") for _ in range(count)}

    def finish(self) -> None:
        if self.at != len(self.data):
            raise ValueError(f"{len(self.data) - self.at} bytes are left over behind the model")
