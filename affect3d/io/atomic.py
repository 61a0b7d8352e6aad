"""Files that appear under their final name complete or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

__all__ = ["atomic_path", "check_writable", "remove_unfinished"]

#: Names of temporary files: `atomic_path` makes them.
_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}\.part(\..*)?", re.DOTALL)


@contextmanager
def atomic_path(path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success.

    The temporary file has the suffix of `path` (writers pick formats by it) and
    exists, empty, when the block starts, so a folder that cannot be written is
    noticed before the work is done.  If the block raises, an interrupt
    included, the temporary file is removed and `path` is as it was before.

    Parameters
    ----------
    path : str or Path
        Final name.  A symbolic link is followed; an existing file is replaced
        and keeps its permissions.

    Yields
    ------
    Path
        Write here.

    Raises
    ------
    FileNotFoundError
        If the parent folder does not exist.
    NotADirectoryError
        If the parent is no folder.
    IsADirectoryError
        If `path` is a folder.
    OSError
        If the folder cannot be written, or `path` is a device or a pipe.
    """
    final = Path(os.path.realpath(path))
    check_writable(path)
    temporary = final.with_name(f".{final.stem[:60]}.{secrets.token_hex(6)}.part{final.suffix}")
    try:
        # not mkstemp: its files are private, while open() leaves the choice to the user's umask
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise type(error)(f"{path}: cannot write in {final.parent} ({error.strerror})") from None
    try:
        yield temporary
        if final.exists():
            shutil.copymode(final, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # the rename must not overtake the bytes
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder, below: bool = True) -> None:
    """Remove what a process that was killed within `atomic_path` left in `folder`, and in those `below` it.

    The folder need not exist, and nobody may be writing there.
    """
    for base, folders, files in os.walk(folder):
        for name in files:
            if _UNFINISHED.fullmatch(name):
                Path(base, name).unlink(missing_ok=True)
        if not below:
            folders.clear()


def check_writable(path) -> None:
    """Raise OSError, in one sentence, if no file can be written at `path`.

    Creates nothing; worth calling before long work whose result goes there.
    """
    final = Path(os.path.realpath(path))
    parent = final.parent
    try:
        if not parent.exists():
            raise FileNotFoundError(f"{path}: the folder {parent} does not exist")
        if not parent.is_dir():
            raise NotADirectoryError(f"{path}: {parent} is not a folder")
        if final.is_dir():
            raise IsADirectoryError(f"{path}: is a folder, expected the name of a file")
        # a rename would replace the device itself, /dev/null included
        if final.exists() and not stat.S_ISREG(final.stat().st_mode):
            raise OSError(f"{path}: is not a regular file, so it cannot be replaced")
    except PermissionError as error:
        raise PermissionError(f"{path}: cannot be reached ({error.strerror})") from None
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: no permission to write in {parent}")
