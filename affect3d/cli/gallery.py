"""`affect3d gallery`: performances with valence-arousal labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]

_GENERATE = """\
Without a model the gallery that the package ships is made again, or one of that kind: coefficients, performances of
one length.  With --model, --meshes or numbers in all it is made sequence by sequence and written as it is made, so it
may be of any size; killed and started again with the same arguments, it continues where it was."""

_GENERATE_EXAMPLES = """\
examples:
  affect3d gallery generate --out small.zarr --subjects 10 --sequences 5
  affect3d gallery generate --out paper.zarr --model default --subjects 180 --all-sequences 1580 --all-frames 600000
  affect3d gallery generate --out meshes.zarr --model FILE --meshes --all-sequences 158 --all-frames 60000"""

_BUILD = """\
MESHES is a folder of meshes in one topology, one file a frame, one folder a sequence: SUBJECT/SEQUENCE/0001.ply.
Frames without a label are left out.  Displacements are taken from the frame that the table calls neutral, else from
the first labelled frame of the sequence."""

_AGREEMENT = """\
Each FILE holds what one annotator said: a table with the columns frame, valence, arousal (and sequence), an Aff-Wild2
text file or AFEW-VA JSON; of Aff-Wild, whose files hold one of the two, those of valence or those of arousal.  Lags are
positive for those who are later than the mean of all."""


def add_parser(commands, common) -> None:
    parser = commands.add_parser("gallery", help="make and look into galleries of performances", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    plain = {"allow_abbrev": False, "parents": [common], "formatter_class": argparse.RawDescriptionHelpFormatter}

    make = actions.add_parser(
        "generate", help="make a gallery of synthetic performances", description=_GENERATE,
        epilog=_GENERATE_EXAMPLES, **plain,
    )  # fmt: skip
    make.add_argument("--out", required=True, metavar="STORE", help="name of the Zarr store, a folder")
    make.add_argument("--subjects", type=numbers.whole(1, 10_000), metavar="N", help="synthetic people (default 100)")
    make.add_argument("--sequences", type=numbers.whole(1, 10_000), metavar="N", help="performances each (default 80)")
    make.add_argument("--frames", type=numbers.whole(8, 10_000), metavar="N", help="frames of each (default 36)")
    make.add_argument("--all-sequences", type=numbers.whole(1, 10**7), metavar="N", help="performances of all together")
    make.add_argument("--all-frames", type=numbers.whole(8, 2**31 - 1), metavar="N",
                      help="frames of all together; performances then differ in length")  # fmt: skip
    make.add_argument("--model", metavar="M", help="head of the gallery: default, ict:PATH or a .safetensors file")
    make.add_argument("--skin", action="store_true",
                      help="only the skin of the face, which is what scans show: no eyes, teeth or back of the head")
    make.add_argument("--meshes", action="store_true", help="store vertices, each person with a face of their own")
    make.add_argument("--rate", type=numbers.rate, metavar="R", help="frames a second (default 60; 10 without a model)")
    make.add_argument("--test-share", type=numbers.part, metavar="S",
                      help="share of the people in the split called test (default 0.2)")  # fmt: skip
    make.add_argument("--seed", type=numbers.whole(0, 2**63 - 1), default=0, metavar="N", help="same seed, same bytes")
    make.add_argument("--force", action="store_true", help="replace a gallery that exists")
    make.set_defaults(run=_generate)

    build = actions.add_parser(
        "build", help="make a gallery of registered meshes and labels", description=_BUILD, **plain
    )
    build.add_argument("meshes", metavar="MESHES", help="folder")
    build.add_argument("--labels", required=True, nargs="+", metavar="TABLE",
                       help="CSV with sequence, frame, valence, arousal (and neutral); or Aff-Wild text or AFEW-VA "
                       "JSON, one file a sequence; folders of such files")  # fmt: skip
    build.add_argument("--out", required=True, metavar="STORE", help="name of the Zarr store, a folder")
    build.add_argument("--unit", choices=("mm", "cm", "m"), help="of the meshes, where their files do not state it")
    build.add_argument("--rate", type=numbers.rate, metavar="R", help="frames a second, to be stored")
    build.add_argument("--convention", default="", metavar="TEXT", help="what the labels mean, to be stored")
    build.add_argument("--split", action="append", default=[], metavar="NAME=FILE",
                       help="names of the subjects of a split, one a line, as in test=people.txt, which analyze then "
                       "holds out; may be repeated")  # fmt: skip
    build.add_argument("--force", action="store_true", help="replace a gallery that exists")
    build.set_defaults(run=_build)

    info = actions.add_parser("info", help="say what a gallery holds", **plain)
    info.add_argument("store", nargs="?", metavar="STORE", help="default: the one that ships with the package")
    info.add_argument("--rate", type=numbers.rate, metavar="R",
                      help="frames a second, where the gallery does not say it")  # fmt: skip
    info.add_argument("--identity", action="store_true",
                      help="also how much of its classes' variance the subjects explain; reads all frames")  # fmt: skip
    info.set_defaults(run=_info)

    statistics = actions.add_parser("statistics", help="mean and spread of each class, in one pass", **plain)
    statistics.add_argument("store", metavar="STORE")
    statistics.add_argument("--out", required=True, metavar="NPZ",
                            help="of coefficients it serves as --gallery of synthesize")  # fmt: skip
    statistics.add_argument("--scheduler", metavar="ADDRESS",
                            help="Dask cluster that reads the frames of a gallery of meshes")  # fmt: skip
    statistics.set_defaults(run=_statistics)

    picture = actions.add_parser("picture", help="draw the histogram over the plane and the mean faces", **plain)
    picture.add_argument("store", metavar="STORE")
    picture.add_argument("--out", required=True, metavar="PNG")
    picture.set_defaults(run=_picture)

    agree = actions.add_parser(
        "agreement", help="how far annotators agree, and how late they are", description=_AGREEMENT, **plain
    )
    agree.add_argument("files", nargs="+", metavar="FILE", help="one annotator each; at least two")
    agree.add_argument("--store", metavar="STORE", help="gallery whose faces say what the annotators saw, and when")
    agree.add_argument("--largest-lag", type=numbers.whole(1, 10_000), default=60, metavar="N",
                       help="in frames (default 60)")  # fmt: skip
    agree.add_argument("--out", metavar="CSV",
                       help="write the mean without lags (behind the face with --store, else among each other), a "
                       "table that build reads")  # fmt: skip
    agree.set_defaults(run=_agreement)


def _generate(arguments) -> Report:
    path = _new_store(arguments)
    from affect3d.affect import PerformanceOptions, class_statistics, generate_gallery

    given = {k: getattr(arguments, k) for k in ("subjects", "sequences", "frames") if getattr(arguments, k)}
    streamed = ("all_sequences", "all_frames", "model", "rate", "test_share")
    if arguments.meshes or arguments.skin or any(getattr(arguments, name) is not None for name in streamed):
        return _generate_streamed(arguments, path)
    options = PerformanceOptions(**given)
    if options.subjects * options.sequences * options.frames > 2_000_000:
        raise UsageError("--frames: more than two million frames in all are written as they are made: name a --model")
    gallery = generate_gallery(options, seed=arguments.seed)
    gallery.save(path, overwrite=arguments.force)
    data = {"command": "gallery generate", "outputs": {"gallery": str(path)}, "frames": len(gallery)}
    return Report({**data, **_summary(class_statistics(gallery))}, (str(path),))


def _generate_streamed(arguments, path: Path) -> Report:
    from affect3d.affect.generation import GenerationOptions, generate_store
    from affect3d.affect.store import open_gallery
    from affect3d.cli.gallery_work import store_facts
    from affect3d.model.load import load_model
    from affect3d.progress import terminal

    for each, total in (("sequences", "all_sequences"), ("frames", "all_frames")):
        if getattr(arguments, each) is not None and getattr(arguments, total) is not None:
            raise UsageError(f"--{each}: expected either --{each} or --{total.replace('_', '-')}, got both")
    subjects = arguments.subjects or 100
    sequences = arguments.all_sequences or subjects * (arguments.sequences or 80)
    frames = arguments.all_frames or sequences * (arguments.frames or 36)
    given = {"frame_rate": arguments.rate, "test_share": arguments.test_share}
    try:
        options = GenerationOptions(
            subjects, sequences, frames, even=arguments.all_frames is None, seed=arguments.seed,
            **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from None
    model = load_model(arguments.model, progress=terminal)
    if arguments.skin:
        from affect3d.model.keep_parts import skin_of_face

        model = skin_of_face(model)
    generate_store(path, options, model, arguments.meshes, arguments.force, terminal)
    data = {"command": "gallery generate", "outputs": {"gallery": str(path)}}
    return Report({**data, **store_facts(open_gallery(path))}, (str(path),))


def _build(arguments) -> Report:
    path = _new_store(arguments)
    from affect3d.affect.store import open_gallery
    from affect3d.cli.gallery_work import build_gallery, store_facts
    from affect3d.progress import terminal

    notes = build_gallery(
        arguments.meshes, arguments.labels, path, arguments.unit, arguments.convention, arguments.rate, arguments.force,
        terminal, _splits(arguments.split),
    )  # fmt: skip
    data = {"command": "gallery build", "outputs": {"gallery": str(path)}, "left_out": notes}
    return Report({**data, **store_facts(open_gallery(path))}, (str(path), *notes))


def _splits(given) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not name or not equals or not path or name in out:
            raise UsageError(f"--split: expected NAME=FILE with different names, got {text!r}")
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        out[name] = sorted({line.strip() for line in lines if line.strip()})
        if not out[name]:
            raise ValueError(f"{path}: names no subject; expected one a line")
    return out


def _info(arguments) -> Report:
    if arguments.store is None or Path(arguments.store).suffix.lower() == ".npz":
        if arguments.identity:
            raise UsageError("--identity: expected a gallery with frames; statistics of one hold none")
        return _statistics_info(arguments.store)
    from affect3d.affect.store import open_gallery
    from affect3d.cli.gallery_work import histogram_lines, store_facts, store_lines

    store = open_gallery(arguments.store)
    facts = store_facts(store, arguments.rate)
    lines = [*store_lines(facts), *histogram_lines(facts["class_counts"])]
    if arguments.identity:
        from affect3d.analysis.class_identity import class_identity, identity_facts, identity_lines
        from affect3d.progress import terminal

        found = class_identity(store, progress=terminal)
        facts["identity"] = identity_facts(found)
        lines += identity_lines(found)
    return Report({"command": "gallery info", **facts}, tuple(lines))


def _statistics_info(path) -> Report:
    from affect3d.affect import default_statistics
    from affect3d.cli.gallery_work import histogram_lines
    from affect3d.cli.resources import load_gallery_statistics

    statistics = default_statistics() if path is None else load_gallery_statistics(path)
    data = {"command": "gallery info", "frames": int(statistics.count.sum()), **_summary(statistics)}
    lines = [
        f"{data['frames']} frames, {data['populated_classes']} of {statistics.space.count} classes populated",
        f"labels: {statistics.convention or 'convention not stated'}",
        *histogram_lines(data["class_counts"], statistics.space),
    ]
    return Report(data, tuple(lines))


def _statistics(arguments) -> Report:
    from affect3d.cli.outputs import check_output

    out = Path(arguments.out)
    if out.suffix.lower() != ".npz":
        raise UsageError(f"--out: expected a name ending in .npz, got {arguments.out!r}")
    check_output(out)
    from affect3d.affect.store import open_gallery
    from affect3d.cli.gallery_work import save_class_statistics
    from affect3d.progress import terminal

    count = save_class_statistics(open_gallery(arguments.store), out, terminal, arguments.scheduler)
    data = {"command": "gallery statistics", "outputs": {"statistics": str(out)}, "frames": int(count.sum())}
    return Report({**data, "class_counts": [int(n) for n in count]}, (str(out),))


def _picture(arguments) -> Report:
    from affect3d.cli.outputs import check_output

    out = Path(arguments.out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out: expected a name ending in .png, got {arguments.out!r}")
    check_output(out)
    from affect3d.affect.store import open_gallery
    from affect3d.analysis.gallery_figures import write_gallery_picture
    from affect3d.progress import terminal

    write_gallery_picture(out, open_gallery(arguments.store), progress=terminal)
    return Report({"command": "gallery picture", "outputs": {"picture": str(out)}}, (str(out),))


def _agreement(arguments) -> Report:
    if len(arguments.files) < 2:
        raise UsageError("FILE: expected at least two annotators, got one")
    from affect3d.cli.gallery_agreement import agreement_report

    return agreement_report(arguments.files, arguments.store, arguments.largest_lag, arguments.out)


def _new_store(arguments) -> Path:
    from affect3d.cli.outputs import check_output

    path = Path(arguments.out)
    if path.exists() and not arguments.force:
        raise UsageError(f"{path}: exists already; name another output, or replace it with --force")
    check_output(path if not path.is_dir() else path / "gallery")
    return path


def _summary(statistics) -> dict:
    return {
        "convention": statistics.convention,
        "expressions": list(statistics.expression_names),
        "populated_classes": int(statistics.populated.sum()),
        "class_counts": [int(n) for n in statistics.count],
    }
