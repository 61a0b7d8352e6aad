"""The default head as a linear function of MakeHuman's base mesh: skin, tongue, eyeballs, teeth.

Every vertex of the head is a fixed weighted sum of base vertices, so targets,
expressions and means all pass through one sparse matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from affect3d.geometry.subdivide import catmull_clark
from affect3d.model.eyeball import eyeball
from affect3d.model.head_regions import PART_NAMES, HeadRegions
from affect3d.model.teeth import dentition

__all__ = ["HeadTopology", "head_topology"]

# Eyeballs this much smaller than MakeHuman's leave room for lids that move on straight lines.
_EYE_SCALE = 0.975
# The upper front teeth against the line where the lips meet, mm: their edge shows a little below it, their face
# lies behind the lips' inner surface; the lower ones bite behind and over that edge.
_UPPER_TEETH = (0.0, -1.7, -5.0)
_LOWER_TEETH = (0.0, -0.6, -7.6)
_TEETH_WIDTH = 52.0


@dataclass(frozen=True, eq=False)
class HeadTopology:
    """Faces of the head and the matrix that gives its vertices.

    Attributes
    ----------
    operator : (N, V) sparse float64
        Head vertices from base vertices.
    faces : (F, 3) int32
    parts : (F,) uint8
        Index into `PART_NAMES`.
    uv : (T, 2) float64
    uv_faces : (F, 3) int32
    skin : int
        The first `skin` vertices are the skin, cavity and lids.
    head_of_base : (V,) int32
        Head vertex at each base vertex of the skin, -1 where there is none.
    ranges : dict of str to (int, int)
        Vertices of "tongue", "eye_left", "eye_right", "teeth_upper", "teeth_lower".
    eye_rims : (2, 5) int32
        Head vertices in the middle of each pupil and on the iris towards +x, +y, -x, -y.
    part_colours : (N, 3) uint8
        Colours of all but the skin; zeros there.
    """

    operator: sparse.csr_array
    faces: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    skin: int
    head_of_base: np.ndarray
    ranges: dict[str, tuple[int, int]]
    eye_rims: np.ndarray
    part_colours: np.ndarray


def head_topology(base, regions: HeadRegions, mean) -> HeadTopology:
    """Put the head together.

    Parameters
    ----------
    base : BaseMesh
    regions : HeadRegions
    mean : (V, 3) float array
        The mean body, mm; parts made by construction are placed on it and then
        follow the base mesh's own eyes and teeth.
    """
    count = len(base.vertices)
    build = _Builder(count)
    skin = catmull_clark(regions.quads, count, regions.dense, regions.uv_quads, len(base.uv))
    used = np.unique(skin.triangles)
    head_of_base = np.full(count, -1, np.int32)
    head_of_base[used[used < count]] = np.flatnonzero(used < count)
    # Texture space: the skin above, a strip for the other parts below.
    uv_used = np.unique(skin.uv_triangles)
    uv = skin.uv_operator @ base.uv
    low, high = uv[uv_used].min(0), uv[uv_used].max(0)
    uv = (uv - low) / (high - low).max() * 0.86
    uv[:, 1] += 0.14
    build.add("skin", skin.operator, skin.triangles, regions.parts[skin.parents], uv, skin.uv_triangles)

    quads = base.quads["helper-tongue"]
    tongue = catmull_clark(quads, count, None, base.uv_quads["helper-tongue"], len(base.uv))
    uv = _into_square(tongue.uv_operator @ base.uv, tongue.uv_triangles, (0.60, 0.0, 0.13))
    build.add("tongue", tongue.operator, tongue.triangles, PART_NAMES.index("tongue"), uv, tongue.uv_triangles)
    build.paint("tongue", [178, 92, 92])

    ball = eyeball()
    rims = []
    for name, helper, corner in (("eye_left", "helper-l-eye", 0.0), ("eye_right", "helper-r-eye", 0.15)):
        group = np.unique(base.quads[helper])
        vertices = ball.vertices
        faces = ball.faces
        if name == "eye_right":  # a mirror image, so that the two match vertex for vertex
            vertices, faces = vertices * [-1, 1, 1], faces[:, ::-1]
        centre, radius = _sphere(mean[group])
        placed = centre + _EYE_SCALE * radius * vertices
        uv = 0.13 * ball.uv + [corner, 0.0]
        build.add(name, _follow(group, mean, placed, count), faces, PART_NAMES.index(name), uv, faces)
        build.paint(name, ball.colours)
        start = build.ranges[name][0]
        rim = ball.rim if name == "eye_left" else ball.rim[[2, 1, 0, 3]]
        rims.append(np.r_[start, start + rim])

    middle = mean[[int(loop[0]) for loop in (regions.mouth_loops[regions.contact],)]][0]
    for jaw, offset, corner in (("upper", _UPPER_TEETH, 0.30), ("lower", _LOWER_TEETH, 0.45)):
        name = f"teeth_{jaw}"
        group = np.unique(base.quads[f"helper-{jaw}-teeth"])
        teeth = dentition(jaw, _TEETH_WIDTH)
        placed = teeth.vertices + [0.0, middle[1] + offset[1], middle[2] + offset[2]]
        uv = _into_square(teeth.vertices[:, [0, 2]], teeth.faces, (corner, 0.0, 0.13))
        parts = np.where(teeth.gums, PART_NAMES.index("gums"), PART_NAMES.index(name))
        build.add(name, _follow(group, mean, placed, count), teeth.faces, parts, uv, teeth.faces)
        build.paint(name, teeth.colours)

    return HeadTopology(
        sparse.vstack(build.operators).tocsr(), np.concatenate(build.faces).astype(np.int32),
        np.concatenate(build.parts).astype(np.uint8), np.concatenate(build.uv),
        np.concatenate(build.uv_faces).astype(np.int32), build.ranges["skin"][1], head_of_base, build.ranges,
        np.array(rims, np.int32), np.concatenate(build.colours).astype(np.uint8),
    )


class _Builder:
    """Collects parts, dropping the vertices that no triangle uses."""

    def __init__(self, count: int):
        self.operators, self.faces, self.parts, self.uv, self.uv_faces, self.colours = [], [], [], [], [], []
        self.ranges: dict[str, tuple[int, int]] = {}
        self._vertices = self._uv = 0

    def add(self, name, operator, faces, part, uv, uv_faces):
        used, compact = np.unique(faces, return_inverse=True)
        uv_used, uv_compact = np.unique(uv_faces, return_inverse=True)
        self.operators.append(operator.tocsr()[used])
        self.faces.append(compact.reshape(-1, 3) + self._vertices)
        self.parts.append(np.broadcast_to(part, len(faces)))
        self.uv.append(uv[uv_used])
        self.uv_faces.append(uv_compact.reshape(-1, 3) + self._uv)
        self.colours.append(np.zeros((len(used), 3)))
        self.ranges[name] = (self._vertices, self._vertices + len(used))
        self._vertices += len(used)
        self._uv += len(uv_used)

    def paint(self, name, colours):
        self.colours[list(self.ranges).index(name)][:] = colours


def _follow(group, mean, placed, count: int):
    """(P, V) sparse: points at `placed` on the mean that go with the best affine map of the vertices `group`."""
    fit = np.linalg.pinv(np.column_stack([np.ones(len(group)), mean[group]]))
    rows = np.column_stack([np.ones(len(placed)), placed]) @ fit
    table = sparse.csr_array(
        (rows.ravel(), (np.repeat(np.arange(len(placed)), len(group)), np.tile(group, len(placed)))),
        shape=(len(placed), count),
    )
    return table


def _sphere(points):
    """Centre and mean radius of points on a sphere, by linear least squares."""
    left = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(left, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.linalg.norm(points - solution[:3], axis=1).mean())


def _into_square(uv, faces, square):
    used = np.unique(faces)
    low, high = uv[used].min(0), uv[used].max(0)
    x, y, size = square
    return (uv - low) / (high - low).max() * size + [x, y]
