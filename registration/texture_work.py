"""Textures of the frames of a run: one file a frame, made again only where what went into it changed."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.io.digests import digest, file_digest
from affect3d.io.run_folder import end_step, read_step
from affect3d.mesh import Mesh
from affect3d.registration.frame_input import read_scan, read_texture, surface_of
from affect3d.registration.frame_work import one_blas_thread, software_versions
from affect3d.registration.texture import carry_texture, carry_vertex_colours

__all__ = ["TextureJob", "TextureOutcome", "texture_frame", "write_layout"]


@dataclass(frozen=True)
class TextureJob:
    """All that a worker is told about the texture of a frame.

    Attributes
    ----------
    name, scan : str
        As in `Frame`.
    path : str
        Of the scan, absolute.
    mesh : str
        Of the registered mesh, absolute.
    out : str
        Of the result without its suffix, absolute.
    layout : str
        What `write_layout` wrote; empty if the template has no texture coordinates and vertices are coloured.
    form : {"glb", "obj"}
    size : int
        Rows and columns of the picture.
    unit : {"mm", "cm", "m"}, optional
        Of the scan's file; None where it states its own.
    """

    name: str
    scan: str
    path: str
    mesh: str
    out: str
    layout: str = ""
    form: str = "glb"
    size: int = 1024
    unit: str | None = None


@dataclass(frozen=True)
class TextureOutcome:
    """A file, or why there is none; the share of the texels or vertices that were read from the scan; and whether the
    file was there already."""

    path: str
    why: str = ""
    share: float = 0.0
    reused: bool = False


def write_layout(path, uv, uv_faces) -> None:
    """Keep the template's texture coordinates (T, 2) and their faces (F, 3) where workers find them."""
    with atomic_path(path) as temporary:
        np.savez(temporary, uv=np.asarray(uv, float), uv_faces=np.asarray(uv_faces, np.int32))


def texture_frame(job: TextureJob) -> TextureOutcome:
    """Carry a frame's texture, or its colours, over to its registered mesh and write both as one file.

    A record beside the file names what went into it; where nothing of that changed the file stays as it is.
    """
    one_blas_thread()
    try:
        return _frame(job)
    except (ValueError, OSError) as error:
        text = " ".join(str(error).split())
        for path in (job.path, job.mesh, job.out):
            text = text.replace(path, job.scan)
        return TextureOutcome("", text)
    except Exception as error:  # must not take the other frames with it
        return TextureOutcome("", f"internal error: {type(error).__name__}: {error}")


def _frame(job: TextureJob) -> TextureOutcome:
    from affect3d.io.texture_file import find_texture

    file, record = Path(f"{job.out}.{job.form}"), Path(f"{job.out}.json")
    picture = find_texture(job.path)
    made_of = digest({
        "scan": file_digest(job.path), "mesh": file_digest(job.mesh), "size": job.size, "form": job.form,
        "layout": file_digest(job.layout) if job.layout else "", "software": software_versions(),
        "texture": file_digest(picture) if picture else "", "unit": job.unit,
    })  # fmt: skip
    before = read_step(record, made_of)
    if before is not None and file.is_file() and file_digest(file) == before.get("file"):
        return TextureOutcome(str(file), share=float(before["share"]), reused=True)
    scan, _, _ = read_scan(job.path, job.unit, None)
    scan = surface_of(scan, job.scan)
    texture = read_texture(job.path, scan)
    if texture is None and scan.colours is None:
        return TextureOutcome("", "the scan has neither a texture that can be found nor colours at its vertices")
    mesh, _, _ = read_scan(job.mesh, "mm", None)
    os.makedirs(file.parent, exist_ok=True)
    if job.layout:
        layout = _layout(job.layout, file_digest(job.layout))
        mesh = Mesh(mesh.vertices, mesh.faces, layout["uv"], layout["uv_faces"])
        carried = carry_texture(mesh, scan, texture, job.size)
        share = carried.share
        _write(file, mesh, carried.picture)
    else:
        colours, seen = carry_vertex_colours(mesh, scan, texture)
        share = float(seen.mean())
        _write(file, Mesh(mesh.vertices, mesh.faces, colours=colours), None)
    share = round(share, 6)
    end_step(record, made_of, {"file": file_digest(file), "share": share})
    return TextureOutcome(str(file), share=share)


def _write(file: Path, mesh: Mesh, picture) -> None:
    from affect3d.io.glb_write import write_glb
    from affect3d.io.textured_obj import write_textured_obj

    if file.suffix == ".glb":
        write_glb(file, mesh, texture=picture)
    elif picture is None:
        raise ValueError("form: obj needs a template with texture coordinates; glb holds colours at vertices")
    else:
        write_textured_obj(file, mesh, picture)


@functools.lru_cache(maxsize=2)
def _layout(path: str, content: str) -> dict:
    """The arrays of a layout file; its digest `content` tells other runs' files apart."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("uv", "uv_faces")}
