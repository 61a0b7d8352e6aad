"""Films: frames in, one mp4 out."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Callable, Iterable

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.sound import Sound

__all__ = ["write_video"]

#: Values of ITU-T H.273 (and FFmpeg) for BT.709 and for the narrow range 16..235.
_BT709 = 1
_NARROW = 1


def write_video(
    path, frames: Iterable, fps: float = 30.0, quality: int = 18, sound=None, told: Callable[[str], None] | None = None
) -> int:
    """Write frames as H.264 in an mp4, one at a time: memory does not grow with length.

    Frames of odd width or height are padded by repeating their last column or row, because the
    format halves the resolution of colour.  The same frames give the same bytes on one machine.

    Parameters
    ----------
    path : str or Path
        Suffix .mp4.  Nothing half-written is ever found there.
    frames : iterable of (H, W, 3) uint8
        sRGB, all of one size.
    fps : float
        Frames a second, in (0, 240].
    quality : int
        Constant rate factor of x264, 0 (lossless but for colour resolution) to 51 (worst).

    sound : str or Path, optional
        A film whose first sound is carried over, from its first frame on and as long as there are pictures: AAC
        as it is, others encoded anew as AAC.
    told : callable, optional
        Gets a sentence where a sound cannot be carried over, or not to its end; the film is written all the same.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    ValueError
        If there is no frame, a frame has another size or type, or an argument is out of range.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"{path}: expected a name ending in .mp4, got {path.suffix!r}")
    if not 0 < fps <= 240:
        raise ValueError(f"fps: expected a number in (0, 240], got {fps}")
    if not 0 <= quality <= 51:
        raise ValueError(f"quality: expected a number from 0 to 51, got {quality}")
    with atomic_path(path) as temporary:
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            raise ValueError("frames: expected at least one frame, got none")
        return _encode(temporary, path, chain([first], frames), np.shape(first), fps, quality, sound, told)


def _encode(temporary: Path, path: Path, frames, shape, fps: float, quality: int, sound, told) -> int:
    import av

    count, heard = 0, None
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            rate = Fraction(fps).limit_denominator(1001)
            # x264's output depends on the number of threads, and its fastest code on stale memory: of 300
            # films of the same frames 50 differed in some bytes without the second option
            options = {"crf": str(quality), "threads": "1", "x264-params": "cpu-independent=1"}
            stream = container.add_stream("libx264", rate=rate, options=options)
            for frame in frames:
                pixels = _checked(frame, shape, count)
                if count == 0:
                    stream.height, stream.width = pixels.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    context = stream.codec_context
                    context.colorspace = context.color_primaries = context.color_trc = _BT709
                    context.color_range = _NARROW
                    heard = None if sound is None else Sound(sound, container)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=_BT709, dst_color_range=_NARROW
                )
                picture.pts = count
                picture.time_base = 1 / rate
                container.mux(stream.encode(picture))
                count += 1
                if heard is not None:
                    heard.until(count / float(rate))
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise OSError(f"{path}: the film cannot be written ({error.strerror})") from None
    finally:
        if heard is not None:
            heard.close()
    if heard is not None and heard.trouble and told is not None:
        told(f"the sound of {sound} is not carried over to its end ({heard.trouble})")
    return count


def _checked(frame, shape, index: int) -> np.ndarray:
    """The frame with even sides."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise ValueError(f"frames[{index}]: expected (H, W, 3) uint8, got {frame.shape} of {frame.dtype}")
    if frame.shape != shape:
        raise ValueError(f"frames[{index}]: expected shape {shape} like the first, got {frame.shape}")
    height, width = frame.shape[:2]
    return np.ascontiguousarray(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))
