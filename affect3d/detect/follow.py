"""One face followed through a film: each frame is looked at where the last one had the face.

The detector, which looks at whole pictures, runs only where the face is lost; compare MediaPipe's tracking, which
works in the same way.
"""

from __future__ import annotations

import numpy as np

from affect3d.detect.detection import FaceDetection, check_image
from affect3d.detect.mediapipe import FaceLandmarker, LandmarkerOptions, _degenerate, _region_of_landmarks
from affect3d.landmarks import Landmarks

__all__ = ["FaceFollower"]


class FaceFollower:
    """Follows one face.

    What it finds depends on the frame and on the last landmarks only, so a film can be taken up anywhere.

    Parameters
    ----------
    landmarker : FaceLandmarker
    face : int
        Which face to take where none was seen before: 0 is the largest.
    passes : int
        Times the landmarks are found in each frame, each time where the last ones were.
    min_presence : float
        Least probability, said by the landmark network, that there is a face.
    """

    def __init__(self, landmarker: FaceLandmarker, face: int = 0, passes: int = 2, min_presence: float = 0.5):
        if face < 0:
            raise ValueError(f"face: expected a number from 0 up, got {face}")
        if passes < 1:
            raise ValueError(f"passes: expected at least 1, got {passes}")
        self.landmarker, self.face, self.passes = landmarker, face, passes
        self.options = LandmarkerOptions(min_presence=min_presence)
        self._least = float(np.log(max(min_presence, 1e-9) / max(1 - min_presence, 1e-9)))

    def find(self, image, last=None, missed: int = 0) -> FaceDetection | None:
        """The face in a frame.

        Parameters
        ----------
        image : (H, W, 3) uint8
            sRGB.
        last : (478, 2 or 3) array, optional
            Landmarks in the last frame that had the face, px.
        missed : int
            How many frames ago that was, less one.

        Returns
        -------
        FaceDetection or None
            None if the face is not there.
        """
        image = check_image(image)
        if last is None:
            faces = self.landmarker.detect(image, self.options)
            return faces[min(self.face, len(faces) - 1)] if faces else None
        last = np.asarray(last, float)
        if not missed:
            found = self._refined(image, last)
            if found is not None:
                return found
        # upright as before: looking at all turns of every frame without a face would take most of the time
        upright = LandmarkerOptions(min_presence=self.options.min_presence, turned=False)
        middle, size = last[:, :2].mean(0), float(np.ptp(last[:, :2], axis=0).max())
        near = [(float(np.linalg.norm((f.box[:2] + f.box[2:]) / 2 - middle)), k, f)
                for k, f in enumerate(self.landmarker.detect(image, upright))]  # fmt: skip
        # another person elsewhere in the picture is not this one
        near = [entry for entry in near if entry[0] < size * (1 + 0.1 * missed)]
        return min(near)[2] if near else None

    def _refined(self, image, points) -> FaceDetection | None:
        size = float(np.ptp(points[:, :2], axis=0).max())
        middle = points[:, :2].mean(0)
        for _ in range(self.passes):
            points, logit = self.landmarker.landmarks(image, _region_of_landmarks(points))
            if logit < self._least or _degenerate(points, image.shape):
                return None
        # a face neither jumps nor grows from one frame to the next; then the network has taken something else
        grown = float(np.ptp(points[:, :2], axis=0).max()) / max(size, 1e-6)
        if not 0.5 < grown < 2 or np.linalg.norm(points[:, :2].mean(0) - middle) > size:
            return None
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        score = 1 / (1 + np.exp(-np.clip(logit, -80, 80)))
        scores = self.landmarker.expression_scores(points)
        return FaceDetection(box, score, Landmarks("mediapipe478", points[:, :2]), points[:, 2], scores)
