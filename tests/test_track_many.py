"""One identity from several pictures, and pose and expression where it is known: planted truth, derivatives, twins."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.fitting import FitOptions, fit_face
from affect3d.fitting.known_face import fit_known
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import LandmarkView, Pose, person_points
from affect3d.fitting.many import ManyOptions, _joint_step, fit_many
from affect3d.fitting.personal import expected_expressions, landmark_offsets, resting_scores
from affect3d.fitting.spread import spread_frames
from affect3d.geometry.rotation import rotation_exp
from affect3d.landmark_groups import OUTLINE
from affect3d.landmarks import Landmarks

_spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
_head = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_head)

SIZE, FOCAL = (800, 700), 1120.0
MODEL = _head.small_head()
BASIS = landmark_basis(MODEL, "ibug68", len(MODEL.identity))
NAMES = MODEL.expression_names


def pose_of(rng, turn=0.3):
    R = rotation_exp(rng.normal(0, turn, 3) * [0.5, 1, 0.5]) @ np.diag([1.0, -1, -1])
    e = np.where(rng.random(len(NAMES)) < 0.5, rng.uniform(0, 0.8, len(NAMES)), 0.0)
    e[NAMES.index("hidden")] = 0
    return Pose(R, np.array([*rng.normal(0, 20, 2), rng.uniform(600, 900)]), e)


def inner(points):
    """Without the outline, which is no fixed points of a head, while those of `picture` are."""
    points = points.copy()
    points[list(OUTLINE["ibug68"])] = np.nan
    return points


def calm(pose):
    """With as much expression as the fit expects of a face it knows nothing of."""
    return Pose(pose.rotation, pose.shift, 0.25 * pose.expression)


def picture(identity, pose, rng, noise=0.0, offset=None):
    """Landmarks of a head, and the view that goes with them; guess and trust know nothing of the expression."""
    person = person_points(BASIS, identity, offset)
    blank = np.where(np.isfinite(person.mean).all(1, keepdims=True), 0.0, np.nan)[:, :2]
    count = len(NAMES)
    view = LandmarkView("ibug68", np.random.default_rng(0).normal(400, 100, (68, 2)) + blank, SIZE, FOCAL,
                        np.zeros(count), np.full(count, 1.0))  # fmt: skip
    flat, _ = view.project(person, pose)
    points = flat + noise * rng.normal(size=flat.shape)
    return points, LandmarkView("ibug68", points, SIZE, FOCAL, pose.expression.copy(), np.full(count, 0.15))


def test_the_equations_are_the_derivatives_of_the_cost():
    rng = np.random.default_rng(1)
    c, pose = rng.normal(0, 0.5, len(MODEL.identity)), pose_of(rng)
    _, view = picture(c, pose, rng, 2.0)
    inside = np.clip(pose.expression, 0.2, 0.8)  # so that no step meets a bound
    here = Pose(rotation_exp([0.02, -0.03, 0.01]) @ pose.rotation, pose.shift + [3, -2, 9], inside)
    person = person_points(BASIS, c)
    view.look(person, here)
    residual, _ = view.residual(person, here)
    weight = view.weights(residual)
    _, right = view.equations(person, here, residual, weight)

    def cost(step):
        moved = here.moved(step[: 6 + len(NAMES)])
        other = person_points(BASIS, c + step[6 + len(NAMES) :])
        return view.cost(view.residual(other, moved)[0], weight, moved.expression)

    for k in range(len(right)):
        h = 1e-5
        step = np.zeros(len(right))
        step[k] = h
        slope = (cost(step) - cost(-step)) / (2 * h)
        assert slope == pytest.approx(-2 * right[k], rel=1e-4, abs=1e-5 * np.abs(right).max())


def test_eliminating_each_pictures_unknowns_gives_the_step_of_the_whole_system():
    rng = np.random.default_rng(2)
    k, own, parts, poses = 4, 6 + 3, [], []
    for _ in range(3):
        J = rng.normal(size=(40, own + k))
        parts.append((None, J.T @ J + np.eye(own + k), rng.normal(size=own + k)))
        poses.append(Pose(np.eye(3), np.zeros(3), np.full(3, 0.5)))
    c, prior, damping = rng.normal(size=k), 2.5, 0.01
    step, steps = _joint_step(parts, poses, c, prior, damping)
    n = 3 * own + k
    A, b = np.zeros((n, n)), np.zeros(n)
    A[-k:, -k:], b[-k:] = np.eye(k) * prior * (1 + damping), -prior * c
    for i, (_, a, r) in enumerate(parts):
        at = np.r_[i * own : (i + 1) * own, 3 * own : n]
        A[np.ix_(at, at)] += a + damping * np.diag(np.diag(a))
        b[at] += r
    whole = np.linalg.solve(A, b)
    np.testing.assert_allclose(step, whole[-k:], atol=1e-10)
    np.testing.assert_allclose(np.concatenate(steps), whole[:-k], atol=1e-10)


def test_a_known_face_gives_back_pose_and_expression():
    rng = np.random.default_rng(3)
    for _ in range(4):
        c, pose = rng.normal(0, 0.7, len(MODEL.identity)), pose_of(rng, 0.15)
        _, view = picture(c, pose, rng)
        start = Pose(rotation_exp(rng.normal(0, 0.1, 3)) @ pose.rotation, pose.shift * 1.1, np.full(len(NAMES), 0.2))
        found, rms, converged = fit_known(view, person_points(BASIS, c), start, iterations=40, tolerance=1e-7)
        assert converged and rms < 1e-3
        seen = [k for k, n in enumerate(NAMES) if n != "hidden"]
        np.testing.assert_allclose(found.expression[seen], pose.expression[seen], atol=0.02)
        assert np.abs(found.rotation - pose.rotation).max() < 5e-3


def test_several_pictures_know_the_head_better_than_one():
    joint, alone = [], []
    for person in range(4):
        rng = np.random.default_rng([5, person])
        truth = np.clip(rng.normal(size=len(MODEL.identity)), -1.5, 1.5)
        marks = [Landmarks("ibug68", inner(picture(truth, calm(pose_of(rng)), rng, 3.0)[0])) for _ in range(8)]
        fit = fit_many(marks, MODEL, SIZE, ManyOptions(FitOptions(focal=FOCAL), 0.02, 0.04, common=0.0))
        assert fit.converged, fit.reason
        assert all(np.array_equal(f.identity, fit.identity) for f in fit.fits)
        face = MODEL.part_vertices("face", "skin")
        shape = MODEL.instance(truth)[face]

        def error(identity, face=face, shape=shape):
            return np.linalg.norm(MODEL.instance(identity)[face] - shape, axis=1).mean()

        joint.append(error(fit.identity))
        alone.append(np.mean([error(f.identity) for f in fit.single]))
    assert np.mean(joint) < 0.85 * np.mean(alone)
    assert all(j < a for j, a in zip(joint, alone))


def test_one_picture_is_a_case_of_several():
    rng = np.random.default_rng(6)
    truth = rng.normal(0, 0.7, len(MODEL.identity))
    points, _ = picture(truth, pose_of(rng, 0.1), rng, 0.5)
    one = fit_face(Landmarks("ibug68", points), MODEL, SIZE, FitOptions(focal=FOCAL))
    many = fit_many([Landmarks("ibug68", points)], MODEL, SIZE, ManyOptions(FitOptions(focal=FOCAL)))
    assert np.abs(many.identity - one.identity).max() < 0.5
    assert many.fits[0].rms_relative < 1.2 * one.rms_relative + 1e-3


def test_the_order_of_pictures_does_not_matter():
    rng = np.random.default_rng(7)
    truth = rng.normal(0, 0.7, len(MODEL.identity))
    marks = [Landmarks("ibug68", picture(truth, pose_of(rng), rng, 1.0)[0]) for _ in range(4)]
    a, b = fit_many(marks, MODEL, SIZE), fit_many(marks[::-1], MODEL, SIZE)
    np.testing.assert_allclose(a.identity, b.identity, atol=1e-6)


def test_offsets_that_all_pictures_share_are_found():
    rng = np.random.default_rng(8)
    c = rng.normal(0, 0.5, len(MODEL.identity))
    truth = rng.normal(0, 2.0, (68, 3)) * [1, 1, 0]
    views, poses = [], []
    for _ in range(12):
        pose = pose_of(rng, 0.12)
        views.append(picture(c, pose, rng, 0.3, truth)[1])
        views[-1].trust[:] = 0.02
        poses.append(pose)
    found, fitted = landmark_offsets(views, BASIS, c, poses, spread=3.0, rounds=6)
    known = np.isfinite(found).all(1) & np.isfinite(views[0].targets).all(1)
    assert known.sum() > 50 and len(fitted) == 12
    left = (found - truth)[known, :2]  # a common shift is the pose's
    assert (left - left.mean(0)).std() < 0.5 * truth[known, :2].std()
    # without them the same fits miss by more
    bare = [fit_known(v, person_points(BASIS, c), p)[1] for v, p in zip(views, poses)]
    with_them = [fit_known(v, person_points(BASIS, c, found), p)[1] for v, p in zip(views, fitted)]
    assert np.mean(with_them) < 0.5 * np.mean(bare)


def test_resting_scores_follow_the_person_but_not_a_steady_smile():
    names = ("mouthSmileLeft", "eyeBlinkLeft")
    rng = np.random.default_rng(9)
    scores = np.column_stack([rng.uniform(0.7, 0.9, 200), rng.uniform(0.18, 0.2, 200)])
    rest = resting_scores(scores, names)
    assert rest[0] <= 0.1 + 1e-12 and 0.17 < rest[1] < 0.2
    guess = expected_expressions(scores, rest, names)
    assert guess[:, 0].min() > 0.6 and guess[:, 1].max() < 0.05


def test_brows_rest_where_they_are_most_often_and_move_both_ways_from_there():
    names = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight", "jawOpen")
    rng = np.random.default_rng(4)
    scores = 0.02 * rng.random((300, 6)) + [0.6, 0.4, 0.2, 0.0, 0.0, 0.0]
    scores[:90, :3] += 0.3  # raised for less than a third
    scores[200:280, :3] -= [0.4, 0.3, 0.15]  # lowered, which this detector says by raising less
    scores[40:140, 5] = 0.5
    rest = resting_scores(scores, names)
    np.testing.assert_allclose(rest[:3], [0.61, 0.41, 0.21], atol=0.02)
    assert rest[5] < 0.1
    guess = expected_expressions(scores, rest, names)
    still = slice(140, 200)
    assert guess[still].max() < 0.06
    assert guess[:90, 0].min() > 0.6 and guess[:90, 3:5].max() < 0.05
    assert guess[200:280, 3:5].min() > 0.4 and guess[200:280, :3].max() < 0.02
    # the other way round: lowered brows at rest, raised ones by less of that
    frown = 0.02 * rng.random((300, 6)) + [0.0, 0.0, 0.0, 0.5, 0.5, 0.0]
    frown[:90, 3:5] -= 0.4
    guess = expected_expressions(frown, resting_scores(frown, names), names)
    assert guess[:90, 1:3].min() > 0.4 and guess[90:].max() < 0.06
    one = expected_expressions(frown[0], resting_scores(frown, names), names)
    np.testing.assert_array_equal(one, guess[0])


def test_chosen_frames_are_calm_ones_and_different_ones():
    rng = np.random.default_rng(10)
    features = 0.01 * rng.normal(size=(100, 3))
    features[40], features[70] = [1, 0, 0], [0, 1, 0]
    rest = np.abs(features).sum(1)
    chosen = spread_frames(features, rest, 6)
    assert {40, 70} <= set(chosen) and len(chosen) == 6 and (np.diff(chosen) > 0).all()
    assert len(spread_frames(features[:3], rest[:3], 6)) == 3
    with pytest.raises(ValueError, match="count"):
        spread_frames(features, rest, 0)
    with pytest.raises(ValueError, match="features"):
        spread_frames(features[:0], rest[:0], 3)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="at least one picture"):
        fit_many([], MODEL, SIZE)
    marks = Landmarks("ibug68", np.full((68, 2), 5.0))
    with pytest.raises(ValueError, match="one scheme"):
        fit_many([marks, Landmarks("mediapipe478", np.zeros((478, 2)))], MODEL, SIZE)
    with pytest.raises(ValueError, match="image_sizes: expected 2, got 3"):
        fit_many([marks, marks], MODEL, [SIZE] * 3)
    with pytest.raises(ValueError, match="common"):
        ManyOptions(common=2)
