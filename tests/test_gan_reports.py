"""What `gan evaluate` reports of each paper: measured on stand-ins whose truth is known, and written by tiny runs."""

import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")

from affect3d.cli import app, gan  # noqa: E402
from affect3d.gan import evaluation, intensity, reports  # noqa: E402
from affect3d.gan.data import FaceImages  # noqa: E402
from affect3d.gan.exprgan import report as exprgan_report  # noqa: E402
from affect3d.gan.fesgan import report as fesgan_report  # noqa: E402
from affect3d.gan.recognizer import RecognizerOptions  # noqa: E402
from affect3d.gan.stoicnet import report as stoicnet_report  # noqa: E402
from affect3d.gan.stoicnet.tables import intensity_by_expression  # noqa: E402

NAMES = ("neutral", "happiness", "surprise")
QUICK = RecognizerOptions(steps=30, batch=16, judges=1)


def barred_faces(people=12, seed=0, size=16, first=0):
    """People are colours; the expression is where a bright bar lies; a neutral face has none of it.

    Contempt, as it were, is left out: happiness has unit AU12 of 4, surprise AU26 of 2.
    """
    rng = np.random.default_rng(seed)
    images = np.repeat(rng.integers(30, 150, (people, 1, 1, 1, 3)), 3, 1) * np.ones((1, 1, size, size, 1))
    for k in (1, 2):
        images[:, k, 1 + 5 * k : 5 + 5 * k] += 90
    images = np.clip(images + rng.normal(0, 1, images.shape), 0, 255).astype(np.uint8)
    subject = first + np.repeat(np.arange(people), 3)
    units = np.zeros((3 * people, 2))
    units[1::3, 0], units[2::3, 1] = 4, 2
    return FaceImages(
        images.reshape(-1, size, size, 3), subject, np.tile([0, 1, 2], people), NAMES, units, ("AU12", "AU26"),
        sequence=subject, neutral=np.repeat(np.arange(0, 3 * people, 3), 3), source="Drawn.",
    )  # fmt: skip


@pytest.fixture(scope="module")
def known():
    """Seen and unseen people, and recognizers trained on the former."""
    seen, unseen = barred_faces(), barred_faces(6, seed=1, first=50)
    return seen, unseen, evaluation.train_judges(seen, QUICK)


def stand_in(function, **more):
    """A method whose pictures are known; `function` maps pictures (N, H, W, C) uint8 to the same."""

    def on_tensors(x, *rest):
        pixels = ((x + 1) * 127.5).round().byte().movedim(1, -1).numpy()
        return torch.from_numpy(function(pixels, *rest)).float().movedim(-1, 1) / 127.5 - 1

    options = SimpleNamespace(size=16, channels=3, labels=NAMES[1:])
    return SimpleNamespace(options=options, networks={"G": torch.nn.Linear(1, 1)}, **more), on_tensors


# Shared


def test_a_reader_is_as_good_as_the_variance_that_it_explains():
    faces = barred_faces(5)
    reader = SimpleNamespace(unit_names=faces.unit_names, read=lambda images: faces.units + [[0.5, 0.0]])
    found = intensity.reading_quality(reader, faces)
    assert found["explained"] == {"AU12": pytest.approx(1 - 0.25 / faces.units[:, 0].var()), "AU26": 1.0}
    sums = faces.units.sum(1)
    assert found["correlation"] == pytest.approx(np.corrcoef(sums, sums + 0.5)[0, 1]) == pytest.approx(1)
    still = dataclasses.replace(faces, units=np.zeros_like(faces.units))
    reader = SimpleNamespace(unit_names=faces.unit_names, read=lambda images: np.zeros_like(faces.units))
    assert intensity.reading_quality(reader, still) == {"explained": {"AU12": None, "AU26": None}, "correlation": None}


def test_faces_without_units_have_no_reader_and_the_report_says_so(known):
    seen, unseen, judges = known
    bare = dataclasses.replace(seen, units=None, unit_names=())
    reader, why = reports.unit_reader(bare, unseen, QUICK)
    assert reader is None and "no action units" in why
    reader, why = reports.unit_reader(seen, dataclasses.replace(unseen, unit_names=("AU1", "AU2")), QUICK)
    assert reader is None and "other action units" in why
    method, same = stand_in(lambda x: x)
    method.neutralize = lambda x, enhance=True: same(x)
    method.reconstruct = same
    found = stoicnet_report.report(method, bare, unseen, judges, QUICK).numbers
    assert found["intensity"] is None and "no action units" in found["left_out"][0]


