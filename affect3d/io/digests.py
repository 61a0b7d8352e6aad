"""Digests of files and of values: what tells one piece of work from another."""

from __future__ import annotations

import hashlib
import json

import numpy as np

__all__ = ["digest", "file_digest"]


def file_digest(path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts) -> str:
    """SHA-256 of arrays (with their shapes and types), texts and JSON values, in hexadecimal.

    Raises
    ------
    TypeError
        If a part is neither an array nor something that JSON can hold.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            head, body = f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).tobytes()
        else:
            head, body = "json", json.dumps(part, sort_keys=True, allow_nan=False).encode()
        total.update(f"{head}:{len(body)}:".encode())
        total.update(body)
    return total.hexdigest()
