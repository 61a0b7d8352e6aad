"""`affect3d doctor`: what is installed, what it is for, and whether this machine can run it."""

from __future__ import annotations

from affect3d.cli.errors import DONE, FAILED
from affect3d.cli.report import Report

__all__ = ["add_parser"]

DESCRIPTION = """\
Say what is installed, what each part is for, and whether this machine can run it.  The exit status
is 0 if the main job can be done here."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "doctor", parents=[common], help="say what works on this machine", description=DESCRIPTION, allow_abbrev=False
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> Report:
    from affect3d.doctor import examine

    health = examine()
    return Report({"command": "doctor", **health.as_dict()}, health.lines(), DONE if health.ready else FAILED)
