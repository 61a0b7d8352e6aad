"""`affect3d model` on foreign files, landmarks for them, and the picture of a model's modes."""

import importlib.util
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.analysis.model_picture import draw_modes
from affect3d.cli import main
from affect3d.io.foreign import read_foreign_model
from affect3d.io.foreign.landmarks import landmarks_at_points, landmarks_at_vertices, read_model_landmarks
from affect3d.io.glb import read_morph_targets
from affect3d.io.image import read_image
from affect3d.io.mesh_file import read_mesh
from affect3d.io.model_file import load_model_file

_spec = importlib.util.spec_from_file_location("foreign_files", Path(__file__).with_name("foreign_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = files.truth()
    shapes = {"jawOpen": t.expression_mean, "smile": -t.expression_mean}
    (tmp_path / "sfm.bin").write_bytes(files.eos_bin(t, 4, shapes))
    (tmp_path / "bfm.mat").write_bytes(files.mat5(files.bfm2009_variables(t)))
    (tmp_path / "flame.pkl").write_bytes(files.flame_pkl(files.flame_arrays(t)))
    return tmp_path


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def test_a_foreign_model_given_as_a_head_is_answered_with_the_command_that_converts_it(folder):
    from affect3d.model.load import load_model

    for name in ("bfm.mat", "sfm.bin", "flame.pkl"):
        with pytest.raises(ValueError, match=f"{name}: is another program's model.*affect3d model import"):
            load_model(name)


def test_foreign_models_are_imported_looked_into_and_exported(folder, capsys):
    status, data, _ = run(capsys, "model", "import", "bfm.mat", "--modes", "2", "--licence", "ours", "--out",
        "b.safetensors")
    assert status == 0 and data["identity_modes"] == 2 and data["colour_modes"] == 2 and data["licence"] == "ours"
    model = load_model_file("b.safetensors")
    whole = read_foreign_model("bfm.mat")
    np.testing.assert_array_equal(model.identity, whole.identity[:2])
    np.testing.assert_array_equal(model.colour_modes, whole.colour_modes[:2])
    np.testing.assert_array_equal(model.mean, whole.mean)

    status, data, _ = run(capsys, "model", "info", "flame.pkl")  # also before it is converted
    assert status == 0 and data["expressions"][:2] == ["jawOpen", "expression_00"] and data["identity_modes"] == 300

    assert main(["model", "import", "sfm.bin", "--unit", "mm", "--out", "s.safetensors"]) == 0
    status, data, _ = run(capsys, "model", "info", "s.safetensors", "--picture", "modes.png", "--rows", "2")
    assert status == 0 and data["outputs"] == {"picture": "modes.png"}
    assert read_image("modes.png").pixels.shape == draw_modes(load_model_file("s.safetensors"), 2).shape

    for name in ("head.glb", "head.obj", "head.ply"):
        assert main(["model", "export", "s.safetensors", "--out", name]) == 0
        mesh = read_mesh(name, unit=None if name.endswith("glb") else "mm")
        np.testing.assert_allclose(mesh.vertices, load_model_file("s.safetensors").mean, atol=1e-3)
    targets = read_morph_targets("head.glb")
    assert list(targets) == ["jawOpen", "smile"]
    np.testing.assert_allclose(targets["jawOpen"], files.truth().expression_mean, atol=1e-4)


def test_what_cannot_be_imported_is_one_sentence_and_leaves_nothing(folder, capsys):
    class Runs:
        def __reduce__(self):
            return os.system, ("touch ran",)

    (folder / "bad.pkl").write_bytes(pickle.dumps({"v_template": Runs()}, 2))
    (folder / "short.mat").write_bytes((folder / "bfm.mat").read_bytes()[:-50])
    (folder / "empty.mat").write_bytes(b"")
    for arguments, status, message in (
        (["bad.pkl"], 1, "bad.pkl: the pickle refuses to build posix.system; only arrays are read from a pickle"),
        (["short.mat"], 1, "short.mat: is broken off: an element at byte"),
        (["empty.mat"], 1, "empty.mat"),
        (["sfm.bin"], 1, "say which (--unit um, mm, cm, m)"),
        (["none.mat"], 1, "none.mat"),
        (["bfm.mat", "--unit", "inch"], 2, "--unit"),
        (["bfm.mat", "--axes", "+x+y-z"], 1, "would change left and right"),
        (["bfm.mat", "--modes", "-1"], 2, "--modes: expected a whole number"),
        (["default", "--unit", "cm"], 2, "--unit: default is no foreign model file"),
        (["bfm.mat", "--landmarks", "none.json"], 1, "none.json"),
    ):
        assert main(["model", "import", *arguments, "--out", "x.safetensors"]) == status, arguments
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1, err
        assert not (folder / "x.safetensors").exists()
    assert not (folder / "ran").exists()
    assert main(["model", "info", "bfm.mat", "--picture", "modes.gif"]) == 2
    assert main(["model", "import", "bfm.mat", "--out", "bfm.mat"]) == 2
    before = (folder / "bfm.mat").read_bytes()
    os.link("bfm.mat", "same.glb")
    assert main(["model", "export", "bfm.mat", "--out", "same.glb"]) == 2
    assert "is the model itself" in capsys.readouterr().err and (folder / "bfm.mat").read_bytes() == before


def test_our_own_models_take_modes_licence_and_landmarks_too(folder, capsys):
    assert main(["model", "import", "bfm.mat", "--out", "b.safetensors"]) == 0
    marks = [None] * 68
    marks[30] = 31
    (folder / "marks.json").write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))
    changed = ["--modes", "1", "--licence", "other", "--landmarks", "marks.json"]
    assert main(["model", "import", "b.safetensors", *changed, "--out", "c.safetensors"]) == 0
    a, b = load_model_file("b.safetensors"), load_model_file("c.safetensors")
    assert len(b.identity) == len(b.colour_modes) == 1 and b.licence == "other"
    np.testing.assert_array_equal(b.identity, a.identity[:1])
    place = b.landmarks["ibug68"].locate(b.mean, b.faces)
    np.testing.assert_allclose(place[30], a.mean[31])
    assert np.isnan(np.delete(place, 30, 0)).all()


