"""`affect3d register --texture`: the kept meshes of a run with their scans' textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.cli.errors import UsageError
from affect3d.progress import terminal

__all__ = ["texture_layout", "write_textures"]


def write_textures(result, uv, options) -> tuple[dict[str, str], list[str]]:
    """Write OUT/textures/NAME.glb (or .obj with .mtl and .png) of each kept frame.

    Parameters
    ----------
    result : BatchResult
    uv : ((T, 2) float array, (F, 3) int array) or None
        As `texture_layout` gives them.
    options : RegisterOptions
        With `texture` set.

    Returns
    -------
    paths : dict of str to str
        The file of each frame that has one, by the frame's name.
    notes : list of str    """
    from affect3d.registration.texture_work import TextureJob, texture_frame, write_layout
    from affect3d.registration.workers import Death, run_processes

    root = Path(result.places.root)
    layout, notes = "", []
    if uv is not None:
        layout = str(root / "template.layout.npz")
        write_layout(layout, *uv)
    else:
        notes.append("the template has no texture coordinates, so its vertices are coloured instead")
    jobs = []
    for frame, record in zip(result.frames, result.records):
        if record.verdict == "kept" and record.mesh:
            # what the frame was read with: a unit that was stated by the file is found there again
            unit = record.unit if record.unit_source in ("given", "guessed") else None
            jobs.append(TextureJob(
                record.name, record.scan, str(Path(frame.path).absolute()), str(result.mesh(record)),
                str(root / "textures" / record.name), layout, options.texture, options.texture_size, unit,
            ))  # fmt: skip
    paths, missing = {}, {}
    if jobs:
        terminal(0, len(jobs), "textures")
        for job, outcome in run_processes(texture_frame, jobs, min(options.jobs, len(jobs))):
            if isinstance(outcome, Death) or not outcome.path:
                missing[job.name] = outcome.reason if isinstance(outcome, Death) else outcome.why
            else:
                paths[job.name] = outcome.path
            terminal(len(paths) + len(missing), len(jobs), "textures")
    order = {job.name: i for i, job in enumerate(jobs)}
    if missing:
        first = min(missing, key=order.get)
        notes.append(f"{len(missing)} kept frames have no texture file, {first} for one: {missing[first]}")
    return {name: paths[name] for name in sorted(paths, key=order.get)}, notes


def texture_layout(spec, template, form: str):
    """Texture coordinates (T, 2) and their faces (F, 3) of the template that `--template` names; None if it has none.

    Raises
    ------
    UsageError
        If it has none and files of the format `form` need them.
    """
    found = _layout(spec, template)
    if found is None and form == "obj":
        raise UsageError(
            "--texture-format: obj needs a template with texture coordinates; glb takes colours at its vertices"
        )
    return found


def _layout(spec, template):
    if template.mesh.uv is not None:
        return template.mesh.uv, template.mesh.uv_faces
    if template.model_vertices is None:
        return None
    from affect3d.model.keep_parts import SKIN_PARTS, keep_parts
    from affect3d.model.load import load_model

    part, vertices = keep_parts(load_model(spec, progress=terminal), *SKIN_PARTS)
    if part.uv is None:
        return None
    kept = np.isin(vertices[part.faces], template.model_vertices).all(1)  # a template may lack nostrils
    return part.uv, (part.faces if part.uv_faces is None else part.uv_faces)[kept]
