"""What landmarks of the photo and of the fitted head differ by, for the fitted and for another expression."""

from __future__ import annotations

import numpy as np

from affect3d.landmark_groups import EYE_CORNERS, LIP_PAIRS

__all__ = ["close_lips", "closed_where_touching", "down_vector", "shrink_gaps"]


def closed_where_touching(marks, pairs, threshold):
    """Landmarks with each pair that is nearer than `threshold` px (or crossed) drawn to its middle."""
    points = marks.points[:, :2].copy()
    down = down_vector(marks)
    gaps = np.array([(points[lower] - points[upper]) @ down for upper, lower in pairs])
    if gaps.max() < threshold:
        for upper, lower in pairs:
            points[upper] = points[lower] = (points[upper] + points[lower]) / 2
    return points


def down_vector(marks) -> np.ndarray:
    """Unit vector (2,) from the eyes towards the chin, px, square to the line through the eyes."""
    right, left = EYE_CORNERS[marks.scheme]
    across = marks.points[left, :2] - marks.points[right, :2]
    across = across / np.linalg.norm(across)
    return np.array([-across[1], across[0]])


def shrink_gaps(residual, here, there, pairs):
    """Residuals for another expression: what opened a pair beyond the model fades as the model closes it."""
    out = residual.copy()
    for upper, lower in pairs:
        if not np.isfinite(residual[[upper, lower]]).all():
            continue
        now, then = np.linalg.norm(here[lower] - here[upper]), np.linalg.norm(there[lower] - there[upper])
        keep = np.clip(then / max(now, 1e-6), 0, 1)
        middle = (residual[upper] + residual[lower]) / 2
        half = (residual[lower] - residual[upper]) / 2 * keep
        out[upper], out[lower] = middle - half, middle + half
    return out


def close_lips(residual, rest, here, there, marks) -> np.ndarray:
    """Residuals with which the lips are as far apart as the new expression says.

    At rest the model's lips touch, whatever distance their landmarks have there.  What the photo's lips
    are open beyond the fitted expression fades as the expression closes them.

    Parameters
    ----------
    residual : (L, 2) float array
        Photo minus fitted head, px.
    rest, here, there : (L, 2) float arrays
        Landmarks of the head at rest, with the fitted and with the new expression, px.
    marks : Landmarks
        Of the photo.
    """
    down = down_vector(marks)
    out = residual.copy()
    for upper, lower in LIP_PAIRS[marks.scheme]:
        if not np.isfinite(residual[[upper, lower]]).all():
            continue
        apart = residual[lower] - residual[upper]
        closed = float((rest[lower] - rest[upper]) @ down)
        model_now = float((here[lower] - here[upper]) @ down)
        model_then = float((there[lower] - there[upper]) @ down)
        photo = max(model_now + float(apart @ down), 0.0)
        now, then = max(model_now - closed, 0.0), max(model_then - closed, 0.0)
        keep = np.clip(then / max(now, 0.5 * photo, 1e-6), 0, 1)
        gap = max(then + (photo - now) * keep, 0.0)
        middle = (residual[upper] + residual[lower]) / 2
        half = (down * (gap - model_then) + apart - (apart @ down) * down) / 2
        out[upper], out[lower] = middle - half, middle + half
    return out
