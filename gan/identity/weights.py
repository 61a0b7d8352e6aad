"""Published weights of face networks, read without running any code of theirs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from affect3d.gan.identity.light_cnn import LIGHT_CNN_29, LIGHT_CNN_29_V2, LightCNN, LightCNNOptions
from affect3d.gan.identity.vgg_face import VGGFace
from affect3d.io.atomic import atomic_path

__all__ = ["load_light_cnn", "load_vgg_face", "read_state_dict", "save_light_cnn"]

#: Key of the options in the header of a file of `save_light_cnn`.
_OPTIONS = "affect3d.light_cnn"


def read_state_dict(path) -> dict[str, Tensor]:
    """Tensors by name, from safetensors or from a file of `torch.save`.

    A file of `torch.save` is read with ``weights_only=True``, which refuses everything but tensors and plain
    containers.  A "state_dict" within it is taken out (the authors' checkpoints), and "module." in front of all
    names (left by torch's DataParallel) is dropped.

    Raises
    ------
    ValueError
        If the file holds no such thing.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with open(path, "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own errors, all of them about the content
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "weights_only" in reason:  # torch advises to read it all the same, which would run what is in it
            reason = "it is no file of torch.save, or holds other things than tensors"
        raise ValueError(f"{path}: holds no weights that can be read safely ({reason})") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path}: expected tensors by name, got {type(content).__name__}")
    if all(name.startswith("module.") for name in content):
        content = {name[len("module.") :]: value for name, value in content.items()}
    return content


def save_light_cnn(path, network: LightCNN, source: str = "") -> None:
    """Write a Light CNN of any size as safetensors with its options, for `load_light_cnn`.

    Parameters
    ----------
    path : str or Path
        The file appears complete or not at all.
    network : LightCNN
    source : str
        What it was trained on, in a sentence.
    """
    from safetensors.torch import save

    header = {_OPTIONS: json.dumps({**asdict(network.options), "source": source}, sort_keys=True)}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(save(tensors, metadata=header))


def load_light_cnn(path) -> LightCNN:
    """Light CNN-29 with weights of the authors' release ("LightCNN_29Layers_checkpoint" or its second version),
    or a Light CNN that `save_light_cnn` wrote.

    Parameters
    ----------
    path : str or Path
        The release's file, the same state dict as safetensors, or a file of `save_light_cnn`.

    Returns
    -------
    LightCNN
        In evaluation mode; which version it is follows from the file.

    Raises
    ------
    ValueError
        If layers are missing or have other shapes; layers that no Light CNN-29 has, but for the classifier
        "fc2" over the people of its training set, are refused too.
    OSError
        If the file cannot be read.
    """
    content = read_state_dict(path)
    own = _saved_options(Path(path))
    if own is not None:
        return _fill(LightCNN(own), content, path)
    options = LIGHT_CNN_29 if "fc.filter.weight" in content else LIGHT_CNN_29_V2
    return _fill(LightCNN(options), {k: v for k, v in content.items() if not k.startswith("fc2.")}, path)


def _saved_options(path: Path) -> LightCNNOptions | None:
    """What `save_light_cnn` wrote into the header of the file; None for other files."""
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_OPTIONS)
    if text is None:
        return None
    try:
        given = json.loads(text)
        return LightCNNOptions(**{k: v for k, v in given.items() if k != "source"})
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its header describes no Light CNN ({error})") from None


#: Places of the convolutions in torchvision's `vgg16().features`, in their order.
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_VGG_LAYERS = tuple(f"conv{b}_{k}" for b, count in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, count + 1))


def load_vgg_face(path, descriptor: bool = False) -> VGGFace:
    """VGG-Face with published weights.

    Names may be those of the paper ("conv1_1.weight", "conv_1_1.weight", "fc6.weight", ...) or torchvision's
    ("features.0.weight", "classifier.0.weight", ...).  The classifier over 2622 people is left out.

    Parameters
    ----------
    path : str or Path
        A file of `torch.save` or safetensors.
    descriptor : bool
        Whether fc6 and fc7 are wanted.

    Raises
    ------
    ValueError, OSError
        As `load_light_cnn`.
    """
    content = {}
    for name, value in read_state_dict(path).items():
        layer, _, kind = name.rpartition(".")
        match = re.fullmatch(r"conv_?(\d)_(\d)", layer)
        if match:
            layer = f"conv{match[1]}_{match[2]}"
        elif re.fullmatch(r"features\.\d+", layer):
            place = int(layer.split(".")[1])
            if place in _TORCHVISION:
                layer = _VGG_LAYERS[_TORCHVISION.index(place)]
        else:
            layer = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}.get(layer, layer)
        if layer != "fc8" and (descriptor or not layer.startswith("fc")):
            content[f"{layer}.{kind}"] = value
    return _fill(VGGFace(descriptor=4096 if descriptor else None), content, path)


def _fill(network, content, path):
    try:
        network.load_state_dict(content)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: does not fit {type(network).__name__} ({reason})") from None
    bad = [name for name, value in content.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{path}: {bad[0]} holds numbers that are not finite")
    return network.eval()
