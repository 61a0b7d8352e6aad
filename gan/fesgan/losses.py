"""What FESGAN and FESR have of their own: the continuous label u(y) and the intra-class loss with RDBP."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["continuous_label", "feature_distance", "intra_class_loss", "other_labels"]

#: Under the root, so that its slope is finite where two features agree (as those of dead ReLUs do).
_TINY = 1e-12


def continuous_label(y: Tensor, v: Tensor) -> Tensor:
    """u(y) = v * (2 y - 1), equation (2).

    Parameters
    ----------
    y : (N, K) Tensor
        One-hot.
    v : (N, K) Tensor, or number
        In [0, 1]; uniform draws in training, the intensity afterwards.
    """
    return v * (2 * y - 1)


def other_labels(y: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """y': for each label (N,) int64 another one, each as likely as the others."""
    step = torch.randint(1, classes, y.shape, generator=generator).to(y)
    return (y + step) % classes


def feature_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch of the Euclidean distance of features (N, F): equations (15) and (16)."""
    return ((a - b).square().sum(1) + _TINY).sqrt().mean()


def intra_class_loss(real: Tensor, partner: Tensor, synthetic: Tensor, guided: bool = True) -> Tensor:
    """L_intra, equation (14): distance of two real pictures and of a real and a synthetic one of the same class.

    Parameters
    ----------
    real, partner, synthetic : (N, F) Tensor
        R_ext of x, x_p,r and x_p,f.
    guided : bool
        Real data-guided back-propagation: the second term moves the synthetic features alone (equation (18)); the
        first moves both (equation (17)).  Without it (FESR JL-RDBP) both terms move both.
    """
    return feature_distance(real, partner) + feature_distance(real.detach() if guided else real, synthetic)
