"""A tiny set of drawn faces for the methods that learn on `FaceImages`, and what their tests share."""

import numpy as np
import torch

from affect3d.gan.data import FaceImages
from affect3d.gan.identity import LightCNNOptions

#: The smallest identity network.
TINY = LightCNNOptions(size=32, channels=(4, 4, 6, 4), blocks=(0, 0, 0, 0), features=8)


def drawn_faces(people=4, size=32, channels=3, names=("neutral", "happiness", "surprise")):
    """People by their skin, expressions by how wide the mouth is open."""
    rng = np.random.default_rng(0)
    images, subject, expression = [], [], []
    for person in range(people):
        skin = rng.integers(80, 220, channels)
        for k in range(len(names)):
            image = np.ones((size, size, channels)) * skin
            image[size // 4 : size // 4 + 3, size // 4 : size // 4 + 3] = 20
            image[size // 4 : size // 4 + 3, -size // 4 - 3 : -size // 4] = 20
            image[3 * size // 4 - 2 * k : 3 * size // 4 + 1 + 2 * k, size // 3 : -size // 3] = 30
            images.append(image + rng.normal(0, 2, image.shape))
            subject.append(person)
            expression.append(k)
    neutral = np.repeat(np.arange(people) * len(names), len(names))
    return FaceImages(
        np.clip(images, 0, 255).astype(np.uint8), np.array(subject), np.array(expression), names, neutral=neutral,
        source="drawn for a test",
    )  # fmt: skip


def layers(network):
    """Kind, channels, kernel, stride and padding of each layer that has or makes something, in order."""
    found = []
    for m in network.modules():
        if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            kind = "conv" if isinstance(m, torch.nn.Conv2d) else "deconv"
            found.append((kind, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0]))
        elif isinstance(m, torch.nn.Linear):
            found.append(("fc", m.out_features))
        elif isinstance(m, torch.nn.InstanceNorm2d):
            found.append("in")
        elif isinstance(m, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            found.append("bn")
        elif isinstance(m, torch.nn.LeakyReLU):
            found.append(f"lrelu{m.negative_slope:g}")
        elif isinstance(m, (torch.nn.ReLU, torch.nn.Tanh, torch.nn.Upsample)):
            found.append(type(m).__name__.lower())
        elif isinstance(m, torch.nn.Dropout):
            found.append(f"dropout{m.p:g}")
    return found


def count(network):
    return sum(p.numel() for p in network.parameters())


class Stopped(Exception):
    """What stands for a kill."""


def resumes_exactly(recipe, faces, settings, folder, at):
    """Whether a run that is stopped after `at` steps and started again writes the bytes of one that is not."""
    from affect3d.gan.training import TrainOptions, train

    options = TrainOptions(threads=1, sample_every=0, checkpoint_every=1, log_every=1)

    def stop(done, total, label):
        if done == at:
            raise Stopped

    method, batches = recipe.prepare(faces, settings, batch=4, seed=1)
    whole = train(method, batches, options, folder / "whole").weights.read_bytes()
    try:
        train(*recipe.prepare(faces, settings, batch=4, seed=1), options, folder / "stopped", stop)
    except Stopped:
        pass
    result = train(*recipe.prepare(faces, settings, batch=4, seed=1), options, folder / "stopped")
    assert result.resumed_at == at
    return result.weights.read_bytes() == whole


def touched(network):
    """Whether any weight has a gradient that is not zero."""
    return any(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())


def clear(networks):
    for network in networks.values():
        network.zero_grad(set_to_none=True)


def weights_of(networks):
    return {name: [p.detach().clone() for p in net.parameters()] for name, net in networks.items()}


def changed(networks, before):
    """Names of the networks of which any weight differs from `before`."""
    return {
        name for name, net in networks.items()
        if any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters()))
    }  # fmt: skip
