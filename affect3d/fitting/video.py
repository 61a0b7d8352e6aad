"""A face followed through a film, or through photos of one person, in passes.

Pass 1 finds the landmarks of every frame.  From a few well-spread frames follow the identity, the person's resting
scores and where the detector puts this person's landmarks.  Pass 2 fits pose and expression of every frame, each from
the one before.  Both passes write what they find frame by frame to files of records and go on after a kill where they
were; frames themselves are never kept.  In films both are then mended: heads move smoothly, and every frame is aligned
to what the person's skin looks like.  Last, curves are smoothed over the whole film, so that nothing lags.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from threadpoolctl import ThreadpoolController

from affect3d.detect import NoFaceError
from affect3d.detect.follow import FaceFollower
from affect3d.fitting.facefit import FitOptions
from affect3d.fitting.film_person import HEAD, POINTS, SCHEME, FilmedPerson, digest_of, frame_points
from affect3d.fitting.film_skin import SkinOptions, film_skin, fit_skin, skin_crop
from affect3d.fitting.frame_light import frame_lighting
from affect3d.fitting.known_face import fit_known
from affect3d.fitting.landmark_basis import landmark_basis
from affect3d.fitting.landmark_view import Pose, person_points
from affect3d.fitting.smoothing import SmoothingOptions, bridged, smooth_curves, smooth_rotations
from affect3d.fitting.steady import fit_held, share_of_held, steady_poses
from affect3d.io.record_file import RecordFile
from affect3d.model import MorphableModel
from affect3d.model.keep_parts import SKIN_PARTS
from affect3d.progress import Progress, silent

__all__ = ["Track", "TrackOptions", "track_frames", "with_lighting"]

_BLAS = ThreadpoolController()
#: Beyond this rms (interocular distances) the start from the last frame is doubted.
_DOUBT = 0.05


@dataclass(frozen=True)
class TrackOptions:
    """Options of `track_frames`.

    Attributes
    ----------
    rate : float or None
        Frames a second; None for photos that do not follow one another.
    face : int
        Which face to take where none was followed so far; 0 is the largest.
    identity_frames : int
        Frames that the identity is fitted to, at most.
    fit : FitOptions
        Deviations of landmarks and expressions.
    offset_spread : float
        Expected size of the person's own offsets of landmarks, mm; 0 for none.
    smoothing : SmoothingOptions or None
        None leaves the curves as they are.  Photos are never smoothed.
    steady : float
        Hz: a head that turns or comes nearer does so no faster, unless the landmarks insist; 0 fits each frame's head
        by itself.
    skin : SkinOptions or None
        How frames of a film are aligned to the person's skin; None leaves them to the landmarks, as do models that
        name no skin.
    """

    rate: float | None = 30.0
    face: int = 0
    identity_frames: int = 20
    fit: FitOptions = FitOptions()
    offset_spread: float = 3.0
    smoothing: SmoothingOptions | None = SmoothingOptions()
    steady: float = 2.0
    skin: SkinOptions | None = SkinOptions()

    def __post_init__(self):
        if self.rate is not None and not (np.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate: expected a positive number of frames a second or None, got {self.rate}")
        if self.face < 0:
            raise ValueError(f"face: expected a number from 0 up, got {self.face}")
        if self.identity_frames < 1:
            raise ValueError(f"identity_frames: expected at least 1, got {self.identity_frames}")
        if not (np.isfinite(self.steady) and self.steady >= 0):
            raise ValueError(f"steady: expected a number of at least 0, got {self.steady}")
        if not (np.isfinite(self.offset_spread) and self.offset_spread >= 0):
            raise ValueError(f"offset_spread: expected a number of at least 0, got {self.offset_spread}")


@dataclass(frozen=True, eq=False)
class Track:
    """One person in every frame.

    Attributes
    ----------
    expression_names : tuple of str
    rate : float or None
        Frames a second; None for photos.
    identity : (K,) float64
        Standard deviations.
    found : (T,) bool
        Whether the frame shows the face; elsewhere all that follows is bridged.
    score : (T,) float64
        Probability that there is a face, said by the detector.
    expression, expression_raw : (T, E) float64
        In [0, 1], smoothed and as fitted.
    rotation : (T, 3, 3) float64
    shift : (T, 3) float64
        mm: camera point = rotation @ model point + shift, smoothed.
    focal : (T,) float64
        px; the principal point is the middle of the frame.
    size : (T, 2) int64
        Width and height, px.
    rms : (T,) float64
        Between found and fitted landmarks, interocular distances; 0 where the face was not found.
    offsets : (L, 3) float64
        By how much this person's landmarks lie beside the model's, mm.
    identity_frames : (N,) int64
        Those the identity was fitted to.
    lighting : (T, 9, 3) float64 or None
        Of each frame, smoothed, as `frame_lighting` gives it; see `with_lighting`.
    """

    expression_names: tuple[str, ...]
    rate: float | None
    identity: np.ndarray
    found: np.ndarray
    score: np.ndarray
    expression: np.ndarray
    expression_raw: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    focal: np.ndarray
    size: np.ndarray
    rms: np.ndarray
    offsets: np.ndarray
    identity_frames: np.ndarray
    lighting: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.found)

    def camera(self, frame: int):
        """The camera of one frame."""
        from affect3d.camera import Camera

        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.rotation[frame], self.shift[frame]
        size = tuple(int(n) for n in self.size[frame])
        return Camera(self.focal[frame], (np.array(size, float) - 1) / 2, size, T)

    def landmarks(self, model: MorphableModel, frame: int) -> np.ndarray:
        """(478, 2) px: the person's landmarks in one frame by the smoothed fit; NaN where the model has none."""
        basis = landmark_basis(model, SCHEME, len(self.identity))
        person = person_points(basis, self.identity, self.offsets)
        return self.camera(frame).project(person.mean + np.tensordot(self.expression[frame], person.expression, 1))

    def vertices(self, model: MorphableModel, frame: int) -> np.ndarray:
        """(V, 3) mm: the head of one frame in the model frame."""
        return model.instance(self.identity, self.expression[frame])


