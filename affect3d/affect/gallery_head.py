"""The head on which a gallery's coefficients are expressions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.geometry.arrays import frozen_array
from affect3d.model.morphable import MorphableModel

__all__ = ["GalleryHead", "gallery_head"]


@dataclass(frozen=True, eq=False)
class GalleryHead:
    """What of a model a gallery keeps.

    Attributes
    ----------
    rest : (V, 3) float32
        mm.
    faces : (F, 3) int32
    basis : (E, V, 3) float32
        Displacements at full intensity, mm; zeros for an expression that the model lacks.
    missing : tuple of str
        Names of those.
    identity : (K, V, 3) float32
        Modes of identity times their deviation, mm.
    name : str
    colours : (V, 3) uint8, optional
        sRGB, for pictures.
    """

    rest: np.ndarray
    faces: np.ndarray
    basis: np.ndarray
    missing: tuple[str, ...]
    identity: np.ndarray
    name: str
    colours: np.ndarray | None = None

    def digest(self) -> str:
        """SHA-256 over all numbers."""
        total = hashlib.sha256(self.name.encode())
        for array in (self.rest, self.faces, self.basis, self.identity, self.colours):
            if array is None:
                continue
            total.update(str(array.shape).encode())
            total.update(np.ascontiguousarray(array))
        return total.hexdigest()


def gallery_head(model: MorphableModel, names=ARKIT_SHAPES) -> GalleryHead:
    """Rest face and expressions of `model` in the order of a gallery's coefficients.

    Parameters
    ----------
    model : MorphableModel
    names : sequence of str
        Of the coefficients.

    Raises
    ------
    ValueError
        If the model has none of these expressions.
    """
    index = {name: i for i, name in enumerate(model.expression_names)}
    basis = np.zeros((len(names), *model.mean.shape), np.float32)
    missing = tuple(name for name in names if name not in index)
    if len(missing) == len(names):
        raise ValueError(
            f"model: {model.name or 'this head'} has none of the gallery's expressions ({names[0]}, {names[1]} ...), "
            f"its own are {', '.join(model.expression_names[:3]) or 'none'}"
        )
    for i, name in enumerate(names):
        if name in index:
            basis[i] = model.expression[index[name]]
    identity = np.asarray(model.identity, np.float64) * model.identity_std[:, None, None]
    return GalleryHead(
        frozen_array(model.mean, np.float32, "rest", (None, 3)),
        frozen_array(model.faces, np.int32, "faces", (None, 3)),
        frozen_array(basis, np.float32, "basis", (None, None, 3)), missing,
        frozen_array(identity, np.float32, "identity", (None, None, 3)), model.name, model.colours,
    )  # fmt: skip
