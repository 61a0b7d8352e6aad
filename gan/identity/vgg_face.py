"""VGG-Face: the network whose layers compare faces in ExprGAN's identity loss.

Parkhi, Vedaldi and Zisserman, "Deep Face Recognition", BMVC 2015, table 3 (network A with 16 layers).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PERCEPTUAL_LAYERS", "VGGFace"]

#: Layers of ExprGAN's loss (equation (7)).
PERCEPTUAL_LAYERS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")

#: Mean of red, green and blue over the training pictures, of 255.
_MEAN = (129.1863, 104.7624, 93.5940)

_BLOCKS = (2, 2, 3, 3, 3)


class VGGFace(nn.Module):
    """Convolutions 3 x 3 in five blocks, each with ReLU; a 2 x 2 maximum behind each block; fc6, fc7.

    Pictures are (N, 3 or 1, H, W) in [-1, 1]; the network sees them from 0 to 255 without the mean of its training
    pictures.  Perceptual layers can be had at every size; descriptors need 7 x 7 features, so pictures are
    resized to 32 * `bottom` pixels for them.

    Parameters
    ----------
    width : int
        Channels of the first block, 64 in the paper; blocks have 1, 2, 4, 8 and 8 times as many.
    descriptor : int or None
        Length of fc6 and fc7, 4096 in the paper; None leaves both out (perceptual layers alone, 15 of 145
        million weights).
    bottom : int
        Pixels of a side in front of fc6; 7 in the paper.
    """

    def __init__(self, width: int = 64, descriptor: int | None = 4096, bottom: int = 7):
        super().__init__()
        for name, value in (("width", width), ("bottom", bottom), ("descriptor", descriptor or 1)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.bottom, inputs = bottom, 3
        for block, count in enumerate(_BLOCKS, 1):
            outputs = width * min(2 ** (block - 1), 8)
            for layer in range(1, count + 1):
                setattr(self, f"conv{block}_{layer}", nn.Conv2d(inputs, outputs, 3, 1, 1))
                inputs = outputs
        self.fc6 = nn.Linear(inputs * bottom**2, descriptor) if descriptor else None
        self.fc7 = nn.Linear(descriptor, descriptor) if descriptor else None
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)

    def layers(self, images: Tensor) -> list[Tensor]:
        """The five feature maps of `PERCEPTUAL_LAYERS`.

        They are taken behind their ReLU ("the activations at"), and what follows conv5_2 is not computed.
        """
        x, found = self._pixels(images), []
        for block, count in enumerate(_BLOCKS, 1):
            for layer in range(1, count + 1):
                x = functional.relu(getattr(self, f"conv{block}_{layer}")(x))
                if f"conv{block}_{layer}" in PERCEPTUAL_LAYERS:
                    found.append(x)
                    if len(found) == len(PERCEPTUAL_LAYERS):
                        return found
            x = functional.max_pool2d(x, 2)
        raise AssertionError("conv5_2 is the last of the layers")

    def forward(self, images: Tensor) -> Tensor:
        """Descriptors (N, descriptor): fc7 behind its ReLU.

        Raises
        ------
        ValueError
            If the network was built without fc6 and fc7.
        """
        if self.fc6 is None or self.fc7 is None:
            raise ValueError("descriptor: this VGG-Face was built without fc6 and fc7 and describes no faces")
        side = 32 * self.bottom
        if images.shape[2:] != (side, side):
            images = functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
        x = self._pixels(images)
        for block, count in enumerate(_BLOCKS, 1):
            for layer in range(1, count + 1):
                x = functional.relu(getattr(self, f"conv{block}_{layer}")(x))
            x = functional.max_pool2d(x, 2)
        return functional.relu(self.fc7(functional.relu(self.fc6(x.flatten(1)))))

    def _pixels(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 16:
            raise ValueError(f"images: expected (N, 3 or 1, H, W) of 16 pixels and more, got {tuple(images.shape)}")
        return (images.expand(-1, 3, -1, -1) + 1) * 127.5 - self.mean
