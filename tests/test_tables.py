"""The published tables arrive whole, and the chosen ones are complete."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from affect3d.affect.core_affect import CORE_SHAPES, core_weights
from affect3d.affect.tables import (
    ARKIT_SHAPES,
    arkit_weights,
    compound_expressions,
    emotion_terms,
    expression_families,
    face_ratings,
    mirrored_shapes,
    unit_probabilities,
    unit_shapes,
)

SHARED = Path(os.environ.get("AFFECT3D_SHARED", Path(__file__).resolve().parents[2] / "shared"))
INDEX = {name: i for i, name in enumerate(ARKIT_SHAPES)}


def _reference(name):
    path = SHARED / "reference" / name
    if not path.exists():
        pytest.skip(f"the reference table {name} is not beside the repository (set AFFECT3D_SHARED)")
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_there_are_52_different_shapes_in_alphabetical_order():
    assert len(ARKIT_SHAPES) == 52 == len(set(ARKIT_SHAPES))
    assert list(ARKIT_SHAPES) == sorted(ARKIT_SHAPES)


def test_every_word_has_a_place_on_the_plane_and_a_family():
    terms = emotion_terms()
    assert len(terms) == 137 == len({term.name for term in terms})
    for term in terms:
        assert abs(term.valence) <= 1 and abs(term.arousal) <= 1
        assert 0 < term.valence_sd < 1 and 0 < term.arousal_sd < 1
        assert term.family in expression_families(), term.name


def test_words_agree_with_the_publication_as_handed_down():
    ours = {term.name: term for term in emotion_terms()}
    rows = _reference("affect_terms_russell_mehrabian_1977.csv")
    assert {row["term"] for row in rows} == set(ours)
    for row in rows:
        term = ours[row["term"]]
        assert (term.valence, term.valence_sd, term.arousal, term.arousal_sd) == tuple(
            float(row[key]) for key in ("valence_mean", "valence_sd", "arousal_mean", "arousal_sd")
        )


def test_action_unit_probabilities_agree_with_ckplus_as_handed_down():
    rows = _reference("ckplus_au_given_emotion.csv")
    assert {row["emotion"] for row in rows} == set(unit_probabilities())
    for row in rows:
        expected = {int(unit): float(p) for unit, p in row.items() if unit != "emotion"}
        assert dict(unit_probabilities()[row["emotion"]]) == pytest.approx(expected, abs=1e-4)


def test_words_and_rated_faces_disagree_on_arousal_so_they_are_separate_tables():
    words = {term.name: term for term in emotion_terms()}
    assert face_ratings()["neutral"] == (-0.03, -0.40)
    assert words["happy"].arousal - face_ratings()["happy"][1] > 0.5


def test_compound_expressions_are_those_of_the_publication():
    assert compound_expressions()["happily surprised"] == (1, 2, 12, 25)
    assert len(compound_expressions()) == 5


def test_tables_cannot_be_changed_by_callers():
    with pytest.raises(TypeError):
        unit_shapes()[1]["browInnerUp"] = 0
    with pytest.raises(TypeError):
        face_ratings()["happy"] = (0, 0)
    with pytest.raises(TypeError):
        expression_families()["joy"][12] = 0


def test_units_move_known_shapes_equally_on_both_sides():
    mirror = mirrored_shapes(ARKIT_SHAPES)
    for unit, shapes in unit_shapes().items():
        assert set(shapes) <= set(ARKIT_SHAPES) and all(0 < w <= 1 for w in shapes.values())
        weights = arkit_weights({unit: 1})
        np.testing.assert_array_equal(weights, weights[mirror])


def test_units_at_half_strength_set_half_the_weight():
    assert arkit_weights({12: 0.5})[INDEX["mouthSmileLeft"]] == pytest.approx(
        0.5 * unit_shapes()[12]["mouthSmileLeft"]
    )


def test_two_units_on_one_shape_join_below_one():
    alone = arkit_weights({23: 1})[INDEX["mouthPressLeft"]], arkit_weights({24: 1})[INDEX["mouthPressLeft"]]
    joined = arkit_weights({23: 1, 24: 1})[INDEX["mouthPressLeft"]]
    assert max(alone) < joined < min(1, sum(alone))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_strengths_off_the_range_are_refused(bad):
    with pytest.raises(ValueError, match=r"units: strengths must lie in \[0, 1\]"):
        arkit_weights({12: bad})


def test_every_family_moves_something_and_joy_smiles():
    for name, units in expression_families().items():
        weights = arkit_weights(units)
        assert weights.max() > 0.1, name
        assert weights.min() >= 0 and weights.max() <= 1
    joy = arkit_weights(expression_families()["joy"])
    assert joy[INDEX["mouthSmileLeft"]] > 0.6 and joy[INDEX["browDownLeft"]] == 0


def test_the_mirror_image_of_the_mirror_image_is_the_shape():
    mirror = mirrored_shapes(ARKIT_SHAPES)
    np.testing.assert_array_equal(mirror[mirror], np.arange(52))
    assert mirror[INDEX["mouthSmileLeft"]] == INDEX["mouthSmileRight"]
    assert mirror[INDEX["jawLeft"]] == INDEX["jawRight"]
    assert mirror[INDEX["jawOpen"]] == INDEX["jawOpen"]
    assert mirrored_shapes(["mouthSmileLeft"]).tolist() == [0]


def _plane(count=81):
    axis = np.linspace(-1, 1, count)
    valence, arousal = np.meshgrid(axis, axis)
    return core_weights(valence, arousal)


def test_core_weights_follow_valence_and_arousal_everywhere():
    weights = _plane()

    def of(name):
        return weights[..., INDEX[name]]

    assert np.diff(of("mouthSmileLeft") - of("mouthFrownLeft"), axis=1).min() >= 0
    assert np.diff(of("eyeWideLeft") - of("eyeBlinkLeft") - of("eyeSquintLeft"), axis=0).min() >= 0
    assert np.diff(of("jawOpen"), axis=0).min() >= 0
    assert np.diff(of("mouthUpperUpLeft") + of("mouthLowerDownLeft"), axis=0).min() >= 0


def test_core_weights_touch_only_the_shapes_they_name_and_both_sides_alike():
    weights = _plane(21)
    named = [name.removesuffix("Left").removesuffix("Right") in CORE_SHAPES for name in ARKIT_SHAPES]
    assert (weights[..., ~np.array(named)] == 0).all()
    np.testing.assert_array_equal(weights, weights[..., mirrored_shapes(ARKIT_SHAPES)])
    assert weights.min() >= 0 and weights.max() < 0.95
    assert core_weights(0.0, 0.0).max() < 0.02
