"""Pictures of a scan from any side, and the way back from a pixel to the surface."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.render.raster import Raster, interpolate, rasterize

__all__ = ["ScanView", "draw_scan", "smooth_normals"]

# Far enough that rays are parallel, near enough that float32 depth tells a hundredth of a millimetre on a head.
_DISTANCE = 1e5
_SKIN = np.array([205.0, 165.0, 145.0])
_BACKGROUND = (110, 110, 110)


@dataclass(frozen=True, eq=False)
class ScanView:
    """A picture of a scan along parallel rays.

    Attributes
    ----------
    pixels : (S, S, 3) uint8
        sRGB.
    raster : Raster
    rotation : (3, 3) float64
        From the scan's frame to one with x to the right of the picture, y up and z towards the viewer.
    """

    pixels: np.ndarray
    raster: Raster
    rotation: np.ndarray

    def lift(self, points, mesh: Mesh, reach: int = 5, step: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
        """Surface points under pixels.

        Parameters
        ----------
        points : (N, 2) float array
            Pixels.
        mesh : Mesh
            The one that was drawn.
        reach : int
            Pixels to the side within which a point that fell into a hole, or past an edge, may find the surface.
        step : float
            Pixels; a point that lies so far behind something within reach fell past its edge: inner lips into the
            mouth.  (Not millimetres: the scan's unit may be wrong, and that is to be noticed later.)

        Returns
        -------
        (N, 3) float64
            mm, in the scan's frame; NaN where there is no surface.
        (N,) float64
            Cosine between the surface's normal and the ray, 0 where there is none.
        """
        size = self.raster.face.shape[0]
        found, cosine = np.full((len(points), 3), np.nan), np.zeros(len(points))
        offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), -1).reshape(-1, 2)
        offsets = offsets[np.argsort((offsets**2).sum(1), kind="stable")]
        for i, point in enumerate(np.rint(points).astype(int)):
            near = point + offsets
            near = near[((near >= 0) & (near < size)).all(1)]
            near = near[self.raster.face[near[:, 1], near[:, 0]] >= 0]
            if not len(near):
                continue
            depth = self.raster.depth[near[:, 1], near[:, 0]]
            x, y = near[np.argmax(depth < depth.min() + step)]
            corners = mesh.vertices[mesh.faces[self.raster.face[y, x]]]
            found[i] = self.raster.weights[y, x].astype(float) @ corners
            normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            cosine[i] = self.rotation[2] @ normal / max(float(np.linalg.norm(normal)), 1e-12)
        return found, np.maximum(cosine, 0)


def draw_scan(
    mesh: Mesh, rotation, centre, extent: float, size: int = 256, texture=None, normals=None, light=(0.1, 0.45, 0.9)
) -> ScanView:
    """Draw a scan with its texture, its colours, or shaded like skin.

    Parameters
    ----------
    mesh : Mesh
        mm.
    rotation : (3, 3) float array
        See `ScanView`.
    centre : (3,) float array
        Point of the scan in the middle of the picture, mm.
    extent : float
        Width and height of the picture, mm.
    size : int
        And in pixels.
    texture : (H, W, 3) uint8, optional
        Used if the mesh has texture coordinates.
    normals : (V, 3) float array, optional
        For shading; by default the mesh's own.
    light : (3,) float array
        Direction to the light in the view's frame, for shading.
    """
    rotation = np.asarray(rotation, float)
    seen = (mesh.vertices - centre) @ rotation.T * (size / extent)
    middle = (size - 1) / 2
    points = np.column_stack([middle + seen[:, 0], middle - seen[:, 1], _DISTANCE - seen[:, 2]])
    raster = rasterize(points, mesh.faces, size, size)
    if texture is not None and mesh.uv is not None:
        pixels = _textured(raster, mesh, texture, size)
    elif mesh.colours is not None:
        pixels = interpolate(raster, mesh.faces, mesh.colours)
    else:
        normals = vertex_normals(mesh.vertices, mesh.faces) if normals is None else normals
        direction = np.asarray(light, float) / np.linalg.norm(light)
        bright = 0.25 + 0.75 * np.clip(normals @ rotation.T @ direction, 0, 1)
        # the power takes linear light to what a screen shows
        pixels = interpolate(raster, mesh.faces, bright[:, None] ** (1 / 1.8)) * _SKIN
    pixels = np.where(raster.covered[..., None], pixels, _BACKGROUND)
    return ScanView(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), raster, rotation)


def smooth_normals(mesh: Mesh, rounds: int = 4) -> np.ndarray:
    """Vertex normals averaged with their neighbours', so that noise of the scanner does not look like texture."""
    normals = vertex_normals(mesh.vertices, mesh.faces)
    sides = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    rows, columns = np.concatenate([sides, sides[:, ::-1]]).T
    count = len(normals)
    link = sparse.csr_array((np.ones(len(rows)), (rows, columns)), (count, count))
    for _ in range(rounds):
        normals = normals + link @ normals / np.maximum(link.sum(1), 1)[:, None]
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals


def _textured(raster, mesh, texture, size):
    height, width = texture.shape[:2]
    # texels far smaller than pixels would flicker: halve the texture until they are alike
    corner = mesh.uv[mesh.uv_faces[raster.face[raster.covered]]] if raster.covered.any() else np.zeros((0, 3, 2))
    # a part of the pixels tells the median as well as all of them
    few = corner[:: max(len(corner) // 2000, 1)]
    spread = (few.max(1) - few.min(1)).max(1) * max(height, width) if len(few) else np.ones(1)
    shrink = int(np.clip(np.log2(max(float(np.median(spread)) * 0.25, 1)), 0, 3))
    for _ in range(shrink):
        texture = cv2.pyrDown(texture)
    height, width = texture.shape[:2]
    uv = np.zeros((size, size, 2), np.float32)
    uv[raster.covered] = np.einsum("nk,nkd->nd", raster.weights[raster.covered], corner)
    x, y = uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5
    x, y = x.astype(np.float32), y.astype(np.float32)
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
