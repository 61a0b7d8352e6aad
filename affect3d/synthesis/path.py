"""A way through the valence-arousal plane as the frames of a film."""

from __future__ import annotations

import numpy as np

from affect3d.progress import Progress, silent

__all__ = ["path_frames", "path_points"]


def path_points(waypoints, frames: int) -> np.ndarray:
    """Points along straight legs between waypoints, at rest at both ends of each leg.

    Parameters
    ----------
    waypoints : (P, 2) sequence of (valence, arousal), each in [-1, 1], P >= 2
    frames : int
        Number of points, at least P.

    Returns
    -------
    (frames, 2) float64.  Each leg gets frames in proportion to its length and is travelled with the
    smoothstep 3t² - 2t³, so the speed has no jumps.
    """
    way = np.asarray(waypoints, float)
    if way.ndim != 2 or way.shape[1] != 2 or len(way) < 2:
        raise ValueError(f"waypoints: expected at least two (valence, arousal) pairs, got shape {way.shape}")
    if not np.isfinite(way).all() or np.abs(way).max() > 1:
        raise ValueError("waypoints: valence and arousal must lie in [-1, 1]")
    if frames < len(way):
        raise ValueError(f"frames: expected at least one a waypoint ({len(way)}), got {frames}")
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    if lengths.sum() == 0:
        return np.repeat(way[:1], frames, axis=0)
    ends = np.r_[0, np.cumsum(lengths) / lengths.sum()]
    time = np.linspace(0, 1, frames)
    leg = np.clip(np.searchsorted(ends, time, side="right") - 1, 0, len(lengths) - 1)
    span = np.maximum(ends[leg + 1] - ends[leg], 1e-12)
    t = np.clip((time - ends[leg]) / span, 0, 1)
    t = t * t * (3 - 2 * t)
    return way[leg] + t[:, None] * (way[leg + 1] - way[leg])


def path_frames(portrait, statistics, waypoints, frames: int = 60, progress: Progress = silent):
    """Yield the frames, (H, W, 3) uint8, of a film along `waypoints` (see `path_points`).

    One fit serves all frames, so the identity is the same throughout.
    """
    points = path_points(waypoints, frames)
    for k, (valence, arousal) in enumerate(points):
        yield portrait.express(float(valence), float(arousal), statistics).image
        progress(k + 1, len(points), "drawing frames")
