"""Neutral faces of other people, and pictures of generative methods, as sources of a study."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="generative methods are networks")

from affect3d.gan.data.crops import CropOptions

from affect3d.study.made_by_gan import emotion_labels, make_by_gan
from affect3d.study.manifest import read_manifest, read_pictures
from affect3d.study.neutral_readers import (
    NEUTRAL_SOURCES,
    list_bosphorus,
    list_bu3dfe,
    list_face_place,
    list_fei,
    read_neutral_faces,
)  # fmt: skip
from affect3d.study.videos import FaceVideos


def _picture(path, value=90):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (value, value, value)).save(path)


def _told(videos):
    return {(videos.subjects[s], e.path.name) for s, e in zip(videos.subject, videos.entries)}


def test_fei_is_neutral_in_picture_eleven_and_in_a(tmp_path):
    for name in ("1-01", "1-11", "1-12", "1-14", "10-11", "2a", "2b"):
        _picture(tmp_path / "originalimages_part1" / f"{name}.jpg")
    v = read_neutral_faces("fei", tmp_path)
    assert _told(v) == {("fei/001", "1-11.jpg"), ("fei/010", "10-11.jpg"), ("fei/002", "2a.jpg")}
    assert not v.valence.any() and not v.arousal.any()
    assert {e.expression for e in list_fei(tmp_path).entries} == {"neutral", "smile"}


def test_bosphorus_names_say_what_is_shown_and_turned_or_hidden_faces_are_left_out(tmp_path):
    for name in ("bs000_N_N_0", "bs000_N_N_1", "bs000_E_HAPPY_0", "bs000_LFAU_12_0", "bs000_YR_R10_0", "bs000_O_EYE_0"):
        _picture(tmp_path / "bs000" / f"{name}.png")
    assert _told(read_neutral_faces("bosphorus", tmp_path)) == {("bosphorus/bs000", "bs000_N_N_0.png")}
    assert len(read_neutral_faces("bosphorus", tmp_path, each=2)) == 2
    listed = list_bosphorus(tmp_path)
    assert len(listed) == 4 and listed.expression_names[0] == "neutral" and "happy" in listed.expression_names


def test_bu3dfe_takes_the_frontal_pictures_and_no_textures(tmp_path):
    for name in ("F0001_NE00WH_F2D", "F0001_NE00WH_F3D", "F0001_AN04WH_F2D", "M0044_NE00IN_F2D"):
        _picture(tmp_path / "BU_3DFE" / name[:5] / f"{name}.bmp")
    assert _told(read_neutral_faces("bu-3dfe", tmp_path)) == {
        ("bu-3dfe/F0001", "F0001_NE00WH_F2D.bmp"), ("bu-3dfe/M0044", "M0044_NE00IN_F2D.bmp")}  # fmt: skip
    anger = [e for e in list_bu3dfe(tmp_path).entries if e.expression == "anger"]
    assert len(anger) == 1 and anger[0].frame == 4


def test_face_place_takes_frontal_plain_faces_only(tmp_path):
    for name in ("AF0301_1100_00F", "AF0301_1100_30L", "AF0301_1110_00F", "CM0002_1100_00F"):
        _picture(tmp_path / "Asian" / f"{name}.jpg")
    assert [e.subject for e in list_face_place(tmp_path).entries] == ["AF0301", "CM0002"]
    assert read_neutral_faces("face-place", tmp_path).subjects == ("face-place/AF0301", "face-place/CM0002")


def test_afew_takes_the_middle_of_each_neutral_film(tmp_path):
    import cv2

    for shown, name in (("Neutral", "000046280"), ("Angry", "000046281")):
        path = tmp_path / "Train_AFEW" / shown / f"{name}.avi"
        path.parent.mkdir(parents=True)
        film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 32))
        for k in range(7):
            film.write(np.full((32, 32, 3), 30 * k, np.uint8))
        film.release()
    v = read_neutral_faces("afew", tmp_path)
    assert v.subjects == ("afew/000046280",) and v.entries[0].page == 3
    assert abs(int(next(v.pictures([0])).mean()) - 90) < 6


def test_multipie_s_frontal_neutral_face_comes_once_a_person(tmp_path):
    for session in (1, 2):
        for recording, camera, light in ((1, "05_1", 7), (2, "05_1", 7), (1, "04_1", 7), (1, "05_1", 3)):
            name = f"001_{session:02d}_{recording:02d}_{camera.replace('_', '')}_{light:02d}.png"
            _picture(tmp_path / f"session{session:02d}" / "multiview" / "001" / f"{recording:02d}" / camera / name)
    assert _told(read_neutral_faces("multi-pie", tmp_path)) == {("multi-pie/001", "001_01_01_051_07.png")}


@pytest.mark.parametrize("name", ["2d-face-sets", "kf-itw", "folders"])
def test_sets_without_a_known_layout_are_sorted_by_hand(tmp_path, name):
    _picture(tmp_path / "anna" / "neutral" / "1.jpg")
    _picture(tmp_path / "anna" / "happy" / "1.jpg")
    v = read_neutral_faces(name, tmp_path)
    assert v.subjects == (f"{name}/anna",) and len(v) == 1


@pytest.mark.parametrize("name", sorted(NEUTRAL_SOURCES))
def test_a_folder_of_something_else_is_refused_in_words(tmp_path, name):
    _picture(tmp_path / "holiday.jpg")
    with pytest.raises(ValueError, match="(expected|has no neutral face)"):
        read_neutral_faces(name, tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        read_neutral_faces(name, tmp_path / "nowhere")


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neutral: expected one of multi-pie, .* got 'faces'"):
        read_neutral_faces("faces", tmp_path)
    with pytest.raises(ValueError, match="each: expected a whole number from 1, got 0"):
        read_neutral_faces("folders", tmp_path, each=0)


def _faces(people=3, size=64):
    from affect3d.gan.data.crops import MEAN_FACE

    rng = np.random.default_rng(0)
    marks = np.asarray(MEAN_FACE, float)
    marks = (marks - marks.min(0)) / np.ptp(marks, axis=0).max() * 0.6 * size + 0.2 * size
    images = rng.integers(0, 256, (people * 2, size, size, 3), dtype=np.uint8)
    return FaceVideos(
        np.repeat(np.arange(people), 2), tuple(f"p{k}" for k in range(people)), np.repeat(np.arange(people), 2),
        tuple(f"c{k}" for k in range(people)), np.tile([0, 1], people), np.zeros(2 * people), np.zeros(2 * people),
        np.tile(marks, (2 * people, 1, 1)), images=images,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A generator that was trained for two steps."""
    from affect3d.gan.data import FaceImages
    from affect3d.gan.methods import recipe
    from affect3d.gan.training import TrainOptions, train

    rng = np.random.default_rng(1)
    names = ("neutral", "happiness", "anger")
    faces = FaceImages(
        rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8), np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4),
        names, neutral=np.repeat(np.arange(4) * 3, 3), source="noise",
    )  # fmt: skip
    method, batches = recipe("cdaae").prepare(faces, {"width": 8, "steps": 2}, 4, 0)
    folder = tmp_path_factory.mktemp("gan") / "run"
    train(method, batches, TrainOptions(0, "cpu", threads=1, sample_every=0), folder)
    return folder


