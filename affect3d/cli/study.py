"""`affect3d study`: does synthetic affect help a network that predicts valence and arousal?"""

from __future__ import annotations

import argparse

from affect3d.cli import numbers
from affect3d.cli.report import Report

__all__ = ["add_parser"]

#: Chosen on worlds of other seeds than those reported, see docs/study.md.
SHARE, UNTIL = 0.6, 1.0

DESCRIPTION = """\
Neutral frames of a labelled set are given affect by the 3D route, the pictures join the training set, and the same
network learns with and without them; people that are tested on are never learned from.  Without --database the
question is asked of a small rendered world.  Killed at any moment and started again with the same arguments, the
command continues where it was."""

EPILOG = """\
examples:
  affect3d study --out study
  affect3d study --people 3,6,12 --seeds 5 --workers 2 --out study
  affect3d study --database afew-va --root AFEW-VA --every 4 --people 50,200 --folds 5 --out study
  affect3d study --database afew-va --root AFEW-VA --neutral fei=FEI --neutral bosphorus=Bosphorus --out study
  affect3d study --added cdaae=runs/cdaae --out study

OUT then holds report.html, study.json with every number of it, neutral.png with the neutral frames, added/ with the
pictures and their manifests, and runs/ with weights and predictions."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "study", parents=[common], help="ask whether synthetic affect helps to predict affect, with a report",
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--database", metavar="NAME", help="afew-va, aff-wild, aff-wild2, recola or affectnet")
    parser.add_argument("--root", metavar="DIR", help="the database's folder")
    parser.add_argument("--every", type=numbers.whole(1, 10**6), default=1, metavar="N",
                        help="use each N-th frame of the database (default 1)")  # fmt: skip
    parser.add_argument("--model", metavar="FILE", help="head of the rendered world, as ICT-FaceKit's (default: the "
                        "default head, other identities)")  # fmt: skip
    parser.add_argument("--world", type=_counts, metavar="P,C,T",
                        help="people, clips of each, frames of each clip of the rendered world (default "
                             "24,5,12)")  # fmt: skip
    parser.add_argument("--conditions", type=_names, metavar="NAME,...",
                        help="of none, classical, 3d-mean, 3d-sampled, 3d-calibrated, 3d-more, 3d-more-calibrated, fit "
                        "(default all for which there are data)")  # fmt: skip
    parser.add_argument("--calibrate", choices=("both", "on", "off"), default="both",
                        help="3D conditions whose labels are calibrated by the training people's frames, those whose "
                        "are not, or both (default both)")  # fmt: skip
    parser.add_argument("--added", action="append", default=[], metavar="NAME=DIR",
                        help="a further condition: pictures with manifest.json, or a finished run of gan train; may be "
                             "repeated")  # fmt: skip
    parser.add_argument("--neutral", action="append", default=[], metavar="NAME=DIR",
                        help="neutral faces of people who are not in the database, for the conditions with 'more': "
                        "multi-pie, face-place, 2d-face-sets, fei, afew, bu-3dfe, kf-itw, bosphorus or folders; may be "
                        "repeated")  # fmt: skip
    parser.add_argument("--portraits", type=numbers.whole(0, 10**5), metavar="N",
                        help="of the rendered world: neutral faces of N further people (default 40; 0 for "
                        "none)")  # fmt: skip
    parser.add_argument("--people", type=_counts, metavar="N,N,...", help="people to learn from (default 3,9)")
    parser.add_argument("--seeds", type=numbers.whole(1, 1000), default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--folds", type=numbers.whole(2, 1000), default=2, metavar="N", help="default 2")
    parser.add_argument("--pictures", type=numbers.whole(1, 10**4), default=16, metavar="N",
                        help="made of each neutral frame (default 16)")  # fmt: skip
    parser.add_argument("--sources", choices=("neutral", "any"), default="neutral",
                        help="frames of the set that pictures are made of: neutral ones, as in the paper, or three of "
                        "each clip whatever they show (default neutral)")  # fmt: skip
    parser.add_argument("--classes", choices=("like", "uniform", "balanced"), default="uniform",
                        help="show added pictures as often as their labels are common in training, all alike, or rare "
                        "labels more (default uniform)")  # fmt: skip
    parser.add_argument("--share", type=_between(0.01, 0.99), default=SHARE, metavar="X",
                        help=f"of each batch that is made of added pictures (default {SHARE})")  # fmt: skip
    parser.add_argument("--until", type=_between(0.01, 1.0), default=UNTIL, metavar="X",
                        help="share of the steps after which only true films are learned from "
                        f"(default {UNTIL})")  # fmt: skip
    parser.add_argument(
        "--steps", type=numbers.whole(1, 10**7), default=800, metavar="N", help="of training (default 800)"
    )
    parser.add_argument("--loss", choices=("ccc", "mse", "sum"), default="sum", help="default sum")
    parser.add_argument("--trunk", choices=("small", "vgg-face"), default="small", help="default small")
    parser.add_argument("--weights", metavar="FILE", help="published weights of VGG-Face")
    parser.add_argument(
        "--size", type=numbers.whole(16, 512), default=48, metavar="N", help="pixels of crops (default 48)"
    )
    parser.add_argument("--workers", type=numbers.whole(1, 256), default=1, metavar="N", help="processes (default 1)")
    parser.add_argument(
        "--seed", type=numbers.whole(0, 2**31 - 1), default=0, metavar="N", help="same seed, same table"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.set_defaults(run=_run)


def _run(arguments) -> Report:
    from affect3d.cli.study_work import study

    return study(arguments)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers from 1, as in 3,6,12, got {text!r}")
    return counts


def _between(low: float, high: float):
    """Type of an option: a number in [low, high]."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, got {text!r}")
        return value

    return read


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))
