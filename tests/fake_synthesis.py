"""Stands in for the model and the synthesis, so that the command line is tested without them.

A photo "shows" as many faces as the red value of its top-left pixel says.  Face k owns the square
[10 k + 2, 10 k + 8) on both axes, which `express` paints with a colour that encodes the affect.
"""

import sys
import time
import types

import numpy as np

from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh

NAMES = ("jawOpen", "mouthSmileLeft")


class NoFaceError(ValueError):
    """As the detector raises."""


class Fit:
    converged, reason, rms_px, rms_relative = True, "the steps became small", 1.25, 0.0125


class Portrait:
    calls = []
    fail = None
    pause = 0.0

    def __init__(self, pixels, model, face, face_count):
        self.pixels, self.model, self.face, self.face_count, self.fit = pixels, model, face, face_count, Fit()

    @classmethod
    def from_photo(
        cls, pixels, model=None, face=0, landmarks=None, detector="mediapipe", progress=None, thorough=False
    ):
        cls.calls.append({"face": face, "landmarks": landmarks, "detector": detector})
        if cls.fail is not None:
            raise cls.fail
        count = int(pixels[0, 0, 0])
        if face >= count:
            raise NoFaceError(f"no face number {face} was found in the photo")
        return cls(pixels, model, face, count)

    def close_up(self, size):
        return Portrait(np.full((size, size, 3), 90, np.uint8), self.model, self.face, self.face_count)

    def show(self, asked):
        valence, arousal = getattr(asked, "valence", -1), getattr(asked, "arousal", getattr(asked, "strength", 0))
        image, mask = self.pixels.copy(), np.zeros(self.pixels.shape[:2], bool)
        low = 10 * self.face + 2
        mask[low : low + 6, low : low + 6] = True
        image[mask] = (round(100 + 100 * valence), round(100 + 100 * arousal), 10 * self.face)
        points = np.full((68, 2), float(self.face))
        points[3] = np.nan
        return types.SimpleNamespace(
            image=image, mask=mask, landmarks=Landmarks("ibug68", points), expression=np.array([0.25, 0.123456]),
            query=asked, notes=("a note",), mesh=Mesh(np.eye(3) * (self.face + 1), [[0, 1, 2]]),
        )  # fmt: skip


def sheet(portrait, statistics, size=256, radius=0.8, progress=None):
    return np.full((2 * size, 3 * size, 3), 200, np.uint8)


def path_frames(portrait, statistics, waypoints, frames=60, progress=None):
    for k in range(frames):
        if k == 2 and Portrait.pause:
            print("drawing", file=sys.stderr, flush=True)
            time.sleep(Portrait.pause)
        yield np.full_like(portrait.pixels, k)


def modules():
    """Module name -> stand-in."""
    synthesis = types.ModuleType("affect3d.synthesis")
    synthesis.Portrait, synthesis.path_frames = Portrait, path_frames
    synthesis.grid_sheet = synthesis.circle_sheet = sheet
    load = types.ModuleType("affect3d.model.load")
    load.calls = []

    def load_model(spec=None, progress=None):
        load.calls.append(spec)
        return types.SimpleNamespace(expression_names=NAMES)

    load.load_model = load_model
    return {"affect3d.synthesis": synthesis, "affect3d.model.load": load}
