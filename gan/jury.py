"""Several recognizers that were trained alike, asked together: what they say hangs less on how each was trained.

Rates of one small network differ by some hundredths between two trainings that differ in their seed alone.  The mean
of several is steadier, and is what the measures here are taken with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from affect3d.gan.determinism import step_seed
from affect3d.gan.kept import kept
from affect3d.gan.recognizer import Recognizer, RecognizerOptions, train_recognizer
from affect3d.progress import Progress, silent

__all__ = ["Jury", "each_seed", "train_jury"]


@dataclass(frozen=True, eq=False)
class Jury:
    """Recognizers of the same classes.

    Attributes
    ----------
    members : tuple of Recognizer
        One at least.
    """

    members: tuple[Recognizer, ...]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logarithm of the mean probability of each class, (N, classes) float64, of pictures (N, H, W, C) uint8."""
        logits = np.stack([member.logits(images) for member in self.members]).astype(np.float64)
        probable = np.exp(logits - logits.max(-1, keepdims=True))
        mean = (probable / probable.sum(-1, keepdims=True)).mean(0)
        return np.log(np.maximum(mean, np.finfo(np.float64).tiny))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The likeliest class, (N,) int64, of pictures (N, H, W, C) uint8."""
        return self.logits(images).argmax(1)

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """Those of all members side by side, (N, 128 * members) of length one, of pictures (N, H, W, C) uint8.

        The square of a distance is the mean of the squares that the members find.
        """
        parts = [member.descriptors(images) for member in self.members]
        return np.concatenate(parts, axis=1) / np.float32(len(parts) ** 0.5)


def train_jury(
    images: np.ndarray, classes: np.ndarray, options: RecognizerOptions = RecognizerOptions(),
    progress: Progress = silent,
) -> Jury:  # fmt: skip
    """Train ``options.judges`` recognizers as `train_recognizer` does, each with a seed of its own."""

    def member(own: RecognizerOptions) -> Recognizer:
        return kept(
            "recognizer", images, classes, own, lambda: Recognizer(images.shape[3], int(classes.max()) + 1),
            lambda: train_recognizer(images, classes, own, progress),
        )  # fmt: skip

    return Jury(tuple(member(own) for own in each_seed(options)))


def each_seed(options: RecognizerOptions) -> tuple[RecognizerOptions, ...]:
    """Options for each judge: the first has the seed of `options`, the others have seeds that follow from it.

    Raises
    ------
    ValueError
        If there is to be no judge.
    """
    if options.judges < 1:
        raise ValueError(f"judges: expected 1 at least, got {options.judges}")
    # not seed + k: two juries with neighbouring seeds would have members in common
    seeds = [options.seed, *(step_seed(options.seed, 3, k) for k in range(1, options.judges))]
    return tuple(replace(options, seed=seed) for seed in seeds)
