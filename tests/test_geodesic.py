"""Heat-method distances against planes, spheres and shortest paths."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from affect3d.geometry.geodesic import HeatGeodesics, _gradient_and_divergence, geodesic_distance
from affect3d.geometry.laplacian import cotangent_laplacian


def grid(n, size=1.0, jitter=0.0):
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(0, size, n), np.linspace(0, size, n), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1)
    vertices[:, :2] += jitter * size / n * rng.uniform(-1, 1, (n * n, 2))
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    odd = (np.add.outer(np.arange(n - 1), np.arange(n - 1)) % 2).ravel().astype(bool)
    one = np.where(odd[:, None], np.stack([a, b, c], 1), np.stack([a, b, d], 1))
    two = np.where(odd[:, None], np.stack([a, c, d], 1), np.stack([b, c, d], 1))
    return vertices, np.concatenate([one, two])


def sphere(steps=3):
    t = (1 + 5**0.5) / 2
    v = np.array([[-1, t, 0], [1, t, 0], [-1, -t, 0], [1, -t, 0], [0, -1, t], [0, 1, t], [0, -1, -t], [0, 1, -t],
                  [t, 0, -1], [t, 0, 1], [-t, 0, -1], [-t, 0, 1]], float)  # fmt: skip
    f = np.array([[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2],
                  [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5],
                  [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]])  # fmt: skip
    for _ in range(steps):
        edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = len(v) + inverse.reshape(3, -1)
        v = np.concatenate([v, v[unique].mean(1)])
        a, b, c = middle
        f = np.concatenate([np.stack(t, 1) for t in ((f[:, 0], a, c), (f[:, 1], b, a), (f[:, 2], c, b), (a, b, c))])
    return v / np.linalg.norm(v, axis=1, keepdims=True), f


def test_distance_on_a_plane_is_the_straight_one():
    vertices, faces = grid(41, jitter=0.2)
    source = 20 * 41 + 20
    true = np.linalg.norm(vertices - vertices[source], axis=1)
    found = geodesic_distance(vertices, faces, source)
    assert np.abs(found - true).mean() < 0.015
    assert np.abs(found - true).max() < 0.05


def test_error_on_a_sphere_falls_when_the_mesh_is_refined():
    errors = []
    for steps in (2, 3, 4):
        vertices, faces = sphere(steps)
        true = np.arccos(np.clip(vertices @ vertices[0], -1, 1))
        errors.append(np.abs(geodesic_distance(vertices, faces, 0) - true).mean())
    assert errors[0] > 1.5 * errors[1] > 1.5**2 * errors[2]
    assert errors[2] < 0.03


def test_distance_is_at_most_about_the_shortest_path_over_edges():
    vertices, faces = sphere(3)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = sparse.csr_array((lengths, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    path = dijkstra(graph, directed=False, indices=7)
    found = geodesic_distance(vertices, faces, 7)
    assert (found <= path * 1.06 + 0.05).all() and (found >= path * 0.8 - 0.05).all()
    assert np.corrcoef(found, path)[0, 1] > 0.998


def test_the_unit_carries_over_to_the_distance():
    vertices, faces = sphere(2)
    np.testing.assert_allclose(geodesic_distance(200 * vertices, faces, 3), 200 * geodesic_distance(vertices, faces, 3),
                               rtol=1e-6, atol=1e-6)  # fmt: skip


def test_pieces_that_are_not_joined_are_infinitely_far():
    a, f = grid(8)
    vertices = np.concatenate([a, a + [5, 0, 0], [[9.0, 9, 9]]])
    solver = HeatGeodesics(vertices, np.concatenate([f, f + len(a)]))
    distance = solver.distance(3)
    assert np.isfinite(distance[: len(a)]).all() and np.isinf(distance[len(a) :]).all()
    np.testing.assert_allclose(solver.distance(3 + len(a))[len(a) : 2 * len(a)], distance[: len(a)], atol=1e-6)


def test_gradient_of_a_linear_function_is_exact_and_divergence_of_it_is_the_laplacian():
    vertices, faces = grid(6, jitter=0.3)
    gradient, divergence = _gradient_and_divergence(vertices, faces)
    found = (gradient @ (vertices @ [2.0, -3.0, 0.0])).reshape(3, -1)
    np.testing.assert_allclose(found, np.tile([[2.0], [-3.0], [0.0]], (1, len(faces))), atol=1e-10)
    values = np.random.default_rng(1).normal(size=len(vertices))
    expected = cotangent_laplacian(vertices, faces, least=-np.inf) @ values
    np.testing.assert_allclose(divergence @ (gradient @ values), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(vertices=np.full((3, 3), np.nan)), "vertices: expected finite"),
        (dict(vertices=np.zeros((3, 3))), "length zero"),
        (dict(faces=np.array([[0, 1, 3]])), r"faces: indices must lie in \[0, 3\)"),
        (dict(faces=np.array([[0.0, 1, 2]])), "whole numbers"),
        (dict(smoothing=0), "smoothing"),
    ],
)
def test_bad_meshes_are_refused_by_name(change, message):
    good = dict(vertices=np.eye(3), faces=np.array([[0, 1, 2]]), smoothing=1.0)
    with pytest.raises(ValueError, match=message):
        HeatGeodesics(**{**good, **change})
    with pytest.raises(ValueError, match="source"):
        HeatGeodesics(**good).distance(3)
