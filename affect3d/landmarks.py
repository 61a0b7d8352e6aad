"""Landmark values: points in a picture or space, and points tied to a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array

__all__ = ["Landmarks", "MeshLandmarks", "SCHEMES"]

#: Known landmark schemes and their number of points.
SCHEMES = {"ibug68": 68, "mediapipe478": 478}


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of a named scheme; a missing point is a row of NaN.

    Attributes
    ----------
    scheme : str
        A key of `SCHEMES`; indices count from 0.
    points : (L, 2) or (L, 3) float64
    unit : {"px", "mm"}
    """

    scheme: str
    points: np.ndarray
    unit: str = "px"

    def __post_init__(self):
        count = _count(self.scheme)
        points = np.asarray(self.points)
        if points.ndim != 2 or points.shape[1] not in (2, 3):
            raise ValueError(f"points: expected shape ({count}, 2) or ({count}, 3), got {points.shape}")
        if self.unit not in ("px", "mm"):
            raise ValueError(f"unit: expected 'px' or 'mm', got {self.unit!r}")
        object.__setattr__(self, "points", frozen_array(points, np.float64, "points", (count, points.shape[1])))


@dataclass(frozen=True, eq=False)
class MeshLandmarks:
    """Points of a named scheme tied to the triangles of a mesh.

    Attributes
    ----------
    scheme : str
    faces : (L,) int32
        Triangle of each point; -1 where the mesh has no such point.
    weights : (L, 3) float64
        Barycentric coordinates in that triangle; zeros where missing.
    """

    scheme: str
    faces: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        count = _count(self.scheme)
        object.__setattr__(self, "faces", frozen_array(self.faces, np.int32, "faces", (count,)))
        object.__setattr__(self, "weights", frozen_array(self.weights, np.float64, "weights", (count, 3)))

    @property
    def present(self) -> np.ndarray:
        """(L,) bool"""
        return self.faces >= 0

    def locate(self, vertices, triangles) -> np.ndarray:
        """Positions (L, D) on `vertices` (V, D); NaN where missing."""
        corners = np.asarray(vertices)[np.asarray(triangles)[np.maximum(self.faces, 0)]]
        points = np.einsum("lk,lkd->ld", self.weights, corners)
        return np.where(self.present[:, None], points, np.nan)


def _count(scheme: str) -> int:
    if scheme not in SCHEMES:
        raise ValueError(f"scheme: expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    return SCHEMES[scheme]
