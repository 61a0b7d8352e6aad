"""One head's skin brought onto another head's: where each part of the first lies on the second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from affect3d.geometry.opening_sides import opening_sides
from affect3d.geometry.procrustes import Similarity, procrustes
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.geometry.surface_match import SurfaceMatcher
from affect3d.geometry.triangles import triangle_areas, vertex_normals
from affect3d.landmark_groups import OUTLINE, UNUSED, interocular
from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.mesh import Mesh
from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent
from affect3d.registration import NonRigidOptions, nonrigid_steps
from affect3d.registration.nonrigid import registration_result
from affect3d.registration.target import Target

__all__ = [
    "INSIDE_PARTS", "LOOSE_PARTS", "PlacedHead", "Surface", "main_surface", "on_surface", "onto_target", "place_head",
    "placed_landmarks", "sides_of_openings",
]  # fmt: skip

#: Parts that are pieces of their own in a head, and are no skin.
LOOSE_PARTS = ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "gums", "tongue", "lashes")
#: Parts joined to the skin that no scan shows.
INSIDE_PARTS = ("mouth", "socket")
#: A face in fewer triangles has no lips and lids to speak of.
LEAST_TRIANGLES = 400
#: Share of the source's skin that has to find the other head.
LEAST_MATCHED = 0.3
#: mm; movement of the skin across the surface in the last step beyond which the registration had not ended.
_STILL = 1.0
#: A place on the source's skin farther than this from the target has no counterpart, mm.
_NEAR = 4.0
#: Distance between the outer eye corners of the default head, mm: lengths here are for a head of that size.
USUAL_EYES = 90.0
#: The sides of each opening by the points of a scheme: mouth, the subject's right eye, the left one; corners left out.
_OPENINGS = {
    "ibug68": (
        ((49, 50, 51, 52, 53), (59, 58, 57, 56, 55)), ((37, 38), (41, 40)), ((43, 44), (47, 46)),
    ),
    "mediapipe478": (
        ((40, 39, 37, 0, 267, 269, 270), (91, 181, 84, 17, 314, 405, 321)),
        ((161, 160, 159, 158, 157), (163, 144, 145, 153, 154)), ((388, 387, 386, 385, 384), (390, 373, 374, 380, 381)),
    ),
}  # fmt: skip
#: How far along the skin the sides of mouth and eyes go, mm.
_REACH = (32.0, 14.0, 14.0)


@dataclass(frozen=True, eq=False)
class Surface:
    """The connected skin of a head.

    Attributes
    ----------
    vertices : (N,) int64
        Which of the model's.
    faces : (M, 3) int64
        Of those, counted from 0.
    triangles : (M,) int64
        Which of the model's.
    share : float
        Of the area of all that could be skin.
    """

    vertices: np.ndarray
    faces: np.ndarray
    triangles: np.ndarray
    share: float


@dataclass(frozen=True, eq=False)
class PlacedHead:
    """A source head on a target head.

    Attributes
    ----------
    similarity : Similarity
        From the source's frame and size to the target's.
    aligned : (V, 3) float64
        The source's mean, turned and scaled so; at rest.
    placed : (V, 3) float64
        The same, its skin bent onto the target's and all else carried along; mm.
    source, target : Surface
        The two skins.
    same : bool
        The two heads have the same triangles, so that vertices correspond by number.
    scheme : str
        Of the landmarks that were used.
    points : (L, 3) float64
        Landmarks on the target, mm; NaN where missing.
    size : float
        The target's size against the default head's.
    converged : bool
    reason : str
    """

    similarity: Similarity
    aligned: np.ndarray
    placed: np.ndarray
    source: Surface
    target: Surface
    same: bool
    scheme: str
    points: np.ndarray
    size: float
    converged: bool
    reason: str


def main_surface(model: MorphableModel) -> Surface:
    """The largest connected piece, by area, of what is not labelled as eyes, teeth, gums, tongue or lashes.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    kept = np.flatnonzero(~model.part_faces(*LOOSE_PARTS) & (triangle_areas(model.mean, model.faces) > 0))
    if not len(kept):
        raise ValueError("model: expected a surface of skin, got triangles of eyes and teeth only or without area")
    faces, count = model.faces[kept], len(model.mean)
    links = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = sparse.coo_array((np.ones(len(links), np.int8), tuple(links.T)), (count, count))
    piece = connected_components(graph, directed=False)[1][faces[:, 0]]
    area = np.bincount(piece, triangle_areas(model.mean, faces))
    largest = piece == area.argmax()
    vertices, local = np.unique(faces[largest], return_inverse=True)
    return Surface(vertices, local.reshape(-1, 3), kept[largest], float(area.max() / area.sum()))


