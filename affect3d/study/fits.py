"""The head that is fitted to frames and to made pictures: their expressions, without all that drawing needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.detect import FaceDetection, NoFaceError, detect_faces
from affect3d.fitting import FaceFit, fit_face
from affect3d.io.atomic import atomic_path
from affect3d.landmarks import Landmarks
from affect3d.model.load import load_model
from affect3d.model.morphable import MorphableModel
from affect3d.progress import Progress, silent

__all__ = ["FittedFace", "fit_frames", "fitted_face", "fitted_picture"]


@dataclass(frozen=True, eq=False)
class FittedFace:
    """A head and how it lies in a frame.

    Attributes
    ----------
    model : MorphableModel
    fit : FaceFit
    """

    model: MorphableModel
    fit: FaceFit


def fitted_face(videos, row: int) -> FittedFace:
    """Fit the default head to a frame, by its landmarks where it has them, else by a detector's.

    Raises
    ------
    ValueError
        If there is no face, or none that a head fits.
    """
    picture = next(videos.pictures([row]))
    model = load_model("default")
    if videos.points is not None and np.isfinite(videos.points[row]).all():
        return FittedFace(model, _fit(Landmarks("ibug68", videos.points[row]), model, picture))
    found = detect_faces(picture)
    if not found:
        raise NoFaceError(f"{videos.name_of(row)}: no face was found")
    return FittedFace(model, fit_face(found[0], model, (picture.shape[1], picture.shape[0])))


def fitted_picture(head, made) -> np.ndarray:
    """(E,) float64: the expression fitted to a made picture (`affect3d.synthesis.Synthesis`) of the portrait `head`.

    What was asked for is not what a fit finds, which the fit's priors shrink; made pictures have to be read as frames
    are.
    """
    return np.asarray(_fit(made.landmarks, head.model, made.image).expression, float)


def fit_frames(videos, rows, path, workers: int = 1, progress: Progress = silent) -> Path:
    """Write the expressions that are fitted to the frames `rows`: "rows" (M,), "expression" (M, E) and "names" (E,).

    Frames that no head fits are left out.  A file that is there is kept.

    Raises
    ------
    ValueError
        If no frame has a face.
    """
    from concurrent.futures import ThreadPoolExecutor

    path = Path(path)
    if path.exists():
        return path

    def fit(row):
        try:
            face = fitted_face(videos, int(row))
        except ValueError:
            return None
        return np.asarray(face.fit.expression, float), tuple(face.model.expression_names)

    found, names, kept = [], (), []
    with ThreadPoolExecutor(workers) as pool:
        for done, (row, one) in enumerate(zip(rows, pool.map(fit, rows)), 1):
            if one is not None:
                found.append(one[0])
                names = one[1]
                kept.append(int(row))
            progress(done, len(rows), "fitting labelled frames")
    if not found:
        raise ValueError("videos: no head could be fitted to any labelled frame")
    with atomic_path(path) as part, open(part, "wb") as file:
        np.savez(file, rows=np.array(kept, np.int64), expression=np.array(found), names=np.array(names))
    return path


def _fit(landmarks: Landmarks, model, picture) -> FaceFit:
    points = landmarks.points[:, :2]
    box = np.r_[np.nanmin(points, 0), np.nanmax(points, 0)]
    return fit_face(FaceDetection(box, 1.0, landmarks, None, None), model, (picture.shape[1], picture.shape[0]))
