"""Bodies: the model's head with shoulders and hair, and one person made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.model.eyeball import IRIS_ANGLE
from affect3d.render.shading import srgb_to_linear
from affect3d.synthesis.rendered_people.canvas import HEIGHT, WIDTH, Canvas, canvas_of
from affect3d.synthesis.rendered_people.draw import EYE, PLAIN, SKIN, normals_of
from affect3d.synthesis.rendered_people.skin import EYE_SIZE, Look, draw_look, hair_mask, paint_eye, paint_skin

__all__ = ["Body", "Person", "body_of", "draw_person"]

# Middle and half axes of the ellipsoids, mm of the mean head.
_SHOULDERS = np.array([0.0, -305.0, -75.0]), np.array([215.0, 135.0, 95.0])
_CURTAIN = np.array([0.0, -60.0, -94.0]), np.array([94.0, 172.0, 80.0])
_ROUND, _RINGS = 72, 28
#: By how much people differ more than the model's own deviations say: by dlib's descriptor, trained on photographs,
#: rendered people are nearer to one another than photographed ones.
_VARIED = 1.2


@dataclass(frozen=True, eq=False)
class Body:
    """What all people share.

    Attributes
    ----------
    faces : (F, 3) int32
        The model's triangles, then the shoulders', then those of long hair.
    kinds : (F,) uint8
        As `draw.shade_picture` takes them.
    without_hair : int
        The number of triangles but for the last kind.
    uv : (V, 2) float64
        Texels of each vertex.
    colours : (V, 3) float64
        Linear colours of teeth, gums, tongue and cavity, dark where little light comes.
    canvas : Canvas
    shoulders, curtain : (M, 3) float64
        Vertices of the two meshes that are no part of the model.
    """

    faces: np.ndarray
    kinds: np.ndarray
    without_hair: int
    uv: np.ndarray
    colours: np.ndarray
    canvas: Canvas
    shoulders: np.ndarray
    curtain: np.ndarray


@lru_cache(maxsize=2)
def body_of(model) -> Body:
    """The body for a model whose parts are named as the default head's.

    Raises
    ------
    ValueError
        If a part is missing.
    """
    missing = {"face", "lips", "eye_left", "eye_right"} - set(model.part_names)
    if missing:
        raise ValueError(f"model: people are drawn from the default head; {model.name!r} has no {sorted(missing)}")
    canvas = canvas_of(model)
    kinds = np.full(len(model.faces), SKIN, np.uint8)
    kinds[model.part_faces("mouth", "teeth_upper", "teeth_lower", "gums", "tongue")] = PLAIN
    uv = np.array(canvas.uv, np.float64)
    for name in ("eye_left", "eye_right"):
        kinds[model.part_faces(name)] = EYE
        own = model.part_vertices(name)
        ball = model.mean[own]
        way = ball - (ball.min(0) + ball.max(0)) / 2
        way = way / np.linalg.norm(way, axis=1, keepdims=True)
        reach = np.arccos(np.clip(way[:, 2], -1, 1)) / IRIS_ANGLE / 2  # 0.5 at the border of the iris
        flat = way[:, :2] / np.maximum(np.linalg.norm(way[:, :2], axis=1, keepdims=True), 1e-9)
        at = np.clip(flat * reach[:, None], -1, 1) * [1, -1]
        uv[own] = (at + 1) / 2 * (EYE_SIZE - 1)
    colours = np.zeros((len(model.mean), 3))
    inside = model.part_vertices("mouth", "teeth_upper", "teeth_lower", "gums", "tongue")
    front = model.mean[model.part_vertices("lips"), 2].max()
    reached = np.clip(1 - (front - model.mean[inside, 2]) / 52, 0.10, 1)  # lips and cheeks let little light pass
    colours[inside] = srgb_to_linear(model.colours[inside]) * reached[:, None] * 0.8
    shoulders, shoulder_faces = _ellipsoid(*_SHOULDERS)
    curtain, curtain_faces = _ellipsoid(*_CURTAIN)
    count = len(model.mean)
    faces = np.concatenate([model.faces, shoulder_faces + count, curtain_faces + count + len(shoulders)])
    extra = len(shoulder_faces) + len(curtain_faces)
    return Body(
        faces.astype(np.int32), np.concatenate([kinds, np.full(extra, PLAIN, np.uint8)]),
        len(model.faces) + len(shoulder_faces), uv, colours, canvas, shoulders, curtain,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Person:
    """One person.

    Attributes
    ----------
    neutral : (V, 3) float64
        The head without expression, hair included, then shoulders and long hair, mm.
    faces, kinds
        Those of `Body` that this person has.
    uv : (V, 2) float64
    colours : (V, 3) float64
    skin : (H, W, 4) float32
    eye : (S, S, 3) float32
    look : Look
    """

    neutral: np.ndarray
    faces: np.ndarray
    kinds: np.ndarray
    uv: np.ndarray
    colours: np.ndarray
    skin: np.ndarray
    eye: np.ndarray
    look: Look


def draw_person(model, rng: np.random.Generator, skin: np.ndarray | None = None) -> Person:
    """A person by chance: shape from the model's own spread, surface from `draw_look`.

    Parameters
    ----------
    model : MorphableModel
    rng : numpy.random.Generator
    skin : (H, W, 3) float array, optional
        Linear albedo of face and neck on the sheet, instead of a painted one; hair is still painted.
    """
    body = body_of(model)
    shape = _VARIED * np.clip(rng.standard_normal(len(model.identity)), -2.2, 2.2)
    look = draw_look(rng)
    vertices = model.instance(shape)
    sheet = paint_skin(body.canvas, look, skin)
    count = len(vertices)
    scalp = _sampled(hair_mask(body.canvas, look), body.canvas.uv)
    outer = np.clip((model.mean[:, 1] - 35) / 45, 0, 1) + 0.25 * np.clip((-30 - model.mean[:, 2]) / 40, 0, 1)
    if look.long_hair:
        outer = np.maximum(outer, 0.3)
    lift = look.hair_depth * np.clip(outer, 0, 1) * scalp
    wave = 1 + 0.25 * np.sin(model.mean[:, 0] / 9 + look.seed % 7) * np.cos(model.mean[:, 1] / 11 + look.seed % 5)
    vertices = vertices + (lift * wave)[:, None] * normals_of(vertices, np.ascontiguousarray(model.faces))
    chin = model.landmarks["ibug68"].locate(vertices, model.faces)[8]
    width = float(np.ptp(vertices[model.part_vertices("face"), 0])) / 155
    curtain = _curtain(body.curtain, look, width, rng)
    shoulders = body.shoulders + [0, chin[1] + 120, 0]
    hair = _hair_colours(len(curtain), look, rng)
    colours = np.concatenate([body.colours, np.tile(look.garment, (len(shoulders), 1)), hair])
    colours[:count] *= np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.03, 3))
    end = len(body.faces) if look.long_hair else body.without_hair
    uv = np.concatenate([body.uv, np.zeros((len(shoulders) + len(curtain), 2))])
    return Person(
        np.concatenate([vertices, shoulders, curtain]), body.faces[:end], body.kinds[:end], uv, colours, sheet,
        paint_eye(look), look,
    )  # fmt: skip


def _hair_colours(count, look, rng) -> np.ndarray:
    """(count, 3) linear colours of the curtain's vertices: strands that run down, lighter and darker."""
    strand = np.exp(0.3 * rng.standard_normal(_ROUND))
    return np.asarray(look.hair) * np.tile(strand, _RINGS)[:count, None]


