"""Sets of faces: their type and file, crops, pairs and folds."""

import json
import struct

import numpy as np
import pytest

from affect3d.gan.data import (
    CROPS, FOLDS, CropOptions, FaceImages, Fold, check_fold, crop_image, crop_transform, given_folds, join_faces,
    last_frames, mean_shape, neutral_pairs, same_class_pairs, same_person_pairs, subject_folds, unit_pairs,
    unlike_pairs,
)  # fmt: skip
from affect3d.gan.data.crops import MEAN_FACE

PER_ROW = ("images", "subject", "expression", "units", "valence", "arousal", "sequence", "frame", "neutral")


def some_faces(people=4, takes=2, names=("neutral", "anger", "happiness"), seed=0, size=5):
    """Every person shows every expression in every take; the first is the neutral one."""
    rng = np.random.default_rng(seed)
    subject, take, expression = (a.ravel() for a in np.meshgrid(
        np.arange(people), np.arange(takes), np.arange(len(names)), indexing="ij"
    ))  # fmt: skip
    count = len(subject)
    units = rng.integers(0, 6, (count, 2)).astype(float)
    units[expression == 0] = 0
    return FaceImages(
        rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8), subject, expression, names, units,
        ("AU4", "AU12"), np.where(expression == 2, 0.5, np.nan), np.full(count, -0.25), subject * takes + take,
        expression, np.arange(count) - expression, "Made for a test.",
    )  # fmt: skip


def same(a, b):
    for name in PER_ROW:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.expression_names, a.unit_names, a.source) == (b.expression_names, b.unit_names, b.source)


def some_films(lengths=(5, 6, 7)):
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    frame = np.concatenate([np.arange(n) for n in lengths])
    start = np.repeat(np.cumsum((0, *lengths[:-1])), lengths)
    return FaceImages(
        np.zeros((len(frame), 4, 4, 1), np.uint8), sequence // 2, sequence=sequence, frame=frame, neutral=start
    )  # fmt: skip


# the value


def test_what_is_not_given_is_not_known():
    faces = FaceImages(np.zeros((3, 4, 6, 1), np.uint8), [0, 1, 1])
    assert (len(faces), faces.size) == (3, (4, 6, 1))
    assert (faces.expression == -1).all() and (faces.neutral == -1).all() and (faces.sequence == 0).all()
    assert np.isnan(faces.valence).all() and faces.units.shape == (3, 0)


def test_arrays_are_copied_once_and_cannot_be_written():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    faces = FaceImages(images, [0, 1])
    images[:] = 9
    assert not faces.images.any()
    for name in PER_ROW:
        with pytest.raises(ValueError, match="read-only"):
            getattr(faces, name)[:1] = 0


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(images=np.zeros((2, 4, 4, 3))), "images: expected .* uint8, got .* float64"),
        (dict(images=np.zeros((2, 4, 4, 2), np.uint8)), "images: expected"),
        (dict(subject=[0]), "subject: expected shape"),
        (dict(subject=[0.0, 1.0]), "subject: expected whole numbers"),
        (dict(subject=[0, -1]), "subject: expected numbers from 0, got -1"),
        (dict(expression=[0, 2]), r"expression: expected numbers in \[-1, 2\), got 2"),
        (dict(expression_names=("a", "a")), "expression_names: expected different names"),
        (dict(expression_names="ab"), "expression_names: expected different names"),
        (dict(units=[[6.0], [0.0]]), r"units: expected numbers in \[0, 5\], got 6"),
        (dict(units=[[np.inf], [0.0]]), r"units: expected numbers in \[0, 5\], got inf"),
        (dict(valence=[0.0, 1.5]), r"valence: expected numbers in \[-1, 1\], got 1.5"),
        (dict(arousal=[-2.0, 0.5]), r"arousal: expected numbers in \[-1, 1\], got -2"),
        (dict(neutral=[0, 0]), "neutral: row 1 points to the neutral face of another subject"),
        (dict(neutral=[2, -1]), r"neutral: expected numbers in \[-1, 2\), got 2"),
        (dict(source=3), "source: expected a text"),
    ],
)
def test_a_wrong_column_is_refused_by_name(change, said):
    given = dict(images=np.zeros((2, 4, 4, 3), np.uint8), subject=[0, 1], expression_names=("a", "b"),
                 unit_names=("AU1",))  # fmt: skip
    with pytest.raises(ValueError, match=said):
        FaceImages(**(given | change))


