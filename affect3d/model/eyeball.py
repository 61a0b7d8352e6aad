"""An eyeball by construction: a sphere of rings around the gaze, iris and pupil painted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["IRIS_ANGLE", "Eyeball", "eyeball"]

#: Half the angle of the iris seen from the centre of MakeHuman's eyeball, radians.  That ball is larger
#: (17 mm) than a real one (12 mm); the iris keeps its real radius of 5.9 mm.
IRIS_ANGLE = float(np.arcsin(5.9 / 17.0))
_PUPIL = 0.36  # of the iris
_WHITE, _VEIN = np.array([236.0, 231.0, 226.0]), np.array([222.0, 190.0, 180.0])
_IRIS, _RIM, _BLACK = np.array([112.0, 82.0, 58.0]), np.array([48.0, 36.0, 30.0]), np.array([14.0, 12.0, 12.0])


@dataclass(frozen=True, eq=False)
class Eyeball:
    """Unit sphere that looks along +z.

    Attributes
    ----------
    vertices : (V, 3) float64
        Vertex 0 is the middle of the pupil.
    faces : (F, 3) int32
    colours : (V, 3) uint8
    uv : (V, 2) float64
        The front in the middle of the unit square.
    rim : (4,) int32
        Vertices on the border of the iris towards +x, +y, -x, -y.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    rim: np.ndarray


def eyeball(around: int = 32) -> Eyeball:
    """A ball of `around` meridians (a multiple of four); mirror images of it match in every vertex.

    Raises
    ------
    ValueError
        If `around` is not a multiple of four or below eight.
    """
    if around < 8 or around % 4:
        raise ValueError(f"around: expected a multiple of four from 8, got {around}")
    pupil = _PUPIL * IRIS_ANGLE
    angles = np.concatenate([
        [0.5 * pupil, 0.94 * pupil, 1.06 * pupil],
        np.linspace(1.06 * pupil, 0.93 * IRIS_ANGLE, 4)[1:],
        [IRIS_ANGLE, 1.07 * IRIS_ANGLE],
        np.linspace(1.07 * IRIS_ANGLE, np.radians(90), 7)[1:],
        np.radians([112, 135, 158]),
    ])
    turn = 2 * np.pi * np.arange(around) / around
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    # exact zeros and mirror symmetry at the quarters
    ring = np.round(ring, 12)
    rows = [np.array([[0.0, 0.0, 1.0]])]
    for a in angles:
        rows.append(np.column_stack([np.sin(a) * ring, np.full(around, np.cos(a))]))
    rows.append(np.array([[0.0, 0.0, -1.0]]))
    vertices = np.concatenate(rows)
    k, nxt = np.arange(around), (np.arange(around) + 1) % around
    faces = [np.column_stack([np.zeros(around, int), 1 + k, 1 + nxt])]
    for r in range(len(angles) - 1):
        a, b = 1 + r * around + k, 1 + r * around + nxt
        faces += [np.column_stack([a, a + around, b + around]), np.column_stack([a, b + around, b])]
    last = len(vertices) - 1
    faces.append(np.column_stack([last - around + nxt, last - around + k, np.full(around, last)]))
    rim_row = 1 + int(np.argmin(np.abs(angles - IRIS_ANGLE))) * around
    rim = rim_row + np.array([0, around // 4, around // 2, 3 * around // 4])
    angle = np.arccos(np.clip(vertices[:, 2], -1, 1))
    radius = 0.5 * angle / np.pi  # equidistant around the front
    across = np.linalg.norm(vertices[:, :2], axis=1)
    direction = vertices[:, :2] / np.maximum(across, 1e-12)[:, None]
    uv = 0.5 + radius[:, None] * direction * (across > 1e-9)[:, None]
    return Eyeball(vertices, np.concatenate(faces).astype(np.int32), _paint(angle), uv, rim.astype(np.int32))


def _paint(angle):
    colours = np.empty((len(angle), 3))
    t = angle / IRIS_ANGLE
    for i, s in enumerate(t):
        if s < _PUPIL:
            colours[i] = _BLACK
        elif s < 0.97:
            colours[i] = _IRIS * (1.12 - 0.3 * (s - _PUPIL))
        elif s < 1.03:
            colours[i] = _RIM
        else:
            w = np.clip((angle[i] - 1.0) / 1.0, 0, 1)
            colours[i] = (1 - w) * _WHITE + w * _VEIN
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)
