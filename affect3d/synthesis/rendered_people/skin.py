"""Skins that nobody wears: albedo painted by rule and chance on the unrolled head.

Tones run along a line through published skin colours; the rest (lips, brows, stubble, freckles, hair, eyes)
is drawn from ranges chosen by eye.  Nothing is sampled from a person, and nothing ties a tone to a shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.render.shading import srgb_to_linear
from affect3d.synthesis.rendered_people.canvas import HEIGHT, WIDTH, Canvas

__all__ = ["EYE_SIZE", "Look", "draw_look", "paint_eye", "paint_skin", "wrinkle_maps"]

#: Side of the square on which an eye is painted, texels; the iris fills its middle half.
EYE_SIZE = 64

# sRGB from light to dark, then hair and irises: ranges seen in photographs, rounded.
_TONES = np.array([
    (246, 214, 194), (236, 194, 168), (222, 176, 146), (202, 152, 118), (176, 124, 90), (140, 94, 66),
    (104, 68, 48), (74, 49, 37),
])
_HAIR = np.array([
    (18, 15, 14), (34, 25, 21), (56, 38, 27), (86, 58, 38), (122, 86, 54), (168, 130, 86), (110, 52, 28),
    (150, 146, 142), (196, 192, 188),
])
_IRIS = np.array([
    (62, 38, 24), (84, 54, 32), (112, 76, 42), (110, 98, 58), (92, 112, 84), (96, 124, 148), (120, 140, 156),
    (104, 112, 118),
])
# The left brow as (x, y) of its middle line and half its height, mm of the mean head.
_BROW = np.array([(12.0, 16.6, 3.2), (20.0, 19.8, 3.6), (29.0, 22.0, 3.2), (38.0, 22.0, 2.4), (48.0, 18.0, 1.2)])


@dataclass(frozen=True)
class Look:
    """What one person's surface looks like; lengths in mm, colours linear, the rest in [0, 1].

    Attributes
    ----------
    tone, red, yellow : float
        Place on the line of skin tones (0 light), and deviations from it.
    lip_red, brow_weight, brow_height, stubble, freckles, age, shine, lashes : float
    hair, iris : tuple of 3 float
        Linear colours.
    hair_line, hair_side, hair_depth : float
        How far up the hair begins (large: bald), how low it reaches at the temples, how thick it lies.
    fringe : float
        How far it hangs into the forehead.
    long_hair : float
        Width of hair that falls to the shoulders; 0: none.
    garment : tuple of 3 float
        Linear colour.
    seed : int
        For the noise of pores, strands and spots.
    """

    tone: float
    red: float
    yellow: float
    lip_red: float
    brow_weight: float
    brow_height: float
    stubble: float
    freckles: float
    age: float
    shine: float
    lashes: float
    hair: tuple
    iris: tuple
    hair_line: float
    hair_side: float
    hair_depth: float
    fringe: float
    long_hair: float
    garment: tuple
    seed: int


def draw_look(rng: np.random.Generator) -> Look:
    """One person's surface."""
    tone = float(np.clip(rng.beta(0.9, 1.2), 0.0, 0.97))
    age = float(rng.beta(1.1, 1.8))
    fair = max(1 - 2.2 * tone, 0.0)
    # Dark hair and eyes are far more common, light ones where the skin is light.
    weights = np.array([3.0, 3.0, 2.0, 1.2, 0.0, 0.0, 0.0, 0.0, 0.0])
    weights += np.array([0, 0, 1, 1.5, 2, 2, 0.7, 0, 0]) * fair + np.array([0, 0, 0, 0, 0, 0, 0, 2.5, 2]) * 2.5 * age**3
    hair = _between(rng, _HAIR, rng.choice(len(_HAIR), p=weights / weights.sum()))
    weights = np.array([3.0, 3.0, 1.0, 0.3, 0.0, 0.0, 0.0, 0.0]) + np.array([0, 0, 1, 1.5, 1.5, 2, 2, 1.5]) * fair
    iris = _between(rng, _IRIS, rng.choice(len(_IRIS), p=weights / weights.sum()))
    bearded = rng.random() < 0.33
    bald = rng.random() < 0.1
    return Look(
        tone=tone, red=float(rng.normal()), yellow=float(rng.normal()), lip_red=float(rng.beta(1.4, 1.8)),
        brow_weight=float(rng.uniform(0.35, 1.0)), brow_height=float(rng.normal(0, 0.8)),
        stubble=float(rng.uniform(0.25, 1.0) if bearded else 0.0),
        freckles=float(max(rng.uniform(-1.5, 1.0), 0.0) * fair), age=age, shine=float(rng.uniform(0.1, 1.0)),
        lashes=float(rng.uniform(0.25, 1.0)), hair=tuple(hair), iris=tuple(iris),
        hair_line=float(rng.uniform(62, 76) + (40 if bald else 12 * age * rng.random())),
        hair_side=float(rng.uniform(-45, 15)), hair_depth=float(rng.uniform(2.0, 14.0) * (0 if bald else 1)),
        fringe=float(rng.uniform(0, 1) * (rng.random() < 0.4)),
        long_hair=float(rng.uniform(0.3, 1) * (rng.random() < 0.45) * (not (bearded or bald))),
        garment=tuple(np.exp(rng.uniform(-3.5, -0.4)) * np.exp(rng.normal(0, 0.35, 3))), seed=int(rng.integers(2**31)),
    )  # fmt: skip


