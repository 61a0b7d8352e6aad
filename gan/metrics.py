"""Measures of synthesized pictures and of what is recognized in them; NumPy arrays in, numbers out.

Pictures are (N, H, W, C) uint8 sRGB, as in `FaceImages`, so that every method is measured after the same rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = [
    "PSNRGain", "accuracy", "changed_pixels", "confusion_matrix", "descriptor_distance", "frechet_distance",
    "nearest_is_right", "psnr", "psnr_gain", "ssim", "verification_rate", "verification_threshold",
]  # fmt: skip

#: Largest value of a pixel.
PEAK = 255.0


def psnr(target, image, mask=None) -> float:
    """Peak signal-to-noise ratio, over all numbers of all pictures together.

    Parameters
    ----------
    target, image : (N, H, W, C) uint8
    mask : (N, H, W) bool, optional
        Pixels that count; all if left out.

    Returns
    -------
    float
        Decibels: ``10 log10(255^2 / mean squared difference)``; infinity if there is no difference.

    Raises
    ------
    ValueError
        If shapes differ, pictures are not uint8, or the mask names no pixel.
    """
    return _decibels(_squared_error(target, image, mask))


def changed_pixels(source, target, threshold: int = 0) -> np.ndarray:
    """Where a channel of `target` differs from `source` by more than `threshold` (of 255).

    Returns
    -------
    (N, H, W) bool
    """
    source, target = _pictures(source, "source"), _pictures(target, "target")
    _same_shape(source, target, "target")
    return (np.abs(target.astype(np.int16) - source) > threshold).any(-1)


@dataclass(frozen=True)
class PSNRGain:
    """How much nearer to the true target the synthesized pictures are than the sources.

    Attributes
    ----------
    synthesized, copied : float
        PSNR of the synthesized pictures, and of the sources taken for them, dB, over the changed pixels.
    gain : float
        The difference, dB.
    changed : float
        Share of the pixels that the true target changes, in (0, 1].
    pictures : int
        Pictures with changed pixels.
    better : float
        Share of these for which the synthesized one is nearer.
    """

    synthesized: float
    copied: float
    gain: float
    changed: float
    pictures: int
    better: float


def psnr_gain(source, target, image, threshold: int = 0) -> PSNRGain:
    """PSNR over the pixels in which the true target differs from the source, against copying the source.

    Squared errors are pooled over all changed pixels of all pictures, so that a picture in which nearly nothing
    changes does not count as much as one in which everything does.

    Parameters
    ----------
    source, target, image : (N, H, W, C) uint8
        What a method was given, what is true, and what it made.
    threshold : int
        See `changed_pixels`.

    Raises
    ------
    ValueError
        If no pixel changes or `image` equals `target` there.
    """
    mask = changed_pixels(source, target, threshold)
    if not mask.any():
        raise ValueError("target: expected pictures that differ from their sources, got the sources")
    made, copied = _squared_error(target, image, mask), _squared_error(target, source, mask)
    if made == 0:
        raise ValueError("image: equals target in every changed pixel, so its PSNR is infinite")
    some = np.flatnonzero(mask.any((1, 2)))
    nearer = [
        _squared_error(target[n : n + 1], image[n : n + 1], mask[n : n + 1])
        < _squared_error(target[n : n + 1], source[n : n + 1], mask[n : n + 1])
        for n in some
    ]
    synthesized, base = _decibels(made), _decibels(copied)
    return PSNRGain(synthesized, base, synthesized - base, float(mask.mean()), len(some), float(np.mean(nearer)))


def ssim(target, image) -> np.ndarray:
    """Structural similarity of each picture, mean over channels and over pixels with a whole window.

    Parameters
    ----------
    target, image : (N, H, W, C) uint8
        At least 11 x 11 pixels.

    Returns
    -------
    (N,) float64
        At most 1.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE Transactions on Image Processing 13(4), 2004: Gaussian window of 11 x 11 pixels and deviation 1.5,
    K1 = 0.01, K2 = 0.03.
    """
    a, b = _pictures(target, "target"), _pictures(image, "image")
    _same_shape(a, b, "image")
    if min(a.shape[1:3]) < 11:
        raise ValueError(f"target: expected pictures of at least 11 x 11 pixels, got {a.shape[1:3]}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = _window(a), _window(b)
    variances = _window(a * a) - mean_a**2 + _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variances + c2)
    return similarity.mean((1, 2, 3))


def descriptor_distance(a, b, kind: str = "euclidean") -> np.ndarray:
    """Distance of each row of `a` from the same row of `b`.

    Parameters
    ----------
    a, b : (N, D) float array
        Descriptors of a network.
    kind : {"euclidean", "cosine"}
        Cosine: one minus the cosine of the angle, in [0, 2].

    Returns
    -------
    (N,) float64
    """
    a, b = _rows(a, "a"), _rows(b, "b")
    _same_shape(a, b, "b")
    if kind == "euclidean":
        return np.linalg.norm(a - b, axis=1)
    if kind == "cosine":
        return 1 - (_unit(a, "a") * _unit(b, "b")).sum(1)
    raise ValueError(f"kind: expected euclidean or cosine, got {kind!r}")


def verification_threshold(impostors, false_accepts: float = 0.01) -> float:
    """Distance below which at most a share `false_accepts` of pairs of different people lies.

    Parameters
    ----------
    impostors : (M,) float array
        Distances of pairs of different people.
    false_accepts : float
        In [0, 1).
    """
    distances = np.sort(_row(impostors, "impostors"))
    if not 0 <= false_accepts < 1:
        raise ValueError(f"false_accepts: expected a share in [0, 1), got {false_accepts}")
    return float(distances[int(math.floor(false_accepts * len(distances) + 1e-9))])


def verification_rate(genuine, threshold: float) -> float:
    """Share of the pairs of one person (N,) whose distance lies below `threshold`."""
    return float((_row(genuine, "genuine") < threshold).mean())


def nearest_is_right(descriptors, subject, gallery, gallery_subject) -> float:
    """Share of the rows whose nearest row of the gallery (Euclidean) is of the same person.

    Parameters
    ----------
    descriptors : (N, D) float array
    subject : (N,) int array
    gallery : (M, D) float array
    gallery_subject : (M,) int array
    """
    descriptors, gallery = _rows(descriptors, "descriptors"), _rows(gallery, "gallery")
    subject, known = np.asarray(subject), np.asarray(gallery_subject)
    for value, rows, name in ((subject, descriptors, "subject"), (known, gallery, "gallery_subject")):
        if value.shape != (len(rows),):
            raise ValueError(f"{name}: expected {len(rows)} numbers, got shape {value.shape}")
    # |a - b|^2 without |a|^2, which is the same for the whole row
    distance = (gallery**2).sum(1)[None] - 2 * descriptors @ gallery.T
    return float((known[distance.argmin(1)] == subject).mean())


def frechet_distance(a, b) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets of descriptors.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`` (Heusel et al., "GANs Trained by a Two Time-Scale Update
    Rule", NeurIPS 2017, equation (6)).  It shrinks with the number of rows: compare sets of one size only.

    Parameters
    ----------
    a : (N, D) float array
    b : (M, D) float array
        At least two rows each.
    """
    a, b = _rows(a, "a"), _rows(b, "b")
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"b: expected at least two rows of {a.shape[1]} numbers (and two in a), got {b.shape}")
    cov_a, cov_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2), whose root needs no complex numbers
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return float(max(distance, 0.0))


