"""What every face detector gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.landmarks import Landmarks

__all__ = ["FaceDetection", "NoFaceError", "check_image"]


class NoFaceError(ValueError):
    """A picture without the face that was asked for; one sentence with what to try."""


@dataclass(frozen=True, eq=False)
class FaceDetection:
    """One face in a picture.  Pixel (0, 0) is the centre of the top-left pixel.

    Attributes
    ----------
    box : (4,) float64
        x0, y0, x1, y1 in pixels, the bounding box of the landmarks; it may
        reach beyond the picture.
    score : float
        Confidence, larger is surer: a probability in [0, 1] for "mediapipe",
        an unbounded margin for "dlib".
    landmarks : Landmarks
        `mediapipe478` or `ibug68`, two coordinates, in pixels.
    depth : (L,) float64, optional
        MediaPipe's relative depth of each landmark in pixels, negative towards
        the camera, zero near the centre of the head.
    expression_scores : dict of str to float, optional
        ARKit names (without tongueOut, which the network does not know) to [0, 1].
    """

    box: np.ndarray
    score: float
    landmarks: Landmarks
    depth: np.ndarray | None = None
    expression_scores: dict[str, float] | None = None

    def __post_init__(self):
        box = frozen_array(self.box, np.float64, "box", (4,))
        require_finite(box, "box")
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "score", float(self.score))
        if self.depth is not None:
            count = len(self.landmarks.points)
            object.__setattr__(self, "depth", frozen_array(self.depth, np.float64, "depth", (count,)))

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x0, y0, x1, y1 = self.box
        return float(max(x1 - x0, 0.0) * max(y1 - y0, 0.0))


def check_image(image) -> np.ndarray:
    """`image` as an array; ValueError unless (H, W, 3) uint8 with pixels in it."""
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(f"image: expected (H, W, 3) uint8 sRGB, got shape {array.shape} of {array.dtype}")
    return array
