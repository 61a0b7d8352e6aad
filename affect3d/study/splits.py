"""Who is learned from and who is tested on, checked in one place: nothing of a test person may be learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.gan.data.folds import Fold, check_fold, subject_folds

__all__ = ["Division", "check_division", "divide"]


@dataclass(frozen=True, eq=False)
class Division:
    """One division of a set.

    Attributes
    ----------
    train, test : (M,) int64
        Rows.
    """

    train: np.ndarray
    test: np.ndarray


def divide(videos, folds: int, seed: int, people: int | None = None) -> tuple[Division, ...]:
    """Divisions in which everybody is tested on once; `people` subjects, drawn by chance, are learned from.

    Fewer people are always some of the more: the first of the same random order.

    Parameters
    ----------
    videos : FaceVideos
    folds : int
        From 2.
    seed : int
    people : int, optional
        All that are not tested on if left out.

    Raises
    ------
    ValueError
        If there are not that many people.
    """
    rng = np.random.default_rng([seed, 81])
    rows = np.flatnonzero(videos.labelled)
    out = []
    for fold in subject_folds(videos, folds, rng):
        order = rng.permutation(np.unique(videos.subject[fold.train]))
        wanted = len(order) if people is None else people
        if not 1 <= wanted <= len(order):
            raise ValueError(f"people: expected 1 to {len(order)}, as many as are not tested on, got {people}")
        learned = fold.train[np.isin(videos.subject[fold.train], order[:wanted])]
        division = Division(np.intersect1d(learned, rows), np.intersect1d(fold.test, rows))
        check_division(videos, division)
        out.append(division)
    return tuple(out)


def check_division(videos, division: Division, added=(), outside=()) -> None:
    """Refuse whatever would let the test be known in training.

    Parameters
    ----------
    videos : FaceVideos
    division : Division
    added : sequence of AddedPicture
        Pictures that join the training set.
    outside : sequence of str
        People who are not in the set at all, as those of another source of neutral faces; pictures of them may join.

    Raises
    ------
    ValueError
        If a subject is in both parts, an added picture was made of a person who is not learned from, an added label
        lies out of range, a part is empty, or somebody of `outside` is in the set; names the offender.
    """
    twice = set(outside) & set(videos.subjects)
    if twice:
        raise ValueError(f"outside: {sorted(twice)[0]!r} is a subject of the set, so the test could leak")
    parts = {"train": np.asarray(division.train), "test": np.asarray(division.test)}
    for name, rows in parts.items():
        if rows.ndim == 1 and len(rows) and rows.dtype.kind in "iu" and 0 <= rows.min() and rows.max() < len(videos):
            unlabelled = rows[~videos.labelled[rows]]
            if len(unlabelled):
                raise ValueError(f"{name}: {videos.name_of(unlabelled[0])} has no label")
    both = _people(videos, parts["train"]) & _people(videos, parts["test"])
    if both:
        raise ValueError(f"train, test: subject {sorted(both)[0]!r} is in both, so the test would leak")
    check_fold(videos, Fold(parts["train"], parts["test"], np.zeros(0, np.int64)))
    learned = _people(videos, parts["train"]) | set(outside)
    for picture in added:
        if picture.subject not in learned:
            tested = picture.subject in _people(videos, parts["test"])
            why = "is a test person" if tested else "is not learned from"
            raise ValueError(f"added: {picture.file} (column {picture.column}) shows {picture.subject!r}, who {why}")
        for name in ("valence", "arousal"):
            value = getattr(picture, name)
            if not -1 <= value <= 1:
                raise ValueError(f"added: {picture.file} (column {picture.column}): {name} {value} is not in [-1, 1]")


def _people(videos, rows) -> set[str]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(videos):
        return set()  # check_fold says what is wrong with them
    return {videos.subjects[s] for s in np.unique(videos.subject[rows])}
