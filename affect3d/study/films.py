"""Batches of short films: windows of true clips, and films put together from added pictures of one source frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from affect3d.gan.batches import EpochBatches, fingerprint

__all__ = [
    "AddedFilms", "FilmOptions", "TwoParts", "class_weights", "film_batches", "windows_of", "with_light_and_place",
]  # fmt: skip


@dataclass(frozen=True)
class FilmOptions:
    """How films are put together.

    Attributes
    ----------
    length : int
        Frames of a film, from 1.
    batch : int
        Films of a step, those of added pictures included, from 2.
    share : float
        Of these, the share made of added pictures where there are some, in (0, 1).
    until : float
        Share of the steps, in (0, 1], after which only true films are learned from: as networks are first trained on
        made pictures and then tuned on true ones.
    shift : int
        Pixels by which a film is moved at most, either way.
    light : float
        Standard deviation of the logarithm of gain and contrast.
    classes : {"like", "uniform", "balanced"}
        Which added pictures are shown more often: those whose labels are as common in the training frames as they are
        there, all alike, or those with rare labels.  Only frames that are learned from are counted.
    """

    length: int = 6
    batch: int = 16
    share: float = 0.6
    until: float = 1.0
    classes: str = "uniform"
    shift: int = 2
    light: float = 0.15

    def __post_init__(self):
        for name, low in (("length", 1), ("batch", 2), ("shift", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")
        if self.classes not in ("like", "uniform", "balanced"):
            raise ValueError(f"classes: expected like, uniform or balanced, got {self.classes!r}")
        if not 0 < self.share < 1 or not self.light >= 0:
            raise ValueError(f"share, light: expected numbers in (0, 1) and from 0, got {self.share}, {self.light}")
        if not 0 < self.until <= 1:
            raise ValueError(f"until: expected a number in (0, 1], got {self.until}")


@dataclass(frozen=True, eq=False)
class AddedFilms:
    """Added pictures grouped by the frame they were made of.

    Attributes
    ----------
    pictures : (M, S, S, C) uint8
    labels : (M, 2) float64
    group : (M,) int64
        From 0; each number occurs.
    weight : (M,) float64
        How often a picture is shown, relative to the others of its group; above 0.
    """

    pictures: np.ndarray
    labels: np.ndarray
    group: np.ndarray
    weight: np.ndarray

    def draw(self, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A film (T, S, S, C) with labels (T, 2): pictures of one group, swept across the plane in one direction."""
        own = np.flatnonzero(self.group == rng.integers(self.group.max() + 1))
        chance = self.weight[own] / self.weight[own].sum()
        rows = rng.choice(own, length, replace=len(own) < length, p=chance)
        angle = rng.uniform(0, 2 * np.pi)
        rows = rows[np.argsort(self.labels[rows] @ [np.cos(angle), np.sin(angle)], kind="stable")]
        return self.pictures[rows], self.labels[rows]


def class_weights(labels, added, kind: str, spread: float = 0.15) -> np.ndarray:
    """(M,) weights of added pictures with labels (M, 2), by the labels (N, 2) of the training frames.

    "like" is the ratio of two densities on the plane, of the training labels and of the added ones, both smoothed by
    a Gaussian of standard deviation `spread`, so that weighted pictures are spread as the training labels are;
    "balanced" is the reciprocal of the first alone; both are kept above a hundredth of their largest.
    """
    added = np.asarray(added, float)
    if kind == "uniform":
        return np.ones(len(added))

    def density(of):
        return np.mean([np.exp(-((added - o) ** 2).sum(1) / (2 * spread**2)) for o in np.asarray(of, float)], axis=0)

    known = density(labels) + 1e-6
    weight = known / (density(added) + 1e-6) if kind == "like" else 1 / (known + 0.05)
    return np.maximum(weight / weight.max(), 0.01)


