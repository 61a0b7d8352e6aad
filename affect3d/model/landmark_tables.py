"""Landmark positions that were measured once for a known mesh and ship with the package."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from affect3d.landmarks import SCHEMES, MeshLandmarks

__all__ = ["landmark_table", "topology_digest"]

_FOLDER = Path(__file__).parent / "data"


def topology_digest(faces) -> str:
    """Short digest of the faces; a table belongs to one topology."""
    return hashlib.sha256(np.ascontiguousarray(faces, "<i4").tobytes()).hexdigest()[:16]


def landmark_table(name: str, faces) -> dict[str, MeshLandmarks]:
    """Landmarks of the mesh `name`; empty if there are none for this topology.

    Parameters
    ----------
    faces : (F, 3) int array
        Its first rows, as many as the table says, are compared with those the table was made for; what follows them
        (the teeth) may change.
    """
    path = _FOLDER / f"{name}_landmarks.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as table:
        if "count" not in table.files or str(table["topology"]) != topology_digest(faces[: int(table["count"])]):
            return {}
        return {
            scheme: MeshLandmarks(scheme, table[f"{scheme}_faces"], table[f"{scheme}_weights"])
            for scheme in SCHEMES
            if f"{scheme}_faces" in table.files
        }