def paint_skin(canvas: Canvas, look: Look, photographed=None) -> np.ndarray:
    """(H, W, 4) float32: linear albedo of the sheet, and how much of each texel is hair.

    `photographed` (H, W, 3): albedo to be used instead of painted skin, lips, brows and stubble.
    """
    rng = np.random.default_rng(look.seed)
    x, y, z = np.moveaxis(canvas.place, -1, 0)
    ax = np.abs(x)
    broad, middle, fine = (_noise(rng, s) for s in (26, 7, 1.3))

    at = look.tone * (len(_TONES) - 1)
    low = min(int(at), len(_TONES) - 2)
    base = (1 - at + low) * _linear(_TONES[low]) + (at - low) * _linear(_TONES[low + 1])
    red, yellow = look.red, look.yellow
    base = base * np.array([1 + 0.02 * red, 1 - 0.03 * red - 0.01 * yellow, 1 - 0.02 * red - 0.05 * yellow])
    # Blood shows where the skin is thin, more on light skin; deviations multiply, as pigments do.
    light = 1 - 0.7 * look.tone
    blood = 0.9 * _bump(ax, y, 42, -32, 17, 15) + 0.9 * _bump(ax, y, 4, -38, 13, 12) * (z > 20)
    blood += 0.6 * _bump(ax, y, 0, -103, 16, 12) + 0.35 * broad + 0.25 * middle
    blood -= 0.5 * _bump(ax, y, 0, 50, 40, 20)
    dark = 0.5 * _bump(ax, y, 30, -15, 15, 5) * (0.4 + look.age) + 0.25 * broad + 0.2 * middle
    dark += 0.45 * _bump(ax, y, 30, 6, 17, 5) + look.age * 0.5 * np.maximum(middle - 0.6, 0)
    log = np.log(base)[None, None] * np.ones((HEIGHT, WIDTH, 1))
    log += blood[..., None] * np.array([-0.03, -0.22, -0.17]) * light * max(0.7 + 0.2 * look.red, 0.2)
    log += dark[..., None] * np.array([-0.11, -0.16, -0.18])
    log += fine[..., None] * np.array([0.025, 0.035, 0.035])
    if look.freckles > 0:
        spots = np.clip(_noise(rng, 1.6) - 1.3, 0, 1) * (_bump(ax, y, 24, -24, 30, 18) + 0.3)
        log += (look.freckles * spots)[..., None] * np.array([-0.35, -0.6, -0.75])
    for _ in range(rng.poisson(2)):  # moles
        mx, my = rng.uniform(-60, 60), rng.uniform(-110, 70)
        log += _bump(x, y, mx, my, 1.3, 1.3)[..., None] * (z > -20)[..., None] * np.array([-0.7, -0.9, -1.0])
    colour = np.exp(log)

    lip = np.clip(canvas.lips * 1.15, 0, 1)[..., None]
    plain = np.exp(np.log(base) + np.array([-0.18, -0.62, -0.5]) * (0.75 + 0.5 * light))
    painted = _linear((176, 40, 58)) * rng.uniform(0.5, 1.1)
    rouge = np.clip(2.5 * look.lip_red - 1.55, 0, 0.85)
    lip_colour = (1 - rouge) * plain + rouge * painted
    colour = (1 - 0.88 * lip) * colour + 0.88 * lip * lip_colour * np.exp(0.1 * middle + 0.05 * fine)[..., None]

    hair_colour = np.asarray(look.hair)
    strands = np.exp(0.35 * _strands(rng))[..., None]
    face = (z > -5) & (canvas.skin > 0.3)
    brow = _brow(ax, y, look) * (z > 0)
    brow = np.clip(brow * (0.85 + 0.3 * fine), 0, 1) * (0.35 + 0.6 * look.brow_weight)
    colour = _over(colour, brow, hair_colour * 0.8 * np.exp(0.15 * fine)[..., None])
    hairy = brow
    if look.stubble > 0:
        beard = _beard(ax, y, z, rng) * (1 - lip[..., 0]) * (canvas.skin > 0.2)
        thick = look.stubble * beard * np.clip(0.75 + 0.3 * fine + 0.2 * middle, 0, 1)
        hairy = np.maximum(hairy, thick)
        colour = _over(colour, 0.8 * thick, 0.7 * hair_colour * strands + 0.12 * base)
    lash = _lash_line(ax, y) * (0.35 + 0.5 * look.lashes) * face
    colour = _over(colour, lash, np.full(3, 0.012))
    if photographed is not None:
        colour = np.asarray(photographed, float)
    hair = hair_mask(canvas, look, 0.9 * middle + 0.6 * broad + 0.5 * fine)
    colour = _over(colour, hair, hair_colour * strands * np.exp(0.25 * middle)[..., None])
    dull = hair if photographed is not None else np.maximum(hair, hairy)
    return np.concatenate([np.clip(colour, 0.004, 0.97), dull[..., None]], -1).astype(np.float32)


