"""The 3D route's pictures of a study: neutral frames of its people and neutral faces of others, in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.affect.statistics import default_statistics
from affect3d.io.image import write_image
from affect3d.io.json_file import read_json, write_json
from affect3d.progress import Progress, silent
from affect3d.study.augment import (
    AugmentOptions,
    augment,
    mean_expressions,
    sampled_expressions,
)
from affect3d.study.fits import fitted_face
from affect3d.study.neutral import contact_sheet, find_neutral_frames

__all__ = ["make_pictures", "neutral_frames"]


def neutral_frames(videos, options, folder, progress: Progress = silent) -> dict:
    """The set's neutral frames, as neutral.json holds them; searched for if it does not exist.

    Returns
    -------
    dict
        "rows", "strength" and "refused" (row to reason).
    """
    path = Path(folder) / "neutral.json"
    there = read_json(path)
    if there is not None:
        return there
    labelled = np.flatnonzero(videos.labelled)
    found = find_neutral_frames(videos, labelled, options.neutral, lambda row: fitted_face(videos, row), progress)
    known = {
        "rows": [int(r) for r in found.rows], "strength": [round(float(s), 4) for s in found.strength],
        "refused": {str(k): v for k, v in found.refused.items()},
    }  # fmt: skip
    if not len(found.rows):
        raise ValueError("videos: no frame is neutral by label and by fitted expression; allow a wider tolerance")
    write_image(Path(folder) / "neutral.png", contact_sheet(videos, found.rows, options.crop))
    write_json(path, known)
    return known


def make_pictures(videos, rows, modes, options, folder, workers: int = 1, progress: Progress = silent) -> dict:
    """Make the pictures of `rows`; returns mode -> folder.

    Parameters
    ----------
    videos : FaceVideos
    rows : (M,) int array
    modes : dict of {"mean", "sampled"} to bool
        Whether the head is fitted to the made pictures, too.
    options : StudyOptions
    folder : path
        Made if missing; gets a folder for each mode.
    """
    statistics = default_statistics()
    out = {}
    Path(folder).mkdir(exist_ok=True)
    for mode, refit in modes.items():
        expressions = mean_expressions(statistics) if mode == "mean" else sampled_expressions(statistics, options.seed)
        # all classes alike: who is learned from is not known yet, and the labels of the others must not choose
        how = AugmentOptions(mode, options.pictures, False, options.crop, options.seed, refit)
        out[mode] = Path(folder) / mode
        augment(videos, rows, expressions, how, out[mode], None, None, workers, progress)
    return out

