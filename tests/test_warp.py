"""Harmonic continuation, residual spreading, paths: laws that need no photo."""

import numpy as np
import pytest

from affect3d.synthesis.conform import Conformer
from affect3d.synthesis.interior import white_reference
from affect3d.synthesis.path import path_points
from affect3d.synthesis.warp import extend, sample, skin_field, smoothstep


def test_linear_fields_are_continued_exactly():
    y, x = np.mgrid[:40, :50]
    truth = np.stack([0.1 * x + 0.2 * y, 3 - 0.05 * x, 0.01 * y], -1).astype(np.float32)
    known = np.ones((40, 50), bool)
    known[8:30, 10:41] = False
    given = np.where(known[..., None], truth, 99).astype(np.float32)
    got = extend(given, known, np.ones_like(known))
    np.testing.assert_allclose(got, truth, atol=0.05)
    np.testing.assert_array_equal(got[known], truth[known])


def test_a_field_is_zero_where_its_domain_ends_and_kept_where_it_is_known():
    known = np.zeros((60, 60), bool)
    known[25:35, 25:35] = True
    domain = np.zeros((60, 60), bool)
    domain[10:50, 10:50] = True
    y, x = np.mgrid[:60, :60]
    source = np.stack([x + 4.0, y - 2.0], -1)
    field = skin_field(source, known, np.full((60, 60), 0.1), domain)
    np.testing.assert_allclose(field.values[known], [[4, -2, 0.1]] * int(known.sum()), atol=1e-5)
    np.testing.assert_array_equal(field.values[~domain], 0)
    between = field.values[domain & ~known]
    assert between[:, 0].min() > -0.05 and between[:, 0].max() < 4.05  # the maximum principle


def test_sampling_by_whole_pixels_moves_them_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    moved = sample(image, np.broadcast_to(np.float32([2, -3]), (20, 30, 2)))
    np.testing.assert_array_equal(moved[3:, :-2], image[:-3, 2:])


def test_smoothstep_is_monotone_with_flat_ends():
    x = np.linspace(-1, 2, 301)
    y = smoothstep(x, 0, 1)
    assert (np.diff(y) >= 0).all() and y[0] == 0 and y[-1] == 1
    assert smoothstep(1e-3, 0, 1) < 1e-5


@pytest.fixture(scope="module")
def conformer():
    rng = np.random.default_rng(3)
    vertices = rng.uniform(-60, 60, (400, 3))
    return Conformer(vertices, vertices[:50], np.zeros(50))


def test_residuals_are_met_at_their_landmarks(conformer):
    residuals = np.random.default_rng(4).normal(0, 2, (50, 3))
    np.testing.assert_allclose(conformer.spread(residuals)[:50], residuals, atol=0.02)


def test_spreading_is_linear(conformer):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 50, 3))
    np.testing.assert_allclose(conformer.spread(2 * a - b), 2 * conformer.spread(a) - conformer.spread(b), atol=1e-3)


def test_a_path_visits_its_waypoints_and_rests_there():
    way = [(0, 0), (0.8, 0.5), (-0.6, 0.6)]
    points = path_points(way, 241)
    np.testing.assert_allclose(points[[0, -1]], [way[0], way[-1]], atol=1e-12)
    assert np.linalg.norm(points - way[1], axis=1).min() < 1e-3
    speed = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert speed[0] < 0.1 * speed.max() and speed[-1] < 0.1 * speed.max()
    assert np.abs(np.diff(speed)).max() < 0.1 * speed.max()
    assert np.abs(points).max() <= 1


def test_a_path_that_stays_is_constant():
    np.testing.assert_array_equal(path_points([(0.5, 0.5), (0.5, 0.5)], 7), [[0.5, 0.5]] * 7)


@pytest.mark.parametrize(
    "way, frames, name",
    [
        ([(0, 0)], 9, "waypoints"), ([(0, 0), (2, 0)], 9, "waypoints"), ([(0, 0), (1, 0)], 1, "frames"),
        ([(0, 0), (np.nan, 0)], 9, "waypoints"),
    ],
)
def test_bad_paths_are_named(way, frames, name):
    with pytest.raises(ValueError, match=name):
        path_points(way, frames)


def test_teeth_that_the_photo_shows_set_the_white():
    linear = np.full((40, 40, 3), 0.3)
    linear[:20] = [0.5, 0.35, 0.25]
    teeth = np.zeros((40, 40), bool)
    teeth[30:] = True
    linear[teeth] = [0.55, 0.5, 0.45]
    skin = np.zeros_like(teeth)
    skin[:20] = True
    shown = white_reference(linear, skin, teeth)
    np.testing.assert_allclose(shown / shown.sum(), np.array([0.55, 0.5, 0.45]) / 1.5, atol=1e-6)
    guessed = white_reference(linear, skin, np.zeros_like(teeth))
    assert guessed[0] > guessed[2] and 0.2 < guessed.mean() <= 1
    # a darker person in the same light: darker guess, but far less than the skin
    dark = white_reference(linear * 0.25, skin, np.zeros_like(teeth))
    assert 0.4 < dark.mean() / guessed.mean() < 1
