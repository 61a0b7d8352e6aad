"""The texture of a scan, drawn into the chart of a sequence."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from affect3d.mesh import Mesh
from affect3d.registration.uv_domain import draw, sample

__all__ = ["draw_texture"]

#: Standard deviations of grey, in [0, 1], below this are noise and not made larger.
_LEAST_CONTRAST = 0.03


def draw_texture(flat, scan: Mesh, texture, shape: tuple[int, int], blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Local contrast of a texture in the chart.

    Light and exposure change from frame to frame; what stays is where a pixel is brighter than its surroundings, in
    standard deviations of these.

    Parameters
    ----------
    flat : (V, 3) float array
        As `Chart.flatten` gives it.
    scan : Mesh
        With texture coordinates.
    texture : (H, W, 3) uint8 array
    shape : (rows, columns)
    blur : float
        Size of the surroundings, pixels (standard deviation of a Gaussian).

    Returns
    -------
    contrast : (rows, columns, 1) float64
        Of order 1; 0 where nothing was drawn.
    seen : (rows, columns) bool

    Raises
    ------
    ValueError
        If the scan has no texture coordinates, or the texture is no picture.
    """
    texture = np.asarray(texture)
    if scan.uv is None:
        raise ValueError("scan: has a texture, but no texture coordinates")
    if texture.ndim != 3 or texture.shape[2] < 3 or not texture.size:
        raise ValueError(f"texture: expected a picture of shape (H, W, 3), got {texture.shape}")
    # seams: each corner has its own texture coordinates
    corners = np.ascontiguousarray(flat[scan.faces.ravel()])
    image, seen = draw(corners, np.arange(len(corners)).reshape(-1, 3), scan.uv[scan.uv_faces.ravel()], shape)
    height, width = texture.shape[:2]
    grey = texture[..., :3].astype(float) @ np.array([0.299, 0.587, 0.114]) / 255.0
    # a pixel of the chart covers many of the texture
    finer = _step(image, seen, width, height)
    if finer > 1.5:
        grey = uniform_filter(grey, int(round(finer)), mode="nearest")
    columns, rows = image[..., 0] * width - 0.5, (1 - image[..., 1]) * height - 0.5
    value = sample(grey[..., None], columns.ravel(), rows.ravel())[:, 0].reshape(shape) * seen
    share = np.maximum(gaussian_filter(seen.astype(float), blur), 1e-6)
    mean = gaussian_filter(value, blur) / share
    spread = np.sqrt(np.maximum(gaussian_filter(value**2, blur) / share - mean**2, _LEAST_CONTRAST**2))
    return ((value - mean) / spread * seen)[..., None], seen


def _step(image, seen, width: int, height: int) -> float:
    """Texture pixels from one pixel of the chart to the next, as is usual."""
    both = seen[:, 1:] & seen[:, :-1]
    if not both.any():
        return 1.0
    step = np.diff(image, axis=1)[both] * [width, height]
    return float(np.median(np.hypot(*step.T)))
