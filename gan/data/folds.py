"""Subject-independent folds: nobody is tested on who was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FOLDS", "Fold", "check_fold", "given_folds", "subject_folds"]

#: The number of folds that the papers use for each database.
FOLDS = {"disfa": 4, "rafd": 4, "ck+": 10, "oulu-casia": 10, "mmi": 10, "multi-pie": 5, "tfd": 5}


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of a set to train on and to test on.

    Attributes
    ----------
    train, test : (M,) int64
        In ascending order.
    valid : (M,) int64
        Rows to choose settings on; empty where a protocol has none.
    """

    train: np.ndarray
    test: np.ndarray
    valid: np.ndarray


def subject_folds(faces, count: int | str, rng: np.random.Generator) -> tuple[Fold, ...]:
    """Part the people into `count` groups; each group is tested on once, by what was trained on the others.

    People are dealt, those with most pictures first, to the group that has fewest people, and of those to
    the one that has fewest pictures: groups differ by one person at most, as in the papers (27 people of
    DISFA make groups of 6 and 7).  Equals come in random order.

    Parameters
    ----------
    faces : FaceImages
    count : int or str
        Number of groups, or a database of `FOLDS`.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If there are fewer people than groups, or `count` is no number from 2 and no such database.
    """
    if isinstance(count, str):
        if count not in FOLDS:
            raise ValueError(f"count: expected a number or one of {', '.join(FOLDS)}, got {count!r}")
        count = FOLDS[count]
    people, pictures = np.unique(faces.subject, return_counts=True)
    if not isinstance(count, (int, np.integer)) or not 2 <= count <= len(people):
        raise ValueError(f"count: expected 2 to {len(people)} folds, as many as there are people, got {count}")
    shuffled = rng.permutation(len(people))
    order = shuffled[np.argsort(-pictures[shuffled], kind="stable")]
    group = np.empty(len(people), int)
    load = np.zeros((count, 2), int)  # people, pictures
    for k in order:
        to = min(range(count), key=lambda g: tuple(load[g]))
        group[k] = to
        load[to] += 1, pictures[k]
    of_row = group[np.searchsorted(people, faces.subject)]
    folds = tuple(_fold(of_row != g, of_row == g) for g in range(count))
    for fold in folds:
        check_fold(faces, fold)
    return folds


def given_folds(faces, assignment) -> tuple[Fold, ...]:
    """Folds that come with a database, as TFD's: (N, K) with 1 train, 2 valid, 3 test, 0 none of them.

    Raises
    ------
    ValueError
        If the shape or a number is wrong, or a fold leaks a subject.
    """
    assignment = np.asarray(assignment)
    if assignment.ndim != 2 or len(assignment) != len(faces) or not np.isin(assignment, (0, 1, 2, 3)).all():
        raise ValueError(
            f"assignment: expected ({len(faces)}, K) numbers from 0 to 3, got shape {assignment.shape}"
        )  # fmt: skip
    folds = tuple(_fold(a == 1, a == 3, a == 2) for a in assignment.T)
    for fold in folds:
        check_fold(faces, fold)
    return folds


def check_fold(faces, fold: Fold) -> None:
    """Refuse a fold that leaks.

    Raises
    ------
    ValueError
        If a person is in more than one part, a row is not there or there twice, or a part to train or test on
        is empty.
    """
    parts = {name: np.asarray(getattr(fold, name)) for name in ("train", "valid", "test")}
    for name, rows in parts.items():
        if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
            raise ValueError(f"{name}: expected (M,) rows, got {rows.shape} of {rows.dtype}")
        if not len(rows) and name != "valid":
            raise ValueError(f"{name}: has no pictures")
        if len(rows) and (rows.min() < 0 or rows.max() >= len(faces)):
            wrong = rows[(rows < 0) | (rows >= len(faces))][0]
            raise ValueError(f"{name}: rows must lie in [0, {len(faces)}), got {wrong}")
        if len(np.unique(rows)) != len(rows):
            raise ValueError(f"{name}: a row is named twice")
    names = list(parts)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = np.intersect1d(faces.subject[parts[one].astype(int)], faces.subject[parts[other].astype(int)])
            if len(both):
                more = f" and {len(both) - 1} more" if len(both) > 1 else ""
                raise ValueError(f"fold: subject {both[0]}{more} is in {one} and in {other}, so the test would leak")


def _fold(train, test, valid=None) -> Fold:
    valid = np.zeros(0, np.int64) if valid is None else np.flatnonzero(valid)
    return Fold(np.flatnonzero(train), np.flatnonzero(test), valid)
