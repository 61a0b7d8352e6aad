"""Light CNN and VGG-Face layer by layer, their published weights, and the identity network that is trained here."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from affect3d.gan.identity import (  # noqa: E402
    LIGHT_CNN_29, LIGHT_CNN_29_V2, SMALL_LIGHT_CNN, IdentityTraining, LightCNN, LightCNNOptions, VGGFace,
    load_light_cnn, load_vgg_face, read_state_dict, save_light_cnn, train_identity,
)  # fmt: skip

TINY = LightCNNOptions(size=32, channels=(4, 6, 8, 8), blocks=(1, 1, 1, 1), features=16)


def convolutions(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_light_cnn_29_has_the_layers_of_its_paper():
    """Table II: kernel, outputs (before the maximum) and how often, in their order."""
    network = LightCNN(LIGHT_CNN_29)
    expected = [(5, 96)]  # Conv1
    for blocks, inputs, outputs in ((1, 48, 96), (2, 96, 192), (3, 192, 128), (4, 128, 128)):
        expected += [(3, 2 * inputs)] * (2 * blocks) + [(1, 2 * inputs), (3, 2 * outputs)]
    assert [(c.kernel_size[0], c.out_channels) for c in convolutions(network)] == expected
    assert len(expected) == 29
    assert all(c.stride == (1, 1) and c.padding == (c.kernel_size[0] // 2,) * 2 for c in convolutions(network))
    assert network.fc.filter.weight.shape == (512, 8 * 8 * 128)
    inputs = [1]
    for _, outputs in expected[:-1]:
        inputs.append(outputs // 2)
    by_hand = sum(k * k * a * b + b for a, (k, b) in zip(inputs, expected)) + 512 * 8193
    assert sum(p.numel() for p in network.parameters()) == by_hand == 12_573_280
    assert isinstance(LightCNN(LIGHT_CNN_29_V2).fc, nn.Linear)


def test_features_have_the_sizes_of_the_table():
    network, x = LightCNN(LIGHT_CNN_29), torch.zeros(1, 3, 128, 128)
    with torch.no_grad():
        shapes = [tuple(f.shape[1:]) for f in network.layers(x)]
        assert shapes == [(48, 128, 128), (96, 64, 64), (192, 32, 32), (128, 16, 16), (128, 16, 16)]
        assert network.trunk(x).shape == (1, 192, 16, 16) and network.trunk_channels() == 192
        for pools, shape in ((1, (1, 48, 64, 64)), (2, (1, 96, 32, 32))):
            assert network.trunk(x, pools).shape == shape and network.trunk_channels(pools) == shape[1]
        assert network(x).shape == (1, 256)


def slow_light_cnn(weights, x, version):
    """The network written out by names, for blocks 1, 1, 1, 1."""

    def mfm(name, x, pad):
        y = functional.conv2d(x, weights[f"{name}.filter.weight"], weights[f"{name}.filter.bias"], padding=pad)
        half = y.shape[1] // 2
        return torch.where(y[:, :half] > y[:, half:], y[:, :half], y[:, half:])

    def pool(x):
        windows = x.unfold(2, 2, 2).unfold(3, 2, 2)
        most = windows.amax((-1, -2))
        return most if version == 1 else most + windows.mean((-1, -2))

    x = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    x = pool(mfm("conv1", (x + 1) / 2, 2))
    for k in (1, 2, 3, 4):
        x = x + mfm(f"block{k}.0.conv2", mfm(f"block{k}.0.conv1", x, 1), 1)
        x = mfm(f"group{k}.conv", mfm(f"group{k}.conv_a", x, 0), 1)
        if k != 3:
            x = pool(x)
    x = x.flatten(1)
    if version == 2:
        return x @ weights["fc.weight"].T + weights["fc.bias"]
    y = x @ weights["fc.filter.weight"].T + weights["fc.filter.bias"]
    return torch.maximum(y[:, : y.shape[1] // 2], y[:, y.shape[1] // 2 :])


@pytest.mark.parametrize("version", [1, 2])
def test_descriptors_agree_with_the_network_written_out(version):
    torch.manual_seed(0)
    network = LightCNN(replace(TINY, version=version)).double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(0, 0.3)
        slow = slow_light_cnn(network.state_dict(), x, version)
        torch.testing.assert_close(network(x), slow)
        # a grey picture is the one of three equal channels
        torch.testing.assert_close(network(x[:, :1]), network(x[:, :1].expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
@pytest.mark.parametrize("version", [1, 2])
def test_the_authors_checkpoints_are_read(tmp_path, kind, version):
    """Names as in the release: "module." in front, a "state_dict" within, a classifier at the end."""
    torch.manual_seed(version)
    network = LightCNN(LIGHT_CNN_29 if version == 1 else LIGHT_CNN_29_V2)
    content = {f"module.{k}": v for k, v in network.state_dict().items()}
    content["module.fc2.weight"] = torch.zeros(3, 256)
    if kind == "torch":
        path = tmp_path / "LightCNN_29Layers_checkpoint.pth.tar"
        torch.save({"epoch": 3, "arch": "LightCNN", "state_dict": content, "prec1": 0.5}, path)
    else:
        from safetensors.torch import save_file

        path = tmp_path / "light.safetensors"
        save_file(content, path)
    read = load_light_cnn(path)
    assert read.options == network.options and not read.training
    for name, value in network.state_dict().items():
        assert torch.equal(read.state_dict()[name], value)


def test_files_that_would_run_code_or_do_not_fit_are_refused(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    bad = tmp_path / "bad.pth"
    bad.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="read safely"):
        read_state_dict(bad)
    torch.save({"state_dict": Evil()}, bad)
    with pytest.raises(ValueError, match="read safely") as refused:
        read_state_dict(bad)
    assert "weights_only" not in str(refused.value)  # torch's advice would run it
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], bad)
    with pytest.raises(ValueError, match="tensors by name"):
        read_state_dict(bad)
    torch.save({"conv1.filter.weight": torch.zeros(3)}, bad)
    with pytest.raises(ValueError, match="does not fit LightCNN"):
        load_light_cnn(bad)
    with pytest.raises(ValueError, match="does not fit VGGFace"):
        load_vgg_face(bad)
    with pytest.raises(FileNotFoundError):
        load_light_cnn(tmp_path / "missing.pth")
    (tmp_path / "text.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="read safely"):
        read_state_dict(tmp_path / "text.safetensors")


def test_vgg_face_has_the_layers_of_network_a():
    network = VGGFace(descriptor=None)
    found = [(c.in_channels, c.out_channels, c.kernel_size, c.stride, c.padding) for c in convolutions(network)]
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert found == [(a, b, (3, 3), (1, 1), (1, 1)) for a, b in zip(channels, channels[1:])]
    assert sum(p.numel() for p in network.parameters()) == 14_714_688
    with pytest.raises(ValueError, match="without fc6"):
        network(torch.zeros(1, 3, 32, 32))
    small = VGGFace(width=4, descriptor=8, bottom=1)
    assert small(torch.zeros(2, 1, 50, 50)).shape == (2, 8) and small.fc6.in_features == 32


def test_perceptual_layers_are_the_second_of_each_block_behind_its_relu():
    torch.manual_seed(0)
    network = VGGFace(width=2, descriptor=None)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    y, expected = (x + 1) * 127.5 - torch.tensor([129.1863, 104.7624, 93.5940])[None, :, None, None], []
    weights = network.state_dict()
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for layer in range(1, count + 1):
            name = f"conv{block}_{layer}"
            y = functional.conv2d(y, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).clamp(min=0)
            if layer == 2:
                expected.append(y)
        y = functional.max_pool2d(y, 2)
    found = network.layers(x)
    assert [f.shape[1:] for f in found] == [(2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4), (16, 2, 2)]
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="images: expected"):
        network.layers(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("style", ["paper", "underscore", "torchvision"])
def test_vgg_face_weights_are_read_by_each_of_their_names(tmp_path, style):
    network = VGGFace(descriptor=None)
    names = [n.rpartition(".")[0] for n in network.state_dict() if n.endswith("weight")]
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    called = {
        "paper": {n: n for n in names}, "underscore": {n: n.replace("conv", "conv_") for n in names},
        "torchvision": {n: f"features.{p}" for n, p in zip(names, places)},
    }[style]  # fmt: skip
    content = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        content[f"{called[layer]}.{kind}"] = value
    content["fc8.weight" if style != "torchvision" else "classifier.6.weight"] = torch.zeros(2, 2)
    torch.save(content, tmp_path / "vgg.pth")
    read = load_vgg_face(tmp_path / "vgg.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(read.state_dict()[name], value)


def people(count=6, shots=8, size=32, seed=0):
    """Faces that differ by where their eyes and mouth are, lit at random."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 6, (count, 3))
    images = np.empty((count * shots, size, size, 3), np.uint8)
    for k in range(count * shots):
        a, b, c = shape[k // shots]
        image = np.full((size, size), rng.uniform(120, 200))
        image[6 + a : 9 + a, 5 + b : 9 + b] = image[6 + a : 9 + a, 23 - b : 27 - b] = 20
        image[20 + c : 23 + c, 10:22] = 40
        images[k] = np.clip(image + rng.normal(0, 4, image.shape), 0, 255)[..., None]
    return images, np.repeat(np.arange(count) * 3, shots)


def test_a_trained_network_puts_pictures_of_one_person_together():
    images, subject = people()
    options = replace(TINY, channels=(8, 12, 16, 16), blocks=(0, 0, 0, 0))
    network = train_identity(images, subject, options, IdentityTraining(steps=200, batch=24, dropout=0.2, threads=1))
    other, whose = people(seed=0)
    fresh = np.random.default_rng(5).integers(-6, 7, other.shape)
    x = torch.from_numpy(np.clip(other + fresh, 0, 255).astype(np.float32).transpose(0, 3, 1, 2)) / 127.5 - 1
    with torch.no_grad():
        d = functional.normalize(network(x)).numpy()
    likeness = d @ d.T
    np.fill_diagonal(likeness, -1)
    assert (whose[likeness.argmax(1)] == whose).mean() > 0.7  # 0.15 by chance
    assert not network.training


def test_the_same_seed_trains_the_same_network():
    images, subject = people(3, 4)
    a, b, c = (
        train_identity(images, subject, TINY, IdentityTraining(steps=3, batch=6, threads=1, seed=seed)).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)


def test_wrong_arguments_are_named():
    images, subject = people(2, 2)
    with pytest.raises(ValueError, match="subject: expected at least two"):
        train_identity(images, np.zeros(4, int))
    with pytest.raises(ValueError, match="subject: expected 4"):
        train_identity(images, subject[:3])
    with pytest.raises(ValueError, match="steps"):
        IdentityTraining(steps=0)
    for wrong in (
        {"size": 40}, {"channels": (1, 2, 3)}, {"blocks": (-1, 0, 0, 0)}, {"version": 3}, {"features": 0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LightCNNOptions(**wrong)
    with pytest.raises(ValueError, match="images: expected"):
        LightCNN(TINY)(torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="width"):
        VGGFace(width=0)
    assert SMALL_LIGHT_CNN.size == 64


def test_a_network_trained_here_comes_back_from_its_file(tmp_path):
    torch.manual_seed(3)
    network = LightCNN(TINY).eval()
    save_light_cnn(tmp_path / "f.safetensors", network, "Drawn faces.")
    back = load_light_cnn(tmp_path / "f.safetensors")
    assert back.options == TINY and not back.training
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(back(x), network(x))
    save_light_cnn(tmp_path / "g.safetensors", back, "Drawn faces.")
    assert (tmp_path / "f.safetensors").read_bytes() == (tmp_path / "g.safetensors").read_bytes()


def test_a_file_whose_header_fits_no_light_cnn_is_refused(tmp_path):
    from safetensors.torch import save_file

    weights = LightCNN(TINY).state_dict()
    wrong = {'{"size": 31}': "describes no", "[]": "describes no", '{"depth": 3}': "describes no",
             '{"size": 16}': "does not fit"}  # fmt: skip
    for header, said in wrong.items():
        save_file(weights, tmp_path / "f.safetensors", metadata={"affect3d.light_cnn": header})
        with pytest.raises(ValueError, match=said):
            load_light_cnn(tmp_path / "f.safetensors")


def test_the_front_of_the_network_is_what_the_whole_network_computes_there():
    network, x = LightCNN(TINY).eval(), torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for pools in (1, 2, 3):
            expected = functional.max_pool2d(network.layers(x)[pools - 1], 2)
            assert torch.equal(network.trunk(x, pools), expected)
