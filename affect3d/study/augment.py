"""Pictures for the training set: neutral frames with the affect of chosen classes, by the 3D route (paper, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.affect.performances import PerformanceOptions, perform
from affect3d.affect.statistics import ClassStatistics
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.gan.data.crops import CropOptions, crop_image
from affect3d.io.atomic import atomic_path
from affect3d.io.image import write_image
from affect3d.landmarks import Landmarks
from affect3d.model.class_blendshapes import ClassBlendshapes
from affect3d.progress import Progress, silent
from affect3d.study.fits import fitted_picture
from affect3d.study.manifest import AddedPicture, write_manifest

__all__ = [
    "AugmentOptions", "Expressions", "augment", "choose_classes", "mean_expressions", "portrait_of",
    "read_refits", "sampled_expressions",
]  # fmt: skip


@dataclass(frozen=True)
class AugmentOptions:
    """What is made of each neutral frame.

    Attributes
    ----------
    mode : {"mean", "sampled"}
        The class's mean expression, as in the paper, or a new expression drawn from the class.
    pictures : int
        Of each frame, from 1; each of another class as long as there are classes.
    balanced : bool
        Classes are drawn the more often the fewer training frames they have.
    crop : CropOptions
        How the made faces are cut out: as those of the training set.
    seed : int
        From 0.
    refit : bool
        Whether the head is fitted to each made picture too, so that its label can be calibrated.
    """

    mode: str = "mean"
    pictures: int = 16
    balanced: bool = False
    crop: CropOptions = CropOptions(48)
    seed: int = 0
    refit: bool = False

    def __post_init__(self):
        if self.mode not in ("mean", "sampled"):
            raise ValueError(f"mode: expected mean or sampled, got {self.mode!r}")
        for name, low in (("pictures", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Expressions:
    """From a class of the plane to an expression.

    Attributes
    ----------
    statistics : ClassStatistics
        Its populated classes can be asked for; their median labels become the pictures' labels.
    models : dict of int to ClassBlendshapes, optional
        For the sampled mode.
    """

    statistics: ClassStatistics
    models: dict[int, ClassBlendshapes] | None = None

    @property
    def classes(self) -> np.ndarray:
        """(M,) classes that can be asked for."""
        return np.flatnonzero(self.statistics.populated) if self.models is None else np.array(sorted(self.models))

    def draw(self, affect_class: int, rng: np.random.Generator) -> dict[str, float]:
        """ARKit weights in [0, 1] of the class: its mean, or a draw."""
        statistics = self.statistics
        row = statistics.mean[affect_class] if self.models is None else self.models[affect_class].sample(1, rng)[0]
        return {n: float(w) for n, w in zip(statistics.expression_names, row)}


def mean_expressions(statistics: ClassStatistics) -> Expressions:
    """The paper's: each populated class's mean."""
    return Expressions(statistics)


def sampled_expressions(statistics: ClassStatistics, seed: int = 0, subjects: int = 40, least: int = 20) -> Expressions:
    """New expressions of each class, from performances of `subjects` synthetic people that are performed here.

    Labels are the medians of `statistics`, so that both modes ask the same question.
    """
    options = PerformanceOptions(subjects=subjects, sequences=30)
    played = perform(options, np.random.default_rng([seed, 83]))
    frames = played.expression.reshape(-1, len(ARKIT_SHAPES))
    classes = statistics.space.class_of(played.valence.ravel(), played.arousal.ravel())
    if tuple(statistics.expression_names) != tuple(ARKIT_SHAPES):
        raise ValueError("statistics: expected the ARKit shapes in their order")
    # in the space of the shapes themselves each component is one shape
    shapes = np.eye(len(ARKIT_SHAPES))[:, :, None]
    models = {}
    for k in np.flatnonzero(statistics.populated):
        own = frames[classes == k]
        if len(own) >= least:
            models[int(k)] = ClassBlendshapes(shapes, own, "unit")
    return Expressions(statistics, models)


def choose_classes(classes, counts, options: AugmentOptions, rng: np.random.Generator) -> np.ndarray:
    """(pictures,) classes for one neutral frame; none twice before all came once.

    Parameters
    ----------
    classes : (M,) int array
    counts : (K,) int array
        Training frames of each class of the plane, for `balanced`.
    """
    chance = 1 / (1.0 + np.asarray(counts, float)[classes]) if options.balanced else np.ones(len(classes))
    out = []
    while len(out) < options.pictures:
        many = min(len(classes), options.pictures - len(out))
        out += list(rng.choice(classes, many, replace=False, p=chance / chance.sum()))
    return np.array(out)


def portrait_of(videos, row: int, model=None):
    """The portrait that is fitted to a frame, by its landmarks where it has them."""
    from affect3d.synthesis.portrait import Portrait

    picture = next(videos.pictures([row]))
    marked = videos.points is not None and np.isfinite(videos.points[row]).all()
    return Portrait.from_photo(picture, model, landmarks=Landmarks("ibug68", videos.points[row]) if marked else None)


def augment(
    videos, rows, expressions: Expressions, options: AugmentOptions, folder, counts=None, portrait=None,
    workers: int = 1, progress: Progress = silent,
) -> tuple[AddedPicture, ...]:  # fmt: skip
    """Make pictures of the neutral frames `rows`, or go on where an earlier call in `folder` was stopped.

    Parameters
    ----------
    videos : FaceVideos
    rows : (M,) int array
    expressions : Expressions
    options : AugmentOptions
    folder : path
        Made if missing (not its parents); gets a strip of squares ROW.png for each frame, with `options.refit` their
        fitted expressions ROW.npy, see `read_refits`, and manifest.json.  Strips that are there are kept if they have
        the size that is asked for: a folder belongs to one set of options.
    counts : (K,) int array, optional
        Training frames of each class, for `options.balanced`.
    portrait : callable, optional
        ``portrait(row) -> Portrait``, where fits are at hand already.
    workers : int
        Threads, which share the fitted heads; their number does not change the pictures.
    progress : callable

    Returns
    -------
    tuple of AddedPicture
        Frame by frame; what they name lies in `folder`.
    """
    from concurrent.futures import ThreadPoolExecutor

    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    counts = np.zeros(expressions.statistics.space.count) if counts is None else counts
    portrait = portrait or (lambda row: portrait_of(videos, row))
    records: list[AddedPicture] = []
    plans = []
    for row in map(int, rows):
        rng = np.random.default_rng([options.seed, 84, row])
        chosen = choose_classes(expressions.classes, counts, options, rng)
        weights = [expressions.draw(int(k), rng) for k in chosen]
        plans.append((row, weights))
        for column, k in enumerate(chosen):
            valence, arousal = map(float, expressions.statistics.valence_arousal[k])
            records.append(AddedPicture(
                f"{row:07d}.png", column, videos.subjects[videos.subject[row]], videos.clips[videos.clip[row]],
                int(videos.frame[row]), round(valence, 6), round(arousal, 6), int(k), options.seed,
                f"3d-{options.mode}", "default",
            ))  # fmt: skip

    def make(plan):
        row, weights = plan
        path = folder / f"{row:07d}.png"
        if not _complete(folder, path.name, len(weights), options):
            head = portrait(row)
            squares, refits = [], []
            for one in weights:
                known = {n: w for n, w in one.items() if n in head.model.expression_names}
                made = head.with_expression(known)
                squares.append(crop_image(made.image, made.landmarks.points[:, :2], options.crop))
                if options.refit:
                    refits.append(fitted_picture(head, made))
            if options.refit:
                with atomic_path(path.with_suffix(".npy")) as part, open(part, "wb") as file:
                    np.save(file, np.array(refits))
            strip = np.concatenate(squares, 1)
            write_image(path, np.repeat(strip, 3, 2) if strip.shape[2] == 1 else strip)

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(make, plans), 1):
            progress(done, len(plans), f"3D pictures ({options.mode})")
    write_manifest(folder, records)
    return tuple(records)


def read_refits(folder, pictures) -> np.ndarray:
    """(M, E) float64: the expressions that were fitted to made pictures, in the order of the records.

    Raises
    ------
    ValueError
        If a picture was made without; names its file.
    """
    files: dict[str, np.ndarray] = {}
    for record in pictures:
        if record.file not in files:
            path = (Path(folder) / record.file).with_suffix(".npy")
            if not path.is_file():
                raise ValueError(f"{path}: is missing; labels can be calibrated only where made pictures were fitted")
            files[record.file] = np.load(path, allow_pickle=False)
    return np.array([files[record.file][record.column] for record in pictures])


def _complete(folder, name: str, count: int, options: AugmentOptions) -> bool:
    if not (folder / name).is_file():
        return False
    from PIL import Image, UnidentifiedImageError

    if options.refit:  # written before the strip
        try:
            if len(np.load((folder / name).with_suffix(".npy"), allow_pickle=False)) != count:
                return False
        except (OSError, ValueError, EOFError):
            return False
    try:
        with Image.open(folder / name) as picture:
            return picture.size == (count * options.crop.size, options.crop.size)
    except (UnidentifiedImageError, OSError):
        return False
