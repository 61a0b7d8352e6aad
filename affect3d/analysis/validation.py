"""How much affect geometry carries: components, canonical correlations, support vectors, people never seen.

The paper's section 4.1 as one run over a gallery: components are learned from apex frames, all frames are projected on
them, canonical correlation analysis reduces the weights to two variates, support vector regression maps these to
valence and arousal, and the predictions are scored on people who took no part in any of this.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from affect3d.analysis.cca import canonical_correlation_of
from affect3d.analysis.chance import chance_level
from affect3d.analysis.projection import ProjectedWeights, project_gallery
from affect3d.analysis.scores import score_with_intervals, subject_moments
from affect3d.analysis.splits import check_split, subject_split
from affect3d.analysis.svr import SvrOptions, support_vector_regression
from affect3d.analysis.tuning import spaced_rows, tune_support_vectors
from affect3d.io.atomic import atomic_path
from affect3d.io.json_file import write_json
from affect3d.io.run_folder import RunFolder, end_step, one_run, read_step
from affect3d.progress import Progress, silent

__all__ = ["TARGETS", "ValidationOptions", "validate_gallery"]

TARGETS = ("valence", "arousal")
_FORMAT = "affect3d validation 2"
#: Rows of the samples that stand in for all where something is repeated a hundred times.
_CHANCE_ROWS = 6000


@dataclass(frozen=True)
class ValidationOptions:
    """What is run.

    Attributes
    ----------
    components : tuple of int
        Numbers of components, one row of the table each; the paper's by default.
    constraint : {"unit", "signed"}
        Of the weights, see `affect3d.model.splocs`.
    apex_frames : int
        About so many frames of the training people, the most expressive ones of each sequence, are learned from.
    test_share : float, optional
        Share of the subjects that is drawn and held out.  If left out, the gallery's own split ``test``, and 0.2 where
        it has none.
    test_subjects : tuple of str
        Names of those held out, instead.
    folds : int
        Of the cross-validation that chooses the regression's constants, over training subjects.
    resamples : int
        Of the bootstrap over test subjects.
    permutations : int
        Of whole label tracks; 0 leaves the chance level out.
    exact_rows : int
        Rows on which the regression is compared with scikit-learn's exact one; 0 leaves it out.
    seed : int
        Draws the split, the folds, the bootstrap and the permutations.
    """

    components: tuple[int, ...] = (84, 150, 200, 300, 500)
    constraint: str = "unit"
    apex_frames: int = 12_000
    test_share: float | None = None
    test_subjects: tuple[str, ...] = ()
    folds: int = 4
    resamples: int = 1000
    permutations: int = 99
    exact_rows: int = 4000
    seed: int = 0

    def __post_init__(self):
        counts = tuple(int(k) for k in self.components)
        if not counts or min(counts) < 2 or len(set(counts)) != len(counts):
            raise ValueError(f"components: expected different numbers of at least 2, got {self.components}")
        object.__setattr__(self, "components", tuple(sorted(counts)))
        object.__setattr__(self, "test_subjects", tuple(str(s) for s in self.test_subjects))
        if self.constraint not in ("unit", "signed"):
            raise ValueError(f"constraint: expected 'unit' or 'signed', got {self.constraint!r}")
        for name, least in (("apex_frames", 10), ("folds", 2), ("resamples", 1), ("permutations", 0),
                            ("exact_rows", 0), ("seed", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise ValueError(f"test_share: expected a number in (0, 1), got {self.test_share}")


def validate_gallery(
    store, out, options: ValidationOptions | None = None, scheduler: str | None = None, progress: Progress = silent
) -> dict:
    """Run the analysis; a run that was killed continues where it was.

    Parameters
    ----------
    store : GalleryStore
        See `affect3d.affect.store.open_gallery`.
    out : path
        Folder.  It holds ``components/K.safetensors``, ``rows/K.json`` and ``rows/K.npz`` (predictions of all frames),
        and ``analysis.json`` when all is done; blocks of weights lie in ``weights/K`` while a row is being made.
    options : ValidationOptions, optional
    scheduler : str, optional
        Address of a Dask scheduler, for the projection of all frames.
    progress : callable

    Returns
    -------
    dict
        What ``analysis.json`` holds: every number of the report.

    Raises
    ------
    ValueError
        If the gallery has fewer than two subjects, sequences on both sides of the split would be empty, there are
        fewer frames than components, a named test subject is not in the gallery, another run is at work in the folder,
        or it holds a run of another kind.
    """
    # each step tells what it hangs on: a run with other options takes what fits, and makes the rest
    run = RunFolder(out, "analyze", parts=("components", "rows", "weights"))
    # several threads on small products cost a busy machine many times what they gain
    with threadpool_limits(1), one_run(run) as folder:
        return _validate(store, folder, options or ValidationOptions(), scheduler, progress)


def _validate(store, out, options, scheduler, progress) -> dict:
    train, test, drawn = _split(store, options)
    labels = np.stack([store.valence, store.arousal], axis=1).astype(float)
    for t, name in enumerate(TARGETS):
        if labels[train, t].min() == labels[train, t].max():
            raise ValueError(
                f"store: {name} is the same number in all training frames, so nothing can be learned of it"
            )
    if train.sum() <= max(options.components):
        raise ValueError(
            f"components: expected fewer than the {int(train.sum())} training frames, got {max(options.components)}"
        )
    digests = {count: _digest(store, options, count) for count in options.components}
    for name in ("components", "rows"):
        (out / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for count, digest in digests.items():
        row = _read_row(out, count, digest)
        if row is None:
            start = out / "components" / f"{rows[-1]['components']}.safetensors" if rows else None
            row = _make_row(store, out, count, digest, start, labels, train, test, options, scheduler, progress)
        rows.append(row)
    weights = out / "weights"
    if weights.is_dir():
        shutil.rmtree(weights)
    best = int(np.argmax([np.mean([row[name]["tuning"]["ccc"] for name in TARGETS]) for row in rows]))
    result = {
        "format": _FORMAT,
        "digest": rows[-1]["digest"],
        "options": {**asdict(options), "components": list(options.components)},
        "gallery": {
            "kind": store.kind, "content": store.content, "convention": store.convention, "frames": len(store),
            "subjects": len(store.subjects), "sequences": len(store.sequences), "vertices": int(len(store.rest)),
        },
        "split": {
            "how": drawn,
            "train_frames": int(train.sum()), "test_frames": int(test.sum()),
            "train_subjects": _names(store, train), "test_subjects": _names(store, test),
        },
        "rows": rows,
        "chosen": rows[best]["components"],
        "chosen_by": "highest concordance in cross-validation over the training subjects",
        "chance": _chance(out, rows[best], store, labels, train, test, options, progress),
        "exact": _exact(out, rows[best], labels, train, test, options),
    }  # fmt: skip
    write_json(out / "analysis.json", result)
    return result


def _split(store, options) -> tuple[np.ndarray, np.ndarray, str]:
    """Training and test rows, and in a word where the split comes from."""
    names, said = options.test_subjects, "named"
    if not names and options.test_share is None and store.splits.get("test"):
        names, said = store.splits["test"], "the gallery's own"
    if not names:
        share = 0.2 if options.test_share is None else options.test_share
        return *subject_split(store.subject, share, np.random.default_rng([options.seed, 1])), "drawn"
    missing = sorted(set(names) - set(store.subjects))
    if missing:
        raise ValueError(f"test_subjects: {missing[0]!r} is not a subject of the gallery")
    test = np.isin(store.subject, [i for i, name in enumerate(store.subjects) if name in set(names)])
    check_split(store.subject, ~test, test)
    return ~test, test, said


def _names(store, rows) -> list[str]:
    return [store.subjects[i] for i in np.unique(store.subject[rows])]


def _digest(store, options, count) -> str:
    """Of all that the row of `count` components depends on, the smaller rows that it is started from included."""
    said = {k: v for k, v in asdict(options).items() if k not in ("permutations", "exact_rows")}
    said["components"] = [k for k in options.components if k <= count]
    return hashlib.sha256(json.dumps([_FORMAT, store.content, said], sort_keys=True).encode()).hexdigest()


def _read_row(out, count, digest) -> dict | None:
    return read_step(out / "rows" / f"{count}.json", digest) if (out / "rows" / f"{count}.npz").exists() else None


def _make_row(store, out, count, digest, start, labels, train, test, options, scheduler, progress) -> dict:
    learned, path = _components(store, out, count, digest, start, train, options, progress)
    folder = out / "weights" / f"{count}-{digest[:16]}"
    weights = project_gallery(store, path, folder, count, scheduler, progress)
    cca = canonical_correlation_of((w[train[a : a + len(w)]], labels[a : a + len(w)][train[a : a + len(w)]])
                                   for a, w in weights.blocks())  # fmt: skip
    variates = np.concatenate([cca.x_variates(w) for _, w in weights.blocks()])
    rng = np.random.default_rng([options.seed, 2])
    folds = min(options.folds, len(np.unique(store.subject[train])))
    tuned = _tune(variates[train], labels[train], store.subject[train], folds, rng, progress)
    row = {
        "components": count, "digest": digest, "constraint": options.constraint,
        "learned": {
            "converged": learned.converged, "reason": learned.reason, "rounds": len(learned.energies),
            "energy": float(learned.energies[-1]), "vertices_at_rest": float(learned.sparsity.mean()),
        },
        "canonical_correlations": [float(c) for c in cca.correlations], "rank": cca.rank,
    }  # fmt: skip
    predicted = np.empty_like(labels)
    progress(0, 1, "support vectors")
    with ThreadPoolExecutor(len(TARGETS)) as pool:
        fits = list(pool.map(
            lambda t: support_vector_regression(variates[train], labels[train, t], tuned[t]["options"]),
            range(len(TARGETS)),
        ))  # fmt: skip
    for t, (name, found) in enumerate(zip(TARGETS, fits)):
        # labels end at -1 and 1; far from all training frames a sum of Gaussians does not
        predicted[:, t] = np.clip(found.predict(variates)[:, 0], -1, 1)
        moments = subject_moments(predicted[test, t], labels[test, t], store.subject[test])
        scores = score_with_intervals(moments, options.resamples, np.random.default_rng([options.seed, 3]))
        row[name] = {
            **{measure: asdict(score) for measure, score in scores.items()},
            "tuning": tuned[t]["said"],
            "regression": {
                "cost": tuned[t]["options"].cost, "epsilon": tuned[t]["options"].epsilon,
                "gamma": tuned[t]["options"].gamma, "training_frames": int(train.sum()),
                "features": found.features.rank, "kernel_missing": found.features.left,
                "duality_gap": float(found.gap[0]), "support": float(found.support[0]),
                "converged": found.converged, "reason": found.reason,
            },
        }  # fmt: skip
    progress(1, 1, "support vectors")
    near, far = (np.flatnonzero(side)[spaced_rows(int(side.sum()), _CHANCE_ROWS)] for side in (train, test))
    row["residual_mm"] = _residual(store, learned, weights, far[:: max(1, len(far) // 500)])
    with atomic_path(out / "rows" / f"{count}.npz") as temporary:
        np.savez(temporary, variates=variates.astype(np.float32), predicted=predicted.astype(np.float32),
                 near=near, far=far, near_weights=weights.rows(near), far_weights=weights.rows(far))  # fmt: skip
    end_step(out / "rows" / f"{count}.json", digest, row)
    weights.remove()
    return row


def _components(store, out, count, digest, start, train, options, progress):
    """Learned components and their file; a file of the same digest is read.

    Learning starts from the components of the row before (`start`), which takes a third of the time and ends lower than
    learning from nothing.
    """
    from affect3d.model.component_file import ComponentFile, load_components, save_components
    from affect3d.model.splocs import SplocsOptions, scaled_sparsity, sparse_localized_components

    path = out / "components" / f"{count}.safetensors"
    mark = path.with_suffix(".json")
    if read_step(mark, digest) is not None:
        with suppress(OSError, ValueError):  # of a file that was lost or damaged, which is made again
            return load_components(path).learned, path
    mark.unlink(missing_ok=True)
    apex = _apex_rows(store, train, options.apex_frames)
    if len(apex) < count:
        raise ValueError(f"apex_frames: {len(apex)} apex frames cannot make {count} components; ask for more of them")
    setting = SplocsOptions(constraint=options.constraint, sparsity=scaled_sparsity(len(apex)))
    learned = sparse_localized_components(
        store.frames(apex), count, store.rest, store.faces, setting,
        start=None if start is None else load_components(start).learned,
        progress=lambda done, total, label: progress(done, total, f"learning {count} components"),
    )  # fmt: skip
    notes = f"{len(apex)} apex frames of the training people"
    save_components(ComponentFile(learned, store.rest, store.faces, setting, store.content, notes), path)
    end_step(mark, digest)
    return load_components(path).learned, path  # as the file has them, in single precision, and as a later run would


def _apex_rows(store, train, wanted: int) -> np.ndarray:
    sequences = len(np.unique(store.sequence[train]))
    rows = store.apex_rows(per_sequence=-(-wanted // sequences))
    return rows[train[rows]]


def _tune(x, labels, subjects, folds, rng, progress) -> list[dict]:
    if folds < 2:  # one training person: nobody to validate on, so the constants stay what they are
        options = SvrOptions()
        return [{"options": options, "said": {"ccc": 0.0, "folds": 0, "rows": 0, "table": []}} for _ in TARGETS]
    found = tune_support_vectors(x, labels, subjects, folds, rng, progress=progress)
    return [
        {"options": f.options, "said": {
            "ccc": f.ccc, "folds": f.folds, "rows": f.rows,
            "table": [dict(zip(("cost", "epsilon", "gamma", "ccc"), line)) for line in f.table],
        }} for f in found
    ]  # fmt: skip


def _residual(store, learned, weights: ProjectedWeights, rows) -> float:
    from affect3d.model.splocs import reconstruction_error

    return reconstruction_error(store.frames(rows), learned.components, weights.rows(rows))


def _chance(out, row, store, labels, train, test, options, progress) -> dict | None:
    if not options.permutations:
        return None
    with np.load(out / "rows" / f"{row['components']}.npz", allow_pickle=False) as file:
        near, far = file["near"], file["far"]
        near_weights, far_weights = file["near_weights"], file["far_weights"]
    if len(np.unique(store.sequence[near])) < 2:
        return None
    settings = [replace(_setting(row, name), kernel_tolerance=1e-3, gap=1e-2) for name in TARGETS]
    found = chance_level(
        near_weights, labels[near], store.sequence[near], far_weights, labels[far], store.subject[far], settings,
        options.permutations, np.random.default_rng([options.seed, 4]), progress,
    )  # fmt: skip
    return {
        "permutations": options.permutations, "training_rows": found.rows, "test_rows": int(len(far)),
        **{
            name: {
                "observed": float(found.observed[t]), "p_value": float(found.p_values[t]),
                "mean": float(found.permuted[:, t].mean()), "p95": float(np.quantile(found.permuted[:, t], 0.95)),
                "permuted": [float(v) for v in found.permuted[:, t]],
            }
            for t, name in enumerate(TARGETS)
        },
    }  # fmt: skip


def _exact(out, row, labels, train, test, options) -> dict | None:
    """The fast regression beside scikit-learn's exact one, on as many rows as the exact one can do."""
    if not options.exact_rows:
        return None
    try:
        from sklearn.svm import SVR
    except ImportError:
        return {"missing": "scikit-learn is not installed: pip install 'affect3d[analysis]'"}
    from affect3d.affect.metrics import concordance

    with np.load(out / "rows" / f"{row['components']}.npz", allow_pickle=False) as file:
        variates = file["variates"].astype(float)
    near = np.flatnonzero(train)[spaced_rows(int(train.sum()), options.exact_rows)]
    far = np.flatnonzero(test)[spaced_rows(int(test.sum()), 5000)]
    said = {"training_rows": len(near)}
    for t, name in enumerate(TARGETS):
        setting = _setting(row, name)
        ours = (
            support_vector_regression(variates[near], labels[near, t], setting).predict(variates[far])[:, 0].clip(-1, 1)
        )
        exact = SVR(C=setting.cost, epsilon=setting.epsilon, gamma=setting.gamma, tol=1e-4, cache_size=500)
        theirs = exact.fit(variates[near], labels[near, t]).predict(variates[far]).clip(-1, 1)
        both = [_ccc(concordance, p, labels[far, t]) for p in (ours, theirs)]
        said[name] = {"ccc": both[0], "ccc_exact": both[1], "largest_difference": float(np.abs(ours - theirs).max())}
    return said


def _ccc(concordance, predicted, annotated) -> float:
    try:
        return concordance(predicted, annotated)
    except ValueError:  # equal constants
        return 0.0


def _setting(row, name) -> SvrOptions:
    found = row[name]["regression"]
    return SvrOptions(cost=found["cost"], epsilon=found["epsilon"], gamma=found["gamma"])
