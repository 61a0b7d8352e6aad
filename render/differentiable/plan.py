"""What is drawn where: lists of triangles and outline edges for each band of rows, for the compiled kernels."""

from __future__ import annotations

import numpy as np

from affect3d.render.differentiable import kernels_bands as kernels
from affect3d.render.differentiable.threads import bands, in_threads

__all__ = ["BITS", "bands_of", "groups_of", "outlines_of", "triangles_of"]

BITS = 5  # a band is 2 ** BITS rows: its depth buffer stays in the cache, and few triangles meet two of them


def bands_of(height: int) -> int:
    """Number of bands of a picture."""
    return -(-height >> BITS)


def groups_of(width: int, height: int) -> list[tuple[int, int]]:
    """Ranges of bands that one thread works on at a time; depends on the size only."""
    return bands(bands_of(height), min(8, 1 + width * height // (1 << 15)))


def triangles_of(points, topology, width, height, cull, near):
    """Arguments of the kernels, and the side of each triangle as `triangle_boxes` gives it.

    Parameters
    ----------
    points : (V, 3) float64 array

    Returns
    -------
    tuple of points, faces, entries, first and box
    (F,) int8 array
    """
    faces = topology.for_kernels[0]
    box, side = np.empty((len(faces), 4), np.int32), np.empty(len(faces), np.int8)
    flat = np.empty((len(points), 2))
    kernels.flat_points(points, near, flat)
    in_threads(
        lambda start, stop: kernels.triangle_boxes(
            points, flat, faces, width, height, near, cull, box, side, start, stop
        ),
        bands(len(faces), 1 + (len(faces) >> 15)),
    )
    return (points, faces, *kernels.band_lists(box, BITS, bands_of(height)), box), side


def outlines_of(points, topology, side, width, height, cull, near, reach):
    """Tuple of edges, number, outward, owner, entries, first and box; no edges if `reach` is 0."""
    _, edges, beside, first, half = topology.for_kernels
    if reach > 0:
        found = kernels.outline_edges(edges, beside, first, half, topology.for_kernels[0], side, cull)
    else:
        found = np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0, np.int64)
    box = np.empty((len(found[0]), 4), np.int32)
    kernels.outline_boxes(points, edges, found[0], width, height, near, reach, box)
    return edges, *found, *kernels.band_lists(box, BITS, bands_of(height)), box
