"""Agreement measures against slow twins and the laws they obey."""

import numpy as np
import pytest

from affect3d.affect.metrics import concordance, mean_squared_error, pearson, sign_agreement

ALL = [concordance, pearson, mean_squared_error, sign_agreement]


def _signals(seed=0, count=200):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.2, 0.4, count)
    return x, 0.6 * x + rng.normal(-0.1, 0.3, count)


def _slow_concordance(x, y):
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y)) / n
    sx = sum((a - mx) ** 2 for a in x) / n
    sy = sum((b - my) ** 2 for b in y) / n
    return 2 * sxy / (sx + sy + (mx - my) ** 2)


def test_concordance_agrees_with_the_equation_written_as_loops():
    x, y = _signals()
    assert concordance(x, y) == pytest.approx(_slow_concordance(x, y), abs=1e-12)


def test_concordance_of_a_signal_with_itself_is_one_and_with_its_negative_minus_one():
    x, _ = _signals()
    assert concordance(x, x) == pytest.approx(1, abs=1e-15)
    centred = x - x.mean()
    assert concordance(centred, -centred) == pytest.approx(-1, abs=1e-12)


def test_concordance_of_a_worked_example():
    # Means 2 and 3, variances 2/3 and 2/3, covariance 2/3: 2 * 2/3 / (4/3 + 1).
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)


def test_concordance_is_symmetric_and_never_beyond_pearson():
    for seed in range(20):
        x, y = _signals(seed, 15)
        assert concordance(x, y) == pytest.approx(concordance(y, x))
        assert abs(concordance(x, y)) <= abs(pearson(x, y)) + 1e-12


def test_concordance_punishes_an_offset_that_pearson_does_not_see():
    x, _ = _signals()
    assert pearson(x, x + 1) == pytest.approx(1)
    assert concordance(x, x + 1) < 0.5


def test_concordance_with_one_constant_is_zero_and_with_two_equal_constants_undefined():
    x, _ = _signals()
    assert concordance(x, np.full(len(x), 0.3)) == pytest.approx(0)
    assert concordance([0.1, 0.1], [0.2, 0.2]) == 0
    with pytest.raises(ValueError, match="two equal constants"):
        concordance(np.zeros(5), np.zeros(5))


def test_pearson_agrees_with_numpy_and_ignores_scale():
    x, y = _signals()
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert pearson(x * 1e-200, y * 1e200) == pytest.approx(pearson(x, y), abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_pearson_of_a_constant_is_refused_by_name(constant):
    x, _ = _signals()
    with pytest.raises(ValueError, match="annotated: the correlation of a constant"):
        pearson(x, np.full(len(x), constant))
    with pytest.raises(ValueError, match="predicted: the correlation of a constant"):
        pearson(np.full(len(x), constant), x)


def test_mean_squared_error_and_sign_agreement_of_worked_examples():
    assert mean_squared_error([0, 1], [1, 3]) == pytest.approx(2.5)
    assert sign_agreement([0.2, -0.1, 0.0, 0.3], [0.9, 0.1, 0.0, 0.0]) == pytest.approx(0.5)


@pytest.mark.parametrize("measure", ALL)
def test_lengths_that_differ_are_refused(measure):
    with pytest.raises(ValueError, match="annotated: expected 3 numbers as in predicted, got 4"):
        measure([0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(measure, bad):
    with pytest.raises(ValueError, match="predicted: expected finite"):
        measure([0.1, bad, 0.3], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="annotated: expected finite"):
        measure([0.1, 0.2, 0.3], [0.1, bad, 0.3])


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("bad", [[], [[0.1, 0.2], [0.3, 0.4]], 0.5])
def test_shapes_other_than_a_row_are_refused(measure, bad):
    with pytest.raises(ValueError, match="predicted: expected at least"):
        measure(bad, bad)
