"""What the whole analysis would find if geometry and affect had nothing to do with one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affect3d.analysis.cca import StreamedCovariance, canonical_correlation
from affect3d.analysis.scores import subject_moments
from affect3d.analysis.svr import SvrOptions, support_vector_regression
from affect3d.progress import Progress, silent

__all__ = ["Chance", "chance_level", "exchange_tracks"]


@dataclass(frozen=True, eq=False)
class Chance:
    """Concordance with exchanged labels.

    Attributes
    ----------
    observed : (T,) float64
        With the true labels, by the same procedure on the same rows.
    permuted : (M, T) float64
    p_values : (T,) float64
        ``(1 + number of permutations that reach the observed value) / (1 + M)``.
    rows : int
        Training rows that each repetition was fitted on.
    """

    observed: np.ndarray
    permuted: np.ndarray
    p_values: np.ndarray
    rows: int


def exchange_tracks(labels, sequences, rng: np.random.Generator) -> np.ndarray:
    """Labels whose tracks have gone to other sequences, each stretched to its new length.

    Single frames are not permuted: labels of neighbouring frames are alike, and so is geometry, and a permutation
    that destroys that would make chance look smaller than it is.

    Parameters
    ----------
    labels : (N, T) float array
        In the order of time within each sequence.
    sequences : (N,) int array
    rng : numpy.random.Generator

    Returns
    -------
    (N, T) float64
    """
    labels, sequences = np.asarray(labels, float), np.asarray(sequences)
    order = np.argsort(sequences, kind="stable")
    tracks = np.split(order, np.flatnonzero(np.diff(sequences[order])) + 1)
    out = np.empty_like(labels)
    for rows, source in zip(tracks, rng.permutation(len(tracks))):
        donor = labels[tracks[source]]
        at = np.linspace(0, len(donor) - 1, len(rows))
        for t in range(labels.shape[1]):
            out[rows, t] = np.interp(at, np.arange(len(donor)), donor[:, t])
    return out


def chance_level(
    train, train_labels, train_sequences, test, test_labels, test_subjects, options: list[SvrOptions],
    permutations: int, rng: np.random.Generator, progress: Progress = silent,
) -> Chance:  # fmt: skip
    """Repeat CCA and regression with exchanged training labels, and score them on the true test labels.

    Parameters
    ----------
    train : (N, K), test : (M, K) float array
        Component weights; some thousand rows of each suffice.
    train_labels : (N, T), test_labels : (M, T) float array
    train_sequences : (N,) int array
        Whose tracks are exchanged.
    test_subjects : (M,) array
    options : list of SvrOptions
        One for each target, as chosen for the true labels.
    permutations : int
    rng : numpy.random.Generator
    progress : callable
    """
    train, test = np.asarray(train, float), np.asarray(test, float)
    train_labels, test_labels = np.asarray(train_labels, float), np.asarray(test_labels, float)
    if len(np.unique(train_sequences)) < 2:
        raise ValueError("train_sequences: exchanging tracks needs at least two sequences, got 1")
    once = np.ones(len(np.unique(test_subjects)))

    def score(labels) -> list[float]:
        summed = StreamedCovariance(train.shape[1] + labels.shape[1])
        summed.add(np.hstack([train, labels]))
        found = canonical_correlation(summed.mean, summed.covariance, train.shape[1], min(2, labels.shape[1]))
        near, far = found.x_variates(train), found.x_variates(test)
        out = []
        for t, setting in enumerate(options):
            predicted = support_vector_regression(near, labels[:, t], setting).predict(far)[:, 0].clip(-1, 1)
            ccc = subject_moments(predicted, test_labels[:, t], test_subjects).measures(once)["ccc"][0]
            out.append(float(np.nan_to_num(ccc)))
        return out

    observed = np.array(score(train_labels))
    permuted = np.empty((permutations, len(observed)))
    for m in range(permutations):
        permuted[m] = score(exchange_tracks(train_labels, train_sequences, rng))
        progress(m + 1, permutations, "exchanged labels")
    p_values = (1 + (permuted >= observed).sum(0)) / (1 + permutations)
    return Chance(observed, permuted, p_values, len(train))
