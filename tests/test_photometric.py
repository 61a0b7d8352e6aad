"""Fits by every pixel: planted heads, derivatives against differences, and pictures that say nothing."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.camera import Camera
from affect3d.fitting import FitOptions, fit_face
from affect3d.fitting.photometric import PhotometricOptions, _Problem, fit_photometric
from affect3d.fitting.photometric_albedo import bump_centres, triangle_albedo, vertex_albedo
from affect3d.fitting.photometric_gradient import orientation_channels
from affect3d.fitting.photometric_samples import skin_samples
from affect3d.fitting.photometric_view import View
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmarks import Landmarks
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(head)

SIZE, FOCAL = (256, 256), 520.0


@pytest.fixture(scope="module")
def model():
    return head.small_head()


@pytest.fixture(scope="module")
def coloured(model):
    """The same head with a colour basis: two smooth modes, and one of a colour and pattern that no light has."""
    x, y, z = model.mean.T
    modes = np.stack([
        (0.5 + 0.5 * np.tanh(y / 30))[:, None] * [1, 0.6, 0.5],
        np.exp(-((y + 40) ** 2) / 800)[:, None] * [0.4, 0.8, 1.0],
        (np.sin(x / 10) * np.sin(y / 10))[:, None] * [0.2, 1, 0.2],
    ])  # fmt: skip
    mean = np.tile([0.72, 0.6, 0.52], (len(x), 1))
    return replace(model, colour_mean=mean, colour_modes=modes, colour_std=np.array([0.08, 0.07, 0.06]))


class Scene:
    """A head of known everything: photo, noisy landmarks and their fit."""

    def __init__(self, model, seed, noise=0.02):
        rng = np.random.default_rng(seed)
        self.identity = rng.normal(0, 1, 8)
        self.expression = np.array([rng.uniform(0, 0.5), *rng.uniform(0, 0.8, 3), 0, 0, 0])
        self.vertices = model.instance(self.identity, self.expression)
        R = np.diag([1.0, -1, -1]) @ rotation_exp(np.array([rng.uniform(-0.15, 0.15), rng.uniform(-0.4, 0.4), 0.05]))
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, [3, -4, 620]
        self.camera = Camera(FOCAL, np.array([127.5, 127.5]), SIZE, T)
        self.light = np.zeros((9, 3))
        direction = rng.normal(size=3) + [0, 0.5, 1]
        self.light[0], self.light[1:4] = 0.55, (0.3 * direction / np.linalg.norm(direction))[:, None]
        self.light[4:] = rng.normal(0, 0.02, (5, 3))
        x, y, _ = model.mean.T
        self.albedo = (0.5 + 0.02 * np.sin(x / 20) * np.cos(y / 25))[:, None] * np.array([1, 0.8, 0.65])
        self.image = self.draw(model)
        marks = model.landmarks["ibug68"]
        points = self.camera.project(marks.locate(self.vertices, model.faces))
        unit = np.linalg.norm(points[36] - points[45])
        self.landmarks = Landmarks("ibug68", points + rng.normal(0, noise * unit, points.shape))
        self.fit = fit_face(self.landmarks, model, SIZE, FitOptions(focal=FOCAL))

    def draw(self, model):
        big = self.camera.resized(512, 512)
        raster = rasterize(screen_points(big, self.vertices), model.faces, 512, 512)
        shade = np.maximum(harmonics(vertex_normals(self.vertices, model.faces)) @ self.light, 0.02)
        linear = np.where(raster.covered[..., None], interpolate(raster, model.faces, self.albedo * shade), 0.12)
        small = linear.reshape(256, 2, 256, 2, 3).mean((1, 3))
        return np.rint(linear_to_srgb(small)).astype(np.uint8)

    def error(self, fit, model):
        """Mean distance of the front's vertices, mm, after rigid alignment."""
        front = model.mean[:, 2] > 30
        a, b = fit.vertices(model)[front], self.vertices[front]
        return float(np.linalg.norm(procrustes(a, b, scale=False).apply(a) - b, axis=1).mean())


