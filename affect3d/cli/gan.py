"""`affect3d gan`: the 2D methods, trained on pictures of faces, used and measured."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from affect3d.cli import gan_compare, gan_read, gan_recognize, numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.gan_machine import add_machine
from affect3d.cli.gan_settings import named_texts
from affect3d.cli.report import Report

__all__ = [
    "EditOptions", "EvaluateOptions", "MakeDataOptions", "TrainCommand", "add_parser",
    "read_edit", "read_evaluate", "read_make_data", "read_train",
]  # fmt: skip

DESCRIPTION = """\
Methods that learn on pictures of faces with labels.  Where no set of faces is given, one of people who do not exist is
rendered from the built-in head.  Needs the extra affect3d[torch]."""

EPILOG = """\
examples:
  affect3d gan make-data --people 250 --size 32 --out faces.safetensors
  affect3d gan read-data rafd /where/RaFD/lies --size 32 --out rafd.safetensors
  affect3d gan train cdaae --data faces.safetensors --set variant=N2 --set steps=3000 --out run
  affect3d gan edit cdaae --run run --to happiness me.jpg --out happy.png
  affect3d gan evaluate cdaae --run run
  affect3d gan compare run other-run --out page.html --augment 20 --tsne
  affect3d gan recognize --data faces.safetensors --people 10 --out study

