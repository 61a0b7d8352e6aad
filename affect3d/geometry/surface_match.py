"""Places on one surface that correspond to places on another which lies on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.geometry.proximity import closest_on_triangles
from affect3d.geometry.triangles import vertex_normals

__all__ = ["SAMPLES", "SurfaceMatch", "SurfaceMatcher", "same_surface", "triangle_samples"]

#: Barycentric coordinates of the places at which a target triangle looks for its counterpart: several, so that a
#: large triangle takes the mean of the small ones under it; inside, so that it never sees only a neighbour.
SAMPLES = np.array([[4, 1, 1], [1, 4, 1], [1, 1, 4], [2, 2, 2]]) / 6.0


@dataclass(frozen=True, eq=False)
class SurfaceMatch:
    """Places on a source surface for N rows of S samples.

    Attributes
    ----------
    faces : (N, S) int32
        Source triangle; -1 where there is no counterpart.
    weights : (N, S, 3) float64
        Barycentric coordinates in it.
    confidence : (N,) float64
        How far the row is to be believed, in [0, 1]; 0 where all samples lack a counterpart.
    """

    faces: np.ndarray
    weights: np.ndarray
    confidence: np.ndarray

    def __post_init__(self):
        faces = frozen_array(self.faces, np.int32, "faces", (None, None))
        weights = frozen_array(self.weights, np.float64, "weights", (*faces.shape, 3))
        confidence = np.asarray(self.confidence, float)
        require_finite(weights, "weights")
        require_finite(confidence, "confidence")
        if confidence.shape == (len(faces),):
            confidence = np.where((faces >= 0).any(1), confidence, 0)
        confidence = frozen_array(confidence, np.float64, "confidence", (len(faces),))
        if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1):
            raise ValueError("confidence: expected numbers in [0, 1]")
        for name, value in (("faces", faces), ("weights", weights), ("confidence", confidence)):
            object.__setattr__(self, name, value)

    def averaging(self, count: int) -> sparse.csr_array:
        """(N, count) operator: the mean over a row's samples of what the `count` source triangles hold."""
        row, sample = np.nonzero(self.faces >= 0)
        share = 1.0 / np.maximum((self.faces >= 0).sum(1), 1)
        return sparse.coo_array((share[row], (row, self.faces[row, sample])), (len(self.faces), count)).tocsr()

    def interpolation(self, faces, count: int) -> sparse.csr_array:
        """(N, count) operator: the mean over a row's samples of what the `count` source vertices hold."""
        row, sample = np.nonzero(self.faces >= 0)
        share = self.weights[row, sample] / np.maximum((self.faces >= 0).sum(1), 1)[row, None]
        corners = np.asarray(faces)[self.faces[row, sample]]
        index = (np.repeat(row, 3), corners.ravel())
        return sparse.coo_array((share.ravel(), index), (len(self.faces), count)).tocsr()


def triangle_samples(vertices, faces) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals (F, S, 3) of a mesh at `SAMPLES`; the normals change smoothly over the surface."""
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    normals = np.einsum("sk,fkd->fsd", SAMPLES, vertex_normals(vertices, faces)[faces])
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return np.einsum("sk,fkd->fsd", SAMPLES, vertices[faces]), normals / np.where(length > 0, length, 1)


def same_surface(faces, count: int) -> tuple[SurfaceMatch, SurfaceMatch]:
    """Matches of a mesh of `count` vertices with itself: by triangle and by vertex."""
    faces = np.asarray(faces)
    rows = np.repeat(np.arange(len(faces))[:, None], len(SAMPLES), 1)
    by_triangle = SurfaceMatch(rows, np.repeat(SAMPLES[None], len(faces), 0), np.ones(len(faces)))
    first, corner = np.full(count, -1), np.zeros(count, int)
    for k in range(3):
        first[faces[:, k]], corner[faces[:, k]] = np.arange(len(faces)), k
    by_vertex = SurfaceMatch(first[:, None], np.eye(3)[corner][:, None], np.ones(count))
    return by_triangle, by_vertex


class SurfaceMatcher:
    """A surface prepared once and asked for the places that correspond to points of another.

    Parameters
    ----------
    vertices : (V, 3) float array
        Of the source, bent onto the other surface.
    faces : (F, 3) int array
    sides : (V,) int array, optional
        Of openings, as `affect3d.geometry.opening_sides` gives: a point of one side is never matched to the other.
    turn : float
        Distance that counts as much as normals at right angles do (divided by the root of two): lips that touch look
        opposite ways.
    candidates : int
        Triangles looked at for each point.
    """

    def __init__(self, vertices, faces, sides=None, turn: float = 15.0, candidates: int = 16):
        vertices, faces = np.asarray(vertices, float), np.asarray(faces)
        if not len(faces):
            raise ValueError("faces: expected at least one triangle")
        self._corners, self._turn, self._count = vertices[faces], turn, candidates
        normals = vertex_normals(vertices, faces)[faces].sum(1)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        self._normals = normals / np.where(length > 0, length, 1)
        self._features = np.hstack([self._corners.mean(1), turn * self._normals])
        sides = np.zeros(len(vertices), int) if sides is None else np.asarray(sides)
        # a triangle belongs to a side only with all of its corners
        self._sides = np.where((sides[faces] == sides[faces[:, :1]]).all(1), sides[faces[:, 0]], 0)

    def match(self, points, normals, sides=None):
        """Nearest places by position and normal together.

        Parameters
        ----------
        points, normals : (N, 3) float arrays
        sides : (N,) int array, optional

        Returns
        -------
        faces : (N,) int64
        weights : (N, 3) float64
        distance : (N,) float64
        cosine : (N,) float64
            Between the normals.
        """
        points, normals = np.asarray(points, float), np.asarray(normals, float)
        sides = np.zeros(len(points), int) if sides is None else np.asarray(sides)
        faces, weights = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
        distance = np.full(len(points), np.inf)
        for side in np.unique(sides):
            allowed = np.arange(len(self._features))
            if side:
                other = side + 1 if side % 2 else side - 1
                allowed = np.flatnonzero(self._sides != other)
            if not len(allowed):
                continue
            tree, asked = cKDTree(self._features[allowed]), np.flatnonzero(sides == side)
            for rows in np.array_split(asked, max(1, len(asked) // 20000)):  # so that memory stays small
                if not len(rows):
                    continue
                query = np.hstack([points[rows], self._turn * normals[rows]])
                _, near = tree.query(query, k=min(self._count, len(allowed)))
                near = allowed[near.reshape(len(rows), -1)]
                place = closest_on_triangles(points[rows, None], self._corners[near])
                there = np.einsum("nck,nckd->ncd", place, self._corners[near])
                away = ((there - points[rows, None]) ** 2).sum(-1)
                turned = ((self._normals[near] - normals[rows, None]) ** 2).sum(-1)
                best = (away + self._turn**2 * turned).argmin(1)
                k = np.arange(len(rows))
                faces[rows], weights[rows], distance[rows] = near[k, best], place[k, best], np.sqrt(away[k, best])
        return faces, weights, distance, (self._normals[faces] * normals).sum(1)
