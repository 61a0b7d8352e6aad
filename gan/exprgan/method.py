"""ExprGAN's three stages and their steps (section "Expression Generative Adversarial Network")."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from affect3d.gan.determinism import seeded
from affect3d.gan.exprgan.losses import perceptual_loss, regularizer_loss
from affect3d.gan.exprgan.networks import build_networks, controller
from affect3d.gan.identity.light_cnn import LightCNN, LightCNNOptions
from affect3d.gan.identity.training import SMALL_LIGHT_CNN
from affect3d.gan.identity.vgg_face import VGGFace
from affect3d.gan.layers import gradient_parameters
from affect3d.gan.losses import gan_discriminator, gan_generator, reconstruction, stopped, total_variation
from affect3d.gan.training import Stage

__all__ = ["ExprGAN", "ExprGANOptions"]


@dataclass(frozen=True)
class ExprGANOptions:
    """Everything that ExprGAN leaves open; defaults are the paper's but for the perceptual network.

    `recipe.SMALL` holds those for pictures of up to 64 pixels.

    Attributes
    ----------
    labels : tuple of str
        The K expressions.
    steps_control, steps_reconstruct, steps_refine : int
        Of the three stages; the paper names none.
    size, channels, width, identity, d : int
        See `networks.build_networks`.
    lambda_1, ..., lambda_5 : float
        Weights of L_id, L_Q, L_adv^img, L_adv^z and L_tv in equation (10), from 0.
    lambda_2_reconstruct : float
        Weight of L_Q in the second stage, where it is "decreased" to a number that the paper does not name.
    beta : tuple of 5 floats
        Weights of the layers in L_id, which the paper does not name.
    perceptual : {"light_cnn", "vgg_face"}
        The network of L_id: the one trained here, or VGG-Face (the paper) with published weights.
    light_cnn : LightCNNOptions
        Of the former.
    compared : int
        Pictures of each batch that L_id looks at, the first ones of the shuffled batch; 0 for all.  Its mean stays the
        same, and on a CPU its network takes more time than all others together.
    learning_rate : float
        Adam's, above 0; its betas are 0.5 and 0.999.
    seed : int
        Of the initial weights.
    """

    labels: tuple[str, ...] = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    steps_control: int = 5000
    steps_reconstruct: int = 5000
    steps_refine: int = 5000
    size: int = 128
    channels: int = 3
    width: int = 64
    identity: int = 50
    d: int = 5
    lambda_1: float = 1.0
    lambda_2: float = 1.0
    lambda_3: float = 0.01
    lambda_4: float = 0.01
    lambda_5: float = 0.001
    lambda_2_reconstruct: float = 0.1
    beta: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    perceptual: str = "light_cnn"
    light_cnn: LightCNNOptions = field(default_factory=lambda: SMALL_LIGHT_CNN)
    compared: int = 0
    learning_rate: float = 2e-4
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "beta", tuple(float(b) for b in self.beta))
        if isinstance(self.light_cnn, dict):  # as it comes back from a file
            object.__setattr__(self, "light_cnn", LightCNNOptions(**self.light_cnn))
        if self.perceptual not in ("light_cnn", "vgg_face"):
            raise ValueError(f"perceptual: expected light_cnn or vgg_face, got {self.perceptual!r}")
        if len(self.labels) < 2 or not all(isinstance(name, str) for name in self.labels):
            raise ValueError(f"labels: expected the names of two expressions or more, got {self.labels!r}")
        if len(self.beta) != 5 or not all(math.isfinite(b) and b >= 0 for b in self.beta):
            raise ValueError(f"beta: expected five numbers from 0, got {self.beta}")
        for name in [f"lambda_{k}" for k in range(1, 6)] + ["lambda_2_reconstruct"]:
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: expected a number from 0, got {getattr(self, name)}")
        if not self.compared >= 0:
            raise ValueError(f"compared: expected a number of pictures from 0, got {self.compared}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate: expected a number above 0, got {self.learning_rate}")


class ExprGAN:
    """The method as `affect3d.gan.training.train` wants it.

    Stage "control" trains G_dec, Q and D_img with L_Q and L_adv^img on random g(x); "reconstruct" G_enc, G_dec and Q
    with L_pixel, L_id and a weaker L_Q; "refine" everything with equation (10).

    The trunk belongs to D_img, which trains it by L_adv^img, and to Q, which trains it by L_Q: in "reconstruct", where
    D_img rests, it still follows Q.  What G_dec does against D_img reaches neither.

    Batches hold "x", (N, C, size, size) in [-1, 1], and "y", (N,) int64; no pairs are needed.

    Parameters
    ----------
    options : ExprGANOptions
    perceptual : LightCNN or VGGFace, optional
        Its weights become those of L_id's network.  Without it they are random, until weights are read into `networks`.
    """

    name = "exprgan"

    def __init__(self, options: ExprGANOptions = ExprGANOptions(), perceptual: LightCNN | VGGFace | None = None):
        self.options = o = options
        with seeded(o.seed):
            phi = LightCNN(o.light_cnn) if o.perceptual == "light_cnn" else VGGFace(descriptor=None)
            self.networks = net = build_networks(o.size, o.channels, o.width, o.identity, len(o.labels), o.d)
        if perceptual is not None:
            weights = {k: v for k, v in perceptual.state_dict().items() if not k.startswith(("fc6.", "fc7."))}
            try:
                phi.load_state_dict(weights if isinstance(perceptual, VGGFace) else perceptual.state_dict())
            except RuntimeError:
                raise ValueError(
                    f"perceptual: expected the network that the options describe ({o.perceptual}), "
                    f"got another {type(perceptual).__name__}"
                ) from None
        net["phi"] = phi.requires_grad_(False).eval()
        self.optimizers = {  # fused: with the millions of weights of G_enc a fifth of a step otherwise
            name: torch.optim.Adam(
                gradient_parameters(*(net[part] for part in parts)), o.learning_rate, (0.5, 0.999), fused=True
            ) for name, parts in (
                ("G", ("G_enc", "G_dec")), ("Q", ("trunk", "Q")), ("D_img", ("trunk", "D_img")), ("D_z", ("D_z",)),
            )
        }  # fmt: skip
        self.stages = (
            Stage("control", o.steps_control), Stage("reconstruct", o.steps_reconstruct),
            Stage("refine", o.steps_refine),
        )  # fmt: skip

    def begin(self, stage: str) -> None:
        """Nothing: `step` updates what the stage trains, and only that."""

    # What the trained networks do

    def one_hot(self, y: Tensor) -> Tensor:
        """Labels (N,) int64 as (N, K) float32."""
        return functional.one_hot(y, len(self.options.labels)).float()

    def synthesize(self, x: Tensor, c: Tensor) -> Tensor:
        """The people of `x` with the expression codes `c`, (N, K * d) in [-1, 1]."""
        return self.networks["G_dec"](self.networks["G_enc"](x), c)

    def expression_code(self, x: Tensor, y: Tensor) -> Tensor:
        """c of true pictures with the labels y, (N, K * d), as Q sees it."""
        net = self.networks
        return net["Q"](net["trunk"](x, self.one_hot(y)))

    # Losses

    def image_loss(self, x: Tensor, x_hat: Tensor, y: Tensor) -> Tensor:
        """Minus equation (9), for D_img; no gradient reaches G.  Here and below y is one-hot, (N, K)."""
        net = self.networks
        real, fake = net["D_img"](net["trunk"](x, y)), net["D_img"](net["trunk"](x_hat.detach(), y))
        return gan_discriminator(real, fake)

    def code_loss(self, z: Tensor, g: Tensor) -> Tensor:
        """Minus equation (8), for D_z; no gradient reaches G_enc."""
        D_z = self.networks["D_z"]
        return gan_discriminator(D_z(z), D_z(g.detach()))

    def generator_losses(
        self, stage: str, x: Tensor, x_hat: Tensor, y: Tensor, c: Tensor, g: Tensor
    ) -> dict[str, Tensor]:
        """The terms of equation (10) that the stage has, as G and Q minimize them; none reaches D_img's head or D_z"""
        net, losses = self.networks, {}
        losses["L_Q"] = regularizer_loss(c, net["Q"](net["trunk"](x_hat, y)))
        if stage != "control":
            losses["L_pixel"] = reconstruction(x, x_hat, norm=1)
            some = slice(self.options.compared or None)
            true, made = (net["phi"].layers(images[some]) for images in (x, x_hat))
            losses["L_id"] = perceptual_loss(true, made, self.options.beta)
        if stage != "reconstruct":
            with stopped(net["trunk"], net["D_img"]):
                losses["L_img_adv"] = gan_generator(net["D_img"](net["trunk"](x_hat, y)))
        if stage == "refine":
            with stopped(net["D_z"]):
                losses["L_z_adv"] = gan_generator(net["D_z"](g))
            losses["L_tv"] = total_variation(x_hat)
        return losses

    def weights(self, stage: str) -> dict[str, float]:
        """Of the losses of a stage: equation (10) in "refine"; 1 for both terms of "control", where none is named."""
        o = self.options
        return {
            "control": {"L_Q": 1.0, "L_img_adv": 1.0},
            "reconstruct": {"L_pixel": 1.0, "L_id": o.lambda_1, "L_Q": o.lambda_2_reconstruct},
            "refine": {
                "L_pixel": 1.0, "L_id": o.lambda_1, "L_Q": o.lambda_2, "L_img_adv": o.lambda_3, "L_z_adv": o.lambda_4,
                "L_tv": o.lambda_5,
            },
        }[stage]  # fmt: skip

    # Steps

    def step(self, stage: str, batch: dict[str, Tensor], generator: torch.Generator, index: int = 0) -> dict:
        """The discriminators that the stage trains, then G and Q."""
        o, net, x, y = self.options, self.networks, batch["x"], self.one_hot(batch["y"])
        z_y = (torch.rand(len(x), o.d, generator=generator) * 2 - 1).to(x)
        z = (torch.rand(len(x), o.identity, generator=generator) * 2 - 1).to(x)
        c = controller(y, z_y)
        g = z if stage == "control" else net["G_enc"](x)
        x_hat, against = net["G_dec"](g, c), {}
        if stage != "reconstruct":
            against["L_Dimg"] = self.image_loss(x, x_hat, y)
            self._update(against["L_Dimg"], "D_img")
        if stage == "refine":
            against["L_Dz"] = self.code_loss(z, g)
            self._update(against["L_Dz"], "D_z")
        losses, weights = self.generator_losses(stage, x, x_hat, y, c, g), self.weights(stage)
        self._update(sum(weights[name] * value for name, value in losses.items()), "G", "Q")
        return {name: value.detach() for name, value in {**losses, **against}.items()}

    def sample(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """A row for each person: x, then every expression at full strength, then somebody new with the label of x."""
        x, y = batch["x"], batch["y"]
        ones = torch.ones(len(x), self.options.d).to(x)
        columns = [x]
        for k in range(len(self.options.labels)):
            columns.append(self.synthesize(x, controller(self.one_hot(torch.full_like(y, k)), ones)))
        z = (torch.rand(len(x), self.options.identity, generator=generator) * 2 - 1).to(x)
        return torch.stack([*columns, self.networks["G_dec"](z, controller(self.one_hot(y), ones))], 1)

    def _update(self, loss: Tensor, *names: str) -> None:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            self.optimizers[name].step()