`train` keeps some people apart, whom `evaluate` then uses.  Killed at any moment and started again with the same
arguments it continues, and ends with the bytes that it would have had without the kill."""

#: Those of `affect3d.gan.methods`, listed here so that --help imports nothing heavy.
METHODS = ("cdaae", "fesgan", "stoicnet", "exprgan")
#: Those of `affect3d.synthesis.rendered_people`.
KINDS = ("emotions", "units", "sequences")
EMOTION_SETS = ("rafd", "ck+", "oulu-casia", "tfd")
ALIGNS = ("each", "take")
CROP_HELP = "a method's name, or align=procrustes,margin=0.12,lift=0.09 (the default)"


@dataclass(frozen=True)
class MakeDataOptions:
    """A set of rendered people.

    Attributes
    ----------
    out : str
    people, size : int
        Size in pixels.
    kind : str
    emotions : str
        Name of a set.
    seed, jobs : int
    skins : tuple of str
        Photographs whose skins people wear in turn; painted ones if empty.
    takes, frames : int, optional
        Of emotions; of units and sequences.
    align : str, optional
        "each" picture by its own landmarks, or all of a "take" by the neutral one's.
    crop : str, optional
        What `gan_crop.read_crop` reads.
    """

    out: str
    people: int = 250
    size: int = 32
    kind: str = "emotions"
    emotions: str = "rafd"
    seed: int = 0
    jobs: int = 1
    skins: tuple[str, ...] = ()
    takes: int | None = None
    frames: int | None = None
    align: str | None = None
    crop: str | None = None


@dataclass(frozen=True)
class TrainCommand:
    """What one run of `gan train` was asked for.

    Attributes
    ----------
    method, out : str
    data : str, optional
        File that `make-data` or `FaceImages.save` wrote; rendered into OUT if left out.
    rendered : MakeDataOptions
        Of the set that is rendered then.
    crop : str, optional
        How the faces of `data` were cut out, where their file does not say.
    settings : tuple of (name, text)
        Of the method.
    batch : int, optional
    test_share : float
        Share of the people who are kept apart, in [0, 1).
    fold : (int, int), optional
        Keep fold k of n apart instead, 1 <= k <= n.
    seed, threads, log_every, sample_every, checkpoint_every : int
    device, precision : str
    devices : int
    dry_run : bool
    """

    method: str
    out: str
    rendered: MakeDataOptions
    data: str | None = None
    crop: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    batch: int | None = None
    test_share: float = 0.2
    fold: tuple[int, int] | None = None
    seed: int = 0
    threads: int = 0
    log_every: int = 50
    sample_every: int = 500
    checkpoint_every: int = 500
    device: str = "auto"
    precision: str = "32"
    devices: int = 1
    dry_run: bool = False


@dataclass(frozen=True)
class EditOptions:
    """What one run of `gan edit` was asked for.

    Attributes
    ----------
    method, run : str
    photos : tuple of str
    target : tuple of (label, weight)
    out : str, optional
        File for one photo, or folder.
    detector : str
    """

    method: str
    run: str
    photos: tuple[str, ...]
    target: tuple[tuple[str, float], ...]
    out: str | None = None
    detector: str = "mediapipe"


@dataclass(frozen=True)
class EvaluateOptions:
    """What one run of `gan evaluate` was asked for.

    Attributes
    ----------
    method, run : str
    data, out : str, optional
    everybody : bool
        Use all people of `data`, not those kept apart in training.
    pairs : int
        At most.
    judge_steps, judges, seed, threads : int
    """

    method: str
    run: str
    data: str | None = None
    out: str | None = None
    everybody: bool = False
    pairs: int = 4000
    judge_steps: int = 800
    judges: int = 3
    seed: int = 0
    threads: int = 0


def add_parser(commands, common) -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        "gan", help="train, use and measure the 2D methods", description=DESCRIPTION, epilog=EPILOG,
        allow_abbrev=False, formatter_class=plain,
    )  # fmt: skip
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    make = actions.add_parser("make-data", parents=[common], help="render people who do not exist", allow_abbrev=False)
    make.add_argument("--out", required=True, metavar="FILE.safetensors")
    _add_rendering(make)
    make.add_argument("--seed", type=numbers.whole(0, 2**31 - 1), default=0)
    make.add_argument("--skins", nargs="+", metavar="PHOTO", help="photographs whose skins people wear, or a folder")
    make.add_argument("--takes", type=numbers.whole(1, 100), metavar="N", help="emotions: lights and gazes (default 1)")
    make.add_argument("--frames", type=numbers.whole(2, 10**4), metavar="N", help="units, sequences (default 10)")
    make.add_argument("--align", choices=ALIGNS, help="each picture (default), or a take by its neutral face")
    make.add_argument("--crop", metavar="C", help=CROP_HELP)
    make.set_defaults(run=_make_data)

    gan_read.add_action(actions, common, CROP_HELP)

    train = actions.add_parser("train", parents=[common], help="train a method", allow_abbrev=False)
    train.add_argument("method", choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    train.add_argument("--out", required=True, metavar="DIR", help="folder of the run")
    train.add_argument("--data", metavar="FILE", help="set of faces; default: rendered into DIR")
    train.add_argument("--crop", metavar="C", help=f"how --data was cut, where it does not say: {CROP_HELP}")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="option of the method; a wrong one lists all"
    )
    train.add_argument("--batch", type=numbers.whole(1, 4096), help="default: the paper's")
    train.add_argument("--test-share", type=_share, metavar="S", help="share of people kept apart (default 0.2)")
    train.add_argument("--fold", type=_fold, metavar="K/N", help="keep fold K of N apart instead")
    train.add_argument("--seed", type=numbers.whole(0, 2**31 - 1), default=0)
    train.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    _add_rendering(train.add_argument_group("rendered faces, where --data is left out"), "render_")
    add_machine(train)
    group = train.add_argument_group("how often, in steps")
    group.add_argument("--log-every", type=numbers.whole(1, 10**9), default=50, metavar="N")
    group.add_argument("--sample-every", type=numbers.whole(0, 10**9), default=500, metavar="N", help="0: never")
    group.add_argument("--checkpoint-every", type=numbers.whole(1, 10**9), default=500, metavar="N")
    train.set_defaults(run=_train)

    edit = actions.add_parser("edit", parents=[common], help="give faces in photos another label", allow_abbrev=False)
    edit.add_argument("method", choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    edit.add_argument("photos", nargs="+", metavar="PHOTO")
    edit.add_argument("--run", dest="folder", required=True, metavar="DIR", help="folder of a finished run")
    edit.add_argument(
        "--to", required=True, metavar="LABEL[=W],...", help="labels with weights in [0, 1], 1 if left out"
    )
    edit.add_argument("--out", metavar="OUT", help="file, or folder; default: PHOTO_LABEL.png here")
    edit.add_argument("--detector", choices=("mediapipe", "dlib"), default="mediapipe")
    edit.set_defaults(run=_edit)

    evaluate = actions.add_parser("evaluate", parents=[common], help="measure a trained method", allow_abbrev=False)
    evaluate.add_argument("method", choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    evaluate.add_argument("--run", dest="folder", required=True, metavar="DIR", help="folder of a finished run")
    evaluate.add_argument("--data", metavar="FILE", help="set of faces; default: that of the training")
    evaluate.add_argument("--everybody", action="store_true", help="judge on all people of --data")
    evaluate.add_argument("--out", metavar="DIR", help="default: RUN/evaluation")
    gan_compare.add_judging(evaluate)
    evaluate.set_defaults(run=_evaluate)

    gan_compare.add_action(actions, common)
    gan_recognize.add_action(actions, common)

def _add_rendering(parser, prefix: str = "") -> None:
    parser.add_argument("--people", type=numbers.whole(1, 10**6), default=None, help="default 250")
    parser.add_argument("--size", type=numbers.whole(8, 1024), default=None, help="pixels (default 32)")
    parser.add_argument("--kind", choices=KINDS, default=None, help="default emotions")
    parser.add_argument("--emotions", choices=EMOTION_SETS, default=None, help="whose emotions (default rafd)")
    parser.add_argument("--jobs", type=numbers.whole(1, 1024), default=1, help="processes that render")


def read_make_data(a) -> MakeDataOptions:
    """Consistent options from parsed arguments of `make-data`.

    Raises
    ------
    UsageError
        If they contradict each other.
    """
    gan_compare.expect_suffix("--out", a.out, (".safetensors",))
    return _rendering(a, a.out)


def read_train(a) -> TrainCommand:
    """Consistent options from parsed arguments of `train`; errors as `read_make_data`."""
    given = [f"--{name}" for name in ("people", "size", "kind", "emotions") if getattr(a, name) is not None]
    if a.data is not None and given:
        raise UsageError(f"{given[0]} is of rendered faces and excludes --data")
    if a.crop is not None and a.data is None:
        raise UsageError("--crop goes with --data: rendered faces have the crop that they are rendered with")
    if a.fold is not None and a.test_share is not None:
        raise UsageError("--fold and --test-share exclude each other")
    if Path(a.out).exists() and not Path(a.out).is_dir():
        raise UsageError(f"--out: expected a folder, got the file {a.out!r}")
    return TrainCommand(
        method=a.method, out=a.out, rendered=_rendering(a, str(Path(a.out) / "faces.safetensors")), data=a.data,
        crop=a.crop, settings=named_texts(a.set), batch=a.batch,
        test_share=0.2 if a.test_share is None else a.test_share, fold=a.fold, seed=a.seed, threads=a.threads,
        log_every=a.log_every, sample_every=a.sample_every, checkpoint_every=a.checkpoint_every,
        device=a.device, precision=a.precision, devices=a.devices, dry_run=a.dry_run,
    )  # fmt: skip


def read_edit(a) -> EditOptions:
    """Consistent options from parsed arguments of `edit`; errors as `read_make_data`."""
    target: dict[str, float] = {}
    for word in a.to.split(","):
        name, equals, value = word.strip().partition("=")
        try:
            weight = float(value) if equals else 1.0
        except ValueError:
            raise UsageError(f"--to: expected a number after {name}=, got {value!r}") from None
        if not name or name in target or not 0 <= weight <= 1:
            raise UsageError(f"--to: expected different labels with weights in [0, 1], got {a.to!r}")
        target[name] = weight
    if a.out is not None and len(a.photos) == 1 and not a.out.endswith("/") and not Path(a.out).is_dir():
        gan_compare.expect_suffix("--out", a.out, (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"))
    return EditOptions(a.method, a.folder, tuple(a.photos), tuple(target.items()), a.out, a.detector)


def read_evaluate(a) -> EvaluateOptions:
    """Consistent options from parsed arguments of `evaluate`; errors as `read_make_data`."""
    if a.everybody and a.data is None:
        raise UsageError("--everybody goes with --data only: those of the training must not judge it")
    return EvaluateOptions(
        a.method, a.folder, a.data, a.out, a.everybody, a.pairs, a.judge_steps, a.judges, a.seed, a.threads
    )


def _rendering(a, out: str) -> MakeDataOptions:
    kind = a.kind or "emotions"
    if a.emotions is not None and kind == "units":
        raise UsageError("--emotions goes with the kinds emotions and sequences only")
    given = {name: getattr(a, name, None) for name in ("skins", "takes", "frames", "align", "crop")}
    if given["takes"] is not None and kind != "emotions":
        raise UsageError("--takes goes with the kind emotions only")
    if given["frames"] is not None and kind == "emotions":
        raise UsageError("--frames goes with the kinds units and sequences only")
    given["skins"] = tuple(given["skins"] or ())
    return MakeDataOptions(out, a.people or 250, a.size or 32, kind, a.emotions or "rafd", a.seed, a.jobs, **given)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {text!r}")
    return value


def _fold(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) and int(second) >= 2):
        raise argparse.ArgumentTypeError(f"expected a fold as in 1/4, got {text!r}")
    return int(first), int(second)


def _make_data(arguments) -> Report:
    options = read_make_data(arguments)
    from affect3d.cli.gan_work import make_faces

    return make_faces(options)


def _train(arguments) -> Report:
    options = read_train(arguments)
    from affect3d.cli.gan_work import train_method

    return train_method(options)


def _edit(arguments) -> Report:
    options = read_edit(arguments)
    from affect3d.cli.gan_work import edit_photos

    return edit_photos(options)


def _evaluate(arguments) -> Report:
    options = read_evaluate(arguments)
    from affect3d.cli.gan_work import evaluate_run

    return evaluate_run(options)
