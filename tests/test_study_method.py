"""What the study does with added pictures: calibrated labels, other people's faces, the order of learning."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the study trains networks")

from affect3d.gan.data.crops import CropOptions

from affect3d.affect.statistics import default_statistics
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.study import augment, fits, pictures
from affect3d.study.calibration import Calibration, calibrate, calibration_of
from affect3d.study.films import AddedFilms, FilmOptions, film_batches
from affect3d.study.manifest import AddedPicture, read_manifest, write_manifest
from affect3d.study.networks import AffectOptions
from affect3d.study.neutral import ANY_FRAMES, find_neutral_frames
from affect3d.study.runs import added_films, predicted_by_fit
from affect3d.study.splits import Division, check_division
from affect3d.study.study import StudyOptions, run_study
from affect3d.study.videos import FaceVideos


def toy_videos(people=6, clips=2, frames=6, seed=0, name="p"):
    """Films whose brightness is arousal."""
    rng = np.random.default_rng(seed)
    n = people * clips * frames
    way = np.repeat(rng.uniform(-0.9, 0.9, (people * clips, 2)), frames, axis=0)
    way *= np.tile(np.linspace(0, 1, frames), people * clips)[:, None]
    images = rng.normal(100, 4, (n, 64, 64, 3)) + 90 * way[:, 1, None, None, None]
    marks = np.random.default_rng(0).uniform(8, 56, (68, 2))
    return FaceVideos(
        np.repeat(np.arange(people), clips * frames), tuple(f"{name}{k}" for k in range(people)),
        np.repeat(np.arange(people * clips), frames), tuple(f"{name} clip {k}" for k in range(people * clips)),
        np.tile(np.arange(frames), people * clips), way[:, 0], way[:, 1], np.tile(marks, (n, 1, 1)),
        images=np.clip(images, 0, 255).astype(np.uint8),
    )  # fmt: skip


NAMES = ("jawOpen", "mouthSmileLeft", "browDownLeft", "eyeBlinkLeft", "eyeLookUpLeft")


def frames(n=400, seed=0):
    """Expressions of five shapes and the labels that some annotators gave them."""
    rng = np.random.default_rng(seed)
    expressions = rng.uniform(0, 0.5, (n, 5))
    truth = np.array([[0.1, 0.9], [0.8, 0.1], [-0.7, 0.4], [0, 0], [0, 0]])
    return expressions, expressions @ truth + rng.normal(0, 0.02, (n, 2)), truth


def test_what_annotators_say_of_shapes_is_found_and_glances_and_blinks_say_nothing():
    expressions, labels, truth = frames()
    found = calibrate(expressions, NAMES, labels)
    np.testing.assert_allclose(found.weights, truth, atol=0.03)
    assert not found.weights[3:].any()
    np.testing.assert_array_equal(found(np.zeros((1, 5))), [[0, 0]])
    np.testing.assert_array_equal(found([[0, 9.0, 0, 0, 0]])[0, 0], 1)  # labels end at 1


def test_calibration_agrees_with_least_squares_that_carries_the_ridge_as_frames_of_its_own():
    expressions, labels, _ = frames(40)
    for ridge in (1e-4, 0.3):
        x = np.vstack([expressions[:, :3], np.sqrt(ridge * 40) * np.eye(3)])
        want = np.linalg.lstsq(x, np.vstack([labels, np.zeros((3, 2))]), rcond=None)[0]
        np.testing.assert_allclose(calibrate(expressions, NAMES, labels, ridge).weights[:3], want, atol=1e-9)


def test_what_cannot_be_calibrated_is_refused():
    expressions, labels, _ = frames(6)
    with pytest.raises(ValueError, match="expected .* with N from 1"):
        calibrate(expressions, NAMES, labels[:4])
    with pytest.raises(ValueError, match="finite"):
        calibrate(expressions, NAMES, np.where(labels > 0.2, np.nan, labels))
    with pytest.raises(ValueError, match="ridge"):
        calibrate(expressions, NAMES, labels, 0)
    with pytest.raises(ValueError, match="weights"):
        Calibration(NAMES, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="expressions: expected finite"):
        calibrate(expressions, NAMES, labels)(np.zeros((2, 3)))


def test_the_calibration_of_a_run_sees_its_training_frames_only(tmp_path):
    expressions, labels, _ = frames(120)
    rows = np.arange(120)
    np.savez(tmp_path / "fits.npz", rows=rows, expression=expressions, names=np.array(NAMES))
    first = calibration_of(tmp_path / "fits.npz", rows[:60], labels)
    leaky = labels.copy()
    leaky[60:] = 0.9  # whatever test people's labels are
    np.testing.assert_array_equal(calibration_of(tmp_path / "fits.npz", rows[:60], leaky).weights, first.weights)
    assert not np.allclose(calibration_of(tmp_path / "fits.npz", rows, leaky).weights, first.weights)
    more = np.vstack([leaky, np.zeros((20, 2))])
    told = predicted_by_fit(tmp_path / "fits.npz", rows[:60], np.r_[rows[60:], 130], more)
    np.testing.assert_allclose(told[:-1], labels[60:], atol=0.15)
    np.testing.assert_array_equal(told[-1], [0, 0])  # a frame that no head fits
    with pytest.raises(ValueError, match="no head was fitted to any frame that is learned from"):
        calibration_of(tmp_path / "fits.npz", np.arange(500, 510), np.zeros((600, 2)))


def test_added_pictures_end_where_they_are_told_to():
    rng = np.random.default_rng(0)
    crops, labels = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), rng.uniform(-1, 1, (12, 2))
    windows = np.arange(12).reshape(4, 3)
    added = AddedFilms(np.full((3, 16, 16, 3), 7, np.uint8), rng.uniform(-1, 1, (3, 2)), np.zeros(3, int), np.ones(3))
    options = FilmOptions(length=3, batch=10, share=0.3, until=0.6)
    batches = film_batches(crops, labels, windows, options, 0, classical=False, added=added, steps=10)

    def made(index):
        films = batches.batch("affect", index)["pictures"].reshape(10, -1)
        return int((films == films[:, :1]).all(1).sum())

    assert [made(k) for k in range(10)] == [3] * 6 + [0] * 4
    assert torch.equal(batches.batch("affect", 7)["pictures"], batches.batch("affect", 7)["pictures"])
    half = FilmOptions(length=3, batch=10, share=0.3, until=0.5)
    other = film_batches(crops, labels, windows, half, 0, False, added, 10)
    assert batches.fingerprint != other.fingerprint and batches.preview()["labels"].shape[1] == 3
    with pytest.raises(ValueError, match="steps: expected the number of steps"):
        film_batches(crops, labels, windows, options, 0, added=added)
    with pytest.raises(ValueError, match="until"):
        FilmOptions(until=0)


def _record(subject, file="0000001.png", column=0):
    return AddedPicture(file, column, subject, "clip", 0, 0.5, 0.1, 3, 0, "3d-mean", "default")


def test_people_outside_the_set_may_join_and_nobody_of_the_set_can_pose_as_one():
    v = toy_videos(4, 1, 3)
    division = Division(np.arange(6), np.arange(6, 12))
    check_division(v, division, [_record("portraits/x")], outside=("portraits/x",))
    with pytest.raises(ValueError, match="'portraits/x', who is not learned from"):
        check_division(v, division, [_record("portraits/x")])
    with pytest.raises(ValueError, match="outside: 'p3' is a subject of the set"):
        check_division(v, division, [_record("p3")], outside=("p3",))


def test_pictures_of_several_folders_are_pooled_and_of_different_sizes_refused(tmp_path):
    from affect3d.io.image import write_image

    for name, size, value in (("a", 8, 10), ("b", 8, 20), ("c", 9, 30)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "0000001.png", np.full((size, 2 * size, 3), value, np.uint8))
        np.save(tmp_path / name / "0000001.npy", np.arange(10.0).reshape(2, 5) * value / 1000)
        write_manifest(tmp_path / name, [_record(f"{name}1", column=0), _record(f"{name}2", column=1)])
    labels = np.random.default_rng(0).uniform(-0.9, 0.9, (5, 2))
    films = added_films((tmp_path / "a", tmp_path / "b"), ("a1", "b1", "b2"), 3, labels)
    assert films.pictures[:, 0, 0, 0].tolist() == [10, 20, 20] and films.group.tolist() == [0, 1, 2]
    np.testing.assert_allclose(films.labels, [[0.5, 0.1]] * 3)
    weights = np.eye(5, 2)[::-1]  # the last shape is arousal, the one before valence
    places = (tmp_path / "a", tmp_path / "b")
    told = added_films(places, ("a1", "b1", "b2"), 3, labels, "like", Calibration(NAMES, weights))
    np.testing.assert_allclose(told.labels, [[0.04, 0.03], [0.08, 0.06], [0.18, 0.16]])
    (tmp_path / "b" / "0000001.npy").unlink()
    with pytest.raises(ValueError, match="0000001.npy: is missing; labels can be calibrated only"):
        added_films((tmp_path / "b",), ("b1",), 3, labels, "like", Calibration(NAMES, weights))
    assert added_films((tmp_path / "a",), ("b1",), 3, labels) is None and added_films((), ("b1",), 3, labels) is None
    with pytest.raises(ValueError, match="pictures of one size"):
        added_films((tmp_path / "a", tmp_path / "c"), ("a1", "c1"), 3, labels)


class Head:
    """Stands in for a fitted portrait whose expression is the frame's affect, by the gallery."""

    class model:
        expression_names = ARKIT_SHAPES

    def __init__(self, videos, row):
        statistics = default_statistics()
        classes = np.flatnonzero(statistics.populated)
        there = [videos.valence[row], videos.arousal[row]]
        nearest = classes[np.argmin(((statistics.valence_arousal[classes] - there) ** 2).sum(1))]
        weights = statistics.mean[nearest] if np.hypot(*there) > 0.1 else np.zeros(len(ARKIT_SHAPES))
        self.fit = type("Fit", (), {"expression": np.asarray(weights, float)})

    def with_expression(self, weights):
        marks = np.random.default_rng(0).uniform(8, 56, (68, 2))
        image = np.full((64, 64, 3), int(round(255 * weights["jawOpen"])), np.uint8)
        asked = np.array([weights[n] for n in ARKIT_SHAPES])
        return type("Made", (), {"image": image, "landmarks": type("Marks", (), {"points": marks}), "asked": asked})


