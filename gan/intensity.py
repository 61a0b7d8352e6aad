"""How strong an expression is, read from a picture: action units by a network, and what follows from them.

StoicNet's paper sums the magnitudes of OpenFace's action units.  Here a small network (the layers of
`gan/recognizer.py`) reads them.  It is trained on true pictures with known units of people whom no method has seen and
whom it does not judge, and sees no synthesized picture.

Carver and Nwogu, "Facial Expression Neutralization With StoicNet", WACV Workshops 2021, section 4.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from affect3d.gan.batches import to_images
from affect3d.gan.data.images import MAX_INTENSITY
from affect3d.gan.determinism import deterministic, seeded, step_seed
from affect3d.gan.jury import each_seed
from affect3d.gan.kept import kept
from affect3d.gan.recipes import applied
from affect3d.gan.recognizer import Recognizer, RecognizerOptions, varied
from affect3d.progress import Progress, silent

__all__ = [
    "IntensityCurve", "UnitReader", "expression_directions", "intensity_curve", "reading_quality", "strength_along",
    "total_intensity", "train_unit_reader",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class UnitReader:
    """Trained networks that read action units together.

    Attributes
    ----------
    networks : tuple of Recognizer
        In evaluation mode; one output for each unit.  What is read is their mean.
    unit_names : tuple of str
    """

    networks: tuple[Recognizer, ...]
    unit_names: tuple[str, ...]

    def read(self, images: np.ndarray) -> np.ndarray:
        """Intensities (N, U), about 0 to 5, of pictures (N, H, W, C) uint8.  Errors are not clipped away: the mean
        over people of a unit that nobody shows is about 0."""
        if not len(images):
            return np.zeros((0, len(self.unit_names)))
        return np.mean([n.logits(images).astype(np.float64) for n in self.networks], 0) * MAX_INTENSITY


def train_unit_reader(
    faces, options: RecognizerOptions = RecognizerOptions(steps=1500), progress: Progress = silent
) -> UnitReader:
    """Train ``options.judges`` networks on the pictures of a set whose action units are all known, on the CPU.

    Parameters
    ----------
    faces : FaceImages
        With action units.
    options : RecognizerOptions
        `smoothing` has no use here.
    progress : callable

    Raises
    ------
    ValueError
        If no picture has all its units labelled.
    """
    known = np.flatnonzero(~np.isnan(faces.units).any(1)) if faces.unit_names else np.zeros(0, np.int64)
    if not len(known):
        raise ValueError("faces: expected pictures with all their action units labelled, got none")
    images, target = faces.images[known], torch.from_numpy((faces.units[known] / MAX_INTENSITY).astype(np.float32))

    def member(own: RecognizerOptions) -> Recognizer:
        return kept(
            "units", images, target.numpy(), own, lambda: Recognizer(images.shape[3], target.shape[1]),
            lambda: _trained(images, target, own, progress),
        )  # fmt: skip

    return UnitReader(tuple(member(own) for own in each_seed(options)), tuple(faces.unit_names))


def _trained(images: np.ndarray, target, o: RecognizerOptions, progress: Progress) -> Recognizer:
    """One network for pictures (N, H, W, C) uint8 and intensities (N, U) in [0, 1]."""
    with seeded(o.seed):
        network = Recognizer(images.shape[3], target.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), o.learning_rate, weight_decay=1e-4)
    with deterministic(o.threads):
        network.train()
        for step in range(o.steps):
            torch.manual_seed(step_seed(o.seed, 0, step))
            for group in optimizer.param_groups:
                group["lr"] = o.learning_rate * 0.5 * (1 + np.cos(np.pi * step / o.steps))
            rows = torch.randperm(len(images))[: min(o.batch, len(images))]
            loss = functional.mse_loss(network(varied(to_images(images[rows.numpy()]), o)), target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            progress(step + 1, o.steps, "training a reader of action units")
    return network.eval()


def reading_quality(reader: UnitReader, faces) -> dict:
    """How well the reader does on true pictures of `faces`, people whom it has not seen, as JSON-ready values.

    Returns
    -------
    dict
        "explained": share of each unit's variance, by its name (None where nobody shows the unit);
        "correlation": of the sums (`total_intensity`) with the true ones, None where they do not vary.
    """
    known = np.flatnonzero(~np.isnan(faces.units).any(1))
    true, found = faces.units[known], reader.read(faces.images[known])
    spread, error = true.var(0) if len(known) else np.zeros(len(reader.unit_names)), ((found - true) ** 2).mean(0)
    explained = {n: float(1 - e / v) if v > 0 else None for n, e, v in zip(reader.unit_names, error, spread)}
    sums = total_intensity(true), total_intensity(found)
    varies = len(known) > 1 and all(np.ptp(values) > 0 for values in sums)
    return {"explained": explained, "correlation": float(np.corrcoef(*sums)[0, 1]) if varies else None}


def total_intensity(units: np.ndarray) -> np.ndarray:
    """Sum of the magnitudes of action units: (N, U) to (N,), what table 1 of StoicNet's paper averages."""
    return np.clip(_rows(units), 0, None).sum(1)


