"""A scan's picture lands where the registered template shows the same place of the skin."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from affect3d.cli import main
from affect3d.io.mesh_file import read_mesh, write_mesh
from affect3d.io.textured_obj import write_textured_obj
from affect3d.mesh import Mesh
from affect3d.registration.texture import carry_texture, carry_vertex_colours

sys.path.insert(0, str(Path(__file__).resolve().parent))
import batch_problem  # noqa: E402


def sheet(columns, rows, wave=8.0, uv=True, flip=False):
    """A wavy sheet of 100 x 100 mm; its texture coordinates are x and y, or x alone turned round."""
    x, y = np.meshgrid(np.linspace(0, 100, columns), np.linspace(0, 100, rows))
    z = wave * np.sin(x / 15) * np.cos(y / 21)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    faces = np.vstack([np.column_stack(first), np.column_stack(second)])
    place = np.column_stack([1 - x.ravel() / 100 if flip else x.ravel() / 100, y.ravel() / 100])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces, place if uv else None)


def picture(height=200, width=300):
    """Smooth colours: red grows to the right, green downwards, blue is constant."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    out = np.zeros((height, width, 3))
    out[..., 0], out[..., 1], out[..., 2] = 255 * x, 255 * y[:, None], 77
    return np.rint(out).astype(np.uint8)


def test_a_texel_shows_the_colour_of_its_own_place_on_the_scan():
    """The template's coordinates are mirrored, so its picture must be the scan's mirrored."""
    template, scan = sheet(30, 25, flip=True), sheet(71, 64)
    carried = carry_texture(template, scan, picture(), size=96)
    assert carried.covered.mean() > 0.97 and carried.share > 0.99
    expected = np.array(Image.fromarray(picture()).resize((96, 96), Image.BILINEAR))[:, ::-1].astype(float)
    off = np.abs(carried.picture - expected)[carried.seen]
    # the two sheets are divided differently, so places differ by a little
    assert off.mean() < 1.5 and np.percentile(off, 99) < 6


def test_a_picture_carried_to_the_scans_own_mesh_is_the_same_picture():
    scan = sheet(40, 40)
    carried = carry_texture(scan, scan, picture(64, 64), size=64)
    inner = carried.seen[1:-1, 1:-1]
    assert inner.all()
    assert np.abs(carried.picture[1:-1, 1:-1].astype(int) - picture(64, 64)[1:-1, 1:-1]).max() <= 1


def test_holes_are_told_and_filled_from_their_rims():
    scan = sheet(60, 60)
    hole = np.linalg.norm(scan.vertices[scan.faces].mean(1)[:, :2] - [50, 50], axis=1) < 15
    broken = Mesh(scan.vertices, scan.faces[~hole], scan.uv, scan.faces[~hole])
    carried = carry_texture(sheet(30, 30), broken, picture(), size=64, reach=3.0)
    assert not carried.seen[32, 32] and carried.picture[32, 32, 2] == 77
    assert 0.85 < carried.share < 0.98
    assert np.abs(carried.picture[32, 32].astype(int) - [128, 128, 77]).max() < 50


def test_a_surface_that_looks_the_other_way_is_not_seen():
    """The inside of a lip lies nearer than its outside is wide."""
    front = sheet(40, 40, wave=0)
    behind = Mesh(front.vertices + [0, 0, 0.5], front.faces[:, ::-1])
    count = len(front.vertices)
    scan = Mesh(
        np.vstack([front.vertices, behind.vertices]), np.vstack([front.faces, behind.faces + count]),
        colours=np.repeat(np.array([[10, 20, 30], [200, 210, 220]], np.uint8), count, axis=0),
    )  # fmt: skip
    template = front.with_vertices(front.vertices + [0, 0, 0.5])
    carried = carry_texture(template, scan, size=32)
    np.testing.assert_array_equal(carried.picture[carried.seen], np.tile([10, 20, 30], (carried.seen.sum(), 1)))


def test_vertices_take_the_scans_colours_and_fill_what_is_missing():
    scan = sheet(80, 80)
    colours = np.rint(np.column_stack([2 * scan.vertices[:, :2], np.full(len(scan.vertices), 9)])).astype(np.uint8)
    kept = scan.faces[scan.vertices[scan.faces].mean(1)[:, 0] < 70]
    half = Mesh(scan.vertices, kept, colours=colours)
    template = sheet(21, 21, uv=False)
    found, good = carry_vertex_colours(template, half, reach=2.0)
    inside = template.vertices[:, 0] < 69
    assert good[inside].all() and not good[template.vertices[:, 0] > 76].any()
    np.testing.assert_allclose(found[inside][:, :2], 2 * template.vertices[inside, :2], atol=2)
    assert (found[:, 2] == 9).all()
    assert np.abs(found[~good][:, 0].astype(int) - 140).max() < 12  # as at the rim


