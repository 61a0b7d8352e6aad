"""The default gallery, its class statistics, and the answers to valence-arousal queries."""

import os

import numpy as np
import pytest

from affect3d.affect import gallery as gallery_module
from affect3d.affect.gallery import Gallery, generate_gallery
from affect3d.affect.performances import PerformanceOptions
from affect3d.affect.query import express, expression_for, interpolate_expression
from affect3d.affect.statistics import (
    ClassStatistics,
    class_statistics,
    default_statistics,
    fill_empty_classes,
    load_statistics,
    save_statistics,
)
from affect3d.affect.tables import ARKIT_SHAPES, mirrored_shapes
from affect3d.affect.vaspace import VASpace

INDEX = {name: i for i, name in enumerate(ARKIT_SHAPES)}
SMALL = PerformanceOptions(subjects=3, sequences=5, frames=20)


@pytest.fixture(scope="module")
def default():
    return generate_gallery()


@pytest.fixture(scope="module")
def small():
    return generate_gallery(SMALL, seed=3)


def _of(expression, name):
    return expression[..., INDEX[name] if name in INDEX else INDEX[name + "Left"]]


def _plane(statistics, count=161):
    axis = np.linspace(-1, 1, count)
    valence, arousal = np.meshgrid(axis, axis)
    return interpolate_expression(statistics, valence, arousal)


def _smooth_statistics(populated=None):
    """Statistics with a known smooth mean, and a hole where `populated` is false."""
    space = VASpace()
    v, a = space.centres().T
    mean = np.stack([0.5 + 0.4 * v, 0.5 + 0.3 * a, 0.4 + 0.3 * v * a], axis=1)
    count = np.where(np.ones(100, bool) if populated is None else populated, 100, 0)
    return ClassStatistics(
        space, ("jawOpen", "mouthSmileLeft", "tongueOut"), count, mean * (count > 0)[:, None], np.zeros((100, 3)),
        space.centres(), convention="test",
    )  # fmt: skip


# --- the gallery


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(small):
    again, other = generate_gallery(SMALL, seed=3), generate_gallery(SMALL, seed=4)
    for name in ("expression", "valence", "arousal", "subject", "sequence", "frame", "neutral"):
        assert getattr(small, name).tobytes() == getattr(again, name).tobytes(), name
    assert small.expression.tobytes() != other.expression.tobytes()
    assert small.valence.tobytes() != other.valence.tobytes()


def test_every_frame_knows_its_person_performance_and_neutral(small):
    assert len(small) == 3 * 5 * 20 and small.expression.shape == (300, 52)
    assert np.unique(small.sequence).tolist() == list(range(15))
    for sequence in range(15):
        mine = np.flatnonzero(small.sequence == sequence)
        assert len(set(small.subject[mine])) == 1
        assert small.frame[mine].tolist() == list(range(20))
        assert set(small.neutral[mine]) == {mine[0]}
    assert np.abs(small.expression[small.neutral]).max() < 0.08
    for subject in range(3):
        faces = small.expression[np.unique(small.neutral[small.subject == subject])]
        assert (faces == faces[0]).all()


def test_performances_rise_from_neutral_and_return(default):
    radius = np.hypot(default.valence, default.arousal).reshape(-1, 36)
    assert radius[:, 0].mean() < 0.05 and radius[:, 14:18].mean() > 0.45 and radius[:, -1].mean() < 0.1


def test_labels_lag_behind_the_face():
    options = PerformanceOptions(subjects=10, sequences=20, frames=36, label_lag=3.0, label_noise=0.0, style=0.0)
    gallery = generate_gallery(options, seed=0)
    face = _of(gallery.expression, "mouthSmile") + _of(gallery.expression, "mouthFrown")
    face, label = face.reshape(-1, 36), np.abs(gallery.valence).reshape(-1, 36)
    likeness = [np.corrcoef(face[:, : 36 - d].ravel(), label[:, d:].ravel())[0, 1] for d in range(8)]
    assert 2 <= int(np.argmax(likeness)) <= 4


def test_label_noise_has_the_size_that_was_asked_for():
    quiet, noisy = (
        generate_gallery(PerformanceOptions(subjects=20, sequences=20, label_lag=0, label_noise=n), seed=1)
        for n in (0.0, 0.04)
    )
    # Same seed, same draws: the labels differ by the noise of four annotators alone.
    free = np.abs(quiet.valence) < 0.8
    assert np.std((noisy.valence - quiet.valence)[free]) == pytest.approx(0.04 / 2, rel=0.1)
    assert quiet.expression.tobytes() == noisy.expression.tobytes()


