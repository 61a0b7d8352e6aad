"""What a command hands back to be printed."""

from __future__ import annotations

from dataclasses import dataclass

from affect3d.cli.errors import DONE

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Result of a command.

    Attributes
    ----------
    data : dict
        Printed as one JSON object with --json.
    lines : tuple of str
        Printed without it.
    status : int
        Exit status.
    """

    data: dict
    lines: tuple[str, ...] = ()
    status: int = DONE
