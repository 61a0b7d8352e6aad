"""Solves by dense panels against dense solves and SuperLU's."""

import threading

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

from affect3d.geometry.laplacian import cotangent_laplacian
from affect3d.registration import panels
from affect3d.registration.panels import PanelSolver


def sheet(columns, rows, seed=0):
    """Squared Laplacian of an uneven sheet and a small weight of each vertex: what a registration factors."""
    x, y = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.column_stack([i, i + 1, i + columns]),
                            np.column_stack([i + 1, i + columns + 1, i + columns])])  # fmt: skip
    flat = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    stretch = cotangent_laplacian(flat + np.random.default_rng(seed).normal(0, 0.1, flat.shape), faces, least=0.01)
    return (300 * (stretch @ stretch + 5e-3 * stretch) + sparse.eye_array(x.size)).tocsr()


def scattered(count, links, seed=0):
    """A graph without a shape, weakly held."""
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, count, (2, links))
    graph = sparse.coo_array((rng.uniform(0.1, 2, links), (i, j)), (count, count)).tocsr()
    graph = graph + graph.T
    return (sparse.diags_array(graph.sum(axis=1)) - graph + 0.01 * sparse.eye_array(count)).tocsr()


def full(count, seed=0):
    a = np.random.default_rng(seed).normal(size=(count, count))
    return sparse.csr_array(a @ a.T + np.eye(count))


MATRICES = {
    "one vertex": sparse.csr_array([[4.0]]),
    "two that do not touch": sparse.csr_array(np.diag([4.0, 0.5])),
    "only isolated vertices": sparse.diags_array(np.linspace(1e-6, 3, 50)),
    "a chain": scattered(2, 1) + sparse.csr_array(np.eye(2)),
    "a sheet": sheet(23, 31),
    "a small sheet": sheet(4, 5),
    "pieces and isolated vertices": sparse.block_diag(
        [sheet(9, 8), sparse.eye_array(7), sheet(17, 3), [[1e-6]], full(30)], format="csr"
    ),
    "a tree of pieces": scattered(400, 350),
    "a dense graph": scattered(150, 3000),
    "no zero at all": full(90),
    "an arrow": sparse.csr_array(np.eye(60) * 70 + np.outer(np.arange(60) == 59, np.ones(60)) + np.outer(
        np.ones(60), np.arange(60) == 59)),
}  # fmt: skip


def mixed(matrix, seed=1):
    """The same system with its vertices in another order."""
    order = np.random.default_rng(seed).permutation(matrix.shape[0])
    return sparse.csr_array(matrix)[order][:, order]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("branch", [1, 5, 24, 10**6])
def test_solutions_are_those_of_the_dense_system_and_of_superlu(name, shuffled, branch, monkeypatch):
    monkeypatch.setattr(panels, "_BRANCH", branch)
    matrix = mixed(MATRICES[name]) if shuffled else sparse.csr_array(MATRICES[name])
    forces = np.random.default_rng(2).normal(size=(matrix.shape[0], 3))
    found = PanelSolver(matrix).solve(forces)
    for peer in (np.linalg.solve(matrix.toarray(), forces), splu(matrix.tocsc()).solve(forces)):
        np.testing.assert_allclose(found, peer, rtol=0, atol=1e-9 * np.abs(peer).max())


@pytest.mark.parametrize("name", ["a sheet", "pieces and isolated vertices", "no zero at all"])
def test_each_unit_force_gives_a_column_of_the_inverse_and_the_inverse_is_symmetric(name):
    matrix = mixed(MATRICES[name])
    count, solver = matrix.shape[0], PanelSolver(matrix)
    inverse = np.hstack([solver.solve(np.eye(count)[:, k : k + 3]) for k in range(0, count - 2, 3)])
    np.testing.assert_allclose(matrix @ inverse, np.eye(count)[:, : inverse.shape[1]], atol=1e-8)
    square = inverse[: inverse.shape[1]]
    np.testing.assert_allclose(square, square.T, atol=1e-10 * np.abs(square).max())


