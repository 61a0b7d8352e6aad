"""A template warped by a known smooth deformation is registered to what it became."""

import numpy as np
import pytest

from affect3d.geometry.laplacian import cotangent_laplacian, vertex_areas
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import triangle_areas, vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration import (
    AmbergOptions,
    NonRigidOptions,
    Target,
    affine_icp,
    amberg_steps,
    nonrigid_steps,
    register_amberg,
    register_nonrigid,
    similarity_icp,
)
from affect3d.registration.target import border_loops

SOFT = NonRigidOptions(stiffness=(3000, 300, 30, 3), iterations=4)


def mask(columns=44, rows=52):
    """An open face-like shell, about 120 x 150 mm, with a nose and two hollows."""
    x, y = np.meshgrid(np.linspace(-60, 60, columns), np.linspace(-75, 75, rows))
    z = 45 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 110) ** 2, 0, 1))
    z += 18 * np.exp(-((x / 9) ** 2) - ((y + 5) / 18) ** 2)
    for side in (-1, 1):
        z -= 7 * np.exp(-(((x - 28 * side) / 12) ** 2) - ((y - 22) / 9) ** 2)
    vertices = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    faces = np.concatenate([np.column_stack(first), np.column_stack(second)])
    return Mesh(vertices, faces)


def deform(points):
    """A smile-like smooth displacement of up to about 8 mm."""
    x, y, _ = points.T
    out = points.copy()
    lower = np.exp(-(((y + 40) / 22) ** 2))
    out[:, 1] += 5 * lower * (np.abs(x) / 40) ** 1.5
    out[:, 0] += 3 * lower * np.tanh(x / 20)
    out[:, 2] += 6 * np.exp(-((np.abs(x) - 38) / 16) ** 2 - ((y + 10) / 25) ** 2)
    return out


@pytest.fixture(scope="module")
def problem():
    template = mask()
    rng = np.random.default_rng(0)
    turn, shift = rotation_exp([0.2, -0.3, 0.1]), np.array([40.0, -20, 300])

    def pose(points):
        return deform(points) @ turn.T + shift

    dense = mask(97, 113)  # another triangulation of the same surface, its vertices shuffled
    order = rng.permutation(len(dense.vertices))
    noisy = pose(dense.vertices) + rng.normal(0, 0.1, dense.vertices.shape)
    scan = Mesh(noisy[order], np.argsort(order)[dense.faces])
    truth = pose(template.vertices)
    marks = rng.choice(len(truth), 30, replace=False)
    return template, scan, marks, truth[marks] + rng.normal(0, 0.7, (30, 3)), truth


def error(vertices, truth, template):
    inner = (np.abs(template.vertices[:, 0]) < 52) & (np.abs(template.vertices[:, 1]) < 66)
    return np.linalg.norm(vertices - truth, axis=1)[inner].mean()


def test_vertices_come_within_a_millimetre_and_a_half_of_where_they_truly_lie(problem):
    template, scan, marks, positions, truth = problem
    result = register_nonrigid(template, scan, marks, positions, SOFT)
    assert result.converged, result.reason
    assert error(result.vertices, truth, template) < 1.5
    assert np.median(result.distance[result.matched]) < 1.2 and result.matched.mean() > 0.8


def test_it_is_far_better_than_the_best_similarity_and_than_one_soft_step(problem):
    template, scan, marks, positions, truth = problem
    steps = list(nonrigid_steps(template, Target(scan), marks, positions, SOFT))
    similar = procrustes(template.vertices, truth).apply(template.vertices)  # no similarity is better than this one
    assert error(steps[-1].vertices, truth, template) < 0.4 * error(similar, truth, template)
    landmarks_only = NonRigidOptions(stiffness=(30,), iterations=1, passes=1, settling=())
    (early,) = nonrigid_steps(template, Target(scan), marks, positions, landmarks_only)
    assert error(steps[-1].vertices, truth, template) < 0.8 * error(early.vertices, truth, template)


