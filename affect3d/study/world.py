"""A small world to ask the question in: clips "in the wild" of people who do not exist, with few of them labelled.

Heads, skins, lights, cameras, damage and performances are drawn here and nowhere else.  What this world shares with the
default augmenter is named in `SHARED`, what it does not in `NOT_SHARED`; the study's page prints both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from affect3d.affect.tables import face_ratings
from affect3d.geometry.rotation import rotation_exp
from affect3d.progress import Progress, silent
from affect3d.study.appearance import draw_colours
from affect3d.study.videos import FaceVideos
from affect3d.synthesis.rendered_people.draw import (
    PLAIN,
    normals_of,
    shade_picture,
    to_srgb,
)
from affect3d.synthesis.rendered_people.light import draw_light
from affect3d.synthesis.rendered_people.shots import (
    draw_style,
    emotion_units,
    shape_weights,
)

__all__ = ["NOT_SHARED", "SHARED", "WorldOptions", "film_clip", "make_portraits", "make_world", "perform_clip"]

SHARED = (
    "the table that says which action units people show for an emotion, and the one that turns action units into "
    "ARKit shapes (the augmenter's default class statistics were generated with both)",
    "the names of the ARKit shapes, and, where no other head is given, the head model (with other identities)",
    "the code that rasterizes and lights (the augmenter works on photographs and takes it for the mouth's inside only)",
)
NOT_SHARED = (
    "identities, skins, hair, light, cameras, occluders and damage",
    "the head model, where the ICT head is given: the augmenter fits the default head to pictures of ICT's",
    "how valence and arousal become a face: here mixtures of two posed emotions with ratings of faces (neutral moved "
    "to zero), there words' positions on the plane with lids, corners and jaw that follow valence and arousal",
    "annotators: theirs are not those of the generated gallery",
)
# How often each is played; joy more often, as no other of them is pleasant.
_EMOTIONS = {
    "anger": 0.11, "contempt": 0.08, "disgust": 0.09, "fear": 0.11, "happiness": 0.33, "sadness": 0.14,
    "surprise": 0.14,
}  # fmt: skip
_RATED = {"happiness": "happy"}


@dataclass(frozen=True)
class WorldOptions:
    """How large the world is and how wild.

    Attributes
    ----------
    people : int
        At least 2.
    clips : int
        Of each person, at least 1.
    frames : int
        Of each clip, at least 4.
    size : int
        Side of the frames in pixels, from 64.
    occluded : float
        Share of the clips in which something hides a part of the face, in [0, 1].
    label_noise : float
        Standard deviation of the slowly wandering error of the labels, at least 0.
    seed : int
        From 0.
    """

    people: int = 24
    clips: int = 5
    frames: int = 12
    size: int = 112
    occluded: float = 0.3
    label_noise: float = 0.05
    seed: int = 0

    def __post_init__(self):
        for name, low in (("people", 2), ("clips", 1), ("frames", 4), ("size", 64), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")
        if not 0 <= self.occluded <= 1:
            raise ValueError(f"occluded: expected a number in [0, 1], got {self.occluded}")
        if not (np.isfinite(self.label_noise) and self.label_noise >= 0):
            raise ValueError(f"label_noise: expected a number of at least 0, got {self.label_noise}")


def make_world(options: WorldOptions | None = None, model=None, progress: Progress = silent) -> FaceVideos:
    """Film everybody; the same bytes for the same options and model.

    Parameters
    ----------
    options : WorldOptions, optional
    model : MorphableModel, optional
        With ARKit shapes, colours and iBUG landmarks; the default head if left out.
    """
    options = options or WorldOptions()
    if model is None:
        from affect3d.model.load import load_model

        model = load_model("default", progress)
    n, t = options.people * options.clips, options.frames
    images = np.empty((n * t, options.size, options.size, 3), np.uint8)
    points, labels = np.empty((n * t, 68, 2)), np.empty((n * t, 2))
    for person in range(options.people):
        rng = np.random.default_rng([options.seed, 71, person])
        shape = 1.1 * np.clip(rng.standard_normal(len(model.identity)), -2, 2)
        neutral, colours, style = model.instance(shape), draw_colours(model, rng), draw_style(rng)
        for clip in range(options.clips):
            own = np.random.default_rng([options.seed, 72, person, clip])
            rows = slice((person * options.clips + clip) * t, (person * options.clips + clip + 1) * t)
            weights, labels[rows] = perform_clip(t, style, model.expression_names, own, options.label_noise)
            images[rows], points[rows] = film_clip(model, neutral, colours, weights, options, own)
        progress(person + 1, options.people, "filming the world")
    people = tuple(f"person {k:03d}" for k in range(options.people))
    clips = tuple(f"{p}, clip {c:02d}" for p in people for c in range(options.clips))
    images.flags.writeable = False
    return FaceVideos(
        np.repeat(np.arange(options.people), options.clips * t), people, np.repeat(np.arange(n), t), clips,
        np.tile(np.arange(t), n), labels[:, 0], labels[:, 1], points, images=images,
        source=f"Rendered clips of people who do not exist ({model.name}, seed {options.seed}); no photographs.",
    )  # fmt: skip


def make_portraits(
    people: int, options: WorldOptions | None = None, model=None, progress: Progress = silent
) -> FaceVideos:
    """Neutral pictures of further people of the same world, one each, without any other label.

    They are nobody of `make_world` with the same options, and are named otherwise.

    Parameters
    ----------
    people : int
        At least 2.
    options : WorldOptions, optional
        Size, damage and seed are taken from it.
    model : MorphableModel, optional
    """
    options = options or WorldOptions()
    # the seed of a world is a whole number from 0; this one belongs to no world of the same study
    apart = replace(options, people=people, clips=1, frames=4, seed=options.seed + 2**31)
    world = make_world(apart, model, progress)
    first = np.flatnonzero(world.frame == 0)  # which is neutral
    return FaceVideos(
        world.subject[first], tuple(f"portraits/{s}" for s in world.subjects), world.clip[first],
        tuple(f"portraits/{c}" for c in world.clips), world.frame[first], np.zeros(people), np.zeros(people),
        world.points[first], images=world.images[first], source=f"Neutral pictures of {people} further such people.",
    )  # fmt: skip


def perform_clip(frames: int, style, names, rng: np.random.Generator, label_noise: float = 0.05):
    """A mixture of two emotions that comes and goes.

    Returns
    -------
    weights : (T, E) float64
        Of the shapes `names`.
    labels : (T, 2) float64
        Valence and arousal in [-1, 1], zero for the neutral face; the first frame is neutral.
    """
    ratings = face_ratings()
    rest = np.array(ratings["neutral"])
    first, second = rng.choice(list(_EMOTIONS), 2, replace=False, p=list(_EMOTIONS.values()))
    share = rng.beta(3, 1)  # mostly one emotion, with something of another
    there, units = np.zeros(2), {}
    for name, part in ((str(first), share), (str(second), 1 - share)):
        there += part * (np.array(ratings[_RATED.get(name, name)]) - rest)
        for unit, strength in emotion_units(name, style).items():
            units[unit] = units.get(unit, 0.0) + part * strength
    clock = np.arange(frames) / (frames - 1)
    onset, length, height = rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6), 1 - 0.6 * rng.beta(1, 2)
    rise = np.clip((clock - onset) / (0.45 * length), 0, 1)
    fall = np.clip((onset + 2.2 * length - clock) / (0.5 * length), 0, 1)
    amount = height * (rise * rise * (3 - 2 * rise)) * (fall * fall * (3 - 2 * fall))
    # what annotators see is stronger than a mean rating of all pictures of an emotion
    labels = 1.15 * amount[:, None] * there
    wander = np.zeros((frames, 2))
    for t in range(1, frames):
        wander[t] = 0.8 * wander[t - 1] + 0.6 * label_noise * rng.standard_normal(2)
    labels = np.clip(labels + wander * np.minimum(amount * 4, 1)[:, None], -1, 1)
    lids = rng.random(frames) < 0.04
    weights = []
    for a, blink in zip(amount, lids):
        strengths = {u: float(np.clip(a * s * style.gain[u], 0, 1)) for u, s in units.items()}
        row = shape_weights(strengths, style, names, 0.3 * rng.normal())
        if blink:
            row[[k for k, n in enumerate(names) if n.startswith("eyeBlink")]] = 1.0
        weights.append(np.clip(row, 0, 1))
    return np.array(weights), labels


def film_clip(model, neutral, colours, weights, options: WorldOptions, rng: np.random.Generator):
    """Frames (T, S, S, 3) uint8 of one clip and landmarks (T, 68, 2) in pixels, found with an error of half a pixel."""
    size, count = options.size, len(weights)
    light = draw_light(rng, 0.15)
    backdrop = np.exp(rng.uniform(-3, -0.3)) * np.exp(rng.normal(0, 0.25, (2, 3)))
    angles = np.radians(np.clip(rng.normal(0, [12, 6, 6]), -25, 25))
    sway = np.cumsum(rng.normal(0, np.radians(1.2), (count, 3)), 0)
    distance, gain = rng.uniform(600, 1300), 0.7 * np.exp(rng.normal(0, 0.25))
    width = 0.62 * size * rng.uniform(0.85, 1.1) / 160  # pixels a mm
    shift = rng.normal(0, 0.02 * size, 2)
    damage = _Damage.draw(size, options, rng)
    kinds = np.full(len(model.faces), PLAIN, np.uint8)
    faces = np.ascontiguousarray(model.faces, np.int32)
    sheet, eye = np.zeros((2, 2, 4), np.float32), np.zeros((2, 2, 3), np.float32)
    texels = np.zeros((len(neutral), 2))
    lit = type(light)(light.coefficients * gain, light.key, light.key_colour * gain)
    # the tone of the skin sets part of the exposure, as a camera's does
    tone = max(float(np.median(colours[model.part_vertices("face")] @ [0.2126, 0.7152, 0.0722])), 0.02)
    exposed = colours * min((0.35 / tone) ** 0.4, 2.0)
    pictures, points = np.empty((count, size, size, 3), np.uint8), np.empty((count, 68, 2))
    basis = model.expression.reshape(len(model.expression), -1)
    for t, row in enumerate(weights):
        used = np.flatnonzero(row)
        vertices = neutral + (row[used].astype(np.float32) @ basis[used]).reshape(-1, 3)
        turn = np.diag([1.0, -1, -1]) @ rotation_of(angles + sway[t])
        seen = (vertices - [0, -25.0, -60.0]) @ turn.T
        depth = seen[:, 2] + distance
        flat = seen[:, :2] * (distance / depth * width)[:, None] + size / 2 + shift
        picture = shade_picture(
            np.column_stack([flat, depth]), normals_of(vertices, faces) @ turn.T, faces, kinds, texels, exposed, sheet,
            eye, lit, 0.0, np.clip(backdrop, 0.01, 0.9), size, 2,
        )  # fmt: skip
        picture = picture + rng.normal(0, 0.006, picture.shape) * np.sqrt(np.maximum(picture, 0) + 0.02)
        pictures[t] = damage.apply(to_srgb(np.maximum(picture, 0)), t)
        points[t] = model.landmarks["ibug68"].locate(np.column_stack([flat, depth]), model.faces)[:, :2]
    return pictures, points + rng.normal(0, 0.5, points.shape)


def rotation_of(angles) -> np.ndarray:
    """(3, 3) rotation by yaw, then pitch, then roll (radians)."""
    yaw, pitch, roll = angles
    about = [rotation_exp(v) for v in ((0, yaw, 0), (pitch, 0, 0), (0, 0, roll))]
    return about[2] @ about[1] @ about[0]


@dataclass(frozen=True, eq=False)
class _Damage:
    """What happens to all frames of a clip: something in front, blur, compression."""

    hidden: tuple  # (x, y, a, b, angle, colour, speed) of an ellipse, or empty
    blur: float
    motion: int
    quality: int

    @staticmethod
    def draw(size, options, rng) -> _Damage:
        hidden = ()
        if rng.random() < options.occluded:
            side, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.42) * size
            hidden = (
                size / 2 + far * np.cos(side), size / 2 + far * np.sin(side), rng.uniform(0.06, 0.16) * size,
                rng.uniform(0.15, 0.35) * size, rng.uniform(0, 180), tuple(int(v) for v in rng.integers(20, 220, 3)),
                rng.normal(0, 0.01 * size),
            )  # fmt: skip
        return _Damage(hidden, float(rng.uniform(0, 1.0)), int(rng.choice([0, 0, 3, 5])), int(rng.integers(25, 90)))

    def apply(self, picture, t: int) -> np.ndarray:
        picture = np.ascontiguousarray(picture)
        if self.hidden:
            x, y, a, b, angle, colour, speed = self.hidden
            cv2.ellipse(picture, ((x + t * speed, y), (2 * a, 2 * b), angle), colour, -1, cv2.LINE_AA)
        if self.blur > 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        if self.motion:
            picture = cv2.blur(picture, (self.motion, 1))
        _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]
