"""`affect3d assets`: data that are fetched on first use."""

from __future__ import annotations

from affect3d.cli.report import Report

__all__ = ["add_parser"]

DESCRIPTION = """\
List the data that are fetched on first use, and where they lie.  Each is pinned by its digest;
nothing else is ever downloaded."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "assets", parents=[common], help="list or fetch the data used", description=DESCRIPTION, allow_abbrev=False
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--from", dest="files", action="append", metavar="FILE", help="take an asset from an archive on this disk"
    )
    group.add_argument("--fetch", action="append", metavar="NAME", help="fetch an asset now")
    parser.set_defaults(run=_run)


def _run(arguments) -> Report:
    from affect3d import assets
    from affect3d.cli.errors import UsageError
    from affect3d.progress import terminal

    for name in arguments.fetch or ():
        if name not in assets.ASSETS:
            raise UsageError(f"--fetch: expected one of {', '.join(assets.ASSETS)}, got {name!r}")
    for name in arguments.fetch or ():
        assets.asset_path(name, terminal)
    for file in arguments.files or ():
        assets.install_from_file(file, terminal)
    rows = assets.list_assets()
    data = {
        "command": "assets",
        "cache": str(assets.cache_folder()),
        "assets": [
            {
                "name": row.name,
                "version": row.version,
                "licence": row.licence,
                "purpose": row.purpose,
                "present": row.present,
                "bytes": row.size,
                "path": str(row.path) if row.present else None,
            }
            for row in rows
        ],
    }
    return Report(data, (f"cache: {data['cache']}", *(line for row in rows for line in _lines(row))))


def _lines(row) -> tuple[str, ...]:
    state = "present" if row.present else "not fetched yet"
    return (
        f"{row.name} {row.version}: {state}, {row.size / 1e6:.1f} MB",
        f"    for {row.purpose}",
        f"    licence {row.licence}",
    )
