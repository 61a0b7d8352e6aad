"""`affect3d analyze`: how much affect the geometry of a gallery carries."""

from __future__ import annotations

import argparse
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]

DESCRIPTION = """\
Components are learned from the most expressive frames, all frames are projected on them, canonical correlation
analysis and support vector regression predict valence and arousal of people who took no part in it.  Killed at any
moment and started again with the same arguments, the command continues where it was."""

EPILOG = """\
examples:
  affect3d analyze faces.zarr --out analysis
  affect3d analyze faces.zarr --components 50,100 --constraint signed --seed 1 --out analysis
  affect3d analyze faces.zarr --test-subjects held-out.txt --out analysis

OUT then holds report.html, analysis.json with every number of it, components/K.safetensors, and rows/K.npz with the
variates and predictions of all frames."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "analyze", parents=[common], help="correlate geometry with valence and arousal, with a report",
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("store", metavar="STORE", help="a gallery, see affect3d gallery")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--components", type=_counts, metavar="K,K,...",
                        help="numbers of components, a row of the table each (default 84,150,200,300,500)")  # fmt: skip
    parser.add_argument("--constraint", choices=("unit", "signed"), default="unit",
                        help="weights in [0, 1], or in [-1, 1] (default unit)")  # fmt: skip
    parser.add_argument("--apex-frames", type=numbers.whole(10, 10**7), metavar="N",
                        help="learn from about so many most expressive frames (default 12000)")  # fmt: skip
    parser.add_argument("--test-share", type=numbers.part, metavar="S",
                        help="share of the subjects that is drawn and held out (default: the gallery's own "
                        "split, or 0.2)")  # fmt: skip
    parser.add_argument(
        "--test-subjects", metavar="FILE", help="text file with the names of those held out, one a line"
    )
    parser.add_argument("--permutations", type=numbers.whole(0, 10**5), metavar="N",
                        help="exchanges of labels that show what chance gives (default 99)")  # fmt: skip
    parser.add_argument(
        "--seed", type=numbers.whole(0, 2**63 - 1), default=0, metavar="N", help="same seed, same bytes"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="project the frames on a Dask cluster")
    parser.set_defaults(run=_run)


def _run(arguments) -> Report:
    from affect3d.affect.store import open_gallery
    from affect3d.analysis.validation import TARGETS, ValidationOptions, validate_gallery
    from affect3d.analysis.validation_report import write_validation_report
    from affect3d.cli.outputs import check_output
    from affect3d.io.run_folder import make_folder
    from affect3d.progress import terminal

    given = {
        "components": arguments.components, "apex_frames": arguments.apex_frames, "test_share": arguments.test_share,
        "permutations": arguments.permutations,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.test_subjects:
        given["test_subjects"] = _names(arguments.test_subjects)
    try:
        options = ValidationOptions(constraint=arguments.constraint, seed=arguments.seed, **given)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from None
    store = open_gallery(arguments.store)
    out = make_folder(arguments.out)
    check_output(out / "report.html")
    result = validate_gallery(store, out, options, arguments.scheduler, terminal)
    write_validation_report(out / "report.html", result, store, out, terminal)
    lines = ["components   CCC valence  arousal   MSE valence  arousal"]
    for row in result["rows"]:
        cells = [row[name][measure]["value"] for measure in ("ccc", "mse") for name in TARGETS]
        mark = " *" if row["components"] == result["chosen"] else ""
        lines.append(f"{row['components']:10d}{cells[0]:14.3f}{cells[1]:9.3f}{cells[2]:14.3f}{cells[3]:9.3f}{mark}")
    lines += [f"* {result['chosen_by']}", str(out / "report.html")]
    outputs = {"report": str(out / "report.html"), "numbers": str(out / "analysis.json")}
    return Report({"command": "analyze", "outputs": outputs, **result}, tuple(lines))


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 2 or max(counts) > 10_000 or len(set(counts)) != len(counts):
        raise argparse.ArgumentTypeError(f"expected different whole numbers of at least 2, as in 84,150, got {text!r}")
    return counts


def _names(path) -> tuple[str, ...]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"--test-subjects: {path} is no text file") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UsageError(f"--test-subjects: {path} names nobody")
    return names