def test_a_plot_holds_its_lines():
    pytest.importorskip("matplotlib", reason="plots need the extra affect3d[analysis]")
    from PIL import Image

    x = np.linspace(-1, 1, 5)
    content = reports.curve_plot({"a": (x, x), "b": (x, -x)}, "title", "x", "y")
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two
        assert (np.abs(image - colour).sum(-1) < 12).sum() > 100
    assert content == reports.curve_plot({"a": (x, x), "b": (x, -x)}, "title", "x", "y")


def test_without_matplotlib_there_is_no_plot(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert reports.curve_plot({"a": ([0, 1], [0, 1])}, "", "", "") is None


def test_pictures_of_a_grid_come_back():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3)).astype(np.uint8)
    grid = reports.in_range(images)
    assert grid.shape == (2, 3, 3, 4, 5) and grid.min() >= -1 and grid.max() <= 1
    np.testing.assert_array_equal(np.rint((np.moveaxis(grid, 2, -1) + 1) * 127.5), images)


def test_a_curve_says_where_it_rises():
    strength = np.array([[[0.0, 0.0], [0.5, 0.7], [1.0, 0.9]], [[0.0, 0.2], [0.4, 0.4], [0.3, 0.1]]])  # (K, M, N)
    told = intensity.IntensityCurve(np.array([0.0, 0.5, 1.0]), strength).report(("a", "b"))
    assert told["strength"] == {"a": pytest.approx([0, 0.6, 0.95]), "b": pytest.approx([0.1, 0.4, 0.2])}
    assert told["rises_at_every_step"] == {"a": True, "b": False} and not told["monotone"]
    assert told["rising"] == 6 / 8 and told["mean"] == pytest.approx([0.05, 0.5, 0.575]) and told["mean_monotone"]
    json.dumps(told, allow_nan=False)


# StoicNet


def test_intensity_by_expression_is_that_of_its_pictures_alone():
    faces = barred_faces(4)
    pairs = np.array([[r, faces.neutral[r]] for r in range(12) if r % 3])
    rng = np.random.default_rng(0)
    table = {picture.tobytes(): rng.uniform(0, 3, 2) for picture in faces.images}
    made = rng.integers(0, 256, (len(pairs), 16, 16, 3)).astype(np.uint8)
    table |= {picture.tobytes(): rng.uniform(0, 1, 2) for picture in made}
    reader = SimpleNamespace(read=lambda images: np.array([table[picture.tobytes()] for picture in images]))
    found = intensity_by_expression(reader, faces, pairs, made)
    assert list(found) == ["happiness", "surprise"]
    for name, row in found.items():
        own = [k for k in range(len(pairs)) if NAMES[faces.expression[pairs[k, 0]]] == name]
        expected = [
            np.mean([table[picture.tobytes()].sum() for picture in pictures])
            for pictures in (faces.images[pairs[own, 0]], made[own], faces.images[pairs[own, 1]])
        ]
        assert [row[k] for k in ("expressive", "neutralized", "neutral")] == pytest.approx(expected)
        assert row["lowered"] == pytest.approx(1 - expected[1] / expected[0]) and row["pictures"] == 4
    with pytest.raises(ValueError, match="one for each"):
        intensity_by_expression(reader, faces, pairs, made[1:])


def test_a_perfect_neutralizer_lowers_intensity_to_that_of_neutral_faces_and_a_copier_does_not(known):
    seen, unseen, judges = known
    true = {unseen.images[r].tobytes(): unseen.images[n] for r, n in enumerate(unseen.neutral)}
    method, perfect = stand_in(lambda x: np.array([true[picture.tobytes()] for picture in x]))
    _, copy = stand_in(lambda x: x)
    method.reconstruct = copy
    method.neutralize = lambda x, enhance=True: perfect(x) if enhance else copy(x)
    found = stoicnet_report.report(method, seen, unseen, judges, QUICK)
    told = found.numbers
    assert told["pictures"] == 12 and told["left_out"] == [] and len(found.lines) == 2
    assert told["stages"]["neutralized, x_l"] == told["stages"]["input"] == told["stages"]["reconstructed"]
    shares = told["intensity"]["shares"]
    assert shares["neutralized"] == shares["neutral"] and told["intensity"]["reader"]["correlation"] > 0.9
    assert shares["lowered"][0] > 0.5 and told["intensity"]["by_expression"]["happiness"]["lowered"] > 0.5
    assert told["stages"]["neutralized, x_h"]["intensity"] < 0.5 * told["stages"]["input"]["intensity"]
    identity = told["identity"]
    assert identity["neutralized"] == pytest.approx(identity["positive"]) and identity["recognized"] == 1
    assert told["stages"]["neutralized, x_h"]["nearest_is_right"] == 1
    # somebody else's face is found out
    wrong = {k: unseen.images[(r + 3) % 18] for r, k in enumerate(true)}
    method.neutralize = lambda x, enhance=True: stand_in(lambda p: np.array([wrong[q.tobytes()] for q in p]))[1](x)
    told = stoicnet_report.report(method, seen, unseen, judges, QUICK).numbers
    assert told["identity"]["neutralized"] > 2 * told["identity"]["positive"]
    assert told["stages"]["neutralized, x_h"]["nearest_is_right"] < 0.3
    json.dumps(told, allow_nan=False)


