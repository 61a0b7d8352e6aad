"""`affect3d gan compare`: several runs on one page, measured on the same pictures where they make the same."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from affect3d.cli import app, gan, gan_crop  # noqa: E402
from affect3d.gan import evaluation, methods  # noqa: E402
from affect3d.gan.data import CropOptions  # noqa: E402
from affect3d.gan.recognizer import RecognizerOptions  # noqa: E402
from painted import EMOTIONS, gan_command, painted_faces  # noqa: E402


@pytest.fixture
def run(monkeypatch, capsys):
    return gan_command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces.safetensors"
    faces = painted_faces()
    dataclasses.replace(faces, neutral=np.repeat(np.arange(0, len(faces), 3), 3)).save(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """Folder of a run that has learnt the painted faces."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    argv = ["gan", "train", "cdaae", "--out", str(folder), "--data", str(data), "--batch", "16", "--threads", "1"]
    for setting in ("steps=160", "width=8", "variant=N1"):
        argv += ["--set", setting]
    with pytest.MonkeyPatch.context() as patch:
        if gan not in app.COMMANDS:
            patch.setattr(app, "COMMANDS", (*app.COMMANDS, gan))
        assert app.main(argv) == 0
    return folder


def test_runs_are_set_side_by_side_on_the_same_faces(run, data, trained, tmp_path):
    argv = ["train", "cdaae", "--out", tmp_path / "short", "--data", data, "--set", "steps=3", "--set", "width=4"]
    run(*argv)
    argv = ["--judge-steps", 40, "--threads", 1]
    found = run("compare", trained, tmp_path / "short", "--out", tmp_path / "page.html", *argv)
    good, poor = (found["runs"][str(r)]["measures"]["all targets"] for r in (trained, tmp_path / "short"))
    assert good["changed"]["gain"] > 3 > poor["changed"]["gain"] and found["people"] == 2
    page = (tmp_path / "page.html").read_text()
    # two people with two targets each and the way back to neutral: source, target and two results
    assert page.count("<img") == 2 * 3 * 4 and "http" not in page
    assert f"<th>{trained.name}</th><th>short</th>" in page and page.count("<h3>") == 3  # and true pictures
    assert "not applicable" not in page and "Neutral targets" not in page
    assert f"<td class=best>{good['changed']['gain']:.2f}</td><td>{poor['changed']['gain']:.2f}</td>" in page
    assert json.loads((tmp_path / "page.json").read_text()) == found
    painted_faces(seed=4).select(np.arange(30)).save(tmp_path / "other.safetensors")
    # recognition with added pictures and the figure, on the same page
    for name in ("sklearn", "matplotlib"):
        pytest.importorskip(name, reason="t-SNE and its figure need the extra affect3d[analysis]")
    argv = ["compare", trained, "--out", tmp_path / "more.html", "--judge-steps", 20, "--threads", 1, "--tsne"]
    more = run(*argv, "--augment", 4, "--augment-seeds", 2)
    rows = more["augmentation"]["rows"]
    assert list(rows) == ["true pictures alone", trained.name] and len(rows[trained.name]["accuracy"]) == 2
    assert rows[trained.name]["pictures"] == 4 * 3 * 3 == 3 * rows["true pictures alone"]["pictures"]
    page = (tmp_path / "more.html").read_text()
    assert page.count("<img") == 2 * 3 * 3 + 1 and "with and without added pictures" in page
    faces = painted_faces(size=48)
    faces.save(tmp_path / "wide.safetensors")
    argv = ["compare", trained, "--out", tmp_path / "w.html", "--wide", tmp_path / "wide.safetensors"]
    assert "nothing of a crop" in run(*argv, status=1)["error"]
    kept = json.loads((trained / "people.json").read_text())["train"]
    faces.select(np.isin(faces.subject, kept)).save(tmp_path / "wide.safetensors")
    gan_crop.record_crop(tmp_path / "wide.safetensors", CropOptions(48, margin=0.5))
    assert "holds nobody" in run(*argv, status=1)["error"]
    argv = ["compare", trained, "--out", tmp_path / "p.html", "--data", tmp_path / "other.safetensors"]
    assert "another set" in run(*argv, status=1)["error"]


@pytest.fixture(scope="module")
def neutralizer(tmp_path_factory, data):
    """Folder of a run of StoicNet of few steps."""
    folder = tmp_path_factory.mktemp("neutralizer") / "stoicnet"
    argv = ["gan", "train", "stoicnet", "--data", str(data), "--out", str(folder), "--batch", "8", "--threads", "1"]
    for setting in ("steps_reconstruct=4", "steps_enhance=1", "steps_neutralize=2", "enhancer=4", "blocks=1"):
        argv += ["--set", setting]
    with pytest.MonkeyPatch.context() as patch:
        if gan not in app.COMMANDS:
            patch.setattr(app, "COMMANDS", (*app.COMMANDS, gan))
        assert app.main(argv) == 0
    return folder


