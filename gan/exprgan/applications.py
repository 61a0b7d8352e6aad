"""What ExprGAN is used for in its paper: intensity, transfer, retrieval, and synthetic pictures to train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from affect3d.gan.batches import to_images
from affect3d.gan.determinism import deterministic, seeded, step_seed
from affect3d.gan.exprgan.method import ExprGAN
from affect3d.gan.exprgan.networks import controller, expression_classifier
from affect3d.gan.intensity import IntensityCurve
from affect3d.gan.intensity import intensity_curve as curve_of_codes
from affect3d.progress import Progress, silent

__all__ = [
    "AugmentationRow", "IntensityCurve", "augmentation_table", "controlled_code", "generate", "intensity_curve",
    "level_code", "neutral_code", "retrieve", "strength_code", "transfer",
]  # fmt: skip


def controlled_code(method: ExprGAN, y: Tensor, magnitude: float) -> Tensor:
    """c of equation (3) with |z_y| = `magnitude` in every place: +magnitude for the labels y (N,), - for all others.

    From 0, where c says nothing of the expression, to 1.  Such codes were drawn in training; `strength_code` agrees
    at 1 and goes beyond them, down to the neutral face.

    Raises
    ------
    ValueError
        If `magnitude` does not lie in [0, 1].
    """
    if not 0 <= magnitude <= 1:
        raise ValueError(f"magnitude: expected a number in [0, 1], got {magnitude}")
    y_k = method.one_hot(y)
    return controller(y_k, torch.full((len(y), method.options.d), float(magnitude)).to(y_k))


def strength_code(method: ExprGAN, y: Tensor, strength: float) -> Tensor:
    """c with `strength` in all places of the labels y (N,) and -1 in all others: (N, K * d).

    Strength 1 is "the target expression" of the section on editing, -1 the neutral face of `neutral_code`.

    Raises
    ------
    ValueError
        If `strength` does not lie in [-1, 1].
    """
    if not -1 <= strength <= 1:
        raise ValueError(f"strength: expected a number in [-1, 1], got {strength}")
    return method.one_hot(y).repeat_interleave(method.options.d, dim=1) * (strength + 1) - 1


def level_code(method: ExprGAN, y: Tensor, level: int) -> Tensor:
    """c with 1 in place `level` of the labels y (N,) and -1 in all others (figure 3): (N, K * d).

    Raises
    ------
    ValueError
        If `level` does not lie in [0, d).
    """
    d = method.options.d
    if not 0 <= level < d:
        raise ValueError(f"level: expected a place in [0, {d}), got {level}")
    c = -torch.ones(len(y), len(method.options.labels), d).to(y.device)
    c[torch.arange(len(y)), y, level] = 1
    return c.flatten(1)


def neutral_code(method: ExprGAN, count: int) -> Tensor:
    """c that is -1 everywhere, which shows a neutral face though no neutral face was learnt: (count, K * d)."""
    return -torch.ones(count, len(method.options.labels) * method.options.d)


def transfer(method: ExprGAN, x_A: Tensor, x_B: Tensor, y_B: Tensor) -> Tensor:
    """The people of x_A with the expressions of x_B: G_dec(g(x_A), c_B), c_B from Q.

    Parameters
    ----------
    method : ExprGAN
        In evaluation mode.
    x_A, x_B : (N, C, H, W) Tensor
    y_B : (N,) int64 Tensor
        Labels of x_B, known or from a classifier.
    """
    return method.synthesize(x_A, method.expression_code(x_B, y_B))


def retrieve(method: ExprGAN, x: Tensor, y: Tensor, gallery: Tensor, gallery_y: Tensor) -> Tensor:
    """For each of x the pictures of the gallery, the nearest in expression code first (Euclidean): (N, M) int64."""
    distance = torch.cdist(method.expression_code(x, y), method.expression_code(gallery, gallery_y))
    return distance.argsort(dim=1, stable=True)


def generate(method: ExprGAN, y: Tensor, generator: torch.Generator) -> Tensor:
    """People who do not exist with the labels y (N,), their codes drawn evenly: (N, C, H, W) in [-1, 1]."""
    o = method.options
    z = (torch.rand(len(y), o.identity, generator=generator) * 2 - 1).to(y.device)
    z_y = (torch.rand(len(y), o.d, generator=generator) * 2 - 1).to(y.device)
    return method.networks["G_dec"](z, controller(method.one_hot(y), z_y))


def intensity_curve(
    method: ExprGAN, read, images: np.ndarray, directions: np.ndarray, values=(-1.0, -0.5, 0.0, 0.5, 1.0),
    code=strength_code,
) -> IntensityCurve:  # fmt: skip
    """`affect3d.gan.intensity.intensity_curve` for the codes of equation (3): `strength_code`, or `controlled_code`
    with values from 0."""
    return curve_of_codes(method, read, images, directions, values, code)


@dataclass(frozen=True)
class AugmentationRow:
    """A column of table 1: the classifier's accuracy (a share) with `synthetic` pictures beside the true ones."""

    synthetic: int
    accuracy: float


