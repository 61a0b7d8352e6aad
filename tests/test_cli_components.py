"""`affect3d components` on a small gallery of vertices."""

import json
import re

import numpy as np
import pytest

from affect3d.affect.store_writer import StorePlan, write_frames
from affect3d.cli import app, components
from affect3d.model.component_file import load_components

pytest.importorskip("zarr")


def sheet(n=8):
    x, y = np.meshgrid(np.linspace(0, 50, n), np.linspace(0, 50, n), indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1), np.concatenate([np.stack([a, b, c], 1),
                                                                                np.stack([a, c, d], 1)])  # fmt: skip


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Three people, two sequences each, twelve frames from neutral to an apex and back."""
    rng = np.random.default_rng(0)
    rest, faces = sheet()
    basis = np.stack([
        np.maximum(0, 1 - np.linalg.norm(rest - rest[c], axis=1) / 20)[:, None] * rng.normal(size=3) * 3
        for c in (9, 14, 50, 44)
    ])  # fmt: skip
    vertices, valence = [], []
    for s in range(6):
        identity, apex = rng.normal(size=rest.shape) * 0.5, rng.uniform(0, 1, 4)
        for t in range(12):
            strength = np.sin(np.pi * t / 11)
            vertices.append(rest + identity + np.tensordot(strength * apex, basis, 1))
            valence.append(strength * (0.9 if s % 2 else -0.9))
    n = len(vertices)
    sequence = np.arange(n) // 12
    plan = StorePlan(
        "vertices", rest.shape, "digest", sequence // 2, sequence, np.arange(n) % 12, sequence * 12, ("a", "b", "c"),
        tuple("uvwxyz"), faces, names=tuple(f"f{i}" for i in range(n)),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("gallery") / "g.zarr"
    write_frames(path, plan, np.array(valence), np.zeros(n), lambda name: vertices[int(name[1:])])
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command with --json; (status, data, standard error)."""
    if components not in app.COMMANDS:
        monkeypatch.setattr(app, "COMMANDS", (*app.COMMANDS, components))

    def call(*arguments, as_json=True):
        status = app.main(["components", *map(str, arguments), *(["--json"] if as_json else [])])
        out, err = capsys.readouterr()
        return status, json.loads(out) if as_json else out, err

    return call


def test_components_of_apex_frames_are_written_with_what_they_were_learned_from(gallery, tmp_path, run):
    out = tmp_path / "c.safetensors"
    status, data, _ = run(gallery, "--count", 4, "--out", out, "--apex", 3, "--rounds", 20, "--sparsity", 1)
    assert status == 0 and data["frames"] == 18 and data["outputs"] == {"components": str(out)}
    assert data["error_mm"] < 0.2 * data["motion_mm"]
    file = load_components(out)
    assert file.learned.components.shape == (4, 64, 3) and file.learned.energies.tolist() == data["energies"]
    assert file.source == data["source"] and "18 frames" in file.notes and file.options.sparsity == 0.09
    again = tmp_path / "again.safetensors"
    run(gallery, "--count", 4, "--out", again, "--apex", 3, "--rounds", 20, "--sparsity", 1)
    assert again.read_bytes() == out.read_bytes()
    other = run(gallery, "--count", 4, "--out", tmp_path / "o.safetensors", "--apex", 2, "--rounds", 1)[1]
    assert other["source"] != data["source"]


def test_all_frames_of_chosen_classes_with_curves_seeds_and_targets(gallery, tmp_path, run):
    out, glb = tmp_path / "c.safetensors", tmp_path / "c.glb"
    status, data, _ = run(gallery, "--count", 3, "--out", out, "--glb", glb, "--frames", "all", "--classes", 59, 58,
                          "--curve", 1, 2, "--seeds", 9, "--constraint", "signed", "--weights")  # fmt: skip
    assert status == 0 and 0 < data["frames"] < 36 and "classes 59, 58" in data["which"]
    assert [row["count"] for row in data["curves"]] == [1, 2, 3]
    assert data["curves"][0]["error_mm"] > data["curves"][2]["error_mm"] == data["error_mm"]
    assert glb.stat().st_size > 0 and load_components(out).learned.weights.shape == (data["frames"], 3)


def test_a_run_goes_on_from_the_file_of_an_earlier_one(gallery, tmp_path, run):
    out, more = tmp_path / "c.safetensors", tmp_path / "more.safetensors"
    first = run(gallery, "--count", 3, "--out", out, "--rounds", 2, "--tolerance", 0, "--weights")[1]
    second = run(gallery, "--count", 3, "--out", more, "--rounds", 2, "--tolerance", 0, "--start", out)[1]
    assert second["energies"][0] <= first["energies"][-1] * (1 + 1e-6)


def test_without_json_it_says_what_was_learned(gallery, tmp_path, run):
    status, text, _ = run(gallery, "--count", 2, "--out", tmp_path / "c.safetensors", as_json=False)
    assert status == 0 and "2 components of" in text and "mm where the motion is" in text


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--count", 0), 2, "whole number"),
        (("--count", 2, "--out", "c.npz"), 2, "ending in .safetensors"),
        (("--count", 2, "--glb", "c.obj"), 2, "ending in .glb"),
        (("--count", 2, "--constraint", "both"), 2, "--constraint"),
        (("--count", 2, "--frames", "all", "--apex", 2), 2, "--frames apex only"),
        (("--count", 2, "--seeds", 64), 2, r"\[0, 64\)"),
        (("--count", 2, "--seeds", 1, 2, 3), 2, "at most --count"),
        (("--count", 2, "--curve", 2), 2, "below --count"),
        (("--count", 2, "--classes", 0), 1, "no frames"),
        (("--count", 2, "--split", "train"), 1, "split"),
        (("--count", 2, "--sparsity", -1), 2, "at least 0"),
        (("--count", 2, "--tolerance", 1), 2, r"\[0, 1\)"),
        (("--count", 2, "--start", "none.safetensors"), 1, "none.safetensors"),
    ],
)
def test_nonsense_is_refused_and_writes_nothing(gallery, tmp_path, run, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    given = (gallery, *arguments) + (() if "--out" in arguments else ("--out", "c.safetensors"))
    found, data, err = run(*given)
    assert found == status
    assert re.search(message, data["error"]) and data["error"] in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_when_asked(gallery, tmp_path, run):
    out = tmp_path / "c.safetensors"
    out.write_bytes(b"precious")
    assert run(gallery, "--count", 2, "--out", out)[0] == 2 and out.read_bytes() == b"precious"
    assert run(gallery, "--count", 2, "--out", out, "--force")[0] == 0 and out.read_bytes() != b"precious"
    assert run(tmp_path / "none", "--count", 2, "--out", tmp_path / "d.safetensors")[0] == 1


def test_too_many_frames_for_the_memory_are_refused(gallery, tmp_path, run, monkeypatch):
    monkeypatch.setattr(components, "LARGEST", 50)
    status, data, _ = run(gallery, "--count", 4, "--out", tmp_path / "c.safetensors", "--frames", "all")
    assert status == 1 and "too much memory" in data["error"]
