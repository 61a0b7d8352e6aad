"""Films in: frames one at a time, upright, with their times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

__all__ = ["VideoInfo", "read_frames", "video_info"]


@dataclass(frozen=True)
class VideoInfo:
    """What a film's header says.

    Attributes
    ----------
    size : (width, height)
        Of the frames as `read_frames` gives them, px.
    rate : float
        Mean frames a second.
    frames : int or None
        None where the header does not tell; decoding may find fewer.
    """

    size: tuple[int, int]
    rate: float
    frames: int | None


def video_info(path) -> VideoInfo:
    """Size, rate and length of a film.

    Raises
    ------
    ValueError
        If the file is no film or holds no picture.
    OSError
        If it cannot be read.
    ImportError
        If PyAV is not installed.
    """
    with _opened(path) as container:
        stream = _stream(container, path)
        rate = float(stream.average_rate or stream.guessed_rate or 30)
        frames = stream.frames or None
        if frames is None and stream.duration and stream.time_base:
            frames = max(1, round(float(stream.duration * stream.time_base) * rate))
    first = next(read_frames(path), None)
    if first is None:
        raise ValueError(f"{path}: the film holds no frame")
    return VideoInfo((first.shape[1], first.shape[0]), rate if 0 < rate <= 1000 else 30.0, frames)


def read_frames(path) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 sRGB of a film, in order; memory does not grow with its length.

    A film that was taken with the camera turned is turned upright, as players do.  A film that breaks off is read
    up to there.

    Raises
    ------
    ValueError
        If the file is no film, or a frame has another size than the first.
    OSError, ImportError
        As `video_info`.
    """
    import av

    with _opened(path) as container:
        stream = _stream(container, path)
        stream.thread_type = "NONE"  # one frame at a time in memory, and the same frames on every machine
        shape = None
        try:
            for frame in container.decode(stream):
                turns = int(round(getattr(frame, "rotation", 0) / 90)) % 4
                pixels = frame.to_ndarray(format="rgb24")
                pixels = np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
                shape = pixels.shape if shape is None else shape
                if pixels.shape != shape:
                    raise ValueError(
                        f"{path}: expected frames of {shape[1]} x {shape[0]} pixels throughout, got "
                        f"{pixels.shape[1]} x {pixels.shape[0]}"
                    )
                yield pixels
        except av.error.FFmpegError as error:
            if shape is None:
                raise ValueError(f"{path}: the film cannot be decoded ({error.strerror})") from None


def _opened(path):
    try:
        import av
    except ImportError:
        raise ImportError("films are read with PyAV, which is not installed: pip install av") from None
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a film")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        return av.open(str(path))
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise PermissionError(f"{path}: no permission to read it") from None
        raise ValueError(f"{path}: is not a film that can be read ({error.strerror})") from None


def _stream(container, path):
    if not container.streams.video:
        raise ValueError(f"{path}: the file holds no pictures, only other streams")
    return container.streams.video[0]
