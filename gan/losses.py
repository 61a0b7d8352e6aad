"""Losses that several methods share; discriminators give logits (a critic: scores), never probabilities.

All of them are means over the batch, so that weights mean the same for every batch size.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "gan_discriminator", "gan_generator", "gradient_penalty", "kl_to_standard_normal", "lsgan_discriminator",
    "lsgan_generator", "reconstruction", "stopped", "total_variation", "wgan_critic", "wgan_generator",
]  # fmt: skip


def gan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Minus ``E[log D(real)] + E[log(1 - D(fake))]``, which a discriminator maximizes.

    Parameters
    ----------
    real, fake : (N, ...) Tensor
        Logits; D is their sigmoid.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, equation (1).
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def gan_generator(fake: Tensor, form: str = "non_saturating") -> Tensor:
    """What a generator minimizes against `gan_discriminator`.

    Parameters
    ----------
    fake : (N, ...) Tensor
        Logits of its pictures.
    form : {"non_saturating", "minimax"}
        ``-E[log D(fake)]``, or ``E[log(1 - D(fake))]``, whose gradient fades where D is sure (Goodfellow
        et al., section 3).

    Raises
    ------
    ValueError
        If `form` is neither.
    """
    if form == "non_saturating":
        return functional.softplus(-fake).mean()
    if form == "minimax":
        return -functional.softplus(fake).mean()
    raise ValueError(f"form: expected non_saturating or minimax, got {form!r}")


def lsgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """``(E[(D(real) - 1)^2] + E[D(fake)^2]) / 2`` (Mao et al., "Least Squares GAN", ICCV 2017, eq. (9))."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def lsgan_generator(fake: Tensor) -> Tensor:
    """``E[(D(fake) - 1)^2] / 2`` (Mao et al., equation (9))."""
    return (fake - 1).square().mean() / 2


def wgan_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E[D(fake)] - E[D(real)]``, which a critic minimizes (Arjovsky et al., "Wasserstein GAN", 2017)."""
    return fake.mean() - real.mean()


def wgan_generator(fake: Tensor) -> Tensor:
    """``-E[D(fake)]``."""
    return -fake.mean()


def gradient_penalty(critic, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
    """``E[(|grad D(x)| - 1)^2]`` at points x drawn uniformly between pairs of real and fake (without its weight).

    Parameters
    ----------
    critic : callable
        (N, ...) -> (N, ...) scores; those of one picture must not depend on the others.
    real, fake : (N, ...) Tensor
        No gradient flows back into either.
    generator : torch.Generator
        On the CPU.

    References
    ----------
    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation (3).
    """
    if real.shape != fake.shape:
        raise ValueError(f"fake: expected the shape of real, {tuple(real.shape)}, got {tuple(fake.shape)}")
    between = torch.rand((len(real),) + (1,) * (real.ndim - 1), generator=generator).to(real)
    points = (between * real.detach() + (1 - between) * fake.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    # the root of a square sum has no derivative at zero, hence the tiny number
    norm = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), summed over the code, mean over the batch.

    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()


def reconstruction(target: Tensor, image: Tensor, norm: int = 2) -> Tensor:
    """Mean over all numbers of the squared (`norm` 2) or absolute (1) difference.

    Raises
    ------
    ValueError
        If shapes differ (broadcasting would hide it) or `norm` is neither.
    """
    if target.shape != image.shape:
        raise ValueError(f"image: expected the shape of target, {tuple(target.shape)}, got {tuple(image.shape)}")
    if norm not in (1, 2):
        raise ValueError(f"norm: expected 1 or 2, got {norm!r}")
    difference = image - target
    return (difference.square() if norm == 2 else difference.abs()).mean()


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of vertical neighbours plus that of horizontal ones; images (N, C, H, W)."""
    return (images[..., 1:, :] - images[..., :-1, :]).abs().mean() + (images[..., 1:] - images[..., :-1]).abs().mean()


@contextmanager
def stopped(*networks: nn.Module):
    """In this block gradients pass through the networks but reach none of their weights.

    For what a generator is trained against, so that the discriminator's gradients are not filled.
    """
    parameters = [p for network in networks for p in network.parameters()]
    wanted = [p.requires_grad for p in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, before in zip(parameters, wanted):
            parameter.requires_grad_(before)
