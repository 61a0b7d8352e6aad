"""Deformation transfer: what deforms one surface deforms another one that is matched to it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.arrays import require_finite
from affect3d.geometry.surface_match import SurfaceMatch
from affect3d.geometry.triangles import triangle_areas

__all__ = ["DeformationTransfer", "displacement_gradients"]

#: Weight of "does not change" where a triangle has no counterpart, against 1 for a triangle that has one.
_IDLE = 0.1


class DeformationTransfer:
    """Factors a pair of matched surfaces once and then carries over any number of deformations.

    The displacement u of the target minimizes, over its triangles j and its vertices v,

        sum_j A_j (c_j |grad u - G_j|^2 + 0.1 (1 - c_j) |grad u|^2)
        + sum_v a_v / reach^2 (c_v |u - d_v|^2 + 0.1 (1 - c_v) |u|^2)

    with areas A and a, confidences c, the source's displacement gradient G_j at the matched places and its displacement
    d_v.  The first sum is Sumner and Popovic's, written for displacements; its unknown fourth vertex of each triangle
    drops out, because only changes along the target's surface count (Botsch et al.), so that one Laplacian serves the
    three coordinates of all deformations.  The second sum settles the position, which gradients leave open, and keeps
    small errors from adding up across the face.

    Parameters
    ----------
    source_vertices : (V, 3) float array
        The source at rest, in the target's frame and size (rotated and scaled to it, not bent).
    source_faces : (F, 3) int array
    target_vertices : (W, 3) float array
        The same unit.
    target_faces : (T, 3) int array
    by_triangle : SurfaceMatch
        Source places (T, S) of S samples in each target triangle.
    by_vertex : SurfaceMatch
        Source places (W, 1) of the target's vertices.
    reach : float or (W,) float array
        Length, in the vertices' unit, over which positions outweigh gradients; of each vertex, if there are many.

    Raises
    ------
    ValueError
        If a number is not finite, an index names nothing, the matches have other lengths than the target, or
        `reach` is not positive.

    References
    ----------
    Sumner and Popovic, "Deformation Transfer for Triangle Meshes", ACM Transactions on Graphics 23, 2004, sections 2
    and 3.  Botsch, Sumner, Pauly and Gross, "Deformation Transfer for Detail-Preserving Surface Editing", VMV 2006,
    section 3.
    """

    def __init__(
        self, source_vertices, source_faces, target_vertices, target_faces, by_triangle: SurfaceMatch,
        by_vertex: SurfaceMatch, reach=50.0,
    ):  # fmt: skip
        self._source, self._faces = _surface(source_vertices, source_faces, "source")
        target, faces = _surface(target_vertices, target_faces, "target")
        reach = np.asarray(reach, float)
        if reach.shape not in ((), (len(target),)) or not np.isfinite(reach).all() or not (reach > 0).all():
            least = reach.min() if reach.size else reach
            raise ValueError(
                f"reach: expected a positive length or {len(target)} of them, got shape {reach.shape} from {least}"
            )
        for name, match, count in (("by_triangle", by_triangle, len(faces)), ("by_vertex", by_vertex, len(target))):
            if len(match.faces) != count:
                raise ValueError(f"{name}: expected {count} rows, got {len(match.faces)}")
            if match.faces.max(initial=-1) >= len(self._faces):
                raise ValueError(f"{name}: triangle {match.faces.max()} is not in the source")
        area = triangle_areas(target, faces)
        slopes = _slopes(target, faces)
        sure = by_triangle.confidence
        # rows (triangle, axis), columns vertices
        rows = (3 * np.arange(len(faces))[:, None, None] + np.arange(3)).repeat(3, 1)
        columns = faces[:, :, None].repeat(3, 2)
        gradient = sparse.coo_array(
            (slopes.ravel(), (rows.ravel(), columns.ravel())), (3 * len(faces), len(target))
        ).tocsr()
        stiffness = np.repeat(area * (sure + _IDLE * (1 - sure)), 3)
        around = np.bincount(faces.ravel(), np.repeat(area / 3, 3), len(target))
        # a vertex of no triangle keeps a place in the matrix, so that it can be factored
        around = np.where(around > 0, around, area.mean() if area.any() else 1.0) / reach**2
        known = by_vertex.confidence
        matrix = gradient.T @ sparse.diags_array(stiffness) @ gradient
        matrix = matrix + sparse.diags_array(around * (known + _IDLE * (1 - known)))
        self._solver = splu(
            matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        self._divergence = (gradient.T @ sparse.diags_array(np.repeat(area * sure, 3))).tocsr()
        self._pull = around * known
        self._mean_face = by_triangle.averaging(len(self._faces))
        self._place = by_vertex.interpolation(self._faces, len(self._source))

    def displacement(self, displacement) -> np.ndarray:
        """(W, 3) displacements of the target for one (V, 3) of the source, same unit.

        Raises
        ------
        ValueError
            If the shape is another or a number is not finite.
        """
        moved = np.asarray(displacement, float)
        if moved.shape != self._source.shape:
            raise ValueError(f"displacement: expected shape {self._source.shape}, got {moved.shape}")
        require_finite(moved, "displacement")
        if not moved.any():
            return np.zeros((self._place.shape[0], 3))
        gradients = displacement_gradients(self._source, self._faces, moved)
        wanted = (self._mean_face @ gradients.reshape(len(gradients), 9)).reshape(-1, 3, 3)
        # G maps a direction b to a change a; the unknowns are the columns a
        force = self._divergence @ wanted.transpose(0, 2, 1).reshape(-1, 3)
        force += self._pull[:, None] * (self._place @ moved)
        return self._solver.solve(force)


def displacement_gradients(vertices, faces, displacement) -> np.ndarray:
    """(F, 3, 3) change of the displacement along each direction of space: the deformation gradient less the identity.

    Across the surface it is that of Sumner and Popovic's fourth vertex, which stands on the triangle as high as the
    root of twice its area.  Triangles without area, before or after, have zeros there.

    Parameters
    ----------
    vertices, displacement : (V, 3) float arrays
    faces : (F, 3) int array
    """
    vertices, displacement, faces = np.asarray(vertices, float), np.asarray(displacement, float), np.asarray(faces)
    along = np.einsum("fka,fkb->fab", displacement[faces], _slopes(vertices, faces))
    before, height = _normals(vertices, faces)
    after, higher = _normals(vertices + displacement, faces)
    usable = (height > 0) & (higher > 0)
    ratio = np.where(usable, higher / np.where(usable, height, 1), 1)
    across = np.where(usable[:, None], ratio[:, None] * after - before, 0)
    return along + across[:, :, None] * before[:, None, :]


def _slopes(vertices, faces) -> np.ndarray:
    """(F, 3, 3) gradient of each corner's hat function; zeros for triangles without area."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    squared = (normal**2).sum(1)
    edges = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)
    longest = (edges**2).sum(2).max(1)
    # a needle's gradients are noise
    usable = squared > 1e-12 * longest**2
    slopes = np.cross(normal[:, None], edges) / np.where(usable, squared, 1)[:, None, None]
    return np.where(usable[:, None, None], slopes, 0)


def _normals(vertices, faces) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (F, 3) and the root of twice the area (F,)."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(normal, axis=1)
    return normal / np.where(twice > 0, twice, 1)[:, None], np.sqrt(twice)


def _surface(vertices, faces, name) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, float), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"{name}_vertices: expected shape (V, 3), got {vertices.shape}")
    require_finite(vertices, f"{name}_vertices")
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer) or not len(faces):
        raise ValueError(f"{name}_faces: expected whole numbers of shape (F, 3) with F >= 1, got {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"{name}_faces: indices must lie in [0, {len(vertices)}), got {faces.min()} to {faces.max()}"
        )
    return vertices, faces
