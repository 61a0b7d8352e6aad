"""The networks of CDAAE: E1, E2, G1, G2, D_E, D_G.

Zhou and Shi, "Photorealistic Facial Expression Synthesis by the Conditional Difference Adversarial
Autoencoder", ACII 2017, arXiv:1708.09126, section 2.2 and figure 1.

The text says: 32 x 32 RGB faces; an encoder of four convolutions; a code z of 100 numbers; a decoder of four
transposed convolutions that gets z and the label l; leaky ReLU with slope 0.2 between layers; one feedforward
connection at position 1, 2 or 3 in encoder and decoder (networks N1, N2, N3) which adds the encoder's features to
what the decoder made so far; tanh instead of leaky ReLU where that difference d is made; two discriminators.

Kernel sizes, strides and numbers of channels stand only in the drawing of figure 1, which the text does not
repeat.  They are read here as those of CAAE, which the paper starts from (Zhang, Song and Qi, "Age
Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017, figure 2), for four layers instead of five:

- E: 5 x 5, stride 2, channels 64, 128, 256, 512, so 32 -> 16 -> 8 -> 4 -> 2 pixels, then a linear layer to z.
  z has no activation, since it is compared with a Gaussian (CAAE: tanh and a uniform prior).
- G: a linear layer from (z, l) to 2 x 2 x 512, then 5 x 5, stride 2 to 256, 128, 64 and 3 channels; tanh at the end.
- Positions 1, 2, 3 lie behind the first, second and third convolution, where features have 16, 8 and 4 pixels; in
  the decoder behind the layer that makes as many.  Fewer layers lie outside the connection for N1 ("lower-level").
- D_E: linear layers 64, 32, 16, 1.  D_G: 5 x 5, stride 2, channels 16, 32, 64, 128, linear layers 1024 and 1.  D_G sees
  no label, as equation (5) writes it.
- Batch normalization in front of the activations of D_E and of D_G's convolutions, and nowhere else, as in the program
  that the authors of CAAE published.  It is not a detail: the discriminators learn at a tenth of the autoencoder's
  rate, and without it the code runs away from D_E (mean |z| of 17 after 1,000 batches) and pictures go to pieces.
  True and synthesized batches are normalized apart, so D_E judges the shape of q(z), not its scale.

The control without the connection ("CAAE") has the same layers, so all four have the same number of parameters; there
is no difference in it, hence leaky ReLU everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from affect3d.gan.layers import TransposedConv, conv, glorot

__all__ = ["SLOPE", "VARIANTS", "build_networks", "synthesize"]

#: Position of the feedforward connection; None: there is none.
VARIANTS: dict[str, int | None] = {"N1": 1, "N2": 2, "N3": 3, "CAAE": None}

#: Of the leaky ReLU below zero.
SLOPE = 0.2

#: Where the control is cut into E1, E2 and G1, G2: any place gives the same network.
_CUT_WITHOUT_CONNECTION = 2

_KERNEL = 5


class Reshape(nn.Module):
    """(N, C * H * W) as (N, C, H, W)."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.shape = (channels, height, width)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


class LabelledDecoder(nn.Sequential):
    """G1: the label joins the code in front of the first layer."""

    def forward(self, z: Tensor, l: Tensor) -> Tensor:  # noqa: E741 (the paper's symbol)
        return super().forward(torch.cat([z, l], dim=1))


