"""Recognition with few training people: the ablation of section IV-D on any set of faces, cell by cell.

A *cell* is one way to train R (`RECOGNITION`) with one seed.  All cells of a seed see the same few people, start from
the same initial weights and are tested on the same others.  What F_id knows comes from people of neither group, as
the paper's Light CNN was trained on a million pictures of others.  Variants that begin with the first stage share it:
its steps do not depend on the variant, so it is made once for each seed and gives the bytes that each would have made
for itself.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from affect3d.gan import metrics
from affect3d.gan.batches import fingerprint, to_images
from affect3d.gan.checkpoint import RunState, load_checkpoint, load_weights, save_checkpoint
from affect3d.gan.determinism import deterministic
from affect3d.gan.fesgan.method import RECOGNITION
from affect3d.gan.fesgan.recipe import prepare
from affect3d.gan.identity import SMALL_LIGHT_CNN, IdentityTraining, load_light_cnn, save_light_cnn, train_identity
from affect3d.gan.identity.light_cnn import LightCNNOptions
from affect3d.gan.training import CHECKPOINT, LOSSES, WEIGHTS, TrainOptions, describe, plain, train
from affect3d.io.json_file import write_json
from affect3d.io.run_folder import RunFolder, one_run
from affect3d.progress import Progress, silent

__all__ = ["FewPeopleOptions", "Split", "features_of", "few_people_split", "recognition_study", "recognized"]

#: Begin with the first stage of algorithm 1.
_PRETRAINED = ("SL", "JL-IL", "JL-RDBP", "JL", "Real")
_CELL = "recognition.json"


@dataclass(frozen=True)
class FewPeopleOptions:
    """What is compared, and on how many people.

    Attributes
    ----------
    variants : tuple of str
        Of `RECOGNITION`, without "none".
    seeds : int
        Each draws people, initial weights and batches anew.
    first_seed : int
    people : int
        Trained on.
    test_people : int
    identity_people : int
        Others, whom the identity network learns to tell apart; 0 for all who are left.
    identity_steps : int
    identity : LightCNNOptions
    batch : int
        16 in the paper.
    settings : dict
        Further fields of `FESGANOptions`.
    """

    variants: tuple[str, ...] = ("BASELINE", "SL", "OneSt", "JL-IL", "JL-RDBP", "Real", "JL")
    seeds: int = 3
    first_seed: int = 0
    people: int = 10
    test_people: int = 100
    identity_people: int = 0
    identity_steps: int = 600
    identity: LightCNNOptions = field(default_factory=lambda: SMALL_LIGHT_CNN)
    batch: int = 16
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "variants", tuple(self.variants))
        allowed = [name for name in RECOGNITION if name != "none"]
        if not self.variants or len(set(self.variants)) < len(self.variants) or {*self.variants} - {*allowed}:
            raise ValueError(f"variants: expected different ones of {', '.join(allowed)}, got {self.variants}")
        for name, low in (
            ("seeds", 1), ("first_seed", 0), ("people", 2), ("test_people", 1), ("identity_people", 0),
            ("identity_steps", 1), ("batch", 2),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")
        if wrong := {"recognition", "seed"} & set(self.settings):
            raise ValueError(f"settings: {', '.join(sorted(wrong))} follow from the cell")


@dataclass(frozen=True, eq=False)
class Split:
    """People of one seed, as `FaceImages`: nobody is in two of them."""

    train: object
    test: object
    others: object


def few_people_split(faces, options: FewPeopleOptions, seed: int) -> Split:
    """Draw the people who are trained on, tested on, and those whom the identity network learns to tell apart.

    Raises
    ------
    ValueError
        If there are too few.
    """
    o, people = options, faces.subjects
    wanted = o.people + o.test_people + max(o.identity_people, 2)
    if wanted > len(people):
        raise ValueError(f"faces: expected at least {wanted} people, got {len(people)}; lower people or test_people")
    # the first of the order are tested on, so that another number of training people leaves the test as it is
    order = np.random.default_rng([seed, 78]).permutation(people)
    test, rest = order[: o.test_people], order[o.test_people :]
    others = rest[o.people :][: o.identity_people or None]
    return Split(*(faces.select(np.isin(faces.subject, who)) for who in (rest[: o.people], test, others)))


def recognition_study(
    faces, options: FewPeopleOptions, folder, run: TrainOptions = TrainOptions(), progress: Progress = silent
) -> dict:
    """Every variant with every seed; what is finished already is read from `folder`.

    Parameters
    ----------
    faces : FaceImages
        Square pictures with expressions.
    options : FewPeopleOptions
    folder : str or Path
        Gets ``s{seed}/{variant}/`` with a run as `training.train` leaves it and its recognition.json, and table.json.
    run : TrainOptions
        Its seed is replaced by that of the cell; precision and number of devices are the same for all of a folder.
    progress : callable

    Returns
    -------
    dict
        "variants": for each the accuracies of the seeds, their mean and standard deviation (of a sample), the mean
        difference from BASELINE with the standard error over seeds, the confusion of all seeds together, and CPU
        seconds (of the first stage too where it has one); "people", "labels", "test_pictures", "options".

    Raises
    ------
    ValueError
        If there are too few people, the folder holds cells with other options or data or another run, or another run
        is at work in it.
    """
    run_folder = _run_folder(Path(folder), faces, options, run)
    with one_run(run_folder) as folder:
        cells = _cells(faces, options, folder, run, progress)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        table = {"labels": list(faces.expression_names), "people": options.people, "test_people": options.test_people,
                 "seeds": list(seeds), "options": run_folder.plan["options"], "data": faces.source,
                 "variants": {v: _summary([cells[s, v] for s in seeds]) for v in options.variants}}  # fmt: skip
        if "BASELINE" in options.variants:
            for name, row in table["variants"].items():
                row["over_baseline"] = _difference(row["accuracy"], table["variants"]["BASELINE"]["accuracy"])
        write_json(folder / "table.json", table)
    return table


def recognized(method, faces) -> np.ndarray:
    """(N,) labels that R gives to the pictures of `faces`, as indices into the method's labels."""
    return _batched(method, faces.images, method.recognize).argmax(1)