def track_frames(
    frames, model: MorphableModel, folder, purpose: dict, options: TrackOptions = TrackOptions(),
    landmarker=None, refine=None, progress: Progress = silent, total: int | None = None,
) -> Track:
    """Follow one person.

    Parameters
    ----------
    frames : callable
        ``frames()`` begins anew and yields (H, W, 3) uint8 sRGB; it is called once for photos, three times for films
        whose skin is looked at, and once more with `refine`.
    model : MorphableModel
    folder : str or Path
        For the files of records; it must exist.  Work of the same `purpose`, options and model that is found there is
        taken up.
    purpose : dict
        What tells these frames from others, as JSON (name, length, hash).
    options : TrackOptions
    landmarker : FaceLandmarker, optional
        The shared one if left out.
    refine : callable, optional
        ``refine(pixels, fit, model)`` gives a better `FaceFit` of one frame that the identity is fitted to, as
        `fit_photometric` does; their mean identity is taken.
    progress : callable
    total : int, optional
        How many frames there probably are, for `progress` alone.

    Raises
    ------
    NoFaceError
        If no frame shows a face.
    ValueError
        If there is no frame, or a frame is no picture.
    OSError
        If `folder` cannot be written.
    """
    folder = Path(folder)
    if landmarker is None:
        from affect3d.detect.mediapipe import landmarker as shared_landmarker

        landmarker = shared_landmarker(progress)
    names = tuple(model.expression_names)
    width = HEAD + 3 * POINTS + len(names)
    looked = {**purpose, "face": options.face, "still": options.rate is None, "names": list(names), "pass": 1}
    with RecordFile(folder / "landmarks.records", looked, width, "<f4") as seen:
        _find(frames, seen, landmarker, names, options, progress, total)
        if not len(seen):
            raise ValueError("frames: expected at least one frame, got none")
        found = seen.columns(0, 1)[:, 0] > 0
        if not found.any():
            raise NoFaceError(f"no face was found in any of the {len(found)} frames; try a larger or clearer one")
        with _BLAS.limit(limits=1, user_api="blas"):
            person = FilmedPerson(seen, found, model, options, frames, refine)
            pose_width = 2 + 9 + 3 + len(names)
            known = {**looked, "pass": 2, "person": person.digest, "fit": asdict(options.fit)}
            with RecordFile(folder / "poses.records", known, pose_width) as poses:
                _follow(seen, poses, person, options, progress)
                rows = poses.columns(0, pose_width)
            if options.rate is not None and options.steady > 0:
                known |= {"pass": 3, "steady": options.steady, "poses": digest_of(rows)}
                with RecordFile(folder / "steady.records", known, 5 + len(names)) as held:
                    rows = _hold(seen, rows, found, held, person, options, progress)
            if options.rate is not None and options.skin is not None and model.part_faces(*SKIN_PARTS).any():
                known |= {"pass": 4, "skin": asdict(options.skin), "poses": digest_of(rows)}
                with RecordFile(folder / "skin.records", known, pose_width) as aligned:
                    rows = _align(frames, seen, rows, found, aligned, person, model, options.skin, progress)
        sizes, score = seen.columns(1, 3), seen.columns(3, 4)[:, 0]
    return _smoothed(rows, found, score, sizes, person, names, options)


