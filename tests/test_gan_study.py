"""FESR with few training people: the split, the shared first stage, the table, and the command."""

import json
import multiprocessing
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

from affect3d.cli import app, gan  # noqa: E402
from affect3d.gan.checkpoint import read_header  # noqa: E402
from affect3d.gan.data import FaceImages  # noqa: E402
from affect3d.gan.fesgan import recipe  # noqa: E402
from affect3d.gan.fesgan.study import (  # noqa: E402
    FewPeopleOptions, _cpu_seconds, _difference, features_of, few_people_split, recognition_study, recognized,
)  # fmt: skip
from affect3d.gan.identity import LightCNNOptions, load_light_cnn  # noqa: E402
from affect3d.gan.training import TrainOptions, train  # noqa: E402

TINY = LightCNNOptions(size=16, channels=(2, 3, 4, 4), blocks=(0, 0, 0, 0), features=8)
LABELS = ("low", "high")


def barred_faces(people=12, seed=0):
    """The label is where a bright bar lies; people are colours."""
    rng = np.random.default_rng(seed)
    images = np.repeat(rng.integers(30, 150, (people, 1, 1, 1, 3)), 2, 1) * np.ones((1, 1, 16, 16, 1))
    images[:, 0, 2:7] += 90
    images[:, 1, 9:14] += 90
    images = np.clip(images + rng.normal(0, 2, images.shape), 0, 255).astype(np.uint8).reshape(-1, 16, 16, 3)
    subject = np.repeat(np.arange(people), 2)
    return FaceImages(images, subject, np.tile([0, 1], people), LABELS, sequence=subject, source="Drawn.")


def options(**more):
    settings = dict(width=4, code=4, steps_pretrain=2, steps_joint=3, learning_rate=1e-3)
    settings |= more.pop("settings", {})
    few = dict(variants=("BASELINE", "JL"), seeds=2, people=3, test_people=4, identity_steps=2, identity=TINY, batch=4)
    return FewPeopleOptions(**{**few, **more}, settings=settings)


