"""Square, rotated regions of a picture and their resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Region", "crop"]


@dataclass(frozen=True)
class Region:
    """A square, possibly turned and reaching beyond the picture.

    Attributes
    ----------
    x, y : float
        Centre in pixels; (0, 0) is the centre of the top-left pixel.
    size : float
        Side in pixels.
    angle : float
        Radians from the picture's x axis to the square's, towards +y (clockwise
        as one looks at it).
    """

    x: float
    y: float
    size: float
    angle: float = 0.0

    def to_image(self, points) -> np.ndarray:
        """Points (..., 2) in [0, 1] of the square -> pixels of the picture."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return (np.asarray(points, float) - 0.5) * self.size @ np.array([[c, s], [-s, c]]) + [self.x, self.y]

    def from_image(self, points) -> np.ndarray:
        """Inverse of `to_image`."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return (np.asarray(points, float) - [self.x, self.y]) @ np.array([[c, -s], [s, c]]) / self.size + 0.5


def crop(image: np.ndarray, region: Region, size: int, replicate: bool) -> np.ndarray:
    """Resample a region to `size` x `size` pixels.

    Areas are averaged where the region is shrunk, so that fine detail of large
    photographs does not turn into noise; interpolation is bilinear.

    Parameters
    ----------
    image : (H, W, 3) uint8 or float32
    region : Region
    size : int
    replicate : bool
        Continue the border's colours outside the picture; else black.

    Returns
    -------
    (size, size, 3) float32
        0 to 255.
    """
    import cv2

    height, width = image.shape[:2]
    corners = region.to_image([[0, 0], [1, 0], [0, 1], [1, 1]])
    # only the part under the region is worked on, with room for interpolation
    low = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 3, low + 1, [width, height])
    image = image[low[1] : high[1], low[0] : high[0]]
    shrink = region.size / size
    factor = np.ones(2)
    if shrink >= 1.5:
        smaller = np.maximum(np.rint(np.array(image.shape[1::-1]) / shrink), 1).astype(int)
        factor = smaller / np.array(image.shape[1::-1])
        image = cv2.resize(image, tuple(int(n) for n in smaller), interpolation=cv2.INTER_AREA)
    # three corners, in the convention of pixel centres at whole numbers on both sides
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    source = (region.to_image(square) - low + 0.5) * factor - 0.5
    matrix = cv2.getAffineTransform((square * size - 0.5).astype(np.float32), source.astype(np.float32))
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # in floats: rounding the result to whole levels would shift faint gradients
    return cv2.warpAffine(image.astype(np.float32), matrix, (size, size), flags=flags, borderMode=border)
