"""The rows of a morphable model at its landmarks: all that a landmark fit ever reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.landmark_groups import OUTLINE
from affect3d.model import MorphableModel

__all__ = ["LandmarkBasis", "landmark_basis"]


@dataclass(frozen=True, eq=False)
class LandmarkBasis:
    """Linear model of the landmarks, and of the points that can be the face's outline.

    Attributes
    ----------
    mean : (L, 3) float64
        mm; NaN where the model lacks the landmark.
    identity : (K, L, 3) float64
        For one standard deviation.
    expression : (E, L, 3) float64
    normals : (L, 3) float64
        Of the mean head.
    outline : (M,) int array
        Vertices of the face, candidates for its outline.
    outline_mean, outline_identity, outline_expression
        (M, 3), (K, M, 3), (E, M, 3): the same model there.
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    normals: np.ndarray
    outline: np.ndarray
    outline_mean: np.ndarray
    outline_identity: np.ndarray
    outline_expression: np.ndarray


@lru_cache(maxsize=8)
def landmark_basis(model: MorphableModel, scheme: str, modes: int) -> LandmarkBasis:
    """Rows of `model` for a landmark scheme and its first `modes` identity modes.

    Raises
    ------
    ValueError
        If the model has no landmarks of that scheme.
    """
    if scheme not in model.landmarks:
        known = ", ".join(model.landmarks) or "none"
        raise ValueError(f"scheme: the model has no {scheme} landmarks (it has {known})")
    marks = model.landmarks[scheme]
    corners = model.faces[np.maximum(marks.faces, 0)]
    weights = np.where(marks.present[:, None], marks.weights, np.nan)

    def rows(displacements):
        return np.einsum("lk,ilkd->ild", np.nan_to_num(weights), displacements[:, corners].astype(np.float64))

    std = model.identity_std[:modes, None, None]
    # in C order, which picking vertices does not give: else every product in the fit would copy them
    identity = np.ascontiguousarray(rows(model.identity[:modes]) * std)
    expression = np.ascontiguousarray(rows(model.expression))
    normals = marks.locate(vertex_normals(model.mean, model.faces), model.faces)
    outline = _candidates(model, marks.locate(model.mean, model.faces)[list(OUTLINE[scheme])])
    return LandmarkBasis(
        marks.locate(model.mean, model.faces), identity, expression, normals, outline, model.mean[outline],
        np.ascontiguousarray(model.identity[:modes][:, outline] * std),
        np.ascontiguousarray(model.expression[:, outline], np.float64),
    )


def _candidates(model, points, reach: float = 22.0) -> np.ndarray:
    """Face vertices within `reach` mm of the outline's landmarks."""
    face = np.flatnonzero(model.part_vertices("face"))
    points = points[np.isfinite(points).all(1)]
    near = np.zeros(len(face), bool)
    for point in points:
        near |= np.linalg.norm(model.mean[face] - point, axis=1) < reach
    return face[near]
