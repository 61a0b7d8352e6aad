"""Head models of other projects: each layout written here, read back, and compared with what was written."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from affect3d.io.foreign import foreign_layout, read_foreign_model
from affect3d.io.foreign.array_pickle import unpickle_arrays
from affect3d.io.foreign.flame import flame_model, jaw_open
from affect3d.io.foreign.mat5 import read_mat5
from affect3d.io.model_file import load_model_file, save_model_file

_spec = importlib.util.spec_from_file_location("foreign_files", Path(__file__).with_name("foreign_files.py"))
files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(files)
COUNT, LANDMARKS, as_modes, truth = files.COUNT, files.LANDMARKS, files.as_modes, files.truth
bfm2009_variables, lsfm_variables, mat5, mat73 = files.bfm2009_variables, files.lsfm_variables, files.mat5, files.mat73
face_h5, statismo_group, eos_bin = files.face_h5, files.statismo_group, files.eos_bin
flame_arrays, flame_pkl = files.flame_arrays, files.flame_pkl


def close(a, b, tolerance=1e-4):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def check_shape(model, t, scale=1.0):
    close(model.mean, t.mean, 2e-4)
    np.testing.assert_array_equal(model.faces, t.faces)
    close(model.identity_std, t.std, 1e-4)
    close(model.identity, as_modes(t.basis), 1e-6)


def check_colour(model, t):
    close(model.colour_mean, t.colour_mean, 1e-6)
    close(model.colour_modes, as_modes(t.colour_basis), 1e-6)
    close(model.colour_std, t.colour_std, 1e-6)
    np.testing.assert_array_equal(model.colours, np.rint(t.colour_mean.astype(float) * 255))


def check_expressions(model, t, mean=True):
    names = ["expression_mean"] * mean
    names += [f"expression_{i:02d}{way}" for i in range(3) for way in ("", "_minus")]
    assert model.expression_names == tuple(names)
    full = 3 * t.expression_std[:, None, None] * as_modes(t.expression_basis)
    shown = model.expression[int(mean) :]
    close(shown[::2], full, 1e-4)
    close(shown[1::2], -full, 1e-4)
    if mean:
        close(model.expression[0], t.expression_mean, 1e-6)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_bfm_2009_comes_in_millimetres_with_its_triangles_turned_and_its_colours(tmp_path, compress, order):
    t = truth()
    path = tmp_path / "01_MorphableModel.mat"
    path.write_bytes(mat5(bfm2009_variables(t), compress, order))
    model = read_foreign_model(path)
    check_shape(model, t)
    check_colour(model, t)
    assert model.expression_names == () and model.landmarks == {}
    assert "triangles turned" in model.notes and "lengths were in um" in model.notes and "2009" in model.name


def test_a_matlab_7_3_file_is_the_same_model(tmp_path):
    pytest.importorskip("h5py")
    t = truth()
    (tmp_path / "a").write_bytes(mat5(bfm2009_variables(t)))
    mat73(tmp_path / "b", bfm2009_variables(t))
    a, b = read_foreign_model(tmp_path / "a"), read_foreign_model(tmp_path / "b")
    for name in ("mean", "faces", "identity", "identity_std", "colour_mean", "colour_modes", "colour_std"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("unit, factor", [("mm", 1.0), ("m", 0.001), ("um", 1000.0)])
def test_lsfm_asks_for_its_unit_and_takes_it(tmp_path, unit, factor):
    t = truth()
    path = tmp_path / "all_all_all.mat"
    path.write_bytes(mat5(lsfm_variables(t, factor), True))
    told = rf"all_all_all.mat: unit: this layout does not state.*as large as a head in {unit}$"
    with pytest.raises(ValueError, match=told):
        read_foreign_model(path)
    model = read_foreign_model(path, unit=unit)
    check_shape(model, t)
    assert "8402 people" in model.notes and model.colour_modes is None and "turned" not in model.notes


def test_the_matlab_reader_agrees_with_scipy_on_every_number_class(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    arrays = {
        f"v_{kind}": rng.integers(0, 100, (3, 5)).astype(kind) for kind in ("f8", "f4", "i1", "u1", "i2", "u2", "i4",
        "u4", "i8")
    } | {"x": np.array([[7]], "u2"), "e": np.zeros((0, 3)), "cube": rng.normal(size=(2, 3, 4))}  # fmt: skip
    for compress in (False, True):
        path = tmp_path / f"{compress}.mat"
        scipy_io.savemat(path, arrays | {"text": "no number", "cell": np.array([1, "a"], object)},
            do_compression=compress)
        mine, theirs = read_mat5(path.read_bytes(), arrays), scipy_io.loadmat(path)
        assert set(mine) == set(arrays)
        for name in arrays:
            assert mine[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(mine[name], theirs[name])
    with pytest.raises(ValueError, match="text: expected an array of real numbers"):
        read_mat5(path.read_bytes(), {"text"})


@pytest.mark.parametrize("version", [(0, 8), (0, 9), (1, 0), None])
def test_a_basel_face_model_of_2017_keeps_shape_expressions_colours_and_named_points(tmp_path, version):
    pytest.importorskip("h5py")
    t = truth()
    path = tmp_path / "model2017-1_face12_nomouth.h5"
    face_h5(path, t, version)
    model = read_foreign_model(path)
    check_shape(model, t)
    check_colour(model, t)
    check_expressions(model, t)
    marks = model.landmarks["ibug68"]
    places = marks.locate(model.mean, model.faces)
    for name, number in {"center.nose.tip": 30, "right.eye.corner_outer": 36, "left.lips.corner": 54}.items():
        close(places[number], t.mean[LANDMARKS[name]], 1e-3)
    assert marks.present.sum() == len(LANDMARKS)
    assert "variance 0.5" in model.notes and "lengths were in mm" in model.notes


def test_every_head_of_a_basel_model_is_an_instance_of_ours(tmp_path):
    pytest.importorskip("h5py")
    t = truth()
    face_h5(tmp_path / "f.h5", t)
    model = read_foreign_model(tmp_path / "f.h5")
    rng = np.random.default_rng(3)
    c, e = rng.normal(size=4), np.array([1.5, -2.0, 0.7])
    theirs = t.mean.ravel() + t.basis @ (c * t.std)
    theirs += t.expression_mean.ravel() + t.expression_basis @ (e * t.expression_std)
    weights = {f"expression_{i:02d}{'_minus' if x < 0 else ''}": abs(x) / 3 for i, x in enumerate(e)}
    weights["expression_mean"] = 1.0
    close(model.instance(c, model.expression_vector(weights)).ravel(), theirs, 1e-3)
    colours = np.clip(t.colour_mean.ravel() + t.colour_basis @ (np.array([1, -1, 0.5]) * t.colour_std), 0, 1) * 255
    close(model.colour_instance([1, -1, 0.5]).ravel(), colours, 0.5001)


def test_without_h5py_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"need the package h5py: pip install 'affect3d\[h5\]'"):
        read_foreign_model(tmp_path / "m.h5")


def test_a_plain_statismo_model_lies_at_the_root_and_needs_a_unit(tmp_path):
    h5py = pytest.importorskip("h5py")
    t = truth()
    with h5py.File(tmp_path / "s.h5", "w") as file:
        statismo_group(file, t.mean / 10, t.basis, t.std / 10, t.faces)
    with pytest.raises(ValueError, match="unit: this layout does not state.*head in cm"):
        read_foreign_model(tmp_path / "s.h5")
    model = read_foreign_model(tmp_path / "s.h5", unit="cm")
    check_shape(model, t)
    assert len(model.expression) == 0 and model.colours is None


def check_flame(model, arrays, t):
    close(model.mean, t.mean, 1e-4)
    np.testing.assert_array_equal(model.faces, t.faces)
    assert len(model.identity) == 300 and model.expression_names[:3] == ("jawOpen", "expression_00",
        "expression_00_minus")
    full = model.identity * model.identity_std[:, None, None]
    close(full, np.moveaxis(arrays["shapedirs"], 2, 0)[:300] * 1000, 1e-4)
    close(np.linalg.norm(model.identity.reshape(300, -1), axis=1), 1, 1e-5)
    close(model.expression[1::2], np.moveaxis(arrays["shapedirs"], 2, 0)[300:] * 3000, 1e-3)
    assert len(model.expression) == 201 and "jawOpen" in model.notes


@pytest.mark.parametrize("rebuilt, selected", [(True, False), (False, False), (False, True)])
def test_flame_comes_out_of_a_pickle_of_python_2_with_chumpy_and_sparse_matrices(tmp_path, rebuilt, selected):
    t = truth()
    arrays = flame_arrays(t)
    (tmp_path / "generic_model.pkl").write_bytes(flame_pkl(arrays, rebuilt, selected))
    model = read_foreign_model(tmp_path / "generic_model.pkl")
    check_flame(model, arrays, t)
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_flame_comes_out_of_pickles_of_every_protocol(tmp_path, protocol):
    from scipy.sparse import csc_matrix, csr_matrix

    t = truth()
    arrays = flame_arrays(t)
    content = dict(arrays, shapedirs=np.asfortranarray(arrays["shapedirs"]), version=2023, joints=["jaw"])
    content["J_regressor"] = (csr_matrix if protocol % 2 else csc_matrix)(arrays["J_regressor"])
    (tmp_path / "f").write_bytes(pickle.dumps(content, protocol))
    check_flame(read_foreign_model(tmp_path / "f"), arrays, t)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flame_comes_out_of_an_npz(tmp_path, save):
    t = truth()
    arrays = flame_arrays(t)
    save(tmp_path / "FLAME.npz", **arrays, extra=np.array(["text"]))
    check_flame(read_foreign_model(tmp_path / "FLAME.npz"), arrays, t)


def slow_jaw(arrays, angle):
    """All five joints with 4 x 4 transforms down the tree, vertex by vertex: FLAME's equations 1 to 4."""
    rotations = [np.eye(3)] * 5
    rotations[2] = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    joints = arrays["J_regressor"] @ arrays["v_template"]
    feature = np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
    shaped = arrays["v_template"] + (arrays["posedirs"] * feature).sum(2)
    world = []
    for j, r in enumerate(rotations):
        local = np.eye(4)
        parent = int(arrays["kintree_table"][0, j]) if j else None
        local[:3, :3], local[:3, 3] = r, joints[j] - (joints[parent] if j else 0)
        world.append(local if parent is None else world[parent] @ local)
    moved = []
    for v in range(COUNT):
        total = np.zeros(3)
        for j in range(5):
            rest = np.eye(4)
            rest[:3, 3] = -joints[j]
            total += arrays["weights"][v, j] * (world[j] @ rest @ [*shaped[v], 1])[:3]
        moved.append(total)
    return np.array(moved) - arrays["v_template"]


