"""What `affect3d gan compare` does: several runs measured on the same unseen people, on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.cli.gan_work import PEOPLE, need_torch, read_people, run_data
from affect3d.cli.outputs import check_output
from affect3d.cli.report import Report
from affect3d.progress import terminal

__all__ = ["compare_runs"]


def compare_runs(options) -> Report:
    """Measure every run on the people that none has seen (`CompareOptions`), and write page and numbers.

    Raises
    ------
    ValueError
        If the runs were trained on different sets, or no person was kept apart by all of them.
    """
    need_torch()
    from affect3d.gan.comparison import Compared, shown_pairs, write_comparison
    from affect3d.gan.data import FaceImages
    from affect3d.gan.determinism import deterministic
    from affect3d.gan.evaluation import evaluate_images, train_judges
    from affect3d.gan.logs import write_json
    from affect3d.gan.methods import judged_pairs, load_run, recipe
    from affect3d.gan.recognizer import RecognizerOptions

    page, numbers = Path(options.out), Path(options.out).with_suffix(".json")
    check_output(page)
    runs = [Path(run) for run in options.runs]
    loaded = [load_run(run) for run in runs]
    people = [read_people(run / PEOPLE) for run in runs]
    faces = FaceImages.load(options.data if options.data else run_data(runs[0], people[0]["data"]))
    for run, who in zip(runs, people):
        if who["source"] != faces.source or {*who["train"], *who["test"]} != {*faces.subjects.tolist()}:
            raise ValueError(f"{run}: was trained on another set of faces than {runs[0]}; name the set with --data")
    unseen = faces.select(np.isin(faces.subject, list(set.intersection(*(set(who["test"]) for who in people)))))
    seen = faces.select(np.isin(faces.subject, list(set.intersection(*(set(who["train"]) for who in people)))))
    if not len(unseen) or not len(seen):
        raise ValueError("runs: nobody was kept apart by all of them; train them with one --seed and --test-share")
    shown, compared = shown_pairs(unseen), []
    with deterministic(options.threads):
        judges = train_judges(seen, RecognizerOptions(steps=options.judge_steps, seed=options.seed), terminal)
        for run, (method, plan) in zip(runs, loaded):
            module = recipe(method.name)
            pairs = judged_pairs(method.name, unseen, options.pairs, np.random.default_rng(options.seed))
            measures = evaluate_images(unseen, pairs, module.transform(method, unseen, pairs), judges)
            compared.append(Compared(run.name, measures, _pictures(module, method, unseen, shown)))
    notes = (
        f"{len(unseen.subjects)} people whom no method has seen; recognizers trained on true pictures of "
        f"{len(seen.subjects)} others.",
        "Methods that only make faces neutral are measured on neutral targets, the others on all targets.",
    )
    write_comparison(page, unseen, shown, compared, notes)
    data = {
        "command": "gan compare", "data": faces.source, "people": len(unseen.subjects),
        "runs": {str(run): {"method": plan["method"], "method_options": plan["method_options"], **c.measures}
                 for run, (_, plan), c in zip(runs, loaded, compared)},
        "outputs": {"page": str(page), "numbers": str(numbers)},
    }  # fmt: skip
    write_json(numbers, data)
    return Report(data, (str(page), str(numbers)))


def _pictures(module, method, faces, pairs: np.ndarray) -> np.ndarray:
    """What the method makes for `pairs`; white for pairs that it makes no picture for."""
    made = np.full((len(pairs), *faces.size), 255, np.uint8)
    for k in range(len(pairs)):
        try:
            made[k] = module.transform(method, faces, pairs[k : k + 1])[0]
        except ValueError:  # a neutralizer, asked for a smile
            continue
    return made
