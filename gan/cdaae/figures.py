"""The paper's figures 2 to 5 as grids of pictures (R, K, C, H, W) in [-1, 1]; `affect3d.gan.logs` writes them.

A `synthesize` here is ``synthesize(x_s (N, C, H, W), l (N, L)) -> (N, C, H, W)``, as `CDAAE.synthesize`.
"""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

__all__ = ["compare_variants", "emotion_table", "plane_of_units", "real_and_synthesized"]

Synthesize = Callable[[Tensor, Tensor], Tensor]


def compare_variants(variants: dict[str, Synthesize], x_s: Tensor, labels: int, intensity: float = 1.0) -> Tensor:
    """Figure 2: one face, a row for each variant, a column for each label alone at `intensity`; the face comes first.

    Parameters
    ----------
    variants : dict of str to callable
    x_s : (C, H, W) Tensor
    labels : int
        L.
    intensity : float
        In [0, 1].

    Returns
    -------
    (len(variants), 1 + labels, C, H, W) Tensor
    """
    alone = intensity * torch.eye(labels).to(x_s)
    faces = x_s.expand(labels, *x_s.shape)
    with torch.no_grad():
        return torch.stack([torch.cat([x_s[None], synthesize(faces, alone)]) for synthesize in variants.values()])


def plane_of_units(
    synthesize: Synthesize, x_s: Tensor, labels: int, first: int, second: int, steps: int = 6
) -> Tensor:
    """Figure 3: two action units from 0 to 1, all others 0.

    Parameters
    ----------
    synthesize : callable
    x_s : (C, H, W) Tensor
    labels : int
    first, second : int
        Places of the units in l; the first grows from row to row, the second from column to column.
    steps : int
        Intensities of each, at least 2.

    Returns
    -------
    (steps, steps, C, H, W) Tensor

    Raises
    ------
    ValueError
        If the units are the same or not there, or `steps` is below 2.
    """
    if first == second or not (0 <= first < labels and 0 <= second < labels):
        raise ValueError(f"first, second: expected two places in [0, {labels}), got {first} and {second}")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, got {steps}")
    values = torch.linspace(0, 1, steps).to(x_s)
    l = torch.zeros(steps, steps, labels).to(x_s)  # noqa: E741
    l[..., first], l[..., second] = values[:, None], values[None, :]
    with torch.no_grad():
        return synthesize(x_s.expand(steps**2, *x_s.shape), l.flatten(0, 1)).unflatten(0, (steps, steps))


def real_and_synthesized(synthesize: Synthesize, x: Tensor, l: Tensor, source: int = 0) -> Tensor:  # noqa: E741
    """Figure 4: pictures of one person above those made from picture `source` with their labels.

    Parameters
    ----------
    synthesize : callable
    x : (K, C, H, W) Tensor
    l : (K, L) Tensor
    source : int
        In [0, K).

    Returns
    -------
    (2, K, C, H, W) Tensor
    """
    if not 0 <= source < len(x):
        raise ValueError(f"source: expected a picture in [0, {len(x)}), got {source}")
    with torch.no_grad():
        return torch.stack([x, synthesize(x[source].expand_as(x), l)])


def emotion_table(synthesize: Synthesize, x_s: Tensor, emotions: int) -> Tensor:
    """Figure 5: each emotion on the diagonal, beside it the mixture of two with both labels at 0.5.

    Returns
    -------
    (emotions, emotions, C, H, W) Tensor
        Symmetric in its first two axes.
    """
    one = torch.eye(emotions).to(x_s)
    l = (one[:, None] + one[None, :]) / 2  # noqa: E741
    with torch.no_grad():
        return synthesize(x_s.expand(emotions**2, *x_s.shape), l.flatten(0, 1)).unflatten(0, (emotions, emotions))