def test_people_differ_in_style_and_symmetry_but_not_without_style():
    plain = generate_gallery(PerformanceOptions(subjects=4, sequences=10, style=0, asymmetry=0), seed=0).expression
    lively = generate_gallery(PerformanceOptions(subjects=4, sequences=10), seed=0).expression
    mirror = mirrored_shapes(ARKIT_SHAPES)
    np.testing.assert_allclose(plain[:, mirror], plain, atol=1e-6)
    assert np.abs(lively[:, mirror] - lively).max() > 0.03


def test_coefficients_lie_in_range_and_gaze_blinks_and_mouth_close_stay_out(default):
    assert default.expression.min() >= 0 and default.expression.max() <= 1
    for name in ARKIT_SHAPES:
        if name.startswith("eyeLook") or name in ("mouthClose", "tongueOut", "jawLeft", "mouthRight", "cheekPuff"):
            assert (_of(default.expression, name) == 0).all(), name


def test_an_open_jaw_and_pressed_lips_do_not_meet(default):
    apart = _of(default.expression, "jawOpen") > 0.2
    assert apart.sum() > 1000
    assert _of(default.expression, "mouthPress")[apart].max() < 0.2
    assert _of(default.expression, "mouthShrugLower")[apart].max() < 0.2


def test_the_gallery_says_that_it_is_synthetic_and_which_convention_it_follows(default):
    assert default.convention.startswith("words") and "synthetic" in default.notes.lower()
    assert default_statistics().convention == default.convention


@pytest.mark.parametrize(
    "options",
    [{"subjects": 0}, {"sequences": 1.5}, {"frames": 7}, {"annotators": 0}, {"style": -1}, {"label_lag": np.nan}],
)
def test_options_off_their_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        PerformanceOptions(**options)


def _fields(gallery):
    return {n: np.array(getattr(gallery, n)) for n in gallery_module._ARRAYS}


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("expression", lambda x: x + 2), ("expression", lambda x: x * np.nan), ("expression", lambda x: x[:, :3]),
        ("valence", lambda x: x + 3), ("arousal", lambda x: x * np.nan), ("arousal", lambda x: x[:5]),
        ("subject", lambda x: x + 0.5), ("neutral", lambda x: x + 1000), ("frame", lambda x: x - 5),
    ],
)  # fmt: skip
def test_a_gallery_refuses_arrays_that_make_no_sense(small, name, spoil):
    fields = _fields(small)
    fields[name] = spoil(fields[name])
    with pytest.raises(ValueError, match=name):
        Gallery(**fields)


# --- its store


def test_a_gallery_comes_back_from_disk_as_it_was(small, tmp_path):
    pytest.importorskip("zarr", reason="galleries are stored with zarr")
    small.save(tmp_path / "g.zarr")
    back = Gallery.load(tmp_path / "g.zarr")
    for name in gallery_module._ARRAYS:
        assert getattr(back, name).tobytes() == getattr(small, name).tobytes(), name
    assert back.expression_names == small.expression_names
    assert (back.convention, back.notes) == (small.convention, small.notes)
    assert os.listdir(tmp_path) == ["g.zarr"]


def test_saving_over_a_gallery_needs_to_be_asked_for(small, tmp_path):
    pytest.importorskip("zarr", reason="galleries are stored with zarr")
    small.save(tmp_path / "g.zarr")
    with pytest.raises(FileExistsError, match="exists"):
        small.save(tmp_path / "g.zarr")
    other = generate_gallery(SMALL, seed=9)
    other.save(tmp_path / "g.zarr", overwrite=True)
    np.testing.assert_array_equal(Gallery.load(tmp_path / "g.zarr").valence, other.valence)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not a folder"):
        small.save(tmp_path / "file", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "g.zarr"]


