"""One measure for all methods: synthesized pictures of people never seen in training against the true ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from affect3d.gan import metrics
from affect3d.gan.jury import Jury, train_jury
from affect3d.gan.recognizer import RecognizerOptions
from affect3d.progress import Progress, silent

__all__ = ["Judges", "evaluation_pairs", "evaluate_images", "some_of", "train_judges"]

#: Differences up to this many of 255 levels are noise, in the second of the two figures for changed pixels.
VISIBLE = 12


@dataclass(frozen=True, eq=False)
class Judges:
    """Recognizers trained on true pictures of the people that the method was trained on.

    Attributes
    ----------
    expression : Jury or None
        Of expressions; None where there are no labels.
    identity : Jury
        Of people; its descriptors compare people it has not seen.
    expression_names : tuple of str
    """

    expression: Jury | None
    identity: Jury
    expression_names: tuple[str, ...]


def train_judges(
    faces, options: RecognizerOptions = RecognizerOptions(), progress: Progress = silent
) -> Judges:  # fmt: skip
    """Train ``options.judges`` recognizers of either kind on `faces` (FaceImages), the people of the training."""
    labelled = np.flatnonzero(faces.expression >= 0)
    expression = None
    if len(np.unique(faces.expression[labelled])) > 1:
        expression = train_jury(faces.images[labelled], faces.expression[labelled], options, progress)
    _, person = np.unique(faces.subject, return_inverse=True)
    return Judges(expression, train_jury(faces.images, person, options, progress), faces.expression_names)


def evaluation_pairs(faces, limit: int | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
    """(P, 2) rows of source and target: all different pictures of one person and take, at most `limit` of them.

    Targets have labels: an expression where the set has expressions, all action units where it has those only.

    Raises
    ------
    ValueError
        If nobody has two pictures.
    """
    group = np.unique(np.column_stack([faces.subject, faces.sequence]), axis=0, return_inverse=True)[1].ravel()
    known = faces.expression >= 0 if faces.expression_names else ~np.isnan(faces.units).any(1)
    parts = []
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        grid = np.stack(np.meshgrid(rows, rows, indexing="ij"), -1).reshape(-1, 2)
        parts.append(grid[(grid[:, 0] != grid[:, 1]) & known[grid[:, 1]]])
    pairs = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    if not len(pairs):
        raise ValueError("faces: expected people with two pictures in a take, one of them labelled, got none")
    return some_of(pairs, limit, rng)


def some_of(pairs: np.ndarray, limit: int | None, rng: np.random.Generator | None = None) -> np.ndarray:
    """At most `limit` of the rows, drawn with `rng`, in their order."""
    if limit is None or limit >= len(pairs):
        return pairs
    rng = rng if rng is not None else np.random.default_rng(0)
    return pairs[np.sort(rng.permutation(len(pairs))[:limit])]


def evaluate_images(faces, pairs: np.ndarray, images: np.ndarray, judges: Judges) -> dict:
    """Every measure of synthesized pictures, as JSON-ready values.

    Parameters
    ----------
    faces : FaceImages
        Of people that neither the method nor the judges have seen.
    pairs : (P, 2) int array
        Rows of source and target.
    images : (P, H, W, C) uint8
        What the method made of the sources.
    judges : Judges

    Returns
    -------
    dict
        "psnr", "ssim" against the true targets over whole pictures, with those of copying the source beside them;
        "changed" and "visibly_changed": `metrics.psnr_gain` over the pixels that differ at all, and by more than
        12 of 255; "identity": mean distance of the descriptor from that of the true target, of the source's and of
        another person's from it, the rate of verification at 1 % false accepts and the share whose nearest person is
        the right one; "expression": accuracy of the judges together, and of each of them alone, on synthesized and on
        true pictures, with the confusion;
        "by_target": for each expression that is a target, how many pictures, the gain over visibly changed pixels
        (None where none changes) and how often it is recognized, made and true.
    """
    source, target = faces.images[pairs[:, 0]], faces.images[pairs[:, 1]]
    out = {
        "pictures": len(pairs), "people": len(np.unique(faces.subject[pairs[:, 0]])),
        "psnr": metrics.psnr(target, images), "psnr_of_copying": metrics.psnr(target, source),
        "ssim": float(metrics.ssim(target, images).mean()),
        "ssim_of_copying": float(metrics.ssim(target, source).mean()),
        "changed": asdict(metrics.psnr_gain(source, target, images)),
        "visibly_changed": asdict(metrics.psnr_gain(source, target, images, VISIBLE)),
        "identity": _identity(faces, pairs, images, judges.identity),
    }  # fmt: skip
    if judges.expression is not None and faces.expression_names == judges.expression_names:
        out["expression"] = _expression(faces, pairs, images, judges)
        out["by_target"] = _by_target(faces, pairs, images, out["expression"])
    return out


def _identity(faces, pairs, images, judge) -> dict:
    real, made = judge.descriptors(faces.images), judge.descriptors(images)
    target, source = real[pairs[:, 1]], real[pairs[:, 0]]
    # other people: a fixed shuffle of the targets, without those that meet their own person
    shuffled = np.random.default_rng(0).permutation(len(pairs))
    different = faces.subject[pairs[:, 1]] != faces.subject[pairs[shuffled, 1]]
    result = {
        "distance": float(metrics.descriptor_distance(made, target).mean()),
        "distance_of_copying": float(metrics.descriptor_distance(source, target).mean()),
        "nearest_is_right": metrics.nearest_is_right(made, faces.subject[pairs[:, 0]], real, faces.subject),
    }
    if different.any():
        impostors = metrics.descriptor_distance(target[different], target[shuffled][different])
        threshold = metrics.verification_threshold(impostors, 0.01)
        result |= {
            "distance_of_others": float(impostors.mean()), "threshold": threshold,
            "verified": metrics.verification_rate(metrics.descriptor_distance(made, target), threshold),
            "verified_of_copying": metrics.verification_rate(metrics.descriptor_distance(source, target), threshold),
        }  # fmt: skip
    return result


def _expression(faces, pairs, images, judges) -> dict:
    known = faces.expression[pairs[:, 1]] >= 0
    true = faces.expression[pairs[known, 1]]
    guessed, real = judges.expression.predict(images[known]), judges.expression.predict(faces.images[pairs[known, 1]])
    count = len(judges.expression_names)
    return {
        "names": list(judges.expression_names),
        "accuracy": metrics.accuracy(true, guessed),
        "accuracy_on_true_pictures": metrics.accuracy(true, real),
        "accuracy_of_each": [metrics.accuracy(true, m.predict(images[known])) for m in judges.expression.members],
        "confusion": metrics.confusion_matrix(true, guessed, count).tolist(),
        "confusion_on_true_pictures": metrics.confusion_matrix(true, real, count).tolist(),
    }


def _by_target(faces, pairs, images, found: dict) -> dict:
    target, result = faces.expression[pairs[:, 1]], {}
    for k, name in enumerate(faces.expression_names):
        rows = np.flatnonzero(target == k)
        if not len(rows):
            continue
        source, true = faces.images[pairs[rows, 0]], faces.images[pairs[rows, 1]]
        gain = None
        if metrics.changed_pixels(source, true, VISIBLE).any():
            gain = metrics.psnr_gain(source, true, images[rows], VISIBLE).gain
        own, of_true = (np.array(found[key][k]) for key in ("confusion", "confusion_on_true_pictures"))
        result[name] = {
            "pictures": len(rows), "visible_gain": gain, "recognized": float(own[k] / own.sum()),
            "recognized_on_true_pictures": float(of_true[k] / of_true.sum()),
        }  # fmt: skip
    return result
