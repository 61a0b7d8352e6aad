"""Networks that predict valence and arousal of films, as methods of the shared training loop.

The paper's is VGG-Face with two gated recurrent layers (Kollias et al., "Deep Affect Prediction in-the-wild", IJCV
2019, the CNN-RNN it cites as [18]); the small trunk is for studies that train from nothing on a processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affect3d.gan.determinism import seeded
from affect3d.gan.training import Stage

__all__ = [
    "AffectMethod", "AffectNetwork", "AffectOptions", "SmallTrunk", "affect_loss", "concordance", "predict_films",
]  # fmt: skip


def concordance(predicted: Tensor, annotated: Tensor) -> Tensor:
    """Concordance correlation coefficients (K,) of the columns of two (N, K) tensors (paper, equation 2).

    ``2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2)`` with variances over N; 0 where both are the same constant.
    """
    if predicted.shape != annotated.shape or predicted.ndim != 2:
        raise ValueError(
            "predicted, annotated: expected the same shape (N, K), got "
            f"{tuple(predicted.shape)}, {tuple(annotated.shape)}"
        )
    x, y = predicted - predicted.mean(0), annotated - annotated.mean(0)
    below = x.square().mean(0) + y.square().mean(0) + (predicted.mean(0) - annotated.mean(0)).square()
    return 2 * (x * y).mean(0) / (below + 1e-8)


def affect_loss(predicted: Tensor, annotated: Tensor, kind: str = "sum") -> Tensor:
    """What a network minimizes: (..., 2) predictions against labels.

    Parameters
    ----------
    kind : {"ccc", "mse", "sum"}
        1 minus the mean concordance of valence and arousal over all given frames, the mean square error, or both.
    """
    if kind not in ("ccc", "mse", "sum"):
        raise ValueError(f"loss: expected ccc, mse or sum, got {kind!r}")
    p, a = predicted.reshape(-1, predicted.shape[-1]), annotated.reshape(-1, annotated.shape[-1])
    out = predicted.new_zeros(())
    if kind != "mse":
        out = out + 1 - concordance(p, a).mean()
    return out if kind == "ccc" else out + functional.mse_loss(p, a)


class SmallTrunk(nn.Module):
    """Pictures (N, C, S, S) in [-1, 1] to (N, 4 `width`): four halved 3 x 3 convolutions with group normalization.

    Groups, not batches, are normalized: made and true pictures share batches and must not share statistics.
    """

    def __init__(self, channels: int = 3, width: int = 16):
        super().__init__()
        sizes = (channels, width, 2 * width, 3 * width, 4 * width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.GroupNorm(4, b), nn.ReLU())
            for a, b in zip(sizes[:-1], sizes[1:])
        )
        self.out = 4 * width * 9  # a 3 x 3 grid is left, as brows and mouth are told apart by place

    def forward(self, pictures: Tensor) -> Tensor:
        for layer in self.layers:
            pictures = layer(pictures)
        return functional.adaptive_avg_pool2d(pictures, 3).flatten(1)


class AffectNetwork(nn.Module):
    """Films (B, T, C, S, S) to valence and arousal (B, T, 2): trunk, gated recurrent layers, linear head."""

    def __init__(self, trunk: nn.Module, features: int, hidden: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.trunk, self.drop = trunk, nn.Dropout(dropout)
        self.reduce = nn.Linear(features, hidden)
        self.memory = nn.GRU(hidden, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, films: Tensor) -> Tensor:
        if films.ndim != 5:
            raise ValueError(f"films: expected (B, T, C, S, S), got {tuple(films.shape)}")
        b, t = films.shape[:2]
        seen = functional.relu(self.reduce(self.drop(self.trunk(films.flatten(0, 1)))))
        told, _ = self.memory(seen.reshape(b, t, -1))
        return self.head(told)


@dataclass(frozen=True)
class AffectOptions:
    """A network and how it is trained.

    Attributes
    ----------
    trunk : {"small", "vgg-face"}
    weights : str
        Published weights for VGG-Face; "" starts from nothing.
    channels : int
        Of the pictures.
    width : int
        Of the small trunk.
    hidden, layers : int
        Of the gated recurrent layers; the paper's are 128 and 2.
    dropout : float
        In [0, 1), before the recurrent layers.
    loss : {"ccc", "mse", "sum"}
    steps : int
    learning_rate : float
        Adam's, falling to zero along a half cosine.
    seed : int
        Of the first weights.
    """

    trunk: str = "small"
    weights: str = ""
    channels: int = 3
    width: int = 12
    hidden: int = 48
    layers: int = 1
    dropout: float = 0.3
    loss: str = "sum"
    steps: int = 800
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self):
        if self.trunk not in ("small", "vgg-face"):
            raise ValueError(f"trunk: expected small or vgg-face, got {self.trunk!r}")
        if self.loss not in ("ccc", "mse", "sum"):
            raise ValueError(f"loss: expected ccc, mse or sum, got {self.loss!r}")
        if not 0 <= self.dropout < 1 or not self.learning_rate > 0:
            raise ValueError("dropout, learning_rate: expected numbers in [0, 1) and above 0")
        for name, low in (("channels", 1), ("width", 4), ("hidden", 1), ("layers", 1), ("steps", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")
        if self.width % 4:
            raise ValueError(f"width: expected a multiple of 4, got {self.width}")


def _network(options: AffectOptions) -> AffectNetwork:
    if options.trunk == "small":
        trunk = SmallTrunk(options.channels, options.width)
        return AffectNetwork(trunk, trunk.out, options.hidden, options.layers, options.dropout)
    from affect3d.gan.identity.vgg_face import VGGFace
    from affect3d.gan.identity.weights import load_vgg_face

    vgg = load_vgg_face(options.weights, descriptor=True) if options.weights else VGGFace()
    return AffectNetwork(vgg, vgg.fc7.out_features, options.hidden, options.layers, options.dropout)


class AffectMethod:
    """The network as `gan.training.train` wants it; batches hold "pictures" (B T, C, S, S) and "labels" (B, T, 2)."""

    name = "affect"

    def __init__(self, options: AffectOptions):
        self.options = options
        with seeded(options.seed):
            self.networks = {"network": _network(options)}
        self.optimizers = {"network": torch.optim.Adam(self.networks["network"].parameters(), options.learning_rate)}
        self.stages = (Stage("affect", options.steps),)

    def begin(self, stage: str) -> None:
        """Nothing to prepare."""

    def step(self, stage, batch, generator, index) -> dict:
        """One update."""
        rate = 0.5 * self.options.learning_rate * (1 + np.cos(np.pi * index / self.options.steps))
        optimizer = self.optimizers["network"]
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        labels = batch["labels"]
        films = batch["pictures"].reshape(*labels.shape[:2], *batch["pictures"].shape[1:])
        loss = affect_loss(self.networks["network"](films), labels, self.options.loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.networks["network"].parameters(), 5.0)
        optimizer.step()
        return {"loss": loss.detach()}

    def sample(self, batch, generator) -> Tensor:
        """The first pictures of the batch, to look at what is learned from."""
        return batch["pictures"][:16].reshape(2, -1, *batch["pictures"].shape[1:])


def predict_films(network: nn.Module, films: np.ndarray) -> np.ndarray:
    """(T, 2) float64 predictions in [-1, 1] for the frames (T, S, S, C) uint8 of one film, or (B, T, 2) of several."""
    films = np.asarray(films)
    several = films if films.ndim == 5 else films[None]
    network.eval()
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(several, -1, 2))).float() / 127.5 - 1
        out = network(tensor).clamp(-1, 1).double().numpy()
    return out if films.ndim == 5 else out[0]
