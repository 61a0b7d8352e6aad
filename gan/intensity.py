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
from affect3d.gan.recognizer import Recognizer, RecognizerOptions, varied
from affect3d.progress import Progress, silent

__all__ = ["UnitReader", "expression_directions", "strength_along", "total_intensity", "train_unit_reader"]


@dataclass(frozen=True, eq=False)
class UnitReader:
    """A trained network that reads action units.

    Attributes
    ----------
    network : Recognizer
        In evaluation mode; one output for each unit.
    unit_names : tuple of str
    """

    network: Recognizer
    unit_names: tuple[str, ...]

    def read(self, images: np.ndarray) -> np.ndarray:
        """Intensities (N, U), about 0 to 5, of pictures (N, H, W, C) uint8.  Errors are not clipped away: the mean
        over people of a unit that nobody shows is about 0."""
        self.network.eval()
        with torch.no_grad():
            parts = [self.network(to_images(images[k : k + 256])) for k in range(0, len(images), 256)]
        if not parts:
            return np.zeros((0, len(self.unit_names)))
        return torch.cat(parts).double().numpy() * MAX_INTENSITY


def train_unit_reader(
    faces, options: RecognizerOptions = RecognizerOptions(steps=1500), progress: Progress = silent
) -> UnitReader:
    """Train on the pictures of a set whose action units are all known, on the CPU.

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
    o = options
    images, target = faces.images[known], torch.from_numpy((faces.units[known] / MAX_INTENSITY).astype(np.float32))
    with seeded(o.seed):
        network = Recognizer(images.shape[3], len(faces.unit_names))
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
    return UnitReader(network.eval(), tuple(faces.unit_names))


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


def _rows(units) -> np.ndarray:
    units = np.asarray(units, float)
    if units.ndim != 2:
        raise ValueError(f"units: expected (N, U), got {units.shape}")
    return units
