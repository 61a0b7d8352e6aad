"""The texture or the colours of a scan, carried over to a template that was registered to it.

Every frame of a run then has its picture in the same layout: a texel, or a vertex, is the same place of the skin in all
of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from affect3d.geometry.proximity import closest_on_triangles
from affect3d.geometry.triangles import face_normals, vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.uv_domain import draw

__all__ = ["CarriedTexture", "carry_texture", "carry_vertex_colours"]

#: Triangles of the scan that are looked at for each texel; those of scans are small and alike.
_CANDIDATES = 8
#: Texels are done so many at a time, which bounds the memory to some 200 MB.
_CHUNK = 50_000
_ELSEWHERE = "registered: no place of it finds the scan; expected the template registered to this scan, in mm"


@dataclass(frozen=True, eq=False)
class CarriedTexture:
    """A texture in the layout of the template.

    Attributes
    ----------
    picture : (H, W, 3) uint8
        sRGB, row 0 at the top; texels that saw no scan have the colour of the nearest one that did.
    seen : (H, W) bool
        Texels whose colour was read from the scan.
    covered : (H, W) bool
        Texels that belong to a triangle of the template.
    """

    picture: np.ndarray
    seen: np.ndarray
    covered: np.ndarray

    @property
    def share(self) -> float:
        """Of the covered texels that were read from the scan, in [0, 1]."""
        return float((self.seen & self.covered).sum() / max(int(self.covered.sum()), 1))


def carry_texture(
    registered: Mesh, scan: Mesh, texture=None, size: int = 1024, reach: float = 5.0, agreement: float = 0.3
) -> CarriedTexture:
    """Resample what a scan looks like into the texture coordinates of a template that lies on it.

    Each texel of the template stands for a point of its surface; the nearest point of the scan that looks the same way
    gives the colour.

    Parameters
    ----------
    registered : Mesh
        The template on the scan, mm, with texture coordinates.
    scan : Mesh
        mm; with texture coordinates, or with colours where `texture` is left out.
    texture : (H, W, 3) uint8 array, optional
        Of the scan, sRGB, row 0 at the top.
    size : int
        Rows and columns of the result, 8 to 8192.
    reach : float
        mm; places further from the scan than this are not seen.
    agreement : float
        Least cosine between the normals of the two surfaces.

    Returns
    -------
    CarriedTexture

    Raises
    ------
    ValueError
        If the template has no texture coordinates, the scan nothing to read colours from, `texture` is no picture,
        `size` is out of range, or no texel finds the scan.
    """
    if registered.uv is None:
        raise ValueError("registered: expected texture coordinates (uv), it has none")
    if not (isinstance(size, (int, np.integer)) and 8 <= size <= 8192):
        raise ValueError(f"size: expected a whole number from 8 to 8192, got {size!r}")
    colours = _Colours(scan, texture)
    normals = vertex_normals(registered.vertices, registered.faces)
    corner = registered.faces.ravel()
    # each corner by itself: seams of the texture have two coordinates at one vertex
    place = registered.uv[registered.uv_faces.ravel()] * size - 0.5
    flat = np.column_stack([place[:, 0], size - 1 - place[:, 1], np.zeros(len(place))])
    values = np.hstack([registered.vertices[corner], normals[corner]])
    image, covered = draw(flat, np.arange(len(corner)).reshape(-1, 3), values, (size, size))
    where = image[covered]
    found, good = colours.at(where[:, :3], where[:, 3:], reach, agreement)
    if not good.any():
        raise ValueError(_ELSEWHERE)
    picture = np.zeros((size, size, 3), np.uint8)
    seen = np.zeros((size, size), bool)
    picture[covered], seen[covered] = found, good
    # what no camera saw, and the gaps between the charts, which filters of viewers reach into
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return CarriedTexture(picture[tuple(nearest)], seen, covered)


def carry_vertex_colours(
    registered: Mesh, scan: Mesh, texture=None, reach: float = 5.0, agreement: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (V, 3) uint8, sRGB, of a registered template's vertices, and which of them were read from the scan (V,).

    For templates without texture coordinates; the parameters and errors are those of `carry_texture`.  Vertices that
    find no scan have the colour of the nearest one that does.
    """
    colours = _Colours(scan, texture)
    normals = vertex_normals(registered.vertices, registered.faces)
    found, good = colours.at(registered.vertices, normals, reach, agreement)
    if not good.any():
        raise ValueError(_ELSEWHERE)
    _, nearest = cKDTree(registered.vertices[good]).query(registered.vertices[~good])
    found[~good] = found[good][nearest]
    return found, good


class _Colours:
    """A scan that can be asked for the colour of its surface near any point."""

    def __init__(self, scan: Mesh, texture):
        if not len(scan.faces):
            raise ValueError("scan: expected a surface, it has no triangles")
        self.texture = None
        if texture is not None:
            self.texture = np.asarray(texture)
            shape = self.texture.shape
            if len(shape) != 3 or shape[2] < 3 or self.texture.dtype != np.uint8 or not self.texture.size:
                raise ValueError(
                    f"texture: expected a picture (H, W, 3) of uint8, got {self.texture.dtype} {shape}"
                )
            if scan.uv is None:
                raise ValueError("scan: has a texture, but no texture coordinates")
        elif scan.colours is None:
            raise ValueError("scan: expected a texture or colours at its vertices, it has neither")
        self.scan = scan
        self.triangles = scan.vertices[scan.faces]
        self.normals = face_normals(scan.vertices, scan.faces)
        self.tree = cKDTree(self.triangles.mean(1))

    def at(self, points, normals, reach: float, agreement: float) -> tuple[np.ndarray, np.ndarray]:
        """Colours (N, 3) uint8 at `points` (N, 3) that look along `normals`, and which were found (N,)."""
        colours, good = np.zeros((len(points), 3), np.uint8), np.zeros(len(points), bool)
        for begin in range(0, len(points), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            face, weights, good[part] = self._nearest(points[part], normals[part], reach, agreement)
            colours[part] = self._read(face, weights)
        return colours, good

    def _nearest(self, points, normals, reach, agreement):
        count = min(_CANDIDATES, len(self.triangles))
        near = self.tree.query(points, k=count)[1].reshape(len(points), count)
        weights = closest_on_triangles(points[:, None], self.triangles[near])
        away = np.linalg.norm(np.einsum("nck,nckd->ncd", weights, self.triangles[near]) - points[:, None], axis=-1)
        # of a lip and the lip behind it, the one that looks the same way
        alike = np.einsum("ncd,nd->nc", self.normals[near], normals) > agreement
        away = np.where(alike, away, np.inf)
        best = away.argmin(1)
        row = np.arange(len(points))
        return near[row, best], weights[row, best], away[row, best] <= reach

    def _read(self, face, weights) -> np.ndarray:
        if self.texture is None:
            corners = self.scan.colours[self.scan.faces[face]].astype(float)
            return np.rint(np.einsum("nk,nkc->nc", weights, corners)).astype(np.uint8)
        height, width = self.texture.shape[:2]
        uv = np.einsum("nk,nkc->nc", weights, self.scan.uv[self.scan.uv_faces[face]])
        x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
        y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        u, v = (x - left)[:, None], (y - top)[:, None]
        picture = self.texture[..., :3]
        upper = (1 - u) * picture[top, left] + u * picture[top, right]
        lower = (1 - u) * picture[below, left] + u * picture[below, right]
        return np.rint((1 - v) * upper + v * lower).astype(np.uint8)
