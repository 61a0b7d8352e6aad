"""Poisson blending against a sparse direct solve, the laws it obeys and its error sentences."""

import doctest

import cv2
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import splu

from affect3d.render import poisson
from affect3d.render.poisson import BlendResult, PoissonSolver, poisson_blend


def smooth_image(rng, height, width, sigma=2.0):
    image = gaussian_filter(rng.standard_normal((height, width, 3)), (sigma, sigma, 0))
    return 128 + image / (image.std() + 1e-9) * 40


def disc(n):
    y, x = np.mgrid[:n, :n]
    return (x - n / 2) ** 2 + (y - n / 2) ** 2 < (0.45 * n) ** 2


def ragged(n, seed=0, sigma=2.0):
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((n, n)), sigma)
    return noise > 0


def with_holes(n, share=0.05):
    return disc(n) & (np.random.default_rng(1).random((n, n)) > share)


def with_walls(n):
    mask = disc(n)
    mask[n // 2 + 1] = False
    mask[:, ::9] = False
    return mask


def thin_lines(n):
    mask = np.zeros((n, n), bool)
    mask[n // 2, 2:-2] = mask[2:-2, n // 3] = True
    mask[np.arange(n), np.arange(n)] = True
    return mask


def at_border(n):
    mask = np.zeros((n, n), bool)
    mask[: 2 * n // 3, n // 4 :] = True
    return mask


def all_but_one(n):
    mask = np.ones((n, n), bool)
    mask[n // 3, n // 5] = False
    return mask


def spiral(n):
    """One corridor, three pixels wide: the slowest road for anything that only looks at neighbours."""
    mask = np.ones((n, n), bool)
    low, high = 3, n - 4
    while high - low > 8:
        mask[low, low - 3 : high + 1] = mask[low : high + 1, high] = mask[high, low : high + 1] = False
        mask[low + 4 : high + 1, low] = False
        low, high = low + 4, high - 4
    return mask


SHAPES = [disc, ragged, with_holes, with_walls, thin_lines, at_border, all_but_one, spiral]


def residual_of(image, source, mask, gradients=None, screening=None):
    """Largest violation of the discrete equation, written down again from its definition, in float64."""
    u, s = np.asarray(image, np.float64), np.asarray(source, np.float64)
    gx, gy = gradients if gradients is not None else (None, None)
    left = np.zeros_like(u)
    for axis, g in ((1, gx), (0, gy)):
        want = np.diff(s, axis=axis) if g is None else np.asarray(g, np.float64)
        want = want[:, : u.shape[1] - 1] if axis == 1 else want[: u.shape[0] - 1]
        gap = np.diff(u, axis=axis) - want
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        left[tuple(first)] -= gap
        left[tuple(second)] += gap
    if screening is not None:
        left += screening[..., None] * (u - s)
    return abs(left[mask]).max() if mask.any() else 0.0


def direct_solve(source, photo, mask, gradients=None, screening=None):
    """The slow twin: pixel by pixel into a sparse matrix, then LU."""
    height, width = mask.shape
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    rows, cols, values = [], [], []
    b = np.zeros((mask.sum(), 3))
    for i, j in np.argwhere(mask):
        p, diagonal = number[i, j], 0.0
        for di, dj in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            k, l = i + di, j + dj
            if not (0 <= k < height and 0 <= l < width):
                continue
            diagonal += 1
            if gradients is None:
                b[p] += source[i, j] - source[k, l]
            else:
                g = gradients[0] if dj else gradients[1]
                b[p] += -g[i, j] if di + dj > 0 else g[k, l]
            if mask[k, l]:
                rows.append(p), cols.append(number[k, l]), values.append(-1.0)
            else:
                b[p] += photo[k, l]
        if screening is not None:
            diagonal += float(screening[i, j])
            b[p] += screening[i, j] * source[i, j]
        rows.append(p), cols.append(p), values.append(diagonal)
    matrix = sp.csc_matrix((values, (rows, cols)))
    out = np.array(photo, np.float64)
    out[mask] = splu(matrix).solve(b)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [21, 64])
def test_it_agrees_with_a_sparse_direct_solve(shape, n):
    rng = np.random.default_rng(n)
    mask, source, photo = shape(n), smooth_image(rng, n, n), smooth_image(rng, n, n, 1.0)
    source, photo = source.astype(np.float32), photo.astype(np.float32)
    result = poisson_blend(source, photo, mask, tolerance=0.001)
    assert result.converged
    np.testing.assert_allclose(result.image, direct_solve(source, photo, mask), atol=0.02)


def test_it_agrees_with_a_direct_solve_on_random_masks_of_random_sizes():
    rng = np.random.default_rng(5)
    for _ in range(60):
        height, width = rng.integers(1, 24, 2)
        mask = rng.random((height, width)) < rng.random()
        if not mask.any() or mask.all():
            continue
        source, photo = rng.uniform(0, 255, (2, height, width, 3)).astype(np.float32)
        result = poisson_blend(source, photo, mask, tolerance=0.001)
        assert result.converged, (height, width)
        np.testing.assert_allclose(result.image, direct_solve(source, photo, mask), atol=0.02)


def test_given_gradients_and_screening_agree_with_a_direct_solve():
    rng = np.random.default_rng(6)
    for n, screened in ((20, False), (33, True), (40, True)):
        mask = ragged(n, n) | at_border(n)
        source, photo = smooth_image(rng, n, n).astype(np.float32), smooth_image(rng, n, n).astype(np.float32)
        gradients = rng.normal(0, 8, (2, n, n, 3)).astype(np.float32)
        weight = rng.uniform(0, 0.5, (n, n)).astype(np.float32) if screened else None
        result = poisson_blend(source, photo, mask, 0.001, tuple(gradients), weight)
        expected = direct_solve(source, photo, mask, gradients, weight)
        assert result.converged
        np.testing.assert_allclose(result.image, expected, atol=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_residual_measured_independently_is_below_a_hundredth_of_a_grey_level(shape):
    rng = np.random.default_rng(7)
    n = 301
    mask = shape(n)
    source = np.clip(smooth_image(rng, n, n, 4), 0, 255).astype(np.uint8)
    photo = rng.integers(0, 256, (n, n, 3), dtype=np.uint8)
    result = poisson_blend(source, photo, mask)
    measured = residual_of(result.image, source, mask)
    assert result.converged and result.iterations <= 10
    assert measured < 0.01
    assert abs(measured - result.residual) < 5e-4  # what the result says of itself is true


def test_the_number_of_cycles_does_not_grow_with_the_picture():
    rng = np.random.default_rng(8)
    for shape in (disc, spiral, with_walls, all_but_one):
        cycles = []
        for n in (50, 100, 200, 400):
            result = poisson_blend(smooth_image(rng, n, n), rng.uniform(0, 255, (n, n, 3)), shape(n))
            assert result.converged
            cycles.append(result.iterations)
        assert max(cycles) <= 7, (shape.__name__, cycles)


def test_free_borders_of_the_picture_cost_no_extra_cycles():
    # On the coarse grids the correction has to run on past the picture's border; were it 0 there, this took nine.
    rng = np.random.default_rng(8)
    mask = np.ones((256, 256), bool)
    mask[128, 128] = False
    source, photo = rng.uniform(0, 255, (2, 256, 256, 3))
    assert poisson_blend(source, photo, mask).iterations <= 7


def test_the_docstring_example_holds():
    assert doctest.testmod(poisson).failed == 0
    assert doctest.testmod(poisson).attempted >= 5


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_outside_the_mask_are_the_photo_bit_for_bit(shape):
    rng = np.random.default_rng(9)
    n = 40
    mask, photo = shape(n), rng.integers(0, 256, (n, n, 3), dtype=np.uint8)
    image = poisson_blend(smooth_image(rng, n, n), photo, mask).image
    assert image.dtype == np.float32
    assert np.array_equal(image[~mask], photo[~mask])
    assert not np.array_equal(image[mask], photo[mask])


def test_a_source_that_differs_by_a_constant_gives_back_the_photo():
    rng = np.random.default_rng(10)
    photo = smooth_image(rng, 70, 70)
    for shape in SHAPES:
        image = poisson_blend(photo + np.array([30.0, -12.0, 5.0]), photo, shape(70), 0.0005).image
        np.testing.assert_allclose(image, photo, atol=0.25 if shape is all_but_one else 0.02)


def test_a_constant_added_to_the_source_changes_nothing():
    rng = np.random.default_rng(11)
    source, photo, mask = smooth_image(rng, 70, 70), smooth_image(rng, 70, 70), with_holes(70)
    a, b = (poisson_blend(source + offset, photo, mask, 0.0005).image for offset in (0, 40))
    np.testing.assert_allclose(a, b, atol=0.01)


def test_linear_functions_are_reproduced_from_their_boundary():
    y, x = np.mgrid[:60, :60]
    photo = np.stack([2.0 * x + y, 100 - x, 0.5 * y], axis=-1)
    mask = ragged(60, 3) & disc(60)
    image = poisson_blend(np.zeros_like(photo), photo, mask, 0.0005).image
    np.testing.assert_allclose(image, photo, atol=0.01)


def test_the_correction_obeys_the_maximum_principle():
    rng = np.random.default_rng(12)
    source, photo, mask = smooth_image(rng, 90, 90), smooth_image(rng, 90, 90), with_walls(90)
    correction = poisson_blend(source, photo, mask, 0.0005).image - source
    difference = photo - source
    assert correction[mask].max() <= difference[~mask].max() + 0.01
    assert correction[mask].min() >= difference[~mask].min() - 0.01


def test_blending_is_linear_in_source_and_photo_together():
    rng = np.random.default_rng(13)
    mask = ragged(50)
    s, t, p, q = (smooth_image(rng, 50, 50) for _ in range(4))
    whole = poisson_blend(0.5 * (s + t), 0.5 * (p + q), mask, 0.0005).image
    parts = 0.5 * (poisson_blend(s, p, mask, 0.0005).image + poisson_blend(t, q, mask, 0.0005).image)
    np.testing.assert_allclose(whole, parts, atol=0.02)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turning_the_picture_turns_the_result(turn):
    rng = np.random.default_rng(14)
    source, photo, mask = smooth_image(rng, 41, 58), smooth_image(rng, 41, 58), np.zeros((41, 58), bool)
    mask[:30, 11:] = rng.random((30, 47)) < 0.9
    turned = poisson_blend(np.rot90(source, turn), np.rot90(photo, turn), np.rot90(mask, turn), 0.0005).image
    np.testing.assert_allclose(turned, np.rot90(poisson_blend(source, photo, mask, 0.0005).image, turn), atol=0.02)


def test_nothing_flows_through_the_border_of_the_picture():
    # A mirrored picture of twice the width has the same solution when no flux crosses the mirror.
    rng = np.random.default_rng(15)
    source, photo = smooth_image(rng, 40, 37), smooth_image(rng, 40, 37)
    mask = np.zeros((40, 37), bool)
    mask[5:33, :30] = True
    half = poisson_blend(source, photo, mask, 0.0005).image
    double = poisson_blend(*(np.concatenate([a[:, ::-1], a], axis=1) for a in (source, photo, mask)), 0.0005).image
    np.testing.assert_allclose(double[:, 37:], half, atol=0.02)


def test_an_empty_mask_returns_the_photo():
    photo = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    result = poisson_blend(photo[::-1], photo, np.zeros((4, 4), bool))
    assert np.array_equal(result.image, photo) and result.converged and result.iterations == 0
    assert not np.shares_memory(result.image, photo)


def test_a_mask_over_the_whole_picture_returns_the_source():
    rng = np.random.default_rng(16)
    source = rng.integers(0, 256, (31, 44, 3), dtype=np.uint8)
    result = poisson_blend(source, source[::-1], np.ones((31, 44), bool))
    assert result.converged
    np.testing.assert_allclose(result.image, source, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 52), (128, 128)])
def test_gradients_of_a_function_give_it_back_over_the_whole_picture_with_the_mean_of_the_source(size):
    rng = np.random.default_rng(17)
    wanted, source = smooth_image(rng, *size), smooth_image(rng, *size)
    gx, gy = np.zeros_like(wanted), np.zeros_like(wanted)
    gx[:, :-1], gy[:-1] = np.diff(wanted, axis=1), np.diff(wanted, axis=0)
    result = poisson_blend(source, source, np.ones(size, bool), 0.0005, (gx, gy))
    np.testing.assert_allclose(result.image.mean(axis=(0, 1)), source.mean(axis=(0, 1)), atol=1e-3)
    np.testing.assert_allclose(result.image, wanted - wanted.mean((0, 1)) + source.mean((0, 1)), atol=0.1)


@pytest.mark.parametrize("strength", [1e-12, 1e-7, 1e-5, 1e-2, 10.0])
def test_screening_fixes_the_constant_over_the_whole_picture(strength):
    rng = np.random.default_rng(18)
    source = smooth_image(rng, 40, 33).astype(np.float32)
    gradients = tuple(rng.normal(0, 5, (2, 40, 33, 3)).astype(np.float32))
    weight = (strength * rng.uniform(0.2, 1, (40, 33))).astype(np.float32)
    mask = np.ones((40, 33), bool)
    result = poisson_blend(source, source, mask, 0.001, gradients, weight)
    assert result.converged
    expected = direct_solve(source.astype(np.float64), source, mask, gradients, weight)
    np.testing.assert_allclose(result.image, expected, atol=0.1)


def test_strong_screening_returns_the_source():
    rng = np.random.default_rng(19)
    source, photo = smooth_image(rng, 30, 30), smooth_image(rng, 30, 30)
    mask = disc(30)
    image = poisson_blend(source, photo, mask, screening=np.full((30, 30), 1e6)).image
    np.testing.assert_allclose(image[mask], source[mask], atol=0.01)


def test_a_single_pixel_is_the_mean_of_its_neighbours_plus_the_gradient():
    photo = np.zeros((3, 3, 3))
    photo[0, 1], photo[1, 0], photo[1, 2], photo[2, 1] = 10, 20, 30, 60
    source = np.zeros((3, 3, 3))
    source[1, 1] = 7
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    np.testing.assert_allclose(poisson_blend(source, photo, mask).image[1, 1], 30 + 7, atol=1e-4)


def test_same_input_gives_the_same_bytes_with_one_thread_or_several(monkeypatch):
    rng = np.random.default_rng(20)
    source, photo, mask = smooth_image(rng, 200, 210), smooth_image(rng, 200, 210), np.ones((200, 210), bool)
    mask[::50] = False
    assert mask.size > poisson._THREADED
    first = poisson_blend(source, photo, mask).image.tobytes()
    monkeypatch.setattr(poisson.os, "cpu_count", lambda: 4)
    assert poisson_blend(source, photo, mask).image.tobytes() == first
    monkeypatch.setattr(poisson.os, "cpu_count", lambda: 1)
    assert poisson_blend(source, photo, mask).image.tobytes() == first


def test_one_solver_serves_many_sources():
    rng = np.random.default_rng(21)
    mask, photo = with_holes(60), smooth_image(rng, 60, 60)
    solver = PoissonSolver(mask)
    for _ in range(3):
        source = smooth_image(rng, 60, 60)
        result = solver.blend(source, photo)
        assert isinstance(result, BlendResult)
        assert np.array_equal(result.image, poisson_blend(source, photo, mask).image)


def test_the_callers_arrays_stay_as_they_are_and_may_be_read_only_or_strided():
    rng = np.random.default_rng(22)
    source, photo = smooth_image(rng, 40, 80).astype(np.float32), smooth_image(rng, 40, 80).astype(np.float32)
    mask = np.repeat(disc(40), 2, axis=1)
    copies = [a.copy() for a in (source, photo, mask)]
    for a in (source, photo, mask):
        a.flags.writeable = False
    strided = poisson_blend(source[:, ::2, ::-1], photo[:, ::2, ::-1], mask[:, ::2])
    dense = poisson_blend(*(np.ascontiguousarray(a) for a in (source[:, ::2], photo[:, ::2], mask[:, ::2])))
    assert np.array_equal(strided.image[..., ::-1], dense.image)
    assert all(np.array_equal(a, b) for a, b in zip((source, photo, mask), copies))


def test_a_byte_image_and_its_float_copy_give_the_same():
    rng = np.random.default_rng(23)
    source, photo = rng.integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    mask = disc(50)
    expected = poisson_blend(source, photo, mask).image
    for dtype in (np.float32, np.float64, np.int64):
        assert np.array_equal(poisson_blend(source.astype(dtype), photo.astype(dtype), mask).image, expected)


def test_opencv_finds_the_same_when_asked_the_same_question():
    # seamlessClone solves in the bounding box of the mask less one pixel, not in the mask, and takes the source's
    # gradients only where the mask, eroded three times, is set.  The same box and gradients are given here.
    rng = np.random.default_rng(24)
    source, photo = (np.clip(smooth_image(rng, 64, 64, 5) * 0.5 + 60, 0, 255).astype(np.uint8) for _ in range(2))
    mask, box, kept = (np.zeros((64, 64), bool) for _ in range(3))
    mask[8:57, 8:57] = box[9:56, 9:56] = kept[11:54, 11:54] = True
    gradients = []
    for axis in (1, 0):
        last = np.zeros((64, 1, 3) if axis == 1 else (1, 64, 3))
        a, b = (np.diff(image.astype(float), axis=axis, append=last) for image in (source, photo))
        gradients.append(np.where(kept[..., None], a, b))
    theirs = cv2.seamlessClone(source, photo, mask.astype(np.uint8) * 255, (32, 32), cv2.NORMAL_CLONE)
    ours = poisson_blend(source, photo, box, gradients=gradients).image
    assert abs(ours - theirs).max() <= 1.01  # it cuts off fractions
    assert abs(photo.astype(float) - theirs).max() > 20


def test_a_tolerance_beyond_float32_is_reported_with_a_remedy():
    rng = np.random.default_rng(25)
    result = poisson_blend(smooth_image(rng, 60, 60), smooth_image(rng, 60, 60), disc(60), tolerance=1e-9)
    assert not result.converged and result.residual > 1e-9
    assert result.iterations < 20  # it notices that nothing is gained any more
    assert "larger tolerance" in result.reason.replace("\n", " ")
    assert np.isfinite(result.image).all() and result.residual < 0.001


GOOD = np.zeros((6, 7, 3))
MASK = np.zeros((6, 7), bool)
MASK[2:4, 2:5] = True


def with_value(value):
    image = GOOD.copy()
    image[3, 3, 1] = value
    return image


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(mask=MASK.astype(np.uint8)), "mask: expected a .* bool array, got uint8"),
        (dict(mask=MASK[None]), "mask: expected"),
        (dict(source=GOOD[:5]), r"source: expected shape \(6, 7, 3\), got \(5, 7, 3\)"),
        (dict(photo=GOOD[..., 0]), r"photo: expected shape \(6, 7, 3\), got \(6, 7\)"),
        (dict(photo=GOOD.astype(complex)), "photo: expected integer or real numbers, got complex"),
        (dict(source=with_value(np.nan)), "source: expected finite numbers"),
        (dict(photo=with_value(np.inf)), "photo: expected finite numbers"),
        (dict(source=GOOD + 3e38, photo=GOOD - 3e38), "source, photo: expected numbers that float32"),
        (dict(tolerance=0), "tolerance: expected a number above 0, got 0"),
        (dict(tolerance=float("nan")), "tolerance: expected"),
        (dict(gradients=GOOD), "gradients: expected a pair"),
        (dict(gradients=(GOOD, GOOD[:2])), r"gradients\[1\]: expected shape"),
        (dict(gradients=(with_value(np.nan), GOOD)), r"gradients\[0\]: expected finite"),
        (dict(screening=np.full((6, 7), -1.0)), r"screening: expected weights in \[0"),
        (dict(screening=np.full((6, 7), np.nan)), "screening: expected finite"),
        (dict(screening=np.ones((7, 6))), "screening: expected shape"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_that_names_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        poisson_blend(**{"source": GOOD, "photo": GOOD, "mask": MASK, **arguments})
