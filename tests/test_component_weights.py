"""Weights of fixed components for many frames: exact solvers, bounds that hold, rows that depend on nothing else."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from affect3d.model.box_least_squares import box_least_squares, solution_without_box
from affect3d.model.component_weights import component_weights, component_weights_stream
from affect3d.model.frame_products import CoefficientFrames, FrameArray, component_products


def problem(frames=70, k=9, v=20, m=6, seed=0):
    """Frames of rank m and components of which there may be more than that."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(m, v, 3))
    coefficients = rng.uniform(-0.3, 1, (frames, m))
    components = np.tensordot(rng.uniform(0, 1, (k, m)) * (rng.random((k, m)) < 0.5), basis, 1)
    components *= rng.random((k, v, 1)) < 0.7
    return basis, coefficients, components


def exact(x, c, low, ridge):
    """Row by row with SciPy's bounded solver, the ridge as further equations."""
    mean = (c**2).sum() / len(c)
    left = np.concatenate([c.reshape(len(c), -1).T, np.sqrt(ridge * mean) * np.eye(len(c))])
    right = np.concatenate([x.reshape(len(x), -1), np.zeros((len(x), len(c)))], 1)
    return np.stack([lsq_linear(left, row, (low, 1), tol=1e-14, max_iter=1000).x for row in right])


@pytest.mark.parametrize(("constraint", "low"), [("unit", 0.0), ("signed", -1.0)])
@pytest.mark.parametrize("k", [1, 5, 9, 40])
@pytest.mark.parametrize("ridge", [1e-2, 1e-4])
def test_weights_agree_with_a_bounded_solver_in_both_precisions(constraint, low, k, ridge):
    basis, coefficients, components = problem(25, k)
    coefficients = 4 * coefficients
    x = np.tensordot(coefficients, basis, 1)
    known = exact(x, components, low, ridge)
    how = dict(constraint=constraint, ridge=ridge, sweeps=20000, tolerance=0)
    found = component_weights(CoefficientFrames(coefficients, basis), components, dtype=np.float64, **how)
    np.testing.assert_allclose(found, known, atol=1e-5)
    assert ((known <= low + 1e-9) | (known >= 1 - 1e-9)).any()
    single = component_weights(x, components, **how)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, known, atol=5e-3)


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_the_gap_is_never_below_what_can_still_be_gained_and_falls_to_nothing(low, ridge):
    rng = np.random.default_rng(1)
    c, x = rng.normal(size=(8, 30)), rng.normal(size=(40, 30)) * 3
    gram, products = c @ c.T, x @ c.T

    def energy(w):
        return ((w @ gram) * w).sum(1) + ridge * (w**2).sum(1) - 2 * (w * products).sum(1)

    best = energy(box_least_squares(products, gram, low, ridge=ridge, sweeps=5000).weights)
    gaps = []
    for sweeps in (0, 1, 2, 4, 8, 16, 64, 512):
        found = box_least_squares(products, gram, low, ridge=ridge, sweeps=sweeps)
        assert (energy(found.weights) - best <= found.gap + 1e-9).all()
        gaps.append(found.gap.max())
    assert gaps[0] > 10 and gaps[-1] < 1e-8


def test_a_row_stops_when_its_gap_is_small_enough_and_others_go_on():
    rng = np.random.default_rng(2)
    c = rng.normal(size=(12, 40))
    x = rng.normal(size=(64, 40)) * 3
    x[::2] = 0
    found = box_least_squares(x @ c.T, c @ c.T, 0.0, tolerance=1e-6)
    assert (found.gap <= 1e-6).all() and (found.sweeps[::2] == 0).all() and found.sweeps[1::2].min() > 0
    assert len(np.unique(found.sweeps)) > 2


def test_a_coordinate_without_energy_keeps_its_start():
    gram = np.diag([2.0, 0.0])
    found = box_least_squares(np.array([[1.0, 0.0]]), gram, 0.0, start=np.array([[0.0, 0.7]]))
    np.testing.assert_allclose(found.weights, [[0.5, 0.7]])


def test_without_a_box_the_start_is_the_solution():
    rng = np.random.default_rng(3)
    c, x = rng.normal(size=(6, 30)), rng.normal(size=(5, 30))
    np.testing.assert_allclose((x @ c.T) @ solution_without_box(c @ c.T, 0.3),
                               np.linalg.solve(c @ c.T + 0.3 * np.eye(6), c @ x.T).T)  # fmt: skip
    singular = np.concatenate([c, c])  # the same twice: no blow-up without a ridge
    assert np.abs((x @ singular.T) @ solution_without_box(singular @ singular.T, 0.0)).max() < 10