@pytest.fixture(scope="module")
def scenes(model):
    return [Scene(model, seed) for seed in range(6)]


@pytest.fixture(scope="module")
def results(model, scenes):
    return [fit_photometric(s.image, s.fit, model) for s in scenes]


def test_planted_heads_are_found_a_fifth_better_than_by_noisy_landmarks(model):
    scenes = [Scene(model, seed, noise=0.03) for seed in range(8)]
    before = np.array([s.error(s.fit, model) for s in scenes])
    # the background is known to be plain, and the skin to be nearly even: pixels tell more than they do of real faces
    options = PhotometricOptions(edge_sigma=0.05, information=100, albedo_sigma=0.05)
    after = np.array([s.error(fit_photometric(s.image, s.fit, model, options).fit, model) for s in scenes])
    assert after.mean() < 0.8 * before.mean(), (before.round(2), after.round(2))
    assert np.median(after / before) < 0.8 and (after < before).mean() >= 0.75


def test_light_is_found_up_to_the_albedo(model, scenes, results):
    for s, r in zip(scenes, results):
        normals = vertex_normals(s.vertices, model.faces)
        toward = (normals * (s.camera.position - s.vertices)).sum(1) > 200
        seen = toward & (model.mean[:, 2] > 30)
        planted = (s.albedo * (harmonics(normals) @ s.light))[seen]
        found = (r.albedo * (harmonics(vertex_normals(r.fit.vertices(model), model.faces)) @ r.lighting))[seen]
        assert np.abs(found - planted).mean() < 0.06 * planted.mean()


@pytest.mark.parametrize("channels", ["colour", "gradient", "both"])
def test_every_choice_ends_no_worse_than_it_began_and_says_why(model, scenes, channels):
    s = scenes[1]
    r = fit_photometric(s.image, s.fit, model, PhotometricOptions(channels=channels))
    assert r.cost_after <= r.cost_before and r.reason
    assert s.error(r.fit, model) < s.error(s.fit, model) * 1.05
    assert r.trust.shape == (256, 256) and 0 <= r.trust.min() and r.trust.max() <= 1
    for array in (r.fit.identity, r.fit.expression, r.lighting, r.albedo, r.fit.camera.T_camera_world):
        assert np.isfinite(array).all()
    assert (r.fit.expression >= 0).all() and (r.fit.expression <= 1).all()


def test_the_same_input_gives_the_same_bits(model, scenes, results):
    again = fit_photometric(scenes[0].image, scenes[0].fit, model)
    np.testing.assert_array_equal(again.fit.identity, results[0].fit.identity)
    np.testing.assert_array_equal(again.trust, results[0].trust)


def test_a_hand_before_the_cheek_is_not_trusted_and_hardly_matters(model, scenes, results):
    s = scenes[0]
    hidden = s.image.copy()
    middle = np.round(s.camera.project(np.array([[30.0, -20.0, 75.0]]))[0]).astype(int)
    box = np.s_[middle[1] - 16 : middle[1] + 16, middle[0] - 14 : middle[0] + 14]
    hidden[box] = (60, 90, 40)
    r = fit_photometric(hidden, s.fit, model)
    inner = np.s_[middle[1] - 10 : middle[1] + 10, middle[0] - 8 : middle[0] + 8]
    assert r.trust[inner].mean() < 0.1
    skin = results[0].trust > 0.8
    skin[middle[1] - 24 : middle[1] + 24, middle[0] - 22 : middle[0] + 22] = False
    assert r.trust[skin].mean() > 0.6
    assert s.error(r.fit, model) < s.error(s.fit, model)


