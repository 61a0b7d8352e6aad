"""Pictures of a trained generative method as a further condition: neutral frames with its expressions and labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from affect3d.affect.tables import face_ratings
from affect3d.gan.data.crops import CROPS, CropOptions
from affect3d.io.image import write_image
from affect3d.progress import Progress, silent
from affect3d.study.manifest import AddedPicture, write_manifest

__all__ = ["STRENGTHS", "emotion_labels", "make_by_gan", "pictures_by_gan"]

#: Weights at which each emotion is shown.
STRENGTHS = (0.5, 1.0)
# A label of a method, by the name the ratings have for it.
_RATED = {"happiness": "happy", "smile": "happy", "angry": "anger", "sad": "sadness"}
_AT_ONCE = 64


def emotion_labels(names) -> dict[str, tuple[float, float]]:
    """Valence and arousal of emotions at full strength, by ratings of faces with the neutral one moved to zero.

    Names without a rating, and "neutral", are left out.
    """
    ratings = face_ratings()
    rest = np.array(ratings["neutral"])
    out = {}
    for name in names:
        rated = _RATED.get(name, name)
        if rated in ratings and rated != "neutral":
            valence, arousal = np.clip(np.array(ratings[rated]) - rest, -1, 1)
            out[name] = (float(valence), float(arousal))
    return out


def make_by_gan(
    videos, rows, run, folder, crop: CropOptions, labels: dict | None = None, strengths=STRENGTHS,
    progress: Progress = silent,
) -> tuple[AddedPicture, ...]:  # fmt: skip
    """Give the neutral frames `rows` the emotions of a trained method; the folder then serves as `--added NAME=DIR`.

    Parameters
    ----------
    videos : FaceVideos
    rows : (M,) int array
        With landmarks or boxes.
    run : path
        Folder of a finished run of `affect3d gan train`.
    folder : path
        Made if missing (not its parents); gets a strip ROW.png for each frame, and manifest.json.
    crop : CropOptions
        How the study cuts faces out.  Faces are cut out for the method as its paper does, and its answer is put back
        into the study's window; what lies outside the method's window stays as it was.
    labels : dict of str to (float, float), optional
        Valence and arousal of the method's labels at full strength; ratings of faces if left out.
    strengths : sequence of float
        In (0, 1]; a label is scaled by them.

    Raises
    ------
    ValueError
        If the run is of a method that only makes faces neutral, knows no emotion with a label (as one trained on
        action units), or a frame has no landmarks.
    """
    from affect3d.gan.methods import TO_NEUTRAL, load_run, recipe

    method, plan = load_run(run)
    name = plan["method"]
    if name in TO_NEUTRAL:
        raise ValueError(f"run: {name} makes faces neutral; expected a method that gives them expressions")
    strengths = tuple(float(s) for s in strengths)
    if not strengths or not all(0 < s <= 1 for s in strengths):
        raise ValueError(f"strengths: expected numbers in (0, 1], got {strengths}")
    known = tuple(method.options.labels)
    labels = emotion_labels(known) if labels is None else dict(labels)
    strange = [n for n in labels if n not in known]
    if strange or not labels:
        more = f", got {strange[0]!r}" if strange else "; none of these is a rated emotion, so give labels"
        raise ValueError(f"labels: expected names of {', '.join(known)}{more}")
    rows = np.asarray(rows, np.int64)
    seen = _window_of(CROPS[name], method.options)
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    asked = [(n, s) for n in labels for s in strengths]
    records: list[AddedPicture] = []
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        faces = videos.crops(some, seen)
        places = [_placement(videos, row, seen, crop) for row in some]
        before = videos.crops(some, CropOptions(crop.size, 3, crop.align, crop.margin, crop.lift))
        made = [recipe(name).edit(method, faces, {n: s}) for n, s in asked]
        for k, row in enumerate(map(int, some)):
            squares = [_put_back(before[k], one[k], places[k]) for one in made]
            write_image(folder / f"{row:07d}.png", np.concatenate(squares, 1))
            for column, (n, s) in enumerate(asked):
                valence, arousal = (round(float(np.clip(s * v, -1, 1)), 6) for v in labels[n])
                records.append(AddedPicture(
                    f"{row:07d}.png", column, videos.subjects[videos.subject[row]], videos.clips[videos.clip[row]],
                    int(videos.frame[row]), valence, arousal, -1, int(plan["train_options"].get("seed", 0)), name,
                    Path(run).name,
                ))  # fmt: skip
        progress(min(start + _AT_ONCE, len(rows)), len(rows), f"pictures by {name}")
    write_manifest(folder, records)
    return tuple(records)


def pictures_by_gan(videos, rows, run, folder, crop: CropOptions, progress: Progress = silent) -> Path:
    """As `make_by_gan` with its defaults, unless the folder (made with its parents) is complete; returns it."""
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        make_by_gan(videos, rows, run, folder, crop, progress=progress)
    return folder


def _window_of(paper: CropOptions, options) -> CropOptions:
    size, channels = int(options.size), int(getattr(options, "channels", paper.channels))
    return CropOptions(size, channels, paper.align, paper.margin, paper.lift)


def _placement(videos, row, seen: CropOptions, crop: CropOptions) -> np.ndarray:
    """(2, 3) from pixels of the method's window to pixels of the study's, by the frame's landmarks."""
    from affect3d.gan.data.crops import crop_transform

    if videos.points is None or not np.isfinite(videos.points[row]).all():
        raise ValueError(f"rows: {videos.name_of(row)} has no landmarks")
    there = [crop_transform(videos.points[row], o) for o in (seen, crop)]
    corners = np.array([[0.0, 0], [1, 0], [0, 1]]) * (seen.size - 1)
    into = there[1].apply(there[0].inverse().apply(corners))
    return cv2.getAffineTransform(corners.astype(np.float32), into.astype(np.float32))


def _put_back(before, made, place) -> np.ndarray:
    """The method's square inside the study's window; its rim fades over a tenth of its width."""
    size = before.shape[0]
    made = np.repeat(made, 3, 2) if made.shape[2] == 1 else made
    scale = float(np.sqrt(abs(np.linalg.det(place[:, :2]))))
    source = cv2.blur(made, (max(int(1 / scale), 1),) * 2) if scale < 0.5 else made
    there = cv2.warpAffine(source, place, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    n = made.shape[0]
    rim = np.minimum(np.arange(n), np.arange(n)[::-1]) / max(0.1 * n, 1)
    mask = np.clip(np.minimum.outer(rim, rim), 0, 1).astype(np.float32)
    mask = cv2.warpAffine(mask, place, (size, size), flags=cv2.INTER_LINEAR, borderValue=0.0)[..., None]
    return np.rint(before * (1 - mask) + there * mask).astype(np.uint8)
