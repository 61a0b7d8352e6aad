"""Deformation transfer on arrays: laws, a slow twin, sides of openings, errors."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from affect3d.geometry.deformation_transfer import DeformationTransfer, displacement_gradients
from affect3d.geometry.opening_sides import opening_sides
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.surface_match import SAMPLES, SurfaceMatch, SurfaceMatcher, same_surface, triangle_samples
from affect3d.geometry.triangles import triangle_areas, vertex_normals

_spec = importlib.util.spec_from_file_location("slit_head", Path(__file__).with_name("slit_head.py"))
heads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(heads)


def grid(rows=7, columns=9, seed=3):
    """A wavy sheet of uneven triangles."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 80, columns), np.linspace(0, 60, rows))
    x, y = x.ravel() + rng.uniform(-2, 2, x.size), y.ravel() + rng.uniform(-2, 2, x.size)
    corner = np.arange(rows * columns).reshape(rows, columns)
    p, q, r, s = (c.ravel() for c in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    faces = np.concatenate([np.column_stack([p, q, r]), np.column_stack([p, r, s])])
    return np.column_stack([x, y, 8 * np.sin(x / 15) * np.cos(y / 20)]), faces


def meshes():
    head = heads.slit_head()
    return {"sheet": grid(), "ball": heads.ball(), "head": (head.mean, head.faces)}


@pytest.fixture(params=["sheet", "ball", "head"])
def mesh(request):
    return meshes()[request.param]


def smooth_field(vertices, seed=0, size=3.0):
    rng = np.random.default_rng(seed)
    scale = np.ptp(vertices, axis=0).max()
    return size * np.sin(vertices @ rng.normal(size=(3, 3)) * 4 / scale + rng.uniform(0, 6, 3)) * scale / 100


# gradients


def test_gradients_are_sumners_matrices_of_four_vertices_less_the_identity():
    vertices, faces = grid()
    moved = vertices + smooth_field(vertices)

    def frame(points, face):
        a, b, c = points[face]
        normal = np.cross(b - a, c - a)
        return np.column_stack([b - a, c - a, normal / np.sqrt(np.linalg.norm(normal))])

    twin = np.array([frame(moved, f) @ np.linalg.inv(frame(vertices, f)) - np.eye(3) for f in faces])
    np.testing.assert_allclose(displacement_gradients(vertices, faces, moved - vertices), twin, atol=1e-12)


def test_triangles_without_area_have_no_gradient():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0.0]])
    faces = np.array([[0, 1, 2], [0, 1, 3]])
    gradients = displacement_gradients(vertices, faces, np.arange(12.0).reshape(4, 3))
    assert np.isfinite(gradients).all() and not gradients[0].any() and gradients[1].any()
    still = displacement_gradients(vertices, faces, np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [3, -1, 0.0]]))
    assert np.isfinite(still).all()  # the second triangle has lost its area


# transfer


def test_a_surface_gives_itself_its_own_deformation(mesh):
    vertices, faces = mesh
    solver = DeformationTransfer(vertices, faces, vertices, faces, *same_surface(faces, len(vertices)))
    for seed in range(3):
        field = smooth_field(vertices, seed)
        np.testing.assert_allclose(solver.displacement(field), field, atol=1e-8)


def test_a_turned_and_scaled_copy_gets_the_turned_and_scaled_deformation(mesh):
    vertices, faces = mesh
    turn, scale = rotation_exp([0.3, -0.5, 0.2]), 1.7
    field = smooth_field(vertices)
    there = scale * vertices @ turn.T + [5, -80, 30]
    matches = same_surface(faces, len(vertices))
    here = DeformationTransfer(vertices, faces, vertices, faces, *matches, reach=40).displacement(field)
    # a copy scaled alike has its lengths scaled alike
    solver = DeformationTransfer(there, faces, there, faces, *matches, reach=40 * scale)
    np.testing.assert_allclose(solver.displacement(scale * field @ turn.T), scale * here @ turn.T, atol=1e-8)


def test_the_position_is_exact_where_gradients_alone_would_leave_it_open():
    vertices, faces = grid()
    shift = np.tile([3.0, -2.0, 7.0], (len(vertices), 1))
    solver = DeformationTransfer(vertices, faces, vertices, faces, *same_surface(faces, len(vertices)), reach=500)
    np.testing.assert_allclose(solver.displacement(shift), shift, atol=1e-8)


