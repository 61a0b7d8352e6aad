"""How much of a class is who was recorded rather than what they felt.

The mean of a class should describe an affect and nobody's identity (the paper's section 3.3).  Subjects explain part of
a class's variance even by chance, and frames of one sequence resemble each other whoever is seen, so the comparison is
between sequences: one observation is the mean of a sequence's frames in a class, and chance is what subjects would
explain if the sequences were dealt to them at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from affect3d.affect.class_moments import moments_of_block
from affect3d.affect.store import GalleryStore
from affect3d.affect.store_frames import basis_gram
from affect3d.affect.vaspace import VASpace
from affect3d.progress import Progress, silent

__all__ = ["ClassIdentity", "IdentityShare", "class_identity", "identity_facts", "identity_lines"]

#: Observations are kept for the permutations as so many numbers each; more are projected at random.
_KEPT = 64


@dataclass(frozen=True, eq=False)
class IdentityShare:
    """Variance of each class and its division between and within subjects.

    Where `defined` is false a class has fewer than two subjects, no more sequences than subjects, or no variance;
    its numbers are zeros.

    Attributes
    ----------
    defined : (K,) bool
    explained_frames : (K,) float64
        Eta squared over frames: between-subject sum of squares over the total.
    explained : (K,) float64
        Eta squared over sequences.
    chance : (K,) float64
        What subjects explain on average if sequences are dealt at random: (S - 1) / (Q - 1) for S subjects and Q
        sequences, exactly.
    adjusted : (K,) float64
        ``(explained - chance) / (1 - chance)``: 0 at chance, 1 where subjects explain all.
    intraclass : (K,) float64
        ICC(1,1) of sequences by subject, at least 0.
    p : (K,) float64
        Share of permutations of the subjects that explain as much.
    between_mm : (K,) float64
        Deviation between subjects, root mean square over the vertices, without what sequences contribute by chance.
    """

    defined: np.ndarray
    explained_frames: np.ndarray
    explained: np.ndarray
    chance: np.ndarray
    adjusted: np.ndarray
    intraclass: np.ndarray
    p: np.ndarray
    between_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class ClassIdentity:
    """Identity in each class, with and without the neutral face subtracted.

    Attributes
    ----------
    space : VASpace
    frames, sequences, subjects : (K,) int64
    offsets : IdentityShare
        Of displacements from the neutral face of the same sequence.
    plain : IdentityShare
        Of what is stored: faces, or coefficients that hold each person's face at rest.
    mean_mm : (K,) float64
        Size of the class's mean displacement, root mean square over the vertices.
    left_mm : (K,) float64
        Identity that is left in it: the deviation between subjects times the root of the sum of their squared shares
        of the frames.
    left_plain_mm : (K,) float64
        The same without subtracting the neutral face.
    """

    space: VASpace
    frames: np.ndarray
    sequences: np.ndarray
    subjects: np.ndarray
    offsets: IdentityShare
    plain: IdentityShare
    mean_mm: np.ndarray
    left_mm: np.ndarray
    left_plain_mm: np.ndarray


class _Totals:
    """Sums of one kind of observation; one subject at a time, so that memory does not grow with the subjects."""

    def __init__(self, classes: int, width: int):
        self.count, self.square, self.between = np.zeros(classes), np.zeros(classes), np.zeros(classes)
        self.sizes, self.groups = np.zeros(classes), np.zeros(classes, np.int64)
        self.total, self._mine, self._n = np.zeros((classes, width)), {}, {}

    def add(self, k: int, n: float, total, square: float) -> None:
        """`n` observations of class `k` of the present subject, with their sum and sum of squared lengths."""
        if k in self._mine:
            self._mine[k] += total
        else:
            self._mine[k] = total.copy()
        self._n[k] = self._n.get(k, 0) + n
        self.square[k] += square

    def end_subject(self) -> None:
        for k, total in self._mine.items():
            n = self._n[k]
            self.total[k] += total
            self.count[k] += n
            self.between[k] += _dot(total, total) / n
            self.sizes[k] += n * n
            self.groups[k] += 1
        self._mine, self._n = {}, {}

    def sums_of_squares(self):
        """(total, between subjects) about the mean of each class."""
        middle = np.einsum("kd,kd->k", self.total, self.total) / np.maximum(self.count, 1)
        total = np.maximum(self.square - middle, 0)
        return total, np.clip(self.between - middle, 0, total)


def class_identity(
    store: GalleryStore, space: VASpace | None = None, permutations: int = 199, seed: int = 0,
    progress: Progress = silent,
) -> ClassIdentity:  # fmt: skip
    """Divide the variance of each class between and within subjects, in one stream over the frames.

    Parameters
    ----------
    store : GalleryStore
        Read in the order of its subjects and sequences.
    space : VASpace, optional
        10 x 10 classes by default.
    permutations : int
        For `IdentityShare.p`; at least 1.
    seed : int
        Of the permutations.
    progress : callable

    Returns
    -------
    ClassIdentity
    """
    space = space or VASpace()
    if permutations < 1:
        raise ValueError(f"permutations: expected at least 1, got {permutations}")
    order = np.lexsort((store.frame, store.sequence, store.subject))
    stream = store.offsets(order)
    measure, width = _measure(store)
    rest = measure(np.asarray(store.rest, np.float32)[None])[0] if store.kind == "vertices" else np.zeros(width)
    index = space.class_of(store.valence, store.arousal)[order]
    # a sequence's rows share one neutral face; where they do not, each part counts as a sequence
    changes = np.diff(store.sequence[order]) | np.diff(store.neutral[order]) | np.diff(store.subject[order])
    bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(order)]])
    starts = bounds[:-1]
    group = np.repeat(np.arange(len(starts)), np.diff(bounds))
    neutral_row = store.neutral[order[starts]]
    subject = store.subject[order[starts]]
    by_frame = {name: _Totals(space.count, width) for name in ("offsets", "plain")}
    by_sequence = {name: _Totals(space.count, width) for name in ("offsets", "plain")}
    kept = {name: [] for name in ("offsets", "plain")}
    means = {name: [] for name in ("offsets", "plain")}
    squeeze = _squeeze(width)
    pending: dict[int, list] = {}

    def end_sequence(g: int) -> None:
        face = measure(stream.neutral_face(neutral_row[g])[None])[0] - rest
        own = _dot(face, face)
        for k, (n, total, square) in pending.items():
            plain = total + n * face
            plain_square = square + 2 * _dot(face, total) + n * own
            for name, t, s in (("offsets", total, square), ("plain", plain, plain_square)):
                by_frame[name].add(k, n, t, s)
                mean = t / n
                by_sequence[name].add(k, 1, mean, _dot(mean, mean))
                means[name].append((k, int(subject[g]), mean))
        pending.clear()
        if g + 1 == len(starts) or subject[g + 1] != subject[g]:
            for name, some in means.items():  # of one subject together: one product instead of many
                kept[name].append((*np.array([m[:2] for m in some]).T, squeeze(np.array([m[2] for m in some]))))
                some.clear()
            for totals in (*by_frame.values(), *by_sequence.values()):
                totals.end_subject()

    last = 0
    for start, block in stream.blocks():
        stop = start + len(block)
        block = measure(block)
        for g in range(last, int(group[stop - 1]) + 1):
            if g != last:
                end_sequence(last)
                last = g
            a, b = max(int(bounds[g]), start), min(int(bounds[g + 1]), stop)
            if a == b:  # the block before ended with this sequence
                continue
            for k, n, mean, deviations in zip(*moments_of_block(block[a - start : b - start], index[a:b])):
                entry = pending.setdefault(int(k), [0, np.zeros(width), 0.0])
                entry[0] += int(n)
                entry[1] += n * mean
                entry[2] += float(deviations.sum()) + int(n) * _dot(mean, mean)
        progress(stop, len(order), "identity in the classes")
    end_sequence(last)

    totals = by_frame["offsets"]
    shares = totals.sizes / np.maximum(totals.count, 1) ** 2
    found = {
        name: _share(by_frame[name], by_sequence[name], kept[name], permutations, np.random.default_rng(seed))
        for name in ("offsets", "plain")
    }
    mean = np.linalg.norm(totals.total, axis=1) / np.maximum(totals.count, 1)
    return ClassIdentity(
        space, totals.count.astype(np.int64), by_sequence["offsets"].count.astype(np.int64), totals.groups,
        found["offsets"], found["plain"], mean, found["offsets"].between_mm * np.sqrt(shares),
        found["plain"].between_mm * np.sqrt(shares),
    )  # fmt: skip


def identity_facts(found: ClassIdentity) -> dict:
    """Everything as plain numbers, for JSON, with the means over the classes weighted by their frames."""
    share = {
        name: {
            **{f: np.asarray(getattr(part, f)).tolist() for f in part.__dataclass_fields__},
            "mean": {
                f: _mean(getattr(part, f), found, part)
                for f in ("explained_frames", "explained", "chance", "adjusted", "intraclass", "between_mm")
            },
        }
        for name, part in (("offsets", found.offsets), ("plain", found.plain))
    }
    return {
        "classes_compared": int(found.offsets.defined.sum()), **share,
        "frames": found.frames.tolist(), "sequences": found.sequences.tolist(), "subjects": found.subjects.tolist(),
        "mean_mm": found.mean_mm.tolist(), "left_mm": found.left_mm.tolist(),
        "left_plain_mm": found.left_plain_mm.tolist(),
        "mean": {f: _mean(getattr(found, f), found, found.offsets) for f in ("mean_mm", "left_mm", "left_plain_mm")},
    }  # fmt: skip


def identity_lines(found: ClassIdentity) -> list[str]:
    """The means over the classes, for readers."""
    if not found.offsets.defined.any():
        return ["identity: no class has more sequences than subjects and two of these, so nothing can be compared"]
    compared = int(found.offsets.defined.sum())
    lines = [f"identity, mean over {compared} classes that can be compared, weighted by frames:"]
    for name, part in (("neutral subtracted", found.offsets), ("as stored", found.plain)):
        unlikely = int(((part.p < 0.05) & part.defined).sum())
        lines.append(
            f"  {name:<19} subjects explain {100 * _mean(part.explained, found, part):5.1f} % of the variance between "
            f"sequences, {100 * _mean(part.chance, found, part):.1f} % by chance, "
            f"{100 * _mean(part.adjusted, found, part):.1f} % beyond it; p < 0.05 in {unlikely} of "
            f"{int(part.defined.sum())} classes"
        )
    values = [_mean(getattr(found, f), found, found.offsets) for f in ("left_mm", "mean_mm", "left_plain_mm")]
    lines.append(
        f"  left of identity in a class's mean: {values[0]:.3f} mm, the mean itself moves {values[1]:.2f} mm; without "
        f"subtracting the neutral face {values[2]:.3f} mm"
    )
    return lines


def _mean(values, found: ClassIdentity, part: IdentityShare) -> float:
    weights = np.where(part.defined, found.frames, 0).astype(float)
    return float(np.average(values, weights=weights)) if weights.sum() else 0.0


def _measure(store: GalleryStore):
    """A map of rows to vectors whose length is the root mean square over the vertices, mm; and their width."""
    if store.kind == "vertices":
        width = int(np.prod(store.values.shape[1:]))
        scale = np.float32(1 / np.sqrt(store.values.shape[1]))
        return (lambda rows: rows.reshape(len(rows), -1) * scale), width
    power, axes = np.linalg.eigh(basis_gram(store.basis))
    root = (axes * np.sqrt(np.maximum(power, 0))).astype(np.float32)
    return (lambda rows: rows @ root), len(root)


def _dot(a, b) -> float:
    """Inner product without BLAS, whose threads cost more than these short sums where other work goes on."""
    return float(np.einsum("i,i->", a, b))


def _squeeze(width: int):
    """Vectors as they are if short, else as few random sums, which keep inner products on average."""
    if width <= _KEPT:
        return lambda x: x
    # every coordinate is added to one of few sums with a random sign (Charikar, Chen and Farach-Colton 2002)
    rng = np.random.default_rng(0)
    order = rng.permutation(width)
    sign = rng.choice([-1.0, 1.0], width)
    edges = np.arange(_KEPT) * width // _KEPT
    return lambda x: np.add.reduceat((x * sign)[:, order], edges, axis=1)


def _share(frames: _Totals, sequences: _Totals, kept, permutations: int, rng) -> IdentityShare:
    total_frames, between_frames = frames.sums_of_squares()
    total, between = sequences.sums_of_squares()
    q, s = sequences.count, sequences.groups
    # what rounding leaves of a class whose observations are equal is no variance
    varies = total > 1e-9 * np.maximum(sequences.square, 1e-30)
    defined = (s >= 2) & (q > s) & varies
    explained, chance = _where(defined, between, total), _where(defined, s - 1.0, q - 1)
    k0 = _where(defined, q - _where(defined, sequences.sizes, q), s - 1.0)
    outer, inner = _where(defined, between, s - 1.0), _where(defined, total - between, q - s)
    component = np.maximum(_where(defined, outer - inner, k0), 0)
    p = np.zeros(len(q))
    classes, subjects, observations = (np.concatenate(column) for column in zip(*kept))
    for k in np.flatnonzero(defined):
        p[k] = _permutation_p(subjects[classes == k], observations[classes == k], permutations, rng)
    return IdentityShare(
        defined, _where(defined, between_frames, total_frames), explained, chance,
        _where(defined, explained - chance, 1 - chance),
        np.clip(_where(defined, outer - inner, outer + (k0 - 1) * inner), 0, 1), p, np.sqrt(component),
    )  # fmt: skip


def _permutation_p(subject, observations, permutations: int, rng) -> float:
    _, label = np.unique(subject, return_inverse=True)
    x = np.array(observations, np.float64)
    x -= x.mean(0)
    size = np.bincount(label)
    seen = _between(x, label, size)
    as_much = sum(_between(x, rng.permutation(label), size) >= seen * (1 - 1e-12) for _ in range(permutations))
    return (1 + as_much) / (1 + permutations)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(x, label, size):  # pragma: no cover - compiled
    """Sum of squares between groups of observations (Q, D) whose mean is zero."""
    sums = np.zeros((len(size), x.shape[1]))
    for i in range(len(x)):
        row = sums[label[i]]
        for j in range(x.shape[1]):
            row[j] += x[i, j]
    total = 0.0
    for s in range(len(size)):
        part = 0.0
        for j in range(x.shape[1]):
            part += sums[s, j] * sums[s, j]
        total += part / size[s]
    return total


def _where(defined, above, below) -> np.ndarray:
    """`above` / `below` where it is defined, 0 elsewhere."""
    out = np.zeros(len(defined))
    safe = defined & (np.asarray(below) != 0)
    np.divide(above, below, out=out, where=safe)
    return out
