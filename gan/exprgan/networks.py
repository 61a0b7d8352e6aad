"""The networks of ExprGAN: G_enc, G_dec, D_img, Q (which share a trunk), D_z, and the controller F_ctrl.

Ding, Sricharan and Chellappa, "ExprGAN: Facial Expression Editing with Controllable Expression Intensity", AAAI
2018, arXiv:1709.03842, sections "Network Architecture" and "Implementation Details".

What the text leaves open is read so:

- Seven upsampling blocks make 128 x 128 pixels of one: the code (g(x), c) is a picture of 1 x 1.
- g(x) ends in tanh, as its prior is uniform in [-1, 1]; so does the picture.  G has no normalization; ReLU behind
  every other layer.
- D_img sees y: its K numbers join the first block's features as constant planes, as in CAAE, which the paper
  starts from.  Q(c | x, y) sees it through the trunk that they share.
- Batch normalization and leaky ReLU (slope 0.2) stand behind every hidden layer of D_img and D_z; Q's own hidden
  layers have the leaky ReLU alone.
- Q's Gaussian has deviation 1 in every direction, so its network gives the mean.

Pictures of 64 or 32 pixels keep all layers but for G_dec's sixth (64) or fifth and sixth (32) block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affect3d.gan.layers import conv

__all__ = [
    "CodeDiscriminator", "Decoder", "Encoder", "ImageHead", "Regularizer", "Trunk", "build_networks", "controller",
    "expression_classifier",
]  # fmt: skip

#: Of the leaky ReLU below zero.
SLOPE = 0.2


def controller(y: Tensor, z_y: Tensor) -> Tensor:
    """F_ctrl, equation (3): c_i = |z_y| (2 y_i - 1).

    Parameters
    ----------
    y : (N, K) Tensor
        One-hot.
    z_y : (N, d) Tensor
        In [-1, 1].

    Returns
    -------
    (N, K * d) Tensor
        In [0, 1] for the label, in [-1, 0] for all others.
    """
    return (z_y.abs()[:, None, :] * (2 * y - 1)[:, :, None]).flatten(1)


class Encoder(nn.Sequential):
    """G_enc: pictures (N, C, size, size) to g(x), (N, identity) in [-1, 1]."""

    def __init__(self, size: int, channels: int, width: int, identity: int):
        layers: list[nn.Module] = []
        inputs = channels
        for k in range(5):
            layers += [conv(inputs, width * 2**k, 5, 2), nn.ReLU()]
            inputs = width * 2**k
        super().__init__(*layers, nn.Flatten(), nn.Linear(inputs * (size // 32) ** 2, identity), nn.Tanh())


class Decoder(nn.Sequential):
    """G_dec: g(x) and c to pictures (N, C, size, size) in [-1, 1]."""

    def __init__(self, size: int, channels: int, width: int, codes: int):
        count = size.bit_length() - 1
        widths = [max(8 * width >> k, 1) for k in range(count - 1)]
        layers: list[nn.Module] = []
        inputs = codes
        for k, outputs in enumerate([*widths, channels]):
            last = k == count - 1
            layers += [nn.Upsample(scale_factor=2), conv(inputs, outputs, 3, 1), nn.Tanh() if last else nn.ReLU()]
            inputs = outputs
        super().__init__(*layers)

    def forward(self, g: Tensor, c: Tensor) -> Tensor:
        return super().forward(torch.cat([g, c], dim=1)[:, :, None, None])


class Trunk(nn.Module):
    """What D_img and Q share: pictures and labels (N, K) to (N, 1024)."""

    def __init__(self, size: int, channels: int, width: int, classes: int):
        super().__init__()
        widths = [width // 4, width // 2, width, 2 * width]

        def block(inputs, outputs):
            return [conv(inputs, outputs, 5, 2, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]

        self.first = nn.Sequential(*block(channels, widths[0]))
        layers: list[nn.Module] = []
        inputs = widths[0] + classes
        for outputs in widths[1:]:
            layers += block(inputs, outputs)
            inputs = outputs
        self.rest = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(inputs * (size // 16) ** 2, 16 * width, bias=False),
            nn.BatchNorm1d(16 * width), nn.LeakyReLU(SLOPE),
        )  # fmt: skip

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.first(x)
        planes = y[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return self.rest(torch.cat([features, planes], dim=1))


class ImageHead(nn.Linear):
    """D_img behind the trunk: (N, 1024) to logits (N, 1)."""

    def __init__(self, width: int):
        super().__init__(16 * width, 1)


class Regularizer(nn.Module):
    """Q behind the trunk: (N, 1024) to the mean of c, (N, K * d), by K branches of their own."""

    def __init__(self, width: int, classes: int, d: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(16 * width, width), nn.LeakyReLU(SLOPE), nn.Linear(width, d))
            for _ in range(classes)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class CodeDiscriminator(nn.Sequential):
    """D_z: codes (N, identity) to logits (N, 1)."""

    def __init__(self, identity: int):
        layers: list[nn.Module] = []
        inputs = identity
        for outputs in (64, 32, 16):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(SLOPE)]
            inputs = outputs
        super().__init__(*layers, nn.Linear(inputs, 1))


def expression_classifier(size: int, channels: int, width: int, identity: int, classes: int) -> nn.Sequential:
    """The classifier that augmentation is measured by: as G_enc "except one additional FC layer" of K neurons."""
    return nn.Sequential(Encoder(size, channels, width, identity), nn.Linear(identity, classes))


def build_networks(size: int, channels: int, width: int, identity: int, classes: int, d: int) -> dict[str, nn.Module]:
    """G_enc, G_dec, trunk, D_img, Q and D_z with torch's initial weights.

    Parameters
    ----------
    size : int
        Pixels of a side: 128 in the paper, 64 or 32 (any power of two from 32).
    channels : int
        3 or 1.
    width : int
        Channels of G_enc's first block: 64 in the paper; all other numbers of channels are in proportion.
    identity : int
        Length of g(x), 50 in the paper.
    classes, d : int
        K = 6 and d = 5 in the paper, where c has 30 numbers.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """
    if size < 32 or size & (size - 1):
        raise ValueError(f"size: expected a power of two from 32, got {size}")
    if width < 4 or width & (width - 1):
        raise ValueError(f"width: expected a power of two from 4, got {width}")
    for name, value, low in (
        ("channels", channels, 1), ("identity", identity, 1), ("classes", classes, 2), ("d", d, 1),
    ):  # fmt: skip
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")
    return {
        "G_enc": Encoder(size, channels, width, identity),
        "G_dec": Decoder(size, channels, width, identity + classes * d),
        "trunk": Trunk(size, channels, width, classes), "D_img": ImageHead(width),
        "Q": Regularizer(width, classes, d), "D_z": CodeDiscriminator(identity),
    }  # fmt: skip
