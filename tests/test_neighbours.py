"""Nearest places of moving queries: always those that a search from scratch gives."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from affect3d.registration import neighbours
from affect3d.registration.neighbours import Neighbours


@pytest.mark.parametrize("width", [3, 6])
@pytest.mark.parametrize("step", [0.0, 0.01, 0.1, 1.0])
def test_moving_queries_get_what_a_search_from_scratch_gives(width, step):
    rng = np.random.default_rng(width)
    places, queries = rng.normal(size=(3000, width)), rng.normal(size=(500, width))
    search, tree = Neighbours(places), cKDTree(places)
    for _ in range(12):
        np.testing.assert_array_equal(search.nearest(queries), tree.query(queries)[1])
        queries = queries + step * rng.normal(size=queries.shape)


def test_a_query_may_jump_and_come_back():
    rng = np.random.default_rng(1)
    places = rng.normal(size=(2000, 3))
    search, tree = Neighbours(places), cKDTree(places)
    here = rng.normal(size=(300, 3))
    for shift in (0, 0, 50, 1e-3, -4, 0):
        np.testing.assert_array_equal(search.nearest(here + shift), tree.query(here + shift)[1])


def test_searches_of_other_sizes_do_not_disturb_one_another():
    rng = np.random.default_rng(2)
    places = rng.normal(size=(2000, 3))
    search, tree = Neighbours(places), cKDTree(places)
    for _ in range(4):
        for count in (200, 50):
            queries = rng.normal(size=(count, 3))
            np.testing.assert_array_equal(search.nearest(queries), tree.query(queries)[1])


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9])
def test_few_places_are_enough(count):
    rng = np.random.default_rng(3)
    places = rng.normal(size=(count, 3))
    search, tree = Neighbours(places), cKDTree(places)
    for _ in range(3):
        queries = rng.normal(size=(40, 3))
        np.testing.assert_array_equal(search.nearest(queries), tree.query(queries)[1])
    assert search.nearest(np.empty((0, 3))).shape == (0,)


def test_queries_that_hardly_move_are_not_searched_again(monkeypatch):
    asked = []

    class Counted(cKDTree):
        def query(self, x, *args, **options):
            asked.append(len(x))
            return super().query(x, *args, **options)

    monkeypatch.setattr(neighbours, "cKDTree", Counted)
    rng = np.random.default_rng(4)
    queries = rng.normal(size=(1000, 3))
    search = Neighbours(rng.normal(size=(20000, 3)))
    for _ in range(5):
        search.nearest(queries)
        queries = queries + 1e-4 * rng.normal(size=queries.shape)
    assert asked[0] == 1000 and sum(asked[1:]) < 20
