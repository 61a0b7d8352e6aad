"""Frames aligned to what the person's skin looks like."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.fitting.film_skin import FilmSkin, SkinOptions, _look, _rows, film_skin, fit_skin, skin_crop
from affect3d.fitting.known_face import fit_known
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import LandmarkView, Pose, person_points
from affect3d.fitting.photometric_samples import skin_samples
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.render.raster import interpolate, rasterize
from affect3d.render.shading import linear_to_srgb, srgb_to_linear

_spec = importlib.util.spec_from_file_location("track_problem", Path(__file__).with_name("track_problem.py"))
problem = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(problem)
MODEL, SCHEME, SIZE, FOCAL = problem.MODEL, "mediapipe478", (320, 320), 640.0
NAMES = MODEL.expression_names
IDENTITY = np.array([0.6, -0.8, 0.5, 0.3, -0.4, 0.7, -0.2, 0.5])
BASIS = landmark_basis(MODEL, SCHEME, len(IDENTITY))
PERSON = person_points(BASIS, IDENTITY)
OPTIONS = SkinOptions(samples=800)


def spots():
    """Linear colours of the skin: smooth spots of about a centimetre."""
    rng = np.random.default_rng(3)
    at, sign = rng.uniform([-60, -80], [60, 70], (160, 2)), rng.choice([-1, 1], 160)
    away = ((MODEL.mean[:, None, :2] - at) ** 2).sum(-1)
    return 0.35 * np.exp(0.5 * (sign * np.exp(-away / (2 * 5.0**2))).sum(1))[:, None] * [1.0, 0.7, 0.6]


SKIN = spots()


def pose_at(expression, turn=(0.0, 0.0, 0.0), shift=(4.0, -3.0, 620.0)):
    return Pose(rotation_exp(np.array(turn)) @ np.diag([1.0, -1, -1]), np.array(shift), np.asarray(expression, float))


def picture(pose, light=(1.0, 0.15, -0.2, 0.3), noise=None):
    """(H, W, 3) uint8: the head as it is, lit by a linear function of the normal."""
    vertices = MODEL.instance(IDENTITY, pose.expression)
    seen = vertices @ pose.rotation.T + pose.shift
    flat = FOCAL * seen[:, :2] / seen[:, 2:] + (np.array(SIZE) - 1) / 2
    normals = vertex_normals(vertices, MODEL.faces) @ pose.rotation.T
    bright = np.maximum(light[0] + normals @ np.array(light[1:]), 0.05)
    raster = rasterize(np.column_stack([flat, seen[:, 2]]), MODEL.faces, *SIZE)
    colour = np.where(raster.covered[..., None], interpolate(raster, MODEL.faces, SKIN * bright[:, None]), 0.2)
    if noise is not None:
        colour = colour * np.exp(noise.normal(0, 0.02, colour.shape))
    return np.clip(np.rint(linear_to_srgb(np.clip(colour, 0, 1))), 0, 255).astype(np.uint8)


def view_of(pose, believed=1.0, noise=0.3, rng=None):
    """Landmarks of a detector that sees only a share of each expression."""
    said = Pose(pose.rotation, pose.shift, believed * pose.expression)
    blank = LandmarkView(SCHEME, np.zeros((478, 2)), SIZE, FOCAL, np.zeros(len(NAMES)), np.full(len(NAMES), 0.3))
    flat, _ = blank.project(PERSON, said)
    flat = flat + (0 if rng is None else noise * rng.normal(size=flat.shape))
    return LandmarkView(SCHEME, flat, SIZE, FOCAL, 0.5 * pose.expression, np.full(len(NAMES), 0.15))


def fitted(view, start):
    return fit_known(view, PERSON, start)[0]


def curves(rng):
    out = np.zeros(len(NAMES))
    out[[NAMES.index(n) for n in NAMES if n != "hidden"]] = rng.uniform(0, 0.9, len(NAMES) - 1)
    return out


@pytest.fixture(scope="module")
def film():
    """Nine frames, the first three at rest: true pose, picture, view, and the fit to landmarks that show half of every
    expression."""
    rng, out = np.random.default_rng(1), []
    for k in range(9):
        true = pose_at(curves(rng) if k > 2 else np.zeros(len(NAMES)), 0.12 * rng.normal(size=3))
        light = np.array([0.9 + 0.3 * rng.random(), *0.25 * rng.normal(size=3)])
        view = view_of(true, 0.5, rng=rng)
        out.append((true, picture(true, light, rng), view, fitted(view, pose_at(0.5 * true.expression))))
    return out


@pytest.fixture(scope="module")
def skin(film):
    return film_skin(MODEL, IDENTITY, [(skin_crop(p, v, OPTIONS.blur), v, f) for _, p, v, f in film[:3]], OPTIONS)


def error(pose, true):
    used = [k for k, n in enumerate(NAMES) if n not in ("hidden",)]
    return float(np.abs(pose.expression - true.expression)[used].mean())


def aligned(skin, frame, options=OPTIONS, pixels=None):
    true, shown, view, start = frame
    crop = skin_crop(shown if pixels is None else pixels, view, options.blur)
    return fit_skin(skin, crop, view, PERSON, start, True, options)


def test_rows_are_the_derivatives_of_what_the_points_look_like(skin, film):
    true, shown, view, _ = film[3]
    crop = skin_crop(shown, view, 0.08)
    look = _look(skin, crop, view, true)
    rows, sure = _rows(skin, look, view, true), look.visible > 0.3
    assert sure.sum() > 300
    for k in range(6 + len(NAMES)):
        if k >= 6 and NAMES[k - 6] == "hidden":
            continue
        size = {0: 0.004, 1: 0.004, 2: 0.004, 3: 0.4, 4: 0.4, 5: 4.0}.get(k, 0.05)
        step = np.zeros(rows.shape[1])
        step[k] = size
        there, back = (_look(skin, crop, view, true.moved(s)).values[:, 0] for s in (step, -step))
        found, slope = rows[sure, k], ((there - back) / (2 * size))[sure]
        assert np.linalg.norm(found - slope) < 0.12 * np.linalg.norm(slope), k


def test_a_crop_of_a_frame_is_the_frame(film):
    """Large frames are shrunk; what is sampled stays the same but for blur, gradients are by the frame's pixels."""
    _, shown, view, pose = film[2]
    large = np.repeat(np.repeat(shown, 2, 0), 2, 1)
    twice = LandmarkView(SCHEME, 2 * view.targets + 0.5, (640, 640), 2 * FOCAL, view.guess, view.trust)
    assert twice.unit > 80  # so that it is shrunk
    flat, _ = view.project(PERSON, pose)
    flat = flat[np.isfinite(flat).all(1)]
    small_values, inside = skin_crop(shown, view, 0.06).sample(flat)
    large_values, also = skin_crop(large, twice, 0.06).sample(2 * flat + 0.5)
    assert inside.all() and also.all()
    np.testing.assert_allclose(large_values[:, 0], small_values[:, 0], atol=0.05)
    gradient = np.abs(small_values[:, 1:]).max()
    np.testing.assert_allclose(2 * large_values[:, 1:], small_values[:, 1:], atol=0.15 * gradient)


