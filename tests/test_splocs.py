"""Sparse localized components: planted bumps, laws of the energy, and twins that form the residual."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from affect3d.model.frame_products import CoefficientFrames, FrameArray
from affect3d.model.splocs import (
    SplocsOptions, component_weights, reconstruction_error, scaled_sparsity, sparse_localized_components,
)  # fmt: skip
from affect3d.model.splocs_steps import component_step, weight_step


def grid(n):
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1), faces


def planted(low=0.0, frames=80, noise=0.02, seed=0):
    """Four bumps on a sheet, each moving its own way, and frames that mix them."""
    rng = np.random.default_rng(seed)
    rest, faces = grid(15)
    bumps = []
    for centre in ((0.2, 0.2), (0.8, 0.25), (0.25, 0.8), (0.75, 0.75)):
        distance = np.linalg.norm(rest[:, :2] - centre, axis=1)
        bumps.append(np.maximum(0, 1 - distance / 0.2)[:, None] * rng.normal(size=3))
    bumps = np.array(bumps)
    weights = rng.uniform(low, 1, (frames, 4)) * (rng.uniform(size=(frames, 4)) < 0.6)
    moved = np.tensordot(weights, bumps, 1)
    return rest, faces, rest + moved + noise * rng.normal(size=moved.shape) * moved.std(), bumps, weights


def matched(found, bumps):
    """For each bump the largest correlation of a component with it."""
    a = found.reshape(len(found), -1)
    b = bumps.reshape(len(bumps), -1)
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-300)
    return np.abs(a @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T).max(0)


LOCAL = dict(near=0.15, far=0.4)


@pytest.mark.parametrize(("constraint", "low"), [("unit", 0.0), ("signed", -1.0)])
def test_planted_bumps_are_found_under_noise_and_lie_where_they_were_planted(constraint, low):
    rest, faces, frames, bumps, _ = planted(low, noise=0.2)
    # Noise of 0.2 pulls a vertex with about 2 * 0.2 * sqrt(3 * 16) = 2.8; only a larger penalty keeps it in place.
    options = SplocsOptions(constraint, sparsity=8, **LOCAL, outer_iterations=100, tolerance=1e-5)
    found = sparse_localized_components(frames, 4, rest, faces, options)
    assert matched(found.components, bumps).min() > 0.95
    peaks = {int((b**2).sum(1).argmax()) for b in bumps}
    near = [min(np.linalg.norm(rest[c] - rest[p]) for p in peaks) for c in found.centres]
    assert max(near) < 0.15 and found.sparsity.min() > 0.5


@pytest.mark.parametrize("constraint", ["unit", "signed"])
@pytest.mark.parametrize("count", [2, 7, 20])
def test_energy_never_rises_and_weights_keep_their_constraint(constraint, count):
    rest, faces, frames, _, _ = planted(-1.0, noise=0.3)
    found = sparse_localized_components(
        frames, count, rest, faces, SplocsOptions(constraint, **LOCAL, outer_iterations=15, tolerance=0)
    )
    assert len(found.energies) == 15 and (np.diff(found.energies) <= 1e-9 * found.energies[0]).all()
    assert found.weights.min() >= (0 if constraint == "unit" else -1) and found.weights.max() <= 1
    largest = np.abs(found.weights).max(0)
    assert (np.isclose(largest, 1) | (largest == 0)).all()
    assert (np.diff(found.explained) <= 0).all()


def test_residual_and_explained_energy_are_those_of_the_explicit_residual():
    rest, faces, frames, _, _ = planted()
    found = sparse_localized_components(frames, 4, rest, faces, SplocsOptions(**LOCAL, outer_iterations=8, tolerance=0))
    left = frames - rest - np.tensordot(found.weights, found.components, 1)
    # The last step moved the components, so weights and components belong together.
    np.testing.assert_allclose(found.residual, (left**2).sum(), rtol=1e-8)
    error = reconstruction_error(frames, found.components, found.weights, rest)
    np.testing.assert_allclose(error, np.sqrt((left**2).sum(2).mean()), rtol=1e-8)
    for k in range(4):
        without = left + np.multiply.outer(found.weights[:, k], found.components[k])
        np.testing.assert_allclose(found.explained[k], (without**2).sum() - (left**2).sum(), rtol=1e-6, atol=1e-9)


def test_energy_is_the_definition_where_the_penalty_is_the_same_everywhere():
    rest, _, frames, _, _ = planted()
    found = sparse_localized_components(frames, 3, rest, None, SplocsOptions(outer_iterations=5, tolerance=0))
    x = (frames - rest) / np.std(frames - rest)
    c = found.components / found.scale
    energy = ((x - np.tensordot(found.weights, c, 1)) ** 2).sum() + 2 * np.sqrt((c**2).sum(2)).sum()
    np.testing.assert_allclose(found.energies[-1], energy, rtol=1e-9)


def test_weight_step_agrees_with_a_bounded_least_squares_solver():
    rng = np.random.default_rng(2)
    c, x = rng.normal(size=(5, 30)), rng.normal(size=(7, 30)) * 2
    for low in (0.0, -1.0):
        found = weight_step(np.zeros((7, 5)), x @ c.T, c @ c.T, low, 500, 0.0)
        expected = [lsq_linear(c.T, row, (low, 1), tol=1e-14).x for row in x]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert ((found == low) | (found == 1)).any()


def test_component_step_meets_the_conditions_of_its_minimum():
    rng = np.random.default_rng(3)
    w, x = rng.uniform(size=(40, 4)), rng.normal(size=(40, 9, 3))
    penalty = rng.uniform(0, 12, (4, 9))
    found = component_step(np.zeros((4, 9, 3)), np.tensordot(w.T, x, 1), w.T @ w, penalty, 3000, 0.0)
    slope = 2 * np.tensordot(w.T, np.tensordot(w, found, 1) - x, 1)
    length = np.linalg.norm(found, axis=2)
    moves = length > 0
    assert 0 < moves.sum() < moves.size
    expected = -penalty[..., None] * found / np.maximum(length, 1e-300)[..., None]
    np.testing.assert_allclose(slope[moves], expected[moves], atol=1e-6)
    assert (np.linalg.norm(slope, axis=2) <= penalty + 1e-6)[~moves].all()


def test_frames_read_in_blocks_or_given_as_coefficients_have_the_products_of_the_array(monkeypatch):
    rng = np.random.default_rng(4)
    basis, coefficients = rng.normal(size=(5, 11, 3)), rng.normal(size=(23, 5))
    x = np.tensordot(coefficients, basis, 1)
    monkeypatch.setattr("affect3d.model.frame_products._KEEP_BYTES", 0)
    monkeypatch.setattr("affect3d.model.frame_products._BLOCK_BYTES", 11 * 3 * 8 * 4)
    c, w = rng.normal(size=(2, 11, 3)), rng.normal(size=(23, 2))
    for source in (FrameArray(x), CoefficientFrames(coefficients, basis), FrameArray(x + 1, np.ones((11, 3)))):
        np.testing.assert_allclose(source.with_components(c), np.einsum("fvd,kvd->fk", x, c), atol=1e-10)
        np.testing.assert_allclose(source.with_weights(w), np.einsum("fk,fvd->kvd", w, x), atol=1e-10)
        total, squares = source.moments()
        np.testing.assert_allclose(total, x.sum(), atol=1e-9)
        np.testing.assert_allclose(squares, (x**2).sum((0, 2)), atol=1e-9)
        np.testing.assert_allclose(source.at_vertices([6, 2]), x[:, [6, 2]], atol=1e-10)
        part = source.subset(np.array([1, 5, 22]))
        np.testing.assert_allclose(part.with_components(c), np.einsum("fvd,kvd->fk", x[[1, 5, 22]], c), atol=1e-10)


def test_neutral_frames_are_subtracted_by_sequence():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, 4, 3))
    neutral = np.array([0, 0, 0, 3, 3, 3])
    (_, block), = FrameArray(x, neutral=neutral).blocks()
    np.testing.assert_allclose(block.reshape(x.shape), x - x[neutral])


def test_the_signed_constraint_beats_the_unit_one_on_motion_both_ways():
    rest, faces, frames, _, _ = planted(-1.0)
    energy = {
        c: sparse_localized_components(frames, 4, rest, faces, SplocsOptions(c, **LOCAL)).energies[-1]
        for c in ("unit", "signed")
    }
    assert energy["signed"] < 0.8 * energy["unit"]


def test_a_warm_start_goes_on_from_the_energy_it_had():
    rest, faces, frames, _, _ = planted(noise=0.2)
    few = SplocsOptions(**LOCAL, outer_iterations=3, tolerance=0)
    first = sparse_localized_components(frames, 4, rest, faces, few)
    second = sparse_localized_components(frames, 4, rest, faces, few, start=first)
    assert second.energies[0] <= first.energies[-1] * (1 + 1e-9)
    more = sparse_localized_components(frames, 6, rest, faces, few, start=second)
    assert len(more.components) == 6 and more.residual < second.residual


def test_with_a_penalty_that_grows_with_the_frames_more_frames_leave_components_as_sparse():
    rest, faces, frames, _, _ = planted(frames=60, noise=0.1)
    often = np.concatenate([frames] * 4)
    few, many, dense = (
        sparse_localized_components(
            x, 4, rest, faces, SplocsOptions(sparsity=scaled_sparsity(n, 10), **LOCAL, tolerance=1e-4)
        )
        for x, n in ((frames, 60), (often, 240), (often, 60))
    )
    np.testing.assert_allclose(many.components, few.components, atol=1e-2 * np.abs(few.components).max())
    assert dense.sparsity.mean() < many.sparsity.mean() - 0.02


def test_a_warm_start_from_fewer_components_saves_rounds():
    rest, faces = grid(15)
    rng = np.random.default_rng(6)
    bumps = np.stack([
        np.maximum(0, 1 - np.linalg.norm(rest - rest[c], axis=1) / 0.3)[:, None] * rng.normal(size=3)
        for c in rng.choice(225, 20, replace=False)
    ])  # fmt: skip
    frames = rest + np.tensordot(rng.uniform(0, 1, (100, 20)) * (rng.random((100, 20)) < 0.6), bumps, 1)
    options = SplocsOptions(**LOCAL, tolerance=1e-2)
    few = sparse_localized_components(frames, 16, rest, faces, options)
    warm = sparse_localized_components(frames, 20, rest, faces, options, start=few)
    cold = sparse_localized_components(frames, 20, rest, faces, options)
    assert warm.energies[0] < 0.7 * cold.energies[0] and len(warm.energies) < len(cold.energies)
    assert warm.energies[-1] < 1.05 * cold.energies[-1]


def test_a_seed_chooses_where_the_first_component_starts():
    rest, faces, frames, bumps, _ = planted()
    seed = int((bumps[2] ** 2).sum(1).argmax())
    options = SplocsOptions(**LOCAL, outer_iterations=1)
    found = sparse_localized_components(frames, 1, rest, faces, options, seeds=[seed])
    assert matched(found.components, bumps)[2] > 0.9


def test_weights_of_fixed_components_are_those_that_made_the_frames():
    rest, _, frames, bumps, weights = planted(noise=0.0)
    exact = component_weights(frames, bumps, rest=rest, ridge=0, sweeps=500, tolerance=0, dtype=np.float64)
    np.testing.assert_allclose(exact, weights, atol=1e-6)
    np.testing.assert_allclose(component_weights(frames, bumps, rest=rest), weights, atol=1e-3)


def test_the_same_call_gives_the_same_bytes():
    rest, faces, frames, _, _ = planted()
    options = SplocsOptions(**LOCAL, outer_iterations=4, tolerance=0)
    a, b = (sparse_localized_components(frames, 5, rest, faces, options) for _ in range(2))
    assert a.components.tobytes() == b.components.tobytes() and a.weights.tobytes() == b.weights.tobytes()


def test_convergence_is_told_and_so_is_its_lack():
    rest, faces, frames, _, _ = planted()
    yes = sparse_localized_components(frames, 4, rest, faces, SplocsOptions(**LOCAL, tolerance=1e-2))
    no = sparse_localized_components(frames, 4, rest, faces, SplocsOptions(**LOCAL, outer_iterations=1))
    assert yes.converged and "fell by less" in yes.reason
    assert not no.converged and "outer_iterations" in no.reason


def test_reference_problem_stays_below_the_authors_energies(shared):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "benchmarks" / "bench_splocs.py"
    spec = importlib.util.spec_from_file_location("bench_splocs", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    if not (shared / "reference" / "splocs_weights.npz").exists():
        pytest.skip("the reference problem is missing from the development data")
    frames, rest, faces = bench.problem(shared)
    options = SplocsOptions(outer_iterations=3, tolerance=0, sweeps=5)
    found = sparse_localized_components(frames, 50, rest, faces, options)
    assert (found.energies <= bench.AUTHORS[:3]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(count=0), "count"),
        (dict(frames=np.zeros((3, 4))), "frames: expected shape"),
        (dict(frames=np.full((4, 225, 3), np.nan)), "frames: expected finite"),
        (dict(frames=np.zeros((4, 225, 3)), rest=np.zeros((225, 3)), faces=None), "displacements that differ"),
        (dict(rest=np.zeros((3, 3))), "rest: expected shape"),
        (dict(seeds=[225]), "seeds"),
        (dict(neutral=np.array([0])), "neutral"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    rest, faces, frames, _, _ = planted(frames=6)
    with pytest.raises(ValueError, match=message):
        sparse_localized_components(**{**dict(frames=frames, count=2, rest=rest, faces=faces), **change})


@pytest.mark.parametrize("change", [dict(constraint="both"), dict(sparsity=-1), dict(near=0.8), dict(tolerance=1),
                                    dict(sweeps=0)])  # fmt: skip
def test_bad_options_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        SplocsOptions(**change)
