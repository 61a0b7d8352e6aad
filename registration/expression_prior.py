"""Displacements of one head model, carried over to another topology.

The model's face is registered to the template by landmarks, and each template vertex takes the displacements of the
places of the model that lie near it and look the same way.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.triangles import vertex_normals
from affect3d.model.morphable import MorphableModel
from affect3d.registration.nonrigid import NonRigidOptions, register_nonrigid
from affect3d.registration.prior import DisplacementPrior
from affect3d.registration.template import Template, is_part_of, model_template

__all__ = ["expression_prior"]

#: mm that count as much as normals at right angles (over the root of two): the other lip is near but looks elsewhere.
_TURN = 20.0
_NEIGHBOURS = 6


def expression_prior(
    model: MorphableModel, template: Template, options: NonRigidOptions = NonRigidOptions(), least: float = 0.5
) -> DisplacementPrior:
    """The expressions of a model as displacements of a template.

    Parameters
    ----------
    model : MorphableModel
        With the template's scheme of landmarks.
    template : Template
    options : NonRigidOptions
        Of the registration of the model's face to a template of another topology.
    least : float
        mm; expressions that move no vertex of the template by so much (of the tongue, of the eyes) are left out.

    Raises
    ------
    ValueError
        If the two share fewer than four landmarks, or no expression moves the template.
    """
    if is_part_of(template, model):
        moves = model.expression[:, template.model_vertices].astype(float)
    else:
        own = model_template(model, template.scheme)
        moves = model.expression[:, own.model_vertices].astype(float)
        shared = (own.landmarks >= 0) & (template.landmarks >= 0)
        goal = template.mesh.vertices[template.landmarks[shared]]
        found = register_nonrigid(own.mesh, template.mesh, own.landmarks[shared], goal, options)
        motion = procrustes(own.mesh.vertices, found.vertices)
        index, share = _near(found.vertices, own.mesh.faces, template.mesh)
        carried = np.einsum("vn,kvnc->kvc", share, moves[:, index])
        moves = motion.scale * carried @ motion.rotation.T
    moving = np.linalg.norm(moves, axis=2).max(1, initial=0) > least
    if not moving.any():
        raise ValueError(f"model: none of its {len(moves)} expressions moves the template by {least} mm")
    return DisplacementPrior(moves[moving], f"{int(moving.sum())} expressions of the {model.name or 'model'}")


def _near(vertices, faces, mesh) -> tuple[np.ndarray, np.ndarray]:
    """(V, N) indices of places near each vertex of `mesh` that look the same way, and their shares."""
    place = np.hstack([vertices, _TURN * vertex_normals(vertices, faces)])
    query = np.hstack([mesh.vertices, _TURN * vertex_normals(mesh.vertices, mesh.faces)])
    distance, index = cKDTree(place).query(query, _NEIGHBOURS)
    share = 1 / (distance**2 + 0.25)
    return index, share / share.sum(1, keepdims=True)
