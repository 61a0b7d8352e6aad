"""How eyeballs, teeth and other loose pieces of a head move when its expressions come from another head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.procrustes import procrustes
from affect3d.model.morphable import MorphableModel

__all__ = ["LoosePiece", "PieceMotion", "find_loose_pieces"]

_RIGID = ("eye_left", "eye_right", "teeth_upper", "teeth_lower")
_MOUTH = ("teeth_upper", "teeth_lower", "gums", "tongue", "mouth")
#: Lengths for a head of usual size, mm: an eyeball's middle may be so far from where it is looked for, its sides are
#: between these; a piece of the mouth is within the last of the source's.
_EYE_OFF, _EYE_SIDES, _MOUTH_OFF = 14.0, (14.0, 48.0), 12.0
#: Height of a row of teeth, mm; what is taller in each direction is gums or a tongue.
_ROW = 16.0
#: mm by which the source's displacements around a place may differ for it to be believed; neighbours of upper and lower
#: teeth differ by centimetres.
_AGREE = 2.0


@dataclass(frozen=True, eq=False)
class LoosePiece:
    """A connected piece of a head that is not its skin.

    Attributes
    ----------
    vertices : (N,) int64
        Of the target.
    faces : (M, 3) int64
        Of those, counted from 0.
    triangles : (M,) int64
        Which of the target's.
    follows : str
        ``"eye_left"`` and other rigid parts of the source, ``"mouth"`` for what lies in it, or ``"skin"``.
    names : (M,) array of str
        The source's part at each triangle's place; ``"lashes"`` for what follows the skin.
    """

    vertices: np.ndarray
    faces: np.ndarray
    triangles: np.ndarray
    follows: str
    names: np.ndarray


def find_loose_pieces(target: MorphableModel, skin, source: MorphableModel, placed, size: float) -> list[LoosePiece]:
    """Pieces of a target head apart from its skin, and what of the source each of them follows.

    Names of parts are believed; a piece without one is known by its place and form.

    Parameters
    ----------
    target : MorphableModel
    skin : (N,) int array
        Its vertices that are skin.
    source : MorphableModel
    placed : (V, 3) float array
        The source on the target, mm.
    size : float
        The target's against the default head's.
    """
    count = len(target.mean)
    links = target.faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = sparse.coo_array((np.ones(len(links), np.int8), tuple(links.T)), (count, count))
    label = connected_components(graph, directed=False)[1]
    label[skin] = -1
    eyes = {
        name: (placed[part].max(0) + placed[part].min(0)) / 2
        for name in ("eye_left", "eye_right")
        if (part := source.part_vertices(name)).any()
    }
    mouth = np.flatnonzero(source.part_vertices(*_MOUTH))
    tree = cKDTree(placed[mouth]) if len(mouth) else None
    rows = {
        name: cKDTree(placed[part])
        for name in ("teeth_upper", "teeth_lower")
        if (part := source.part_vertices(name)).any()
    }
    names = np.full(len(source.mean), "mouth", object)
    for part in _MOUTH:
        names[source.part_vertices(part)] = part
    # a triangle that touches the skin is the skin's, whatever its name
    kept = np.flatnonzero((label[target.faces] >= 0).all(1))
    kept = kept[np.argsort(label[target.faces[kept, 0]], kind="stable")]
    owner = label[target.faces[kept, 0]]
    pieces = []
    for triangles in np.split(kept, np.flatnonzero(np.diff(owner)) + 1) if len(kept) else ():
        vertices, local = np.unique(target.faces[triangles], return_inverse=True)
        name = target.part_names[np.bincount(target.parts[triangles]).argmax()]
        if name in _RIGID and source.part_vertices(name).any():
            follows = name
        elif name in _MOUTH and tree is not None:
            follows = "mouth"
        else:
            follows = _by_place(target.mean[vertices], eyes, tree, size)
        faces = local.reshape(-1, 3)
        said = np.full(len(faces), "lashes" if follows == "skin" else follows, object)
        if follows == "mouth":
            said = names[mouth[tree.query(target.mean[vertices][faces].mean(1))[1]]]
            if np.ptp(target.mean[vertices], axis=0).min() < _ROW * size and rows:
                # one tooth or one row of them, beside the nearer row; gums hold both
                follows = min(rows, key=lambda row: rows[row].query(target.mean[vertices])[0].mean())
                said[:] = follows
            else:
                said[np.isin(said, _RIGID)] = "gums"
        pieces.append(LoosePiece(vertices, faces, triangles, follows, said))
    return pieces


def _by_place(points, eyes, tree, size) -> str:
    low, high = points.min(0), points.max(0)
    sides = np.sort(high - low)
    # half a ball is an eye too
    ball = _EYE_SIDES[0] * size < sides[2] < _EYE_SIDES[1] * size and sides[0] > 0.4 * sides[2]
    for name, middle in eyes.items():
        if ball and np.linalg.norm((low + high) / 2 - middle) < _EYE_OFF * size:
            return name
    if tree is not None and np.median(tree.query(points)[0]) < _MOUTH_OFF * size:
        return "mouth"
    return "skin"


class PieceMotion:
    """The displacement of one piece, prepared once and asked for each expression.

    Rigid pieces turn about their own middle as the source's part turns about its, and move by its mean.  What lies in
    the mouth moves as the source's mouth around it does, and smoothly where that is torn between the jaws.  What
    follows the skin moves rigidly with the skin near it.

    Parameters
    ----------
    piece : LoosePiece
    target : (W, 3) float array
        At rest, mm.
    skin : (N,) int array
        The target's vertices that are skin.
    source : MorphableModel
    placed, aligned : (V, 3) float arrays
        See `affect3d.fitting.transfer_surface.PlacedHead`.
    """

    def __init__(self, piece: LoosePiece, target, skin, source: MorphableModel, placed, aligned):
        self._follows, self._points = piece.follows, target[piece.vertices]
        self._solver = None
        if piece.follows in _RIGID:
            self._rows = np.flatnonzero(source.part_vertices(piece.follows))
            self._rest = aligned[self._rows]
        elif piece.follows == "mouth":
            self._prepare_mouth(piece, source, placed)
        else:
            tree = cKDTree(target[skin])
            near = np.unique(tree.query(self._points, k=min(4, len(skin)))[1])
            if len(near) < 8:
                near = np.unique(tree.query(self._points.mean(0), k=min(40, len(skin)))[1])
            self._rows, self._rest = near, target[skin[near]]

    def _prepare_mouth(self, piece, source, placed):
        part = np.flatnonzero(source.part_vertices(*_MOUTH))
        away, near = cKDTree(placed[part]).query(self._points, k=min(12, len(part)))
        away, self._rows = away.reshape(len(self._points), -1), part[near.reshape(len(self._points), -1)]
        weight = 1 / (away + 1.0) ** 2
        self._weight = weight / weight.sum(1, keepdims=True)
        spread = np.zeros(len(self._points))
        for shape in source.expression:
            if np.abs(shape[part]).max() > _AGREE:
                around = shape[self._rows].astype(float)
                spread = np.maximum(spread, np.linalg.norm(around - around.mean(1, keepdims=True), axis=2).max(1))
        area = vertex_areas(self._points, piece.faces)
        trust = np.maximum(area, 1e-9) / (1 + (spread / _AGREE) ** 2) ** 2
        # over two millimetres surface and place are equally strong
        matrix = 4.0 * cotangent_laplacian(self._points, piece.faces, least=1e-6) + sparse.diags_array(trust)
        self._solver, self._trust = splu(matrix.tocsc()), trust

    def displacement(self, moved, moved_skin) -> np.ndarray:
        """(N, 3) mm, for displacements of the source (V, 3), in the target's frame and size, and of the target's skin
        (N', 3)."""
        if self._follows == "mouth":
            wanted = np.einsum("nk,nkd->nd", self._weight, moved[self._rows])
            return self._solver.solve(self._trust[:, None] * wanted)
        change = (moved if self._follows in _RIGID else moved_skin)[self._rows]
        if np.abs(change).max(initial=0) < 1e-9:
            return np.zeros_like(self._points)
        turn = procrustes(self._rest, self._rest + change, scale=False).rotation
        middle = (self._points.min(0) + self._points.max(0)) / 2
        return (self._points - middle) @ (turn - np.eye(3)).T + change.mean(0)
