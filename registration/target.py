"""A scan prepared once and asked often for the points that correspond to a template's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh

__all__ = ["Correspondence", "Target"]


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Scan points nearest to template vertices.

    Attributes
    ----------
    points, normals : (V, 3) float64
        mm; unit normals of the scan there.
    distance : (V,) float64
        mm.
    trusted : (V,) bool
        The normals agree, and the scan point is not on the scan's border (where points beyond it
        would pile up).
    """

    points: np.ndarray
    normals: np.ndarray
    distance: np.ndarray
    trusted: np.ndarray


class Target:
    """A scan with its search tree, normals and border.

    Raises
    ------
    ValueError
        If the scan has fewer than four vertices or no faces.
    """

    def __init__(self, scan: Mesh):
        if len(scan.vertices) < 4 or len(scan.faces) == 0:
            raise ValueError("scan: expected a surface with at least four vertices")
        self.vertices = scan.vertices
        self.normals = vertex_normals(scan.vertices, scan.faces)
        self._tree = cKDTree(scan.vertices)
        edges = np.sort(scan.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        unique, count = np.unique(edges, axis=0, return_counts=True)
        self.border = np.zeros(len(scan.vertices), bool)
        self.border[unique[count == 1].ravel()] = True

    def nearest(self, vertices, normals, agreement: float) -> Correspondence:
        """Correspondences of `vertices`; normals must agree to at least the cosine `agreement`."""
        distance, index = self._tree.query(vertices, workers=-1)
        found = self.normals[index]
        trusted = ((normals * found).sum(1) > agreement) & ~self.border[index]
        return Correspondence(self.vertices[index], found, distance, trusted)