def test_holes_and_floating_shards_do_little_harm(problem):
    template, scan, marks, positions, truth = problem
    rng = np.random.default_rng(1)
    centre = scan.vertices[scan.faces].mean(1)
    keep = np.ones(len(centre), bool)
    for middle in scan.vertices[rng.choice(len(scan.vertices), 4)]:
        keep &= np.linalg.norm(centre - middle, axis=1) > 9
    shard = scan.vertices[:300] + [0, 0, 35]
    faces = scan.faces[keep]
    extra = np.arange(300).reshape(-1, 3) + len(scan.vertices)
    broken = Mesh(np.concatenate([scan.vertices, shard]), np.concatenate([faces, extra]))
    result = register_nonrigid(template, broken, marks, positions, SOFT)
    assert error(result.vertices, truth, template) < 2.0


def test_a_similarity_is_found_from_five_degrees_and_a_centimetre_away():
    template = mask()
    true = 1.08 * template.vertices @ rotation_exp([0.05, 0.4, -0.1]).T + [10, 5, 200]
    start = (template.vertices - [0, 0, 20]) @ rotation_exp([0.12, 0.35, -0.05]).T + [16, 5, 222]
    result = similarity_icp(start, template.faces, Target(Mesh(true, template.faces)), max_iterations=200)
    assert result.converged
    assert np.linalg.norm(result.vertices - true, axis=1).mean() < 0.5


def test_the_same_input_gives_the_same_bits(problem):
    template, scan, marks, positions, _ = problem
    quick = NonRigidOptions(stiffness=(1000, 100), iterations=2)
    first, second = (register_nonrigid(template, scan, marks, positions, quick).vertices for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_scan_elsewhere_is_no_success(problem):
    template, scan, marks, positions, _ = problem
    turned = Mesh(scan.vertices, scan.faces[:, ::-1])  # inside out: no normal agrees
    result = register_nonrigid(template, turned, marks, positions, NonRigidOptions(stiffness=(1000,), iterations=1))
    assert not result.converged and "landmarks" in result.reason


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m, p: (m[:3], p[:3]), "landmarks"), (lambda m, p: (m, p[:-1]), "landmarks"),
        (lambda m, p: (m + 10**6, p), "indices"), (lambda m, p: (m, p * np.nan), "positions"),
    ],
)
def test_bad_landmarks_are_named(change, message, problem):
    template, scan, marks, positions, _ = problem
    with pytest.raises(ValueError, match=message):
        register_nonrigid(template, scan, *change(marks, positions))


def test_a_scan_without_faces_is_refused():
    with pytest.raises(ValueError, match="scan"):
        Target(Mesh(np.zeros((5, 3)), np.zeros((0, 3), int)))


def test_the_laplacian_knows_constants_and_linear_functions():
    grid = mask()
    laplacian = cotangent_laplacian(grid.vertices, grid.faces)
    np.testing.assert_allclose(laplacian @ np.ones(len(grid.vertices)), 0, atol=1e-9)
    np.testing.assert_allclose((laplacian - laplacian.T).toarray(), 0, atol=1e-9)
    flat = grid.vertices * [1, 1, 0]
    plane = cotangent_laplacian(flat, grid.faces)
    x, y = flat[:, 0], flat[:, 1]
    inner = (np.abs(x) < 59) & (np.abs(y) < 74)
    np.testing.assert_allclose((plane @ (2 * x - 3 * y))[inner], 0, atol=1e-8)
    whole = triangle_areas(grid.vertices, grid.faces).sum()
    assert vertex_areas(grid.vertices, grid.faces).sum() == pytest.approx(whole)


