"""CDAAE's losses, optimizers and the alternating step (section 2.2, equations (2)-(5), and section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from affect3d.gan.cdaae.networks import VARIANTS, build_networks, synthesize
from affect3d.gan.layers import gradient_parameters
from affect3d.gan.losses import gan_discriminator, gan_generator, reconstruction, stopped
from affect3d.gan.training import Stage

__all__ = ["CDAAE", "CDAAEOptions"]


@dataclass(frozen=True)
class CDAAEOptions:
    """Everything that CDAAE leaves open; defaults are the paper's.

    Attributes
    ----------
    variant : {"N1", "N2", "N3", "CAAE"}
    labels : tuple of str
        What the numbers of l stand for: 12 action units or 8 emotions in the paper.
    kind : {"units", "emotions"}
        Intensities in [0, 1], or a one-hot vector.
    steps : int
        Batches.  The paper stops after about 40 epochs of some 30,000 (DISFA) or 9,600 (RaFD) pairs.
    size, channels : int
        Of the pictures: pixels of a side (a multiple of 16), 3 for colour or 1 for grey.
    width : int
        Channels after the first convolution.
    code : int
        Length of z.
    alpha, beta_1, beta_2 : float
        Weights of L_R, L_E and L_G in equation (2).
    learning_rate, discriminator_rate : float
        Adam's, for the autoencoder and for the discriminators.
    adversarial : {"non_saturating", "minimax"}
        How the autoencoder plays against the discriminators: `losses.gan_generator`.  Equation (2) read to the
        letter is "minimax"; flipped labels, as one writes it in Keras, are "non_saturating".  The letter has no
        lower bound, which slow discriminators cannot make up for.
    seed : int
        Of the initial weights.
    """

    variant: str = "N2"
    labels: tuple[str, ...] = ("neutral", "happiness", "sadness", "anger", "disgust", "contempt", "fear", "surprise")
    kind: str = "emotions"
    steps: int = 12_000
    size: int = 32
    channels: int = 3
    width: int = 64
    code: int = 100
    alpha: float = 1.0
    beta_1: float = 1e-2
    beta_2: float = 1e-3
    learning_rate: float = 1e-3
    discriminator_rate: float = 1e-4
    adversarial: str = "non_saturating"
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        for name, allowed in (
            ("variant", tuple(VARIANTS)), ("kind", ("units", "emotions")),
            ("adversarial", ("non_saturating", "minimax")),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if not self.labels or not all(isinstance(name, str) for name in self.labels):
            raise ValueError(f"labels: expected the names of emotions or action units, got {self.labels!r}")
        for name in ("alpha", "beta_1", "beta_2"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a number from 0, got {getattr(self, name)}")
        for name in ("learning_rate", "discriminator_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")


class CDAAE:
    """The method as `affect3d.gan.training.train` wants it.

    Batches hold "x_s" and "x_t", (N, C, H, W) in [-1, 1], the same people with two expressions, and "l", (N, L), the
    label of x_t.  The expression of x_s need not be known.

    Parameters
    ----------
    options : CDAAEOptions
    """

    name = "cdaae"

    def __init__(self, options: CDAAEOptions = CDAAEOptions()):
        self.options = options
        self.networks = build_networks(
            options.variant, len(options.labels), torch.Generator().manual_seed(options.seed), options.size,
            options.channels, options.width, options.code,
        )  # fmt: skip
        net = self.networks
        # "the two discriminators are trained simultaneously": their losses share no weights, so one Adam serves both
        self.optimizers = {
            "autoencoder": torch.optim.Adam(
                gradient_parameters(net["E1"], net["E2"], net["G1"], net["G2"]), options.learning_rate
            ),
            "discriminators": torch.optim.Adam(gradient_parameters(net["D_E"], net["D_G"]), options.discriminator_rate),
        }
        self.stages = (Stage("train", options.steps),)

    def begin(self, stage: str) -> None:
        """Nothing is frozen."""

    def synthesize(self, x_s: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        """Pictures of the people in `x_s` with the labels `l`: see `networks.synthesize`."""
        return synthesize(self.networks, self.options.variant, x_s, l)[0]

    def step(self, stage: str, batch: dict[str, Tensor], generator: torch.Generator, index: int = 0) -> dict:
        """The discriminators, then the autoencoder; losses as in `losses_of`."""
        x_s, x_t, l = batch["x_s"], batch["x_t"], batch["l"]  # noqa: E741
        x_hat, z = synthesize(self.networks, self.options.variant, x_s, l)
        z_star = torch.randn(z.shape, generator=generator).to(z)

        against = self.discriminator_losses(x_s, x_hat, z, z_star)
        self._update("discriminators", against["D_E"] + against["D_G"])
        # the discriminators' update changed no weight of the autoencoder, so x_hat and z still hold
        losses = self.autoencoder_losses(x_t, x_hat, z)
        self._update("autoencoder", self.total(losses))
        return {name: value.detach() for name, value in {**losses, **against}.items()}

    def discriminator_losses(self, x_s: Tensor, x_hat: Tensor, z: Tensor, z_star: Tensor) -> dict[str, Tensor]:
        """-L_E and -L_G of equations (4) and (5), as "D_E" and "D_G"; no gradient reaches the autoencoder."""
        net = self.networks
        return {
            "D_E": gan_discriminator(net["D_E"](z_star), net["D_E"](z.detach())),
            "D_G": gan_discriminator(net["D_G"](x_s), net["D_G"](x_hat.detach())),
        }

    def autoencoder_losses(self, x_t: Tensor, x_hat: Tensor, z: Tensor) -> dict[str, Tensor]:
        """L_R (equation (3)) and what the autoencoder can change of L_E and L_G; none reaches the discriminators."""
        net, form = self.networks, self.options.adversarial
        with stopped(net["D_E"], net["D_G"]):
            return {
                "L_R": reconstruction(x_t, x_hat),
                "L_E": gan_generator(net["D_E"](z), form),
                "L_G": gan_generator(net["D_G"](x_hat), form),
            }

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation (2)."""
        o = self.options
        return o.alpha * losses["L_R"] + o.beta_1 * losses["L_E"] + o.beta_2 * losses["L_G"]

    def sample(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """A row for each person: x_s, x_t, x_t as synthesized, then each label alone at full strength."""
        x_s, l = batch["x_s"], batch["l"]  # noqa: E741
        alone = torch.eye(l.shape[1]).to(l)
        columns = [x_s, batch["x_t"], self.synthesize(x_s, l)]
        columns += [self.synthesize(x_s, row.expand(len(x_s), -1)) for row in alone]
        return torch.stack(columns, 1)

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