# landmarks


def embedding(count, seed=0):
    rng = np.random.default_rng(seed)
    t = files.truth()
    faces, weights = rng.integers(0, len(t.faces), count), rng.dirichlet(np.ones(3), count)
    return faces, weights, np.einsum("lk,lkd->ld", weights, t.mean[t.faces[faces]])


def check(path, scheme, places, points):
    t = files.truth()
    marks = read_model_landmarks(path, t.mean, t.faces)
    assert marks.scheme == scheme and np.flatnonzero(marks.present).tolist() == sorted(np.asarray(places).tolist())
    np.testing.assert_allclose(marks.locate(t.mean, t.faces)[places], points, atol=1e-9)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_flames_static_embedding_is_the_51_points_without_the_outline(tmp_path, protocol):
    faces, weights, points = embedding(51)
    content = {"lmk_face_idx": faces.astype("u4"), "lmk_b_coords": weights}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(content, protocol))
    check(tmp_path / "flame_static_embedding.pkl", "ibug68", np.arange(17, 68), points)


def test_the_embedding_with_68_points_is_preferred_in_a_pickled_npy(tmp_path):
    faces, weights, points = embedding(68)
    content = {
        "static_lmk_faces_idx": faces[17:], "static_lmk_bary_coords": weights[17:], "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": weights[None], "dynamic_lmk_faces_idx": np.zeros((79, 17), int),
    }  # fmt: skip
    np.save(tmp_path / "landmark_embedding.npy", np.array(content, object), allow_pickle=True)
    check(tmp_path / "landmark_embedding.npy", "ibug68", np.arange(68), points)


