"""StoicNet against section 3 of its paper: networks, losses (1)-(12), stages and what each freezes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))
from gan_faces import (  # noqa: E402
    changed, clear, count, drawn_faces, layers, resumes_exactly, touched, weights_of,
)  # fmt: skip

from affect3d.gan.stoicnet import StoicNet, StoicNetOptions, build_networks, recipe, sharpen  # noqa: E402
from affect3d.gan.stoicnet.losses import (  # noqa: E402
    discriminator_loss, gan_loss, reparameterize, root_mean_square, warmed_up,
)  # fmt: skip
from affect3d.gan.training import TrainOptions, train  # noqa: E402

SMALL = StoicNetOptions(
    steps_reconstruct=3, steps_enhance=2, steps_neutralize=2, size=16, width=4, code=5, blocks=2, enhancer=4,
    enhance_from=0, W_kl=1e-3, warmup=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_batch(n=4, channels=1):
    g = torch.Generator().manual_seed(0)
    draw = lambda: torch.rand(n, channels, 16, 16, generator=g) * 2 - 1  # noqa: E731
    return {"x": draw(), "x_e": draw(), "x_n": draw()}


def test_networks_are_those_the_text_describes():
    net = build_networks(64, 1, 32, 128, 4)
    assert layers(net["Enc"].convolutions) == [
        ("conv", 32, 4, 2, 1), "lrelu0.2", ("conv", 64, 4, 2, 1), "bn", "lrelu0.2",
        ("conv", 128, 4, 2, 1), "bn", "lrelu0.2", ("conv", 256, 4, 2, 1), "bn", "lrelu0.2",
    ]  # fmt: skip
    assert layers(net["Enc"].mean) == layers(net["Enc"].log_variance) == [("fc", 128)]
    assert layers(net["Dec"]) == [
        ("fc", 4096), "bn", "relu", ("deconv", 128, 4, 2, 1), "bn", "relu", ("deconv", 64, 4, 2, 1), "bn", "relu",
        ("deconv", 32, 4, 2, 1), "bn", "relu", ("deconv", 1, 4, 2, 1), "tanh",
    ]  # fmt: skip
    assert layers(net["Ntr"]) == [("fc", 128)]  # "a single dense perceptron layer"
    block = [("conv", 32, 3, 1, 1), "bn", "relu", ("conv", 32, 3, 1, 1), "bn"]
    assert layers(net["Enh"]) == [("conv", 32, 3, 1, 1), "relu", *block * 4, ("conv", 1, 3, 1, 1)]
    # "roughly the same as the encoder except with additional fully connected layers", linear at the end
    assert layers(net["Dis"]) == [*layers(net["Enc"].convolutions), ("fc", 256), "lrelu0.2", ("fc", 1)]
    convolutions = 16 * 32 + 32 + sum(16 * a * b + 2 * b for a, b in ((32, 64), (64, 128), (128, 256)))
    assert count(net["Enc"]) == convolutions + 2 * 4097 * 128
    assert count(net["Dis"]) == convolutions + 4097 * 256 + 257
    assert count(net["Ntr"]) == 129 * 128
    assert count(net["Enh"]) == (9 * 32 + 32) + 4 * 2 * (9 * 32 * 32 + 64) + (9 * 32 + 1)


@pytest.mark.parametrize("size, channels", [(16, 1), (32, 3), (128, 1)])
def test_pictures_of_every_size_go_through(size, channels):
    net = build_networks(size, channels, 4, 6, 1)
    x = torch.rand(2, channels, size, size)
    mean, log_variance = net["Enc"](x)
    assert mean.shape == log_variance.shape == (2, 6)
    low = net["Dec"](mean)
    assert low.shape == x.shape and low.abs().max() <= 1
    assert net["Enh"](low).shape == x.shape and net["Dis"](low).shape == (2, 1)


def test_the_neutralizer_starts_as_the_identity_and_the_enhancer_has_a_skip_from_the_picture():
    net = build_networks(16, 1, 4, 5, 2)
    z, x = torch.randn(3, 5), torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(net["Ntr"](z), z)
    with torch.no_grad():
        net["Enh"].last.weight.zero_()
        net["Enh"].last.bias.zero_()
    torch.testing.assert_close(net["Enh"](x), x)


def test_losses_are_those_of_the_paper():
    a, b = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]]), torch.tensor([[3.0, 1, 1, 1], [1, 1, 1, 1]])
    assert float(root_mean_square(a, b)) == pytest.approx((np.sqrt(12 / 4) + 0) / 2, abs=1e-5)  # (2)
    real, low, high = torch.tensor([[1.0], [0.5]]), torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [-1.0]])
    assert float(discriminator_loss(real, low, high)) == pytest.approx((0.125 + 2 + 0.5) / 3)  # (6)
    assert float(gan_loss(high)) == pytest.approx((1 + 4) / 2)  # (9)
    same = a.clone().requires_grad_()
    root_mean_square(a, same).backward()
    assert torch.isfinite(same.grad).all()
    with pytest.raises(ValueError, match="value: expected the shape"):
        root_mean_square(a, b[:1])

    method, x = StoicNet(SMALL), small_batch()["x"]
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.0, 1.0]])
    losses = method.vae_losses(x, -x, mean, log_variance)
    by_hand = 0.5 * (0.25 + 1 - 1 - 0) + 0.5 * (1 + np.e - 1 - 1)
    assert float(losses["L_kl"]) == pytest.approx(by_hand)  # (4)
    assert float(losses["L_rec1"]) == pytest.approx(float((4 * x**2).flatten(1).mean(1).sqrt().mean()), rel=1e-5)
    for stage, index, weight in (
        ("reconstruct", 0, 0), ("reconstruct", 2, 5e-4), ("reconstruct", 9, 1e-3), ("enhance", 0, 1e-3),
    ):  # fmt: skip
        total = method.vae_total(losses, stage, index)  # (3), (5)
        assert float(total) == pytest.approx(weight * by_hand + float(losses["L_rec1"]), rel=1e-5)
    first = method.enhancer_losses("reconstruct", x, -x, 0.5 * x)
    assert set(first) == {"L_rec_Enh"}
    assert float(method.enhancer_total(first)) == float(root_mean_square(x, 0.5 * x))  # (7)
    second = method.enhancer_losses("enhance", x, -x, 0.5 * x)
    assert float(second["L_rec2"]) == float(root_mean_square(-x, 0.5 * x))  # (8): against the low picture, not x
    L_gan = (method.networks["Dis"](0.5 * x) - 1).square().mean()
    expected = 0.95 * second["L_rec2"] + 0.05 * L_gan
    torch.testing.assert_close(method.enhancer_total(second), expected)  # (10)


def test_the_weight_of_the_divergence_is_warmed_up_along_a_line():
    assert [warmed_up(2.0, k, 4) for k in range(6)] == [0, 0.5, 1, 1.5, 2, 2]
    assert warmed_up(2.0, 0, 0) == 2


def test_codes_are_drawn_with_their_mean_and_deviation():
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[np.log(4.0), np.log(0.25)]], dtype=torch.float32)
    z = reparameterize(mean.expand(20000, 2), log_variance.expand(20000, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([2.0, 0.5]), atol=0.05, rtol=0)


def test_neutralizer_compares_with_the_code_of_the_neutral_face():
    method, batch = StoicNet(SMALL), small_batch()
    method.begin("neutralize")
    net = method.networks
    with torch.no_grad():
        net["Ntr"].weight.mul_(0.5)
        z_n, z_e = net["Enc"](batch["x_n"])[0], net["Enc"](batch["x_e"])[0]
    expected = (z_n - 0.5 * z_e).square().mean(1).sqrt().mean()
    loss = method.neutralizer_loss(batch["x_e"], batch["x_n"])
    torch.testing.assert_close(loss, expected)  # (11)
    loss.backward()
    assert {k for k in net if touched(net[k])} == {"Ntr"}


@pytest.mark.parametrize(
    "stage, trained",
    [("reconstruct", {"Enc", "Dec", "Enh", "Dis"}), ("enhance", {"Enc", "Dec", "Enh", "Dis"}), ("neutralize", {"Ntr"})],
)
def test_each_stage_trains_its_networks_and_freezes_the_others(stage, trained):
    method, batch = StoicNet(SMALL), small_batch()
    method.begin("neutralize")
    method.begin(stage)
    with torch.no_grad():
        method.networks["Ntr"].weight.mul_(0.9)
    before = weights_of(method.networks)
    buffers = {n: [b.clone() for b in net.buffers()] for n, net in method.networks.items()}
    method.step(stage, batch, torch.Generator().manual_seed(0), 3)
    assert changed(method.networks, before) == trained
    for name, network in method.networks.items():
        moved = any(not torch.equal(a, b) for a, b in zip(buffers[name], network.buffers()))
        assert not moved or name in trained  # running means of frozen networks rest too
        assert network.training == (name in trained)


def test_the_enhancers_losses_end_in_front_of_the_decoder():
    """Equations (3), (5) and (10): Enc and Dec follow L_rec1 and L_kl alone; Dis follows nobody."""
    method, batch = StoicNet(SMALL), small_batch()
    net, x = method.networks, batch["x"]
    low = net["Dec"](net["Enc"](x)[0])
    clear(net)
    method.enhancer_total(method.enhancer_losses("enhance", x, low.detach(), net["Enh"](low.detach()))).backward()
    assert {k for k in net if touched(net[k])} == {"Enh"}
    # the same step with another W_g moves Enh and leaves Enc and Dec where they were
    a, b = StoicNet(SMALL), StoicNet(replace(SMALL, W_g=0.9))
    for m in (a, b):
        m.begin("enhance")
        m.step("enhance", batch, torch.Generator().manual_seed(1))
    assert changed(b.networks, weights_of(a.networks)) == {"Enh"}


def test_the_discriminator_sees_the_unenhanced_picture_too():
    method, batch = StoicNet(SMALL), small_batch()
    seen = []
    forward = method.networks["Dis"].forward
    method.networks["Dis"].forward = lambda x: seen.append(x.detach().clone()) or forward(x)
    lows = []
    method.networks["Dec"].register_forward_hook(lambda m, i, out: lows.append(out.detach().clone()))
    method.begin("reconstruct")
    method.step("reconstruct", batch, torch.Generator().manual_seed(0))
    assert len(seen) == 3  # in the first stage the enhancer does not play against it
    assert torch.equal(seen[0], batch["x"]) and torch.equal(seen[1], lows[0]) and not torch.equal(seen[2], lows[0])


def test_an_enhancer_that_joins_later_leaves_the_autoencoder_as_it_was():
    """The saving of `enhance_from` costs nothing: Enc and Dec end with the same bytes, Enh and Dis wait."""
    batch, ended = small_batch(), {}
    for share in (0.0, 0.5):
        method = StoicNet(replace(SMALL, steps_reconstruct=4, enhance_from=share))
        method.begin("reconstruct")
        names, before = [], weights_of(method.networks)
        for k in range(4):
            names.append(set(method.step("reconstruct", batch, torch.Generator().manual_seed(k), k)))
            if k == 1:
                early = changed(method.networks, before)
        ended[share] = weights_of({k: method.networks[k] for k in ("Enc", "Dec")})
        assert early == ({"Enc", "Dec"} if share else {"Enc", "Dec", "Enh", "Dis"})
        assert [("L_Dis" in n) for n in names] == [k >= 4 * share for k in range(4)]
    for name in ended[0.0]:
        for a, b in zip(ended[0.0][name], ended[0.5][name]):
            assert torch.equal(a, b), name


def test_learning_rates_fall_to_a_hundredth_over_the_steps_of_each_network():
    method = StoicNet(replace(SMALL, steps_reconstruct=10, steps_enhance=10, steps_neutralize=8, enhance_from=0.5))
    rate = lambda name: method.optimizers[name].param_groups[0]["lr"]  # noqa: E731
    full, batch = SMALL.learning_rate, small_batch()
    found = []
    for stage, index in (("reconstruct", 0), ("reconstruct", 5), ("enhance", 0), ("enhance", 9), ("neutralize", 4)):
        method.begin(stage)
        method.step(stage, batch, torch.Generator().manual_seed(0), index)
        found.append([rate(name) / full for name in ("VAE", "Enh", "Ntr")])
    cosine = lambda done: 0.01 + 0.495 * (1 + np.cos(np.pi * done))  # noqa: E731
    assert found[0][0] == found[1][1] == pytest.approx(1)  # Enh starts when it joins, at step 5
    assert found[1][0] == pytest.approx(cosine(5 / 20)) and found[2][0] == pytest.approx(cosine(0.5))
    assert found[2][1] == pytest.approx(cosine(5 / 15)) and found[3][1] == pytest.approx(cosine(14 / 15))
    assert found[3][0] == pytest.approx(cosine(19 / 20)) and found[4][2] == pytest.approx(cosine(0.5))
    assert rate("Dis") == SMALL.discriminator_rate


def test_half_of_the_pictures_are_mirrored_and_pairs_together():
    faces = drawn_faces(6, 16, 1)
    marked = faces.images.copy()
    marked[:, :, 0], marked[:, :, -1] = 255, 0  # left and right can be told
    _, batches = recipe.prepare(replace(faces, images=marked), dict(width=4), batch=18)
    left = {"x": [], "x_e": []}
    for k in range(20):
        left["x"] += (batches.batch("reconstruct", k)["x"][:, 0, 0, 0] > 0).tolist()
        pair = batches.batch("neutralize", k)
        assert torch.equal(pair["x_e"][:, 0, 0, 0], pair["x_n"][:, 0, 0, 0])
        left["x_e"] += (pair["x_e"][:, 0, 0, 0] > 0).tolist()
    assert 0.4 < np.mean(left["x"]) < 0.6 and 0.4 < np.mean(left["x_e"]) < 0.6
    assert (batches.preview()["x_e"][:, 0, 0, 0] > 0).all()  # what is looked at is not turned
    np.testing.assert_array_equal(marked[:, :, 0], 255)  # nor is the caller's set


def test_sharpening_is_the_usual_kernel_and_leaves_flat_pictures_alone():
    x = torch.rand(1, 2, 6, 5, generator=torch.Generator().manual_seed(0)) * 0.2
    out = sharpen(x, 1.0)
    for c in range(2):
        for i in range(6):
            for j in range(5):
                places = [(min(max(i + a, 0), 5), min(max(j + b, 0), 4)) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))]
                slow = 5 * x[0, c, i, j] - sum(x[0, c, p, q] for p, q in places)
                assert float(out[0, c, i, j]) == pytest.approx(float(slow.clamp(-1, 1)), abs=1e-5)
    flat = torch.full((1, 1, 4, 4), 0.3)
    torch.testing.assert_close(sharpen(flat, 2.0), flat)
    torch.testing.assert_close(sharpen(x, 0.0), x)
    with pytest.raises(ValueError, match="strength"):
        sharpen(x, -1.0)


def test_training_reconstructs_better_and_makes_faces_neutral():
    faces = drawn_faces(4, 16, 1)
    options = replace(SMALL, width=8, code=16, W_kl=1e-4, warmup=0, learning_rate=3e-3)
    method = StoicNet(options)
    x = torch.from_numpy(faces.images.astype(np.float32).transpose(0, 3, 1, 2)) / 127.5 - 1
    x_n = x[torch.tensor(faces.neutral)]
    first = None
    for stage, steps in (("reconstruct", 150), ("enhance", 20), ("neutralize", 150)):
        method.begin(stage)
        for k in range(steps):
            losses = method.step(stage, {"x": x, "x_e": x, "x_n": x_n}, torch.Generator().manual_seed(k), k)
            first = first or float(losses["L_rec1"])
    for network in method.networks.values():
        network.eval()
    with torch.no_grad():
        reconstructed, neutral = method.reconstruct(x), method.neutralize(x, enhance=False)
    assert float(root_mean_square(x, reconstructed)) < 0.5 * first
    away = faces.neutral != np.arange(len(faces))
    mouth = (slice(None), slice(None), slice(6, 16), slice(5, 11))  # where expressions differ
    before, after = ((v[mouth] - x_n[mouth])[away].square().mean() for v in (reconstructed, neutral))
    assert float(after) < 0.5 * float(before)


def test_a_run_is_trained_saved_and_used(tmp_path):
    faces = drawn_faces(3, 16, 1)
    settings = dict(steps_reconstruct=2, steps_enhance=2, steps_neutralize=2, width=4, code=4, blocks=1)
    method, batches = recipe.prepare(faces, settings, batch=4, seed=1)
    assert set(batches.batch("enhance", 0)) == {"x"} and set(batches.batch("neutralize", 0)) == {"x_e", "x_n"}
    result = train(method, batches, TrainOptions(threads=1, sample_every=2), tmp_path / "run")
    from affect3d.gan.checkpoint import load_weights

    again = recipe.restore(json.loads((tmp_path / "run" / "options.json").read_text())["method_options"])
    load_weights(result.weights, again.networks)
    for m in (method, again):
        for network in m.networks.values():
            network.eval()
    pairs = np.array([[1, 0], [5, 3]])
    made = recipe.transform(again, faces, pairs)
    np.testing.assert_array_equal(made, recipe.transform(method, faces, pairs))
    np.testing.assert_array_equal(made, recipe.edit(method, faces.images[[1, 5]], {"neutral": 1.0}))
    assert {k: tuple(v.shape) for k, v in recipe.figures(method, faces).items()} == {
        "figure2": (3, 5, 1, 16, 16), "figure3": (2, 3, 1, 16, 16),
    }  # fmt: skip


def test_small_pictures_have_defaults_of_their_own_that_settings_override():
    small, _ = recipe.prepare(drawn_faces(2, 32, 1), {}, batch=4)
    assert {name: getattr(small.options, name) for name in recipe.SMALL} == recipe.SMALL
    assert small.options.width == StoicNetOptions().width  # the layers of Enc, Dec and Dis are not touched
    chosen, _ = recipe.prepare(drawn_faces(2, 32, 1), {"blocks": 3, "steps_enhance": 7}, batch=4)
    assert (chosen.options.blocks, chosen.options.steps_enhance) == (3, 7)
    large, _ = recipe.prepare(drawn_faces(2, 128, 1), {}, batch=4)
    assert replace(large.options, size=64) == StoicNetOptions()


def test_pairs_are_a_face_and_its_own_neutral_one():
    faces = drawn_faces(4, 16, 1)
    neutral = faces.neutral.copy()
    neutral[3:6] = -1  # a person without a neutral face is left out of the last stage
    faces = replace(faces, neutral=neutral)
    _, batches = recipe.prepare(faces, dict(width=4), batch=6)
    flat = faces.images.reshape(len(faces), -1)

    def find(x):
        pixels = ((x.permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().reshape(len(x), -1)
        return [int(np.abs(flat - p).sum(1).argmin()) for p in pixels]

    for index in range(4):
        batch = batches.batch("neutralize", index)
        e, n = find(batch["x_e"]), find(batch["x_n"])
        assert (faces.neutral[e] == n).all()


@pytest.mark.parametrize("at", (1, 3, 5))
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, at):
    settings = {"steps_reconstruct": 2, "steps_enhance": 2, "steps_neutralize": 2, "width": 4, "code": 4, "blocks": 1}
    assert resumes_exactly(recipe, drawn_faces(3, 16, 1), settings, tmp_path, at)


def test_wrong_arguments_are_named():
    for name, value in (("W_g", 1.5), ("W_kl", -1), ("learning_rate", 0), ("sharpening", -0.1), ("warmup", -1),
                        ("enhance_from", 1.1)):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            replace(SMALL, **{name: value})
    for name, value in (("size", 24), ("code", 0), ("blocks", 0), ("width", 0), ("channels", 0), ("enhancer", 0)):
        with pytest.raises(ValueError, match=name):
            StoicNet(replace(SMALL, **{name: value}))
    faces = drawn_faces(2, 16, 1)
    with pytest.raises(ValueError, match="settings: expected .*got 'size'"):
        recipe.prepare(faces, dict(size=64))
    with pytest.raises(ValueError, match="no picture has a neutral one"):
        recipe.prepare(replace(faces, neutral=np.full(len(faces), -1)), {})
    with pytest.raises(ValueError, match="batch"):
        recipe.prepare(faces, {}, batch=1)
    with pytest.raises(ValueError, match="target: StoicNet makes faces neutral"):
        recipe.edit(StoicNet(SMALL), faces.images, {"happiness": 1.0})
    with pytest.raises(ValueError, match="pairs: expected a neutral face"):
        recipe.transform(StoicNet(SMALL), faces, np.array([[0, 1]]))
    with pytest.raises(ValueError, match="images: expected"):
        recipe.edit(StoicNet(SMALL), faces.images[:, :8], {"neutral": 1.0})
