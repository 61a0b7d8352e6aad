"""Agreement of annotators, their lags, and their mean without them."""

import numpy as np
import pytest

from affect3d.analysis.annotators import (
    agreement,
    annotator_lags,
    corrected_mean,
    intraclass,
    lag_between,
    lags_behind,
    shifted,
)

# Shrout and Fleiss (1979), table 2: six targets by four judges
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def smooth(rng, count, width=12):
    noise = rng.normal(size=count + 6 * width)
    kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
    signal = np.convolve(noise, kernel, "valid")[:count]
    return signal / np.abs(signal).max()


def late(signal, lag):
    """The signal as somebody says it who is `lag` frames late."""
    return np.interp(np.arange(len(signal)) - lag, np.arange(len(signal)), signal)


def whole(x):
    return np.asarray(x, float), np.ones(np.shape(x), bool)


def test_the_published_coefficients_come_out():
    icc = intraclass(RATINGS)
    found = [icc.one_way, icc.two_way, icc.fixed, icc.one_way_mean, icc.two_way_mean, icc.fixed_mean]
    assert np.round(found, 2).tolist() == [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]
    assert (icc.targets, icc.raters) == (6, 4)


def test_raters_who_agree_have_one_and_an_offset_costs_only_where_it_should():
    x = np.random.default_rng(0).normal(size=50)
    same = intraclass(np.stack([x, x, x], 1))
    assert same.two_way == pytest.approx(1) and same.one_way_mean == pytest.approx(1)
    moved = intraclass(np.stack([x, x + 2], 1))
    assert moved.fixed == pytest.approx(1) and moved.two_way < 0.5
    flat = intraclass(np.zeros((4, 3)))
    assert (flat.one_way, flat.two_way_mean) == (0, 0)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((1, 4)), np.zeros((4, 1)), [[1, np.nan], [0, 1]]])
def test_ratings_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="ratings: expected"):
        intraclass(wrong)


def test_the_intraclass_correlation_estimates_the_share_of_variance_that_was_planted():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 1)) * 2 + rng.normal(size=(1, 6)) * 0.0 + rng.normal(size=(4000, 6))
    assert intraclass(x).two_way == pytest.approx(4 / 5, abs=0.01)
    assert intraclass(x).two_way_mean == pytest.approx(24 / 25, abs=0.01)


@pytest.mark.parametrize("lag", [-7.0, 0.0, 3.0, 4.5, 11.25])
def test_a_lag_is_found_to_a_tenth_of_a_frame(lag):
    rng = np.random.default_rng(2)
    pairs = [(smooth(rng, 400), None) for _ in range(3)]
    first = [whole(x) for x, _ in pairs]
    second = [whole(0.5 * late(x, lag) + 0.1) for x, _ in pairs]
    found = lag_between(first, second, 20)
    assert found.frames == pytest.approx(lag, abs=0.1) and found.correlation > 0.99 and not found.edge
    assert lag_between(second, first, 20).frames == pytest.approx(-lag, abs=0.1)


def test_gaps_take_no_part_and_a_lag_beyond_the_range_is_said_to_be_unknown():
    x = smooth(np.random.default_rng(3), 500)
    y = late(x, 6)
    seen = np.ones(500, bool)
    seen[100:180] = False
    rubbish = np.where(seen, y, 50.0)
    assert lag_between([whole(x)], [(rubbish, seen)], 15).frames == pytest.approx(6, abs=0.1)
    assert lag_between([whole(x)], [whole(y)], 4).edge


def test_signals_without_a_lag_to_see_are_refused():
    x = smooth(np.random.default_rng(3), 50)
    with pytest.raises(ValueError, match="constant"):
        lag_between([whole(x)], [whole(np.full(50, 0.3))], 5)
    with pytest.raises(ValueError, match="at least three frames"):
        lag_between([whole(x)], [(x, np.zeros(50, bool))], 5)
    with pytest.raises(ValueError, match="largest: expected"):
        lag_between([whole(x)], [whole(x)], 0)
    with pytest.raises(ValueError, match="second: expected"):
        lag_between([whole(x)], [whole(x[:-1])], 5)


