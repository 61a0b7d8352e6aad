"""Meshes survive every format; what other programs write is read; damaged and hostile files end in one sentence."""

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from affect3d.io import glb, glb_container, mesh_parts, obj, off, ply, stl, units, wrl
from affect3d.io.mesh_file import MESH_SUFFIXES, guess_file_unit, read_mesh, write_mesh
from affect3d.mesh import Mesh

SHARED = Path(os.environ.get("AFFECT3D_SHARED", Path(__file__).resolve().parents[2] / "shared"))
JAMES = SHARED / "scans" / "james.obj"
needs_james = pytest.mark.skipif(not JAMES.is_file(), reason=f"needs {JAMES}")


def patch(rows=6, columns=7, uv=None, colours=False, seed=0):
    """A bent grid with a vertex in no triangle, a degenerate and a duplicate triangle.

    `uv`: None, "vertex" (one coordinate a vertex) or "seams" (own indices, one coordinate unused).
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    vertices = np.column_stack([x.ravel() * 10.0, y.ravel() * 10.0, rng.normal(size=x.size)])
    vertices = np.vstack([vertices, [[5.0, -7.0, 1 / 3]]])
    a = (y[:-1, :-1] * columns + x[:-1, :-1]).ravel()
    b = a + columns
    faces = np.concatenate([np.column_stack([a, a + 1, b + 1]), np.column_stack([a, b + 1, b])])
    faces = np.vstack([faces, [[3, 3, 4]], faces[:1]])
    extra = {}
    if uv == "vertex":
        extra["uv"] = rng.random((len(vertices), 2))
    if uv == "seams":
        own = faces.copy()
        own[::3] += len(vertices)  # a third of the triangles stand elsewhere in the picture
        extra |= {"uv": rng.random((2 * len(vertices) + 1, 2)), "uv_faces": own}
    if colours:
        extra["colours"] = rng.integers(0, 256, (len(vertices), 3), dtype=np.uint8)
    return Mesh(vertices, faces, **extra)


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def the_message(call, *arguments, **options):
    with pytest.raises(ValueError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


# --- round trips

#: How closely coordinates (mm) and texture coordinates come back.
KEPT = {".obj": 5.1e-5, ".ply": 1e-12, ".off": 1e-12, ".wrl": 1e-12, ".glb": 1e-5}


@pytest.mark.parametrize("suffix", KEPT)
@pytest.mark.parametrize("uv", [None, "vertex", "seams"])
@pytest.mark.parametrize("colours", [False, True])
def test_order_count_places_seams_and_colours_survive_a_round_trip(tmp_path, suffix, uv, colours):
    mesh = patch(uv=uv, colours=colours)
    write_mesh(tmp_path / f"a{suffix}", mesh)
    back = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=KEPT[suffix], rtol=0)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    if colours:
        np.testing.assert_array_equal(back.colours, mesh.colours)
    else:
        assert back.colours is None
    if uv is None or suffix == ".off":  # OFF has no texture coordinates of its own indices
        assert back.uv is None
    else:
        np.testing.assert_allclose(back.uv[back.uv_faces], mesh.uv[mesh.uv_faces], atol=6e-7)
    if uv and suffix in (".obj", ".wrl"):
        np.testing.assert_array_equal(back.uv_faces, mesh.uv_faces)
        assert len(back.uv) == len(mesh.uv)


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
def test_the_unit_a_file_states_is_the_unit_it_is_written_in(tmp_path, suffix, unit):
    mesh, path = patch(), tmp_path / f"a{suffix}"
    if suffix == ".glb" and unit != "m":
        assert "in metres" in the_message(write_mesh, path, mesh, unit)
        return
    write_mesh(path, mesh, unit)
    corners = mesh.vertices[mesh.faces]
    back = read_mesh(path)
    np.testing.assert_allclose(back.vertices[back.faces], corners, atol=6e-5)
    # the caller's word outranks the file's: the numbers in it are those of the unit
    raw = read_mesh(path, unit="mm")
    np.testing.assert_allclose(raw.vertices[raw.faces] * units.MILLIMETRES[unit], corners, atol=6e-5)


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_the_same_mesh_gives_the_same_bytes_and_leaves_nothing_beside_them(tmp_path, suffix):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_mesh(tmp_path / folder / f"a{suffix}", patch(uv="seams", colours=True))
    one, two = (tmp_path / folder / f"a{suffix}" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert [p.name for p in one.parent.iterdir()] == [one.name]


def test_text_and_bytes_of_ply_hold_the_same(tmp_path):
    mesh = patch(uv="seams", colours=True)
    ply.write_ply(tmp_path / "text.ply", mesh, text=True)
    ply.write_ply(tmp_path / "bytes.ply", mesh)
    text, packed = read_mesh(tmp_path / "text.ply"), read_mesh(tmp_path / "bytes.ply")
    for name in ("vertices", "faces", "uv", "uv_faces", "colours"):
        np.testing.assert_array_equal(getattr(text, name), getattr(packed, name))


def test_a_mesh_without_faces_comes_back(tmp_path):
    cloud = Mesh(np.random.default_rng(1).normal(size=(5, 3)), np.empty((0, 3), int))
    for suffix in KEPT:
        write_mesh(tmp_path / f"a{suffix}", cloud)
        back = read_mesh(tmp_path / f"a{suffix}")
        np.testing.assert_allclose(back.vertices, cloud.vertices, atol=5.1e-5)
        assert back.faces.shape == (0, 3)


# --- units and dispatch


@needs_james
def test_a_file_that_states_no_unit_is_asked_for_one():
    message = the_message(read_mesh, JAMES)
    assert str(JAMES) in message and "'mm', 'cm' or 'm'" in message


@pytest.mark.parametrize("unit", ["inch", "MM", 1, ""])
def test_an_unknown_unit_is_refused_with_the_choices(tmp_path, unit):
    write_mesh(tmp_path / "a.ply", patch())
    assert "expected one of 'mm', 'cm', 'm'" in the_message(read_mesh, tmp_path / "a.ply", unit=unit)
    assert "expected one of 'mm', 'cm', 'm'" in the_message(write_mesh, tmp_path / "b.ply", patch(), unit)


@pytest.mark.parametrize("unit, size", [("mm", 240.0), ("cm", 24.0), ("m", 0.24), (None, 5.0)])
def test_a_guess_of_the_unit_says_that_it_is_one(tmp_path, unit, size):
    path = write(tmp_path, "head.obj", f"v 0 0 0\nv 0 {size} 0\nv 1e-3 0 0\nf 1 2 3\n")
    guess = guess_file_unit(path)
    assert guess.unit == unit and guess.extent == size
    assert "guess" in guess.reason
    with pytest.raises(ValueError, match="does not state"):
        read_mesh(path)


def test_the_content_outranks_the_suffix(tmp_path):
    mesh = patch()
    for suffix in (".ply", ".wrl", ".glb", ".off"):
        write_mesh(tmp_path / f"a{suffix}", mesh)
        (tmp_path / f"a{suffix}").rename(tmp_path / "b.obj")
        np.testing.assert_allclose(read_mesh(tmp_path / "b.obj").vertices, mesh.vertices, atol=1e-4)
    stl.write_stl(tmp_path / "a.stl", mesh)
    (tmp_path / "a.stl").rename(tmp_path / "noname")
    assert len(read_mesh(tmp_path / "noname").faces) == len(mesh.faces)


def test_what_is_no_mesh_file_is_refused_with_the_choices(tmp_path):
    message = the_message(read_mesh, write(tmp_path, "a.fbx", "Kaydara"), unit="mm")
    assert ".obj, .ply, .stl, .off, .wrl or .glb" in message and "a.fbx" in message
    assert ".obj, .ply, .stl, .off, .wrl or .glb" in the_message(write_mesh, tmp_path / "a.xyz", patch())
    assert "empty" in the_message(read_mesh, write(tmp_path, "a.obj", b""))
    with pytest.raises(FileNotFoundError):
        read_mesh(tmp_path / "missing.obj")


@pytest.mark.parametrize("module", [obj, ply, stl, off, wrl, glb])
def test_each_writer_refuses_another_suffix_and_each_reader_reads_its_own(tmp_path, module):
    suffix = module.__name__.rpartition(".")[2]
    writer, reader = getattr(module, f"write_{suffix}"), getattr(module, f"read_{suffix}")
    assert f"ending in .{suffix}, got '.xyz'" in the_message(writer, tmp_path / "a.xyz", patch())
    writer(tmp_path / f"a.{suffix}", patch())
    assert len(reader(tmp_path / f"a.{suffix}").faces) == len(patch().faces)


# --- OBJ


def obj_mesh(tmp_path, text):
    return read_mesh(write(tmp_path, "a.obj", text), unit="mm")


def test_obj_as_other_programs_write_it(tmp_path):
    text = (
        "\ufeff# Object: eyes # twice\r\nmtllib a.mtl\r\no head\r\ng face skin\r\n"
        "v 0 0 0\r\nv\t1 0\t0 \r\n  v 1 1 0 1.0\r\nv 0 1 \\\r\n 0\r\nv 5 5 5 # alone\r\n"
        "vn 0 0 1\r\nvt 0 0 0\r\nvt 1 0 0\r\nvt 1 1\r\nvt 0.5\r\n"
        "usemtl skin\r\ns off\r\nf 1/1/1 2/2/1 3/3/1 4/4/1\r\nl 1 2\r\np 5\r\nf 1//1 2//1 5//1\r\nf -5 -4/ -3/-2/-1"
    )
    mesh = obj_mesh(tmp_path, text)
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4], [0, 1, 2]])
    # corners without a coordinate get one more row at the end
    np.testing.assert_array_equal(mesh.uv, [[0, 0], [1, 0], [1, 1], [0.5, 0], [0, 0]])
    np.testing.assert_array_equal(mesh.uv_faces, [[0, 1, 2], [0, 2, 3], [4, 4, 4], [4, 4, 2]])


def test_negative_obj_indices_count_back_from_where_they_stand(tmp_path):
    block = "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\nvt 0.{0} 0\nf -3/-1 -2/-1 -1/-1\n"
    mesh = obj_mesh(tmp_path, block.format(0) + block.format(1) + block.format(2))
    np.testing.assert_array_equal(mesh.faces, np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(mesh.uv_faces, np.repeat(np.arange(3), 3).reshape(3, 3))
    np.testing.assert_allclose(mesh.uv[:, 0], [0, 0.1, 0.2])


def test_a_polygon_is_fanned_from_its_first_corner(tmp_path):
    corners = [f"v {np.cos(t)} {np.sin(t)} 0" for t in np.linspace(0, 5, 6)]
    mesh = obj_mesh(tmp_path, "\n".join(corners) + "\nf 1 2 3\nf 2 3 4 5 6\nf 6 5 4 3\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [1, 2, 3], [1, 3, 4], [1, 4, 5], [5, 4, 3], [5, 3, 2]])


def test_obj_colours_are_read_in_both_ranges(tmp_path):
    faces = "f 1 2 3\n"
    small = obj_mesh(tmp_path, "v 0 0 0 0 0.5 1\nv 1 0 0 1 0 0\nv 0 1 0 0 0 0\n" + faces)
    large = obj_mesh(tmp_path, "v 0 0 0 0 128 255\nv 1 0 0 255 0 0\nv 0 1 0 0 0 0\n" + faces)
    np.testing.assert_array_equal(small.colours, large.colours)
    np.testing.assert_array_equal(small.colours, [[0, 128, 255], [255, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("v 0 0\nv 1 0 0\n", "v: vertex 0: expected 3 or 4 or 6 or 7 numbers, got 2"),
        ("v 0 0 x\n", "numbers only, got 'x'"),
        ("v 0 0 1-2\n", "numbers only, got '1-2'"),
        ("v 0 0 nan\nv 0 0 0\n", "vertex 0"),
        ("v 0 0 0\nv 0 0 inf\n", "vertex 1"),
        ("v 0 0 1e999\n", "vertex 0"),
        ("v 0 0 0\nf 1 1 2\n", "indices must lie in [0, 1) counted from 0, got 1"),
        ("v 0 0 0\nf 1 1 0\n", "count from 1"),
        ("v 0 0 0\nf 1 1 -2\n", "-2 counts back beyond the first one"),
        ("v 0 0 0\nf 1 1\n", "face 0 has 2 corners, expected at least 3"),
        ("v 0 0 0\nf\n", "got a line without"),
        ("v 0 0 0\nf 1 1 1.5\n", "whole numbers only"),
        ("v 0 0 0\nf 1 1 99999999999999999999\n", "indices must lie in [0, 1)"),
        ("v 0 0 0\nf 1/2/3/4 1 1\n", "two slashes"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/2 1/1\n", "texture coordinates of the faces"),
        ("v 0 0 0\nf 1/1 1/1 1/1\n", "the file holds none"),
        ("v 0 0 0\nvt nan 0\nf 1/1 1/1 1/1\n", "uv"),
        ("v 0 0 0 -1 0 0\n", "colours: expected numbers in [0, 1] or [0, 255]"),
        ("hello\n", "vertices: the file holds none"),
        (b"\x00\xff\xfe" * 100, "vertices: the file holds none"),
    ],
)
def test_a_damaged_obj_is_one_sentence(tmp_path, text, expected):
    message = the_message(read_mesh, write(tmp_path, "a.obj", text), unit="mm")
    assert message.startswith(str(tmp_path / "a.obj")) and expected in message


# --- PLY


def ply_bytes(order, vertices, polygons, before="", extra=True):
    """A PLY file by struct, with properties and elements nobody asked for; `order` is "ascii", "<" or ">"."""
    kinds = {"ascii": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}
    head = f"ply\r\nformat {kinds[order]} 1.0\r\ncomment made by hand\r\nobj_info num_cols 512\r\n{before}"
    head += "element material 2\r\nproperty short id\r\nproperty list uchar float values\r\n"
    head += f"element vertex {len(vertices)}\r\nproperty float nx\r\nproperty double x\r\nproperty float y\r\n"
    head += "property float z\r\nproperty uchar red\r\nproperty uchar green\r\nproperty uchar blue\r\n"
    head += "property float s\r\nproperty float t\r\n"
    head += f"element face {len(polygons)}\r\nproperty uchar flags\r\nproperty list uchar int vertex_indices\r\n"
    head += "property list ushort char notes\r\nproperty int tail\r\nelement edge 1\r\nproperty int a\r\nend_header\r\n"
    rows = [("h", [7]), ("B", [2]), ("f", [0.5, 0.25]), ("h", [8]), ("B", [0])]
    for i, v in enumerate(vertices):
        rows += [("f", [9.0]), ("d", v[:1]), ("f", v[1:]), ("B", [i, 2 * i, 255]), ("f", [i / 8, 1 - i / 8])]
    for i, polygon in enumerate(polygons):
        notes = [-1] * (i % 3)
        rows += [("B", [1]), ("B", [len(polygon)]), ("i", polygon), ("H", [len(notes)]), ("b", notes), ("i", [-5])]
    rows += [("i", [3])]
    if order == "ascii":
        return head.encode() + " ".join(str(x) for _, values in rows for x in values).encode()
    return head.encode() + b"".join(struct.pack(f"{order}{len(v)}{kind}", *v) for kind, v in rows)


VERTICES = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 2.0, -0.25]]


@pytest.mark.parametrize("order", ["ascii", "<", ">"])
@pytest.mark.parametrize("polygons", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 2, 3], [3, 2, 4]], [[4, 3, 2, 1, 0]]])
def test_ply_of_every_order_with_foreign_elements_is_read(tmp_path, order, polygons):
    mesh = read_mesh(write(tmp_path, "a.ply", ply_bytes(order, VERTICES, polygons)), unit="cm")
    np.testing.assert_allclose(mesh.vertices, 10 * np.array(VERTICES))
    fans = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    np.testing.assert_array_equal(mesh.faces, fans)
    i = np.arange(5)
    np.testing.assert_array_equal(mesh.colours, np.column_stack([i, 2 * i, np.full(5, 255)]))
    np.testing.assert_allclose(mesh.uv, np.column_stack([i / 8, 1 - i / 8]))
    np.testing.assert_array_equal(mesh.uv_faces, mesh.faces)


@pytest.mark.parametrize("order", ["ascii", "<", ">"])
def test_a_ply_cut_anywhere_is_refused(tmp_path, order):
    data = ply_bytes(order, VERTICES, [[0, 1, 2, 3], [3, 2, 4], [0, 1, 4]])
    last = len(data) - 1 if order != "ascii" else len(data) - 2
    for end in range(3, last, 1 if order != "ascii" else 3):
        if order == "ascii" and data[end - 1 : end + 1].strip() == data[end - 1 : end + 1]:
            continue  # half a number of text is a number too
        path = write(tmp_path, "a.ply", data[:end])
        assert str(path) in the_message(read_mesh, path, unit="mm")


@pytest.mark.parametrize("count", [10**6, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("order", ["ascii", "<"])
@pytest.mark.parametrize("element", ["vertex 5", "face 1", "material 2"])
def test_a_ply_header_that_promises_too_much_allocates_nothing(tmp_path, count, order, element):
    data = ply_bytes(order, VERTICES, [[0, 1, 2]])
    name = element.split()[0]
    data = data.replace(f"element {element}\r".encode(), f"element {name} {count}\r".encode())
    path = write(tmp_path, "a.ply", data)
    assert f"promises {count} rows of '{name}'" in assert_small(lambda: the_message(read_mesh, path, unit="mm"))


def assert_small(call, most=8 << 20):
    """The call allocates little, NumPy's arrays included."""
    import tracemalloc

    tracemalloc.start()
    try:
        result = call()
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    return result


