"""The template of a run: one topology, with landmarks at its vertices."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from affect3d.geometry.arrays import frozen_array
from affect3d.io.atomic import atomic_path
from affect3d.landmark_groups import OUTLINE, UNUSED
from affect3d.landmarks import SCHEMES, Landmarks
from affect3d.mesh import Mesh
from affect3d.model.keep_parts import SKIN_PARTS, keep_parts
from affect3d.model.morphable import MorphableModel
from affect3d.registration.records import digest

__all__ = ["SKIN_PARTS", "Template", "is_part_of", "matching_landmarks", "model_template"]

#: A similarity needs three landmarks; one more lets a wrong one be noticed.
LEAST_LANDMARKS = 4


@dataclass(frozen=True, eq=False)
class Template:
    """What every scan of a run is brought into correspondence with.

    Attributes
    ----------
    mesh : Mesh
        mm.
    scheme : str
        Of the landmarks.
    landmarks : (L,) int32
        Vertices, -1 where the template has no such landmark.
    source : str
        A sentence on where it comes from.
    model_vertices : (V,) int32, optional
        Vertices of the model of which this is a part.
    """

    mesh: Mesh
    scheme: str
    landmarks: np.ndarray
    source: str = ""
    model_vertices: np.ndarray | None = field(default=None)

    def __post_init__(self):
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme: expected one of {', '.join(SCHEMES)}, got {self.scheme!r}")
        count = len(self.mesh.vertices)
        marks = frozen_array(self.landmarks, np.int32, "landmarks", (SCHEMES[self.scheme],))
        if marks.min() < -1 or marks.max() >= count:
            raise ValueError(f"landmarks: vertices must lie in [-1, {count}), got {marks.min()} to {marks.max()}")
        if (marks >= 0).sum() < LEAST_LANDMARKS:
            raise ValueError(f"landmarks: expected at least {LEAST_LANDMARKS}, got {(marks >= 0).sum()}")
        if not len(self.mesh.faces):
            raise ValueError("mesh: a template needs triangles")
        object.__setattr__(self, "landmarks", marks)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of vertices, faces and landmarks."""
        return digest(self.mesh.vertices, self.mesh.faces, self.landmarks, self.scheme)

    def save(self, path) -> None:
        """Write what the workers need as .npz, exactly and always with the same bytes."""
        with atomic_path(path) as temporary:
            np.savez(
                temporary, vertices=self.mesh.vertices, faces=self.mesh.faces, landmarks=self.landmarks,
                scheme=np.array(self.scheme),
            )  # fmt: skip

    @staticmethod
    def load(path) -> Template:
        """Read what `save` wrote."""
        with np.load(Path(path), allow_pickle=False) as file:
            return Template(Mesh(file["vertices"], file["faces"]), str(file["scheme"]), file["landmarks"])


def model_template(model: MorphableModel, scheme: str = "ibug68") -> Template:
    """The skin of a model's face, at its mean.

    Eyes, teeth, the inside of the mouth, ears and the back of the head are left out: eyes and teeth would be
    registered to lids and lips, and scans of faces show hair or nothing where the head goes on.

    Parameters
    ----------
    model : MorphableModel
    scheme : str
        Of the landmarks to use.

    Raises
    ------
    ValueError
        If the model names no such parts or has no landmarks of the scheme.
    """
    if scheme not in model.landmarks:
        known = ", ".join(model.landmarks) or "none"
        raise ValueError(f"model: expected landmarks of the scheme {scheme}, got {known}")
    part, vertices = keep_parts(model, *SKIN_PARTS)
    marks = part.landmarks[scheme]
    triangle = part.faces[np.maximum(marks.faces, 0)]
    nearest = triangle[np.arange(len(triangle)), marks.weights.argmax(1)]
    landmarks = np.where(marks.present, nearest, -1)
    name = model.name or "model"
    return Template(
        Mesh(part.mean, part.faces), scheme, landmarks,
        f"the skin of the face of the {name}: {len(vertices)} of its {len(model.mean)} vertices",
        vertices.astype(np.int32),
    )  # fmt: skip


def is_part_of(template: Template, model: MorphableModel) -> bool:
    """Whether the template's vertices are those of the model's mean that `model_vertices` names."""
    vertices = template.model_vertices
    if vertices is None or vertices.max(initial=-1) >= len(model.mean):
        return False
    return np.allclose(model.mean[vertices], template.mesh.vertices, atol=1e-3)


def matching_landmarks(template: Template, scan: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks that the template and a scan share.

    The outline of the face is left out where six others remain: on pictures it is where the face ends for the camera,
    which is another place on the skin for each pose.

    Parameters
    ----------
    template : Template
    scan : Landmarks
        (L, 3) mm.

    Returns
    -------
    vertices : (K,) int array
        Of the template.
    positions : (K, 3) float array
        On the scan, mm.

    Raises
    ------
    ValueError
        If fewer than four are shared, or the scan's are no points in space of the template's scheme.
    """
    if scan.points.shape[1] != 3 or scan.unit != "mm":
        raise ValueError("landmarks: expected points in space in millimetres, got points of a picture")
    if scan.scheme != template.scheme:
        raise ValueError(f"landmarks: expected the template's scheme {template.scheme}, got {scan.scheme}")
    shared = np.isfinite(scan.points).all(1) & (template.landmarks >= 0)
    inner = shared.copy()
    inner[[*OUTLINE[scan.scheme], *UNUSED[scan.scheme]]] = False
    use = inner if inner.sum() >= 6 else shared
    if use.sum() < LEAST_LANDMARKS:
        raise ValueError(
            f"landmarks: expected at least {LEAST_LANDMARKS} that both the template and the scan have, got {use.sum()}"
        )
    return template.landmarks[use].astype(np.int64), scan.points[use]
