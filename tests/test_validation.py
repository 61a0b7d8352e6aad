"""The whole analysis of a small gallery in which it is known what geometry says of affect."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")

from affect3d.affect.gallery import Gallery
from affect3d.affect.store import open_gallery
from affect3d.analysis.projection import project_gallery
from affect3d.analysis.validation import TARGETS, ValidationOptions, validate_gallery
from affect3d.cli import main
from affect3d.io.run_folder import RunFolder, one_run

SIDE, SHAPES = 16, 6


def head():
    """A plane with a bump for each expression: (rest, faces, basis)."""
    x, y = np.meshgrid(np.linspace(-60, 60, SIDE), np.linspace(-60, 60, SIDE))
    rest = np.column_stack([x.ravel(), y.ravel(), np.zeros(SIDE * SIDE)])
    corner = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    p, q, r, s = (c.ravel() for c in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    faces = np.vstack([np.column_stack([p, q, r]), np.column_stack([p, r, s])])
    centres = [(-35, 35), (35, 35), (0, 0), (-35, -35), (35, -35), (0, -45)]
    basis = np.zeros((SHAPES, SIDE * SIDE, 3))
    for k, (cx, cy) in enumerate(centres):
        basis[k, :, 2] = 5 * np.exp(-((rest[:, 0] - cx) ** 2 + (rest[:, 1] - cy) ** 2) / 300)
    return rest, faces, basis


def write_gallery(path, subjects=10, sequences=5, frames=24, carries=True, seed=0, **changes):
    """Valence is the first expression less the second, arousal the third, as far as the gallery `carries` affect."""
    rng = np.random.default_rng(seed)
    count = subjects * sequences * frames
    path_of = np.sin(np.linspace(0, np.pi, frames))[None, :, None] * rng.beta(
        0.7, 0.7, (subjects * sequences, 1, SHAPES)
    )
    expression = path_of.reshape(count, SHAPES)
    index = np.arange(count)
    said = expression if carries else np.repeat(rng.uniform(size=(subjects * sequences, SHAPES)), frames, 0)
    values = dict(
        expression=expression, valence=np.clip(said[:, 0] - said[:, 1] + 0.05 * rng.normal(size=count), -1, 1),
        arousal=np.clip(2 * said[:, 2] - 1 + 0.05 * rng.normal(size=count), -1, 1),
        subject=index // (sequences * frames), sequence=index // frames, frame=index % frames,
        neutral=index // frames * frames, expression_names=tuple(f"shape{k}" for k in range(SHAPES)),
    )  # fmt: skip
    Gallery(**{**values, **changes}).save(path)
    rest, faces, basis = head()
    group = zarr.open_group(store=str(path), mode="r+").create_group("head")
    for name, array in (("rest", rest), ("faces", faces.astype(np.int32)), ("basis", basis.astype(np.float32))):
        group.create_array(name, shape=array.shape, dtype=array.dtype)[...] = array
    return path


SMALL = ValidationOptions(components=(4, 6), apex_frames=200, folds=3, resamples=200, permutations=19, exact_rows=400)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("gallery") / "faces.zarr")


@pytest.fixture(scope="module")
def done(gallery, tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis")
    return validate_gallery(open_gallery(gallery), out, SMALL), out


def test_affect_that_geometry_carries_is_found_in_people_never_seen(done):
    result, _ = done
    assert [row["components"] for row in result["rows"]] == [4, 6]
    row = result["rows"][-1]
    for name in TARGETS:
        score = row[name]["ccc"]
        assert score["value"] > 0.9
        assert score["low"] <= score["value"] <= score["high"]
        assert row[name]["regression"]["converged"]
        assert result["chance"][name]["p_value"] == 0.05  # the least that 19 exchanges can say
        assert result["chance"][name]["p95"] < score["value"]
    # noise of 0.05 is all that cannot be known
    assert 0.05**2 <= row["valence"]["mse"]["value"] < 4 * 0.05**2
    assert row["residual_mm"] < 0.3


def test_no_person_is_on_both_sides(done):
    split = done[0]["split"]
    assert not set(split["train_subjects"]) & set(split["test_subjects"])
    assert len(split["train_subjects"]) == 8 and len(split["test_subjects"]) == 2
    assert split["train_frames"] == 8 * 120 and split["test_frames"] == 2 * 120


def test_the_gallerys_own_split_is_taken_unless_another_is_asked_for(tmp_path):
    path = write_gallery(tmp_path / "split.zarr")
    zarr.open_group(store=str(path), mode="r+").attrs["splits"] = {"train": ["subject 1"], "test": ["subject 2"]}
    few = ValidationOptions(**{**vars(SMALL), "components": (4,), "permutations": 0, "exact_rows": 0})
    own = validate_gallery(open_gallery(path), tmp_path / "own", few)["split"]
    assert own["test_subjects"] == ["subject 2"] and own["how"] == "the gallery's own"
    drawn = ValidationOptions(**{**vars(few), "test_share": 0.3})
    assert len(validate_gallery(open_gallery(path), tmp_path / "drawn", drawn)["split"]["test_subjects"]) == 3


def test_affect_that_is_not_there_is_not_found(tmp_path):
    store = open_gallery(write_gallery(tmp_path / "none.zarr", carries=False))
    result = validate_gallery(store, tmp_path / "out", SMALL)
    for name in TARGETS:
        assert result["rows"][0][name]["ccc"]["value"] < 0.3
        assert result["chance"][name]["p_value"] > 0.05


def test_the_numbers_are_those_of_the_predictions(done, gallery):
    from affect3d.affect.metrics import concordance

    result, out = done
    store = open_gallery(gallery)
    test = np.isin(store.subject, [store.subjects.index(n) for n in result["split"]["test_subjects"]])
    with np.load(out / "rows" / "6.npz", allow_pickle=False) as file:
        predicted = file["predicted"]
        assert file["variates"].shape == (len(store), 2)
    for t, truth in enumerate((store.valence, store.arousal)):
        value = result["rows"][-1][TARGETS[t]]["ccc"]["value"]
        assert concordance(predicted[test, t], truth[test]) == pytest.approx(value, abs=1e-5)


def test_the_fast_regression_is_as_good_as_the_exact_one(done):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (affect3d[analysis])")
    for name in TARGETS:
        said = done[0]["exact"][name]
        assert abs(said["ccc"] - said["ccc_exact"]) < 0.005


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_gallery_and_seed_give_the_same_bytes_and_another_seed_others(done, gallery, tmp_path):
    again = validate_gallery(open_gallery(gallery), tmp_path / "again", SMALL)
    assert files(tmp_path / "again") == files(done[1])
    assert again == done[0]
    other = validate_gallery(open_gallery(gallery), tmp_path / "other", ValidationOptions(**{**vars(SMALL), "seed": 1}))
    assert other["split"] != again["split"]


@pytest.mark.parametrize("calls", [2, 5, 40, 60, 85])
def test_a_run_that_stops_anywhere_continues_to_the_same_bytes(done, gallery, tmp_path, calls):
    class Enough(Exception):
        pass

    said = []

    def progress(done, total, label):
        said.append(label)
        if len(said) == calls:
            raise Enough

    try:
        validate_gallery(open_gallery(gallery), tmp_path / "out", SMALL, progress=progress)
    except Enough:
        assert not (tmp_path / "out" / "analysis.json").exists()
    validate_gallery(open_gallery(gallery), tmp_path / "out", SMALL)
    assert files(tmp_path / "out") == files(done[1])


def test_a_killed_process_continues_to_the_same_bytes(done, gallery, tmp_path):
    out = tmp_path / "out"
    code = (
        "import sys; from affect3d.affect.store import open_gallery; from affect3d.analysis.validation import *;"
        "validate_gallery(open_gallery(sys.argv[1]), sys.argv[2], ValidationOptions(components=(4, 6), apex_frames=200,"
        " folds=3, resamples=200, permutations=19, exact_rows=400))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(gallery), str(out)], env=dict(os.environ))
    try:
        until = time.monotonic() + 60
        while not (out / "rows" / "4.json").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    validate_gallery(open_gallery(gallery), out, SMALL)
    left = {name: data for name, data in files(out).items() if ".part" not in name}
    assert left == files(done[1])


def test_results_of_other_settings_are_not_taken_for_these(done, gallery, tmp_path):
    out = tmp_path / "out"
    validate_gallery(open_gallery(gallery), out, ValidationOptions(**{**vars(SMALL), "constraint": "signed"}))
    validate_gallery(open_gallery(gallery), out, SMALL)
    assert files(out) == files(done[1])


def test_a_row_that_is_there_already_is_not_made_again(gallery, done, tmp_path, monkeypatch):
    store = open_gallery(gallery)
    validate_gallery(store, tmp_path / "out", ValidationOptions(**{**vars(SMALL), "components": (4,)}))
    before = (tmp_path / "out" / "rows" / "4.npz").stat().st_mtime_ns
    validate_gallery(store, tmp_path / "out", SMALL)
    assert (tmp_path / "out" / "rows" / "4.npz").stat().st_mtime_ns == before
    assert files(tmp_path / "out") == files(done[1])


def test_a_dask_cluster_gives_the_same_bytes(done, gallery, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (affect3d[dask])")
    monkeypatch.setattr("affect3d.analysis.projection.BLOCK", 100)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        validate_gallery(open_gallery(gallery), tmp_path / "out", SMALL, scheduler=cluster.scheduler_address)
    ours, theirs = files(tmp_path / "out"), files(done[1])
    assert ours.keys() == theirs.keys()
    assert ours["components/6.safetensors"] == theirs["components/6.safetensors"]
    a, b = json.loads(ours["analysis.json"]), json.loads(theirs["analysis.json"])
    for ra, rb in zip(a["rows"], b["rows"]):  # blocks of another length sum in another order
        for name in TARGETS:
            assert ra[name]["ccc"]["value"] == pytest.approx(rb[name]["ccc"]["value"], abs=1e-4)


def test_a_folder_in_which_another_run_is_at_work_or_of_another_command_is_refused(gallery, tmp_path):
    with one_run(RunFolder(tmp_path, "analyze")):
        with pytest.raises(ValueError, match="another run is at work in this folder"):
            validate_gallery(open_gallery(gallery), tmp_path, SMALL)
    with one_run(RunFolder(tmp_path / "other", "register")):
        pass
    with pytest.raises(ValueError, match="holds a run of affect3d register, not of affect3d analyze; name another"):
        validate_gallery(open_gallery(gallery), tmp_path / "other", SMALL)


def test_components_that_were_lost_or_damaged_are_learned_again(done, gallery, tmp_path):
    options = ValidationOptions(**{**vars(SMALL), "components": (4,)})
    validate_gallery(open_gallery(gallery), tmp_path / "out", options)
    whole = files(tmp_path / "out")
    for damage in ("", "half"):
        (tmp_path / "out" / "rows" / "4.json").unlink()
        (tmp_path / "out" / "components" / "4.safetensors").write_text(damage)
        validate_gallery(open_gallery(gallery), tmp_path / "out", options)
        assert files(tmp_path / "out") == whole


def test_weights_do_not_depend_on_the_blocks(done, gallery, tmp_path, monkeypatch):
    store, path = open_gallery(gallery), done[1] / "components" / "6.safetensors"
    whole = project_gallery(store, path, tmp_path / "a", 6).rows(np.arange(len(store)))
    monkeypatch.setattr("affect3d.analysis.projection.BLOCK", 77)
    parts = project_gallery(store, path, tmp_path / "b", 6)
    assert parts.rows(np.arange(len(store))).tobytes() == whole.tobytes()
    assert parts.rows([3, 500, 1199]).tobytes() == whole[[3, 500, 1199]].tobytes()
    parts.remove()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(subjects=1), "at least two"),
        (dict(valence=np.zeros(1200)), "valence is the same number"),
    ],
)
def test_galleries_that_say_nothing_are_refused(tmp_path, change, said):
    store = open_gallery(write_gallery(tmp_path / "bad.zarr", **change))
    with pytest.raises(ValueError, match=said):
        validate_gallery(store, tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(components=(2000,)), "training frames"),
        (dict(components=(300,), apex_frames=100), "apex frames"),
        (dict(test_subjects=("nobody",)), "'nobody' is not a subject"),
        (dict(test_subjects=tuple(f"subject {k}" for k in range(10))), "train: has no frames"),
    ],
)
def test_settings_that_do_not_fit_the_gallery_are_refused(gallery, tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        validate_gallery(open_gallery(gallery), tmp_path, ValidationOptions(**{**vars(SMALL), **change}))


@pytest.mark.parametrize(
    "change", [dict(components=()), dict(components=(1,)), dict(components=(5, 5)), dict(constraint="free"),
               dict(test_share=1.0), dict(folds=1), dict(seed=-1), dict(resamples=0)],
)  # fmt: skip
def test_bad_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        ValidationOptions(**change)


def test_the_command_writes_a_report_that_holds_all_it_shows(gallery, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (affect3d[analysis])")
    names = tmp_path / "held.txt"
    names.write_text("subject 3\nsubject 7\n")
    arguments = ["analyze", str(gallery), "--out", str(tmp_path / "out"), "--components", "4,6", "--apex-frames", "200",
                 "--permutations", "9", "--test-subjects", str(names)]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["split"]["test_subjects"] == ["subject 3", "subject 7"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{said['rows'][0]['valence']['ccc']['value']:.3f}" in page
    assert page.count("<svg") == 5 and page.count('<img alt="component') == 6
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched
    first = (tmp_path / "out" / "report.html").read_bytes()
    assert main(arguments) == 0
    assert "CCC valence" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["missing.zarr", "--out", "out"], 1, "no gallery"),
        (["GALLERY"], 2, "--out"),
        (["GALLERY", "--out", "out", "--components", "1"], 2, "at least 2"),
        (["GALLERY", "--out", "out", "--components", "4,x"], 2, "whole numbers"),
        (["GALLERY", "--out", "out", "--test-share", "1"], 2, "test-share"),
        (["GALLERY", "--out", "out", "--test-subjects", "nothing.txt"], 1, "nothing.txt"),
        (["GALLERY", "--out", "file/out"], 1, "file"),
    ],
)
def test_wrong_usage_is_one_sentence(gallery, tmp_path, monkeypatch, capsys, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["analyze", *(str(gallery) if a == "GALLERY" else a for a in arguments)]) == status
    out = capsys.readouterr()
    assert said in out.err and len(out.err.strip().splitlines()) == 1 and "Traceback" not in out.err
