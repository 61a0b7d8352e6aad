"""The study's pictures, networks, batches, table, resume and command."""

import json
import re
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the study trains networks")

from affect3d.gan.data.crops import CropOptions

from affect3d.affect.statistics import default_statistics
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.analysis.scores import subject_moments
from affect3d.io.image import write_image
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.study.augment import (
    AugmentOptions,
    augment,
    choose_classes,
    mean_expressions,
    sampled_expressions,
)
from affect3d.study.comparison import compare, paired_p_value
from affect3d.study.films import (
    AddedFilms,
    FilmOptions,
    class_weights,
    film_batches,
    windows_of,
    with_light_and_place,
)
from affect3d.study.manifest import (
    AddedPicture,
    read_manifest,
    read_pictures,
    write_manifest,
)
from affect3d.study.networks import (
    AffectMethod,
    AffectOptions,
    affect_loss,
    concordance,
    predict_films,
)
from affect3d.study.neutral import NeutralOptions, contact_sheet, find_neutral_frames
from affect3d.study.runs import smoothed_prediction
from affect3d.study.study import StudyOptions, run_study
from affect3d.study.videos import FaceVideos


class Head:
    """Stands in for a fitted portrait: a made picture is grey, as bright as the jaw is open."""

    class model:
        expression_names = ARKIT_SHAPES

    def __init__(self, strength=0.0):
        self.fit = type("Fit", (), {"expression": np.full(len(ARKIT_SHAPES), strength)})
        self.asked = []

    def with_expression(self, weights):
        self.asked.append(weights)
        marks = np.random.default_rng(0).uniform(8, 56, (68, 2))
        image = np.full((64, 64, 3), int(round(255 * weights["jawOpen"])), np.uint8)
        return type("Made", (), {"image": image, "landmarks": type("Marks", (), {"points": marks})})


def toy_videos(people=6, clips=2, frames=6, seed=0):
    """Films whose brightness is arousal and whose left side's redness is valence."""
    rng = np.random.default_rng(seed)
    n = people * clips * frames
    t = np.tile(np.linspace(0, 1, frames), people * clips)
    way = np.repeat(rng.uniform(-0.9, 0.9, (people * clips, 2)), frames, axis=0) * t[:, None]
    images = rng.normal(100, 4, (n, 64, 64, 3))
    images += 90 * way[:, 1, None, None, None]
    images[..., 0] += 60 * way[:, 0, None, None]
    marks = np.random.default_rng(0).uniform(8, 56, (68, 2))
    return FaceVideos(
        np.repeat(np.arange(people), clips * frames), tuple(f"p{k}" for k in range(people)),
        np.repeat(np.arange(people * clips), frames), tuple(f"c{k}" for k in range(people * clips)),
        np.tile(np.arange(frames), people * clips), way[:, 0], way[:, 1], np.tile(marks, (n, 1, 1)),
        images=np.clip(images, 0, 255).astype(np.uint8), source="toys",
    )  # fmt: skip


def test_the_concordance_loss_agrees_with_the_measure_that_is_reported():
    rng = np.random.default_rng(0)
    p, a = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    got = concordance(torch.tensor(p), torch.tensor(a)).numpy()
    for k in range(2):
        moments = subject_moments(p[:, k], a[:, k], np.zeros(50))
        np.testing.assert_allclose(got[k], moments.measures([[1]])["ccc"][0], atol=1e-7)
    np.testing.assert_allclose(concordance(torch.tensor(a), torch.tensor(a)).numpy(), 1, atol=1e-7)


def test_the_sum_of_losses_is_their_sum_and_its_gradient_is_right():
    rng = np.random.default_rng(1)
    p = torch.tensor(rng.normal(size=(2, 5, 2)), requires_grad=True)
    a = torch.tensor(rng.normal(size=(2, 5, 2)))
    parts = [affect_loss(p, a, kind).item() for kind in ("ccc", "mse", "sum")]
    np.testing.assert_allclose(parts[0] + parts[1], parts[2])
    assert torch.autograd.gradcheck(lambda x: affect_loss(x, a), (p,))
    with pytest.raises(ValueError, match="expected ccc, mse or sum, got 'mae'"):
        affect_loss(p, a, "mae")
    with pytest.raises(ValueError, match="the same shape"):
        concordance(p[0], a[0, :3])


def test_a_film_is_predicted_alike_alone_and_among_others_and_without_its_future():
    network = AffectMethod(AffectOptions(width=4, hidden=8)).networks["network"]
    films = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 32, 3), dtype=np.uint8)
    together = predict_films(network, films)
    np.testing.assert_allclose(predict_films(network, films[1]), together[1], atol=1e-6)
    np.testing.assert_allclose(predict_films(network, films[1, :2]), together[1, :2], atol=1e-6)
    assert together.shape == (3, 4, 2) and (np.abs(together) <= 1).all()


