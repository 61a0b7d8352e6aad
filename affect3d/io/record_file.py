"""A file of equal records that grows one by one and survives being cut off anywhere.

The file begins with a line of JSON that says what it belongs to; each record carries a checksum.  Whoever opens it
again for the same work finds the whole records and goes on after them; whatever a killed process left behind the last
whole one is cut off.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np

__all__ = ["RecordFile"]


class RecordFile:
    """Records of `width` numbers each, on disk.

    Parameters
    ----------
    path : str or Path
        Made if it is not there.  If it belongs to other work, or is damaged from the start, it begins anew.
    purpose : dict
        What can be written as JSON and tells this work from any other.
    width : int
        Numbers in a record, at least 1.
    kind : {"<f8", "<f4"}
        How they are kept; what comes back is float64.

    Raises
    ------
    ValueError
        If `width` is less than 1.
    OSError
        If the file cannot be read or written.
    """

    def __init__(self, path, purpose: dict, width: int, kind: str = "<f8"):
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        self.path, self.width, self._kind = Path(path), int(width), np.dtype(kind)
        header = (json.dumps({**purpose, "width": self.width, "kind": kind}, sort_keys=True) + "\n").encode()
        self._header, self._step = len(header), self._kind.itemsize * self.width + 4
        mode = "r+b" if self.path.exists() else "w+b"
        self._file = open(self.path, mode)  # noqa: SIM115 - closed by close()
        if self._file.read(len(header)) != header:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(header)
            self._file.flush()
        self.count = self._whole()
        self._file.truncate(self._header + self.count * self._step)

    def _whole(self) -> int:
        """Records before the first that is short or damaged."""
        size = os.fstat(self._file.fileno()).st_size
        count = 0
        self._file.seek(self._header)
        for _ in range((size - self._header) // self._step):
            record = self._file.read(self._step)
            if zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
                break
            count += 1
        return count

    def append(self, values) -> None:
        """Add one record (width,); it is with the operating system when this returns."""
        values = np.ascontiguousarray(values, self._kind)
        if values.shape != (self.width,):
            raise ValueError(f"values: expected shape ({self.width},), got {values.shape}")
        record = values.tobytes()
        self._file.seek(self._header + self.count * self._step)
        self._file.write(record + zlib.crc32(record).to_bytes(4, "little"))
        self._file.flush()
        self.count += 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        """(width,) float64: one record."""
        index = int(index)
        if not 0 <= index < self.count:
            raise IndexError(f"index: expected a number in [0, {self.count}), got {index}")
        self._file.seek(self._header + index * self._step)
        return np.frombuffer(self._file.read(self._step)[:-4], self._kind).astype(np.float64)

    def columns(self, start: int, stop: int) -> np.ndarray:
        """(count, stop - start): some numbers of all records."""
        out, one = np.empty((self.count, stop - start)), self._kind.itemsize
        for k in range(self.count):
            self._file.seek(self._header + k * self._step + one * start)
            out[k] = np.frombuffer(self._file.read(one * (stop - start)), self._kind)
        return out

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_) -> None:
        self.close()