def test_an_npz_holds_68_points_or_some_of_mediapipes(tmp_path):
    faces, weights, points = embedding(68)
    np.savez(tmp_path / "a.npz", lmk_face_idx=faces, lmk_b_coords=weights)
    check(tmp_path / "a.npz", "ibug68", np.arange(68), points)
    faces, weights, points = embedding(105)
    places = np.random.default_rng(1).permutation(478)[:105]
    np.savez(tmp_path / "b.npz", lmk_face_idx=faces, lmk_b_coords=weights, landmark_indices=places)
    check(tmp_path / "b.npz", "mediapipe478", places, points)


OLD = """; comment with 17 18\nlandmarkMappings ; from ibug (lhs) to vertices\n{\n\t   ; 1 to 8 are the contour
\t 9    33 ; chin bottom\n\t31   20 ; nose-tip (3)\n}\ncontour_landmarks\n{\n\tright {\n\t\t1\n\t\t2\n\t}\n}"""
NEW = """# comment\n[landmark_mappings] # from ibug\n# 1 to 8\n9 = 33 # chin\n31 = 20\n\n[contour_landmarks]
right = [ 1, 2 ]\n5 = 6\n"""


@pytest.mark.parametrize("text", [OLD, NEW])
def test_eos_mappings_old_and_new_name_vertices_by_numbers_from_one(tmp_path, text):
    (tmp_path / "ibug_to_sfm.txt").write_text(text)
    check(tmp_path / "ibug_to_sfm.txt", "ibug68", [8, 30], files.truth().mean[[33, 20]])


def test_points_in_space_are_put_on_the_surface(tmp_path):
    _, _, points = embedding(68)
    rows = points.tolist()
    rows[3] = None
    (tmp_path / "p.json").write_text(json.dumps({"scheme": "ibug68", "unit": "mm", "points": rows}))
    check(tmp_path / "p.json", "ibug68", np.delete(np.arange(68), 3), np.delete(points, 3, 0))
    (tmp_path / "p.txt").write_text("\n".join(" ".join(map(str, row)) for row in points))
    check(tmp_path / "p.txt", "ibug68", np.arange(68), points)


