"""The study: the same network learns with and without added pictures, and is tested on people never seen."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from affect3d.affect.statistics import default_statistics
from affect3d.gan.batches import fingerprint
from affect3d.gan.data.crops import CropOptions
from affect3d.io.atomic import atomic_path
from affect3d.io.image import write_image
from affect3d.progress import Progress, silent
from affect3d.study.augment import AugmentOptions, augment, mean_expressions, portrait_of, sampled_expressions
from affect3d.study.comparison import compare
from affect3d.study.films import FilmOptions
from affect3d.study.manifest import read_manifest
from affect3d.study.networks import AffectOptions
from affect3d.study.neutral import NeutralOptions, contact_sheet, find_neutral_frames
from affect3d.study.runs import Run, carry_out, read_predictions
from affect3d.study.splits import check_division, divide

__all__ = ["BASELINE", "CONDITIONS", "StudyOptions", "predictions_of", "run_study"]

#: No augmentation at all; mirrors, shifts and light; the same and 3D pictures of the classes' means, or of draws.
CONDITIONS = ("none", "classical", "3d-mean", "3d-sampled")
#: What the others are compared with: added pictures have to help beyond what costs nothing.
BASELINE = "classical"


@dataclass(frozen=True)
class StudyOptions:
    """What is compared, and how.

    Attributes
    ----------
    conditions : tuple of str
        Of `CONDITIONS`; folders of other methods' pictures come beside them.
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

    conditions: tuple[str, ...] = CONDITIONS
    people: tuple[int, ...] = (3, 6, 12)
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
    notes: dict | None = None,
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
        Further conditions: folders with pictures and manifest.json, as of generative methods.
    workers : int
        Processes for the runs.  A script that asks for more than one guards its start with
        ``if __name__ == "__main__":``.
    progress : callable
    notes : dict, optional
        Texts for the page ("shared", "not_shared"); kept in study.json.

    Returns
    -------
    dict
        JSON-ready; what study.json holds.

    Raises
    ------
    ValueError
        If the folder holds another study, there are too few people, or an added picture would leak.
    """
    folder, added = Path(folder), {k: Path(v) for k, v in (added or {}).items()}
    clash = [name for name in added if name in CONDITIONS or not name or "/" in name]
    if clash:
        raise ValueError(f"added: expected another name than {', '.join(CONDITIONS)}, got {clash[0]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"options": _plain(options), "added": _manifests(added), "data": _digest(videos)}
    _claim(folder / "plan.json", plan)
    labelled = np.flatnonzero(videos.labelled)
    data = _write_faces(folder / "faces.npz", videos, labelled, options.crop)
    made, neutral = _make_pictures(videos, labelled, options, folder, workers, progress)
    sources = {c: () for c in options.conditions if c not in made} | {c: (str(made[c]),) for c in made}
    sources |= {name: (str(path),) for name, path in added.items()}
    manifests = {name: read_manifest(where[0]) for name, where in sources.items() if where}
    runs = _plan_runs(videos, options, folder, data, sources, manifests)
    _carry_out_all(runs, workers, progress)
    labels = np.stack([videos.valence, videos.arousal], 1)
    rows = compare(labels, videos.subject, _pooled(runs), _baseline(options), seed=options.seed)
    result = plan | {
        "source": videos.source, "frames": len(labelled), "subjects": len(videos.subjects), "clips": len(videos.clips),
        "neutral_frames": neutral, "baseline": _baseline(options), "rows": rows, "notes": notes or {},
        "added_pictures": {name: len(records) for name, records in manifests.items()},
    }  # fmt: skip
    _write_json(folder / "study.json", result)
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


def _make_pictures(videos, labelled, options, folder, workers, progress):
    """The 3D conditions' folders, and what is to be said of the neutral frames."""
    modes = [c.removeprefix("3d-") for c in options.conditions if c.startswith("3d-")]
    if not modes:
        return {}, {"count": 0, "refused": 0}
    fits: dict[int, object] = {}

    def portrait(row):
        if row not in fits:
            fits[row] = portrait_of(videos, row)
        return fits[row]

    path = folder / "neutral.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
    else:
        found = find_neutral_frames(videos, labelled, options.neutral, portrait, progress)
        known = {
            "rows": [int(r) for r in found.rows], "strength": [round(float(s), 4) for s in found.strength],
            "refused": {str(k): v for k, v in found.refused.items()},
        }  # fmt: skip
        if not len(found.rows):
            raise ValueError("videos: no frame is neutral by label and by fitted expression; allow a wider tolerance")
        write_image(folder / "neutral.png", contact_sheet(videos, found.rows, options.crop))
        _write_json(path, known)
    rows = np.array(known["rows"], np.int64)
    statistics = default_statistics()
    out = {}
    (folder / "added").mkdir(exist_ok=True)
    for mode in modes:
        expressions = mean_expressions(statistics) if mode == "mean" else sampled_expressions(statistics, options.seed)
        # all classes alike: who is learned from is not known yet, and the labels of the others must not choose
        how = AugmentOptions(mode, options.pictures, False, options.crop, options.seed)
        out[f"3d-{mode}"] = folder / "added" / mode
        augment(videos, rows, expressions, how, out[f"3d-{mode}"], None, portrait, workers, progress)
    return out, {"count": len(rows), "refused": len(known["refused"])}


def _plan_runs(videos, options, folder, data, sources, manifests) -> list[Run]:
    runs = []
    for seed in range(options.seeds):
        for amount in options.people:
            for fold, division in enumerate(divide(videos, options.folds, options.seed + seed, amount)):
                learned = tuple(videos.subjects[s] for s in np.unique(videos.subject[division.train]))
                for condition, where in sources.items():
                    mine = [r for r in manifests.get(condition, ()) if r.subject in set(learned)]
                    check_division(videos, division, mine)
                    name = f"{condition}-{amount:04d}-{seed}-{fold}"
                    runs.append(Run(
                        condition, amount, seed, fold, str(data), where, learned, division.train, division.test,
                        options.films, replace(options.network, seed=1000 * options.seed + 10 * seed + fold),
                        condition != "none", str(folder / "runs" / name),
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
    """Digests of the manifests of further conditions, by name: other pictures are another study."""
    return {
        name: hashlib.sha256((place / "manifest.json").read_bytes()).hexdigest()[:16]
        for name, place in sorted(added.items())
    }


def _digest(videos) -> str:
    """Of labels, names and, where they are in memory, pictures; files on disk count by their names."""
    pictures = fingerprint(videos.images) if videos.images is not None else "|".join(
        f"{e.path.name}:{e.page}" for e in videos.entries
    )  # fmt: skip
    text = "\n".join([*videos.subjects, *videos.clips, pictures])
    arrays = fingerprint(videos.subject, videos.clip, videos.frame, videos.valence, videos.arousal)
    return hashlib.sha256(f"{text}\n{arrays}".encode()).hexdigest()[:16]


def _claim(path, plan) -> None:
    text = json.dumps(plan, indent=1, sort_keys=True, allow_nan=False)
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
        raise ValueError(f"folder: {path.parent} holds a study with other options or data; choose another folder")
    if not path.exists():
        with atomic_path(path) as part:
            part.write_text(text + "\n", encoding="utf-8")


def _plain(options) -> dict:
    return json.loads(json.dumps(asdict(options), default=lambda v: v.item() if hasattr(v, "item") else str(v)))


def _write_json(path, content) -> None:
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
