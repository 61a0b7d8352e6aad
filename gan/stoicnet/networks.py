"""The networks of StoicNet: Enc, Dec, Enh, Ntr, Dis.

Carver and Nwogu, "Facial Expression Neutralization With StoicNet", WACV Workshops 2021, section 3.1.

The paper gives no table.  It says: an encoder of "several strided convolution layers" to mean and deviation; a decoder
of "fractionally-strided transposed convolution layers"; a neutralizer of "a single dense perceptron layer"; an enhancer
like those of super-resolution networks with "multiple residual blocks and skip connections"; a discriminator "roughly
the same as the encoder except with additional fully connected layers" and one linear output; grey squares.  The rest is
read as DCGAN does it, which the paper cites for all its networks:

- Enc: convolutions 4 x 4, stride 2, padding 1, from `width` channels on doubled by each, until 4 x 4 pixels are left;
  batch normalization behind all but the first, leaky ReLU of slope 0.2; linear layers to mu and to log sigma^2.
- Dec: a linear layer to 4 x 4, then the same backwards with ReLU, tanh at the end.
- Ntr: one linear layer without activation, since codes are not bounded.  It starts as the identity: what is to be
  learnt is a change of codes, and few people show what.
- Enh: as SRResNet without enlarging: 3 x 3 convolution, residual blocks, a skip over all of them, 3 x 3 convolution,
  and a skip from the picture itself, through which it "can pass relatively unimpeded" (section 3.2.2).  Its last
  convolution has no activation.
- Dis: the convolutions of Enc, then linear layers of 256 numbers and one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Decoder", "Discriminator", "Encoder", "Enhancer", "build_networks", "neutralizer", "sharpen"]

_SLOPE = 0.2

#: 3 x 3 sharpening: the picture plus its difference from its four neighbours.
_SHARPEN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


def _convolutions(size: int, channels: int, width: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    inputs = channels
    for k in range((size // 4).bit_length() - 1):
        outputs = width * 2**k
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=k == 0))
        if k:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(_SLOPE))
        inputs = outputs
    return [*layers, nn.Flatten()], inputs


class Encoder(nn.Module):
    """Enc: pictures (N, C, size, size) to mu and log sigma^2, (N, code) each."""

    def __init__(self, size: int, channels: int, width: int, code: int):
        super().__init__()
        layers, outputs = _convolutions(size, channels, width)
        self.convolutions = nn.Sequential(*layers)
        self.mean = nn.Linear(16 * outputs, code)
        self.log_variance = nn.Linear(16 * outputs, code)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.convolutions(x)
        return self.mean(features), self.log_variance(features)


class Decoder(nn.Module):
    """Dec: codes (N, code) to pictures (N, C, size, size) in [-1, 1]."""

    def __init__(self, size: int, channels: int, width: int, code: int):
        super().__init__()
        count = (size // 4).bit_length() - 1
        self.inputs = width * 2 ** (count - 1)
        self.dense = nn.Linear(code, 16 * self.inputs)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.inputs), nn.ReLU()]
        inputs = self.inputs
        for _ in range(count - 1):
            layers.append(nn.ConvTranspose2d(inputs, inputs // 2, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(inputs // 2), nn.ReLU()]
            inputs //= 2
        self.convolutions = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.convolutions(self.dense(z).reshape(len(z), self.inputs, 4, 4))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Enhancer(nn.Module):
    """Enh: pictures to the same, clearer; not bounded."""

    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU())
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        return x + self.last(features + self.blocks(features))


class Discriminator(nn.Sequential):
    """Dis: pictures to scores (N, 1), 1 for real ones."""

    def __init__(self, size: int, channels: int, width: int):
        layers, outputs = _convolutions(size, channels, width)
        super().__init__(*layers, nn.Linear(16 * outputs, 256), nn.LeakyReLU(_SLOPE), nn.Linear(256, 1))


def neutralizer(code: int) -> nn.Linear:
    """Ntr: codes to codes; at the start each to itself."""
    layer = nn.Linear(code, code)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def build_networks(
    size: int, channels: int, width: int, code: int, blocks: int, enhancer: int | None = None
) -> dict[str, nn.Module]:
    """Enc, Dec, Enh, Ntr and Dis with torch's initial weights.

    Parameters
    ----------
    size : int
        Pixels of a side, a power of two from 8.
    channels : int
        1 (grey, the paper) or 3.
    width : int
        Channels of the first convolution.
    code : int
        Length of z.
    blocks : int
        Residual blocks of Enh.
    enhancer : int, optional
        Channels of Enh; `width` if left out.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """
    if size < 8 or size & (size - 1):
        raise ValueError(f"size: expected a power of two from 8, got {size}")
    enhancer = width if enhancer is None else enhancer
    for name, value in (
        ("channels", channels), ("width", width), ("code", code), ("blocks", blocks), ("enhancer", enhancer),
    ):  # fmt: skip
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    return {
        "Enc": Encoder(size, channels, width, code), "Dec": Decoder(size, channels, width, code),
        "Enh": Enhancer(channels, enhancer, blocks), "Ntr": neutralizer(code),
        "Dis": Discriminator(size, channels, width),
    }  # fmt: skip


def sharpen(images: Tensor, strength: float = 1.0) -> Tensor:
    """The "simple sharpening filter" on outputs: pictures plus `strength` times their Laplacian, within [-1, 1].

    Edges are continued by their own pixels.  At strength 1 it is the usual kernel of 5 amid four times -1.

    Raises
    ------
    ValueError
        If `strength` is negative.
    """
    if not strength >= 0:
        raise ValueError(f"strength: expected a number from 0, got {strength}")
    channels = images.shape[1]
    kernel = images.new_tensor(_SHARPEN).expand(channels, 1, 3, 3)
    edges = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    return (images + strength * edges).clamp(-1, 1)
