"""The 3D route on the faces that the 2D methods are measured on: fitted in wider pictures, cut out as theirs are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from affect3d.affect.tables import emotion_terms, face_ratings
from affect3d.gan.data.crops import CropOptions, crop_transform
from affect3d.progress import Progress, silent

__all__ = ["RouteResult", "WideFaces", "asked_affect", "asked_expressions", "narrow_window", "through_3d"]

#: Words for what sets of faces call their expressions.  Rated faces of surprise are not pleased, as "surprised" is.
_WORDS = {
    "anger": "angry", "contempt": "contemptuous", "disgust": "disgusted", "fear": "fearful", "happiness": "happy",
    "sadness": "sad", "surprise": "astonished",
}  # fmt: skip
_RATED = {"happiness": "happy"}


@dataclass(frozen=True, eq=False)
class WideFaces:
    """The same pictures as a set's, row by row, with more around the faces and more pixels.

    Attributes
    ----------
    faces : FaceImages
    crop : CropOptions
        Its window; `align` must be that of the set.
    """

    faces: object
    crop: CropOptions

    def check(self, faces, crop: CropOptions) -> None:
        """Refuse another set than `faces` with windows `crop` in larger pictures.

        Raises
        ------
        ValueError
        """
        same = len(self.faces) == len(faces) and all(
            np.array_equal(getattr(self.faces, name), getattr(faces, name))
            for name in ("subject", "expression", "sequence", "frame")
        )
        if not same or self.faces.expression_names != faces.expression_names:
            raise ValueError("wide: expected the same people and pictures as in the set, row by row")
        if self.crop.align != crop.align or self.crop.margin - abs(self.crop.lift - crop.lift) < crop.margin:
            raise ValueError(f"wide: expected windows around those of {crop}, got {self.crop}")


@dataclass(frozen=True, eq=False)
class RouteResult:
    """What the 3D route made.

    Attributes
    ----------
    images : (P, H, W, C) uint8
        Cut out as the set's faces; the source where no face was found.
    failed : (P,) bool
        No face was found in the wide source.
    """

    images: np.ndarray
    failed: np.ndarray


def narrow_window(wide: CropOptions, narrow: CropOptions) -> np.ndarray:
    """(3, 3) from pixels of a wide crop to pixels of a narrow one of the same face and alignment."""
    side_w, side_n = 1 + 2 * wide.margin, 1 + 2 * narrow.margin  # in the longer side of the landmarks' box
    scale = side_w / wide.size * narrow.size / side_n
    # both windows stand above the middle of the same box, by their lifts
    shift = (np.array([0.0, narrow.lift - wide.lift]) + (side_n - side_w) / 2) * narrow.size / side_n
    return np.array([[scale, 0, 0.5 * scale - 0.5 + shift[0]], [0, scale, 0.5 * scale - 0.5 + shift[1]], [0, 0, 1]])


def asked_affect(faces, rows) -> np.ndarray:
    """Valence and arousal (R, 2) by which the 3D route is asked for what rows of a set show.

    The gallery's plane is that of words, in which a neutral face is the origin and happiness (0.81, 0.51); valence and
    arousal of sets of faces are those of rated faces, where these are (-0.03, -0.40) and (0.37, -0.04)
    (`affect3d.affect.tables.face_ratings`).  So an expression is asked for by its word, times how far the row's own
    valence and arousal are on the way from the rated neutral face to the rated expression; all of the way where it
    has none.  Rows whose expression has no word are asked by their own valence and arousal.

    Raises
    ------
    ValueError
        If a row has neither.
    """
    terms = {term.name: (term.valence, term.arousal) for term in emotion_terms()}
    asked = np.empty((len(rows), 2))
    for k, row in enumerate(rows):
        name = faces.expression_names[faces.expression[row]] if faces.expression[row] >= 0 else ""
        own = np.array([faces.valence[row], faces.arousal[row]])
        if name == "neutral":
            asked[k] = 0.0
        elif name in _WORDS:
            asked[k] = _far(faces, row, name) * np.array(terms[_WORDS[name]])
        elif np.isfinite(own).all():
            asked[k] = own
        else:
            raise ValueError(
                "pairs: a target has neither a known expression nor valence and arousal, by which the 3D route is asked"
            )
    return asked


def asked_expressions(faces, rows) -> list | None:
    """A `NamedExpression` for what each of the rows of a set shows, or None where one of them has no known name.

    Its strength is how far the row's own valence and arousal are on the way from the rated neutral face to the rated
    expression, as in `asked_affect`; 1 where it has none.
    """
    from affect3d.affect.named import known_expressions, named_expression

    names = [faces.expression_names[faces.expression[row]] if faces.expression[row] >= 0 else "" for row in rows]
    if not {*names} <= {*known_expressions()}:
        return None
    return [named_expression(name, _far(faces, row, name)) for name, row in zip(names, rows)]


def _far(faces, row, name: str) -> float:
    """How far a row's valence and arousal are from the rated neutral face to the rated expression, in [0, 1]."""
    ratings, own = face_ratings(), np.array([faces.valence[row], faces.arousal[row]])
    rated = ratings.get(_RATED.get(name, name))
    if rated is None or name == "neutral" or not np.isfinite(own).all():
        return 1.0
    rest = np.array(ratings["neutral"])
    way = np.array(rated) - rest
    return float(np.clip((own - rest) @ way / (way @ way), 0, 1))


