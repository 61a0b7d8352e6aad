"""Nearest points and polygons against slow obvious twins."""

import numpy as np
import pytest

from affect3d.geometry.polygon import inside_polygon
from affect3d.geometry.proximity import closest_on_triangles, nearest_on_mesh


def test_closest_points_beat_a_dense_sampling_of_each_triangle():
    rng = np.random.default_rng(0)
    triangles = rng.normal(size=(60, 3, 3))
    points = rng.normal(size=(60, 3)) * 2
    weights = closest_on_triangles(points, triangles)
    assert weights.min() > -1e-12
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-12)
    distance = np.linalg.norm(np.einsum("nk,nkd->nd", weights, triangles) - points, axis=1)
    grid = np.array([(a, b, 40 - a - b) for a in range(41) for b in range(41 - a)]) / 40
    sampled = np.linalg.norm(np.einsum("sk,nkd->nsd", grid, triangles) - points[:, None], axis=2).min(1)
    assert (distance <= sampled + 1e-9).all()
    assert (sampled - distance < 0.1).all()


def test_a_triangle_without_area_gives_a_point_of_its_segment():
    weights = closest_on_triangles(np.array([[2.0, 1, 0]]), np.array([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]]))
    np.testing.assert_allclose(weights @ np.array([0.0, 1, 3]), [2.0])


def test_points_of_a_mesh_are_found_at_distance_zero():
    x, y = np.meshgrid(np.arange(8.0), np.arange(6.0))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.sin(x.ravel())])
    quads = [(i * 8 + j, i * 8 + j + 1, i * 8 + j + 9, i * 8 + j + 8) for i in range(5) for j in range(7)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    weights = np.random.default_rng(1).dirichlet([1, 1, 1], len(faces))
    on = np.einsum("fk,fkd->fd", weights, vertices[faces])
    found = nearest_on_mesh(on, vertices, faces)
    np.testing.assert_allclose(found.distance, 0, atol=1e-9)
    np.testing.assert_allclose(found.points, on, atol=1e-9)
    with pytest.raises(ValueError, match="faces"):
        nearest_on_mesh(on, vertices, faces[:0])


def test_a_star_holds_the_points_whose_rays_cross_it_an_odd_number_of_times():
    angles = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 1.0, 2.5)
    star = np.column_stack([radius * np.cos(angles), radius * np.sin(angles)])
    points = np.random.default_rng(2).uniform(-3, 3, (500, 2))
    Path = pytest.importorskip("matplotlib.path", reason="matplotlib is not installed").Path

    np.testing.assert_array_equal(inside_polygon(points, star), Path(star).contains_points(points))


def test_the_compiled_search_is_the_slow_one():
    """Against all pairs by the vectorized formula, with slivers, points and lines among the triangles."""
    rng = np.random.default_rng(11)
    vertices = rng.normal(size=(60, 3))
    faces = np.array([rng.choice(60, 3, replace=False) for _ in range(80)])
    faces[:3] = [[1, 1, 1], [2, 2, 3], [4, 5, 4]]  # no area
    points = np.concatenate([rng.normal(size=(300, 3)) * 1.5, vertices[:20], vertices[faces[5:9]].mean(1)])
    found = nearest_on_mesh(points, vertices, faces, candidates=80)
    triangles = vertices[faces]
    weights = closest_on_triangles(points[:, None], triangles[None])
    there = np.einsum("nfk,fkd->nfd", weights, triangles)
    distance = np.linalg.norm(there - points[:, None], axis=-1)
    np.testing.assert_allclose(found.distance, distance.min(1), atol=1e-12)
    own = distance[np.arange(len(points)), found.faces]
    np.testing.assert_allclose(own, distance.min(1), atol=1e-12)
    np.testing.assert_allclose(found.weights, weights[np.arange(len(points)), found.faces], atol=1e-9)
    np.testing.assert_allclose(found.points, np.einsum("nk,nkd->nd", found.weights, triangles[found.faces]), atol=1e-12)
    assert len(nearest_on_mesh(np.zeros((0, 3)), vertices, faces).faces) == 0