def features_of(method, images: np.ndarray) -> np.ndarray:
    """R_ext of pictures (N, H, W, C) uint8: (N, F) float32."""
    return _batched(method, images, method.features)


def _batched(method, images, function) -> np.ndarray:
    device = next(method.networks["R"].parameters()).device
    method.networks["R"].eval()
    with torch.no_grad():
        parts = [function(to_images(images[k : k + 128]).to(device)).cpu() for k in range(0, len(images), 128)]
    return torch.cat(parts).numpy()


def _run_folder(folder: Path, faces, options: FewPeopleOptions, run: TrainOptions) -> RunFolder:
    """What all cells of a folder have in common."""
    shared = {k: v for k, v in plain(options).items() if k not in ("variants", "seeds", "first_seed")}
    data = fingerprint(faces.images, faces.expression, faces.subject)
    machine = {"precision": run.precision, "devices": run.devices}
    return RunFolder(folder, "gan recognize", {"data": data, "options": shared, "machine": machine})


def _cells(faces, options: FewPeopleOptions, folder: Path, run: TrainOptions, progress: Progress) -> dict:
    """What recognition.json says of each seed and variant; those that are missing are run."""
    cells, total = {}, options.seeds * len(options.variants)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        split = None
        for variant in options.variants:
            path = folder / f"s{seed}" / variant / _CELL
            if not path.exists():
                split = split or few_people_split(faces, options, seed)
                _run_cell(split, options, folder / f"s{seed}", variant, seed, run, progress)
            cells[seed, variant] = json.loads(path.read_text(encoding="utf-8"))
            progress(len(cells), total, "cells of the study")
    return cells


def _identity(split: Split, options: FewPeopleOptions, folder: Path, seed: int, progress):
    path = folder / "identity.safetensors"
    if not path.exists():
        training = IdentityTraining(steps=options.identity_steps, seed=seed)
        network = train_identity(split.others.images, split.others.subject, options.identity, training, progress)
        save_light_cnn(path, network, f"{len(split.others.subjects)} people. {split.others.source}")
    return load_light_cnn(path)


