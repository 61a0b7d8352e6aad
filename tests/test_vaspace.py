"""Laws of the valence-arousal plane and its classes."""

import numpy as np
import pytest

from affect3d.affect.vaspace import VASpace

SPACES = [VASpace(), VASpace(columns=7, rows=3), VASpace(columns=1, rows=1)]


@pytest.mark.parametrize("space", SPACES)
def test_the_centre_of_every_class_lies_in_that_class(space):
    for k in range(space.count):
        assert space.class_of(*space.centre(k)) == k
    centres = space.centres()
    np.testing.assert_array_equal(space.class_of(centres[:, 0], centres[:, 1]), np.arange(space.count))


def test_classes_are_numbered_by_valence_within_rows_of_arousal():
    space = VASpace()
    assert space.class_of(-1, -1) == 0
    assert space.class_of(0.95, -0.95) == 9
    assert space.class_of(-0.95, 0.95) == 90
    assert space.class_of(1, 1) == 99
    assert space.class_of(0, 0) == 55
    assert space.centre(0) == pytest.approx((-0.9, -0.9))
    assert space.centre(9) == pytest.approx((0.9, -0.9))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("build", [lambda k: -1 + 0.2 * k, lambda k: 0.2 * (k - 5), lambda k: (k - 5) / 5, lambda k:
                                   sum([0.2] * k, -1.0)])  # fmt: skip
def test_a_square_owns_its_lower_edge_however_the_edge_was_computed(build, dtype):
    space = VASpace()
    for k in range(10):
        edge = dtype(np.clip(build(k), -1, 1))
        assert space.class_of(edge, 0.1) % 10 == k
        assert space.class_of(0.1, edge) // 10 == k


def test_the_last_squares_own_their_upper_edge():
    assert VASpace().class_of(1.0, -1.0) == 9
    assert VASpace().class_of(-1.0, 1.0) == 90


def test_points_next_to_an_edge_lie_on_their_own_side():
    space = VASpace()
    for k in range(1, 10):
        edge = (k - 5) / 5
        assert space.class_of(edge - 1e-5, 0) % 10 == k - 1
        assert space.class_of(edge + 1e-5, 0) % 10 == k


def test_classes_agree_with_a_search_through_all_squares():
    rng = np.random.default_rng(0)
    space = VASpace()
    valence, arousal = rng.uniform(-1, 1, (2, 500))
    for v, a, k in zip(valence, arousal, space.class_of(valence, arousal)):
        distance = np.abs(space.centres() - (v, a)).max(axis=1)
        assert distance.argmin() == k


def test_arrays_broadcast_and_keep_their_shape():
    assert VASpace().class_of(np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)
    assert isinstance(VASpace().class_of(0.5, 0.5), int)


@pytest.mark.parametrize("bad", [1.0001, -1.0001, np.nan, np.inf, [0.0, np.nan], "much"])
def test_values_off_the_plane_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"^valence: expected numbers in \[-1, 1\]"):
        VASpace().class_of(bad, 0)
    with pytest.raises(ValueError, match=r"^arousal: expected numbers in \[-1, 1\]"):
        VASpace().class_of(0, bad)


def test_shapes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="arousal: expected a shape"):
        VASpace().class_of(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize("bad", [-1, 100, [0, 100]])
def test_classes_that_do_not_exist_are_refused(bad):
    with pytest.raises(ValueError, match=r"k: classes must lie in \[0, 100\)"):
        VASpace().centre(bad)


def test_a_class_must_be_a_whole_number():
    with pytest.raises(ValueError, match="k: expected whole numbers"):
        VASpace().centre(3.0)


@pytest.mark.parametrize("options", [{"columns": 0}, {"rows": 2.5}, {"rows": True}])
def test_a_plane_without_squares_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected a whole number"):
        VASpace(**options)


def test_the_histogram_counts_every_pair_once():
    rng = np.random.default_rng(1)
    valence, arousal = rng.uniform(-1, 1, (2, 3000))
    space = VASpace()
    histogram = space.histogram(valence, arousal)
    assert histogram.shape == (100,) and histogram.sum() == 3000
    expected, _, _ = np.histogram2d(arousal, valence, bins=10, range=[[-1, 1], [-1, 1]])
    np.testing.assert_array_equal(histogram.reshape(10, 10), expected)


def test_medians_agree_with_a_loop_and_empty_classes_answer_their_centre():
    rng = np.random.default_rng(2)
    valence, arousal = rng.uniform(-1, 0.3, (2, 400))
    space = VASpace()
    medians = space.medians(valence, arousal)
    index = space.class_of(valence, arousal)
    for k in range(100):
        mine = index == k
        expected = (np.median(valence[mine]), np.median(arousal[mine])) if mine.any() else space.centre(k)
        np.testing.assert_allclose(medians[k], expected)
    assert (np.bincount(index, minlength=100) == 0).any()


@pytest.mark.parametrize("diagonal", [False, True])
def test_neighbours_are_the_classes_whose_squares_touch(diagonal):
    space = VASpace(columns=4, rows=3)
    for k in range(space.count):
        step = np.abs(space.centres() - space.centre(k)) / (2 / 4, 2 / 3)
        touching = step.max(axis=1) if diagonal else step.sum(axis=1)
        assert space.neighbours(k, diagonal) == tuple(np.flatnonzero(np.isclose(touching, 1)))


def test_being_a_neighbour_is_mutual():
    space = VASpace()
    for k in range(space.count):
        assert all(k in space.neighbours(j) for j in space.neighbours(k))
