"""Eyes, teeth, tongue and the inside of the mouth lent by one head to another that has none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from affect3d.fitting.transfer_surface import PlacedHead, onto_target
from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.model.morphable import MorphableModel

__all__ = ["EYES", "MOUTH", "Borrowed", "borrow_parts"]

MOUTH = ("mouth", "teeth_upper", "teeth_lower", "gums", "tongue")
EYES = ("eye_left", "eye_right", "socket")
#: Length over which a difference between the two heads' lips fades into the mouth, mm.
_FADE = 15.0
#: The rims of what is lent lie this far behind where they were found, mm, so that they do not shine through lips and
#: lids.
_BEHIND = 0.6


@dataclass(frozen=True, eq=False)
class Borrowed:
    """A head with parts of another one behind its own vertices.

    Attributes
    ----------
    model : MorphableModel
    vertices : (N,) int64
        Which of the source's vertices these are; they come after the target's own, in this order.
    triangles : (M,) int64
        Which of the source's triangles; they come after the target's own.
    """

    model: MorphableModel
    vertices: np.ndarray
    triangles: np.ndarray


def borrow_parts(
    source: MorphableModel, target: MorphableModel, head: PlacedHead, names, expressions
) -> Borrowed | None:
    """Append parts of the source to the target; None if the source has none of them.

    Eyeballs, teeth, gums and tongue keep their form; with each mode of identity they move and grow as the skin around
    them does on the whole.  The inside of the mouth and of the lids, which the source's skin goes on in, follows the
    target's lips and lids at its rim.

    Parameters
    ----------
    source, target : MorphableModel
        The target with its expressions already carried over.
    head : PlacedHead
    names : sequence of str
        Of the source's parts.
    expressions : dict of str to int
        The source's number of each expression that both have.
    """
    triangles = np.flatnonzero(source.part_faces(*names))
    if not len(triangles):
        return None
    vertices, local = np.unique(source.faces[triangles], return_inverse=True)
    carry = _Carry(source, target, head, vertices)
    turn = head.similarity.scale * head.similarity.rotation.T
    expression = np.zeros((len(target.expression), len(vertices), 3), np.float32)
    for k, name in enumerate(target.expression_names):
        # what only the target knows moves what is lent through its skin alone
        own = source.expression[expressions[name]].astype(float) @ turn if name in expressions else None
        expression[k] = carry.expression(target.expression[k].astype(float), own)
    identity = np.stack(
        [carry.identity(mode.astype(float)) for mode in target.identity]
        or [np.zeros((0, len(vertices), 3))]
    ).reshape(len(target.identity), len(vertices), 3)
    forward = head.similarity.rotation[:, 2]
    joined = np.isin(vertices, head.source.vertices)
    mean = head.placed[vertices] - _BEHIND * head.size * joined[:, None] * forward
    return Borrowed(
        _joined(source, target, mean, identity, expression, vertices, local.reshape(-1, 3), triangles), vertices,
        triangles,
    )


class _Carry:
    """How the target's skin moves what is lent."""

    def __init__(self, source, target, head, vertices):
        faces, weights = onto_target(source, target, head)
        known = np.flatnonzero(faces >= 0)
        # only skin drives; the inside is driven
        skin = np.zeros(len(source.mean), bool)
        skin[source.faces[~source.part_faces(*MOUTH, *EYES, "lashes")]] = True
        known = known[skin[known]]
        corners = target.faces[faces[known]]
        index = (np.repeat(np.arange(len(known)), 3), corners.ravel())
        self._read = sparse.coo_array((weights[known].ravel(), index), (len(known), len(target.mean))).tocsr()
        self._known, self._vertices = known, vertices
        local = np.full(len(source.mean), -1)
        local[head.source.vertices] = np.arange(len(head.source.vertices))
        self._joined = local[vertices] >= 0
        self._rows = local[vertices[self._joined]]
        rest = head.placed[head.source.vertices]
        laplacian = cotangent_laplacian(rest, head.source.faces, least=1e-6)
        area = vertex_areas(rest, head.source.faces)
        hold = np.zeros(len(rest))
        hold[local[known]] = 1.0
        self._hold, self._local = hold, local[known]
        strong = sparse.diags_array(1e3 * hold + 1e-9)
        self._smooth = splu((laplacian + strong).tocsc())
        self._fading = splu((laplacian + strong + sparse.diags_array(area / (_FADE * head.size) ** 2)).tocsc())
        self._groups = self._loose_groups(source, head, vertices)

    def _loose_groups(self, source, head, vertices):
        """Rows of `vertices` of each loose part and a linear map from the skin around it to a similar motion."""
        groups, placed = [], head.placed
        tree = cKDTree(placed[self._known])
        for names in (("eye_left",), ("eye_right",), ("teeth_upper", "teeth_lower", "gums", "tongue")):
            part = source.part_vertices(*names)
            part[head.source.vertices] = False
            rows = np.flatnonzero(part[vertices])
            if not len(rows):
                continue
            points = placed[vertices[rows]]
            near = np.unique(tree.query(points, k=20)[1])
            around = placed[self._known[near]]
            centre = around.mean(0)
            fit = np.linalg.pinv(_similar_motions(around - centre))
            groups.append((rows, near, _similar_motions(points - centre) @ fit))
        return groups

    def identity(self, mode) -> np.ndarray:
        skin = self._read @ mode
        out = np.zeros((len(self._vertices), 3))
        out[self._joined] = self._spread(skin, self._smooth)
        for rows, near, response in self._groups:
            out[rows] = (response @ skin[near].ravel()).reshape(-1, 3)
        return out

    def expression(self, moved, own) -> np.ndarray:
        """Displacement of what is lent for one of the target (W, 3), and the source's of that name (V, 3) or None."""
        skin = self._read @ moved
        out = np.zeros((len(self._vertices), 3))
        if own is None:
            out[self._joined] = self._spread(skin, self._fading)
            return out
        out += own[self._vertices]
        out[self._joined] += self._spread(skin - own[self._known], self._fading)
        return out

    def _spread(self, values, solver) -> np.ndarray:
        force = np.zeros((len(self._hold), 3))
        force[self._local] = 1e3 * values
        return solver.solve(force)[self._rows]


