"""Few frames of a film that show a person in many ways."""

from __future__ import annotations

import numpy as np

__all__ = ["spread_frames"]


def spread_frames(features, rest, count: int, most: int = 2000) -> np.ndarray:
    """Choose frames: half of them calm and apart in time, half as different from one another as possible.

    Parameters
    ----------
    features : (T, F) float array
        Of each frame; distances between them should mean something.
    rest : (T,) float array
        How far each face is from rest.
    count : int
        At most.
    most : int
        Frames that are looked at, evenly spread; the work grows with `most` times `count`.

    Returns
    -------
    (<=count,) int array, ascending, without repetition.
    """
    features, rest = np.asarray(features, float), np.asarray(rest, float)
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    if not len(features) or len(rest) != len(features):
        raise ValueError(f"features: expected one row for each of the {len(rest)} frames, got {len(features)}")
    look = np.unique(np.linspace(0, len(features) - 1, min(len(features), most)).astype(int))
    if len(look) <= count:
        return look
    chosen = []
    for part in np.array_split(look, (count + 1) // 2):
        chosen.append(int(part[np.argmin(rest[part])]))
    away = np.min([((features[look] - features[k]) ** 2).sum(1) for k in chosen], axis=0)
    while len(chosen) < count and away.max() > 0:
        chosen.append(int(look[np.argmax(away)]))
        away = np.minimum(away, ((features[look] - features[chosen[-1]]) ** 2).sum(1))
    return np.unique(chosen)
