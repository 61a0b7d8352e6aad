"""Shuffled batches that are asked for by their number, so that a resume needs no state of theirs."""

from __future__ import annotations

import hashlib
from typing import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["EpochBatches", "fingerprint", "to_images", "to_pixels"]

#: What makes a batch: rows of this epoch's order, and a generator for further draws (of sources, labels).
Make = Callable[[np.ndarray, np.random.Generator], dict[str, np.ndarray | Tensor]]


class EpochBatches:
    """Batches of `size` rows; each epoch has its own order, and a last batch that is not full is left out.

    Parameters
    ----------
    count : int
        Number of rows (pictures, or pairs).
    size : int
        Rows of a batch, in [1, count].
    make : callable, or dict of stage name to callable
        ``make(rows (size,) int64, rng) -> dict of arrays or tensors``; uint8 pictures (N, H, W, C) become
        float tensors (N, C, H, W) in [-1, 1], other floats become float32, whole numbers int64.
    seed : int
    fingerprint : str
        Of the data; see `fingerprint`.
    preview_rows : (M,) int array, optional
        Rows of the batch for sample grids; the first 8 if left out.
    preview : callable, optional
        Makes that batch; `make` (of the first stage) if left out.

    Raises
    ------
    ValueError
        If `size` does not lie in [1, count].
    """

    def __init__(self, count, size, make, seed=0, fingerprint="", preview_rows=None, preview=None):
        if not 1 <= size <= count:
            raise ValueError(f"size: expected a batch of 1 to {count} rows, as many as there are, got {size}")
        self.count, self.size, self.seed, self._make = int(count), int(size), int(seed), make
        self.fingerprint = f"{fingerprint}/{count}x{size}/{seed}"
        self._preview_rows = np.arange(min(count, 8)) if preview_rows is None else np.asarray(preview_rows, np.int64)
        self._preview = preview
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.count // self.size

    def batch(self, stage: str, index: int) -> dict[str, Tensor]:
        """Batch `index` of `stage`; depends on the arguments and the seed alone."""
        epoch, place = divmod(int(index), self.per_epoch)
        key = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4], "little")
        if self._order is None or self._order[0] != (key, epoch):
            rng = np.random.default_rng([self.seed, key, epoch])
            self._order = ((key, epoch), rng.permutation(self.count))
        rows = self._order[1][place * self.size : (place + 1) * self.size]
        make = self._make[stage] if isinstance(self._make, dict) else self._make
        return _tensors(make(rows, np.random.default_rng([self.seed, key, epoch, place + 1])))

    def preview(self) -> dict[str, Tensor]:
        """The batch for sample grids."""
        make = self._preview or (next(iter(self._make.values())) if isinstance(self._make, dict) else self._make)
        return _tensors(make(self._preview_rows, np.random.default_rng([self.seed, 0])))


def fingerprint(*arrays) -> str:
    """16 hexadecimal digits that tell one set of arrays (and texts) from another."""
    digest = hashlib.sha256()
    for value in arrays:
        if isinstance(value, str):
            digest.update(b"text" + value.encode())
        else:
            array = np.ascontiguousarray(value)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data if array.size else b"")
    return digest.hexdigest()[:16]


def to_images(pixels: np.ndarray) -> Tensor:
    """(N, H, W, C) uint8 as (N, C, H, W) float32: 0 becomes -1, 255 becomes 1."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise ValueError(f"pixels: expected (N, H, W, C) uint8, got {pixels.shape} of {pixels.dtype}")
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return tensor.float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> np.ndarray:
    """(..., C, H, W) in [-1, 1] as (..., H, W, C) uint8; what lies outside is clipped."""
    values = ((images.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return values.movedim(-3, -1).contiguous().numpy()


def _tensors(values: dict) -> dict[str, Tensor]:
    out = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype == np.uint8 and array.ndim == 4:
                value = to_images(array)
            else:
                kind = np.float32 if array.dtype.kind == "f" else np.int64
                value = torch.from_numpy(np.array(array, kind))  # a copy: torch would write into read-only arrays
        out[name] = value
    return out
