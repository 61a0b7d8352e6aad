"""Which landmarks of a scheme are lips, lids, irises and outline.

Indices count from 0.  `mediapipe478`: the topology of MediaPipe's canonical face; `ibug68`: Sagonas
et al., "300 Faces in-the-Wild Challenge", 2016.  Pairs run (upper, lower).
"""

from __future__ import annotations

import numpy as np

__all__ = ["EYE_CORNERS", "FOREHEAD", "LID_PAIRS", "LIP_PAIRS", "MOUTH_CORNERS", "OUTLINE", "UNUSED", "interocular"]

OUTLINE = {
    "mediapipe478": (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    "ibug68": tuple(range(17)),
}
#: Points of the outline whose place on the forehead depends on hair and detector.
FOREHEAD = {
    "mediapipe478": (10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21),
    "ibug68": (),
}
#: Points that say nothing of the skin (the irises).
UNUSED = {"mediapipe478": tuple(range(468, 478)), "ibug68": ()}
LIP_PAIRS = {
    "mediapipe478": (
        (191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318), (415, 324),
    ),
    "ibug68": ((61, 67), (62, 66), (63, 65)),
}
LID_PAIRS = {
    "mediapipe478": (
        (246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155),
        (466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382),
    ),
    "ibug68": ((37, 41), (38, 40), (43, 47), (44, 46)),
}
#: Outer corners: the subject's right eye, then the left one.
EYE_CORNERS = {"mediapipe478": (33, 263), "ibug68": (36, 45)}
#: The subject's right corner, then the left one.
MOUTH_CORNERS = {"mediapipe478": (61, 291), "ibug68": (48, 54)}


def interocular(scheme: str, points) -> float:
    """Distance between the outer eye corners, in the unit of `points`."""
    right, left = EYE_CORNERS[scheme]
    return float(np.linalg.norm(np.asarray(points)[right] - np.asarray(points)[left]))