def test_gradient_directions_do_not_see_how_bright_a_picture_is(scenes):
    rng = np.random.default_rng(0)
    linear = np.clip(rng.normal(0.5, 0.1, (40, 40, 3)), 0.2, None).astype(np.float32)
    a, b = orientation_channels(linear, 2.0), orientation_channels(linear * np.float32(0.7), 2.0)
    assert np.abs(a - b).max() < 0.05 and np.abs(a).max() > 0.9


def problem(model, scene, channels="both"):
    p = _Problem(scene.image, scene.fit, model, PhotometricOptions(channels=channels, samples=400))
    state, reason = p.start()
    assert reason == ""
    # pictures whose derivatives are known exactly: planes
    y, x = np.mgrid[:256, :256].astype(np.float32)
    ramp = np.stack([0.2 + 0.001 * x + 0.0005 * y, 0.3 - 0.0005 * x + 0.001 * y, 0.2 + 0.0007 * (x + y)], -1)
    p.colour.smooth = ramp
    p.colour.dx, p.colour.dy = (np.broadcast_to(np.float32(d), ramp.shape).copy() for d in
                                ([0.001, -0.0005, 0.0007], [0.0005, 0.001, 0.0007]))  # fmt: skip
    p.look(state)
    p.gradient.channels = ramp[..., :2] * 4
    p.gradient.dx, p.gradient.dy = p.colour.dx[..., :2] * 4, p.colour.dy[..., :2] * 4
    rng = np.random.default_rng(4)
    albedo = state.albedo + rng.normal(0, 0.03, state.albedo.shape)
    light = state.light + rng.normal(0, 0.05, (9, 3)) * state.light[0]
    coefficients = state.coefficients.copy()
    coefficients[p.modes :] = np.clip(coefficients[p.modes :], 0.2, 0.8)
    return p, replace(state, albedo=albedo, light=light, coefficients=coefficients)


@pytest.mark.parametrize(
    "term", ["colour", "gradient", "landmarks", "outline", "priors", "all", "colour of a basis", "all of a basis"]
)
def test_the_right_hand_side_is_half_the_slope_of_the_cost(model, coloured, scenes, term):
    p, state = problem(coloured if term.endswith("basis") else model, scenes[2])
    term = term.removesuffix(" of a basis")
    if term == "outline":
        p.outline.found, rng = 12, np.random.default_rng(0)
        corners = rng.choice(len(model.mean), 12, replace=False)
        p.outline.mean = model.mean[corners]
        p.outline.linear = np.concatenate([model.identity * model.identity_std[:, None, None], model.expression])[
            :, corners
        ].astype(float)
        p.outline.normal = np.tile([0.6, 0.8], (12, 1))
        here = state.view.project(p.outline.mean + np.tensordot(state.coefficients, p.outline.linear, 1))[0]
        p.outline.aim = (here * p.outline.normal).sum(1) + rng.normal(0, 5, 12)
    target = p if term == "all" else getattr(p, term)

    def cost(s):
        return target.cost(s.view, s.coefficients) if term in ("landmarks", "outline") else target.cost(s)

    if term in ("landmarks", "outline"):
        left, right = target.equations(state.view, state.coefficients)
    else:
        left, right = target.equations(state)
    size = len(right)
    assert np.linalg.eigvalsh(left).min() > -1e-6 * np.abs(left).max()
    numeric = np.zeros(size)
    for k in range(size):
        step = np.zeros(p.layout.size)
        # the samples' geometry is float32: steps must stand out of its rounding
        step[k] = 1e-3 if 3 <= k < p.layout.expression.stop else 1e-4
        numeric[k] = (cost(state.moved(step, p.layout)) - cost(state.moved(-step, p.layout))) / (2 * step[k])
    scale = np.sqrt(np.maximum(np.diag(left), 1e-12 * np.diag(left).max()))  # each unknown in its own deviation
    error = np.abs(-0.5 * numeric - right) / scale
    assert error.max() < 0.02 * np.abs(right / scale).max(), (error.argmax(), error.max())