def test_the_paper_s_network_is_vgg_face_with_two_recurrent_layers(monkeypatch):
    from affect3d.gan.identity import vgg_face

    narrow = vgg_face.VGGFace(2, 12, 1)  # the true one has 145 million weights
    monkeypatch.setattr(vgg_face, "VGGFace", lambda: narrow)
    method = AffectMethod(AffectOptions(trunk="vgg-face", hidden=8, layers=2, steps=2))
    network = method.networks["network"]
    assert network.memory.num_layers == 2 and network.trunk is narrow
    batch = {"pictures": torch.rand(6, 3, 32, 32) * 2 - 1, "labels": torch.zeros(2, 3, 2)}
    before = narrow.conv1_1.weight.detach().clone()
    loss = method.step("affect", batch, torch.Generator(), 0)["loss"]
    assert torch.isfinite(loss) and not torch.equal(before, narrow.conv1_1.weight)


def test_windows_cover_every_frame_of_every_clip_and_mix_none():
    clip, frame = np.repeat([0, 1, 2], [7, 3, 10]), np.r_[:7, :3, :10]
    windows = windows_of(clip, frame, np.arange(20), 4)
    assert set(windows.ravel()) == set(range(20)) and windows.shape[1] == 4
    assert all(len(set(clip[w])) == 1 and (np.diff(w) >= 0).all() for w in windows)
    assert windows_of(clip, frame, np.array([8, 7]), 4).tolist() == [[7, 8, 8, 8]]


def test_overlapping_windows_are_averaged_and_a_repeated_frame_counts_once():
    class Net(torch.nn.Module):
        calls = 0

        def forward(self, films):
            b, t = films.shape[:2]
            Net.calls += 1
            return torch.arange(b * t * 2).reshape(b, t, 2) / 100.0

    crops = np.zeros((4, 8, 8, 3), np.uint8)
    told = smoothed_prediction(Net(), crops, np.array([[0, 1], [1, 1]]))
    np.testing.assert_allclose(told[0], [0, 0.01])
    np.testing.assert_allclose(told[1], [(0.02 + 0.04) / 2, (0.03 + 0.05) / 2], atol=1e-6)
    assert np.isnan(told[2:]).all()


def test_classical_augmentation_treats_all_frames_of_a_film_alike():
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 200, (20, 20, 3), dtype=np.uint8)
    film = np.stack([frame] * 3)
    for k in range(5):
        out = with_light_and_place(film, FilmOptions(), np.random.default_rng(k))
        assert out.shape == film.shape and (out == out[0]).all() and (out[0] != frame).any()


def test_batches_have_as_many_films_with_added_pictures_as_without():
    rng = np.random.default_rng(0)
    crops, labels = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), rng.uniform(-1, 1, (12, 2))
    windows = np.arange(12).reshape(4, 3)
    films = AddedFilms(
        np.full((6, 16, 16, 3), 7, np.uint8), rng.uniform(-1, 1, (6, 2)), np.repeat([0, 1], 3), np.ones(6)
    )
    options = FilmOptions(length=3, batch=10, share=0.3)
    for added, made in ((None, 0), (films, 3)):
        batches = film_batches(crops, labels, windows, options, 0, classical=False, added=added)
        batch = batches.batch("affect", 5)
        assert batch["labels"].shape == (10, 3, 2) and batch["pictures"].shape == (30, 3, 16, 16)
        is_made = (batch["pictures"].reshape(10, -1) == batch["pictures"].reshape(10, -1)[:, :1]).all(1)
        assert int(is_made.sum()) == made
        assert torch.equal(batch["pictures"], batches.batch("affect", 5)["pictures"])
    plain = film_batches(crops, labels, windows, options, 0, True).fingerprint
    assert plain != film_batches(crops, labels, windows, options, 0, True, films).fingerprint


