"""A film whose landmarks are known: a detector that knows the truth and reads the frame's number from its pixels.

Run as a program it follows the film in a folder and is killed, as by ``kill -9``, after some records.
"""

import importlib.util
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from affect3d.detect import FaceDetection
from affect3d.detect.schemes import MEDIAPIPE_FOR_IBUG68
from affect3d.fitting import video
from affect3d.fitting.video import TrackOptions, track_frames
from affect3d.geometry.rotation import rotation_exp
from affect3d.io.record_file import RecordFile
from affect3d.landmark_groups import OUTLINE
from affect3d.landmarks import Landmarks, MeshLandmarks

SIZE, FOCAL, FRAMES, RATE = (640, 480), 896.0, 40, 30.0
MISSING = (0, 17, 18, 19)


def head():
    """The small head with the 68 points under MediaPipe's numbers."""
    spec = importlib.util.spec_from_file_location("small_head", Path(__file__).with_name("small_head.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.small_head()
    few = model.landmarks["ibug68"]
    faces, weights = np.full(478, -1), np.zeros((478, 3))
    faces[list(MEDIAPIPE_FOR_IBUG68)], weights[list(MEDIAPIPE_FOR_IBUG68)] = few.faces, few.weights
    # the outline is no fixed points of a head, and those that are projected here would be
    faces[list(OUTLINE["mediapipe478"])], weights[list(OUTLINE["mediapipe478"])] = -1, 0
    return replace(model, landmarks={**model.landmarks, "mediapipe478": MeshLandmarks("mediapipe478", faces, weights)})


MODEL = head()


class Film:
    """Truth: curves, poses, and what a detector says of them."""

    def __init__(self, frames=FRAMES, noise=0.15, missing=MISSING, still=False):
        rng, t = np.random.default_rng(0), np.arange(frames) / RATE
        self.frames, self.missing = frames, missing
        self.identity = np.clip(rng.normal(0, 0.8, len(MODEL.identity)), -1.5, 1.5)
        names = MODEL.expression_names
        self.expression = np.zeros((frames, len(names)))
        if not still:
            self.expression[:, names.index("jawOpen")] = 0.3 - 0.3 * np.cos(2 * np.pi * 1.5 * t)
            for side in ("Left", "Right"):
                self.expression[:, names.index("mouthSmile" + side)] = np.clip(1.2 * t - 0.5, 0, 0.6)
                self.expression[:, names.index("eyeBlink" + side)] = np.exp(-(((t - 0.9) / 0.07) ** 2))
        angles = np.zeros((frames, 3)) if still else 0.2 * np.column_stack([0.3 * np.sin(3 * t), np.sin(2 * t), 0 * t])
        self.rotation = np.stack([rotation_exp(a) @ np.diag([1.0, -1, -1]) for a in angles])
        self.shift = np.column_stack([20 * np.sin(t), 5 * t, 700 + 0 * t])
        self.points, extra = [], rng.integers(0, len(MODEL.mean), 478)
        marks, known = MODEL.landmarks["mediapipe478"], MODEL.landmarks["mediapipe478"].present
        for k in range(frames):
            vertices = MODEL.instance(self.identity, self.expression[k])
            at = np.where(known[:, None], marks.locate(vertices, MODEL.faces), vertices[extra])
            seen = at @ self.rotation[k].T + self.shift[k]
            flat = FOCAL * seen[:, :2] / seen[:, 2:] + (np.array(SIZE) - 1) / 2
            self.points.append(np.column_stack([flat + noise * rng.normal(size=flat.shape), seen[:, 2] - 700]))
        self.read = 0

    def pixels(self):
        """Frames that hold nothing but their number."""
        for k in range(self.frames):
            self.read += 1
            out = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
            out[0, 0] = divmod(k, 256) + (0,)
            yield out

    # what FaceFollower asks of a landmarker

    def _number(self, image):
        return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])

    def detect(self, image, options=None):
        k = self._number(image)
        return () if k in self.missing else (self._detection(k),)

    def _detection(self, k):
        points = self.points[k]
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        marks = Landmarks("mediapipe478", points[:, :2])
        return FaceDetection(box, 0.99, marks, points[:, 2], self.expression_scores(points))

    def landmarks(self, image, region):
        k = self._number(image)
        return self.points[k], (-10.0 if k in self.missing else 20.0)

    def expression_scores(self, points):
        for known, row in zip(self.points, self.expression):
            if np.allclose(known[:, :2], np.asarray(points)[:, :2], atol=1e-3):
                return {name: 0.7 * value for name, value in zip(MODEL.expression_names, row)}
        raise AssertionError("the follower asks for points it was not given")


OPTIONS = TrackOptions(rate=RATE, identity_frames=8)


def follow(film, folder, options=OPTIONS):
    return track_frames(film.pixels, MODEL, folder, {"film": "known"}, options, landmarker=film)


if __name__ == "__main__":
    folder, name, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    class Fatal(RecordFile):
        def append(self, values):
            super().append(values)
            if self.path.name == name and self.count == after:
                with open(self.path, "ab") as file:
                    file.write(b"half a record")
                os.kill(os.getpid(), signal.SIGKILL)

    video.RecordFile = Fatal
    follow(Film(), folder)
