"""The study: the same network learns with and without added pictures, and is tested on people never seen."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affect3d.gan.batches import fingerprint
from affect3d.gan.data.crops import CropOptions
from affect3d.gan.training import WEIGHTS
from affect3d.io.atomic import atomic_path
from affect3d.io.digests import file_digest
from affect3d.io.json_file import write_json
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.progress import Progress, silent
from affect3d.study.comparison import compare
from affect3d.study.films import FilmOptions
from affect3d.study.fits import fit_frames
from affect3d.study.made_by_gan import pictures_by_gan
from affect3d.study.manifest import read_manifest
from affect3d.study.networks import AffectOptions
from affect3d.study.neutral import NeutralOptions
from affect3d.study.pictures import make_pictures, neutral_frames
from affect3d.study.runs import FIT, Run, carry_out, read_predictions
from affect3d.study.splits import check_division, divide

__all__ = ["BASELINE", "CONDITIONS", "StudyOptions", "predictions_of", "run_study"]

#: No augmentation at all; mirrors, shifts and light; the same and 3D pictures of the classes' means, or of draws; the
#: means with calibrated labels; the means of neutral faces of other people too, and these with calibrated labels;
#: and no network at all but a linear regression on the fitted head, to which the others may be held up.
CONDITIONS = (
    "none", "classical", "3d-mean", "3d-sampled", "3d-calibrated", "3d-more", "3d-more-calibrated", FIT,
)  # fmt: skip
#: What each 3D condition is made of: mode of the expressions, whether other people's neutral faces are used, and
#: whether labels are calibrated.
_MADE = {
    "3d-mean": ("mean", False, False), "3d-sampled": ("sampled", False, False), "3d-calibrated": ("mean", False, True),
    "3d-more": ("mean", True, False), "3d-more-calibrated": ("mean", True, True),
}  # fmt: skip
#: What the others are compared with: added pictures have to help beyond what costs nothing.
BASELINE = "classical"


@dataclass(frozen=True)
class StudyOptions:
    """What is compared, and how.

    Attributes
    ----------
    conditions : tuple of str
        Of `CONDITIONS`; folders of other methods' pictures come beside them.  Those with "more" need neutral faces of
        other people.
    people : tuple of int
        Numbers of people to learn from, ascending.
    seeds : int
        Repetitions with other weights, batches and divisions, from 1.
    folds : int
        From 2; in each repetition everybody is tested on once.
    pictures : int
        Made of each neutral frame.
    crop : CropOptions
    neutral : NeutralOptions
    films : FilmOptions
    network : AffectOptions
    seed : int
        Of everything, from 0.
    """

    conditions: tuple[str, ...] = ("none", "classical", "3d-mean", "3d-sampled", "3d-calibrated", FIT)
    people: tuple[int, ...] = (3, 9)
    seeds: int = 3
    folds: int = 2
    pictures: int = 16
    crop: CropOptions = CropOptions(48)
    neutral: NeutralOptions = NeutralOptions()
    films: FilmOptions = FilmOptions()
    network: AffectOptions = AffectOptions()
    seed: int = 0

    def __post_init__(self):
        unknown = [c for c in self.conditions if c not in CONDITIONS]
        if unknown or not self.conditions or len(set(self.conditions)) != len(self.conditions):
            raise ValueError(f"conditions: expected different ones of {', '.join(CONDITIONS)}, got {self.conditions}")
        people = tuple(self.people)
        if not people or list(people) != sorted(set(people)) or people[0] < 1:
            raise ValueError(f"people: expected ascending whole numbers from 1, got {self.people}")
        for name, low in (("seeds", 1), ("folds", 2), ("pictures", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")
        if self.crop.channels != self.network.channels:
            raise ValueError(
                f"network: expected {self.crop.channels} channels, as crop has, got {self.network.channels}"
            )


def run_study(
    videos, options: StudyOptions, folder, added: dict | None = None, workers: int = 1, progress: Progress = silent,
    notes: dict | None = None, neutral: dict | None = None,
) -> dict:  # fmt: skip
    """Carry out the study, or go on with one that was stopped; the same seed gives the same table.

    Parameters
    ----------
    videos : FaceVideos
    options : StudyOptions
    folder : path
        Made if missing.  Holds afterwards study.json, faces.npz, neutral.json, neutral.png, added/METHOD with the
        pictures and their manifest, and runs/ with weights and predictions.
    added : dict of str to path, optional
        Further conditions: folders with pictures and manifest.json, or of finished runs of `affect3d gan train`, by
        which the set's neutral frames are then given emotions.  Such a method must not have learned from test people,
        which cannot be seen here.
    workers : int
        Processes for the runs.  A script that asks for more than one guards its start with
        ``if __name__ == "__main__":``.
    progress : callable
    notes : dict, optional
        Texts for the page ("shared", "not_shared"); kept in study.json.
    neutral : dict of str to FaceVideos, optional
        Neutral faces of people who are not in the set, by the source's name, all frames of which are used by the
        conditions with "more"; see `affect3d.study.neutral_readers`.

    Returns
    -------
    dict
        JSON-ready; what study.json holds.

    Raises
    ------
    ValueError
        If the folder holds a run with other options or data or another run is at work in it, there are too few people,
        or an added picture would leak.
    """
    added = {k: Path(v) for k, v in (added or {}).items()}
    clash = [name for name in added if name in CONDITIONS or not name or "/" in name]
    if clash:
        raise ValueError(f"added: expected another name than {', '.join(CONDITIONS)}, got {clash[0]!r}")
    neutral = neutral or {}
    more = [c for c in options.conditions if c in _MADE and _MADE[c][1]]
    if more and not neutral:
        raise ValueError(f"conditions: {more[0]} needs neutral faces of other people; give some, or leave it out")
    plan = {"options": options, "added": _manifests(added), "data": _digest(videos)}
    plan["neutral"] = {name: _digest(faces) for name, faces in sorted(neutral.items())}
    run = RunFolder(folder, "study", plan, ("added", "runs"))
    with one_run(run):
        return _study(videos, options, run, added, workers, progress, notes, neutral)


def _study(videos, options, run, added, workers, progress, notes, neutral) -> dict:
    folder = run.path
    labelled = np.flatnonzero(videos.labelled)
    data = _write_faces(folder / "faces.npz", videos, labelled, options.crop)
    made, found = _make_all(videos, neutral, options, folder, workers, progress)
    for name, place in added.items():
        if not (place / "manifest.json").is_file():
            rows = neutral_frames(videos, options, folder, progress)["rows"]
            added[name] = pictures_by_gan(videos, rows, place, folder / "added" / name, options.crop, progress)
    fits = ""
    if any(c == FIT or (c in _MADE and _MADE[c][2]) for c in options.conditions):
        fits = str(fit_frames(videos, labelled, folder / "fits.npz", workers, progress))
    sources: dict = {}
    for name in (*options.conditions, *added):
        mode, others, calibrated = _MADE.get(name, (None, False, False))
        where = (added[name],) if name in added else made.get(mode, ())[: None if others else 1]
        sources[name] = (tuple(map(str, where)), fits if calibrated or name == FIT else "")
    more = any(_MADE[c][1] for c in options.conditions if c in _MADE)
    outside = tuple(person for faces in neutral.values() for person in faces.subjects) if more else ()
    manifests = {name: [r for place in where for r in read_manifest(place)] for name, (where, _) in sources.items()}
    runs = _plan_runs(videos, options, folder, data, sources, manifests, outside)
    _carry_out_all(runs, workers, progress)
    labels = np.stack([videos.valence, videos.arousal], 1)
    rows = compare(labels, videos.subject, _pooled(runs), _baseline(options), seed=options.seed)
    result = run.plan | {
        "source": videos.source, "frames": len(labelled), "subjects": len(videos.subjects), "clips": len(videos.clips),
        "neutral_frames": found, "baseline": _baseline(options), "rows": rows, "notes": notes or {},
        "neutral_faces": {name: len(faces) for name, faces in neutral.items()},
        "added_pictures": {name: len(records) for name, records in manifests.items() if records},
        "folders": {name: [str(Path(p).relative_to(folder)) if Path(p).is_relative_to(folder) else str(p)
                           for p in where] for name, (where, _) in sources.items() if where},
    }  # fmt: skip
    write_json(folder / "study.json", result)
    return result


def predictions_of(folder, condition: str, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and predictions (M, 2) of all folds and seeds of a finished study, one after the other."""
    places = sorted(Path(folder).glob(f"runs/{condition}-{people:04d}-*/predictions.npz"))
    found = [read_predictions(place.parent) for place in places]
    if not found:
        raise ValueError(f"folder: {folder} holds no predictions of {condition!r} with {people} people")
    return np.concatenate([r for r, _ in found]), np.concatenate([p for _, p in found])