def test_an_interrupted_save_leaves_nothing_behind(small, tmp_path, monkeypatch):
    pytest.importorskip("zarr", reason="galleries are stored with zarr")

    replace = os.replace

    def interrupt(source, target):  # zarr renames its own files with the same function
        if os.path.basename(target) == "g.zarr":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(gallery_module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small.save(tmp_path / "g.zarr")
    assert os.listdir(tmp_path) == []


def test_a_damaged_store_is_one_value_error(small, tmp_path):
    zarr = pytest.importorskip("zarr", reason="galleries are stored with zarr")
    with pytest.raises(FileNotFoundError, match="no gallery"):
        Gallery.load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    for name in ("empty", "text"):
        with pytest.raises(ValueError, match="not a readable gallery"):
            Gallery.load(tmp_path / name)
    small.save(tmp_path / "short")
    zarr.open_group(store=str(tmp_path / "short"), mode="r+")["valence"].resize((10,))
    small.save(tmp_path / "lacking")
    del zarr.open_group(store=str(tmp_path / "lacking"), mode="r+")["neutral"]
    small.save(tmp_path / "garbled")
    files = [p for p in (tmp_path / "garbled" / "expression").rglob("*") if p.is_file()]
    chunk = max(files, key=lambda p: p.stat().st_size)
    chunk.write_bytes(b"\x00garbage" * 40)
    for name in ("short", "lacking", "garbled"):
        with pytest.raises(ValueError, match="not a readable gallery"):
            Gallery.load(tmp_path / name)


# --- class statistics


def test_class_statistics_agree_with_a_loop_over_classes(small):
    statistics = class_statistics(small)
    mirror = mirrored_shapes(ARKIT_SHAPES)
    index = VASpace().class_of(small.valence, small.arousal)
    for k in range(100):
        mine = small.expression[index == k].astype(float)
        assert statistics.count[k] == len(mine)
        both = np.concatenate([mine, mine[:, mirror]])
        np.testing.assert_allclose(statistics.mean[k], both.mean(axis=0) if len(mine) else 0, atol=1e-6)
        np.testing.assert_allclose(statistics.spread[k], both.std(axis=0) if len(mine) else 0, atol=1e-4)


def test_the_statistics_that_ship_are_those_of_the_default_gallery(default):
    ours, theirs = class_statistics(default), default_statistics()
    # Another processor may round a label across a class border, so a frame or two can change sides.
    assert np.abs(theirs.count - ours.count).max() <= 2
    for name in ("mean", "spread", "valence_arousal"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), atol=4e-3)
        assert np.abs(getattr(theirs, name) - getattr(ours, name)).mean() < 1e-4
    assert theirs.expression_names == ours.expression_names


def test_every_class_of_the_default_gallery_has_data():
    statistics = default_statistics()
    assert statistics.populated.all() and statistics.filled.sources == {}
    centre = statistics.space.centres()
    assert np.abs(statistics.valence_arousal - centre).max() <= 0.1 + 1e-6


def test_the_default_means_are_the_same_on_both_sides():
    mean = default_statistics().mean
    np.testing.assert_array_equal(mean, mean[:, mirrored_shapes(ARKIT_SHAPES)])


def test_mouth_corners_rise_with_valence_at_every_arousal():
    plane = _plane(default_statistics())
    assert np.diff(_of(plane, "mouthSmile") - _of(plane, "mouthFrown"), axis=1).min() > 0


def test_eyes_and_mouth_open_with_arousal_at_every_valence():
    plane = _plane(default_statistics())
    assert np.diff(_of(plane, "eyeWide") - _of(plane, "eyeBlink") - _of(plane, "eyeSquint"), axis=0).min() > 0
    assert np.diff(_of(plane, "jawOpen"), axis=0).min() > -2e-4
    parted = _of(plane, "jawOpen") + _of(plane, "mouthUpperUp") + _of(plane, "mouthLowerDown")
    # Closed lips stay closed while arousal is low; a sneer may part them by a hair.
    assert (np.maximum.accumulate(parted, axis=0) - parted).max() < 0.02
    assert (parted[-1] - parted[0]).min() > 0.3


def test_the_origin_is_nearly_neutral():
    assert express(None, 0, 0).expression.max() < 0.03


