"""`affect3d model adopt`: the command, its files and its errors."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.cli import main
from affect3d.io.landmark_files import write_landmarks
from affect3d.io.model_file import load_model_file, save_model_file

_spec = importlib.util.spec_from_file_location("slit_head", Path(__file__).with_name("slit_head.py"))
heads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(heads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A giver, a bare head of other triangles, and landmarks for it."""
    monkeypatch.chdir(tmp_path)
    head = replace(heads.slit_head(), name="giver", licence="its licence", source="its source")
    save_model_file(head, "giver.safetensors")
    save_model_file(replace(heads.bare(head, head.mean * 1.05), licence="my licence"), "same.safetensors")
    order = np.random.default_rng(0).permutation(len(head.mean))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    save_model_file(heads.bare(head, head.mean[order], place[head.faces]), "other.safetensors")
    write_landmarks("marks.json", heads.points_of(head))
    return tmp_path


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def test_a_bare_head_gets_expressions_landmarks_and_a_word_on_what_was_done(folder, capsys):
    giver = load_model_file("giver.safetensors")
    status, data, err = run(
        capsys, "model", "adopt", "other.safetensors", "--from", "giver.safetensors", "--landmarks", "marks.json",
        "--out", "mine.safetensors",
    )  # fmt: skip
    assert status == 0 and err == "" and data["command"] == "model adopt"
    assert data["outputs"] == {"model": "mine.safetensors"} and data["expressions"] == list(giver.expression_names)
    assert data["landmarks"] == {"ibug68": 68}
    assert "8 expressions of the giver by deformation transfer" in data["adoption"]
    model, bare = load_model_file("mine.safetensors"), load_model_file("other.safetensors")
    np.testing.assert_array_equal(model.mean[: len(bare.mean)], bare.mean)
    assert model.notes == "; ".join(data["adoption"]) and model.licence == "its licence"
    # it can be given away in turn, drawn and exported
    assert main(["model", "info", "mine.safetensors", "--picture", "look.png", "--rows", "2"]) == 0
    assert main(["model", "export", "mine.safetensors", "--out", "mine.glb"]) == 0


def test_two_licences_are_both_named_and_options_do_what_they_say(folder, capsys):
    adopt = ["model", "adopt", "same.safetensors", "--from", "giver.safetensors", "--landmarks", "marks.json"]
    status, data, _ = run(capsys, *adopt, "--out", "a.safetensors")
    assert status == 0 and data["licence"] == "my licence; expressions: its licence"
    status, data, _ = run(capsys, "model", "adopt", "a.safetensors", "--from", "giver.safetensors", "--out",
                          "b.safetensors")  # fmt: skip
    assert status == 0 and any("8 own expressions were kept, 8 of them instead" in s for s in data["adoption"])
    status, data, _ = run(capsys, "model", "adopt", "a.safetensors", "--from", "giver.safetensors", "--replace",
                          "--no-lending", "--out", "c.safetensors")  # fmt: skip
    assert status == 0 and any("8 own expressions were dropped" in s for s in data["adoption"])
    a, c = load_model_file("a.safetensors"), load_model_file("c.safetensors")
    np.testing.assert_allclose(c.expression, a.expression, atol=1e-5)


def test_what_cannot_be_adopted_is_one_sentence_and_leaves_nothing(folder, capsys):
    giver = load_model_file("giver.safetensors")
    save_model_file(replace(giver, expression=giver.expression[:0], expression_names=()), "mute.safetensors")
    save_model_file(heads.bare(giver, *heads.ball()), "tiny.safetensors")
    (folder / "few.json").write_text(json.dumps({"scheme": "ibug68", "vertices": [1, 2] + [None] * 66}))
    given = ["--from", "giver.safetensors"]
    for arguments, status, message in (
        (["same.safetensors", "--from", "mute.safetensors"], 1, "source: has no expressions to give"),
        (["tiny.safetensors", *given], 1, "expected at least 400 triangles for a face with lips and lids, got 168"),
        (["other.safetensors", *given, "--landmarks", "few.json"], 1, "landmarks: expected at least 20 points"),
        (["other.safetensors", *given, "--landmarks", "none.json"], 1, "none.json"),
        (["none.safetensors", *given], 1, "none.safetensors"),
        (["other.safetensors", "--from", "none.safetensors"], 1, "none.safetensors"),
    ):
        assert main(["model", "adopt", *arguments, "--out", "x.safetensors"]) == status, arguments
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1, err
        assert not (folder / "x.safetensors").exists()
    for arguments in (["--out", "x.glb"], ["--out", "giver.safetensors"], ["--out", "other.safetensors"], []):
        assert main(["model", "adopt", "other.safetensors", *given, *arguments]) == 2
        capsys.readouterr()
