"""ExprGAN's losses where they are its own: the regularizer's likelihood and the perceptual identity loss."""

from __future__ import annotations

from torch import Tensor

from affect3d.gan.losses import reconstruction

__all__ = ["perceptual_loss", "regularizer_loss"]


def regularizer_loss(c: Tensor, mean: Tensor) -> Tensor:
    """L_Q, equation (5): minus the log-likelihood of c (N, K * d) under a Gaussian of `mean` and deviation 1.

    Without its constant, and as a mean over the numbers of c as L_pixel is one over those of a picture.  As a sum it is
    K * d times as large, and the code then lies in the colour of the skin, where Q reads it most easily.
    """
    return reconstruction(c, mean) / 2


def perceptual_loss(true: list[Tensor], made: list[Tensor], beta: tuple[float, ...]) -> Tensor:
    """L_id, equation (7): weighted mean absolute differences of feature maps.

    Raises
    ------
    ValueError
        If there is not one weight for each layer.
    """
    if not len(true) == len(made) == len(beta):
        raise ValueError(f"beta: expected a weight for each of {len(true)} layers, got {len(beta)}")
    total = beta[0] * reconstruction(true[0], made[0], norm=1)
    for weight, a, b in zip(beta[1:], true[1:], made[1:]):
        total = total + weight * reconstruction(a, b, norm=1)
    return total
