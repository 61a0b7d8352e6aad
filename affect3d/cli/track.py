"""`affect3d track`: a film, or photos of one person, in; identity, pose and expressions of every frame out."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["TrackArguments", "add_parser", "read_options"]

DESCRIPTION = """\
Follow one person through a film, or through photos: one identity, and for every frame the head's place, its turn and
its expression.  Killed at any moment and started again with the same arguments, the command continues where it was."""

EPILOG = """\
examples:
  affect3d track clip.mp4 --out followed
  affect3d track clip.mp4 --out followed --smooth 2 --photometric
  affect3d track first.jpg second.jpg third.jpg --out person

OUT then holds track.csv (one row a frame: found, pose, expressions under their ARKit names), track.npz (all arrays),
track.glb (the moving head with named morph targets) and overlay.mp4, or overlay/ for photos.
In frames without the face its curves are bridged, and found is 0."""

#: Suffixes of photos; everything else is opened as a film.
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class TrackArguments:
    """What one run of `track` was asked for, resolved and consistent.

    Attributes
    ----------
    inputs : tuple of str
        One film, or photos.
    film : bool
    out : str
        Folder.
    model : str, optional
        The default head if left out.
    face : int
        By size from 0, the largest, where none was followed so far.
    photometric : bool
        Whether the identity is refined by the pixels of the frames it is fitted to, and each frame's light read.
    skin : bool
        Whether a film's frames are aligned to what the person's skin looks like.
    smooth : float or None
        Hz above which curves at rest are damped; None leaves them as they are.
    overlay, glb : bool
        Whether these are written.
    """

    inputs: tuple[str, ...]
    film: bool
    out: str
    model: str | None = None
    face: int = 0
    photometric: bool = False
    skin: bool = True
    smooth: float | None = 1.0
    overlay: bool = True
    glb: bool = True


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "track", parents=[common], help="follow a face through a film or photos of one person",
        description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("inputs", nargs="+", metavar="VIDEO_OR_IMAGES", help="one film, or photos of one person")

    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    group.add_argument("--no-overlay", action="store_true", help="draw no pictures of the fitted head")
    group.add_argument("--no-glb", action="store_true", help="write no moving head")

    group = parser.add_argument_group("how")
    group.add_argument("--face", type=numbers.whole(0, 999), default=0, metavar="N",
                       help="which face to follow, by size; 0, the largest, if left out")  # fmt: skip
    group.add_argument("--smooth", type=_frequency, metavar="HZ",
                       help="damp what is faster in curves at rest (default 1); movements are kept")  # fmt: skip
    group.add_argument("--no-smooth", action="store_true", help="leave the curves as they are fitted")
    group.add_argument("--no-skin", action="store_true",
                       help="leave a film's frames to the landmarks; do not align them to what the skin looks like")
    group.add_argument("--photometric", action="store_true",
                       help="refine the identity by pixels of some frames, and read each frame's light")  # fmt: skip
    group.add_argument("--model", metavar="M", help="a model file, or ict:FOLDER; default: the built-in head")
    parser.set_defaults(run=_run)


def _frequency(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0.05 <= value <= 60):
        raise argparse.ArgumentTypeError(f"expected a frequency in Hz in [0.05, 60], got {text}")
    return value


def read_options(arguments) -> TrackArguments:
    """Consistent options from parsed arguments.

    Raises
    ------
    UsageError
        If inputs of both kinds or several films are given, or options exclude each other.
    """
    a = arguments
    photos = [name for name in a.inputs if Path(name).suffix.lower() in PHOTO_SUFFIXES]
    films = [name for name in a.inputs if name not in photos]
    if films and photos:
        raise UsageError(f"expected one film, or photos, got both ({films[0]} and {photos[0]})")
    if len(films) > 1:
        raise UsageError(f"expected one film at a time, got {len(films)} ({films[0]}, {films[1]})")
    if a.smooth is not None and a.no_smooth:
        raise UsageError("--smooth and --no-smooth exclude each other")
    if photos and a.no_skin:
        raise UsageError("--no-skin goes with films: photos are never aligned to the skin")
    if photos and a.smooth is not None:
        raise UsageError("--smooth goes with films: photos do not follow one another")
    if Path(a.out).exists() and not Path(a.out).is_dir():
        raise UsageError(f"--out: expected a folder, got the file {a.out!r}")
    outputs = {os.path.realpath(Path(a.out) / name) for name in ("overlay.mp4", "track.glb", "track.npz", "track.csv")}
    if clash := [name for name in a.inputs if os.path.realpath(name) in outputs]:
        raise UsageError(f"{clash[0]}: is an input as well and is never overwritten; name another --out")
    return TrackArguments(
        inputs=tuple(a.inputs), film=bool(films), out=a.out, model=a.model, face=a.face, photometric=a.photometric,
        skin=not a.no_skin,
        smooth=None if a.no_smooth or photos else a.smooth or 1.0, overlay=not a.no_overlay, glb=not a.no_glb,
    )  # fmt: skip


def _run(arguments) -> Report:
    options = read_options(arguments)
    from affect3d.cli.track_work import track_inputs

    return track_inputs(options)
