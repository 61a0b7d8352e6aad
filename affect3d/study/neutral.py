"""Neutral frames: labelled about zero, and neutral by the head that is fitted to them (paper, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.progress import Progress, silent

__all__ = ["ANY_FRAMES", "NeutralFrames", "NeutralOptions", "contact_sheet", "expressed", "find_neutral_frames"]


@dataclass(frozen=True)
class NeutralOptions:
    """What counts as neutral.

    Attributes
    ----------
    tolerance : float
        Distance of the label from (0, 0), in [0, 1]; the paper takes zero.
    most : float
        Largest strength of the fitted expression, see `expressed`.  The paper's authors looked at the frames instead.
    each : int
        Frames of a clip at most, from 1; those with the weakest expression are taken.
    tried : int
        Frames of a clip that are fitted, from 1; those nearest to zero, and of equals those spread over the clip.
    """

    tolerance: float = 0.06
    most: float = 0.35
    each: int = 1
    tried: int = 2

    def __post_init__(self):
        if not 0 <= self.tolerance <= 1:
            raise ValueError(f"tolerance: expected a number in [0, 1], got {self.tolerance}")
        if not self.most > 0:
            raise ValueError(f"most: expected a number above 0, got {self.most}")
        for name in ("each", "tried"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}: expected a whole number from 1, got {value!r}")


#: Not only neutral frames: some of each clip, whatever they show (made expressions replace the fitted ones).
ANY_FRAMES = NeutralOptions(tolerance=1.0, most=100.0, each=3, tried=3)


@dataclass(frozen=True, eq=False)
class NeutralFrames:
    """What was found.

    Attributes
    ----------
    rows : (M,) int64
        Of the videos, ascending.
    strength : (M,) float64
        Of their fitted expressions.
    refused : dict of int to str
        Rows that were fitted and not taken, with the reason.
    """

    rows: np.ndarray
    strength: np.ndarray
    refused: dict[int, str]


def expressed(names, weights) -> float:
    """How much of an expression ARKit weights are: the root of the sum of squares, glances and blinks left out."""
    used = [k for k, n in enumerate(names) if not n.startswith(("eyeLook", "eyeBlink"))]
    return float(np.linalg.norm(np.asarray(weights, float)[used]))


def find_neutral_frames(
    videos, rows, options: NeutralOptions | None = None, portrait=None, progress: Progress = silent
) -> NeutralFrames:
    """Search `rows` of `videos` for neutral frames.

    Parameters
    ----------
    videos : FaceVideos
    rows : (R,) int array
        Frames that may be used, as those of the training people.
    options : NeutralOptions, optional
    portrait : callable, optional
        ``portrait(row) -> Portrait`` with the fitted head; without one labels alone decide.
    """
    options = options or NeutralOptions()
    rows = np.asarray(rows, np.int64)
    distance = np.hypot(videos.valence[rows], videos.arousal[rows])
    near = rows[distance <= options.tolerance]  # NaN is not
    taken, refused, clips = [], {}, np.unique(videos.clip[near])
    for number, clip in enumerate(clips, 1):
        own = near[videos.clip[near] == clip]
        own = own[np.argsort(np.hypot(videos.valence[own], videos.arousal[own]).round(3), kind="stable")]
        tried = own[np.unique(np.linspace(0, len(own) - 1, min(options.tried, len(own))).round().astype(int))]
        found = []
        for row in map(int, tried):
            if portrait is None:
                found.append((0.0, row))
                continue
            try:
                head = portrait(row)
            except ValueError as error:  # no face, or one that no head fits: the frame is of no use
                refused[row] = str(error)
                continue
            strength = expressed(head.model.expression_names, head.fit.expression)
            if strength > options.most:
                refused[row] = f"the fitted expression has the strength {strength:.2f}, above {options.most:g}"
            else:
                found.append((strength, row))
        taken += sorted(found)[: options.each]
        progress(number, len(clips), "looking for neutral frames")
    taken.sort(key=lambda item: item[1])
    return NeutralFrames(np.array([r for _, r in taken], np.int64), np.array([s for s, _ in taken], float), refused)


def contact_sheet(videos, rows, options, columns: int = 12) -> np.ndarray:
    """(H, W, 3) uint8: the faces of `rows`, cut out as the CropOptions say, line by line."""
    from dataclasses import replace

    crops = videos.crops(rows, replace(options, channels=3))
    size = options.size
    lines = max(-(-len(crops) // columns), 1)
    sheet = np.full((lines * size, columns * size, 3), 255, np.uint8)
    for k, crop in enumerate(crops):
        y, x = divmod(k, columns)
        sheet[y * size : (y + 1) * size, x * size : (x + 1) * size] = crop
    return sheet