@pytest.fixture
def heads(monkeypatch):
    asked = []

    def head(videos, row, model=None):
        asked.append((videos.subjects[0], row))
        return Head(videos, row)

    monkeypatch.setattr(pictures, "fitted_face", head)
    monkeypatch.setattr(fits, "fitted_face", head)
    monkeypatch.setattr(augment, "portrait_of", head)
    monkeypatch.setattr(augment, "fitted_picture", lambda head, made: made.asked)
    return asked


SMALL = dict(
    conditions=("classical", "3d-mean", "3d-calibrated", "3d-more", "3d-more-calibrated", "fit"), people=(2,), seeds=1,
    pictures=4, crop=CropOptions(16), films=FilmOptions(length=3, batch=4, until=0.5),
    network=AffectOptions(width=4, hidden=8, steps=6),
)  # fmt: skip


def test_the_3d_conditions_share_their_pictures_and_a_killed_study_makes_only_what_is_missing(tmp_path, heads):
    v, others = toy_videos(), toy_videos(3, 1, 1, name="x/")
    result = run_study(v, StudyOptions(**SMALL), tmp_path / "a", neutral={"x": others})
    assert [row["condition"] for row in result["rows"]] == list(SMALL["conditions"])
    assert result["folders"]["3d-more"] == ["added/mean", "added/of x/mean"]
    count = result["added_pictures"]
    assert result["neutral_faces"] == {"x": 3} and count["3d-more"] == 12 + count["3d-mean"]
    assert {r.subject for r in read_manifest(tmp_path / "a" / "added" / "of x" / "mean")} == set(others.subjects)
    by_fit = next(row for row in result["rows"] if row["condition"] == "fit")
    assert 0 < by_fit["mean"]["ccc"]["value"] < 1 and len(by_fit["mean"]["ccc"]["seeds"]) == 1
    with np.load(tmp_path / "a" / "fits.npz") as file:
        assert file["rows"].tolist() == list(range(len(v)))
    pytest.importorskip("matplotlib", reason="the page's figures")
    from affect3d.study.report import write_study_report

    write_study_report(tmp_path / "report.html", result, v, tmp_path / "a")
    page = (tmp_path / "report.html").read_text()
    assert "Calibrated labels: " in page and "3 (x)" in page and "until 50% of the steps" in page
    assert page.count("pictures in all") == 2  # each folder once: one's own people, and the others
    assert f"{by_fit['mean']['ccc']['value']:.3f} with 2" in page
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert "x" in plan["neutral"] and plan["options"]["films"]["until"] == 0.5
    heads.clear()
    for gone in ("study.json", "fits.npz"):
        (tmp_path / "a" / gone).unlink()
    next((tmp_path / "a" / "added" / "of x" / "mean").glob("0*.png")).unlink()
    assert run_study(v, StudyOptions(**SMALL), tmp_path / "a", neutral={"x": others}) == result
    assert len(heads) == len(v) + 1
    with pytest.raises(ValueError, match="other options or data: neutral.x was "):
        run_study(v, StudyOptions(**SMALL), tmp_path / "a", neutral={"x": toy_videos(3, 1, 1, 7, "x/")})


