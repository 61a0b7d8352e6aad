"""Landmark files say where points are; malformed ones are refused in one sentence."""

import json

import numpy as np
import pytest

from affect3d.io.landmark_files import read_landmark_vertices, read_landmarks, write_landmarks
from affect3d.landmarks import Landmarks


def ibug(seed=0, dimensions=2):
    return np.random.default_rng(seed).uniform(10, 500, (68, dimensions))


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def pts(points, header="version: 1\nn_points: 68\n"):
    return header + "{\n" + "\n".join(" ".join(repr(float(v)) for v in row) for row in points) + "\n}\n"


@pytest.mark.parametrize("scheme, count", [("ibug68", 68), ("mediapipe478", 478)])
@pytest.mark.parametrize("unit, dimensions", [("px", 2), ("mm", 3), ("px", 3)])
def test_json_gives_back_every_digit_and_every_gap(tmp_path, scheme, count, unit, dimensions):
    points = np.random.default_rng(3).normal(0, 100, (count, dimensions))
    points[[0, 5, count - 1]] = np.nan
    write_landmarks(tmp_path / "a.json", Landmarks(scheme, points, unit))
    back = read_landmarks(tmp_path / "a.json")
    assert (back.scheme, back.unit) == (scheme, unit)
    np.testing.assert_array_equal(back.points, points)


def test_what_is_written_is_the_documented_form(tmp_path):
    points = ibug()
    points[3] = np.nan
    write_landmarks(tmp_path / "a.json", Landmarks("ibug68", points))
    content = json.loads((tmp_path / "a.json").read_text())
    assert set(content) == {"scheme", "unit", "points"}
    assert content["points"][3] is None
    assert content["points"][4] == points[4].tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_half_missing_point_is_written_as_missing(tmp_path):
    points = ibug()
    points[7, 1] = np.nan
    write_landmarks(tmp_path / "a.json", Landmarks("ibug68", points))
    assert np.isnan(read_landmarks(tmp_path / "a.json").points[7]).all()


def test_pts_files_count_from_one(tmp_path):
    points = ibug()
    read = read_landmarks(write(tmp_path / "a.pts", pts(points + 1)))
    np.testing.assert_allclose(read.points, points, atol=1e-12)
    assert (read.scheme, read.unit) == ("ibug68", "px")


def test_pts_files_from_various_tools_are_read(tmp_path):
    points = ibug()
    rows = "\r\n".join(f"\t{x!r}, {y!r}" for x, y in points.tolist())
    text = "\ufeffversion: 1\r\nn_points:  68\r\n\r\n{\r\n" + rows + "\r\n}"
    np.testing.assert_allclose(read_landmarks(write(tmp_path / "a.PTS", text)).points, points - 1)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_menpo_files_hold_y_before_x(tmp_path, version):
    points = ibug()
    stored = points[:, ::-1].tolist()
    content = {
        1: {"version": 1, "groups": [{"label": "all", "landmarks": [{"point": p} for p in stored]}]},
        2: {"version": 2, "labels": [], "landmarks": {"connectivity": [], "points": stored}},
        3: {"version": 3, "groups": {"LJSON": {"labels": [], "landmarks": {"connectivity": [], "points": stored}}}},
    }[version]
    np.testing.assert_array_equal(read_landmarks(write(tmp_path / "a.ljson", content)).points, points)


def test_menpo_files_in_space_keep_their_order_and_gaps(tmp_path):
    points = ibug(dimensions=3)
    stored = points.tolist()
    stored[9] = [None, None, None]
    read = read_landmarks(write(tmp_path / "a.ljson", {"version": 2, "landmarks": {"points": stored}}))
    points[9] = np.nan
    np.testing.assert_array_equal(read.points, points)
    assert read.unit == "mm"


def test_vertices_of_a_mesh_are_read(tmp_path):
    listed = list(range(100, 168))
    listed[4] = None
    path = write(tmp_path / "m.landmarks.json", {"scheme": "ibug68", "vertices": listed})
    scheme, vertices = read_landmark_vertices(path)
    assert scheme == "ibug68"
    assert vertices.dtype == np.int32
    assert vertices[:6].tolist() == [100, 101, 102, 103, -1, 105]


