"""What `affect3d gan` does: render, train, edit, measure."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

import numpy as np

from affect3d.cli.errors import UsageError
from affect3d.cli.gan_crop import crop_from, crop_of_file, read_crop, record_crop
from affect3d.cli.gan_settings import typed_settings
from affect3d.cli.outputs import check_output
from affect3d.cli.report import Report
from affect3d.progress import terminal

__all__ = [
    "PEOPLE", "edit_photos", "evaluate_run", "judge_options", "make_faces", "need_torch", "read_people",
    "read_settings", "run_data", "split_people", "train_method",
]  # fmt: skip

#: Beside a run: who was trained on and who was kept apart, and how their faces were cut out.
PEOPLE = "people.json"

#: Beside a run: the network that compares faces in its losses.
IDENTITY = "identity.safetensors"

#: Methods with such a network, which is trained on the faces at hand where no weights are named.
_KNOW_FACES = ("fesgan", "exprgan")


def make_faces(options) -> Report:
    """Render a set of faces (`MakeDataOptions`) and write it."""
    check_output(Path(options.out))
    faces = _render(options)
    _save_faces(faces, options)
    data = {
        "command": "gan make-data", "outputs": {"faces": options.out}, "pictures": len(faces),
        "crop": dataclasses.asdict(_rendered_crop(options)),
        "people": len(faces.subjects), "size": list(faces.size), "expressions": list(faces.expression_names),
        "units": list(faces.unit_names), "source": faces.source,
    }  # fmt: skip
    return Report(data, (options.out,))


def train_method(options) -> Report:
    """Train, or go on (`TrainCommand`); with ``dry_run`` only say what would be done."""
    need_torch()
    from affect3d.io.json_file import write_json
    from affect3d.gan.determinism import deterministic
    from affect3d.gan.methods import recipe
    from affect3d.gan.training import TrainOptions, describe, train

    out = Path(options.out)
    run = TrainOptions(
        seed=options.seed, device=options.device, threads=options.threads, log_every=options.log_every,
        sample_every=options.sample_every, checkpoint_every=options.checkpoint_every, precision=options.precision,
        devices=options.devices,
    )  # fmt: skip
    if options.dry_run and options.data is None and not (out / "faces.safetensors").exists():
        # rendering the set is the work that a dry run is to spare; two people tell sizes and labels
        faces = _render(dataclasses.replace(options.rendered, people=2, jobs=1))
        kept, apart = faces, np.zeros(0, np.int64)
    else:
        if not options.dry_run:
            check_output(out / "options.json")
        faces = _faces(options, out)
        kept, apart = split_people(faces, options.test_share, options.seed, options.fold)
    module = recipe(options.method)
    settings = read_settings(module, options.settings)
    crop = _crop(options, faces)
    known = out / IDENTITY
    if options.method in _KNOW_FACES and "identity_weights" not in settings:
        if known.exists():  # of a run that is continued, here or elsewhere
            settings["identity_weights"] = str(known)
        elif options.dry_run:
            settings["identity_steps"] = 1  # its weights do not show in the plan
    try:
        batch = {} if options.batch is None else {"batch": options.batch}
        with deterministic(options.threads):  # an identity network may be trained here
            method, batches = module.prepare(kept, settings, seed=options.seed, **batch)
    except ValueError as error:
        if str(error).startswith("settings:"):
            raise UsageError(f"--set: {error}") from None
        raise
    plan = describe(method, batches, run)
    if options.dry_run:
        plan["crop"] = crop
        return Report({"command": "gan train", "dry_run": True, **plan}, _plan_lines(plan))
    out.mkdir(exist_ok=True)
    people = {
        "train": kept.subjects.tolist(), "test": [int(s) for s in apart], "source": faces.source,
        "data": str(Path(options.data).absolute()) if options.data is not None else "faces.safetensors",
        "crop": crop,
    }  # fmt: skip
    _same_people(out / PEOPLE, people)
    write_json(out / PEOPLE, people)
    if not known.exists():
        _keep_identity(method, known, faces.source)
    result = train(method, batches, run, out, terminal)
    data = {
        "command": "gan train", "outputs": {"run": str(out), "weights": str(result.weights)}, "steps": result.steps,
        "resumed_at": result.resumed_at, "seconds": round(result.seconds, 1), "losses": result.losses, **plan,
    }  # fmt: skip
    return Report(data, (str(result.weights),))


def edit_photos(options) -> Report:
    """Crop the face of each photo as in training, and write it with the target's labels (`EditOptions`)."""
    need_torch()
    from affect3d.gan.data import CropOptions, crop_image, find_points
    from affect3d.gan.methods import load_run, recipe
    from affect3d.io.image import read_image, write_image

    method, _ = load_run(options.run, options.method)
    size, channels = method.options.size, method.options.channels
    crop = _crop_of_run(Path(options.run), CropOptions(size=size, channels=channels))
    target = dict(options.target)
    names = [_edited_name(options, Path(photo)) for photo in options.photos]
    if len({str(n) for n in names}) < len(names):
        raise UsageError("--out: two photos would be written to one file; give them different names")
    for name in names:
        check_output(name)
    # a label that the method does not have is found before any face is looked for
    recipe(options.method).edit(method, np.zeros((1, size, size, channels), np.uint8), target)
    for photo, name in zip(options.photos, names):
        pixels = read_image(photo).pixels
        try:
            face = crop_image(pixels, find_points(pixels, options.detector, terminal), crop)
        except ValueError as error:
            raise ValueError(f"{photo}: {error}") from None
        made = recipe(options.method).edit(method, np.asarray(face)[None], target)[0]
        write_image(name, made[..., 0] if channels == 1 else made)
    outputs = {photo: str(name) for photo, name in zip(options.photos, names)}
    data = {"command": "gan edit", "method": options.method, "target": target, "size": size, "outputs": outputs}
    return Report(data, tuple(outputs.values()))


