"""A head model's mouth, drawn where lips open in a photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.geometry.triangles import triangle_areas
from affect3d.landmark_groups import LIP_PAIRS, MOUTH_CORNERS
from affect3d.model import MorphableModel
from affect3d.render.raster import interpolate, rasterize
from affect3d.render.shading import linear_to_srgb
from affect3d.synthesis.interior import FLESH, inside_colours, render_interior
from affect3d.synthesis.opening_light import between_walls, opening_light, opening_ring
from affect3d.synthesis.warp import carry_over_edge

__all__ = ["INSIDE", "ModelMouth", "MouthScene"]

INSIDE = ("mouth", "teeth_upper", "teeth_lower", "gums", "tongue")
#: Pixels drawn along one of the picture's: edges of teeth are hard.
FINER = 3
_LUMINANCE = np.array([[0.2126], [0.7152], [0.0722]], np.float32)


@dataclass(frozen=True, eq=False)
class MouthScene:
    """What a photo says of light in the place of the mouth.

    Attributes
    ----------
    lighting : (9,) float array
        Spherical-harmonic coefficients.
    white : (3,) float array
        As `white_reference` gives.
    lip_depth : float
        Depth of the lips' middle, mm.
    unit : float
        Interocular distance, px.
    coloured : bool
        A picture without colour gets no red mouth.
    """

    lighting: np.ndarray
    white: np.ndarray
    lip_depth: float
    unit: float
    coloured: bool


class ModelMouth:
    """The inside of a model's mouth.

    Parameters
    ----------
    model : MorphableModel
        With colours.
    scheme : str
        Of the landmarks that tell its lips.
    scene : MouthScene
    """

    def __init__(self, model: MorphableModel, scheme: str, scene: MouthScene):
        self.model, self.scheme, self.scene = model, scheme, scene
        self._colours = None if model.colours is None else inside_colours(model)
        self._inside = np.flatnonzero(model.part_vertices(*INSIDE))
        self._walls = model.part_vertices("mouth", "tongue")
        self._area = float(triangle_areas(model.mean, model.faces[model.part_faces("mouth", "tongue")]).sum())

    def light(self, place, normals):
        """Share of outside light on each vertex (V,), and what the mouth's walls throw at each other (3,).

        Parameters
        ----------
        place, normals : (V, 3) float arrays
            The head, turned into the camera's frame, mm.
        """
        lips = self.model.landmarks[self.scheme].locate(place, self.model.faces)
        upper, lower = np.array(LIP_PAIRS[self.scheme]).T
        ring = opening_ring(lips[upper], lips[lower], lips[list(MOUTH_CORNERS[self.scheme])])
        light = np.zeros(len(place))
        light[self._inside] = opening_light(place[self._inside], normals[self._inside], ring)
        if not self._walls.any():
            return light, np.zeros(3)
        turn = np.cross(ring - ring.mean(0), np.roll(ring, -1, axis=0) - ring.mean(0)).sum(0)
        opening = 0.5 * float(np.linalg.norm(turn))
        colour = self._colours[self._walls].mean(0)
        return light, between_walls(light[self._walls].mean(), opening, self._area, colour)

    def draw(self, points, place, normals, box, size, upper: bool):
        """The mouth in a part of the picture.

        Parameters
        ----------
        points : (V, 3) float array
            On the screen: px and depth.
        place, normals
            As for `light`.
        box : (slice, slice)
            Rows and columns.
        size : (height, width)
            Of the box, px.
        upper : bool
            Whether to draw upper teeth.

        Returns
        -------
        (h, w, 3) float32
            sRGB, carried on over the edge of the mouth.
        (h, w) float32
            Coverage.
        """
        model, scene, (rows, columns), (height, width) = self.model, self.scene, box, size
        faces = model.faces
        if not upper:  # triangles of one point draw nothing
            faces = np.where(model.part_faces("teeth_upper")[:, None], 0, faces)
        scaled = points.copy()
        scaled[:, :2] = (points[:, :2] - [columns.start, rows.start] + 0.5) * FINER - 0.5
        raster = rasterize(scaled, faces, FINER * width, FINER * height)
        part = np.where(raster.covered, model.parts[np.maximum(raster.face, 0)].astype(np.int16), -1)
        hole, flesh = (np.isin(part, self._ids(names)) for names in (INSIDE, FLESH))
        light, ambient = self.light(place, normals)
        values = interpolate(raster, faces, np.column_stack([self._colours, normals, light]))
        drawn = render_interior(
            hole, values[..., :3], values[..., 3:6], raster.depth, scene.lip_depth, scene.lighting, scene.white,
            FINER * scene.unit, flesh, values[..., 6], ambient,
        )  # fmt: skip
        if not scene.coloured:
            drawn = np.repeat(drawn @ _LUMINANCE, 3, axis=2)
        drawn = carry_over_edge(drawn, hole)
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
        cover = cv2.resize(hole.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        return linear_to_srgb(drawn), cover

    def _ids(self, names):
        return [i for i, n in enumerate(self.model.part_names) if n in names]
