"""Lighting is recovered from what it lights."""

import numpy as np
import pytest

from affect3d.render.shading import estimate_lighting, harmonics, linear_to_srgb, srgb_to_linear

TRUE = np.array([0.5, 0.1, -0.08, 0.12, 0.03, -0.02, 0.04, 0.05, -0.03])


def sphere(count=4000, seed=0):
    n = np.random.default_rng(seed).normal(size=(count, 3))
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def test_known_lighting_is_recovered_from_the_whole_sphere():
    normals = sphere()
    np.testing.assert_allclose(estimate_lighting(normals, harmonics(normals) @ TRUE, ridge=0), TRUE, atol=1e-9)


def test_a_fifth_of_black_pixels_does_not_move_the_estimate():
    normals = sphere()
    intensity = harmonics(normals) @ TRUE
    intensity += np.random.default_rng(1).normal(0, 0.005, len(intensity))
    intensity[::5] = 0
    np.testing.assert_allclose(estimate_lighting(normals, intensity, ridge=0, iterations=20), TRUE, atol=0.01)


def test_harmonics_are_orthogonal_on_the_sphere():
    basis = harmonics(sphere(400_000, 3))
    gram = basis.T @ basis / len(basis)
    off = gram - np.diag(np.diag(gram))
    assert np.abs(off).max() < 0.01 < np.diag(gram).min()


def test_every_srgb_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(np.rint(linear_to_srgb(srgb_to_linear(values))).astype(int), np.arange(256))
    assert (np.diff(srgb_to_linear(values)) > 0).all()


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="normals"):
        estimate_lighting(sphere(5), np.ones(5))
    with pytest.raises(ValueError, match="pixels"):
        srgb_to_linear(np.zeros((2, 2)))