def confusion_matrix(true, predicted, classes: int) -> np.ndarray:
    """How often class i (row) was taken for class j (column).

    Parameters
    ----------
    true, predicted : (N,) int array
        In [0, classes).
    classes : int

    Returns
    -------
    (classes, classes) int64
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    for name, value in (("true", true), ("predicted", predicted)):
        if value.ndim != 1 or value.shape != true.shape or value.dtype.kind not in "iu":
            raise ValueError(f"{name}: expected {true.shape} whole numbers, got {value.shape} of {value.dtype}")
        if value.size and not (0 <= value.min() and value.max() < classes):
            raise ValueError(f"{name}: expected classes in [0, {classes}), got {value.min()} to {value.max()}")
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (true, predicted), 1)
    return table


def accuracy(true, predicted) -> float:
    """Share of right answers, in [0, 1]."""
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.shape != predicted.shape or true.ndim != 1 or not len(true):
        raise ValueError(f"predicted: expected {true.shape} answers, at least one, got {predicted.shape}")
    return float((true == predicted).mean())


def _window(values: np.ndarray) -> np.ndarray:
    """Gaussian means over 11 x 11 pixels, where the window lies inside."""
    from scipy.ndimage import correlate1d

    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        values = correlate1d(values, weights, axis)
    return values[:, 5:-5, 5:-5]


def _squared_error(target, image, mask) -> float:
    target, image = _pictures(target, "target"), _pictures(image, "image")
    _same_shape(target, image, "image")
    squares = np.square(target.astype(np.int32) - image)
    if mask is None:
        return float(squares.mean())
    mask = np.asarray(mask)
    if mask.shape != target.shape[:3] or mask.dtype != bool or not mask.any():
        raise ValueError(f"mask: expected {target.shape[:3]} bool with a pixel at least, got {mask.shape}")
    return float(squares[mask].mean())


def _decibels(squared_error: float) -> float:
    return math.inf if squared_error == 0 else 10 * math.log10(PEAK**2 / squared_error)


def _pictures(value, name) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 4 or array.dtype != np.uint8 or array.size == 0:
        raise ValueError(f"{name}: expected (N, H, W, C) uint8, got {array.shape} of {array.dtype}")
    return array


def _rows(value, name) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.ndim != 2 or not np.isfinite(array).all() or array.size == 0:
        raise ValueError(f"{name}: expected (N, D) finite numbers, got shape {array.shape}")
    return array


def _row(value, name) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or array.size == 0:
        raise ValueError(f"{name}: expected (N,) finite numbers, at least one, got shape {array.shape}")
    return array


def _unit(rows, name) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if (length == 0).any():
        raise ValueError(f"{name}: a descriptor of zeros has no direction")
    return rows / length


def _same_shape(a, b, name) -> None:
    if a.shape != b.shape:
        raise ValueError(f"{name}: expected shape {a.shape}, got {b.shape}")