def _baseline(options) -> str:
    return BASELINE if BASELINE in options.conditions else options.conditions[0]


def _make_all(videos, neutral, options, folder, workers, progress):
    """Folders with 3D pictures of each mode, those of the set's own people first, and what is to be said of them."""
    used = [_MADE[c] for c in options.conditions if c in _MADE]
    modes = {mode: any(c for m, _, c in used if m == mode) for mode, _, _ in used}
    if not modes:
        return {}, {"count": 0, "refused": 0}
    known = neutral_frames(videos, options, folder, progress)
    rows = np.array(known["rows"], np.int64)
    made = {k: [v] for k, v in make_pictures(videos, rows, modes, options, folder / "added", workers, progress).items()}
    more = {mode: modes[mode] for mode, others, _ in used if others}
    for name, faces in sorted(neutral.items()) if more else ():
        place = folder / "added" / f"of {name}"
        for mode, where in make_pictures(
            faces, np.arange(len(faces)), more, options, place, workers, progress
        ).items():  # fmt: skip
            made[mode].append(where)
    return made, {"count": len(rows), "refused": len(known["refused"])}


def _plan_runs(videos, options, folder, data, sources, manifests, outside) -> list[Run]:
    runs = []
    for seed in range(options.seeds):
        for amount in options.people:
            for fold, division in enumerate(divide(videos, options.folds, options.seed + seed, amount)):
                learned = tuple(videos.subjects[s] for s in np.unique(videos.subject[division.train]))
                for condition, (where, fits) in sources.items():
                    mine = [r for r in manifests[condition] if r.subject in {*learned, *outside}]
                    check_division(videos, division, mine, outside)
                    name = f"{condition}-{amount:04d}-{seed}-{fold}"
                    network = replace(options.network, seed=1000 * options.seed + 10 * seed + fold)
                    runs.append(Run(
                        condition, amount, seed, fold, str(data), where, fits, (*learned, *outside), division.train,
                        division.test, options.films, network, condition != "none", str(folder / "runs" / name),
                    ))  # fmt: skip
    return runs


