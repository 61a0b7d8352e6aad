"""Teeth and gums by construction, for heads whose source has none worth looking at.

Fourteen teeth a jaw stand on a dental arch; each is a superellipse swept from the gum to its edge.
Sizes are the usual anatomical means (Ash and Nelson, "Wheeler's Dental Anatomy, Physiology and
Occlusion"), in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Dentition", "dentition"]

# (width along the arch, crown height, thickness at the neck, thickness at the edge), midline outwards
_UPPER = (
    (8.5, 10.5, 7.0, 2.2), (6.5, 9.2, 6.0, 2.0), (7.6, 10.0, 8.0, 2.8), (7.1, 8.4, 9.0, 7.0),
    (6.9, 8.2, 9.0, 7.2), (10.2, 7.6, 11.0, 9.0), (9.4, 7.0, 11.0, 9.0),
)
_LOWER = (
    (5.3, 8.8, 5.7, 1.8), (5.8, 9.2, 6.1, 1.9), (6.9, 10.3, 7.6, 2.6), (7.0, 8.4, 7.5, 6.0),
    (7.1, 8.0, 8.0, 7.0), (11.2, 7.4, 10.4, 9.0), (10.6, 7.0, 10.2, 9.0),
)
IVORY = np.array([246.0, 241.0, 230.0])
GUM = np.array([196.0, 112.0, 112.0])
_AROUND, _LEVELS = 16, 8
_GUM_ALONG, _GUM_LEVELS = 6, 6


@dataclass(frozen=True, eq=False)
class Dentition:
    """Teeth of one jaw.

    Attributes
    ----------
    vertices : (V, 3) float64
        mm; x to the subject's left, y up, z forward; the origin is the middle of the front teeth's
        outer face at their biting edge.
    faces : (F, 3) int32
        Counter-clockwise seen from outside.
    colours : (V, 3) uint8
    gums : (F,) bool
        Triangles of the gum.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    gums: np.ndarray


def dentition(jaw: str, width: float = 54.0) -> Dentition:
    """Teeth and gums of the `jaw` ("upper" or "lower").

    Parameters
    ----------
    width : float
        Outer width of the upper arch at the first molars, mm; both jaws scale with it.
    """
    if jaw not in ("upper", "lower"):
        raise ValueError(f"jaw: expected 'upper' or 'lower', got {jaw!r}")
    if not 30 <= width <= 80:
        raise ValueError(f"width: expected 30 to 80 mm, got {width}")
    sizes = _UPPER if jaw == "upper" else _LOWER
    up = 1.0 if jaw == "upper" else -1.0  # from the edge towards the gum
    scale = width / 54.0
    arch = _Arch(half=27.0 if jaw == "upper" else 25.0)
    pieces = []
    centre = 0.0
    for kind, (tooth_width, height, neck, edge) in enumerate(sizes):
        middle = centre + tooth_width / 2
        for side in (1, -1):
            pieces.append(_tooth(arch, side * middle, tooth_width, height, neck, edge, kind, up))
        centre += tooth_width
    gum = _gum(arch, sizes, up)
    vertices, faces, colours, gums = [], [], [], []
    start = 0
    for k, (v, f, c) in enumerate(pieces + [gum]):
        vertices.append(v)
        faces.append(f + start)
        colours.append(c)
        gums.append(np.full(len(f), k == len(pieces)))
        start += len(v)
    vertices = np.concatenate(vertices)
    # Outer faces of the front teeth at z = 0, the biting edge at y = 0.
    front = np.abs(vertices[:, 0]) < 4
    vertices[:, 2] -= vertices[front & (np.abs(vertices[:, 1]) < 3), 2].max()
    return Dentition(
        vertices * scale, np.concatenate(faces).astype(np.int32),
        np.clip(np.rint(np.concatenate(colours)), 0, 255).astype(np.uint8), np.concatenate(gums),
    )


class _Arch:
    """The curve z = -a |x|^p through the canines and molars, by arc length from the middle."""

    def __init__(self, half: float, power: float = 2.8):
        x = np.linspace(0, half * 1.12, 2000)
        z = -34.0 * (x / half) ** power
        self._length = np.r_[0, np.cumsum(np.hypot(np.diff(x), np.diff(z)))]
        self._x, self._z = x, z

    def at(self, s):
        """Positions (x, z), and outward normals (x, z), at arc lengths `s` (negative: subject's right)."""
        s = np.asarray(s, float)
        a, sign = np.abs(s), np.where(s < 0, -1.0, 1.0)
        x, z = np.interp(a, self._length, self._x), np.interp(a, self._length, self._z)
        e = 1e-2
        dx = np.interp(a + e, self._length, self._x) - np.interp(np.maximum(a - e, 0), self._length, self._x)
        dz = np.interp(a + e, self._length, self._z) - np.interp(np.maximum(a - e, 0), self._length, self._z)
        n = np.hypot(dx, dz)
        return np.stack([sign * x, z], -1), np.stack([sign * -dz / n, dx / n], -1)


