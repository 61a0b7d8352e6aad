"""`affect3d gan compare`: what it is asked for; `gan_compare_work` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["CompareOptions", "add_action", "add_judging", "expect_suffix", "read_compare"]


@dataclass(frozen=True)
class CompareOptions:
    """What one run of `gan compare` was asked for.

    Attributes
    ----------
    runs : tuple of str
        Folders.
    out : str
        The page; numbers go beside it.
    data : str, optional
    wide : str, optional
        The same faces, or those of the first people, with more around them, for the 3D route.
    augment : int, optional
        People of the table of recognition with added pictures, 0 for all; no table if left out.
    augment_seeds : int
    tsne : bool
    pairs, judge_steps, judges, seed, threads : int
        As in `EvaluateOptions`.
    """

    runs: tuple[str, ...]
    out: str
    data: str | None = None
    wide: str | None = None
    augment: int | None = None
    augment_seeds: int = 3
    tsne: bool = False
    pairs: int = 4000
    judge_steps: int = 800
    judges: int = 3
    seed: int = 0
    threads: int = 0


def add_action(actions, common) -> None:
    compare = actions.add_parser(
        "compare", parents=[common], help="set trained methods side by side on one page", allow_abbrev=False
    )
    compare.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs on one set of faces")
    compare.add_argument("--out", required=True, metavar="FILE.html")
    compare.add_argument("--data", metavar="FILE", help="that set; default: as the first run names it")
    compare.add_argument(
        "--wide", metavar="FILE", help="the same people and seed from make-data with larger --size and --crop: adds "
        "the 3D route (affect3d synthesize), fitted there; may be the first people only",
    )  # fmt: skip
    compare.add_argument(
        "--augment", type=numbers.whole(0, 10**6), metavar="PEOPLE",
        help="add a table: recognition trained on so many people (0: all) with and without the pictures of each run",
    )  # fmt: skip
    compare.add_argument("--augment-seeds", type=numbers.whole(1, 100), default=3, metavar="N", help="default 3")
    compare.add_argument(
        "--tsne", action="store_true",
        help="add a figure of true and synthesized descriptors (needs affect3d[analysis])",
    )  # fmt: skip
    add_judging(compare)
    compare.set_defaults(run=_compare)


def add_judging(parser) -> None:
    """Options that `compare` and `evaluate` share."""
    parser.add_argument("--pairs", type=numbers.whole(1, 10**7), default=4000, help="at most (default 4000)")
    parser.add_argument(
        "--judge-steps", type=numbers.whole(1, 10**6), default=800, metavar="N", help="of training the recognizers"
    )
    parser.add_argument(
        "--judges", type=numbers.whole(1, 100), default=3, metavar="N", help="recognizers of a kind, asked together"
    )
    parser.add_argument("--seed", type=numbers.whole(0, 2**31 - 1), default=0)
    parser.add_argument("--threads", type=numbers.whole(0, 1024), default=0, help="of torch; judges have one")


def read_compare(a) -> CompareOptions:
    """Consistent options from parsed arguments of `compare`; errors as `gan.read_make_data`."""
    expect_suffix("--out", a.out, (".html",))
    names = [Path(run).resolve().name for run in a.runs]
    if len(set(names)) < len(names):
        raise UsageError(f"RUN: expected folders of different names, which head the columns, got {', '.join(names)}")
    return CompareOptions(
        tuple(a.runs), a.out, a.data, a.wide, a.augment, a.augment_seeds, a.tsne, a.pairs, a.judge_steps, a.judges,
        a.seed, a.threads,
    )  # fmt: skip


def expect_suffix(option: str, name: str, suffixes) -> None:
    """Raise UsageError unless the file name ends as it should."""
    if Path(name).suffix.lower() not in suffixes:
        raise UsageError(f"{option}: expected a name ending in {' or '.join(suffixes)}, got {name!r}")


def _compare(arguments) -> Report:
    options = read_compare(arguments)
    from affect3d.cli.gan_compare_work import compare_runs

    return compare_runs(options)
