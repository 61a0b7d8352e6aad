"""Following a face through a film of known truth; resuming after a kill; gaps; several faces."""

import importlib.util
import os
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affect3d.detect import NoFaceError
from affect3d.detect.follow import FaceFollower
from affect3d.fitting.smoothing import SmoothingOptions
from affect3d.fitting.video import TrackOptions
from affect3d.io.track_file import write_track_npz

_spec = importlib.util.spec_from_file_location("track_problem", Path(__file__).with_name("track_problem.py"))
problem = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(problem)
NAMES = problem.MODEL.expression_names
MOVED = [k for k, n in enumerate(NAMES) if n.startswith(("jawOpen", "mouthSmile", "eyeBlink"))]


@pytest.fixture(scope="module")
def film():
    return problem.Film()


@pytest.fixture(scope="module")
def track(film, tmp_path_factory):
    return problem.follow(film, tmp_path_factory.mktemp("whole"))


def test_curves_and_poses_are_those_of_the_film(film, track):
    seen = track.found
    assert list(np.flatnonzero(~seen)) == list(problem.MISSING)
    for k in MOVED:
        assert np.corrcoef(track.expression[seen, k], film.expression[seen, k])[0, 1] > 0.97, NAMES[k]
    turned = np.einsum("tij,tij->t", track.rotation, film.rotation)
    assert np.degrees(np.arccos(np.clip((turned - 1) / 2, -1, 1)))[seen].max() < 4
    assert track.rms[seen].max() < 0.02
    aim = np.einsum("tij,j->ti", track.rotation, [0, 0, 80.0]) + track.shift
    true = np.einsum("tij,j->ti", film.rotation, [0, 0, 80.0]) + film.shift
    flat = track.focal[:, None] * aim[:, :2] / aim[:, 2:]
    assert np.abs(flat - problem.FOCAL * true[:, :2] / true[:, 2:])[seen].max() < 4  # px, at the tip of the nose


def test_frames_without_the_face_are_bridged(film, track):
    k = NAMES.index("jawOpen")
    gap = list(problem.MISSING[1:])
    low, high = np.sort(track.expression[[16, 20], k])
    assert (track.expression[gap, k] > low - 0.1).all() and (track.expression[gap, k] < high + 0.1).all()
    assert np.isfinite(track.expression).all() and np.isfinite(track.shift).all() and np.isfinite(track.rotation).all()
    assert (track.expression >= 0).all() and (track.expression <= 1).all()


def test_one_identity_holds_for_all_frames_and_is_the_persons(film, track):
    face = problem.MODEL.part_vertices("face", "skin")
    truth = problem.MODEL.instance(film.identity)[face]
    error = np.linalg.norm(problem.MODEL.instance(track.identity)[face] - truth, axis=1).mean()
    mean = np.linalg.norm(problem.MODEL.mean[face] - truth, axis=1).mean()
    assert error < 0.8 * mean
    assert set(track.identity_frames) <= set(np.flatnonzero(track.found))


@pytest.mark.parametrize("name, after", [("landmarks.records", 13), ("poses.records", 21), ("steady.records", 5),
    ("skin.records", 17)])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(film, track, tmp_path, name, after):
    program = Path(problem.__file__)
    command = [sys.executable, str(program), str(tmp_path), name, str(after)]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(program.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=here)
    assert done.returncode == -signal.SIGKILL, done.stderr
    film.read, asked, plain = 0, [], film.landmarks
    film.landmarks = lambda image, region: asked.append(film._number(image)) or plain(image, region)
    try:
        again = problem.follow(film, tmp_path)
    finally:
        del film.landmarks
    assert min(asked, default=99) >= (after - 1 if name == "landmarks.records" else 99)
    write_track_npz(tmp_path / "again.npz", again)
    write_track_npz(tmp_path / "whole.npz", track)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_finished_work_is_not_done_again_when_only_the_smoothing_changes(film, track, tmp_path):
    problem.follow(film, tmp_path)
    film.read = 0
    other = replace(problem.OPTIONS, smoothing=None)
    bare = problem.follow(film, tmp_path, other)
    np.testing.assert_array_equal(bare.expression_raw, track.expression_raw)
    np.testing.assert_array_equal(bare.expression, bare.expression_raw)


def test_a_still_face_does_not_tremble(tmp_path):
    noisy = problem.Film(frames=90, noise=1.0, missing=(), still=True)
    noisy.shift[:] = noisy.shift[0]
    noisy = problem.Film(frames=90, noise=1.0, missing=(), still=True)
    track = problem.follow(noisy, tmp_path)
    raw, smooth = track.expression_raw.std(0), track.expression.std(0)
    moving = raw > 1e-3
    assert moving.any() and (smooth[moving] < 0.6 * raw[moving]).all()
    second = np.abs(np.diff(track.expression, 2, axis=0)).max()
    assert second < 0.2 * np.abs(np.diff(track.expression_raw, 2, axis=0)).max()


