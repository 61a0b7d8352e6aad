"""Splits keep subjects apart; correlation analysis from a stream is that of the whole."""

import numpy as np
import pytest

from affect3d.analysis.cca import StreamedCovariance, canonical_correlation, canonical_correlation_of
from affect3d.analysis.splits import check_split, subject_folds, subject_split


def linked(count=4000, width=12, seed=0):
    """Two sets of variables with known links: correlations .9 and .5 between hidden pairs."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((count, 2))
    strength = np.array([0.9, 0.5])
    other = strength * hidden + np.sqrt(1 - strength**2) * rng.standard_normal((count, 2))
    x = np.hstack([hidden, rng.standard_normal((count, width - 2))]) @ rng.standard_normal((width, width)) + 500
    return x, other @ np.array([[0.3, 0.1], [-0.2, 0.4]]) - 0.1


def blocks(x, y, sizes=(1, 700, 3, 1296, 2000)):
    at = np.cumsum((0, *sizes))
    return [(x[a:b], y[a:b]) for a, b in zip(at[:-1], at[1:], strict=True)]


def test_a_stream_gives_the_covariance_of_the_whole():
    x, _ = linked()
    summed = StreamedCovariance(x.shape[1])
    for block, _ in blocks(x, x):
        summed.add(block)
    summed.add(x[:0])
    np.testing.assert_allclose(summed.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(summed.covariance, np.cov(x.T), rtol=1e-9, atol=1e-9)


def test_a_large_offset_does_not_eat_the_variance():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1000, 2)) * 1e-3
    summed = StreamedCovariance(2)
    for k in range(0, 1000, 100):
        summed.add(x[k : k + 100] + 1e6)
    np.testing.assert_allclose(summed.covariance, np.cov(x.T), rtol=1e-4, atol=1e-10)


def test_hidden_links_are_found():
    found = canonical_correlation_of(blocks(*linked()))
    np.testing.assert_allclose(found.correlations, [0.9, 0.5], atol=0.03)


def test_variates_are_white_and_correlate_as_said():
    x, y = linked()
    found = canonical_correlation_of([(x, y)])
    u, v = found.x_variates(x), found.y_variates(y)
    np.testing.assert_allclose(np.cov(u.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(np.cov(v.T), np.eye(2), atol=1e-9)
    cross = u.T @ v / (len(x) - 1)
    np.testing.assert_allclose(cross, np.diag(found.correlations), atol=1e-9)


def test_it_is_scikit_learns_analysis():
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = linked(width=6)
    ours = canonical_correlation_of(blocks(x, y))
    peer = decomposition.CCA(2, max_iter=5000, tol=1e-12).fit(x, y)
    theirs = peer.transform(x)
    for k in range(2):
        agreement = np.corrcoef(ours.x_variates(x)[:, k], theirs[:, k])[0, 1]
        assert abs(agreement) > 1 - 1e-6


def test_no_other_direction_correlates_more():
    x, y = linked()
    found = canonical_correlation_of([(x, y)])
    rng = np.random.default_rng(2)
    best = max(
        abs(np.corrcoef(x @ rng.standard_normal(x.shape[1]), y @ rng.standard_normal(2))[0, 1]) for _ in range(300)
    )
    assert best < found.correlations[0]


def test_variables_that_repeat_others_change_nothing():
    x, y = linked()
    doubled = np.hstack([x, x[:, :3] @ np.ones((3, 2)), np.full((len(x), 1), 7.0)])
    plain, more = canonical_correlation_of([(x, y)]), canonical_correlation_of([(doubled, y)])
    assert more.rank == plain.rank == x.shape[1]
    np.testing.assert_allclose(more.correlations, plain.correlations, atol=1e-9)


def test_a_ridge_lowers_what_noise_would_claim():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((80, 60)), rng.standard_normal((80, 2))
    sure, careful = (canonical_correlation_of([(x, y)], ridge=r).correlations[0] for r in (0.0, 10.0))
    assert sure > 0.8 and careful < 0.5 * sure


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: canonical_correlation_of([]), "blocks"),
        (lambda: canonical_correlation_of([(np.zeros((3, 2)), np.zeros((4, 2)))]), "blocks"),
        (lambda: canonical_correlation_of([(np.full((3, 2), np.nan), np.zeros((3, 2)))]), "rows"),
        (lambda: canonical_correlation_of([(np.ones((5, 2)), np.ones((5, 2)))]), "variance"),
        (lambda: canonical_correlation_of([linked()], components=3), "components"),
        (lambda: canonical_correlation(np.zeros(3), np.eye(3), 3), "width"),
        (lambda: StreamedCovariance(2).covariance, "rows"),
    ],
)
def test_wrong_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


SUBJECTS = np.repeat(["anna", "ben", "cem", "dora", "emil"], [50, 10, 30, 20, 40])


def test_no_subject_is_on_both_sides():
    for seed in range(20):
        train, test = subject_split(SUBJECTS, 0.3, np.random.default_rng(seed))
        assert (train ^ test).all() and not set(SUBJECTS[train]) & set(SUBJECTS[test])
        assert len(set(SUBJECTS[test])) == 2


def test_folds_test_each_subject_once_and_are_of_like_size():
    folds = subject_folds(SUBJECTS, 3, np.random.default_rng(0))
    assert (np.sum([test for _, test in folds], axis=0) == 1).all()
    sizes = [test.sum() for _, test in folds]
    assert max(sizes) - min(sizes) <= 10


def test_the_same_seed_gives_the_same_split():
    first, second = (subject_split(SUBJECTS, 0.4, np.random.default_rng(5))[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_leak_is_refused_by_name():
    train = np.ones(len(SUBJECTS), bool)
    test = SUBJECTS == "cem"
    with pytest.raises(ValueError, match="cem"):
        check_split(SUBJECTS, train, test)
    with pytest.raises(ValueError, match="test: has no frames"):
        check_split(SUBJECTS, train, ~train)
    with pytest.raises(ValueError, match="train: expected"):
        check_split(SUBJECTS, [True], test)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda rng: subject_split(["a", "a"], 0.5, rng), "two"),
        (lambda rng: subject_split(SUBJECTS, 1.0, rng), "test_share"),
        (lambda rng: subject_split([], 0.5, rng), "subjects"),
        (lambda rng: subject_folds(SUBJECTS, 6, rng), "count"),
    ],
)
def test_splits_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
