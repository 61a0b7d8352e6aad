"""Smoothing over time: laws, a dense twin, what must be kept and what must go."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from affect3d.fitting.smoothing import (
    SmoothingOptions, _penalized, bridged, noise_of, smooth_curves, smooth_rotations,
)  # fmt: skip

RATE = 30.0
TIME = np.arange(240) / RATE


def blink(at, height=1.0):
    return height * np.exp(-(((TIME - at) / 0.06) ** 2))


def test_the_banded_solution_is_the_dense_one():
    rng = np.random.default_rng(0)
    y, w, p = rng.normal(size=30), rng.uniform(0.1, 2, 30), rng.uniform(0, 50, 28)
    D = np.diff(np.eye(30), 2, axis=0)
    dense = np.linalg.solve(np.diag(w) + D.T @ (p[:, None] * D), w * y)
    np.testing.assert_allclose(_penalized(y, w, p), dense, atol=1e-10)


def test_straight_lines_stay_as_they_are():
    lines = np.column_stack([0.3 + 0 * TIME, 0.2 + 0.1 * TIME])
    np.testing.assert_allclose(smooth_curves(lines, rate=RATE), lines, atol=1e-9)


def test_time_backwards_gives_the_same_curves_backwards():
    curve = (0.4 * np.sin(3 * TIME) + blink(3) + 0.02 * np.random.default_rng(1).normal(size=240))[:, None]
    there, back = smooth_curves(curve, rate=RATE), smooth_curves(curve[::-1], rate=RATE)[::-1]
    np.testing.assert_allclose(there, back, atol=1e-9)


def test_a_constant_added_is_added_to_the_result():
    curve = (blink(2) + 0.02 * np.random.default_rng(2).normal(size=240))[:, None]
    np.testing.assert_allclose(
        smooth_curves(curve + 5, rate=RATE), smooth_curves(curve, rate=RATE) + 5, atol=1e-8
    )


@pytest.mark.parametrize("hertz", [0.3, 1.0, 2.5])
def test_movement_is_neither_late_nor_damped(hertz):
    true = 0.4 * np.sin(2 * np.pi * hertz * TIME)
    noisy = true + 0.01 * np.random.default_rng(3).normal(size=240)
    out = smooth_curves(noisy[:, None], rate=RATE)[:, 0]
    lags = range(-4, 5)
    match = [np.corrcoef(np.roll(out, -k)[10:-10], true[10:-10])[0, 1] for k in lags]
    assert lags[int(np.argmax(match))] == 0
    assert 0.95 < np.polyfit(true, out, 1)[0] < 1.03


def test_a_face_at_rest_loses_most_of_its_noise_and_blinks_stay():
    noise = 0.02 * np.random.default_rng(4).normal(size=240)
    true = blink(2.0) + blink(5.5, 0.8)
    out = smooth_curves((true + noise)[:, None], rate=RATE)[:, 0]
    still = (TIME > 3) & (TIME < 4.8)
    assert (out - true)[still].std() < 0.35 * noise[still].std()
    for at in (2.0, 5.5):
        k = int(at * RATE)
        assert abs(out[k] - true[k]) < 0.1


def test_a_gap_is_bridged_and_what_stands_in_it_has_no_say():
    found = np.ones(240, bool)
    found[100:115] = False
    found[:5] = False
    curve = 0.2 + 0.1 * TIME
    wild = np.where(found, curve, np.nan)
    out = smooth_curves(wild[:, None], found, RATE)[:, 0]
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[90:125], curve[90:125], atol=0.01)
    other = np.where(found, curve, 1e9)
    np.testing.assert_array_equal(out, smooth_curves(other[:, None], found, RATE)[:, 0])
    assert abs(out[0] - curve[5]) < 0.03


def test_the_noise_is_measured_where_a_curve_moves():
    rng = np.random.default_rng(5)
    curves = np.column_stack([0.5 * np.sin(4 * TIME) + s * rng.normal(size=240) for s in (0.01, 0.05)])
    np.testing.assert_allclose(noise_of(curves), [0.01, 0.05], rtol=0.3)


def test_turning_the_camera_turns_the_smoothed_rotations():
    rng = np.random.default_rng(6)
    way = 0.3 * np.column_stack([np.sin(TIME), np.cos(2 * TIME), 0 * TIME]) + 0.01 * rng.normal(size=(240, 3))
    R = Rotation.from_rotvec(way).as_matrix() @ np.diag([1.0, -1, -1])
    out = smooth_rotations(R, rate=RATE)
    np.testing.assert_allclose(out @ out.transpose(0, 2, 1), np.tile(np.eye(3), (240, 1, 1)), atol=1e-9)
    turned = smooth_rotations(R @ Rotation.from_rotvec([0.4, -0.2, 0.9]).as_matrix(), rate=RATE)
    np.testing.assert_allclose(turned, out @ Rotation.from_rotvec([0.4, -0.2, 0.9]).as_matrix(), atol=1e-9)
    true = Rotation.from_rotvec(0.3 * np.column_stack([np.sin(TIME), np.cos(2 * TIME), 0 * TIME])).as_matrix()
    away = Rotation.from_matrix(out @ (true @ np.diag([1.0, -1, -1])).transpose(0, 2, 1)).magnitude()
    assert away.mean() < 0.011  # three components of noise 0.01 are 0.016 long on average


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_very_short_films_pass(count):
    out = smooth_curves(np.linspace(0, 1, count)[:, None], rate=RATE)
    np.testing.assert_allclose(out[:, 0], np.linspace(0, 1, count), atol=1e-6)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="values: expected shape"):
        smooth_curves(np.zeros(5))
    with pytest.raises(ValueError, match="values: expected finite"):
        smooth_curves(np.full((5, 1), np.nan))
    with pytest.raises(ValueError, match="found: expected at least one"):
        bridged(np.zeros((5, 1)), np.zeros(5, bool))
    with pytest.raises(ValueError, match=r"found: expected shape \(5,\)"):
        bridged(np.zeros((5, 1)), np.ones(4, bool))
    with pytest.raises(ValueError, match="rate"):
        smooth_curves(np.zeros((5, 1)), rate=0)
    with pytest.raises(ValueError, match="still"):
        SmoothingOptions(still=-1)
    with pytest.raises(ValueError, match="rotations: expected shape"):
        smooth_rotations(np.eye(3))
