"""StoicNet's losses (section 3.2) where they are its own."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["discriminator_loss", "gan_loss", "reparameterize", "root_mean_square", "warmed_up"]

#: Under the root, so that its slope is finite where pictures agree.
_TINY = 1e-12


def root_mean_square(target: Tensor, value: Tensor) -> Tensor:
    """Mean over the batch of each picture's (or code's) root mean square difference: equations (2), (7), (8), (11).

    The paper writes the root of the squared norm and calls it "mean squared error"; this is the root of the mean, which
    is the written form but for a factor that depends on the number of pixels alone and belongs into the weights.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    if target.shape != value.shape:
        raise ValueError(f"value: expected the shape of target, {tuple(target.shape)}, got {tuple(value.shape)}")
    return ((value - target).flatten(1).square().mean(1) + _TINY).sqrt().mean()


def discriminator_loss(real: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """L_Dis, equation (6): scores of real, unenhanced and enhanced pictures against 1, 0 and 0, a third each."""
    return ((real - 1).square().mean() + low.square().mean() + high.square().mean()) / 3


def gan_loss(high: Tensor) -> Tensor:
    """L_gan, equation (9)."""
    return (high - 1).square().mean()


def warmed_up(weight: float, index: int, warmup: int) -> float:
    """W_kl at step `index`: from 0 along a line to `weight` at step `warmup` (section 3.2.1)."""
    return weight * min(1.0, index / warmup) if warmup else weight


def reparameterize(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """z = mu + sigma * epsilon with normal epsilon, equation (12)."""
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator).to(mean)
