"""What `affect3d synthesize` does, photo by photo."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from affect3d.affect.named import NamedExpression
from affect3d.cli.errors import DONE, FAILED, expected_errors, sentence
from affect3d.cli.outputs import Job
from affect3d.cli.report import Report
from affect3d.cli.resources import Resources
from affect3d.progress import terminal

__all__ = ["synthesize_jobs"]

#: File types that can hold transparency.
WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")


def synthesize_jobs(jobs, options) -> Report:
    """Do every job; one that fails does not keep the others from being done.

    Parameters
    ----------
    jobs : sequence of Job
    options : SynthesizeOptions

    Raises
    ------
    Exception
        If the only photo fails, for the library's own reason.  Of several, those that fail are
        listed in the report, whose status is then 1.
    """
    began = time.perf_counter()
    resources = Resources(options.model, options.gallery, terminal)
    done, failed = [], []
    for job in jobs:
        try:
            done.append(_synthesize(job, options, resources))
        except expected_errors() as error:
            if len(jobs) == 1:
                raise
            failed.append({"photo": str(job.photo), "error": sentence(error)})
    data = {
        "command": "synthesize",
        "mode": options.mode,
        "results": done,
        "failed": failed,
        "seconds": round(time.perf_counter() - began, 3),
    }
    for result in done:
        for note in result["notes"]:
            print(f"affect3d: {result['photo']}: {note}", file=sys.stderr)
    for failure in failed:
        # the sentence often names the file already
        name = "" if failure["photo"] in failure["error"] else f"{failure['photo']}: "
        print(f"affect3d: {name}{failure['error']}", file=sys.stderr)
    if failed:
        data["error"] = f"{len(failed)} of {len(jobs)} photos failed"
    lines = tuple(path for result in done for path in result["outputs"].values())
    return Report(data, lines, FAILED if failed else DONE)


def _synthesize(job: Job, options, resources: Resources) -> dict:
    from affect3d.io.image import read_image

    clock = _Clock()
    with clock("read"):
        photo = read_image(job.photo)
        landmarks = None if options.landmarks is None else _landmarks(options.landmarks)
    with clock("model"):
        model = resources.model
    with clock("fit"):
        portraits = _portraits(photo.pixels, model, landmarks, options)
    first = portraits[0]
    result = {"photo": str(job.photo), "faces": first.face_count, "outputs": {}, "notes": []}
    if options.mode == "image":
        result |= _image(job, options, photo, portraits, resources.asked(options), clock)
    elif options.mode == "grid":
        result |= _grid(job, options, first, resources.statistics, clock)
    else:
        result |= _film(job, options, first, resources.statistics, clock)
    result["fit"] = [_fit(portrait) for portrait in portraits]
    result["notes"] = list(dict.fromkeys(result["notes"] + _photo_notes(photo, first, options, job)))
    result["seconds"] = clock.seconds
    return result


def _portraits(pixels, model, landmarks, options) -> list:
    from affect3d.synthesis import Portrait

    def portrait(face):
        return Portrait.from_photo(
            pixels, model=model, face=face, landmarks=landmarks, detector=options.detector, progress=terminal,
            thorough=options.face is None or options.face > 0,  # whoever names faces wants the small ones counted
        )

    if options.face is not None:
        return [portrait(options.face)]
    first = portrait(0)
    return [first, *(portrait(face) for face in range(1, first.face_count))]


def _image(job, options, photo, portraits, asked, clock) -> dict:
    from affect3d.io.image import write_image
    from affect3d.io.landmark_files import write_landmarks
    from affect3d.io.obj import write_obj

    with clock("synthesize"):
        results = [p.show(asked) for p in portraits]
        # every face is made from the photo itself, so none sees the change of another
        image, mask = np.array(photo.pixels), np.zeros(photo.pixels.shape[:2], bool)
        for result in results:
            image[result.mask] = result.image[result.mask]
            mask |= result.mask
    outputs = {"image": str(job.picture)}
    with clock("write"):
        if photo.alpha is not None and job.picture.suffix.lower() in WITH_ALPHA:
            image = np.dstack([image, photo.alpha])
        write_image(job.picture, image)
        if job.mask is not None:
            write_image(job.mask, mask.astype(np.uint8) * 255)
            outputs["mask"] = str(job.mask)
        for k, result in enumerate(results):
            face = f"_face{k}" if len(results) > 1 else ""
            if job.landmarks is not None:
                outputs["landmarks" + face] = str(_numbered(job.landmarks, face))
                write_landmarks(outputs["landmarks" + face], result.landmarks)
            if job.mesh is not None:
                outputs["mesh" + face] = str(_numbered(job.mesh, face))
                write_obj(outputs["mesh" + face], result.mesh)
    names = portraits[0].model.expression_names
    return {
        "outputs": outputs,
        **_asked(asked),
        "expression": {name: round(float(w), 4) for name, w in zip(names, results[0].expression)},
        "changed_pixels": int(mask.sum()),
        "notes": [note for result in results for note in result.notes],
    }


def _asked(asked) -> dict:
    """What was asked, for the report."""
    if isinstance(asked, NamedExpression):
        return {"name": asked.name, "family": asked.family, "strength": asked.strength, "source": asked.source}
    return {"valence": asked.valence, "arousal": asked.arousal, "class": int(asked.class_index)}


def _grid(job, options, portrait, statistics, clock) -> dict:
    from affect3d.io.image import write_image
    from affect3d.synthesis import grid_sheet

    with clock("synthesize"):
        sheet = grid_sheet(portrait, statistics, size=options.size or 256, progress=terminal)
    with clock("write"):
        write_image(job.picture, sheet)
    return {"outputs": {"sheet": str(job.picture)}}


def _film(job, options, portrait, statistics, clock) -> dict:
    from affect3d.io.video import write_video
    from affect3d.synthesis import path_frames

    with clock("synthesize"):
        shown = portrait if options.size is None else portrait.close_up(options.size)
        frames = path_frames(shown, statistics, options.waypoints, frames=options.frames, progress=terminal)
        # frames are written as they are made
        count = write_video(job.picture, frames, fps=options.fps)
    return {
        "outputs": {"film": str(job.picture)},
        "waypoints": [list(point) for point in options.waypoints],
        "frames": count,
        "fps": options.fps,
    }


def _landmarks(path):
    from affect3d.io.landmark_files import read_landmarks

    landmarks = read_landmarks(path)
    if landmarks.unit != "px":
        raise ValueError(f"{path}: expected landmarks in pixels of the photo, got {landmarks.unit}")
    return landmarks


def _fit(portrait) -> dict:
    fit = portrait.fit
    out = {"converged": bool(fit.converged), "reason": str(fit.reason)}
    for name in ("rms_px", "rms_relative"):
        value = getattr(fit, name, None)
        if value is not None and np.isfinite(value):
            out[name] = round(float(value), 5)
    return out


def _photo_notes(photo, portrait, options, job) -> list[str]:
    notes = []
    if portrait.face_count > 1 and options.face is not None and options.landmarks is None:
        which = "the largest" if options.face == 0 else f"number {options.face}"
        notes.append(f"the photo shows {portrait.face_count} faces, and {which} was taken (see --face and --all)")
    if photo.frames > 1:
        notes.append(f"the file holds {photo.frames} pictures, and the first was taken")
    if photo.alpha is not None and job.picture.suffix.lower() not in WITH_ALPHA:
        notes.append(f"{job.picture.suffix} holds no transparency, so the photo's was dropped")
    return notes


def _numbered(path: Path, face: str) -> Path:
    """NAME_face0.json, and NAME_face0.landmarks.json from NAME.landmarks.json."""
    ending = ".landmarks.json" if path.name.endswith(".landmarks.json") else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}{face}{ending}")


class _Clock:
    """Seconds by name: ``with clock("fit"): ...``."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str):
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 3)