@pytest.mark.parametrize("unit", [60, 300])
def test_a_crop_is_sampled_to_a_fraction_of_a_pixel(unit):
    """A ramp along one axis: its level is known everywhere, its gradient too, whatever the crop was shrunk to."""
    rng = np.random.default_rng(8)
    targets = np.full((478, 2), np.nan)
    targets[[33, 263]] = [[200, 240], [200 + unit, 240]]
    targets[1] = [200 + unit / 2, 300]
    view = LandmarkView(SCHEME, targets, (640, 480), FOCAL, np.zeros(0), np.zeros(0))
    flat = np.column_stack([rng.uniform(200, 200 + unit, 50), rng.uniform(240, 300, 50)])
    for axis, first in ((0, 200), (1, 240)):
        at = np.interp(np.arange((640, 480)[axis]), [first - 60, first + unit + 60], [40, 230])
        rising = np.tile(at, (480, 1)) if axis == 0 else np.tile(at, (640, 1)).T
        ramp = np.repeat(np.rint(rising)[..., None], 3, 2).astype(np.uint8)
        values, inside = skin_crop(ramp, view, 0.01).sample(flat)
        assert inside.all()
        level = np.log(srgb_to_linear(np.arange(256, dtype=np.uint8)) + 0.02)
        known = np.interp(at, np.arange(256), level)
        pixel = np.arange(len(at))
        wanted = np.interp(flat[:, axis], pixel, known)
        np.testing.assert_allclose(values[:, 0], wanted, atol=0.35 * np.gradient(known).max())
        slope = np.interp(flat[:, axis], pixel, np.gradient(known))
        values, _ = skin_crop(ramp, view, 0.05).sample(flat)
        np.testing.assert_allclose(values[:, 1 + axis], slope, rtol=0.15)
        assert np.abs(values[:, 2 - axis]).max() < 0.05 * slope.max()


