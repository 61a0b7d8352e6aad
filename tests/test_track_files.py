"""Records that survive a kill, films in, moving heads and tables out."""

import csv
import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from affect3d.io.glb_animation import write_animated_glb
from affect3d.io.record_file import RecordFile
from affect3d.io.track_file import COLUMNS, head_angles, write_track_csv, write_track_npz
from affect3d.mesh import Mesh

PURPOSE = {"film": "abc"}


def test_records_come_back(tmp_path):
    rows = np.random.default_rng(0).normal(size=(5, 7))
    with RecordFile(tmp_path / "r", PURPOSE, 7) as file:
        for row in rows:
            file.append(row)
        np.testing.assert_array_equal(file[3], rows[3])
        np.testing.assert_array_equal(file.columns(2, 5), rows[:, 2:5])
    with RecordFile(tmp_path / "r", PURPOSE, 7) as file:
        assert len(file) == 5
        np.testing.assert_array_equal(file.columns(0, 7), rows)


@pytest.mark.parametrize("cut", [1, 5, 30, 59])
def test_what_a_killed_process_left_behind_is_cut_off(tmp_path, cut):
    with RecordFile(tmp_path / "r", PURPOSE, 7) as file:
        for k in range(4):
            file.append(np.full(7, k))
    whole = (tmp_path / "r").read_bytes()
    (tmp_path / "r").write_bytes(whole[:-cut])
    with RecordFile(tmp_path / "r", PURPOSE, 7) as file:
        assert len(file) == 3
        file.append(np.full(7, 3))
    assert (tmp_path / "r").read_bytes() == whole


def test_a_damaged_record_ends_the_file_there(tmp_path):
    with RecordFile(tmp_path / "r", PURPOSE, 2, "<f4") as file:
        for k in range(6):
            file.append([k, k])
    data = bytearray((tmp_path / "r").read_bytes())
    data[-3 * 12 + 2] ^= 1  # in the fourth of six
    (tmp_path / "r").write_bytes(data)
    with RecordFile(tmp_path / "r", PURPOSE, 2, "<f4") as file:
        assert len(file) == 3 and file[2][0] == 2


@pytest.mark.parametrize("other", [({"film": "abd"}, 2, "<f8"), (PURPOSE, 3, "<f8"), (PURPOSE, 2, "<f4")])
def test_records_of_other_work_are_not_taken_up(tmp_path, other):
    with RecordFile(tmp_path / "r", PURPOSE, 2) as file:
        file.append([1, 2])
    with RecordFile(tmp_path / "r", *other) as file:
        assert len(file) == 0


def test_records_refuse_other_lengths(tmp_path):
    with pytest.raises(ValueError, match="width"):
        RecordFile(tmp_path / "r", PURPOSE, 0)
    with RecordFile(tmp_path / "r", PURPOSE, 2) as file:
        with pytest.raises(ValueError, match=r"expected shape \(2,\), got \(3,\)"):
            file.append([1, 2, 3])
        with pytest.raises(IndexError, match="index"):
            file[0]


def test_films_are_read_as_they_were_written(tmp_path):
    pytest.importorskip("av")
    from affect3d.io.video import write_video
    from affect3d.io.video_read import read_frames, video_info

    y, x = np.mgrid[:64, :96]
    made = [np.stack([127 + 90 * np.sin(x / 30 + k), 127 + 90 * np.cos(y / 25), x + y], -1).astype(np.uint8)
            for k in range(9)]  # fmt: skip
    write_video(tmp_path / "a.mp4", iter(made), fps=25, quality=5)
    info = video_info(tmp_path / "a.mp4")
    assert info.size == (96, 64) and info.rate == pytest.approx(25) and info.frames == 9
    seen = list(read_frames(tmp_path / "a.mp4"))
    assert len(seen) == 9
    for a, b in zip(made, seen):
        assert np.abs(a.astype(int) - b).mean() < 3


