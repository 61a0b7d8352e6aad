"""`affect3d gan read-data`: databases and one's own pictures become sets, and what does not fit is refused; also what
`evaluate` refuses so that nobody is judged on who was trained on."""

import dataclasses
import inspect
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from affect3d.cli import gan_crop, gan_read  # noqa: E402
from affect3d.cli.errors import UsageError  # noqa: E402
from affect3d.gan.data import LISTERS, CropOptions, FaceImages, crop_image  # noqa: E402
from affect3d.gan.data.crops import MEAN_FACE  # noqa: E402
from affect3d.io.image import write_image  # noqa: E402
from painted import gan_command, painted_faces  # noqa: E402

POINTS = MEAN_FACE * 12 + [20, 20]


@pytest.fixture
def run(monkeypatch, capsys):
    return gan_command(monkeypatch, capsys)


@pytest.fixture
def found(monkeypatch):
    """Stands for the detector, which finds no face in pictures of this size; gives what it was asked with."""
    asked = []

    def find(image, detector="mediapipe", progress=None):
        asked.append(detector)
        return POINTS

    monkeypatch.setattr("affect3d.gan.data.listing.find_points", find)
    return asked


@pytest.fixture
def folders(tmp_path):
    """Two people with three expressions each."""
    base, rng = tmp_path / "mine", np.random.default_rng(0)
    for person in ("anna", "bert"):
        for shown in ("neutral", "happiness", "surprise"):
            (base / person / shown).mkdir(parents=True)
            write_image(base / person / shown / "1.png", rng.integers(0, 256, (40, 40, 3)).astype(np.uint8))
    return base


