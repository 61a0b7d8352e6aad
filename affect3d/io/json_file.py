"""JSON that programs write for themselves and for people: whole or not there, and read without trust."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path

from affect3d.io.atomic import atomic_path

__all__ = ["json_ready", "read_json", "write_json"]


def write_json(path, content) -> None:
    """Write `content` so that people can read it; the file appears complete or not at all.

    Keys keep their order, so the same content gives the same bytes.  A number that is not finite is a ValueError, a
    value that JSON cannot hold a TypeError.
    """
    # names of files need not be text that UTF-8 can hold, so what is not ASCII is written as escapes
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def read_json(path, largest: int = 2**31) -> dict | None:
    """The object that a file holds; None if there is none, it is damaged or something else, or beyond `largest` bytes.
    """
    path = Path(path)
    try:
        if path.stat().st_size > largest:
            return None
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def json_ready(content):
    """`content` as `read_json` would give it back: dataclasses as objects, tuples as lists, NumPy's numbers as numbers.

    Errors are those of `write_json`.
    """
    return json.loads(json.dumps(content, allow_nan=False, default=_simple))


def _simple(value):
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"content: expected what JSON can hold, got {type(value).__name__}")


def _refuse(word: str):
    raise ValueError(f"{word} is no number")
