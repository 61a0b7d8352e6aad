"""One run in one folder at a time."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

__all__ = ["one_run_in"]


@contextmanager
def one_run_in(folder):
    """Hold `folder` for the block; the operating system lets go of it if the process is killed.

    Where there are no file locks (Windows) nothing is held.

    Raises
    ------
    ValueError
        If another run holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(Path(folder) / ".lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another run is at work in this folder; wait for it, or name another") from None
        yield