def test_ply_lists_that_promise_too_much_are_refused(tmp_path):
    head = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    head += b"property float z\nelement face 2\nproperty list int int vertex_indices\nend_header\n" + bytes(12)
    for counts in ([3, 2**31 - 1], [2**31 - 1, 3], [-1, 3], [3, -7]):
        body = b"".join(struct.pack("<i", n) + bytes(12) for n in counts)
        path = write(tmp_path, "a.ply", head + body)
        assert "face" in assert_small(lambda: the_message(read_mesh, path, unit="mm"))


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("double x", "double q", "properties x, y and z"),
        ("float y", "complex y", "property complex y"),
        ("ascii", "binary_middle_endian", "binary_middle_endian"),
        ("end_header", "end_heeder", "end_header"),
        ("vertex_indices", "corners", "vertex_indices"),
        ("element edge", "element face", "two elements 'face'"),
        ("float t", "float s", "two properties 's'"),
        ("uchar int vertex_indices", "float int vertex_indices", "counted by fractions"),
        ("\n9.0 ", "\nnine ", "got 'nine'"),
        ("element vertex 5", "element vertex -5", "element vertex -5"),
    ],
)
def test_a_ply_header_that_is_wrong_is_one_sentence(tmp_path, old, new, expected):
    text = ply_bytes("ascii", VERTICES, [[0, 1, 2]]).decode().replace("0.5 0.25 8 0 9.0", "0.5 0.25 8 0\n9.0")
    assert old in text
    assert expected in the_message(read_mesh, write(tmp_path, "a.ply", text.replace(old, new)), unit="mm")


