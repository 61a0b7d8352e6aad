"""Catmull-Clark subdivision as a linear operator."""

import numpy as np
import pytest

from affect3d.geometry.subdivide import catmull_clark

CUBE = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])
CUBE_AT = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)


def grid(columns, rows):
    """Quads and positions of a flat grid, counter-clockwise seen from +z."""
    index = np.arange((columns + 1) * (rows + 1)).reshape(rows + 1, columns + 1)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    y, x = np.divmod(np.arange(index.size), columns + 1)
    return quads, np.stack([x, y, 0 * x], -1).astype(float)


def slow_twin(quads, positions):
    """Catmull and Clark's rules with dictionaries, for closed meshes."""
    face_points = [positions[q].mean(0) for q in quads]
    around, edges = {}, {}
    for f, q in enumerate(quads.tolist()):
        for k in range(4):
            around.setdefault(q[k], []).append(f)
            edges.setdefault(frozenset((q[k], q[(k + 1) % 4])), []).append(f)
    corners = []
    for v in range(len(positions)):
        n = len(around[v])
        middles = [positions[list(e)].mean(0) for e in edges if v in e]
        q, r = np.mean([face_points[f] for f in around[v]], 0), np.mean(middles, 0)
        corners.append((q + 2 * r + (n - 3) * positions[v]) / n)
    points = [(positions[list(e)].sum(0) + face_points[f] + face_points[g]) / 4 for e, (f, g) in edges.items()]
    return np.array(corners), np.array(points), np.array(face_points)


def closest(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1).min(1).max()


def edge_counts(triangles):
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    return np.unique(pairs, axis=0, return_counts=True)


def volume(positions, triangles):
    a, b, c = positions[triangles].transpose(1, 0, 2)
    return np.einsum("fi,fi->", a, np.cross(b, c)) / 6


def test_a_cube_agrees_with_the_rules_written_out():
    rng = np.random.default_rng(0)
    positions = CUBE_AT + 0.1 * rng.standard_normal(CUBE_AT.shape)
    refined = catmull_clark(CUBE, 8)
    got = refined.operator @ positions
    corners, edges, faces = slow_twin(CUBE, positions)
    np.testing.assert_allclose(got[:8], corners, atol=1e-12)
    assert closest(got[8:20], edges) < 1e-12 and closest(edges, got[8:20]) < 1e-12
    np.testing.assert_allclose(got[20:], faces, atol=1e-12)


@pytest.mark.parametrize("chosen", [[], [0], [0, 1], [2, 3, 4], range(6)])
def test_refining_any_part_of_a_closed_mesh_leaves_it_closed_and_outward(chosen):
    where = np.isin(np.arange(6), list(chosen))
    refined = catmull_clark(CUBE, 8, where)
    _, counts = edge_counts(refined.triangles)
    assert (counts == 2).all()
    assert volume(refined.operator @ CUBE_AT, refined.triangles) > 0.3
    # each quad's own triangles, and no others
    assert set(refined.parents.tolist()) == set(range(6))


def test_rows_sum_to_one_so_that_translations_pass_through():
    quads, at = grid(5, 4)
    refined = catmull_clark(quads, len(at), np.arange(len(quads)) % 3 == 0)
    np.testing.assert_allclose(refined.operator.sum(1), 1, atol=1e-12)


def test_a_flat_grid_stays_in_place_inside_its_border():
    quads, at = grid(6, 6)
    refined = catmull_clark(quads, len(at))
    got = refined.operator @ at
    inner = ((at[:, :2] > 0) & (at[:, :2] < 6)).all(1)
    np.testing.assert_allclose(got[: len(at)][inner], at[inner], atol=1e-12)
    a, b, c = got[refined.triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    assert (area > 0).all() and abs(area.sum() / 2 - 36) < 0.7  # the corners are rounded a little


def test_vertices_next_to_unrefined_quads_stay_and_the_seam_has_no_crack():
    quads, at = grid(4, 1)
    at[:, 2] = np.random.default_rng(1).standard_normal(len(at))
    where = np.array([True, True, False, False])
    refined = catmull_clark(quads, len(at), where)
    got = refined.operator @ at
    plain = np.unique(quads[~where])
    np.testing.assert_array_equal(got[plain], at[plain])
    pairs, counts = edge_counts(refined.triangles)
    border = pairs[counts == 1]
    # the border is one closed chain: every vertex on it has two neighbours
    assert (np.unique(border, return_counts=True)[1] == 2).all()


def test_texture_coordinates_are_cut_alike_across_a_seam():
    quads, at = grid(2, 1)
    uv_quads = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])  # nothing shared: a seam between the two quads
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [5, 0], [6, 0], [6, 1], [5, 1]], float)
    refined = catmull_clark(quads, len(at), np.array([True, False]), uv_quads, len(uv))
    assert refined.uv_triangles.shape == refined.triangles.shape
    flat = refined.uv_operator @ uv
    centre = flat[refined.uv_triangles].mean(1)
    assert (centre[refined.parents == 0, 0] < 1).all() and (centre[refined.parents == 1, 0] > 5).all()
    for k, corner in enumerate(quads[0]):  # corners keep their coordinates
        face, place = np.argwhere((refined.triangles == corner) & (refined.parents == 0)[:, None])[0]
        np.testing.assert_array_equal(flat[refined.uv_triangles[face, place]], uv[k])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"quads: indices must lie in \[0, 7\), got 7"):
        catmull_clark(CUBE, 7)
    with pytest.raises(ValueError, match="quads: expected integers"):
        catmull_clark(CUBE[:, :3], 8)
    with pytest.raises(ValueError, match="where"):
        catmull_clark(CUBE, 8, np.ones(5, bool))
    with pytest.raises(ValueError, match="uv_quads: expected 6 rows"):
        catmull_clark(CUBE, 8, None, CUBE[:2], 8)