def test_every_reader_is_offered_and_its_options_are_read_by_their_types():
    assert set(gan_read.DATABASES) == {*LISTERS, "tfd"}
    read = gan_read.reader_settings
    rafd = read(LISTERS["rafd"], [("angles", "45,90"), ("children", "true")])
    assert rafd == {"angles": (45, 90), "children": True}
    assert read(LISTERS["oulu-casia"], [("camera", "NI")]) == {"camera": "NI"}
    assert read(LISTERS["disfa"], [("every", "5")]) == {"every": 5}
    # whatever a reader has, but for what cannot be said in a word
    for lister in LISTERS.values():
        for name, parameter in inspect.signature(lister).parameters.items():
            if name not in ("root", "apex"):
                with pytest.raises(UsageError, match=f"expected .*{name}"):
                    read(lister, [("nothing", "1")])
    for given, said in (
        (("angles", "left"), "whole numbers"), (("children", "no"), "true or false"),
        (("root", "x"), "angles, children"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            read(LISTERS["rafd"], [given])
    with pytest.raises(UsageError, match="no options here"):
        read(LISTERS["folders"], [("every", "2")])


def test_pictures_in_folders_become_a_set_that_says_how_it_was_cut(run, folders, found, tmp_path):
    out = tmp_path / "set.safetensors"
    argv = ["--size", 16, "--crop", "align=square,margin=0.3", "--grey", "--detector", "dlib"]
    said = run("read-data", "folders", folders, "--out", out, *argv, "--need-neutral")
    faces, crop = FaceImages.load(out), CropOptions(16, 1, "square", 0.3)
    assert found == ["dlib"] * 6 and gan_crop.crop_of_file(out) == crop
    assert said["people"] == 2 and said["expressions"] == ["neutral", "happiness", "surprise"]
    from affect3d.io.image import read_image

    truth = crop_image(read_image(folders / "bert" / "surprise" / "1.png").pixels, POINTS, crop)
    row = np.flatnonzero((faces.subject == 1) & (faces.expression == 2))
    np.testing.assert_array_equal(faces.images[row[0]], truth)
    assert (faces.expression[faces.neutral] == 0).all() and (faces.subject[faces.neutral] == faces.subject).all()
    # and `train` takes it, with that crop
    train = ["train", "stoicnet", "--data", out, "--out", tmp_path / "run", "--batch", 2, "--test-share", 0]
    for text in ("steps_reconstruct=1", "steps_enhance=1", "steps_neutralize=1"):
        train += ["--set", text]
    run(*train)
    assert json.loads((tmp_path / "run" / "people.json").read_text())["crop"]["align"] == "square"


def test_what_cannot_be_read_is_one_sentence_or_left_out(run, folders, found, tmp_path):
    read = ["read-data", "folders", folders, "--out", tmp_path / "set.safetensors", "--size", 16]
    (folders / "anna" / "surprise" / "1.png").write_bytes(b"no picture")
    assert "anna/surprise/1.png" in run(*read, status=1)["error"] and not (tmp_path / "set.safetensors").exists()
    said = run(*read, "--skip-unusable")
    assert said["pictures"] == 5 and "1 of 6 pictures were left out" in said["source"]
    shutil.rmtree(folders / "bert" / "neutral")
    error = run(*read, "--skip-unusable", "--need-neutral", status=1)["error"]
    assert "no neutral face of bert" in error and "anna" not in error
    (folders / "anna" / "neutral").rename(folders / "anna" / "calm")
    missing = run("read-data", "rafd", folders, "--out", tmp_path / "a.safetensors", status=1)["error"]
    assert str(folders) in missing and "\n" not in missing
    assert "is no folder" in run("read-data", "ck+", tmp_path / "no", "--out", tmp_path / "a.safetensors",
                                 status=1)["error"]  # fmt: skip
    for wrong, said in (
        (["--out", "x.npz"], "ending in .safetensors"), (["--set", "every=2"], "no options"),
        (["--set", "x"], "NAME=VALUE"),
    ):  # fmt: skip
        argv = ["read-data", "folders", folders, *([] if "--out" in wrong else ["--out", tmp_path / "a.safetensors"])]
        assert said in run(*argv, *wrong, status=2)["error"]


def test_pictures_without_an_expression_can_be_left_out(run, tmp_path, monkeypatch, found):
    from affect3d.gan.data import Entry, Listing

    write_image(tmp_path / "p.png", np.zeros((40, 40, 3), np.uint8))
    entries = [Entry(tmp_path / "p.png", "a", frame=k, expression=e, neutral=n)
               for k, (e, n) in enumerate((("", True), ("", False), ("happiness", False)))]  # fmt: skip
    monkeypatch.setitem(LISTERS, "ck+", lambda root: Listing(tuple(entries), ("happiness",), (), "A film."))
    read = ["read-data", "ck+", tmp_path, "--out", tmp_path / "f.safetensors", "--size", 16]
    assert run(*read)["pictures"] == 3 and run(*read, "--labelled")["pictures"] == 2
    monkeypatch.setitem(LISTERS, "ck+", lambda root: Listing((entries[1],), (), (), "A film."))
    assert "none of its pictures has an expression" in run(*read, "--labelled", status=1)["error"]


def test_the_file_of_tfd_is_resized_and_not_cropped(run, tmp_path):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    images = np.repeat(np.repeat(rng.integers(0, 256, (6, 12, 12)), 4, 1), 4, 2).astype(np.uint8)
    savemat(tmp_path / "TFD_48x48.mat", {
        "images": images, "labs_ex": np.array([[1, 7, 3, 1, 7, 3]]).T, "labs_id": np.array([[1, 1, 1, 2, 2, 2]]).T,
        "folds": np.repeat([[1, 1, 1, 3, 3, 3]], 5, 0).T,
    })  # fmt: skip
    read = ["read-data", "tfd", tmp_path / "TFD_48x48.mat", "--out", tmp_path / "t.safetensors", "--size", 12]
    assert run(*read)["people"] == 2
    faces = FaceImages.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(faces.images[..., 0], images[:, ::4, ::4])
    assert "crops already" in run(*read, "--crop", "cdaae", status=2)["error"]


# nobody is judged on who was trained on


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    painted_faces().save(folder / "faces.safetensors")
    argv = ["train", "cdaae", "--data", folder / "faces.safetensors", "--out", folder / "run", "--batch", 4]
    with pytest.MonkeyPatch.context() as patch:
        class Silent:
            def readouterr(self):
                import types

                return types.SimpleNamespace(out="{}", err="")

        gan_command(patch, Silent())(*argv, "--set", "steps=1", "--set", "width=4")
    return folder


def test_people_of_the_training_are_refused_as_a_test(run, trained, tmp_path):
    judge = ["evaluate", "cdaae", "--run", trained / "run", "--judges", 1, "--judge-steps", 1, "--out", tmp_path / "e"]
    leak = run(*judge, "--data", trained / "faces.safetensors", "--everybody", status=1)["error"]
    assert "30 of 36 pictures were trained on" in leak and "leak" in leak
    # the same pictures under other numbers
    faces = painted_faces()
    people = json.loads((trained / "run" / "people.json").read_text())
    one = faces.select(faces.subject == people["train"][0])
    dataclasses.replace(one, subject=np.full(3, people["test"][0])).save(tmp_path / "shifted.safetensors")
    leak = run(*judge, "--data", tmp_path / "shifted.safetensors", status=1)["error"]
    assert "3 of 3 pictures were trained on" in leak
    painted_faces(3, seed=7).save(tmp_path / "others.safetensors")
    told = run(*judge, "--data", tmp_path / "others.safetensors", "--everybody")
    assert told["people"] == 3 and told["options"]["judges"] == 1 and told["options"]["judge_steps"] == 1


def test_a_run_whose_list_of_people_leaks_is_refused(run, trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    people = json.loads((tmp_path / "run" / "people.json").read_text())
    people["test"].append(people["train"][0])
    (tmp_path / "run" / "people.json").write_text(json.dumps(people))
    folder = tmp_path / "run"
    for argv in (["evaluate", "cdaae", "--run", folder], ["compare", folder, "--out", tmp_path / "p.html"]):
        assert f"person {people['train'][0]} was trained on and kept apart" in run(*argv, status=1)["error"]


def test_judges_are_trained_once_for_all_who_are_judged_by_the_same(run, trained, tmp_path, monkeypatch):
    from affect3d.cli import gan_work
    from affect3d.gan import jury

    monkeypatch.setattr(gan_work, "judges_folder", lambda: tmp_path / "judges")
    judge = ["evaluate", "cdaae", "--run", trained / "run", "--judges", 2, "--judge-steps", 2, "--out", tmp_path / "e"]
    first = run(*judge)
    assert len(list((tmp_path / "judges").glob("recognizer-*.safetensors"))) == 4  # of expressions and of people

    def forbidden(*arguments):
        raise AssertionError("a second recognizer would be trained")

    monkeypatch.setattr(jury, "train_recognizer", forbidden)
    again = run(*judge)
    assert again == first
    page = run("compare", trained / "run", "--out", tmp_path / "p.html", "--judges", 2, "--judge-steps", 2)
    found = page["runs"][str(trained / "run")]["measures"]["all targets"]
    assert found["expression"] == first["expression"] and page["options"]["judges"] == 2


def test_a_rendered_set_says_by_which_options_it_was_made(tmp_path):
    from safetensors import safe_open

    painted_faces(2).save(tmp_path / "f.safetensors")
    gan_crop.record_crop(tmp_path / "f.safetensors", CropOptions(16), {"seed": 3, "people": 2})
    with safe_open(tmp_path / "f.safetensors", framework="numpy") as file:
        assert json.loads(file.metadata()["affect3d_options"]) == {"people": 2, "seed": 3}
    assert gan_crop.crop_of_file(tmp_path / "f.safetensors") == CropOptions(16)
    assert len(FaceImages.load(tmp_path / "f.safetensors")) == 6
