"""`affect3d synthesize`: photos and affects in, pictures out."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["SynthesizeOptions", "add_parser", "read_options"]

EXAMPLES = """\
examples:
  affect3d synthesize me.jpg --valence 0.7 --arousal 0.4
  affect3d synthesize me.jpg --expression anger --strength 0.8
  affect3d synthesize me.jpg --grid --out sheet.jpg
  affect3d synthesize me.jpg --path "0,0 0.8,0.5 -0.6,0.6" --frames 90
  affect3d synthesize *.jpg --valence -0.5 --arousal 0.6 --out results/ --json
  affect3d synthesize clip.mp4 --valence 0.7 --arousal 0.4

Valence runs from unpleasant (-1) to pleasant (+1), arousal from calm (-1) to excited (+1).
Pixels outside the mask are those of the photo; write .png, .tif or .bmp to keep them exactly."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
DETECTORS = ("mediapipe", "dlib")


@dataclass(frozen=True)
class SynthesizeOptions:
    """What one run of `synthesize` was asked for, resolved and consistent.

    Attributes
    ----------
    photos : tuple of str
    mode : {"image", "grid", "path"}
    valence, arousal : float in [-1, 1], or None unless `mode` is "image" without an `expression`
    expression : str, optional
        A name instead, as `affect3d.affect.named_expression` knows it.
    strength : float
        Of that, in (0, 1].
    waypoints : tuple of (valence, arousal)
        At least two if `mode` is "path".
    out : str, optional
        File or folder; the current folder if left out.
    model, gallery : str, optional
        The default head, and the statistics that ship with the package, if left out.
    face : int or None
        Counted by size from 0, the largest; None for all faces.
    landmarks : str, optional
        File to use instead of a detector.
    detector : {"mediapipe", "dlib"}
    save_mask, save_landmarks, save_mesh : str, optional
    frames : int
        Of a film.
    fps : float
        Frames a second, in (0, 240].
    size : int, optional
        Pixels a face of a contact sheet (256 if left out), or side of a close-up film.
    dry_run : bool
    """

    photos: tuple[str, ...]
    mode: str = "image"
    valence: float | None = None
    arousal: float | None = None
    expression: str | None = None
    strength: float = 1.0
    waypoints: tuple[tuple[float, float], ...] = ()
    out: str | None = None
    model: str | None = None
    gallery: str | None = None
    face: int | None = 0
    landmarks: str | None = None
    detector: str = "mediapipe"
    save_mask: str | None = None
    save_landmarks: str | None = None
    save_mesh: str | None = None
    frames: int = 60
    fps: float = 30.0
    size: int | None = None
    dry_run: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes that the picture may have."""
        return (".mp4",) if self.mode == "path" else IMAGE_SUFFIXES

    @property
    def ending(self) -> str:
        """What follows the photo's name in the name of the picture."""
        if self.expression is not None:
            name = "_".join(self.expression.lower().split())
            return f"_{name}.png" if self.strength == 1 else f"_{name}_{self.strength:.2f}.png"
        if self.mode == "image":
            # + 0.0: a negative zero is zero
            return f"_v{self.valence + 0.0:+.2f}_a{self.arousal + 0.0:+.2f}.png"
        return {"grid": "_grid.jpg", "path": "_path.mp4"}[self.mode]


def is_film(name) -> bool:
    """Whether an input is a film, by its suffix."""
    return Path(name).suffix.lower() in FILM_SUFFIXES


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "synthesize", parents=[common], help="give the faces of photos another affect", epilog=EXAMPLES,
        description="Give the faces of photos another affect.", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="JPEG, PNG, TIFF, WebP and others; or one film")

    group = parser.add_argument_group("affect (the first two together, or one of the others)")
    group.add_argument("--valence", type=numbers.affect, metavar="V", help="in [-1, 1]")
    group.add_argument("--arousal", type=numbers.affect, metavar="A", help="in [-1, 1]")
    group.add_argument(
        "--expression", metavar="NAME",
        help="neutral, anger, contempt, disgust, fear, happiness, sadness, surprise, or an emotion word such as proud",
    )  # fmt: skip
    group.add_argument("--strength", type=numbers.part, metavar="S", help="of --expression, in (0, 1] (default 1)")
    group.add_argument("--grid", action="store_true", help="a contact sheet of the 100 valence-arousal classes")
    group.add_argument("--path", type=numbers.waypoints, metavar='"V,A V,A ..."', help="a film along these points")

    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="OUT", help="file or folder; default NAME_v+0.70_a+0.40.png in this folder")
    group.add_argument("--save-mask", metavar="PNG", help="white where pixels may differ from the photo")
    group.add_argument("--save-landmarks", metavar="JSON", help="where the 68 points should be in the result")
    group.add_argument("--save-mesh", metavar="OBJ", help="the fitted head with the new expression, in millimetres")
    group.add_argument("--frames", type=numbers.whole(2, 100_000), metavar="N", help="of a film (default 60)")
    group.add_argument("--fps", type=numbers.rate, metavar="RATE", help="frames a second of a film (default 30)")
    group.add_argument(
        "--size", type=numbers.whole(32, 2048), metavar="PIXELS",
        help="of a face in the contact sheet (default 256), or of a film that shows the face alone",
    )  # fmt: skip
    group.add_argument("--dry-run", action="store_true", help="check everything, say what would be written, and stop")

    group = parser.add_argument_group("which face, and how it is found")
    group.add_argument("--face", type=numbers.whole(0, 999), metavar="N", help="by size; 0, the largest, if left out")
    group.add_argument("--all", action="store_true", dest="all_faces", help="every face in the photo")
    help_ = ".pts, .ljson, .csv, .txt or .json to use instead of a detector"
    group.add_argument("--landmarks", metavar="FILE", help=help_)
    group.add_argument("--detector", choices=DETECTORS, default="mediapipe", help="dlib needs the extra affect3d[dlib]")

    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="M", help="a model file, or ict:FOLDER; default: the built-in head")
    group.add_argument("--gallery", metavar="G", help="a gallery of expressions; default: the built-in one")
    parser.set_defaults(run=_run)