RUN = TrainOptions(device="cpu", threads=1, sample_every=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "s"
    return folder, recognition_study(barred_faces(), options(), folder, RUN)


def test_nobody_is_in_two_groups_and_the_test_does_not_depend_on_how_many_are_trained_on():
    faces = barred_faces()
    first = few_people_split(faces, options(), 0)
    groups = [set(part.subjects.tolist()) for part in (first.train, first.test, first.others)]
    assert [len(g) for g in groups] == [3, 4, 5] and len(set.union(*groups)) == 12
    more = few_people_split(faces, options(people=5, identity_people=2), 0)
    assert more.test.subjects.tolist() == first.test.subjects.tolist() and len(more.others.subjects) == 2
    assert groups[0] < set(more.train.subjects.tolist())
    assert few_people_split(faces, options(), 1).test.subjects.tolist() != first.test.subjects.tolist()
    with pytest.raises(ValueError, match="at least 13 people, got 12"):
        few_people_split(faces, options(people=7), 0)


def test_a_shared_first_stage_gives_the_bytes_of_a_run_that_makes_it_itself(study, tmp_path):
    folder, _ = study
    split = few_people_split(barred_faces(), options(), 1)
    settings = {**options().settings, "recognition": "JL"}
    identity = load_light_cnn(folder / "s1" / "identity.safetensors")
    method, batches = recipe.prepare(split.train, settings, 4, 1, identity)
    from dataclasses import replace

    train(method, batches, replace(RUN, seed=1), tmp_path / "alone")
    for name in ("weights.safetensors", "losses.csv"):
        assert (tmp_path / "alone" / name).read_bytes() == (folder / "s1" / "JL" / name).read_bytes()


def test_the_table_is_what_the_cells_say(study):
    folder, table = study
    assert json.loads((folder / "table.json").read_text()) == table
    for name, row in table["variants"].items():
        cells = [json.loads((folder / f"s{s}" / name / "recognition.json").read_text()) for s in (0, 1)]
        assert row["accuracy"] == [c["accuracy"] for c in cells]
        a, b = row["accuracy"]
        assert row["mean"] == pytest.approx((a + b) / 2) and row["deviation"] == pytest.approx(abs(a - b) / 2**0.5)
        assert np.sum(row["confusion"]) == 2 * 8 and np.trace(row["confusion"]) == round(8 * (a + b))
    assert table["variants"]["BASELINE"]["over_baseline"] == {"mean": 0, "standard_error": 0, "seeds_above": 0}
    found = _difference([0.5, 0.7, 0.6], [0.4, 0.4, 0.6])
    assert found["mean"] == pytest.approx(0.4 / 3) and found["seeds_above"] == 2
    assert found["standard_error"] == pytest.approx(np.std([0.1, 0.3, 0.0], ddof=1) / 3**0.5)


def test_what_is_finished_is_read_and_other_options_are_refused(study):
    folder, table = study
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    again = recognition_study(barred_faces(), options(variants=("JL",), seeds=1), folder, RUN)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == before
    assert again["variants"]["JL"]["accuracy"] == table["variants"]["JL"]["accuracy"][:1]
    assert "over_baseline" not in again["variants"]["JL"]
    with pytest.raises(ValueError, match="other options or data: options.people was 3, now 4"):
        recognition_study(barred_faces(), options(people=4), folder, RUN)
    with pytest.raises(ValueError, match="other options or data: data was"):
        recognition_study(barred_faces(seed=1), options(), folder, RUN)


def test_a_stopped_cell_goes_on_to_the_same_bytes(study, tmp_path):
    folder, _ = study

    class Stop(Exception):
        pass

    def stop(done, total, label):
        if label == "fesgan joint" and done == 3:
            raise Stop

    from dataclasses import replace

    often = replace(RUN, checkpoint_every=1)
    with pytest.raises(Stop):
        recognition_study(barred_faces(), options(variants=("JL",), seeds=1), tmp_path / "s", often, stop)
    assert not (tmp_path / "s" / "s0" / "JL" / "recognition.json").exists()
    recognition_study(barred_faces(), options(variants=("JL",), seeds=1), tmp_path / "s", often)
    name = "s0/JL/weights.safetensors"
    assert (tmp_path / "s" / name).read_bytes() == (folder / name).read_bytes()


def test_a_recognizer_on_real_pictures_learns_the_drawn_expressions(tmp_path):
    """BASELINE with enough steps: chance is one half."""
    enough = {"steps_joint": 150, "width": 8, "learning_rate": 3e-3}
    found = recognition_study(barred_faces(), options(variants=("BASELINE",), seeds=1, settings=enough), tmp_path, RUN)
    assert found["variants"]["BASELINE"]["mean"] > 0.9
    plan = read_header(tmp_path / "s0" / "BASELINE" / "weights.safetensors")
    assert plan["stages"] == [{"name": "recognize", "steps": 150}]


def test_features_and_labels_do_not_depend_on_how_pictures_are_parted():
    faces = barred_faces()
    method, _ = recipe.prepare(faces, options().settings | {"recognition": "JL", "identity_steps": 1}, 4)
    whole, one = features_of(method, faces.images), features_of(method, faces.images[5:6])
    np.testing.assert_allclose(one[0], whole[5], atol=1e-5)
    assert whole.shape == (24, 32) and recognized(method, faces).shape == (24,)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"variants": ("none",)}, "variants"), ({"variants": ()}, "variants"), ({"variants": ("JL", "JL")}, "variants"),
        ({"seeds": 0}, "seeds"), ({"people": 1}, "people"), ({"batch": True}, "batch"),
        ({"settings": {"recognition": "JL"}}, "settings"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        options(**wrong)


def test_the_command_writes_the_table(tmp_path, capsys, monkeypatch):
    assert gan.gan_recognize.VARIANTS == tuple(FewPeopleOptions().variants)
    barred_faces().save(tmp_path / "f.safetensors")

    def run(*argv, status=0):
        got = app.main(["gan", "recognize", *map(str, argv), "--json"])
        out = capsys.readouterr()
        assert got == status, out.err
        return json.loads(out.out)

    argv = ["--data", tmp_path / "f.safetensors", "--out", tmp_path / "s", "--people", 3, "--test-people", 4]
    argv += ["--variants", "BASELINE,SL", "--seeds", 1, "--identity-steps", 1, "--batch", 4, "--threads", 1]
    for text in ("width=4", "code=4", "steps_pretrain=1", "steps_joint=1"):
        argv += ["--set", text]
    said = run(*argv)
    assert list(said["variants"]) == ["BASELINE", "SL"] and (tmp_path / "s" / "table.json").exists()
    assert "expected different ones of" in run(*argv, "--variants", "JL,XL", status=2)["error"]
    assert "whole number for width" in run(*argv, "--set", "width=wide", status=2)["error"]
    assert "NAME=VALUE" in run(*argv, "--set", "width", status=2)["error"]
    other = [a if a != tmp_path / "s" else tmp_path / "other" for a in argv]
    assert "expected" in run(*other, "--set", "depth=3", status=2)["error"]
    assert "excludes --data" in run(*argv, "--size", 32, status=2)["error"]
    # where it runs is said as for `train`, and is one and the same for all cells of a folder
    refused = run(*argv, "--precision", "bf16", "--device", "cpu", status=1)["error"]
    assert "machine.precision was '32', now 'bf16'" in refused
    asked = []

    def study(faces, options, folder, machine, progress):
        asked.append((machine.device, machine.precision, machine.devices, machine.threads))
        return said

    monkeypatch.setattr("affect3d.gan.fesgan.study.recognition_study", study)
    run(*argv, "--precision", "bf16", "--device", "cpu", "--devices", 2)
    assert asked == [("cpu", "bf16", 2, 1)]


def test_the_study_runs_on_several_devices_and_a_folder_keeps_to_their_number(tmp_path):
    pytest.importorskip("lightning_fabric", reason="several processes need Lightning Fabric")
    from dataclasses import replace

    found = recognition_study(barred_faces(), options(seeds=1), tmp_path / "s", replace(RUN, devices=2))
    with pytest.raises(ValueError, match="machine.devices was 2, now 1"):
        recognition_study(barred_faces(), options(seeds=1), tmp_path / "s", RUN)
    assert 0 <= found["variants"]["JL"]["mean"] <= 1
    summary = json.loads((tmp_path / "s" / "s0" / "JL" / "summary.json").read_text())
    assert summary["devices"] == 2 and summary["steps"] == 5


def test_seconds_of_copies_of_the_process_are_counted():
    """They are not in `time.process_time`, by which a training on several devices would seem to cost nothing."""
    before, own = _cpu_seconds(), time.process_time()
    worker = multiprocessing.get_context("fork").Process(target=_busy)
    worker.start()
    worker.join()
    assert _cpu_seconds() - before > 0.15 > time.process_time() - own


def _busy():
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass


def test_without_a_set_as_many_people_are_rendered_as_are_needed(tmp_path, monkeypatch, capsys):
    from affect3d.synthesis import rendered_people

    made = []

    def make_data(people, size, *more, **named):
        made.append((people, size))
        return barred_faces(people)

    monkeypatch.setattr(rendered_people, "make_data", make_data)
    argv = ["gan", "recognize", "--out", str(tmp_path / "s"), "--people", "3", "--test-people", "4", "--size", "16"]
    argv += ["--variants", "BASELINE", "--seeds", "1", "--identity-steps", "1", "--batch", "4", "--threads", "1"]
    argv += ["--identity-people", "5", "--set", "width=4", "--set", "code=4", "--set", "steps_joint=1", "--json"]
    for _ in range(2):  # the second time they are there
        assert app.main(argv) == 0, capsys.readouterr().err
    assert made == [(12, 16)] and json.loads(capsys.readouterr().out.splitlines()[-1])["people"] == 3
    assert len(FaceImages.load(tmp_path / "s" / "faces.safetensors").subjects) == 12
