"""Measures of pictures and of recognition, against peers and slow twins."""

import numpy as np
import pytest

from affect3d.gan import metrics


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (3, 16, 18, 3), np.uint8)
    target = source.copy()
    target[:, 4:9, 5:12] = rng.integers(0, 256, (3, 5, 7, 3), np.uint8)
    image = np.clip(target + rng.integers(-9, 10, target.shape), 0, 255).astype(np.uint8)
    return source, target, image


def test_psnr_agrees_with_scikit_image(pictures):
    peer = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio
    _, target, image = pictures
    assert metrics.psnr(target, image) == pytest.approx(peer(target, image, data_range=255), abs=1e-9)
    mask = np.zeros(target.shape[:3], bool)
    mask[:, 2:5, 3:9] = True
    masked = peer(target[:, 2:5, 3:9], image[:, 2:5, 3:9], data_range=255)
    assert metrics.psnr(target, image, mask) == pytest.approx(masked, abs=1e-9)
    assert metrics.psnr(target, target) == np.inf


def test_ssim_agrees_with_scikit_image(pictures):
    peer = pytest.importorskip("skimage.metrics").structural_similarity
    _, target, image = pictures
    expected = [
        peer(a, b, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(target, image)
    ]
    np.testing.assert_allclose(metrics.ssim(target, image), expected, atol=1e-10)
    np.testing.assert_allclose(metrics.ssim(target, target), 1, atol=1e-12)
    with pytest.raises(ValueError, match="11 x 11"):
        metrics.ssim(target[:, :10], image[:, :10])


def test_changed_pixels_are_those_that_differ_in_any_channel(pictures):
    source, target, _ = pictures
    twin = np.zeros(source.shape[:3], bool)
    for index in np.ndindex(source.shape):
        if source[index] != target[index]:
            twin[index[:3]] = True
    np.testing.assert_array_equal(metrics.changed_pixels(source, target), twin)
    a, b = np.full((1, 1, 1, 1), 250, np.uint8), np.full((1, 1, 1, 1), 3, np.uint8)
    assert metrics.changed_pixels(a, b, 246).all() and not metrics.changed_pixels(a, b, 247).any()


def test_the_gain_over_copying_counts_changed_pixels_only(pictures):
    source, target, image = pictures
    gain = metrics.psnr_gain(source, target, image)
    mask = metrics.changed_pixels(source, target)
    expected = [10 * np.log10(255**2 / np.mean((target[mask].astype(float) - x[mask]) ** 2)) for x in (image, source)]
    np.testing.assert_allclose([gain.synthesized, gain.copied], expected)
    assert gain.gain == pytest.approx(expected[0] - expected[1]) and gain.gain > 10
    assert (gain.pictures, gain.better) == (3, 1.0) and gain.changed == mask.mean()
    # what lies outside of the changed pixels makes no difference
    other = np.where(mask[..., None], image, 0).astype(np.uint8)
    assert metrics.psnr_gain(source, target, other) == gain
    copied = metrics.psnr_gain(source, target, source)
    assert copied.gain == 0 and copied.better == 0
    with pytest.raises(ValueError, match="got the sources"):
        metrics.psnr_gain(source, source, image)
    with pytest.raises(ValueError, match="infinite"):
        metrics.psnr_gain(source, target, target)


def test_verification_accepts_the_share_of_impostors_it_was_set_to():
    rng = np.random.default_rng(1)
    impostors, genuine = rng.normal(5, 1, 1000), rng.normal(2, 1, 500)
    for share in (0.0, 0.01, 0.1):
        threshold = metrics.verification_threshold(impostors, share)
        assert (impostors < threshold).mean() == pytest.approx(share)
    assert metrics.verification_rate(genuine, np.median(genuine)) == 0.5
    assert metrics.verification_threshold([3.0, 1.0, 2.0], 0) == 1.0
    with pytest.raises(ValueError, match="share in"):
        metrics.verification_threshold(impostors, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        metrics.verification_rate([], 1.0)


def test_distances_of_descriptors():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(metrics.descriptor_distance(a, b), [5, 5**0.5])
    np.testing.assert_allclose(metrics.descriptor_distance(a[1:], b[1:], "cosine"), [1])
    np.testing.assert_allclose(metrics.descriptor_distance(a, -2 * a, "cosine"), [2, 2])
    with pytest.raises(ValueError, match="direction"):
        metrics.descriptor_distance(a, b, "cosine")
    with pytest.raises(ValueError, match="kind"):
        metrics.descriptor_distance(a, b, "manhattan")


def test_the_nearest_in_the_gallery_agrees_with_a_loop():
    rng = np.random.default_rng(2)
    gallery, queries = rng.normal(size=(12, 4)), rng.normal(size=(30, 4))
    known, subject = rng.integers(0, 4, 12), rng.integers(0, 4, 30)
    right = [known[min(range(12), key=lambda m: np.linalg.norm(q - gallery[m]))] == s for q, s in zip(queries, subject)]
    assert 0 < np.mean(right) < 1
    assert metrics.nearest_is_right(queries, subject, gallery, known) == pytest.approx(np.mean(right))
    with pytest.raises(ValueError, match="gallery_subject"):
        metrics.nearest_is_right(queries, subject, gallery, known[:3])


def test_the_frechet_distance_agrees_with_the_matrix_root():
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(50, 4)), rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 1
    ca, cb = np.cov(a.T), np.cov(b.T)
    twin = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * np.real(linalg.sqrtm(ca @ cb)))
    assert metrics.frechet_distance(a, b) == pytest.approx(twin, rel=1e-8)
    assert metrics.frechet_distance(b, a) == pytest.approx(twin, rel=1e-8)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(a, a + [3, 0, 0, 4]) == pytest.approx(25)
    with pytest.raises(ValueError, match="two rows"):
        metrics.frechet_distance(a, b[:1])


def test_confusion_and_accuracy_count():
    true, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 2])
    table = metrics.confusion_matrix(true, predicted, 4)
    np.testing.assert_array_equal(table, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
    assert metrics.accuracy(true, predicted) == pytest.approx(np.trace(table) / table.sum())
    with pytest.raises(ValueError, match=r"\[0, 2\)"):
        metrics.confusion_matrix(true, predicted, 2)
    with pytest.raises(ValueError, match="whole numbers"):
        metrics.confusion_matrix(true, predicted[:3], 4)
    with pytest.raises(ValueError, match="at least one"):
        metrics.accuracy([], [])


@pytest.mark.parametrize("wrong", [np.zeros((1, 2, 2, 3)), np.zeros((2, 2, 3), np.uint8)])
def test_pictures_of_another_type_are_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        metrics.psnr(wrong, wrong)
    with pytest.raises(ValueError, match="expected shape"):
        metrics.psnr(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 3, 3), np.uint8))
