"""A small head whose lips are apart along a slit, with eyeballs, for tests of expression transfer."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.model import MorphableModel

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)

HALF = 22.0  # half the width of the slit, mm


def slit_head(eyes=True) -> MorphableModel:
    """`small_head` cut open between the lips; the jaw opens the slit, the corners stay.

    Parts: face, and eye_left and eye_right if `eyes`: balls behind the skin that turn with eyeLookUp.
    """
    base = small.small_head()
    mean, faces = base.mean, base.faces
    row = np.argmin(np.abs(mean[:, 1].reshape(small.ROWS, -1)[:, 0] + 35.5))
    line = row * small.COLUMNS + np.arange(small.COLUMNS)
    cut = line[(np.abs(mean[line, 0]) < HALF) & (mean[line, 2] > 0)]
    twin = np.arange(len(mean))
    twin[cut] = len(mean) + np.arange(len(cut))
    below = (faces // small.COLUMNS <= row).all(1)
    faces = np.where(below[:, None], twin[faces], faces)
    mean = np.concatenate([mean, mean[cut]])
    level = float(mean[cut[0], 1])
    lower = np.concatenate([np.arange(len(base.mean)) // small.COLUMNS < row, np.ones(len(cut), bool)])
    x, y, z = mean.T
    taper = np.where(np.abs(x) < HALF, np.cos(np.pi * x / (2 * HALF)) ** 2, 0) * (z > 0)
    jaw = lower * taper * np.exp(-(((y - level) / 35) ** 2))
    shapes = np.concatenate([base.expression, base.expression[:, cut]], 1)
    shapes[0] = jaw[:, None] * np.array([0, -14.0, 0])
    # smiles move both lips alike
    landmarks = {"ibug68": _lips_apart(base, mean, faces, lower)}
    identity = np.concatenate([base.identity, base.identity[:, cut]], 1)
    model = replace(
        base, mean=mean, faces=faces, identity=identity, expression=shapes, landmarks=landmarks, parts=None,
    )  # fmt: skip
    return with_eyes(model) if eyes else model


def _lips_apart(base, mean, faces, lower) -> MeshLandmarks:
    points = base.landmarks["ibug68"].locate(base.mean, base.faces)
    vertices = []
    for k, point in enumerate(points):
        side = lower if k in (55, 56, 57, 58, 59, 65, 66, 67) else ~lower if 48 <= k < 68 else np.ones(len(mean), bool)
        rows = np.flatnonzero(side)
        vertices.append(rows[np.argmin(((mean[rows] - point) ** 2).sum(1))])
    triangle = np.array([np.flatnonzero((faces == v).any(1))[0] for v in vertices])
    return MeshLandmarks("ibug68", triangle, (faces[triangle] == np.array(vertices)[:, None]).astype(float))


def ball(rings=8, around=12):
    """Vertices and faces of a unit sphere."""
    polar, turn = np.meshgrid(np.linspace(0.15, np.pi - 0.15, rings), np.arange(around) * 2 * np.pi / around)
    polar, turn = polar.ravel(), turn.ravel()
    vertices = np.column_stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
    k = np.arange(around * rings).reshape(around, rings)
    a, b = k[:, :-1].ravel(), k[:, 1:].ravel()
    c, d = np.roll(k, -1, 0)[:, 1:].ravel(), np.roll(k, -1, 0)[:, :-1].ravel()
    return vertices, np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def with_eyes(model, rings=8, around=12) -> MorphableModel:
    points, corners = ball(rings, around)
    mean, faces, parts = model.mean, model.faces, np.zeros(len(model.faces), np.uint8)
    count = len(mean)
    for k, side in enumerate((1, -1)):
        middle = np.array([32 * side, 30, model.mean[:, 2].max() - 62])
        faces = np.concatenate([faces, corners + len(mean)])
        mean = np.concatenate([mean, middle + 12 * points])
        parts = np.concatenate([parts, np.full(len(corners), k + 1, np.uint8)])
    added = len(mean) - count

    def longer(modes):
        return np.concatenate([modes, np.zeros((len(modes), added, 3), np.float32)], 1)

    expression, names = longer(model.expression), model.expression_names
    look = np.zeros((1, len(mean), 3), np.float32)
    angle = 0.4
    turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    for k in range(2):
        rows = count + k * len(points) + np.arange(len(points))
        middle = mean[rows].mean(0)
        look[0, rows] = (mean[rows] - middle) @ (turn - np.eye(3)).T
    return replace(
        model, mean=mean, faces=faces, identity=longer(model.identity),
        expression=np.concatenate([expression, look]), expression_names=(*names, "eyeLookUpLeft"), parts=parts,
        part_names=("face", "eye_left", "eye_right"),
    )  # fmt: skip


def subdivided(vertices, faces):
    """Each triangle cut in four at the middles of its sides; and the (W, V) operator that does it."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, place = np.unique(sides, axis=0, return_inverse=True)
    middle = len(vertices) + place.reshape(-1, 3)
    a, b, c = faces.T
    d, e, f = middle.T
    new = np.concatenate([np.column_stack(t) for t in ((a, d, f), (d, b, e), (f, e, c), (d, e, f))])
    operator = np.zeros((len(vertices) + len(edges), len(vertices)))
    operator[np.arange(len(vertices)), np.arange(len(vertices))] = 1
    for k in range(2):
        operator[len(vertices) + np.arange(len(edges)), edges[:, k]] += 0.5
    return operator @ vertices, new, operator


def bare(model, vertices=None, faces=None) -> MorphableModel:
    """A head that holds a mean shape and nothing else."""
    vertices = model.mean if vertices is None else vertices
    faces = model.faces if faces is None else faces
    none = np.zeros((0, len(vertices), 3), np.float32)
    return MorphableModel(vertices, faces, none, np.zeros(0), none, (), part_names=("face",), name="bare")


def points_of(model, similarity=None) -> Landmarks:
    points = model.landmarks["ibug68"].locate(model.mean, model.faces)
    return Landmarks("ibug68", points if similarity is None else similarity(points), "mm")
