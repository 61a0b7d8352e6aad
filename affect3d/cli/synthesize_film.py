"""`affect3d synthesize` on a film: the same person, who goes on talking and blinking, with another affect."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from affect3d.cli.errors import UsageError
from affect3d.cli.outputs import check_output
from affect3d.cli.report import Report
from affect3d.cli.resources import Resources
from affect3d.progress import terminal

__all__ = ["film_output", "synthesize_film"]


def film_output(options) -> Path:
    """Where the film goes.

    Parameters
    ----------
    options : SynthesizeOptions

    Raises
    ------
    UsageError
        If there is more than one input, an option does not go with films, or the output is the input.
    """
    if len(options.photos) > 1:
        raise UsageError(f"expected one film at a time and no photos beside it, got {len(options.photos)} inputs")
    source = Path(options.photos[0])
    for name, given in (
        ("--grid", options.mode == "grid"), ("--all", options.face is None), ("--landmarks", options.landmarks),
        ("--save-mask", options.save_mask), ("--save-landmarks", options.save_landmarks), ("--size", options.size),
        ("--save-mesh", options.save_mesh), ("--detector dlib", options.detector != "mediapipe"),
    ):  # fmt: skip
        if given:
            raise UsageError(f"{name} does not go with films")
    ending = options.ending.removesuffix(".png").removesuffix(".mp4") + ".mp4"
    out = Path(options.out) if options.out else Path(source.stem + ending)
    if options.out and (options.out.endswith(("/", os.sep)) or out.is_dir()):
        out = out / (source.stem + ending)
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"--out: expected a folder or a name ending in .mp4, got {options.out!r}")
    if os.path.realpath(out) == os.path.realpath(source):
        raise UsageError(f"{out}: is an input as well and is never overwritten; name another output")
    return out


def synthesize_film(options) -> Report:
    """Do a run.

    Parameters
    ----------
    options : SynthesizeOptions
        With one film as input; `frames` and `fps` are the film's own.

    Raises
    ------
    Exception
        For the library's own reason, in one sentence.
    """
    out = film_output(options)
    if options.dry_run:
        data = {"command": "synthesize", "dry_run": True, "outputs": [str(out)]}
        return Report(data, (f"would write {out}",))
    from affect3d.affect import expression_for
    from affect3d.fitting.video import TrackOptions, track_frames
    from affect3d.io.video import write_video
    from affect3d.io.video_read import read_frames, video_info
    from affect3d.synthesis.film import affect_expressions, film_frames
    from affect3d.synthesis.path import path_points

    began = time.perf_counter()
    path = options.photos[0]
    info = video_info(path)
    check_output(out)
    resources = Resources(options.model, options.gallery, terminal)
    model = resources.model
    with tempfile.TemporaryDirectory(prefix="affect3d-") as work:
        settings = TrackOptions(rate=info.rate, face=options.face)
        track = track_frames(
            lambda: read_frames(path), model, work, {"film": str(path)}, settings, progress=terminal, total=info.frames
        )
    if options.mode == "path":
        base = affect_expressions(model, resources.statistics, path_points(options.waypoints, len(track)))
    else:
        base = expression_for(model.expression_names, resources.asked(options))

    def told():
        for k, frame in enumerate(film_frames(read_frames(path), track, model, base)):
            yield frame
            terminal(k + 1, len(track), "drawing frames")

    notes = []
    count = write_video(out, told(), fps=min(info.rate, 240.0), sound=path, told=notes.append)
    missing = int((~track.found).sum())
    if missing:
        notes.append(f"{missing} frames do not show the face and stay as they are")
    data = {
        "command": "synthesize", "mode": "film", "outputs": {"film": str(out)}, "frames": count, "fps": info.rate,
        "found": count - missing, "notes": notes, "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    return Report(data, (*notes, str(out)))
