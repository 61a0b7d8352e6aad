"""One step of Catmull-Clark subdivision, as a linear operator, on all or some quads.

Positions and displacements are refined by the same sparse matrix, so a refined
blendshape model is the blendshape model of the refined mesh.

Source: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary
topological meshes", Computer-Aided Design 10(6), 1978; border rules as in DeRose,
Kass and Truong, "Subdivision Surfaces in Character Animation", SIGGRAPH 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["Refinement", "catmull_clark"]


@dataclass(frozen=True, eq=False)
class Refinement:
    """A refined mesh as functions of the coarse one.

    Attributes
    ----------
    operator : (N, V) sparse float64
        Refined positions are ``operator @ positions``; the rows sum to one.
    triangles : (F, 3) int32
        With the orientation of the quads.
    parents : (F,) int32
        The quad that each triangle came from.
    uv_operator : (M, T) sparse float64, or None
        The same for texture coordinates, without smoothing.
    uv_triangles : (F, 3) int32, or None
    """

    operator: sparse.csr_array
    triangles: np.ndarray
    parents: np.ndarray
    uv_operator: sparse.csr_array | None = None
    uv_triangles: np.ndarray | None = None


def catmull_clark(quads, count: int, where=None, uv_quads=None, uv_count: int = 0) -> Refinement:
    """Refine quads once and cut the result into triangles.

    Parameters
    ----------
    quads : (Q, 4) int array
        Vertex indices.
    count : int
        V, the number of coarse vertices.  The refined mesh keeps the first V in
        place, those that no quad uses included; points on edges and faces follow.
    where : (Q,) bool array, optional
        Quads to refine; by default all.  The others keep their corners; where they
        border on refined ones they are cut so that the surface has no cracks.
    uv_quads : (Q, 4) int array, optional
        Indices of texture coordinates, of which there are `uv_count`.

    Returns
    -------
    Refinement

    Raises
    ------
    ValueError
        If an index names no vertex, or the shapes disagree.
    """
    quads = _quads(quads, "quads", count)
    where = np.ones(len(quads), bool) if where is None else np.asarray(where, bool)
    if where.shape != (len(quads),):
        raise ValueError(f"where: expected one truth value for each of {len(quads)} quads, got shape {where.shape}")
    edges, edge_of = _edges(quads)
    split = np.zeros(len(edges), bool)
    split[edge_of[where]] = True
    split_corner = split[edge_of]  # (Q, 4)
    centred = where | split_corner.any(1)
    slots, parents = _cut(where, split_corner)

    edge_point = count + np.cumsum(split) - 1
    face_point = count + split.sum() + np.cumsum(centred) - 1
    triangles = _fill(slots, parents, quads, edge_point[edge_of], face_point)
    operator = _smooth_operator(quads, count, where, edges, edge_of, split, centred)
    if uv_quads is None:
        return Refinement(operator, triangles, parents)

    uv_quads = _quads(uv_quads, "uv_quads", uv_count)
    if len(uv_quads) != len(quads):
        raise ValueError(f"uv_quads: expected {len(quads)} rows as in quads, got {len(uv_quads)}")
    uv_edges, uv_edge_of = _edges(uv_quads)
    uv_split = np.zeros(len(uv_edges), bool)
    uv_split[uv_edge_of[split_corner]] = True
    uv_triangles = _fill(
        slots, parents, uv_quads, (uv_count + np.cumsum(uv_split) - 1)[uv_edge_of],
        uv_count + uv_split.sum() + np.cumsum(centred) - 1,
    )
    uv_operator = sparse.vstack([
        sparse.eye_array(uv_count), _average(uv_edges[uv_split], uv_count), _average(uv_quads[centred], uv_count)
    ]).tocsr()
    return Refinement(operator, triangles, parents, uv_operator, uv_triangles)


def _quads(value, name: str, count: int) -> np.ndarray:
    quads = np.asarray(value)
    if quads.ndim != 2 or quads.shape[1] != 4 or not np.issubdtype(quads.dtype, np.integer):
        raise ValueError(f"{name}: expected integers of shape (Q, 4), got {quads.dtype} of shape {quads.shape}")
    if quads.size and (quads.min() < 0 or quads.max() >= count):
        bad = quads.min() if quads.min() < 0 else quads.max()
        raise ValueError(f"{name}: indices must lie in [0, {count}), got {bad}")
    return quads.astype(np.int64)


def _edges(quads):
    """Different edges (E, 2), and for each quad the edge behind each corner (Q, 4)."""
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], -1).reshape(-1, 2)
    edges, index = np.unique(np.sort(ends, 1), axis=0, return_inverse=True)
    return edges, index.reshape(-1, 4)


def _cut(where, split):
    """Triangles in slots of their quad (0-3 corners, 4-7 edge points, 8 the face point), and their quads."""
    slots, parents = [], []
    plain = np.flatnonzero(~where & ~split.any(1))
    for a, b, c in ((0, 1, 2), (0, 2, 3)):
        slots.append(np.tile([a, b, c], (len(plain), 1)))
        parents.append(plain)
    for k in range(4):
        n = (k + 1) % 4
        cut = np.flatnonzero(split[:, k])
        whole = np.flatnonzero(~split[:, k] & split.any(1))
        for which, corners in ((cut, (k, 4 + k, 8)), (cut, (4 + k, n, 8)), (whole, (k, n, 8))):
            slots.append(np.tile(corners, (len(which), 1)))
            parents.append(which)
    slots, parents = np.concatenate(slots), np.concatenate(parents)
    order = np.argsort(parents, kind="stable")
    return slots[order], parents[order].astype(np.int32)


def _fill(slots, parents, quads, edge_points, face_points):
    table = np.concatenate([quads, edge_points, face_points[:, None]], 1)
    return table[parents[:, None], slots].astype(np.int32)


def _average(groups, count: int):
    """(G, count) sparse: the mean of each row's vertices."""
    rows = np.repeat(np.arange(len(groups)), groups.shape[1])
    values = np.full(groups.size, 1.0 / groups.shape[1])
    return sparse.csr_array((values, (rows, groups.ravel())), shape=(len(groups), count))


