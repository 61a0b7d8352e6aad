"""Landmarks for a model whose file has none: from a file that the user names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.io.foreign.array_files import npz_names, parse_npy, read_npz
from affect3d.io.foreign.array_pickle import looks_pickled, unpickle_arrays
from affect3d.io.landmark_files import read_landmark_vertices, read_landmarks
from affect3d.landmarks import SCHEMES, MeshLandmarks

__all__ = ["landmarks_at_points", "landmarks_at_vertices", "read_model_landmarks"]

#: Points farther from the surface belong to another unit, frame or model, mm.
FARTHEST = 20.0
#: Names of triangles and barycentric coordinates in the embeddings published for FLAME, all points before the 51.
_EMBEDDINGS = (
    ("full_lmk_faces_idx", "full_lmk_bary_coords"), ("lmk_face_idx", "lmk_b_coords"),
    ("lmk_faces_idx", "lmk_bary_coords"),
    ("static_lmk_faces_idx", "static_lmk_bary_coords"),
)  # fmt: skip
_INDICES = "landmark_indices"
_MAX_TEXT = 1_000_000
#: Schemes of texts with weighted corners, by their number of lines.
_BY_COUNT = {68: "ibug68", 468: "mediapipe478", 478: "mediapipe478"}


def read_model_landmarks(path, mean, faces) -> MeshLandmarks:
    """Landmarks of a model.

    Parameters
    ----------
    path : str or Path
        Of affect3d's JSON with ``vertices`` or with three-dimensional ``points``, of another landmark file with
        three coordinates (mm, model frame), of eos's mapping (``ibug_to_sfm.txt``), or of an embedding as published
        for FLAME: .npy, .npz or .pkl with triangles and barycentric coordinates of 51 or 68 points, or of some of
        MediaPipe's with their ``landmark_indices``; or of GNM's text (``head_sparse_68.txt``): a line a point, three
        vertices each followed by its weight.
    mean : (V, 3) float array
        Vertices in mm.
    faces : (F, 3) int array

    Raises
    ------
    ValueError
        If the file is none of these or does not fit the model; one sentence that names it.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with open(path, "rb") as file:
        head = file.read(16)
    try:
        pickled = path.suffix.lower() in (".pkl", ".pickle") and looks_pickled(head)
        if pickled or head.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            return _embedded(_embedding(path, head), len(faces))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if path.suffix.lower() == ".txt" and (mapping := _eos_mapping(path)):
        scheme, vertices = "ibug68", np.array([mapping.get(k, -1) for k in range(1, 69)])
    elif path.suffix.lower() == ".txt" and (rows := _weighted_corners(path)) is not None:
        try:
            return _at_weighted_corners(rows, np.asarray(mean, np.float64), faces)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    elif path.suffix.lower() == ".json" and b'"vertices"' in path.read_bytes()[:_MAX_TEXT]:
        scheme, vertices = read_landmark_vertices(path)
    else:
        marks = read_landmarks(path)
        if marks.unit != "mm" or marks.points.shape[1] != 3:
            axes = marks.points.shape[1]
            raise ValueError(f"{path}: expected points in space, in mm, got {axes} coordinates in {marks.unit}")
        try:
            return landmarks_at_points(marks.scheme, marks.points, mean, faces)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if vertices.max(initial=-1) >= len(mean):
        raise ValueError(f"{path}: names vertex {vertices.max()}, the model has {len(mean)}")
    return landmarks_at_vertices(scheme, vertices, faces)


def landmarks_at_vertices(scheme: str, vertices, faces) -> MeshLandmarks:
    """Landmarks at vertices (L,); -1, and a vertex that no triangle uses, is a missing point."""
    vertices = np.asarray(vertices)
    triangle = np.full(int(max(faces.max(initial=-1), vertices.max(initial=-1))) + 1, -1)
    triangle[faces[::-1]] = np.arange(len(faces))[::-1, None]  # the first triangle of each vertex
    chosen = np.where(vertices >= 0, triangle[np.maximum(vertices, 0)], -1)
    corner = (faces[np.maximum(chosen, 0)] == vertices[:, None]) & (chosen >= 0)[:, None]
    weights = corner.astype(float)
    return MeshLandmarks(scheme, chosen, weights / np.maximum(weights.sum(1, keepdims=True), 1))


def landmarks_at_points(scheme: str, points, mean, faces) -> MeshLandmarks:
    """Landmarks at the surface's points nearest to `points` (L, 3) mm; NaN is a missing point.

    Raises
    ------
    ValueError
        If one lies more than 20 mm from the surface.
    """
    points = np.asarray(points, np.float64)
    there = np.isfinite(points).all(1)
    triangle, weights = np.full(len(points), -1), np.zeros((len(points), 3))
    if there.any():
        near = nearest_on_mesh(points[there], np.asarray(mean, np.float64), np.asarray(faces))
        if near.distance.max() > FARTHEST:
            worst = np.flatnonzero(there)[near.distance.argmax()]
            raise ValueError(
                f"landmark {worst} lies {near.distance.max():.0f} mm from the model: another unit, frame or model?"
            )
        triangle[there], weights[there] = near.faces, near.weights
    return MeshLandmarks(scheme, triangle, weights)


def _embedding(path: Path, head: bytes) -> dict:
    if head[:4] == b"PK\x03\x04":
        return read_npz(path, npz_names(path) & {name for pair in _EMBEDDINGS for name in (*pair, _INDICES)})
    data = path.read_bytes()
    content = parse_npy(data) if head[:6] == b"\x93NUMPY" else unpickle_arrays(data)
    if not isinstance(content, dict):
        raise ValueError("expected a dict of triangles and barycentric coordinates")
    return content


