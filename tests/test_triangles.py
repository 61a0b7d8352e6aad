"""Normals and areas against shapes that are known, and against loops."""

import numpy as np
import pytest

from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import face_normals, triangle_areas, vertex_normals

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
TETRAHEDRON_FACES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def globe(rows=24, columns=48):
    """Unit sphere with poles, counter-clockwise seen from outside."""
    polar = np.linspace(0, np.pi, rows + 1)[1:-1, None]
    around = np.arange(columns)[None] * 2 * np.pi / columns
    across = np.sin(polar)
    ring = np.stack(np.broadcast_arrays(across * np.cos(around), across * np.sin(around), np.cos(polar)), -1)
    vertices = np.concatenate([ring.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    faces = []
    for r in range(rows - 2):
        for c in range(columns):
            a, b = r * columns + c, r * columns + (c + 1) % columns
            faces += [[a, a + columns, b + columns], [a, b + columns, b]]
    north, south, last = len(vertices) - 2, len(vertices) - 1, (rows - 2) * columns
    for c in range(columns):
        faces += [[north, c, (c + 1) % columns], [south, last + (c + 1) % columns, last + c]]
    return vertices, np.array(faces)


def crumpled(seed=0, count=30, triangles=80):
    rng = np.random.default_rng(seed)
    faces = np.array([rng.choice(count, 3, replace=False) for _ in range(triangles)])
    return rng.normal(size=(count, 3)), faces


def test_normals_and_areas_of_a_right_triangle_are_known():
    vertices = np.array([[0, 0, 5], [3, 0, 5], [0, 4, 5.0]])
    np.testing.assert_array_equal(face_normals(vertices, [[0, 1, 2], [0, 2, 1]]), [[0, 0, 1], [0, 0, -1]])
    np.testing.assert_array_equal(triangle_areas(vertices, [[0, 1, 2], [0, 2, 1]]), [6, 6])


def test_normals_of_a_counter_clockwise_tetrahedron_point_outside():
    normals = face_normals(TETRAHEDRON, TETRAHEDRON_FACES)
    centres = TETRAHEDRON[TETRAHEDRON_FACES].mean(1)
    np.testing.assert_allclose(normals, centres / np.linalg.norm(centres, axis=1, keepdims=True), atol=1e-15)
    outward = vertex_normals(TETRAHEDRON, TETRAHEDRON_FACES)
    np.testing.assert_allclose(outward, TETRAHEDRON / np.sqrt(3), atol=1e-15)
    assert triangle_areas(TETRAHEDRON, TETRAHEDRON_FACES).sum() == pytest.approx(8 * np.sqrt(3))


def test_vertex_normals_of_a_sphere_are_its_radii():
    vertices, faces = globe()
    np.testing.assert_allclose((vertex_normals(vertices, faces) * vertices).sum(1), 1, atol=2e-3)


def test_the_area_of_finer_spheres_comes_nearer_four_pi_with_the_square_of_the_step():
    errors = [4 * np.pi - triangle_areas(*globe(n, 2 * n)).sum() for n in (12, 24, 48)]
    assert min(errors) > 0  # an inscribed polyhedron is smaller
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, 2, atol=0.1)


def test_the_area_vectors_of_a_closed_surface_cancel():
    rng = np.random.default_rng(3)
    vertices, faces = globe(8, 9)
    vertices = vertices + 0.2 * rng.normal(size=vertices.shape)
    total = (face_normals(vertices, faces) * triangle_areas(vertices, faces)[:, None]).sum(0)
    np.testing.assert_allclose(total, 0, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_loops_give_the_same_numbers(seed):
    vertices, faces = crumpled(seed)
    sums = np.zeros((len(vertices), 3))
    for f, (i, j, k) in enumerate(faces):
        cross = np.cross(vertices[j] - vertices[i], vertices[k] - vertices[i])
        sides = [np.linalg.norm(vertices[a] - vertices[b]) for a, b in ((i, j), (j, k), (k, i))]
        half = sum(sides) / 2
        heron = np.sqrt(half * np.prod([half - s for s in sides]))
        assert triangle_areas(vertices, faces)[f] == pytest.approx(heron, rel=1e-9)
        np.testing.assert_allclose(face_normals(vertices, faces)[f], cross / np.linalg.norm(cross), atol=1e-14)
        for v in (i, j, k):
            sums[v] += cross / np.linalg.norm(cross) * heron
    used = np.unique(faces)
    expected = sums[used] / np.linalg.norm(sums[used], axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(vertices, faces)[used], expected, atol=1e-9)


def test_normals_turn_with_the_mesh_and_ignore_its_place_and_size():
    vertices, faces = crumpled(4)
    R = rotation_exp([0.3, -1.1, 0.7])
    moved = 3.5 * vertices @ R.T + [10, -20, 30]
    np.testing.assert_allclose(face_normals(moved, faces), face_normals(vertices, faces) @ R.T, atol=1e-12)
    np.testing.assert_allclose(vertex_normals(moved, faces), vertex_normals(vertices, faces) @ R.T, atol=1e-12)
    np.testing.assert_allclose(triangle_areas(moved, faces), 3.5**2 * triangle_areas(vertices, faces), rtol=1e-11)


def test_turning_the_order_of_corners_turns_the_normals():
    vertices, faces = crumpled(5)
    np.testing.assert_allclose(face_normals(vertices, faces[:, ::-1]), -face_normals(vertices, faces), atol=1e-15)
    np.testing.assert_allclose(face_normals(vertices, faces[:, [1, 2, 0]]), face_normals(vertices, faces), atol=1e-12)


def test_triangles_without_area_and_lonely_vertices_give_zero_not_nan():
    vertices = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [9, 9, 9], [4, 0, 0], [4, 1, 0], [5, 0, 0.0]])
    faces = [[0, 1, 2], [1, 1, 1], [4, 6, 5]]
    np.testing.assert_array_equal(face_normals(vertices, faces), [[0, 0, 0], [0, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(triangle_areas(vertices, faces), [0, 0, 0.5])
    expected = np.zeros((7, 3))
    expected[4:, 2] = 1
    np.testing.assert_array_equal(vertex_normals(vertices, faces), expected)


def test_trimesh_finds_the_same():
    trimesh = pytest.importorskip("trimesh")
    vertices, faces = globe(9, 14)
    peer = trimesh.Trimesh(vertices, faces, process=False)
    np.testing.assert_allclose(face_normals(vertices, faces), peer.face_normals, atol=1e-12)
    np.testing.assert_allclose(triangle_areas(vertices, faces), peer.area_faces, atol=1e-14)


def test_an_index_that_names_no_vertex_is_refused():
    with pytest.raises(IndexError):
        face_normals(np.eye(3), [[0, 1, 3]])


def test_an_index_that_names_no_vertex_has_no_vertex_normals():
    for wrong in (3, -1):
        with pytest.raises(IndexError):
            vertex_normals(np.eye(3), [[0, 1, wrong]])


@pytest.mark.parametrize("vertices, faces", [((4, 2), (2, 3)), ((4, 3), (2, 4)), ((12,), (2, 3)), ((4, 3), (3,))])
def test_vertex_normals_refuse_other_shapes(vertices, faces):
    with pytest.raises(ValueError, match="expected"):
        vertex_normals(np.zeros(vertices), np.zeros(faces, int))


def test_vertex_normals_have_the_bits_of_numpy_whatever_the_layout():
    vertices, faces = crumpled(6, 200, 900)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    total = np.stack([sum(np.bincount(faces[:, k], cross[:, d], 200) for k in range(3)) for d in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    expected = total / np.where(length > 0, length, 1)
    for kind in (np.int32, np.int64, np.uint16):
        np.testing.assert_array_equal(vertex_normals(vertices, faces.astype(kind)), expected)
    np.testing.assert_array_equal(vertex_normals(np.asfortranarray(vertices), np.asfortranarray(faces)), expected)
    assert not vertex_normals(vertices, np.zeros((0, 3), int)).any()
