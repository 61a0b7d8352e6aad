"""Expressions by name."""

import numpy as np
import pytest

from affect3d.affect import ARKIT_SHAPES, named_expression
from affect3d.affect.named import EXPRESSION_LABELS, known_expressions, posed_units, shape_reach
from affect3d.affect.tables import (
    arkit_weights, emotion_terms, expression_families, mirrored_shapes, unit_probabilities,
)  # fmt: skip


def weight(expression, shape):
    return expression.expression[ARKIT_SHAPES.index(shape)]


def test_every_label_family_and_word_has_a_face():
    names = known_expressions()
    assert len(set(names)) == len(names) and {term.name for term in emotion_terms()} <= set(names)
    assert set(expression_families()) <= set(names) and names[: len(EXPRESSION_LABELS)] == tuple(EXPRESSION_LABELS)
    for name in names:
        made = named_expression(name)
        assert made.names == ARKIT_SHAPES and not made.expression.flags.writeable
        assert (made.expression >= 0).all() and (made.expression <= 1).all()
        assert (made.expression.max() > 0.2) == (name != "neutral"), name
        np.testing.assert_array_equal(made.expression, made.expression[mirrored_shapes(ARKIT_SHAPES)])
        if made.family is not None:
            assert expression_families()[made.family]


@pytest.mark.parametrize(
    "label, shows, lacks",
    [
        ("anger", ("browDownLeft", "mouthPressRight"), ("mouthSmileLeft", "jawOpen")),
        ("contempt", ("mouthDimpleLeft",), ("noseSneerLeft", "jawOpen")),
        ("disgust", ("noseSneerLeft", "browDownRight"), ("browInnerUp", "mouthSmileLeft")),
        ("fear", ("mouthStretchLeft", "browInnerUp", "eyeWideLeft"), ("mouthSmileLeft", "noseSneerLeft")),
        ("happiness", ("mouthSmileLeft", "cheekSquintRight"), ("browDownLeft", "mouthFrownLeft")),
        ("sadness", ("mouthFrownLeft", "browInnerUp"), ("mouthSmileLeft", "eyeWideLeft")),
        ("surprise", ("jawOpen", "browOuterUpLeft", "eyeWideRight"), ("mouthSmileLeft", "browDownLeft")),
    ],
)
def test_labels_show_what_was_measured_on_people(label, shows, lacks):
    made = named_expression(label)
    assert made.source == "action units measured on CK+" and not made.note
    assert min(weight(made, shape) for shape in shows) > 0.25 > 0.1 > max(weight(made, shape) for shape in lacks)


def test_a_face_is_that_of_its_action_units():
    measured = unit_probabilities()["sadness"]
    assert posed_units("sadness") == {u: min(1.25 * p, 1) for u, p in measured.items() if p >= 0.15}
    made = named_expression("sadness", 0.5)
    plain = arkit_weights({u: p / 2 for u, p in posed_units("sadness").items()})
    frown = plain[ARKIT_SHAPES.index("mouthFrownLeft")] * shape_reach("mouthFrownLeft")
    raised = plain[ARKIT_SHAPES.index("browInnerUp")] * shape_reach("browInnerUp")
    sunk = plain[ARKIT_SHAPES.index("browDownLeft")] * shape_reach("browDownLeft") * (1 - 0.6 * raised)
    assert weight(made, "mouthFrownLeft") == pytest.approx(frown)
    assert weight(made, "browInnerUp") == pytest.approx(raised)
    assert weight(made, "browDownLeft") == pytest.approx(sunk)


@pytest.mark.parametrize("name", ["anger", "happiness", "pride", "fearfully surprised", "astonished"])
def test_strength_runs_from_rest_to_the_pose_without_a_fall_of_what_moves_most(name):
    rising = np.array([named_expression(name, s).expression for s in np.linspace(0, 1, 11)])
    assert not rising[0].any()
    most = rising[-1].argsort()[-4:]
    assert (np.diff(rising[:, most], axis=0) >= 0).all() and (np.diff(rising[:, most[-1]]) > 0).sum() >= 6


def test_a_word_shows_the_face_of_its_family_and_says_what_was_not_measured():
    np.testing.assert_array_equal(named_expression("Angry").expression, named_expression("anger").expression)
    np.testing.assert_array_equal(
        named_expression("fearfully_surprised").expression, named_expression("Fearfully  surprised").expression
    )
    assert "prototypical" in named_expression("happily disgusted").source
    made = named_expression("proud")
    assert made.family == "pride" and "choice of this package" in made.note


@pytest.mark.parametrize("strength", [-0.1, 1.01, np.nan, np.inf, np.array([0.5, 0.5])])
def test_a_strength_off_its_range_is_refused(strength):
    with pytest.raises(ValueError, match=r"strength: expected a number in \[0, 1\]"):
        named_expression("anger", strength)


@pytest.mark.parametrize("name", ["", "angst", 7])
def test_an_unknown_name_is_refused_with_those_that_are_known(name):
    with pytest.raises(ValueError, match="name: expected an expression such as neutral, anger, contempt"):
        named_expression(name)
