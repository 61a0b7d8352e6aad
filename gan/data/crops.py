"""The papers' crops: faces brought to one place and size by their 68 landmarks.

CDAAE aligns by Procrustes analysis of the 68 points and resizes to 32 x 32; FESGAN and ExprGAN align by
landmarks and resize to 128 x 128; StoicNet cuts upright squares around the faces and makes them grey.
None says how much around the landmarks it keeps: the margins here are a choice of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.geometry.arrays import require_finite
from affect3d.geometry.procrustes import Similarity, generalized_procrustes, procrustes

__all__ = ["CROPS", "MEAN_FACE", "CropOptions", "crop_image", "crop_transform", "mean_shape"]

#: (68, 2): the iBUG points of the default head's mean, seen from 1.2 m in front; x to the right, y down, the
#: origin between the eyes, the outer eye corners 1 apart.
MEAN_FACE = np.array([
    (-0.808, -0.031), (-0.801, 0.185), (-0.775, 0.418), (-0.727, 0.654), (-0.66, 0.87), (-0.557, 1.043),
    (-0.392, 1.184), (-0.208, 1.279), (0, 1.311), (0.208, 1.279), (0.392, 1.184), (0.557, 1.043),
    (0.66, 0.87), (0.727, 0.654), (0.775, 0.418), (0.801, 0.185), (0.808, -0.031), (-0.668, -0.162),
    (-0.579, -0.274), (-0.43, -0.32), (-0.277, -0.31), (-0.153, -0.246), (0.153, -0.246), (0.277, -0.31),
    (0.43, -0.32), (0.579, -0.274), (0.668, -0.162), (0, -0.04), (0, 0.114), (0, 0.255),
    (0, 0.386), (-0.158, 0.514), (-0.086, 0.544), (0, 0.549), (0.086, 0.544), (0.158, 0.514),
    (-0.5, -0.008), (-0.413, -0.046), (-0.305, -0.045), (-0.216, 0.014), (-0.308, 0.042), (-0.417, 0.043),
    (0.216, 0.014), (0.305, -0.045), (0.413, -0.046), (0.5, -0.008), (0.417, 0.043), (0.308, 0.042),
    (-0.299, 0.828), (-0.197, 0.742), (-0.084, 0.71), (0, 0.714), (0.084, 0.71), (0.197, 0.742),
    (0.299, 0.828), (0.198, 0.914), (0.091, 0.952), (0, 0.96), (-0.091, 0.952), (-0.198, 0.914),
    (-0.267, 0.815), (-0.067, 0.817), (0, 0.82), (0.067, 0.817), (0.267, 0.815), (0.068, 0.814),
    (0, 0.818), (-0.068, 0.814),
]).round(3)  # fmt: skip
MEAN_FACE.flags.writeable = False


@dataclass(frozen=True)
class CropOptions:
    """How a face is cut out.

    Attributes
    ----------
    size : int
        Side of the square in pixels.
    channels : {3, 1}
        Colour or grey.
    align : {"procrustes", "square"}
        Turn, scale and shift so that the 68 points lie nearest to `MEAN_FACE`; or an upright square around them.
    margin : float
        What is kept on each side of the landmarks' box, as a share of its longer side.
    lift : float
        How far the window lies above the middle of that box, in the same measure: foreheads have no landmarks.
    """

    size: int = 128
    channels: int = 3
    align: str = "procrustes"
    margin: float = 0.12
    lift: float = 0.09

    def __post_init__(self):
        if not (isinstance(self.size, (int, np.integer)) and 4 <= self.size <= 4096):
            raise ValueError(f"size: expected a whole number of pixels from 4 to 4096, got {self.size}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels: expected 3 (colour) or 1 (grey), got {self.channels}")
        if self.align not in ("procrustes", "square"):
            raise ValueError(f"align: expected 'procrustes' or 'square', got {self.align!r}")
        if not (-0.4 < self.margin <= 2 and -1 <= self.lift <= 1):
            raise ValueError(
                f"margin, lift: expected numbers in (-0.4, 2] and [-1, 1], got {self.margin}, {self.lift}"
            )  # fmt: skip


#: The crop of each method's paper.
CROPS = {
    "cdaae": CropOptions(32, 3, "procrustes", 0.06, 0.07),
    "fesgan": CropOptions(128, 3, "procrustes"),
    "exprgan": CropOptions(128, 3, "procrustes"),
    "stoicnet": CropOptions(128, 1, "square", 0.12, 0.09),
}


def crop_transform(points, options: CropOptions, reference=MEAN_FACE) -> Similarity:
    """From pixels of the picture to pixels of the crop.

    Parameters
    ----------
    points : (68, 2) float array
        iBUG landmarks in pixels of the picture.
    reference : (68, 2) float array
        What the points are brought onto, in any unit; ignored for squares.

    Raises
    ------
    ValueError
        If a point is missing or they do not determine a place.
    """
    points = _checked(points, "points")
    if options.align == "square":
        low, high = points.min(0), points.max(0)
        onto = Similarity(1.0, np.eye(2), np.zeros(2))
    else:
        reference = _checked(reference, "reference")
        low, high = reference.min(0), reference.max(0)
        onto = procrustes(points, reference)
    longer = float((high - low).max())
    if longer <= 0:
        raise ValueError("points: the landmarks all lie in one place")
    side = longer * (1 + 2 * options.margin)
    corner = (low + high) / 2 - [0, options.lift * longer] - side / 2
    scale = options.size / side
    # the window's border is half a pixel outside the centre of its first pixel
    return Similarity(scale * onto.scale, onto.rotation, scale * (onto.translation - corner) - 0.5)


def crop_image(image, points, options: CropOptions, reference=MEAN_FACE) -> np.ndarray:
    """The face as (size, size, channels) uint8; what lies outside the picture repeats its border.

    Parameters
    ----------
    image : (H, W, 3) or (H, W, 1) uint8 sRGB
    points, options, reference
        As in `crop_transform`.

    Raises
    ------
    ValueError
        As `crop_transform`, or if the picture is not as above.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0:
        raise ValueError(f"image: expected (H, W, 3 or 1) uint8, got {image.shape} of {image.dtype}")
    transform = crop_transform(points, options, reference)
    scale = transform.scale
    # Drawn larger by a whole factor and averaged: every pixel of the picture counts, so nothing aliases.
    factor = int(np.clip(np.ceil(1 / scale), 1, max(4096 // options.size, 1)))
    matrix = transform.matrix()[:2] * factor
    matrix[:, 2] += (factor - 1) / 2
    side = options.size * factor
    drawn = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(options.size, factor, options.size, factor, -1)
    crop = drawn.mean((1, 3), dtype=np.float32)
    if options.channels == 1 and crop.shape[2] == 3:
        crop = crop @ np.float32([[0.299], [0.587], [0.114]])  # luma of ITU-R BT.601
    elif options.channels == 3 and crop.shape[2] == 1:
        crop = np.repeat(crop, 3, axis=2)
    return np.clip(np.rint(crop), 0, 255).astype(np.uint8)


def mean_shape(shapes) -> np.ndarray:
    """(68, 2) mean of the shapes (S, 68, 2) of one's own set by generalized Procrustes analysis, upright.

    To be handed to `crop_transform` as `reference` where the set's own mean is wanted, as the papers that
    align by Procrustes analysis may have done; `MEAN_FACE` lets sets share one frame.
    """
    mean = generalized_procrustes(shapes).mean
    eyes = mean[42:48].mean(0) - mean[36:42].mean(0)
    c, s = eyes / np.linalg.norm(eyes)
    return mean @ np.array([[c, -s], [s, c]])


def _checked(points, name) -> np.ndarray:
    points = np.asarray(points, float)
    if points.shape != (68, 2):
        raise ValueError(f"{name}: expected the 68 iBUG points, shape (68, 2), got {points.shape}")
    require_finite(points, name)
    return points
