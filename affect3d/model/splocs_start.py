"""Where sparse localized components begin: support maps, and a greedy choice of centres and motions."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.geodesic import HeatGeodesics
from affect3d.model.splocs_steps import weight_step

__all__ = ["SupportMaps", "greedy_start", "leading_weights", "warm_start"]


#: The frames that the greedy start looks at take no more memory, if there are more than 64.
_START_BYTES = 256 * 2**20


class SupportMaps:
    """Support maps (V,) in [0, 1] around vertices, 0 near and 1 far; those asked for before are kept."""

    def __init__(self, rest, faces, options, count):
        self._solver, self._known, self._ones = None, {}, np.ones(count)
        if faces is None:
            return
        if rest is None or np.shape(rest) != (count, 3):
            raise ValueError(f"rest: distances along faces need positions of shape ({count}, 3), got {np.shape(rest)}")
        side = float(np.ptp(np.asarray(rest, float), axis=0).max())
        self._near, self._far = options.near * side, options.far * side
        self._solver = HeatGeodesics(rest, faces)

    def __call__(self, vertex) -> np.ndarray:
        if self._solver is None:
            return self._ones
        vertex = int(vertex)
        if vertex not in self._known:
            distance = np.clip(self._solver.distance(vertex), self._near, self._far)
            if len(self._known) * len(distance) > 4e7:  # some 320 MB
                self._known.clear()
            self._known[vertex] = (distance - self._near) / (self._far - self._near)
        return self._known[vertex]


def warm_start(start, count, shape, scale) -> tuple[np.ndarray, np.ndarray]:
    if start is None:
        return np.zeros((0, *shape)), np.zeros(0, np.int64)
    if start.components.shape[1:] != shape:
        raise ValueError(f"start: expected components of shape (K, {shape[0]}, {shape[1]}), "
                         f"got {start.components.shape}")  # fmt: skip
    return start.components[:count] / scale, np.array(start.centres[:count])


def _allowed(weights, low) -> np.ndarray:
    """A column of weights brought into its box, of the sign that loses less, with largest magnitude 1 (or zeros)."""
    if low == 0:
        up, down = np.maximum(weights, 0), np.maximum(-weights, 0)
        weights = up if up @ up >= down @ down else down
    largest = np.abs(weights).max()
    return weights / largest if largest > 0 else weights


def leading_weights(motion, low) -> np.ndarray:
    """(F,) weights of the direction in which one vertex's `motion` (F, d) is greatest."""
    direction = np.linalg.eigh(motion.T @ motion)[1][:, -1]
    direction = direction * (1 if direction[np.abs(direction).argmax()] > 0 else -1)  # a settled sign
    return _allowed(motion @ direction, low)


def greedy_start(source, scale, components, centres, count, seeds, support, low, options):
    """Take the vertex that moves most in what is left, its leading direction, and what follows it nearby."""
    room = max(64, _START_BYTES // (8 * source.shape[1] * source.shape[2]))
    every = -(-source.shape[0] // min(options.initial_frames, room))
    if every > 1:
        source = source.subset(np.arange(0, source.shape[0], every))
    squares = source.moments()[1] / scale**2
    weights = np.zeros((source.shape[0], count))
    known = len(components)
    grown = np.zeros((count, *source.shape[1:]))
    grown[:known] = components
    places = np.zeros(count, np.int64)
    places[:known] = centres
    if known:
        inner = np.tensordot(components, components, ((1, 2), (1, 2)))
        weights[:, :known] = weight_step(weights[:, :known], source.with_components(components) / scale, inner, low)
        products = source.with_weights(weights[:, :known]) / scale
        follow = np.tensordot(weights[:, :known].T @ weights[:, :known], components, 1)
        squares = squares - 2 * np.einsum("kvd,kvd->v", components, products)
        squares += np.einsum("kvd,kvd->v", components, follow)
    for k in range(known, count):
        vertex = seeds[k - known] if k - known < len(seeds) else int(squares.argmax())
        places[k] = vertex
        motion = source.at_vertices([vertex])[:, 0] / scale - weights[:, :k] @ grown[:k, vertex]
        column = leading_weights(motion, low)
        power = float(column @ column)
        if power == 0:
            continue  # nothing is left to explain here; the component starts at zero
        weights[:, k] = column
        left = source.with_weights(column[:, None])[0] / scale - np.tensordot(column @ weights[:, :k], grown[:k], 1)
        share = 1 - support(vertex) if support(vertex).min() < 1 else np.ones(len(left))
        grown[k] = share[:, None] * left / power
        squares = np.maximum(squares - (2 * share - share**2) * (left**2).sum(1) / power, 0)
    return grown, places