def test_the_solver_finds_what_a_dense_least_squares_finds():
    source, source_faces = grid(5, 6)
    target, faces = grid(6, 5, seed=9)
    target = target + [0, 0, 1.0]
    rng = np.random.default_rng(1)
    field = smooth_field(source, 4)
    near = nearest_on_mesh(target, source, source_faces)
    sure, known = rng.uniform(0, 1, len(faces)), rng.uniform(0, 1, len(target))
    rows = rng.integers(0, len(source_faces), (len(faces), 2))
    by_triangle = SurfaceMatch(rows, np.full((len(faces), 2, 3), 1 / 3), sure)
    by_vertex = SurfaceMatch(near.faces[:, None], near.weights[:, None], known)
    solver = DeformationTransfer(source, source_faces, target, faces, by_triangle, by_vertex, reach=20)
    found = solver.displacement(field)

    gradients, area = displacement_gradients(source, source_faces, field), triangle_areas(target, faces)
    lines, right = [], []
    for j, face in enumerate(faces):
        edges = np.array([target[face[1]] - target[face[0]], target[face[2]] - target[face[0]]])
        wanted = gradients[rows[j]].mean(0)
        # directions along the triangle, orthonormal
        u = edges[0] / np.linalg.norm(edges[0])
        v = edges[1] - (edges[1] @ u) * u
        v /= np.linalg.norm(v)
        for direction in (u, v):
            # the direction as a sum of the two edges
            a, b = np.linalg.solve(np.array([edges @ u, edges @ v]), [direction @ u, direction @ v])
            line = np.zeros(len(target))
            line[face[1]] += a
            line[face[2]] += b
            line[face[0]] -= a + b
            lines += [np.sqrt(area[j] * sure[j]) * line, np.sqrt(0.1 * area[j] * (1 - sure[j])) * line]
            right += [np.sqrt(area[j] * sure[j]) * (wanted @ direction), np.zeros(3)]
    around = np.bincount(faces.ravel(), np.repeat(area / 3, 3), len(target)) / 20**2
    place = np.einsum("nk,nkd->nd", near.weights, field[source_faces[near.faces]])
    for v in range(len(target)):
        line = np.eye(1, len(target), v)[0]
        lines += [np.sqrt(around[v] * known[v]) * line, np.sqrt(0.1 * around[v] * (1 - known[v])) * line]
        right += [np.sqrt(around[v] * known[v]) * place[v], np.zeros(3)]
    twin = np.linalg.lstsq(np.array(lines), np.array(right), rcond=None)[0]
    np.testing.assert_allclose(found, twin, atol=1e-8)


def test_a_refined_and_shuffled_copy_gets_the_interpolated_deformation():
    vertices, faces = grid()
    fine, fine_faces, operator = heads.subdivided(vertices, faces)
    shuffle = np.random.default_rng(2).permutation(len(fine))
    place = np.empty(len(fine), int)
    place[shuffle] = np.arange(len(fine))
    fine, fine_faces, operator = fine[shuffle], place[fine_faces], operator[shuffle]
    field = smooth_field(vertices)
    # by construction: the four pieces of a triangle lie in it
    rows = np.tile(np.arange(len(faces)), 4)
    by_triangle = SurfaceMatch(rows[:, None], np.full((len(rows), 1, 3), 1 / 3), np.ones(len(rows)))
    near = nearest_on_mesh(fine, vertices, faces)
    by_vertex = SurfaceMatch(near.faces[:, None], near.weights[:, None], np.ones(len(fine)))
    found = DeformationTransfer(vertices, faces, fine, fine_faces, by_triangle, by_vertex).displacement(field)
    np.testing.assert_allclose(found, operator @ field, atol=1e-8)
    # and found by the matcher: within a hundredth of the way
    matcher = SurfaceMatcher(vertices, faces, turn=5.0)
    points, normals = triangle_samples(fine, fine_faces)
    at, weights, _, _ = matcher.match(points.reshape(-1, 3), normals.reshape(-1, 3))
    shape = (len(fine_faces), len(SAMPLES))
    by_triangle = SurfaceMatch(at.reshape(shape), weights.reshape(*shape, 3), np.ones(len(fine_faces)))
    found = DeformationTransfer(vertices, faces, fine, fine_faces, by_triangle, by_vertex).displacement(field)
    assert np.linalg.norm(found - operator @ field) < 0.03 * np.linalg.norm(operator @ field)


