"""What a film says of the person in it: identity, offsets and expectations that hold for all its frames."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from affect3d.detect import FaceDetection
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import LandmarkView, Pose, person_points
from affect3d.fitting.many import ManyOptions, fit_many
from affect3d.fitting.personal import expected_expressions, landmark_offsets, resting_scores
from affect3d.fitting.spread import spread_frames
from affect3d.landmark_groups import interocular
from affect3d.landmarks import SCHEMES, Landmarks

__all__ = ["FilmedPerson", "digest_of", "frame_points"]

SCHEME = "mediapipe478"
POINTS = SCHEMES[SCHEME]
#: A record of a frame: found, width, height, score, then points (x, y, depth), then expression scores.
HEAD = 4
_REFINED = 8
#: Shapes for which the detector's scores, and rest, count for more than the landmarks: the lids say little of the gaze;
#: two or three of the shapes that part or purse the lips make up any third, or an open jaw, and in fits of single
#: frames they do; brows move with the skin of a whole forehead.
_TRUST = (
    ("eyeLook", 0.05), ("mouthLowerDown", 0.05), ("mouthShrug", 0.05), ("mouthClose", 0.05), ("mouthRoll", 0.05),
    ("mouthUpperUp", 0.08), ("brow", 0.1),
)  # fmt: skip


def frame_points(record) -> np.ndarray:
    """(478, 3) px, of a record of a frame."""
    return record[HEAD : HEAD + 3 * POINTS].reshape(-1, 3)


def digest_of(*arrays) -> str:
    """Of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class FilmedPerson:
    """Learned from the records of all frames.

    Parameters
    ----------
    seen : RecordFile
        Frames.
    found : (T,) bool array
        Which of them show the face.
    model : MorphableModel
    options : TrackOptions
        Of `affect3d.fitting.video`.
    frames, refine
        As for `track_frames`.
    """

    def __init__(self, seen, found, model, options, frames, refine):
        self.options, self.names = options, tuple(model.expression_names)
        shown = np.flatnonzero(found)
        first = HEAD + 3 * POINTS
        scores = seen.columns(first, first + len(self.names))[shown]
        self.rest = resting_scores(scores, self.names)
        guess = expected_expressions(scores, self.rest, self.names)
        units, views = _looks(seen, shown)
        self.focal = None
        if options.rate is not None:
            size = seen[int(shown[0])][1:3]
            self.focal = options.fit.focal or float(max(1.4 * size.max(), 8 * np.median(units)))
        chosen = shown[spread_frames(np.hstack([guess, views]), guess.sum(1), options.identity_frames)]
        self.trust = np.full(len(self.names), options.fit.expression_sigma)
        for i, name in enumerate(self.names):
            self.trust[i] = next((t for start, t in _TRUST if name.startswith(start)), self.trust[i])
        fit = options.fit if self.focal is None else replace(options.fit, focal=self.focal)
        detections = [_detection(seen[k], self.names) for k in chosen]
        sizes = [tuple(int(n) for n in seen[k][1:3]) for k in chosen]
        many = fit_many(detections, model, sizes, ManyOptions(fit=fit))
        self.identity = many.identity
        if refine is not None:
            self.identity = _refined(frames, chosen, many.fits, model, refine)
        self.basis = landmark_basis(model, SCHEME, len(self.identity))
        views = [self.view(seen[k], fit.camera.focal) for k, fit in zip(chosen, many.fits)]
        self.starts = [Pose(f.camera.rotation, f.camera.T_camera_world[:3, 3], v.guess) for f, v in
                       zip(many.fits, views)]  # fmt: skip
        self.offsets = np.zeros_like(self.basis.mean)
        if options.offset_spread > 0 and len(views) >= 3:
            self.offsets, self.starts = landmark_offsets(
                views, self.basis, self.identity, self.starts, options.offset_spread
            )
        self.points = person_points(self.basis, self.identity, self.offsets)
        self.chosen = chosen
        # points of the outline stay where they are on a person whose own offsets are known
        self.sliding = not (options.offset_spread > 0 and len(views) >= 3)

    @property
    def digest(self) -> str:
        return digest_of(self.identity, self.offsets, self.rest, self.trust, self.basis.expression)

    def view(self, record, focal=None) -> LandmarkView:
        scores = record[HEAD + 3 * POINTS :]
        points, size = frame_points(record)[:, :2], tuple(int(n) for n in record[1:3])
        fit = self.options.fit
        focal = self.focal or focal or fit.focal or max(1.4 * max(size), 8 * interocular(SCHEME, points))
        guess = expected_expressions(scores, self.rest, self.names)
        return LandmarkView(SCHEME, points, size, float(focal), guess, self.trust, fit.sigma, fit.outline_sigma)


def _looks(seen, shown):
    """Interocular distances (N,) px, and three numbers of each head's pose (N, 3)."""
    units, looks = np.empty(len(shown)), np.empty((len(shown), 3))
    for n, k in enumerate(shown):
        points = frame_points(seen[int(k)])[:, :2]
        right, left, nose, chin = points[33], points[263], points[1], points[152]
        units[n] = max(interocular(SCHEME, points), 1e-3)
        across = (left - right) / max(np.linalg.norm(left - right), 1e-6)
        down = np.array([-across[1], across[0]])
        middle = (left + right) / 2
        looks[n] = (nose - middle) @ across / units[n], (nose - middle) @ down / units[n], across[1]
        looks[n, 1] -= 0.5 * (chin - middle) @ down / units[n]
    return units, 3 * looks


def _detection(record, names) -> FaceDetection:
    points = frame_points(record)[:, :2]
    scores = dict(zip(names, record[HEAD + 3 * POINTS :]))
    box = np.concatenate([points.min(0), points.max(0)])
    return FaceDetection(box, record[3], Landmarks(SCHEME, points), None, scores)


def _refined(frames, chosen, fits, model, refine) -> np.ndarray:
    """Mean identity over some of the chosen frames: each costs a second, and their errors are much alike."""
    some = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), _REFINED)).astype(int))
    chosen, fits = [chosen[k] for k in some], [fits[k] for k in some]
    wanted, better = {int(k): fit for k, fit in zip(chosen, fits)}, []
    for k, pixels in enumerate(frames()):
        if k in wanted:
            better.append(refine(pixels, wanted[k], model).identity)
        if k >= max(wanted):
            break
    return np.mean(better, axis=0)