def test_a_condition_with_other_people_needs_some_and_they_may_not_be_in_the_set(tmp_path, heads):
    v = toy_videos()
    with pytest.raises(ValueError, match="3d-more needs neutral faces of other people"):
        run_study(v, StudyOptions(**SMALL), tmp_path / "a")
    with pytest.raises(ValueError, match="outside: 'p0' is a subject of the set"):
        run_study(v, StudyOptions(**SMALL), tmp_path / "b", neutral={"x": toy_videos(2, 1, 1)})


def test_frames_without_a_face_are_left_out_of_the_fits_and_none_at_all_is_refused(tmp_path, monkeypatch):
    v = toy_videos(2, 1, 3)

    def no_face(videos, row, model=None):
        if row != 4:
            raise ValueError("no face was found")
        return Head(videos, row)

    monkeypatch.setattr(fits, "fitted_face", no_face)
    with np.load(fits.fit_frames(v, np.arange(6), tmp_path / "f.npz", workers=2)) as file:
        assert file["rows"].tolist() == [4] and file["expression"].shape == (1, len(ARKIT_SHAPES))
    with pytest.raises(ValueError, match="no head could be fitted"):
        fits.fit_frames(v, np.arange(3), tmp_path / "g.npz")


def test_a_strip_whose_fits_are_lost_or_damaged_is_made_again(tmp_path, heads):
    v = toy_videos()
    expressions = augment.mean_expressions(default_statistics())
    how = augment.AugmentOptions("mean", 3, crop=CropOptions(16), refit=True)
    records = augment.augment(v, [0, 6], expressions, how, tmp_path / "m", portrait=lambda row: Head(v, row))
    want = augment.read_refits(tmp_path / "m", records)
    np.testing.assert_allclose(want[0], default_statistics().mean[records[0].affect_class], atol=1e-6)
    (tmp_path / "m" / "0000000.npy").write_bytes(b"half")
    (tmp_path / "m" / "0000006.npy").unlink()
    asked = []

    def portrait(row):
        asked.append(row)
        return Head(v, row)

    again = augment.augment(v, [0, 6], expressions, how, tmp_path / "m", portrait=portrait)
    assert asked == [0, 6] and again == records
    np.testing.assert_array_equal(augment.read_refits(tmp_path / "m", again), want)


