"""Parses the command line, runs one command and turns its end into an exit status."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager

import affect3d
from affect3d.cli import (
    analyze, assets, components, demo, doctor, gallery, gan, model, register, study, synthesize, track,
)  # fmt: skip
from affect3d.cli.errors import FAILED, MISUSED, Stopped, UsageError, expected_errors, sentence

__all__ = ["build_parser", "main"]

COMMANDS = (synthesize, track, register, gallery, components, analyze, gan, study, model, assets, demo, doctor)

DESCRIPTION = """\
Give a face in a photo another affect: the same person with a chosen valence (unpleasant -1 to
pleasant +1) and arousal (calm -1 to excited +1)."""

EPILOG = """\
Exit status: 0 done, 1 the work failed (one sentence says why), 2 wrong usage.
With --json a command prints one JSON object on standard output and nothing else there."""


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage by an exception instead of ending the program."""

    def error(self, message):
        raise UsageError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; light, nothing heavy is imported."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="affect3d", description=DESCRIPTION, epilog=EPILOG, formatter_class=plain, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"affect3d {affect3d.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=_Parser)
    for command in COMMANDS:
        command.add_parser(commands, _common())
    return parser


def main(argv=None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process if left out.

    Returns
    -------
    int
        Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted, 143 terminated.
    """
    argv = _attach_values([str(a) for a in (sys.argv[1:] if argv is None else argv)])
    as_json, debug = "--json" in argv, "--debug" in argv
    try:
        with _signals_raise(), warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                warnings.simplefilter("ignore")  # they speak to programmers, numba's for one on small machines
            return _run(argv, as_json)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except (KeyboardInterrupt, Stopped) as stop:
        _complain(stop, as_json)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
    except BrokenPipeError:
        # the reader of our output went away (| head): keep Python from complaining on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        _complain(error, as_json)
        return MISUSED
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        if isinstance(error, expected_errors()):
            _complain(error, as_json)
        else:
            hint = "" if debug else " (run with --debug for the traceback)"
            _complain(RuntimeError(f"internal error: {type(error).__name__}: {sentence(error)}{hint}"), as_json)
        return FAILED


def _run(argv, as_json: bool) -> int:
    arguments = build_parser().parse_args(argv)
    report = arguments.run(arguments)
    if as_json:
        print(_json(report.data), flush=True)
    else:
        for line in report.lines:
            print(line, flush=True)
    return report.status


def _common() -> argparse.ArgumentParser:
    common = _Parser(add_help=False, allow_abbrev=False)
    group = common.add_argument_group("reporting")
    group.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return common


#: Options whose value may begin with a minus sign, which argparse would take for an option.
_SIGNED = ("--valence", "--arousal", "--path")


def _attach_values(argv: list[str]) -> list[str]:
    """`--path -0.5,0 ...` as `--path=-0.5,0 ...`, up to a bare `--`."""
    out, rest = [], list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*out, word, *rest]
        follows = rest[0] if rest else ""
        if word in _SIGNED and follows.startswith("-") and not follows.startswith("--"):
            word = f"{word}={rest.pop(0)}"
        out.append(word)
    return out


def _complain(error: BaseException, as_json: bool) -> None:
    text = sentence(error)
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")  # a progress line may stand there
    print(f"affect3d: {text}", file=sys.stderr, flush=True)
    if as_json:
        print(_json({"error": text}), flush=True)


def _json(data: dict) -> str:
    # NaN is no JSON; a result that holds one is a mistake that must not pass silently
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


@contextmanager
def _signals_raise():
    """Turn termination into an exception, so that temporary files are removed on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise Stopped(number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # what was ignored before (nohup) stays ignored
    before = {n: signal.signal(n, stop) for n in wanted if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
