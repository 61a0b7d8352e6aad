"""Which quads of MakeHuman's base mesh make the head, and what each of them is.

The mesh is drawn in concentric loops around the mouth and the eyes.  A loop is
named here by one vertex and found by walking; numbers are vertices of the
base mesh, chosen by looking at it.  Lengths in this module are millimetres of
the base mesh as drawn (its unit is the decimetre), counted from the point between the eyeballs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PART_NAMES", "HeadRegions", "edge_loop", "head_regions"]

#: Names of the part labels, in the order of their numbers.
PART_NAMES = (
    "face", "head", "neck", "lips", "mouth", "teeth_upper", "teeth_lower", "gums", "tongue", "eye_left", "eye_right",
    "socket",
)  # fmt: skip

# Loops around the mouth from the skin inwards, each as (middle of the upper lip, middle of the lower lip).
# The ridge of the upper lip and the foot of the lower one are the border of the red part; the lips meet at
# `lip_contact`; `mouth_deep` lies behind the teeth line.
_MOUTH_LOOPS = (
    (5342, 491), (362, 5337), (455, 492), (466, 496), (467, 495), (509, 513), (468, 494), (474, 493), (520, 523),
    (537, 540), (554, 557), (571, 574), (588, 591), (605, 608), (622, 625),
)  # fmt: skip
_VERMILION, _CONTACT = 2, 8
# Below the left eye, from the cheek inwards: skin, the outer and the inner edge of the lid margin, the sac behind it.
_EYE_LOOPS = (6862, 11504, 6826, 6827, 11479, 6828, 13370, 7761, 7787, 7813)
_MARGIN, _SAC = 6, 7
_EAR = 0.94  # weight from which a quad belongs to the ear


@dataclass(frozen=True, eq=False)
class HeadRegions:
    """The head cut out of the base mesh.

    Attributes
    ----------
    quads, uv_quads : (Q, 4) int32
        Of the skin, the mouth cavity and the lids, by numbers of the base mesh.
    parts : (Q,) uint8
        Index into `PART_NAMES`.
    dense : (Q,) bool
        Quads worth refining: the face and what shows in it.
    mouth_loops : tuple of (38,) int32
        From the skin inwards; each starts at the middle of the upper lip and goes over the subject's left.
    vermilion, contact : int
        Which of `mouth_loops` are the border of the red part and the line where the lips meet.
    eye_loops : tuple of (2, 28) int32
        Left and right eye, from the cheek inwards; the right ones mirror the left ones.
    margin : int
        Which of `eye_loops` is the lid margin.
    mirror : (V,) int32
        The vertex on the other side of the head.
    """

    quads: np.ndarray
    uv_quads: np.ndarray
    parts: np.ndarray
    dense: np.ndarray
    mouth_loops: tuple[np.ndarray, ...]
    vermilion: int
    contact: int
    eye_loops: tuple[np.ndarray, ...]
    margin: int
    mirror: np.ndarray


def head_regions(base, ear_weight) -> HeadRegions:
    """Cut the head out of the base mesh and label it.

    Parameters
    ----------
    base : BaseMesh
    ear_weight : (V,) float array
        In [0, 1], near one on the ears.

    Raises
    ------
    ValueError
        If the mesh is not the base mesh this table was made for.
    """
    body, uv_body = base.quads["body"], base.uv_quads["body"]
    eye = base.vertices[base.quads["helper-l-eye"]].reshape(-1, 3).mean(0) * [0, 1, 1]
    position = (base.vertices - eye) * 100
    mirror = _mirror(position, body)
    neighbours = _Neighbours(body, len(position))
    loops = []
    for upper, lower in _MOUTH_LOOPS:
        ahead = [v for v in neighbours.of(upper) if position[v, 0] > 0.05]
        loop = edge_loop(neighbours, upper, ahead[0]) if len(ahead) == 1 else []
        if lower not in loop:
            raise ValueError(f"base: vertices {upper} and {lower} do not share a loop around the mouth")
        loops.append(np.array(loop, np.int32))
    eyes = []
    for k, vertex in enumerate(_EYE_LOOPS):
        ahead = neighbours.across(_EYE_LOOPS[k - 1], vertex) if k else None
        inner = [
            v for v in neighbours.of(vertex)
            if v != ahead and v not in _EYE_LOOPS and position[v, 0] < position[vertex, 0]
            and (k or neighbours.across(_EYE_LOOPS[1], vertex) != v)
        ]
        loop = edge_loop(neighbours, vertex, inner[0]) if len(inner) == 1 else []
        if len(loop) != 28:
            raise ValueError(f"base: vertex {vertex} does not lie on a loop around the eye")
        eyes.append(np.array([loop, mirror[loop]], np.int32))

    bag = _inside(body, loops[_CONTACT], np.array([loops[_CONTACT + 1][0]]))
    lips = _inside(body, loops[_VERMILION], np.array([loops[_CONTACT][0]])) & ~bag
    sac, behind = np.zeros(len(body), bool), np.zeros(len(body), bool)
    for side in range(2):
        sac |= _inside(body, eyes[_SAC][side], eyes[_SAC + 1][side][:1])
        behind |= _inside(body, eyes[-1][side], _next_loop(neighbours, eyes[-2][side], eyes[-1][side]))

    centre = position[body].mean(1)
    x, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    ears = ear_weight[body].mean(1) > _EAR
    # Down to the collar bones, and as far to the sides as a picture of a head shows.
    kept = (y > -162 + 0.7 * np.maximum(x - 40, 0)) & (x < 92) & ~behind
    # Below the jaw the neck begins; the line climbs towards the nape.
    neck = y < np.where(z > -15, -112 - 0.30 * (z - 10), np.maximum(-104.5 + 0.40 * (-15 - z), -105))
    # The front of the head up to the hairline and back to the ears.
    front = (z > -78) & (z > -66 + 1.15 * (y - 16)) & ~ears
    front &= z > -78 + 0.55 * np.maximum(-55 - y, 0)
    inside = bag | lips | sac
    parts = np.full(len(body), PART_NAMES.index("head"), np.uint8)
    parts[front & ~inside] = PART_NAMES.index("face")
    parts[neck & ~inside] = PART_NAMES.index("neck")
    parts[bag] = PART_NAMES.index("mouth")
    parts[lips] = PART_NAMES.index("lips")
    parts[sac] = PART_NAMES.index("socket")
    deep = _inside(body, loops[-1], _next_loop(neighbours, loops[-2], loops[-1]))
    dense = ((front & ~neck) | lips | sac | (bag & ~deep)) & kept
    dense |= neck & (z > -60) & (y > -140) & kept & ~bag
    return HeadRegions(
        body[kept], uv_body[kept], parts[kept], dense[kept], tuple(loops), _VERMILION, _CONTACT, tuple(eyes), _MARGIN,
        mirror,
    )


class _Neighbours:
    """Edges and quads around each vertex."""

    def __init__(self, quads, count: int):
        self._quads = quads.tolist()
        self._around: dict[int, list[int]] = {}
        for q, corners in enumerate(self._quads):
            for v in corners:
                self._around.setdefault(v, []).append(q)

    def quads(self, vertex: int) -> list[int]:
        return self._around.get(int(vertex), [])

    def of(self, vertex: int) -> list[int]:
        found = set()
        for q in self.quads(vertex):
            corners = self._quads[q]
            k = corners.index(vertex)
            found |= {corners[k - 1], corners[(k + 1) % 4]}
        return sorted(found)

    def across(self, came_from: int, vertex: int) -> int | None:
        """The edge opposite to the one just walked, at a vertex of four quads."""
        around = self.quads(vertex)
        if len(around) != 4:
            return None
        beside = {v for q in around if came_from in self._quads[q] for v in self._quads[q]}
        ahead = [v for v in self.of(vertex) if v not in beside]
        return ahead[0] if len(ahead) == 1 else None


def edge_loop(neighbours, start: int, second: int, limit: int = 400) -> list[int]:
    """Walk straight over quads from `start` through `second` back to `start`; empty if the walk does not close."""
    path = [int(start), int(second)]
    while len(path) < limit:
        ahead = neighbours.across(path[-2], path[-1])
        if ahead is None:
            return []
        if ahead == start:
            return path
        path.append(ahead)
    return []


def _inside(quads, loop, seeds) -> np.ndarray:
    """(Q,) bool: quads reached from the vertices `seeds` without stepping over the closed `loop`."""
    wall = np.zeros(quads.max() + 1, bool)
    wall[loop] = True
    reached = np.zeros(len(wall), bool)
    reached[seeds] = True
    while True:
        grown = reached.copy()
        grown[quads[reached[quads].any(1)]] = True
        grown[wall] = False
        if (grown == reached).all():
            break
        reached = grown
    return reached[quads].any(1)


def _next_loop(neighbours, outer, loop) -> np.ndarray:
    """One vertex beside `loop` on the side away from `outer`."""
    ahead = neighbours.across(int(outer[0]), int(loop[0]))
    if ahead is None:
        raise ValueError("base: the loops do not follow one another")
    return np.array([ahead])


def _mirror(position, body) -> np.ndarray:
    """The vertex at the mirrored place, for those of the body; others are their own."""
    from scipy.spatial import cKDTree

    used = np.unique(body)
    distance, found = cKDTree(position[used]).query(position[used] * [-1, 1, 1])
    mirror = np.arange(len(position), dtype=np.int32)
    # The body is symmetric to a hundredth of a millimetre where the head is.
    head = (position[used, 1] > -190) & (np.abs(position[used, 0]) < 110)
    if distance[head].max() > 0.2:
        raise ValueError(f"base: expected a symmetric head, got {distance[head].max():.2f} mm of asymmetry")
    mirror[used] = used[found]
    return mirror
