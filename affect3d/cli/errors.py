"""How a command ends: exit statuses, and the sentences that go with them."""

from __future__ import annotations

import signal

__all__ = ["DONE", "FAILED", "MISUSED", "Stopped", "UsageError", "expected_errors", "sentence"]

DONE, FAILED, MISUSED = 0, 1, 2


class UsageError(Exception):
    """The command line makes no sense: status 2."""


class Stopped(BaseException):
    """A signal asked the program to end; not an Exception, so nothing swallows it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def expected_errors() -> tuple[type[Exception], ...]:
    """What the library raises on purpose, with a message that is one sentence for users.

    Everything else is a mistake of ours and is reported as such.
    """
    wanted = (ImportError, MemoryError, OSError, ValueError)
    try:
        from affect3d.assets import AssetError
    except ImportError:  # of a requirement: that itself is what will be reported
        return wanted
    return (AssetError, *wanted)


def sentence(error: BaseException) -> str:
    """One line for users."""
    if isinstance(error, Stopped):
        return f"stopped by {signal.Signals(error.number).name}; nothing half-written was left"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing half-written was left"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"there is not enough memory{': ' + text if text else ''}"
    return text or type(error).__name__
