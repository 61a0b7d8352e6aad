"""The study's set: videos, divisions, the rendered world, databases."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="the study trains networks")

from affect3d.gan.data.crops import CropOptions

from affect3d.study.databases import (
    read_affectnet,
    read_affwild2,
    read_database,
    read_recola,
    videos_of_listing,
)
from affect3d.study.manifest import AddedPicture
from affect3d.study.splits import Division, check_division, divide
from affect3d.study.videos import FaceVideos
from affect3d.study.world import WorldOptions, film_clip, make_world, perform_clip
from affect3d.synthesis.rendered_people.shots import draw_style


def videos(people=4, each=2, frames=3, **changes):
    n = people * each * frames
    rng = np.random.default_rng(0)
    given = dict(
        subject=np.repeat(np.arange(people), each * frames), subjects=tuple("abcdefgh"[:people]),
        clip=np.repeat(np.arange(people * each), frames), clips=tuple(f"clip {k}" for k in range(people * each)),
        frame=np.tile(np.arange(frames), people * each), valence=rng.uniform(-1, 1, n), arousal=rng.uniform(-1, 1, n),
        boxes=np.tile([2.0, 2, 14, 14], (n, 1)), images=rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
    )  # fmt: skip
    return FaceVideos(**(given | changes))


def added(subject="a", **changes):
    return AddedPicture(**(dict(
        file="0000001.png", column=0, subject=subject, clip="clip 0", frame=0, valence=0.5, arousal=0.1, affect_class=3,
        seed=0, method="3d-mean", model="default",
    ) | changes))  # fmt: skip


@pytest.mark.parametrize("bad", [7.0, -1.001, np.inf])
def test_a_label_out_of_range_is_refused_with_its_clip_and_frame(bad):
    valence = np.zeros(24)
    valence[4] = bad
    with pytest.raises(ValueError, match=r"valence: clip 'clip 1', frame 1: expected .* got"):
        videos(valence=valence)


def test_a_clip_without_frames_is_refused_by_its_name():
    with pytest.raises(ValueError, match="clip 'nothing' has no frames"):
        videos(clips=tuple(f"clip {k}" for k in range(8)) + ("nothing",))


def test_a_clip_of_two_people_and_a_frame_that_comes_twice_are_refused():
    subject = np.repeat(np.arange(4), 6)
    subject[4] = 3
    with pytest.raises(ValueError, match="clip 'clip 1' shows two subjects"):
        videos(subject=subject)
    with pytest.raises(ValueError, match="each once within a clip"):
        videos(frame=np.zeros(24, int))


def test_pictures_lie_in_one_place():
    with pytest.raises(ValueError, match="expected one of them"):
        videos(images=None)


def test_a_subject_in_both_parts_is_refused_by_name():
    with pytest.raises(ValueError, match="subject 'b' is in both"):
        check_division(videos(), Division(np.arange(0, 9), np.arange(9, 24)))


def test_an_added_picture_of_a_test_person_is_refused_by_name():
    division = Division(np.arange(0, 12), np.arange(12, 24))
    check_division(videos(), division, [added("a"), added("b")])
    with pytest.raises(ValueError, match="0000001.png .* shows 'c', who is a test person"):
        check_division(videos(), division, [added("a"), added("c")])


def test_an_added_picture_of_somebody_who_is_not_learned_from_is_refused():
    with pytest.raises(ValueError, match="'b', who is not learned from"):
        check_division(videos(), Division(np.arange(6), np.arange(12, 24)), [added("b")])


def test_an_added_label_out_of_range_is_refused():
    with pytest.raises(ValueError, match="valence"):
        added(valence=1.2)
    sneaked = added()
    object.__setattr__(sneaked, "arousal", -3.0)
    with pytest.raises(ValueError, match="arousal -3.0 is not in"):
        check_division(videos(), Division(np.arange(6), np.arange(12, 24)), [sneaked])


def test_an_unlabelled_frame_is_refused_in_a_division():
    valence = np.zeros(24)
    valence[2] = np.nan
    with pytest.raises(ValueError, match="frame 2 of clip 'clip 0' has no label"):
        check_division(videos(valence=valence), Division(np.arange(6), np.arange(12, 24)))


def test_everybody_is_tested_on_once_and_fewer_people_are_some_of_the_more():
    v = videos(people=8)
    all_of = divide(v, 2, seed=4)
    assert sorted(np.concatenate([d.test for d in all_of])) == list(range(len(v)))
    for few, more in zip(divide(v, 2, 4, 1), divide(v, 2, 4, 3)):
        assert len(np.unique(v.subject[few.train])) == 1 and len(np.unique(v.subject[more.train])) == 3
        assert set(few.train) < set(more.train) and np.array_equal(few.test, more.test)
    with pytest.raises(ValueError, match="people: expected 1 to 4"):
        divide(v, 2, 4, 5)


def test_a_crop_by_a_box_is_the_picture_in_the_box():
    v = videos()
    crop = v.crops([3], CropOptions(12))[0]
    np.testing.assert_array_equal(crop, v.images[3, 2:14, 2:14])
    bare = videos(boxes=None)
    with pytest.raises(ValueError, match="frame 0 of clip 'clip 1' has neither"):
        bare.crops([3], CropOptions(12))


def test_a_selection_drops_whoever_is_not_in_it():
    part = videos().select(np.arange(18, 24))
    assert part.subjects == ("d",) and part.clips == ("clip 6", "clip 7") and len(part) == 6


def test_a_performance_starts_neutral_and_its_labels_follow_the_face():
    rng = np.random.default_rng(1)
    names = ("mouthSmileLeft", "mouthSmileRight", "browDownLeft", "jawOpen")
    for _ in range(20):
        weights, labels = perform_clip(12, draw_style(rng), names, rng, label_noise=0)
        assert not labels[0].any() and (np.abs(labels) <= 1).all() and weights.shape == (12, 4)
        assert ((weights >= 0) & (weights <= 1)).all()
        # without noise a clip lies on one ray
        assert np.linalg.matrix_rank(labels, tol=1e-9) <= 1


@pytest.fixture(scope="module")
def head():
    from affect3d.assets import AssetError
    from affect3d.model.load import load_model

    try:
        return load_model("default")
    except AssetError as error:
        pytest.skip(f"the default head is not here: {error}")


def test_the_world_is_the_same_for_the_same_seed_and_another_for_another(head):
    options = WorldOptions(people=2, clips=1, frames=4, size=64)
    one, two = make_world(options, head), make_world(options, head)
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.points, two.points)
    other = make_world(WorldOptions(people=2, clips=1, frames=4, size=64, seed=1), head)
    assert (one.images != other.images).mean() > 0.5


def test_more_people_leave_the_first_ones_as_they_are(head):
    small = make_world(WorldOptions(people=2, clips=1, frames=4, size=64), head)
    large = make_world(WorldOptions(people=3, clips=1, frames=4, size=64), head)
    np.testing.assert_array_equal(small.images, large.images[:8])


def test_an_open_jaw_moves_the_chin_down_in_pixels(head):
    options = WorldOptions(people=2, clips=1, frames=4, size=96, occluded=0)
    k = head.expression_names.index("jawOpen")
    weights = np.zeros((2, len(head.expression_names)))
    weights[1, k] = 1
    colours = np.full((len(head.mean), 3), 0.4)
    _, points = film_clip(head, head.mean, colours, weights, options, np.random.default_rng(2))
    assert points[1, 8, 1] - points[0, 8, 1] > 3
    assert np.ptp(points[0, :, 0]) > 30  # the face fills a good part of the frame


@pytest.mark.parametrize(
    "wrong", [dict(people=1), dict(frames=2), dict(occluded=1.5), dict(label_noise=-1), dict(seed=-1)]
)
def test_an_impossible_world_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WorldOptions(**wrong)


def _picture(path, value=90, size=(32, 32)):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_afew_va_is_read_from_its_own_shape(tmp_path):
    marks = (np.random.default_rng(0).uniform(5, 25, (68, 2))).tolist()
    frames = {f"{k:05d}": {"valence": k - 1.0, "arousal": 10.0, "landmarks": marks} for k in range(3)}
    _picture(tmp_path / "01" / "001" / "00000.png")
    (tmp_path / "01" / "001" / "001.json").write_text(json.dumps({"video_id": "001", "actor": "x", "frames": frames}))
    v = read_database("afew-va", tmp_path)
    np.testing.assert_allclose(v.valence, [-0.1, 0, 0.1])
    assert v.subjects == ("x",) and v.clips == ("x, 001",) and (v.arousal == 1).all() and v.points.shape == (3, 68, 2)
    assert next(v.pictures([0])).shape == (32, 32, 3)


def test_affwild2_leaves_out_what_is_not_annotated_or_not_seen(tmp_path):
    for k in (1, 2, 4):
        _picture(tmp_path / "cropped_aligned" / "7" / f"{k:05d}.jpg", 10 * k)
    labels = tmp_path / "annotations" / "7.txt"
    labels.parent.mkdir()
    labels.write_text("valence,arousal\n0.1,0.2\n-5,-5\n0.3,0.4\n0.5,-0.6\n")
    v = read_affwild2(tmp_path)
    assert list(v.frame) == [0, 3] and v.subjects == ("7",)
    np.testing.assert_allclose(v.valence, [0.1, 0.5])
    assert abs(int(v.crops([1], CropOptions(32))[0].mean()) - 40) <= 2
    labels.write_text("valence,arousal\n-5,-5\n")
    with pytest.raises(ValueError, match="clip '7' has no frames"):
        read_affwild2(tmp_path)
    labels.write_text("valence,arousal\n0.1,3\n")
    with pytest.raises(ValueError, match="line 2: arousal"):
        read_affwild2(tmp_path)


def test_recola_takes_the_mean_of_its_annotators(tmp_path):
    for name, row in (("valence", "0.2;0.4"), ("arousal", "-0.1;-0.3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "P16.csv").write_text(f"time;FM1;FM2\n0.00;0;0\n0.04;{row}\n")
    with pytest.raises(ValueError, match="has no film P16.mp4"):
        read_recola(tmp_path)
    (tmp_path / "P16.mp4").write_bytes(b"")
    v = read_recola(tmp_path)
    np.testing.assert_allclose(v.valence, [0, 0.3])
    np.testing.assert_allclose(v.arousal, [0, -0.2])
    (tmp_path / "valence" / "P16.csv").write_text("time;FM1\n0.00;2\n")
    with pytest.raises(ValueError, match="line 2: expected a time and numbers"):
        read_recola(tmp_path)


def test_affectnet_counts_each_picture_as_a_person(tmp_path):
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    marks = ";".join(["3.5"] * 136)
    rows = [
        f"1/a.jpg,1,2,10,12,{marks},0,0.5,-0.5",
        f"1/b.jpg,1,2,10,12,{marks},9,-2,-2",
        f"2/c.jpg,0,0,9,9,{marks},1,-1,1",
    ]
    (tmp_path / "training.csv").write_text("\n".join([head, *rows]) + "\n")
    v = read_affectnet(tmp_path)
    assert v.subjects == ("1/a.jpg", "2/c.jpg")
    np.testing.assert_array_equal(v.boxes, [[1, 2, 11, 14], [0, 0, 9, 9]])
    (tmp_path / "training.csv").write_text(f"{head}\n1/a.jpg,1,2,10,12,{marks},0,0.5,-1.5\n")
    with pytest.raises(ValueError, match="line 2: valence and arousal must lie"):
        read_affectnet(tmp_path)


def test_neutral_pictures_of_a_set_without_labels_count_as_zero(tmp_path):
    from affect3d.gan.data.listing import Entry, Listing

    entries = (Entry(tmp_path / "a", "p", "1", neutral=True), Entry(tmp_path / "b", "p", "1"))
    v = videos_of_listing(Listing(entries, (), (), "a set"))
    assert list(v.labelled) == [True, False] and v.valence[0] == 0 and list(v.frame) == [0, 1]


def test_an_unknown_database_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected one of afew-va, .* got 'faces'"):
        read_database("faces", tmp_path)