def _run_cell(split, options, folder, variant, seed, run: TrainOptions, progress) -> None:
    run = replace(run, seed=seed)
    cell = folder / variant
    cell.mkdir(parents=True, exist_ok=True)
    began = _cpu_seconds()
    with deterministic(run.threads):
        identity = _identity(split, options, folder, seed, progress)

    def built(recognition):
        settings = {**options.settings, "recognition": recognition}
        return prepare(split.train, settings, options.batch, seed, identity)

    method, batches = built(variant)
    shared = 0.0
    if variant in _PRETRAINED:
        shared = _first_stage(built, folder / "pretrain", run, progress)
        if not (cell / CHECKPOINT).exists():
            _continue_from(folder / "pretrain", cell, built, method, batches, run)
    spent = _cpu_seconds()
    train(method, batches, run, cell, progress)
    method.networks["R"].to("cpu"), method.networks["F_id"].to("cpu")
    load_weights(cell / WEIGHTS, method.networks)
    with deterministic(run.threads):
        guess, known = recognized(method, split.test), recognized(method, split.train)
    true = split.test.expression
    label = true >= 0
    write_json(cell / _CELL, {
        "variant": variant, "seed": seed, "accuracy": metrics.accuracy(true[label], guess[label]),
        "training_accuracy": metrics.accuracy(split.train.expression, known), "pictures": int(label.sum()),
        "confusion": metrics.confusion_matrix(true[label], guess[label], len(split.test.expression_names)).tolist(),
        "people": split.train.subjects.tolist(), "test_people": split.test.subjects.tolist(),
        "cpu_seconds": round(_cpu_seconds() - spent + shared, 1),
        "cpu_seconds_all": round(_cpu_seconds() - began, 1),
    })  # fmt: skip


def _first_stage(built, folder: Path, run, progress) -> float:
    """Run it unless it is there; its CPU seconds."""
    path = folder / "cpu.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        method, batches = built("none")
        began = _cpu_seconds()
        train(method, batches, run, folder, progress)
        write_json(path, {"cpu_seconds": _cpu_seconds() - began})
    return json.loads(path.read_text(encoding="utf-8"))["cpu_seconds"]


def _continue_from(first: Path, cell: Path, built, method, batches, run) -> None:
    """A checkpoint in `cell` as if its method had made the first stage itself."""
    alone, own = built("none")
    state = load_checkpoint(first / CHECKPOINT, alone, describe(alone, own, run), lambda stage: None)
    for name, network in alone.networks.items():
        method.networks[name].load_state_dict(network.state_dict())
    for name, optimizer in alone.optimizers.items():
        method.optimizers[name].load_state_dict(optimizer.state_dict())
    shutil.copyfile(first / LOSSES, cell / LOSSES)
    state = RunState(0, state.index, state.done, True)
    save_checkpoint(cell / CHECKPOINT, method, state, describe(method, batches, run))


def _cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended: several devices are several processes."""
    return sum(os.times()[:4])


def _summary(cells: list[dict]) -> dict:
    found = np.array([cell["accuracy"] for cell in cells])
    return {
        "accuracy": found.tolist(), "mean": float(found.mean()), "deviation": _deviation(found),
        "training_accuracy": float(np.mean([c["training_accuracy"] for c in cells])),
        "confusion": np.sum([c["confusion"] for c in cells], 0).tolist(),
        "cpu_seconds": float(np.mean([c["cpu_seconds"] for c in cells])),
    }


def _difference(found, baseline) -> dict:
    """Mean difference of the same seeds, and its standard error."""
    by_seed = np.array(found) - np.array(baseline)
    return {"mean": float(by_seed.mean()), "standard_error": _deviation(by_seed) / len(by_seed) ** 0.5,
            "seeds_above": int((by_seed > 0).sum())}  # fmt: skip


def _deviation(values) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
