"""Laws of rotations, and two twins: the matrix exponential as a series, and OpenCV."""

import numpy as np
import pytest

from affect3d.geometry.rotation import rotation_exp, skew

ANGLES = [0.0, 1e-300, 1e-12, 0.9e-8, 1.1e-8, 1e-6, 1e-3, 0.5, 2.0, np.pi - 1e-7, np.pi, 5.0]


def vector(angle, seed=0):
    direction = np.random.default_rng(seed).normal(size=3)
    return angle * direction / np.linalg.norm(direction)


def exponential_series(matrix):
    """The definition of the matrix exponential, term by term."""
    total = term = np.eye(3)
    for n in range(1, 60):
        term = term @ matrix / n
        total = total + term
    return total


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,)])
def test_skew_turns_the_cross_product_into_a_matrix_for_any_batch(shape):
    a, b = np.random.default_rng(1).normal(size=(2, *shape, 3))
    np.testing.assert_allclose((skew(a) @ b[..., None])[..., 0], np.cross(a, b), atol=1e-15)
    np.testing.assert_array_equal(skew(a), -np.swapaxes(skew(a), -1, -2))


@pytest.mark.parametrize("angle", ANGLES)
def test_the_exponential_is_a_proper_rotation(angle):
    R = rotation_exp(vector(angle))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(R) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_exponential_agrees_with_its_series(angle):
    v = vector(angle, 2)
    np.testing.assert_allclose(rotation_exp(v), exponential_series(skew(v)), atol=2e-14)


@pytest.mark.parametrize("angle", [1e-6, 0.3, 3.0])
def test_the_exponential_agrees_with_opencv(angle):
    cv2 = pytest.importorskip("cv2")
    v = vector(angle, 3)
    np.testing.assert_allclose(rotation_exp(v), cv2.Rodrigues(v)[0], atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y():
    np.testing.assert_allclose(rotation_exp([0, 0, np.pi / 2]) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_axis_stays_and_the_trace_tells_the_angle(angle):
    v = vector(angle, 4)
    R = rotation_exp(v)
    np.testing.assert_allclose(R @ v, v, atol=1e-14 * max(1, angle))
    assert np.trace(R) == pytest.approx(1 + 2 * np.cos(angle), abs=1e-14)


def test_turns_about_one_axis_add_and_the_opposite_turn_undoes():
    a = vector(1.0, 5)
    np.testing.assert_allclose(rotation_exp(0.3 * a) @ rotation_exp(0.9 * a), rotation_exp(1.2 * a), atol=1e-14)
    np.testing.assert_allclose(rotation_exp(a) @ rotation_exp(-a), np.eye(3), atol=1e-14)


def test_the_derivative_at_zero_is_skew():
    step = 1e-6
    for axis in np.eye(3):
        slope = (rotation_exp(step * axis) - rotation_exp(-step * axis)) / (2 * step)
        np.testing.assert_allclose(slope, skew(axis), atol=1e-10)


def test_the_switch_to_the_short_series_makes_no_step():
    axis = vector(1.0, 6)
    below, above = rotation_exp(0.999999e-8 * axis), rotation_exp(1.000001e-8 * axis)
    np.testing.assert_allclose(above - below, 2e-14 * skew(axis), atol=3e-16)


def test_the_callers_vector_is_left_alone():
    v = np.array([0.1, 0.2, 0.3])
    rotation_exp(v), skew(v)
    np.testing.assert_array_equal(v, [0.1, 0.2, 0.3])
