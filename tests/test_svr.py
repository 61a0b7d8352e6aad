"""Support vector regression for many rows: against the exact solver, its own dual, and arithmetic."""

import numpy as np
import pytest

from affect3d.affect.metrics import concordance
from affect3d.analysis.kernel_features import FeatureRows, gaussian_features
from affect3d.analysis.svr import SvrOptions, fit_support_vectors, support_vector_regression


def problem(count=1500, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    y = np.c_[np.tanh(x[:, 0]) * np.cos(x[:, 1]), 0.3 * x[:, 1] ** 2]
    return x, y + noise * rng.standard_t(3, y.shape)


def kernel(x, z, gamma):
    return np.exp(-gamma * ((x[:, None] - z[None]) ** 2).sum(2))


@pytest.mark.parametrize("gamma", [0.05, 0.5, 4.0])
def test_products_of_features_are_the_kernel(gamma):
    x, _ = problem(600)
    features = gaussian_features(x, gamma, 1e-7)
    made = features(x) @ features(x).T
    # by Cauchy and Schwarz no entry is missed by more than the largest diagonal
    assert np.abs(made - kernel(x, x, gamma)).max() <= features.left + 1e-12
    assert features.left <= 1e-7
    assert features.rank < len(x)


def test_rows_far_from_the_sample_become_pivots_too():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60_000, 2))
    x[1::30_000] += 50  # between those that are looked at first
    features = gaussian_features(x, 0.5, 1e-4)
    assert (1 - (features(x) ** 2).sum(1)).max() <= 1e-4


def test_more_tolerance_needs_fewer_pivots_and_a_limit_says_what_is_missing():
    x, _ = problem()
    assert gaussian_features(x, 1.0, 1e-2).rank < gaussian_features(x, 1.0, 1e-6).rank
    few = gaussian_features(x, 1.0, 1e-6, limit=10)
    assert few.rank == 10
    assert few.left == pytest.approx((1 - (few(x) ** 2).sum(1)).max())
    assert few.left > 0.1


def test_duplicate_rows_are_one_pivot():
    x = np.repeat(np.random.default_rng(2).normal(size=(7, 2)), 50, axis=0)
    assert gaussian_features(x, 1.0).rank == 7


@pytest.mark.parametrize("cost", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_agrees_with_the_exact_solver(cost, epsilon):
    svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is not installed")
    x, y = problem()
    far = np.random.default_rng(9).normal(size=(500, 2))
    found = support_vector_regression(x, y, SvrOptions(cost=cost, epsilon=epsilon, gap=1e-5))
    assert found.converged
    gram = kernel(x, x, 0.5)
    for t in range(2):
        exact = svm.SVR(C=cost, epsilon=epsilon, gamma=0.5, tol=1e-6).fit(x, y[:, t])
        alpha = np.zeros(len(x))
        alpha[exact.support_] = exact.dual_coef_[0]
        error = np.maximum(np.abs(y[:, t] - exact.predict(x)) - epsilon, 0).sum()
        objective = 0.5 * alpha @ gram @ alpha + cost * error
        assert found.objective[t] == pytest.approx(objective, rel=1e-4)
        assert np.sqrt(np.mean((found.predict(far)[:, t] - exact.predict(far)) ** 2)) < 0.005
        assert concordance(found.predict(far)[:, t], exact.predict(far)) > 0.9999


def test_the_gap_bounds_how_far_the_objective_is_from_the_optimum():
    x, y = problem(800)
    features = gaussian_features(x, 0.5)
    values = FeatureRows(features, x)
    best = fit_support_vectors(features, values, y, SvrOptions(gap=1e-7))
    for steps in (1, 3, 6, 10):
        early = fit_support_vectors(features, values, y, SvrOptions(gap=1e-7, steps=steps))
        excess = (early.objective - best.objective * (1 - best.gap)) / early.objective
        assert (excess <= early.gap + 1e-9).all()
        assert (best.objective <= early.objective * (1 + 1e-9)).all()
    assert not early.converged and "allow more steps" in early.reason


def test_a_start_saves_steps_and_comes_to_the_same():
    x, y = problem()
    features = gaussian_features(x, 0.5)
    values = FeatureRows(features, x)
    first = fit_support_vectors(features, values, y, SvrOptions(cost=1.0))
    cold = fit_support_vectors(features, values, y, SvrOptions(cost=3.0))
    warm = fit_support_vectors(features, values, y, SvrOptions(cost=3.0), first)
    assert warm.converged
    assert warm.steps.sum() < cold.steps.sum()
    assert warm.objective == pytest.approx(cold.objective, rel=2e-3)


def test_a_constant_target_is_predicted_and_costs_nothing():
    x, _ = problem(100)
    found = support_vector_regression(x, np.full(100, 0.3))
    assert found.predict(x)[:, 0] == pytest.approx(np.full(100, 0.3), abs=0.1 + 1e-9)
    assert found.objective[0] == pytest.approx(0, abs=1e-6)


def test_features_that_are_not_kept_give_the_same_answer():
    x, y = problem(400)
    kept = support_vector_regression(x, y)
    anew = support_vector_regression(x, y, SvrOptions(memory=0))
    assert kept.objective == pytest.approx(anew.objective, rel=1e-6)
    assert kept.predict(x) == pytest.approx(anew.predict(x), abs=1e-4)


def test_the_same_rows_give_the_same_bytes():
    x, y = problem(400)
    a, b = (support_vector_regression(x, y) for _ in range(2))
    assert a.weights.tobytes() == b.weights.tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(x=np.zeros((0, 2)), targets=np.zeros(0)), "at least 2"),
        (dict(targets=np.zeros(3)), "expected \\(N, P\\) and \\(N, T\\)"),
        (dict(targets=np.full(1500, np.nan)), "targets"),
        (dict(x=np.full((1500, 2), np.inf)), "x: "),
    ],
)
def test_bad_rows_are_refused(change, said):
    x, y = problem()
    with pytest.raises(ValueError, match=said):
        support_vector_regression(**{"x": x, "targets": y, **change})


@pytest.mark.parametrize(
    ("name", "value"), [("cost", 0), ("gamma", -1), ("epsilon", -0.1), ("gap", 0), ("steps", 0), ("cost", np.nan)]
)
def test_bad_constants_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        SvrOptions(**{name: value})