@pytest.mark.parametrize("angle", [0.0, 0.1, np.deg2rad(20), -0.3])
def test_jaw_open_is_flames_own_skinning(angle):
    arrays = flame_arrays(truth())
    moved, reason = jaw_open(arrays, angle)
    assert reason == ""
    np.testing.assert_allclose(moved, slow_jaw(arrays, angle), atol=1e-14)
    model = flame_model(arrays)
    np.testing.assert_allclose(model.expression[0], slow_jaw(arrays, np.deg2rad(20)), atol=1e-8)


def test_a_turned_jaw_goes_down_in_front_of_its_joint():
    t = truth()
    arrays = flame_arrays(t)
    arrays["posedirs"] = np.zeros_like(arrays["posedirs"])
    arrays["weights"] = np.eye(5)[np.where(t.mean[:, 1] < -40, 2, 1)]
    back = np.argmin(t.mean[:, 2])
    arrays["J_regressor"] = np.eye(COUNT)[[back] * 5]
    moved, _ = jaw_open(arrays)
    away = t.mean - t.mean[back]
    # a turn lifts what hangs far below the joint and hardly in front of it
    front = (t.mean[:, 1] < -40) & (away[:, 2] > 0.2 * np.abs(away[:, 1]))
    assert front.sum() > 5
    assert (moved[front, 1] < 0).all() and not moved[t.mean[:, 1] >= -40].any()