def test_the_skin_is_what_was_drawn_but_for_light(skin, film):
    """The logarithm of the colour comes out but for what harmonics explain."""
    face = skin_samples(MODEL, len(IDENTITY), OPTIONS.samples).face
    colour = np.log(SKIN[MODEL.faces[face]].mean(1) @ [0.2126, 0.7152, 0.0722])
    sure = skin.precision > 0.5 * skin.precision.max()
    assert sure.mean() > 0.5
    assert np.corrcoef(colour[sure], skin.level[sure])[0, 1] > 0.8


def test_expressions_that_the_landmarks_halve_come_out_by_the_skin(skin, film):
    before = np.array([error(f[3], f[0]) for f in film[3:]])
    found = [aligned(skin, f) for f in film[3:]]
    after = np.array([error(pose, f[0]) for (pose, _), f in zip(found, film[3:])])
    assert after.mean() < 0.6 * before.mean()
    assert (after < before + 0.01).all()
    assert all(0 <= gain < 1 for _, gain in found) and np.mean([gain for _, gain in found]) > 0.2


def test_a_hand_before_the_face_does_not_spoil_it(skin, film):
    bare, covered = [], []
    for frame in film[3:]:
        hidden = frame[1].copy()
        middle = np.nanmean(frame[2].targets, axis=0).astype(int)
        hidden[middle[1] + 5 : middle[1] + 60, middle[0] : middle[0] + 45] = (250, 240, 230)
        bare.append(error(aligned(skin, frame)[0], frame[0]))
        covered.append(error(aligned(skin, frame, pixels=hidden)[0], frame[0]))
    assert np.mean(covered) < np.mean(bare) + 0.03
    assert np.mean(covered) < 0.7 * np.mean([error(f[3], f[0]) for f in film[3:]])


def test_another_exposure_and_lamp_change_little(skin, film):
    true, _, view, start = film[4]
    poses = [
        aligned(skin, (true, picture(true, light), view, start))[0]
        for light in ((1.0, 0, 0, -0.2), (0.5, 0.25, -0.1, -0.1), (1.6, -0.3, 0.2, -0.4))
    ]
    for pose in poses[1:]:
        assert np.abs(pose.expression - poses[0].expression).max() < 0.12


def test_where_there_is_no_skin_to_see_the_start_is_given_back(skin, film):
    true, shown, view, start = film[1]
    blind = FilmSkin(skin.mean, skin.expression, skin.level, np.zeros_like(skin.precision))
    assert fit_skin(blind, skin_crop(shown, view, 0.03), view, PERSON, start, True, OPTIONS) == (start, 0.0)
    behind = Pose(start.rotation, start.shift * [1, 1, -1], start.expression)
    pose, gain = fit_skin(skin, skin_crop(shown, view, 0.03), view, PERSON, behind, True, OPTIONS)
    assert pose is behind and gain == 0.0


@pytest.mark.parametrize("fill", [0, 255, 127])
def test_frames_of_one_colour_stay_finite(skin, film, fill):
    _, shown, view, start = film[1]
    pose, gain = aligned(skin, film[1], pixels=np.full_like(shown, fill))
    assert np.isfinite(pose.expression).all() and np.isfinite(pose.shift).all() and 0 <= gain <= 1
    assert (pose.expression >= 0).all() and (pose.expression <= 1).all()


def test_a_face_cut_by_the_border_stays_finite(skin, film):
    true = pose_at(film[2][0].expression, shift=(170.0, 120.0, 620.0))
    view = view_of(true)
    pose, _ = aligned(skin, (true, picture(true), view, true))
    assert np.isfinite(pose.expression).all() and error(pose, true) < 0.25
    away = pose_at(true.expression, shift=(1500.0, 900.0, 620.0))  # landmarks far outside the picture
    pose, gain = aligned(skin, (away, picture(true), view_of(away), away))
    assert pose is away and gain == 0.0


def test_same_input_same_bytes(skin, film):
    again = film_skin(MODEL, IDENTITY, [(skin_crop(p, v, OPTIONS.blur), v, f) for _, p, v, f in film[:3]], OPTIONS)
    np.testing.assert_array_equal(again.level, skin.level)
    first, second = (aligned(skin, film[3])[0] for _ in range(2))
    np.testing.assert_array_equal(first.expression, second.expression)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="frames: expected at least one"):
        film_skin(MODEL, IDENTITY, [])
    for name, value, why in (
        ("samples", 10, "at least 100"), ("iterations", 0, "at least 1"), ("blur", 0.0, "positive"),
        ("sigma", np.nan, "positive"), ("landmarks", 1.5, "share in"), ("information", -1, "positive"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}: .*{why}"):
            SkinOptions(**{name: value})
