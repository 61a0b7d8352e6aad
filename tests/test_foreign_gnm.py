"""GNM Head: what comes out of small files of its layout."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from affect3d.io.foreign import foreign_layout, read_foreign_model
from affect3d.io.foreign.gnm import VARIABLES
from affect3d.io.model_file import load_model_file, save_model_file

_spec = importlib.util.spec_from_file_location("foreign_files", Path(__file__).with_name("foreign_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)
COLUMNS, COUNT, gnm_arrays, truth = files.COLUMNS, files.COUNT, files.gnm_arrays, files.truth


def written(folder, t, save=np.savez_compressed, without=(), **changes):
    path = folder / "gnm_head.npz"
    arrays = gnm_arrays(t, tiles=changes.pop("tiles", False)) | changes
    save(path, **{name: array for name, array in arrays.items() if name not in without})
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_head_of_gnm_at_rest_is_an_instance_of_ours(tmp_path, save):
    t = truth()
    arrays, path = gnm_arrays(t), written(tmp_path, t, save)
    assert foreign_layout(path) == "gnm"
    model = read_foreign_model(path)
    np.testing.assert_allclose(model.mean, t.mean, atol=1e-4)
    assert model.expression_names[2:4] == ("lower_face_region_001", "lower_face_region_001_minus")
    rng = np.random.default_rng(0)
    identity, expression = rng.normal(size=6), rng.uniform(-3, 3, 5)
    true = 1000.0 * (
        arrays["template_vertex_positions"] + np.tensordot(identity, arrays["vertex_identity_basis"], 1)
        + np.tensordot(expression, arrays["expression_basis"], 1)
    )  # fmt: skip
    weights = np.stack([np.maximum(expression, 0), np.maximum(-expression, 0)], axis=1).ravel() / 3
    np.testing.assert_allclose(model.instance(identity, weights), true, atol=1e-3)


def test_triangles_get_parts_corneas_go_and_vertices_stay(tmp_path):
    t = truth()
    arrays, model = gnm_arrays(t), read_foreign_model(written(tmp_path, t))
    inside = dict(zip(arrays["vertex_group_names"], arrays["vertex_groups"] > 0.5))
    clear = inside["eye_exteriors"][t.faces].all(1)
    assert clear.sum() == 6 and len(model.faces) == len(t.faces) - 6 and len(model.mean) == COUNT
    left = t.faces[~clear]
    np.testing.assert_array_equal(model.faces, left)
    np.testing.assert_array_equal(model.part_faces("eye_left"), inside["left_eye"][left].all(1))
    upper, hard = (inside[name][left].all(1) for name in ("upper_teeth_and_gums", "teeth"))
    np.testing.assert_array_equal(model.part_faces("teeth_upper"), upper & hard)
    np.testing.assert_array_equal(model.part_faces("gums"), upper & ~hard)
    np.testing.assert_array_equal(model.part_faces("mouth"), inside["mouth_sock"][left].all(1))
    assert set(model.part_names) == {"face", "eye_left", "teeth_upper", "gums", "mouth"}
    assert "6 triangles of the corneas" in model.notes and "Apache" in model.licence
    whole = read_foreign_model(written(tmp_path, t, without=("vertex_groups", "vertex_group_names")))
    assert whole.part_names == ("face",) and len(whole.faces) == len(t.faces)


def test_the_strongest_expressions_are_kept_in_their_order(tmp_path):
    path = written(tmp_path, truth())
    model = read_foreign_model(path, modes=2, expression_modes=2)
    assert len(model.identity) == 2
    assert model.expression_names[::2] == ("lower_face_region_003", "pupils_000")  # the fourth and the fifth
    np.testing.assert_array_equal(model.expression, read_foreign_model(path).expression[6:10])
    assert len(read_foreign_model(path, modes=0, expression_modes=0).expression) == 0


def test_names_that_repeat_or_miss_become_different_ones(tmp_path):
    t = truth()
    model = read_foreign_model(written(tmp_path, t, expression_names=np.array(["mouth"] * 5)))
    assert model.expression_names[:3] == ("mouth_000", "mouth_000_minus", "mouth_001")
    model = read_foreign_model(written(tmp_path, t, without=("expression_names",)))
    assert model.expression_names[0] == "expression_000"


@pytest.mark.parametrize("tiles", [False, True])
def test_texture_coordinates_of_several_tiles_lie_in_one_without_overlap(tmp_path, tiles):
    t = truth()
    model = read_foreign_model(written(tmp_path, t, tiles=tiles))
    clear = gnm_arrays(t)["vertex_groups"][2][t.faces].all(1)
    corners = model.uv[model.uv_faces]
    wanted = gnm_arrays(t)["triangle_uvs"][~clear].astype(float)
    eye = (np.arange(COUNT) % COLUMNS >= 5)[t.faces[~clear]].all(1)
    if tiles:
        wanted[~eye] *= 0.75
        wanted[eye] = [0.75, 0] + 0.25 * wanted[eye]
        assert "several tiles" in model.notes
    np.testing.assert_allclose(corners, wanted, atol=1e-6)
    assert model.uv.min() >= 0 and model.uv.max() <= 1


def test_a_picture_cut_in_too_many_tiles_or_not_finite_is_left_out(tmp_path):
    t = truth()
    uv = gnm_arrays(t)["triangle_uvs"]
    many = uv + np.arange(len(uv))[:, None, None].astype(np.float32)
    for corners, why in ((many, "tiles and 8 fit"), (uv * np.nan, "no numbers of a picture")):
        model = read_foreign_model(written(tmp_path, t, triangle_uvs=corners))
        assert model.uv is None and why in model.notes


def test_landmarks_are_three_weighted_vertices_a_line_and_the_outline_is_put_in_order(tmp_path):
    t = truth()
    path = written(tmp_path, t)
    faces = read_foreign_model(path).faces
    rng = np.random.default_rng(2)
    chosen, weights = rng.integers(0, len(faces), 68), rng.dirichlet(np.ones(3), 68).round(3)
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    turned = np.stack([np.roll(row, k % 3) for k, row in enumerate(faces[chosen])])
    weights = np.stack([np.roll(row, k % 3) for k, row in enumerate(weights)])
    points = np.einsum("lk,lkd->ld", weights, t.mean[turned])
    text = "".join(" ".join(f"{v} {w:.3f}" for v, w in zip(*row)) + "\n" for row in zip(turned, weights))
    (tmp_path / "head_sparse_68.txt").write_text(text)
    model = read_foreign_model(path, landmarks=tmp_path / "head_sparse_68.txt")
    marks = model.landmarks["ibug68"]
    np.testing.assert_array_equal(marks.faces[17:], chosen[17:])
    found = marks.locate(model.mean, model.faces)
    np.testing.assert_allclose(found[17:], points[17:], atol=1e-3)
    # the same seventeen points, from the subject's right round the chin to the left
    angle = np.arctan2(found[:17, 0] - found[:17, 0].mean(), found[:17, 1].max() + 1 - found[:17, 1])
    assert (np.diff(angle) > 0).all()
    np.testing.assert_allclose(found[:17][np.lexsort(found[:17].T)], points[:17][np.lexsort(points[:17].T)], atol=1e-3)

    lines = text.splitlines(keepends=True)
    apart = [int(v) for v in lines[40].split()[::2]]
    known = {tuple(row) for row in np.sort(faces, 1).tolist()}
    apart[2] = next(v for v in range(COUNT) if tuple(sorted([apart[0], apart[1], v])) not in known)
    changed = f"{apart[0]} 1 {apart[1]} 0 {apart[2]} 0\n"
    (tmp_path / "apart.txt").write_text("".join([*lines[:40], changed, *lines[41:]]))
    marks = read_foreign_model(path, landmarks=tmp_path / "apart.txt").landmarks["ibug68"]
    np.testing.assert_allclose(marks.locate(model.mean, faces)[40], t.mean[apart[0]], atol=1e-3)
    for bad, why in ((f"{COUNT} 1 0 0 1 0\n", "names vertex 63, the model has 63"), ("0 1 1 1 2 0\n", "sum is 1")):
        (tmp_path / "bad.txt").write_text("".join(lines[:-1] + [bad]))
        with pytest.raises(ValueError, match=f"bad.txt: .*{why}"):
            read_foreign_model(path, landmarks=tmp_path / "bad.txt")


@pytest.mark.parametrize("name", VARIABLES[:4])
def test_what_is_missing_or_misshapen_is_named(tmp_path, name):
    t = truth()
    marks = {"template_vertex_positions", "vertex_identity_basis"}
    if name not in marks:
        with pytest.raises(ValueError, match=f"gnm_head.npz: {name}: is missing"):
            read_foreign_model(written(tmp_path, t, without=(name,)))
    array = gnm_arrays(t)[name]
    for changed in (array[..., :2], array.astype("U9")):
        with pytest.raises(ValueError, match=f"gnm_head.npz: {name}: "):
            read_foreign_model(written(tmp_path, t, **{name: changed}))
    if array.dtype.kind == "f":
        with pytest.raises(ValueError, match=f"{name}: expected finite"):
            read_foreign_model(written(tmp_path, t, **{name: array * np.float32("nan")}))
    else:
        with pytest.raises(ValueError, match="triangles: expected whole numbers"):
            read_foreign_model(written(tmp_path, t, **{name: array + 1}))


def test_groups_that_do_not_fit_are_refused(tmp_path):
    t = truth()
    arrays = gnm_arrays(t)
    for changes, why in (
        ({"vertex_groups": arrays["vertex_groups"][:, :-1]}, "vertex_groups: expected shape"),
        ({"vertex_group_names": arrays["vertex_group_names"][:-1]}, "vertex_groups: expected shape"),
        ({"vertex_group_names": np.arange(7)}, "expected weights and text"),
    ):
        with pytest.raises(ValueError, match=why):
            read_foreign_model(written(tmp_path, t, **changes))


def test_it_survives_our_own_file(tmp_path):
    model = read_foreign_model(written(tmp_path, truth(), tiles=True))
    save_model_file(model, tmp_path / "gnm.safetensors")
    again = load_model_file(tmp_path / "gnm.safetensors")
    for name in ("mean", "faces", "identity", "expression", "parts", "uv", "uv_faces"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    assert again.expression_names == model.expression_names and again.part_names == model.part_names


def test_text_of_no_alphabet_is_one_sentence(tmp_path):
    t = truth()
    names = gnm_arrays(t)["expression_names"]
    wrong = np.frombuffer(np.full(names.nbytes // 4, 0x7FFFFFFF, np.uint32).tobytes(), names.dtype)
    for name in ("expression_names", "vertex_group_names"):
        text = wrong if name == "expression_names" else np.repeat(wrong[:1], 7)
        with pytest.raises(ValueError, match="gnm_head.npz: "):
            read_foreign_model(written(tmp_path, t, **{name: text}))