def test_each_coordinate_is_solved_by_itself_and_the_forces_stay_what_they_are():
    solver, forces = PanelSolver(sheet(12, 9)), np.random.default_rng(3).normal(size=(108, 3))
    before, found = forces.copy(), solver.solve(forces)
    np.testing.assert_array_equal(forces, before)
    for k in range(3):
        alone = np.zeros_like(forces)
        alone[:, k] = forces[:, k]
        np.testing.assert_array_equal(solver.solve(alone)[:, k], found[:, k])
        np.testing.assert_array_equal(np.delete(solver.solve(alone), k, axis=1), 0)


def test_the_same_bits_from_any_thread_layout_or_second_solver():
    matrix, forces = sheet(30, 30), np.random.default_rng(4).normal(size=(900, 3))
    solver = PanelSolver(matrix)
    expected = solver.solve(forces)
    np.testing.assert_array_equal(PanelSolver(matrix.tocsc().copy()).solve(forces), expected)
    for same in (np.asfortranarray(forces), np.repeat(forces, 2, axis=0)[::2], forces.tolist()):
        np.testing.assert_array_equal(solver.solve(same), expected)
    found = {}

    def work(name):
        found[name] = [solver.solve(forces) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for results in found.values():
        for result in results:
            np.testing.assert_array_equal(result, expected)


def test_a_solve_after_another_knows_nothing_of_it():
    solver, rng = PanelSolver(mixed(sheet(15, 15))), np.random.default_rng(5)
    forces = rng.normal(size=(225, 3))
    expected = solver.solve(forces)
    solver.solve(np.full((225, 3), 1e300))
    np.testing.assert_array_equal(solver.solve(forces), expected)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("branch", [1, 24])
def test_panels_take_every_column_once_and_hold_every_entry(name, branch, monkeypatch):
    monkeypatch.setattr(panels, "_BRANCH", branch)
    solver = PanelSolver(MATRICES[name])
    count = MATRICES[name].shape[0]
    assert solver._first[0] == 0 and solver._first[-1] == count and (np.diff(solver._first) > 0).all()
    np.testing.assert_array_equal(np.sort(solver._place), np.arange(count))
    width, below = np.diff(solver._first), np.diff(solver._starts)
    assert len(solver._values) == (width * (width + below)).sum()
    for k in range(len(width)):
        rows = solver._rows[solver._starts[k] : solver._starts[k + 1]]
        assert (np.diff(rows) > 0).all() and (rows >= solver._first[k + 1]).all()


def test_a_branch_in_postorder_ends_with_its_root():
    rng = np.random.default_rng(6)
    parents = np.array([rng.integers(k + 1, 40) if k < 39 and rng.random() > 0.1 else -1 for k in range(40)])
    number = panels._postorder(parents)
    np.testing.assert_array_equal(np.sort(number), np.arange(40))
    for node in range(40):
        branch = {k for k in range(40) if node in ancestors(parents, k)}
        assert {int(number[k]) for k in branch} == set(range(number[node] - len(branch) + 1, number[node] + 1))


def ancestors(parents, node):
    """A node and all above it."""
    found = []
    while node >= 0:
        found.append(node)
        node = parents[node]
    return found


@pytest.mark.parametrize(
    "matrix, words",
    [
        (np.ones((2, 3)), "square"),
        (np.zeros((0, 0)), "square"),
        ([[2.0, 1.0], [0.0, 2.0]], "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "positive definite"),
        ([[0.0, 1.0], [1.0, 0.0]], "positive definite"),
        (np.diag([1.0, 0.0]), "positive definite"),
        (np.diag([1.0, -3.0]), "positive definite"),
        ([[np.nan, 0.0], [0.0, 1.0]], "symmetric"),
    ],
)
def test_what_is_no_positive_definite_matrix_is_refused(matrix, words):
    with pytest.raises(ValueError, match=words):
        PanelSolver(sparse.csr_array(np.asarray(matrix, float)))


@pytest.mark.parametrize("shape", [(20,), (20, 2), (19, 3), (20, 4), (20, 3, 1), (3, 20)])
def test_forces_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"forces: expected shape \(20, 3\)"):
        PanelSolver(sheet(4, 5)).solve(np.zeros(shape))