def test_flames_eyeballs_are_what_its_eye_joints_move_alone(tmp_path):
    t = truth()
    arrays = flame_arrays(t)
    right, left = t.mean[:, 0] < -50, t.mean[:, 0] > 50
    for joints in ((3, 4), (4, 3)):  # which joint is which follows from where it is
        weights = np.zeros((COUNT, 5))
        weights[:, 1] = 1
        weights[left], weights[right] = np.eye(5)[joints[0]], np.eye(5)[joints[1]]
        (tmp_path / "f").write_bytes(pickle.dumps(arrays | {"weights": weights}))
        model = read_foreign_model(tmp_path / "f")
        assert model.part_names == ("face", "eye_left", "eye_right")
        for name, ball in (("eye_left", left), ("eye_right", right)):
            np.testing.assert_array_equal(model.part_faces(name), ball[t.faces].all(1))
            assert model.part_faces(name).any()
    raw = flame_model({name: arrays[name] for name in ("v_template", "f", "shapedirs")})
    assert not raw.parts.any()


def test_flame_without_joints_has_no_jaw_and_says_so():
    arrays = flame_arrays(truth())
    del arrays["J_regressor"]
    raw = flame_model(arrays, keep=5, keep_expressions=2)
    assert raw.expression_names[0] == "expression_00" and len(raw.expression) == 4 and len(raw.identity) == 5
    assert any("no jawOpen" in note for note in raw.notes)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("order, portable", [("<", False), ("<", True), (">", True)])
