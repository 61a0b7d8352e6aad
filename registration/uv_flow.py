"""Dense alignment of two images of many channels by a smooth displacement, coarse to fine.

The regularizer is the bending energy.  On a rectangle the cosine transform makes its matrix diagonal, so each
Gauss-Newton step costs two transforms, and nothing has to be factored when a new frame comes.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from affect3d.registration.uv_domain import sample

__all__ = ["align_images"]


def align_images(
    fixed, moving, weight, start=None, bending: float = 20.0, blurs: tuple[float, ...] = (4.0, 2.0, 1.0),
    iterations: int = 8,
) -> np.ndarray:
    """Displacement that takes pixels of `fixed` to where the same is seen in `moving`.

    Parameters
    ----------
    fixed, moving : (rows, columns, C) float array
        All channels in one unit, of order 1.
    weight : (rows, columns) float array
        In [0, 1]: what may be compared; 0 in holes of either image.
    start : (rows, columns, 2) float array, optional
        Displacement to begin with, columns first, in pixels.
    bending : float
        Weight of bending against a pixel of unit contrast, above 0.
    blurs : tuple of float
        Gaussian blur of each level, in pixels.
    iterations : int
        On each level.

    Returns
    -------
    (rows, columns, 2) float64
        In pixels, columns first: ``moving[x + flow] ~ fixed[x]``.

    Raises
    ------
    ValueError
        If shapes differ or `bending` is not above 0.

    References
    ----------
    Horn and Schunck, "Determining Optical Flow", 1981, with bending instead of the membrane.
    """
    fixed, moving, weight = (np.asarray(a, float) for a in (fixed, moving, weight))
    if fixed.ndim != 3 or moving.shape != fixed.shape or weight.shape != fixed.shape[:2]:
        raise ValueError(
            f"fixed, moving, weight: expected one size, got {fixed.shape}, {moving.shape} and {weight.shape}"
        )
    if not bending > 0:
        raise ValueError(f"bending: expected a number above 0, got {bending}")
    rows, columns = weight.shape
    flow = np.zeros((rows, columns, 2)) if start is None else np.array(start, float)
    if flow.shape != (rows, columns, 2):
        raise ValueError(f"start: expected shape {(rows, columns, 2)}, got {flow.shape}")
    y, x = np.meshgrid(np.arange(rows, dtype=float), np.arange(columns, dtype=float), indexing="ij")
    laplace = (2 - 2 * np.cos(np.pi * np.arange(rows) / rows))[:, None] + (
        2 - 2 * np.cos(np.pi * np.arange(columns) / columns)
    )
    for blur in blurs:
        still, other = (gaussian_filter(a, (blur, blur, 0)) for a in (fixed, moving))
        gradient = np.gradient(other, axis=(1, 0))
        for _ in range(iterations):
            at = (x + flow[..., 0]).ravel(), (y + flow[..., 1]).ravel()
            residual = (still - sample(other, *at).reshape(still.shape)) * weight[..., None]
            # a large residual is a hole's rim or a lip that opened, not a shift
            residual /= 1 + (residual**2).sum(-1, keepdims=True) / 0.25
            slope = [sample(g, *at).reshape(still.shape) for g in gradient]
            # the mean curvature of the data term stands for its pixels: the matrix stays diagonal
            strength = max(float(np.mean([(s**2).sum(-1)[weight > 0].mean() for s in slope])), 1e-9) if (
                weight > 0
            ).any() else 1e-9
            for axis in range(2):
                force = (slope[axis] * residual).sum(-1)
                spectrum = dctn(force, norm="ortho") - bending * strength * laplace**2 * dctn(
                    flow[..., axis], norm="ortho"
                )
                flow[..., axis] += idctn(spectrum / (strength * (2 + bending * laplace**2)), norm="ortho")
    return flow