GOOD = {"scheme": "ibug68", "unit": "px", "points": [[1.0, 2.0]] * 68}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON object, got list"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ({**GOOD, "scheme": "ibug67"}, "'scheme': expected one of ibug68"),
        ({**GOOD, "scheme": ["ibug68"]}, "'scheme'"),
        ({**GOOD, "unit": "cm"}, "'unit': expected 'px' or 'mm', got 'cm'"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67}, "ibug68 has 68 points, got 67"),
        ({**GOOD, "points": []}, "expected a list of points"),
        ({**GOOD, "points": {"0": [1, 2]}}, "expected a list of points"),
        ({**GOOD, "points": [[1.0]] * 68}, "two or three coordinates"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67 + [[1.0, 2.0, 3.0]]}, "the same number for every point"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67 + [["1", "2"]]}, "entry 67 is neither null nor a row of numbers"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67 + [[True, 2]]}, "entry 67"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67 + [5]}, "entry 67"),
        ({**GOOD, "points": [[1.0, 2.0]] * 67 + [[1e300, 2]]}, "beyond any picture"),
        ({**GOOD, "points": [None] * 68}, "two or three coordinates"),
        (json.dumps(GOOD).replace("2.0", "NaN", 1), "NaN is no coordinate"),
        (json.dumps(GOOD).replace("2.0", "1e999", 1), "beyond any picture"),
        ({"scheme": "ibug68", "unit": "px", "vertices": [1] * 68}, "holds vertices of a mesh"),
        ({"scheme": "ibug68", "unit": "px"}, "expected a list of points"),
    ],
)
def test_malformed_json_is_one_sentence_naming_the_file(tmp_path, content, word):
    with pytest.raises(ValueError, match=word) as caught:
        read_landmarks(write(tmp_path / "bad.json", content))
    assert "bad.json: " in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "between '{' and '}'"),
        ("}\n1 2\n{", "between '{' and '}'"),
        (pts(np.ones((67, 2))), "promises 68 points, the file has 67"),
        (pts(np.ones((5, 2)), "version: 1\n"), "expected a known number of points"),
        (pts(np.ones((68, 2))).replace("1.0 1.0", "1.0 one", 1), "point 1 is no row of numbers"),
        (pts(np.ones((68, 2))).replace("1.0 1.0", "1.0", 1), "same number"),
        (pts(np.ones((68, 2))).replace("1.0 1.0", "nan 1.0", 1), "entry 0 is beyond"),
    ],
)
def test_malformed_pts_files_are_one_sentence(tmp_path, content, word):
    with pytest.raises(ValueError, match=rf"bad\.pts: .*{word}"):
        read_landmarks(write(tmp_path / "bad.pts", content))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"version": 4}, "expected 1, 2 or 3, got 4"),
        ({"version": 2}, "list of points is missing"),
        ({"version": 2, "landmarks": []}, "list of points is missing"),
        ({"version": 3, "groups": {"a": {}, "b": {}}}, "expected one group of landmarks, got 2: a, b"),
        ({"version": 3, "groups": [{}]}, "list of points is missing"),
        ({"version": 1, "groups": [{"landmarks": [{}]}]}, "list of points is missing"),
        ({"version": 2, "landmarks": {"points": [[1, 2]] * 12}}, "got 12"),
    ],
)
def test_malformed_menpo_files_are_one_sentence(tmp_path, content, word):
    with pytest.raises(ValueError, match=rf"bad\.ljson: .*{word}"):
        read_landmarks(write(tmp_path / "bad.ljson", content))


@pytest.mark.parametrize("vertices", [[1] * 67, [1.5] * 68, [-1] * 68, [2**40] * 68, ["a"] * 68, None, [True] * 68])
def test_malformed_vertices_are_one_sentence(tmp_path, vertices):
    with pytest.raises(ValueError, match=r"bad\.json: 'vertices'"):
        read_landmark_vertices(write(tmp_path / "bad.json", {"scheme": "ibug68", "vertices": vertices}))


