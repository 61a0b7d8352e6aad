"""What the readers share: finding folders, and refusing wrong ones in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["folder_of", "numbers_in", "pictures_in", "read_text", "require_entries"]

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")


def folder_of(root, name: str, *places: str) -> Path:
    """The first of `places` below `root` that is a folder; "" is `root` itself.

    Raises
    ------
    ValueError
        If `root` is no folder or has none of them.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: is no folder; expected the one in which {name} lies")
    for place in places:
        if (root / place).is_dir():
            return root / place
    raise ValueError(f"{root}: is not a folder of {name}; expected {' or '.join(places)} in it")


def pictures_in(folder, suffixes=_PICTURES) -> list[Path]:
    """Picture files of a folder by name; hidden files are left out."""
    return sorted(
        p for p in Path(folder).iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")
    )  # fmt: skip


def read_text(path) -> str:
    """The text of a label file.

    Raises
    ------
    ValueError
        If it cannot be read as text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is no text file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None


def numbers_in(path, columns: int) -> np.ndarray:
    """(R, columns) finite numbers of a text file, parted by blanks or commas; empty lines are left out.

    Raises
    ------
    ValueError
        That names the file and the line.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        try:
            values = [float(f) for f in fields]
        except ValueError:
            values = []
        if len(values) != columns or not np.isfinite(values).all():
            raise ValueError(f"{path}: line {number}: expected {columns} numbers, got {line[:60]!r}")
        rows.append(values)
    return np.array(rows, float).reshape(-1, columns)


def require_entries(entries, root, name: str, expected: str):
    """The entries as a tuple.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not entries:
        raise ValueError(f"{root}: holds no picture of {name}; expected files like {expected}")
    return tuple(entries)
