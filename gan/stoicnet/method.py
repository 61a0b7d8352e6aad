"""StoicNet's stages and steps: VAE and enhancer, adversarial enhancer, neutralizer (section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from affect3d.gan.determinism import seeded
from affect3d.gan.layers import gradient_parameters
from affect3d.gan.losses import kl_to_standard_normal, stopped
from affect3d.gan.stoicnet.losses import discriminator_loss, gan_loss, reparameterize, root_mean_square, warmed_up
from affect3d.gan.stoicnet.networks import build_networks, sharpen
from affect3d.gan.training import Stage

__all__ = ["StoicNet", "StoicNetOptions"]


@dataclass(frozen=True)
class StoicNetOptions:
    """Everything that StoicNet leaves open.  The paper names no numbers, so these are ours.

    Attributes
    ----------
    steps_reconstruct, steps_enhance, steps_neutralize : int
        Of the three stages.
    size, channels, width, code, blocks, enhancer : int
        See `networks.build_networks`.
    enhance_from : float
        Share of the first stage, in [0, 1], after which Enh and Dis join; 0 as in the paper.  Nothing that these two do
        reaches Enc and Dec, which are the same with every value; a step without them takes a fifth of the time.
    W_kl, W_r : float
        Weights of L_kl and L_rec1, from 0.
    W_g : float
        Weight of L_gan against L_rec2, in [0, 1].
    warmup : int
        Steps in which W_kl grows from 0.
    learning_rate : float
        Adam's for Enc, Dec, Enh and Ntr at their first step, above 0.  It falls along a half cosine to a hundredth at
        their last.
    discriminator_rate : float
        For Dis, above 0.
    sharpening : float
        Strength of the filter on outputs, from 0.
    seed : int
        Of the initial weights.
    """

    steps_reconstruct: int = 4000
    steps_enhance: int = 2000
    steps_neutralize: int = 2000
    size: int = 64
    channels: int = 1
    width: int = 32
    code: int = 128
    blocks: int = 4
    enhancer: int = 32
    enhance_from: float = 0.0
    W_kl: float = 5e-5
    W_r: float = 1.0
    W_g: float = 0.05
    warmup: int = 1000
    learning_rate: float = 1e-3
    discriminator_rate: float = 1e-4
    sharpening: float = 0.5
    seed: int = 0

    def __post_init__(self):
        for name in ("W_kl", "W_r", "warmup", "sharpening"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a number from 0, got {getattr(self, name)}")
        for name in ("W_g", "enhance_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {getattr(self, name)}")
        for name in ("learning_rate", "discriminator_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")


#: What each stage trains; all else is frozen, in evaluation mode.
_TRAINED = {
    "reconstruct": ("Enc", "Dec", "Enh", "Dis"), "enhance": ("Enc", "Dec", "Enh", "Dis"), "neutralize": ("Ntr",),
}  # fmt: skip


class StoicNet:
    """The method as `affect3d.gan.training.train` wants it.

    Stage "reconstruct" trains Enc and Dec as a VAE and Enh as "an extension of the decoder" (equation (7)); "enhance"
    goes on with them and trains Enh by equation (10); "neutralize" trains Ntr alone.  Dis "is trained along with the
    previous networks", in the first two.

    Each network has its own loss in the paper, so L_rec1 trains Enc and Dec, and what trains Enh ends in front of Dec.

    Batches hold "x", (N, C, size, size) in [-1, 1]; in "neutralize" "x_e" and "x_n", the same people with any face and
    with a neutral one.
    """

    name = "stoicnet"

    def __init__(self, options: StoicNetOptions = StoicNetOptions()):
        self.options = o = options
        with seeded(o.seed):
            self.networks = net = build_networks(o.size, o.channels, o.width, o.code, o.blocks, o.enhancer)
        # fused: on one core a third to a seventh of the time of the plain loop over weights
        self.optimizers = {
            "VAE": torch.optim.Adam(gradient_parameters(net["Enc"], net["Dec"]), o.learning_rate, fused=True),
            "Enh": torch.optim.Adam(gradient_parameters(net["Enh"]), o.learning_rate, fused=True),
            "Dis": torch.optim.Adam(gradient_parameters(net["Dis"]), o.discriminator_rate, (0.5, 0.999), fused=True),
            "Ntr": torch.optim.Adam(gradient_parameters(net["Ntr"]), o.learning_rate, fused=True),
        }
        self.stages = (
            Stage("reconstruct", o.steps_reconstruct), Stage("enhance", o.steps_enhance),
            Stage("neutralize", o.steps_neutralize),
        )  # fmt: skip

    def begin(self, stage: str) -> None:
        """Freeze what the stage does not train."""
        for name, network in self.networks.items():
            trained = name in _TRAINED[stage]
            network.requires_grad_(trained).train(trained)

    # What the trained networks do

    def reconstruct(self, x: Tensor) -> Tensor:
        """Dec(Enc(x)) with codes that are not sampled."""
        return self.networks["Dec"](self.networks["Enc"](x)[0])

    def neutralize(self, x: Tensor, enhance: bool = True, sharpening: float | None = None) -> Tensor:
        """The people of `x` with a neutral face, (N, C, size, size) in [-1, 1].

        Parameters
        ----------
        x : (N, C, size, size) Tensor
        enhance : bool
            False gives x_l, the decoder's picture; otherwise x_h.
        sharpening : float, optional
            Strength for enhanced pictures; that of the options if left out, 0 for none.
        """
        net = self.networks
        low = net["Dec"](net["Ntr"](net["Enc"](x)[0]))
        if not enhance:
            return low
        return sharpen(net["Enh"](low), self.options.sharpening if sharpening is None else sharpening)

    # Losses

    def vae_losses(self, x: Tensor, low: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """L_rec1 and L_kl, equations (2) and (4)."""
        return {"L_rec1": root_mean_square(x, low), "L_kl": kl_to_standard_normal(mean, log_variance)}

    def vae_total(self, losses: dict[str, Tensor], stage: str, index: int) -> Tensor:
        """Equations (3) and (5) in one: L_kl does not depend on Dec."""
        o = self.options
        weight = warmed_up(o.W_kl, index, o.warmup) if stage == "reconstruct" else o.W_kl
        return weight * losses["L_kl"] + o.W_r * losses["L_rec1"]

    def enhancer_losses(self, stage: str, x: Tensor, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        """Equation (7) as "L_rec_Enh", later equations (8) and (9); no gradient reaches Dis."""
        if stage == "reconstruct":
            return {"L_rec_Enh": root_mean_square(x, high)}
        with stopped(self.networks["Dis"]):
            score = self.networks["Dis"](high)
        return {"L_rec2": root_mean_square(low, high), "L_gan": gan_loss(score)}

    def enhancer_total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation (7) or (10)."""
        if "L_rec_Enh" in losses:
            return losses["L_rec_Enh"]
        return (1 - self.options.W_g) * losses["L_rec2"] + self.options.W_g * losses["L_gan"]

    def neutralizer_loss(self, x_e: Tensor, x_n: Tensor) -> Tensor:
        """L_Ntr, equation (11); the text's "Ntr(Enc(x_n))" is taken for a slip, the equation has Enc(x_n).

        Codes are means: the paper samples none once the model is complete.
        """
        Enc, Ntr = self.networks["Enc"], self.networks["Ntr"]
        with torch.no_grad():  # frozen
            z_e, z_n = Enc(x_e)[0], Enc(x_n)[0]
        return root_mean_square(z_n, Ntr(z_e))

    # Steps

    def step(self, stage: str, batch: dict[str, Tensor], generator: torch.Generator, index: int = 0) -> dict:
        """One update of all that `stage` trains."""
        net, o = self.networks, self.options
        self._set_rates(stage, index)
        if stage == "neutralize":
            loss = self.neutralizer_loss(batch["x_e"], batch["x_n"])
            self._update("Ntr", loss)
            return {"L_Ntr": loss.detach()}
        x = batch["x"]
        mean, log_variance = net["Enc"](x)
        low = net["Dec"](reparameterize(mean, log_variance, generator))
        losses = self.vae_losses(x, low, mean, log_variance)
        self._update("VAE", self.vae_total(losses, stage, index))
        if stage == "reconstruct" and index < o.enhance_from * o.steps_reconstruct:
            return {name: value.detach() for name, value in losses.items()}
        low = low.detach()
        high = net["Enh"](low)
        against = discriminator_loss(net["Dis"](x), net["Dis"](low), net["Dis"](high.detach()))
        self._update("Dis", against)
        enhanced = self.enhancer_losses(stage, x, low, high)
        self._update("Enh", self.enhancer_total(enhanced))
        return {name: value.detach() for name, value in {**losses, **enhanced, "L_Dis": against}.items()}

    def sample(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """Figure 2: x, its reconstruction, neutralized, enhanced, and the true neutral face where the batch has it."""
        x = batch["x_e"] if "x_e" in batch else batch["x"]
        columns = [x, self.reconstruct(x), self.neutralize(x, enhance=False), self.neutralize(x)]
        return torch.stack([*columns, *([batch["x_n"]] if "x_n" in batch else [])], 1)

    def _set_rates(self, stage: str, index: int) -> None:
        """The learning rates of this step; Dis, against which Enh plays, keeps its own."""
        o = self.options
        if stage == "neutralize":
            self._set_rate("Ntr", index / o.steps_neutralize)
            return
        done = index + (o.steps_reconstruct if stage == "enhance" else 0)
        total, joined = o.steps_reconstruct + o.steps_enhance, o.enhance_from * o.steps_reconstruct
        self._set_rate("VAE", done / total)
        self._set_rate("Enh", max(0.0, done - joined) / (total - joined))

    def _set_rate(self, name: str, done: float) -> None:
        """`done` is the share of its steps that the optimizer has made."""
        for group in self.optimizers[name].param_groups:
            group["lr"] = self.options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