def test_files_that_are_no_landmark_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a name ending in one of \.pts, .*, \.json, got '\.xyz'"):
        read_landmarks(tmp_path / "a.xyz")
    with pytest.raises(FileNotFoundError, match=r"a\.pts: does not exist"):
        read_landmarks(tmp_path / "a.pts")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_landmarks(tmp_path / "folder.json")
    (tmp_path / "binary.pts").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="not a text file"):
        read_landmarks(tmp_path / "binary.pts")
    (tmp_path / "huge.json").write_bytes(b" " * 4_000_001)
    with pytest.raises(ValueError, match="larger than a landmark file"):
        read_landmarks(tmp_path / "huge.json")
    with pytest.raises(ValueError, match="written as .json, got '.pts'"):
        write_landmarks(tmp_path / "a.pts", Landmarks("ibug68", ibug()))


def test_labelled_ljson_points_are_brought_into_the_order_of_ibug(tmp_path):
    """Older files list the eyes before the brows."""
    places = {"chin": (0, 17), "leye": (36, 42), "reye": (42, 48), "leyebrow": (17, 22), "nose": (27, 36)}
    places |= {"reyebrow": (22, 27), "mouth": (48, 68)}
    true = np.random.default_rng(0).normal(0, 50, (68, 3))
    order = [k for first, last in places.values() for k in range(first, last)]
    labels, start = [], 0
    for name, (first, last) in places.items():
        labels.append({"label": name, "mask": list(range(start, start + last - first))})
        start += last - first
    group = {"labels": labels, "landmarks": {"points": true[order].tolist()}}
    path = tmp_path / "a.ljson"
    path.write_text(json.dumps({"version": 3, "groups": {"LJSON": group}}))
    np.testing.assert_array_equal(read_landmarks(path).points, true)
    labels[1]["mask"] = labels[0]["mask"][:6]  # masks that overlap say nothing
    path.write_text(json.dumps({"version": 3, "groups": {"LJSON": group}}))
    np.testing.assert_array_equal(read_landmarks(path).points, true[order])


TRUE = np.round(np.random.default_rng(3).normal(0, 60, (68, 3)), 4)


@pytest.mark.parametrize(
    "name, head, row",
    [
        ("a.txt", "", "{0} {1} {2}"), ("a.txt", "# from a scanner\n", "{3}\t{0}\t{1}\t{2}"),
        ("a.csv", "x,y,z\n", "{0},{1},{2}"), ("a.csv", "name;x;y;z\n", '"point {3}";{0};{1};{2}'.replace(" ", "_")),
        ("a.csv", "", "left_eye_{3}, {0}, {1}, {2}"),
    ],
)
def test_tables_of_points_are_read(tmp_path, name, head, row):
    path = tmp_path / name
    path.write_text(head + "\n".join(row.format(*map(float, p), k) for k, p in enumerate(TRUE)) + "\n\n")
    found = read_landmarks(path)
    assert (found.scheme, found.unit) == ("ibug68", "mm")
    np.testing.assert_array_equal(found.points, TRUE)


def test_picked_points_are_read_and_inactive_ones_are_missing(tmp_path):
    path = tmp_path / "a.pp"
    rows = [
        f'<point x="{x}" y="{y}" z="{z}" active="{int(k != 5)}" name="{k}"/>' for k, (x, y, z) in enumerate(TRUE)
    ]
    path.write_text("<!DOCTYPE PickedPoints>\n<PickedPoints>" + "\n".join(rows) + "</PickedPoints>")
    points = read_landmarks(path).points
    assert np.isnan(points[5]).all()
    np.testing.assert_array_equal(np.delete(points, 5, 0), np.delete(TRUE, 5, 0))


def test_fifty_one_points_are_those_without_the_outline(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(f"{x} {y} {z}" for x, y, z in TRUE[17:]))
    points = read_landmarks(path).points
    assert np.isnan(points[:17]).all()
    np.testing.assert_array_equal(points[17:], TRUE[17:])


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.csv", "1,2,3\n4,5\n"), ("a.csv", "1,2,3\nname,other\n"), ("a.txt", ""), ("a.txt", "1 2 3 4 5\n"),
        ("a.txt", "1 2 3\n" * 7), ("a.txt", "inf 2 3\n" * 68), ("a.pp", "<PickedPoints/>"),
        ("a.pp", '<point x="1" y="2"/>'), ("a.pp", '<point x="a" y="2" z="3"/>'),
    ],
)
def test_tables_of_other_things_are_refused(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=name):
        read_landmarks(path)
