"""The reader of ICT-FaceKit, both layouts, on the development copy."""

import json

import numpy as np
import pytest

from affect3d.io.ict import COUNT, read_ict
from affect3d.model.head_expressions import ARKIT_NAMES
from affect3d.model.load import load_model


@pytest.fixture(scope="module")
def archive(shared):
    path = shared / "models" / "ict_facekit_light.npz"
    if not path.exists():
        pytest.skip(f"ICT-FaceKit is not at {path}")
    return path


@pytest.fixture(scope="module")
def content(archive):
    with np.load(archive, allow_pickle=False) as stored:
        return {k: stored[k] for k in stored.files}


@pytest.fixture(scope="module")
def model(archive):
    return read_ict(archive)


def write_obj(path, vertices, uv, faces, uv_faces):
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv]
    lines.append("vn 0 0 1")
    for corners, texture in zip(faces, uv_faces):
        lines.append("f " + " ".join(f"{a + 1}/{b + 1}/1" for a, b in zip(corners, texture)))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    """The original layout with two identities and three expressions; pairs of triangles are quads there."""
    folder = tmp_path_factory.mktemp("ict") / "FaceXModel"
    folder.mkdir()
    faces, uv_faces = content["faces"].tolist(), content["uv_faces"].tolist()
    quads, uv_quads = [], []
    k = 0
    while k < len(faces):
        one, other = faces[k], faces[k + 1] if k + 1 < len(faces) else None
        if other is not None and (other[0], other[1]) == (one[0], one[2]) and uv_faces[k + 1][1] == uv_faces[k][2]:
            quads.append([*one, other[2]])
            uv_quads.append([*uv_faces[k], uv_faces[k + 1][2]])
            k += 2
        else:
            quads.append(one)
            uv_quads.append(uv_faces[k])
            k += 1
    neutral = content["neutral"].astype(float)
    write_obj(folder / "generic_neutral_mesh.obj", neutral, content["uv"], quads, uv_quads)
    for i in range(2):
        write_obj(folder / f"identity{i:03d}.obj", neutral + content["identity"][i], [], [], [])
    names = content["expression_names"].tolist()
    for name in ("jawOpen", "browInnerUp_L", "browInnerUp_R"):
        write_obj(folder / f"{name}.obj", neutral + content["expression"][names.index(name)], [], [], [])
    marks = {"landmarks68": content["landmarks_ibug68"].tolist()}
    (folder / "vertex_indices.json").write_text(json.dumps(marks))
    return folder


def test_units_frame_and_names_are_ours(model, content):
    assert model.mean.shape == (COUNT, 3)
    size = np.ptp(content["neutral"].astype(float), axis=0)
    np.testing.assert_allclose(np.ptp(model.mean, axis=0), 10 * size, rtol=1e-6)
    eyes = [model.mean[model.part_vertices(n)] for n in ("eye_left", "eye_right")]
    middles = [(e.max(0) + e.min(0)) / 2 for e in eyes]
    assert 55 < middles[0][0] - middles[1][0] < 75
    between = (middles[0] + middles[1]) / 2
    np.testing.assert_allclose(between[:2], 0, atol=0.5)
    assert abs(between[2]) < 6  # the mean of their vertices, most of which are in front
    assert set(model.expression_names) == set(ARKIT_NAMES) - {"tongueOut"}
    assert "MIT" in model.licence


def test_shapes_split_in_two_are_added_up(model, content):
    names = content["expression_names"].tolist()
    for whole in ("browInnerUp", "cheekPuff"):
        halves = [content["expression"][k].astype(np.float32) * 10 for k, n in enumerate(names) if n.startswith(whole)]
        assert len(halves) == 2
        got = model.expression[model.expression_names.index(whole)]
        np.testing.assert_allclose(got, halves[0] + halves[1], atol=1e-5)


def test_left_means_the_subjects_left(model):
    for name in ("eyeBlink", "mouthSmile", "browDown"):
        for side, sign in (("Left", 1), ("Right", -1)):
            moved = np.linalg.norm(model.expression[model.expression_names.index(name + side)], axis=1)
            assert sign * (moved * model.mean[:, 0]).sum() > 0, name + side


def test_landmarks_sit_on_their_vertices_and_parts(model, content):
    p = model.landmarks["ibug68"].locate(model.mean, model.faces)
    offset = model.mean[0] - content["neutral"][0].astype(float) * 10
    wanted = content["neutral"][content["landmarks_ibug68"]].astype(float) * 10 + offset
    present = np.isfinite(p).all(1)
    assert present.all()
    np.testing.assert_allclose(p, wanted, atol=1e-4)
    assert p[45, 0] > 0 > p[36, 0] and p[8, 1] < p[30, 1] < p[27, 1]
    q = model.landmarks["mediapipe478"].locate(model.mean, model.faces)
    # the two schemes agree about nose, mouth corners and chin
    for ours, theirs in ((4, 30), (61, 48), (291, 54), (152, 8)):
        assert np.linalg.norm(q[ours] - p[theirs]) < 9


def test_jaw_carries_lower_teeth_and_leaves_upper_ones(model):
    moved = np.linalg.norm(model.expression[model.expression_names.index("jawOpen")], axis=1)
    assert moved[model.part_vertices("teeth_lower")].mean() > 10
    assert moved[model.part_vertices("teeth_upper")].mean() < 1


def test_folder_of_obj_files_reads_as_the_archive_does(folder, model):
    steps = []
    got = read_ict(folder, lambda done, total, label: steps.append((done, total)))
    assert steps[-1] == (5, 5)
    np.testing.assert_allclose(got.mean, model.mean, atol=1e-4)
    assert len(got.identity) == 2 and set(got.expression_names) == {"jawOpen", "browInnerUp"}
    np.testing.assert_allclose(got.identity, model.identity[:2], atol=2e-4)
    for name in got.expression_names:
        one, other = (m.expression[m.expression_names.index(name)] for m in (got, model))
        np.testing.assert_allclose(one, other, atol=2e-4)
    assert len(got.faces) == len(model.faces)
    assert got.part_faces("lips").sum() == model.part_faces("lips").sum()
    np.testing.assert_array_equal(got.landmarks["ibug68"].faces >= 0, model.landmarks["ibug68"].faces >= 0)


def test_load_model_takes_either_layout_with_and_without_its_name(archive, folder):
    for spec in (archive, f"ict:{archive}", folder, f"ict:{folder}"):
        assert load_model(spec).name.startswith("ICT")


def test_what_is_no_facekit_is_one_value_error(tmp_path, content):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="generic_neutral_mesh.obj"):
        read_ict(empty)
    with pytest.raises(OSError):
        read_ict(tmp_path / "missing.npz")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match="bad.npz"):
        read_ict(bad)
    np.savez(bad, neutral=np.zeros((4, 3)))
    with pytest.raises(ValueError, match="is missing"):
        read_ict(bad)
    np.savez(bad, **{**content, "neutral": content["neutral"][:100]})
    with pytest.raises(ValueError, match="26719"):
        read_ict(bad)
    (empty / "generic_neutral_mesh.obj").write_text("v 0 0 x\n")
    with pytest.raises(ValueError, match="generic_neutral_mesh.obj"):
        read_ict(empty)
    write_obj(empty / "generic_neutral_mesh.obj", np.zeros((3, 3)), [[0, 0]], [[0, 1, 2]], [[0, 0, 0]])
    write_obj(empty / "jawOpen.obj", np.zeros((2, 3)), [], [], [])
    with pytest.raises(ValueError, match="jawOpen.obj"):
        read_ict(empty)