def hair_mask(canvas: Canvas, look: Look, ragged=0.0) -> np.ndarray:
    """(H, W) in [0, 1]: where the scalp is covered; `ragged` moves the border, mm."""
    x, y, z = np.moveaxis(canvas.place, -1, 0)
    ax = np.abs(x)
    # Over the forehead the line bends down at the temples; beside the face it goes down in front of the ears.
    line = look.hair_line - 0.008 * ax**2 - 14 * look.fringe * np.clip(1 - (ax - 25) / 30, 0, 1)
    above = np.clip((y - line + 1.5 * ragged) / 5 + 0.5, 0, 1)
    # Behind a line that slopes from the temple to the front of the ear, down to the sideburn, and on the nape.
    border = -30 + 0.35 * np.clip(y, -40, 60) + 1.2 * ragged
    side = np.clip((border - z) / 6, 0, 1) * np.clip((y - look.hair_side + 3 * ragged) / 10, 0, 1)
    nape = np.clip((-84 - z + 2 * ragged) / 12, 0, 1) * np.clip((y + 95 + 3 * ragged) / 14, 0, 1)
    mask = above if look.hair_line > 100 else np.maximum(above, np.maximum(side, nape))
    ear = np.clip((ax - 72.5) / 2, 0, 1) * np.clip((24 - y) / 4, 0, 1) * np.clip((z + 100) / 4, 0, 1)
    return (mask * (1 - ear)).astype(np.float32)


def paint_eye(look: Look) -> np.ndarray:
    """(S, S, 3) float32 linear albedo of an eye seen from in front; the iris ends at half the way to the border."""
    rng = np.random.default_rng([look.seed, 1])
    c = (np.arange(EYE_SIZE) + 0.5) / EYE_SIZE * 2 - 1
    x, y = np.meshgrid(c, -c)
    r, turn = np.hypot(x, y) * 2, np.arctan2(y, x)  # r = 1 at the border of the iris
    rays = sum(rng.normal(0, 0.5) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in (5, 9, 13, 21, 34))
    brighter = 1.25 * (0.75 + 0.55 * np.clip(1 - r, 0, 1))
    iris = np.asarray(look.iris) * (np.exp(0.22 * rays) * brighter)[..., None]
    white = np.array([0.66, 0.62, 0.59]) * np.exp(-np.clip(r - 1, 0, 2)[..., None] * [0.10, 0.22, 0.25])
    white = white * (1 - 0.2 * look.tone)
    colour = _over(white, _step(1.03 - r, 0.06), iris)
    colour = _over(colour, 0.8 * np.exp(-(((r - 0.98) / 0.09) ** 2)), np.full(3, 0.02))
    pupil = 0.32 + 0.1 * rng.random()
    return _over(colour, _step(pupil - r, 0.06), np.full(3, 0.006)).astype(np.float32)