def test_eos_models_of_every_version_and_archive(tmp_path, version, order, portable):
    t = truth()
    uv = np.random.default_rng(1).random((COUNT, 2))
    (tmp_path / "m.bin").write_bytes(eos_bin(t, version, uv=uv, order=order, portable=portable))
    assert foreign_layout(tmp_path / "m.bin") == "eos"
    with pytest.raises(ValueError, match="unit: this layout does not state.*head in mm"):
        read_foreign_model(tmp_path / "m.bin")
    model = read_foreign_model(tmp_path / "m.bin", unit="mm")
    check_shape(model, t)
    check_colour(model, t)
    close(model.uv, np.column_stack([uv[:, 0], 1 - uv[:, 1]]), 1e-12)
    if version > 1:
        check_expressions(model, t)


def test_eos_blendshapes_keep_their_names_and_numbers_become_landmarks(tmp_path):
    t = truth()
    shapes = {"jawOpen": t.expression_mean, "anger": -2 * t.expression_mean}
    uv, uv_faces = np.random.default_rng(2).random((7, 2)), np.random.default_rng(3).integers(0, 7, t.faces.shape)
    named = {"31": 31, "37": 38, "nose": 4, "99": 1}
    (tmp_path / "m.bin").write_bytes(eos_bin(t, 4, shapes, named, colour=False, uv=uv, uv_faces=uv_faces))
    model = read_foreign_model(tmp_path / "m.bin", unit="mm")
    assert model.expression_names == ("jawOpen", "anger") and model.colour_mean is None
    close(model.expression, [t.expression_mean, -2 * t.expression_mean], 1e-6)
    np.testing.assert_array_equal(model.uv_faces, uv_faces)
    marks = model.landmarks["ibug68"]
    assert np.flatnonzero(marks.present).tolist() == [30, 36]
    close(marks.locate(model.mean, model.faces)[[30, 36]], t.mean[[31, 38]], 1e-9)


@pytest.mark.parametrize("order, portable", [("<", False), ("<", True), (">", True)])
def test_blendshapes_of_eos_come_from_a_file_of_their_own(tmp_path, order, portable):
    t = truth()
    shapes = {"happy": t.expression_mean, "sad": -t.expression_mean * 3}
    (tmp_path / "m.bin").write_bytes(eos_bin(t, 4, None))
    (tmp_path / "b.bin").write_bytes(files.eos_blendshapes(shapes, order, portable))
    model = read_foreign_model(tmp_path / "m.bin", unit="mm", blendshapes=tmp_path / "b.bin")
    assert model.expression_names == ("happy", "sad")
    close(model.expression, list(shapes.values()), 1e-6)
    assert read_foreign_model(tmp_path / "m.bin", unit="mm").expression_names == ()
    sound = files.eos_blendshapes(shapes, order, portable)
    for content, message in (
        (sound[:-1], "broken off"), (sound + b"1", "left over"), (b"", "broken off"),
        (b"\0" * 8, "holds no blendshapes"),
        (files.eos_blendshapes({"a": np.zeros((5, 3))}, order, portable), "moves 5 vertices, the model has 63"),
    ):
        (tmp_path / "b.bin").write_bytes(content)
        # a broken portable archive may just as well be a broken plain one
        message = "broken off|left over" if "o" in message and portable and len(content) > 1000 else message
        with pytest.raises(ValueError, match=rf"^[^ ]*b.bin: .*({message})"):
            read_foreign_model(tmp_path / "m.bin", unit="mm", blendshapes=tmp_path / "b.bin")
    (tmp_path / "m.mat").write_bytes(mat5(bfm2009_variables(t)))
    with pytest.raises(ValueError, match="m.mat: is no model of eos"):
        read_foreign_model(tmp_path / "m.mat", blendshapes=tmp_path / "b.bin")


