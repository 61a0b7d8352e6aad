"""A blendshape model of one affect, from which new expressions of it are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.model.component_weights import LOWEST, component_weights
from affect3d.progress import Progress, silent

__all__ = ["ClassBlendshapes", "class_blendshapes", "gallery_blendshapes"]

#: A pair of equal frames is mixed as a + t (b - a); with t uniform between these the mean of t (1 - t) is zero.
_LEAST, _MOST = (1 - np.sqrt(3)) / 2, (1 + np.sqrt(3)) / 2


@dataclass(frozen=True, eq=False)
class ClassBlendshapes:
    """Components, and the weights with which the frames of one class were made.

    New expressions are frames mixed in pairs, ``a + t (b - a)``.  Both are drawn from the same group of frames that are
    much alike, so that two ways to show one affect (fear and anger share a place on the valence-arousal plane) are not
    averaged into a face that nobody makes; and t is uniform in [-0.366, 1.366], for which mean and covariance of the
    class are kept exactly, as t (1 - t) is zero in the mean and groups are drawn by their size.  What leaves the box
    is put back on its side, which moves the moments a little.  A normal distribution would keep them too, but not the
    box, nor the many weights that are exactly zero; a copula keeps both but averages what is not alike.

    Attributes
    ----------
    components : (K, V, d) float64
        Displacements at weight 1.
    weights : (F, K) float32
        Of the frames of the class.
    constraint : {"unit", "signed"}
        Weights in [0, 1] or [-1, 1].
    group : int
        Frames that count as alike: groups have between this and twice as many, where there are that many.
    """

    components: np.ndarray
    weights: np.ndarray
    constraint: str
    group: int = 8

    def __post_init__(self):
        components = frozen_array(self.components, np.float64, "components", (None, None, None))
        weights = frozen_array(self.weights, np.float32, "weights", (None, len(components)))
        require_finite(components, "components")
        require_finite(weights, "weights")
        if self.constraint not in LOWEST:
            raise ValueError(f"constraint: expected one of {sorted(LOWEST)}, got {self.constraint!r}")
        if not len(weights):
            raise ValueError("weights: expected those of at least one frame, got none")
        low = LOWEST[self.constraint]
        if weights.size and not low <= weights.min() <= weights.max() <= 1:
            raise ValueError(f"weights: expected numbers in [{low:g}, 1], got {weights.min():g} to {weights.max():g}")
        if isinstance(self.group, bool) or int(self.group) != self.group or self.group < 2:
            raise ValueError(f"group: expected a whole number of at least 2, got {self.group}")
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "weights", weights)

    @cached_property
    def mean(self) -> np.ndarray:
        """(K,) float64 mean weights: the paper's expression of the class."""
        return self.weights.mean(0, dtype=np.float64)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, K) float64 weights of new expressions of the class, in the box.

        The same state of `rng` gives the same bytes.

        Raises
        ------
        ValueError
            If `count` is negative, or the class has one frame only.
        """
        if isinstance(count, bool) or int(count) != count or count < 0:
            raise ValueError(f"count: expected a whole number of at least 0, got {count}")
        if len(self.weights) < 2:
            raise ValueError("weights: new expressions need at least two frames, got 1; use the mean")
        order, first, size = self._groups
        one = rng.integers(0, len(order), count)  # a place in `order`: every frame is as likely
        begin, many = first[one], size[one]
        other = begin + (one - begin + 1 + np.floor(rng.random(count) * (many - 1)).astype(np.int64)) % many
        t = rng.uniform(_LEAST, _MOST, count)[:, None]
        a, b = self.weights[order[one]].astype(np.float64), self.weights[order[other]]
        return np.clip(a + t * (b - a), LOWEST[self.constraint], 1)

    def displacements(self, weights) -> np.ndarray:
        """(N, V, d) displacements from the neutral face of weights (N, K), or (V, d) of (K,)."""
        weights = np.asarray(weights, float)
        if weights.ndim not in (1, 2) or weights.shape[-1] != len(self.components):
            raise ValueError(f"weights: expected shape (N, {len(self.components)}), got {weights.shape}")
        return np.tensordot(weights, self.components, 1)

    @cached_property
    def _groups(self):
        """Frames ordered by group, and for each place in that order where its group begins and how large it is."""
        weights = self.weights.astype(np.float64)
        order, cuts = np.arange(len(weights)), [(0, len(weights))]
        found = []
        while cuts:
            begin, end = cuts.pop()
            if end - begin < 2 * self.group:
                found.append((begin, end))
                continue
            rows = order[begin:end]
            along = weights[rows] - weights[rows].mean(0)
            order[begin:end] = rows[np.argsort(along @ _widest(along), kind="stable")]
            middle = (begin + end) // 2
            cuts += [(begin, middle), (middle, end)]
        first, size = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
        for begin, end in found:
            first[begin:end], size[begin:end] = begin, end - begin
        return order, first, size


def class_blendshapes(
    frames, components, constraint: str = "unit", rest=None, neutral=None, group: int = 8, **how
) -> ClassBlendshapes:
    """The blendshape model of the class that `frames` belong to.

    Parameters
    ----------
    frames, rest, neutral
        As in `sparse_localized_components`: the displacements of all frames of one class.
    components : (K, V, d) float array
        Learned from these frames or from all; `constraint` is theirs.
    group : int
        See `ClassBlendshapes`.
    **how
        As in `component_weights`.

    Raises
    ------
    ValueError
        As `component_weights`.
    """
    weights = component_weights(frames, components, constraint, rest, neutral, **how)
    return ClassBlendshapes(components, weights, constraint, group)


def gallery_blendshapes(
    gallery, components, constraint: str = "unit", classes=None, most: int = 2000, least: int = 16, group: int = 8,
    progress: Progress = silent, **how,
) -> dict[int, ClassBlendshapes]:  # fmt: skip
    """The blendshape model of each valence-arousal class of a gallery.

    Parameters
    ----------
    gallery
        What `affect3d.affect.store.open_gallery` gives.
    components : (K, V, 3) float array
        Shared by all classes, learned under `constraint`.
    classes : sequence of int, optional
        Which; by default all 100.
    most : int
        Of a class with more frames so many are used, evenly spaced.
    least : int
        A class with fewer frames has no model, and is not in the answer.
    group : int
        See `ClassBlendshapes`.
    progress : callable
    **how
        As in `component_weights`.

    Returns
    -------
    dict
        From class to model.

    Raises
    ------
    ValueError
        If a class is none of the gallery's, or `most` is less than `least`.
    """
    if not 1 <= least <= most:
        raise ValueError(f"least, most: expected 1 <= least <= most, got {least} and {most}")
    components = frozen_array(components, np.float64, "components", (None, None, None))
    classes = range(100) if classes is None else [int(c) for c in classes]
    models = {}
    for place, number in enumerate(classes):
        rows = gallery.select(classes=number)
        if len(rows) >= least:
            rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
            models[number] = class_blendshapes(gallery.frames(rows), components, constraint, group=group, **how)
        progress(place + 1, len(classes), "class blendshapes")
    return models


def _widest(rows) -> np.ndarray:
    """(K,) direction in which `rows` differ most, roughly; its sign is settled."""
    direction = rows[np.einsum("ij,ij->i", rows, rows).argmax()]
    for _ in range(8):
        length = np.linalg.norm(direction)
        if length == 0:
            return np.zeros(rows.shape[1])
        direction = rows.T @ (rows @ (direction / length))
    return direction * (1 if direction[np.abs(direction).argmax()] > 0 else -1)