def _curtain(vertices, look, width, rng):
    middle, axes = _CURTAIN
    away = (vertices - middle) / axes
    wave = 1 + 0.04 * np.sin(7 * np.arctan2(away[:, 0], away[:, 2]) + 3 * away[:, 1] + rng.uniform(0, 6.3))
    size = np.array([width * (0.95 + 0.2 * look.long_hair), 1.0, 0.95 + 0.12 * look.long_hair])
    return middle + away * axes * size * wave[:, None]


def _ellipsoid(middle, axes):
    """Vertices in rings from the top, `_ROUND` each, and outward triangles."""
    down = np.linspace(0.02, np.pi - 0.02, _RINGS)
    turn = 2 * np.pi * np.arange(_ROUND) / _ROUND
    y, ring = np.cos(down)[:, None], np.sin(down)[:, None]
    unit = np.stack([ring * np.sin(turn), np.broadcast_to(y, (_RINGS, _ROUND)), ring * np.cos(turn)], -1)
    k, nxt = np.arange(_ROUND), (np.arange(_ROUND) + 1) % _ROUND
    faces = []
    for r in range(_RINGS - 1):
        a, b, c, d = r * _ROUND + k, r * _ROUND + nxt, (r + 1) * _ROUND + k, (r + 1) * _ROUND + nxt
        faces += [np.column_stack([a, c, d]), np.column_stack([a, d, b])]
    return middle + axes * unit.reshape(-1, 3), np.concatenate(faces)


def _sampled(sheet, uv):
    x = np.clip(np.rint(uv[:, 0]).astype(int), 0, WIDTH - 1)
    y = np.clip(np.rint(uv[:, 1]).astype(int), 0, HEIGHT - 1)
    return sheet[y, x]