def planted(noise=0.05):
    rng = np.random.default_rng(4)
    lags = np.array([2.0, 5.0, 9.0, 12.0])
    truth = [smooth(rng, n) for n in (300, 500, 250)]
    sequences = []
    for x in truth:
        rows = np.stack([late(x, lag) + noise * rng.normal(size=len(x)) for lag in lags])
        seen = np.ones(rows.shape, bool)
        seen[1, 40:60] = False
        sequences.append((rows, seen))
    return truth, lags, sequences


def test_lags_of_all_annotators_come_back_and_with_them_what_they_saw():
    truth, lags, sequences = planted()
    found = annotator_lags(sequences, 20)
    np.testing.assert_allclose(found, lags - lags.mean(), atol=0.35)
    behind = [lag.frames for lag in lags_behind(sequences, truth, 20)]
    np.testing.assert_allclose(behind, lags, atol=0.35)
    plain, corrected = corrected_mean(sequences, np.zeros(4)), corrected_mean(sequences, behind)
    for x, (a, _), (b, raters) in zip(truth, plain, corrected):
        everybody = raters == 4
        assert everybody[:-13].mean() > 0.8 and (raters[-2:] <= 1).all()
        before, after = np.abs(a - x)[everybody].mean(), np.abs(b - x)[everybody].mean()
        assert after < 0.04 and after < before / 3


def test_agreement_grows_when_lags_are_taken_away():
    _, lags, sequences = planted()
    moved = []
    for x, seen in sequences:
        rows = [shifted(x[i], seen[i], lag) for i, lag in enumerate(lags)]
        moved.append((np.stack([r for r, _ in rows]), np.stack([s for _, s in rows])))
    before, after = agreement(sequences), agreement(moved)
    assert after.mean_pearson > 0.97 > before.mean_pearson and after.mean_ccc > before.mean_ccc
    assert after.icc.two_way > before.icc.two_way and before.frames[0, 1] == 1050 - 60
    i, j = 0, 3
    x = np.concatenate([s[0] for s in sequences], 1)
    assert before.pearson[i, j] == pytest.approx(np.corrcoef(x[i], x[j])[0, 1])
    np.testing.assert_array_equal(before.ccc, before.ccc.T)


def test_an_annotator_who_disagrees_moves_nobody():
    _, lags, sequences = planted()
    rng = np.random.default_rng(9)
    noisy = [
        (np.vstack([x, rng.normal(size=x.shape[1])]), np.vstack([s, np.ones(x.shape[1], bool)])) for x, s in sequences
    ]
    found = annotator_lags(noisy, 20)[:4]
    np.testing.assert_allclose(found - found.mean(), lags - lags.mean(), atol=0.5)


def test_a_shift_by_whole_and_by_half_frames():
    values, seen = shifted([0, 1, 4, 9, 16], [True, True, True, False, True], 1)
    assert seen.tolist() == [True, True, False, True, False] and values.tolist() == [1, 4, 0, 16, 0]
    values, seen = shifted([0, 1, 4, 9, 16], [True] * 5, 0.5)
    assert seen.tolist() == [True] * 4 + [False] and values[:4].tolist() == [0.5, 2.5, 6.5, 12.5]
    values, seen = shifted([0, 1, 4], [True] * 3, -1)
    assert seen.tolist() == [False, True, True] and values.tolist() == [0, 0, 1]


def test_annotators_that_cannot_be_compared_are_refused():
    x = np.random.default_rng(0).normal(size=(2, 20))
    apart = np.zeros((2, 20), bool)
    apart[0, :10] = apart[1, 10:] = True
    with pytest.raises(ValueError, match="annotators 0 and 1 share 0 frames"):
        agreement([(x, apart)])
    with pytest.raises(ValueError, match="expected at least 2 annotators, got 1"):
        agreement([whole(x[:1])])
    with pytest.raises(ValueError, match="expected at least one, got none"):
        agreement([])
    with pytest.raises(ValueError, match="lags: expected 2"):
        corrected_mean([whole(x)], [1.0])