def read_options(arguments) -> SynthesizeOptions:
    """Consistent options from parsed arguments.

    Raises
    ------
    UsageError
        If arguments are missing or exclude each other.
    """
    a = arguments
    if a.grid and a.path:
        raise UsageError("--grid and --path exclude each other")
    mode = "grid" if a.grid else "path" if a.path else "image"
    point = (a.valence is not None, a.arousal is not None)
    if a.expression is not None:
        _check_expression(a, mode, point)
    elif a.strength is not None:
        raise UsageError("--strength goes with --expression only; with valence and arousal the pair says how much")
    elif mode == "image" and not all(point):
        missing = "--arousal is missing" if point[0] else "--valence is missing" if point[1] else "no affect is given"
        raise UsageError(f"{missing}: give --valence and --arousal, or --expression, --grid or --path")
    if mode != "image" and any(point):
        raise UsageError(f"--{mode} and --valence or --arousal exclude each other")
    if mode != "image":
        for name in ("mask", "landmarks", "mesh"):
            if getattr(a, f"save_{name}") is not None:
                raise UsageError(f"--save-{name} belongs to a single picture and cannot go with --{mode}")
        if a.all_faces:
            raise UsageError(f"--all cannot go with --{mode}: choose one face with --face")
    if mode != "path":
        for name, value in (("--frames", a.frames), ("--fps", a.fps)):
            if value is not None:
                raise UsageError(f"{name} belongs to a film and goes with --path only")
    elif a.frames is not None and a.frames < len(a.path):
        raise UsageError(f"--frames: expected at least one a point of --path ({len(a.path)}), got {a.frames}")
    if mode == "image" and a.size is not None:
        raise UsageError("--size goes with --grid or --path; a single picture has the size of its photo")
    if a.face is not None and a.all_faces:
        raise UsageError("--face and --all exclude each other")
    if a.landmarks is not None and (a.all_faces or a.face):
        raise UsageError("--landmarks describes one face and cannot go with --face or --all")
    if a.landmarks is not None and len(a.photos) > 1:
        raise UsageError("--landmarks belongs to one photo, and several are given")
    return SynthesizeOptions(
        photos=tuple(a.photos), mode=mode, valence=a.valence, arousal=a.arousal, expression=a.expression,
        strength=a.strength or 1.0, waypoints=a.path or (), out=a.out, model=a.model, gallery=a.gallery,
        face=None if a.all_faces else a.face or 0, landmarks=a.landmarks, detector=a.detector, save_mask=a.save_mask,
        save_landmarks=a.save_landmarks, save_mesh=a.save_mesh, frames=a.frames or 60, fps=a.fps or 30.0,
        size=a.size, dry_run=a.dry_run,
    )  # fmt: skip


def _check_expression(a, mode: str, point) -> None:
    from affect3d.affect.named import named_expression

    others = (("--valence or --arousal", any(point)), (f"--{mode}", mode != "image"), ("--gallery", a.gallery))
    for name, given in others:
        if given:
            raise UsageError(f"--expression and {name} exclude each other")
    try:
        named_expression(a.expression)
    except ValueError as error:
        raise UsageError(str(error).replace("name:", "--expression:", 1)) from None


def _run(arguments) -> Report:
    from affect3d.cli.outputs import check_jobs, plan_jobs

    options = read_options(arguments)
    if any(is_film(name) for name in options.photos):
        from affect3d.cli.synthesize_film import synthesize_film

        return synthesize_film(options)
    jobs = plan_jobs(options)
    check_jobs(jobs, create=not options.dry_run)
    if options.dry_run:
        outputs = [str(path) for job in jobs for path in job.outputs]
        given = {name: value for name, value in asdict(options).items() if value not in (None, ())}
        lines = [f"{name}: {value}" for name, value in given.items()]
        data = {"command": "synthesize", "dry_run": True, "options": given, "outputs": outputs}
        return Report(data, (*lines, *(f"would write {path}" for path in outputs)))
    from affect3d.cli.synthesize_work import synthesize_jobs

    return synthesize_jobs(jobs, options)
