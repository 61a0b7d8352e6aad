"""The work of `affect3d study`: options, the set, the study, the page."""

from __future__ import annotations

from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["study"]


def study(arguments) -> Report:
    """Carry out the command; see `affect3d.cli.study`."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ImportError("affect3d study trains networks, which needs torch: pip install 'affect3d[torch]'") from None
    from affect3d.cli.outputs import check_output
    from affect3d.io.run_folder import make_folder
    from affect3d.progress import terminal
    from affect3d.study.report import write_study_report
    from affect3d.study.study import run_study

    if bool(arguments.database) != bool(arguments.root):
        raise UsageError("--database and --root belong together")
    for name in ("model", "world", "portraits"):
        if arguments.database and getattr(arguments, name) is not None:
            raise UsageError(f"--{name} is for the rendered world, not for a --database")
    options, world = _options(arguments), _world(arguments)
    added, _ = _named(arguments.added, "added"), _named(arguments.neutral, "neutral")
    if arguments.dry_run:
        return _dry(arguments, options, added, world)
    out = make_folder(arguments.out)
    check_output(out / "report.html")
    videos, neutral, notes = _videos(arguments, world, terminal)
    result = run_study(videos, options, out, added, arguments.workers, terminal, notes, neutral)
    write_study_report(out / "report.html", result, videos, out)
    lines = ["condition            people   CCC valence  arousal     mean   against " + result["baseline"]]
    for row in result["rows"]:
        cells = [row[name]["ccc"]["value"] for name in ("valence", "arousal", "mean")]
        more = ""
        if row["against"]:
            d = row["against"]["ccc"]
            more = f"{d['value']:+.3f}" + ("" if d["low"] is None else f" [{d['low']:+.3f}, {d['high']:+.3f}]")
        lines.append(f"{row['condition']:20s}{row['people']:7d}{cells[0]:14.3f}{cells[1]:9.3f}{cells[2]:9.3f}   {more}")
    lines.append(str(out / "report.html"))
    outputs = {"report": str(out / "report.html"), "numbers": str(out / "study.json")}
    return Report({"command": "study", "outputs": outputs, **result}, tuple(lines))


def _options(arguments):
    from affect3d.gan.data.crops import CropOptions
    from affect3d.study.films import FilmOptions
    from affect3d.study.networks import AffectOptions
    from affect3d.study.neutral import ANY_FRAMES, NeutralOptions
    from affect3d.study.study import StudyOptions

    given = {"conditions": _conditions(arguments)}
    if arguments.people:
        given["people"] = arguments.people
    paper = {"hidden": 128, "layers": 2} if arguments.trunk == "vgg-face" else {}
    try:
        network = AffectOptions(
            trunk=arguments.trunk, weights=arguments.weights or "", loss=arguments.loss, steps=arguments.steps, **paper
        )
        films = FilmOptions(share=arguments.share, until=arguments.until, classes=arguments.classes)
        sources = ANY_FRAMES if arguments.sources == "any" else NeutralOptions()
        return StudyOptions(
            **given, neutral=sources, seeds=arguments.seeds, folds=arguments.folds, pictures=arguments.pictures,
            crop=CropOptions(arguments.size), films=films, network=network,
            seed=arguments.seed,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"--{error}") from None


def _conditions(arguments) -> tuple[str, ...]:
    """Those asked for, else all for which there are neutral faces and that `--calibrate` leaves."""
    from affect3d.study.study import CONDITIONS

    if arguments.conditions:
        return arguments.conditions
    others = arguments.neutral or (not arguments.database and arguments.portraits != 0)
    chosen = [c for c in CONDITIONS if others or "more" not in c]
    if arguments.calibrate == "off":
        chosen = [c for c in chosen if not c.endswith("calibrated")]
    elif arguments.calibrate == "on":
        calibrated = [c for c in chosen if c.endswith("calibrated")]
        chosen = [c for c in chosen if not c.startswith("3d-") or c in calibrated]
    return tuple(chosen)


def _world(arguments):
    from affect3d.study.world import WorldOptions

    people, clips, frames = (24, 5, 12) if not arguments.world else (*arguments.world, 0, 0)[:3]
    if arguments.world and len(arguments.world) != 3:
        raise UsageError("--world: expected three numbers, as in 24,5,12")
    try:
        return WorldOptions(people=people, clips=clips, frames=frames, seed=arguments.seed)
    except ValueError as error:
        raise UsageError(f"--world: {error}") from None


def _videos(arguments, world, progress):
    """The set, neutral faces of other people by their source, and texts for the page."""
    from affect3d.study.neutral_readers import read_neutral_faces

    neutral = {n: read_neutral_faces(n, place) for n, place in _named(arguments.neutral, "neutral").items()}
    if arguments.database:
        from affect3d.study.databases import read_database

        return read_database(arguments.database, arguments.root, arguments.every), neutral, None
    from affect3d.model.load import load_model
    from affect3d.study.world import NOT_SHARED, SHARED, make_portraits, make_world

    model = load_model(arguments.model, progress) if arguments.model else None
    videos = make_world(world, model, progress)
    count = 40 if arguments.portraits is None else arguments.portraits
    if count:
        neutral["portraits"] = make_portraits(count, world, model, progress)
    return videos, neutral, {"shared": list(SHARED), "not_shared": list(NOT_SHARED)}


def _named(given, option) -> dict[str, str]:
    out = {}
    for text in given:
        name, equals, place = text.partition("=")
        if not equals or not name or not place or name in out:
            raise UsageError(f"--{option}: expected NAME=DIR with different names, got {text!r}")
        out[name] = place
    return out


def _dry(arguments, options, added, world) -> Report:
    conditions = [*options.conditions, *added]
    runs = len(conditions) * len(options.people) * options.seeds * options.folds
    where = f"{arguments.database} in {arguments.root}" if arguments.database else (
        f"a rendered world of {world.people} people, {world.clips} clips each, {world.frames} frames each"
    )  # fmt: skip
    lines = (
        f"set: {where}", f"conditions: {', '.join(conditions)}",
        f"people: {', '.join(map(str, options.people))}; seeds: {options.seeds}; folds: {options.folds}",
        f"{runs} trainings of {options.network.steps} steps",
    )  # fmt: skip
    return Report({"command": "study", "dry_run": True, "conditions": conditions, "runs": runs}, lines)
