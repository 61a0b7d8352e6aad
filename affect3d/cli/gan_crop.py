"""How the faces of a set were cut out: read from words, and kept in the file of the set."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from affect3d.cli.errors import UsageError

__all__ = ["crop_of_file", "crop_from", "read_crop", "record_crop"]

#: Key in the header of a set's file, beside that of the set itself.
_KEY = "affect3d_crop"
_MADE = "affect3d_options"


def read_crop(text: str, size: int, channels: int = 3):
    """The crop of `text`: a method's name, or ``align=square,margin=0.1,lift=0.05`` (each may be left out).

    Returns
    -------
    CropOptions
        With `size` and `channels`.

    Raises
    ------
    UsageError
        If a word is not known or out of range.
    """
    from affect3d.gan.data.crops import CROPS, CropOptions

    if text in CROPS:
        return replace(CROPS[text], size=size, channels=channels)
    values: dict = {}
    for word in text.split(","):
        name, _, value = word.strip().partition("=")
        if name not in ("align", "margin", "lift") or name in values or not value:
            raise UsageError(
                f"--crop: expected one of {', '.join(CROPS)}, or align=A,margin=M,lift=L, got {text!r}"
            )  # fmt: skip
        try:
            values[name] = value if name == "align" else float(value)
        except ValueError:
            raise UsageError(f"--crop: expected a number after {name}=, got {value!r}") from None
    try:
        return CropOptions(size=size, channels=channels, **values)
    except ValueError as error:
        raise UsageError(f"--crop: {error}") from None


def crop_from(values: dict):
    """`CropOptions` from what `dataclasses.asdict` made of them and JSON kept.

    Raises
    ------
    ValueError
        If they are no such options.
    """
    from affect3d.gan.data.crops import CropOptions

    try:
        return CropOptions(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"crop: expected the options of a crop, got {values!r} ({error})") from None


def record_crop(path, crop, options: dict | None = None) -> None:
    """Add the crop, and the `options` by which the set was made, to the header of its file; readers pass over them."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    from affect3d.io.atomic import atomic_path

    with safe_open(path, framework="numpy") as file:
        header, arrays = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    with atomic_path(path) as temporary:
        more = {} if options is None else {_MADE: json.dumps(options, sort_keys=True)}
        save_file(arrays, temporary, metadata={**header, _KEY: json.dumps(asdict(crop), sort_keys=True), **more})


def crop_of_file(path):
    """The crop that `record_crop` wrote, or None.

    Raises
    ------
    ValueError
        If what is written there is no crop.
    OSError
        If the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    with open(Path(path), "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
        return None if text is None else crop_from(json.loads(text))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: no crop can be read from its header ({error})") from None
