"""Pictures of a listing one after the other, films opened once and never held whole."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np

__all__ = ["count_frames", "open_frames"]


def open_frames(entries) -> Iterator[np.ndarray | Exception]:
    """The pictures (H, W, 3) uint8 of `entries` in their order; an exception in place of one that cannot be read.

    Entries of one film must follow one another with growing pages; else the film is decoded again.
    """
    from affect3d.io.image import read_image

    film: _Film | None = None
    try:
        for entry in entries:
            try:
                if entry.page < 0:
                    image = read_image(entry.path).pixels
                else:
                    if film is None or film.path != entry.path or entry.page < film.next:
                        if film is not None:
                            film.close()
                        film = None  # a film that cannot be opened must not be taken for the last one
                        film = _Film(entry.path)
                    image = film.frame(entry.page)
            except (ValueError, OSError) as error:
                image = error
            yield image
    finally:  # also where the caller stops half-way
        if film is not None:
            film.close()


def count_frames(path) -> int:
    """Number of frames of a film, by decoding it where its header does not say.

    Raises
    ------
    ValueError
        If it is no film.
    """
    film = _Film(Path(path))
    try:
        return film.count()
    finally:
        film.close()


class _Film:
    def __init__(self, path: Path):
        import av

        self.path, self.next = path, 0
        with open(path, "rb"):  # the usual errors for files that are missing or forbidden
            pass
        try:
            self._container = av.open(str(path))
            self._frames = self._container.decode(self._container.streams.video[0])
        except (av.error.FFmpegError, IndexError):
            raise ValueError(f"{path}: is not a film that can be read") from None

    def frame(self, page: int) -> np.ndarray:
        import av

        try:
            while True:
                picture = next(self._frames)
                self.next += 1
                if self.next > page:
                    return picture.to_ndarray(format="rgb24")
        except StopIteration:
            raise ValueError(f"{self.path}: has {self.next} frames, but its labels name frame {page}") from None
        except av.error.FFmpegError:
            raise ValueError(f"{self.path}: is damaged after frame {self.next}") from None

    def count(self) -> int:
        import av

        stated = self._container.streams.video[0].frames
        if stated > 0:
            return int(stated)
        try:
            return sum(1 for _ in self._frames)
        except av.error.FFmpegError:
            raise ValueError(f"{self.path}: is damaged") from None

    def close(self):
        self._container.close()