def test_of_equal_minima_the_one_with_the_smallest_weights_is_taken():
    rng = np.random.default_rng(4)
    one = rng.normal(size=(1, 20, 3))
    weights = component_weights(0.8 * one, np.concatenate([one, one]), ridge=1e-6, sweeps=500, dtype=np.float64)
    np.testing.assert_allclose(weights, [[0.4, 0.4]], atol=1e-5)


def test_a_row_has_the_same_bits_alone_in_a_block_and_in_another_order():
    basis, coefficients, components = problem(200, 17)
    whole = component_weights(CoefficientFrames(coefficients, basis), components)
    for rows in (np.arange(3, 4), np.arange(50, 133), np.random.default_rng(0).permutation(200)):
        part = component_weights(CoefficientFrames(coefficients[rows], basis), components)
        assert part.tobytes() == whole[rows].tobytes()


def test_blocks_of_a_stream_are_consecutive_and_do_not_change_the_weights(monkeypatch):
    basis, coefficients, components = problem(100)
    frames = CoefficientFrames(coefficients, basis)
    whole = component_weights(frames, components)
    monkeypatch.setattr("affect3d.model.frame_products._ROWS", 7)
    blocks = list(component_weights_stream(frames, components))
    assert [start for start, _ in blocks] == list(range(0, 100, 7)) and len(blocks[-1][1]) == 2
    assert np.concatenate([w for _, w in blocks]).tobytes() == whole.tobytes()
    x = np.tensordot(coefficients, basis, 1)
    np.testing.assert_allclose(component_weights(x, components), whole, atol=1e-4)


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    basis, coefficients, components = problem(700, 13)
    x = np.tensordot(coefficients, basis, 1)
    digests = set()
    for threads in (1, 2, 5):
        monkeypatch.setattr("affect3d.model.row_slices._cores", lambda n=threads: n)
        weights = component_weights(CoefficientFrames(coefficients, basis), components)
        digests.add((weights.tobytes(), component_weights(FrameArray(x), components).tobytes()))
    assert len(digests) == 1


def test_blas_threads_do_not_change_a_bit_either():
    code = """
import hashlib, numpy as np
from affect3d.model.splocs import SplocsOptions, sparse_localized_components, component_weights
rng = np.random.default_rng(0)
x = np.tensordot(rng.uniform(0, 1, (150, 6)), rng.integers(-3, 4, size=(6, 400, 3)), 1)
found = sparse_localized_components(x, 7, np.zeros((400, 3)), options=SplocsOptions(outer_iterations=3))
digest = hashlib.sha256(found.components.tobytes() + component_weights(x, found.components).tobytes()).hexdigest()
"""
    here = {}
    exec(code, here)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code + "print(digest)"], env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == here["digest"]


def test_zero_frames_need_no_weights_and_huge_ones_all_they_may():
    basis, _, components = problem()
    assert (component_weights(np.zeros((3, 20, 3)), components) == 0).all()
    x = 1e6 * np.abs(components).sum(0, keepdims=True)
    assert component_weights(x, np.abs(components)).min() == 1


def test_any_source_with_the_products_is_streamed_through_its_subsets(monkeypatch):
    basis, coefficients, components = problem(40)
    frames = CoefficientFrames(coefficients, basis)

    class Plain:
        shape = frames.shape
        with_components, with_weights = staticmethod(frames.with_components), staticmethod(frames.with_weights)
        moments, subset = staticmethod(frames.moments), staticmethod(frames.subset)

    monkeypatch.setattr("affect3d.model.frame_products._ROWS", 16)
    blocks = list(component_products(Plain(), components))
    assert [start for start, _ in blocks] == [0, 16, 32]
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks]), frames.with_components(components), rtol=1e-12)
    np.testing.assert_allclose(component_weights(Plain(), components), component_weights(frames, components), atol=1e-5)


def test_coefficients_in_single_precision_stay_so_and_their_sums_are_double():
    basis, coefficients, _ = problem(50)
    single = CoefficientFrames(coefficients.astype(np.float32), basis)
    double = CoefficientFrames(coefficients.astype(np.float32).astype(float), basis)
    assert single.moments()[0] == double.moments()[0]
    np.testing.assert_array_equal(single.moments()[1], double.moments()[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(constraint="both"), "constraint"),
        (dict(ridge=-1), "ridge"),
        (dict(tolerance=np.nan), "tolerance"),
        (dict(sweeps=0), "sweeps"),
        (dict(dtype=np.float16), "dtype"),
        (dict(components=np.zeros((2, 3, 3))), "components: expected shape"),
        (dict(components=np.full((2, 20, 3), np.inf)), "components: expected finite"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, message):
    basis, coefficients, components = problem(5)
    given = dict(frames=CoefficientFrames(coefficients, basis), components=components)
    with pytest.raises(ValueError, match=message):
        component_weights(**{**given, **change})


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="start"):
        box_least_squares(np.zeros((3, 2)), np.eye(2), 0.0, start=np.zeros((2, 2)))
