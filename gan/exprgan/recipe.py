"""ExprGAN from a set of faces to training, and from a trained run to pictures: see `affect3d.gan.methods`."""

from __future__ import annotations

import numpy as np
import torch

from affect3d.gan import recipes
from affect3d.gan.batches import EpochBatches, fingerprint, to_images
from affect3d.gan.exprgan.applications import level_code, neutral_code, strength_code
from affect3d.gan.exprgan.method import ExprGAN, ExprGANOptions
from affect3d.gan.exprgan.report import report

__all__ = ["OPTIONS", "edit", "figures", "prepare", "report", "restore", "transform"]

#: What `settings` are fields of.
OPTIONS = ExprGANOptions

#: Pictures of up to 64 pixels are trained with these unless settings say otherwise: the layers are the paper's, with a
#: quarter of its channels, so that a run takes minutes of one core.  Larger ones start from `ExprGANOptions`.
SMALL = {
    "width": 16, "compared": 8, "beta": (0.05,) * 5, "learning_rate": 5e-4, "steps_control": 400,
    "steps_reconstruct": 8000, "steps_refine": 500,
}  # fmt: skip

_GIVEN = ("labels", "size", "channels", "light_cnn", "seed")

#: Made by a code that is -1 everywhere, not learnt as a class of its own.
NEUTRAL = "neutral"


def prepare(faces, settings: dict, batch: int = 48, seed: int = 0) -> tuple[ExprGAN, EpochBatches]:
    """The method with initial weights, and its batches; pictures are mirrored at random, as in the paper.

    Parameters
    ----------
    faces : FaceImages
        Square pictures with expressions.  Neutral ones are left out (the paper has none), and so are unlabelled ones.
    settings : dict
        Fields of `ExprGANOptions` but those that follow from `faces`, what is left out as in `SMALL` for pictures of up
        to 64 pixels; besides "identity_weights", a file with the
        published weights of VGG-Face (for perceptual "vgg_face") or Light CNN-29, and "identity_steps" of the training
        of a small network where there is none.
    batch : int
        Pictures of a batch; 48 in the paper.
    seed : int

    Raises
    ------
    ValueError
        If a setting is not known or out of range, the faces have no expressions, or VGG-Face has no weights.
    """
    recipes.check_settings(settings, ExprGANOptions, _GIVEN, ("identity_weights", "identity_steps"))
    recipes.check_batch(batch)
    size, channels = recipes.square_size(faces)
    settings = {**(SMALL if size <= 64 else {}), **settings}
    weights, steps = settings.pop("identity_weights", None), int(settings.pop("identity_steps", 400))
    labels = tuple(name for name in faces.expression_names if name != NEUTRAL)
    places = np.array([labels.index(n) if n in labels else -1 for n in faces.expression_names] + [-1])
    y = places[faces.expression]
    known = np.flatnonzero(y >= 0)
    if not len(known):
        raise ValueError("faces: no picture has an expression label other than neutral")
    if settings.get("perceptual") == "vgg_face":
        from affect3d.gan.identity import load_vgg_face

        if not weights:
            raise ValueError("identity_weights: name a file with VGG-Face's weights, or leave perceptual at light_cnn")
        phi, given = load_vgg_face(weights), {}
    else:
        phi = recipes.identity_network(faces, weights, steps, seed)
        given = {"light_cnn": phi.options}
    options = ExprGANOptions(**settings, **given, labels=labels, size=size, channels=channels, seed=seed)

    def make(rows, rng):
        x = faces.images[known[rows]].copy()
        mirrored = rng.random(len(rows)) < 0.5
        x[mirrored] = x[mirrored, :, ::-1]
        return {"x": x, "y": y[known[rows]]}

    _, first = np.unique(faces.subject[known], return_index=True)
    data = fingerprint(faces.images, y)
    return ExprGAN(options, phi), EpochBatches(len(known), batch, make, seed, data, np.sort(first)[:8])


def restore(options: dict) -> ExprGAN:
    """The method with the options that were saved with its weights (whose values are then filled in)."""
    return ExprGAN(ExprGANOptions(**options))


def edit(method: ExprGAN, images: np.ndarray, target: dict[str, float]) -> np.ndarray:
    """The people of `images` with the one expression of `target`; its weight from 0 to 1 is its code from -1 to 1.

    Weight 0, and "neutral", give the neutral face.

    Raises
    ------
    ValueError
        If `target` names an unknown label, two of them, or a weight out of range.
    """
    name, weight = recipes.one_target(target, (*method.options.labels, NEUTRAL))
    if name is None or name == NEUTRAL:
        name, weight = method.options.labels[0], 0.0
    y = torch.full((len(images),), method.options.labels.index(name))
    return recipes.applied(method, method.synthesize, images, strength_code(method, y, 2 * weight - 1))


def transform(method: ExprGAN, faces, pairs: np.ndarray) -> np.ndarray:
    """Pictures (P, H, W, C) uint8 of the sources with the expressions of the targets, at full strength."""
    names = recipes.shown(faces, pairs[:, 1])
    neutral = torch.tensor([name == NEUTRAL for name in names])
    y = torch.tensor([0 if name == NEUTRAL else method.options.labels.index(name) for name in names])
    c = torch.where(neutral[:, None], neutral_code(method, len(y)), strength_code(method, y, 1.0))
    return recipes.applied(method, method.synthesize, faces.images[pairs[:, 0]], c)


def figures(method: ExprGAN, faces) -> dict[str, torch.Tensor]:
    """Figure 3: a row for each expression: the face, neutral, then its d levels, then all of them."""
    device = next(method.networks["G_enc"].parameters()).device
    y = torch.arange(len(method.options.labels), device=device)
    x = to_images(faces.images[:1]).to(device)
    x = x.expand(len(y), *x.shape[1:])
    codes = [neutral_code(method, len(y)).to(device)]
    codes += [level_code(method, y, level) for level in range(method.options.d)] + [strength_code(method, y, 1.0)]
    with torch.no_grad():
        return {"figure3": torch.stack([x, *(method.synthesize(x, c) for c in codes)], 1).cpu()}