def _smooth_operator(quads, count, where, edges, edge_of, split, centred):
    centroid = _average(quads, count)
    midpoint = _average(edges, count)
    corner_of = sparse.csr_array(
        (np.ones(quads.size), (quads.ravel(), np.repeat(np.arange(len(quads)), 4))), shape=(count, len(quads))
    )
    on_edge = sparse.csr_array(
        (np.ones(edge_of.size), (edge_of.ravel(), np.repeat(np.arange(len(quads)), 4))), shape=(len(edges), len(quads))
    )
    neighbours = np.asarray(on_edge.sum(1)).ravel()
    refined_neighbours = on_edge @ where.astype(float)

    # Edge points: smoothed only between two refined quads, else the middle of a border.
    inner = (neighbours == 2) & (refined_neighbours == 2)
    smooth_edge = 0.5 * (midpoint + sparse.diags_array(0.5 * inner) @ on_edge @ centroid)
    edge_points = sparse.diags_array(inner * 1.0) @ smooth_edge + sparse.diags_array((~inner) * 1.0) @ midpoint

    # Corners.
    valence = np.asarray(corner_of.sum(1)).ravel()
    all_refined = (valence > 0) & (corner_of @ where.astype(float) == valence)
    ends = sparse.csr_array(
        (np.ones(edges.size), (edges.ravel(), np.repeat(np.arange(len(edges)), 2))), shape=(count, len(edges))
    )
    border = neighbours == 1
    border_ends = ends @ border.astype(float)
    crowded = ends @ (neighbours > 2).astype(float) > 0
    interior = all_refined & (border_ends == 0) & ~crowded
    on_border = all_refined & (border_ends == 2) & (valence > 1) & ~crowded
    n = np.maximum(valence, 1)
    keep = ~interior & ~on_border
    corners = (
        sparse.diags_array(interior / n**2) @ corner_of @ centroid
        + sparse.diags_array(2 * interior / n**2) @ ends @ midpoint
        + sparse.diags_array(interior * (n - 3) / n)
        + sparse.diags_array(on_border * 0.5)
        + sparse.diags_array(on_border * 0.25) @ ends @ sparse.diags_array(border * 1.0) @ midpoint
        + sparse.diags_array(keep * 1.0)
    )
    edge_points, face_points = edge_points.tocsr()[np.flatnonzero(split)], centroid[np.flatnonzero(centred)]
    return sparse.vstack([corners, edge_points, face_points]).tocsr()