def test_eos_itself_writes_and_reads_the_same_bytes(tmp_path):
    eos = pytest.importorskip("eos", reason="eos-py is not installed").morphablemodel
    t = truth()
    shapes = {"happy": t.expression_mean, "sad": 2 * t.expression_mean}
    uv = np.random.default_rng(2).random((COUNT, 2))
    parts = [
        eos.PcaModel(mean.ravel().astype("f4"), basis, (std.astype(float) ** 2).astype("f4"), t.faces.tolist())
        for mean, basis, std in ((t.mean, t.basis, t.std), (t.colour_mean, t.colour_basis, t.colour_std))
    ]
    blendshapes = [eos.Blendshape(name, moved.ravel()) for name, moved in shapes.items()]
    moved = eos.PcaModel(
        t.expression_mean.ravel(), t.expression_basis, (t.expression_std.astype(float) ** 2).astype("f4"),
        t.faces.tolist()
    )
    for theirs, mine in (
        (eos.MorphableModel(parts[0], blendshapes, parts[1], {"31": 31}, uv.tolist(), t.faces.tolist()),
         eos_bin(t, 4, shapes, {"31": 31}, uv=uv, uv_faces=t.faces)),
        (eos.MorphableModel(parts[0], moved, parts[1], None, [], []), eos_bin(t, 4, "pca")),
        (eos.MorphableModel(parts[0], eos.PcaModel(), None, [], []), eos_bin(t, 4, None, colour=False)),
    ):  # fmt: skip
        eos.save_model(theirs, str(tmp_path / "theirs.bin"))
        assert (tmp_path / "theirs.bin").read_bytes() == mine
    eos.save_blendshapes(blendshapes, str(tmp_path / "theirs.bin"))
    assert (tmp_path / "theirs.bin").read_bytes() == files.eos_blendshapes(shapes)
    for version in (1, 2, 3, 4):
        (tmp_path / "mine.bin").write_bytes(eos_bin(t, version, "pca", uv=uv))
        again = eos.load_model(str(tmp_path / "mine.bin"))
        np.testing.assert_array_equal(again.get_shape_model().get_mean(), t.mean.ravel().astype("f4"))


@pytest.mark.parametrize("modes", [0, 2, 99])
def test_no_more_modes_are_kept_than_asked(tmp_path, modes):
    h5py = pytest.importorskip("h5py")
    assert h5py
    t = truth()
    (tmp_path / "a").write_bytes(mat5(bfm2009_variables(t)))
    (tmp_path / "b").write_bytes(eos_bin(t))
    face_h5(tmp_path / "c", t)
    (tmp_path / "d").write_bytes(flame_pkl(flame_arrays(t)))
    for name, unit in (("a", None), ("b", "mm"), ("c", None), ("d", None)):
        model = read_foreign_model(tmp_path / name, modes=modes, expression_modes=1, unit=unit)
        assert len(model.identity) == min(modes, 99 if name == "d" else 4)
        if name != "d":
            assert len(model.colour_modes) == min(modes, 3)
        if name in "bcd":
            assert len(model.expression) == 3  # the mean or the jaw, and one mode both ways


def test_the_layout_is_told_by_content_not_by_name(tmp_path):
    pytest.importorskip("h5py")
    t = truth()
    contents = {"matlab": mat5(bfm2009_variables(t)), "pickle": flame_pkl(flame_arrays(t)), "eos": eos_bin(t)}
    for layout, content in contents.items():
        (tmp_path / "model.xyz").write_bytes(content)
        assert foreign_layout(tmp_path / "model.xyz") == layout
    face_h5(tmp_path / "model.mat", t)
    assert foreign_layout(tmp_path / "model.mat") == "hdf5"
    check_shape(read_foreign_model(tmp_path / "model.mat"), t)
    for content in (b"", b"v 0 0 0\n", b"{}", b"\x89PNG\r\n\x1a\n" + b"\0" * 600, b"\0" * 600, b"(a comment)",
        b"PK\x03\x04rest"):
        (tmp_path / "x.pkl").write_bytes(content)
        assert foreign_layout(tmp_path / "x.pkl") is None
        with pytest.raises(ValueError, match="x.pkl: is none of the head models"):
            read_foreign_model(tmp_path / "x.pkl")


def test_a_head_on_its_back_is_turned_and_a_mirror_refused(tmp_path):
    t = truth()
    lying = truth()
    lying.mean = np.column_stack([t.mean[:, 0], -t.mean[:, 2], t.mean[:, 1]])  # z up
    lying.basis = as_modes(t.basis)[:, :, [0, 2, 1]].copy()
    lying.basis[:, :, 1] *= -1
    lying.basis = lying.basis.reshape(4, -1).T
    (tmp_path / "m.bin").write_bytes(eos_bin(lying, 2, {"up": lying.mean}))
    model = read_foreign_model(tmp_path / "m.bin", unit="mm", axes="+x+z-y")
    check_shape(model, t)
    close(model.expression[0], t.mean, 1e-4)
    for axes, message in (("+x+y-z", "would change left and right"), ("+x+x+z", "three different axes"),
        ("xyz", "expected three")):
        with pytest.raises(ValueError, match=message):
            read_foreign_model(tmp_path / "m.bin", unit="mm", axes=axes)