def test_float_colours_of_a_ply_and_texture_of_its_corners_are_read(tmp_path):
    text = (
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "property float red\nproperty float green\nproperty float blue\nelement face 1\n"
        "property list uchar uint vertex_index\nproperty list uchar float texcoord\nend_header\n"
        "0 0 0 1 0.5 0\n1 0 0 0 0 0\n0 1 0 0 0 1\n3 2 0 1 6 0.1 0.2 0.3 0.4 0.5 0.6\n"
    )
    mesh = read_mesh(write(tmp_path, "a.ply", text), unit="mm")
    np.testing.assert_array_equal(mesh.colours, [[255, 128, 0], [0, 0, 0], [0, 0, 255]])
    np.testing.assert_allclose(mesh.uv[mesh.uv_faces], [[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    nameless = text.replace("vertex_index", "corners")
    assert "'vertex_indices'" in the_message(read_mesh, write(tmp_path, "c.ply", nameless), unit="mm")
    wrong = text.replace("6 0.1 0.2 0.3 0.4 0.5 0.6", "4 0.1 0.2 0.3 0.4")
    assert "texcoord" in the_message(read_mesh, write(tmp_path, "b.ply", wrong), unit="mm")


# --- STL


def test_text_and_bytes_of_stl_hold_three_vertices_for_each_triangle(tmp_path):
    triangles = np.random.default_rng(5).normal(size=(4, 3, 3)).astype(np.float32)
    rows = ""
    for triangle in triangles.tolist():
        corners = "".join(f"   vertex {x!r} {y!r} {z!r}\n" for x, y, z in triangle)
        rows += f" facet normal 0 0 1\n  outer loop\n{corners}  endloop\n endfacet\n"
    text = read_mesh(write(tmp_path, "a.stl", f"solid face # 1\n{rows}endsolid face\n"), unit="m")
    # a binary file may begin with "solid" as well
    packed = b"solid by a careless program".ljust(80) + struct.pack("<I", 4)
    packed += b"".join(struct.pack("<12fH", 0, 0, 1, *t.ravel(), 3) for t in triangles)
    binary = read_mesh(write(tmp_path, "b.stl", packed), unit="m")
    for mesh in (text, binary):
        np.testing.assert_allclose(mesh.vertices, 1000 * triangles.reshape(-1, 3))
        np.testing.assert_array_equal(mesh.faces, np.arange(12).reshape(4, 3))
    assert "promises 4 triangles, the file holds 3" in the_message(
        read_mesh, write(tmp_path, "c.stl", b"x" + packed[1:-1].replace(b"solid", b"other")), unit="m"
    )
    for end in (len(rows) // 2, len(rows)):
        assert "endsolid" in the_message(read_mesh, write(tmp_path, "d.stl", ("solid x\n" + rows)[:end]), unit="m")


def test_identical_vertices_of_an_stl_are_merged_when_asked(tmp_path):
    mesh = patch()
    stl.write_stl(tmp_path / "a.stl", mesh)
    loose = stl.read_stl(tmp_path / "a.stl")
    merged = stl.read_stl(tmp_path / "a.stl", merge=True)
    assert len(loose.vertices) == 3 * len(mesh.faces)
    assert len(merged.vertices) == len(np.unique(mesh.faces))  # the vertex in no triangle is lost
    np.testing.assert_array_equal(merged.vertices[merged.faces], loose.vertices[loose.faces])
    first = [np.flatnonzero((loose.vertices == v).all(axis=1))[0] for v in merged.vertices]
    assert first == sorted(first)


def test_an_stl_that_promises_too_much_allocates_nothing(tmp_path):
    path = write(tmp_path, "a.stl", bytes(80) + b"\xff\xff\xff\xff" + bytes(50))
    assert "promises 4294967295" in assert_small(lambda: the_message(read_mesh, path, unit="mm"))
    assert "at least 84 bytes" in the_message(read_mesh, write(tmp_path, "b.stl", b"abc"), unit="mm")


# --- OFF


@pytest.mark.parametrize(
    "head, row, coloured, textured",
    [
        ("OFF\n# a comment\n\n4 2 0\n", "{x} {y} {z}", False, False),
        ("OFF 4 2 0\n", "{x} {y} {z} {r} {g} 0 255", True, False),
        ("COFF\n4 2 5\n", "{x} {y} {z} {r} {g} 0 255", True, False),
        ("COFF\r\n4 2\r\n", "{x} {y} {z} {fr} {fg} 0.0 1.0", True, False),
        ("NOFF\n4 2 0\n", "{x} {y} {z} 0 0 1", False, False),
        ("STOFF\n4 2 0\n", "{x} {y} {z} {fr} {fg}", False, True),
        ("STCNOFF\n4 2 0\n", "{x} {y} {z} 0 0 1 {r} {g} 0 255 {fr} {fg}", True, True),
    ],
)
def test_off_of_every_kind_is_read(tmp_path, head, row, coloured, textured):
    numbers = [dict(x=x, y=y, z=0.5, r=51 * x, g=255 * y, fr=x / 5, fg=y) for x, y in [(0, 0), (3, 0), (2, 1), (0, 1)]]
    text = head + "\n".join(row.format(**n) for n in numbers) + "\n4 0 1 2 3 255 0 0\n3 2 1 0\n"
    mesh = read_mesh(write(tmp_path, "a.off", text), unit="mm")
    np.testing.assert_array_equal(mesh.vertices, [[n["x"], n["y"], 0.5] for n in numbers])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [2, 1, 0]])
    assert (mesh.colours is not None) == coloured and (mesh.uv is not None) == textured
    if coloured:
        np.testing.assert_array_equal(mesh.colours, [[n["r"], n["g"], 0] for n in numbers])
    if textured:
        np.testing.assert_allclose(mesh.uv, [[n["fr"], n["fg"]] for n in numbers])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n", "promises 3 vertices and 1 faces, the file holds 3 rows"),
        ("OFF\n99999999999999999999 1 0\n0 0 0\n", "promises 99999999999999999999"),
        ("OFF\n", "expected the numbers of vertices"),
        ("OFF\n-1 1 0\n", "expected the numbers of vertices"),
        ("OFF BINARY\n3 1 0\n", "got a binary"),
        ("4OFF\n3 1 0\n", "higher-dimensional"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "face 0: promises 4 corners, its row holds 3"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "[0, 3)"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 1.5\n", "whole numbers"),
        ("OFF\n3 1 0\n0 0 0\n1 0\n0 1 0\n3 0 1 2\n", "vertex 1: expected 3"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0 9 9 9\n0 1 0\n3 0 1 2\n", "rows of one length"),
        ("OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n", "vertex 1"),
    ],
)
def test_a_damaged_off_is_one_sentence(tmp_path, text, expected):
    assert expected in the_message(read_mesh, write(tmp_path, "a.off", text), unit="mm")


def test_one_long_row_of_an_off_does_not_fill_the_memory(tmp_path):
    rows = "3 0 1 2\n" * 20000 + "3 0 1 2" + " 0" * 20000 + "\n"
    path = write(tmp_path, "a.off", "OFF\n3 20001 0\n0 0 0\n1 0 0\n0 1 0\n" + rows)
    assert len(assert_small(lambda: read_mesh(path, unit="mm"), 64 << 20).faces) == 20001


# --- VRML

BU = """#VRML V2.0 utf8
# a "scan", as collections of faces write them
Background { skyColor [ 0.1 0.1 0.1 ] }
NavigationInfo { type "EXAMINE" }
Group { children [
  Shape {
    appearance Appearance { material Material { diffuseColor 1 1 1 } texture ImageTexture { url "a { # [.bmp" } }
    geometry DEF face IndexedFaceSet {
      solid FALSE creaseAngle 1.5
      coord DEF points Coordinate { point [ 0 0 0, 1 0 0,
        1 1 0 # a corner
        , 0 1 0, ] }
      coordIndex [ 0, 1, 2, 3, -1, 2 1 0 ]
      texCoord TextureCoordinate { point [ 0 0, 1 0, 1 1, 0 1, 0.5 0.5 ] }
      texCoordIndex [ 0 1 2 3 -1 4 1 0 -1 ]
    }
  }%s
] }
"""


def test_vrml_as_collections_of_scans_write_it(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.wrl", BU % ""), unit="mm")
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [2, 1, 0]])
    np.testing.assert_array_equal(mesh.uv_faces, [[0, 1, 2], [0, 2, 3], [4, 1, 0]])
    np.testing.assert_array_equal(mesh.uv, [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])


def test_vrml_transforms_colours_and_shapes_used_again(tmp_path):
    more = """
  Transform { translation 10 0 0 rotation 0 0 2 1.5707963267948966 scale 2 1 1 center 0 2 1
    children [ Shape { geometry USE face } ] }
  Transform { scale 1 1 -1 children Shape { geometry IndexedFaceSet {
    ccw FALSE coord USE points coordIndex [ 0 1 2 -1 ]
    color Color { color [ 1 0 0, 0 1 0, 0 0 1, 1 1 1 ] } } } }"""
    mesh = read_mesh(write(tmp_path, "a.wrl", BU % more), unit="mm")
    first = mesh.vertices[:4]
    x, y, z = first.T
    np.testing.assert_allclose(mesh.vertices[4:8], np.column_stack([10 + 2 - y, 2 * x + 2, z]), atol=1e-12)
    np.testing.assert_array_equal(mesh.faces[3:6], mesh.faces[:3] + 4)
    np.testing.assert_array_equal(mesh.uv_faces[3:6], mesh.uv_faces[:3] + 5)
    # mirrored and clockwise: turned twice
    np.testing.assert_array_equal(mesh.faces[6:], [[8, 9, 10]])
    np.testing.assert_array_equal(mesh.uv[mesh.uv_faces[6]], np.zeros((3, 2)))  # this shape has no texture


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("V2.0", "V1.0", "expected a file that begins with '#VRML V2.0 utf8'"),
        ("] }\n", "]", "ends within a node"),
        ("coord DEF", "croord DEF", "found none"),
        ("3, -1, 2 1 0", "3, -1, 2 1 4", "coordIndex: indices must lie in [0, 4), got 4"),
        ("3, -1, 2 1 0", "3, -2, 2 1 0", "count from 0"),
        ("3, -1, 2 1 0", "3, -1, 2 1", "face 1 has 2 corners"),
        ("-1 4 1 0", "-1 5 1 0", "texCoordIndex: indices must lie in [0, 5), got 5"),
        ("-1 4 1 0", "4 1 0", "as many corners"),
        ("1 1 0 #", "1 1 x #", "numbers only, got 'x'"),
        ("1 1 0 #", "1 1 nan #", "vertex 2"),
        ("1 1 0 #", "1 1 #", "expected 3 numbers each"),
        ("coord DEF points Coordinate {", "coord USE pints {", "no node is called 'pints'"),
        ("Group {", "Group { } }", "a '}' too many"),
        ("children [", "children [ ] ]", "a ']' too many"),
    ],
)
def test_a_damaged_vrml_is_one_sentence(tmp_path, old, new, expected):
    text = BU % ""
    assert old in text
    text = text[::-1].replace(old[::-1], new[::-1], 1)[::-1] if old == "] }\n" else text.replace(old, new, 1)
    assert expected in the_message(read_mesh, write(tmp_path, "a.wrl", text), unit="mm")