def with_lighting(
    track: Track, frames, model: MorphableModel, smoothing: SmoothingOptions | None = SmoothingOptions(),
    progress: Progress = silent,
) -> Track:
    """`track` with the light of every frame; bridged where the face was not found, smoothed where it is a film's.

    Parameters
    ----------
    track : Track
    frames : iterable of (H, W, 3) uint8
        Those that were tracked.
    model : MorphableModel
    smoothing : SmoothingOptions or None
    progress : callable
    """
    light = np.zeros((len(track), 27))
    for k, pixels in zip(range(len(track)), frames):
        if track.found[k]:
            light[k] = frame_lighting(pixels, model, track.vertices(model, k), track.camera(k)).ravel()
        progress(k + 1, len(track), "reading the light")
    if track.rate is not None and smoothing is not None:
        light = smooth_curves(light, track.found, track.rate, smoothing)
    else:
        light, _ = bridged(light, track.found)
    light = light.reshape(-1, 9, 3)
    light.flags.writeable = False
    return replace(track, lighting=light)


# -- pass 1


def _find(frames, seen, landmarker, names, options, progress, total) -> None:
    follower = FaceFollower(landmarker, options.face)
    last, missed = None, 0
    for k in range(len(seen) - 1, -1, -1):  # where a run before this one was
        if seen[k][0] > 0:
            last, missed = frame_points(seen[k]), len(seen) - 1 - k
            break
    for k, pixels in enumerate(frames()):
        if k < len(seen):
            continue
        record = np.zeros(seen.width)
        record[1:3] = pixels.shape[1], pixels.shape[0]
        start = None if options.rate is None else last
        face = follower.find(pixels, start, missed)
        if face is None:
            missed += 1
        else:
            depth = face.depth if face.depth is not None else np.zeros(POINTS)
            record[0], record[3] = 1, face.score
            record[HEAD : HEAD + 3 * POINTS] = np.column_stack([face.landmarks.points[:, :2], depth]).ravel()
            record[HEAD + 3 * POINTS :] = [face.expression_scores.get(name, 0.0) for name in names]
            # rounded as the file rounds them, so that a run that was taken up goes the same way
            last, missed = frame_points(record.astype(np.float32).astype(float)), 0
        seen.append(record)
        progress(k + 1, max(total or 0, k + 1), "finding the face")


# -- pass 2


def _follow(seen, poses, person, options, progress) -> None:
    pose = None
    if len(poses):
        pose = _pose(poses[len(poses) - 1])
    for k in range(len(poses), len(seen)):
        record = seen[k]
        out = np.zeros(poses.width)
        if record[0] > 0:
            view = person.view(record)
            pose, rms = _fitted(view, person, pose if options.rate is not None else None)
            out[0], out[1] = view.focal, rms
        elif pose is None:
            pose = person.starts[0]
        out[2:11], out[11:14], out[14:] = pose.rotation.ravel(), pose.shift, pose.expression
        poses.append(out)
        progress(k + 1, len(seen), "fitting the face")


def _hold(seen, rows, found, held, person, options, progress) -> np.ndarray:
    """`rows` with a head that moves smoothly wherever it explains the landmarks as well."""
    rows = rows.copy()
    rotation, depth = steady_poses(rows[:, 2:11].reshape(-1, 3, 3), rows[:, 11:14], found, options.rate, options.steady)
    for k in range(len(held), len(rows)):
        out = np.zeros(held.width)
        if found[k]:
            view, start = person.view(seen[k]), _pose(rows[k])
            pose, rms = fit_held(view, person.points, start, rotation[k], depth[k], person.sliding)
            out[0], out[1:4], out[4:-1] = rms, pose.shift, pose.expression
        held.append(out)
        progress(k + 1, len(rows), "fitting the face again")
    other = held.columns(0, held.width)
    shown = np.flatnonzero(found)
    share = np.zeros(len(rows))
    share[shown] = share_of_held(rows[shown, 1], other[shown, 0], options.rate)
    for k in shown:
        if share[k] > 0:
            turn = Rotation.from_matrix(rotation[k] @ rows[k, 2:11].reshape(3, 3).T).as_rotvec()
            rows[k, 2:11] = (Rotation.from_rotvec(share[k] * turn).as_matrix() @ rows[k, 2:11].reshape(3, 3)).ravel()
            rows[k, 11:14] += share[k] * (other[k, 1:4] - rows[k, 11:14])
            rows[k, 14:] += share[k] * (other[k, 4:-1] - rows[k, 14:])
            rows[k, 1] += share[k] * (other[k, 0] - rows[k, 1])
    return rows


