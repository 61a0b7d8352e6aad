"""CDAAE: every layer, the losses by hand, where gradients stop, what the variants share, and that it learns."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gan/ needs the extra affect3d[torch]")
from torch import nn  # noqa: E402

from affect3d.gan.batches import EpochBatches  # noqa: E402
from affect3d.gan.cdaae import CDAAE, VARIANTS, CDAAEOptions, build_networks, figures, synthesize  # noqa: E402
from affect3d.gan.training import Method, TrainOptions, train  # noqa: E402

AUTOENCODER = ("E1", "E2", "G1", "G2")
UNITS = tuple(f"AU{n}" for n in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))


def networks(variant="N2", labels=12, **settings):
    return build_networks(variant, labels, torch.Generator().manual_seed(0), **settings)


def small(variant="N2", **settings):
    return CDAAE(CDAAEOptions(variant=variant, labels=("a", "b"), size=16, width=4, code=6, steps=5, **settings))


def small_batch(count=4, size=16, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_s, x_t = torch.rand(2, count, channels, size, size, generator=generator) * 2 - 1
    return {"x_s": x_s, "x_t": x_t, "l": torch.eye(2)[torch.arange(count) % 2]}


def layers_of(*parts):
    """Layers and activations in their order, as (kind, sizes...)."""
    found = []
    for part in parts:
        for module in part.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                kind = "conv" if isinstance(module, nn.Conv2d) else "up"
                found.append((kind, module.in_channels, module.out_channels, module.kernel_size, module.stride))
            elif isinstance(module, nn.Linear):
                found.append(("linear", module.in_features, module.out_features))
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                found.append(("norm", module.num_features))
            elif isinstance(module, nn.LeakyReLU):
                found.append(("leaky", module.negative_slope))
            elif isinstance(module, nn.Tanh):
                found.append(("tanh",))
    return found


LEAKY, TANH = ("leaky", 0.2), ("tanh",)


def sized(kind, *pairs):
    return [(kind, a, b, (5, 5), (2, 2)) for a, b in pairs]


def mixed(rows, activations):
    return [x for pair in zip(rows, activations) for x in pair]


@pytest.mark.parametrize("variant, place", VARIANTS.items())
@pytest.mark.parametrize("labels", [8, 12])
def test_every_layer_is_the_papers(variant, place, labels):
    net = networks(variant, labels)
    encoder = mixed(sized("conv", (3, 64), (64, 128), (128, 256), (256, 512)), [LEAKY] * 4) + [("linear", 2048, 100)]
    assert layers_of(net["E1"], net["E2"]) == encoder
    activations = [LEAKY, LEAKY, LEAKY, TANH]
    if place is not None:
        activations[3 - place] = TANH  # the layer that learns the difference
    decoder = [("linear", 100 + labels, 2048), LEAKY]
    decoder += mixed(sized("up", (512, 256), (256, 128), (128, 64), (64, 3)), activations)
    assert layers_of(net["G1"], net["G2"]) == decoder
    assert layers_of(net["D_E"]) == [
        ("linear", 100, 64), ("norm", 64), LEAKY, ("linear", 64, 32), ("norm", 32), LEAKY,
        ("linear", 32, 16), ("norm", 16), LEAKY, ("linear", 16, 1),
    ]  # fmt: skip
    normalized = [("norm", 16), ("norm", 32), ("norm", 64), ("norm", 128)]
    images = mixed(sized("conv", (3, 16), (16, 32), (32, 64), (64, 128)), normalized)
    images = [x for layer in images for x in ((layer, LEAKY) if layer[0] == "norm" else (layer,))]
    assert layers_of(net["D_G"]) == [*images, ("linear", 512, 1024), LEAKY, ("linear", 1024, 1)]


@pytest.mark.parametrize("variant, place", VARIANTS.items())
def test_the_connection_splits_encoder_and_decoder_at_its_place(variant, place):
    net = networks(variant)
    cut = 2 if place is None else place
    count = lambda part, kind: sum(layer[0] == kind for layer in layers_of(part))  # noqa: E731
    assert (count(net["E1"], "conv"), count(net["E2"], "conv")) == (cut, 4 - cut)
    assert (count(net["G1"], "up"), count(net["G2"], "up")) == (4 - cut, cut)
    x, pixels = torch.zeros(2, 3, 32, 32), {1: (64, 16, 16), 2: (128, 8, 8), 3: (256, 4, 4)}[cut]
    features = net["E1"](x)
    assert features.shape == (2, *pixels)
    z = net["E2"](features)
    assert z.shape == (2, 100) and net["G1"](z, torch.zeros(2, 12)).shape == (2, *pixels)
    assert net["G2"](features).shape == (2, 3, 32, 32)
    assert net["D_E"](z).shape == (2, 1) and net["D_G"](x).shape == (2, 1)


def test_parameters_are_counted_by_hand():
    total = {name: sum(p.numel() for p in net.parameters()) for name, net in networks("N2", 12).items()}
    assert total == {
        "E1": 25 * (3 * 64 + 64 * 128) + 64 + 128,
        "E2": 25 * (128 * 256 + 256 * 512) + 256 + 512 + 2048 * 100 + 100,
        "G1": 112 * 2048 + 2048 + 25 * (512 * 256 + 256 * 128) + 256 + 128,
        "G2": 25 * (128 * 64 + 64 * 3) + 64 + 3,
        "D_E": 100 * 64 + 64 + 64 * 32 + 32 + 32 * 16 + 16 + 16 + 1 + 2 * (64 + 32 + 16),
        "D_G": 25 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 128) + 3 * 240 + 512 * 1024 + 1024 + 1024 + 1,
    }


def test_variants_have_the_same_weights_and_differ_in_the_connection_and_its_activation_only():
    everything = {}
    for variant in VARIANTS:
        net = networks(variant)
        everything[variant] = [p for name in AUTOENCODER for p in net[name].parameters()]
        own = layers_of(*(net[name] for name in AUTOENCODER))
        twin = layers_of(*(networks("CAAE")[name] for name in AUTOENCODER))
        different = [(a, b) for a, b in zip(own, twin, strict=True) if a != b]
        assert different == ([] if variant == "CAAE" else [(TANH, LEAKY)])
    for variant in VARIANTS:
        assert all(torch.equal(a, b) for a, b in zip(everything[variant], everything["CAAE"], strict=True))


@pytest.mark.parametrize("variant, place", VARIANTS.items())
def test_synthesis_is_equation_one(variant, place):
    net = networks(variant, 2, size=16, width=4, code=6)
    batch = small_batch()
    x_t, z = synthesize(net, variant, batch["x_s"], batch["l"])
    encoder, decoder = [*net["E1"], *net["E2"]], [*net["G1"], *net["G2"]]
    x, kept = batch["x_s"], None
    for number, layer in enumerate(encoder, 1):
        x = layer(x)
        kept = x if number == place else kept
    torch.testing.assert_close(z, x)
    x = torch.cat([x, batch["l"]], 1)
    for number, layer in enumerate(decoder):
        x = layer(x)
        if place is not None and number == 4 - place:
            x = kept + x
    torch.testing.assert_close(x_t, x)
    assert x_t.abs().max() <= 1


def test_the_difference_is_bounded_and_zero_gives_the_decoded_features():
    net = networks("N2", 2, size=16, width=4, code=6)
    batch = small_batch()
    features = net["E1"](batch["x_s"])
    d = net["G1"](100 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1)), batch["l"])
    assert 0.5 < d.abs().max() <= 1
    with torch.no_grad():
        for p in net["G1"].parameters():
            p.zero_()
    torch.testing.assert_close(synthesize(net, "N2", batch["x_s"], batch["l"])[0], net["G2"](features))


@pytest.mark.parametrize("form", ["non_saturating", "minimax"])
def test_losses_are_those_of_equations_two_to_five(form):
    method, batch = small(adversarial=form), small_batch()
    z_star = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    x_hat, z = synthesize(method.networks, "N2", batch["x_s"], batch["l"])
    with torch.no_grad():
        of = {name: lambda x, n=name: torch.sigmoid(method.networks[n](x)).double() for name in ("D_E", "D_G")}
        log = torch.log
        l_e = log(of["D_E"](z_star)).mean() + log(1 - of["D_E"](z)).mean()
        l_g = log(of["D_G"](batch["x_s"])).mean() + log(1 - of["D_G"](x_hat)).mean()
        l_r = ((batch["x_t"] - x_hat) ** 2).sum() / (4 * 3 * 16 * 16)
        if form == "minimax":
            own = log(1 - of["D_E"](z)).mean(), log(1 - of["D_G"](x_hat)).mean()
        else:
            own = -log(of["D_E"](z)).mean(), -log(of["D_G"](x_hat)).mean()
    against = method.discriminator_losses(batch["x_s"], x_hat, z, z_star)
    losses = method.autoencoder_losses(batch["x_t"], x_hat, z)
    for value, expected in (
        (against["D_E"], -l_e), (against["D_G"], -l_g), (losses["L_R"], l_r), (losses["L_E"], own[0]),
        (losses["L_G"], own[1]), (method.total(losses), l_r + 1e-2 * own[0] + 1e-3 * own[1]),
    ):  # fmt: skip
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradients_stop_where_the_two_players_meet():
    method, batch = small(), small_batch()
    players = {
        "autoencoder": [p for n in AUTOENCODER for p in method.networks[n].parameters()],
        "discriminators": [p for n in ("D_E", "D_G") for p in method.networks[n].parameters()],
    }
    z_star = torch.randn(4, 6)
    for mover, other in (("discriminators", "autoencoder"), ("autoencoder", "discriminators")):
        x_hat, z = synthesize(method.networks, "N2", batch["x_s"], batch["l"])
        if mover == "discriminators":
            sum(method.discriminator_losses(batch["x_s"], x_hat, z, z_star).values()).backward()
        else:
            method.total(method.autoencoder_losses(batch["x_t"], x_hat, z)).backward()
        assert all(p.grad is None for p in players[other])
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in players[mover])
        for p in players[mover]:
            p.grad = None


def test_the_code_discriminator_moves_the_encoder_only_and_the_picture_discriminator_all():
    method, batch = small(), small_batch()
    for name, reached in (("L_E", ("E1", "E2")), ("L_G", AUTOENCODER)):
        for network in method.networks.values():
            network.zero_grad(set_to_none=True)
        x_hat, z = synthesize(method.networks, "N2", batch["x_s"], batch["l"])
        method.autoencoder_losses(batch["x_t"], x_hat, z)[name].backward()
        moved = {n for n in AUTOENCODER if any(p.grad is not None for p in method.networks[n].parameters())}
        assert moved == set(reached)


def test_a_step_is_the_discriminators_update_followed_by_the_autoencoders():
    method, twin, batch = small(), small(), small_batch()
    got = method.step("train", batch, torch.Generator().manual_seed(4), 0)
    z_star = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    x_hat, z = synthesize(twin.networks, "N2", batch["x_s"], batch["l"])
    for name in ("D_E", "D_G"):  # one optimizer each, as their losses share no weights
        optimizer = torch.optim.Adam(twin.networks[name].parameters(), 1e-4)
        twin.discriminator_losses(batch["x_s"], x_hat, z, z_star)[name].backward()
        optimizer.step()
    for network in twin.networks.values():
        network.zero_grad()
    x_hat, z = synthesize(twin.networks, "N2", batch["x_s"], batch["l"])  # anew: nothing of it has changed
    losses = twin.autoencoder_losses(batch["x_t"], x_hat, z)
    (losses["L_R"] + 1e-2 * losses["L_E"] + 1e-3 * losses["L_G"]).backward()
    for name in AUTOENCODER:
        torch.optim.Adam(twin.networks[name].parameters(), 1e-3).step()
    for name in method.networks:
        for a, b in zip(method.networks[name].parameters(), twin.networks[name].parameters()):
            torch.testing.assert_close(a, b)
    assert set(got) == {"L_R", "L_E", "L_G", "D_E", "D_G"}
    assert got["L_E"].item() == pytest.approx(losses["L_E"].item(), rel=1e-5)


def test_defaults_are_the_papers_numbers():
    options = CDAAEOptions()
    assert (options.alpha, options.beta_1, options.beta_2) == (1, 1e-2, 1e-3)
    assert (options.size, options.channels, options.code, len(options.labels)) == (32, 3, 100, 8)
    groups = {name: o.param_groups[0] for name, o in CDAAE(options).optimizers.items()}
    assert groups["autoencoder"]["lr"] == 1e-3 and groups["discriminators"]["lr"] == 1e-4
    assert all(isinstance(o, torch.optim.Adam) for o in CDAAE(options).optimizers.values())


@pytest.fixture(scope="module")
def tiny_set():
    """Batches of pictures in which people are colours and the label brightens the upper or the lower half."""
    rng = np.random.default_rng(0)
    faces = rng.integers(60, 160, (4, 1, 1, 3)) * np.ones((4, 16, 16, 1))
    pictures = np.stack([faces, faces], 1)
    pictures[:, 0, :8] += 90
    pictures[:, 1, 8:] += 90
    pictures = pictures.astype(np.uint8)

    def make(rows, rng):
        person, target = rows // 2, rows % 2
        source = rng.integers(0, 2, len(rows))
        return {"x_s": pictures[person, source], "x_t": pictures[person, target], "l": np.eye(2)[target]}

    return EpochBatches(8, 8, make)


def learn(variant, batches, folder, steps=70):
    method = CDAAE(dataclasses.replace(small(variant).options, steps=steps, width=8))
    batch = batches.batch("train", 0)
    with torch.no_grad():
        before = (method.synthesize(batch["x_s"], batch["l"]) - batch["x_t"]).square().mean().item()
    options = TrainOptions(device="cpu", threads=1, log_every=10, sample_every=steps)
    return before, train(method, batches, options, folder)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_tiny_set_is_learnt(variant, tiny_set, tmp_path):
    before, result = learn(variant, tiny_set, tmp_path / "run")
    assert result.losses["L_R"] < before / (6 if variant != "CAAE" else 3)  # which has to learn the people by heart


def test_the_same_seed_gives_the_same_weights(tiny_set, tmp_path):
    runs = [learn("N2", tiny_set, tmp_path / name, steps=5)[1].weights.read_bytes() for name in ("a", "b")]
    assert runs[0] == runs[1]
    assert isinstance(CDAAE(), Method)


def test_samples_show_the_source_the_target_and_each_label():
    method, batch = small(), small_batch()
    with torch.no_grad():
        grid = method.sample(batch, torch.Generator())
    assert grid.shape == (4, 5, 3, 16, 16)
    torch.testing.assert_close(grid[:, 0], batch["x_s"])
    torch.testing.assert_close(grid[:, 1], batch["x_t"])
    torch.testing.assert_close(grid[:, 2], method.synthesize(batch["x_s"], batch["l"]).detach())
    torch.testing.assert_close(grid[1, 4], method.synthesize(batch["x_s"], torch.tensor([[0.0, 1]] * 4))[1].detach())


# the paper's figures, with a picture that shows its label


def painted(x_s, l):  # noqa: E741
    return x_s * 0 + l.sum(1)[:, None, None, None] + 10 * (l[:, -1] > 0)[:, None, None, None]


def test_figure_two_has_a_row_for_each_variant():
    x = torch.full((3, 4, 4), 0.25)
    grid = figures.compare_variants({"one": painted, "two": lambda x, l: -painted(x, l)}, x, 3, 0.5)
    assert grid.shape == (2, 4, 3, 4, 4)
    assert grid[:, :, 0, 0, 0].tolist() == [[0.25, 0.5, 0.5, 10.5], [0.25, -0.5, -0.5, -10.5]]


def test_figure_three_raises_two_units_and_no_other():
    seen = []

    def spy(x, l):
        seen.append(l)
        return painted(x, l)

    grid = figures.plane_of_units(spy, torch.zeros(3, 4, 4), 12, 1, 11, steps=5)
    assert grid.shape == (5, 5, 3, 4, 4)
    l = seen[0].reshape(5, 5, 12)
    np.testing.assert_allclose(l[:, 2, 1], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(l[3, :, 11], [0, 0.25, 0.5, 0.75, 1])
    assert l.sum() == l[..., [1, 11]].sum()
    for wrong in ((1, 1), (0, 12), (-1, 2)):
        with pytest.raises(ValueError, match="two places"):
            figures.plane_of_units(spy, torch.zeros(3, 4, 4), 12, *wrong)
    with pytest.raises(ValueError, match="steps"):
        figures.plane_of_units(spy, torch.zeros(3, 4, 4), 12, 0, 1, steps=1)


def test_figure_four_sets_true_pictures_above_those_made_from_one_of_them():
    x, l = torch.arange(4.0)[:, None, None, None].expand(4, 3, 2, 2), torch.eye(4)
    grid = figures.real_and_synthesized(lambda a, b: a + b.argmax(1)[:, None, None, None], x, l, source=2)
    assert grid[:, :, 0, 0, 0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5]]
    with pytest.raises(ValueError, match="source"):
        figures.real_and_synthesized(painted, x, l, source=4)


def test_figure_five_mixes_each_two_emotions_by_halves():
    seen = []

    def spy(x, l):
        seen.append(l)
        return painted(x, l)

    grid = figures.emotion_table(spy, torch.zeros(3, 4, 4), 8)
    l = seen[0].reshape(8, 8, 8)
    assert torch.equal(l[3, 3], torch.eye(8)[3]) and l[2, 5].tolist() == [0, 0, 0.5, 0, 0, 0.5, 0, 0]
    assert torch.equal(l, l.transpose(0, 1)) and torch.equal(l.sum(-1), torch.ones(8, 8))
    torch.testing.assert_close(grid, grid.transpose(0, 1))


@pytest.mark.parametrize(
    "wrong",
    [dict(variant="N4"), dict(kind="words"), dict(labels=()), dict(beta_1=-1.0), dict(learning_rate=0.0),
     dict(adversarial="hinge"), dict(alpha=float("nan"))],
)  # fmt: skip
def test_wrong_options_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CDAAEOptions(**wrong)


@pytest.mark.parametrize("wrong", [dict(size=24), dict(size=8), dict(labels=0), dict(width=0), dict(variant="N0")])
def test_networks_that_cannot_be_built_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        networks(**wrong)


def test_other_sizes_and_grey_pictures_keep_the_layers():
    net = networks("N1", 2, size=64, channels=1, width=8)
    x_t, z = synthesize(net, "N1", torch.zeros(2, 1, 64, 64), torch.zeros(2, 2))
    assert x_t.shape == (2, 1, 64, 64) and z.shape == (2, 100)
    assert [layer[:1] for layer in layers_of(net["E1"], net["E2"])] == [
        layer[:1] for layer in layers_of(networks("N1")["E1"], networks("N1")["E2"])
    ]