def through_3d(
    wide: WideFaces, faces, crop: CropOptions, pairs: np.ndarray, asked, model=None, progress: Progress = silent
) -> tuple[RouteResult, ...]:
    """The sources of `pairs` with what is asked of each, by `synthesis.Portrait`.

    The head is fitted once for each source.  The result is cut out by its own landmarks, as the faces of the set were
    by theirs.  What differs between the detector's idea of the 68 points and the set's is taken from the source, where
    both are known.

    Parameters
    ----------
    wide : WideFaces
    faces : FaceImages
    crop : CropOptions
        Of `faces`.
    pairs : (P, 2) int array
        Rows of source and target.
    asked : sequence of sequences of AffectQuery or NamedExpression
        Ways to ask, each with one for every pair.
    model : MorphableModel, optional
        The default head.
    progress : callable

    Returns
    -------
    tuple of RouteResult
        One for each way.

    Raises
    ------
    ValueError
        If the sets do not belong together, or a way has not one answer for each pair.
    """
    from affect3d.detect import NoFaceError
    from affect3d.synthesis.portrait import Portrait

    wide.check(faces, crop)
    if any(len(way) != len(pairs) for way in asked):
        raise ValueError(f"asked: expected {len(pairs)} in each way, got {', '.join(str(len(way)) for way in asked)}")
    if model is None:
        from affect3d.model.load import load_model

        model = load_model("default", progress)
    made = [faces.images[pairs[:, 0]].copy() for _ in asked]
    failed, done = np.zeros(len(pairs), bool), 0
    inside = narrow_window(wide.crop, crop)
    for source in np.unique(pairs[:, 0]):
        own = np.flatnonzero(pairs[:, 0] == source)
        try:
            portrait = Portrait.from_photo(_colour(wide.faces.images[source]), model)
            inside_source = inside @ np.linalg.inv(_window(portrait, crop))
        except NoFaceError:
            failed[own] = True
            portrait = None
        for k in own:
            for images, way in zip(made, asked):
                if portrait is not None:
                    result = portrait.show(way[k])
                    moved = crop_transform(result.landmarks.points[:, :2], crop).matrix()
                    images[k] = _cut(result.image, inside_source @ moved, crop)
            done += 1
            progress(done, len(pairs), "the 3D route")
    return tuple(RouteResult(images, failed) for images in made)


def _window(portrait, crop) -> np.ndarray:
    """(3, 3) of the crop by the landmarks that the detector finds in the source."""
    from affect3d.detect.schemes import to_ibug68

    return crop_transform(to_ibug68(portrait.detection.landmarks).points[:, :2], crop).matrix()


def _cut(image, matrix, crop: CropOptions) -> np.ndarray:
    """The window as (size, size, channels) uint8, drawn larger and averaged so that nothing aliases."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    factor = int(np.clip(np.ceil(1 / scale), 1, max(4096 // crop.size, 1)))
    matrix = matrix[:2] * factor
    matrix[:, 2] += (factor - 1) / 2
    side = crop.size * factor
    drawn = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    window = drawn.reshape(crop.size, factor, crop.size, factor, 3).mean((1, 3), dtype=np.float32)
    if crop.channels == 1:
        window = window @ np.float32([[0.299], [0.587], [0.114]])  # luma of ITU-R BT.601, as in `crop_image`
    return np.clip(np.rint(window), 0, 255).astype(np.uint8)


def _colour(image) -> np.ndarray:
    return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image)