def test_no_face_and_no_frame_are_said_in_a_sentence(tmp_path):
    nobody = problem.Film(frames=4, missing=range(4))
    with pytest.raises(NoFaceError, match="in any of the 4 frames"):
        problem.follow(nobody, tmp_path)
    with pytest.raises(ValueError, match="at least one frame"):
        problem.track_frames(lambda: iter(()), problem.MODEL, tmp_path, {}, landmarker=nobody)
    for name in ("rate", "face", "identity_frames", "offset_spread"):
        with pytest.raises(ValueError, match=name):
            TrackOptions(**{name: -1})
    with pytest.raises(ValueError, match="release"):
        SmoothingOptions(release=0)


def test_one_frame_is_enough(tmp_path):
    track = problem.follow(problem.Film(frames=1, missing=()), tmp_path)
    assert len(track) == 1 and np.isfinite(track.expression).all()


class _Crowd:
    """Two faces whose places are given; the region network finds whoever is nearest."""

    def __init__(self, *middles):
        self.middles, self.shape = [np.array(m, float) for m in middles], problem.Film(frames=1, missing=())

    def _face(self, k):
        points = self.shape.points[0].copy()
        points[:, :2] += self.middles[k] - points[:, :2].mean(0)
        points[:, :2] = self.middles[k] + (points[:, :2] - self.middles[k]) * (1 - 0.3 * k)
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        return problem.FaceDetection(box, 0.9, problem.Landmarks("mediapipe478", points[:, :2]), points[:, 2], {})

    def detect(self, image, options=None):
        return tuple(self._face(k) for k in range(len(self.middles)))

    def landmarks(self, image, region):
        away = [np.linalg.norm(m - [region.x, region.y]) for m in self.middles]
        face = self._face(int(np.argmin(away)))
        return np.column_stack([face.landmarks.points, face.depth]), 20.0 if min(away) < region.size / 2 else -5.0

    def expression_scores(self, points):
        return {}


def test_the_largest_face_is_followed_or_the_one_asked_for():
    crowd = _Crowd((200, 240), (480, 240))
    picture = np.zeros((480, 640, 3), np.uint8)
    first = FaceFollower(crowd).find(picture)
    second = FaceFollower(crowd, face=1).find(picture)
    assert first.area > second.area
    # it stays with its face when the other one grows nearer to where the largest was
    for _ in range(10):
        crowd.middles[1] -= [8, 0]
        second = FaceFollower(crowd, face=1).find(picture, second.landmarks.points)
    np.testing.assert_allclose(second.landmarks.points.mean(0), crowd.middles[1], atol=1e-6)


def test_another_person_elsewhere_is_not_taken_for_the_one_that_left():
    crowd = _Crowd((120, 240), (560, 240))
    picture = np.zeros((480, 640, 3), np.uint8)
    last = FaceFollower(crowd).find(picture).landmarks.points
    crowd.middles = [np.array((620.0, 240.0))]
    assert FaceFollower(crowd).find(picture, last, missed=1) is None
    crowd.middles = [np.array((150.0, 250.0))]
    assert FaceFollower(crowd).find(picture, last, missed=1) is not None


def test_the_landmarks_of_a_track_are_those_that_were_found(film, track):
    for k in (10, 25, 39):
        seen = track.landmarks(problem.MODEL, k)
        known = np.isfinite(seen).all(1)
        away = np.linalg.norm(seen - film.points[k][:, :2], axis=1)[known]
        assert known.sum() > 40 and np.median(away) < 2.5  # px, of eyes 100 px apart


def test_frames_are_let_go_one_by_one(film, tmp_path):
    alive, most = weakref.WeakSet(), []

    class Frame(np.ndarray):
        __hash__ = object.__hash__

    def frames():
        for pixels in film.pixels():
            frame = pixels.view(Frame)
            alive.add(frame)
            most.append(len(alive))
            yield frame
            del frame, pixels

    video = problem.track_frames(frames, problem.MODEL, tmp_path, {}, problem.OPTIONS, landmarker=film)
    assert len(video) == film.frames and max(most) <= 3


def test_a_film_that_ends_earlier_when_it_is_read_again_is_told(film, tmp_path):
    from affect3d.fitting.video import track_frames

    times = []

    def frames():
        times.append(1)
        for k, pixels in enumerate(film.pixels()):
            if len(times) == 1 or k < 30:
                yield pixels

    with pytest.raises(ValueError, match="frames: 40 were read at first, 30 when they were read again"):
        track_frames(frames, problem.MODEL, tmp_path, {"film": "known"}, problem.OPTIONS, landmarker=film)
