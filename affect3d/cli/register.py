"""`affect3d register`: raw scans of any topology in, meshes of one topology out."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["RegisterOptions", "add_parser", "read_options"]

DESCRIPTION = """\
Bring scans of faces into correspondence with one template.  Bad registrations are pruned and named, never silently
kept.  Killed at any moment and started again with the same arguments, the command continues where it was."""

EPILOG = """\
examples:
  affect3d register scan.obj --unit mm --out registered
  affect3d register scans/ --out registered --jobs 8
  affect3d register scans/ --out registered --gallery faces.zarr --labels labels.csv
  affect3d register scans/ --template head.ply --out registered --scheduler tcp://10.0.0.1:8786
  affect3d register recordings/ --unit mm --out registered --method track --jobs 8
  affect3d register scans/ --template lsfm.safetensors --modes --out registered

OUT then holds meshes/NAME.ply (mm, the template's vertices and triangles in their order), pruned/NAME.ply,
records/NAME.json and report.html, with --texture also textures/NAME.glb; NAME is the scan's place in its folder, as
in subject/sequence/frame.
Landmarks of a scan: NAME.landmarks.json, .ljson, .pts, .pp, .csv or .txt beside it, else they are found.

methods:
  nonrigid  scans of whoever and whatever order: each frame by itself, 3 to 6 s (also called nicp)
  amberg    the published method of 2007, slow, for comparisons
  track     4D sequences, a folder each: the neutral by nonrigid, then each frame from the one before; five a second
  uv        the same by flattened images, as in the paper; follows textures as well; about one frame a second
With track and uv only the neutral needs landmarks.  It is the frame that --labels mark as neutral or --neutral names,
else the first of its folder.  Where tracking is lost a frame is registered by itself, and its record says so."""

#: Those of `affect3d.registration.methods`, listed here so that --help imports nothing heavy.
METHODS = ("nonrigid", "amberg", "track", "uv", "nicp")
#: Those of them that follow sequences.
SEQUENCE_METHODS = ("track", "uv")
#: Fields of `affect3d.registration.verdict.Limits`.
LIMITS = (
    "residual", "residual_p95", "landmark_error", "matched", "distorted", "deviations", "least_spread", "least_frames",
)  # fmt: skip


@dataclass(frozen=True)
class RegisterOptions:
    """What one run of `register` was asked for, resolved and consistent.

    Attributes
    ----------
    scans : tuple of str
        Files and folders.
    out : str
        Folder.
    template : str, optional
        A mesh with landmarks beside it, or a model; the skin of the default head's face if left out.
    landmarks : str, optional
        A file, or a folder of files.
    unit : {"mm", "cm", "m"}, optional
        Of the scans.
    method : str
    neutral : str, optional
        Name of the neutral frame, for methods that follow sequences.
    prior : bool
        Whether the built-in head's expressions guide the tracker.
    modes : bool
        Whether frames that are registered by themselves begin from the modes of the template's model.
    limits : tuple of (name, value)
        Of `Limits` in `affect3d.registration.verdict`, where they differ from the defaults.
    gallery, labels : str, optional
        Both or neither.
    convention : str
        What the labels mean.
    jobs : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler.
    worst : int
        Frames shown as pictures in the report.
    force : bool
        Whether a gallery of other content may be replaced.
    texture : {"glb", "obj"}, optional
        Write each kept frame with its texture, in this format.
    texture_size : int
        Rows and columns of the pictures.
    """

    scans: tuple[str, ...]
    out: str
    template: str | None = None
    landmarks: str | None = None
    unit: str | None = None
    method: str = "nonrigid"
    neutral: str | None = None
    prior: bool = True
    modes: bool = False
    limits: tuple[tuple[str, float], ...] = ()
    gallery: str | None = None
    labels: str | None = None
    convention: str = ""
    jobs: int = 1
    scheduler: str | None = None
    worst: int = 6
    force: bool = False
    texture: str | None = None
    texture_size: int = 1024


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "register", parents=[common], help="bring scans of faces into one topology", description=DESCRIPTION,
        epilog=EPILOG, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="obj, ply, stl, off, wrl, glb, or folders of these")

    group = parser.add_argument_group("input")
    group.add_argument("--unit", choices=("mm", "cm", "m"), help="of the scans; guessed, and said so, if left out")
    group.add_argument("--landmarks", metavar="L", help="landmark file, or a folder with one for each scan")
    group.add_argument(
        "--template", metavar="T",
        help="a mesh with NAME.landmarks.json beside it, or a model; default: the face of the built-in head",
    )  # fmt: skip

    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, metavar="DIR", help="folder for meshes, records and report")
    group.add_argument("--gallery", metavar="STORE", help="Zarr store of the frames that are kept and labelled")
    group.add_argument("--labels", metavar="CSV", help="sequence, frame, valence, arousal (and neutral) of the frames")
    group.add_argument("--convention", metavar="TEXT", help="what the labels mean; kept in the gallery")
    group.add_argument("--force", action="store_true", help="replace a gallery of other content")
    group.add_argument(
        "--worst", type=numbers.whole(0, 100), default=6, metavar="N",
        help="frames shown as pictures in the report (default 6)",
    )  # fmt: skip

    group.add_argument(
        "--texture", action="store_true",
        help="also write each kept mesh with the scan's texture in the template's layout, to OUT/textures",
    )  # fmt: skip
    group.add_argument("--texture-format", choices=("glb", "obj"), help="one file, or obj, mtl and png (default glb)")
    group.add_argument(
        "--texture-size", type=numbers.whole(64, 8192), metavar="N",
        help="rows and columns of the picture (default 1024)",
    )  # fmt: skip

    group = parser.add_argument_group("how")
    group.add_argument("--method", choices=METHODS, default="nonrigid", help="see below; default: nonrigid")
    group.add_argument(
        "--neutral", metavar="FRAME",
        help="with track and uv: name or number of the neutral frame in each sequence; or FOLDER/FRAME within the "
        "subject, for all its sequences",
    )  # fmt: skip
    group.add_argument(
        "--no-prior", action="store_true",
        help="with track: follow shape alone, without the built-in head's knowledge of how faces move",
    )  # fmt: skip
    group.add_argument(
        "--modes", action="store_true",
        help="begin from the template's own modes: with --template MODEL, a model learnt from people",
    )  # fmt: skip
    group.add_argument("--jobs", type=numbers.whole(1, 1024), metavar="N", help="processes (default: one a core)")
    group.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE",
        help="change what frames must keep to: " + ", ".join(LIMITS),
    )  # fmt: skip
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to use; needs the extra affect3d[dask]")
    parser.set_defaults(run=_run)


def read_options(arguments) -> RegisterOptions:
    """Consistent options from parsed arguments.

    Raises
    ------
    UsageError
        If arguments are missing or exclude each other, or the output lies among the scans.
    """
    a = arguments
    if (a.gallery is None) != (a.labels is None):
        missing, given = ("--labels", "--gallery") if a.labels is None else ("--gallery", "--labels")
        raise UsageError(f"{missing} is missing: {given} goes with it")
    for name in ("force", "convention"):
        if getattr(a, name) and a.gallery is None:
            raise UsageError(f"--{name} goes with --gallery only")
    for name in ("texture_format", "texture_size"):
        if getattr(a, name) is not None and not a.texture:
            raise UsageError(f"--{name.replace('_', '-')} goes with --texture only")
    if a.neutral is not None and a.method not in SEQUENCE_METHODS:
        raise UsageError(f"--neutral goes with --method {' or '.join(SEQUENCE_METHODS)} only")
    if a.no_prior and a.method != "track":
        raise UsageError("--no-prior goes with --method track only")
    if a.jobs is not None and a.scheduler is not None:
        raise UsageError("--jobs and --scheduler exclude each other: the cluster knows how many workers it has")
    if Path(a.out).exists() and not Path(a.out).is_dir():
        raise UsageError(f"--out: expected a folder, got the file {a.out!r}")
    out = Path(os.path.realpath(a.out))
    for name, place in (("--out", out), ("--gallery", a.gallery and Path(os.path.realpath(a.gallery)))):
        for scan in a.scans:
            if place and os.path.isdir(scan) and place.is_relative_to(os.path.realpath(scan)):
                raise UsageError(f"{name}: lies within the scans in {scan}, whose results would be taken for scans")
    if a.gallery and out.is_relative_to(os.path.realpath(a.gallery)):
        raise UsageError("--gallery: expected another place than that of --out")
    return RegisterOptions(
        scans=tuple(a.scans), out=a.out, template=a.template, landmarks=a.landmarks, unit=a.unit, method=a.method,
        neutral=a.neutral,
        prior=not a.no_prior,
        modes=a.modes,
        limits=tuple(_limit(text) for text in a.limit), gallery=a.gallery, labels=a.labels,
        convention=a.convention or "", jobs=a.jobs or _cores(), scheduler=a.scheduler, worst=a.worst, force=a.force,
        texture=(a.texture_format or "glb") if a.texture else None, texture_size=a.texture_size or 1024,
    )  # fmt: skip


def _limit(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if name not in LIMITS or not equals:
        raise UsageError(f"--limit: expected NAME=VALUE with one of {', '.join(LIMITS)}, got {text!r}")
    try:
        return name, int(value) if name == "least_frames" else float(value)
    except ValueError:
        raise UsageError(f"--limit: expected a number after {name}=, got {value!r}") from None


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # those this process may use, which can be fewer than there are
    except AttributeError:
        return os.cpu_count() or 1


def _run(arguments) -> Report:
    options = read_options(arguments)
    from affect3d.cli.register_work import register_scans

    return register_scans(options)