def expression_directions(faces) -> np.ndarray:
    """Mean action units of each expression of a set, as labelled: (K, U) in [0, 5]; all NaN where nobody shows it.

    Raises
    ------
    ValueError
        If the set has no expressions or no action units.
    """
    if not faces.expression_names or not faces.unit_names:
        raise ValueError("faces: expected expressions and action units")
    known = ~np.isnan(faces.units).any(1)
    out = np.full((len(faces.expression_names), len(faces.unit_names)), np.nan)
    for k in range(len(out)):
        rows = known & (faces.expression == k)
        if rows.any():
            out[k] = faces.units[rows].mean(0)
    return out


def strength_along(units: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """How much of an expression a face shows: least-squares factor of `direction` in `units`.

    1 is the mean true picture of the expression, 0 a face without any of its units.

    Parameters
    ----------
    units : (N, U) array
    direction : (U,) or (N, U) array
        The expression's mean units, of all pictures or of each.

    Returns
    -------
    (N,) float array

    Raises
    ------
    ValueError
        If a direction is zero or not finite (a neutral face has none), or shapes do not fit.
    """
    units, direction = _rows(units), np.asarray(direction, float)
    if direction.shape not in (units.shape, units.shape[1:]):
        raise ValueError(f"direction: expected {units.shape[1:]} or {units.shape}, got {direction.shape}")
    square = (direction**2).sum(-1)
    if not (np.isfinite(square) & (square > 0)).all():
        raise ValueError("direction: expected finite units that are not all zero (a neutral face has no direction)")
    return (units * direction).sum(1) / square


@dataclass(frozen=True, eq=False)
class IntensityCurve:
    """How intensity follows the code.

    Attributes
    ----------
    values : (M,) float64
        Of the code, rising.
    strength : (K, M, N) float64
        Measured for each label, value and face: 1 is the mean true picture of the label, 0 a neutral face.
    """

    values: np.ndarray
    strength: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(K, M): over faces."""
        return self.strength.mean(2)

    @property
    def monotone(self) -> bool:
        """Whether the mean over faces grows at every step for every label."""
        return bool((np.diff(self.mean, axis=1) > 0).all())

    @property
    def rising(self) -> float:
        """Share of single steps (label, face, from one value to the next) at which it grows."""
        return float((np.diff(self.strength, axis=1) > 0).mean())

    def report(self, labels) -> dict:
        """As JSON-ready values: "values", "strength" (means by label), "rises_at_every_step" by label, "monotone",
        "rising", and the same of the mean over labels."""
        mean, over = self.mean, self.mean.mean(0)
        return {
            "values": self.values.tolist(), "strength": dict(zip(labels, mean.tolist())),
            "rises_at_every_step": {name: bool((np.diff(row) > 0).all()) for name, row in zip(labels, mean)},
            "monotone": self.monotone, "rising": self.rising,
            "mean": over.tolist(), "mean_monotone": bool((np.diff(over) > 0).all()),
        }  # fmt: skip


def intensity_curve(
    method, read, images: np.ndarray, directions: np.ndarray, values, code, labels=None
) -> IntensityCurve:  # fmt: skip
    """Give each face each expression with growing codes, and measure how strong it is.

    Parameters
    ----------
    method : Method
        In evaluation mode; ``method.synthesize(x, c)`` makes pictures.
    read : callable
        Pictures (N, H, W, C) uint8 to action units (N, U): `UnitReader.read`, trained on other people.
    images : (N, H, W, C) uint8
        People whom neither has seen, with any expression.
    directions : (K, U) array
        Mean action units of each of `labels` (`expression_directions`).
    values : sequence of float
        Rising, at least two.
    code : callable
        ``code(method, y, value)`` gives c for the labels y, (N,) int64.
    labels : sequence of int, optional
        Places in the method's labels; all of them if left out.

    Raises
    ------
    ValueError
        If the values do not rise, or there is not one direction for each label.
    """
    labels = range(len(method.options.labels)) if labels is None else labels
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(f"values: expected at least two rising numbers, got {values.tolist()}")
    if len(directions) != len(labels):
        raise ValueError(f"directions: expected one for each of {len(labels)} labels, got {len(directions)}")
    strength = np.empty((len(labels), len(values), len(images)))
    for k, label in enumerate(labels):
        y = torch.full((len(images),), int(label))
        for m, value in enumerate(values):
            made = applied(method, method.synthesize, images, code(method, y, float(value)))
            strength[k, m] = strength_along(read(made), directions[k])
    return IntensityCurve(values, strength)


def _rows(units) -> np.ndarray:
    units = np.asarray(units, float)
    if units.ndim != 2:
        raise ValueError(f"units: expected (N, U), got {units.shape}")
    return units
