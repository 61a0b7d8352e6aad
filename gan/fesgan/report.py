"""What FESGAN's paper reports: intensities (figure 6), new people (figure 7), verification (table IV), and R."""

from __future__ import annotations

import numpy as np
import torch

from affect3d.gan.batches import to_pixels
from affect3d.gan.fesgan.method import FESGAN
from affect3d.gan.intensity import expression_directions, intensity_curve
from affect3d.gan.metrics import accuracy, confusion_matrix, descriptor_distance
from affect3d.gan.recipes import applied
from affect3d.gan.recognizer import RecognizerOptions
from affect3d.gan.reports import PaperReport, curve_plot, in_range, unit_reader
from affect3d.progress import Progress, silent

__all__ = ["report", "verification_accuracy"]

#: Values of u(y') in figure 6.
VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)
#: Pictures whose expressions are made, and people who are drawn, at most.
SOURCES, DRAWN = 60, 100


def report(
    method: FESGAN, seen, unseen, judges, options: RecognizerOptions = RecognizerOptions(),
    progress: Progress = silent,
) -> PaperReport:  # fmt: skip
    """All of them, on people whom neither the method nor the judges have seen; arguments as for StoicNet's report.

    PSNR and SSIM (table III) are among the measures of all methods.

    Returns
    -------
    PaperReport
        numbers: "intensity" (strength while u slides from -1 to 1), "verification" (table IV), "new_people" (are they
        new, do they differ, do they show their labels), "recognition" (R's accuracy; None for runs without R).
    """
    numbers, grids, plots, lines, left_out = {}, {}, {}, [], []
    labels = method.options.labels
    numbers["intensity"] = None
    reader, quality = unit_reader(seen, unseen, options, progress)
    if reader is None:
        left_out.append(quality)
    else:
        of = expression_directions(seen)[[seen.expression_names.index(name) for name in labels]]
        # a neutral face has no direction in which it is strong
        strong = [k for k, name in enumerate(labels) if name != "neutral" and of[k].sum() > 0]
        sources = _first_pictures(unseen)
        curve = intensity_curve(
            method, reader.read, unseen.images[sources], of[strong], VALUES,
            lambda m, y, value: m.slide(y, value), strong,
        )  # fmt: skip
        names = [labels[k] for k in strong]
        told = curve.report(names)
        numbers["intensity"] = {"pictures": len(sources), **told, "reader": quality}
        content = curve_plot(
            {name: (curve.values, row) for name, row in zip(names, curve.mean)}, "Intensity by the label u",
            "u(y')", "strength (1: the mean true picture)",
        )  # fmt: skip
        if content is not None:
            plots["intensity"] = content
        lines.append(f"intensity: {told['mean'][0]:.2f} to {told['mean'][-1]:.2f} on the average")
    numbers["verification"] = _verification(method, unseen, judges, np.random.default_rng(options.seed))
    if numbers["verification"] is None:
        left_out.append("verification: expected four people or more")
    else:
        lines.append(f"verification (table IV): {numbers['verification']['accuracy']:.3f}")
    numbers["new_people"], grids["new_people"] = _new_people(method, seen, judges, options.seed)
    lines.append(
        f"new people: distance {numbers['new_people']['distance_to_nearest']:.3f} from the nearest person of the "
        f"training (that of one of them from another: {numbers['new_people']['distance_of_nearest_true']:.3f})"
    )
    numbers["recognition"] = _recognition(method, unseen)
    if numbers["recognition"] is not None:
        lines.append(f"R recognizes {numbers['recognition']['accuracy']:.3f} of true pictures")
    return PaperReport({**numbers, "left_out": left_out}, grids, plots, tuple(lines))


