"""The rasterizer against a slow obvious twin, and the laws it must keep."""

import numpy as np
import pytest

from affect3d.camera import Camera
from affect3d.render.raster import interpolate, rasterize, screen_points


def naive(points, faces, width, height):
    """Nearest triangle of every pixel, one at a time, by solving for barycentric coordinates."""
    face = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    weights = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            for f, (a, b, c) in enumerate(faces):
                pa, pb, pc = points[a], points[b], points[c]
                matrix = np.array([[pa[0], pb[0], pc[0]], [pa[1], pb[1], pc[1]], [1, 1, 1]])
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                w = np.linalg.solve(matrix, [x, y, 1])
                if (w < 0).any():
                    continue
                w = w / [pa[2], pb[2], pc[2]]
                z = 1 / w.sum()
                if z < depth[y, x]:
                    depth[y, x], face[y, x], weights[y, x] = z, f, w * z
    return face, weights, depth


def soup(seed, count=12, size=24):
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(-4, size + 4, (3 * count, 2)), rng.uniform(1, 9, 3 * count)])
    return points, np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(4))
def test_random_triangles_equal_the_naive_twin(seed):
    points, faces = soup(seed)
    raster = rasterize(points, faces, 24, 20)
    face, weights, depth = naive(points, faces, 24, 20)
    np.testing.assert_array_equal(raster.face, face)
    np.testing.assert_allclose(raster.weights, weights, atol=1e-5)
    np.testing.assert_allclose(raster.depth, depth, rtol=1e-5)


def test_each_pixel_of_a_triangulated_rectangle_is_drawn_exactly_once():
    # corners and diagonal run through pixel centres, where shared edges are drawn twice or never by mistake
    x, y = np.meshgrid([2.0, 5.0, 9.0, 14.0], [1.0, 4.0, 8.0, 12.0])
    points = np.column_stack([x.ravel(), y.ravel(), np.full(16, 3.0)])
    quads = [(i * 4 + j, i * 4 + j + 1, i * 4 + j + 5, i * 4 + j + 4) for i in range(3) for j in range(3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    count = np.zeros((16, 18), int)
    for triangle in faces:
        count += rasterize(points, triangle[None], 18, 16).covered
    assert count.max() == 1
    assert count.sum() == 12 * 11  # a half-open rectangle: 14 - 2 columns, 12 - 1 rows
    assert count[1:12, 2:14].min() == 1


def test_interpolation_is_perspective_correct():
    camera = Camera(200.0, [32, 32], (64, 64), np.eye(4))
    corners = np.array([[-40.0, -30, 150], [60, -20, 400], [0, 50, 220]])
    raster = rasterize(screen_points(camera, corners), [[0, 1, 2]], 64, 64)
    seen = interpolate(raster, [[0, 1, 2]], corners)
    y, x = np.nonzero(raster.covered)
    assert len(y) > 300
    np.testing.assert_allclose(camera.project(seen[y, x]), np.column_stack([x, y]), atol=2e-3)


def test_culling_leaves_out_exactly_the_triangles_seen_from_behind():
    points = np.array([[2.0, 2, 5], [20, 2, 5], [2, 20, 5]])
    assert not rasterize(points, [[0, 1, 2]], 24, 24, cull=True).covered.any()
    assert rasterize(points, [[0, 2, 1]], 24, 24, cull=True).covered.sum() > 100


def test_the_same_input_gives_the_same_bits():
    points, faces = soup(9, 200, 64)
    first, second = rasterize(points, faces, 64, 64), rasterize(points, faces, 64, 64)
    assert first.weights.tobytes() == second.weights.tobytes() and first.face.tobytes() == second.face.tobytes()


@pytest.mark.parametrize(
    "points, faces, size, name",
    [
        (np.array([[0, 0, np.nan]] * 3), [[0, 1, 2]], (4, 4), "points"),
        (np.zeros((3, 2)), [[0, 1, 2]], (4, 4), "points"),
        (np.ones((3, 3)), [[0, 1, 3]], (4, 4), "faces"),
        (np.ones((3, 3)), [[0, 1, 2]], (0, 4), "width"),
    ],
)
def test_bad_input_is_named(points, faces, size, name):
    with pytest.raises(ValueError, match=name):
        rasterize(points, faces, *size)
