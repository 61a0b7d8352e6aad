"""What a run writes for people: losses as CSV, sample grids as PNG."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.image import write_image

__all__ = ["LossLog", "picture_grid", "write_samples"]


class LossLog:
    """Mean losses of runs of steps; one row of losses.csv each.

    Rows carry no time of day and no duration, so that a resumed run writes the same bytes.
    """

    def __init__(self, rows=()):
        self._rows: list[dict] = list(rows)  # {"step": int, "stage": str, symbol: float}
        self._sums: dict = {}
        self._count = 0

    @property
    def last(self) -> dict[str, float]:
        """Losses of the last row."""
        if not self._rows:
            return {}
        return {k: v for k, v in self._rows[-1].items() if k not in ("step", "stage")}

    def add(self, losses: dict) -> None:
        """Count the losses of one step; tensors stay where they are until `flush`."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def flush(self, step: int, stage: str) -> dict[str, float]:
        """Close a row at `step` (of all stages) and return its means.

        Raises
        ------
        ValueError
            If one of them is not finite.
        """
        if self._count == 0:
            return self.last
        means = {name: float(value) / self._count for name, value in self._sums.items()}
        for name, value in means.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"{name}: the loss is no longer finite in the steps up to {step} of stage {stage}; "
                    "try lower learning rates, or another seed"
                )
        self._rows.append({"step": step, "stage": stage, **means})
        self._sums, self._count = {}, 0
        return means

    def write(self, path) -> None:
        """Write all rows; the file appears complete or not at all."""
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        # repr: reading gives the same number again
        writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in row.items()} for row in self._rows)
        with atomic_path(path) as temporary:
            Path(temporary).write_text(text.getvalue(), encoding="utf-8")

    @classmethod
    def read(cls, path, until: int | None = None) -> LossLog:
        """Rows of a file up to step `until`; none if there is no file.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        path = Path(path)
        if not path.exists():
            return cls()
        rows = []
        try:
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    step = int(row.pop("step"))
                    if until is None or step <= until:
                        stage = row.pop("stage")
                        rows.append({"step": step, "stage": stage, **{k: float(v) for k, v in row.items() if v != ""}})
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: is no list of losses; remove it, or train in another folder") from None
        return cls(rows)


def picture_grid(pictures: np.ndarray, gap: int = 2) -> np.ndarray:
    """Rows of pictures as one picture with white lines between them.

    Parameters
    ----------
    pictures : (R, K, C, H, W) float array
        In [-1, 1]; C is 1 or 3.  What lies outside is clipped.
    gap : int
        Width of the lines, pixels.

    Returns
    -------
    (R * (H + gap) + gap, K * (W + gap) + gap, 3) uint8
    """
    pictures = np.asarray(pictures)
    if pictures.ndim != 5 or pictures.shape[2] not in (1, 3) or 0 in pictures.shape:
        raise ValueError(f"pictures: expected (R, K, 1 or 3, H, W), got shape {pictures.shape}")
    if not np.isfinite(pictures).all():
        raise ValueError("pictures: expected finite numbers, got NaN or infinity")
    rows, columns, _, height, width = pictures.shape
    pixels = np.clip(np.rint((pictures + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 1, 3, 4, 2)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for r in range(rows):
        for c in range(columns):
            top, left = gap + r * (height + gap), gap + c * (width + gap)
            sheet[top : top + height, left : left + width] = pixels[r, c]
    return sheet


def write_samples(path, pictures: np.ndarray) -> None:
    """Write a grid as PNG, small pictures enlarged (each pixel a square) so that one can see them."""
    path = Path(path)
    path.parent.mkdir(exist_ok=True)
    sheet = picture_grid(pictures)
    times = max(1, 96 // max(pictures.shape[3:]))
    write_image(path, sheet.repeat(times, 0).repeat(times, 1))