def verification_accuracy(same, different, fold_same, fold_different) -> float:
    """Share of pairs told right, same person or not, by a threshold of distance chosen on the other fold of people.

    Parameters
    ----------
    same, different : (P,), (Q,) float arrays
        Distances of pairs of one person and of two.
    fold_same, fold_different : (P,), (Q,) bool arrays
        Which of two folds a pair is in; both must hold pairs of either kind.

    Raises
    ------
    ValueError
        If a fold lacks a kind of pairs.
    """
    same, different = np.asarray(same, float), np.asarray(different, float)
    right = 0.0
    for fold in (False, True):
        chosen_on = same[fold_same != fold], different[fold_different != fold]
        told = same[fold_same == fold], different[fold_different == fold]
        if min(len(part) for part in (*chosen_on, *told)) == 0:
            raise ValueError("fold: expected pairs of both kinds in either fold")
        edges = np.unique(np.concatenate(chosen_on))
        places = np.concatenate([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
        found = [(chosen_on[0] < t).mean() + (chosen_on[1] >= t).mean() for t in places]
        threshold = places[int(np.argmax(found))]
        right += ((told[0] < threshold).mean() + (told[1] >= threshold).mean()) / 2
    return float(right / 2)


def _verification(method, unseen, judges, rng) -> dict | None:
    """Table IV: each true picture with what is made of the same person, and with what is made of another."""
    rows = _first_pictures(unseen)
    people = unseen.subject[rows]
    if len(rows) < 4:
        return None
    labels = np.arange(len(method.options.labels))
    made = [
        applied(
            method, lambda x, y: method.synthesize(x, method.slide(y, 1)), unseen.images[rows],
            torch.full((len(rows),), int(k)),
        ) for k in labels
    ]  # fmt: skip
    describe = judges.identity.descriptors
    true, of_made = describe(unseen.images[rows]), np.stack([describe(images) for images in made])
    fold = rng.permutation(len(rows)) % 2 == 0
    # the other person stands in the same fold, so that nobody is in both
    others = [np.flatnonzero((fold == fold[k]) & (np.arange(len(rows)) != k)) for k in range(len(rows))]
    other = np.array([rng.choice(own) for own in others])
    same = np.concatenate([descriptor_distance(true, part) for part in of_made])
    different = np.concatenate([descriptor_distance(true, part[other]) for part in of_made])
    folds = np.tile(fold, len(labels))
    return {
        "people": len(np.unique(people)), "pairs": 2 * len(same),
        "accuracy": verification_accuracy(same, different, folds, folds),
        "distance_same": float(same.mean()), "distance_different": float(different.mean()),
    }  # fmt: skip


def _new_people(method, seen, judges, seed: int) -> tuple[dict, np.ndarray]:
    """Figure 7 in numbers, and a grid: the nearest true picture before the new person with each label."""
    o = method.options
    labels = len(o.labels)
    z = torch.rand(DRAWN, o.code, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    device = next(method.networks["G_dec"].parameters()).device
    made = []
    with torch.no_grad():
        for k in range(labels):
            y = torch.full((DRAWN,), k, device=device)
            made.append(to_pixels(method.new_people(z.to(device), method.slide(y, 1)).cpu()))
    describe = judges.identity.descriptors
    gallery = describe(seen.images)
    of_person = np.stack([gallery[seen.subject == s].mean(0) for s in seen.subjects])
    own = np.stack([describe(images) for images in made]).mean(0)  # (DRAWN, D), over labels
    to_true = np.linalg.norm(own[:, None] - of_person[None], axis=-1)
    between_true = np.linalg.norm(of_person[:, None] - of_person[None], axis=-1)
    np.fill_diagonal(between_true, np.inf)
    between_new = np.linalg.norm(own[:, None] - own[None], axis=-1)
    upper = np.triu_indices(DRAWN, 1)
    numbers = {
        "people": DRAWN, "distance_to_nearest": float(to_true.min(1).mean()),
        "distance_of_nearest_true": float(between_true.min(1).mean()) if len(of_person) > 1 else None,
        "distance_between": float(between_new[upper].mean()),
        "distance_between_true": _mean_finite(between_true),
        "expression_recognized": None,
    }  # fmt: skip
    if judges.expression is not None and all(name in judges.expression_names for name in o.labels):
        places = [judges.expression_names.index(name) for name in o.labels]
        right = [(judges.expression.predict(images) == place).mean() for images, place in zip(made, places)]
        numbers["expression_recognized"] = float(np.mean(right))
    nearest = [int(np.flatnonzero(seen.subject == seen.subjects[k])[0]) for k in to_true[:6].argmin(1)]
    grid = np.stack([np.stack([seen.images[row], *(images[k] for images in made)]) for k, row in enumerate(nearest)])
    return numbers, in_range(grid)


def _recognition(method, faces) -> dict | None:
    """R's accuracy on true pictures and its confusion (tables V to VII), where the run trained it."""
    from affect3d.gan.fesgan.study import recognized

    o = method.options
    known = [k for k, name in enumerate(faces.expression_names) if name in o.labels]
    rows = np.flatnonzero(np.isin(faces.expression, known))
    if o.recognition == "none" or not len(rows):
        return None
    true = np.array([o.labels.index(faces.expression_names[e]) for e in faces.expression[rows]])
    found = recognized(method, faces.select(rows))
    return {
        "pictures": len(rows), "names": list(o.labels), "accuracy": accuracy(true, found),
        "confusion": confusion_matrix(true, found, len(o.labels)).tolist(),
    }  # fmt: skip


def _first_pictures(faces) -> np.ndarray:
    """The first picture of each of so many people."""
    return np.array([np.flatnonzero(faces.subject == s)[0] for s in faces.subjects[:SOURCES]])


def _mean_finite(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
