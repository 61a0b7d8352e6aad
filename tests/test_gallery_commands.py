"""`affect3d gallery`: generate, build, info, statistics, picture and agreement, as scripts use them."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from affect3d.affect.store import open_gallery
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.cli import main
from affect3d.io import mesh_file
from affect3d.io.mesh_file import write_mesh
from affect3d.mesh import Mesh
from affect3d.model import MorphableModel

pytest.importorskip("zarr", reason="zarr is not installed (affect3d[gallery])")
SIDE = 9
TOTAL = ("--model", "small", "--subjects", "4", "--all-sequences", "10", "--all-frames", "900")


def grid():
    """Vertices and triangles of a curved square patch, 160 mm wide."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-80, 80, SIDE), np.linspace(-80, 80, SIDE)))
    p = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    faces = np.concatenate([np.stack([p, p + 1, p + SIDE + 1], 1), np.stack([p, p + SIDE + 1, p + SIDE], 1)])
    return np.stack([x, y, 40 - (x**2 + y**2) / 300], 1), faces


def patch_head():
    rng = np.random.default_rng(2)
    vertices, faces = grid()
    return MorphableModel(
        vertices, faces, rng.normal(size=(3, len(vertices), 3)), [1.0, 2.0, 0.5],
        rng.normal(size=(len(ARKIT_SHAPES), len(vertices), 3)) * 4, ARKIT_SHAPES, name="a patch",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, and a small head under every name."""
    load = ModuleType("affect3d.model.load")
    load.load_model = lambda spec=None, progress=None: patch_head()
    monkeypatch.setitem(sys.modules, "affect3d.model.load", load)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*arguments):
        capsys.readouterr()
        status = main(["gallery", *map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out.strip() else {}, err

    return run


def scans(folder, people=("ann", "bob"), takes=("t1", "t2"), frames=4):
    """Meshes of one topology; vertex 40 is lifted by what (person, take, frame) says."""
    vertices, faces = grid()
    truth = {}
    for i, person in enumerate(people):
        for j, take in enumerate(takes):
            place = folder / person / take
            place.mkdir(parents=True)
            for t in range(frames):
                moved = vertices + [0, 0, 10.0 * i]
                moved[40, 2] += t * (j + 1)
                write_mesh(place / f"frame_{t + 1:03d}.ply", Mesh(moved, faces))
                truth[f"{person}/{take}/frame_{t + 1:03d}"] = float(t * (j + 1))
    return truth


def table(path, rows, head=("sequence", "frame", "valence", "arousal", "neutral")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def every_label(people=("ann", "bob"), takes=("t1", "t2"), frames=4):
    return [
        (f"{p}/{q}", t + 1, 0.2 * t, -0.1 * t, int(t == 0)) for p in people for q in takes for t in range(frames)
    ]  # fmt: skip


# --- generate and info


@pytest.mark.parametrize("meshes", [(), ("--meshes",)])
def test_a_gallery_of_sequences_that_differ_is_generated_on_any_head(folder, run, meshes):
    status, made, _ = run("generate", "--out", "g", *TOTAL, *meshes, "--rate", "30", "--test-share", "0.5")
    assert status == 0 and made["frames"] == 900 and made["subjects"] == 4 and made["sequences"] == 10
    assert made["kind"] == ("vertices" if meshes else "coefficients") and made["splits"] == {"train": 2, "test": 2}
    status, seen, _ = run("info", "g")
    assert status == 0 and seen["command"] == "gallery info"
    assert {k: v for k, v in seen.items() if k != "command"} == {
        k: v for k, v in made.items() if k not in ("command", "outputs")
    }
    assert seen["hours"] == pytest.approx(900 / 30 / 3600) and seen["model"] == "a patch" and seen["vertices"] == 81
    assert sum(seen["class_counts"]) == 900 and seen["frames_of_a_sequence"]["least"] >= 8
    assert run("info", "g", "--rate", "60")[1]["hours"] == pytest.approx(900 / 60 / 3600)
    status, seen, _ = run("info", "g", "--identity")
    assert status == 0 and seen["identity"]["classes_compared"] > 0
    assert 0 < seen["identity"]["mean"]["left_mm"] < seen["identity"]["mean"]["mean_mm"]


def test_the_readable_answer_names_subjects_sequences_hours_labels_and_classes(folder, capsys):
    assert main(["gallery", "generate", "--out", "g", *TOTAL]) == 0
    capsys.readouterr()
    assert main(["gallery", "info", "g", "--identity"]) == 0
    text = capsys.readouterr().out
    for words in ("900 frames of 4 subjects in 10 sequences", "hours at 60 frames", "on a patch", "labels: words",
                  "splits: train 3 subjects, test 1", "valence grows to the right", "identity, mean over"):  # fmt: skip
        assert words in text, words


def test_the_skin_alone_has_the_vertices_of_the_skin_and_the_same_performances(folder, run, monkeypatch):
    teeth = (np.arange(2 * (SIDE - 1) ** 2) < 40).astype(np.uint8)
    head = replace(patch_head(), parts=teeth, part_names=("face", "teeth"))
    sys.modules["affect3d.model.load"].load_model = lambda spec=None, progress=None: head
    assert run("generate", "--out", "whole", *TOTAL)[0] == 0
    assert run("generate", "--out", "skin", "--skin", *TOTAL)[0] == 0
    whole, skin = open_gallery("whole"), open_gallery("skin")
    kept = head.part_vertices("face")
    assert np.allclose(skin.rest, whole.rest[kept]) and np.allclose(skin.basis, whole.basis[:, kept])
    assert np.array_equal(skin.values[:], whole.values[:])


def test_sequences_of_one_length_come_by_their_number_each(folder, run):
    status, made, _ = run(
        "generate", "--out", "g", "--model", "small", "--subjects", "3", "--sequences", "2", "--frames", "9"
    )
    assert status == 0 and made["frames"] == 54
    assert made["frames_of_a_sequence"] == {"least": 9, "median": 9, "most": 9}


@pytest.mark.parametrize(
    "wrong, message",
    [
        (("--frames", "20", "--all-frames", "900"), "--frames: expected either --frames or --all-frames"),
        (("--all-sequences", "3", "--subjects", "5"), "--sequences: expected one of each of 5 subjects"),
        (("--all-frames", "100", "--all-sequences", "100"), "--frames: expected 8 or more for each of 100"),
        (("--subjects", "1000", "--sequences", "1000"), "--frames: more than two million"),
        (("--rate", "0"), "argument --rate"),
    ],
)
def test_numbers_that_contradict_each_other_are_wrong_usage(folder, capsys, wrong, message):
    assert main(["gallery", "generate", "--out", "g", *wrong]) == 2
    assert message in capsys.readouterr().err and not (folder / "g").exists()


def test_the_shipped_statistics_and_those_of_a_file_are_described(folder, run):
    status, seen, _ = run("info")
    assert status == 0 and seen["frames"] == 288_000 and len(seen["expressions"]) == 52
    run("generate", "--out", "g", *TOTAL)
    status, made, _ = run("statistics", "g", "--out", "classes.npz")
    assert status == 0 and made["frames"] == 900
    assert run("info", "classes.npz")[1]["class_counts"] == made["class_counts"] == run("info", "g")[1]["class_counts"]
    assert run("info", "--identity")[0] == 2
    assert run("statistics", "g", "--out", "classes.txt")[0] == 2


def test_statistics_of_meshes_hold_mean_faces(folder, run):
    run("generate", "--out", "g", *TOTAL, "--meshes")
    assert run("statistics", "g", "--out", "classes.npz")[0] == 0
    store = open_gallery("g")
    rows = store.select(classes=45)
    values = np.asarray(store.values[...], float)
    with np.load("classes.npz") as file:
        np.testing.assert_allclose(file["mean"][45], (values - values[store.neutral])[rows].mean(0), atol=1e-4)
        assert file["faces"].shape == (128, 3) and file["count"][45] == len(rows)


def test_a_dask_cluster_gives_the_same_statistics(folder, run):
    distributed = pytest.importorskip("distributed", reason="a cluster needs the extra affect3d[dask]")
    run("generate", "--out", "g", *TOTAL, "--meshes")
    assert run("statistics", "g", "--out", "here.npz")[0] == 0
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="inproc://"
    ) as cluster:
        from affect3d.cli.gallery_work import save_class_statistics

        save_class_statistics(open_gallery("g"), "there.npz", scheduler=cluster.scheduler_address)
    assert Path("here.npz").read_bytes() == Path("there.npz").read_bytes()


# --- build


def test_the_people_of_a_split_are_named_in_files(folder, run):
    scans(folder / "meshes")
    labels = table("labels.csv", every_label())
    Path("test.txt").write_text("bob\n\n")
    command = ("build", "meshes", "--labels", labels, "--unit", "mm", "--out")
    assert run(*command, "g", "--split", "test=test.txt")[0] == 0
    store = open_gallery("g")
    assert store.splits == {"test": ("bob",)} and set(store.subject[store.select(split="test")]) == {1}
    assert run(*command, "plain")[0] == 0 and open_gallery("plain").content != store.content
    for text, message in (("zoe\n", "'test' names 'zoe'"), ("\n", "names no subject")):
        Path("wrong.txt").write_text(text)
        status, said, _ = run(*command, "h", "--split", "test=wrong.txt")
        assert status == 1 and message in said["error"] and not Path("h").exists()
    status, said, _ = run(*command, "h", "--split", "test=test.txt", "--split", "train=test.txt")
    assert status == 1 and "'bob' is in both 'test' and 'train'" in said["error"]
    assert run(*command, "h", "--split", "test.txt")[0] == 2
    assert run(*command, "h", "--split", "test=nowhere.txt")[0] == 1


def test_a_gallery_is_built_from_meshes_and_a_table(folder, run):
    truth = scans(folder / "meshes")
    labels = table("labels.csv", [row for row in every_label() if row[:2] != ("bob/t2", 3)] + [("zoe/t1", 1, 0, 0, 0)])
    status, made, _ = run(
        "build", "meshes", "--labels", labels, "--out", "g", "--rate", "25", "--convention", "ours", "--unit", "mm"
    )
    assert status == 0 and made["frames"] == 15 and made["hours"] == pytest.approx(15 / 25 / 3600)
    assert made["subjects"] == 2 and made["sequences"] == 4 and made["convention"] == "ours"
    assert "1 meshes have no label" in made["left_out"][0] and "bob/t2/frame_003" in made["left_out"][0]
    assert "1 labels belong to none" in made["left_out"][1]
    store = open_gallery("g")
    moved = store.frames().at_vertices([40])[:, 0, 2]
    names = [n for n in truth if n != "bob/t2/frame_003"]
    np.testing.assert_allclose(moved, [truth[n] for n in names], atol=1e-4)
    assert store.subjects == ("ann", "bob") and store.sequences == ("ann/t1", "ann/t2", "bob/t1", "bob/t2")
    np.testing.assert_allclose(store.valence, [0.2 * (int(n[-3:]) - 1) for n in names], atol=1e-6)
    np.testing.assert_allclose(store.distance, np.abs(moved) / 9, atol=1e-5)
    assert run("info", "g")[1]["frames"] == 15


def test_the_neutral_face_is_the_one_the_table_names_else_the_first(folder, run):
    scans(folder / "meshes", people=("ann",), takes=("t1", "t2"))
    rows = [(f"ann/{q}", t + 1, 0, 0, int(q == "t1" and t == 2)) for q in ("t1", "t2") for t in range(4)]
    status, made, _ = run("build", "meshes", "--labels", table("l.csv", rows), "--out", "g", "--unit", "mm")
    assert status == 0 and "1 sequences have no frame that is called neutral, 'ann/t2'" in made["left_out"][0]
    np.testing.assert_allclose(
        open_gallery("g").frames().at_vertices([40])[:, 0, 2], [-2, -1, 0, 1, 0, 2, 4, 6], atol=1e-4
    )


def test_labels_as_databases_keep_them_build_a_gallery_too(folder, run):
    scans(folder / "meshes", people=("ann",), takes=("one", "two"))
    Path("one.txt").write_text("valence,arousal\n0,0\n0.5,0.5\n-5,-5\n1,-1\n")
    frames = {f"{t + 1:05d}": {"valence": t, "arousal": -t} for t in range(4)}
    Path("x.json").write_text(json.dumps({"video_id": "two", "frames": frames}))
    status, made, _ = run("build", "meshes", "--labels", "one.txt", "x.json", "--out", "g", "--unit", "mm")
    assert status == 0 and made["frames"] == 7
    store = open_gallery("g")
    np.testing.assert_allclose(store.valence, [0, 0.5, 1, 0, 0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(store.arousal, [0, 0.5, -1, 0, -0.1, -0.2, -0.3], atol=1e-6)
    for target in ("valence", "arousal"):
        Path("wild", target).mkdir(parents=True)
        Path("wild", target, "one.txt").write_text("0\n0.5\n0.25\n")
    status, made, _ = run("build", "meshes", "--labels", "wild", "--out", "w", "--unit", "mm")
    assert status == 0 and open_gallery("w").arousal.tolist() == [0, 0.5, 0.25]
    Path("none").mkdir()
    assert "none: holds no labels" in run("build", "meshes", "--labels", "none", "--out", "h")[1]["error"]
    Path("valence.txt").write_text("0\n0\n")
    status, said, _ = run("build", "meshes", "--labels", "valence.txt", "--out", "h", "--unit", "mm")
    assert status == 1 and "has no arousal of sequence 'valence'" in said["error"]


def test_files_that_do_not_fit_are_named_all_of_them(folder, run):
    scans(folder / "meshes")
    vertices, faces = grid()
    write_mesh("meshes/ann/t2/frame_002.ply", Mesh(vertices[:-1], faces[(faces < len(vertices) - 1).all(1)]))
    write_mesh("meshes/bob/t1/frame_003.ply", Mesh(vertices, faces[:, [1, 2, 0]]))
    Path("meshes/bob/t2/frame_004.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    status, said, _ = run("build", "meshes", "--labels", table("l.csv", every_label()), "--out", "g", "--unit", "mm")
    assert status == 1 and not Path("g").exists()
    for name in ("ann/t2/frame_002.ply", "bob/t1/frame_003.ply", "bob/t2/frame_004.ply"):
        assert name in said["error"], name
    assert "t1/frame_001.ply: " not in said["error"]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([("t1", 1, 0, 0, 0)], "the sequence 't1' may be 'ann/t1' or 'bob/t1'; expected its whole name"),
        ([("zoe/t9", 1, 0, 0, 0)], "no mesh has a label"),
        ([("ann/t1", 1, 0, 0, 1), ("ann/t1", 2, 0, 0, 1)], "sequence 'ann/t1' has 2 neutral frames"),
        ([("ann/t1", 1, 0, 1.2, 0)], "line 2: arousal"),
        ([("ann/t1", 1, 0, 0, 0)] * 2, "two lines"),
    ],
)
def test_labels_that_contradict_the_meshes_are_refused(folder, run, rows, message):
    scans(folder / "meshes")
    status, said, _ = run("build", "meshes", "--labels", table("l.csv", rows), "--out", "g", "--unit", "mm")
    assert status == 1 and message in said["error"] and not Path("g").exists()


def test_a_gallery_is_replaced_only_when_asked_and_folders_of_others_never(folder, run):
    scans(folder / "meshes")
    labels = table("l.csv", every_label())
    build = ("build", "meshes", "--labels", labels, "--unit", "mm", "--out")
    assert run(*build, "g")[0] == 0 and run(*build, "g")[0] == 2
    first = open_gallery("g").content
    shutil.rmtree("meshes/bob")
    assert run(*build, "g", "--force")[0] == 0 and open_gallery("g").content != first
    assert run(*build, "meshes", "--force")[0] == 1 and Path("meshes/ann/t1/frame_001.ply").exists()
    status, said, _ = run("build", "nowhere", "--labels", labels, "--out", "h")
    assert status == 1 and "nowhere: there is no such folder" in said["error"]


KILLED = """
import sys, time
from affect3d.affect import store_writer
from affect3d.cli import main
from affect3d.io import mesh_file
store_writer._CHUNK = {"vertices": 81 * 2}
real = mesh_file.read_mesh
def slow(*arguments, **named):
    time.sleep(0.05)
    return real(*arguments, **named)
mesh_file.read_mesh = slow
sys.exit(main(sys.argv[1:]))
"""


def test_a_build_that_is_killed_leaves_no_gallery_and_the_next_one_continues(folder, run, monkeypatch):
    scans(folder / "meshes", frames=12)
    labels = table("l.csv", [
        (f"{p}/{q}", t + 1, 0, 0, int(t == 0)) for p in ("ann", "bob") for q in ("t1", "t2") for t in range(12)
    ])  # fmt: skip
    command = ("build", "meshes", "--labels", labels, "--unit", "mm", "--out")
    child = subprocess.Popen([sys.executable, "-c", KILLED, "gallery", *command, "g"])
    parts, until = Path(".g.growing/parts"), time.monotonic() + 60
    while len(list(parts.glob("[0-9]*.npy"))) < 5:
        assert child.poll() is None and time.monotonic() < until, "the run ended before it could be killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not Path("g").exists() and run("info", "g")[0] == 1
    assert run("info", ".g.growing/store")[0] == 1
    monkeypatch.setattr("affect3d.affect.store_writer._CHUNK", {"vertices": 81 * 2})
    reads = []
    real = mesh_file.read_mesh
    monkeypatch.setattr(mesh_file, "read_mesh", lambda *a, **k: reads.append(a[0]) or real(*a, **k))
    assert run(*command, "g")[0] == 0
    assert len(reads) <= 1 + 48 - 10  # the first is read again for its shape
    assert run(*command, "whole")[0] == 0
    one, two = open_gallery("g"), open_gallery("whole")
    assert one.content == two.content and np.array_equal(one.values[...], two.values[...]) and len(one) == 48


# --- picture


def test_a_picture_shows_each_class_where_it_lies_and_leaves_empty_ones_blank(folder, run):
    pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")
    from affect3d.analysis.gallery_figures import draw_face, face_window, write_gallery_picture

    run("generate", "--out", "g", *TOTAL)
    assert run("picture", "g", "--out", "g.png")[0] == 0 and run("picture", "g", "--out", "g.pdf")[0] == 2
    store = open_gallery("g")
    found = write_gallery_picture("again.png", store)
    assert Path("again.png").read_bytes() == Path("g.png").read_bytes()
    pixels = np.asarray(Image.open("g.png").convert("RGB")).astype(int)
    # the faces' panel: 1500 pixels from 95 to the right and 115 above the lower edge
    panel = pixels[pixels.shape[0] - 115 - 1500 : pixels.shape[0] - 115, 95:1595]
    for k in range(100):
        row, column = divmod(k, 10)
        square = panel[(9 - row) * 150 + 10 : (9 - row) * 150 + 140, column * 150 + 10 : column * 150 + 140]
        drawn = (np.ptp(square, axis=2) > 12).mean()
        assert drawn > 0.5 if found.count[k] >= 20 else drawn < 0.01, k
    window = face_window(store.rest, np.zeros((1, 81, 3)))
    far = draw_face(store.rest, store.faces, (0.0, 0.0, 200.0), 60)
    assert (far[0] == 255).all() and (far[30, 30] < 255).all()
    plain = draw_face(store.rest, store.faces, window, 60)
    red = draw_face(store.rest, store.faces, window, 60, np.tile(np.uint8([255, 0, 0]), (81, 1)))
    assert plain.shape == (60, 60, 3) and (plain[30, 30] < 255).all() and red[30, 30, 0] > 3 * red[30, 30, 1]
    with pytest.raises(ValueError, match="face_pixels: expected at least 32"):
        write_gallery_picture("x.png", store, face_pixels=8)


# --- agreement


def annotators(folder, lags=(0, 4, 8), count=300):
    rng = np.random.default_rng(5)
    x = np.convolve(rng.normal(size=count + 60), np.hanning(31), "valid")[:count]
    x /= np.abs(x).max() * 1.1
    names = []
    for i, lag in enumerate(lags):
        late = np.interp(np.arange(count) - lag, np.arange(count), x)
        rows = [f"{v:.5f},{-v:.5f}" for v in late]
        if i == 1:
            rows[50:55] = ["-5,-5"] * 5
        names.append(folder / f"person{i}.txt")
        names[-1].write_text("valence,arousal\n" + "\n".join(rows) + "\n")
    return names, x


def test_annotators_are_compared_and_their_mean_without_lags_is_written(folder, run):
    names, truth = annotators(folder)
    status, said, _ = run("agreement", *names, "--largest-lag", "20", "--out", "mean.csv")
    assert status == 0 and said["annotators"] == ["person0", "person1", "person2"]
    for target in ("valence", "arousal"):
        found = said["targets"][target]
        np.testing.assert_allclose(found["lags"], [-4, 0, 4], atol=0.2)
        assert found["frames"] == 300 and found["not_annotated"] == [0, 5, 0]
        assert found["without_lags"]["mean_ccc"] > 0.99 > found["agreement"]["mean_ccc"]
        assert found["without_lags"]["icc"]["ICC(2,1)"] > found["agreement"]["icc"]["ICC(2,1)"]
    with open("mean.csv") as file:
        mean = list(csv.DictReader(file))
    assert mean[0]["sequence"] == "person0"
    values = {int(row["frame"]): float(row["valence"]) for row in mean}
    # relative to their mean the lags leave the common one of four frames
    np.testing.assert_allclose([values[i + 5] for i in range(10, 280)], truth[10:280], atol=0.03)


def test_the_face_says_how_late_everybody_is(folder, run):
    run("generate", "--out", "g", "--model", "small", "--subjects", "1", "--all-sequences", "2", "--all-frames", "700")
    store = open_gallery("g")
    for i, lag in enumerate((6, 12)):
        rows = []
        for name in store.sequences:
            mine = store.select(sequences=name)
            size = store.distance[mine] / store.distance.max()
            late = np.interp(np.arange(len(mine)) - lag, np.arange(len(mine)), size)
            rows += [(name, t, f"{v:.5f}", f"{-v:.5f}") for t, v in enumerate(late)]
        table(f"a{i}.csv", rows, ("sequence", "frame", "valence", "arousal"))
    status, said, _ = run("agreement", "a0.csv", "a1.csv", "--store", "g", "--largest-lag", "30")
    assert status == 0 and said["sequences"] == list(store.sequences)
    behind = [lag["frames"] for lag in said["targets"]["valence"]["behind_geometry"]]
    np.testing.assert_allclose(behind, [6, 12], atol=0.5)
    assert main(["gallery", "agreement", "a0.csv", "a1.csv", "--store", "g"]) == 0


def test_annotators_who_cannot_be_compared_are_refused(folder, run):
    names, _ = annotators(folder)
    assert run("agreement", names[0])[0] == 2
    one = table("one.csv", [("a", 0, 0, 0), ("b", 0, 0, 0)], ("sequence", "frame", "valence", "arousal"))
    status, said, _ = run("agreement", one, names[0])
    assert status == 1 and "has no sequence in common with one" in said["error"]
    assert run("agreement", names[0], names[0])[0] == 2
    Path("flat.txt").write_text("valence,arousal\n" + "0.5,0.5\n" * 300)
    status, said, _ = run("agreement", names[0], "flat.txt")
    assert status == 1 and "flat" in said["error"] and "same number" in said["error"]