def evaluate_run(options) -> Report:
    """Measure a run on people it has not seen (`EvaluateOptions`); writes evaluation.json and figures."""
    need_torch()
    from affect3d.gan.data import FaceImages
    from affect3d.gan.determinism import deterministic
    from affect3d.gan.evaluation import evaluate_images, train_judges
    from affect3d.gan.logs import write_samples
    from affect3d.io.json_file import write_json
    from affect3d.gan.methods import judged_pairs, load_run, recipe
    from affect3d.io.atomic import atomic_path

    run = Path(options.run)
    method, plan = load_run(run, options.method)
    out = Path(options.out) if options.out else run / "evaluation"
    check_output(out / "evaluation.json")
    people = read_people(run / PEOPLE)
    known = FaceImages.load(run_data(run, people["data"]))
    seen = known.select(np.isin(known.subject, people["train"]))
    if options.everybody:
        unseen = FaceImages.load(options.data)
    else:
        faces = FaceImages.load(options.data) if options.data else known
        unseen = faces.select(np.isin(faces.subject, people["test"]))
        if not len(unseen):
            raise ValueError(f"{run}: nobody was kept apart in training; give other people with --data and --everybody")
    if options.data:
        _refuse_trained_on(options.data, seen, unseen)
    module = recipe(options.method)
    judging = judge_options(options)
    with deterministic(options.threads):
        judges = train_judges(seen, judging, terminal)
        pairs = judged_pairs(options.method, unseen, options.pairs, np.random.default_rng(options.seed))
        figures = module.figures(method, unseen) if hasattr(module, "figures") else {}
        measures = evaluate_images(unseen, pairs, module.transform(method, unseen, pairs), judges)
        more, lines, plots = {}, (), {}
        if hasattr(module, "report"):  # what its paper reports besides
            found = module.report(method, seen, unseen, judges, judging, terminal)
            more, lines, plots = {"paper": found.numbers}, found.lines, found.plots
            figures = {**figures, **found.grids}
    out.mkdir(exist_ok=True)
    for name, grid in figures.items():
        write_samples(out / f"{name}.png", np.asarray(grid))
    for name, content in plots.items():
        with atomic_path(out / f"{name}.png") as temporary:
            Path(temporary).write_bytes(content)
    data = {
        "command": "gan evaluate", "method": options.method, "method_options": plan["method_options"],
        "options": dataclasses.asdict(options), "trained_on": len(people["train"]), "data": unseen.source, **measures,
        **more,
        "outputs": {"report": str(out / "evaluation.json"), **{n: str(out / f"{n}.png") for n in (*figures, *plots)}},
    }  # fmt: skip
    write_json(out / "evaluation.json", data)
    return Report(data, _measure_lines(data, lines))


