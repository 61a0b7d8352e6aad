"""The networks of FESGAN and FESR: G_enc, G_dec, D_img, D_z (table I) and R (table II).

Yan, Huang, Chen, Shen and Wang, "Joint Deep Learning of Facial Expression Synthesis and Recognition", IEEE
Transactions on Multimedia 22 (2020), arXiv:2002.02194.

The tables name kinds, channels, kernels and strides.  What they leave open is read so:

- Padding is 1 with kernels of 4 and stride 2, which halves or doubles pictures exactly.  The first DeConv(512,4,2) has
  none: from the code as a picture of 1 x 1 it makes 4 x 4, and the five others make 128 x 128 of that.  Conv(K,4,1) has
  none either: it reads all of the 4 x 4 features that Conv(1024,4,2) leaves, one answer for each picture.
- D_adv has 4 x 4 answers; the picture's score is their mean.  The gradient penalty is taken of their sum, as in the
  code of StarGAN, whose discriminator looks like this one.  (Taken of the mean, it allows a score 16 times as steep;
  then L_rec did not fall within the hundred steps on drawn faces in which it falls by a third so.)
- IN learns scale and offset (otherwise no layer in front of the last would have an offset); its convolutions need none.
- LReLU has slope 0.01, that of the paper which the authors cite for it.
- "Sigmoid" of D_z is part of its loss (numerically the same, but for overflow).
- Conv in R is padded by 1.  R starts from He's weights, made for ReLU: with torch's own, which shrink what goes through
  five layers, 600 steps left it at 69 to 86 % of 10 and 20 people's pictures, and at 41 to 45 % of others' where it
  reaches 55 % with these, so whatever is added to its training would have looked like a gain.

Pictures of 64 or 32 pixels keep the first layers of the tables: each halving of the size takes the last Conv of G_enc
and of D_img's trunk, and the last DeConv of G_dec but one.  Features in front of the last layers stay as large as they
are in the paper: 4 x 4 in G, 8 x 8 in D_img, and 16 x 16 in front of R, whose frozen part ends with Pool2 or Pool1 of a
Light CNN for 64 or 32 pixels (`trunk_pools`): Pool3 would leave 4 x 4 pixels of a picture of 32, in which expressions
of rendered people are hardly told apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "SLOPE", "CodeDiscriminator", "Decoder", "Encoder", "ImageDiscriminator", "Recognizer", "build_networks",
    "trunk_pools",
]  # fmt: skip

#: Of the leaky ReLU below zero.
SLOPE = 0.01


def _halvings(size: int, bottom: int) -> int:
    """How often `size` is halved until `bottom` pixels are left."""
    return (size // bottom).bit_length() - 1


class Encoder(nn.Sequential):
    """G_enc: pictures (N, c, size, size) to g(x), (N, code) in [-1, 1]."""

    def __init__(self, size: int, channels: int, width: int, code: int):
        layers, inputs = [], channels
        for k in range(_halvings(size, 4)):
            outputs = width * 2**k
            layers += [
                nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.InstanceNorm2d(outputs, affine=True),
                nn.LeakyReLU(SLOPE),
            ]  # fmt: skip
            inputs = outputs
        super().__init__(*layers, nn.Flatten(), nn.Linear(inputs * 16, code), nn.Tanh())


class Decoder(nn.Sequential):
    """G_dec: [g(x), u(y)], (N, code) and (N, K), to pictures (N, c, size, size) in [-1, 1]."""

    def __init__(self, size: int, channels: int, width: int, code: int, classes: int):
        layers: list[nn.Module] = []
        inputs, outputs = code + classes, 8 * width
        for k in range(_halvings(size, 4)):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, 2, 1 if k else 0, bias=False),
                nn.InstanceNorm2d(outputs, affine=True), nn.ReLU(),
            ]  # fmt: skip
            inputs, outputs = outputs, outputs // 2
        super().__init__(*layers, nn.ConvTranspose2d(inputs, channels, 4, 2, 1), nn.Tanh())

    def forward(self, g: Tensor, u: Tensor) -> Tensor:
        return super().forward(torch.cat([g, u], dim=1)[:, :, None, None])


class ImageDiscriminator(nn.Module):
    """D_img: pictures to a score (N,) and logits (N, K) of expressions."""

    def __init__(self, size: int, channels: int, width: int, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for k in range(_halvings(size, 8)):
            layers += [nn.Conv2d(inputs, width * 2**k, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            inputs = width * 2**k
        self.trunk = nn.Sequential(*layers)
        self.adv = nn.Conv2d(inputs, 1, 4, 2, 1)
        self.cls = nn.Sequential(
            nn.Conv2d(inputs, 16 * width, 4, 2, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(16 * width, classes, 4, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x)
        return self.adv(features).flatten(1).mean(1), self.cls(features).flatten(1)

    def score(self, x: Tensor) -> Tensor:
        """The score (N,) alone."""
        return self.answers(x).mean(1)

    def answers(self, x: Tensor) -> Tensor:
        """The answers (N, 16) whose mean is the score."""
        return self.adv(self.trunk(x)).flatten(1)


class CodeDiscriminator(nn.Sequential):
    """D_z: codes (N, code) to logits (N, 1); a sigmoid of them is the table's output."""

    def __init__(self, code: int):
        layers: list[nn.Module] = []
        inputs = code
        for outputs in (64, 32, 16):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(SLOPE)]
            inputs = outputs
        super().__init__(*layers, nn.Linear(inputs, 1))


