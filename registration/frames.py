"""Scans found in folders, in natural order, with the names that their results will bear."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SCAN_SUFFIXES", "Frame", "find_frames", "natural_key"]

#: Suffixes of scans; other files in a folder are passed over.
SCAN_SUFFIXES = (".obj", ".ply", ".stl", ".off", ".wrl", ".glb")


@dataclass(frozen=True)
class Frame:
    """One scan of a run.

    Attributes
    ----------
    path : str
        Of the scan, as given.
    name : str
        Where it lies within the folder that was given, without suffix and with "/" between parts.
    scan : str
        The same with the suffix.
    """

    path: str
    name: str
    scan: str

    @property
    def sequence(self) -> str:
        """Name of the folder the frame lies in, "" at the top: frames of one folder are one sequence."""
        return self.name.rpartition("/")[0]

    @property
    def subject(self) -> str:
        """First folder of the name, "" at the top."""
        return self.name.split("/")[0] if "/" in self.name else ""

    @property
    def label(self) -> str:
        """Last part of the name."""
        return self.name.rpartition("/")[2]


def natural_key(text: str):
    """Sorting key by which frame 9 comes before frame 10, and which no two texts share."""
    parts = []
    for word in text.split("/"):
        pieces = [p for p in re.split(r"([0-9]+)", word) if p]
        parts.append(tuple((1, int(p), "") if p[0] in "0123456789" else (0, 0, p) for p in pieces))
    return (parts, text)


def find_frames(scans) -> tuple[Frame, ...]:
    """Scans among files and folders.

    Folders are searched with all their subfolders, symbolic links to folders included; hidden files and folders are
    passed over.  Files keep the order in which they are given, those of a folder come in natural order.  With several
    folders each frame's name begins with its folder's name.

    Parameters
    ----------
    scans : sequence of str or Path

    Raises
    ------
    FileNotFoundError
        If there is nothing at one of the paths.
    ValueError
        If a folder holds no scan, a file is none, or two scans would share a name.
    """
    scans = [str(s) for s in scans]
    if not scans:
        raise ValueError("scans: expected at least one file or folder, got none")
    several = sum(os.path.isdir(s) for s in scans) > 1
    frames: dict[str, Frame] = {}
    for given in scans:
        path = Path(given)
        if path.is_dir():
            found = sorted(_walk(path), key=natural_key)
            if not found:
                raise ValueError(f"{given}: holds no scan; expected files ending in {', '.join(SCAN_SUFFIXES)}")
            base = f"{path.resolve().name}/" if several else ""
            new = [Frame(str(path / name), base + _stem(name), base + name) for name in found]
        elif path.exists():
            if path.suffix.lower() not in SCAN_SUFFIXES:
                raise ValueError(f"{given}: expected a name ending in {', '.join(SCAN_SUFFIXES)}, got {path.suffix!r}")
            new = [Frame(given, path.stem, path.name)]
        else:
            raise FileNotFoundError(f"{given}: there is no such file or folder")
        for frame in new:
            # names that differ only in case would be one file on some disks
            other = frames.setdefault(frame.name.casefold(), frame)
            if other is not frame:
                raise ValueError(
                    f"scans: {other.path} and {frame.path} would both be called {frame.name}; register them into "
                    "different folders, or give the folder above them"
                )
    return tuple(frames.values())


def _walk(folder: Path):
    for base, folders, files in os.walk(folder, followlinks=True):
        if _leads_back(Path(base), folder):
            folders.clear()
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SCAN_SUFFIXES:
                yield (Path(base) / name).relative_to(folder).as_posix()


def _leads_back(base: Path, top: Path) -> bool:
    """Whether a link has led to a folder above itself, which would go on for ever."""
    here, above = os.path.realpath(base), base
    while above != top:
        above = above.parent
        if os.path.realpath(above) == here:
            return True
    return False


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)]