def judge_options(options):
    """`RecognizerOptions` of `EvaluateOptions` or `CompareOptions`; judges are kept in the cache."""
    from affect3d.gan.recognizer import RecognizerOptions

    return RecognizerOptions(
        steps=options.judge_steps, seed=options.seed, judges=options.judges, keep=str(judges_folder())
    )


def judges_folder() -> Path:
    """Where trained judges are kept; a few megabytes each, and safe to remove."""
    from affect3d.assets import cache_folder

    return cache_folder() / "judges"


def split_people(faces, share: float, seed: int, fold: tuple[int, int] | None = None):
    """The faces of those trained on, and the numbers of those kept apart.

    Parameters
    ----------
    faces : FaceImages
    share : float
        Of the people kept apart, in [0, 1); rounded, but at least one if it is above 0.
    seed : int
    fold : (int, int), optional
        Keep fold k of n of `affect3d.gan.data.subject_folds` apart instead, k from 1.

    Returns
    -------
    train : FaceImages
    apart : (P,) int64

    Raises
    ------
    ValueError
        If nobody is left to train on.
    """
    if fold is not None:
        from affect3d.gan.data import subject_folds

        chosen = subject_folds(faces, fold[1], np.random.default_rng([seed, 77]))[fold[0] - 1]
        return faces.select(chosen.train), np.unique(faces.subject[chosen.test])
    people = faces.subjects
    count = max(1, round(share * len(people))) if share > 0 else 0
    if count >= len(people):
        raise ValueError(f"faces: {len(people)} people are too few to keep {count} of them apart")
    apart = np.sort(np.random.default_rng([seed, 77]).permutation(people)[:count])
    return faces.select(~np.isin(faces.subject, apart)), apart


def need_torch() -> None:
    """Raise ImportError, in one sentence, if torch is not there."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise ImportError("affect3d gan needs torch: pip install 'affect3d[torch]'")


def _render(options):
    from affect3d.synthesis.rendered_people import make_data, sampled_skins

    more = {} if options.kind == "units" else {"emotions": options.emotions}
    more |= {name: value for name in ("takes", "frames", "align") if (value := getattr(options, name)) is not None}
    if options.skins:
        # one folder stands for its pictures
        photos = options.skins[0] if len(options.skins) == 1 and Path(options.skins[0]).is_dir() else options.skins
        more["skins"] = sampled_skins(photos, progress=terminal)
    return make_data(
        options.people, options.size, options.seed, options.kind, crop=_rendered_crop(options), workers=options.jobs,
        progress=terminal, **more,
    )  # fmt: skip


def _rendered_crop(options):
    from affect3d.gan.data import CropOptions

    return CropOptions(size=options.size) if options.crop is None else read_crop(options.crop, options.size)


def _save_faces(faces, options) -> None:
    faces.save(options.out)
    # without what changes no picture, so that the same set has the same bytes
    made = {name: value for name, value in dataclasses.asdict(options).items() if name not in ("out", "jobs")}
    record_crop(options.out, _rendered_crop(options), made)


def _crop(options, faces) -> dict:
    """How the faces of a training were cut out (`TrainCommand`): as said, as their file says, or the default."""
    from affect3d.gan.data import CropOptions

    height, _, channels = faces.size
    if options.crop is not None:
        return dataclasses.asdict(read_crop(options.crop, height, channels))
    crop = crop_of_file(options.data) if options.data is not None else _rendered_crop(options.rendered)
    return dataclasses.asdict(crop or CropOptions(size=height, channels=channels))


def _crop_of_run(run: Path, default):
    """What people.json says of the crop, for pictures of `default`'s size; `default` for runs that do not say."""
    path = (run if run.is_dir() else run.parent) / PEOPLE
    kept = read_people(path).get("crop") if path.exists() else None
    if kept is None:
        return default
    return dataclasses.replace(crop_from(kept), size=default.size, channels=default.channels)


def _keep_identity(method, path: Path, source: str) -> None:
    """Write the Light CNN that the method compares faces by, if it has one."""
    from affect3d.gan.identity import LightCNN, save_light_cnn

    for network in method.networks.values():
        if isinstance(network, LightCNN):
            save_light_cnn(path, network, source)


