"""Frames of faces with valence and arousal, subject by subject and clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from affect3d.gan.data.crops import CropOptions, crop_image
from affect3d.gan.data.frames import open_frames
from affect3d.geometry.arrays import frozen_array

__all__ = ["FaceVideos"]


@dataclass(frozen=True, eq=False)
class FaceVideos:
    """Labelled frames; pictures lie on disk (`entries`) or in memory (`images`).

    Attributes
    ----------
    subject : (N,) int64
        Index into `subjects`.
    subjects : tuple of str
    clip : (N,) int64
        Index into `clips`; all frames of a clip show one subject.
    clips : tuple of str
        Each different.
    frame : (N,) int64
        Place in the clip, from 0; each once within a clip.
    valence, arousal : (N,) float64
        In [-1, 1]; NaN where nobody annotated.
    points : (N, 68, 2) float64, optional
        iBUG landmarks in pixels; rows of NaN where a frame has none.
    boxes : (N, 4) float64, optional
        left, top, right, bottom of the face in pixels; NaN where a frame has none.
    images : (N, H, W, 3) uint8, optional
    entries : tuple of affect3d.gan.data.listing.Entry, optional
        Where the pictures lie; one of `images` and `entries` is given.
    source : str
        Where all this comes from, in a sentence.

    Raises
    ------
    ValueError
        If a shape is wrong, a label lies out of range, a clip or a subject has no frames, or a clip shows two
        subjects; names the offender.
    """

    subject: np.ndarray
    subjects: tuple[str, ...]
    clip: np.ndarray
    clips: tuple[str, ...]
    frame: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    points: np.ndarray | None = None
    boxes: np.ndarray | None = None
    images: np.ndarray | None = None
    entries: tuple | None = None
    source: str = ""

    def __post_init__(self):
        count = len(np.asarray(self.subject))
        whole = ("subject", "clip", "frame")
        values = {name: frozen_array(getattr(self, name), np.int64, name, (count,)) for name in whole}
        for name, names in (("subject", self.subjects), ("clip", self.clips)):
            names = tuple(map(str, names))
            if len(set(names)) != len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise ValueError(f"{name}s: expected different names, got {twice!r} twice")
            inside = (values[name] >= 0) & (values[name] < len(names))
            if not inside.all():
                raise ValueError(f"{name}: expected indices in [0, {len(names)}), got {values[name][~inside][0]}")
            without = np.flatnonzero(np.bincount(values[name], minlength=len(names)) == 0)
            if len(without):
                raise ValueError(f"{name}s: {name} {names[without[0]]!r} has no frames")
            values[name + "s"] = names
        first = np.full(len(values["clips"]), -1)
        first[values["clip"][::-1]] = values["subject"][::-1]
        other = np.flatnonzero(first[values["clip"]] != values["subject"])
        if len(other):
            name = values["clips"][values["clip"][other[0]]]
            raise ValueError(f"clip: clip {name!r} shows two subjects")
        pairs = values["clip"] * (values["frame"].max(initial=0) + 1) + values["frame"]
        if (values["frame"] < 0).any() or len(np.unique(pairs)) != count:
            raise ValueError("frame: expected numbers from 0, each once within a clip")
        for name in ("valence", "arousal"):
            array = frozen_array(getattr(self, name), np.float64, name, (count,))
            wrong = np.flatnonzero(~np.isnan(array) & ~(np.abs(array) <= 1))
            if len(wrong):
                row = wrong[0]
                raise ValueError(
                    f"{name}: clip {values['clips'][values['clip'][row]]!r}, frame {values['frame'][row]}: expected a "
                    f"number in [-1, 1], got {array[row]:g}"
                )
            values[name] = array
        for name, tail in (("points", (68, 2)), ("boxes", (4,))):
            if getattr(self, name) is not None:
                values[name] = frozen_array(getattr(self, name), np.float64, name, (count, *tail))
        if (self.images is None) == (self.entries is None):
            raise ValueError("images, entries: expected one of them, got both or neither")
        if self.images is not None:
            images = np.asarray(self.images)
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[0] != count or images.shape[3] != 3:
                raise ValueError(f"images: expected ({count}, H, W, 3) uint8, got {images.shape} of {images.dtype}")
            values["images"] = frozen_array(images, np.uint8, "images", images.shape)
        elif len(self.entries) != count:
            raise ValueError(f"entries: expected {count}, one a frame, got {len(self.entries)}")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool: frames that have both labels."""
        return ~(np.isnan(self.valence) | np.isnan(self.arousal))

    def name_of(self, row: int) -> str:
        """The frame in words, for messages."""
        return f"frame {self.frame[row]} of clip {self.clips[self.clip[row]]!r}"

    def select(self, rows) -> FaceVideos:
        """The frames `rows` ((M,) int or (N,) bool), in that order; subjects and clips without frames are dropped."""
        rows = np.arange(len(self))[np.asarray(rows)]
        subjects, subject = np.unique(self.subject[rows], return_inverse=True)
        clips, clip = np.unique(self.clip[rows], return_inverse=True)
        return FaceVideos(
            subject, tuple(self.subjects[s] for s in subjects), clip, tuple(self.clips[c] for c in clips),
            self.frame[rows], self.valence[rows], self.arousal[rows],
            None if self.points is None else self.points[rows], None if self.boxes is None else self.boxes[rows],
            None if self.images is None else self.images[rows],
            None if self.entries is None else tuple(self.entries[r] for r in rows), self.source,
        )  # fmt: skip

    def pictures(self, rows) -> Iterator[np.ndarray]:
        """The pictures (H, W, 3) uint8 of `rows` in their order.

        Raises
        ------
        ValueError, OSError
            If a picture cannot be read; at once, for a study must not quietly lose frames.
        """
        rows = np.asarray(rows, np.int64)
        if self.images is not None:
            yield from (self.images[row] for row in rows)
            return
        for picture in open_frames([self.entries[row] for row in rows]):
            if isinstance(picture, Exception):
                raise picture
            yield picture

    def crops(self, rows, options: CropOptions) -> np.ndarray:
        """(M, size, size, channels) uint8 faces by their landmarks, or else by their boxes.

        Raises
        ------
        ValueError
            If a frame has neither.
        """
        rows = np.asarray(rows, np.int64)
        out = np.empty((len(rows), options.size, options.size, options.channels), np.uint8)
        for place, (row, picture) in enumerate(zip(rows, self.pictures(rows))):
            marked = self.points is not None and np.isfinite(self.points[row]).all()
            if not marked and (self.boxes is None or not np.isfinite(self.boxes[row]).all()):
                raise ValueError(f"points, boxes: {self.name_of(row)} has neither landmarks nor a box")
            if marked:
                out[place] = crop_image(picture, self.points[row], options)
            else:
                out[place] = _box_crop(picture, self.boxes[row], options)
        return out


def _box_crop(picture, box, options) -> np.ndarray:
    import cv2

    middle, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    if side <= 0:
        raise ValueError(f"boxes: expected left, top, right, bottom, got {box}")
    scale = options.size / side
    matrix = np.array([[scale, 0, 0], [0, scale, 0.0]])
    # boxes count edges, matrices the middles of pixels
    matrix[:, 2] = (options.size - 1) / 2 - scale * (middle - 0.5)
    flags = cv2.INTER_LINEAR
    # averaging before shrinking keeps fine texture from turning into false patterns
    blurred = cv2.blur(picture, (int(1 / scale),) * 2) if scale < 0.5 else picture
    out = cv2.warpAffine(blurred, matrix, (options.size, options.size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if options.channels == 1:
        return np.rint(out @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
    return out
