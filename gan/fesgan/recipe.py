"""FESGAN and FESR from a set of faces to training, and from a trained run to pictures: see `affect3d.gan.methods`."""

from __future__ import annotations

import numpy as np
import torch

from affect3d.gan import recipes
from affect3d.gan.batches import EpochBatches, fingerprint
from affect3d.gan.data.pairs import same_class_pairs
from affect3d.gan.fesgan.method import FESGAN, FESGANOptions
from affect3d.gan.fesgan.report import report
from affect3d.gan.identity.light_cnn import LightCNN

__all__ = ["OPTIONS", "edit", "figures", "prepare", "report", "restore", "transform"]

#: What `settings` are fields of.
OPTIONS = FESGANOptions

_GIVEN = ("labels", "size", "channels", "identity", "seed")


def prepare(
    faces, settings: dict, batch: int = 16, seed: int = 0, identity: LightCNN | None = None
) -> tuple[FESGAN, EpochBatches]:
    """The method with initial weights, and its batches.

    Parameters
    ----------
    faces : FaceImages
        Square pictures with expressions; rows without are left out.
    settings : dict
        Fields of `FESGANOptions` but those that follow from `faces`; besides "identity_weights", a file with the
        weights of a Light CNN (`load_light_cnn`), and "identity_steps" of the training of a small one on `faces` where
        there is none.
    batch : int
        Pictures of a batch; 16 in the paper.
    seed : int
    identity : LightCNN, optional
        Taken instead of one from a file or one trained here: the paper's has seen many other people.

    Raises
    ------
    ValueError
        If a setting is not known or out of range, or the faces have no expressions.
    """
    recipes.check_settings(settings, FESGANOptions, _GIVEN, ("identity_weights", "identity_steps"))
    recipes.check_batch(batch)
    size, channels = recipes.square_size(faces)
    settings = dict(settings)
    weights, steps = settings.pop("identity_weights", None), int(settings.pop("identity_steps", 400))
    pairs = same_class_pairs(faces, np.random.default_rng(seed))
    if identity is None:
        identity = recipes.identity_network(faces, weights, steps, seed)
    options = FESGANOptions(
        **settings, labels=faces.expression_names, size=size, channels=channels, identity=identity.options, seed=seed
    )

    def make(rows, rng):
        x, other = pairs[rows].T
        return {"x": faces.images[x], "y": faces.expression[x], "x_pr": faces.images[other]}

    _, first = np.unique(faces.subject[pairs[:, 0]], return_index=True)
    data = fingerprint(faces.images, faces.expression, pairs)
    return FESGAN(options, identity), EpochBatches(len(pairs), batch, make, seed, data, np.sort(first)[:8])


def restore(options: dict) -> FESGAN:
    """The method with the options that were saved with its weights (whose values are then filled in)."""
    return FESGAN(FESGANOptions(**options))


def edit(method: FESGAN, images: np.ndarray, target: dict[str, float]) -> np.ndarray:
    """The people of `images` with the one expression of `target`; its weight 0 to 1 is u from -1 to 1 (figure 6).

    Raises
    ------
    ValueError
        If `target` names an unknown label, two of them, or a weight out of range.
    """
    name, weight = recipes.one_target(target, method.options.labels)
    y = torch.full((len(images),), method.options.labels.index(name) if name else 0)
    return recipes.applied(method, lambda x, y: method.synthesize(x, method.slide(y, 2 * weight - 1)), images, y)


def transform(method: FESGAN, faces, pairs: np.ndarray) -> np.ndarray:
    """Pictures (P, H, W, C) uint8 of the sources with the expressions of the targets, at full strength."""
    y = torch.tensor([method.options.labels.index(name) for name in recipes.shown(faces, pairs[:, 1])])
    return recipes.applied(method, lambda x, y: method.synthesize(x, method.slide(y, 1)), faces.images[pairs[:, 0]], y)


def figures(method: FESGAN, faces) -> dict[str, torch.Tensor]:
    """Figures 6 (one face, expressions from weak to strong) and 7 (people who do not exist)."""
    from affect3d.gan.batches import to_images

    o = method.options
    device = next(method.networks["G_enc"].parameters()).device
    x, y = to_images(faces.images[:1]).to(device), torch.arange(len(o.labels), device=device)
    with torch.no_grad():
        faces_of = x.expand(len(y), *x.shape[1:])
        steps = [method.synthesize(faces_of, method.slide(y, v)) for v in (-1, -0.5, 0, 0.5, 1)]
        z = torch.rand(6, 1, o.code, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
        new = [method.new_people(code.expand(len(y), -1), method.slide(y, 1)) for code in z]
    return {"figure6": torch.stack([faces_of, *steps], 1).cpu(), "figure7": torch.stack(new).cpu()}
