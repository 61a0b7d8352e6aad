"""Contact sheets: a face over the valence-arousal plane, or around its circle."""

from __future__ import annotations

import cv2
import numpy as np

from affect3d.progress import Progress, silent

__all__ = ["circle_sheet", "grid_sheet", "strip_sheet"]

INK = (40, 40, 40)
PAPER = 255


def grid_sheet(portrait, statistics, size: int = 256, classes: int = 10, progress: Progress = silent) -> np.ndarray:
    """One face at the centre of each V-A class; valence grows to the right, arousal upwards.

    Parameters
    ----------
    portrait : Portrait
    statistics : ClassStatistics
    size : int
        Pixels a face.
    classes : int
        Squares a side; 10 are the classes of the paper.

    Returns
    -------
    (H, W, 3) uint8 sRGB
    """
    small = portrait.close_up(size)
    centres = -1 + (np.arange(classes) + 0.5) * 2 / classes
    sheet = np.empty((classes * size, classes * size, 3), np.uint8)
    for i, arousal in enumerate(centres[::-1]):
        for j, valence in enumerate(centres):
            image = small.express(float(valence), float(arousal), statistics).image
            sheet[i * size : (i + 1) * size, j * size : (j + 1) * size] = image
            progress(i * classes + j + 1, classes * classes, "drawing faces")
    return _with_axes(sheet, centres)


def circle_sheet(
    portrait, statistics, radius: float = 0.8, points: int = 8, size: int = 320, progress: Progress = silent
) -> np.ndarray:
    """The photo in the middle, and its face at points around the V-A circle, 3 x 3 for eight points.

    Returns
    -------
    (H, W, 3) uint8 sRGB.  Right is positive valence, up is high arousal.
    """
    small = portrait.close_up(size)
    angles = 2 * np.pi * np.arange(points) / points
    faces = []
    for k, angle in enumerate(angles):
        v, a = radius * np.cos(angle), radius * np.sin(angle)
        faces.append(((v, a), small.express(float(v), float(a), statistics).image))
        progress(k + 1, points, "drawing faces")
    if points == 8:
        places = [(1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]
        shape, home = (3, 3), (1, 1)
    else:
        places = [(0, k + 1) for k in range(points)]
        shape, home = (1, points + 1), (0, 0)
    bar = max(22, size // 12)
    sheet = np.full((shape[0] * (size + bar), shape[1] * size, 3), PAPER, np.uint8)
    _put(sheet, home, small.pixels, "photo", size, bar)
    for place, ((v, a), image) in zip(places, faces):
        _put(sheet, place, image, f"valence {round(v, 2) + 0.0:+.2f}  arousal {round(a, 2) + 0.0:+.2f}", size, bar)
    return sheet


def strip_sheet(images, labels, size: int, columns: int) -> np.ndarray:
    """Labelled pictures of one size (size, size, 3) in rows of `columns`."""
    rows = -(-len(images) // columns)
    bar = max(22, size // 12)
    sheet = np.full((rows * (size + bar), columns * size, 3), PAPER, np.uint8)
    for k, (image, label) in enumerate(zip(images, labels)):
        _put(sheet, (k // columns, k % columns), image, label, size, bar)
    return sheet


def _put(sheet, place, image, label, size, bar):
    y, x = place[0] * (size + bar), place[1] * size
    sheet[y + bar : y + bar + size, x : x + size] = image
    _write(sheet, label, x + 6, y + bar - 7, min(0.5, size / 640))


def _write(sheet, text, x, y, scale):
    cv2.putText(sheet, text, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)


def _with_axes(sheet, centres):
    height, width = sheet.shape[:2]
    cell = height // len(centres)
    edge = max(28, cell // 5)
    out = np.full((height + edge, width + edge, 3), PAPER, np.uint8)
    out[:height, edge:] = sheet
    scale = edge / 85
    for k, value in enumerate(centres):
        _write(out, f"{value:+.1f}", edge + (k + 0.5) * cell - edge / 3, height + edge * 0.7, scale)
        _write(out, f"{value:+.1f}", 2, height - (k + 0.5) * cell, scale)
    # the axes' names stand between two middle figures, where nothing else is
    _write(out, "valence", edge + width / 2 - edge * 0.55, height + edge * 0.7, scale)
    _write(out, "arousal", 2, height / 2 + edge * 0.1, scale * 0.75)
    return out