class Recognizer(nn.Module):
    """R behind its frozen part: features (N, C, S, S) of Light CNN's Conv1 to `trunk_pools` to logits (N, K).

    Parameters
    ----------
    trunk_channels, trunk_size : int
        C and S; 192 and 16 for Light CNN-29.
    width : int
        Of FESGAN; R has four times as many channels in its first convolution.
    classes : int
    """

    def __init__(self, trunk_channels: int, trunk_size: int, width: int, classes: int):
        super().__init__()
        left = -(-trunk_size // 4)
        self.ext = nn.Sequential(
            nn.Conv2d(trunk_channels, 4 * width, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(4 * width, 8 * width, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(8 * width * left**2, 32 * width), nn.ReLU(),
            nn.Linear(32 * width, 8 * width), nn.ReLU(), nn.Dropout(0.5),
        )  # fmt: skip
        self.cls = nn.Linear(8 * width, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.cls(self.ext(features))


def trunk_pools(size: int) -> int:
    """Poolings of a Light CNN for pictures of `size` pixels in front of R: 3 for 128, 2 for 64, 1 for 32 and less."""
    return min(3, max(1, _halvings(size, 16)))


def build_networks(
    size: int, channels: int, width: int, code: int, classes: int, trunk_channels: int, trunk_size: int
) -> dict[str, nn.Module]:
    """G_enc, G_dec, D_img, D_z with torch's initial weights, and R with He's.

    Parameters
    ----------
    size : int
        Pixels of a side: 128 in the paper, 64 or 32 (any power of two from 16).
    channels : int
        c: 3 or 1.
    width : int
        Channels of the first convolution: 64 in the paper; all other numbers of channels are in proportion.
    code : int
        n, the length of g(x): 64 in the paper.
    classes : int
        K.
    trunk_channels, trunk_size : int
        See `Recognizer`.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """
    if size < 16 or size & (size - 1):
        raise ValueError(f"size: expected a power of two from 16, got {size}")
    if width < 2 or width & (width - 1):
        raise ValueError(f"width: expected a power of two from 2, got {width}")
    for name, value, low in (("channels", channels, 1), ("code", code, 1), ("classes", classes, 2)):
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")
    if width * 16 >> _halvings(size, 4) < 1:
        raise ValueError(f"width: expected more channels for pictures of {size} pixels, got {width}")
    return {
        "G_enc": Encoder(size, channels, width, code),
        "G_dec": Decoder(size, channels, width, code, classes),
        "D_img": ImageDiscriminator(size, channels, width, classes),
        "D_z": CodeDiscriminator(code),
        "R": Recognizer(trunk_channels, trunk_size, width, classes),
    }
