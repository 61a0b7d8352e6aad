"""Heads that move smoothly: takes, cuts, and a fit of what is left free."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import LandmarkView, Pose, person_points
from affect3d.fitting.smoothing import low_pass
from affect3d.fitting.steady import fit_held, share_of_held, steady_poses

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
_head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_head)
MODEL = _head.small_head()
UPRIGHT = np.diag([1.0, -1, -1])
TIME = np.arange(120) / 30


def poses(vectors, depth):
    shift = np.column_stack([0 * TIME, 0 * TIME, depth])
    return Rotation.from_rotvec(vectors).as_matrix() @ UPRIGHT, shift


def test_slow_turns_stay_and_trembling_goes():
    slow = 0.3 * np.column_stack([np.sin(2 * TIME), np.cos(TIME), 0 * TIME])
    rng = np.random.default_rng(0)
    R, shift = poses(slow + 0.01 * rng.normal(size=slow.shape), 700 + 20 * TIME + 5 * rng.normal(size=120))
    turned, depth = steady_poses(R, shift, np.ones(120, bool), 30, 2)
    true, _ = poses(slow, 700 + 20 * TIME)
    away = Rotation.from_matrix(turned @ true.transpose(0, 2, 1)).magnitude()
    before = Rotation.from_matrix(R @ true.transpose(0, 2, 1)).magnitude()
    assert away.mean() < 0.6 * before.mean()
    assert np.abs(depth - 700 - 20 * TIME).mean() < 3


def test_a_cut_between_takes_stays_a_cut():
    vectors = np.where(TIME[:, None] < 2, [[0.0, 0.4, 0.0]], [[0.0, -0.4, 0.0]])
    depth = np.where(TIME < 2, 600.0, 900.0)
    R, shift = poses(vectors, depth)
    turned, smooth = steady_poses(R, shift, np.ones(120, bool), 30, 2)
    np.testing.assert_allclose(turned, R, atol=1e-6)
    np.testing.assert_allclose(smooth, depth, rtol=1e-6)


def test_frames_without_the_face_have_no_say():
    R, shift = poses(0.2 * np.column_stack([np.sin(TIME)] * 3), 700 + 0 * TIME)
    found = np.ones(120, bool)
    found[40:50] = False
    bad = R.copy()
    bad[40:50] = UPRIGHT @ UPRIGHT
    a = steady_poses(R, shift, found, 30, 2)
    b = steady_poses(bad, shift, found, 30, 2)
    np.testing.assert_allclose(a[0][found], b[0][found], atol=1e-12)


def test_what_is_free_is_found_when_the_rest_is_right():
    basis = landmark_basis(MODEL, "ibug68", len(MODEL.identity))
    person = person_points(basis, np.zeros(len(MODEL.identity)))
    names = MODEL.expression_names
    true = Pose(Rotation.from_rotvec([0.1, 0.2, 0]).as_matrix() @ UPRIGHT, np.array([15.0, -10, 700]),
                MODEL.expression_vector({"jawOpen": 0.5, "eyeBlinkLeft": 0.7}))  # fmt: skip
    blank = np.where(np.isfinite(person.mean[:, :2]), np.random.default_rng(0).normal(300, 80, (68, 2)), np.nan)
    count = len(names)
    view = LandmarkView("ibug68", blank, (640, 480), 900.0, np.zeros(count), np.full(count, 2.0))
    flat, _ = view.project(person, true)
    view = LandmarkView("ibug68", flat, (640, 480), 900.0, np.zeros(count), np.full(count, 2.0))
    start = Pose(true.rotation @ Rotation.from_rotvec([0.05, 0, 0]).as_matrix(), true.shift * 1.2, np.full(count, 0.1))
    pose, rms = fit_held(view, person, start, true.rotation, 700.0, False, iterations=12)
    assert rms < 2e-3
    np.testing.assert_array_equal(pose.rotation, true.rotation)
    assert pose.shift[2] == pytest.approx(700)
    np.testing.assert_allclose(pose.shift[:2], true.shift[:2], atol=0.5)
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft"):
        k = names.index(name)
        assert abs(pose.expression[k] - true.expression[k]) < 0.05


def test_a_head_that_was_shaken_keeps_its_own_fit():
    free = np.full(90, 0.01)
    held = free.copy()
    held[40:45] = 0.05
    share = share_of_held(free, held, 30)
    assert (share[39:46] == 0).all() and share[:25].min() > 0.99 and share[60:].min() > 0.99
    assert np.abs(np.diff(share)).max() < 0.5
    np.testing.assert_array_equal(share_of_held(free, free, 30), 1)


def test_the_low_pass_halves_its_frequency_and_keeps_lines():
    lines = np.column_stack([1 + 0 * TIME, TIME])
    np.testing.assert_allclose(low_pass(lines, None, 30, 2), lines, atol=1e-9)
    t = np.arange(600) / 30
    wave = np.sin(2 * np.pi * 2 * t)[:, None]
    assert np.ptp(low_pass(wave, None, 30, 2)[200:400]) == pytest.approx(1.0, abs=0.05)