def _embedded(content: dict, triangles: int) -> MeshLandmarks:
    for names in _EMBEDDINGS:
        pair = [content.get(name) for name in names]
        if all(isinstance(a, np.ndarray) and a.dtype.kind in "fiu" for a in pair):
            break
    else:
        raise ValueError(f"has none of the embeddings {', '.join(a for a, _ in _EMBEDDINGS)}")
    faces, weights = pair[0].ravel(), np.asarray(pair[1], np.float64)
    if faces.dtype.kind == "f" or weights.size != 3 * len(faces):
        raise ValueError(f"{names[0]}, {names[1]}: expected whole numbers and three weights each, got {pair[1].shape}")
    weights = weights.reshape(-1, 3)
    if len(faces) and (faces.min() < 0 or faces.max() >= triangles):
        raise ValueError(f"{names[0]}: triangles must lie in [0, {triangles}), got {faces.max()}")
    if not np.isfinite(weights).all() or (np.abs(weights.sum(1) - 1) > 0.01).any():
        raise ValueError(f"{names[1]}: expected barycentric coordinates, whose sum is 1")
    indices = content.get(_INDICES)
    if isinstance(indices, np.ndarray) and indices.size == len(faces) and indices.dtype.kind in "iu":
        scheme, places = "mediapipe478", indices.ravel().astype(np.int64)
    elif len(faces) in (51, 68):  # the 51 are those without the outline
        scheme, places = "ibug68", np.arange(68 - len(faces), 68)
    else:
        raise ValueError(f"{names[0]}: expected 51 or 68 points, or landmark_indices beside them, got {len(faces)}")
    if len(places) and (places.min() < 0 or places.max() >= SCHEMES[scheme]):
        raise ValueError(f"{_INDICES}: must lie in [0, {SCHEMES[scheme]}), got {places.max()}")
    chosen, values = np.full(SCHEMES[scheme], -1), np.zeros((SCHEMES[scheme], 3))
    chosen[places], values[places] = faces, weights
    return MeshLandmarks(scheme, chosen, values)


def _eos_mapping(path: Path) -> dict[int, int]:
    """Vertices by iBUG numbers (from 1) of eos's mapping files, old and new; empty if it is none."""
    with open(path, "rb") as file:
        text = file.read(_MAX_TEXT).decode("utf-8", "replace")
    section = r"^\s*(?:landmarkMappings\b[^{]*\{|\[landmark_mappings\])(.*?)(?:^\s*\}|^\s*\[|\Z)"
    found = re.search(section, text, re.S | re.M)
    if not found:
        return {}
    pairs = re.findall(r"""^\s*"?(\d{1,3})"?\s*(?:=\s*)?"?(\d{1,8})"?\s*(?:[;#].*)?$""", found.group(1), re.M)
    return {int(number): int(vertex) for number, vertex in pairs if 1 <= int(number) <= 68}


def _weighted_corners(path: Path) -> np.ndarray | None:
    """(L, 6) numbers of a text whose lines are vertex, weight, vertex, weight, vertex, weight; None if it is none."""
    with open(path, "rb") as file:
        text = file.read(_MAX_TEXT).decode("utf-8", "replace")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) not in _BY_COUNT or any(len(line) != 6 for line in lines):
        return None
    try:
        rows = np.array(lines, dtype=np.float64)
    except ValueError:
        return None
    return rows if np.isfinite(rows).all() and (rows[:, ::2] == np.rint(rows[:, ::2])).all() else None


def _at_weighted_corners(rows, mean, faces) -> MeshLandmarks:
    """Landmarks at weighted corners; where these are no triangle of the model, at the nearest place of its skin."""
    corners, weights = rows[:, ::2].astype(np.int64), rows[:, 1::2]
    if corners.min() < 0 or corners.max() >= len(mean):
        raise ValueError(f"names vertex {corners.max() if corners.min() >= 0 else corners.min()}, the model has "
                         f"{len(mean)}")  # fmt: skip
    if (np.abs(weights.sum(1) - 1) > 0.01).any():
        raise ValueError("expected weights whose sum is 1")
    scheme, places = _BY_COUNT[len(rows)], np.arange(len(rows))
    points = np.einsum("lk,lkd->ld", weights, mean[corners])
    if scheme == "ibug68":
        # GNM's file has some of the outline the other way round: iBUG's runs from the subject's right to the left
        middle, top = points[:17].mean(0), points[:17, 1].max()
        places[:17] = np.argsort(np.arctan2(points[:17, 0] - middle[0], top + 1 - points[:17, 1]), kind="stable")
    corners, weights, points = corners[places], weights[places], points[places]
    order = np.argsort(faces, axis=1)
    known = {tuple(row): i for i, row in enumerate(np.take_along_axis(np.asarray(faces, np.int64), order, 1).tolist())}
    ranks = np.argsort(corners, axis=1)
    named = [known.get(tuple(row), -1) for row in np.take_along_axis(corners, ranks, 1).tolist()]
    chosen = np.array(named)
    placed = np.zeros((len(rows), 3))
    here = chosen >= 0
    sorted_weights = np.take_along_axis(weights, ranks, 1)
    np.put_along_axis(placed, order[np.maximum(chosen, 0)], sorted_weights, 1)
    if not here.all():
        near = landmarks_at_points(scheme, np.where(here[:, None], np.nan, points), mean,
                                   faces)  # fmt: skip
        chosen, placed = np.where(here, chosen, near.faces), np.where(here[:, None], placed, near.weights)
    full, values = np.full(SCHEMES[scheme], -1), np.zeros((SCHEMES[scheme], 3))
    full[: len(rows)], values[: len(rows)] = chosen, placed / placed.sum(1, keepdims=True)
    return MeshLandmarks(scheme, full, values)
