"""Progress is handed in: any callable ``progress(done, total, label)``."""

from __future__ import annotations

import sys
from typing import Callable

__all__ = ["Progress", "silent", "terminal"]

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, label: str) -> None:
    """Report nothing (the default everywhere)."""


def terminal(done: int, total: int, label: str) -> None:
    """One line on stderr, rewritten in place; nothing when stderr is no terminal."""
    if not sys.stderr.isatty():
        return
    width = 24
    filled = width * done // max(total, 1)
    end = "\n" if done >= total else ""
    sys.stderr.write(f"\r{label:<28.28} [{'#' * filled}{'.' * (width - filled)}] {done}/{total}{end}")
    sys.stderr.flush()
