"""One run of a study: a condition, a number of people, a seed and a fold, in a folder and a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.study.calibration import calibration_of, fitted_rows
from affect3d.study.films import (
    AddedFilms,
    FilmOptions,
    class_weights,
    film_batches,
    windows_of,
)
from affect3d.study.networks import AffectMethod, AffectOptions, predict_films

__all__ = ["FIT", "Run", "carry_out", "predicted_by_fit", "read_predictions", "smoothed_prediction"]

#: The condition that is no network: a linear regression on the fitted head.
FIT = "fit"


@dataclass(frozen=True, eq=False)
class Run:
    """All that one run needs; small, so that it can be handed to another process.

    Attributes
    ----------
    condition : str
    people, seed, fold : int
    data : str
        File with crops, labels, clip and frame of all frames.
    added : tuple of str
        Folders with manifests; may be none.
    fits : str
        File with the expressions fitted to labelled frames, by which labels of added pictures are calibrated; "" keeps
        them as they are.
    learned : tuple of str
        Names of those whose added pictures are used: those learned from, and people outside the set.
    train, test : (M,) int64
    films : FilmOptions
    network : AffectOptions
    classical : bool
    folder : str
    """

    condition: str
    people: int
    seed: int
    fold: int
    data: str
    added: tuple[str, ...]
    fits: str
    learned: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    films: FilmOptions
    network: AffectOptions
    classical: bool
    folder: str


def carry_out(run: Run) -> str:
    """Train and predict; a run that is complete is not repeated, one that was stopped goes on.

    Returns the folder.
    """
    from affect3d.gan.training import TrainOptions, train

    folder = Path(run.folder)
    if (folder / "predictions.npz").exists():
        return run.folder
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(run.data, allow_pickle=False) as file:
        crops, labels, clip, frame = (file[n] for n in ("crops", "labels", "clip", "frame"))
    if run.condition == FIT:
        _write_predictions(folder, run.test, predicted_by_fit(run.fits, run.train, run.test, labels))
        return run.folder
    added = None
    if run.added:
        calibration = calibration_of(run.fits, run.train, labels) if run.fits else None
        added = added_films(run.added, run.learned, crops.shape[3], labels[run.train], run.films.classes, calibration)
    length = run.films.length
    batches = film_batches(
        crops, labels, windows_of(clip, frame, run.train, length), run.films, run.seed, run.classical, added,
        run.network.steps,
    )  # fmt: skip
    method = AffectMethod(run.network)
    # one thread: sums, and with them the last bits of a table, do not depend on the machine's load
    options = TrainOptions(run.seed, "cpu", threads=1, log_every=50, sample_every=0, checkpoint_every=100)
    train(method, batches, options, folder)
    windows = windows_of(clip, frame, run.test, length)
    predicted = smoothed_prediction(method.networks["network"], crops, windows)
    _write_predictions(folder, run.test, predicted[run.test])
    for name in ("checkpoint.safetensors",):  # the weights stay; what a resume needs is not needed any more
        (folder / name).unlink(missing_ok=True)
    return run.folder


def _write_predictions(folder, rows, predicted) -> None:
    with atomic_path(folder / "predictions.npz") as part, open(part, "wb") as file:
        np.savez(file, rows=rows, predicted=predicted)


def predicted_by_fit(fits, train, test, labels) -> np.ndarray:
    """(M, 2): what the calibration itself says of the test frames, no network involved; zero where no head fits."""
    rows, expressions, _ = fitted_rows(fits)
    told = np.zeros((len(labels), 2))
    told[rows] = calibration_of(fits, train, labels)(expressions)
    return told[test]


def smoothed_prediction(network, crops, windows, several: int = 32) -> np.ndarray:
    """(N, 2) predictions, the mean over all windows in which a frame lies; NaN for frames in none."""
    import torch

    total, times = np.zeros((len(crops), 2)), np.zeros(len(crops))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for start in range(0, len(windows), several):
            some = windows[start : start + several]
            told = predict_films(network, crops[some])
            for rows, values in zip(some, told):
                # a repeated last frame of a short clip counts once, as it first was
                keep = np.r_[True, np.diff(rows) != 0]
                total[rows[keep]] += values[keep]
                times[rows[keep]] += 1
    finally:
        torch.set_num_threads(threads)
    return np.where(times[:, None] > 0, total / np.maximum(times, 1)[:, None], np.nan)


def added_films(folders, learned, channels: int, labels, classes: str = "like", calibration=None) -> AddedFilms | None:
    """The added pictures of those learned from, whose frames have `labels` (N, 2); None if there are none.

    Parameters
    ----------
    folders : sequence of path
    learned : sequence of str
    channels : {1, 3}
    labels : (N, 2) float array
    classes : str
        See `FilmOptions`.
    calibration : Calibration, optional
        Labels the added pictures anew, by the expressions fitted to them.
    """
    from affect3d.study.augment import read_refits
    from affect3d.study.manifest import read_manifest, read_pictures

    pictures, made, sources = [], [], []
    for place in folders:
        records = [r for r in read_manifest(place) if r.subject in set(learned)]
        if records:
            pictures.append(read_pictures(place, records))
            own = np.array([(r.valence, r.arousal) for r in records])
            made.append(own if calibration is None else calibration(read_refits(place, records)))
            sources += [(r.subject, r.clip, r.frame) for r in records]
    if not pictures:
        return None
    if len({part.shape[1:] for part in pictures}) > 1:
        raise ValueError("added: expected pictures of one size in all folders")
    pictures = np.concatenate(pictures)
    if channels == 1:
        pictures = np.rint(pictures @ np.float32([[0.299], [0.587], [0.114]])).astype(np.uint8)
    number = {source: k for k, source in enumerate(dict.fromkeys(sources))}
    made = np.concatenate(made)
    return AddedFilms(pictures, made, np.array([number[s] for s in sources]), class_weights(labels, made, classes))


def read_predictions(folder) -> tuple[np.ndarray, np.ndarray]:
    """Rows and predictions (M, 2) of a finished run."""
    with np.load(Path(folder) / "predictions.npz", allow_pickle=False) as file:
        return file["rows"], file["predicted"]