def _faces(options, out: Path):
    from affect3d.gan.data import FaceImages

    if options.data is not None:
        return FaceImages.load(options.data)
    path = Path(options.rendered.out)
    if path.exists():  # of a run that is continued
        return FaceImages.load(path)
    if options.dry_run:
        return _render(options.rendered)
    out.mkdir(exist_ok=True)
    faces = _render(options.rendered)
    _save_faces(faces, options.rendered)
    return faces


def read_settings(module, given) -> dict:
    """Texts of --set, (name, text) each, as values of the types that the options of a recipe have."""
    return typed_settings(given, typing.get_type_hints(module.OPTIONS))


def _refuse_trained_on(path, seen, unseen) -> None:
    """Raise ValueError if a picture of people of the training is among those that are to judge it."""
    known = {picture.tobytes() for picture in seen.images} if seen.size == unseen.size else set()
    rows = [row for row, picture in enumerate(unseen.images) if picture.tobytes() in known]
    if rows:
        raise ValueError(
            f"{path}: {len(rows)} of {len(unseen)} pictures were trained on, the first of person "
            f"{unseen.subject[rows[0]]}, so that the test would leak; give other people"
        )


def _same_people(path: Path, people: dict) -> None:
    there = read_people(path) if path.exists() else people
    if any(there[part] != people[part] for part in ("train", "test")):
        raise ValueError(f"{path}: belongs to a run with other people; name another folder or remove it")
    if there.get("crop") not in (None, people["crop"]):
        raise ValueError(f"{path}: belongs to a run with the crop {there['crop']}; name another folder or remove it")


def read_people(path: Path) -> dict:
    """Who a run was trained on and who was kept apart: its people.json."""
    try:
        people = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(people[k], list) for k in ("train", "test")):
            raise ValueError
        if not all(isinstance(people[k], str) for k in ("data", "source")):
            raise ValueError
        both = sorted({*people["train"]} & {*people["test"]})
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: does not exist; is this the folder of a run?") from None
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: is no list of the people of a run") from None
    if both:
        raise ValueError(f"{path}: person {both[0]} was trained on and kept apart, so that a test would leak")
    return people


def run_data(run: Path, name: str) -> Path:
    """File with the faces of a run; `name` is what its people.json says."""
    own = run / "faces.safetensors"
    return own if name == own.name and own.exists() else Path(name)


def _edited_name(options, photo: Path) -> Path:
    ending = "_" + "_".join(name for name, _ in options.target) + ".png"
    if options.out is None:
        return Path(photo.stem + ending)
    if options.out.endswith("/") or Path(options.out).is_dir() or len(options.photos) > 1:
        return Path(options.out) / (photo.stem + ending)
    return Path(options.out)


def _plan_lines(plan: dict) -> tuple[str, ...]:
    lines = [f"{plan['method']}, data {plan['data']}"]
    lines += [f"  {name}: {value}" for name, value in plan["method_options"].items()]
    lines += [f"  {name}: {value}" for name, value in plan["train_options"].items()]
    lines.append(f"  crop: {plan['crop']}")
    lines += [f"  stage {stage['name']}: {stage['steps']} steps" for stage in plan["stages"]]
    return (*lines, *(f"  network {name}: {count} parameters" for name, count in plan["networks"].items()))


def _measure_lines(data: dict, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    changed, visible, identity = data["changed"], data["visibly_changed"], data["identity"]
    lines = [
        f"{data['method']}: {data['pictures']} pictures of {data['people']} people not seen in training",
        f"  PSNR {data['psnr']:.2f} dB (copying the source: {data['psnr_of_copying']:.2f}), "
        f"SSIM {data['ssim']:.3f} ({data['ssim_of_copying']:.3f})",
        f"  over changed pixels {changed['synthesized']:.2f} dB ({changed['copied']:.2f}): {changed['gain']:+.2f} dB",
        f"  over visibly changed pixels {visible['synthesized']:.2f} dB ({visible['copied']:.2f}): "
        f"{visible['gain']:+.2f} dB",
        f"  identity: distance {identity['distance']:.3f} (copying: {identity['distance_of_copying']:.3f}), "
        f"nearest is right {identity['nearest_is_right']:.3f}",
    ]
    if "expression" in data:
        expression = data["expression"]
        lines.append(
            f"  expression recognized {expression['accuracy']:.3f} "
            f"(on true pictures {expression['accuracy_on_true_pictures']:.3f})"
        )
    return (*lines, *(f"  {line}" for line in more), *(f"  {path}" for path in data["outputs"].values()))
