"""From a valence-arousal pair to an expression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from affect3d.affect.statistics import ClassStatistics, default_statistics
from affect3d.affect.vaspace import checked_affect
from affect3d.geometry.arrays import frozen_array

__all__ = ["AffectQuery", "express", "expression_for", "interpolate_expression"]


@dataclass(frozen=True, eq=False)
class AffectQuery:
    """The answer to one valence-arousal pair.

    Attributes
    ----------
    valence, arousal : float
        What was asked.
    expression : (E,) float64
        Coefficients in [0, 1].
    names : tuple of str
        ARKit names of the coefficients.
    class_index : int
        Class that the pair lies in.
    class_valence_arousal : (float, float)
        Median label of that class (its centre if the class is empty), which
        the paper assigns to pictures made from it.
    filled_from : tuple of int
        If the class has too few frames of its own, the classes that it was
        answered from; otherwise empty.
    note : str
        A sentence where `filled_from` is not empty; otherwise "".
    """

    valence: float
    arousal: float
    expression: np.ndarray
    names: tuple[str, ...]
    class_index: int
    class_valence_arousal: tuple[float, float]
    filled_from: tuple[int, ...] = ()
    note: str = ""


def express(statistics: ClassStatistics | None, valence: float, arousal: float) -> AffectQuery:
    """Expression for a valence-arousal pair.

    At a class centre it is the class's mean, as in the paper; between centres
    it is interpolated, see `interpolate_expression`.

    Parameters
    ----------
    statistics : ClassStatistics or None
        None for `default_statistics()`.
    valence, arousal : float in [-1, 1]

    Raises
    ------
    ValueError
        If a value is NaN or outside [-1, 1]; the message names the argument.
    """
    statistics = statistics or default_statistics()
    for name, value in (("valence", valence), ("arousal", arousal)):
        if np.ndim(value):
            raise ValueError(f"{name}: expected one number, got shape {np.shape(value)}")
    k = statistics.space.class_of(valence, arousal)
    sources = statistics.filled.sources.get(k, ())
    note = ""
    if sources:
        listed = ", ".join(map(str, sources))
        frames = int(statistics.count[k])
        note = (
            f"Class {k} has {frames} frame{'' if frames == 1 else 's'}, fewer than {statistics.least}; "
            f"it was answered from its neighbours {listed}."
        )
    return AffectQuery(
        valence=float(valence),
        arousal=float(arousal),
        expression=frozen_array(
            interpolate_expression(statistics, float(valence), float(arousal)), np.float64, "expression", (None,)
        ),
        names=statistics.expression_names,
        class_index=k,
        class_valence_arousal=tuple(map(float, statistics.valence_arousal[k])),
        filled_from=sources,
        note=note,
    )


def interpolate_expression(statistics: ClassStatistics, valence, arousal) -> np.ndarray:
    """Expressions between class centres, continuous with their first derivatives.

    Bicubic Hermite patches whose slopes are limited along both axes (Fritsch
    and Butland), so that the surface passes through the class means, rises
    along the grid lines where they rise, and does not overshoot.  Beyond the
    outermost centres it continues the last difference, within [0, 1], so that
    intensity keeps growing up to the border of the plane.

    Parameters
    ----------
    statistics : ClassStatistics
    valence, arousal : float or float arrays in [-1, 1]
        Broadcast against each other to shape (...).

    Returns
    -------
    (..., E) float64 in [0, 1]

    Raises
    ------
    ValueError
        If a value is NaN or outside [-1, 1].

    References
    ----------
    Fritsch and Butland, "A method for constructing local monotone piecewise
    cubic interpolants", SIAM J. Sci. Stat. Comput. 5, 1984.
    """
    valence, arousal = np.broadcast_arrays(*checked_affect(valence, arousal))
    value, along_v, along_a = _nodes(statistics)
    space = statistics.space
    j, s = _cell(valence, space.columns)
    i, t = _cell(arousal, space.rows)
    # Cubic Hermite weights of value and slope at both ends; the mixed derivative of every node is zero.
    sv, sd = _hermite(s)
    tv, td = _hermite(t)
    result = np.zeros(valence.shape + value.shape[2:])
    for di in (0, 1):
        for dj in (0, 1):
            node = (i + di, j + dj)
            result += (tv[di] * sv[dj])[..., None] * value[node]
            result += (tv[di] * sd[dj])[..., None] * along_v[node]
            result += (td[di] * sv[dj])[..., None] * along_a[node]
    return np.clip(result, 0, 1)


def expression_for(expression_names, query: AffectQuery) -> np.ndarray:
    """The queried expression in the order of a model's own names.

    Parameters
    ----------
    expression_names : sequence of E str
        E.g. `MorphableModel.expression_names`.
    query : AffectQuery or NamedExpression

    Returns
    -------
    (E,) float64
        Zero for names that the query does not know; queried shapes that the
        model lacks are dropped.

    Raises
    ------
    ValueError
        If the model shares no name with the query, so that nothing would move.
    """
    weights = dict(zip(query.names, query.expression))
    names = list(expression_names)
    if not any(name in weights for name in names):
        raise ValueError(
            f"expression_names: expected ARKit names such as {query.names[0]!r}, got {', '.join(map(repr, names[:3]))}"
        )
    return np.array([weights.get(name, 0.0) for name in names])


@lru_cache(maxsize=8)
def _nodes(statistics: ClassStatistics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and limited slopes (per cell) at the class centres and one ring of nodes beyond them."""
    space = statistics.space
    grid = statistics.filled.mean.reshape(space.rows, space.columns, -1)
    for axis in (0, 1):
        grid = _continued(grid, axis)
    return grid, _slopes(grid, 1), _slopes(grid, 0)


def _continued(grid: np.ndarray, axis: int) -> np.ndarray:
    """`grid` with one more node at both ends of `axis`, at the last difference again, within [0, 1]."""
    grid = np.moveaxis(grid, axis, 0)
    second, last_but_one = (grid[1], grid[-2]) if len(grid) > 1 else (grid[0], grid[0])
    first = np.clip(2 * grid[0] - second, 0, 1)
    last = np.clip(2 * grid[-1] - last_but_one, 0, 1)
    return np.moveaxis(np.concatenate([first[None], grid, last[None]]), 0, axis)


def _slopes(grid: np.ndarray, axis: int) -> np.ndarray:
    """Harmonic mean of the differences on both sides of a node, 0 at a local extremum."""
    step = np.diff(np.moveaxis(grid, axis, 0), axis=0)
    before, after = step[:-1], step[1:]
    rising = before * after > 0
    inner = np.where(rising, 2 * before * after / np.where(rising, before + after, 1), 0)
    return np.moveaxis(np.concatenate([step[:1], inner, step[-1:]]), 0, axis)


def _cell(value: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below `value` and the position in [0, 1] above it; node 0 is half a square outside."""
    position = (value + 1) * (count / 2) + 0.5
    index = np.clip(np.floor(position).astype(np.int64), 0, count)
    return index, position - index


def _hermite(x: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Weights of the two end values and of the two end slopes."""
    rise = x * x * (3 - 2 * x)
    return (1 - rise, rise), (x * (1 - x) ** 2, -x * x * (1 - x))