def _align(frames, seen, rows, found, aligned, person, model, options, progress) -> np.ndarray:
    """`rows` with the frames moved until the person's skin looks as it does elsewhere in the film."""
    skin = None
    for k, pixels in zip(range(len(rows)), frames() if len(aligned) < len(rows) else ()):
        if k < len(aligned):
            continue
        out = rows[k].copy()
        if found[k]:
            if skin is None:
                skin = _skin_of(frames, seen, rows, person, model, options)
            view = person.view(seen[k])
            crop = skin_crop(pixels, view, options.blur)
            pose, gain = fit_skin(skin, crop, view, person.points, _pose(rows[k]), person.sliding, options)
            if gain > 0:
                residual, _ = view.residual(person.points, pose)
                out[1] = np.sqrt(np.nanmean((residual**2).sum(1)))
                out[2:11], out[11:14], out[14:] = pose.rotation.ravel(), pose.shift, pose.expression
        aligned.append(out)
        progress(k + 1, len(rows), "looking at the skin")
    if len(aligned) < len(rows):
        raise ValueError(f"frames: {len(rows)} were read at first, {len(aligned)} when they were read again")
    return aligned.columns(0, aligned.width)


def _skin_of(frames, seen, rows, person, model, options):
    """From the frames that the identity was fitted to."""
    shown, wanted = [], {int(k) for k in person.chosen}
    for k, pixels in enumerate(frames()):
        if k in wanted:
            view = person.view(seen[k])
            shown.append((skin_crop(pixels, view, options.blur), view, _pose(rows[k])))
        if k >= max(wanted):
            break
    return film_skin(model, person.identity, shown, options)


def _pose(record) -> Pose:
    return Pose(record[2:11].reshape(3, 3), record[11:14], record[14:])


def _fitted(view, person, last):
    best = None
    if last is not None:
        pose, rms, _ = fit_known(view, person.points, last, sliding=person.sliding)
        best = (rms, pose)
    if best is None or best[0] > _DOUBT:
        for start in _nearest(view, person):
            pose, rms, _ = fit_known(view, person.points, start, iterations=25, sliding=person.sliding)
            if best is None or rms < best[0]:
                best = (rms, pose)
    return best[1], best[0]


def _nearest(view, person, count: int = 2):
    """Poses of other frames, moved so that the head covers the landmarks: those that fit best first."""
    moved = []
    known = np.isfinite(view.targets).all(1) & np.isfinite(person.points.mean).all(1)
    middle, size = view.targets[known].mean(0), np.linalg.norm(np.ptp(view.targets[known], axis=0))
    for k, start in enumerate(person.starts):
        flat, _ = view.project(person.points, start)
        depth = max(start.shift[2] * np.linalg.norm(np.ptp(flat[known], axis=0)) / max(size, 1e-6), 150.0)
        turned = (person.points.mean[known] @ start.rotation.T).mean(0)
        shift = np.array([*((middle - view.centre) * depth / view.focal - turned[:2]), depth - turned[2]])
        pose = Pose(start.rotation, shift, view.guess)
        residual, nearest = view.residual(person.points, pose)
        if nearest > 1:
            moved.append((float(np.nansum(residual**2)), k, pose))
    chosen = [entry[2] for entry in sorted(moved, key=lambda entry: entry[:2])[:count]]
    return chosen or [person.starts[0]]


# -- the curves


def _smoothed(rows, found, score, sizes, person, names, options) -> Track:
    raw, _ = bridged(rows[:, 14:], found)
    rotation, shift, expression = rows[:, 2:11].reshape(-1, 3, 3), rows[:, 11:14], raw
    focal = np.interp(np.arange(len(found)), np.flatnonzero(found), rows[found, 0])
    if options.rate is not None and options.smoothing is not None:
        expression = smooth_curves(raw, found, options.rate, options.smoothing)
        # noise of the place along the view is far larger than across it: directions and the logarithm are smoothed
        path = np.column_stack([shift[:, :2] / shift[:, 2:], np.log(shift[:, 2])])
        path = smooth_curves(path, found, options.rate, replace(options.smoothing, floor=1e-6))
        depth = np.exp(path[:, 2:])
        shift = np.hstack([path[:, :2] * depth, depth])
        rotation = smooth_rotations(rotation, found, options.rate, replace(options.smoothing, floor=1e-5))
    elif options.rate is not None:
        shift, _ = bridged(shift, found)
    arrays = dict(
        identity=person.identity, found=found, score=score, expression=np.clip(expression, 0, 1), expression_raw=raw,
        rotation=rotation, shift=shift, focal=focal, size=np.rint(sizes).astype(np.int64), rms=rows[:, 1],
        offsets=np.nan_to_num(person.offsets), identity_frames=np.asarray(person.chosen, np.int64),
    )  # fmt: skip
    arrays = {name: np.array(array) for name, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return Track(expression_names=names, rate=options.rate, **arrays)
