"""`affect3d gan read-data`: a database of faces, or one's own pictures, as a set that the other commands take."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.gan_settings import named_texts, typed_settings
from affect3d.cli.report import Report

__all__ = ["DATABASES", "ReadDataOptions", "add_action", "read_database", "read_read_data"]

#: Those of `affect3d.gan.data.LISTERS`, and TFD, which is one file; listed here so that --help imports nothing heavy.
DATABASES = (
    "ck+", "oulu-casia", "mmi", "rafd", "disfa", "multi-pie", "lfw", "jaffe", "afew-va", "aff-wild", "folders", "tfd",
)  # fmt: skip

DESCRIPTION = """\
Find, align and crop the faces of a database that lies on this machine, in the layout in which it is distributed, or of
pictures of your own in folders PERSON/EXPRESSION/ (with one called neutral).  Nothing is downloaded."""


@dataclass(frozen=True)
class ReadDataOptions:
    """What one run of `gan read-data` was asked for.

    Attributes
    ----------
    database, folder, out : str
        One of `DATABASES`; where it lies; file to write.
    size : int
        Pixels of a side.
    crop : str, optional
        What `gan_crop.read_crop` reads.
    grey, labelled, need_neutral, skip_unusable, own_points : bool
    detector : str
    settings : tuple of (name, text)
        Options of the reader.
    """

    database: str
    folder: str
    out: str
    size: int = 32
    crop: str | None = None
    grey: bool = False
    labelled: bool = False
    need_neutral: bool = False
    skip_unusable: bool = False
    own_points: bool = True
    detector: str = "mediapipe"
    settings: tuple[tuple[str, str], ...] = ()


def add_action(actions, common, crop_help: str) -> None:
    parser = actions.add_parser(
        "read-data", parents=[common], help="read a database of faces, or your own", description=DESCRIPTION,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("database", choices=DATABASES, metavar="DATABASE", help=", ".join(DATABASES))
    parser.add_argument("folder", metavar="FOLDER", help="where it lies (tfd: its .mat file)")
    parser.add_argument("--out", required=True, metavar="FILE.safetensors")
    parser.add_argument("--size", type=numbers.whole(8, 1024), default=32, help="pixels (default 32)")
    parser.add_argument("--crop", metavar="C", help=crop_help)
    parser.add_argument("--grey", action="store_true", help="one channel")
    parser.add_argument("--labelled", action="store_true", help="leave out pictures without an expression")
    parser.add_argument("--need-neutral", action="store_true", help="refuse people without a neutral face")
    parser.add_argument("--skip-unusable", action="store_true", help="leave out what is unreadable or shows no face")
    parser.add_argument("--detect-all", action="store_true", help="use no landmarks that come with the database")
    parser.add_argument("--detector", choices=("mediapipe", "dlib"), default="mediapipe", help="the papers use dlib")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="option of the reader; a wrong one lists all"
    )
    parser.set_defaults(run=_read)


def read_read_data(a) -> ReadDataOptions:
    """Consistent options from parsed arguments.

    Raises
    ------
    UsageError
        If they contradict each other.
    """
    if Path(a.out).suffix.lower() != ".safetensors":
        raise UsageError(f"--out: expected a name ending in .safetensors, got {a.out!r}")
    if a.database == "tfd" and (a.crop is not None or a.detect_all or a.skip_unusable):
        raise UsageError("--crop, --detect-all, --skip-unusable: do not go with tfd, whose pictures are crops already")
    return ReadDataOptions(
        a.database, a.folder, a.out, a.size, a.crop, a.grey, a.labelled, a.need_neutral, a.skip_unusable,
        not a.detect_all, a.detector, named_texts(a.set),
    )  # fmt: skip


def read_database(options: ReadDataOptions) -> Report:
    """List, read, crop and write.

    Raises
    ------
    ValueError, OSError
        In one sentence that names the folder, file or person: see `affect3d.gan.data.read_faces`.
    """
    from affect3d.cli.gan_crop import read_crop, record_crop
    from affect3d.cli.gan_work import need_torch
    from affect3d.cli.outputs import check_output
    from affect3d.gan.data import LISTERS, CropOptions, read_faces, read_tfd
    from affect3d.progress import terminal

    need_torch()
    check_output(Path(options.out))
    channels = 1 if options.grey else 3
    if options.database == "tfd":
        faces, _ = read_tfd(options.folder, **reader_settings(read_tfd, options.settings))
        faces, crop = faces.resized(options.size), CropOptions(options.size, 1)
        if options.need_neutral:
            _require_neutral(faces)
    else:
        crop = CropOptions(options.size, channels)
        if options.crop is not None:
            crop = read_crop(options.crop, options.size, channels)
        lister = LISTERS[options.database]
        listing = lister(options.folder, **reader_settings(lister, options.settings))
        if options.labelled:
            listing = listing.keep(lambda entry: bool(entry.expression) or entry.neutral)
            if not len(listing):
                raise ValueError(f"{options.folder}: none of its pictures has an expression")
        if options.need_neutral:
            listing.require_neutral()
        faces = read_faces(
            listing, crop, options.detector, options.own_points, options.skip_unusable, progress=terminal
        )
    faces.save(options.out)
    record_crop(options.out, crop, {name: value for name, value in asdict(options).items() if name != "out"})
    data = {
        "command": "gan read-data", "outputs": {"faces": options.out}, "pictures": len(faces), "crop": asdict(crop),
        "people": len(faces.subjects), "size": list(faces.size), "expressions": list(faces.expression_names),
        "units": list(faces.unit_names), "source": faces.source,
    }  # fmt: skip
    return Report(data, (f"{len(faces)} pictures of {len(faces.subjects)} people. {faces.source}", options.out))


def reader_settings(reader, given) -> dict:
    """Texts of --set, (name, text) each, as values of the types of the reader's defaults.

    Raises
    ------
    UsageError
        If a name or a value does not fit.
    """
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(reader).parameters.items()
        if isinstance(parameter.default, (bool, int, str, tuple))
    }  # fmt: skip
    for name, _ in given:
        if name not in defaults:
            raise UsageError(f"--set: expected {', '.join(sorted(defaults)) or 'no options here'}, got {name!r}")
    return typed_settings(given, {name: type(default) for name, default in defaults.items()})


def _require_neutral(faces) -> None:
    lacking = [int(s) for s in faces.subjects if (faces.neutral[faces.subject == s] < 0).all()]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise ValueError(f"no neutral face of {', '.join(map(str, lacking[:5]))}{more}")


def _read(arguments) -> Report:
    return read_database(read_read_data(arguments))
