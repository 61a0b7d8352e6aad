"""StoicNet from a set of faces to training, and from a trained run to pictures: see `affect3d.gan.methods`."""

from __future__ import annotations

import numpy as np
import torch

from affect3d.gan import recipes
from affect3d.gan.batches import EpochBatches, fingerprint, to_images
from affect3d.gan.stoicnet.method import StoicNet, StoicNetOptions
from affect3d.gan.stoicnet.report import report

__all__ = ["OPTIONS", "edit", "figures", "prepare", "report", "restore", "transform"]

#: What `settings` are fields of.
OPTIONS = StoicNetOptions

#: Pictures of up to 64 pixels are trained with these unless settings say otherwise, so that a run takes minutes of one
#: core: half the residual blocks with half the channels, Enh joining late, fewer steps.  Larger ones start from
#: `StoicNetOptions`.
SMALL = {
    "code": 192, "W_kl": 2e-5, "blocks": 2, "enhancer": 16, "enhance_from": 0.9, "sharpening": 0.0,
    "steps_reconstruct": 6000, "steps_enhance": 300, "steps_neutralize": 2000,
}  # fmt: skip

_GIVEN = ("size", "channels", "seed")


def prepare(faces, settings: dict, batch: int = 32, seed: int = 0) -> tuple[StoicNet, EpochBatches]:
    """The method with initial weights, and its batches.

    The first two stages see all pictures one by one, the last the pictures whose neutral face is known, that face
    itself included ("every image with the first image of the sequence").

    Parameters
    ----------
    faces : FaceImages
        Square pictures; the paper's are grey (`FaceImages.grey`).
    settings : dict
        Fields of `StoicNetOptions` but those that follow from `faces`.  What is left out is as in `SMALL` for pictures
        of up to 64 pixels.
    batch : int
    seed : int

    Raises
    ------
    ValueError
        If a setting is not known or out of range, or no neutral face is known.
    """
    recipes.check_settings(settings, StoicNetOptions, _GIVEN)
    recipes.check_batch(batch)
    size, channels = recipes.square_size(faces)
    known = np.flatnonzero(faces.neutral >= 0)
    if not len(known):
        raise ValueError("faces: no picture has a neutral one of the same person, which StoicNet learns from")
    settings = {**(SMALL if size <= 64 else {}), **settings}
    method = StoicNet(StoicNetOptions(**settings, size=size, channels=channels, seed=seed))

    # half of all batches is mirrored: the paper adds 5,749 other people against "simple memorization", which is what a
    # variational autoencoder of a few hundred people falls into
    def single(rows, rng):
        return {"x": _mirrored(faces.images[rows], rng.random(len(rows)) < 0.5)}

    def preview(rows, rng):
        return {"x_e": faces.images[rows], "x_n": faces.images[faces.neutral[rows]]}

    def paired(rows, rng):
        # batches are counted over all pictures; those without a neutral face are replaced by others
        rows = np.where(faces.neutral[rows] >= 0, rows, known[rng.integers(len(known), size=len(rows))])
        mirrored = rng.random(len(rows)) < 0.5  # both of a pair
        return {
            "x_e": _mirrored(faces.images[rows], mirrored),
            "x_n": _mirrored(faces.images[faces.neutral[rows]], mirrored),
        }

    make = {"reconstruct": single, "enhance": single, "neutralize": paired}
    away = known[faces.neutral[known] != known]  # pictures that are not neutral themselves
    _, first = np.unique(faces.subject[away], return_index=True)
    shown = away[np.sort(first)[:8]] if len(away) else known[:8]
    data = fingerprint(faces.images, faces.neutral)
    return method, EpochBatches(len(faces), batch, make, seed, data, shown, preview)


def _mirrored(images: np.ndarray, which: np.ndarray) -> np.ndarray:
    images = images.copy()
    images[which] = images[which, :, ::-1]
    return images


def restore(options: dict) -> StoicNet:
    """The method with the options that were saved with its weights (whose values are then filled in)."""
    return StoicNet(StoicNetOptions(**options))


def edit(method: StoicNet, images: np.ndarray, target: dict[str, float]) -> np.ndarray:
    """The people of `images` with a neutral face.

    Raises
    ------
    ValueError
        If `target` asks for anything else than neutral at full weight.
    """
    if any(name != "neutral" or weight != 1 for name, weight in target.items()):
        raise ValueError(f"target: StoicNet makes faces neutral and nothing else; expected neutral=1, got {target}")
    return recipes.applied(method, method.neutralize, images)


def transform(method: StoicNet, faces, pairs: np.ndarray) -> np.ndarray:
    """The sources of `pairs` (P, 2), neutral: (P, H, W, C) uint8.

    Raises
    ------
    ValueError
        If a target is not the neutral face of its source.
    """
    if not (faces.neutral[pairs[:, 0]] == faces.neutral[pairs[:, 1]]).all() or (faces.neutral[pairs[:, 1]] < 0).any():
        raise ValueError("pairs: expected a neutral face as target of each source; StoicNet makes no other")
    if "neutral" in faces.expression_names:
        shown = faces.expression[pairs[:, 1]]
        if (shown != faces.expression_names.index("neutral"))[shown >= 0].any():
            raise ValueError("pairs: expected a neutral face as target of each source; StoicNet makes no other")
    return recipes.applied(method, method.neutralize, faces.images[pairs[:, 0]])


def figures(method: StoicNet, faces) -> dict[str, torch.Tensor]:
    """Figures 2 (stages of the result) and 3 (inputs above outputs without sharpening)."""
    away = np.flatnonzero((faces.neutral >= 0) & (faces.neutral != np.arange(len(faces))))
    _, first = np.unique(faces.subject[away], return_index=True)
    rows = away[np.sort(first)[:6]]
    if not len(rows):
        return {}
    device = next(method.networks["Enc"].parameters()).device
    x, x_n = to_images(faces.images[rows]).to(device), to_images(faces.images[faces.neutral[rows]]).to(device)
    with torch.no_grad():
        two = method.sample({"x_e": x, "x_n": x_n}, torch.Generator())
        three = torch.stack([x, method.neutralize(x, sharpening=0)])
    return {"figure2": two.cpu(), "figure3": three.clamp(-1, 1).cpu()}
