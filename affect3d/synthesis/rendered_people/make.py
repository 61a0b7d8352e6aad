"""Sets of rendered people: the default of every 2D method, where no licensed database is at hand."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from affect3d.gan.data import CropOptions, FaceImages, crop_transform
from affect3d.progress import Progress, silent
from affect3d.synthesis.rendered_people.canvas import HEIGHT, WIDTH
from affect3d.synthesis.rendered_people.cast import Person, body_of, draw_person
from affect3d.synthesis.rendered_people.draw import normals_of, shade_picture, to_srgb
from affect3d.synthesis.rendered_people.light import Light, draw_light
from affect3d.synthesis.rendered_people.shots import (
    DISFA_UNITS, EMOTION_SETS, Shot, draw_style, emotion_shots, emotion_units, sequence_shots, shape_weights,
    unit_shots,
)  # fmt: skip
from affect3d.synthesis.rendered_people.skin import wrinkle_maps

__all__ = ["KINDS", "PeopleOptions", "make_data"]

KINDS = ("emotions", "units", "sequences")
_GAZES = (0.0, 0.75, -0.75)  # RaFD's: straight, to the subject's left, to the right


@dataclass(frozen=True)
class PeopleOptions:
    """What a rendered set holds.

    Attributes
    ----------
    people : int
    kind : {"emotions", "units", "sequences"}
        Apex pictures of emotions; DISFA's action units; films from neutral to apex.
    emotions : tuple of str
        For emotions and sequences.  A neutral face is always drawn; it has the label -1 unless "neutral"
        is one of them.
    takes : int
        For emotions: how often each face is drawn, in other light and with another gaze.
    frames : int
        For units: pictures a person; for sequences: frames a film.
    crop : CropOptions
    align : {"each", "take"}
        Align every picture by its own landmarks, as the papers do, or all of a take by its neutral face's.
    studio : float
        0: any light, 1: even light from in front.
    turn : float
        Standard deviation of the head's yaw in degrees; pitch and roll have half of it.
    samples : int
        Rendered samples along each side of a pixel.
    seed : int
        People of the same seed and number are the same people in every kind of set.
    """

    people: int = 100
    kind: str = "emotions"
    emotions: tuple[str, ...] = EMOTION_SETS["rafd"]
    takes: int = 1
    frames: int = 10
    crop: CropOptions = CropOptions(64)
    align: str = "each"
    studio: float = 0.3
    turn: float = 5.0
    samples: int = 3
    seed: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.align not in ("each", "take"):
            raise ValueError(f"align: expected 'each' or 'take', got {self.align!r}")
        for name, low, high in (("people", 1, 10**6), ("takes", 1, 100), ("frames", 2, 10**4), ("samples", 1, 8)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or not low <= value <= high:
                raise ValueError(f"{name}: expected a whole number from {low} to {high}, got {value!r}")
        if not 0 <= self.studio <= 1:
            raise ValueError(f"studio: expected a number in [0, 1], got {self.studio}")
        if not 0 <= self.turn <= 30:
            raise ValueError(f"turn: expected degrees from 0 to 30, got {self.turn}")
        if not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise ValueError(f"seed: expected a whole number from 0, got {self.seed!r}")
        emotions = tuple(self.emotions) if not isinstance(self.emotions, str) else _named_set(self.emotions)
        if not set(emotions) - {"neutral"} or len(set(emotions)) != len(emotions):
            raise ValueError(f"emotions: expected different names besides 'neutral', got {self.emotions!r}")
        style = draw_style(np.random.default_rng(0))
        for name in emotions:
            if name != "neutral":
                emotion_units(name, style)
        object.__setattr__(self, "emotions", emotions)


def make_data(
    people: int = 100, size: int = 64, seed: int = 0, kind: str = "emotions", *, crop: CropOptions | None = None,
    skins=None, model=None, workers: int = 1, progress: Progress = silent, **options,
) -> FaceImages:  # fmt: skip
    """Render a set of faces of people who do not exist.

    Parameters
    ----------
    people : int
    size : int
        Side of the pictures in pixels.
    seed : int
    kind : {"emotions", "units", "sequences"}
    crop : CropOptions, optional
        Another crop than the default one; `size` replaces its size.
    skins : sequence of (H, W, 3) arrays, optional
        Skins sampled from photographs (`sampled_skins`), worn in turn instead of painted ones.
    model : MorphableModel, optional
        The default head if none is given.
    workers : int
        Processes.  Their number does not change the pictures.  With more than one, a script that calls this must
        guard its own start with ``if __name__ == "__main__":``, as always with Python's processes.
    progress : callable
    **options
        Further fields of `PeopleOptions`.

    Returns
    -------
    FaceImages
        Units are DISFA's twelve in FACS intensities, valence and arousal are interpolated between the rated
        faces of `affect.tables.face_ratings` (kinds with emotions only).  The same bytes for the same
        arguments on the same machine.

    Raises
    ------
    ValueError
        If an option is out of range, a skin is no albedo of the sheet, or `model` lacks the default head's parts.
    affect3d.assets.AssetError
        If the default head's data cannot be had.
    """
    crop = replace(crop or CropOptions(), size=size)
    plan = PeopleOptions(people=people, kind=kind, seed=seed, crop=crop, **options)
    if not isinstance(workers, (int, np.integer)) or workers < 1:
        raise ValueError(f"workers: expected a whole number from 1, got {workers!r}")
    if model is None:
        from affect3d.model.load import load_model

        model = load_model("default", progress)
    body_of(model)  # refuses a model without the parts before the work is shared out
    skins = [] if skins is None else [np.asarray(s) for s in skins]
    for skin in skins:
        if skin.shape != (HEIGHT, WIDTH, 3) or not ((skin >= 0) & (skin <= 1)).all():  # NaN too
            raise ValueError(f"skins: expected ({HEIGHT}, {WIDTH}, 3) albedos in [0, 1], got shape {skin.shape}")
    parts = []
    for number, part in enumerate(_everybody(plan, model, skins, workers), 1):
        parts.append(part)
        progress(number, people, "rendering people")
    return _assembled(parts, plan, bool(skins))


def _everybody(plan, model, skins, workers):
    if workers == 1:
        for number in range(plan.people):
            yield photograph_person(model, plan, number, skins[number % len(skins)] if skins else None)
        return
    import multiprocessing

    # Processes that are forked from a program with threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(model, plan, skins)) as pool:
        yield from pool.map(_work, range(plan.people), chunksize=max(1, min(16, plan.people // (4 * workers))))


_SHARED: tuple = ()


def _begin(model, plan, skins):
    global _SHARED
    _SHARED = (model, plan, skins)


def _work(number):
    model, plan, skins = _SHARED
    return photograph_person(model, plan, number, skins[number % len(skins)] if skins else None)


def photograph_person(model, plan: PeopleOptions, number: int, skin=None) -> tuple[np.ndarray, list[Shot]]:
    """All pictures (S, size, size, C) uint8 of the person of this number, and what they show."""
    person = draw_person(model, np.random.default_rng([plan.seed, number, 0]), skin)
    rng = np.random.default_rng([plan.seed, number, 1])
    style = draw_style(rng)
    if plan.kind == "emotions":
        shots = emotion_shots(plan.emotions, style, plan.takes, rng)
    elif plan.kind == "sequences":
        shots = sequence_shots(plan.emotions, style, plan.frames, rng)
    else:
        shots = unit_shots(plan.frames, style, rng)
    frame, views = None, {}
    pictures = np.empty((len(shots), plan.crop.size, plan.crop.size, plan.crop.channels), np.uint8)
    for k, shot in enumerate(shots):
        if shot.take not in views:
            views[shot.take] = _draw_view(plan, np.random.default_rng([plan.seed, number, 2, shot.take]), shot.take)
        view = views[shot.take]
        shiver = np.random.default_rng([plan.seed, number, 3, k]).normal(0, 0.12, 3) * np.radians(plan.turn)
        weights = shape_weights(
            shot.units, style, model.expression_names, view.gaze, shot.emotion == "contempt"
        )
        if k == shot.neutral:
            frame = None
        linear, frame = _photograph(model, person, weights, view, shiver, plan, frame)
        noise = np.random.default_rng([plan.seed, number, 4, k]).normal(0, 0.0025, linear.shape)
        picture = to_srgb(np.maximum(linear + noise * np.sqrt(np.maximum(linear, 0) + 0.01), 0))
        if plan.crop.channels == 1:
            picture = np.rint(picture @ np.float32([[0.299], [0.587], [0.114]])).astype(np.uint8)
        pictures[k] = picture
    return pictures, shots


@dataclass(frozen=True, eq=False)
class View:
    """Where camera and lamps stand in one take."""

    light: Light
    angles: np.ndarray  # yaw, pitch, roll in radians
    distance: float  # mm
    gaze: float
    exposure: float
    background: np.ndarray  # (2, 3) linear


def _draw_view(plan, rng, take) -> View:
    angles = np.clip(rng.standard_normal(3), -2, 2) * np.radians(plan.turn) * [1, 0.5, 0.5]
    # The first take looks straight ahead; glances of other sizes than RaFD's do not occur.
    gaze = _GAZES[take % len(_GAZES)]
    level, hue = np.exp(rng.uniform(-3.0, -0.25)), np.exp(rng.normal(0, 0.12, 3))
    background = np.stack([level * hue, level * hue * rng.uniform(0.5, 1.0)])
    return View(
        draw_light(rng, plan.studio), angles, float(rng.uniform(700, 1600)), gaze, float(np.exp(rng.normal(0, 0.12))),
        np.clip(background, 0.01, 0.9),
    )  # fmt: skip


def _photograph(model, person: Person, weights, view: View, shiver, plan, frame):
    """Linear picture, and the transform from the camera's plane to the crop that belongs to the take."""
    body, count = body_of(model), len(model.mean)
    vertices = person.neutral.copy()
    used = np.flatnonzero(weights)
    if len(used):
        moved = weights[used].astype(np.float32) @ model.expression[used].reshape(len(used), -1)
        vertices[:count] += moved.reshape(-1, 3)
    normals = normals_of(vertices, person.faces)
    turn = _rotation(view.angles + shiver)
    pivot = np.array([0.0, -30.0, -60.0])
    to_camera = np.diag([1.0, -1, -1]) @ turn
    p = (vertices - pivot) @ to_camera.T + [0, 0, view.distance]
    flat = p[:, :2] / p[:, 2:]
    if frame is None or plan.align == "each":
        marks = model.landmarks["ibug68"].locate(flat[:count], model.faces)
        frame = crop_transform(marks, plan.crop)
    points = np.column_stack([frame.apply(flat), p[:, 2]])
    skin = _furrowed(body, person, weights, model.expression_names)
    # A camera's exposure follows the skin, but only in part: dark skin stays dark.
    tone = float(person.skin[180:240, 110:178, :3].mean((0, 1)) @ [0.2126, 0.7152, 0.0722])
    gain = 0.78 * view.exposure * max(tone, 0.01) ** -0.3
    light = Light(view.light.coefficients * gain, view.light.key, view.light.key_colour * gain)
    linear = shade_picture(
        points, normals @ to_camera.T, person.faces, person.kinds, person.uv, person.colours, skin, person.eye, light,
        person.look.shine, view.background, plan.crop.size, plan.samples,
    )  # fmt: skip
    return linear, frame