def _similar_motions(points) -> np.ndarray:
    """(3N, 4) motions of points that keep their form: three ways, and growth.

    No turns: the skin is a curved sheet, on which stretching looks like turning, and what lies centimetres behind it
    would be swung aside.
    """
    columns = [np.tile(axis, (len(points), 1)) for axis in np.eye(3)]
    return np.stack([*columns, points], -1).reshape(-1, 4)


def _joined(source, target, mean, identity, expression, vertices, local, triangles) -> MorphableModel:
    count = len(target.mean)
    names = list(target.part_names)
    number = np.zeros(len(source.part_names), np.uint8)
    for k in np.unique(source.parts[triangles]):
        if source.part_names[k] not in names:
            names.append(source.part_names[k])
        number[k] = names.index(source.part_names[k])
    lent = source.colours[vertices] if source.colours is not None else np.full((len(vertices), 3), 128, np.uint8)
    changes = {}
    if target.colours is not None:
        changes["colours"] = np.concatenate([target.colours, lent])
    if target.colour_mean is not None:
        modes = np.zeros((len(target.colour_modes), len(vertices), 3), np.float32)
        changes["colour_mean"] = np.concatenate([target.colour_mean, (lent / 255).astype(np.float32)])
        changes["colour_modes"] = np.concatenate([target.colour_modes, modes], 1)
    if target.uv is not None:
        # no room in the target's texture: one point of it, so that nothing of a texture is overwritten
        changes["uv"] = np.concatenate([target.uv, np.zeros((1, 2))])
        changes["uv_faces"] = np.concatenate([target.uv_faces, np.full((len(local), 3), len(target.uv))])
    return replace(
        target, mean=np.concatenate([target.mean, mean]), faces=np.concatenate([target.faces, local + count]),
        identity=np.concatenate([target.identity, identity], 1),
        expression=np.concatenate([target.expression, expression], 1),
        parts=np.concatenate([target.parts, number[source.parts[triangles]]]), part_names=tuple(names), **changes,
    )  # fmt: skip
