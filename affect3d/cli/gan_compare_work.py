"""What `affect3d gan compare` does: several runs measured on the same unseen people, on one page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from affect3d.cli.gan_crop import crop_from, crop_of_file
from affect3d.cli.gan_work import PEOPLE, judge_options, need_torch, read_people, run_data
from affect3d.cli.outputs import check_output
from affect3d.cli.report import Report
from affect3d.progress import terminal

__all__ = ["ROUTE", "compare_runs"]

#: Heading of the 3D route, asked by valence and arousal; by a label it stands beside.
ROUTE, BY_LABEL = "3D route", "3D route, by label"

#: Groups of targets.
ALL, NEUTRAL = "all targets", "neutral targets"


def compare_runs(options) -> Report:
    """Measure every run on the people that none has seen (`CompareOptions`), and write page and numbers.

    Raises
    ------
    ValueError
        If the runs were trained on different sets, or no person was kept apart by all of them.
    """
    need_torch()
    if options.tsne:
        _need_figures()
    from affect3d.gan.comparison import Compared, shown_pairs, write_comparison
    from affect3d.gan.data import FaceImages
    from affect3d.gan.determinism import deterministic
    from affect3d.gan.evaluation import train_judges
    from affect3d.io.json_file import write_json
    from affect3d.gan.methods import able, load_run, recipe

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
    wide = None if options.wide is None else _wide(options.wide, unseen, people[0])
    if wide is not None:  # all methods on the same faces
        unseen = unseen.select(np.isin(unseen.subject, wide[0].faces.subjects))
    if not len(unseen) or not len(seen):
        raise ValueError("runs: nobody was kept apart by all of them; train them with one --seed and --test-share")
    names = [method.name for method, _ in loaded] + ([] if wide is None else [ROUTE])
    pairs, groups = _groups(names, unseen, options.pairs, np.random.default_rng(options.seed))
    shown, compared, made_by = shown_pairs(unseen), [], {}
    judging = judge_options(options)
    with deterministic(options.threads):
        judges = train_judges(seen, judging, terminal)
        for run, (method, plan) in zip(runs, loaded):
            makes = able(method.name, unseen, np.concatenate([pairs, shown]))
            own, look = makes[: len(pairs)], makes[len(pairs) :]
            # pictures are made in one call; rows that the method makes nothing for stay white
            made = np.full((len(makes), *unseen.size), 255, np.uint8)
            made[makes] = recipe(method.name).transform(method, unseen, np.concatenate([pairs, shown])[makes])
            made_by[run.name] = pairs[own], made[: len(pairs)][own]
            measures = _measures(unseen, pairs, made[: len(pairs)], own, groups, judges)
            compared.append(Compared(run.name, measures, made[len(pairs) :], look))
        if wide is not None:
            for name, (made, failed) in _route(*wide, unseen, pairs, shown).items():
                measures = _measures(unseen, pairs, made[: len(pairs)], np.ones(len(pairs), bool), groups, judges)
                for group, rows in groups.items():
                    measures[group]["no_face_found"] = float(failed[: len(pairs)][rows].mean())
                made_by[name] = pairs, made[: len(pairs)]
                compared.append(Compared(name, measures, made[len(pairs) :], np.ones(len(shown), bool)))
        sections, more = _sections(options, runs, loaded, seen, unseen, judges, made_by)
    notes = (
        f"{len(unseen.subjects)} people whom no method has seen; {options.judges} recognizers of a kind, asked "
        f"together, trained on true pictures of {len(seen.subjects)} others.",
        "Runs: " + "; ".join(
            f"{run.name} is {plan['method']} after {sum(stage['steps'] for stage in plan['stages']):,} steps"
            for run, (_, plan) in zip(runs, loaded)
        ) + ".",
    )  # fmt: skip
    if NEUTRAL in groups:
        notes += ("Methods that make faces neutral and nothing else are measured on neutral targets only, and there "
                  "beside the others on the same pictures.",)  # fmt: skip
    if wide is not None:
        notes += (
            f"{ROUTE}: affect3d synthesize, its head fitted in the same pictures drawn wider and with more pixels, "
            "asked by the valence and arousal of the word for the "
            "target's expression, cut out as the others are.",
        )
        if compared[-1].name == BY_LABEL:
            notes += (
                f"{BY_LABEL}: the same, asked by the name of the expression (--expression). Its table of action units "
                "is that by which rendered people show expressions, so on these it knows what others have to learn.",
            )
    write_comparison(page, unseen, shown, compared, notes, sections)
    data = {
        "command": "gan compare", "options": asdict(options), "data": faces.source, "people": len(unseen.subjects),
        "runs": {str(run): {"method": plan["method"], "method_options": plan["method_options"], "measures": c.measures}
                 for run, (_, plan), c in zip(runs, loaded, compared)},
        **{c.name: {"measures": c.measures} for c in compared[len(runs) :]}, **more,
        "outputs": {"page": str(page), "numbers": str(numbers)},
    }  # fmt: skip
    write_json(numbers, data)
    return Report(data, (str(page), str(numbers)))


def _groups(names, unseen, limit: int, rng) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pairs (P, 2) on which the methods `names` are measured, and which of them, (P,) bool, are each group of targets.

    All methods that can are measured on all pairs.  If one makes neutral faces only, those whose target is the neutral
    face are a group of their own, in which everybody stands.
    """
    from affect3d.gan.methods import TO_NEUTRAL, able, judged_pairs

    if all(name in TO_NEUTRAL for name in names):
        pairs = judged_pairs(names[0], unseen, limit, rng)
        return pairs, {NEUTRAL: np.ones(len(pairs), bool)}
    pairs = judged_pairs("", unseen, limit, rng)
    groups = {ALL: np.ones(len(pairs), bool)}
    for name in names:
        if name in TO_NEUTRAL:
            groups[NEUTRAL] = able(name, unseen, pairs)
            if not groups[NEUTRAL].any():
                raise ValueError(f"pairs: {name} makes neutral faces only, and none of {len(pairs)} targets is one")
    return pairs, groups


