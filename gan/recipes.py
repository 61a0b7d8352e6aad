"""What the recipes of several methods share: checks of settings and faces, labels, identity networks, pictures."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from affect3d.gan.batches import to_images, to_pixels

__all__ = ["applied", "check_batch", "check_settings", "identity_network", "one_target", "shown", "square_size"]

#: Pictures that go through the networks at once.
_AT_ONCE = 128


def check_settings(settings: dict, options: type, given: tuple[str, ...], more: tuple[str, ...] = ()) -> None:
    """Refuse what is no field of the dataclass `options`, or is one of those that are `given`.

    Raises
    ------
    ValueError
        With those that may be set.
    """
    allowed = sorted({f.name for f in fields(options)} - set(given) | set(more))
    for name in settings:
        if name not in allowed:
            raise ValueError(f"settings: expected {', '.join(allowed)}, got {name!r}")


def check_batch(batch: int) -> None:
    """Refuse batches of less than two pictures, which cannot be normalized."""
    if batch < 2:
        raise ValueError(f"batch: expected at least 2 pictures, because networks normalize over them, got {batch}")


def square_size(faces) -> tuple[int, int]:
    """Pixels of a side and channels of a `FaceImages`.

    Raises
    ------
    ValueError
        If its pictures are not square.
    """
    height, width, channels = faces.size
    if height != width:
        raise ValueError(f"faces: expected square pictures, got {height} x {width}")
    return height, channels


def identity_network(faces, weights: str | None, steps: int, seed: int):
    """Light CNN-29 with the published weights in the file `weights`, or a small one trained on `faces`."""
    from affect3d.gan.identity import SMALL_LIGHT_CNN, IdentityTraining, load_light_cnn, train_identity

    if weights:
        return load_light_cnn(weights)
    # pictures of 32 pixels hold nothing more at 64, which costs four times as much
    network = replace(SMALL_LIGHT_CNN, size=min(SMALL_LIGHT_CNN.size, max(32, faces.size[0] // 16 * 16)))
    return train_identity(faces.images, faces.subject, network, IdentityTraining(steps=steps, seed=seed))


def one_target(target: dict[str, float], labels: tuple[str, ...]) -> tuple[str | None, float]:
    """The one label of `target` that is not 0 and its weight; None and 0 where there is none.

    Raises
    ------
    ValueError
        If a label is unknown, a weight is outside [0, 1], or there are two.
    """
    for name, weight in target.items():
        if name not in labels:
            raise ValueError(f"target: expected labels of {', '.join(labels)}, got {name!r}")
        if not 0 <= weight <= 1:
            raise ValueError(f"target: expected weights in [0, 1], got {name}={weight}")
    wanted = [(name, weight) for name, weight in target.items() if weight > 0]
    if len(wanted) > 1:
        raise ValueError(f"target: expected one expression, got {', '.join(name for name, _ in wanted)}")
    return wanted[0] if wanted else (None, 0.0)


def shown(faces, rows: np.ndarray) -> list[str]:
    """Names of the expressions in `rows` of a `FaceImages`.

    Raises
    ------
    ValueError
        If one of them is not labelled.
    """
    if (faces.expression[rows] < 0).any():
        raise ValueError(f"pairs: row {rows[faces.expression[rows] < 0][0]} has no expression label to make a face for")
    return [faces.expression_names[k] for k in faces.expression[rows]]


def applied(method, function, images: np.ndarray, *rows: torch.Tensor) -> np.ndarray:
    """``function(x, *rows)`` for pictures (N, H, W, C) uint8 in parts, without gradients: uint8 again.

    Raises
    ------
    ValueError
        If the pictures are not as large as those of the method.
    """
    o = method.options
    if images.shape[1:] != (o.size, o.size, o.channels):
        raise ValueError(f"images: expected (N, {o.size}, {o.size}, {o.channels}) uint8, got {images.shape}")
    device = next(next(iter(method.networks.values())).parameters()).device
    parts = []
    with torch.no_grad():
        for k in range(0, len(images), _AT_ONCE):
            part = slice(k, k + _AT_ONCE)
            parts.append(to_pixels(function(to_images(images[part]).to(device), *(r[part].to(device) for r in rows))))
    return np.concatenate(parts) if parts else images.copy()