def test_a_documented_unit_that_makes_no_head_is_not_believed(tmp_path):
    t = truth()
    variables = bfm2009_variables(t)
    variables["shapeMU"] = variables["shapeMU"] / 1000
    (tmp_path / "m.mat").write_bytes(mat5(variables))
    with pytest.raises(ValueError, match=r"m.mat: unit: in um.*0.2.* mm long and no head.*head in mm"):
        read_foreign_model(tmp_path / "m.mat")
    with pytest.raises(ValueError, match="unit: expected one of um, mm, cm, m, got 'inch'"):
        read_foreign_model(tmp_path / "m.mat", unit="inch")


def test_the_licence_can_be_stated(tmp_path):
    t = truth()
    (tmp_path / "m.mat").write_bytes(mat5(bfm2009_variables(t)))
    assert "University of Basel" in read_foreign_model(tmp_path / "m.mat").licence
    assert read_foreign_model(tmp_path / "m.mat", licence="ours, 2009").licence == "ours, 2009"


def test_modes_without_variance_are_left_out(tmp_path):
    t = truth()
    t.std[2] = 0
    (tmp_path / "m.mat").write_bytes(mat5(bfm2009_variables(t)))
    model = read_foreign_model(tmp_path / "m.mat")
    close(model.identity_std, t.std[[0, 1, 3]], 1e-4)
    close(model.identity, as_modes(t.basis)[[0, 1, 3]], 1e-6)
    assert "1 identity modes without variance" in model.notes


def test_a_colour_basis_survives_the_model_file_bit_by_bit(tmp_path):
    t = truth()
    (tmp_path / "m.mat").write_bytes(mat5(bfm2009_variables(t)))
    model = read_foreign_model(tmp_path / "m.mat")
    save_model_file(model, tmp_path / "m.safetensors")
    again = load_model_file(tmp_path / "m.safetensors")
    for name in ("mean", "faces", "identity", "identity_std", "colours", "colour_mean", "colour_modes", "colour_std"):
        np.testing.assert_array_equal(getattr(model, name), getattr(again, name))
    assert again.notes == model.notes and again.licence == model.licence


def test_a_colour_basis_is_checked_and_goes_with_its_parts(tmp_path):
    from dataclasses import replace

    from affect3d.model.keep_parts import keep_parts

    t = truth()
    (tmp_path / "m.mat").write_bytes(mat5(bfm2009_variables(t)))
    model = read_foreign_model(tmp_path / "m.mat")
    for wrong, message in (
        ({"colour_std": None}, "expected all three or none"),
        ({"colour_mean": np.zeros((2, 3))}, "colour_mean: expected shape"),
        ({"colour_std": np.zeros(3)}, "colour_std: expected positive"),
        ({"colour_modes": np.full((3, COUNT, 3), np.nan)}, "colour_modes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            replace(model, **wrong)
    with pytest.raises(ValueError, match="coefficients: expected at most 3"):
        model.colour_instance(np.zeros(4))
    np.testing.assert_array_equal(model.colour_instance(), model.colours)
    parts = np.zeros(len(model.faces), np.uint8)
    parts[:20] = 1
    part, vertices = keep_parts(replace(model, parts=parts, part_names=("skin", "cheek")), "cheek")
    np.testing.assert_array_equal(part.colour_instance([1.0, 2.0]), model.colour_instance([1.0, 2.0])[vertices])
    plain = replace(model, colour_mean=None, colour_modes=None, colour_std=None)
    with pytest.raises(ValueError, match="no colours of its own"):
        plain.colour_instance()


def test_arrays_of_objects_and_scalars_come_out_of_pickles():
    content = {"a": np.array({"b": np.arange(3)}, object), "s": np.float32(1.5), "n": 3, "c": np.arange(4, dtype=">i2")}
    for protocol in range(6):
        found = unpickle_arrays(pickle.dumps(content, protocol))
        np.testing.assert_array_equal(found["a"]["b"], np.arange(3))
        np.testing.assert_array_equal(found["c"], np.arange(4))
        assert found["s"] == 1.5 and found["n"] == 3