def test_projection_has_the_derivative_of_differences(model):
    rng = np.random.default_rng(1)
    view = View(rotation_exp(np.array([0.2, 2.9, 0.3])), np.array([5.0, -3, 500]), 700.0, np.array([10.0, 20]))
    points, linear = rng.normal(0, 60, (5, 3)), rng.normal(0, 3, (4, 5, 3))
    J = view.jacobian(points, linear)
    for k in range(11):
        step, c = np.zeros(7), np.zeros(4)
        (step if k < 7 else c)[k if k < 7 else k - 7] = 1e-6
        ahead = view.moved(step).project(points + np.tensordot(c, linear, 1))[0]
        back = view.moved(-step).project(points - np.tensordot(c, linear, 1))[0]
        np.testing.assert_allclose(J[:, :, k], (ahead - back) / 2e-6, rtol=1e-5, atol=1e-6)


def test_samples_are_middles_of_their_triangles_in_any_shape(model):
    s = skin_samples(model, 8, 300)
    rng = np.random.default_rng(0)
    identity, expression = rng.normal(size=8), rng.uniform(0, 1, 7)
    vertices = model.instance(identity, expression)
    corners = vertices[model.faces[s.face]]
    centre, _, _, normal, area = s.posed(np.r_[identity, expression])
    np.testing.assert_allclose(centre, corners.mean(1), atol=1e-3)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_allclose(normal * area[:, None], cross, atol=1e-2)
    assert 250 <= len(s.face) <= 300


def test_pictures_that_say_nothing_leave_the_landmark_fit_alone(model, scenes):
    s = scenes[0]
    black = fit_photometric(np.zeros_like(s.image), s.fit, model)
    assert black.fit is s.fit and not black.converged and "black" in black.reason
    away = replace(s.fit, camera=Camera(FOCAL, np.array([-900.0, 127.5]), SIZE, s.fit.camera.T_camera_world))
    outside = fit_photometric(s.image, away, model)
    assert outside.fit is away and "too little of the face" in outside.reason
    for value in (1, 128, 255):
        grey = fit_photometric(np.full_like(s.image, value), s.fit, model)
        assert np.isfinite(grey.fit.identity).all() and grey.cost_after <= grey.cost_before


def test_a_face_cut_by_the_border_still_has_a_finite_fit(model, scenes):
    s = scenes[3]
    cut = replace(s.fit, camera=s.fit.camera.cropped(0, 0, 130, 256), targets=s.fit.targets.copy())
    r = fit_photometric(np.ascontiguousarray(s.image[:, :130]), cut, model)
    assert np.isfinite(r.fit.identity).all() and r.cost_after <= r.cost_before
    assert s.error(r.fit, model) < s.error(s.fit, model) * 1.2


def test_wrong_arguments_are_named(model, scenes):
    s = scenes[0]
    with pytest.raises(ValueError, match="image: expected .* uint8, got float64"):
        fit_photometric(np.full((256, 256, 3), np.nan), s.fit, model)
    with pytest.raises(ValueError, match=r"image: the fit is for \(256, 256\)"):
        fit_photometric(s.image[:200], s.fit, model)
    with pytest.raises(ValueError, match="fit: the model has"):
        fit_photometric(s.image, replace(s.fit, expression=np.zeros(3)), model)
    with pytest.raises(ValueError, match="channels: expected one of colour, gradient, both"):
        PhotometricOptions(channels="sift")
    with pytest.raises(ValueError, match="information"):
        PhotometricOptions(information=float("nan"))
    with pytest.raises(ValueError, match="blurs"):
        PhotometricOptions(blurs=())
    with pytest.raises(ValueError, match="samples"):
        PhotometricOptions(samples=3)


# -- a model's own colour basis ------------------------------------------------------------------------


