"""How much a face smiles, by the detector's score and by how far the corners of the mouth lie back.

The detector's smile score says 0 of many slight smiles.  The lips that a smile draws out follow the arch of the
teeth, so their corners go back: that depth separates slight smiles from mouths at rest better than the score, the
width of the mouth or the height of its corners do, and hardly depends on the person.
"""

from __future__ import annotations

import numpy as np

from affect3d.landmark_groups import EYE_CORNERS

__all__ = ["corner_depth", "smile_guess"]

_CORNERS, _MIDDLE, _TOP, _CHIN = (61, 78, 291, 308), (13, 14), 10, 152  # of mediapipe478
# Least squares for the smile (the mean of both sides, 0 to 0.7) of 80 drawn heads of two models with skin from
# photographs, turned by up to 26 degrees, with other expressions at random: mean over the two models of the factors of
# score and depth and of the constant.  They explain 62 and 68 % of the variance, the score alone 42 and 64 %.  The
# constant is lowered by 0.05: least squares draw all towards the middle, and a mouth at rest should not smile.
_SCORE, _DEPTH, _CONSTANT = 0.5, 7.5, -1.0


def corner_depth(points, depth) -> float:
    """How far the corners of the mouth lie behind the middle of the lips, in interocular distances.

    About 0.14 at rest and 0.17 in slight to moderate smiles.

    Parameters
    ----------
    points : (478, 2) float array
        Landmarks, px.
    depth : (478,) float array
        The detector's, px, negative towards the camera.

    Returns
    -------
    float
        NaN where the landmarks needed are missing or span no frame.
    """
    where = np.column_stack([points, depth])
    right, left = (where[k] for k in EYE_CORNERS["mediapipe478"])
    across = left - right
    unit = np.linalg.norm(across)
    up = where[_TOP] - where[_CHIN]
    with np.errstate(invalid="ignore", divide="ignore"):
        across = across / unit
        up = up - across * (up @ across)
        up = up / np.linalg.norm(up)
        # right-handed in a picture whose y axis points down: away from the camera
        away = np.cross(up, across)
        away = away * np.sign(away[2]) if away[2] else away * np.nan
        value = (where[list(_CORNERS)].mean(0) - where[list(_MIDDLE)].mean(0)) @ away / unit
    return float(value) if np.isfinite(value) else float("nan")


def smile_guess(scores, points, depth) -> dict[str, float]:
    """Smile of both sides in [0, 1] by ARKit name; empty where the depth says nothing.

    Parameters
    ----------
    scores : dict of str to float
        The detector's expression scores.
    points : (478, 2) float array
    depth : (478,) float array
        As `corner_depth` takes them.
    """
    back = corner_depth(points, depth)
    if not np.isfinite(back):
        return {}
    names = ("mouthSmileLeft", "mouthSmileRight")
    return {n: float(np.clip(_SCORE * scores.get(n, 0.0) + _DEPTH * back + _CONSTANT, 0, 1)) for n in names}