def test_a_vrml_that_uses_itself_or_its_shapes_without_end_is_refused(tmp_path):
    loop = BU % " DEF a Group { children USE a }"
    assert "holds itself" in the_message(read_mesh, write(tmp_path, "a.wrl", loop), unit="mm")
    doubling = "DEF g0 Group { children Shape { geometry USE face } }\n"
    for i in range(1, 40):
        doubling += f"DEF g{i} Group {{ children [ USE g{i - 1} USE g{i - 1} ] }}\n"
    begin = time.perf_counter()
    message = the_message(read_mesh, write(tmp_path, "b.wrl", BU % doubling), unit="mm")
    assert "over and over" in message or "too many nodes" in message
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("filler", [b'"\\', b"[", b"a{", b'["', b"a{[1 2]", b"[ U 1 2 ", b"# x "])
def test_a_vrml_of_brackets_and_quotes_without_end_takes_linear_time(tmp_path, filler):
    path = write(tmp_path, "a.wrl", b"#VRML V2.0 utf8\n" + filler * (400_000 // len(filler)))
    begin = time.perf_counter()
    the_message(read_mesh, path, unit="mm")
    assert time.perf_counter() - begin < 3  # each quote looking for its end takes minutes


def test_a_ply_header_of_many_lines_takes_linear_time(tmp_path):
    lines = "".join(f"element e{i} 0\nproperty int p{i}\n" for i in range(20_000))
    path = write(tmp_path, "a.ply", f"ply\nformat ascii 1.0\n{lines}end_header\n")
    begin = time.perf_counter()
    assert "element 'vertex'" in the_message(read_mesh, path, unit="mm")
    assert time.perf_counter() - begin < 2


# --- glTF


def glb_parts(path):
    """The document and the bytes, by another hand than the reader's."""
    data = path.read_bytes()
    magic, version, total, length, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON")
    document = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0" and 28 + length + size == total and length % 4 == size % 4 == 0
    return document, data[28 + length :]


def pack(document, binary=b""):
    return glb_container.pack_container(document, binary)


def triangle_glb(**changes):
    """One triangle at whole numbers, whose document can be changed: {"accessors": ..., ...}."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")
    document = {
        "asset": {"version": "2.0"},
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5121, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 3},
        ],
        "buffers": [{"byteLength": 40}],
    } | changes
    return pack(document, points.tobytes() + bytes([0, 1, 2, 0]))


@pytest.mark.parametrize("uv", [None, "seams"])
def test_named_morph_targets_survive_a_round_trip(tmp_path, uv):
    mesh, rng = patch(uv=uv, colours=True), np.random.default_rng(2)
    targets = {name: rng.normal(size=mesh.vertices.shape) for name in ("jawOpen", "mouthSmileLeft", "Lächeln")}
    glb.write_glb(tmp_path / "a.glb", mesh, targets)
    back = glb.read_morph_targets(tmp_path / "a.glb")
    assert list(back) == list(targets)
    for name, moved in targets.items():
        np.testing.assert_allclose(back[name], moved, atol=1e-6)
    document, binary = glb_parts(tmp_path / "a.glb")
    assert document["meshes"][0]["extras"]["targetNames"] == list(targets)
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    view = document["bufferViews"][position["bufferView"]]
    raw = np.frombuffer(binary, "<f4", 3 * position["count"], view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_allclose(raw[: len(mesh.vertices)], mesh.vertices / 1000, rtol=1e-6)  # metres
    np.testing.assert_array_equal(position["min"], raw.min(axis=0))
    np.testing.assert_array_equal(position["max"], raw.max(axis=0))
    assert (len(raw) > len(mesh.vertices)) == (uv == "seams")


def test_normals_of_a_glb_have_unit_length_also_where_there_is_no_triangle(tmp_path):
    mesh = patch()
    glb.write_glb(tmp_path / "a.glb", mesh)
    document, binary = glb_parts(tmp_path / "a.glb")
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]]
    begin = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    normals = np.frombuffer(binary, "<f4", 3 * accessor["count"], begin).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert (normals[:, 2] > 0.3).all()  # the patch lies flat and faces +z


def test_every_srgb_colour_survives_the_linear_colours_of_gltf(tmp_path):
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(-1, 3)
    mesh = Mesh(np.zeros((256, 3)), np.empty((0, 3), int), colours=greys)
    glb.write_glb(tmp_path / "a.glb", mesh)
    np.testing.assert_array_equal(glb.read_glb(tmp_path / "a.glb").colours, greys)
    document, binary = glb_parts(tmp_path / "a.glb")
    view = document["bufferViews"][document["accessors"][2]["bufferView"]]
    row = np.frombuffer(binary, "<u2", 4, view["byteOffset"] + 8 * 188)
    np.testing.assert_allclose(row / 65535, [0.503, 0.503, 0.503, 1], atol=1e-3)  # sRGB 188 is half the light


def test_a_model_becomes_a_glb_with_its_expressions_by_name(tmp_path):
    from affect3d.model.morphable import MorphableModel

    mesh, rng = patch(uv="seams"), np.random.default_rng(3)
    count = len(mesh.vertices)
    model = MorphableModel(
        mesh.vertices, mesh.faces, rng.normal(size=(2, count, 3)), np.array([2.0, 1.0]),
        rng.normal(size=(3, count, 3)), ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"),
        uv=mesh.uv, uv_faces=mesh.uv_faces,
    )  # fmt: skip
    glb.write_model_glb(tmp_path / "a.glb", model, [1.0, -0.5])
    neutral = read_mesh(tmp_path / "a.glb")
    targets = glb.read_morph_targets(tmp_path / "a.glb")
    assert tuple(targets) == model.expression_names
    weights = np.array([0.25, 1.0, 0.0])
    moved = neutral.vertices + sum(w * d for w, d in zip(weights, targets.values()))
    np.testing.assert_allclose(moved, model.instance([1.0, -0.5], weights), atol=2e-5)


def test_a_scene_of_nodes_primitives_and_instances_is_read_in_order(tmp_path):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4")
    strip = np.array([0, 1, 3, 2], "<u2")
    fan = np.array([0, 1, 2, 3], "<u4")
    delta = np.array([[0, 3, 5]], "<f4")
    sparse_row = np.array([2], "<u2")
    uv = np.array([[0, 0], [65535, 0], [65535, 65535], [0, 65535]], "<u2")
    arrays = [square, strip, fan, delta, np.append(sparse_row, [0]).astype("<u2"), uv]
    blocks = [array.tobytes() for array in arrays]
    offsets = np.cumsum([0, *map(len, blocks)])
    views = [{"buffer": 0, "byteOffset": int(o), "byteLength": len(b)} for o, b in zip(offsets, blocks)]
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 4, "type": "SCALAR"},
        {"bufferView": 2, "componentType": 5125, "count": 4, "type": "SCALAR"},
        {"componentType": 5126, "count": 4, "type": "VEC3", "sparse": {
            "count": 1, "indices": {"bufferView": 4, "componentType": 5123}, "values": {"bufferView": 3}}},
        {"bufferView": 5, "componentType": 5123, "count": 4, "type": "VEC2", "normalized": True},
        {"bufferView": 2, "componentType": 5125, "count": 3, "type": "SCALAR", "byteOffset": 4},
    ]  # fmt: skip
    place = {"POSITION": 0, "TEXCOORD_0": 4}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [1, 0]}],
        "nodes": [
            {"mesh": 1, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 7, 1]},
            {"children": [2], "translation": [0, 0, 1]},
            {"mesh": 0, "rotation": [0, 0, 2**-0.5, 2**-0.5], "scale": [2, 1, 1]},
        ],
        "meshes": [
            {"primitives": [
                {"attributes": place, "indices": 1, "mode": 5, "targets": [{"POSITION": 3}]},
                {"attributes": place, "indices": 5, "targets": [{"POSITION": 3}]},
            ]},
            {"primitives": [{"attributes": {"POSITION": 0}, "indices": 2, "mode": 6}]},
        ],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": int(offsets[-1])}],
    }  # fmt: skip
    path = write(tmp_path, "a.glb", pack(document, b"".join(blocks)))
    mesh = read_mesh(path)
    x, y, z = square.astype(float).T
    # the two primitives of the first node share their vertices; it is turned a quarter about z and stretched
    expected = [np.column_stack([-y, 2 * x, z + 1]), np.column_stack([-x, y, z + 7])]
    np.testing.assert_allclose(mesh.vertices, 1000 * np.vstack(expected), atol=1e-4)
    strip_faces, rest, mirrored = [[0, 1, 3], [1, 2, 3]], [[1, 2, 3]], [[6, 5, 4], [7, 6, 4]]
    assert sorted(map(sorted, mesh.faces.tolist())) == sorted(map(sorted, strip_faces + rest + mirrored))
    from affect3d.geometry.triangles import face_normals

    np.testing.assert_allclose(face_normals(mesh.vertices, mesh.faces), [[0, 0, 1]] * 5, atol=1e-6)  # all face outwards
    np.testing.assert_allclose(mesh.uv[mesh.uv_faces[0]], np.column_stack([x, 1 - y])[mesh.faces[0]])
    moved = glb.read_morph_targets(path)
    assert list(moved) == ["target_0"]
    np.testing.assert_allclose(moved["target_0"][2], [-3000, 0, 5000], atol=1e-3)  # turned with its node
    assert np.count_nonzero(moved["target_0"].any(axis=1)) == 1


def test_buffers_of_a_glb_may_be_text(tmp_path):
    import base64

    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes() + bytes([2, 0, 1, 0])
    uri = "data:application/octet-stream;base64," + base64.b64encode(points).decode()
    path = write(tmp_path, "a.glb", triangle_glb(buffers=[{"byteLength": 40, "uri": uri}]))
    assert read_mesh(path).faces.tolist() == [[2, 0, 1]]
    path = write(tmp_path, "b.glb", triangle_glb(buffers=[{"byteLength": 40, "uri": uri + "!"}]))
    assert "base64" in the_message(read_mesh, path)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"bufferViews": [{"buffer": 1, "byteLength": 36}] * 2}, "buffers: expected an index of one of 1"),
        ({"buffers": "x"}, "buffers: expected an index of one of none"),
        ({"meshes": []}, "expected a mesh in the scene"),
        ({"meshes": [{"primitives": [{"attributes": {}}]}]}, "attribute POSITION"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 9}}]}]}, "one of 2, got 9"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 1}}]}]}, "rows of 3 numbers"),
        ({"meshes": [{"primitives": 3}]}, "primitives: expected a list"),
        ({"nodes": [{"children": [0], "mesh": 0}], "scenes": [{"nodes": [0]}]}, "node 0 comes twice"),
        ({"nodes": [{"mesh": 0, "scale": [1, 2]}]}, "3 finite numbers as 'scale'"),
        ({"nodes": [{"mesh": 0, "rotation": [0, 0, 0, 0]}]}, "quaternion of zeros"),
        ({"nodes": [{"mesh": 0, "matrix": "x"}]}, "16 finite numbers as 'matrix'"),
        ({"nodes": [{"mesh": None}]}, "meshes: expected an index"),
        ({"buffers": [{"byteLength": 40, "uri": "a.bin"}]}, "within the file"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 10**15}] * 2}, "the file holds 40"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 36, "byteOffset": -4}] * 2}, "a count as 'byteOffset'"),
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "KHR_draco_mesh_compression, which is not read"),
        ({"accessors": {}}, "accessors: expected an index of one of none"),
        ({"accessors": [3, 4]}, "expected objects"),
    ],
)
def test_a_damaged_glb_is_one_sentence(tmp_path, changes, expected):
    assert read_mesh(write(tmp_path, "ok.glb", triangle_glb())).faces.tolist() == [[0, 1, 2]]
    message = the_message(read_mesh, write(tmp_path, "a.glb", triangle_glb(**changes)))
    assert expected in message and "a.glb" in message


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("count", 10**12, "promises 1000000000000 rows"),
        ("count", 2**70, "promises"),
        ("count", -1, "a count as 'count'"),
        ("count", "3", "a count as 'count'"),
        ("count", True, "a count as 'count'"),
        ("byteOffset", 4, "promises 3 rows"),
        ("componentType", 5130, "rows of 3 numbers"),
        ("componentType", [], "rows of 3 numbers"),
        ("bufferView", 7, "bufferViews: expected an index"),
        ("sparse", {"count": 1}, "'indices' and 'values'"),
    ],
)
def test_an_accessor_that_promises_too_much_allocates_nothing(tmp_path, key, value, expected):
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"} | {key: value},
        {"bufferView": 1, "componentType": 5121, "count": 3, "type": "SCALAR"},
    ]
    path = write(tmp_path, "a.glb", triangle_glb(accessors=accessors))
    assert expected in assert_small(lambda: the_message(read_mesh, path))
    accessors[0] = {"componentType": 5126, "count": 10**9, "type": "VEC3"}
    path = write(tmp_path, "b.glb", triangle_glb(accessors=accessors))
    assert "without a bufferView" in assert_small(lambda: the_message(read_mesh, path))


def test_a_glb_that_repeats_itself_until_the_memory_is_full_is_refused(tmp_path):
    nodes = [{"mesh": 0} for _ in range(5000)]
    path = write(tmp_path, "a.glb", triangle_glb(nodes=nodes))
    assert "more points than bytes" in the_message(read_mesh, path)
    same = [{"attributes": {"POSITION": 0}, "indices": 1}] * 5000
    path = write(tmp_path, "b.glb", triangle_glb(meshes=[{"primitives": same}]))
    assert "outnumber its bytes" in the_message(read_mesh, path)
    # sparse targets cost no bytes: what they come to is compared with the file before they are made
    with pytest.raises(ValueError, match="far more than the file holds"):
        scene = glb._Scene(glb_container.open_container(triangle_glb()))
        scene.moved = [dict.fromkeys(map(str, range(10**6)), (0, 3, np.eye(3)))]
        scene.targets()


@pytest.mark.parametrize("end", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("suffix", [".stl", ".glb", ".ply"])
def test_a_file_of_bytes_cut_short_is_refused(tmp_path, end, suffix):
    write_mesh(tmp_path / f"a{suffix}", patch(uv="seams", colours=True))
    data = (tmp_path / f"a{suffix}").read_bytes()
    path = write(tmp_path, f"b{suffix}", data[: int(end * len(data))])
    assert f"b{suffix}" in the_message(read_mesh, path, unit="mm")


def test_morph_targets_that_do_not_fit_the_mesh_are_refused(tmp_path):
    mesh = patch()
    path = tmp_path / "a.glb"
    assert "morph_targets['a']: expected shape (43, 3), got (2, 3)" in the_message(
        glb.write_glb, path, mesh, {"a": np.zeros((2, 3))}
    )
    assert "finite" in the_message(glb.write_glb, path, mesh, {"a": np.full((43, 3), np.nan)})
    assert "names as keys" in the_message(glb.write_glb, path, mesh, {3: np.zeros((43, 3))})
    assert "without vertices" in the_message(glb.write_glb, path, Mesh(np.empty((0, 3)), np.empty((0, 3), int)))
    assert list(tmp_path.iterdir()) == []


# --- all formats: noise, peers, speed


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_a_file_with_bytes_changed_is_read_or_refused_in_one_sentence(tmp_path, suffix):
    write_mesh(tmp_path / f"a{suffix}", patch(3, 3, uv="seams", colours=True))
    data = (tmp_path / f"a{suffix}").read_bytes()
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(150):
        noisy = bytearray(data)
        # the first bytes steer the reader: most changes go there
        for place in rng.integers(0, rng.choice([200, 1000, len(data)]), rng.integers(1, 4)):
            noisy[min(place, len(data) - 1)] = rng.choice([0, 32, 45, 48, 57, 91, 125, 255, rng.integers(256)])
        path = write(tmp_path, f"b{suffix}", bytes(noisy))
        try:
            mesh = read_mesh(path, unit="mm")
            assert np.isfinite(mesh.vertices).all()
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("suffix", KEPT)
def test_trimesh_reads_the_same_mesh_in_the_same_order(tmp_path, suffix):
    trimesh = pytest.importorskip("trimesh")
    if suffix == ".wrl":
        pytest.skip("trimesh reads no VRML")
    mesh = patch()
    write_mesh(tmp_path / f"a{suffix}", mesh)
    peer = trimesh.load_mesh(tmp_path / f"a{suffix}", process=False, maintain_order=True)
    scale = 1000 if suffix == ".glb" else 1
    np.testing.assert_allclose(peer.vertices * scale, mesh.vertices, atol=6e-5)
    np.testing.assert_array_equal(peer.faces, mesh.faces)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off", "glb"])
def test_what_trimesh_writes_is_read(tmp_path, suffix):
    trimesh = pytest.importorskip("trimesh")
    mesh = patch(colours=True)
    peer = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False, vertex_colors=mesh.colours)
    peer.export(tmp_path / f"a.{suffix}")
    back = read_mesh(tmp_path / f"a.{suffix}", unit="mm")
    np.testing.assert_allclose(back.vertices[back.faces], mesh.vertices[mesh.faces], atol=1e-5)
    if suffix != "stl":
        np.testing.assert_array_equal(back.faces, mesh.faces)
    if suffix in ("obj", "ply"):  # into OFF trimesh writes no colours, into glTF sRGB ones as if they were linear
        np.testing.assert_array_equal(back.colours, mesh.colours)


@needs_james
def test_a_real_scan_is_read_as_trimesh_reads_it():
    mesh = read_mesh(JAMES, unit="mm")
    assert mesh.vertices.shape == (6393, 3) and mesh.faces.shape == (12228, 3)
    assert mesh.uv.min() >= 0 and mesh.uv.max() <= 1
    first = np.loadtxt(line[2:] for line in JAMES.read_text().splitlines() if line.startswith("v "))
    np.testing.assert_array_equal(mesh.vertices, first)
    trimesh = pytest.importorskip("trimesh")
    peer = trimesh.load_mesh(JAMES, process=False, maintain_order=True)
    np.testing.assert_array_equal(peer.triangles, mesh.vertices[mesh.faces])
    # trimesh keeps one coordinate a vertex; the seams are compared with the rows of the file
    lines = JAMES.read_text().splitlines()
    uv = [[float(word) for word in line.split()[1:3]] for line in lines if line.startswith("vt ")]
    corners = [[corner.split("/")[1] for corner in line.split()[1:]] for line in lines if line.startswith("f ")]
    np.testing.assert_array_equal(mesh.uv, uv)
    np.testing.assert_array_equal(mesh.uv_faces, np.array(corners, int) - 1)



def test_floats_as_colours_of_any_range_are_checked():
    np.testing.assert_array_equal(mesh_parts.colours_from_floats([[0, 0.5, 1]]), [[0, 128, 255]])
    np.testing.assert_array_equal(mesh_parts.colours_from_floats([[0, 1, 2]]), [[0, 1, 2]])
    for bad in ([[np.nan, 0, 0]], [[-1, 0, 0]], [[256, 0, 0]]):
        assert "colours" in the_message(mesh_parts.colours_from_floats, bad)


def textured_square():
    vertices = np.array([[0, 0, 0], [30, 0, 0], [30, 20, 0], [0, 20, 0]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    picture = np.random.default_rng(0).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    return Mesh(vertices, faces, uv, faces, np.full((4, 3), 90, np.uint8)), picture


def test_a_glb_holds_its_texture_where_another_program_finds_it(tmp_path):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed (affect3d[trimesh])")
    mesh, picture = textured_square()
    glb.write_glb(tmp_path / "square.glb", mesh, {"up": np.ones((4, 3))}, texture=picture)
    seen = trimesh.load(tmp_path / "square.glb", force="mesh", process=False)
    assert np.array_equal(np.asarray(seen.visual.material.baseColorTexture.convert("RGB")), picture)
    # trimesh counts texture rows from the bottom, as we do
    assert np.allclose(np.asarray(seen.visual.uv), mesh.uv, atol=1e-6)
    back = read_mesh(tmp_path / "square.glb")
    assert np.allclose(back.vertices, mesh.vertices, atol=1e-4) and np.array_equal(back.faces, mesh.faces)
    glb.write_glb(tmp_path / "again.glb", mesh, {"up": np.ones((4, 3))}, texture=picture)
    assert len((tmp_path / "again.glb").read_bytes()) > len(picture.tobytes())


@pytest.mark.parametrize(
    ("texture", "uv", "said"),
    [(np.zeros((4, 4)), True, "texture: expected"), (np.zeros((4, 4, 3)), True, "texture: expected"),
     (np.zeros((0, 4, 3), np.uint8), True, "texture: expected"), (np.zeros((4, 4, 3), np.uint8), False, "coordinates")],
)  # fmt: skip
def test_a_texture_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, texture, uv, said):
    mesh, _ = textured_square()
    mesh = mesh if uv else Mesh(mesh.vertices, mesh.faces)
    with pytest.raises(ValueError, match=said):
        glb.write_glb(tmp_path / "square.glb", mesh, texture=texture)
    assert not list(tmp_path.iterdir())
