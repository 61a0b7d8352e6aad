"""Pulls along normals, solved with the three coordinates of a vertex coupled."""

import numpy as np
import pytest
from scipy import sparse

from affect3d.geometry.laplacian import cotangent_laplacian
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration import NonRigidOptions, Target, nonrigid_steps
from affect3d.registration.coupled import CoupledSystem, normal_blocks
from affect3d.registration.nonrigid import _closed_openings, _directions, _matched, _Rim, _settled, _smoothness
from affect3d.registration.target import smoothed


def dome(columns=24, rows=28, bulge=30.0):
    """An open shell of 100 x 120 mm, with a nose so that it cannot slide as a whole."""
    x, y = np.meshgrid(np.linspace(-50, 50, columns), np.linspace(-60, 60, rows))
    z = bulge * (1 - (x / 80) ** 2 - (y / 95) ** 2) + 14 * np.exp(-((x / 9) ** 2) - (y / 13) ** 2)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    faces = np.concatenate([np.column_stack(first), np.column_stack(second)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces)


@pytest.fixture(scope="module")
def system():
    mesh = dome(9, 11)
    stretch = cotangent_laplacian(mesh.vertices, mesh.faces, least=0.01)
    smooth = stretch @ stretch + 0.01 * stretch
    return mesh, smooth, CoupledSystem(smooth)


def test_the_solution_is_that_of_the_dense_system(system):
    mesh, smooth, coupled = system
    rng = np.random.default_rng(0)
    count = len(mesh.vertices)
    for stiffness in (10.0, 0.1):  # the pattern serves every stiffness
        half = rng.normal(size=(count, 3, 3))
        blocks = half @ half.transpose(0, 2, 1)
        blocks[::5] = 0  # vertices that nothing pulls
        forces = rng.normal(size=(count, 3))
        dense = np.kron(stiffness * smooth.toarray(), np.eye(3))
        for v in range(count):
            dense[3 * v : 3 * v + 3, 3 * v : 3 * v + 3] += blocks[v] + 1e-9 * np.eye(3)
        expected = np.linalg.solve(dense, forces.ravel()).reshape(-1, 3)
        np.testing.assert_allclose(coupled.factored(stiffness, blocks)(forces), expected, rtol=1e-5, atol=1e-6)


def test_blocks_hold_along_their_direction_only():
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    blocks = normal_blocks(np.arange(5.0), directions)
    np.testing.assert_allclose(np.einsum("vij,vj->vi", blocks, directions), np.arange(5.0)[:, None] * directions)
    across = np.cross(directions, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(np.einsum("vij,vj->vi", blocks, across), 0, atol=1e-12)


def test_a_vertex_slides_freely_where_only_its_normal_is_held(system):
    """One vertex is drawn along the surface of a plane whose vertices are held along the normal: all follow."""
    mesh, _, _ = system
    flat = mesh.with_vertices(mesh.vertices * [1, 1, 0])
    stretch = cotangent_laplacian(flat.vertices, flat.faces)
    coupled = CoupledSystem(stretch @ stretch)
    blocks = normal_blocks(np.ones(len(flat.vertices)), vertex_normals(flat.vertices, flat.faces))
    blocks[50] += np.eye(3)
    forces = np.zeros_like(flat.vertices)
    forces[50] = [2.0, 0, 0]
    moved = coupled.factored(1e-3, blocks)(forces)
    np.testing.assert_allclose(moved, np.tile([2.0, 0, 0], (len(moved), 1)), atol=2e-3)


def test_vertices_that_nothing_holds_stay(system):
    mesh, smooth, _ = system
    count = len(mesh.vertices) + 2
    more = sparse.block_array([[smooth, None], [None, sparse.csr_array((2, 2))]])
    coupled = CoupledSystem(more)
    blocks = np.zeros((count, 3, 3))
    blocks[:-2] = np.eye(3)
    moved = coupled.factored(1.0, blocks)(np.vstack([np.ones((count - 2, 3)), np.zeros((2, 3))]))
    np.testing.assert_array_equal(moved[-2:], 0)
    assert np.isfinite(moved).all() and np.abs(moved[:-2]).max() > 0.5


def test_wrong_shapes_are_named(system):
    _, _, coupled = system
    with pytest.raises(ValueError, match="blocks"):
        coupled.factored(1.0, np.zeros((4, 3, 3)))
    with pytest.raises(ValueError, match="smooth"):
        CoupledSystem(sparse.csr_array((3, 4)))


def test_directions_of_a_line_are_its_tangents():
    from scipy.spatial import cKDTree

    angle = np.random.default_rng(2).permutation(np.linspace(0, 2 * np.pi, 200, endpoint=False))
    circle = np.column_stack([50 * np.cos(angle), 50 * np.sin(angle), 0 * angle])
    found = _directions(circle, cKDTree(circle))
    tangent = np.column_stack([-np.sin(angle), np.cos(angle), 0 * angle])
    np.testing.assert_allclose(np.abs((found * tangent).sum(1)), 1, atol=1e-3)


def slid(points):
    """Skin that slid by up to 7 mm along the surface and hardly across it."""
    x, y, _ = points.T
    out = np.array(points)
    away = np.exp(-(((x - 22) / 16) ** 2) - ((y + 25) / 16) ** 2)
    out[:, 0] += 5 * away
    out[:, 1] += 5 * away
    z = 30 * (1 - (out[:, 0] / 80) ** 2 - (out[:, 1] / 95) ** 2)
    out[:, 2] = z + 14 * np.exp(-((out[:, 0] / 9) ** 2) - (out[:, 1] / 13) ** 2)
    return out


def test_settling_brings_skin_back_that_slid():
    """The uncoupled stages at the same stiffness leave it where it slid to."""
    template = dome()
    fine = dome(61, 71)
    noise = np.random.default_rng(3).normal(0, 0.1, fine.vertices.shape)
    marks = np.arange(0, len(template.vertices), 97)
    at = template.vertices[marks]
    target = Target(Mesh(fine.vertices + noise, fine.faces), 15.0, smoothing=5)
    start = slid(template.vertices)
    options = NonRigidOptions(border_weight=0, settling=(0.3, 0.3, 0.3))
    rim = _Rim(start, template.faces, target, 0.0)
    steps = _settled(template, start, target, marks, at, options, np.ones(len(start)), rim)
    off = [np.linalg.norm(v - template.vertices, axis=1).mean() for v in (start, *(s.vertices for s in steps))]
    assert off[0] > 0.4 and off[-1] < 0.4 * off[0], off
    smooth, share = _smoothness(template.vertices, template.faces, options.settling_stretching)
    held = start
    for _ in range(3):
        match, _, trust = _matched(held, template.faces, target, options, share)
        force = (trust * ((match.points - held) * match.normals).sum(1))[:, None] * match.normals
        matrix = (0.3 * smooth + sparse.diags_array(trust + 1e-9)).tocsc()
        held = held + sparse.linalg.splu(matrix).solve(force - 0.3 * (smooth @ (held - template.vertices)))
    assert np.linalg.norm(held - template.vertices, axis=1).mean() > 1.5 * off[-1]


def test_smoothing_takes_noise_away_and_no_shape():
    clean = dome(81, 97)
    rng = np.random.default_rng(4)
    noisy = clean.vertices + rng.normal(0, 0.15, clean.vertices.shape)
    quiet = smoothed(noisy, clean.faces, 10)
    normals = vertex_normals(clean.vertices, clean.faces)
    angle = [
        np.degrees(np.arccos(np.clip((vertex_normals(v, clean.faces) * normals).sum(1), -1, 1))).mean()
        for v in (noisy, quiet)
    ]
    assert angle[1] < 0.55 * angle[0]
    inner = (np.abs(clean.vertices[:, 0]) < 45) & (np.abs(clean.vertices[:, 1]) < 55)
    off = [np.abs(((v - clean.vertices) * normals).sum(1))[inner].mean() for v in (noisy, quiet)]
    assert off[1] < 0.7 * off[0]
    # without noise hardly anything moves across the surface, not even the tip of the nose
    still = ((smoothed(clean.vertices, clean.faces, 10) - clean.vertices) * normals).sum(1)
    assert np.abs(still).max() < 0.1
    rim = np.abs(clean.vertices[:, 0]) > 49.9
    np.testing.assert_array_equal(quiet[rim], noisy[rim])


def test_settled_steps_come_last_and_keep_to_the_surface():
    template = dome()
    marks = np.arange(0, len(template.vertices), 31)
    goal = template.with_vertices(slid(template.vertices))
    options = NonRigidOptions(stiffness=(1000, 10), passes=1, iterations=2, settling=(0.5, 0.2))
    steps = list(nonrigid_steps(template, Target(goal, options.turn), marks, goal.vertices[marks], options))
    assert [s.stiffness for s in steps] == [1000, 1000, 10, 10, 0.5, 0.2]
    from affect3d.geometry.proximity import nearest_on_mesh

    assert nearest_on_mesh(steps[-1].vertices, goal.vertices, goal.faces).distance.mean() < 0.2


def test_openings_that_the_scan_closed_are_told_from_those_it_has_too():
    side = 41
    y, x = np.mgrid[:side, :side] * 2.0
    points = np.stack([x.ravel(), y.ravel(), 0.01 * (x * y).ravel() ** 0.5], 1)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([
        np.stack([corner, corner + 1, corner + side], 1), np.stack([corner + 1, corner + side + 1, corner + side], 1)
    ])  # fmt: skip
    middle = points[faces].mean(1)[:, :2]
    eyes = [np.linalg.norm(middle - centre, axis=1) < 8 for centre in ((25, 40), (55, 40))]
    template = faces[~(eyes[0] | eyes[1])]
    both, left = Mesh(points, template), Mesh(points + [0, 0, 0.5], faces[~eyes[0]])
    assert not _closed_openings(points, template, Target(both)).any()
    closed = _closed_openings(points, template, Target(left))
    away = np.abs(np.linalg.norm(points[:, :2] - (55, 40), axis=1) - 8)
    assert closed[away < 2].all() and not closed[points[:, 0] < 40].any() and not closed[away > 9].any()
    whole = _closed_openings(points, template, Target(Mesh(points, faces)))
    assert whole[points[:, 0] < 40].any() and (closed <= whole).all()
