"""A foreign head made fit for affect: expressions, landmarks, parts and, where it has none, a mouth and eyes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from affect3d.fitting.borrowed_parts import EYES, MOUTH, borrow_parts
from affect3d.fitting.expression_transfer import ExpressionTransfer, TransferOptions, transfer_expressions
from affect3d.fitting.lid_closure import lip_gap
from affect3d.fitting.transfer_surface import on_surface, placed_landmarks
from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent

__all__ = ["Adoption", "adopt_model"]

#: A mouth with none of these is lent a whole one.
TEETH = ("teeth_upper", "teeth_lower", "gums", "tongue")
_PLAIN = np.array([205, 165, 145], np.uint8)
#: A skin of which the largest piece has less of the area is in pieces.
_WHOLE = 0.6
#: Degrees by which means in one frame do not differ.
_TURNED = 40.0
_NEEDED = {"teeth": TEETH[:2], "eyes": ("eye_left", "eye_right")}
#: Names of skin that say no more than that it is skin.
_UNNAMED = ("face", "skin", "")
#: Share of the whole opening of the source's mouth that jawOpen has to reach, or the lips are joined.
_OPENS = 0.4


@dataclass(frozen=True, eq=False)
class Adoption:
    """A head with another's expressions.

    Attributes
    ----------
    model : MorphableModel
        Its own vertices first, in their order.
    transfer : ExpressionTransfer
    said : tuple of str
        What was done and what a user should know of it, in sentences.
    """

    model: MorphableModel
    transfer: ExpressionTransfer
    said: tuple[str, ...]


def adopt_model(
    target: MorphableModel, source: MorphableModel, landmarks: Landmarks | None = None, *, lend: bool = True,
    replace_own: bool = False, options: TransferOptions = TransferOptions(), progress: Progress = silent,
) -> Adoption:
    """Give a head model the expressions of another, and what `synthesize` needs besides.

    Its triangles are labelled after the source's, it gets the source's landmarks of schemes that it lacks, colours if
    it has none or one alone, and, if `lend`, the source's eyes and the inside of its mouth if it has none of its own.
    Identity modes stay as they are; what is lent moves with them.

    Parameters
    ----------
    target : MorphableModel
        The head that receives.
    source : MorphableModel
        The head that gives.
    landmarks : Landmarks, optional
        (L, 3) mm on the target's mean; see `affect3d.fitting.transfer_surface.place_head`.
    lend : bool
    replace_own : bool
        The target's own expressions are dropped; otherwise they are kept, and those whose name the source has too are
        its own.
    options : TransferOptions
    progress : callable

    Raises
    ------
    ValueError
        As `transfer_expressions`.
    """
    transfer = transfer_expressions(source, target, landmarks, options, progress)
    head, said = transfer.placed, []
    said.append(f"{len(transfer.names)} expressions of the {source.name or 'source'} by deformation transfer")
    said.append(head.reason)
    if not head.converged:
        said.append("look at the picture of its expressions: the registration was still moving when it ended")
    turned = np.degrees(np.arccos(np.clip((np.trace(head.similarity.rotation) - 1) / 2, -1, 1)))
    if turned > _TURNED:
        said.append(
            f"it is turned by {turned:.0f} degrees against +x left, +y up, +z out of the face: photos cannot be fitted "
            "with it; import it with --axes"
        )
    if head.target.share < _WHOLE:
        said.append(
            f"its skin is in pieces and the largest is {100 * head.target.share:.0f} % of it: the others only follow; "
            "are vertices doubled along seams?"
        )
    model = _with_expressions(source, target, transfer, replace_own, said)
    model = _labelled(source, model, transfer)
    model = _coloured(source, model, transfer)
    model = _with_landmarks(source, model, head, landmarks)
    if lend and not head.same:
        model = _lent(source, model, transfer, said)
    lacks = [what for what, parts in _NEEDED.items() if not model.part_faces(*parts).any()]
    if lacks:
        said.append(
            f"it has no {' and no '.join(lacks)}: those that a photo shows are bent along, and none are drawn where it "
            "shows none"
        )
    _check_lips(source, model, said)
    done = "; ".join(said)
    model = replace(
        model, notes=f"{model.notes}; {done}" if model.notes else done,
        licence=_both(model.licence, source.licence), source=_both(model.source, source.source),
    )  # fmt: skip
    return Adoption(model, transfer, tuple(said))


def _both(first: str, second: str) -> str:
    return first if not second or second in first else f"{first}; expressions: {second}" if first else second


def _with_expressions(source, target, transfer, replace_own, said):
    """The target with both heads' expressions."""
    own = () if replace_own else target.expression_names
    new = [k for k, name in enumerate(transfer.names) if name not in own]
    kept = np.zeros((0, len(target.mean), 3), np.float32) if replace_own else target.expression
    names = (*own, *(transfer.names[k] for k in new))
    if replace_own and len(target.expression_names):
        said.append(f"its {len(target.expression_names)} own expressions were dropped")
    elif own:
        both = sum(name in transfer.names for name in own)
        also = f", {both} of them instead of the other's of that name" if both else ""
        said.append(f"its {len(own)} own expressions were kept{also}")
    expression = np.concatenate([kept, transfer.expression[new]])
    return replace(target, expression=expression, expression_names=names)


