"""An identity network for those who have no published weights: a small Light CNN trained on the faces at hand.

It has seen few people, so it is no judge of identity; it is what a loss can compare faces by.  Methods are measured
with another network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from affect3d.gan.batches import to_images
from affect3d.gan.determinism import deterministic, seeded, step_seed
from affect3d.gan.identity.light_cnn import LightCNN, LightCNNOptions
from affect3d.progress import Progress, silent

__all__ = ["SMALL_LIGHT_CNN", "IdentityTraining", "train_identity"]

#: A third of Light CNN-29's channels, one residual block in front of each group, 64 pixels.
SMALL_LIGHT_CNN = LightCNNOptions(size=64, channels=(16, 32, 64, 64), blocks=(1, 1, 1, 1), features=128)


@dataclass(frozen=True)
class IdentityTraining:
    """How an identity network is trained.

    Attributes
    ----------
    steps, batch : int
        From 1.
    learning_rate : float
        Adam's, falling to zero along a half cosine.
    dropout : float
        Of descriptors in front of the classifier, in [0, 1); 0.5 for Light CNN (its section IV-A).
    light : float
        Deviation of random gains and offsets of brightness, in half the range of pixels.
    seed, threads : int
        Of all draws; of torch (0: unchanged).
    """

    steps: int = 400
    batch: int = 48
    learning_rate: float = 2e-3
    dropout: float = 0.5
    light: float = 0.1
    seed: int = 0
    threads: int = 0

    def __post_init__(self):
        for name, low in (("steps", 1), ("batch", 1), ("seed", 0), ("threads", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a share in [0, 1), got {self.dropout}")
        if not self.learning_rate > 0 or not self.light >= 0:
            raise ValueError(
                f"learning_rate, light: expected above 0 and from 0, got {self.learning_rate}, {self.light}"
            )


def train_identity(
    images: np.ndarray, subject: np.ndarray, network: LightCNNOptions = SMALL_LIGHT_CNN,
    training: IdentityTraining = IdentityTraining(), progress: Progress = silent,
) -> LightCNN:  # fmt: skip
    """Train a Light CNN to tell people apart (softmax over them), on the CPU.

    Parameters
    ----------
    images : (N, H, W, C) uint8
    subject : (N,) int array
        The person of each picture; any numbers.
    network : LightCNNOptions
    training : IdentityTraining
    progress : callable

    Returns
    -------
    LightCNN
        In evaluation mode, without the classifier.

    Raises
    ------
    ValueError
        If there are fewer than two people, or the numbers do not fit the pictures.
    """
    subject = np.asarray(subject)
    if subject.shape != (len(images),) or subject.dtype.kind not in "iu":
        raise ValueError(f"subject: expected {len(images)} whole numbers, got {subject.shape} of {subject.dtype}")
    people, person = np.unique(subject, return_inverse=True)
    if len(people) < 2:
        raise ValueError(f"subject: expected at least two people, got {len(people)}")
    o, target = training, torch.from_numpy(person.astype(np.int64))
    with seeded(o.seed):
        model = LightCNN(network)
        classify = nn.Linear(network.features, len(people))
    optimizer = torch.optim.Adam([*model.parameters(), *classify.parameters()], o.learning_rate)
    with deterministic(o.threads):
        for step in range(o.steps):
            torch.manual_seed(step_seed(o.seed, 0, step))
            for group in optimizer.param_groups:
                group["lr"] = o.learning_rate * 0.5 * (1 + np.cos(np.pi * step / o.steps))
            rows = torch.randperm(len(images))[: o.batch]
            x = to_images(np.asarray(images)[rows.numpy()])
            mirrored = torch.rand(len(x)) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            x = x * (1 + o.light * torch.randn(len(x), 1, 1, 1)) + o.light * torch.randn(len(x), 1, 1, 1)
            described = functional.dropout(model(x), o.dropout)
            loss = functional.cross_entropy(classify(described), target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            progress(step + 1, o.steps, "training an identity network")
    return model.eval()