def place_head(
    source: MorphableModel, target: MorphableModel, landmarks: Landmarks | None = None,
    options: NonRigidOptions = NonRigidOptions(), progress: Progress = silent,
) -> PlacedHead:
    """Register a head's skin to another head's mean and carry eyes, teeth and tongue along.

    Parameters
    ----------
    source, target : MorphableModel
        mm; the source has landmarks.
    landmarks : Landmarks, optional
        (L, 3) mm on the target's mean; its own if left out, and found on its shape if it has none.
    options : NonRigidOptions
    progress : callable

    Raises
    ------
    ValueError
        If the target is no face that landmarks can be found on, has too few triangles, or the registration fails.
    """
    if len(target.faces) < LEAST_TRIANGLES:
        raise ValueError(
            f"model: expected at least {LEAST_TRIANGLES} triangles for a face with lips and lids, got "
            f"{len(target.faces)}"
        )
    here, there = main_surface(source), main_surface(target)
    scheme, points, said = _target_landmarks(source, target, landmarks, progress)
    marks = source.landmarks[scheme]
    size = _size(source, marks, scheme, points)
    if len(source.mean) == len(target.mean) and np.array_equal(source.faces, target.faces):
        similarity = procrustes(source.mean, target.mean)
        return PlacedHead(
            similarity, similarity.apply(source.mean), np.array(target.mean), here, there, True, scheme, points, size,
            True, "the two heads have the same triangles",
        )  # fmt: skip
    vertices, use = _landmark_vertices(source, here, marks, points, scheme)
    skin = source.part_faces(*INSIDE_PARTS)[here.triangles]
    trust = np.ones(len(here.vertices))
    trust[here.faces[skin]] = 0.0
    template = Mesh(source.mean[here.vertices], here.faces)
    # a mean shape has no scanner's noise to smooth away
    scan = Target(Mesh(target.mean[there.vertices], there.faces), options.turn)
    stages = len(options.stiffness) * options.iterations * options.passes + len(options.settling)
    last, count, before = None, 0, template.vertices
    for step in nonrigid_steps(template, scan, vertices, points[use], options, trust):
        count, last, before = count + 1, step, template.vertices if last is None else last.vertices
        progress(count, stages, "registering the head")
    result = registration_result(template, scan, last, count, options.agreement)
    if result.matched.mean() < LEAST_MATCHED:
        raise ValueError(f"model: the head could not be registered: {result.reason}")
    face = np.isin(here.vertices, np.flatnonzero(source.part_vertices("face", "lips", "skin"))) & (trust > 0)
    face = face if face.sum() > 100 else trust > 0
    # hair and collars, and what lies inside the mouth, have nothing to come to rest on
    across = ((last.vertices - before) * vertex_normals(last.vertices, here.faces)).sum(1)[face]
    moved = float(np.percentile(np.abs(across), 99))
    similarity = procrustes(source.mean[here.vertices[face]], result.vertices[face])
    aligned = similarity.apply(source.mean)
    placed = _carried(source, here, aligned, result.vertices)
    return PlacedHead(
        similarity, aligned, placed, here, there, False, scheme, points, size, moved < _STILL,
        f"{said}; in the last step 99 of 100 vertices of the face moved by less than {moved:.2f} mm",
    )  # fmt: skip


