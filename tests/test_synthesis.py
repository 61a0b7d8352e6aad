"""A real photograph with other affects: what must hold of every result."""

import numpy as np
import pytest

from affect3d.affect import default_statistics
from affect3d.assets import AssetError
from affect3d.detect import detect_faces, to_ibug68
from affect3d.landmark_groups import MOUTH_CORNERS, interocular
from affect3d.landmarks import Landmarks
from affect3d.synthesis import Portrait, circle_sheet, grid_sheet, path_frames
from affect3d.synthesis.residuals import closed_where_touching


@pytest.fixture(scope="module")
def pixels():
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed (the astronaut is its picture)")
    return data.astronaut()


@pytest.fixture(scope="module")
def portrait(pixels):
    from affect3d.model.load import load_model

    try:
        return Portrait.from_photo(pixels, load_model())
    except AssetError as error:
        pytest.skip(f"the head or the landmark networks could not be fetched: {error}")


@pytest.fixture(scope="module")
def statistics():
    return default_statistics()


def found(image):
    return to_ibug68(detect_faces(image)[0].landmarks).points


def test_the_fit_lies_within_two_per_cent_of_the_eyes_distance(portrait):
    assert portrait.fit.converged and portrait.fit.rms_relative < 0.02


@pytest.mark.parametrize("affect", [(0.7, 0.4), (-0.6, 0.6), (-0.5, -0.5), (0.0, 0.9), (1.0, -1.0)])
def test_pixels_outside_the_mask_are_the_photos_and_landmarks_are_where_promised(portrait, pixels, statistics, affect):
    result = portrait.express(*affect, statistics)
    assert result.image.shape == pixels.shape and result.image.dtype == np.uint8
    np.testing.assert_array_equal(result.image[~result.mask], pixels[~result.mask])
    assert 0.02 < result.mask.mean() < 0.6
    assert (result.image[result.mask] != pixels[result.mask]).any()
    error = np.linalg.norm(found(result.image) - result.landmarks.points, axis=1)
    assert np.median(error) < 0.035 * interocular("ibug68", result.landmarks.points)


def test_the_photos_own_expression_gives_the_photo_back(portrait, pixels):
    names = portrait.model.expression_names
    result = portrait.with_expression(dict(zip(names, portrait.fit.expression)))
    change = np.abs(result.image.astype(int) - pixels)
    # only the teeth that lips half hide are drawn anew
    assert change.mean() < 0.2 and (change.max(-1) > 12).mean() < 0.01


def test_mouth_corners_rise_with_valence_and_the_mouth_opens_with_arousal(portrait, statistics):
    corners, openings = [], []
    for valence in np.linspace(-0.9, 0.9, 5):
        points = found(portrait.express(float(valence), 0.0, statistics).image)
        corners.append(points[33, 1] - points[list(MOUTH_CORNERS["ibug68"]), 1].mean())
    for arousal in (0.0, 0.3, 0.6, 0.9):
        points = found(portrait.express(0.0, arousal, statistics).image)
        openings.append(np.linalg.norm(points[62] - points[66]))
    assert (np.diff(corners) > 0).all(), corners
    assert (np.diff(openings) > 0).all(), openings


def test_a_path_has_no_jump_and_one_background(portrait, statistics):
    small = portrait.close_up(160)
    frames = [f.astype(int) for f in path_frames(small, statistics, [(0, 0), (0.8, 0.5), (-0.6, 0.6)], 40)]
    assert len(frames) == 40
    steps = np.array([np.abs(b - a).mean() for a, b in zip(frames, frames[1:])])
    # between neighbours a twentieth of the way or so; a jump would stand out from its neighbours
    assert steps.max() < 4 * np.median(steps[steps > 0.02]) + 0.5
    np.testing.assert_array_equal(frames[0][:3], small.pixels[:3])