def test_an_added_film_sweeps_across_the_plane_and_shows_one_source_frame():
    rng = np.random.default_rng(0)
    labels = rng.uniform(-1, 1, (40, 2))
    films = AddedFilms(np.arange(40, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 4, 4, 3), np.uint8), labels,
                       np.repeat([0, 1], 20), np.ones(40))  # fmt: skip
    for _ in range(20):
        pictures, told = films.draw(5, rng)
        rows = pictures[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels[rows], told)
        assert len(set(rows // 20)) == 1
        # ordered along some direction: the signed angles of the steps fit into a half plane
        steps = np.diff(told, axis=0)
        angles = np.radians(np.arange(0, 360, 0.5))
        along = steps @ np.stack([np.cos(angles), np.sin(angles)])
        assert (along >= -0.02).all(0).any()


def test_weights_like_the_training_labels_move_the_mean_label_towards_theirs():
    rng = np.random.default_rng(0)
    train, made = rng.normal([0.4, 0.3], 0.15, (300, 2)), rng.uniform(-1, 1, (500, 2))
    like, balanced = class_weights(train, made, "like"), class_weights(train, made, "balanced")
    np.testing.assert_allclose(np.average(made, axis=0, weights=like), [0.4, 0.3], atol=0.1)
    near = np.hypot(*(made - [0.4, 0.3]).T) < 0.2
    assert like[near].mean() > 5 * like[~near].mean() and balanced[near].mean() < balanced[~near].mean()
    assert (class_weights(train, made, "uniform") == 1).all() and like.min() > 0


def test_neutral_frames_need_both_the_label_and_the_fitted_face():
    v = toy_videos()
    heads = {6: Head(2.0)}
    found = find_neutral_frames(v, np.arange(len(v)), NeutralOptions(tried=1), lambda row: heads.get(row, Head(0.001)))
    assert 6 in found.refused and "above 0.35" in found.refused[6]
    assert set(found.rows) == set(range(0, len(v), 6)) - {6}  # the first frame of each clip is labelled zero
    only = find_neutral_frames(v, np.arange(12), NeutralOptions(tried=1))
    assert list(only.rows) == [0, 6]
    assert contact_sheet(v, found.rows, CropOptions(16), columns=4).shape == (48, 64, 3)


def test_glances_and_blinks_are_no_expression():
    v = toy_videos(people=1, clips=1)
    head = Head()
    head.fit.expression = np.array([1.0 if n.startswith(("eyeLook", "eyeBlink")) else 0.0 for n in ARKIT_SHAPES])
    assert list(find_neutral_frames(v, [0], None, lambda row: head).rows) == [0]


def test_the_mean_mode_asks_for_the_class_mean_and_gives_its_median_label(tmp_path):
    v, statistics, heads = toy_videos(), default_statistics(), {}
    options = AugmentOptions("mean", 5, crop=CropOptions(16))
    records = augment(v, [0, 6], mean_expressions(statistics), options, tmp_path / "a",
                      portrait=lambda row: heads.setdefault(row, Head()))  # fmt: skip
    assert len(records) == 10 and len(set(r.affect_class for r in records[:5])) == 5
    pictures = read_pictures(tmp_path / "a", records)
    jaw = list(statistics.expression_names).index("jawOpen")
    for k, record in enumerate(records):
        np.testing.assert_allclose(
            [record.valence, record.arousal], statistics.valence_arousal[record.affect_class], atol=1e-6
        )
        asked = heads[6 * (k // 5)].asked[k % 5]
        np.testing.assert_allclose(asked["jawOpen"], statistics.mean[record.affect_class, jaw])
        assert abs(int(pictures[k].mean()) - 255 * asked["jawOpen"]) <= 1  # the record's column holds its picture
    assert read_manifest(tmp_path / "a") == records


def test_pictures_go_on_where_they_were_stopped(tmp_path):
    v, expressions = toy_videos(), mean_expressions(default_statistics())
    options = AugmentOptions("mean", 3, crop=CropOptions(16))
    augment(v, [0, 6], expressions, options, tmp_path / "a", portrait=lambda row: Head())
    want = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    (tmp_path / "a" / "0000006.png").write_bytes(b"half a picture")
    (tmp_path / "a" / "manifest.json").unlink()
    asked = []
    augment(
        v, [0, 6], expressions, options, tmp_path / "a", portrait=lambda row: asked.append(row) or Head(), workers=2
    )
    assert asked == [6]
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == want


def test_sampled_expressions_spread_about_the_mean_of_their_class():
    statistics = default_statistics()
    sampled = sampled_expressions(statistics, subjects=10)
    rng = np.random.default_rng(0)
    k = int(sampled.classes[np.argmax(statistics.count[sampled.classes])])
    draws = np.array([list(sampled.draw(k, rng).values()) for _ in range(400)])
    assert (draws.min() >= 0) and (draws.max() <= 1) and draws.std(0).max() > 0.02
    assert np.abs(draws.mean(0) - statistics.mean[k]).max() < 0.12


def test_balanced_classes_are_the_rare_ones():
    rng = np.random.default_rng(0)
    counts = np.array([1000, 1000, 0, 1000])
    options = AugmentOptions(pictures=1, balanced=True)
    drawn = [choose_classes(np.arange(4), counts, options, rng)[0] for _ in range(100)]
    assert drawn.count(2) > 90
    six = choose_classes(np.arange(4), counts, AugmentOptions(pictures=6), rng)
    assert set(six[:4]) == {0, 1, 2, 3}


def test_a_manifest_that_is_wrong_is_refused(tmp_path):
    record = AddedPicture("a.png", 1, "s", "c", 0, 0.1, 0.2, -1, 0, "cdaae", "w.safetensors")
    write_manifest(tmp_path, [record])
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="has no square 1"):
        read_pictures(tmp_path, [record])
    content = json.loads((tmp_path / "manifest.json").read_text())
    content["pictures"][0]["valence"] = 4
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a.png, column 1: valence"):
        read_manifest(tmp_path)
    del content["pictures"][0]["valence"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="record 0: expected the fields"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="below the manifest's folder"):
        AddedPicture("../a.png", 1, "s", "c", 0, 0.1, 0.2, -1, 0, "cdaae", "w")


def test_the_table_finds_a_difference_that_is_there_and_none_between_equals():
    rng = np.random.default_rng(0)
    labels, subject = rng.uniform(-1, 1, (600, 2)), np.repeat(np.arange(12), 50)
    rows = np.arange(600)
    good = [(rows, labels + rng.normal(0, 0.2, labels.shape)) for _ in range(2)]
    bad = [(rows, labels + rng.normal(0, 0.8, labels.shape)) for _ in range(2)]
    table = compare(labels, subject, {("classical", 3): bad, ("3d-mean", 3): good, ("none", 3): bad}, "classical", 200)
    found = {row["condition"]: row for row in table}
    assert found["3d-mean"]["against"]["ccc"]["low"] > 0.1 and found["3d-mean"]["against"]["mse_p_value"] < 0.01
    assert found["none"]["against"]["ccc"]["value"] == 0 and found["none"]["against"]["mse_p_value"] == 1
    assert found["3d-mean"]["against"]["mse"]["high"] < 0 and abs(found["3d-mean"]["valence"]["bias"]) < 0.05
    np.testing.assert_allclose(found["none"]["arousal"]["spread"], np.hypot(1, 0.8 * np.sqrt(3)), atol=0.1)
    direct = subject_moments(good[0][1][:, 0], labels[:, 0], np.zeros(600)).measures([[1]])["ccc"][0]
    np.testing.assert_allclose(found["3d-mean"]["valence"]["ccc"]["seeds"][0], direct)
    with pytest.raises(ValueError, match="predict the same people"):
        compare(labels, subject, {("a", 1): good, ("b", 1): [(rows[50:], labels[50:])]}, "a", 10)


def test_a_p_value_is_exact_for_few_people_and_uniform_enough_without_a_difference():
    assert paired_p_value([1.0, 1.0, 1.0], np.random.default_rng(0)) == 0.25
    rng = np.random.default_rng(0)
    p = [paired_p_value(rng.normal(size=10), rng) for _ in range(200)]
    assert 0.02 < np.mean(np.array(p) < 0.1) < 0.19


TINY = dict(
    conditions=("none", "classical"), people=(2,), seeds=1, crop=CropOptions(16), films=FilmOptions(length=3, batch=4),
    network=AffectOptions(width=4, hidden=8, steps=6),
)  # fmt: skip


def test_the_same_seed_gives_the_same_table_also_after_a_kill(tmp_path):
    v = toy_videos()
    first = run_study(v, StudyOptions(**TINY), tmp_path / "a")
    again = run_study(v, StudyOptions(**TINY), tmp_path / "b")
    assert first == again
    # as a kill leaves it: one run without its predictions, one that never began, no table
    runs = sorted((tmp_path / "b" / "runs").iterdir())
    (runs[0] / "predictions.npz").unlink()
    shutil.rmtree(runs[1])
    (tmp_path / "b" / "study.json").unlink()
    assert run_study(v, StudyOptions(**TINY), tmp_path / "b") == first
    with pytest.raises(ValueError, match="b: was made with other options or data: data was '[0-9a-f]{16}', now"):
        run_study(toy_videos(seed=1), StudyOptions(**TINY), tmp_path / "b")
    wanted = r"other options or data: options\.network\.hidden was 8, now 9; name another folder"
    with pytest.raises(ValueError, match=wanted):
        run_study(v, StudyOptions(**{**TINY, "network": AffectOptions(width=4, hidden=9, steps=6)}), tmp_path / "b")
    with one_run(RunFolder(tmp_path / "c", "register")):
        with pytest.raises(ValueError, match="another run is at work in this folder"):
            run_study(v, StudyOptions(**TINY), tmp_path / "c")
    with pytest.raises(ValueError, match="c: holds a run of affect3d register, not of affect3d study; name another"):
        run_study(v, StudyOptions(**TINY), tmp_path / "c")
    # a plan of the version that did not say whose it is
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    (tmp_path / "a" / "plan.json").write_text(json.dumps({k: plan[k] for k in plan if k != "run"}, sort_keys=True))
    assert run_study(v, StudyOptions(**TINY), tmp_path / "a") == first
    other = run_study(v, StudyOptions(**TINY, seed=1), tmp_path / "d")
    assert other["rows"] != first["rows"]


def test_pictures_of_another_method_are_one_more_condition(tmp_path):
    v, place = toy_videos(), tmp_path / "made"
    place.mkdir()
    write_image(place / "x.png", np.zeros((16, 64, 3), np.uint8))
    records = [AddedPicture("x.png", k, f"p{k}", f"c{2 * k}", 0, 0.1, 0.2, -1, 0, "cdaae", "w") for k in range(4)]
    write_manifest(place, records)
    result = run_study(v, StudyOptions(**TINY), tmp_path / "a", {"cdaae": place})
    assert [row["condition"] for row in result["rows"]] == ["none", "classical", "cdaae"]
    pytest.importorskip("matplotlib", reason="the page's figures")
    from affect3d.study.report import write_study_report

    write_study_report(tmp_path / "report.html", result, v, tmp_path / "a")
    page = (tmp_path / "report.html").read_text()
    value = next(row for row in result["rows"] if row["condition"] == "cdaae")["mean"]["ccc"]["value"]
    assert f"{value:.3f}" in page and page.count("<svg") >= 2 and "cdaae" in page
    # every line of the table fills the same twelve columns, the first cell of the headings both of its lines
    lines = page.partition('<div class="wide"><table>')[2].partition("</table>")[0].split("<tr")[1:]
    widths = [sum(int(n or 1) for n in re.findall(r'<t[hd](?: rowspan="2")?(?: colspan="(\d+)")?>', r)) for r in lines]
    assert widths == [12, 11] + [12] * (len(lines) - 2) and len(lines) == 2 + 1 + len(result["rows"])


def test_a_network_learns_films_whose_colour_is_their_affect(tmp_path):
    options = dict(TINY) | {
        "conditions": ("classical",), "people": (4,), "films": FilmOptions(length=4, batch=8, light=0.0),
        "network": AffectOptions(width=8, hidden=16, steps=120, learning_rate=5e-3, dropout=0.0),
    }  # fmt: skip
    (row,) = run_study(toy_videos(people=8, clips=4), StudyOptions(**options), tmp_path / "a")["rows"]
    assert row["mean"]["ccc"]["value"] > 0.6 and row["against"] is None


@pytest.mark.parametrize("wrong", [dict(conditions=("4d",)), dict(people=(5, 3)), dict(seeds=0), dict(folds=1)])
def test_an_impossible_study_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StudyOptions(**wrong)


def test_the_command_says_what_it_would_do_and_refuses_half_a_database(tmp_path, capsys):
    from affect3d.cli import main

    assert main(["study", "--out", str(tmp_path / "o"), "--dry-run", "--people", "2,4", "--seeds", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["runs"] == 8 * 2 * 2 and not (tmp_path / "o").exists()
    for given, want in ((["--portraits", "0"], 6), (["--calibrate", "off"], 6), (["--calibrate", "on"], 5)):
        assert main(["study", "--out", str(tmp_path / "o"), "--dry-run", "--json", *given]) == 0
        assert len(json.loads(capsys.readouterr().out)["conditions"]) == want
    assert main(["study", "--out", str(tmp_path / "o"), "--until", "1.5"]) == 2
    assert main(["study", "--out", str(tmp_path / "o"), "--neutral", "fei"]) == 2
    of_a_world = ["--database", "afew-va", "--root", "x", "--portraits", "3"]
    assert main(["study", "--out", str(tmp_path / "o"), *of_a_world]) == 2
    capsys.readouterr()
    assert main(["study", "--out", str(tmp_path / "o"), "--database", "afew-va"]) == 2
    assert "--database and --root" in capsys.readouterr().err
    assert main(["study", "--out", str(tmp_path / "o"), "--conditions", "magic"]) == 2
    assert main(["study", "--out", str(tmp_path / "o"), "--added", "x"]) == 2
    assert not (tmp_path / "o").exists()
