"""What `affect3d track` does: look, follow, write."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.cli.outputs import check_output
from affect3d.cli.report import Report
from affect3d.progress import terminal

__all__ = ["track_inputs"]

#: Bytes at both ends of a film that tell it from others, beside its length.
_ENDS = 1 << 20


def track_inputs(options) -> Report:
    """Do a run.

    Parameters
    ----------
    options : TrackArguments

    Raises
    ------
    Exception
        For the library's own reason, in one sentence.
    """
    from affect3d.fitting.smoothing import SmoothingOptions
    from affect3d.fitting.video import TrackOptions, track_frames, with_lighting
    from affect3d.io.run_folder import RunFolder, make_folder, one_run
    from affect3d.io.track_file import write_track_csv, write_track_npz
    from affect3d.model.load import load_model

    began = time.perf_counter()
    source = _Film(options.inputs[0]) if options.film else _Photos(options.inputs)
    model = load_model(options.model, terminal)
    out = make_folder(options.out)
    check_output(out / "track.csv")
    smoothing = None if options.smooth is None else SmoothingOptions(still=options.smooth)
    settings = TrackOptions(rate=source.rate, face=options.face, smoothing=smoothing)
    if not options.skin:
        settings = replace(settings, skin=None)
    # the files of records tell what they belong to: another film, or other options, begin anew
    with one_run(RunFolder(out, "track", parts=("work", "overlay"))):
        work = make_folder(out / "work")
        track = track_frames(
            source.frames, model, work, source.purpose, settings, refine=_refine if options.photometric else None,
            progress=terminal, total=source.count,
        )  # fmt: skip
        if options.photometric:
            track = with_lighting(track, source.frames(), model, smoothing, terminal)
        outputs = {"csv": out / "track.csv", "npz": out / "track.npz"}
        write_track_csv(outputs["csv"], track, source.names)
        write_track_npz(outputs["npz"], track, source.names)
        if options.glb:
            outputs["glb"] = out / "track.glb"
            _write_glb(outputs["glb"], track, model)
        if options.overlay:
            outputs["overlay"] = _write_overlay(out, source, track, model)
    notes = _notes(track)
    data = {
        "command": "track", "outputs": {name: str(path) for name, path in outputs.items()}, "frames": len(track),
        "found": int(track.found.sum()), "rms": round(float(track.rms[track.found].mean()), 5), "rate": track.rate,
        "identity_frames": [int(k) for k in track.identity_frames], "photometric": options.photometric,
        "skin": options.film and options.skin,
        "notes": notes, "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    line = f"found the face in {data['found']} of {data['frames']} frames"
    line += f"; landmarks lie {100 * data['rms']:.1f} % of the interocular distance off"
    return Report(data, (line, *notes, *(f"wrote {path}" for path in outputs.values())))


class _Film:
    """Frames that follow one another."""

    def __init__(self, path):
        from affect3d.io.video_read import video_info

        info = video_info(path)
        self.path, self.rate, self.count, self.names = path, info.rate, info.frames, None
        self.purpose = {"film": _digest(path), "size": list(info.size), "rate": round(info.rate, 6)}

    def frames(self):
        from affect3d.io.video_read import read_frames

        return read_frames(self.path)


class _Photos:
    """Pictures in any order."""

    rate = None

    def __init__(self, paths):
        self.paths, self.count = paths, len(paths)
        self.names = tuple(Path(path).name for path in paths)
        for path in paths:
            if not Path(path).exists():
                raise FileNotFoundError(f"{path}: does not exist")
        self.purpose = {"photos": [_digest(path) for path in paths]}

    def frames(self):
        from affect3d.io.image import read_image

        for path in self.paths:
            yield read_image(path).pixels


def _digest(path) -> str:
    """Of a file's length and both ends: reading all of a long film would take longer than following some of it."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            digest.update(file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))
            digest.update(file.read(_ENDS))
    except IsADirectoryError:
        raise IsADirectoryError(f"{path}: is a folder, expected a film or a photo") from None
    return digest.hexdigest()


def _refine(pixels, fit, model):
    from affect3d.fitting.photometric import fit_photometric

    return fit_photometric(np.ascontiguousarray(pixels), fit, model).fit


def _write_glb(path, track, model) -> None:
    from affect3d.io.glb_animation import write_animated_glb

    width, height = track.size[0]
    moving = {}
    if track.rate is not None:
        moving = dict(rotation=track.rotation, shift=track.shift, aspect=float(width / height),
                      field_of_view=float(2 * np.arctan(height / 2 / track.focal[0])))  # fmt: skip
    targets = dict(zip(model.expression_names, model.expression))
    # photos are shown a second each
    write_animated_glb(
        path, model.mesh(track.identity), targets, track.expression, rate=track.rate or 1.0, **moving
    )


def _write_overlay(out: Path, source, track, model) -> Path:
    from affect3d.io.image import write_image
    from affect3d.io.video import write_video
    from affect3d.synthesis.overlay import overlay_frames

    frames = overlay_frames(source.frames(), track, model)
    if source.rate is not None:
        def told():
            for k, frame in enumerate(frames):
                yield frame
                terminal(k + 1, len(track), "drawing the overlay")

        write_video(out / "overlay.mp4", told(), fps=min(source.rate, 240.0), sound=source.path)
        return out / "overlay.mp4"
    (out / "overlay").mkdir(exist_ok=True)
    for k, frame in enumerate(frames):
        write_image(out / "overlay" / f"{k:03d}_{Path(source.names[k]).stem}.png", frame)
    return out / "overlay"


def _notes(track) -> list[str]:
    notes, missing = [], int((~track.found).sum())
    if missing:
        notes.append(f"{missing} frames do not show the face; their curves are bridged, and found is 0 there")
    if float(np.median(track.rms[track.found])) > 0.05:
        notes.append("the head does not match the landmarks well; check the overlay")
    return notes
