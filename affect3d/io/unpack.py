"""Unpack chosen files of a wheel, zip or tar archive without trusting it."""

from __future__ import annotations

import fnmatch
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Iterator

from affect3d.progress import Progress, silent

__all__ = ["UnpackError", "unpack_wanted"]

_CHUNK = 1 << 20


class UnpackError(ValueError):
    """An archive that is damaged, hostile, or lacks what is wanted."""


def unpack_wanted(
    archive,
    folder,
    include: tuple[str, ...],
    exclude: tuple[str, ...] = (),
    max_bytes: int = 200_000_000,
    progress: Progress = silent,
    label: str = "",
) -> dict[str, int]:
    """Unpack the files whose paths match `include` and not `exclude`.

    Parameters
    ----------
    archive : str or Path
        Zip archive (.whl, .zip, .task) or compressed tar archive.
    folder : str or Path
        Created; paths below it are those in the archive.
    include, exclude : tuple of str
        Shell patterns; ``*`` crosses folders.
    max_bytes : int
        Limit on what is unpacked: on declared sizes before, real ones while
        unpacking.
    progress, label
        Reports files.

    Returns
    -------
    dict
        Path in the archive -> size in bytes, sorted by path.

    Raises
    ------
    UnpackError
        For paths that leave the folder, links, sizes beyond the limit or other
        than declared, damaged archives, and patterns in `include` that match
        nothing.
    """
    archive, folder = Path(archive), Path(folder)
    opener = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, int] = {}
    unmatched, total = set(include), 0
    try:
        for name, declared, regular, stream in opener(archive):
            hits = {pattern for pattern in include if fnmatch.fnmatchcase(name, pattern)}
            if not hits or any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude):
                continue
            _check_name(name)
            if not regular:
                raise UnpackError(f"{name} is a link or a device")
            if name in sizes:
                raise UnpackError(f"{name} is in it twice")
            total += declared
            if total > max_bytes:
                raise UnpackError(f"more than {max_bytes} bytes would be unpacked")
            target = folder.joinpath(*PurePosixPath(name).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream() as source, open(target, "xb") as sink:
                _copy(source, sink, declared, name)
            sizes[name] = declared
            unmatched -= hits
            progress(len(sizes), len(sizes) + 1, f"unpacking {label}".strip())
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise UnpackError("it is damaged or not an archive") from None
    if unmatched:
        raise UnpackError(f"it lacks {sorted(unmatched)[0]}")
    progress(len(sizes), len(sizes), f"unpacking {label}".strip())
    return dict(sorted(sizes.items()))


def _zip_members(archive: Path) -> Iterator[tuple]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            yield info.filename, info.file_size, kind in (0, stat.S_IFREG), lambda info=info: file.open(info)


def _tar_members(archive: Path) -> Iterator[tuple]:
    with tarfile.open(archive, "r:*") as file:
        for member in file:
            if member.isdir():
                continue
            yield member.name, member.size, member.isreg(), lambda member=member: file.extractfile(member)


def _check_name(name: str) -> None:
    parts = name.split("/")
    if not name or "\\" in name or ":" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise UnpackError(f"{name!r} would leave the folder")


def _copy(source: BinaryIO, sink: BinaryIO, declared: int, name: str) -> None:
    left = declared
    while chunk := source.read(min(_CHUNK, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise UnpackError(f"{name} is larger than it says")
        sink.write(chunk)
    if left:
        raise UnpackError(f"{name} is smaller than it says")