def test_files_that_are_no_films_are_refused_in_a_sentence(tmp_path):
    pytest.importorskip("av")
    from affect3d.io.video_read import video_info

    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no film at all, " * 100)
    with pytest.raises(ValueError, match="empty.mp4: the file is empty"):
        video_info(tmp_path / "empty.mp4")
    with pytest.raises(ValueError, match="text.mp4: is not a film"):
        video_info(tmp_path / "text.mp4")
    with pytest.raises(FileNotFoundError, match="no such file"):
        video_info(tmp_path / "none.mp4")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        video_info(tmp_path)


@pytest.mark.parametrize(
    "turn, expected",
    [((0, 30, 0), (30, 0, 0)), ((-20, 0, 0), (0, 20, 0)), ((0, 0, 10), (0, 0, 10)), ((0, 0, 0), (0, 0, 0))],
)
def test_angles_say_how_the_head_turns(turn, expected):
    # in the model's frame (y up, z out of the face, x to the subject's left)
    R = np.diag([1.0, -1, -1]) @ Rotation.from_euler("XYZ", turn, degrees=True).as_matrix()
    np.testing.assert_allclose(head_angles(R[None])[0], expected, atol=1e-9)
    if expected[0]:  # a head turned to its left shows a nose that points to +x of the picture
        assert (R @ [0, 0, 1])[0] > 0
    if expected[1]:  # looking up: y of the picture points down
        assert (R @ [0, 0, 1])[1] < 0