def _size(source, marks, scheme, points) -> float:
    """The target's size against a usual head's; its eye corners may be missing."""
    own = marks.locate(source.mean, source.faces)
    shared = np.isfinite(own).all(1) & np.isfinite(points).all(1)
    usual = interocular(scheme, own) / USUAL_EYES
    usual = usual if np.isfinite(usual) and usual > 0 else 1.0
    return usual * procrustes(own[shared], points[shared]).scale


def sides_of_openings(vertices, faces, scheme: str, points, size: float) -> np.ndarray:
    """Labels (V,) of upper and lower lip and lids, see `opening_sides`, on a mesh with landmarks `points` (L, 3)."""
    openings = [(points[list(upper)], points[list(lower)]) for upper, lower in _OPENINGS[scheme]]
    return opening_sides(vertices, faces, openings, [size * reach for reach in _REACH])


def onto_target(source: MorphableModel, target: MorphableModel, head: PlacedHead):
    """Where the source's skin lies on the target's.

    Returns
    -------
    faces : (V,) int64
        Triangle of the target for each vertex of the source; -1 off its skin and where nothing corresponds.
    weights : (V, 3) float64
        Barycentric coordinates.
    """
    here, there = head.source, head.target
    rest = target.mean[there.vertices]
    sides = sides_of_openings(rest, there.faces, head.scheme, head.points, head.size)
    own = sides_of_openings(
        head.aligned[here.vertices], here.faces, head.scheme,
        source.landmarks[head.scheme].locate(head.aligned, source.faces), head.size,
    )  # fmt: skip
    placed = head.placed[here.vertices]
    found, weights, distance, cosine = SurfaceMatcher(rest, there.faces, sides, 15.0 * head.size).match(
        placed, vertex_normals(placed, here.faces), own
    )
    faces, places = np.full(len(source.mean), -1), np.zeros((len(source.mean), 3))
    good = (distance < _NEAR * head.size) & (cosine > 0.2)
    faces[here.vertices[good]], places[here.vertices[good]] = there.triangles[found[good]], weights[good]
    return faces, places


def placed_landmarks(source: MorphableModel, target: MorphableModel, head: PlacedHead) -> dict[str, MeshLandmarks]:
    """The source's landmarks at their places on the target's skin; those off the skin are missing."""
    if head.same:
        return dict(source.landmarks)
    faces, weights = onto_target(source, target, head)
    surface, marks = head.target, {}
    for scheme, own in source.landmarks.items():
        corners = source.faces[np.maximum(own.faces, 0)]
        known = own.present & ((faces[corners] >= 0) | (own.weights == 0)).all(1)
        # the mean of the corners' places on the target, put back on its surface
        corner = np.einsum("lckd,lck->lcd", target.mean[target.faces[faces[corners]]], weights[corners])
        points = np.einsum("lc,lcd->ld", own.weights, np.where(known[:, None, None], corner, 0))
        points[~known] = np.nan
        marks[scheme] = on_surface(scheme, points, target.mean, target.faces, surface.triangles)
    return marks


def on_surface(scheme: str, points, vertices, faces, triangles) -> MeshLandmarks:
    """Landmarks at the places of some of a mesh's triangles that are nearest to points (L, 3); NaN is missing."""
    points = np.asarray(points, float)
    there = np.isfinite(points).all(1)
    place, weights = np.full(len(points), -1), np.zeros((len(points), 3))
    if there.any():
        near = nearest_on_mesh(points[there], vertices, faces[triangles])
        place[there], weights[there] = triangles[near.faces], near.weights
    return MeshLandmarks(scheme, place, weights)