def _tooth(arch, middle, width, height, neck, edge, kind, up):
    t = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    power = 2 / 3.2
    across = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    through = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power
    position, normal = arch.at(middle)
    tangent = np.array([normal[1], -normal[0]])
    vertices, colours = [], []
    levels = np.r_[0.0, 0.05, 0.14, np.linspace(0.3, 1.12, _LEVELS - 3)]
    for level in levels:  # 0 at the biting edge, 1 at the gum line
        # widest two fifths of the way up, narrower at the neck, corners rounded at the edge
        rounding = 0.22 * (1 - level / 0.14) ** 2 if level < 0.14 else 0.0
        w = width / 2 * (0.995 - 0.16 * max(level - 0.35, 0) - rounding)
        d = (edge + (neck - edge) * np.clip(level, 0, 1) ** 0.75) / 2
        # the outer face bulges, so the edge lies behind the middle of the crown
        outwards = -d - 0.9 * (level - 0.45) ** 2 + through * d
        point = position + across[:, None] * w * tangent + outwards[:, None] * normal
        y = level * height
        if kind == 2:  # the canine's tip
            y = y + max(1 - 2 * level, 0) * 1.1 * (np.abs(across) - 0.6)
        if kind == 1 and up > 0:  # upper lateral incisors are a little shorter
            y = y + 0.5 * (1 - level)
        vertices.append(np.column_stack([point[:, 0], up * (np.zeros(_AROUND) + y), point[:, 1]]))
        shade = 1.0 - 0.05 * level - (0.02 if kind == 2 else 0) - 0.01 * kind
        tint = IVORY * shade - np.array([0, 2, 9]) * level - np.array([0, 1, 3]) * (kind == 2)
        if level == 0 and kind < 2:
            tint = tint - [12, 8, 2]  # the translucent edge
        # grooves between neighbours are darker
        groove = 1 - 0.07 * np.abs(across)[:, None] ** 8
        colours.append(tint * groove)
    cap = vertices[0].mean(0, keepdims=True)
    vertices = np.concatenate(vertices + [cap])
    colours = np.concatenate(colours + [colours[0].mean(0, keepdims=True)])
    faces = []
    for r in range(len(levels) - 1):
        for k in range(_AROUND):
            a, b = r * _AROUND + k, r * _AROUND + (k + 1) % _AROUND
            c, d = a + _AROUND, b + _AROUND
            faces += [(a, b, d), (a, d, c)]
    top = len(vertices) - 1
    faces += [(top, (k + 1) % _AROUND, k) for k in range(_AROUND)]
    faces = np.array(faces)
    return vertices, _outwards(vertices, faces), colours


def _gum(arch, sizes, up):
    ends = np.r_[0, np.cumsum([s[0] for s in sizes])]
    along, line = [], []
    for k, (width, height, _, _) in enumerate(sizes):
        u = np.arange(_GUM_ALONG) / _GUM_ALONG
        along.append(ends[k] + u * width)
        # the papilla reaches down between the teeth
        line.append(height - 3.2 * np.abs(2 * u - 1) ** 2.5)
    along, line = np.concatenate(along), np.concatenate(line)
    s = np.r_[-along[:0:-1], along]
    line = np.r_[line[:0:-1], line]
    position, normal = arch.at(s)
    vertices, colours = [], []
    for r in range(_GUM_LEVELS):
        t = r / (_GUM_LEVELS - 1)
        y = line * (1 - t) + (np.maximum(line.max(), line) + 9) * t
        out = -1.2 + 1.6 * np.sin(np.pi * min(t * 1.3, 1)) - 2.5 * t**2
        point = position + out * normal
        vertices.append(np.column_stack([point[:, 0], up * y, point[:, 1]]))
        colours.append(np.tile(GUM * (0.96 + 0.06 * np.sin(np.pi * t)), (len(s), 1)))
    n = len(s)
    vertices = np.concatenate(vertices)
    faces = []
    for r in range(_GUM_LEVELS - 1):
        for k in range(n - 1):
            a, b, c, d = r * n + k, r * n + k + 1, (r + 1) * n + k, (r + 1) * n + k + 1
            faces += [(a, b, d), (a, d, c)] if up > 0 else [(a, d, b), (a, c, d)]
    return vertices, np.array(faces), np.concatenate(colours)


def _outwards(vertices, faces):
    # seen from the centre the open neck adds little, so the sign of the volume tells inside from outside
    corners = vertices[faces] - vertices.mean(0)
    volume = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()
    return faces if volume > 0 else faces[:, ::-1]