def test_a_selection_keeps_rows_and_finds_their_neutral_face_again():
    faces = some_faces()
    rows = np.array([4, 3, 11, 9])
    part = faces.select(rows)
    for name in PER_ROW[:-1]:
        np.testing.assert_array_equal(getattr(part, name), getattr(faces, name)[rows])
    assert part.neutral.tolist() == [1, 1, 3, 3]
    assert faces.select([5, 4]).neutral.tolist() == [-1, -1]
    same(faces.select(faces.subject == 2), faces.select(np.flatnonzero(faces.subject == 2)))
    assert len(faces.select([])) == 0


def test_selecting_all_changes_nothing_and_selecting_twice_is_selecting_once():
    faces = some_faces()
    same(faces.select(np.arange(len(faces))), faces)
    same(faces.select(np.arange(12)).select([3, 5]), faces.select([3, 5]))


def test_a_row_that_is_selected_twice_keeps_its_first_neutral_face():
    assert some_faces().select([0, 0, 1]).neutral.tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [[24], [-1], np.zeros(3, bool), [[0]], [0.5]])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(ValueError, match="rows: expected"):
        some_faces().select(rows)


def test_grey_is_the_luma_that_opencv_computes():
    import cv2

    faces = some_faces(size=16)
    peer = np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in faces.images])
    grey = faces.grey()
    assert grey.size == (16, 16, 1) and grey.grey() is grey
    assert np.abs(grey.images[..., 0].astype(int) - peer).max() <= 1


