"""UV registration of a frame: flatten, align the flat images, and read the template's vertices back.

Section 3.1 of the paper (the route of 4DFAB): the frame, turned into the pose of the subject's registered neutral, is
flattened into the neutral's chart, warped there by a thin-plate spline on landmarks where they are given, and aligned
densely by its shape (normals and height) and, where present, colours.  The vertices are then read from the frame's
image of positions; those in holes or out of sight follow their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.thin_plate import thin_plate
from affect3d.registration.uv_domain import Chart, chart_around, draw, sample
from affect3d.registration.uv_paint import draw_texture
from affect3d.registration.uv_flow import align_images

__all__ = ["UVOptions", "UVRegistration", "UVResult"]

#: mm over which light and shade are evened out in textures.
_BLUR = 12.0


@dataclass(frozen=True)
class UVOptions:
    """Options of `UVRegistration`.

    Attributes
    ----------
    pixel : float
        Size of a pixel of the chart, mm.
    height : float
        mm of height that weigh as much as a normal turned by a radian.
    colour : float
        Weight of colours, which are in [0, 1], against normals.
    texture : float
        Weight of a texture's local contrast, which is of order 1, against normals.
    bending, bending_texture : float
        See `align_images`; the second where textures are compared.  Normals change with an expression and mislead a
        soft flow, painted skin does not.
    stiffness : float
        Weight of bending of the surface when vertices are read back; it fills holes and takes noise away.
    landmark_smoothness : float
        See `thin_plate`, for chart coordinates in pixels.
    """

    pixel: float = 1.0
    height: float = 20.0
    colour: float = 1.0
    texture: float = 1.0
    bending: float = 2000.0
    bending_texture: float = 500.0
    stiffness: float = 0.3
    landmark_smoothness: float = 50.0


@dataclass(frozen=True, eq=False)
class UVResult:
    """The template on one frame.

    Attributes
    ----------
    vertices : (V, 3) float64
        mm.
    matched : (V,) bool
        Read from the frame; the others follow their neighbours.
    flow : (rows, columns, 2) float64
        Displacement in the chart, pixels, to start the next frame with.
    converged : bool
    reason : str
    """

    vertices: np.ndarray
    matched: np.ndarray
    flow: np.ndarray
    converged: bool
    reason: str


class UVRegistration:
    """The neutral's chart and images, prepared once for all frames of a subject.

    Parameters
    ----------
    neutral : Mesh
        The template registered to the subject's neutral, mm, the face looking along +z.  With `colours`, frames that
        have some are compared by them too.
    landmarks : (L,) int array, optional
        Template vertices.
    painted : (Mesh, (H, W, 3) uint8 array), optional
        The neutral's scan, which has texture coordinates, in the place where `neutral` lies on it, and its texture.
        Frames that have a texture are then compared by it, pixel by pixel.
    """

    def __init__(self, neutral: Mesh, landmarks=None, options: UVOptions = UVOptions(), painted=None):
        self.neutral, self.options = neutral, options
        self.landmarks = None if landmarks is None else np.asarray(landmarks)
        count = len(neutral.vertices)
        if self.landmarks is not None and (
            self.landmarks.ndim != 1
            or not len(self.landmarks)
            or self.landmarks.min() < 0
            or self.landmarks.max() >= count
        ):
            raise ValueError(f"landmarks: expected vertex indices in [0, {count})")
        self.chart: Chart = chart_around(neutral.vertices, options.pixel)
        self._flat = self.chart.flatten(neutral.vertices)
        self._coloured = neutral.colours is not None
        self._image, self._seen, height = self._picture(neutral, self._flat, self._coloured)
        self._paint = None
        if painted is not None:
            scan, texture = painted
            self._paint = draw_texture(
                self.chart.flatten(scan.vertices), scan, texture, self.chart.shape, _BLUR / options.pixel
            )
        at = self._flat[:, 0], self._flat[:, 1]
        # what another part of the face covers in the chart cannot be read from it
        drawn = sample(np.where(self._seen, height, np.inf)[..., None], *np.round(at))[:, 0]
        self._visible = np.abs(drawn - self._flat[:, 2]) < 2.5 * options.pixel
        stretch = cotangent_laplacian(neutral.vertices, neutral.faces, least=0.01)
        area = vertex_areas(neutral.vertices, neutral.faces)
        self._share = area / area.mean()
        bend = stretch @ sparse.diags_array(1 / np.maximum(self._share, 1e-3)) @ stretch
        self._smooth = options.stiffness * (bend + 5e-4 * stretch)

    def register(
        self, scan: Mesh, rotation=None, translation=None, positions=None, start=None, texture=None
    ) -> UVResult:
        """Register one frame.

        Parameters
        ----------
        scan : Mesh
            mm.
        rotation, translation : (3, 3) and (3,) float arrays, optional
            Rigid motion from the neutral to this frame; by default none.
        positions : (L, 3) float array, optional
            Of the landmarks on the scan, mm; NaN where missing.
        start : (rows, columns, 2) float array, optional
            `UVResult.flow` of the frame before.  Landmarks, where given, have the first word instead.

        texture : (H, W, 3) uint8 array, optional
            Of a scan with texture coordinates; is compared where the neutral has one too.

        Raises
        ------
        ValueError
            If the scan has no faces, or no texture coordinates although it has a texture, or positions do not fit
            the landmarks.
        """
        if len(scan.faces) == 0:
            raise ValueError("scan: expected a surface, got no faces")
        rotation = np.eye(3) if rotation is None else np.asarray(rotation, float)
        translation = np.zeros(3) if translation is None else np.asarray(translation, float)
        points = (scan.vertices - translation) @ rotation
        flat = self.chart.flatten(points)
        rows, columns = self.chart.shape
        if positions is not None:
            spline = self._spline((np.asarray(positions, float) - translation) @ rotation)
            if spline is not None:
                flat[:, :2] = spline(flat[:, :2])
                start = None
        turned = Mesh(points, scan.faces, colours=scan.colours)
        coloured = self._coloured and scan.colours is not None
        image, seen, _ = self._picture(turned, flat, coloured)
        places, _ = draw(flat, scan.faces, points, (rows, columns))
        both = self._seen & seen
        fixed = self._image[..., : image.shape[-1]]
        bending = self.options.bending
        if texture is not None and self._paint is not None:
            bending = self.options.bending_texture
            paint, painted = draw_texture(flat, scan, texture, (rows, columns), _BLUR / self.options.pixel)
            common = (self._paint[1] & painted)[..., None]
            gain = self.options.texture
            fixed = np.concatenate([fixed, gain * self._paint[0] * common], -1)
            image = np.concatenate([image, gain * paint * painted[..., None]], -1)
        flow = align_images(fixed, image, both.astype(float), start, bending)
        columns_at, rows_at = self._flat[:, 0], self._flat[:, 1]
        at = np.stack([columns_at, rows_at], 1) + sample(flow, columns_at, rows_at)
        # between seen and unseen pixels positions would be mixed with zeros
        whole = sample(seen[..., None].astype(float), at[:, 0], at[:, 1])[:, 0] > 0.999
        inside = (at >= 0).all(1) & (at <= np.array([columns - 1, rows - 1])).all(1)
        matched = whole & inside & self._visible
        found = sample(places, at[:, 0], at[:, 1]) - self.neutral.vertices
        # the two sides of a gap, lips or lids, are one pixel apart in the chart and far apart in space
        matched &= np.linalg.norm(found, axis=1) < 60
        share = matched * self._share
        if share.sum() == 0:
            vertices = self.neutral.vertices @ rotation.T + translation
            return UVResult(vertices, matched, flow, False, "no vertex of the template found the scan; check the pose")
        solver = splu(
            (self._smooth + sparse.diags_array(share + 1e-9)).tocsc(), permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0, options={"SymmetricMode": True},
        )  # fmt: skip
        offset = solver.solve(share[:, None] * np.where(matched[:, None], found, 0))
        vertices = (self.neutral.vertices + offset) @ rotation.T + translation
        part = float(matched.mean())
        if part < 0.4:
            return UVResult(
                vertices, matched, flow, False, f"only {part:.0%} of the template found the scan; check pose and units"
            )
        return UVResult(vertices, matched, flow, True, f"{part:.0%} of the template was read from the scan")

    def _picture(self, mesh: Mesh, flat, coloured: bool):
        values = [vertex_normals(mesh.vertices, mesh.faces), flat[:, 2:] / self.options.height]
        if coloured:
            values.append(self.options.colour * mesh.colours / 255.0)
        image, seen = draw(flat, mesh.faces, np.hstack(values), self.chart.shape)
        return image, seen, image[..., 3] * self.options.height

    def _spline(self, positions):
        """From the frame's chart to the neutral's, or None where fewer than four landmarks are known."""
        if self.landmarks is None or positions.shape != (len(self.landmarks), 3):
            count = 0 if self.landmarks is None else len(self.landmarks)
            raise ValueError(f"positions: expected shape ({count}, 3) as landmarks, got {positions.shape}")
        known = np.isfinite(positions).all(1)
        if known.sum() < 4:
            return None
        source, goal = self.chart.flatten(positions[known])[:, :2], self._flat[self.landmarks[known], :2]
        return thin_plate(source, goal, self.options.landmark_smoothness)