def wrinkle_maps(canvas: Canvas) -> dict[str, np.ndarray]:
    """Furrows that expressions deepen, (H, W) in [0, 1] each: the ridge of a line, soft to both sides."""
    x, y, z = np.moveaxis(canvas.place, -1, 0)
    ax, front = np.abs(x), np.clip(z / 15, 0, 1)

    def furrow(line, width, fade):
        return np.exp(-((line / width) ** 2)) * fade * front

    forehead = sum(
        furrow(y - (36 + 9 * k + 0.004 * ax**2 - 1.2 * np.cos(x / 9 + k)), 1.5, np.clip((44 - ax) / 14, 0, 1))
        for k in range(3)
    )  # fmt: skip
    glabella = furrow(ax - 4.5 - 0.05 * (y - 18), 1.4, _bump(ax, y, 4, 20, 40, 8))
    fold = np.interp(y, [-72, -58, -45, -34], [34, 31.5, 26.5, 20])
    nasolabial = furrow(ax - fold, 2.0, np.clip((y + 76) / 12, 0, 1) * np.clip((-31 - y) / 6, 0, 1))
    crow = sum(furrow(y - 2 - s * (ax - 48), 1.1, np.clip((ax - 47) / 4, 0, 1) * np.clip((62 - ax) / 6, 0, 1))
               for s in (-0.55, -0.05, 0.45))  # fmt: skip
    below = furrow(y + 11.5 - 0.012 * (ax - 30) ** 2, 1.4, np.clip((17 - np.abs(ax - 30)) / 5, 0, 1))
    nose = sum(furrow(y - k - 0.25 * ax, 1.2, np.clip((13 - ax) / 4, 0, 1)) for k in (-1, -6, -11))
    chin = furrow(y + 94 - 0.012 * x**2, 2.2, np.clip((20 - ax) / 8, 0, 1))
    maps = dict(forehead=forehead, glabella=glabella, nasolabial=nasolabial, crow=crow + below, nose=nose, chin=chin)
    return {name: np.clip(m, 0, 1).astype(np.float32) for name, m in maps.items()}


def _brow(ax, y, look):
    line = np.interp(ax, _BROW[:, 0], _BROW[:, 1]) + look.brow_height
    half = np.interp(ax, _BROW[:, 0], _BROW[:, 2]) * (0.55 + 0.6 * look.brow_weight)
    inside = _step(half - np.abs(y - line), 1.4)
    return inside * np.clip((ax - 10.5) / 4, 0, 1) * np.clip((50 - ax) / 5, 0, 1)


def _beard(ax, y, z, rng):
    style = rng.integers(3)  # all of it, around the mouth, moustache
    edge = np.interp(ax, [0, 22, 30, 45, 60, 75], [-52, -54, -72, -66, -45, -20]) + 2
    full = _step(edge - y, 7) * _step(y + 128, 12) * (z > -60)
    around = full * _step(30 - ax, 5)
    moustache = full * _step(28 - ax, 5) * _step(y + 74, 4)
    return (full, np.maximum(around, 0.3 * full), np.maximum(moustache, 0.25 * full))[style]


def _lash_line(ax, y):
    """The margin of the upper lid, thinner on the lower one."""
    upper = np.interp(ax, [19, 21, 23.5, 27, 32, 36.5, 41, 44.5], [-4.0, -2.4, 0.3, 1.7, 2.3, 1.9, 0.6, -1.7])
    lower = np.interp(ax, [19, 22.4, 27, 32, 37, 42, 44.5], [-4.2, -5.2, -6.0, -6.4, -6.0, -3.6, -1.8])
    ends = np.clip((ax - 19.5) / 2, 0, 1) * np.clip((46.5 - ax) / 1.5, 0, 1)
    return ends * (np.exp(-(((y - upper) / 0.9) ** 2)) + 0.35 * np.exp(-(((y - lower) / 0.7) ** 2)))


def _bump(x, y, cx, cy, wx, wy):
    return np.exp(-(((x - cx) / wx) ** 2) - ((y - cy) / wy) ** 2)


def _step(distance, width):
    """0 to 1 over `width` around zero, smoothly."""
    t = np.clip(distance / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _over(under, alpha, colour):
    a = np.asarray(alpha)[..., None]
    return under * (1 - a) + colour * a


def _linear(colour):
    return srgb_to_linear(np.asarray(colour, np.uint8)).astype(float)


def _between(rng, table, k):
    """A colour near the k-th of the table, on the way to another one."""
    colour = _linear(table[k])
    return colour * np.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.05, 3))


def _noise(rng, size):
    """(H, W) smooth noise of unit deviation; features of about `size` texels."""
    shrink = max(int(size / 2), 1)
    small = rng.standard_normal((HEIGHT // shrink + 2, WIDTH // shrink + 2)).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), max(size / shrink, 0.6))
    small /= small.std()
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _strands(rng):
    noise = rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.9, sigmaY=9.0)
    return noise / noise.std()