def _target_landmarks(source, target, given, progress) -> tuple[str, np.ndarray, str]:
    """Scheme, points and where they are from."""
    if not source.landmarks:
        raise ValueError("source: has no landmarks; expressions are taken from a head with landmarks")
    if given is not None:
        if given.points.shape[1] != 3 or given.unit != "mm":
            raise ValueError("landmarks: expected points in space, in mm, got points of a picture")
        known = {given.scheme: given.points}
        said = "landmarks as given"
    else:
        known = {scheme: marks.locate(target.mean, target.faces) for scheme, marks in target.landmarks.items()}
        said = "the model's own landmarks"
    for scheme in ("mediapipe478", "ibug68"):
        if scheme in known and scheme in source.landmarks:
            inner = np.isfinite(known[scheme]).all(1) & source.landmarks[scheme].present
            inner[[*OUTLINE[scheme], *UNUSED[scheme]]] = False
            if inner.sum() >= 20:
                return scheme, known[scheme], said
    if given is not None:
        raise ValueError(
            f"landmarks: expected at least 20 points inside the face that the source has too, got {given.scheme} with "
            f"{int(np.isfinite(given.points).all(1).sum())} points"
        )
    from affect3d.fitting.scan_landmarks import find_scan_landmarks

    if "ibug68" not in source.landmarks:
        raise ValueError("source: has no ibug68 landmarks, and those are what can be found on the other head")
    used = np.unique(target.faces)
    if not np.isfinite(target.mean[used]).all() or not np.ptp(target.mean[used], axis=0).min() > 0:
        raise ValueError("model: expected a head with an extent in space, got a flat one")
    found = find_scan_landmarks(Mesh(target.mean, target.faces), progress=progress)
    if not found.found:
        raise ValueError(
            f"model: has no landmarks and none were found on its mean shape ({found.reason}); name a file with "
            "--landmarks"
        )
    return "ibug68", found.landmarks.points, f"landmarks {found.reason}"


def _landmark_vertices(source, surface: Surface, marks, points, scheme) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the source's skin at the landmarks that the target has too, and which landmarks these are."""
    local = np.full(len(source.mean), -1)
    local[surface.vertices] = np.arange(len(surface.vertices))
    corner = source.faces[np.maximum(marks.faces, 0)][np.arange(len(marks.faces)), marks.weights.argmax(1)]
    use = marks.present & np.isfinite(points).all(1) & (local[corner] >= 0)
    use[[*OUTLINE[scheme], *UNUSED[scheme]]] = False
    use = np.flatnonzero(use)
    if len(use) < 6:
        raise ValueError(f"landmarks: expected at least 6 that both heads have on their skin, got {len(use)}")
    return local[corner[use]], use


def _carried(source, surface: Surface, aligned, bent) -> np.ndarray:
    """All vertices on the target: the skin bent, each loose part by the similarity of the skin before it.

    Turn and size come from the skin around, the place from the nearest: lips before teeth, lids before eyes.
    """
    placed = np.array(aligned)
    placed[surface.vertices] = bent
    outside = np.ones(len(surface.vertices), bool)
    outside[surface.faces[source.part_faces(*INSIDE_PARTS)[surface.triangles]]] = False
    skin, there = aligned[surface.vertices[outside]], bent[outside]
    lips = source.part_vertices("lips")[surface.vertices[outside]]
    tree = cKDTree(skin)
    mouth = source.part_vertices("teeth_upper", "teeth_lower", "gums", "tongue")
    others = [source.part_vertices(name) for name in LOOSE_PARTS]
    # teeth, gums and tongue belong together: one motion for all of them
    for part in [mouth, *(p for p in others if not (p & mouth).any())]:
        part = np.flatnonzero(part)
        part = part[~np.isin(part, surface.vertices)]
        if not len(part):
            continue
        if lips.any() and mouth[part].all():
            nearest = np.flatnonzero(lips)
        else:
            nearest = np.argsort(cKDTree(aligned[part]).query(skin)[0], kind="stable")[:150]
        middle = skin[nearest].mean(0)
        around = tree.query_ball_point(middle, 2.0 * np.linalg.norm(skin[nearest] - middle, axis=1).max())
        motion = procrustes(skin[around], there[around])
        shift = (there[nearest] - motion.apply(skin[nearest])).mean(0)
        placed[part] = motion.apply(aligned[part]) + shift
    return placed