def test_any_frames_are_some_of_each_clip_whatever_they_show():
    v = toy_videos()
    few = find_neutral_frames(v, np.arange(len(v)), portrait=lambda row: Head(v, row))
    found = find_neutral_frames(v, np.arange(len(v)), ANY_FRAMES, lambda row: Head(v, row))
    assert (np.bincount(v.clip[few.rows]) == 1).all() and (np.bincount(v.clip[found.rows]) == 3).all()
    assert np.hypot(v.valence[found.rows], v.arousal[found.rows]).max() > 0.3


def test_a_made_picture_is_fitted_as_a_frame_is():
    from affect3d.assets import AssetError

    try:
        from affect3d.study.world import WorldOptions, make_portraits

        v = make_portraits(2, WorldOptions(people=2, clips=1, frames=4))
    except AssetError as error:
        pytest.skip(f"the default head is not here: {error}")
    head = augment.portrait_of(v, 0)
    names = list(head.model.expression_names)
    made = head.with_expression({"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9})
    told = fits.fitted_picture(head, made) - fits.fitted_picture(head, head.with_expression({}))
    smile = [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]
    assert told[smile].sum() > 0.3 and told[smile].sum() > 2 * np.abs(told[names.index("jawOpen")])
    points = made.landmarks.points[None, :, :2]
    fresh = FaceVideos([0], ("p",), [0], ("c",), [0], [0.0], [0.0], points, images=made.image[None])
    np.testing.assert_allclose(fits.fitted_face(fresh, 0).fit.expression, fits.fitted_picture(head, made), atol=1e-6)
    assert set(v.subjects) == {"portraits/person 000", "portraits/person 001"} and not v.valence.any()
