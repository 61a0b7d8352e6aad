"""CDAAE from a set of faces to training, and from a trained run to pictures: what `affect3d.gan.methods` asks for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from affect3d.gan.batches import EpochBatches, fingerprint, to_images, to_pixels
from affect3d.gan.cdaae import figures as grids
from affect3d.gan.cdaae.method import CDAAE, CDAAEOptions
from affect3d.gan.data import same_person_pairs, unit_pairs
from affect3d.gan.data.images import MAX_INTENSITY

__all__ = ["OPTIONS", "edit", "figures", "label_rows", "prepare", "restore", "training_pairs", "transform"]

#: What `settings` are fields of.
OPTIONS = CDAAEOptions

#: Pictures that go through the networks at once.
_AT_ONCE = 256

#: Follow from the faces.
_GIVEN = ("labels", "size", "channels")


def prepare(faces, settings: dict, batch: int = 32, seed: int = 0) -> tuple[CDAAE, EpochBatches]:
    """The method with initial weights, and its batches.

    Parameters
    ----------
    faces : FaceImages
        Square pictures; for kind "emotions" with expressions, for "units" with action units.
    settings : dict
        Fields of `CDAAEOptions` but labels, size and channels, which are those of `faces`.
    batch : int
        Pairs of a batch, at least 2 (they are normalized); 32 in the paper.
    seed : int
        Of weights, pairs and their order.

    Raises
    ------
    ValueError
        If a setting is not known or out of range, or the faces have no labels of that kind.
    """
    allowed = sorted({f.name for f in fields(CDAAEOptions)} - {*_GIVEN, "seed"})
    for name in settings:
        if name not in allowed:
            raise ValueError(f"settings: expected {', '.join(allowed)}, got {name!r}")
    if batch < 2:
        raise ValueError(f"batch: expected at least 2 pairs, because the discriminators normalize them, got {batch}")
    height, width, channels = faces.size
    if height != width:
        raise ValueError(f"faces: expected square pictures, got {height} x {width}")
    # whoever has action units only need not say so
    kind = settings.get("kind", "units" if faces.unit_names and not faces.expression_names else CDAAEOptions.kind)
    labels = faces.unit_names if kind == "units" else faces.expression_names
    if not labels:
        raise ValueError(f"faces: expected {'action units' if kind == 'units' else 'expressions'}, got a set without")
    method = CDAAE(CDAAEOptions(**{**settings, "kind": kind}, labels=labels, size=height, channels=channels, seed=seed))
    pairs = training_pairs(faces, kind, np.random.default_rng(seed))
    l = label_rows(faces, method.options)  # noqa: E741 (the paper's symbol)

    def make(rows, rng):
        source, target = pairs[rows].T
        return {"x_s": faces.images[source], "x_t": faces.images[target], "l": l[target]}

    # of each person to look at, one pair
    _, first = np.unique(faces.subject[pairs[:, 0]], return_index=True)
    return method, EpochBatches(
        len(pairs), batch, make, seed, fingerprint(faces.images, pairs, l), np.sort(first)[:8]
    )


def training_pairs(faces, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Rows (P, 2) of source and target.

    Emotions: each picture with each of the same person and take, itself included (section 3.2).  Units: for each
    up to 2,000 targets that show it and 1,000 that do not, with a random source of the same person (section 3.1).
    """
    pairs = unit_pairs(faces, rng) if kind == "units" else same_person_pairs(faces)
    known = ~np.isnan(faces.units[pairs[:, 1]]).any(1) if kind == "units" else faces.expression[pairs[:, 1]] >= 0
    if not known.any():
        raise ValueError(f"faces: no picture has all its {kind} labelled")
    return pairs[known]


