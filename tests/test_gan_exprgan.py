"""ExprGAN against its paper: networks, equations (3)-(10), the three stages, and what it is used for."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))
from gan_faces import (  # noqa: E402
    TINY, changed, clear, count, drawn_faces, layers, resumes_exactly, touched, weights_of,
)  # fmt: skip

from affect3d.gan.exprgan import ExprGAN, ExprGANOptions, applications, build_networks, controller, recipe  # noqa: E402
from affect3d.gan.exprgan.losses import perceptual_loss, regularizer_loss  # noqa: E402
from affect3d.gan.exprgan.networks import expression_classifier  # noqa: E402
from affect3d.gan.identity import LightCNN, VGGFace  # noqa: E402
from affect3d.gan.training import TrainOptions, train  # noqa: E402

SMALL = ExprGANOptions(
    labels=("anger", "happiness", "surprise"), steps_control=2, steps_reconstruct=2, steps_refine=2, size=32, width=8,
    identity=6, d=2, light_cnn=TINY,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_batch(n=6):
    g = torch.Generator().manual_seed(0)
    return {"x": torch.rand(n, 3, 32, 32, generator=g) * 2 - 1, "y": torch.arange(n) % 3}


# Networks


def test_every_layer_is_that_of_the_text():
    net = build_networks(128, 3, 64, 50, 6, 5)
    down = []
    for n in (64, 128, 256, 512, 1024):
        down += [("conv", n, 5, 2, 2), "relu"]
    assert layers(net["G_enc"]) == [*down, ("fc", 50), "tanh"]
    up = []
    for n in (512, 256, 128, 64, 32, 16, 3):
        up += ["upsample", ("conv", n, 3, 1, 1), "relu" if n > 3 else "tanh"]
    assert layers(net["G_dec"]) == up
    trunk = []
    for n in (16, 32, 64, 128):
        trunk += [("conv", n, 5, 2, 2), "bn", "lrelu0.2"]
    assert layers(net["trunk"]) == [*trunk, ("fc", 1024), "bn", "lrelu0.2"]
    assert layers(net["D_img"]) == [("fc", 1)]
    assert layers(net["Q"]) == [("fc", 64), "lrelu0.2", ("fc", 5)] * 6
    hidden = []
    for n in (64, 32, 16):
        hidden += [("fc", n), "bn", "lrelu0.2"]
    assert layers(net["D_z"]) == [*hidden, ("fc", 1)]


def test_parameters_are_as_many_as_counted_by_hand():
    net = build_networks(128, 3, 64, 50, 6, 5)
    enc = [3, 64, 128, 256, 512, 1024]
    assert count(net["G_enc"]) == sum(25 * a * b + b for a, b in zip(enc, enc[1:])) + (1024 * 16 + 1) * 50
    dec = [80, 512, 256, 128, 64, 32, 16, 3]
    assert count(net["G_dec"]) == sum(9 * a * b + b for a, b in zip(dec, dec[1:]))
    d = [(3, 16), (16 + 6, 32), (32, 64), (64, 128)]  # the label joins behind the first block
    assert count(net["trunk"]) == sum(25 * a * b + 2 * b for a, b in d) + 128 * 64 * 1024 + 2 * 1024
    assert count(net["D_img"]) == 1025 and count(net["Q"]) == 6 * (1025 * 64 + 65 * 5)
    assert count(net["D_z"]) == 50 * 64 + 128 + 64 * 32 + 64 + 32 * 16 + 32 + 17
    classifier = expression_classifier(128, 3, 64, 50, 6)
    assert layers(classifier) == [*layers(net["G_enc"]), ("fc", 6)]


@pytest.mark.parametrize("size", [128, 64, 32])
def test_pictures_of_every_size_go_through(size):
    net = build_networks(size, 1, 8, 7, 3, 2)
    x, y = torch.rand(2, 1, size, size), torch.eye(3)[:2]
    g = net["G_enc"](x)
    assert g.shape == (2, 7) and g.abs().max() <= 1
    assert net["G_dec"](g, torch.zeros(2, 6)).shape == x.shape
    features = net["trunk"](x, y)
    assert features.shape == (2, 128) and net["Q"](features).shape == (2, 6) and net["D_img"](features).shape == (2, 1)
    outputs = [layer[1] for layer in layers(net["G_dec"]) if layer[0] == "conv"]
    assert outputs == [64, 32, 16, 8, 4, 2][: size.bit_length() - 2] + [1]


def test_the_image_discriminator_sees_the_label():
    net = build_networks(32, 3, 8, 6, 3, 2)
    net["trunk"].eval()
    x = torch.rand(1, 3, 32, 32)
    a, b = (net["D_img"](net["trunk"](x, torch.eye(3)[k : k + 1])) for k in (0, 1))
    assert float((a - b).detach().abs()) > 1e-6


# Losses


def test_codes_are_positive_for_the_label_alone_and_share_their_draws():
    c = controller(torch.tensor([[0.0, 1, 0]]), torch.tensor([[-0.5, 0.25]]))
    torch.testing.assert_close(c, torch.tensor([[-0.5, -0.25, 0.5, 0.25, -0.5, -0.25]]))


def test_the_regularizers_loss_is_the_likelihood_of_a_gaussian():
    g = torch.Generator().manual_seed(0)
    c, mean = torch.randn(4, 6, generator=g), torch.randn(4, 6, generator=g)
    log_q = torch.distributions.Normal(mean, 1.0).log_prob(c).mean()
    assert float(regularizer_loss(c, mean)) == pytest.approx(float(-log_q) - 0.5 * np.log(2 * np.pi), rel=1e-5)


def test_losses_are_those_of_the_paper():
    method = ExprGAN(replace(SMALL, beta=(1.0, 2.0, 3.0, 4.0, 5.0)))
    for network in method.networks.values():
        network.eval()
    net, batch = method.networks, small_batch()
    x, y = batch["x"], method.one_hot(batch["y"])
    g, c = net["G_enc"](x), controller(y, torch.rand(6, 2))
    x_hat = net["G_dec"](g, c)
    D = lambda v: torch.sigmoid(net["D_img"](net["trunk"](v, y)))  # noqa: E731
    D_z = lambda v: torch.sigmoid(net["D_z"](v))  # noqa: E731
    z = torch.rand(6, 6) * 2 - 1
    with torch.no_grad():
        tv = sum((x_hat.diff(dim=k)).abs().mean() for k in (2, 3))
        phi = sum(
            b * (s - t).abs().mean() for b, s, t in zip((1, 2, 3, 4, 5), net["phi"].layers(x), net["phi"].layers(x_hat))
        )
        expected = {
            "L_pixel": (x - x_hat).abs().mean(), "L_id": phi,
            "L_Q": 0.5 * (c - net["Q"](net["trunk"](x_hat, y))).square().mean(),
            "L_img_adv": -torch.log(D(x_hat)).mean(), "L_z_adv": -torch.log(D_z(g)).mean(), "L_tv": tv,
        }  # fmt: skip
        image = -torch.log(D(x)).mean() - torch.log(1 - D(x_hat)).mean()
        code = -torch.log(D_z(z)).mean() - torch.log(1 - D_z(g)).mean()
    found = method.generator_losses("refine", x, x_hat, y, c, g)
    assert set(found) == set(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name], msg=name)
    torch.testing.assert_close(method.image_loss(x, x_hat, y), image)  # (9)
    torch.testing.assert_close(method.code_loss(z, g), code)  # (8)
    assert method.weights("refine") == {
        "L_pixel": 1, "L_id": 1, "L_Q": 1, "L_img_adv": 0.01, "L_z_adv": 0.01, "L_tv": 0.001,
    }  # (10)  # fmt: skip
    assert method.weights("reconstruct")["L_Q"] < method.weights("control")["L_Q"]  # "with a decreased weight"
    with pytest.raises(ValueError, match="beta"):
        perceptual_loss([x], [x_hat], (1.0, 2.0))


@pytest.mark.parametrize(
    "stage, losses, trained",
    [
        ("control", {"L_Q", "L_img_adv", "L_Dimg"}, {"G_dec", "trunk", "Q", "D_img"}),
        ("reconstruct", {"L_Q", "L_pixel", "L_id"}, {"G_enc", "G_dec", "trunk", "Q"}),
        ("refine", {"L_Q", "L_pixel", "L_id", "L_img_adv", "L_z_adv", "L_tv", "L_Dimg", "L_Dz"},
         {"G_enc", "G_dec", "trunk", "Q", "D_img", "D_z"}),
    ],
)  # fmt: skip
def test_each_stage_has_its_losses_and_networks(stage, losses, trained):
    method = ExprGAN(SMALL)
    before = weights_of(method.networks)
    method.begin(stage)
    assert set(method.step(stage, small_batch(), torch.Generator().manual_seed(0))) == losses
    assert changed(method.networks, before) == trained


def test_gradients_stop_between_the_players():
    method, batch = ExprGAN(SMALL), small_batch()
    net, x, y = method.networks, batch["x"], method.one_hot(batch["y"])
    c = controller(y, torch.rand(6, 2))

    def reached(name=None, loss=None):
        clear(net)
        g = net["G_enc"](x)
        x_hat = net["G_dec"](g, c)
        value = loss(x_hat, g) if loss else method.generator_losses("refine", x, x_hat, y, c, g)[name]
        value.backward()
        return {k for k in net if touched(net[k])}

    assert reached(loss=lambda x_hat, g: method.image_loss(x, x_hat, y)) == {"trunk", "D_img"}
    assert reached(loss=lambda x_hat, g: method.code_loss(torch.rand(6, 6), g)) == {"D_z"}
    assert reached("L_img_adv") == {"G_enc", "G_dec"}  # not the trunk, though Q trains it in the same step
    assert reached("L_Q") == {"G_enc", "G_dec", "trunk", "Q"}
    assert reached("L_z_adv") == {"G_enc"}
    assert reached("L_pixel") == reached("L_id") == reached("L_tv") == {"G_enc", "G_dec"}


def test_identities_are_noise_in_the_first_stage():
    method, seen = ExprGAN(SMALL), []
    forward = method.networks["G_dec"].forward
    method.networks["G_dec"].forward = lambda g, c: seen.append((g, c)) or forward(g, c)
    method.step("control", small_batch(), torch.Generator().manual_seed(0))
    method.step("reconstruct", small_batch(), torch.Generator().manual_seed(0))
    assert not seen[0][0].requires_grad and seen[1][0].requires_grad
    assert seen[0][0].abs().max() <= 1 and seen[0][0].min() < -0.5 and seen[0][0].max() > 0.5
    assert torch.equal(seen[0][1], seen[1][1])  # the same seed draws the same codes


def test_training_reconstructs_better_and_reads_its_codes():
    faces = drawn_faces(3, names=("anger", "happiness", "surprise"))
    method = ExprGAN(replace(SMALL, learning_rate=2e-3))
    x = torch.from_numpy(faces.images.astype(np.float32).transpose(0, 3, 1, 2)) / 127.5 - 1
    batch = {"x": x, "y": torch.tensor(faces.expression)}
    for stage, name, share in (("control", "L_Q", 0.7), ("reconstruct", "L_pixel", 0.8), ("refine", "L_pixel", 1.0)):
        values = [float(method.step(stage, batch, torch.Generator().manual_seed(k))[name]) for k in range(40)]
        assert np.mean(values[-5:]) < share * values[0], stage


# Use


def test_codes_of_strengths_and_levels():
    method, y = ExprGAN(SMALL), torch.tensor([2])
    ones = torch.tensor([[-1, -1, -1, -1, 1, 1.0]])
    torch.testing.assert_close(applications.strength_code(method, y, 1.0), ones)
    torch.testing.assert_close(applications.strength_code(method, y, 0.0), ones.clamp(max=0))
    torch.testing.assert_close(applications.strength_code(method, y, -1.0), applications.neutral_code(method, 1))
    torch.testing.assert_close(applications.level_code(method, y, 0), torch.tensor([[-1, -1, -1, -1, 1, -1.0]]))
    with pytest.raises(ValueError, match="strength"):
        applications.strength_code(method, y, 2.0)
    with pytest.raises(ValueError, match="level"):
        applications.level_code(method, y, 2)


def test_controlled_codes_are_those_of_training_at_even_draws():
    method, y = ExprGAN(SMALL), torch.tensor([1, 0])
    for magnitude in (0.0, 0.3, 1.0):
        expected = controller(method.one_hot(y), torch.full((2, 2), -magnitude))
        torch.testing.assert_close(applications.controlled_code(method, y, magnitude), expected)
    assert torch.equal(applications.controlled_code(method, y, 1), applications.strength_code(method, y, 1.0))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="magnitude"):
            applications.controlled_code(method, y, wrong)


def test_the_intensity_curve_measures_each_label_along_its_own_units():
    """A painter that shows block k of the code in row k, and a reader of these rows: the curve is known."""
    method = ExprGAN(SMALL)
    seen = []

    def paint(x, c):
        seen.append(x)
        rows = c.reshape(len(c), 3, 2).mean(2).clamp(min=0) - 0.5  # half of each block's mean: no clipping
        out = torch.zeros_like(x)
        out[:, :, :3, :] = rows[:, None, :, None]
        return out

    method.synthesize = paint
    read = lambda images: images[:, :3, 0, 0] / 127.5 - 0.5  # noqa: E731
    images = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    codes = applications.controlled_code
    curve = applications.intensity_curve(method, read, images, 2 * np.eye(3), (0.0, 0.5, 1.0), codes)
    assert curve.strength.shape == (3, 3, 5) and len(seen) == 9
    expected = np.broadcast_to(np.array([0, 0.25, 0.5])[None, :, None], (3, 3, 5))  # m * 2 / 2^2
    np.testing.assert_allclose(curve.strength, expected, atol=0.005)
    assert curve.monotone and curve.rising == 1
    edited = applications.intensity_curve(method, read, images, 2 * np.eye(3), (-1, 0, 1))  # as `edit` sets weights
    np.testing.assert_allclose(edited.mean, np.tile([0, 0, 0.5], (3, 1)), atol=0.005)
    flat = applications.IntensityCurve(curve.values, curve.strength[:, [1, 2, 0]])
    assert not flat.monotone and flat.rising == 0.5
    with pytest.raises(ValueError, match="values"):
        applications.intensity_curve(method, read, images, np.eye(3), (0.5, 0.2))
    with pytest.raises(ValueError, match="directions"):
        applications.intensity_curve(method, read, images, np.eye(3)[:2])


def test_identities_may_be_compared_on_a_part_of_the_batch_without_bias():
    """L_id of all six pictures is the mean of those of two at a time: every picture counts the same on average."""
    method = ExprGAN(SMALL)
    x, x_hat = small_batch()["x"], small_batch()["x"].flip(0) * 0.5
    y, c, g = method.one_hot(small_batch()["y"]), torch.zeros(6, 6), torch.zeros(6, 6)
    whole = method.generator_losses("reconstruct", x, x_hat, y, c, g)
    partly = ExprGAN(replace(SMALL, compared=2), method.networks["phi"])
    parts = []
    for k in (0, 2, 4):
        order = [k, k + 1, *(j for j in range(6) if j not in (k, k + 1))]
        parts.append(partly.generator_losses("reconstruct", x[order], x_hat[order], y[order], c, g))
    torch.testing.assert_close(sum(p["L_id"] for p in parts) / 3, whole["L_id"])
    assert abs(float(parts[0]["L_id"] - parts[1]["L_id"])) > 1e-6
    torch.testing.assert_close(parts[0]["L_pixel"], whole["L_pixel"])  # all others see the whole batch
    with pytest.raises(ValueError, match="compared"):
        replace(SMALL, compared=-1)


def test_small_pictures_have_defaults_of_their_own_that_settings_override():
    names = ("happiness", "neutral", "surprise")
    small, _ = recipe.prepare(drawn_faces(4, names=names), {"identity_steps": 1}, batch=4)
    assert {name: getattr(small.options, name) for name in recipe.SMALL} == recipe.SMALL
    chosen, _ = recipe.prepare(drawn_faces(4, names=names), {"identity_steps": 1, "width": 8, "compared": 0}, batch=4)
    assert (chosen.options.width, chosen.options.compared) == (8, 0)
    paper = ExprGANOptions()
    assert (paper.width, paper.compared, paper.learning_rate, paper.size) == (64, 0, 2e-4, 128)


def test_transfer_takes_the_identity_of_one_and_the_code_of_the_other():
    method = ExprGAN(SMALL)
    for network in method.networks.values():
        network.eval()
    a, b, y = small_batch(2)["x"], small_batch(4)["x"][2:], torch.tensor([0, 1])
    with torch.no_grad():
        c = method.networks["Q"](method.networks["trunk"](b, torch.eye(3)[y]))
        expected = method.networks["G_dec"](method.networks["G_enc"](a), c)
        torch.testing.assert_close(applications.transfer(method, a, b, y), expected)


def test_retrieval_is_nearest_in_expression_code():
    method = ExprGAN(SMALL)
    for network in method.networks.values():
        network.eval()
    batch = small_batch(8)
    x, y = batch["x"], batch["y"]
    with torch.no_grad():
        order = applications.retrieve(method, x[:3], y[:3], x, y)
        codes = method.expression_code(x, y).numpy()
    assert order.shape == (3, 8) and order[:, 0].tolist() == [0, 1, 2]
    for k in range(3):
        d = np.linalg.norm(codes[k] - codes, axis=1)[order[k].numpy()]
        assert (np.diff(d) >= -1e-5).all()


def test_the_augmentation_table_counts_pictures_and_learns():
    faces = drawn_faces(4, names=("anger", "happiness", "surprise"))
    method = ExprGAN(replace(SMALL, learning_rate=2e-3))
    for network in method.networks.values():
        network.eval()
    args = (method, faces.images, faces.expression, faces.images, faces.expression)
    table = applications.augmentation_table(*args, per_class=(0, 2), steps=60, batch=12, threads=1)
    assert [row.synthetic for row in table] == [0, 6]
    assert table[0].accuracy > 0.9
    assert table == applications.augmentation_table(*args, per_class=(0, 2), steps=60, batch=12, threads=1)
    with pytest.raises(ValueError, match="labels: expected 12"):
        applications.augmentation_table(method, faces.images, faces.expression + 1, faces.images, faces.expression)


def test_a_run_is_trained_saved_and_used(tmp_path):
    faces = drawn_faces(4, names=("happiness", "neutral", "surprise"))
    settings = dict(width=8, identity=4, d=2, steps_control=2, steps_reconstruct=2, steps_refine=2, identity_steps=2)
    method, batches = recipe.prepare(faces, settings, batch=4, seed=1)
    assert method.options.labels == ("happiness", "surprise")  # neutral is a code, not a class
    assert set(np.unique(torch.cat([batches.batch("control", k)["y"] for k in range(2)]))) == {0, 1}
    result = train(method, batches, TrainOptions(threads=1, sample_every=2), tmp_path / "run")
    from affect3d.gan.checkpoint import load_weights

    again = recipe.restore(json.loads((tmp_path / "run" / "options.json").read_text())["method_options"])
    assert again.options == method.options
    load_weights(result.weights, again.networks)
    for m in (method, again):
        for network in m.networks.values():
            network.eval()
    pairs = np.array([[0, 1], [3, 5]])
    made = recipe.transform(again, faces, pairs)
    np.testing.assert_array_equal(made, recipe.transform(method, faces, pairs))
    np.testing.assert_array_equal(made[:1], recipe.edit(method, faces.images[:1], {"neutral": 1.0}))
    np.testing.assert_array_equal(made[1:], recipe.edit(method, faces.images[[3]], {"surprise": 1.0}))
    assert {k: tuple(v.shape) for k, v in recipe.figures(method, faces).items()} == {"figure3": (2, 5, 3, 32, 32)}


def test_the_perceptual_network_is_the_one_given():
    torch.manual_seed(0)
    phi = LightCNN(TINY)
    method = ExprGAN(SMALL, phi)
    x = small_batch()["x"]
    for a, b in zip(method.networks["phi"].layers(x), phi.layers(x)):
        assert torch.equal(a, b)
    assert not any(p.requires_grad for p in method.networks["phi"].parameters())
    with pytest.raises(ValueError, match="perceptual: expected the network"):
        ExprGAN(SMALL, VGGFace(width=2, descriptor=None))
    assert isinstance(ExprGAN(replace(SMALL, perceptual="vgg_face")).networks["phi"], VGGFace)


@pytest.mark.parametrize("at", (1, 3, 5))
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, at):
    settings = {"width": 8, "steps_control": 2, "steps_reconstruct": 2, "steps_refine": 2, "identity_steps": 1}
    assert resumes_exactly(recipe, drawn_faces(3, names=("anger", "happiness", "surprise")), settings, tmp_path, at)


def test_wrong_arguments_are_named():
    for name, value in (
        ("perceptual", "vgg"), ("labels", ("a",)), ("beta", (1.0,)), ("lambda_5", -1), ("learning_rate", 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            replace(SMALL, **{name: value})
    for name, value in (("size", 16), ("width", 6), ("identity", 0), ("d", 0), ("channels", 0)):
        with pytest.raises(ValueError, match=name):
            ExprGAN(replace(SMALL, **{name: value}))
    faces = drawn_faces(2)
    with pytest.raises(ValueError, match="settings: expected .*got 'size'"):
        recipe.prepare(faces, dict(size=64))
    with pytest.raises(ValueError, match="identity_weights: name a file"):
        recipe.prepare(faces, dict(perceptual="vgg_face"))
    with pytest.raises(ValueError, match="other than neutral"):
        recipe.prepare(faces.select(faces.expression == 0), {})
    for target in ({"joy": 1.0}, {"anger": 2.0}, {"anger": 0.5, "surprise": 0.5}):
        with pytest.raises(ValueError, match="target"):
            recipe.edit(ExprGAN(SMALL), faces.images, target)
    unlabelled = replace(faces, expression=np.full(len(faces), -1))
    with pytest.raises(ValueError, match="pairs: row 1 has no expression"):
        recipe.transform(ExprGAN(SMALL), unlabelled, np.array([[0, 1]]))