def test_a_method_that_only_makes_faces_neutral_stands_beside_others_on_neutral_targets_alone(
    run, trained, neutralizer, tmp_path
):
    argv = ["compare", trained, neutralizer, "--judge-steps", 10, "--threads", 1]
    found = run(*argv, "--out", tmp_path / "p.html")
    many, one = (found["runs"][str(folder)]["measures"] for folder in (trained, neutralizer))
    assert list(many) == list(one) == ["all targets", "neutral targets"] and one["all targets"] is None
    # two people with three pictures: six pairs each, two of them with the neutral face as target
    assert many["all targets"]["pictures"] == 12
    assert many["neutral targets"]["pictures"] == one["neutral targets"]["pictures"] == 4
    assert one["neutral targets"]["changed"]["copied"] == many["neutral targets"]["changed"]["copied"]
    assert {*many["all targets"]["by_target"]} == {*EMOTIONS} and {*one["neutral targets"]["by_target"]} == {"neutral"}
    page = (tmp_path / "p.html").read_text()
    # eight rows of the first table, two other expressions, and the four pictures of two people that are not neutral
    assert page.count("<td class=none>not applicable</td>") == 8 + 2 + 4
    assert page.count("<img") == 2 * 3 * 4 - 4 and page.count("<h3>") == 2
    assert "<h2>All targets</h2><p>12 pictures of 2 people" in page and "<h2>Neutral targets</h2><p>4 pictures" in page
    # alone it has no use for the others
    alone = run("compare", neutralizer, "--out", tmp_path / "q.html", "--judge-steps", 10, "--threads", 1)
    assert list(alone["runs"][str(neutralizer)]["measures"]) == ["neutral targets"]
    few = [*argv, "--out", tmp_path / "r.html"]
    assert "neutral faces only" in run(*few, "--pairs", 1, "--seed", 0, status=1)["error"]


def test_measures_by_target_agree_with_those_of_the_pictures_of_that_target_alone():
    faces = painted_faces(8)
    judges = evaluation.train_judges(faces.select(faces.subject < 6), RecognizerOptions(steps=15, judges=2))
    unseen = faces.select(faces.subject >= 6)
    pairs = evaluation.evaluation_pairs(unseen)
    images = np.clip(unseen.images[pairs[:, 1]].astype(int) + np.random.default_rng(0).integers(-9, 9), 0, 255)
    images = np.where(np.arange(len(pairs))[:, None, None, None] % 4 == 0, unseen.images[pairs[:, 0]], images)
    images = images.astype(np.uint8)
    found = evaluation.evaluate_images(unseen, pairs, images, judges)["by_target"]
    assert sum(row["pictures"] for row in found.values()) == len(pairs)
    for k, name in enumerate(EMOTIONS):
        rows = unseen.expression[pairs[:, 1]] == k
        alone = evaluation.evaluate_images(unseen, pairs[rows], images[rows], judges)
        assert found[name]["recognized"] == alone["expression"]["accuracy"]
        assert found[name]["recognized_on_true_pictures"] == alone["expression"]["accuracy_on_true_pictures"]
        assert found[name]["visible_gain"] == alone["visibly_changed"]["gain"]


def test_what_each_method_is_able_to_make_is_known():
    faces = painted_faces(2)
    faces = dataclasses.replace(faces, neutral=np.repeat([0, 3], 3))
    pairs = np.array([[1, 0], [0, 1], [0, 0], [5, 3], [5, 4]])
    assert methods.able("stoicnet", faces, pairs).tolist() == [True, False, False, True, False]
    for name in ("cdaae", "fesgan", "exprgan"):
        assert methods.able(name, faces, pairs).all()
    assert not methods.able("stoicnet", painted_faces(2), pairs).any()  # nobody's neutral face is known


def test_the_3d_route_stands_beside_them_asked_by_affect_and_by_name(run, data, trained, tmp_path, monkeypatch):
    from affect3d.cli import gan_route3d
    from affect3d.gan.data import FaceImages

    asked = {}

    def through_3d(wide, faces, crop, pairs, ways, progress=None):
        """Perfect where it is asked by name, copies where it is asked by affect; no face in the first source."""
        asked["ways"] = ways
        failed = pairs[:, 0] == pairs[0, 0]
        made = [faces.images[pairs[:, 0]], faces.images[pairs[:, 1]] ^ np.uint8(1)]
        return tuple(gan_route3d.RouteResult(images, failed) for images in made[: len(ways)])

    monkeypatch.setattr(gan_route3d, "through_3d", through_3d)
    faces = FaceImages.load(data)
    wide = dataclasses.replace(faces, images=faces.images.repeat(3, 1).repeat(3, 2))
    wide.save(tmp_path / "wide.safetensors")
    gan_crop.record_crop(tmp_path / "wide.safetensors", CropOptions(48, margin=0.5))
    argv = ["compare", trained, "--judges", 1, "--judge-steps", 30, "--threads", 1]
    found = run(*argv, "--out", tmp_path / "p.html", "--wide", tmp_path / "wide.safetensors")
    by_affect, by_name = (found[name]["measures"]["all targets"] for name in ("3D route", "3D route, by label"))
    assert by_affect["changed"]["gain"] == 0 and by_name["changed"]["gain"] > 20
    assert by_affect["no_face_found"] == by_name["no_face_found"] == 2 / 12
    assert [len(way) for way in asked["ways"]] == [12 + 6] * 2
    assert {query.name for query in asked["ways"][1]} == {*EMOTIONS}
    assert all(-1 <= query.valence <= 1 for query in asked["ways"][0])
    page = (tmp_path / "p.html").read_text()
    assert "<th>3D route</th><th>3D route, by label</th>" in page and "asked by the name of the expression" in page


def test_expressions_without_a_known_name_leave_the_3d_route_one_way_to_be_asked(monkeypatch):
    from affect3d.cli import gan_compare_work, gan_route3d

    faces = painted_faces(2)
    far = np.full(len(faces), 0.3)
    monkeypatch.setattr(gan_route3d, "through_3d", lambda *a, **k: (gan_route3d.RouteResult(faces.images, far > 1),))
    unnamed = dataclasses.replace(faces, expression_names=("calm?", "squint", "scream"), valence=far, arousal=far)
    pairs = np.array([[0, 1], [1, 2]])
    assert list(gan_compare_work._route(None, CropOptions(16), unnamed, pairs, pairs)) == ["3D route"]