def test_labels_of_emotions_are_ratings_with_the_neutral_face_at_zero():
    from affect3d.affect.tables import face_ratings

    got = emotion_labels(("neutral", "happiness", "anger", "squint"))
    assert set(got) == {"happiness", "anger"}
    want = np.array(face_ratings()["happy"]) - face_ratings()["neutral"]
    np.testing.assert_allclose(got["happiness"], want)


def test_a_generator_s_pictures_come_with_labels_and_the_study_can_read_them(tmp_path, run):
    v, crop = _faces(), CropOptions(24)
    records = make_by_gan(v, [0, 4], run, tmp_path / "made", crop, strengths=(0.5, 1.0))
    assert records == read_manifest(tmp_path / "made") and len(records) == 2 * 2 * 2
    assert {(r.subject, r.clip, r.frame) for r in records} == {("p0", "c0", 0), ("p2", "c2", 0)}
    full = emotion_labels(("happiness",))["happiness"]
    own = [(r.valence, r.arousal) for r in records if r.file == "0000000.png"]
    np.testing.assert_allclose(own[:2], [np.multiply(0.5, full), full], atol=1e-6)
    pictures = read_pictures(tmp_path / "made", records)
    assert pictures.shape == (8, 24, 24, 3) and all(r.method == "cdaae" for r in records)
    before = v.crops([0], crop)[0]
    assert (pictures[0, 0] == before[0]).all()  # outside the method's window the frame stays
    assert (pictures[0, 8:16, 8:16] != before[8:16, 8:16]).mean() > 0.5
    again = make_by_gan(v, [0, 4], run, tmp_path / "made", crop, strengths=(0.5, 1.0))
    assert again == records and (read_pictures(tmp_path / "made", again) == pictures).all()


def test_what_a_method_cannot_make_is_refused(tmp_path, run):
    v, crop = _faces(), CropOptions(24)
    with pytest.raises(ValueError, match="expected names of .*happiness.*got 'joy'"):
        make_by_gan(v, [0], run, tmp_path / "a", crop, {"joy": (0.5, 0.5)})
    with pytest.raises(ValueError, match=r"strengths: expected numbers in \(0, 1\]"):
        make_by_gan(v, [0], run, tmp_path / "a", crop, strengths=(0.0,))
    with pytest.raises(ValueError, match="holds no"):
        make_by_gan(v, [0], tmp_path, tmp_path / "a", crop)
    bare = FaceVideos(v.subject, v.subjects, v.clip, v.clips, v.frame, v.valence, v.arousal,
                      boxes=np.tile([2.0, 2, 60, 60], (6, 1)), images=v.images)  # fmt: skip
    with pytest.raises(ValueError, match="frame 0 of clip 'c0' has no landmarks"):
        make_by_gan(bare, [0], run, tmp_path / "a", crop)


def test_a_run_of_a_generator_is_a_condition_of_the_study(tmp_path, run, monkeypatch):
    from affect3d.study import pictures
    from affect3d.study.films import FilmOptions
    from affect3d.study.networks import AffectOptions
    from affect3d.study.study import StudyOptions, run_study

    class Head:
        class model:
            expression_names = ("jawOpen",)

        fit = type("Fit", (), {"expression": np.zeros(1)})

    monkeypatch.setattr(pictures, "fitted_face", lambda videos, row: Head())
    options = StudyOptions(
        conditions=("classical",), people=(1,), seeds=1, crop=CropOptions(16), films=FilmOptions(length=2, batch=4),
        network=AffectOptions(width=4, hidden=8, steps=4),
    )  # fmt: skip
    result = run_study(_faces(4), options, tmp_path / "s", {"cdaae": run})
    assert [row["condition"] for row in result["rows"]] == ["classical", "cdaae"]
    assert result["added_pictures"]["cdaae"] == 4 * 2 * 2  # of each clip's frame two emotions of two strengths
    assert run_study(_faces(4), options, tmp_path / "s", {"cdaae": run}) == result
    with pytest.raises(ValueError, match="neither a manifest.json nor a finished run"):
        run_study(_faces(4), options, tmp_path / "t", {"cdaae": tmp_path})