# ExprGAN


def test_the_nearest_of_another_person_is_found():
    rng = np.random.default_rng(3)
    distance, subject = rng.random((9, 9)), np.repeat([0, 1, 2], 3)
    expected = [min((j for j in range(9) if subject[j] != subject[i]), key=lambda j: distance[i, j]) for i in range(9)]
    assert exprgan_report.retrieved(distance, subject).tolist() == expected


def test_a_perfect_transfer_keeps_the_person_and_takes_the_expression(known):
    """The code is the label itself here; the bar is moved to where it says, on the colour of the person."""
    seen, unseen, judges = known

    def move(pixels, c):
        made = np.repeat(np.repeat(pixels[:, :1, :1], 16, 1), 16, 2)  # no bar reaches the first row
        for n, k in enumerate(c[:, 0].long().tolist()):
            made[n, 6 + 5 * k : 10 + 5 * k] += 90
        return made

    method, perfect = stand_in(move)
    method.networks["Q"] = torch.nn.Linear(1, 1)
    method.expression_code = lambda x, y: y[:, None].float()
    method.synthesize = perfect
    rows = np.flatnonzero(unseen.expression > 0)
    found = exprgan_report.transfers(method, unseen, rows, judges, np.random.default_rng(0))
    assert (unseen.subject[found.pairs[:, 0]] != unseen.subject[found.pairs[:, 1]]).all() and len(found.pairs) == 12
    assert found.expression == 1 and found.nearer_to_A > 0.9
    method.synthesize = lambda x, c: x  # keeps the expression too
    copied = exprgan_report.transfers(method, unseen, rows, judges, np.random.default_rng(0))
    same = unseen.expression[found.pairs[:, 0]] == unseen.expression[found.pairs[:, 1]]
    assert copied.expression == pytest.approx(same.mean()) and copied.nearer_to_A == 1


# FESGAN


def test_verification_chooses_its_threshold_on_the_other_people():
    rng = np.random.default_rng(0)
    fold = np.arange(40) % 2 == 0
    near, far = rng.uniform(0, 1, 40), rng.uniform(2, 3, 40)
    assert fesgan_report.verification_accuracy(near, far, fold, fold) == 1
    # a threshold that is right for one fold is wrong for the other: nothing is told right but by chance
    shifted = near + 10 * fold, far + 10 * fold
    assert fesgan_report.verification_accuracy(*shifted, fold, fold) == 0.5
    alike = [fesgan_report.verification_accuracy(*rng.random((2, 40)), fold, fold) for _ in range(50)]
    assert abs(np.mean(alike) - 0.5) < 0.05
    with pytest.raises(ValueError, match="either fold"):
        fesgan_report.verification_accuracy(near, far, np.zeros(40, bool), fold)