@pytest.mark.parametrize(
    "change, message",
    [
        ({"registered": sheet(5, 5, uv=False)}, "registered: expected texture"), ({"texture": None}, "neither"),
        ({"scan": sheet(5, 5, uv=False)}, "no texture coordinates"), ({"texture": np.zeros((4, 4))}, "texture"),
        ({"size": 4}, "size"), ({"size": 12.5}, "size"),
        ({"registered": sheet(5, 5).with_vertices(sheet(5, 5).vertices / 1000 + 300)}, "mm"),
        ({"scan": Mesh(np.zeros((3, 3)), np.zeros((0, 3), int))}, "scan"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    given = {"registered": sheet(6, 6), "scan": sheet(9, 9), "texture": picture(), "size": 16} | change
    with pytest.raises(ValueError, match=message):
        carry_texture(**given)


# -- the command --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a scan that has a texture, and a template with and one without texture coordinates."""
    monkeypatch.chdir(tmp_path)
    template = batch_problem.small_template()
    marks = [None if v < 0 else int(v) for v in template.landmarks]
    uv = template.mesh.vertices[:, :2]
    uv = 0.05 + 0.9 * (uv - uv.min(0)) / np.ptp(uv, axis=0)
    write_mesh("flat.obj", Mesh(template.mesh.vertices, template.mesh.faces, uv), unit="mm")
    write_mesh("plain.ply", template.mesh, unit="mm")
    for name in ("flat", "plain"):
        Path(f"{name}.landmarks.json").write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))
    Path("scans").mkdir()
    batch_problem.write_scan(tmp_path / "scans/one.ply", 0)
    scan = read_mesh("scans/one.ply", unit="mm")
    place = scan.vertices[:, :2]
    place = (place - place.min(0)) / np.ptp(place, axis=0)
    write_textured_obj("scans/one.obj", Mesh(scan.vertices, scan.faces, place), picture())
    Path("scans/one.ply").unlink()
    return tmp_path


def run(capsys, *arguments):
    capsys.readouterr()
    status = main(["register", "scans", "--out", "out", "--unit", "mm", "--jobs", "1", "--json", *arguments])
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def test_the_command_writes_textures_once_and_again_only_where_something_changed(folder, capsys):
    status, data, _ = run(capsys, "--template", "flat.obj", "--texture", "--texture-size", "64")
    assert status == 0, data
    path = Path(data["frames"][0]["texture"])
    assert path == Path("out/textures/one.glb")
    made = read_mesh(path)
    kept = read_mesh("out/meshes/one.ply")
    np.testing.assert_allclose(made.vertices[: len(kept.vertices)], kept.vertices, atol=1e-3)
    assert made.uv is not None
    bytes_before, time_before = path.read_bytes(), path.stat().st_mtime_ns
    assert b"\x89PNG" in bytes_before
    run(capsys, "--template", "flat.obj", "--texture", "--texture-size", "64")
    assert path.stat().st_mtime_ns == time_before
    path.write_bytes(b"cut off")
    run(capsys, "--template", "flat.obj", "--texture", "--texture-size", "64")
    assert path.read_bytes() == bytes_before
    run(capsys, "--template", "flat.obj", "--texture", "--texture-size", "64", "--texture-format", "obj")
    shown = np.asarray(Image.open("out/textures/one.png").convert("RGB"))
    assert shown.shape == (64, 64, 3) and read_mesh("out/textures/one.obj", unit="mm").uv is not None
    # the scan's red grows to the right and its green downwards, and so do the template's
    assert shown[32, 52, 0] > shown[32, 12, 0] + 80 and shown[52, 32, 1] > shown[12, 32, 1] + 80


def test_a_template_without_coordinates_gets_colours_at_its_vertices(folder, capsys):
    status, data, err = run(capsys, "--template", "plain.ply", "--texture")
    assert status == 0 and "coloured instead" in err
    made = read_mesh(data["frames"][0]["texture"])
    x, red = made.vertices[:, 0], made.colours[:, 0].astype(float)
    assert np.corrcoef(x, red)[0, 1] > 0.95


def test_scans_without_colours_are_said_and_harm_nothing(folder, capsys):
    for name in ("one.mtl", "one.png"):
        Path("scans", name).unlink()
    status, data, err = run(capsys, "--template", "flat.obj", "--texture")
    assert status == 0 and data["frames"][0]["texture"] is None and "neither a texture" in err


@pytest.mark.parametrize(
    "arguments, message",
    [(["--texture-size", "64"], "--texture only"), (["--texture", "--texture-format", "obj"], "coordinates")],
)
def test_options_that_make_no_sense_are_refused_before_the_work(folder, capsys, arguments, message):
    status = main(["register", "scans", "--out", "out", "--unit", "mm", "--template", "plain.ply", *arguments])
    assert status == 2 and message in capsys.readouterr().err
    assert not Path("out/meshes").exists()
