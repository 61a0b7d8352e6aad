"""One run in one folder at a time."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

__all__ = ["empty_folder", "one_run_in"]

_NAME = ".lock"


@contextmanager
def one_run_in(folder):
    """Hold `folder` for the block; the operating system lets go of it if the process is killed.

    Where there are no file locks (Windows) nothing is held.

    Raises
    ------
    ValueError
        If another run holds it, or took it away in this moment because it is done.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    busy = f"{folder}: another run is at work in this folder; wait for it, or name another"
    path = Path(folder) / _NAME
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise ValueError(busy)
        yield


def empty_folder(folder) -> None:
    """Remove all that `folder` holds but the lock of `one_run_in`."""
    for inside in Path(folder).iterdir():
        if inside.name == _NAME:
            continue
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside, ignore_errors=True)
        else:
            inside.unlink()