def test_what_has_no_counterpart_rests_smoothly():
    vertices, faces = grid(9, 21)
    left = vertices[:, 0] < 30
    by_triangle, by_vertex = same_surface(faces, len(vertices))
    half = SurfaceMatch(by_triangle.faces, by_triangle.weights, left[faces].all(1).astype(float))
    known = SurfaceMatch(by_vertex.faces, by_vertex.weights, left.astype(float))
    field = np.tile([0.0, 0, 5], (len(vertices), 1))
    found = DeformationTransfer(vertices, faces, vertices, faces, half, known, reach=15).displacement(field)[:, 2]
    assert np.abs(found[vertices[:, 0] < 15] - 5).max() < 1.0
    # it fades with the distance, and goes nowhere else
    columns = [found[np.abs(vertices[:, 0] - x) < 3].mean() for x in (35, 50, 65, 78)]
    assert (np.diff(columns) < 0).all() and found.min() > 0 and columns[-1] < 2
    nothing = SurfaceMatch(np.full((len(faces), 1), -1), np.zeros((len(faces), 1, 3)), np.ones(len(faces)))
    nowhere = SurfaceMatch(np.full((len(vertices), 1), -1), np.zeros((len(vertices), 1, 3)), np.ones(len(vertices)))
    assert not nothing.confidence.any()
    solver = DeformationTransfer(vertices, faces, vertices, faces, nothing, nowhere)
    np.testing.assert_array_equal(solver.displacement(field), 0)


def test_vertices_of_short_reach_are_held_at_their_places():
    vertices, faces = grid()
    by_triangle, by_vertex = same_surface(faces, len(vertices))
    # gradients say that all go along; the position of the middle says that it stays
    middle = np.linalg.norm(vertices[:, :2] - [40, 30], axis=1) < 15
    field = np.tile([0.0, 0, 5], (len(vertices), 1))
    field[middle] = 0
    loose = DeformationTransfer(vertices, faces, vertices, faces, half_known(by_triangle, 0), by_vertex, reach=200.0)
    held = DeformationTransfer(
        vertices, faces, vertices, faces, half_known(by_triangle, 0), by_vertex, reach=np.where(middle, 0.1, 200.0)
    )
    assert np.abs(held.displacement(field)[middle]).max() < 0.05
    assert np.abs(loose.displacement(field)[middle]).max() > 1


def half_known(match, confidence):
    return SurfaceMatch(match.faces, match.weights, np.full(len(match.faces), float(confidence)))


def test_a_vertex_of_no_triangle_stays():
    vertices, faces = grid()
    more = np.concatenate([vertices, [[0, 0, 99.0]]])
    by_triangle, by_vertex = same_surface(faces, len(more))
    assert by_vertex.confidence[-1] == 0
    field = np.ones((len(more), 3))
    found = DeformationTransfer(more, faces, more, faces, by_triangle, by_vertex).displacement(field)
    np.testing.assert_allclose(found[:-1], 1, atol=1e-8)
    np.testing.assert_array_equal(found[-1], 0)


# matching


def test_the_matcher_finds_the_nearest_place_where_normals_do_not_count():
    vertices, faces = grid()
    points = vertices + np.random.default_rng(0).normal(0, 2, vertices.shape)
    matcher = SurfaceMatcher(vertices, faces, turn=0.0, candidates=len(faces))
    at, weights, distance, _ = matcher.match(points, points * 0)
    there = np.einsum("nk,nkd->nd", weights, vertices[faces[at]])
    twin = nearest_on_mesh(points, vertices, faces, candidates=len(faces))
    np.testing.assert_allclose(there, twin.points, atol=1e-9)
    np.testing.assert_allclose(distance, twin.distance, atol=1e-9)


def test_two_sheets_that_touch_are_told_apart_by_their_normals():
    vertices, faces = grid()
    both = np.concatenate([vertices, vertices + [0, 0, 0.1]])
    double = np.concatenate([faces, faces[:, ::-1] + len(vertices)])
    normals = vertex_normals(both, double)
    at, _, _, cosine = SurfaceMatcher(both, double).match(both, normals)
    own = np.repeat([False, True], len(vertices))
    assert ((at >= len(faces)) == own).all() and cosine.min() > 0.8


