"""`affect3d demo`: the whole way on a photograph that a dependency ships."""

from __future__ import annotations

from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.report import Report

__all__ = ["add_parser"]

DESCRIPTION = """\
Draw scikit-image's astronaut (Eileen Collins; NASA, public domain) at eight points around the
valence-arousal circle."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "demo", parents=[common], help="draw a sheet from a built-in photograph", description=DESCRIPTION,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--out", default="out/demo.jpg", metavar="OUT", help="file or folder (default out/demo.jpg)")
    parser.add_argument(
        "--size", type=numbers.whole(64, 1024), default=320, metavar="PIXELS", help="of a face (default 320)"
    )
    parser.add_argument(
        "--radius", type=numbers.part, default=0.8, help="of the circle, in (0, 1] (default 0.8)"
    )
    parser.add_argument("--model", metavar="M", help="a model file, or ict:FOLDER; default: the built-in head")
    parser.set_defaults(run=_run)


def _run(arguments) -> Report:
    from affect3d.cli.errors import UsageError
    from affect3d.cli.outputs import check_output
    from affect3d.cli.resources import Resources
    from affect3d.cli.synthesize import IMAGE_SUFFIXES
    from affect3d.progress import terminal

    path = Path(arguments.out)
    if arguments.out.endswith("/") or path.is_dir():
        path /= "demo.jpg"
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        known = ", ".join(IMAGE_SUFFIXES)
        raise UsageError(f"--out: expected a folder or a name ending in {known}, got {arguments.out!r}")
    check_output(path)
    pixels = _astronaut()
    resources = Resources(arguments.model, None, terminal)

    from affect3d.io.image import write_image
    from affect3d.synthesis import Portrait, circle_sheet

    portrait = Portrait.from_photo(pixels, model=resources.model, progress=terminal)
    sheet = circle_sheet(
        portrait, resources.statistics, radius=arguments.radius, size=arguments.size, progress=terminal
    )
    write_image(path, sheet)
    return Report({"command": "demo", "outputs": {"sheet": str(path)}}, (str(path),))


def _astronaut():
    """(512, 512, 3) uint8"""
    try:
        from skimage.data import astronaut
    except ImportError:
        raise ImportError("the demo's photograph comes with scikit-image: pip install 'affect3d[demo]'") from None
    return astronaut()
