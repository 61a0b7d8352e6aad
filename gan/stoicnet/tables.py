"""Tables 1 and 2 of StoicNet's paper: how strong expressions are before and after, and whether people stay themselves.

Carver and Nwogu, "Facial Expression Neutralization With StoicNet", WACV Workshops 2021, section 4.2.  The paper reads
both with OpenFace; here action units are read by `affect3d.gan.intensity` and descriptors are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.gan.intensity import UnitReader, total_intensity
from affect3d.gan.metrics import descriptor_distance

__all__ = ["IdentityTable", "IntensityTable", "identity_table", "intensity_by_expression", "intensity_table"]


@dataclass(frozen=True)
class IntensityTable:
    """Table 1: mean sums of action units.  One number for each share of the most expressive inputs.

    Attributes
    ----------
    shares : tuple of float
        1 for all inputs, 0.25 for the quarter that shows most, ...
    expressive, neutralized, neutral : tuple of float
        Of the inputs, of what was made of them, and of the people's true neutral faces.
    """

    shares: tuple[float, ...]
    expressive: tuple[float, ...]
    neutralized: tuple[float, ...]
    neutral: tuple[float, ...]

    @property
    def removed(self) -> tuple[float, ...]:
        """Share of the intensity above that of true neutral faces that is gone: 1 for all of it."""
        return tuple((e - m) / (e - n) for e, m, n in zip(self.expressive, self.neutralized, self.neutral))


@dataclass(frozen=True)
class IdentityTable:
    """Table 2: mean distances of descriptors from that of the input, and what the paper derives from them.

    Attributes
    ----------
    positive, neutralized, negative : float
        To the same person's true neutral face, to the one that was made, and to another person's neutral face.
    threshold : float
        Half way between positive and negative, which gives the paper's 0.842 from its 0.192 and 1.493.
    verified : float
        Share of made faces that are nearer to the input than the threshold (75.6 % in the paper).
    recognized : float
        Share that is nearer to the input than the other person ("1:2 facial recognition", 94.4 %).
    """

    positive: float
    neutralized: float
    negative: float
    threshold: float
    verified: float
    recognized: float


def intensity_table(
    reader: UnitReader, faces, pairs: np.ndarray, images: np.ndarray, shares=(1.0, 0.25, 0.1)
) -> IntensityTable:
    """Table 1 for the pictures `images` that were made of the sources of `pairs`.

    Parameters
    ----------
    reader : UnitReader
        Trained on other people.
    faces : FaceImages
    pairs : (P, 2) int array
        Rows of source and true neutral face.
    images : (P, H, W, C) uint8
    shares : sequence of float
        In (0, 1]; at least one picture is taken.  Which inputs are the most expressive, the reader says, as in the
        paper.

    Raises
    ------
    ValueError
        If there is not one picture for each pair, or a share is out of range.
    """
    pairs = _pairs(pairs, images)
    if not len(pairs) or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares: expected numbers in (0, 1] of at least one picture, got {shares} of {len(pairs)}")
    source, target = (total_intensity(reader.read(faces.images[pairs[:, k]])) for k in (0, 1))
    made = total_intensity(reader.read(images))
    order = np.argsort(-source, kind="stable")
    rows = [order[: max(1, round(share * len(order)))] for share in shares]
    return IntensityTable(
        tuple(float(s) for s in shares), *(tuple(float(v[r].mean()) for r in rows) for v in (source, made, target))
    )


def intensity_by_expression(reader: UnitReader, faces, pairs: np.ndarray, images: np.ndarray) -> dict[str, dict]:
    """Table 1 for each expression of the sources: mean sums of action units by its name.

    Returns
    -------
    dict of str to dict
        "pictures", "expressive", "neutralized", "neutral", and "lowered": the share of the first by which it fell
        (None where the sources read as showing nothing).
    """
    pairs = _pairs(pairs, images)
    source, target = (total_intensity(reader.read(faces.images[pairs[:, k]])) for k in (0, 1))
    made, shown, table = total_intensity(reader.read(images)), faces.expression[pairs[:, 0]], {}
    for k, name in enumerate(faces.expression_names):
        rows = shown == k
        if rows.any():
            e, m, n = (float(v[rows].mean()) for v in (source, made, target))
            table[name] = {
                "pictures": int(rows.sum()), "expressive": e, "neutralized": m, "neutral": n,
                "lowered": (e - m) / e if e > 0 else None,
            }  # fmt: skip
    return table


def identity_table(describe, faces, pairs: np.ndarray, images: np.ndarray, rng: np.random.Generator) -> IdentityTable:
    """Table 2.

    Parameters
    ----------
    describe : callable
        Pictures (N, H, W, C) uint8 to descriptors (N, D): `Recognizer.descriptors` of a network that was not used in
        training.
    faces, pairs, images
        As in `intensity_table`.
    rng : numpy Generator
        Draws the other person of each pair.

    Raises
    ------
    ValueError
        If there is not one picture for each pair, or there are no two people.
    """
    pairs = _pairs(pairs, images)
    subject = faces.subject[pairs[:, 0]]
    if len(np.unique(subject)) < 2:
        raise ValueError("faces: expected the pairs of at least two people, of whom one can be the other")
    anchor, neutral = (describe(faces.images[pairs[:, k]]) for k in (0, 1))
    other = np.array([rng.choice(np.flatnonzero(subject != s)) for s in subject])
    positive, negative = descriptor_distance(neutral, anchor), descriptor_distance(neutral[other], anchor)
    made = descriptor_distance(describe(images), anchor)
    threshold = (positive.mean() + negative.mean()) / 2
    return IdentityTable(
        float(positive.mean()), float(made.mean()), float(negative.mean()), float(threshold),
        float((made < threshold).mean()), float((made < negative).mean()),
    )  # fmt: skip


def _pairs(pairs, images) -> np.ndarray:
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(images) != len(pairs):
        raise ValueError(f"images: expected one for each of the pairs (P, 2), got {len(images)} and {pairs.shape}")
    return pairs
