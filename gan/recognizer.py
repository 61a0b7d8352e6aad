"""A small network that recognizes expressions or people, to judge synthesized pictures by.

It is trained on true pictures of other people than those who are judged, and never sees a synthesized one.  Its last
but one layer describes a face: people it has not seen can be compared by it.  It is no published architecture:
four 3 x 3 convolutions with batch normalization, halved three times, and 128 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affect3d.gan.batches import to_images
from affect3d.gan.determinism import deterministic, seeded, step_seed
from affect3d.progress import Progress, silent

__all__ = ["Recognizer", "RecognizerOptions", "train_recognizer"]


@dataclass(frozen=True)
class RecognizerOptions:
    """How a recognizer is trained.

    Attributes
    ----------
    steps, batch : int
    learning_rate : float
        Adam's, falling to zero along a half cosine.
    shift : int
        Pixels by which training pictures are moved at most, either way.
    light : float
        Deviation of random gains and offsets of brightness, in units of half the range of pixels.
    mirror : bool
        Whether half of the training pictures are mirrored (contempt is one-sided: it stays itself).
    smoothing : float
        Of the labels, in [0, 1).
    seed : int
    threads : int
        Of torch in the training; 0 leaves them as they are.  With one, which is fast enough for networks as small as
        these, what a recognizer says does not hang on how many the caller has.
    judges : int
        How many are trained where several are asked together (`jury.train_jury`); one recognizer has no use for it.
    keep : str
        Folder in which a jury's trained members are kept and looked for (`kept.kept`); none if empty.
    """

    steps: int = 800
    batch: int = 64
    learning_rate: float = 2e-3
    shift: int = 2
    light: float = 0.1
    mirror: bool = True
    smoothing: float = 0.1
    seed: int = 0
    threads: int = 1
    judges: int = 3
    keep: str = ""


class Recognizer(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] to logits (N, classes); `describe` gives (N, 128) of length one."""

    def __init__(self, channels: int, classes: int, width: int = 32):
        super().__init__()
        sizes = (channels, width, 2 * width, 4 * width, 4 * width)
        self.features = nn.Sequential(*(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                          nn.AvgPool2d(2) if k < 3 else nn.AdaptiveAvgPool2d(4))
            for k, (a, b) in enumerate(zip(sizes, sizes[1:]))
        ))  # fmt: skip
        # kept apart by place: where a mouth is open matters
        self.code = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * sizes[-1], 128), nn.BatchNorm1d(128))
        self.classify = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(functional.relu(self.code(self.features(x))))

    def describe(self, x: Tensor) -> Tensor:
        return functional.normalize(self.code(self.features(x)), dim=1)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits (N, classes) float32 of pictures (N, H, W, C) uint8."""
        return self._apply(images, self)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class (N,) int64 of each of the pictures (N, H, W, C) uint8."""
        return self._apply(images, lambda x: self(x).argmax(1))

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """`describe` for pictures (N, H, W, C) uint8: (N, 128) float32."""
        return self._apply(images, self.describe)

    def _apply(self, images, function) -> np.ndarray:
        self.eval()
        with torch.no_grad(), deterministic(1):
            parts = [function(to_images(images[k : k + 256])) for k in range(0, len(images), 256)]
        return torch.cat(parts).numpy()


def train_recognizer(
    images: np.ndarray, classes: np.ndarray, options: RecognizerOptions = RecognizerOptions(),
    progress: Progress = silent,
) -> Recognizer:  # fmt: skip
    """Train on true pictures, on the CPU.

    Parameters
    ----------
    images : (N, H, W, C) uint8
    classes : (N,) int array
        From 0; each number up to the largest is a class.
    options : RecognizerOptions
    progress : callable

    Returns
    -------
    Recognizer
        In evaluation mode.

    Raises
    ------
    ValueError
        If there are fewer than two classes or the numbers do not fit the pictures.
    """
    classes = np.asarray(classes)
    if classes.shape != (len(images),) or classes.dtype.kind not in "iu" or classes.min(initial=0) < 0:
        raise ValueError(f"classes: expected {len(images)} numbers from 0, got {classes.shape} of {classes.dtype}")
    if len(np.unique(classes)) < 2:
        raise ValueError("classes: expected at least two different ones")
    o = options
    with seeded(o.seed):
        network = Recognizer(images.shape[3], int(classes.max()) + 1)
    optimizer = torch.optim.Adam(network.parameters(), o.learning_rate, weight_decay=1e-4)
    target, batch = torch.from_numpy(classes.astype(np.int64)), min(o.batch, len(images))
    with deterministic(o.threads):
        network.train()
        for step in range(o.steps):
            torch.manual_seed(step_seed(o.seed, 0, step))
            for group in optimizer.param_groups:
                group["lr"] = o.learning_rate * 0.5 * (1 + np.cos(np.pi * step / o.steps))
            rows = torch.randperm(len(images))[:batch]
            x = varied(to_images(images[rows.numpy()]), o)
            loss = functional.cross_entropy(network(x), target[rows], label_smoothing=o.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            progress(step + 1, o.steps, "training a recognizer")
    return network.eval()


def varied(x: Tensor, o: RecognizerOptions) -> Tensor:
    """Pictures moved, mirrored and lit at random by torch's global generator."""
    if o.mirror:
        flipped = torch.rand(len(x)) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    gain, offset = 1 + o.light * torch.randn(len(x), 1, 1, 1), o.light * torch.randn(len(x), 1, 1, 1)
    x = x * gain + offset
    if o.shift:
        dy, dx = torch.randint(-o.shift, o.shift + 1, (2,)).tolist()  # one move for a batch is variation enough
        x = functional.pad(x, (o.shift,) * 4, mode="replicate")
        x = x[..., o.shift + dy : x.shape[2] - o.shift + dy, o.shift + dx : x.shape[3] - o.shift + dx]
    return x
