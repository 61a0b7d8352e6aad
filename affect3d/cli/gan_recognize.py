"""`affect3d gan recognize`: expressions recognized after training on few people, by all variants of FESR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.gan_machine import add_machine
from affect3d.cli.gan_settings import named_texts
from affect3d.cli.report import Report

__all__ = ["RecognizeOptions", "add_action", "read_recognize", "recognize_few"]

#: Those of `affect3d.gan.fesgan`, listed here so that --help imports nothing heavy.
VARIANTS = ("BASELINE", "SL", "OneSt", "JL-IL", "JL-RDBP", "Real", "JL")
#: Sizes of the identity network: options that differ from `affect3d.gan.identity.SMALL_LIGHT_CNN`.
IDENTITIES = {"small": {}, "tiny": {"size": 32, "channels": (8, 16, 32, 32), "features": 64}}

#: Rendered for the identity network where nobody says how many.
IDENTITY_PEOPLE = 150

DESCRIPTION = """\
FESR's ablation: a recognizer of expressions is trained on few people, alone (BASELINE) or with pictures that FESGAN
makes meanwhile (JL and its variants), and tested on many others.  Each variant with each seed is a run of its own in
DIR; started again, finished ones are read and a stopped one goes on."""


@dataclass(frozen=True)
class RecognizeOptions:
    """What one run of `gan recognize` was asked for.

    Attributes
    ----------
    out : str
        Folder.
    data : str, optional
        Set of faces; rendered into OUT if left out.
    size : int
        Pixels of the rendered faces.
    people, test_people, identity_people, seeds, first_seed, identity_steps : int
        See `affect3d.gan.fesgan.study.FewPeopleOptions`.
    variants : tuple of str
    identity : str
        One of `IDENTITIES`.
    settings : tuple of (name, text)
        Of `FESGANOptions`.
    batch, threads, devices : int
    device, precision : str
        As in `gan.TrainCommand`.
    """

    out: str
    data: str | None = None
    size: int = 32
    people: int = 10
    test_people: int = 100
    identity_people: int = 0
    seeds: int = 3
    first_seed: int = 0
    identity_steps: int = 600
    variants: tuple[str, ...] = VARIANTS
    identity: str = "tiny"
    settings: tuple[tuple[str, str], ...] = ()
    batch: int = 16
    threads: int = 0
    device: str = "auto"
    precision: str = "32"
    devices: int = 1


def add_action(actions, common) -> None:
    parser = actions.add_parser(
        "recognize", parents=[common], help="recognition with few training people (FESR)", description=DESCRIPTION,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--data", metavar="FILE", help="set of faces with expressions; default: rendered into DIR")
    parser.add_argument("--out", required=True, metavar="DIR")
    whole = numbers.whole
    parser.add_argument("--people", type=whole(2, 10**6), default=10, help="trained on (default 10)")
    parser.add_argument("--test-people", type=whole(1, 10**6), default=100, metavar="N", help="default 100")
    parser.add_argument("--size", type=whole(16, 1024), default=None, help="pixels of rendered faces (default 32)")
    parser.add_argument("--variants", default=",".join(VARIANTS), metavar="V,...", help=f"default {','.join(VARIANTS)}")
    parser.add_argument("--seeds", type=whole(1, 1000), default=3, metavar="N", help="how many (default 3)")
    parser.add_argument("--first-seed", type=whole(0, 2**31 - 1), default=0, metavar="S")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="option of FESGAN, as in train fesgan"
    )
    parser.add_argument("--batch", type=whole(2, 4096), default=16, help="default 16, the paper's")
    group = parser.add_argument_group("identity network, trained on people who are in neither group")
    group.add_argument("--identity", choices=tuple(IDENTITIES), default="tiny", help="its size (default tiny)")
    group.add_argument("--identity-people", type=whole(0, 10**6), default=0, metavar="N", help="0: all who are left")
    group.add_argument("--identity-steps", type=whole(1, 10**6), default=600, metavar="N")
    add_machine(parser)
    parser.set_defaults(run=_recognize)


def read_recognize(a) -> RecognizeOptions:
    """Consistent options from parsed arguments.

    Raises
    ------
    UsageError
        If they contradict each other.
    """
    variants = tuple(name.strip() for name in a.variants.split(","))
    if len(set(variants)) < len(variants) or {*variants} - {*VARIANTS}:
        raise UsageError(f"--variants: expected different ones of {', '.join(VARIANTS)}, got {a.variants!r}")
    if Path(a.out).exists() and not Path(a.out).is_dir():
        raise UsageError(f"--out: expected a folder, got the file {a.out!r}")
    if a.data is not None and a.size is not None:
        raise UsageError("--size is of rendered faces and excludes --data")
    return RecognizeOptions(
        a.out, a.data, a.size or 32, a.people, a.test_people, a.identity_people, a.seeds, a.first_seed,
        a.identity_steps, variants, a.identity, named_texts(a.set), a.batch, a.threads, a.device, a.precision,
        a.devices,
    )  # fmt: skip


def recognize_few(options: RecognizeOptions) -> Report:
    """Run what is not there yet, and report the table."""
    from affect3d.cli.gan_work import need_torch, read_settings
    from affect3d.cli.outputs import check_output

    need_torch()
    from affect3d.gan.data import FaceImages
    from affect3d.gan.fesgan import recipe
    from affect3d.gan.fesgan.study import FewPeopleOptions, recognition_study
    from affect3d.gan.identity import SMALL_LIGHT_CNN
    from affect3d.gan.training import TrainOptions
    from affect3d.progress import terminal

    check_output(Path(options.out) / "table.json")
    faces = FaceImages.load(options.data if options.data is not None else _rendered(options))
    study = FewPeopleOptions(
        options.variants, options.seeds, options.first_seed, options.people, options.test_people,
        options.identity_people, options.identity_steps, replace(SMALL_LIGHT_CNN, **IDENTITIES[options.identity]),
        options.batch, read_settings(recipe, options.settings),
    )  # fmt: skip
    run = TrainOptions(
        device=options.device, threads=options.threads, precision=options.precision, devices=options.devices
    )
    try:
        table = recognition_study(faces, study, options.out, run, terminal)
    except ValueError as error:
        if str(error).startswith("settings:"):
            raise UsageError(f"--set: {error}") from None
        raise
    path = Path(options.out) / "table.json"
    return Report({"command": "gan recognize", **table, "outputs": {"table": str(path)}}, _lines(table, path))


def _rendered(options: RecognizeOptions) -> str:
    """File of a set of people who do not exist, in the folder of the study; made unless it is there."""
    from affect3d.cli.gan import MakeDataOptions
    from affect3d.cli.gan_work import make_faces

    path = Path(options.out) / "faces.safetensors"
    if not path.exists():
        people = options.people + options.test_people + (options.identity_people or IDENTITY_PEOPLE)
        make_faces(MakeDataOptions(str(path), people, options.size))
    return str(path)


def _lines(table: dict, path: Path) -> tuple[str, ...]:
    lines = [
        f"trained on {table['people']} people, tested on {table['test_people']} others, {len(table['seeds'])} seeds"
    ]
    for name, row in table["variants"].items():
        over = row.get("over_baseline")
        more = ""
        if over is not None and name != "BASELINE":
            more = f"  over BASELINE {100 * over['mean']:+.2f} +- {100 * over['standard_error']:.2f}"
        lines.append(
            f"  {name:<9}{100 * row['mean']:6.2f} % +- {100 * row['deviation']:.2f}{more}  ({row['cpu_seconds']:.0f} s)"
        )
    return (*lines, str(path))


def _recognize(arguments) -> Report:
    return recognize_few(read_recognize(arguments))