def test_the_laplacian_of_positions_is_twice_area_times_mean_curvature_on_a_sphere():
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(4):  # each triangle into four, new points onto the sphere
        sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        edges, back = np.unique(sides, axis=0, return_inverse=True)
        ab, bc, ca = (back.reshape(-1, 3) + len(points)).T
        middle = points[edges].sum(1)
        points = np.concatenate([points, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        a, b, c = faces.T
        quarters = (a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)
        faces = np.concatenate([np.column_stack(t) for t in quarters])
    curvature = (cotangent_laplacian(points, faces) @ points) / (2 * vertex_areas(points, faces)[:, None])
    np.testing.assert_allclose(vertex_normals(points, faces), points, atol=0.02)
    # at the six corners of the octahedron, of four triangles each, the thirds are no good areas
    np.testing.assert_allclose((curvature * points).sum(1)[6:], 1.0, rtol=0.3)
    assert (curvature * points).sum(1).mean() == pytest.approx(1, rel=0.03)


def test_weights_of_nothing_leave_vertices_to_their_neighbours(problem):
    template, scan, marks, positions, truth = problem
    cheek = np.linalg.norm(template.vertices - template.vertices[marks[0]], axis=1) < 15
    away = np.linalg.norm(scan.vertices - truth[marks[0]], axis=1)
    rise = 6 * np.exp(-((away / 9) ** 2))[:, None]  # something that is not the person's
    bump = Mesh(scan.vertices + rise * vertex_normals(scan.vertices, scan.faces), scan.faces)
    free = register_nonrigid(template, bump, marks[1:], positions[1:], SOFT)
    held = register_nonrigid(template, bump, marks[1:], positions[1:], SOFT, weights=np.where(cheek, 0.0, 1.0))
    off = [np.linalg.norm(r.vertices - truth, axis=1)[cheek].mean() for r in (free, held)]
    assert off[1] < 0.6 * off[0]


@pytest.mark.parametrize("weights", [np.ones(3), -1.0, np.nan, 0.0])
def test_bad_weights_are_named(weights, problem):
    template, scan, marks, positions, _ = problem
    weights = np.full(len(template.vertices), weights) if np.ndim(weights) == 0 else weights
    with pytest.raises(ValueError, match="weights"):
        register_nonrigid(template, scan, marks, positions, SOFT, weights=weights)


def test_metres_are_noticed(problem):
    template, scan, marks, positions, _ = problem
    with pytest.raises(ValueError, match="millimetres"):
        register_nonrigid(template, Mesh(scan.vertices / 1000, scan.faces), marks, positions / 1000)


def test_an_affine_map_is_found():
    template = mask()
    stretch = np.array([[1.1, 0.05, 0.0], [0.0, 0.93, 0.0], [0.03, 0.0, 1.05]])
    true = template.vertices @ stretch.T + [3, -2, 4]
    marks = np.arange(0, len(true), 97)
    found = affine_icp(template.vertices, template.faces, Target(Mesh(true, template.faces)), marks, true[marks])
    assert np.linalg.norm(found - true, axis=1).mean() < 0.3
    assert np.linalg.norm(template.vertices - true, axis=1).mean() > 3


def test_the_published_method_registers_the_same_problem(problem):
    template, scan, marks, positions, truth = problem
    result = register_amberg(template, scan, marks, positions, AmbergOptions(iterations=2))
    assert result.converged, result.reason
    assert error(result.vertices, truth, template) < 2.5
    assert np.median(result.distance) < 1.5


def test_a_stiff_step_of_the_published_method_is_the_affine_least_squares_fit(problem):
    """With stiffness beyond all else every vertex has the same map, which a small dense system gives."""
    template, scan, marks, positions, _ = problem
    target = Target(scan)
    options = AmbergOptions(stiffness=(1e4,), landmark_weights=(2.0,), iterations=1)
    (step,) = amberg_steps(template, target, marks, positions, options)
    start = procrustes(template.vertices[marks], positions).apply(template.vertices)
    match = target.nearest(start, vertex_normals(start, template.faces), options.agreement)
    near = match.distance < max(options.reach * np.median(match.distance[match.trusted]), 2.0)
    share = (match.trusted & near).astype(float)
    size = np.abs(start - start.mean(0)).max()
    rows = np.column_stack([start - start.mean(0), np.full(len(start), size)]) / size
    rows, goals = np.concatenate([rows, rows[marks]]), np.concatenate([match.points, positions])
    root = np.sqrt(np.concatenate([share, np.full(len(marks), 2.0)]))[:, None]
    whole = np.linalg.lstsq(root * rows, root * goals, rcond=None)[0]
    np.testing.assert_allclose(step.vertices, rows[: len(start)] @ whole, atol=0.02)


def test_stages_and_landmark_weights_are_as_many():
    with pytest.raises(ValueError, match="landmark_weights"):
        AmbergOptions(stiffness=(1.0, 2.0), landmark_weights=(1.0,))


def test_borders_are_found_the_longest_first():
    shell = mask()
    (rim,) = border_loops(shell.faces, shell.vertices)
    x, y, _ = shell.vertices.T
    np.testing.assert_array_equal(rim, np.flatnonzero((np.abs(x) > 59.9) | (np.abs(y) > 74.9)))
    inner = np.linalg.norm(shell.vertices[shell.faces].mean(1)[:, :2], axis=1) > 12
    outer, hole = border_loops(shell.faces[inner], shell.vertices)
    np.testing.assert_array_equal(outer, rim)
    assert np.linalg.norm(shell.vertices[hole][:, :2], axis=1).max() < 20


def test_dust_unused_vertices_and_flat_triangles_attract_nothing(problem):
    _, scan, _, _, _ = problem
    speck = scan.vertices[0] + [[0, 0, 5], [1, 0, 5], [0, 1, 5]]
    extra = np.concatenate([scan.vertices, speck, [[0, 0, 0.0]]])
    count = len(scan.vertices)
    faces = np.concatenate([scan.faces, [[count, count + 1, count + 2], [5, 5, 5], [0, 1, 1]]])
    dusty = Target(Mesh(extra, faces))
    np.testing.assert_array_equal(dusty.vertices, Target(scan).vertices)


def test_a_template_cut_smaller_than_the_scan_keeps_its_own_border():
    """The scan goes on where the template ends: its border is no feature of the template's."""
    whole = mask()
    inner = (np.abs(whole.vertices[:, 0]) < 45) & (whole.vertices[:, 1] > -25)
    number = np.cumsum(inner) - 1
    part = Mesh(whole.vertices[inner], number[whole.faces[inner[whole.faces].all(1)]])
    marks = np.arange(0, len(part.vertices), 41)
    result = register_nonrigid(part, whole, marks, part.vertices[marks])
    assert np.linalg.norm(result.vertices - part.vertices, axis=1).max() < 0.5


def test_borders_that_are_the_same_line_are_brought_together():
    """A flat-sided strip without features: only its ends tell how long it is."""
    template = mask()
    longer = Mesh(template.vertices * [1, 1.06, 1], template.faces)
    middle = np.flatnonzero((np.abs(template.vertices[:, 1] + 5) < 20) & (np.abs(template.vertices[:, 0]) < 20))[::7]
    free = NonRigidOptions(border_weight=0, affine=False, scale=False)
    with_borders = NonRigidOptions(affine=False, scale=False)
    ends = np.abs(template.vertices[:, 1]) > 74
    off = [
        np.linalg.norm(register_nonrigid(template, longer, middle, longer.vertices[middle], o).vertices
                       - longer.vertices, axis=1)[ends].mean()
        for o in (free, with_borders)
    ]  # fmt: skip
    assert off[1] < 0.5 * off[0] and off[1] < 1


def test_a_template_vertex_in_no_triangle_does_no_harm(problem):
    template, scan, marks, positions, truth = problem
    more = Mesh(np.vstack([template.vertices, [[0, 0, 80]]]), template.faces)
    result = register_nonrigid(more, scan, marks, positions, SOFT)
    assert np.isfinite(result.vertices).all()
    assert error(result.vertices[:-1], truth, template) < 1.5