#: Which shapes deepen which furrows, and how much.
_DEEPENED = {
    "forehead": {"browInnerUp": 0.8, "browOuterUpLeft": 0.4, "browOuterUpRight": 0.4},
    "glabella": {"browDownLeft": 0.6, "browDownRight": 0.6},
    "nasolabial": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "noseSneerLeft": 0.4, "noseSneerRight": 0.4},
    "crow": {"cheekSquintLeft": 0.5, "cheekSquintRight": 0.5, "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3},
    "nose": {"noseSneerLeft": 0.6, "noseSneerRight": 0.6},
    "chin": {"mouthShrugLower": 0.9},
}


@lru_cache(maxsize=2)
def _wrinkles(body):
    return wrinkle_maps(body.canvas)


def _furrowed(body, person, weights, names) -> np.ndarray:
    """The skin with the furrows of this expression and of age, darkened where little light comes."""
    index = {name: k for k, name in enumerate(names)}
    age = person.look.age
    depth = np.zeros(person.skin.shape[:2], np.float32)
    for name, map_ in _wrinkles(body).items():
        amount = min(sum(s * weights[index[n]] for n, s in _DEEPENED[name].items() if n in index), 1.0)
        strength = amount * (0.10 + 0.32 * age) + 0.16 * max(age - 0.35, 0) * (name != "nose")
        if strength > 0:
            depth += np.float32(strength) * map_
    out = person.skin.copy()
    out[..., :3] *= ((1 - np.minimum(depth, 0.7)) * (0.3 + 0.7 * body.canvas.open))[..., None]
    return out