def _measures(unseen, pairs, images, makes, groups, judges) -> dict:
    """Measures by group; None where the method does not make all of it."""
    from affect3d.gan.evaluation import evaluate_images

    return {
        group: evaluate_images(unseen, pairs[rows], images[rows], judges) if makes[rows].all() else None
        for group, rows in groups.items()
    }


def _need_figures() -> None:
    """Raise ImportError before the work, not behind it."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("sklearn", "matplotlib")):
        raise ImportError("--tsne needs scikit-learn and matplotlib: pip install 'affect3d[analysis]'")


def _wide(path, unseen, people: dict):
    """Wide pictures of those of the unseen people who are in the file, and the crop of the set's faces."""
    from affect3d.cli.gan_route3d import WideFaces
    from affect3d.gan.data import CropOptions, FaceImages

    crop = crop_of_file(path)
    if crop is None:
        raise ValueError(f"{path}: its header says nothing of a crop; make it with affect3d gan make-data --crop")
    faces = FaceImages.load(path)
    faces = faces.select(np.isin(faces.subject, unseen.subjects))
    if not len(faces):
        raise ValueError(f"{path}: holds nobody whom the methods have not seen; make it of more --people")
    narrow = crop_from(people["crop"]) if people.get("crop") else CropOptions(unseen.size[0], channels=unseen.size[2])
    wide = WideFaces(faces, crop)
    wide.check(unseen.select(np.isin(unseen.subject, faces.subjects)), narrow)
    return wide, narrow


def _route(wide, crop, unseen, pairs, shown) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By heading: pictures of the 3D route for `pairs`, then for the rows that are shown, and where it found no face.

    Asked by valence and arousal, and by the names of the expressions where all of them are known.
    """
    from affect3d.affect import default_statistics, express
    from affect3d.cli.gan_route3d import asked_affect, asked_expressions, through_3d

    # together, so that each source is fitted once
    every, statistics = np.concatenate([pairs, shown]), default_statistics()
    asked = {ROUTE: [express(statistics, *map(float, pair)) for pair in asked_affect(unseen, every[:, 1])]}
    named = asked_expressions(unseen, every[:, 1])
    if named is not None:
        asked[BY_LABEL] = named
    results = through_3d(wide, unseen, crop, every, tuple(asked.values()), progress=terminal)
    return {name: (result.images, result.failed) for name, result in zip(asked, results)}


def _sections(options, runs, loaded, seen, unseen, judges, made_by):
    """What was asked for besides: HTML sections and their numbers."""
    from affect3d.gan.augmentation import augmentation_table
    from affect3d.gan.comparison import augmentation_section, picture_section
    from affect3d.gan.methods import TO_NEUTRAL
    from affect3d.gan.recognizer import RecognizerOptions

    sections, numbers = [], {}
    if options.augment is not None:
        editors = {run.name: _editor(method) for run, (method, _) in zip(runs, loaded) if method.name not in TO_NEUTRAL}
        judge = RecognizerOptions(steps=max(1, options.judge_steps // 2), seed=options.seed)
        table = augmentation_table(
            seen, unseen, editors, options.augment, options.augment_seeds, judge, terminal
        )
        sections.append(augmentation_section(table))
        numbers["augmentation"] = table
    if options.tsne and judges.expression is not None:
        sections.append(picture_section(
            "True and synthesized pictures by t-SNE",
            "Descriptors of the recognizer of expressions, all panels in one embedding: dots are true targets, crosses "
            "synthesized pictures of the label of that colour. A method whose crosses lie in the dots of their colour "
            "shows that expression as this recognizer knows it.", _tsne(unseen, judges, made_by, options.seed),
        ))  # fmt: skip
    return tuple(sections), numbers


def _editor(method):
    from affect3d.gan.methods import recipe

    def edit(images, label):
        return recipe(method.name).edit(method, images, {label: 1.0})

    labels = method.options.labels
    # neutral is what expressive methods make of weight 0, where it is no label of theirs
    return edit, (*labels, "neutral") if method.name == "exprgan" else labels


def _tsne(unseen, judges, made_by, seed: int, most: int = 300) -> bytes:
    """A panel for each method: at most `most` of its pictures and their true targets."""
    from affect3d.gan.embedding import embedded, embedding_figure

    parts, labels, names = [], [], []
    for name, (pairs, images) in made_by.items():
        some = np.random.default_rng(seed).permutation(len(pairs))[:most]
        some = some[unseen.expression[pairs[some, 1]] >= 0]
        target = pairs[some, 1]
        parts += [judges.expression.descriptors(unseen.images[target]), judges.expression.descriptors(images[some])]
        labels.append(unseen.expression[target])
        names.append(name)
    places = np.split(embedded(np.concatenate(parts), seed), np.cumsum([len(p) for p in parts])[:-1])
    panels = {n: (places[2 * k], labels[k], places[2 * k + 1], labels[k]) for k, n in enumerate(names)}
    return embedding_figure(panels, unseen.expression_names)
