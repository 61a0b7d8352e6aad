"""Does a recognizer of expressions get better when a method's pictures are added to the true ones?

The table of ExprGAN's section on data augmentation (its table 1) and the question of FESR, asked of every method in one
way: recognizers start from the same weights, take the same number of steps and are tested on true pictures of other
people; only what they are trained on differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

import numpy as np

from affect3d.gan import metrics
from affect3d.gan.recognizer import RecognizerOptions, train_recognizer
from affect3d.progress import Progress, silent

__all__ = ["TRUE_ALONE", "augmentation_table", "with_all_labels"]

#: Name of the row without added pictures.
TRUE_ALONE = "true pictures alone"


def with_all_labels(faces, edit: Callable, labels=None) -> tuple[np.ndarray, np.ndarray]:
    """Every picture with every expression but its own.

    Parameters
    ----------
    faces : FaceImages
        With expressions; rows without are left out.
    edit : callable
        ``edit(images (N, H, W, C) uint8, label) -> images``.
    labels : sequence of str, optional
        Those that the method can make; all of `faces` if left out.

    Returns
    -------
    images : (M, H, W, C) uint8
    expression : (M,) int64
        Indices into ``faces.expression_names``.
    """
    images, classes = [], []
    for number, name in enumerate(faces.expression_names):
        if labels is not None and name not in labels:
            continue
        rows = np.flatnonzero((faces.expression >= 0) & (faces.expression != number))
        if len(rows):
            images.append(edit(faces.images[rows], name))
            classes.append(np.full(len(rows), number))
    if not images:
        raise ValueError("labels: the method makes none of the expressions of the faces")
    return np.concatenate(images), np.concatenate(classes)


def augmentation_table(
    train, test, editors: dict[str, Callable], people: int = 0, seeds: int = 3,
    options: RecognizerOptions = RecognizerOptions(steps=400), progress: Progress = silent,
) -> dict:  # fmt: skip
    """Accuracy on `test` with and without the pictures of each method.

    Parameters
    ----------
    train, test : FaceImages
        With the same expressions and without a person in common.
    editors : dict of str to callable, or to (callable, labels)
        As in `with_all_labels`.
    people : int
        Of `train`, drawn anew for each seed; 0 for all.
    seeds : int
        From ``options.seed`` on.
    options : RecognizerOptions
    progress : callable

    Returns
    -------
    dict
        "rows": for each name the "accuracy" of each seed, "mean", "deviation" (of a sample), "pictures" trained on,
        and "over_true" (mean difference from true pictures alone, with its "standard_error"); "people", "seeds".

    Raises
    ------
    ValueError
        If expressions differ, a person is in both sets, or there are too few people.
    """
    if train.expression_names != test.expression_names:
        raise ValueError(f"test: expected the expressions {train.expression_names}, got {test.expression_names}")
    both = np.intersect1d(train.subject, test.subject)
    if len(both):
        raise ValueError(f"test: expected other people than in train, subject {both[0]} is in both")
    if not 0 <= people <= len(train.subjects) or seeds < 1:
        raise ValueError(f"people: expected 0 to {len(train.subjects)}, got {people} (and seeds from 1, got {seeds})")
    names, found, counts = [TRUE_ALONE, *editors], {}, {}
    judged = np.flatnonzero(test.expression >= 0)
    for k in range(seeds):
        seed = options.seed + k
        chosen = train
        if people:
            who = np.random.default_rng([seed, 79]).permutation(train.subjects)[:people]
            chosen = train.select(np.isin(train.subject, who))
        chosen = chosen.select(chosen.expression >= 0)
        for number, name in enumerate(names):
            images, classes = chosen.images, chosen.expression
            if name != TRUE_ALONE:
                edit, labels = editors[name] if isinstance(editors[name], tuple) else (editors[name], None)
                more, of = with_all_labels(chosen, edit, labels)
                images, classes = np.concatenate([images, more]), np.concatenate([classes, of])
            network = train_recognizer(images, classes, replace(options, seed=seed))
            guess = network.predict(test.images[judged])
            found.setdefault(name, []).append(metrics.accuracy(test.expression[judged], guess))
            counts[name] = len(images)
            progress(k * len(names) + number + 1, seeds * len(names), "recognizers with added pictures")
    rows = {name: _row(found[name], found[TRUE_ALONE], counts[name]) for name in names}
    return {"rows": rows, "people": people or len(train.subjects), "seeds": seeds, "test_pictures": len(judged)}


def _row(found: list[float], alone: list[float], pictures: int) -> dict:
    def deviation(values):
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    over = np.array(found) - np.array(alone)
    return {
        "accuracy": found, "mean": float(np.mean(found)), "deviation": deviation(found), "pictures": pictures,
        "over_true": {"mean": float(over.mean()), "standard_error": deviation(over) / len(over) ** 0.5},
    }  # fmt: skip
