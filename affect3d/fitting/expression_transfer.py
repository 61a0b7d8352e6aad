"""A head's expressions carried to another head: other triangles, another mean shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from affect3d.fitting.lid_closure import closure, eye_pairs, is_lid_shape, lid_factors
from affect3d.fitting.lip_contact import LipContact
from affect3d.fitting.loose_pieces import LoosePiece, PieceMotion, find_loose_pieces
from affect3d.fitting.transfer_surface import INSIDE_PARTS, PlacedHead, place_head, placed_landmarks, sides_of_openings
from affect3d.geometry.deformation_transfer import DeformationTransfer
from affect3d.geometry.surface_match import SAMPLES, SurfaceMatch, SurfaceMatcher, same_surface, triangle_samples
from affect3d.geometry.triangles import vertex_normals
from affect3d.landmark_groups import LIP_PAIRS
from affect3d.landmarks import Landmarks
from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent
from affect3d.registration import NonRigidOptions

__all__ = ["ExpressionTransfer", "TransferOptions", "transfer_expressions"]

#: Skin so near, in mm, to where the front of an eyeball has to be is a closed-over eye.
_CLOSED_EYE = 6.0
#: mm; see `DeformationTransfer`, of skin that is an eye.
_HELD = 1.0


@dataclass(frozen=True)
class TransferOptions:
    """Options of `transfer_expressions`; lengths in mm of a head of usual size.

    Attributes
    ----------
    registration : NonRigidOptions
    reach : float
        See `DeformationTransfer`.
    turn : float
        See `SurfaceMatcher`.
    near, far : float
        Places nearer than the first are believed, farther than the second not at all.
    near_inside, far_inside : float
        The same inside the mouth and the lids, where no scan tells.
    """

    registration: NonRigidOptions = field(default_factory=NonRigidOptions)
    reach: float = 50.0
    turn: float = 15.0
    near: float = 3.0
    far: float = 12.0
    near_inside: float = 8.0
    far_inside: float = 20.0


@dataclass(frozen=True, eq=False)
class ExpressionTransfer:
    """Expressions on another head.

    Attributes
    ----------
    expression : (E, W, 3) float32
        Displacements of the target, mm.
    names : tuple of str
    confidence : (W,) float64
        How well each vertex's place on the source is known, in [0, 1]; 0 off the skin.
    places : (W,) int64
        The source triangle of each vertex, -1 off the skin or where nothing corresponds.
    weights : (W, 3) float64
        Barycentric coordinates in it.
    eyes : (W,) int64
        The source's part (an eyeball) of each vertex of skin that is a closed-over eye, -1 elsewhere.
    placed : PlacedHead
        The source on the target.
    pieces : tuple of LoosePiece
        Eyeballs, teeth and others apart from the skin, with what they follow.
    lids : dict of str to float
        By how much the motion of the lids of each side was multiplied, so that they meet.
    """

    expression: np.ndarray
    names: tuple[str, ...]
    confidence: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    eyes: np.ndarray
    placed: PlacedHead
    pieces: tuple[LoosePiece, ...]
    lids: dict[str, float]


def transfer_expressions(
    source: MorphableModel, target: MorphableModel, landmarks: Landmarks | None = None,
    options: TransferOptions = TransferOptions(), progress: Progress = silent,
) -> ExpressionTransfer:
    """Carry the expressions of `source` to the mean of `target`.

    The source's skin is registered to the target's; each triangle of the target takes the deformation of the place on
    the source that lies on it (`DeformationTransfer`).  A point of the upper lip (or lid) takes nothing from the lower
    one.  Skin that the source does not have rests smoothly; eyeballs and teeth move rigidly.

    Parameters
    ----------
    source, target : MorphableModel
        mm.
    landmarks : Landmarks, optional
        (L, 3) mm on the target; see `place_head`.
    options : TransferOptions
    progress : callable

    Raises
    ------
    ValueError
        If the source has no expressions, or the two heads cannot be brought together (`place_head`).

    References
    ----------
    Sumner and Popovic, "Deformation Transfer for Triangle Meshes", ACM Transactions on Graphics 23, 2004.
    """
    if not len(source.expression):
        raise ValueError("source: has no expressions to give")
    head = place_head(source, target, landmarks, options.registration, progress)
    moved_of = _in_target_frame(source, head)
    if head.same:
        return _by_number(source, target, head, moved_of, options, progress)
    here, there = head.source, head.target
    rest = target.mean[there.vertices]
    source_sides = sides_of_openings(
        head.aligned[here.vertices], here.faces, head.scheme,
        source.landmarks[head.scheme].locate(head.aligned, source.faces), head.size,
    )  # fmt: skip
    sides = sides_of_openings(rest, there.faces, head.scheme, head.points, head.size)
    stand_ins, still = _closed_eyes(source, target, head)
    faces = np.concatenate([source.faces[here.triangles], source.faces[stand_ins]])
    all_sides = np.zeros(len(source.mean), int)
    all_sides[here.vertices] = source_sides
    matcher = SurfaceMatcher(head.placed, faces, all_sides, options.turn * head.size)
    inside = np.zeros(len(faces), bool)
    inside[: len(here.triangles)] = source.part_faces(*INSIDE_PARTS)[here.triangles]
    by_triangle, by_vertex = _matches(matcher, rest, there.faces, sides, inside, head.size, options)
    # eyes that are part of the skin are held; lids slide over them, and what lies between stretches
    on_ball = by_vertex.faces[:, 0] >= len(here.triangles)
    reach = head.size * np.where(on_ball, _HELD, options.reach)
    solver = DeformationTransfer(head.aligned, faces, rest, there.faces, by_triangle, by_vertex, reach)
    pieces = find_loose_pieces(target, there.vertices, source, head.placed, head.size)
    motions = [PieceMotion(p, target.mean, there.vertices, source, head.placed, head.aligned) for p in pieces]

    def skin_of(k: int) -> np.ndarray:
        return solver.displacement(np.where(still[:, None], 0, moved_of(k)))

    lids = _lid_factors(source, target, head, moved_of, skin_of)
    lips = _Lips(source, target, head, sides)
    if len(stand_ins):  # lids that stick to an eye seem to close too little
        lids = {side: min(factor, 1.0) for side, factor in lids.items()}
    expression = np.zeros((len(source.expression), len(target.mean), 3), np.float32)
    for k, name in enumerate(source.expression_names):
        progress(k, len(expression), "carrying over expressions")
        moved, skin = moved_of(k), skin_of(k)
        for side, factor in lids.items():
            if is_lid_shape(name, side):
                skin = factor * skin
        skin = lips.together(skin, moved)
        expression[k, there.vertices] = skin
        for piece, motion in zip(pieces, motions):
            expression[k, piece.vertices] = motion.displacement(moved, skin)
    progress(len(expression), len(expression), "carrying over expressions")
    confidence, places = np.zeros(len(target.mean)), np.full(len(target.mean), -1)
    confidence[there.vertices] = by_vertex.confidence
    eyes, found = np.full(len(target.mean), -1), by_vertex.faces[:, 0]
    skin = (found >= 0) & (found < len(here.triangles))
    places[there.vertices[skin]] = here.triangles[found[skin]]
    weights = np.zeros((len(target.mean), 3))
    weights[there.vertices[skin]] = by_vertex.weights[skin, 0]
    # eyeballs that stood in for the skin come after the skin's triangles
    eyes[there.vertices[on_ball]] = source.parts[stand_ins[found[on_ball] - len(here.triangles)]]
    return ExpressionTransfer(
        expression, source.expression_names, confidence, places, weights, eyes, head, tuple(pieces), lids
    )


def _in_target_frame(source, head: PlacedHead):
    turn = head.similarity.scale * head.similarity.rotation.T

    def moved(k: int) -> np.ndarray:
        return source.expression[k].astype(np.float64) @ turn

    return moved


def _lid_factors(source, target, head: PlacedHead, moved_of, skin_of) -> dict[str, float]:
    """Factors for both sides: gradients know nothing of contact, and a lid drawn taller would go too far."""
    factors: dict[str, float | None] = {}
    everywhere = np.zeros_like(target.mean)
    # the same places on both heads, and as many as there are
    scheme = "mediapipe478" if "mediapipe478" in source.landmarks else head.scheme
    own, marks = source.landmarks[scheme], placed_landmarks(source, target, head)[scheme]
    for side in ("Left", "Right"):
        if f"eyeBlink{side}" not in source.expression_names:
            continue
        k, pairs = source.expression_names.index(f"eyeBlink{side}"), eye_pairs(scheme, side)
        there = closure(
            own.locate(head.aligned, source.faces), own.locate(head.aligned + moved_of(k), source.faces), pairs
        )
        everywhere[head.target.vertices] = skin_of(k)
        here = closure(
            marks.locate(target.mean, target.faces), marks.locate(target.mean + everywhere, target.faces), pairs
        )
        factors[side] = lid_factors(there, here) if np.isfinite(here) else None
    # an eye whose lids could not be seen is taken to be like the other
    known = [factor for factor in factors.values() if factor is not None] or [1.0]
    return {side: known[0] if factor is None else factor for side, factor in factors.items()}


class _Lips:
    """Lips of both heads at the same pairs of places."""

    def __init__(self, source, target, head: PlacedHead, sides):
        scheme = "mediapipe478" if "mediapipe478" in source.landmarks else head.scheme
        own, marks = source.landmarks[scheme], placed_landmarks(source, target, head)[scheme]
        pairs = np.array(LIP_PAIRS[scheme])
        pairs = pairs[(own.present & marks.present)[pairs].all(1)]
        rest = marks.locate(target.mean, target.faces)
        skin = target.mean[head.target.vertices]
        self._contact = LipContact(skin, sides, rest[pairs[:, 0]], rest[pairs[:, 1]], head.size) if len(pairs) else None
        local = np.full(len(target.mean), -1)
        local[head.target.vertices] = np.arange(len(skin))
        self._here = (local[target.faces[marks.faces[pairs]]], marks.weights[pairs])  # (P, 2, 3)
        self._there = (source.faces[own.faces[pairs]], own.weights[pairs])

    def together(self, skin, moved) -> np.ndarray:
        if self._contact is None:
            return skin
        here, there = (
            np.einsum("pskd,psk->psd", field[corners], weights)
            for field, (corners, weights) in ((skin, self._here), (moved, self._there))
        )
        return self._contact.correct(skin, here[:, 0] - here[:, 1], there[:, 0] - there[:, 1])


def _by_number(source, target, head, moved_of, options, progress) -> ExpressionTransfer:
    """Vertices correspond by their numbers: all pieces are carried over alike."""
    by_triangle, by_vertex = same_surface(target.faces, len(target.mean))
    solver = DeformationTransfer(
        head.aligned, source.faces, target.mean, target.faces, by_triangle, by_vertex, options.reach * head.size
    )
    expression = np.zeros((len(source.expression), len(target.mean), 3), np.float32)
    for k in range(len(expression)):
        progress(k, len(expression), "carrying over expressions")
        expression[k] = solver.displacement(moved_of(k))
    progress(len(expression), len(expression), "carrying over expressions")
    return ExpressionTransfer(
        expression, source.expression_names, by_vertex.confidence, by_vertex.faces[:, 0].astype(np.int64),
        by_vertex.weights[:, 0], np.full(len(target.mean), -1), head, (), {},
    )  # fmt: skip


def _closed_eyes(source, target, head: PlacedHead) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the source's eyeballs that the target's skin goes over, and their vertices (V,) bool.

    On heads whose eyes are part of the skin (scans closed them) the eyes correspond to the source's eyeballs, and rest.
    """
    triangles, still = [np.empty(0, np.int64)], np.zeros(len(source.mean), bool)
    # across and along the way that the face looks
    turn = head.similarity.rotation
    corners = target.mean[target.faces[head.target.triangles]] @ turn
    for name in ("eye_left", "eye_right"):
        eye = np.flatnonzero(source.part_faces(name))
        if not len(eye):
            continue
        rows = np.unique(source.faces[eye])
        ball = head.placed[rows] @ turn
        depth = _depth_at(ball[ball[:, 2].argmax(), :2], corners)
        if (np.abs(depth - ball[:, 2].max()) < _CLOSED_EYE * head.size).any():
            triangles.append(eye)
            still[rows] = True
    return np.concatenate(triangles), still