def augmentation_table(
    method: ExprGAN, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray,
    per_class=(0, 500, 1000, 5000, 10000), steps: int = 1000, batch: int = 48, seed: int = 0, threads: int = 1,
    progress: Progress = silent,
) -> tuple[AugmentationRow, ...]:  # fmt: skip
    """Table 1: accuracy on other people of a classifier trained on true and synthetic pictures.

    Every classifier starts from the same weights and gets the same number of steps, so that more pictures do not mean
    more training.

    Parameters
    ----------
    method : ExprGAN
        Trained on `images`.
    images, test_images : (N, H, W, C) uint8
    labels, test_labels : (N,) int array
        Places in the method's labels.
    per_class : sequence of int
        Synthetic pictures of each expression, for each row of the table.
    steps, batch : int
        Of each classifier's training.
    seed, threads : int
        Of all draws; of torch (0: unchanged).
    progress : callable

    Raises
    ------
    ValueError
        If labels do not fit pictures or the method.
    """
    o = method.options
    for name, rows, values in (("labels", images, labels), ("test_labels", test_images, test_labels)):
        values = np.asarray(values)
        if values.shape != (len(rows),) or not ((values >= 0) & (values < len(o.labels))).all():
            raise ValueError(f"{name}: expected {len(rows)} numbers in [0, {len(o.labels)})")
    true, y_true = to_images(images), torch.tensor(np.asarray(labels, np.int64))
    test, y_test = to_images(test_images), torch.tensor(np.asarray(test_labels, np.int64))
    table, done = [], 0
    with deterministic(threads):
        for count in per_class:
            x, y = true, y_true
            if count:
                y_new = torch.arange(len(o.labels)).repeat_interleave(int(count))
                x, y = torch.cat([true, _generated(method, y_new, seed)]), torch.cat([y_true, y_new])
            with seeded(seed):
                classifier = expression_classifier(o.size, o.channels, o.width, o.identity, len(o.labels))
            optimizer = torch.optim.Adam(classifier.parameters(), o.learning_rate, (0.5, 0.999))
            for step in range(steps):
                generator = torch.Generator().manual_seed(step_seed(seed, 1, step))
                rows = torch.randint(len(x), (batch,), generator=generator)
                mirrored = torch.rand(batch, generator=generator) < 0.5
                faces = torch.where(mirrored[:, None, None, None], x[rows].flip(3), x[rows])
                loss = functional.cross_entropy(classifier(faces), y[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                done += 1
                progress(done, steps * len(per_class), f"{count} synthetic pictures of each expression")
            with torch.no_grad():
                found = torch.cat([classifier(test[k : k + 256]).argmax(1) for k in range(0, len(test), 256)])
            table.append(AugmentationRow(int(count) * len(o.labels), float((found == y_test).float().mean())))
    return tuple(table)


def _generated(method: ExprGAN, y: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(step_seed(seed, 0, 0))
    with torch.no_grad():
        return torch.cat([generate(method, y[k : k + 256], generator) for k in range(0, len(y), 256)])
