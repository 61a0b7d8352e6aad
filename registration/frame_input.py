"""What is read for one frame: its scan, its landmarks, its texture, and the digest of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.io.units import millimetres_per, stated_unit
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh
from affect3d.registration.records import digest, file_digest

__all__ = ["LANDMARK_SUFFIXES", "frame_landmarks", "input_digest", "read_scan", "read_texture", "surface_of"]

#: Suffixes of landmark files that lie beside a scan, in the order in which they are looked for.
LANDMARK_SUFFIXES = (".landmarks.json", ".ljson", ".pts", ".pp", ".csv", ".txt")


def read_scan(path: str, unit: str | None, guessed: str | None) -> tuple[Mesh, str, str]:
    """A scan in millimetres, the unit of its file, and where that is known from.

    Raises
    ------
    ValueError
        If it cannot be understood, or nobody knows its unit.
    """
    from affect3d.io.mesh_file import read_mesh

    if unit is not None:
        return read_mesh(path, unit=unit), unit, "given"
    if Path(path).suffix.lower() == ".glb":
        return read_mesh(path), "m", "stated by the format"
    with open(path, "rb") as file:
        stated = stated_unit(file.read(512))
    if stated is not None:
        return read_mesh(path), stated, "stated by the file"
    return read_mesh(path, unit=guessed), guessed or "", "guessed"


def surface_of(scan: Mesh, name: str) -> Mesh:
    """The scan without the vertices that are in no triangle (some scanners leave thousands).

    Parameters
    ----------
    scan : Mesh
    name : str
        What to call it in a complaint.

    Raises
    ------
    ValueError
        If it has no triangles.
    """
    if not len(scan.faces):
        raise ValueError(f"{name}: holds no triangles, expected a surface")
    used = np.unique(scan.faces)
    if len(used) == len(scan.vertices):
        return scan
    place = np.zeros(len(scan.vertices), np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    colours = None if scan.colours is None else scan.colours[used]
    return Mesh(scan.vertices[used], place[scan.faces], scan.uv, scan.uv_faces, colours)


def read_texture(path: str, scan: Mesh) -> np.ndarray | None:
    """The picture (H, W, 3) uint8 of a scan with texture coordinates; None if it has none of either."""
    from affect3d.io import texture_file

    return None if scan.uv is None else texture_file.read_texture(path)


def frame_landmarks(job, whole: Mesh, unit: str, search: bool = True) -> tuple[Landmarks | None, str]:
    """Landmarks of a frame in mm, and where they are from.

    Parameters
    ----------
    job : FrameJob
    whole : Mesh
        The scan as it was read: a landmark file may name its vertices.
    unit : str
        Of the scan's file.
    search : bool
        Whether to look for landmarks where no file has them, and to complain if there are none.

    Raises
    ------
    ValueError
        If the file makes no sense, or a search finds none.
    """
    if job.landmarks is not None:
        return _landmark_file(Path(job.landmarks), whole, unit), Path(job.landmarks).name
    if not search:
        return None, ""
    if job.find is None:
        raise ValueError(
            f"{job.scan}: there are no landmarks beside it; expected a file of the same name ending in one of "
            f"{', '.join(LANDMARK_SUFFIXES)}"
        )
    found, reason = job.find(job.path, whole)
    if found is None:
        raise ValueError(f"{job.scan}: no landmarks were found: {reason}")
    return found, "found"


def input_digest(job, texture: bool = False) -> str:
    """SHA-256 of all that is read for a frame.

    Parameters
    ----------
    job : FrameJob
    texture : bool
        Whether the texture counts even where no landmarks are looked for in it.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    files = {"scan": file_digest(job.path), "unit": job.unit or job.guessed}
    if job.landmarks is not None:
        files["landmarks"] = [Path(job.landmarks).suffix.lower(), file_digest(job.landmarks)]
    if texture or (job.landmarks is None and job.find is not None):
        from affect3d.io.texture_file import find_texture

        picture = find_texture(job.path)
        files["texture"] = None if picture is None else file_digest(picture)
    return digest(files)


def _landmark_file(path: Path, scan: Mesh, unit: str) -> Landmarks:
    """Landmarks of a scan in mm: points, or in our own JSON vertices of the scan as well."""
    from affect3d.io.landmark_files import read_landmark_vertices, read_landmarks

    ours = path.suffix.lower() == ".json"
    try:
        found = read_landmarks(path)
    except ValueError:
        if not ours or '"vertices"' not in path.read_text(encoding="utf-8"):
            raise
        scheme, marks = read_landmark_vertices(path)
        if marks.max() >= len(scan.vertices):
            raise ValueError(
                f"{path.name}: indices must lie in [0, {len(scan.vertices)}), got {marks.max()}"
            ) from None
        return Landmarks(scheme, np.where(marks[:, None] < 0, np.nan, scan.vertices[marks]), "mm")
    # only our own JSON states a unit; the others are clicked on the scan and share its unit
    if not ours and found.points.shape[1] == 3:
        found = Landmarks(found.scheme, found.points * millimetres_per(unit), "mm")
    return found
