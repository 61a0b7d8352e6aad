"""A model without the parts that are not wanted: the skin of a face without teeth, eyes and the back of the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from affect3d.landmarks import MeshLandmarks
from affect3d.model.morphable import MorphableModel

__all__ = ["SKIN_PARTS", "keep_parts", "skin_of_face"]

#: Parts of a head model that a scan of a face shows and that are skin: no eyes, teeth, mouth bag or back of the head.
SKIN_PARTS = ("face", "lips", "skin")


def keep_parts(model: MorphableModel, *names: str) -> tuple[MorphableModel, np.ndarray]:
    """Only the triangles of the named parts, and only the vertices that these use, in their order.

    Parameters
    ----------
    model : MorphableModel
    *names : str
        Of parts; one that the model lacks adds nothing.

    Returns
    -------
    MorphableModel
        Landmarks that lay on other parts are missing; expressions that move nothing that is left stay, as zeros.
    vertices : (V',) int64
        Which of the model's vertices these are.

    Raises
    ------
    ValueError
        If the model has none of the parts.
    """
    wanted = model.part_faces(*names)
    if not wanted.any():
        raise ValueError(f"model: has none of the parts {', '.join(names)}; it has {', '.join(model.part_names)}")
    vertices, local = np.unique(model.faces[wanted], return_inverse=True)
    place = np.full(len(model.faces), -1, np.int32)
    place[wanted] = np.arange(int(wanted.sum()))
    landmarks = {}
    for scheme, marks in model.landmarks.items():
        faces = np.where(marks.present, place[np.maximum(marks.faces, 0)], -1)
        landmarks[scheme] = MeshLandmarks(scheme, faces, np.where(faces[:, None] >= 0, marks.weights, 0.0))
    # texture coordinates keep their numbers: unused ones do no harm
    return replace(
        model, mean=model.mean[vertices], faces=local.reshape(-1, 3).astype(np.int32),
        identity=model.identity[:, vertices], expression=model.expression[:, vertices], landmarks=landmarks,
        parts=model.parts[wanted], colours=None if model.colours is None else model.colours[vertices],
        uv_faces=None if model.uv_faces is None else model.uv_faces[wanted],
        colour_mean=None if model.colour_mean is None else model.colour_mean[vertices],
        colour_modes=None if model.colour_modes is None else model.colour_modes[:, vertices],
    ), vertices  # fmt: skip


def skin_of_face(model: MorphableModel) -> MorphableModel:
    """The model without what a scan of a face does not show: eyes, teeth, mouth bag, ears, back of the head.

    A model that names none of `SKIN_PARTS` is given back as it is.
    """
    if not model.part_faces(*SKIN_PARTS).any():
        return model
    return keep_parts(model, *SKIN_PARTS)[0]