def test_sides_of_a_slit_are_told_apart_and_never_matched_to_one_another():
    head = heads.slit_head(eyes=False)
    points = head.landmarks["ibug68"].locate(head.mean, head.faces)
    openings = [(points[[49, 50, 51, 52, 53]], points[[59, 58, 57, 56, 55]])]
    sides = opening_sides(head.mean, head.faces, openings, [32.0])
    jaw = np.abs(head.expression[0]).max(1)
    # along the slit lips touch: the twins came last
    twins = np.arange(len(heads.small.small_head().mean), len(head.mean))
    middle = twins[np.abs(head.mean[twins, 0]) < 12]
    upper = np.array([np.flatnonzero((head.mean[: twins[0]] == head.mean[t]).all(1))[0] for t in middle])
    assert len(middle) >= 5 and (sides[middle] == 2).all() and (sides[upper] == 1).all()
    assert jaw[middle].min() > 3 and jaw[upper].max() == 0
    assert not sides[head.mean[:, 1] > 40].any()  # the brows belong to neither
    matcher = SurfaceMatcher(head.mean, head.faces, sides)
    normals = vertex_normals(head.mean, head.faces)
    at, _, _, _ = matcher.match(head.mean, normals, sides)
    matched = sides[head.faces[at]]
    assert not ((sides == 1)[:, None] & (matched == 2).all(1)[:, None]).any()
    assert not ((sides == 2)[:, None] & (matched == 1).all(1)[:, None]).any()
    # without the sides they are mixed up: that is what the sides are for
    at, _, _, _ = SurfaceMatcher(head.mean, head.faces).match(head.mean, normals)
    assert (sides[head.faces[at]][middle] == 1).all(1).any() or (sides[head.faces[at]][upper] == 2).all(1).any()


def test_openings_without_points_are_passed_over():
    vertices, faces = grid()
    none = np.full((2, 3), np.nan)
    assert not opening_sides(vertices, faces, [(none, vertices[:2])], [10.0]).any()
    assert not opening_sides(vertices, faces, [(vertices[:2], vertices[:2])], [10.0]).any()  # one and the same side


# errors


def test_errors_name_the_argument():
    vertices, faces = grid()
    by_triangle, by_vertex = same_surface(faces, len(vertices))
    good = [vertices, faces, vertices, faces, by_triangle, by_vertex]
    nan = vertices.copy()
    nan[3, 1] = np.nan
    for place, value, message in (
        (0, nan, "source_vertices: expected finite"), (2, nan, "target_vertices: expected finite"),
        (1, faces + len(vertices), r"source_faces: indices must lie in \[0, 63\)"),
        (3, faces[:0], "target_faces: expected whole numbers"),
        (3, faces * 1.0, "target_faces: expected whole numbers"),
        (2, vertices[:, :2], "target_vertices: expected shape"),
        (4, by_vertex, "by_triangle: expected 96 rows, got 63"), (5, by_triangle, "by_vertex: expected 63 rows"),
    ):
        arguments = list(good)
        arguments[place] = value
        with pytest.raises(ValueError, match=message):
            DeformationTransfer(*arguments)
    for reach in (0, np.nan, np.ones(62), -np.ones(63)):
        with pytest.raises(ValueError, match="reach: expected a positive length or 63 of them, got shape"):
            DeformationTransfer(*good, reach=reach)
    far = SurfaceMatch(np.full((96, 1), 500), np.zeros((96, 1, 3)), np.ones(96))
    with pytest.raises(ValueError, match="by_triangle: triangle 500 is not in the source"):
        DeformationTransfer(vertices, faces, vertices, faces, far, by_vertex)
    solver = DeformationTransfer(*good)
    with pytest.raises(ValueError, match="displacement: expected finite"):
        solver.displacement(nan)
    with pytest.raises(ValueError, match="displacement: expected shape"):
        solver.displacement(vertices[:-1])
    with pytest.raises(ValueError, match="confidence"):
        SurfaceMatch(by_vertex.faces, by_vertex.weights, 2 * np.ones(63))
    with pytest.raises(ValueError, match="faces: expected at least one triangle"):
        SurfaceMatcher(vertices, faces[:0])


def test_the_callers_arrays_stay_as_they_are():
    vertices, faces = grid()
    field = smooth_field(vertices)
    before = vertices.copy(), field.copy()
    solver = DeformationTransfer(vertices, faces, vertices, faces, *same_surface(faces, len(vertices)))
    first = solver.displacement(field)
    np.testing.assert_array_equal(vertices, before[0])
    np.testing.assert_array_equal(field, before[1])
    np.testing.assert_array_equal(solver.displacement(field), first)  # same input, same bytes
