"""Light CNN: a face recognition network of convolutions with max-feature-map activations.

Wu, He, Sun and Tan, "A Light CNN for Deep Face Representation With Noisy Labels", IEEE Transactions on
Information Forensics and Security 13 (2018), arXiv:1511.02683, table II (Light CNN-29).

Layer names are those of the authors' PyTorch release, so that its weights fit by name.  The release has two versions
of the network: the first pools by maximum and ends in a max-feature-map layer, the second adds the mean to each
pooling and ends in a plain linear layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LIGHT_CNN_29", "LIGHT_CNN_29_V2", "LightCNN", "LightCNNOptions"]

#: Channels behind Conv1 (and in block 1), group 1, group 2, groups 3 and 4.
_CHANNELS = (48, 96, 192, 128)

#: Weights of red, green and blue in a grey picture (ITU-R BT.601, as most image libraries convert).
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class LightCNNOptions:
    """The size of a Light CNN; the defaults are Light CNN-29.

    Attributes
    ----------
    size : int
        Pixels of a side, a multiple of 16; 128 in the paper.
    channels : tuple of 4 ints
        Behind Conv1, behind groups 1 and 2, and behind groups 3 and 4.
    blocks : tuple of 4 ints
        Residual blocks in front of each group: 1, 2, 3, 4 for Light CNN-29, none for Light CNN-9.
    features : int
        Length of the descriptor; 256 in the paper.
    version : {1, 2}
        Of the authors' release, see above.
    """

    size: int = 128
    channels: tuple[int, int, int, int] = _CHANNELS
    blocks: tuple[int, int, int, int] = (1, 2, 3, 4)
    features: int = 256
    version: int = 1

    def __post_init__(self):
        for name in ("channels", "blocks"):
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))
        if self.size < 16 or self.size % 16:
            raise ValueError(f"size: expected a multiple of 16 pixels, got {self.size}")
        if len(self.channels) != 4 or min(self.channels) < 1:
            raise ValueError(f"channels: expected four numbers from 1, got {self.channels}")
        if len(self.blocks) != 4 or min(self.blocks) < 0:
            raise ValueError(f"blocks: expected four numbers from 0, got {self.blocks}")
        if self.features < 1:
            raise ValueError(f"features: expected at least 1, got {self.features}")
        if self.version not in (1, 2):
            raise ValueError(f"version: expected 1 or 2, got {self.version!r}")


LIGHT_CNN_29 = LightCNNOptions()
LIGHT_CNN_29_V2 = LightCNNOptions(version=2)


class MaxFeatureMap(nn.Module):
    """A layer with twice the outputs, of which the larger of each pair is kept (MFM 2/1, equation (2))."""

    def __init__(self, filter: nn.Module):
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.filter(x).chunk(2, dim=1)
        return torch.maximum(first, second)


def _mfm(inputs: int, outputs: int, kernel: int) -> MaxFeatureMap:
    return MaxFeatureMap(nn.Conv2d(inputs, 2 * outputs, kernel, 1, kernel // 2))


class Group(nn.Module):
    """Network in network: a 1 x 1 convolution, then 3 x 3."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv_a = _mfm(inputs, inputs, 1)
        self.conv = _mfm(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv_a(x))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = _mfm(channels, channels, 3)
        self.conv2 = _mfm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)) + x


class LightCNN(nn.Module):
    """Conv1, Pool1, block and group 1, Pool2, block and group 2, Pool3, blocks and groups 3 and 4, Pool4, FC.

    Pictures are (N, 3 or 1, size, size) in [-1, 1], as everywhere in this room; the network sees them in grey from
    0 to 1, as it was published.

    Parameters
    ----------
    options : LightCNNOptions
    """

    def __init__(self, options: LightCNNOptions = LIGHT_CNN_29):
        super().__init__()
        self.options = options
        a, b, c, d = options.channels
        self.conv1 = _mfm(1, a, 5)
        for number, (inputs, outputs) in enumerate(((a, b), (b, c), (c, d), (d, d)), 1):
            blocks = (ResidualBlock(inputs) for _ in range(options.blocks[number - 1]))
            setattr(self, f"block{number}", nn.Sequential(*blocks))
            setattr(self, f"group{number}", Group(inputs, outputs))
        flat = d * (options.size // 16) ** 2
        if options.version == 1:
            self.fc: nn.Module = MaxFeatureMap(nn.Linear(flat, 2 * options.features))
        else:
            self.fc = nn.Linear(flat, options.features)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                # the larger of two normal numbers has their mean square, so this scale goes through all layers
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                nn.init.zeros_(module.bias)

    def trunk_channels(self, pools: int = 3) -> int:
        """Channels of `trunk`."""
        return self.options.channels[pools - 1]

    def trunk(self, images: Tensor, pools: int = 3) -> Tensor:
        """Conv1 to Pool1, Pool2 or Pool3 (`pools` 1 to 3): for Pool3 (N, 192, size / 8, size / 8)."""
        return self._pool(self._shallow(images, pools)[-1])

    def layers(self, images: Tensor) -> list[Tensor]:
        """Five feature maps, in front of each pooling and behind group 3: the layers of a perceptual loss.

        They stand where VGG's conv1_2 to conv5_2 stand, one for each scale as far as there are scales.
        """
        return self._levels(images)

    def forward(self, images: Tensor) -> Tensor:
        """Descriptors (N, features); their angles tell people apart."""
        return self.fc(self._pool(self._levels(images)[-1]).flatten(1))

    def _shallow(self, images: Tensor, count: int = 3) -> list[Tensor]:
        found = [self.conv1(self._grey(images))]
        if count > 1:
            found.append(self.group1(self.block1(self._pool(found[-1]))))
        if count > 2:
            found.append(self.group2(self.block2(self._pool(found[-1]))))
        return found

    def _levels(self, images: Tensor) -> list[Tensor]:
        first, second, third = self._shallow(images)
        fourth = self.group3(self.block3(self._pool(third)))
        return [first, second, third, fourth, self.group4(self.block4(fourth))]

    def _pool(self, x: Tensor) -> Tensor:
        # torch's CPU kernel for pixels with their channels side by side is five times as fast; the values are the same
        most = functional.max_pool2d(x.contiguous(memory_format=torch.channels_last), 2).contiguous()
        return most if self.options.version == 1 else most + functional.avg_pool2d(x, 2)

    def _grey(self, images: Tensor) -> Tensor:
        size = self.options.size
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images: expected (N, 3 or 1, H, W), got {tuple(images.shape)}")
        if images.shape[1] == 3:
            images = (images * images.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        if images.shape[2:] != (size, size):
            images = functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (images + 1) / 2
