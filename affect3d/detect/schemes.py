"""From one landmark scheme to another."""

from __future__ import annotations

import numpy as np

from affect3d.landmarks import Landmarks

__all__ = ["MEDIAPIPE_FOR_IBUG68", "IBUG68_EDGES", "IBUG68_EDGE_WEIGHTS", "IBUG68_MIRROR", "to_ibug68"]

# (a, b, t): the iBUG point lies at (1 - t) a + t b of MediaPipe's points a and b.
#
# The schemes were drawn by different people: iBUG spaces seventeen points evenly along the jaw and sets brow points
# where hair and skin meet, MediaPipe has vertices of a mesh.  The points and parts t were chosen against dlib's 68
# points on photographs of 15 people, both sides of the face alike; on 15 others they agree to 2.7 % of the distance
# between the eyes on average (jaw 4.3 %, the rest 2.2 %), the nearest single points to 4.4 %.
_PLACES = np.array([
    (127, 127, 0), (234, 93, 0.17), (93, 132, 0.36), (132, 58, 0.46), (58, 172, 0.61),
    (136, 136, 0), (150, 149, 0.6), (176, 148, 0.42), (152, 152, 0), (400, 377, 0.42),
    (379, 378, 0.6), (365, 365, 0), (288, 397, 0.61), (361, 288, 0.46), (323, 361, 0.36),
    (454, 323, 0.17), (356, 356, 0),
    (70, 156, 0.38), (63, 63, 0), (105, 66, 0.29), (66, 107, 0.3), (107, 55, 0.42),
    (336, 285, 0.42), (296, 336, 0.3), (334, 296, 0.29), (293, 293, 0), (300, 383, 0.38),
    (168, 6, 0.22), (197, 6, 0.16), (5, 195, 0.41), (4, 4, 0), (75, 240, 0.57),
    (97, 97, 0), (2, 2, 0), (326, 326, 0), (305, 460, 0.57),
    (33, 33, 0), (160, 159, 0.3), (158, 157, 0.24), (155, 155, 0), (153, 153, 0),
    (144, 144, 0), (382, 382, 0), (385, 384, 0.24), (387, 386, 0.3), (263, 263, 0),
    (373, 373, 0), (380, 380, 0),
    (61, 61, 0), (39, 40, 0.37), (37, 37, 0), (0, 0, 0), (267, 267, 0),
    (269, 270, 0.37), (291, 291, 0), (405, 321, 0.39), (314, 314, 0), (17, 17, 0),
    (84, 84, 0), (181, 91, 0.39), (78, 95, 0.49), (82, 82, 0), (13, 13, 0),
    (312, 312, 0), (308, 324, 0.49), (317, 317, 0), (14, 14, 0), (87, 87, 0),
])  # fmt: skip

#: (68, 2) int: for each iBUG point the two MediaPipe points it lies between
#: (twice the same where it is one of them).
IBUG68_EDGES = _PLACES[:, :2].astype(np.int32)

#: (68, 2) float: their weights, each row summing to one.
IBUG68_EDGE_WEIGHTS = np.stack([1.0 - _PLACES[:, 2], _PLACES[:, 2]], axis=1)

#: (68,) int: the one MediaPipe point that comes nearest.
MEDIAPIPE_FOR_IBUG68 = np.where(_PLACES[:, 2] > 0.5, IBUG68_EDGES[:, 1], IBUG68_EDGES[:, 0])

#: (68,) int: the iBUG point on the other side of the face.
IBUG68_MIRROR = np.array([
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
])  # fmt: skip

for _table in (IBUG68_EDGES, IBUG68_EDGE_WEIGHTS, MEDIAPIPE_FOR_IBUG68, IBUG68_MIRROR):
    _table.flags.writeable = False


def to_ibug68(landmarks: Landmarks) -> Landmarks:
    """The 68 iBUG points from MediaPipe's 478.

    Parameters
    ----------
    landmarks : Landmarks
        `mediapipe478`, in any unit and dimension.  `ibug68` is given back as
        it is.

    Returns
    -------
    Landmarks
        `ibug68`; a point is missing (NaN) where one that it depends on is.

    Raises
    ------
    ValueError
        If there is no way from the scheme given.
    """
    if landmarks.scheme == "ibug68":
        return landmarks
    if landmarks.scheme != "mediapipe478":
        raise ValueError(f"landmarks: expected the scheme mediapipe478 or ibug68, got {landmarks.scheme}")
    points = np.einsum("lk,lkd->ld", IBUG68_EDGE_WEIGHTS, landmarks.points[IBUG68_EDGES])
    return Landmarks("ibug68", points, landmarks.unit)
