"""A method and data small enough that training them takes a fraction of a second."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from affect3d.gan.batches import EpochBatches, fingerprint
from affect3d.gan.determinism import seeded
from affect3d.gan.training import Stage


@dataclass(frozen=True)
class LineOptions:
    """Options of `LineMethod`."""

    rate: float = 0.01
    seed: int = 3


class LineMethod:
    """Two stages on y = A x + b with dropout, noise from the generator, a buffer, and a part trained only later."""

    name = "line"

    def __init__(self, options=LineOptions(), steps=(7, 9)):
        self.options = options
        with seeded(options.seed):
            self.networks = {
                "A": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.BatchNorm1d(8), nn.Linear(8, 3)),
                "B": nn.Linear(3, 3),
            }
        self.stages = (Stage("first", steps[0]), Stage("second", steps[1]))
        self.optimizers = {}
        self.begun = []

    def begin(self, stage):
        self.begun.append(stage)
        networks = [self.networks["A"]] if stage == "first" else list(self.networks.values())
        kind = torch.optim.Adam if stage == "first" else torch.optim.RMSprop
        self.optimizers = {stage: kind([p for n in networks for p in n.parameters()], self.options.rate)}

    def step(self, stage, batch, generator, index):
        x = batch["x"] + 0.1 * torch.randn(batch["x"].shape, generator=generator).to(batch["x"])
        y = self.networks["A"](x)
        if stage == "second":
            y = self.networks["B"](y)
        loss = (y - batch["y"]).square().mean()
        optimizer = self.optimizers[stage]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"L_2": loss.detach()}

    def sample(self, batch, generator):
        y = self.networks["A"](batch["x"][:2])
        return y.tanh().reshape(2, 1, 3, 1, 1).expand(2, 2, 3, 5, 5)


def line_batches(count=20, size=6, seed=1):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4))
    y = x @ rng.normal(size=(4, 3)) + 1

    def make(rows, rng):
        return {"x": x[rows] + 0.01 * rng.normal(size=(len(rows), 4)), "y": y[rows]}

    return EpochBatches(count, size, make, seed, fingerprint(x, y))