def test_resizing_averages_and_keeps_the_labels():
    faces = some_faces(size=8)
    small = faces.resized(4)
    mean = faces.images.reshape(-1, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.abs(small.images - mean).max() <= 0.51
    np.testing.assert_array_equal(small.expression, faces.expression)
    assert faces.resized(8) is faces and faces.grey().resized(16).size == (16, 16, 1)
    with pytest.raises(ValueError, match="size: expected"):
        faces.resized(0)


def test_joined_sets_have_different_people_and_the_names_of_both():
    one = some_faces(2)
    other = some_faces(3, names=("neutral", "surprise", "anger"), seed=1)
    both = join_faces([one, other])
    assert len(both) == len(one) + len(other) and len(both.subjects) == 5
    assert both.expression_names == ("neutral", "anger", "happiness", "surprise")
    named = [both.expression_names[e] for e in both.expression[len(one) :]]
    assert named == [other.expression_names[e] for e in other.expression]
    assert (both.subject[both.neutral] == both.subject).all()
    assert len(np.unique(both.sequence)) == 4 + 6
    assert both.source == one.source


def test_sets_of_different_units_are_joined_with_nan():
    one = FaceImages(np.zeros((1, 4, 4, 1), np.uint8), [0], units=[[3.0]], unit_names=("AU1",))
    other = FaceImages(np.zeros((1, 4, 4, 1), np.uint8), [0], units=[[1.0, 2.0]], unit_names=("AU9", "AU1"))
    both = join_faces([one, other])
    assert both.unit_names == ("AU1", "AU9")
    np.testing.assert_array_equal(both.units, np.float32([[3, np.nan], [2, 1]]))


def test_sets_that_do_not_fit_are_not_joined():
    with pytest.raises(ValueError, match="sets: expected at least one"):
        join_faces([])
    with pytest.raises(ValueError, match="sets: expected pictures of one size"):
        join_faces([some_faces(), some_faces(size=6)])


# the file


def test_what_is_saved_is_loaded(tmp_path):
    faces = some_faces()
    faces.save(tmp_path / "a.safetensors")
    same(FaceImages.load(tmp_path / "a.safetensors"), faces)
    FaceImages.load(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def tampered(path, change):
    """Rewrite the header's JSON text of a safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = change(json.loads(content[8 : 8 + length]))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def own(header):
    return json.loads(header["__metadata__"]["affect3d_faces"])


def with_own(header, value):
    header["__metadata__"]["affect3d_faces"] = value if isinstance(value, str) else json.dumps(value)
    return header


@pytest.mark.parametrize(
    "change",
    [
        lambda h: with_own(h, "{"),
        lambda h: with_own(h, "[" * 100000),
        lambda h: with_own(h, []),
        lambda h: with_own(h, own(h) | {"version": 99}),
        lambda h: with_own(h, own(h) | {"version": True}),
        lambda h: with_own(h, own(h) | {"version": 0}),
        lambda h: with_own(h, own(h) | {"expression_names": "abc"}),
        lambda h: with_own(h, own(h) | {"expression_names": ["one"]}),
        lambda h: with_own(h, own(h) | {"unit_names": [1]}),
        lambda h: with_own(h, own(h) | {"source": None}),
        lambda h: {k: v for k, v in h.items() if k != "__metadata__"},
        lambda h: {k: v for k, v in h.items() if k != "neutral"},
        lambda h: h | {"subject": h["subject"] | {"dtype": "F64"}},
        lambda h: h | {"images": h["images"] | {"shape": [2**40, 5, 5, 3]}},
        lambda h: h | {"valence": h["arousal"], "subject": h["neutral"] | {"shape": [2, 12]}},
    ],
)
def test_a_hostile_header_is_refused_in_one_sentence(tmp_path, change):
    path = tmp_path / "a.safetensors"
    some_faces().save(path)
    tampered(path, change)
    with pytest.raises(ValueError, match="a.safetensors: not a set of faces") as caught:
        FaceImages.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x80\x04cposix\nsystem\n."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a set of faces"):
        FaceImages.load(path)
    with pytest.raises(FileNotFoundError):
        FaceImages.load(tmp_path / "none")


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    some_faces().save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not a set of faces"):
        FaceImages.load(path)


# crops


def turned(points, scale, angle, shift):
    c, s = np.cos(angle), np.sin(angle)
    return scale * points @ np.array([[c, s], [-s, c]]) + shift


def test_landmarks_of_the_mean_face_come_to_the_middle_of_the_crop():
    options = CropOptions(100, margin=0.1, lift=0.0)
    placed = crop_transform(MEAN_FACE, options).apply(MEAN_FACE)
    low, high = placed.min(0), placed.max(0)
    np.testing.assert_allclose((low + high) / 2, [49.5, 49.5], atol=1e-9)
    # a margin of a tenth on both sides: the longer side fills 1 / 1.2 of the crop
    np.testing.assert_allclose((high - low).max(), 100 / 1.2, atol=1e-9)


def test_a_lift_shows_more_of_the_forehead():
    plain, lifted = (crop_transform(MEAN_FACE, CropOptions(100, lift=lift)).apply(MEAN_FACE) for lift in (0.0, 0.1))
    side = np.ptp(MEAN_FACE, axis=0).max()
    np.testing.assert_allclose(lifted - plain, np.tile([0, 0.1 * side * 100 / (side * 1.24)], (68, 1)), atol=1e-9)


@pytest.mark.parametrize("scale, angle, shift", [(80, 0.0, (100, 90)), (200, 0.4, (-30, 10)), (9, -1.0, (0, 0))])
def test_size_place_and_turn_of_a_face_do_not_matter(scale, angle, shift):
    options = CropOptions(64)
    expected = crop_transform(MEAN_FACE, options).apply(MEAN_FACE)
    moved = turned(MEAN_FACE, scale, angle, np.array(shift, float))
    np.testing.assert_allclose(crop_transform(moved, options).apply(moved), expected, atol=1e-9)


def test_no_other_similarity_brings_the_landmarks_nearer():
    rng = np.random.default_rng(0)
    points = turned(MEAN_FACE + rng.normal(0, 0.03, (68, 2)), 50, 0.3, np.array([80.0, 70]))
    options = CropOptions(64)
    best = crop_transform(points, options)
    target = crop_transform(MEAN_FACE, options).apply(MEAN_FACE)
    error = ((best.apply(points) - target) ** 2).sum()
    for _ in range(50):
        other = turned(best.apply(points), 1 + rng.normal(0, 0.01), rng.normal(0, 0.01), rng.normal(0, 0.3, 2))
        assert ((other - target) ** 2).sum() > error


def test_a_picture_is_sampled_where_the_transform_says():
    y, x = np.mgrid[0:200, 0:240]
    image = np.stack([x, y, (x + y) / 2], -1).astype(np.uint8)
    points = turned(MEAN_FACE, 60, 0.2, np.array([115.0, 80]))
    options = CropOptions(48, margin=0.0)
    to_picture = crop_transform(points, options).inverse()
    crop = crop_image(image, points, options).astype(float)
    rows, columns = np.mgrid[0:48, 0:48]
    where = to_picture.apply(np.stack([columns, rows], -1))
    inside = ((where > 1) & (where < [238, 198])).all(-1)
    assert inside.mean() > 0.9
    expected = np.stack([where[..., 0], where[..., 1], where.mean(-1)], -1)
    assert np.abs(crop - expected)[inside].max() < 1.0


def test_fine_patterns_become_their_mean_instead_of_aliasing():
    y, x = np.mgrid[0:512, 0:512]
    image = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, 2)
    points = turned(MEAN_FACE, 190, 0.0, np.array([256.0, 200]))
    crop = crop_image(image, points, CROPS["cdaae"]).astype(float)
    assert crop.shape == (32, 32, 3)
    assert np.abs(crop - 127.5).max() < 12


def test_faces_of_very_large_pictures_do_not_alias_either():
    image = np.zeros((2600, 2600, 1), np.uint8)
    image[:, ::2] = 255
    points = turned(MEAN_FACE, 1100, 0.0, np.array([1300.0, 1000]))
    crop = crop_image(image, points, CropOptions(32, 1)).astype(float)
    assert np.abs(crop - 127.5).max() < 12


def test_the_crop_of_a_turned_picture_is_the_crop_of_the_picture():
    import cv2

    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 6)
    points = turned(MEAN_FACE, 90, 0.0, np.array([150.0, 120]))
    angle, scale = 0.35, 0.9
    matrix = cv2.getRotationMatrix2D((150, 140), np.degrees(angle), scale)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    other = cv2.warpAffine(image, matrix, (300, 300), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    options = CropOptions(64, margin=0.0)
    difference = crop_image(image, points, options).astype(int) - crop_image(other, moved, options)
    assert np.abs(difference).mean() < 1.5


def test_squares_stay_upright_and_hold_every_landmark():
    options = CROPS["stoicnet"]
    points = turned(MEAN_FACE, 60, 0.5, np.array([120.0, 100]))
    transform = crop_transform(points, options)
    np.testing.assert_array_equal(transform.rotation, np.eye(2))
    placed = transform.apply(points)
    assert placed.min() > 0 and placed.max() < options.size - 1
    assert crop_image(np.full((200, 200, 3), 77, np.uint8), points, options).shape == (128, 128, 1)


def test_the_papers_sizes_are_the_papers():
    assert {k: (c.size, c.channels, c.align) for k, c in CROPS.items()} == {
        "cdaae": (32, 3, "procrustes"), "fesgan": (128, 3, "procrustes"), "exprgan": (128, 3, "procrustes"),
        "stoicnet": (128, 1, "square"),
    }  # fmt: skip


def test_plain_pictures_keep_their_colour_also_beyond_their_border():
    image = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    points = turned(MEAN_FACE, 60, 0.0, np.array([20.0, 20]))
    np.testing.assert_array_equal(crop_image(image, points, CropOptions(16)), np.broadcast_to(image[0, 0], (16, 16, 3)))
    grey = crop_image(image[..., :1], points, CropOptions(16))
    assert grey.shape == (16, 16, 3) and (grey == 200).all()


def test_the_mean_of_turned_and_scaled_copies_is_the_shape_itself_upright():
    shapes = [turned(MEAN_FACE, s, a, np.array([s, 2.0 * s])) for s, a in ((50, 0.3), (70, -0.4), (60, 0.1))]
    mean = mean_shape(shapes)
    eyes = mean[42:48].mean(0) - mean[36:42].mean(0)
    assert abs(eyes[1]) < 1e-9 < eyes[0]
    options = CropOptions(64)
    placed = [crop_transform(s, options, mean).apply(s) for s in shapes]
    np.testing.assert_allclose(placed[0], placed[1], atol=1e-6)


def test_the_mean_face_is_symmetric():
    from affect3d.detect.schemes import IBUG68_MIRROR

    np.testing.assert_allclose(MEAN_FACE, MEAN_FACE[IBUG68_MIRROR] * [-1, 1], atol=2e-3)


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(size=2), "size: expected"), (dict(size=32.0), "size: expected"), (dict(channels=2), "channels: expected"),
        (dict(align="eyes"), "align: expected"), (dict(margin=-1.0), "margin, lift: expected"),
        (dict(margin=np.nan), "margin, lift: expected"),
    ],
)  # fmt: skip
def test_wrong_crops_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        CropOptions(**options)


def test_wrong_landmarks_and_pictures_are_refused():
    image, options = np.zeros((20, 20, 3), np.uint8), CropOptions(16)
    with pytest.raises(ValueError, match="points: expected the 68"):
        crop_image(image, np.zeros((5, 2)), options)
    missing = MEAN_FACE.copy()
    missing[3] = np.nan
    with pytest.raises(ValueError, match="points: expected finite"):
        crop_image(image, missing, options)
    for align in ("procrustes", "square"):
        with pytest.raises(ValueError, match="one place"):
            crop_image(image, np.zeros((68, 2)), CropOptions(16, align=align))
    with pytest.raises(ValueError, match="image: expected"):
        crop_image(image.astype(float), MEAN_FACE, options)


# pairs


def test_last_frames_are_those_of_every_film():
    faces = some_films((5, 6, 7))
    rows = last_frames(faces, 3)
    assert rows.tolist() == [2, 3, 4, 8, 9, 10, 15, 16, 17]
    shuffled = np.random.default_rng(0).permutation(len(faces))
    found = shuffled[last_frames(faces.select(shuffled), 3)]
    assert sorted(found.tolist()) == rows.tolist()


def test_a_film_too_short_for_its_last_frames_is_refused():
    with pytest.raises(ValueError, match="film 0 has 3 frames"):
        last_frames(some_films((3, 6)), 3)
    with pytest.raises(ValueError, match="count: expected"):
        last_frames(some_films(), 0)


def test_every_picture_is_paired_with_its_own_neutral_face():
    faces = some_films((5, 6))
    pairs = neutral_pairs(faces)
    assert pairs[:, 0].tolist() == list(range(11)) and pairs[:, 1].tolist() == [0] * 5 + [5] * 6


def test_people_without_a_neutral_face_are_named():
    faces = some_faces().select(np.r_[0:6, 7, 8, 10, 11])
    with pytest.raises(ValueError, match="subject 1 have no neutral face"):
        neutral_pairs(faces)


def test_rafd_gives_as_many_pairs_as_the_paper_counts():
    """50 people, 3 gaze directions and 8 emotions: 1,200 pictures, 9,600 pairs."""
    faces = some_faces(50, 3, tuple("abcdefgh"), size=4)
    pairs = same_person_pairs(faces)
    assert (len(faces), len(pairs)) == (1200, 9600)
    assert (faces.subject[pairs[:, 0]] == faces.subject[pairs[:, 1]]).all()
    assert (faces.sequence[pairs[:, 0]] == faces.sequence[pairs[:, 1]]).all()
    assert len(np.unique(pairs, axis=0)) == 9600
    assert len(same_person_pairs(faces, within="subject")) == 50 * 24**2


def test_takes_of_two_people_with_one_number_are_not_mixed():
    faces = FaceImages(
        np.zeros((4, 4, 4, 1), np.uint8), [0, 0, 1, 1], [0, 1, 0, 1], ("a", "b"), sequence=[7, 7, 7, 7]
    )  # fmt: skip
    pairs = same_person_pairs(faces)
    assert len(pairs) == 8 and (faces.subject[pairs[:, 0]] == faces.subject[pairs[:, 1]]).all()
    partners = unlike_pairs(faces, np.random.default_rng(0))
    assert partners.tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]


def test_a_limit_keeps_some_of_the_pairs_and_wants_an_rng():
    faces = some_faces()
    every = {tuple(p) for p in same_person_pairs(faces).tolist()}
    some = same_person_pairs(faces, limit=7, rng=np.random.default_rng(0))
    assert len(some) == 7 and {tuple(p) for p in some.tolist()} < every
    with pytest.raises(ValueError, match="limit: expected"):
        same_person_pairs(faces, limit=7)
    with pytest.raises(ValueError, match="within: expected"):
        same_person_pairs(faces, within="film")


def unit_faces(count=400, seed=3):
    rng = np.random.default_rng(seed)
    units = rng.choice(6, (count, 2), p=[0.5, 0.2, 0.15, 0.1, 0.03, 0.02]).astype(float)
    units[:5, 0] = np.nan
    return FaceImages(
        np.zeros((count, 4, 4, 1), np.uint8), rng.integers(0, 7, count), units=units, unit_names=("AU1", "AU2")
    )  # fmt: skip


def test_targets_of_action_units_are_as_many_as_the_paper_says_and_of_the_same_person():
    faces = unit_faces()
    pairs = unit_pairs(faces, np.random.default_rng(0), active=60, inactive=40)
    assert len(pairs) == 2 * (60 + 40)
    assert (faces.subject[pairs[:, 0]] == faces.subject[pairs[:, 1]]).all()
    first = faces.units[pairs[:100, 1], 0]
    assert (first > 0).sum() == 60 and (first == 0).sum() == 40
    assert len(np.unique(pairs[:60, 1])) == 60


def test_where_few_pictures_show_a_unit_all_of_them_are_targets():
    faces = unit_faces()
    pairs = unit_pairs(faces, np.random.default_rng(0), active=10**6, inactive=0)
    expected = np.concatenate([np.flatnonzero(faces.units[:, k] > 0) for k in range(2)])
    assert sorted(pairs[:, 1].tolist()) == sorted(expected.tolist())


def test_active_targets_follow_the_distribution_of_intensities():
    faces = unit_faces(20000)
    pairs = unit_pairs(faces, np.random.default_rng(1), active=3000, inactive=0)
    drawn = np.bincount(faces.units[pairs[:3000, 1], 0].astype(int), minlength=6)[1:] / 3000
    np.testing.assert_allclose(drawn, np.array([0.2, 0.15, 0.1, 0.03, 0.02]) / 0.5, atol=0.03)


def test_sources_are_spread_over_all_pictures_of_the_person():
    faces = unit_faces()
    pairs = unit_pairs(faces, np.random.default_rng(0), active=10**6, inactive=10**6)
    assert len(np.unique(pairs[:, 0])) > 0.75 * len(faces)


def test_sets_without_units_or_labels_make_no_pairs():
    plain = some_films()
    with pytest.raises(ValueError, match="expected action units"):
        unit_pairs(plain, np.random.default_rng(0))
    with pytest.raises(ValueError, match="active, inactive"):
        unit_pairs(unit_faces(), np.random.default_rng(0), 0, 0)
    for make in (same_person_pairs, lambda f: same_class_pairs(f, np.random.default_rng(0))):
        with pytest.raises(ValueError, match="no picture has an expression label"):
            make(plain)


def test_partners_share_the_class_and_are_other_pictures():
    faces = some_faces()
    pairs = same_class_pairs(faces, np.random.default_rng(0))
    assert (faces.expression[pairs[:, 0]] == faces.expression[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all() and pairs[:, 0].tolist() == list(range(len(faces)))
    assert not np.array_equal(pairs, same_class_pairs(faces, np.random.default_rng(1)))
    with pytest.raises(ValueError, match="row 0 has no partner: it is alone in its expression"):
        same_class_pairs(faces.select([0, 1, 4]), np.random.default_rng(0))


def test_every_other_picture_of_the_class_is_chosen_about_as_often():
    faces = FaceImages(np.zeros((5, 4, 4, 1), np.uint8), range(5), [0] * 5, ("a",))
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(800):
        counts[tuple(same_class_pairs(faces, rng).T)] += 1
    assert (np.diag(counts) == 0).all() and (np.abs(counts + 200 * np.eye(5) - 200) < 60).all()


def test_unlike_partners_are_of_the_same_person_and_take_and_show_something_else():
    faces = some_faces().select(np.random.default_rng(1).permutation(24))
    pairs = unlike_pairs(faces, np.random.default_rng(0))
    for name in ("subject", "sequence"):
        assert (getattr(faces, name)[pairs[:, 0]] == getattr(faces, name)[pairs[:, 1]]).all()
    assert (faces.expression[pairs[:, 0]] != faces.expression[pairs[:, 1]]).all()
    assert pairs[:, 0].tolist() == list(range(24))
    with pytest.raises(ValueError, match="its take shows one expression only"):
        unlike_pairs(some_faces().select([0, 3, 4]), np.random.default_rng(0))


# folds


@pytest.mark.parametrize("database, people, sizes", [("disfa", 27, {6, 7}), ("rafd", 67, {16, 17}), ("mmi", 30, {3})])
def test_groups_have_the_sizes_that_the_papers_name(database, people, sizes):
    faces = some_faces(people, 1)
    folds = subject_folds(faces, database, np.random.default_rng(0))
    assert len(folds) == FOLDS[database]
    assert {len(np.unique(faces.subject[f.test])) for f in folds} == sizes


def test_everybody_is_tested_once_by_folds_that_did_not_see_them():
    faces = some_faces(13)
    folds = subject_folds(faces, 5, np.random.default_rng(0))
    assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(len(faces)))
    for fold in folds:
        assert not set(faces.subject[fold.train]) & set(faces.subject[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(len(faces)))


def test_folds_depend_on_the_generator_alone():
    faces = some_faces(12)
    one, again, other = (subject_folds(faces, 4, np.random.default_rng(s)) for s in (0, 0, 1))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(one, again))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(one, other))


def test_pictures_are_spread_evenly_where_people_have_different_numbers():
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(20), rng.integers(1, 30, 20))
    faces = FaceImages(np.zeros((len(subject), 4, 4, 1), np.uint8), subject)
    sizes = [len(f.test) for f in subject_folds(faces, 5, rng)]
    assert max(sizes) - min(sizes) < 0.2 * len(subject) / 5


@pytest.mark.parametrize("count", [1, 5, 2.5, "lfw"])
def test_a_wrong_number_of_folds_is_refused(count):
    with pytest.raises(ValueError, match="count: expected"):
        subject_folds(some_faces(4), count, np.random.default_rng(0))


def test_a_fold_that_leaks_a_subject_is_refused_by_name():
    faces = some_faces(4)
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="subject 1 is in train and in test"):
        check_fold(faces, Fold(np.arange(8), np.arange(8, 24), none))
    with pytest.raises(ValueError, match="subject 0 is in train and in valid"):
        check_fold(faces, Fold(np.arange(3), np.arange(6, 24), np.arange(3, 6)))
    with pytest.raises(ValueError, match="test: has no pictures"):
        check_fold(faces, Fold(np.arange(3), none, none))
    with pytest.raises(ValueError, match=r"test: rows must lie in \[0, 24\), got 24"):
        check_fold(faces, Fold(np.arange(3), np.array([24]), none))
    with pytest.raises(ValueError, match="train: a row is named twice"):
        check_fold(faces, Fold(np.array([0, 0]), np.array([20]), none))


def test_folds_that_come_with_a_database_are_checked_too():
    faces = some_faces(3, 1)
    good = np.repeat([[1, 3], [2, 1], [3, 0]], 3, axis=0)
    folds = given_folds(faces, good)
    assert folds[0].valid.tolist() == [3, 4, 5] and folds[1].test.tolist() == [0, 1, 2]
    bad = good.copy()
    bad[0, 0] = 3
    with pytest.raises(ValueError, match="subject 0 is in train and in test"):
        given_folds(faces, bad)
    with pytest.raises(ValueError, match="assignment: expected"):
        given_folds(faces, good + 1)
