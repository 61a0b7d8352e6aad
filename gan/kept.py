"""Judges that were trained once are found again: training them takes longer than all that is measured with them.

A judge hangs on its pictures, their labels, its options, torch and the code that trains it, and on nothing else; a
file is named after all of these, so that one that is found is the one that would have been trained.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import Callable

import torch
from torch import nn

from affect3d.gan import determinism
from affect3d.gan.batches import fingerprint, to_images
from affect3d.io.atomic import atomic_path

__all__ = ["kept"]


def kept(kind: str, images, labels, options, build: Callable[[], nn.Module], train: Callable[[], nn.Module]):
    """What ``train()`` gives, read from ``options.keep`` where it lies there, else trained and put there.

    Parameters
    ----------
    kind : str
        Of network, which tells files of one folder apart.
    images : (N, H, W, C) uint8
    labels : (N, ...) array
        What it is trained on.
    options : RecognizerOptions
        Nothing is kept where ``keep`` is empty.
    build, train : callable
        The network with any weights; the same, trained and in evaluation mode.
    """
    if not options.keep:
        return train()
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    code = "".join(inspect.getsource(module) for module in _code(train))
    # where it is kept, and how many others are asked with it, changes no weight
    said = repr(replace(options, keep="", judges=1))
    name = f"{kind}-{fingerprint(images, labels, said, torch.__version__, code)}.safetensors"
    path = Path(options.keep) / name
    network = build()
    if path.exists():
        try:
            network.load_state_dict(load_file(path))
            return network.eval()
        except (SafetensorError, RuntimeError, OSError):  # damaged: it is trained anew and written over
            pass
    network = train()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file({key: value.contiguous() for key, value in network.state_dict().items()}, temporary)
    except OSError:  # a cache that cannot be written is no reason to stop
        pass
    return network


def _code(train: Callable) -> list:
    """Modules whose code the weights hang on."""
    return [sys.modules[train.__module__], sys.modules["affect3d.gan.recognizer"], determinism,
            sys.modules[to_images.__module__]]  # fmt: skip