def test_landmarks_that_do_not_fit_the_model_are_told(tmp_path):
    t = files.truth()
    faces, weights, points = embedding(51)

    def fails(name, message, content=None, **arrays):
        path = tmp_path / name
        if arrays:
            np.savez(path, **arrays)
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
            read_model_landmarks(path, t.mean, t.faces)

    fails("a.npz", "triangles must lie in", lmk_face_idx=faces + 96, lmk_b_coords=weights)
    fails("b.npz", "expected 51 or 68 points", lmk_face_idx=faces[:9], lmk_b_coords=weights[:9])
    fails("c.npz", "barycentric coordinates, whose sum is 1", lmk_face_idx=faces, lmk_b_coords=weights * 2)
    fails("d.npz", "three weights each", lmk_face_idx=faces, lmk_b_coords=weights[:, :2])
    fails("e.npz", "has none of the embeddings", other=faces)
    fails("f.npz", "landmark_indices: must lie", lmk_face_idx=faces, lmk_b_coords=weights, landmark_indices=faces + 900)
    fails("g.npz", "barycentric", lmk_face_idx=faces, lmk_b_coords=weights * np.nan)
    fails("h.pkl", "refuses to build builtins.eval", b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.")
    fails("i.pkl", "expected a dict", pickle.dumps(3, 2))
    fails("j.json", "names vertex 99, the model has 63", {"scheme": "ibug68", "vertices": [99] * 68})
    fails("k.json", "2 coordinates in px", {"scheme": "ibug68", "unit": "px", "points": [[1, 2]] * 68})
    fails("l.json", "landmark 0 lies .* mm from the model",
        {"scheme": "ibug68", "unit": "mm", "points": [[900, 0, 0]] * 68})


def test_a_vertex_without_a_triangle_is_no_landmark():
    faces = np.array([[0, 1, 2]])
    marks = landmarks_at_vertices("ibug68", np.array([2, 3, -1] + [0] * 65), faces)
    assert marks.faces[:3].tolist() == [0, -1, -1] and marks.weights[:3].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    nothing = landmarks_at_points("ibug68", np.full((68, 3), np.nan), np.eye(3), faces)
    assert not nothing.present.any()


# the picture


def cells(picture, size=190):
    """Rows of five heads each, without their lines of text."""
    height = size + 44
    rows = (len(picture) - 22) // height
    assert len(picture) == 22 + rows * height and picture.shape[1] == 5 * size
    return [[picture[22 + r * height + 22 :][:size, c * size : (c + 1) * size] for c in range(5)] for r in range(rows)]


def test_the_picture_shows_each_mode_from_minus_three_to_three_deviations(folder):
    model = read_foreign_model("bfm.mat")
    shown = cells(draw_modes(model, rows=3))
    assert len(shown) == 3 + 0 + 3
    mean = shown[0][2]
    for row in shown[:3]:
        np.testing.assert_array_equal(row[2], mean)
        assert all((row[c] != mean).any() for c in (0, 1, 3, 4))
    # the drawing is made of the instance itself: a model whose mean is that instance looks the same in shape
    moved = replace(model, mean=model.instance([3.0]))
    outline = (shown[0][4] != 255).any(2)
    assert 0.02 < outline.mean() < 0.9 and (outline != (mean != 255).any(2)).any()
    assert moved.mean.shape == model.mean.shape


def test_red_is_where_a_mode_moves_and_left_is_on_the_right(folder):
    model = read_foreign_model("bfm.mat")
    left = (model.mean[:, 0] > 30) & (model.mean[:, 2] > 0)
    mode = np.zeros((1, *model.mean.shape))
    mode[0, left, 1] = 1.0
    model = replace(
        model, identity=mode, identity_std=[2.0], expression=mode, expression_names=("cheekLeft",), colour_mean=None,
        colour_modes=None, colour_std=None, colours=None,
    )  # fmt: skip
    identity, expression = cells(draw_modes(model))
    for row, column in ((identity, 0), (identity, 4), (expression, 4)):
        changed = (row[column].astype(int) != row[2 if row is identity else 0]).any(2)
        assert changed.any() and np.flatnonzero(changed.any(0)).min() > 95
        reddened = row[column].astype(int) - (row[2] if row is identity else row[0])
        assert reddened[changed][:, 2].mean() < -10  # less blue
    np.testing.assert_array_equal(expression[0], cells(draw_modes(replace(model, identity=mode * 0)))[0][2])


def test_an_expression_and_its_way_back_share_a_row(folder):
    model = read_foreign_model("flame.pkl", modes=1, expression_modes=2)
    assert model.expression_names == ("jawOpen", "expression_00", "expression_00_minus", "expression_01",
        "expression_01_minus")
    shown = cells(draw_modes(model))
    assert len(shown) == 1 + 3
    flipped = replace(model, expression=np.concatenate([model.expression[:1], -model.expression[1:]]))
    np.testing.assert_array_equal(cells(draw_modes(flipped))[2][0], shown[2][4])


def test_the_colours_of_a_row_are_the_models_own(folder):
    model = read_foreign_model("bfm.mat")
    grey = replace(
        model, colours=None, colour_mean=np.full_like(model.colour_mean, 0.4),
        colour_modes=np.ones((1, *model.mean.shape)),
        colour_std=[0.1], identity=model.identity[:0], identity_std=[],
    )  # fmt: skip
    (row,) = cells(draw_modes(grey))
    inside = (row[2] != 255).all(2)
    levels = [cell[inside].astype(float).mean() for cell in row]
    np.testing.assert_allclose(np.array(levels) / levels[2], np.array([0.1, 0.25, 0.4, 0.55, 0.7]) / 0.4, atol=0.01)


def test_a_model_without_modes_is_drawn_as_its_mean_and_sizes_are_checked(folder):
    model = read_foreign_model("bfm.mat", modes=0)
    assert draw_modes(model).shape == (22 + 22 + 190 + 22, 190, 3)
    for rows, cell in ((0, 190), (1, 8)):
        with pytest.raises(ValueError, match="rows, cell: expected at least 1 and 32"):
            draw_modes(model, rows, cell)