def windows_of(clip, frame, rows, length: int, step: int | None = None) -> np.ndarray:
    """(W, length) int64 windows of the frames `rows`, clip by clip, in the order of the frames.

    The last window of a clip is moved so that it ends with it; a clip that is too short repeats its last frame.

    Parameters
    ----------
    clip, frame : (N,) int arrays
    rows : (M,) int array
    step : int, optional
        From one window to the next; half of `length` if left out.
    """
    rows, step = np.asarray(rows, np.int64), max(length // 2, 1) if step is None else step
    out = []
    for one in np.unique(clip[rows]):
        own = rows[clip[rows] == one]
        own = own[np.argsort(frame[own], kind="stable")]
        if len(own) <= length:
            out.append(np.concatenate([own, np.repeat(own[-1], length - len(own))]))
            continue
        starts = list(range(0, len(own) - length, step)) + [len(own) - length]
        out += [own[s : s + length] for s in starts]
    return np.array(out, np.int64).reshape(-1, length)


def with_light_and_place(film, options: FilmOptions, rng: np.random.Generator) -> np.ndarray:
    """The film (T, S, S, C) uint8 mirrored by chance, moved, and in other light: the usual augmentation."""
    if rng.random() < 0.5:
        film = film[:, :, ::-1]
    dx, dy = rng.integers(-options.shift, options.shift + 1, 2)
    pad = options.shift
    size = film.shape[1]
    wide = np.pad(film, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    film = wide[:, pad + dy : pad + dy + size, pad + dx : pad + dx + size]
    gain, contrast = np.exp(options.light * rng.standard_normal(2))
    middle = film.mean(dtype=float)
    table = np.clip(np.rint(((np.arange(256) - middle) * contrast + middle) * gain), 0, 255).astype(np.uint8)
    return table[film]


@dataclass(frozen=True)
class TwoParts:
    """Batches whose source changes at a step; what each holds is asked for by number, so that a resume needs no state.

    Attributes
    ----------
    first, second : EpochBatches
    change : int
        Number of the first batch that comes from `second`.
    """

    first: EpochBatches
    second: EpochBatches
    change: int

    @property
    def fingerprint(self) -> str:
        """Of both and of the step."""
        return f"{self.first.fingerprint} until {self.change} {self.second.fingerprint}"

    def batch(self, stage: str, index: int):
        """Batch `index` of `stage`."""
        return (self.first if index < self.change else self.second).batch(stage, index)

    def preview(self):
        """The batch for sample grids."""
        return self.first.preview()


def film_batches(
    crops, labels, windows, options: FilmOptions, seed: int, classical: bool = True, added: AddedFilms | None = None,
    steps: int | None = None,
) -> EpochBatches | TwoParts:  # fmt: skip
    """Numbered batches for `gan.training.train`: "pictures" (B T, C, S, S) and "labels" (B, T, 2).

    All batches have `options.batch` films, with added pictures or without, so that no condition computes more.

    Parameters
    ----------
    crops : (N, S, S, C) uint8
    labels : (N, 2) float array
    windows : (W, T) int array
        Rows; those to learn from only.
    classical : bool
        Whether `with_light_and_place` changes every film.
    added : AddedFilms, optional
    steps : int, optional
        Of the whole training; needed where `options.until` is below 1 and there are added pictures.
    """
    if added is not None and options.until < 1:
        if steps is None:
            raise ValueError("steps: expected the number of steps, as added pictures end before the last one")
        mixed = film_batches(crops, labels, windows, replace(options, until=1.0), seed, classical, added)
        true = film_batches(crops, labels, windows, replace(options, until=1.0), seed, classical)
        return TwoParts(mixed, true, max(int(round(options.until * steps)), 1))
    if not len(windows):
        raise ValueError("windows: expected at least one film to learn from, got none")
    made = 0 if added is None else max(int(round(options.share * options.batch)), 1)
    true = options.batch - made
    count = len(windows) * -(-true // len(windows))  # fewer films than a batch holds: each more than once

    def make(rows, rng):
        films = [(crops[windows[r % len(windows)]], labels[windows[r % len(windows)]]) for r in rows]
        films += [added.draw(options.length, rng) for _ in range(made)]
        if classical:
            films = [(with_light_and_place(film, options, rng), label) for film, label in films]
        pictures = np.concatenate([np.ascontiguousarray(film) for film, _ in films])
        return {"pictures": pictures, "labels": np.stack([label for _, label in films])}

    extra = () if added is None else (added.pictures, added.labels, added.group, added.weight)
    used = np.unique(windows)
    print_of = fingerprint(crops[used], labels[used], windows, repr(options), repr(classical), *extra)
    return EpochBatches(count, true, make, seed, print_of)
