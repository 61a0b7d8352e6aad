"""FESGAN and FESR: losses, stages and steps (section III, equations (1)-(26), algorithm 1), with all their variants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from affect3d.gan.determinism import seeded
from affect3d.gan.fesgan.losses import continuous_label, intra_class_loss, other_labels
from affect3d.gan.fesgan.networks import build_networks, trunk_pools
from affect3d.gan.identity.light_cnn import LightCNN, LightCNNOptions
from affect3d.gan.identity.training import SMALL_LIGHT_CNN
from affect3d.gan.layers import gradient_parameters
from affect3d.gan.losses import (
    gan_discriminator, gan_generator, gradient_penalty, reconstruction, stopped, wgan_critic, wgan_generator,
)  # fmt: skip
from affect3d.gan.training import Stage

__all__ = ["FESGAN", "FESGANOptions", "RECOGNITION", "VARIANTS"]

#: What each variant of FESGAN goes without (section IV-C).
VARIANTS: dict[str, frozenset[str]] = {
    "FG": frozenset(), "FG-CO": frozenset({"L_rec", "L_id"}), "FG-IP": frozenset({"L_id"}),
    "FG-Dimg": frozenset({"adv", "cls"}), "FG-Dimg_cls": frozenset({"cls"}), "FG-Dz": frozenset({"z"}),
}  # fmt: skip

#: Ways to train R (section IV-D); "none" trains FESGAN alone.
RECOGNITION = ("none", "BASELINE", "SL", "OneSt", "JL-IL", "JL-RDBP", "Real", "JL")


@dataclass(frozen=True)
class FESGANOptions:
    """Everything that FESGAN and FESR leave open; defaults are the paper's but for the identity network.

    Attributes
    ----------
    variant : str
        One of `VARIANTS`.
    recognition : str
        One of `RECOGNITION`: FESR_JL is "JL", and so on.
    labels : tuple of str
        The K expressions.
    steps_pretrain : int
        P_pre, steps of the first stage.
    steps_joint : int
        P_max - P_pre, steps of the second stage.  R has as many in every variant but "OneSt", which spends all on it.
    size, channels, width, code : int
        See `networks.build_networks`.
    lambda_1, ..., lambda_6 : float
        Weights of equations (22), (23), (25) and (26), from 0.
    penalty : float
        Weight of WGAN-GP's gradient penalty, from 0; the paper names none, 10 is that of Gulrajani et al.
    learning_rate : float
        Adam's, above 0, for all networks; its betas are 0.5 and 0.999.
    identity : LightCNNOptions
        Of F_id and of the frozen part of R.
    seed : int
        Of the initial weights.
    """

    variant: str = "FG"
    recognition: str = "none"
    labels: tuple[str, ...] = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    steps_pretrain: int = 10_000
    steps_joint: int = 10_000
    size: int = 128
    channels: int = 3
    width: int = 64
    code: int = 64
    lambda_1: float = 1.0
    lambda_2: float = 10.0
    lambda_3: float = 5.0
    lambda_4: float = 1.0
    lambda_5: float = 1.0
    lambda_6: float = 0.001
    penalty: float = 10.0
    learning_rate: float = 1e-4
    identity: LightCNNOptions = field(default_factory=lambda: SMALL_LIGHT_CNN)
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        if isinstance(self.identity, dict):  # as it comes back from a file
            object.__setattr__(self, "identity", LightCNNOptions(**self.identity))
        for name, allowed in (("variant", tuple(VARIANTS)), ("recognition", RECOGNITION)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if len(self.labels) < 2 or not all(isinstance(name, str) for name in self.labels):
            raise ValueError(f"labels: expected the names of two expressions or more, got {self.labels!r}")
        for name in [f"lambda_{k}" for k in range(1, 7)] + ["penalty"]:
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a number from 0, got {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: expected a number above 0, got {self.learning_rate}")


class FESGAN:
    """The method as `affect3d.gan.training.train` wants it: FESGAN, or with `recognition` FESR.

    Stages are "pretrain" (G, D_img, D_z), "joint" (the same and R, algorithm 1 from P_pre on) and "recognize" (R
    alone).  BASELINE has the last of them, on real pictures; SL the first and the last; OneSt the second alone; all
    others the first and the second.

    Batches hold "x", (N, c, size, size) in [-1, 1], "y", (N,) int64, and where R is trained "x_pr", other real pictures
    of the same expressions.

    Parameters
    ----------
    options : FESGANOptions
    identity : LightCNN, optional
        Its weights become those of F_id and of the frozen part of R; it must have the options `options.identity`.
        Without it both are random, until weights are read into `networks`.
    """

    name = "fesgan"

    def __init__(self, options: FESGANOptions = FESGANOptions(), identity: LightCNN | None = None):
        self.options = o = options
        if identity is not None and identity.options != o.identity:
            raise ValueError(f"identity: expected a network with {o.identity}, got {identity.options}")
        with seeded(o.seed):
            known = LightCNN(o.identity)
            self.pools = trunk_pools(o.identity.size)
            self.networks = build_networks(
                o.size, o.channels, o.width, o.code, len(o.labels), known.trunk_channels(self.pools),
                o.identity.size >> self.pools,
            )
        if identity is not None:
            known.load_state_dict(identity.state_dict())
        # frozen all the time (section IV-B); it has neither dropout nor running means, so its mode makes no difference
        self.networks["F_id"] = known.requires_grad_(False).eval()
        net = self.networks
        self.optimizers = {
            name: torch.optim.Adam(gradient_parameters(*(net[part] for part in parts)), o.learning_rate, (0.5, 0.999))
            for name, parts in (("G", ("G_enc", "G_dec")), ("D_img", ("D_img",)), ("D_z", ("D_z",)), ("R", ("R",)))
        }
        pretrain, joint = ("pretrain", o.steps_pretrain), ("joint", o.steps_joint)
        plan = {
            "none": (pretrain,), "BASELINE": (("recognize", o.steps_joint),),
            "SL": (pretrain, ("recognize", o.steps_joint)),
            "OneSt": (("joint", o.steps_pretrain + o.steps_joint),),
        }.get(o.recognition, (pretrain, joint))  # fmt: skip
        self.stages = tuple(Stage(*stage) for stage in plan)

    def begin(self, stage: str) -> None:
        """Nothing but F_id is frozen, and that always."""

    # What the trained networks do

    def one_hot(self, y: Tensor) -> Tensor:
        """Labels (N,) int64 as (N, K) float32."""
        return functional.one_hot(y, len(self.options.labels)).float()

    def synthesize(self, x: Tensor, u: Tensor) -> Tensor:
        """Equation (3): the people of `x` with the continuous label `u` (N, K) in [-1, 1]."""
        return self.networks["G_dec"](self.networks["G_enc"](x), u)

    def new_people(self, z: Tensor, u: Tensor) -> Tensor:
        """Equation (13): people who do not exist, from codes (N, n) in [-1, 1]."""
        return self.networks["G_dec"](z, u)

    def slide(self, y: Tensor, intensity: float) -> Tensor:
        """u with `intensity` in [-1, 1] at the labels y and -1 elsewhere (figure 6: "sliding u(y') on [-1, 1]")."""
        if not -1 <= intensity <= 1:
            raise ValueError(f"intensity: expected a number in [-1, 1], got {intensity}")
        return self.one_hot(y) * (intensity + 1) - 1

    def features(self, x: Tensor) -> Tensor:
        """R_ext(x), (N, 512)."""
        return self.networks["R"].ext(self.networks["F_id"].trunk(x, self.pools))

    def recognize(self, x: Tensor) -> Tensor:
        """Logits (N, K) of R."""
        return self.networks["R"].cls(self.features(x))

    # Losses

    def code_losses(self, z: Tensor, g: Tensor) -> dict[str, Tensor]:
        """L^z_advd, equation (7); no gradient reaches G."""
        D_z = self.networks["D_z"]
        return {"L_Dz": gan_discriminator(D_z(z), D_z(g.detach()))}

    def image_losses(self, x: Tensor, y: Tensor, x_hat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L^img_advd (equation (5)), its gradient penalty and L^r_cls,D (equation (9)); none reaches G."""
        D_img, without = self.networks["D_img"], VARIANTS[self.options.variant]
        x_hat = x_hat.detach()
        (real, logits), fake = D_img(x), D_img.score(x_hat)
        losses = {"L_img_advd": wgan_critic(real, fake), "L_gp": gradient_penalty(D_img.answers, x, x_hat, generator)}
        if "cls" not in without:
            losses["L_r_cls_D"] = functional.cross_entropy(logits, y)
        return losses

    def image_total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation (23) with WGAN-GP's penalty."""
        o = self.options
        return o.lambda_5 * (losses["L_img_advd"] + o.penalty * losses["L_gp"]) + losses.get("L_r_cls_D", 0)

    def generator_losses(
        self, x: Tensor, g: Tensor, x_hat: Tensor, y_other: Tensor, x_rec: Tensor
    ) -> dict[str, Tensor]:
        """The terms of equation (22) that the variant has; no gradient reaches the discriminators or F_id.

        L_rec and L_id are means over pixels and features: weights 10 and 5 for sums would leave the other terms without
        any influence.
        """
        net, without, losses = self.networks, VARIANTS[self.options.variant], {}
        with stopped(net["D_img"], net["D_z"]):
            if "adv" not in without:
                score, logits = net["D_img"](x_hat)
                losses["L_img_advg"] = wgan_generator(score)
                if "cls" not in without:
                    losses["L_f_cls_D"] = functional.cross_entropy(logits, y_other)
            if "z" not in without:
                losses["L_z_advg"] = gan_generator(net["D_z"](g))
        if "L_rec" not in without:
            losses["L_rec"] = reconstruction(x, x_rec, norm=1)
        if "L_id" not in without:
            losses["L_id"] = reconstruction(net["F_id"](x), net["F_id"](x_rec), norm=1)
        return losses

    def generator_total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation (22), or (25) where `losses` has L_f_cls_R."""
        o = self.options
        weights = {
            "L_img_advg": 1.0, "L_z_advg": o.lambda_1, "L_rec": o.lambda_2, "L_id": o.lambda_3,
            "L_f_cls_D": o.lambda_4, "L_f_cls_R": o.lambda_4,
        }  # fmt: skip
        return sum((weights[name] * value for name, value in losses.items()), torch.zeros(()))

    def recognizer_losses(
        self, x: Tensor, x_pr: Tensor, y: Tensor, x_pf: Tensor | None, y_pf: Tensor | None
    ) -> dict[str, Tensor]:
        """L_intra (equation (14)), L^r_cls,R and L^f_cls,R (equations (20), (21)); no gradient reaches G.

        R_ext ends in dropout (table II), so distances are those of features with it.
        """
        o, R = self.options, self.networks["R"]
        real = self.features(x)
        losses = {"L_r_cls_R": functional.cross_entropy(R.cls(real), y)}
        if x_pf is not None:
            synthetic = self.features(x_pf.detach())
            losses["L_f_cls_R"] = functional.cross_entropy(R.cls(synthetic), y_pf)
            if o.recognition not in ("JL-IL", "Real"):
                partner = self.features(x_pr)
                losses["L_intra"] = intra_class_loss(real, partner, synthetic, guided=o.recognition != "JL-RDBP")
        return losses

    def recognizer_total(self, losses: dict[str, Tensor]) -> Tensor:
        """Equation (26)."""
        cls = losses["L_r_cls_R"] + losses.get("L_f_cls_R", 0)
        return self.options.lambda_6 * losses["L_intra"] + cls if "L_intra" in losses else cls

    # Steps

    def step(self, stage: str, batch: dict[str, Tensor], generator: torch.Generator, index: int = 0) -> dict:
        """One pass of algorithm 1's loop."""
        if stage == "recognize":
            return self._step_recognize(batch, generator)
        o, net, x, y = self.options, self.networks, batch["x"], batch["y"]
        without, losses = VARIANTS[o.variant], {}
        g = net["G_enc"](x)
        z = self._codes(g, generator)
        if "z" not in without:
            against = self.code_losses(z, g)
            self._update("D_z", against["L_Dz"])
            losses |= against
        y_other = other_labels(y, len(o.labels), generator)
        x_hat = net["G_dec"](g, self._random_label(y_other, generator))
        if "adv" not in without:
            against = self.image_losses(x, y, x_hat, generator)
            self._update("D_img", self.image_total(against))
            losses |= against
        x_rec = net["G_dec"](g, self._random_label(y, generator))
        own = {}
        if stage == "joint":
            x_pf, y_pf = self._auxiliary(g, z, y, generator)
            recognized = self.recognizer_losses(x, batch["x_pr"], y, x_pf, y_pf)
            self._update("R", self.recognizer_total(recognized))
            losses |= recognized
            with stopped(net["R"]):
                own["L_f_cls_R"] = functional.cross_entropy(self.recognize(x_pf), y_pf)
        own = {**self.generator_losses(x, g, x_hat, y_other, x_rec), **own}
        self._update("G", self.generator_total(own))
        return {name: value.detach() for name, value in {**own, **losses}.items()}

    def sample(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """A row for each person: x, x_rec, each expression at full strength, and somebody new with the label of x."""
        x, y = batch["x"], batch["y"]
        columns = [x, self.synthesize(x, self.slide(y, 1))]
        columns += [self.synthesize(x, self.slide(torch.full_like(y, k), 1)) for k in range(len(self.options.labels))]
        z = self._codes(self.networks["G_enc"](x), generator)
        return torch.stack([*columns, self.new_people(z, self.slide(y, 1))], 1)

    def _step_recognize(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict:
        x, y, x_pf, y_pf = batch["x"], batch["y"], None, None
        if self.options.recognition != "BASELINE":
            with torch.no_grad():  # SL: the pre-trained generator stays as it is
                g = self.networks["G_enc"](x)
                x_pf, y_pf = self._auxiliary(g, self._codes(g, generator), y, generator)
        losses = self.recognizer_losses(x, batch["x_pr"], y, x_pf, y_pf)
        self._update("R", self.recognizer_total(losses))
        return {name: value.detach() for name, value in losses.items()}

    def _auxiliary(self, g: Tensor, z: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x_p,f and its labels: new people with the labels of x, or for FESR Real the same people with any label.

        FESR Real makes "images with all expressions from the input images"; here a step makes one of them for each
        picture, drawn evenly, so that R sees as many synthetic pictures as in the other variants.
        """
        if self.options.recognition == "Real":
            y = torch.randint(len(self.options.labels), y.shape, generator=generator).to(y)
            return self.networks["G_dec"](g, self._random_label(y, generator)), y
        return self.networks["G_dec"](z, self._random_label(y, generator)), y

    def _codes(self, g: Tensor, generator: torch.Generator) -> Tensor:
        """z, uniform in [-1, 1], as many as codes g."""
        return (torch.rand(g.shape, generator=generator) * 2 - 1).to(g)

    def _random_label(self, y: Tensor, generator: torch.Generator) -> Tensor:
        one_hot = self.one_hot(y)
        return continuous_label(one_hot, torch.rand(one_hot.shape, generator=generator).to(one_hot))

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
