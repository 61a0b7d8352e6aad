"""`affect3d gallery`: performances with valence-arousal labels."""

from __future__ import annotations

from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]


def add_parser(commands, common) -> None:
    parser = commands.add_parser("gallery", help="make and look into galleries of performances", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    make = actions.add_parser(
        "generate", parents=[common], help="make a gallery of synthetic performances", allow_abbrev=False
    )
    make.add_argument("--out", required=True, metavar="STORE", help="name of the Zarr store, a folder")
    make.add_argument("--subjects", type=numbers.whole(1, 10_000), metavar="N", help="synthetic people (default 100)")
    make.add_argument("--sequences", type=numbers.whole(1, 10_000), metavar="N", help="performances each (default 80)")
    make.add_argument("--frames", type=numbers.whole(8, 10_000), metavar="N", help="frames of each (default 36)")
    make.add_argument("--seed", type=numbers.whole(0, 2**63 - 1), default=0, metavar="N", help="same seed, same bytes")
    make.add_argument("--force", action="store_true", help="replace a gallery that exists")
    make.set_defaults(run=_generate)

    info = actions.add_parser("info", parents=[common], help="say what a gallery holds", allow_abbrev=False)
    info.add_argument("store", nargs="?", metavar="STORE", help="default: the one that ships with the package")
    info.set_defaults(run=_info)


def _generate(arguments) -> Report:
    from affect3d.cli.outputs import check_output

    path = Path(arguments.out)
    if path.exists() and not arguments.force:
        raise UsageError(f"{path}: exists already; name another output, or replace it with --force")
    check_output(path if not path.is_dir() else path / "gallery")

    from affect3d.affect import PerformanceOptions, class_statistics, generate_gallery

    given = {k: getattr(arguments, k) for k in ("subjects", "sequences", "frames") if getattr(arguments, k)}
    gallery = generate_gallery(PerformanceOptions(**given), seed=arguments.seed)
    gallery.save(path, overwrite=arguments.force)
    data = {"command": "gallery generate", "outputs": {"gallery": str(path)}, "frames": len(gallery)}
    return Report({**data, **_summary(class_statistics(gallery))}, (str(path),))


def _info(arguments) -> Report:
    from affect3d.affect import default_statistics
    from affect3d.cli.resources import load_gallery_statistics

    statistics = default_statistics() if arguments.store is None else load_gallery_statistics(arguments.store)
    data = {"command": "gallery info", "frames": int(statistics.count.sum()), **_summary(statistics)}
    space = statistics.space
    lines = [
        f"{data['frames']} frames, {data['populated_classes']} of {space.count} classes populated",
        f"labels: {statistics.convention or 'convention not stated'}",
        "frames of each class; valence grows to the right, arousal upwards:",
    ]
    rows = statistics.count.reshape(space.rows, space.columns)[::-1]
    lines += ["  " + " ".join(f"{n:6d}" for n in row) for row in rows]
    return Report(data, tuple(lines))


def _summary(statistics) -> dict:
    return {
        "convention": statistics.convention,
        "expressions": list(statistics.expression_names),
        "populated_classes": int(statistics.populated.sum()),
        "class_counts": [int(n) for n in statistics.count],
    }