def test_the_same_question_gives_the_same_bytes(portrait, statistics):
    first, second = (portrait.express(0.3, 0.7, statistics).image for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_grey_photo_stays_grey(pixels, portrait, statistics):
    grey = np.repeat(pixels.mean(-1, keepdims=True).round().astype(np.uint8), 3, axis=2)
    result = Portrait.from_photo(grey, portrait.model).express(0.2, 0.9, statistics)
    assert np.ptp(result.image.astype(int), axis=2).max() <= 2


def test_other_landmarks_can_be_given(pixels, portrait, statistics):
    marks = to_ibug68(portrait.detection.landmarks)
    given = Portrait.from_photo(pixels, portrait.model, landmarks=marks)
    assert given.fit.scheme == "ibug68" and given.fit.rms_relative < 0.03
    result = given.express(0.5, 0.5, statistics)
    np.testing.assert_array_equal(result.image[~result.mask], pixels[~result.mask])


def test_the_papers_detector_serves_as_well(pixels, portrait, statistics):
    pytest.importorskip("dlib", reason="dlib is not installed")
    try:
        by_dlib = Portrait.from_photo(pixels, portrait.model, detector="dlib", thorough=True)
    except AssetError as error:
        pytest.skip(f"dlib's models could not be fetched: {error}")
    assert by_dlib.fit.scheme == "ibug68"
    both = [p.express(0.6, 0.5, statistics).landmarks.points for p in (portrait, by_dlib)]
    unit = interocular("ibug68", both[0])
    assert np.median(np.linalg.norm(both[0] - both[1], axis=1)) < 0.06 * unit


def test_the_picture_may_end_beside_the_face(pixels, portrait, statistics):
    x0, y0 = portrait.detection.box[:2].astype(int)
    cut = np.ascontiguousarray(pixels[y0 + 4 :, x0 + 6 :])
    moved = Landmarks("mediapipe478", portrait.detection.landmarks.points - [x0 + 6, y0 + 4])
    result = Portrait.from_photo(cut, portrait.model, landmarks=moved).express(0.6, 0.8, statistics)
    assert result.image.shape == cut.shape


def test_sheets_have_a_cell_for_each_affect(portrait, statistics):
    grid = grid_sheet(portrait, statistics, size=48, classes=3)
    assert grid.shape[0] >= 144 and grid.shape[1] >= 144 and grid.dtype == np.uint8
    circle = circle_sheet(portrait, statistics, size=64)
    assert circle.shape[1] == 192


def test_a_large_photo_is_worked_on_small_and_drawn_at_its_own_resolution(portrait, pixels, statistics, monkeypatch):
    monkeypatch.setattr("affect3d.synthesis.portrait.WORKING_UNIT", 0.6 * portrait._unit)
    again = Portrait(pixels, portrait.model, portrait.fit, portrait.detection)
    assert again._crop.shape[0] < again._full.shape[0]
    small, native = (p.express(0.6, 0.7, statistics) for p in (again, portrait))
    np.testing.assert_array_equal(small.image[~small.mask], pixels[~small.mask])
    error = np.linalg.norm(found(small.image) - small.landmarks.points, axis=1)
    assert np.median(error) < 0.035 * interocular("ibug68", small.landmarks.points)
    both = small.mask & native.mask
    assert np.abs(small.image[both].astype(int) - native.image[both]).mean() < 4

    # sharpness is the photo's, not the working resolution's
    def sharpness(image):
        return np.abs(np.diff(image[both.any(1)][:, both.any(0)].astype(int), axis=0)).mean()

    assert sharpness(small.image) > 0.9 * sharpness(native.image)


def test_lips_that_touch_within_the_detectors_error_count_as_closed():
    points = np.random.default_rng(0).uniform(100, 200, (68, 2))
    points[36], points[45] = (100, 100), (200, 100)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        points[upper], points[lower] = (150, 180), (150, 181)
    marks = Landmarks("ibug68", points)
    closed = closed_where_touching(marks, ((61, 67), (62, 66), (63, 65)), 2.0)
    np.testing.assert_array_equal(closed[62], closed[66])
    np.testing.assert_array_equal(closed_where_touching(marks, ((61, 67),), 0.5), points)


@pytest.mark.parametrize(
    "picture, message",
    [
        (np.zeros((8, 8)), "pixels"), (np.zeros((8, 8, 4), np.uint8), "pixels"),
        (np.zeros((64, 64, 3), np.uint8), "no face"),
    ],
)
def test_pictures_without_a_face_or_of_another_kind_are_refused(picture, message, portrait):
    with pytest.raises(ValueError, match=message):
        Portrait.from_photo(picture, portrait.model)


@pytest.mark.parametrize(
    "move, message", [(lambda p: p * 0.02, "8 px|outline|landmarks"), (lambda p: p + 4000, "outside"),
                      (lambda p: np.where(np.arange(68)[:, None] == 36, np.nan, p), "eye corners")],
)
def test_landmarks_that_fit_no_face_in_the_picture_are_refused(move, message, pixels, portrait):
    points = to_ibug68(portrait.detection.landmarks).points
    with pytest.raises(ValueError, match=message):
        Portrait.from_photo(pixels, portrait.model, landmarks=Landmarks("ibug68", move(points)))


def test_a_face_that_is_not_there_is_refused(pixels, portrait):
    with pytest.raises(ValueError, match="face"):
        Portrait.from_photo(pixels, portrait.model, face=7)
    with pytest.raises(ValueError, match="size"):
        portrait.close_up(5)
