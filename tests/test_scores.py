"""Scores with intervals, tuning and the chance level."""

import numpy as np
import pytest

from affect3d.affect.metrics import concordance, mean_squared_error, pearson, sign_agreement
from affect3d.analysis.chance import chance_level, exchange_tracks
from affect3d.analysis.scores import score_with_intervals, subject_moments
from affect3d.analysis.svr import SvrOptions
from affect3d.analysis.tuning import tune_support_vectors


def signals(count=600, subjects=12, seed=0):
    rng = np.random.default_rng(seed)
    annotated = np.tanh(rng.normal(size=count))
    return 0.6 * annotated + 0.2 * rng.normal(size=count), annotated, rng.integers(0, subjects, count)


def test_sums_by_subject_give_what_the_metrics_say():
    p, a, s = signals()
    moments = subject_moments(p, a, s)
    drawn = np.array([3, 0, 1, 0, 2, 1, 1, 0, 0, 5, 1, 1])
    rows = np.concatenate([np.repeat(np.flatnonzero(s == k)[None], n, 0).ravel() for k, n in enumerate(drawn) if n])
    got = moments.measures(drawn)
    for name, twin in (
        ("ccc", concordance),
        ("mse", mean_squared_error),
        ("pearson", pearson),
        ("sagr", sign_agreement),
    ):
        assert got[name][0] == pytest.approx(twin(p[rows], a[rows]), abs=1e-12)


def test_a_signal_with_itself_and_shifted():
    _, a, s = signals()
    once = np.ones(12)
    assert subject_moments(a, a, s).measures(once)["ccc"][0] == pytest.approx(1, abs=1e-12)
    shifted = subject_moments(a + 0.5, a, s).measures(once)["ccc"][0]
    assert shifted == pytest.approx(2 * a.var() / (2 * a.var() + 0.25), abs=1e-12)


def test_a_constant_prediction_has_no_concordance_and_no_correlation():
    _, a, s = signals()
    score = score_with_intervals(subject_moments(np.full(len(a), 0.1), a, s), 50, np.random.default_rng(0))
    assert score["ccc"].value == 0 and score["ccc"].low == 0 == score["ccc"].high
    assert score["pearson"].value is None and score["pearson"].low is None
    assert score["mse"].value == pytest.approx(np.mean((a - 0.1) ** 2))


def test_one_subject_has_a_score_but_no_interval():
    p, a, s = signals(subjects=1)
    score = score_with_intervals(subject_moments(p, a, s), 50, np.random.default_rng(0))
    assert score["ccc"].value == pytest.approx(concordance(p, a))
    assert score["ccc"].low is None and score["ccc"].high is None


def test_the_interval_covers_the_truth_as_often_as_it_says_where_subjects_differ():
    # each subject's error is mostly its own, so an interval over frames would be far too narrow
    rng = np.random.default_rng(3)
    inside, narrow = 0, 0
    for _ in range(200):
        own = rng.normal(size=40)
        s = np.repeat(np.arange(40), 25)
        error = own[s] + 0.3 * rng.normal(size=1000)
        score = score_with_intervals(subject_moments(error, np.zeros(1000), s), 300, rng)["mse"]
        inside += score.low <= 1.09 <= score.high
        frames = error**2
        narrow += abs(frames.mean() - 1.09) <= 1.96 * frames.std() / np.sqrt(1000)
    assert 0.85 <= inside / 200 <= 0.99
    assert narrow / 200 < 0.6


def test_bad_signals_are_refused():
    p, a, s = signals()
    with pytest.raises(ValueError, match="expected one of each frame"):
        subject_moments(p[:-1], a, s)
    with pytest.raises(ValueError, match="annotated"):
        subject_moments(p, np.where(np.arange(len(a)) == 3, np.nan, a), s)
    with pytest.raises(ValueError, match="resamples"):
        score_with_intervals(subject_moments(p, a, s), 0, np.random.default_rng(0))


def test_tuning_finds_the_width_that_the_data_need():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 2))
    subjects = np.arange(1500) % 9
    wavy = np.sin(6 * x[:, 0]) + 0.1 * rng.normal(size=1500)
    plain = 0.5 * x[:, 1] + 0.1 * rng.normal(size=1500)
    fine, smooth = tune_support_vectors(
        x, np.c_[wavy, plain], subjects, 3, rng, gammas=(0.01, 8.0), costs=(1.0,), rows=1500
    )
    assert fine.options.gamma == 8.0 and fine.ccc > 0.9
    assert smooth.options.gamma == 0.01 and smooth.ccc > 0.95
    assert len(fine.table) == 2 and fine.rows == 1500


def test_tuning_refuses_more_folds_than_subjects():
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match="as many as there are subjects"):
        tune_support_vectors(x, x, np.arange(30) % 2, 3, np.random.default_rng(0))


def test_exchanged_tracks_are_whole_tracks_of_others():
    lengths = [5, 9, 7, 9]
    sequences = np.repeat([4, 1, 7, 2], lengths)
    labels = np.concatenate([k + np.linspace(0, 0.5, n) for k, n in enumerate(lengths)])[:, None]
    out = exchange_tracks(labels, sequences, np.random.default_rng(2))
    donors = []
    for name in (4, 1, 7, 2):
        track = out[sequences == name, 0]
        donors.append(int(track[0]))
        # stretched, so it runs evenly from its donor's first to its last value
        assert track == pytest.approx(donors[-1] + np.linspace(0, 0.5, len(track)))
    assert sorted(donors) == [0, 1, 2, 3] and donors != [0, 1, 2, 3]


def halves(carries, seed=0):
    rng = np.random.default_rng(seed)
    sequences = np.repeat(np.arange(60), 20)
    level = (
        np.tanh(rng.normal(size=(60, 2)))[sequences]
        * np.sin(np.linspace(0, np.pi, 20))[None].repeat(60, 0).ravel()[:, None]
    )
    weights = rng.normal(size=(1200, 6)) * 0.3
    weights[:, :2] += carries * level
    subjects = sequences // 6
    near = subjects < 6
    return weights[near], level[near], sequences[near], weights[~near], level[~near], subjects[~near]


def test_chance_is_near_nothing_and_affect_that_is_there_stands_out():
    found = chance_level(*halves(2.0), [SvrOptions(kernel_tolerance=1e-3)] * 2, 19, np.random.default_rng(0))
    assert (found.observed > 0.8).all()
    assert (found.p_values == 0.05).all()  # the least that 19 permutations can say
    # all tracks rise and fall, and exchanged ones still do, so chance is a little more than nothing
    assert (found.permuted.mean(0) < 0.3).all()


def test_affect_that_is_not_there_is_not_found():
    found = chance_level(*halves(0.0), [SvrOptions(kernel_tolerance=1e-3)] * 2, 19, np.random.default_rng(0))
    assert (found.p_values > 0.05).all()
