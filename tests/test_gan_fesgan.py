"""FESGAN and FESR against tables I and II, equations (1)-(26) and algorithm 1."""

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
from torch.nn import functional  # noqa: E402

from affect3d.gan.fesgan import FESGAN, FESGANOptions, build_networks, recipe  # noqa: E402
from affect3d.gan.fesgan.losses import continuous_label, feature_distance, intra_class_loss, other_labels  # noqa: E402
from affect3d.gan.identity import LightCNN  # noqa: E402
from affect3d.gan.training import TrainOptions, train  # noqa: E402

SMALL = FESGANOptions(
    labels=("neutral", "happiness", "surprise"), size=32, width=8, code=6, identity=TINY, steps_pretrain=3,
    steps_joint=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_batch(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda: torch.rand(n, 3, 32, 32, generator=g) * 2 - 1  # noqa: E731
    return {"x": draw(), "x_pr": draw(), "y": torch.arange(n) % 3}


# Networks


def test_every_layer_is_that_of_tables_one_and_two():
    net = build_networks(128, 3, 64, 64, 7, 192, 16)
    down = []
    for n in (64, 128, 256, 512, 1024):
        down += [("conv", n, 4, 2, 1), "in", "lrelu0.01"]
    assert layers(net["G_enc"]) == [*down, ("fc", 64), "tanh"]
    up = []
    for k, n in enumerate((512, 256, 128, 64, 32)):
        up += [("deconv", n, 4, 2, 1 if k else 0), "in", "relu"]
    assert layers(net["G_dec"]) == [*up, ("deconv", 3, 4, 2, 1), "tanh"]
    trunk = []
    for n in (64, 128, 256, 512):
        trunk += [("conv", n, 4, 2, 1), "lrelu0.01"]
    assert layers(net["D_img"].trunk) == trunk
    assert layers(net["D_img"].adv) == [("conv", 1, 4, 2, 1)]
    assert layers(net["D_img"].cls) == [("conv", 1024, 4, 2, 1), "lrelu0.01", ("conv", 7, 4, 1, 0)]
    assert layers(net["D_z"]) == [("fc", 64), "lrelu0.01", ("fc", 32), "lrelu0.01", ("fc", 16), "lrelu0.01", ("fc", 1)]
    assert layers(net["R"].ext) == [
        ("conv", 256, 3, 2, 1), "relu", ("conv", 512, 3, 2, 1), "relu", ("fc", 2048), "relu", ("fc", 512), "relu",
        "dropout0.5",
    ]  # fmt: skip
    assert layers(net["R"].cls) == [("fc", 7)]


def test_parameters_are_as_many_as_counted_by_hand():
    net = build_networks(128, 3, 64, 64, 7, 192, 16)
    enc = [3, 64, 128, 256, 512, 1024]
    assert count(net["G_enc"]) == sum(16 * a * b + 2 * b for a, b in zip(enc, enc[1:])) + 1024 * 16 * 64 + 64
    dec = [71, 512, 256, 128, 64, 32]
    assert count(net["G_dec"]) == sum(16 * a * b + 2 * b for a, b in zip(dec, dec[1:])) + 16 * 32 * 3 + 3
    d = [3, 64, 128, 256, 512]
    heads = (16 * 512 + 1) + (16 * 512 * 1024 + 1024) + (16 * 1024 * 7 + 7)
    assert count(net["D_img"]) == sum(16 * a * b + b for a, b in zip(d, d[1:])) + heads
    assert count(net["D_z"]) == 65 * 64 + 65 * 32 + 33 * 16 + 17
    ext = 9 * 192 * 256 + 256 + 9 * 256 * 512 + 512 + 512 * 16 * 2048 + 2048 + 2049 * 512
    assert count(net["R"]) == ext + 513 * 7


@pytest.mark.parametrize("size", [128, 64, 32])
def test_pictures_of_every_size_go_through(size):
    net = build_networks(size, 1, 8, 10, 4, 12, size // 8)
    x = torch.rand(2, 1, size, size)
    g = net["G_enc"](x)
    assert g.shape == (2, 10) and g.abs().max() <= 1
    x_hat = net["G_dec"](g, torch.zeros(2, 4))
    assert x_hat.shape == x.shape and x_hat.abs().max() <= 1
    score, logits = net["D_img"](x)
    assert score.shape == (2,) and logits.shape == (2, 4) and net["D_z"](g).shape == (2, 1)
    torch.testing.assert_close(net["D_img"].score(x), score)
    # features in front of the last layers are as large as in the paper
    assert net["D_img"].trunk(x).shape[2:] == (8, 8)
    bottom = torch.nn.Sequential(*list(net["G_enc"])[:-3])(x)
    assert bottom.shape[2:] == (4, 4)
    assert net["R"](torch.zeros(2, 12, size // 8, size // 8)).shape == (2, 4)
    outputs = [layer[1] for layer in layers(net["G_enc"]) if layer[0] == "conv"]
    assert outputs == [8, 16, 32, 64, 128][: {128: 5, 64: 4, 32: 3}[size]]


# Losses


def test_continuous_labels_are_positive_for_the_label_alone():
    y = functional.one_hot(torch.tensor([2, 0]), 3).float()
    v = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.0, 1.0]])
    torch.testing.assert_close(continuous_label(y, v), torch.tensor([[-0.1, -0.2, 0.3], [0.4, 0.0, -1.0]]))


def test_other_labels_are_never_the_same_and_all_others_as_likely():
    y = torch.arange(4).repeat(3000)
    other = other_labels(y, 4, torch.Generator().manual_seed(0))
    table = np.zeros((4, 4))
    np.add.at(table, (y.numpy(), other.numpy()), 1)
    assert (np.diag(table) == 0).all() and table[~np.eye(4, dtype=bool)].min() > 900


def test_intra_class_loss_is_the_sum_of_two_mean_distances():
    a, b, c = torch.tensor([[0.0, 0], [1, 1]]), torch.tensor([[3.0, 4], [1, 1]]), torch.tensor([[0.0, 2], [1, 5]])
    assert float(intra_class_loss(a, b, c)) == pytest.approx((5 + 0) / 2 + (2 + 4) / 2, abs=1e-5)
    same = a.clone().requires_grad_()
    feature_distance(same, a).backward()
    assert torch.isfinite(same.grad).all()  # the root of zero has no slope of its own


def test_real_features_get_no_gradient_from_synthetic_ones():
    """RDBP, equation (18), and that without it they get one."""
    g = torch.Generator().manual_seed(1)
    for guided in (True, False):
        real, synthetic = (torch.randn(4, 5, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
        partner = real.detach().clone()  # the first term is flat here: what is left comes from the second
        intra_class_loss(real, partner, synthetic, guided).backward()
        assert synthetic.grad.abs().min() > 0
        assert float(real.grad.abs().max()) == pytest.approx(0, abs=1e-6) if guided else real.grad.abs().min() > 0.001


def test_rdbp_leaves_out_exactly_the_real_branch_of_the_weights_gradient():
    """dL/dW of R_ext for the second term: through x_p,f alone, not through x."""
    method = FESGAN(replace(SMALL, recognition="JL"))
    method.networks["R"].eval()  # without dropout both passes are one function
    batch = small_batch()
    ext = method.networks["R"].ext
    parameters = list(ext.parameters())

    def slopes(loss):
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [torch.zeros_like(p) if s is None else s for p, s in zip(parameters, found)]

    def parts():
        return method.features(batch["x"]), method.features(batch["x_pr"]), method.features(batch["x_pr"].flip(3))

    real, partner, fake = parts()
    guided = slopes(intra_class_loss(real, partner, fake, True))
    real, partner, fake = parts()
    first = slopes(feature_distance(real, partner))
    real, _, fake = parts()
    second = slopes(feature_distance(real.detach(), fake))
    real, _, fake = parts()
    left_out = slopes(feature_distance(real, fake.detach()))
    real, partner, fake = parts()
    plain = slopes(intra_class_loss(real, partner, fake, False))
    assert any(s.abs().max() > 0 for s in left_out)
    for g, a, b, c, p in zip(guided, first, second, left_out, plain):
        torch.testing.assert_close(g, a + b, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(p, a + b + c, rtol=1e-4, atol=1e-7)


def test_no_gradient_of_the_recognizer_reaches_the_real_branch_or_the_generator():
    """With L_intra alone and x_p,r = x, the only gradient is the synthetic branch's; G gets none."""
    method = FESGAN(replace(SMALL, recognition="JL"))
    method.networks["R"].eval()
    batch, y = small_batch(), torch.arange(6) % 3
    x = batch["x"].clone().requires_grad_()
    x_pf = method.new_people(torch.zeros(6, 6), torch.zeros(6, 3))
    losses = method.recognizer_losses(x, x.detach(), y, x_pf, y)
    (slope,) = torch.autograd.grad(losses["L_intra"], x, retain_graph=True)
    assert float(slope.abs().max()) < 1e-5  # nothing from the synthetic term; the first is flat at equal features
    clear(method.networks)
    method.recognizer_total(losses).backward()
    assert touched(method.networks["R"]) and not touched(method.networks["G_dec"])
    assert not touched(method.networks["F_id"])
    plain = FESGAN(replace(SMALL, recognition="JL-RDBP"))
    plain.networks["R"].eval()
    x = batch["x"].clone().requires_grad_()
    losses = plain.recognizer_losses(x, x.detach(), y, x_pf, y)
    assert float(torch.autograd.grad(losses["L_intra"], x)[0].abs().max()) > 1e-5


def test_losses_are_those_of_the_paper():
    method = FESGAN(SMALL)
    net, batch = method.networks, small_batch()
    x, y = batch["x"], batch["y"]
    g = net["G_enc"](x)
    y_other = (y + 1) % 3
    x_hat, x_rec = net["G_dec"](g, method.slide(y_other, 1)), net["G_dec"](g, method.slide(y, 1))
    own = method.generator_losses(x, g, x_hat, y_other, x_rec)
    score, logits = net["D_img"](x_hat)
    n = len(x)
    log_p = torch.log_softmax(logits, 1)
    D_g = torch.sigmoid(net["D_z"](g))
    expected = {
        "L_img_advg": -score.sum() / n,  # (4)
        "L_z_advg": -torch.log(D_g).sum() / n,  # (6)
        "L_f_cls_D": -sum(log_p[i, y_other[i]] for i in range(n)) / n,  # (8)
        "L_rec": (x - x_rec).abs().mean(),  # (10)
        "L_id": (net["F_id"](x) - net["F_id"](x_rec)).abs().mean(),  # (12)
    }
    assert set(own) == set(expected)
    for name in own:
        torch.testing.assert_close(own[name], expected[name], msg=name)
    weights = {"L_img_advg": 1, "L_z_advg": 1, "L_rec": 10, "L_id": 5, "L_f_cls_D": 1}
    total = sum(weight * expected[name] for name, weight in weights.items())
    torch.testing.assert_close(method.generator_total(own), total)  # (22)
    torch.testing.assert_close(
        method.generator_total({**own, "L_f_cls_R": torch.tensor(2.0)}), total + 2
    )  # (25)

    z = torch.rand(g.shape) * 2 - 1
    D_true = torch.sigmoid(net["D_z"](z))
    torch.testing.assert_close(
        method.code_losses(z, g)["L_Dz"], -(torch.log(D_true).sum() + torch.log(1 - D_g).sum()) / n
    )  # (7)
    against = method.image_losses(x, y, x_hat, torch.Generator().manual_seed(3))
    real, logits = net["D_img"](x)
    torch.testing.assert_close(against["L_img_advd"], -real.mean() + score.mean())  # (5)
    log_p = torch.log_softmax(logits, 1)
    torch.testing.assert_close(against["L_r_cls_D"], -sum(log_p[i, y[i]] for i in range(n)) / n)  # (9)
    between = torch.rand(n, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    points = (between * x + (1 - between) * x_hat.detach()).requires_grad_()
    sums = [16 * net["D_img"].score(points[i : i + 1]).sum() for i in range(n)]  # of the 4 x 4 answers
    norms = [torch.autograd.grad(sums[i], points)[0][i].norm() for i in range(n)]
    torch.testing.assert_close(against["L_gp"], torch.stack([(v - 1) ** 2 for v in norms]).mean())
    torch.testing.assert_close(
        method.image_total(against), against["L_img_advd"] + 10 * against["L_gp"] + against["L_r_cls_D"]
    )  # (23)

    joint = FESGAN(replace(SMALL, recognition="JL"))
    joint.networks["R"].eval()
    losses = joint.recognizer_losses(x, batch["x_pr"], y, x_hat, y)
    p = torch.softmax(joint.recognize(x), 1)
    torch.testing.assert_close(losses["L_r_cls_R"], -torch.log(p[torch.arange(n), y]).mean())  # (20)
    p = torch.softmax(joint.recognize(x_hat), 1)
    torch.testing.assert_close(losses["L_f_cls_R"], -torch.log(p[torch.arange(n), y]).mean())  # (21)
    f = joint.features
    distances = (f(x) - f(batch["x_pr"])).norm(dim=1) + (f(x) - f(x_hat)).norm(dim=1)
    torch.testing.assert_close(losses["L_intra"], distances.mean())  # (14)
    torch.testing.assert_close(
        joint.recognizer_total(losses), 0.001 * losses["L_intra"] + losses["L_r_cls_R"] + losses["L_f_cls_R"]
    )  # (26)


def test_gradients_stop_between_the_players():
    method = FESGAN(SMALL)
    net, batch = method.networks, small_batch()
    x, y = batch["x"], batch["y"]
    g = net["G_enc"](x)
    x_hat, x_rec = net["G_dec"](g, method.slide((y + 1) % 3, 1)), net["G_dec"](g, method.slide(y, 1))
    clear(net)
    method.code_losses(torch.rand(6, 6), g)["L_Dz"].backward()
    assert {k for k in net if touched(net[k])} == {"D_z"}
    clear(net)
    method.image_total(method.image_losses(x, y, x_hat, torch.Generator())).backward()
    assert {k for k in net if touched(net[k])} == {"D_img"}
    clear(net)
    method.generator_total(method.generator_losses(x, g, x_hat, y, x_rec)).backward()
    assert {k for k in net if touched(net[k])} == {"G_enc", "G_dec"}


# Variants and stages


TERMS = {
    "FG": {"L_img_advg", "L_f_cls_D", "L_z_advg", "L_rec", "L_id", "L_Dz", "L_img_advd", "L_gp", "L_r_cls_D"},
}
TERMS |= {
    "FG-CO": TERMS["FG"] - {"L_rec", "L_id"}, "FG-IP": TERMS["FG"] - {"L_id"},
    "FG-Dimg": {"L_z_advg", "L_rec", "L_id", "L_Dz"}, "FG-Dimg_cls": TERMS["FG"] - {"L_f_cls_D", "L_r_cls_D"},
    "FG-Dz": TERMS["FG"] - {"L_z_advg", "L_Dz"},
}  # fmt: skip


@pytest.mark.parametrize("variant", sorted(TERMS))
def test_each_variant_goes_without_its_part_and_nothing_else(variant):
    method = FESGAN(replace(SMALL, variant=variant))
    before = weights_of(method.networks)
    losses = method.step("pretrain", small_batch(), torch.Generator().manual_seed(0))
    assert set(losses) == TERMS[variant]
    players = {"G_enc", "G_dec", "D_img", "D_z"} - ({"D_img"} if variant == "FG-Dimg" else set())
    assert changed(method.networks, before) == players - ({"D_z"} if variant == "FG-Dz" else set())


RECOGNIZER = {"L_r_cls_R", "L_f_cls_R"}


@pytest.mark.parametrize(
    "recognition, stages, last, terms",
    [
        ("none", {"pretrain": 3}, set(), set()),
        ("BASELINE", {"recognize": 4}, {"R"}, {"L_r_cls_R"}),
        ("SL", {"pretrain": 3, "recognize": 4}, {"R"}, RECOGNIZER | {"L_intra"}),
        ("OneSt", {"joint": 7}, None, RECOGNIZER | {"L_intra"}),
        ("JL-IL", {"pretrain": 3, "joint": 4}, None, RECOGNIZER),
        ("JL-RDBP", {"pretrain": 3, "joint": 4}, None, RECOGNIZER | {"L_intra"}),
        ("Real", {"pretrain": 3, "joint": 4}, None, RECOGNIZER),
        ("JL", {"pretrain": 3, "joint": 4}, None, RECOGNIZER | {"L_intra"}),
    ],
)
def test_each_way_to_recognize_has_its_stages_and_losses(recognition, stages, last, terms):
    method = FESGAN(replace(SMALL, recognition=recognition))
    assert {s.name: s.steps for s in method.stages} == stages
    before = weights_of(method.networks)
    losses = method.step(method.stages[-1].name, small_batch(), torch.Generator().manual_seed(0))
    everyone = {"G_enc", "G_dec", "D_img", "D_z"} | ({"R"} if recognition != "none" else set())
    assert changed(method.networks, before) == (last or everyone)
    assert {k for k in losses if k.endswith("_R") or k == "L_intra"} == terms


def test_synthetic_pictures_are_new_people_but_for_fesr_real():
    calls = []
    for recognition in ("JL", "Real"):
        method = FESGAN(replace(SMALL, recognition=recognition))
        g, z, y = torch.full((6, 6), 0.5), torch.full((6, 6), -0.5), torch.arange(6) % 3
        method.networks["G_dec"].forward = lambda code, u: calls.append((code, u)) or torch.zeros(6, 3, 32, 32)
        x, labels = method._auxiliary(g, z, y, torch.Generator().manual_seed(0))
        assert ((calls[-1][1] > 0) == method.one_hot(labels).bool()).all()
        assert torch.equal(calls[-1][0], z if recognition == "JL" else g)
        assert torch.equal(labels, y) == (recognition == "JL")


def test_the_classifier_of_the_recognizer_moves_the_generator():
    """Equation (25): the joint stage's generator differs from that of the first by R's loss, and by nothing else."""
    first, second = FESGAN(replace(SMALL, recognition="JL")), FESGAN(replace(SMALL, recognition="JL"))
    for method, stage in ((first, "pretrain"), (second, "joint")):
        method.step(stage, small_batch(), torch.Generator().manual_seed(0))
    before = weights_of(first.networks)
    assert changed(second.networks, before) >= {"G_dec", "R"}
    assert "D_img" not in changed(second.networks, before)  # discriminators are updated before, alike


def test_a_step_follows_algorithm_one():
    """The first step written out: D_z, D_img, R, then G against the updated ones."""
    options = replace(SMALL, recognition="JL-IL", penalty=0.0)
    method, slow = FESGAN(options), FESGAN(options)
    for m in (method, slow):
        m.networks["R"].eval()
    batch = small_batch()
    method.step("joint", batch, torch.Generator().manual_seed(5))
    net, x, y, rng = slow.networks, batch["x"], batch["y"], torch.Generator().manual_seed(5)

    def adam(name, *parts):
        return torch.optim.Adam([p for part in parts for p in net[part].parameters()], 1e-4, (0.5, 0.999))

    def update(optimizer, loss):
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()

    def u(labels):
        return torch.rand(6, 3, generator=rng) * (2 * functional.one_hot(labels, 3) - 1)

    g = net["G_enc"](x)
    z = torch.rand(6, 6, generator=rng) * 2 - 1
    bce = functional.binary_cross_entropy
    D = lambda c: torch.sigmoid(net["D_z"](c))  # noqa: E731
    update(adam("z", "D_z"), bce(D(z), torch.ones(6, 1)) + bce(D(g.detach()), torch.zeros(6, 1)))
    y_other = (y + torch.randint(1, 3, (6,), generator=rng)) % 3
    x_hat = net["G_dec"](g, u(y_other))
    (real, logits), (fake, _) = net["D_img"](x), net["D_img"](x_hat.detach())
    update(adam("d", "D_img"), fake.mean() - real.mean() + functional.cross_entropy(logits, y))
    torch.rand(6, 1, 1, 1, generator=rng)  # the penalty draws though its weight is zero
    x_rec = net["G_dec"](g, u(y))
    x_pf = net["G_dec"](z, u(y))
    update(adam("r", "R"), functional.cross_entropy(slow.recognize(x), y)
           + functional.cross_entropy(slow.recognize(x_pf.detach()), y))  # fmt: skip
    score, logits = net["D_img"](x_hat)
    L_id = (net["F_id"](x) - net["F_id"](x_rec)).abs().mean()
    L_G = (
        -score.mean() + bce(D(g), torch.ones(6, 1)) + 10 * (x - x_rec).abs().mean() + 5 * L_id
        + functional.cross_entropy(logits, y_other) + functional.cross_entropy(slow.recognize(x_pf), y)
    )  # fmt: skip
    update(adam("g", "G_enc", "G_dec"), L_G)
    for name in net:
        for a, b in zip(method.networks[name].parameters(), net[name].parameters()):
            # Adam's first step is the gradient's sign by the rate; where it is nothing but rounding, signs may differ
            assert ((a - b).abs() > 1e-6).float().mean() < 0.01, name


def test_training_reconstructs_better_and_recognizes_the_training_set():
    faces = drawn_faces(3)
    method = FESGAN(replace(SMALL, recognition="JL", learning_rate=2e-3))
    x = torch.from_numpy(faces.images.astype(np.float32).transpose(0, 3, 1, 2)) / 127.5 - 1
    y = torch.tensor(faces.expression)
    batch = {"x": x, "y": y, "x_pr": x.roll(3, 0)}
    losses = [method.step("joint", batch, torch.Generator().manual_seed(k)) for k in range(70)]
    assert np.mean([float(v["L_rec"]) for v in losses[-5:]]) < 0.8 * float(losses[0]["L_rec"])
    assert np.mean([float(v["L_r_cls_R"]) for v in losses[-5:]]) < 0.6 * float(losses[0]["L_r_cls_R"])


# Use


def test_a_run_is_trained_saved_and_used(tmp_path):
    faces = drawn_faces()
    settings = dict(width=4, code=4, steps_pretrain=2, steps_joint=2, recognition="JL", identity_steps=2)
    method, batches = recipe.prepare(faces, settings, batch=4, seed=1)
    batch = batches.batch("joint", 0)
    assert torch.equal(batch["y"], batch["y"]) and batch["x"].shape == batch["x_pr"].shape
    result = train(method, batches, TrainOptions(threads=1, sample_every=0), tmp_path / "run")
    from affect3d.gan.checkpoint import load_weights

    again = recipe.restore(json.loads((tmp_path / "run" / "options.json").read_text())["method_options"])
    assert again.options == method.options
    load_weights(result.weights, again.networks)
    for m in (method, again):
        for network in m.networks.values():
            network.eval()
    pairs = np.array([[0, 1], [4, 5], [7, 6]])
    made = recipe.transform(again, faces, pairs)
    np.testing.assert_array_equal(made, recipe.transform(method, faces, pairs))
    np.testing.assert_array_equal(
        made[:1], recipe.edit(method, faces.images[:1], {"happiness": 1.0})
    )
    assert made.shape == (3, 32, 32, 3) and made.dtype == np.uint8
    shapes = {name: tuple(grid.shape) for name, grid in recipe.figures(method, faces).items()}
    assert shapes == {"figure6": (3, 6, 3, 32, 32), "figure7": (6, 3, 3, 32, 32)}


def test_partners_show_the_same_expression():
    faces = drawn_faces()
    _, batches = recipe.prepare(faces, dict(width=4, identity_steps=1), batch=4)
    flat = faces.images.reshape(len(faces), -1)
    for index in range(4):
        batch = batches.batch("joint", index)
        partner = ((batch["x_pr"].permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().reshape(4, -1)
        rows = [int(np.abs(flat - p).sum(1).argmin()) for p in partner]
        assert (faces.expression[rows] == batch["y"].numpy()).all()


def test_intensity_slides_the_label_alone():
    method = FESGAN(SMALL)
    u = method.slide(torch.tensor([1]), 0.25)
    torch.testing.assert_close(u, torch.tensor([[-1, 0.25, -1]]))
    torch.testing.assert_close(method.slide(torch.tensor([1]), -1), -torch.ones(1, 3))
    with pytest.raises(ValueError, match="intensity"):
        method.slide(torch.tensor([1]), 1.5)


@pytest.mark.parametrize("at", (1, 3))
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, at):
    settings = {"width": 4, "code": 4, "steps_pretrain": 2, "steps_joint": 3, "recognition": "JL", "identity_steps": 1}
    assert resumes_exactly(recipe, drawn_faces(3), settings, tmp_path, at)


def test_wrong_arguments_are_named():
    for name, value in (("variant", "FG+"), ("recognition", "jl"), ("labels", ("a",)), ("lambda_2", -1),
                        ("learning_rate", 0), ("penalty", float("nan"))):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            replace(SMALL, **{name: value})
    for name, value in (("size", 48), ("width", 12), ("code", 0), ("channels", 0)):
        with pytest.raises(ValueError, match=name):
            FESGAN(replace(SMALL, **{name: value}))
    with pytest.raises(ValueError, match="identity: expected"):
        FESGAN(SMALL, LightCNN(replace(TINY, features=9)))
    faces = drawn_faces(2)
    with pytest.raises(ValueError, match="settings: expected .*width.*got 'size'"):
        recipe.prepare(faces, dict(size=64))
    with pytest.raises(ValueError, match="batch"):
        recipe.prepare(faces, {}, batch=1)
    method = FESGAN(SMALL)
    for target in ({"joy": 1.0}, {"happiness": 2.0}, {"happiness": 0.5, "surprise": 0.5}):
        with pytest.raises(ValueError, match="target"):
            recipe.edit(method, faces.images, target)
    with pytest.raises(ValueError, match="images: expected"):
        recipe.edit(method, faces.images[:, :16], {"happiness": 1.0})
    unlabelled = replace(faces, expression=np.full(len(faces), -1))
    with pytest.raises(ValueError, match="pairs: row 1 has no expression"):
        recipe.transform(FESGAN(SMALL), unlabelled, np.array([[0, 1]]))