def _rotation(angles) -> np.ndarray:
    yaw, pitch, roll = angles
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _assembled(parts, plan: PeopleOptions, photographed: bool) -> FaceImages:
    shots = [(number, shot) for number, (_, own) in enumerate(parts) for shot in own]
    starts = np.cumsum([0] + [len(own) for _, own in parts])
    names = () if plan.kind == "units" else plan.emotions
    films = [(number, shot.film) for number, shot in shots]
    sequence = {film: k for k, film in enumerate(dict.fromkeys(films))}
    units = np.array([[5 * shot.units.get(u, 0.0) for u in DISFA_UNITS] for _, shot in shots])
    skins = "skins sampled from photographs" if photographed else "painted skins"
    source = (
        f"Rendered with affect3d from its default head ({plan.people} people who do not exist, {skins}, kind"
        f" {plan.kind}, seed {plan.seed}); no photographs, and not a sample of any population."
    )
    if photographed:
        source = source.replace("no photographs, and not", "not photographs, and not")
    images = np.concatenate([pictures for pictures, _ in parts])
    images.flags.writeable = False  # spares the value a second copy
    return FaceImages(
        images, [number for number, _ in shots],
        [names.index(shot.emotion) if shot.emotion in names else -1 for _, shot in shots], names, units,
        tuple(f"AU{u}" for u in DISFA_UNITS), [shot.valence for _, shot in shots], [shot.arousal for _, shot in shots],
        [sequence[film] for film in films], [shot.frame for _, shot in shots],
        [starts[number] + shot.neutral for number, shot in shots], source,
    )  # fmt: skip


def _named_set(name: str) -> tuple[str, ...]:
    if name not in EMOTION_SETS:
        raise ValueError(f"emotions: expected names, or one of {', '.join(EMOTION_SETS)}, got {name!r}")
    return EMOTION_SETS[name]