def _depth_at(point, corners) -> np.ndarray:
    """Third coordinates (N,) of triangles (F, 3, 3) that face the viewer, where they cover a point (2,)."""
    a, b, c = (corners[:, k, :2] for k in range(3))

    def twice(p, q, r):
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    parts = np.stack([twice(b, c, point), twice(c, a, point), twice(a, b, point)], 1)
    over = np.flatnonzero((parts >= 0).all(1) & (parts.sum(1) > 0))
    return (parts[over] * corners[over, :, 2]).sum(1) / parts[over].sum(1)


def _matches(matcher, vertices, faces, sides, inside, size, options) -> tuple[SurfaceMatch, SurfaceMatch]:
    points, normals = triangle_samples(vertices, faces)
    corner = sides[faces]
    side = np.where((corner == corner[:, :1]).all(1), corner[:, 0], 0)
    found = matcher.match(points.reshape(-1, 3), normals.reshape(-1, 3), np.repeat(side, len(SAMPLES)))
    shape = (len(faces), len(SAMPLES))
    trust = _trust(*found, inside, size, options).reshape(shape)
    by_triangle = SurfaceMatch(
        np.where(trust > 0, found[0].reshape(shape), -1), found[1].reshape(*shape, 3), trust.mean(1)
    )
    found = matcher.match(vertices, vertex_normals(vertices, faces), sides)
    trust = _trust(*found, inside, size, options)
    by_vertex = SurfaceMatch(np.where(trust > 0, found[0], -1)[:, None], found[1][:, None], trust)
    return by_triangle, by_vertex


def _trust(faces, weights, distance, cosine, inside, size, options) -> np.ndarray:
    """Confidence of places by how far they are and how their normals agree, (N,) in [0, 1]."""
    near = size * np.where(inside[faces], options.near_inside, options.near)
    far = size * np.where(inside[faces], options.far_inside, options.far)
    return _step((far - distance) / (far - near)) * _step(cosine / 0.5)


def _step(x) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