def test_a_copier_is_verified_and_people_of_the_training_are_not_new(known):
    """New "people" are those of the training here, with the expression that is asked for."""
    seen, _, judges = known
    unseen = barred_faces(16, seed=2, first=80)
    true = torch.tensor(seen.images).float().movedim(-1, 1) / 127.5 - 1

    def people(z, u):
        person = ((z[:, 0] + 1) / 2 * 12).long().clamp(0, 11)
        return true[3 * person + u.argmax(1)]

    options = SimpleNamespace(size=16, channels=3, labels=NAMES, code=4, recognition="none")
    method = SimpleNamespace(
        options=options, networks={"G_dec": torch.nn.Linear(1, 1)}, synthesize=lambda x, u: x, new_people=people,
        slide=lambda y, value: torch.nn.functional.one_hot(y, 3).float() * (value + 1) - 1,
    )  # fmt: skip
    report = fesgan_report.report(method, seen, unseen, judges, QUICK)
    told = report.numbers
    assert told["verification"]["accuracy"] > 0.85 and told["verification"]["pairs"] == 2 * 16 * 3
    assert told["verification"]["distance_same"] < 1e-3 and told["recognition"] is None
    assert not told["intensity"]["monotone"] and told["intensity"]["rising"] == 0  # copies do not follow the label
    new = told["new_people"]
    assert new["distance_to_nearest"] < 1e-3 < 0.1 < new["distance_of_nearest_true"] < new["distance_between_true"]
    assert new["expression_recognized"] > 0.9 and new["distance_between"] > 0.5 * new["distance_between_true"]
    # the first column of the grid are the people whom the others show
    grid = report.grids["new_people"]
    assert np.abs(grid[:, 0] - grid[:, 1]).max() < 0.01 < np.abs(grid[:, 0] - grid[:, 2]).max()
    # other people are told from the source
    others = {unseen.images[r].tobytes(): unseen.images[(r + 3) % 48] for r in range(48)}
    method.synthesize = lambda x, u: stand_in(lambda p: np.array([others[q.tobytes()] for q in p]))[1](x)
    assert fesgan_report.report(method, seen, unseen, judges, QUICK).numbers["verification"]["accuracy"] < 0.6


# The command


SETTINGS = {
    "stoicnet": ("steps_reconstruct=3", "steps_enhance=1", "steps_neutralize=2", "enhancer=4", "blocks=1"),
    "exprgan": ("steps_control=1", "steps_reconstruct=2", "steps_refine=1", "width=4", "identity_steps=2"),
    "fesgan": ("steps_pretrain=2", "steps_joint=2", "recognition=JL", "width=4", "identity_steps=2"),
}
WRITTEN = {
    "stoicnet": ({"identity", "intensity", "stages"}, {"figure2", "figure3"}),
    "exprgan": (
        {"intensity", "transfer", "retrieval", "augmentation"}, {"figure3", "transfer", "retrieval", "figure5"}
    ),
    "fesgan": ({"intensity", "verification", "new_people", "recognition"}, {"figure6", "figure7", "new_people"}),
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_evaluate_writes_what_the_paper_reports(name, tmp_path, monkeypatch, capsys):
    if gan not in app.COMMANDS:
        monkeypatch.setattr(app, "COMMANDS", (*app.COMMANDS, gan))
    if name == "exprgan":
        monkeypatch.setattr(exprgan_report, "PER_CLASS", (0, 2))
    barred_faces(12, size=16 if name == "stoicnet" else 32).save(tmp_path / "faces.safetensors")
    argv = ["--data", str(tmp_path / "faces.safetensors"), "--out", str(tmp_path / "run"), "--batch", "8"]
    argv += ["--test-share", "0.4", "--threads", "1", *(text for v in SETTINGS[name] for text in ("--set", v))]
    assert app.main(["gan", "train", name, *argv]) == 0
    capsys.readouterr()
    argv = ["gan", "evaluate", name, "--run", str(tmp_path / "run"), "--judge-steps", "3", "--threads", "1", "--json"]
    assert app.main(argv) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    numbers, pictures = WRITTEN[name]
    assert numbers < {*found["paper"]} and all(found["paper"][part] for part in numbers)
    assert found["paper"]["left_out"] == []
    assert pictures <= {*found["outputs"]}
    from affect3d.io.image import read_image

    for path in found["outputs"].values():
        if path.endswith(".png"):
            assert read_image(path).pixels.shape[0] > 96
    assert json.loads((tmp_path / "run" / "evaluation" / "evaluation.json").read_text()) == found
    if name == "exprgan":
        table = found["paper"]["intensity"]["strength_code"]
        assert table["values"] == [-1, -0.5, 0, 0.5, 1] and {*table["strength"]} == {*NAMES[1:]}
        assert [row["synthetic"] for row in found["paper"]["augmentation"]] == [0, 4]
        assert {*found["paper"]["retrieval"]["by"]} == {"c", "y", "x"}
    if name == "fesgan":
        assert np.sum(found["paper"]["recognition"]["confusion"]) == found["paper"]["recognition"]["pictures"] == 15