@pytest.mark.parametrize(
    "valence, arousal, most, least",
    [
        (0.8, 0.3, {"mouthSmile": 0.55, "cheekSquint": 0.25, "mouthUpperUp": 0.2, "jawOpen": 0.1}, {"browDown": 0.05}),
        (0.6, 0.75, {"jawOpen": 0.3, "browInnerUp": 0.3, "mouthSmile": 0.4}, {"browDown": 0.05}),
        (0.1, 0.85, {"jawOpen": 0.35, "browInnerUp": 0.5, "browOuterUp": 0.5, "eyeWide": 0.4}, {"mouthFrown": 0.1}),
        (-0.6, 0.85, {"browInnerUp": 0.35, "eyeWide": 0.4, "mouthStretch": 0.2}, {"mouthSmile": 0.03}),
        (-0.6, 0.6, {"browDown": 0.4, "noseSneer": 0.1, "eyeWide": 0.2}, {"mouthSmile": 0.03}),
        (-0.7, -0.4, {"mouthFrown": 0.4, "browInnerUp": 0.3, "mouthShrugLower": 0.2}, {"jawOpen": 0.03}),
        (0.3, -0.7, {"eyeBlink": 0.3, "mouthSmile": 0.1}, {"jawOpen": 0.03, "browDown": 0.05}),
    ],
)  # fmt: skip
def test_places_of_the_plane_show_the_faces_that_belong_there(valence, arousal, most, least):
    expression = express(None, valence, arousal).expression
    for name, bound in most.items():
        assert _of(expression, name) > bound, name
    for name, bound in least.items():
        assert _of(expression, name) < bound, name


# --- queries


@pytest.mark.parametrize("statistics", [default_statistics(), _smooth_statistics()], ids=["default", "smooth"])
def test_at_class_centres_the_answer_is_the_class_mean(statistics):
    for k, (valence, arousal) in enumerate(statistics.space.centres()):
        query = express(statistics, valence, arousal)
        assert query.class_index == k and query.filled_from == () and query.note == ""
        np.testing.assert_allclose(query.expression, statistics.mean[k], atol=1e-7)
        assert query.class_valence_arousal == pytest.approx(tuple(statistics.valence_arousal[k]))


def test_answers_have_no_step_and_no_kink_at_borders_and_centres():
    statistics = default_statistics()
    step = 1e-6
    rng = np.random.default_rng(0)
    lines = np.concatenate([(np.arange(1, 10) - 5) / 5, VASpace().centres()[:10, 0]])
    for at in lines:
        for other in rng.uniform(-1, 1, 5):
            for turn in (1, -1):
                points = np.array([[at - 2 * step, other], [at - step, other], [at, other], [at + step, other],
                                   [at + 2 * step, other]])[:, ::turn]  # fmt: skip
                value = interpolate_expression(statistics, points[:, 0], points[:, 1])
                assert np.abs(value[3] - value[1]).max() < 5 * step
                left, right = (value[1] - value[0]) / step, (value[4] - value[3]) / step
                np.testing.assert_allclose(left, right, atol=2e-3)


def test_a_path_of_sixty_steps_has_no_jump():
    angle = np.linspace(0, 2 * np.pi, 61)
    path = interpolate_expression(default_statistics(), 0.8 * np.cos(angle), 0.8 * np.sin(angle))
    assert np.abs(np.diff(path, axis=0)).max() < 0.15


def test_answers_stay_between_the_class_means_around_them():
    statistics = default_statistics()
    mean = statistics.mean.reshape(10, 10, -1)
    rng = np.random.default_rng(1)
    for valence, arousal in rng.uniform(-0.9, 0.9, (300, 2)):
        j, i = (min(int((x + 0.9) / 0.2), 8) for x in (valence, arousal))
        corners = mean[i : i + 2, j : j + 2].reshape(4, -1)
        answer = interpolate_expression(statistics, valence, arousal)
        # Zero mixed derivatives leave a bicubic patch a little room beyond its corners.
        assert (answer >= corners.min(axis=0) - 0.02).all() and (answer <= corners.max(axis=0) + 0.02).all()


def test_a_plane_is_answered_as_a_plane():
    statistics = _smooth_statistics()
    for valence, arousal in np.random.default_rng(2).uniform(-1, 1, (50, 2)):
        answer = express(statistics, valence, arousal).expression
        np.testing.assert_allclose(answer[:2], [0.5 + 0.4 * valence, 0.5 + 0.3 * arousal], atol=1e-6)


def test_intensity_keeps_growing_up_to_the_border():
    for valence, arousal, name in [(1, 0.3, "mouthSmile"), (-1, -0.3, "mouthFrown"), (0.1, 1, "jawOpen")]:
        inner = express(None, 0.9 * valence, 0.9 * arousal).expression
        outer = express(None, valence, arousal).expression
        assert 0.005 < _of(outer, name) - _of(inner, name) < 0.15


