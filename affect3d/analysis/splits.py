"""Splits of frames in which no subject stands on both sides."""

from __future__ import annotations

import numpy as np

__all__ = ["check_split", "subject_folds", "subject_split"]


def subject_split(subjects, test_share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Part the subjects at random.

    Parameters
    ----------
    subjects : (N,) array of int or str
        Of each frame.
    test_share : float
        Share of the *subjects* (not of the frames) to test on, in (0, 1); at least one is left on either side.
    rng : numpy.random.Generator

    Returns
    -------
    train, test : (N,) bool

    Raises
    ------
    ValueError
        If there are fewer than two subjects, or `test_share` lies outside (0, 1).
    """
    subjects, names = _named(subjects)
    if len(names) < 2:
        raise ValueError(f"subjects: expected at least two, got {len(names)}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a number in (0, 1), got {test_share}")
    count = int(np.clip(round(test_share * len(names)), 1, len(names) - 1))
    test = np.isin(subjects, rng.permutation(names)[:count])
    check_split(subjects, ~test, test)
    return ~test, test


def subject_folds(subjects, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cross-validation: each subject is tested on exactly once, folds hold about as many frames each.

    Subjects are dealt, those with most frames first, to the fold that has fewest; equals in random order.

    Returns
    -------
    list of `count` pairs (train, test) of (N,) bool

    Raises
    ------
    ValueError
        If there are fewer subjects than folds, or fewer than two folds.
    """
    subjects, names = _named(subjects)
    if not 2 <= count <= len(names):
        raise ValueError(f"count: expected 2 to {len(names)} folds, as many as there are subjects, got {count}")
    names = rng.permutation(names)
    frames = np.array([(subjects == name).sum() for name in names])
    folds, load = [[] for _ in range(count)], np.zeros(count, int)
    for k in np.argsort(-frames, kind="stable"):
        to = int(np.argmin(load))
        folds[to].append(names[k])
        load[to] += frames[k]
    out = []
    for fold in folds:
        test = np.isin(subjects, fold)
        check_split(subjects, ~test, test)
        out.append((~test, test))
    return out


def check_split(subjects, train, test) -> None:
    """Refuse a split with a subject on both sides.

    Parameters
    ----------
    subjects : (N,) array
    train, test : (N,) bool

    Raises
    ------
    ValueError
        That names the subject, or the side that is empty.
    """
    subjects = np.asarray(subjects)
    train, test = np.asarray(train), np.asarray(test)
    for name, side in (("train", train), ("test", test)):
        if side.shape != subjects.shape or side.dtype != bool:
            raise ValueError(f"{name}: expected {len(subjects)} booleans, got {side.shape} of {side.dtype}")
        if not side.any():
            raise ValueError(f"{name}: has no frames")
    both = np.intersect1d(subjects[train], subjects[test])
    if len(both):
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise ValueError(f"split: subject {both[0]}{more} is in the training and in the test frames")


def _named(subjects) -> tuple[np.ndarray, np.ndarray]:
    subjects = np.asarray(subjects)
    if subjects.ndim != 1 or not len(subjects):
        raise ValueError(f"subjects: expected one of each frame, got shape {subjects.shape}")
    return subjects, np.unique(subjects)
