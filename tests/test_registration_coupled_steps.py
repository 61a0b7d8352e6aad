"""Pulls along normals, nearly solved by a few steps of conjugate gradients, and what they are for: skin slides back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.laplacian import cotangent_laplacian
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration.coupled_kernels import apply_system
from affect3d.registration.coupled_steps import coupled_steps
from affect3d.registration.sequence import SequenceOptions, Tracker, register_sequence
from affect3d.registration.target import Target


def face(columns=26, rows=31):
    """An open shell of 100 x 120 mm with a nose."""
    x, y = np.meshgrid(np.linspace(-50, 50, columns), np.linspace(-60, 60, rows))
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    faces = np.concatenate([np.column_stack(first), np.column_stack(second)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), height(x, y).ravel()]), faces)


def height(x, y):
    return 30 * (1 - (x / 80) ** 2 - (y / 95) ** 2) + 14 * np.exp(-((x / 9) ** 2) - (y / 13) ** 2)


class Problem:
    """A random system on a small shell, its dense twin, and the preconditioner that a sequence has."""

    def __init__(self, stiffness=2.0):
        mesh, rng = face(9, 11), np.random.default_rng(0)
        count = len(mesh.vertices)
        stretch = cotangent_laplacian(mesh.vertices, mesh.faces)
        self.smooth = sparse.csr_array(stretch @ stretch + 0.01 * stretch)
        self.stiffness, self.normals = stiffness, vertex_normals(mesh.vertices, mesh.faces)
        self.weights = rng.uniform(0, 1, count) * (rng.random(count) > 0.2)
        self.held = np.zeros(count)
        self.held[::17] = 2.0
        self.forces = rng.normal(size=(count, 3))
        self.dense = np.kron(stiffness * self.smooth.toarray(), np.eye(3))
        for v in range(count):
            block = self.weights[v] * np.outer(self.normals[v], self.normals[v]) + self.held[v] * np.eye(3)
            self.dense[3 * v : 3 * v + 3, 3 * v : 3 * v + 3] += block
        self.exact = np.linalg.solve(self.dense, self.forces.ravel()).reshape(-1, 3)
        self.factor = splu((stiffness * self.smooth + sparse.diags_array(1.0 + self.held)).tocsc())

    def found(self, steps, solve=None):
        return coupled_steps(
            self.smooth, self.stiffness, self.weights, self.normals, self.held, self.forces,
            solve or self.factor.solve, steps,
        )  # fmt: skip

    def energy(self, x):
        off = (x - self.exact).ravel()
        return float(off @ self.dense @ off)


def test_enough_steps_give_the_solution_of_the_dense_system():
    problem = Problem()
    np.testing.assert_allclose(problem.found(80), problem.exact, atol=1e-6)


def test_each_step_comes_nearer_and_a_few_do_most_of_it():
    problem = Problem()
    left = [problem.energy(problem.found(k)) for k in range(1, 9)]
    assert all(b < a for a, b in zip(left, left[1:], strict=False))
    assert left[7] < 0.01 * problem.energy(np.zeros_like(problem.exact))


def test_a_perfect_preconditioner_needs_one_step():
    problem = Problem()
    once = problem.found(1, lambda f: np.linalg.solve(problem.dense, f.ravel()).reshape(-1, 3))
    np.testing.assert_allclose(once, problem.exact, atol=1e-9)


def test_steps_beat_as_many_solutions_of_the_system_that_holds_in_all_directions():
    """The same count of back-substitutions, spent as a plain iteration, leaves much more."""
    problem = Problem()
    x = np.zeros_like(problem.exact)
    for _ in range(6):
        left = problem.forces - (problem.dense @ x.ravel()).reshape(-1, 3)
        x = x + problem.factor.solve(left)
    assert problem.energy(problem.found(6)) < 0.5 * problem.energy(x)


def test_without_forces_nothing_moves_and_wrong_steps_are_named():
    problem = Problem()
    problem.forces = np.zeros_like(problem.forces)
    np.testing.assert_array_equal(problem.found(3), 0)
    with pytest.raises(ValueError, match="steps"):
        problem.found(0)


def test_the_compiled_system_is_the_dense_one_and_its_energy_the_product():
    problem = Problem()
    x, image = np.random.default_rng(1).normal(size=problem.forces.shape), np.empty_like(problem.forces)
    matrix = problem.smooth
    energy = apply_system(
        matrix.indptr, matrix.indices, matrix.data, 2.0, problem.weights, problem.normals, problem.held, x, image
    )
    np.testing.assert_allclose(image.ravel(), problem.dense @ x.ravel(), atol=1e-10 * np.abs(image).max())
    assert energy == pytest.approx(x.ravel() @ problem.dense @ x.ravel(), rel=1e-12)


def test_layout_changes_no_bit_and_what_is_given_stays():
    problem = Problem()
    forces, expected = problem.forces.copy(), problem.found(5)
    np.testing.assert_array_equal(problem.forces, forces)
    problem.forces, problem.normals = np.asfortranarray(forces), np.asfortranarray(problem.normals)
    np.testing.assert_array_equal(problem.found(5, lambda f: np.asfortranarray(problem.factor.solve(f))), expected)
    problem.smooth = problem.smooth.tocsc()  # by rows again, the sums may come in another order
    np.testing.assert_allclose(problem.found(5), expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["weights", "normals", "held", "forces", "smooth"])
def test_arrays_of_another_length_are_refused(name):
    problem = Problem()
    setattr(problem, name, getattr(problem, name)[:-1])
    with pytest.raises(ValueError, match="shapes"):
        problem.found(2)


def test_a_motion_that_nothing_holds_stays_finite():
    """Only one plane is pulled and nothing keeps the sheet from moving along it."""
    problem = Problem()
    problem.held = np.zeros_like(problem.held)
    problem.normals = np.tile([0.0, 0.0, 1.0], (len(problem.normals), 1))
    problem.forces = np.tile([0.0, 0.0, 1.0], (len(problem.forces), 1)) * problem.weights[:, None]
    found = problem.found(30)
    assert np.isfinite(found).all() and np.abs(found[:, :2]).max() < 1e-6
    np.testing.assert_allclose(found[:, 2], 1, atol=1e-3)


def slid(points):
    """Skin that slid by up to 4 mm along the surface of `face`."""
    x, y, _ = points.T
    away = 4 * np.exp(-(((x - 22) / 16) ** 2) - ((y + 25) / 16) ** 2)
    return np.column_stack([x + away, y + away, height(x + away, y + away)])


def test_skin_that_slid_in_an_earlier_frame_slides_back():
    """Where the solution that holds in all directions is taken for the answer, it stays away for many frames."""
    neutral, fine = face(), face(61, 71)
    noise = np.random.default_rng(3)
    off = {}
    for sliding in (0, 5):
        options = SequenceOptions(stiffness=(30.0,), iterations=(4,), sliding=sliding)
        tracker = Tracker(neutral, None, options)
        tracker.restart(slid(neutral.vertices))
        errors = []
        for frame in range(3):
            scan = fine.with_vertices(fine.vertices + noise.normal(0, 0.05, fine.vertices.shape))
            result = tracker.frame(frame, Target(scan, 0.0, smoothing=5), None, "")
            assert result.converged
            errors.append(np.linalg.norm(result.vertices - neutral.vertices, axis=1).mean())
        off[sliding] = errors
    begun = np.linalg.norm(slid(neutral.vertices) - neutral.vertices, axis=1).mean()
    assert off[5][-1] < 0.65 * begun and off[5][-1] < 0.65 * off[0][-1], (begun, off)


def test_landmarks_lead_the_steps_too_and_missing_ones_do_not():
    """A sheet without features is shifted in its plane; half of its landmarks are not found."""
    x, y = np.meshgrid(np.linspace(-60, 60, 25), np.linspace(-60, 60, 25))
    i = (np.arange(24)[:, None] * 25 + np.arange(24)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + 26], -1), np.stack([i, i + 26, i + 25], -1)])
    sheet = Mesh(np.column_stack([x.ravel(), y.ravel(), np.zeros(625)]), faces)
    marks, shift = np.arange(12, 625, 29), np.array([1.5, -1.0, 0])
    points = sheet.vertices[marks] + shift
    points[::2] = np.nan
    frames = [(Mesh(sheet.vertices * 1.5, faces), points)] * 3
    last = list(register_sequence(sheet, frames, marks, SequenceOptions()))[-1]
    assert np.isfinite(last.vertices).all()
    assert np.linalg.norm(last.vertices - sheet.vertices - shift, axis=1).mean() < 0.3


def test_no_sliding_is_allowed_and_less_is_named():
    options = replace(SequenceOptions(), sliding=0)
    (result,) = register_sequence(face(), [face(61, 71)], options=options)
    assert np.isfinite(result.vertices).all()
    with pytest.raises(ValueError, match="sliding"):
        SequenceOptions(sliding=-1)
    with pytest.raises(ValueError, match="believed"):
        SequenceOptions(believed=1.5)