def _carry_out_all(runs, workers, progress) -> None:
    if workers == 1:
        for done, run in enumerate(runs, 1):
            carry_out(run)
            progress(done, len(runs), "training")
        return
    import multiprocessing

    # processes that are forked from a program with threads can hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(carry_out, runs), 1):
            progress(done, len(runs), "training")


def _pooled(runs) -> dict:
    """(condition, people) -> for each seed the rows and predictions of all folds."""
    out: dict = {}
    for run in runs:
        out.setdefault((run.condition, run.people), {}).setdefault(run.seed, []).append(read_predictions(run.folder))
    return {
        key: [tuple(np.concatenate(part) for part in zip(*folds)) for _, folds in sorted(seeds.items())]
        for key, seeds in out.items()
    }


def _write_faces(path, videos, labelled, crop) -> Path:
    if not path.exists():
        crops = np.zeros((len(videos), crop.size, crop.size, crop.channels), np.uint8)
        crops[labelled] = videos.crops(labelled, crop)
        labels = np.stack([videos.valence, videos.arousal], 1)
        with atomic_path(path) as part, open(part, "wb") as file:
            np.savez(file, crops=crops, labels=labels, clip=videos.clip, frame=videos.frame)
    return path


def _manifests(added) -> dict[str, str]:
    """Digests of the manifests, or of the weights, of further conditions, by name: other pictures are another study."""
    files = {
        name: next((place / n for n in ("manifest.json", WEIGHTS) if (place / n).is_file()), None)
        for name, place in sorted(added.items())
    }  # fmt: skip
    for name, file in files.items():
        if file is None:
            raise ValueError(f"added: {added[name]} holds neither a manifest.json nor a finished run ({WEIGHTS})")
    return {name: file_digest(file)[:16] for name, file in files.items()}


def _digest(videos) -> str:
    """Of labels, names and, where they are in memory, pictures; files on disk count by their names."""
    pictures = fingerprint(videos.images) if videos.images is not None else "|".join(
        f"{e.path.name}:{e.page}" for e in videos.entries
    )  # fmt: skip
    text = "\n".join([*videos.subjects, *videos.clips, pictures])
    arrays = fingerprint(videos.subject, videos.clip, videos.frame, videos.valence, videos.arousal)
    return hashlib.sha256(f"{text}\n{arrays}".encode()).hexdigest()[:16]

