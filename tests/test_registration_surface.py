"""What is asked of a scan once, compiled, against loops and scipy; the pieces of a scan that are surface."""

from collections import Counter

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from affect3d.geometry.triangles import triangle_areas
from affect3d.registration.surface_kernels import edge_table, parts, smoothing, triangle_sizes
from affect3d.registration.target import border_loops, smoothed, trusted_faces


def crumpled(seed, count=40, triangles=90):
    """Triangles at random: edges of one, two and many of them, vertices in none, and some corners twice."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)), rng.integers(0, count, (triangles, 3))


def rows(pointers, near, times):
    return [
        dict(zip(near[a:b].tolist(), times[a:b].tolist(), strict=True))
        for a, b in zip(pointers, pointers[1:], strict=False)
    ]


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("seed, triangles", [(0, 90), (1, 90), (2, 90), (3, 2000)])  # the last: many of each edge
def test_edges_are_those_that_a_loop_counts(seed, triangles, kind):
    vertices, faces = crumpled(seed, triangles=triangles)
    sides = Counter(tuple(sorted((int(f[k]), int(f[(k + 1) % 3])))) for f in faces for k in range(3))
    pointers, near, times = edge_table(faces.astype(kind), len(vertices))
    found = rows(pointers, near, times)
    for v in range(len(vertices)):
        expected = {i + j - v: n for (i, j), n in sides.items() if v in (i, j)}
        assert found[v] == expected and list(found[v]) == sorted(expected)


def test_a_mesh_without_triangles_has_no_edges():
    pointers, near, times = edge_table(np.zeros((0, 3), np.int32), 5)
    assert pointers.tolist() == [0] * 6 and not len(near) and not len(times)


@pytest.mark.parametrize("wrong", [-1, 40])
def test_an_index_that_names_no_vertex_is_refused(wrong):
    vertices, faces = crumpled(0)
    faces[7, 1] = wrong
    for call in (
        lambda: edge_table(faces, 40), lambda: border_loops(faces, vertices), lambda: trusted_faces(vertices, faces),
        lambda: smoothed(vertices, faces, 1),
    ):  # fmt: skip
        with pytest.raises(IndexError):
            call()


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("links", [0, 10, 40, 300])
def test_parts_are_those_of_scipy_in_the_order_of_their_first_vertices(links, width):
    together = np.random.default_rng(links).integers(0, 60, (links, width))
    pairs = np.vstack([together[:, [0, k]] for k in range(1, width)])
    graph = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (60, 60))
    found = parts(together, 60)
    np.testing.assert_array_equal(found, connected_components(graph, directed=False)[1])
    first = [np.flatnonzero(found == k)[0] for k in range(found.max() + 1)]
    assert first == sorted(first)


def test_sizes_of_triangles_have_the_bits_of_numpy():
    vertices, faces = crumpled(5, 300, 4000)
    areas, edges = triangle_sizes(vertices, faces)
    np.testing.assert_array_equal(areas, triangle_areas(vertices, faces))
    before = vertices[np.roll(faces, 1, axis=1)]
    np.testing.assert_array_equal(edges, np.linalg.norm(vertices[faces] - before, axis=2))


@pytest.mark.parametrize("share", [0.5, -0.53])
def test_smoothing_draws_to_the_mean_of_the_neighbours(share):
    vertices, faces = crumpled(6)
    pointers, near, times = edge_table(faces, len(vertices))
    free = np.arange(len(vertices)) % 5 > 0
    found = smoothing(vertices, pointers, near, free, share)
    for v, row in enumerate(rows(pointers, near, times)):
        mean = vertices[list(row)].mean(0) if row and free[v] else vertices[v]
        np.testing.assert_allclose(found[v], vertices[v] + share * (mean - vertices[v]), atol=1e-13)


def test_smoothing_leaves_borders_and_lonely_vertices_and_what_it_is_given():
    vertices, faces = crumpled(7, 40, 60)
    faces = faces[faces.max(1) < 39]
    before, found = vertices.copy(), smoothed(vertices, faces, 3)
    np.testing.assert_array_equal(vertices, before)
    sides = Counter(tuple(sorted((int(f[k]), int(f[(k + 1) % 3])))) for f in faces for k in range(3))
    still = {39} | {v for side, n in sides.items() if n == 1 for v in side}
    np.testing.assert_array_equal(found[list(still)], vertices[list(still)])


def test_the_longest_border_comes_first_and_each_has_the_vertices_that_a_loop_finds():
    x, y = np.meshgrid(np.arange(8.0), np.arange(6.0))
    i = (np.arange(5)[:, None] * 8 + np.arange(7)).ravel()
    faces = np.vstack([np.column_stack([i, i + 1, i + 9]), np.column_stack([i, i + 9, i + 8])])
    vertices = np.column_stack([x.ravel(), y.ravel(), 0 * x.ravel()])
    hole = (faces == 19).any(1)  # the triangles around one vertex
    loops = border_loops(faces[~hole], vertices)
    outside = np.flatnonzero((x.ravel() % 7 == 0) | (y.ravel() % 5 == 0))
    assert [loop.tolist() for loop in loops] == [outside.tolist(), np.setdiff1d(faces[hole], 19).tolist()]
    assert border_loops(np.array([[0, 1, 2], [0, 2, 1]]), np.eye(3)) == []
