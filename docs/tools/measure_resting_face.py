"""Measure where MediaPipe's landmarks lie on an average face at rest.

    python docs/tools/measure_resting_face.py OUT.npz PHOTO...

Give photographs of people who look straight ahead and show nothing.  Each face is turned upright and scaled to an
interocular distance of one, the mean of all and of their mirror images is written: 478 points, nothing of the photos.
The table of the package comes from the 30 neutral ones of the Face Research Lab London Set that are used throughout
(DeBruine and Jones 2017, doi 10.6084/m9.figshare.5047666.v5, CC BY 4.0).
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import linear_sum_assignment

from affect3d.detect import detect_faces
from affect3d.io.image import read_image
from affect3d.landmark_groups import EYE_CORNERS

SCHEME = "mediapipe478"


def upright(points):
    """(478, 2) points with the outer eye corners at (-1/2, 0) and (1/2, 0), y down."""
    right, left = (points[k] for k in EYE_CORNERS[SCHEME])
    across = left - right
    along, size = across / np.linalg.norm(across), np.linalg.norm(across)
    return (points - (right + left) / 2) @ np.column_stack([along, [-along[1], along[0]]]) / size


def mirrored(points):
    """The face in a mirror: each point under the number of its counterpart."""
    flipped = points * [-1, 1]
    return flipped[linear_sum_assignment(np.linalg.norm(flipped[None] - points[:, None], axis=2) ** 2)[1]]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("photos", nargs="+")
    options = parser.parse_args(argv)
    faces = []
    for path in options.photos:
        found = detect_faces(read_image(path).pixels)
        if not found:
            print(f"{path}: no face, left out")
            continue
        faces.append(upright(found[0].landmarks.points[:, :2].astype(float)))
    mean = np.mean(faces, axis=0)
    mean = (mean + mirrored(mean)) / 2
    np.savez_compressed(options.out, points=mean.astype(np.float32), count=len(faces))
    print(f"{options.out}: mean of {len(faces)} faces")


if __name__ == "__main__":
    main()