def track(frames=4):
    rng = np.random.default_rng(1)
    R = np.diag([1.0, -1, -1]) @ Rotation.from_rotvec(0.2 * rng.normal(size=(frames, 3))).as_matrix()
    return SimpleNamespace(
        expression_names=("jawOpen", "mouthSmileLeft"), rate=25.0, identity=rng.normal(size=3),
        found=np.array([True, False] * (frames // 2)), score=np.ones(frames), expression=rng.random((frames, 2)),
        expression_raw=rng.random((frames, 2)), rotation=R, shift=rng.normal(size=(frames, 3)) + [0, 0, 600],
        focal=np.full(frames, 500.0), size=np.tile([320, 240], (frames, 1)), rms=np.zeros(frames),
        offsets=np.zeros((5, 3)), identity_frames=np.arange(2),
    )  # fmt: skip


def test_tables_hold_every_frame(tmp_path):
    known = track()
    write_track_csv(tmp_path / "t.csv", known)
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "jawOpen", "mouthSmileLeft"]
    assert [r["found"] for r in rows] == ["1", "0", "1", "0"] and rows[2]["time"] == "0.080000"
    for k, row in enumerate(rows):
        assert float(row["jawOpen"]) == pytest.approx(known.expression[k, 0], abs=1e-5)
        assert float(row["z"]) == pytest.approx(known.shift[k, 2], abs=1e-4)
    write_track_npz(tmp_path / "t.npz", known)
    write_track_npz(tmp_path / "again.npz", known)
    assert (tmp_path / "t.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    with np.load(tmp_path / "t.npz", allow_pickle=False) as back:
        np.testing.assert_array_equal(back["expression"], known.expression)
        assert tuple(back["expression_names"]) == known.expression_names and back["rate"] == 25


TETRAHEDRON = Mesh([[0, 0, 0], [90, 0, 0], [0, 90, 0], [0, 0, 90]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
MOVES = {"jawOpen": np.eye(4, 3) * 10, "mouthSmileLeft": -np.eye(4, 3)}


def parsed(path):
    """A reader of its own: the document, and a function that gives the array of an accessor."""
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, _ = struct.unpack("<I4s", data[12:20])
    document, body = json.loads(data[20 : 20 + size]), data[28 + size :]

    def array(k):
        accessor = document["accessors"][k]
        view = document["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert accessor["componentType"] == 5126
        flat = np.frombuffer(body, "<f4", accessor["count"] * width, view["byteOffset"])
        return flat.reshape(-1, width)

    return document, array


def test_the_moving_head_is_where_the_camera_saw_it(tmp_path):
    rng = np.random.default_rng(2)
    known = track(6)
    weights = rng.random((6, 2))
    write_animated_glb(
        tmp_path / "m.glb", TETRAHEDRON, MOVES, weights, known.rotation, known.shift, 25.0, 0.6, 4 / 3
    )
    document, array = parsed(tmp_path / "m.glb")
    assert document["meshes"][0]["extras"]["targetNames"] == list(MOVES)
    animation = document["animations"][0]
    paths = {c["target"]["path"]: animation["samplers"][c["sampler"]] for c in animation["channels"]}
    assert set(paths) == {"weights", "translation", "rotation"}
    clock = array(paths["weights"]["input"])[:, 0]
    np.testing.assert_allclose(clock, np.arange(6) / 25, atol=1e-6)
    accessor = document["accessors"][paths["weights"]["input"]]
    assert accessor["min"] == [0.0] and accessor["max"][0] == pytest.approx(0.2)
    np.testing.assert_allclose(array(paths["weights"]["output"]).reshape(6, 2), weights, atol=1e-6)
    place, turn = array(paths["translation"]["output"]), array(paths["rotation"]["output"])
    np.testing.assert_allclose(np.linalg.norm(turn, axis=1), 1, atol=1e-6)
    assert ((turn[1:] * turn[:-1]).sum(1) > 0).all()
    point = np.array([12.0, -30.0, 55.0])
    for k in range(6):
        ours = known.rotation[k] @ point + known.shift[k]
        theirs = Rotation.from_quat(turn[k]).as_matrix() @ (point / 1000) + place[k]
        np.testing.assert_allclose(theirs * [1000, -1000, -1000], ours, atol=1e-3)
    camera = next(n for n in document["nodes"] if "camera" in n)
    assert document["cameras"][camera["camera"]]["perspective"]["yfov"] == pytest.approx(0.6)
    assert sorted(document["scenes"][0]["nodes"]) == [0, 1]
    used = {s[k] for s in animation["samplers"] for k in ("input", "output")}
    assert not any("target" in document["bufferViews"][document["accessors"][k]["bufferView"]] for k in used)


def test_a_second_reader_finds_the_head_and_its_place(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    known = track(2)
    write_animated_glb(tmp_path / "m.glb", TETRAHEDRON, MOVES, np.zeros((2, 2)), known.rotation, known.shift)
    scene = trimesh.load(tmp_path / "m.glb", force="scene")
    low, high = scene.bounds
    points = (known.rotation[0] @ TETRAHEDRON.vertices.T).T + known.shift[0]
    points = points @ np.diag([1.0, -1, -1]) / 1000
    np.testing.assert_allclose(low, points.min(0), atol=1e-5)
    np.testing.assert_allclose(high, points.max(0), atol=1e-5)


def test_moving_heads_that_make_no_sense_are_refused(tmp_path):
    path, R, t = tmp_path / "m.glb", np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3))
    good = np.zeros((3, 2))
    cases = [
        ("weights: expected shape", dict(weights=np.zeros((3, 1)))),
        ("weights: expected finite", dict(weights=np.full((3, 2), np.nan))),
        ("both or neither", dict(rotation=R)),
        ("rotation: expected shape", dict(rotation=R[:2], shift=t)),
        ("rotation: expected rotations", dict(rotation=2 * R, shift=t)),
        ("shift: expected shape", dict(rotation=R, shift=t[:1])),
        ("rate", dict(rate=0)),
        ("field_of_view", dict(field_of_view=4.0)),
        ("aspect", dict(field_of_view=1.0, aspect=-1)),
    ]
    for text, change in cases:
        with pytest.raises(ValueError, match=text):
            write_animated_glb(path, TETRAHEDRON, MOVES, **{"weights": good, **change})
    with pytest.raises(ValueError, match="at least one"):
        write_animated_glb(path, TETRAHEDRON, {}, good)
    with pytest.raises(ValueError, match="ending in .glb"):
        write_animated_glb(tmp_path / "m.gltf", TETRAHEDRON, MOVES, good)
    assert not list(tmp_path.iterdir())
