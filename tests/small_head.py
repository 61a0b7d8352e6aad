"""A small head with left and right alike, known in every coefficient, for tests of fitting."""

import numpy as np

from affect3d.landmark_groups import OUTLINE
from affect3d.landmarks import SCHEMES, MeshLandmarks
from affect3d.model import MorphableModel

COLUMNS, ROWS = 61, 45
#: Where the 68 points lie on the head, for the subject's right half and the middle: x and y in mm.
RIGHT = {
    0: (-72, 25), 1: (-72, 8), 2: (-70, -8), 3: (-67, -25), 4: (-62, -42), 5: (-53, -58), 6: (-41, -72), 7: (-22, -82),
    8: (0, -86), 17: (-55, 42), 18: (-47, 49), 19: (-37, 51), 20: (-26, 49), 21: (-15, 45), 27: (0, 30), 28: (0, 20),
    29: (0, 10), 30: (0, 0), 31: (-13, -8), 32: (-7, -10), 33: (0, -11), 36: (-45, 30), 37: (-38, 35), 38: (-28, 35),
    39: (-19, 29), 40: (-28, 25), 41: (-38, 25), 48: (-25, -35), 49: (-16, -30), 50: (-7, -27), 51: (0, -28),
    57: (0, -46), 58: (-8, -45), 59: (-17, -42), 60: (-21, -35), 61: (-9, -33), 62: (0, -33), 66: (0, -38),
    67: (-9, -38),
}  # fmt: skip
#: The partner of each of the 68 points when left and right change places.
MIRROR68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36]
    + [41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "hidden")
MIRROR_EXPRESSION = np.array([0, 2, 1, 3, 5, 4, 6])


def small_head() -> MorphableModel:
    """An ellipsoid's front with a nose; modes that keep (even) or change (every third) left and right.

    The expression "hidden" moves only the crown, where there are no landmarks.
    """
    azimuth, height = np.meshgrid(np.linspace(-1.9, 1.9, COLUMNS), np.linspace(-1.25, 1.1, ROWS))
    a, h = azimuth.ravel(), height.ravel()
    mean = np.column_stack([75 * np.sin(a) * np.cos(h), 110 * np.sin(h), 90 * np.cos(a) * np.cos(h)])
    mean[:, 2] += 22 * np.exp(-((mean[:, 0] / 11) ** 2) - ((mean[:, 1] - 5) / 20) ** 2) * (mean[:, 2] > 0)
    corner = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    p, q, r, s = (c.ravel() for c in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    left = mean[p, 0] + mean[q, 0] > 0  # the other diagonal there, so that the mesh is its own mirror image
    faces = np.where(
        np.repeat(left, 2)[:, None],
        np.stack([np.column_stack([p, q, r]), np.column_stack([p, r, s])], 1).reshape(-1, 3),
        np.stack([np.column_stack([p, q, s]), np.column_stack([q, r, s])], 1).reshape(-1, 3),
    )
    x, y, z = mean.T / 80

    def bump(cx, cy, width, move):
        weight = np.exp(-((mean[:, 0] - cx) ** 2 + (mean[:, 1] - cy) ** 2) / (2 * width**2)) * (mean[:, 2] > 0)
        return weight[:, None] * np.array(move, float)

    zero = np.zeros_like(x)
    identity = np.stack([
        np.column_stack([x, zero, zero]) * 5,
        np.column_stack([zero, y, zero]) * 6,
        np.column_stack([y**2 - 0.3, zero, zero]) * 2,  # changes left and right
        bump(0, 5, 14, (0, 0, 5)),
        bump(0, -75, 30, (0, -6, 3)),
        np.column_stack([zero, x * (y + 0.2), zero]) * 3,  # changes left and right
        np.column_stack([x * np.maximum(-y, 0), zero, zero]) * 6,
        bump(-32, 30, 14, (-2, 2, 0)) + bump(32, 30, 14, (2, 2, 0)),
    ])
    expression = np.stack([
        np.column_stack([zero, -14 / (1 + np.exp((mean[:, 1] + 36) / 1.5)), zero]),
        bump(25, -35, 12, (6, 8, -2)),
        bump(-25, -35, 12, (-6, 8, -2)),
        bump(-17, 46, 14, (0, 8, 0)) + bump(17, 46, 14, (0, 8, 0)),
        bump(33, 35, 7, (0, -9, 0)),
        bump(-33, 35, 7, (0, -9, 0)),
        np.where(mean[:, 1:2] > 85, [[0, 5.0, 0]], 0),
    ])
    scale = np.array([1, 2, 0.5, 1, 4, 1, 1, 0.25])
    landmarks = {"ibug68": _ibug68(mean, faces), "mediapipe478": _dense(mean, faces)}
    return MorphableModel(
        mean, faces, identity / scale[:, None, None], scale, expression, EXPRESSIONS, landmarks, part_names=("face",)
    )


IDENTITY_SIGNS = np.array([1, 1, -1, 1, 1, -1, 1, 1])


def _ibug68(mean, faces):
    front = np.flatnonzero(mean[:, 2] > 0)
    vertices = np.zeros(68, int)
    columns = COLUMNS - 1
    for k, place in RIGHT.items():
        v = front[np.argmin(((mean[front, :2] - place) ** 2).sum(1))]
        row, column = divmod(v, COLUMNS)
        vertices[k], vertices[MIRROR68[k]] = v, row * COLUMNS + columns - column
    for k in np.flatnonzero(MIRROR68 == np.arange(68)):
        vertices[k] = vertices[k] // COLUMNS * COLUMNS + columns // 2
    triangle = np.array([np.flatnonzero((faces == v).any(1))[0] for v in vertices])
    return MeshLandmarks("ibug68", triangle, (faces[triangle] == vertices[:, None]).astype(float))


def _dense(mean, faces):
    """Random places on the front, with an oval outline and eye corners where they belong."""
    rng = np.random.default_rng(7)
    centres = mean[faces].mean(1)
    front = np.flatnonzero((centres[:, 2] > 20) & (np.abs(centres[:, 1]) < 80))
    count = SCHEMES["mediapipe478"]
    triangle = rng.choice(front, count)
    weights = rng.dirichlet(np.ones(3), count)
    outline = np.array(OUTLINE["mediapipe478"])
    turn = np.pi / 2 - np.arange(len(outline)) * 2 * np.pi / len(outline)  # from the top to the subject's left
    for k, place in zip(outline, np.column_stack([70 * np.cos(turn), 80 * np.sin(turn)])):
        near = np.flatnonzero(centres[:, 2] > 0)
        triangle[k] = near[np.argmin(((centres[near, :2] - place) ** 2).sum(1))]
    for k, place in {33: (-45, 30), 263: (45, 30)}.items():
        triangle[k] = front[np.argmin(((centres[front, :2] - place) ** 2).sum(1))]
    return MeshLandmarks("mediapipe478", triangle, weights)