def label_rows(faces, options: CDAAEOptions) -> np.ndarray:
    """l of each picture: (N, L) float32, intensities in [0, 1] or one-hot; rows of unlabelled pictures are zero."""
    if options.kind == "units":
        columns = [faces.unit_names.index(name) for name in options.labels]
        return np.nan_to_num(faces.units[:, columns] / MAX_INTENSITY).astype(np.float32)
    places = np.array([options.labels.index(name) for name in faces.expression_names] + [-1])
    one_hot = np.vstack([np.eye(len(options.labels)), np.zeros(len(options.labels))]).astype(np.float32)
    return one_hot[places[faces.expression]]


def restore(options: dict) -> CDAAE:
    """The method with the options that were saved with its weights (whose values are then filled in)."""
    return CDAAE(CDAAEOptions(**options))


def edit(method: CDAAE, images: np.ndarray, target: dict[str, float]) -> np.ndarray:
    """The people of `images` with another expression.

    Parameters
    ----------
    method : CDAAE
    images : (N, H, W, C) uint8
        Cropped as those it was trained on.
    target : dict of str to float
        Weights in [0, 1] of labels; those left out are 0.

    Returns
    -------
    (N, H, W, C) uint8

    Raises
    ------
    ValueError
        If a label is not one of the method's, or a weight is out of range.
    """
    l = np.zeros(len(method.options.labels), np.float32)  # noqa: E741
    for name, weight in target.items():
        if name not in method.options.labels:
            raise ValueError(f"target: expected labels of {', '.join(method.options.labels)}, got {name!r}")
        if not 0 <= weight <= 1:
            raise ValueError(f"target: expected weights in [0, 1], got {name}={weight}")
        l[method.options.labels.index(name)] = weight
    return _synthesized(method, images, np.tile(l, (len(images), 1)))


def transform(method: CDAAE, faces, pairs: np.ndarray) -> np.ndarray:
    """Pictures (P, H, W, C) uint8 of the sources with the labels of the targets; pairs (P, 2) are rows of `faces`."""
    return _synthesized(method, faces.images[pairs[:, 0]], label_rows(faces, method.options)[pairs[:, 1]])


def figures(method: CDAAE, faces) -> dict[str, Tensor]:
    """The paper's figures 2 to 5 for the first people of `faces`, (R, K, C, H, W) in [-1, 1] each."""
    people = [np.flatnonzero(faces.subject == s) for s in faces.subjects[:6]]
    start = [rows[0] for rows in people]
    x, labels = to_images(faces.images[start]), len(method.options.labels)
    l = label_rows(faces, method.options)  # noqa: E741
    on = next(method.networks["E1"].parameters()).device

    def made(x_s, l):
        return method.synthesize(x_s.to(on), l.to(on)).cpu()

    grid = {f"figure2-{method.options.variant}": torch.cat([
        grids.compare_variants({method.options.variant: made}, face, labels) for face in x
    ])}  # fmt: skip
    named = {name: k for k, name in enumerate(method.options.labels)}
    for first, second in (("AU2", "AU26"), ("AU4", "AU12")):
        if first in named and second in named:
            grid[f"figure3-{first}-{second}"] = grids.plane_of_units(made, x[0], labels, named[first], named[second])
    shown = min(8, *(len(rows) for rows in people))
    grid["figure4"] = torch.cat([
        grids.real_and_synthesized(made, to_images(faces.images[rows[:shown]]), torch.from_numpy(l[rows[:shown]]))
        for rows in people[:3]
    ])  # fmt: skip
    if method.options.kind == "emotions":
        grid["figure5"] = grids.emotion_table(made, x[0], labels)
    return grid


def _synthesized(method: CDAAE, images: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    o = method.options
    if images.shape[1:] != (o.size, o.size, o.channels):
        raise ValueError(f"images: expected (N, {o.size}, {o.size}, {o.channels}) uint8, got {images.shape}")
    device, parts = next(method.networks["E1"].parameters()).device, []
    with torch.no_grad():
        for k in range(0, len(images), _AT_ONCE):
            x, rows = to_images(images[k : k + _AT_ONCE]).to(device), torch.from_numpy(l[k : k + _AT_ONCE]).to(device)
            parts.append(to_pixels(method.synthesize(x, rows)))
    return np.concatenate(parts) if parts else images.copy()