def build_networks(
    variant: str, labels: int, generator: torch.Generator, size: int = 32, channels: int = 3, width: int = 64,
    code: int = 100,
) -> dict[str, nn.Module]:  # fmt: skip
    """The six networks with their initial weights (uniform of Glorot, as Keras, which the paper used).

    Parameters
    ----------
    variant : {"N1", "N2", "N3", "CAAE"}
    labels : int
        Length of l: 12 action units or 8 emotions in the paper.
    generator : torch.Generator
        Of the weights.  The same seed gives the same weights for all variants.
    size : int
        Pixels of a side, a multiple of 16; 32 in the paper.
    channels : int
        Of the pictures: 3 (colour, the paper) or 1 (grey).
    width : int
        Channels after the first convolution; doubled by each of the others.
    code : int
        Length of z; 100 in the paper.

    Returns
    -------
    dict of str to nn.Module
        "E1", "E2", "G1", "G2" (`synthesize` puts them together), "D_E" (N, code) -> (N, 1) logits and "D_G"
        (N, channels, size, size) -> (N, 1) logits.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    if size < 16 or size % 16:
        raise ValueError(f"size: expected a multiple of 16 pixels, got {size}")
    for name, value in (("labels", labels), ("channels", channels), ("width", width), ("code", code)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    place, bottom = VARIANTS[variant], size // 16
    cut = _CUT_WITHOUT_CONNECTION if place is None else place
    levels = [channels, width, 2 * width, 4 * width, 8 * width]  # channels at level 0 (pixels) to 4 (the smallest)

    encoder = [
        nn.Sequential(conv(levels[k], levels[k + 1], _KERNEL, 2), nn.LeakyReLU(SLOPE)) for k in range(4)
    ]  # fmt: skip
    to_code = nn.Sequential(nn.Flatten(), nn.Linear(levels[4] * bottom**2, code))
    from_code = nn.Sequential(
        nn.Linear(code + labels, levels[4] * bottom**2), nn.LeakyReLU(SLOPE), Reshape(levels[4], bottom, bottom)
    )
    decoder = [
        nn.Sequential(TransposedConv(levels[k + 1], levels[k], _KERNEL, 2), _activation(k, place)) for k in (3, 2, 1, 0)
    ]
    networks = {
        "E1": nn.Sequential(*encoder[:cut]),
        "E2": nn.Sequential(*encoder[cut:], to_code),
        "G1": LabelledDecoder(from_code, *decoder[: 4 - cut]),
        "G2": nn.Sequential(*decoder[4 - cut :]),
        "D_E": nn.Sequential(
            *(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU(SLOPE))
              for a, b in ((code, 64), (64, 32), (32, 16))),
            nn.Linear(16, 1),
        ),
        "D_G": nn.Sequential(
            *(nn.Sequential(conv(a, b, _KERNEL, 2), nn.BatchNorm2d(b), nn.LeakyReLU(SLOPE))
              for a, b in ((channels, 16), (16, 32), (32, 64), (64, 128))),
            nn.Flatten(), nn.Linear(128 * bottom**2, 1024), nn.LeakyReLU(SLOPE), nn.Linear(1024, 1),
        ),
    }  # fmt: skip
    for network in networks.values():
        glorot(network, generator)
    return networks


def synthesize(
    networks: dict[str, nn.Module], variant: str, x_s: Tensor, l: Tensor  # noqa: E741
) -> tuple[Tensor, Tensor]:
    """Equation (1): the pictures of the people in `x_s` with the labels `l`, and the codes.

    Parameters
    ----------
    networks : dict of str to nn.Module
        Of `build_networks` for the same variant.
    variant : {"N1", "N2", "N3", "CAAE"}
    x_s : (N, C, H, W) Tensor
        In [-1, 1].
    l : (N, L) Tensor
        Action units from 0 (absent) to 1 (strongest), or a weight for each emotion (one-hot in training).

    Returns
    -------
    x_t : (N, C, H, W) Tensor
        In [-1, 1].
    z : (N, code) Tensor
    """
    features = networks["E1"](x_s)
    z = networks["E2"](features)
    d = networks["G1"](z, l)
    assert d.shape == features.shape, (d.shape, features.shape)
    return networks["G2"](d if VARIANTS[variant] is None else features + d), z


def _activation(level: int, place: int | None) -> nn.Module:
    """Behind the decoder's layer that makes `level`: the picture is 0, the difference is made at `place`."""
    return nn.Tanh() if level in (0, place) else nn.LeakyReLU(SLOPE)
