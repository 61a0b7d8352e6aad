"""Nearest points for queries that hardly move from one search to the next.

Iterations of a registration ask for the same vertices again and again, each a little elsewhere.  A search keeps a few
near places of each query and how far the farthest of them was; until a query has moved so far that another place could
be nearer, the nearest of those few is the nearest of all.  The answers are those of a search from scratch.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy.spatial import cKDTree

__all__ = ["Neighbours"]

#: Places kept of each query: more hold longer and cost more to find.
_KEPT = 8
#: Starting threads costs more than searches of fewer queries do.
_THREADED = 4000


class Neighbours:
    """Places (N, D), searched for queries whose rows belong together from call to call.

    Queries of as many rows as once before are taken for those, moved; others begin anew.

    Parameters
    ----------
    places : (N, D) float array
        Finite, N of at least 1.
    """

    def __init__(self, places):
        self._places = np.ascontiguousarray(places, float)
        self._tree = cKDTree(self._places)
        self._seen = {}

    def nearest(self, queries) -> np.ndarray:
        """(V,) index of the place nearest to each query (V, D)."""
        queries = np.ascontiguousarray(queries, float)
        kept = min(_KEPT, len(self._places))
        seen = self._seen.get(len(queries))
        if seen is None:
            anchors = np.full(queries.shape, np.inf)
            seen = anchors, np.zeros((len(queries), kept), np.int64), np.zeros(len(queries))
            self._seen[len(queries)] = seen
        anchors, near, reach = seen
        index = np.empty(len(queries), np.int64)
        moved = np.flatnonzero(_nearest_kept(queries, self._places, anchors, near, reach, index))
        if len(moved):
            workers = 2 if len(moved) > _THREADED else 1
            distance, found = self._tree.query(queries[moved], k=kept, workers=workers)
            found = found.reshape(-1, kept)
            anchors[moved], near[moved] = queries[moved], found
            # with all places kept there is none that could come nearer
            reach[moved] = distance.reshape(-1, kept)[:, -1] if kept < len(self._places) else np.inf
            index[moved] = found[:, 0]
        return index


@numba.njit(cache=True, nogil=True)
def _nearest_kept(queries, places, anchors, near, reach, index):  # pragma: no cover - compiled
    """Fill `index` with the nearest of the places kept; True where another place might be nearer still."""
    count, width = queries.shape
    unsure = np.zeros(count, np.bool_)
    for v in range(count):
        away = 0.0
        for d in range(width):
            away += (queries[v, d] - anchors[v, d]) ** 2
        if not away < np.inf:
            unsure[v] = True
            continue
        best, least = 0, np.inf
        for k in range(near.shape[1]):
            distance = 0.0
            for d in range(width):
                distance += (queries[v, d] - places[near[v, k], d]) ** 2
            if distance < least:
                best, least = near[v, k], distance
        index[v] = best
        # what was not kept was at least `reach` away from where the query was
        unsure[v] = not np.sqrt(least) <= reach[v] - np.sqrt(away)
    return unsure