def test_many_queries_at_once_equal_one_by_one():
    points = np.random.default_rng(3).uniform(-1, 1, (7, 2))
    together = interpolate_expression(default_statistics(), points[:, 0], points[:, 1])
    for point, answer in zip(points, together):
        np.testing.assert_array_equal(express(None, *point).expression, answer)


def test_an_empty_class_is_answered_from_its_neighbours_and_says_so():
    populated = np.ones(100, bool)
    populated[[99, 98, 44]] = False
    statistics = _smooth_statistics(populated)
    full = _smooth_statistics()
    corner = express(statistics, 0.9, 0.9)
    assert corner.filled_from == (88, 89, 97) and "88, 89, 97" in corner.note and "Class 99" in corner.note
    assert corner.class_valence_arousal == pytest.approx((0.9, 0.9))
    hole = express(statistics, *VASpace().centre(44))
    assert hole.filled_from == (34, 43, 45, 54)
    np.testing.assert_allclose(hole.expression, full.mean[[34, 43, 45, 54]].mean(axis=0), atol=1e-6)
    assert express(statistics, -0.9, -0.9).filled_from == ()


def test_filled_classes_are_the_average_of_their_neighbours_and_stay_in_range():
    rng = np.random.default_rng(4)
    space, mean, populated = VASpace(), rng.random((100, 4)), rng.random(100) < 0.4
    filled = fill_empty_classes(mean, populated, space)
    np.testing.assert_array_equal(filled.mean[populated], mean[populated])
    for k in np.flatnonzero(~populated):
        np.testing.assert_allclose(filled.mean[k], filled.mean[list(space.neighbours(int(k)))].mean(axis=0), atol=1e-10)
        assert filled.sources[int(k)] and all(populated[j] for j in filled.sources[int(k)])
    assert set(filled.sources) == set(np.flatnonzero(~populated).tolist())
    with pytest.raises(ValueError, match="populated: expected at least one class"):
        fill_empty_classes(mean, np.zeros(100, bool), space)


def test_a_class_of_a_few_frames_counts_as_empty(small):
    statistics = class_statistics(small, least=50)
    thin = int(np.flatnonzero((statistics.count > 0) & (statistics.count < 50))[0])
    query = express(statistics, *statistics.space.centre(thin))
    assert query.filled_from and f"{statistics.count[thin]} frame" in query.note


@pytest.mark.parametrize("bad", [1.01, -2, np.nan, "x"])
def test_queries_off_the_plane_are_refused_by_name(bad):
    with pytest.raises(ValueError, match="^valence: expected"):
        express(None, bad, 0)
    with pytest.raises(ValueError, match="^arousal: expected"):
        express(None, 0, bad)
    with pytest.raises(ValueError, match="^valence: expected one number"):
        express(None, [0, 1], 0)


def test_an_expression_is_handed_to_any_model_by_name():
    query = express(None, 0.8, 0.4)
    names = ("tongueTwist", "mouthSmileRight", "jawOpen")
    np.testing.assert_array_equal(
        expression_for(names, query), [0, _of(query.expression, "mouthSmileRight"), _of(query.expression, "jawOpen")]
    )
    np.testing.assert_array_equal(expression_for(query.names, query), query.expression)
    with pytest.raises(ValueError, match="expression_names: expected ARKit names"):
        expression_for(("mode0", "mode1"), query)


# --- statistics on disk


def test_statistics_come_back_from_disk_as_they_were(small, tmp_path):
    statistics = class_statistics(small, VASpace(6, 4), least=3)
    save_statistics(statistics, tmp_path / "s.npz")
    back = load_statistics(tmp_path / "s.npz")
    assert back.space == VASpace(6, 4) and back.least == 3 and back.convention == statistics.convention
    for name in ("count", "mean", "spread", "valence_arousal"):
        assert getattr(back, name).tobytes() == getattr(statistics, name).tobytes()
    assert os.listdir(tmp_path) == ["s.npz"]


def test_damaged_statistics_are_one_value_error(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="no class statistics"):
        load_statistics(tmp_path / "none.npz")
    save_statistics(class_statistics(small), tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", shape=np.array([{"a": 1}], dtype=object))
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other", "pickled", "short", "text"):
        with pytest.raises(ValueError, match="holds no class statistics"):
            load_statistics(tmp_path / f"{name}.npz")
