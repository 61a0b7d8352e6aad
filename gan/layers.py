"""Building blocks that several methods share: strided convolutions, their transposes, and initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TransposedConv", "conv", "glorot", "gradient_parameters"]


def conv(inputs: int, outputs: int, kernel: int, stride: int, bias: bool = True) -> nn.Conv2d:
    """Convolution with an odd kernel that gives ceil(size / stride) pixels; half the kernel is padded on each side."""
    if kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd size, got {kernel}")
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class TransposedConv(nn.ConvTranspose2d):
    """Transposed convolution with an odd kernel whose output is exactly `stride` times as large as its input."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, bias: bool = True):
        if kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd size, got {kernel}")
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, output_padding=stride - 1, bias=bias)


def glorot(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Uniform weights of Glorot and Bengio, biases zero, for all linear and convolutional layers, in place.

    The default of Keras.  Draws go through `generator` (on the CPU), in the order of the modules.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010,
    equation (16).
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def gradient_parameters(*networks: nn.Module) -> list[Tensor]:
    """Parameters of `networks` that are trained, each once, in their order."""
    seen = {id(p): p for network in networks for p in network.parameters() if p.requires_grad}
    return list(seen.values())