def painted_scene(coloured, seed):
    """A scene whose skin is drawn from the colour basis, and its coefficients."""
    scene, planted = Scene(coloured, seed), np.random.default_rng(100 + seed).normal(0, 1.2, 3)
    encoded = coloured.colour_mean + np.tensordot(planted * coloured.colour_std, coloured.colour_modes, 1)
    scene.albedo = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    scene.image = scene.draw(coloured)
    return scene, planted


def test_colours_drawn_from_the_basis_are_found_in_it(coloured):
    """The true coefficients within what trading with the light leaves, and the skin better than without the basis."""
    for seed in range(3):
        scene, planted = painted_scene(coloured, seed)
        # skins of the basis and nothing else: pixels tell more than they do of real faces
        with_basis = fit_photometric(scene.image, scene.fit, coloured, PhotometricOptions(information=100))
        without = fit_photometric(
            scene.image, scene.fit, coloured, PhotometricOptions(colour_modes=0, information=100)
        )
        assert with_basis.colour.shape == (3,) and without.colour.shape == (0,)
        assert abs(with_basis.colour[2] - planted[2]) < 0.2  # light has nothing like it
        assert np.abs(with_basis.colour[:2] - planted[:2]).max() < 0.8
        front = coloured.mean[:, 2] > 30

        def off(fit, truth=scene.albedo[front], front=front):
            found = fit.albedo[front] * (np.median(truth, 0) / np.median(fit.albedo[front], 0))
            return np.abs(found - truth).mean() / truth.mean()

        assert off(with_basis) < 0.6 * off(without), (off(with_basis), off(without))
        assert off(with_basis) < 0.04


def test_fewer_colour_modes_are_the_first_ones(coloured):
    scene, _ = painted_scene(coloured, 1)
    first = fit_photometric(scene.image, scene.fit, coloured, PhotometricOptions(colour_modes=2))
    cut = replace(coloured, colour_modes=coloured.colour_modes[:2], colour_std=coloured.colour_std[:2])
    again = fit_photometric(scene.image, scene.fit, cut)
    np.testing.assert_array_equal(first.colour, again.colour)
    np.testing.assert_array_equal(first.fit.identity, again.fit.identity)
    with pytest.raises(ValueError, match="colour_modes: expected at least 0, got -1"):
        PhotometricOptions(colour_modes=-1)


@pytest.mark.parametrize("basis", [True, False])
def test_albedo_has_the_slopes_of_differences_and_agrees_between_corners_and_middles(model, coloured, basis):
    which, rng = coloured if basis else replace(model, colours=np.random.default_rng(0).integers(
        60, 200, (len(model.mean), 3)).astype(np.uint8)), np.random.default_rng(1)  # fmt: skip
    centres, corners = bump_centres(model.mean), which.faces[rng.choice(len(which.faces), 50, replace=False)]
    paint = triangle_albedo(which, 40, centres, corners)
    mean, deviation = paint.expected(0.05)
    assert len(mean) == paint.count == (3 if basis else paint.smooth.shape[1] + 1) and paint.learned == basis
    weights = mean + deviation * rng.normal(0, 0.5, paint.count)
    for c in range(3):
        slopes = paint.slopes(weights, np.arange(50), c)
        for k in range(paint.count):
            step = np.eye(paint.count)[k] * 1e-6
            numeric = (paint(weights + step) - paint(weights - step))[:, c] / 2e-6
            np.testing.assert_allclose(slopes[:, k], numeric, atol=1e-8)
    colours = vertex_albedo(which, 40, centres).own(weights)
    np.testing.assert_allclose(paint.own(weights), colours[corners].mean(1), atol=1e-12)
    skin = which.part_vertices("face", "lips", "skin")
    np.testing.assert_allclose(np.median(vertex_albedo(which, 40, centres).own(np.r_[
        np.zeros(paint.smooth.shape[1]), np.zeros(3) if basis else 1.0])[skin], axis=0), 1, atol=1e-9)  # fmt: skip
