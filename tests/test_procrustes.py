"""Known transforms are found again, in two and three dimensions, and nothing fits better."""

import numpy as np
import pytest

from affect3d.geometry.procrustes import generalized_procrustes, procrustes


def rotation(rng, dimension):
    q, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    return q if np.linalg.det(q) > 0 else q * ([-1] + [1] * (dimension - 1))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("scale", [True, False])
def test_a_known_motion_is_recovered(dimension, scale):
    rng = np.random.default_rng(dimension)
    points = rng.normal(size=(20, dimension)) * 40
    true, shift, size = rotation(rng, dimension), rng.normal(size=dimension) * 100, 1.7 if scale else 1.0
    found = procrustes(points, size * points @ true.T + shift, scale=scale)
    np.testing.assert_allclose(found.rotation, true, atol=1e-10)
    np.testing.assert_allclose(found.translation, shift, atol=1e-8)
    assert found.scale == pytest.approx(size)
    np.testing.assert_allclose(found.inverse().apply(found.apply(points)), points, atol=1e-9)
    homogeneous = np.column_stack([points, np.ones(20)]) @ found.matrix().T
    np.testing.assert_allclose(homogeneous[:, :dimension], found.apply(points), atol=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_mirror_image_is_reached_only_where_it_is_allowed(dimension):
    rng = np.random.default_rng(9)
    points = rng.normal(size=(15, dimension))
    mirrored = points * ([-1] + [1] * (dimension - 1))
    assert np.linalg.det(procrustes(points, mirrored).rotation) == pytest.approx(1)
    allowed = procrustes(points, mirrored, reflection=True)
    assert np.linalg.det(allowed.rotation) == pytest.approx(-1)
    np.testing.assert_allclose(allowed.apply(points), mirrored, atol=1e-12)


def test_no_transform_nearby_is_better():
    rng = np.random.default_rng(2)
    a, b, w = rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), rng.uniform(0, 2, 30)
    best = procrustes(a, b, w)

    def cost(size, turn, shift):
        return w @ ((size * a @ turn.T + shift - b) ** 2).sum(1)

    least = cost(best.scale, best.rotation, best.translation)
    for _ in range(50):
        small = rng.normal(size=(3, 3)) * 0.02
        q, _ = np.linalg.qr(np.eye(3) + small - small.T)
        q *= np.sign(np.diag(q))
        shift = best.translation + rng.normal(size=3) * 0.02
        other = cost(best.scale * (1 + rng.normal() * 0.02), q @ best.rotation, shift)
        assert other >= least


def test_points_of_weight_zero_do_not_count():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(12, 3))
    b = a @ rotation(rng, 3).T + 5
    b[4] += 1000
    weights = np.ones(12)
    weights[4] = 0
    found = procrustes(a, b, weights)
    keep = np.arange(12) != 4
    np.testing.assert_allclose(found.apply(a)[keep], b[keep], atol=1e-9)


@pytest.mark.parametrize("scale", [True, False])
def test_many_moved_copies_of_one_shape_come_together(scale):
    rng = np.random.default_rng(4)
    shape = rng.normal(size=(25, 3)) * 10
    sizes = rng.uniform(0.5, 2, 7) if scale else np.ones(7)
    moved = [size * shape @ rotation(rng, 3).T + rng.normal(size=3) * 50 for size in sizes]
    result = generalized_procrustes(np.stack(moved), scale=scale)
    assert result.converged
    np.testing.assert_allclose(result.aligned, np.repeat(result.mean[None], 7, 0), atol=1e-6)
    np.testing.assert_allclose(result.mean.mean(0), 0, atol=1e-9)
    for transform, before, after in zip(result.transforms, moved, result.aligned):
        np.testing.assert_allclose(transform.apply(before), after, atol=1e-9)


def test_the_mean_of_noisy_shapes_is_better_than_any_of_them():
    rng = np.random.default_rng(5)
    shape = rng.normal(size=(40, 2)) * 10
    noisy = np.stack([(shape + rng.normal(0, 0.5, shape.shape)) @ rotation(rng, 2).T for _ in range(30)])
    result = generalized_procrustes(noisy, scale=False)
    fit = procrustes(result.mean, shape, scale=False)
    assert np.abs(fit.apply(result.mean) - shape).mean() < 0.15


@pytest.mark.parametrize(
    "a, b, weights, message",
    [
        (np.zeros((4, 3)), np.zeros((5, 3)), None, "shape"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), None, "source"),
        (np.ones((4, 3)), np.eye(4, 3), None, "one place"),
        (np.eye(4, 3), np.eye(4, 3), [1, 1, 0, 0], "at least 3"),
        (np.eye(4, 3), np.eye(4, 3), [1, 1, 1, -1], "weights"),
        (np.arange(12.0).reshape(4, 3), np.arange(12.0).reshape(4, 3), None, "line"),
    ],
)
def test_what_has_no_answer_is_refused(a, b, weights, message):
    with pytest.raises(ValueError, match=message):
        procrustes(a, b, weights)


def test_no_shapes_are_refused_and_unrest_is_reported():
    with pytest.raises(ValueError, match="shapes"):
        generalized_procrustes(np.zeros((0, 4, 2)))
    rng = np.random.default_rng(6)
    result = generalized_procrustes(rng.normal(size=(5, 10, 3)), max_iterations=1, tolerance=1e-16)
    assert not result.converged and "allow more" in result.reason
