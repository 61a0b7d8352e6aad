"""Chunks that are not compressed, read as the plain files they are.

A gallery keeps vertices uncompressed, one file a chunk.  zarr copies what it reads twice and asks for one chunk after
another through its event loop; reading the files themselves takes a fifth of the time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["PackedChunks", "RawChunks", "raw_chunks"]


class RawChunks:
    """Rows of an uncompressed zarr array that is divided along its first axis only.

    Parameters
    ----------
    folder : Path
        Of the array, ``c/0/0/0`` and so on below it.
    shape : tuple of int
    rows : int
        Of a chunk; the last one is stored whole, padded.
    dtype : dtype
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], rows: int, dtype):
        self.shape, self.dtype, self.chunks = tuple(shape), np.dtype(dtype), (rows, *shape[1:])
        self._folder, self._rows = Path(folder) / "c", rows
        self._tail = ("0",) * (len(shape) - 1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, item):
        if item is Ellipsis:
            item = slice(None)
        if isinstance(item, tuple):
            rows = self[item[0]]
            return rows[item[1:]] if isinstance(item[0], (int, np.integer)) else rows[(slice(None), *item[1:])]
        if isinstance(item, (int, np.integer)):
            if not -len(self) <= item < len(self):
                raise IndexError(f"item: rows must lie in [0, {len(self)}), got {item}")
            item = int(item) % len(self)
            return self[item : item + 1][0]
        first, last, step = item.indices(len(self))
        if step != 1:
            raise ValueError(f"item: expected consecutive rows, got a step of {step}")
        out = np.empty((max(0, last - first), *self.shape[1:]), self.dtype)
        row = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        start = first
        while start < last:
            number, inside = divmod(start, self._rows)
            stop = min(last, (number + 1) * self._rows)
            path = self._folder.joinpath(str(number), *self._tail)
            with open(path, "rb", buffering=0) as file:
                file.seek(inside * row)
                view = memoryview(out[start - first : stop - first]).cast("B")
                while len(view):
                    got = file.readinto(view)
                    if not got:
                        raise ValueError(f"{path}: is cut short")
                    view = view[got:]
            start = stop
        return out


class PackedChunks:
    """A zarr array whose damage is told in a sentence: its codecs raise whatever they like.

    Parameters
    ----------
    array : zarr.Array
    folder : path
        Where it lies.
    """

    def __init__(self, array, folder):
        self._array, self._folder = array, folder
        self.shape, self.dtype, self.chunks = tuple(array.shape), np.dtype(array.dtype), tuple(array.chunks)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, item):
        try:
            return self._array[item]
        except IndexError:
            raise
        except Exception as error:
            raise ValueError(f"{self._folder}: its frames cannot be read ({type(error).__name__}: {error})") from error


def raw_chunks(array, folder):
    """`array`, a zarr array in `folder`, as plain files where it is stored as such, else as `PackedChunks`.

    Parameters
    ----------
    array : zarr.Array
    folder : path
    """
    try:
        said = array.metadata.to_dict()
        plain = (
            said["zarr_format"] == 3
            and said["chunk_grid"]["name"] == "regular"
            and said["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
            and [codec["name"] for codec in said["codecs"]] == ["bytes"]
            and said["codecs"][0]["configuration"]["endian"] == "little"
            and tuple(array.chunks[1:]) == tuple(array.shape[1:])
            and np.dtype(array.dtype) == np.dtype("<f4")
        )
    # metadata of another version of zarr: its own way of reading is always right
    except (AttributeError, KeyError, TypeError, IndexError):
        plain = False
    if plain:
        return RawChunks(Path(folder), array.shape, int(array.chunks[0]), array.dtype)
    return PackedChunks(array, folder)
