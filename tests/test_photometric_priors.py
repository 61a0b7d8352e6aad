"""What a photometric fit expects before it looks: the detector's word for the expression, not the landmark fit's."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.camera import Camera
from affect3d.detect import FaceDetection
from affect3d.fitting import FitOptions, PhotometricOptions, fit_face, fit_photometric
from affect3d.fitting.photometric import _Problem
from affect3d.fitting.photometric_landmarks import LandmarkTerm
from affect3d.fitting.photometric_rehearsal import REPEATED
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmarks import Landmarks
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(head)

SIZE = (256, 256)


@pytest.fixture(scope="module")
def model():
    return head.small_head()


def planted(model, seed):
    """A drawn head, a detection whose landmarks err together and whose scores are right, and the true expression."""
    rng = np.random.default_rng(seed)
    expression = np.where(rng.random(len(model.expression)) < 0.4, rng.uniform(0.1, 0.6, len(model.expression)), 0.0)
    vertices = model.instance(rng.normal(0, 1, 8), expression)
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ rotation_exp(rng.uniform(-0.25, 0.25, 3) * [1, 1, 0.2])
    T[:3, 3] = [3, -4, 620]
    camera = Camera(520.0, np.full(2, 127.5), SIZE, T)
    light = np.r_[[[0.6] * 3], [[0.05] * 3, [0.1] * 3, [0.25] * 3], np.zeros((5, 3))]
    raster = rasterize(screen_points(camera, vertices), model.faces, *SIZE)
    shade = np.maximum(harmonics(vertex_normals(vertices, model.faces)) @ light, 0.02)
    linear = np.where(raster.covered[..., None], interpolate(raster, model.faces, 0.5 * shade), 0.12)
    image = np.rint(linear_to_srgb(np.clip(linear, 0, 1))).astype(np.uint8)
    points = camera.project(model.landmarks["ibug68"].locate(vertices, model.faces))
    unit = np.linalg.norm(points[36] - points[45])
    wave = rng.uniform(0, 6, (2, 2))
    points = points + 0.05 * unit * np.sin(points / (0.5 * unit) @ rng.normal(0, 1, (2, 2)) + wave[0])
    box = np.r_[points.min(0), points.max(0)]
    scores = dict(zip(model.expression_names, expression))
    return image, FaceDetection(box, 1.0, Landmarks("ibug68", points), None, scores), expression


def landmark_fit(model, detection):
    return fit_face(detection, model, SIZE, FitOptions(focal=520.0))


def test_a_fit_keeps_what_the_scores_foretold_and_nothing_where_there_were_none(model):
    _, detection, expression = planted(model, 0)
    fit = landmark_fit(model, detection)
    assert fit.foretold.shape == fit.foretold_sigma.shape == expression.shape
    for name, value, given in zip(model.expression_names, fit.foretold, expression):
        # above what a face at rest gets; never more than was said
        assert 0 <= value <= given + 1e-12, name
    assert np.all(fit.foretold_sigma > 0) and fit.foretold_sigma.max() == FitOptions().expression_sigma
    assert not fit.foretold.flags.writeable
    bare = landmark_fit(model, detection.landmarks)
    assert bare.foretold is None and bare.foretold_sigma is None


def test_the_expected_expression_is_the_foretold_one_else_the_landmark_fits(model):
    image, detection, _ = planted(model, 1)
    fit = landmark_fit(model, detection)
    options = PhotometricOptions(expression_sigma=0.07)
    gaze = np.array([name.startswith("eyeLook") for name in model.expression_names])
    for given, mean, sigma in (
        (fit, fit.foretold, fit.foretold_sigma),
        (replace(fit, foretold=None), fit.expression, np.full(len(gaze), 0.07)),
    ):
        problem = _Problem(image, given, model, options)
        problem.start()
        e = problem.layout.expression
        np.testing.assert_array_equal(problem.priors.expected[e], mean)
        np.testing.assert_allclose(problem.priors.inverse[e][~gaze], 1 / sigma[~gaze] ** 2)
        np.testing.assert_allclose(problem.priors.inverse[e][gaze], 1 / 0.02**2)


def test_errors_of_the_landmarks_count_once_in_the_expression(model):
    """Right scores, wrong landmarks: the expression ends nearer to the truth than from the landmark fit's own."""
    once, twice = [], []
    for seed in range(6):
        image, detection, expression = planted(model, seed)
        fit = landmark_fit(model, detection)
        for errors, given in ((once, fit), (twice, replace(fit, foretold=None))):
            errors.append(np.abs(fit_photometric(image, given, model).fit.expression - expression).mean())
    assert np.mean(once) < 0.8 * np.mean(twice), (once, twice)


def test_the_faces_landmarks_weigh_as_much_in_all_be_they_many_or_few(model):
    _, detection, _ = planted(model, 2)
    fit = landmark_fit(model, detection)
    sigma = 0.1
    term = LandmarkTerm(model, fit, 8, sigma, sigma)
    assert term.weight.max() * 68 == pytest.approx(478 / sigma**2)
    # a landmark that is missing leaves the others as they were
    targets = fit.targets.copy()
    targets[30] = np.nan
    fewer = LandmarkTerm(model, replace(fit, targets=targets), 8, sigma, sigma)
    np.testing.assert_allclose(fewer.weight, term.weight[term.on != 30], rtol=1e-12)


def test_of_the_errors_on_a_drawing_the_share_that_repeats_is_taken_off(model):
    image, detection, _ = planted(model, 3)
    fit = landmark_fit(model, detection)
    problem = _Problem(image, fit, model, PhotometricOptions())
    state, _ = problem.start()
    errors = np.random.default_rng(0).normal(0, 2, fit.targets.shape)

    class Seeing:
        def errors(self, *_):
            return errors

    assert problem.rehearse(Seeing(), state)
    on = problem.landmarks.on
    np.testing.assert_allclose(problem.landmarks.aim, fit.targets[on] - REPEATED * errors[on])
    assert 0.5 < REPEATED < 0.9