def _labelled(source, model, transfer) -> MorphableModel:
    """Triangles called only skin take the names of the source's that lie on them; skin beyond the source is head."""
    if "lips" in model.part_names or not len(transfer.placed.target.triangles):
        return model
    names = list(model.part_names)

    def number(name: str) -> int:
        if name not in names:
            names.append(name)
        return names.index(name)

    same = transfer.placed.same
    triangles = np.arange(len(model.faces)) if same else transfer.placed.target.triangles
    plain = np.isin(model.parts[triangles], [i for i, n in enumerate(model.part_names) if n in _UNNAMED])
    triangles = triangles[plain]
    if same:
        winner = source.parts[triangles].astype(int)
    else:
        place = transfer.places[model.faces[triangles]]  # (T, 3)
        eye = transfer.eyes[model.faces[triangles]]
        votes = np.where(place >= 0, source.parts[np.maximum(place, 0)].astype(int), len(source.part_names))
        votes = np.where(eye >= 0, eye, votes)
        # two of three corners decide, else the first
        winner = np.where((votes[:, 1] == votes[:, 2]), votes[:, 1], votes[:, 0])
    parts = np.array(model.parts)
    beyond = number("head") if (winner == len(source.part_names)).any() else 0
    table = [number(source.part_names[k]) if (winner == k).any() else 0 for k in range(len(source.part_names))]
    parts[triangles] = np.array([*table, beyond])[winner]
    for piece in transfer.pieces:
        unnamed = np.isin(model.parts[piece.triangles], [i for i, n in enumerate(model.part_names) if n in _UNNAMED])
        for name in np.unique(piece.names[unnamed].astype(str)):
            parts[piece.triangles[unnamed & (piece.names == name)]] = number(name)
    return replace(model, parts=parts, part_names=tuple(names))


def _coloured(source, model, transfer) -> MorphableModel:
    # one colour for skin, teeth and eyes is a placeholder: the mouth would be drawn grey
    if model.colours is not None and np.ptp(model.colours, axis=0).any():
        return model
    colours = np.repeat(_PLAIN[None], len(model.mean), 0)
    known = transfer.places >= 0
    if source.colours is not None:
        corners = source.colours[source.faces[transfer.places[known]]].astype(float)
        colours[known] = np.rint(np.einsum("nk,nkd->nd", transfer.weights[known], corners))
        for piece in transfer.pieces:
            for name in np.unique(piece.names.astype(str)):
                part = source.part_vertices(name)
                if part.any():
                    rows = np.unique(model.faces[piece.triangles[piece.names == name]])
                    _, near = cKDTree(_boxed(source.mean[part])).query(_boxed(model.mean[rows]))
                    colours[rows] = source.colours[part][near]
    return replace(model, colours=colours)


def _boxed(points) -> np.ndarray:
    """Points in a box from -1 to 1: an iris in the middle of one eye is in the middle of the other."""
    low, high = points.min(0), points.max(0)
    return (2 * points - low - high) / np.maximum(high - low, 1e-9)


def _with_landmarks(source, model, head, given) -> MorphableModel:
    """Schemes that the model lacks, from those given or from the source's places on it."""
    marks = dict(model.landmarks)
    if given is not None:
        marks[given.scheme] = on_surface(given.scheme, given.points, model.mean, model.faces, head.target.triangles)
    return replace(model, landmarks=placed_landmarks(source, model, head) | marks)


def _lent(source, model, transfer, said) -> MorphableModel:
    names = []
    if not model.part_faces(*TEETH).any():
        names += MOUTH
    if not model.part_faces("eye_left", "eye_right").any():
        names += EYES
    if not names:
        return model
    # a jaw of its own moves the lent teeth as the source's jaw does
    known = {name: k for k, name in enumerate(transfer.names) if name in model.expression_names}
    lent = borrow_parts(source, model, transfer.placed, names, known)
    if lent is None:
        return model
    present = [n for n in names if source.part_faces(n).any()]
    said.append(
        f"{len(lent.vertices)} vertices of {', '.join(present)} lent by the {source.name or 'source'}, after its own "
        f"{len(model.mean)}"
    )
    return _irises(source, lent, len(model.faces))


def _irises(source, lent, count) -> MorphableModel:
    """Landmarks on what is lent that the target lacks."""
    place = np.full(len(source.faces), -1)
    place[lent.triangles] = count + np.arange(len(lent.triangles))
    marks = dict(lent.model.landmarks)
    for scheme, own in source.landmarks.items():
        if scheme not in marks:
            continue
        there = place[np.maximum(own.faces, 0)]
        add = ~marks[scheme].present & own.present & (there >= 0)
        faces = np.where(add, there, marks[scheme].faces)
        weights = np.where(add[:, None], own.weights, marks[scheme].weights)
        marks[scheme] = MeshLandmarks(scheme, faces, weights)
    return replace(lent.model, landmarks=marks)


def _check_lips(source, model, said):
    at_rest, opened = lip_gap(model, "jawOpen")
    usual = lip_gap(source, "jawOpen")
    if np.isfinite([opened, *usual]).all() and opened - at_rest < _OPENS * (usual[1] - usual[0]):
        said.append(
            f"jawOpen opens its lips by {opened - at_rest:.0f} mm only ({usual[1] - usual[0]:.0f} on the source): they "
            "are joined, or its landmarks lie beside them"
        )
