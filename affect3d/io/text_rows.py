"""Rows of numbers out of the text of mesh files: rows of unequal length, without a loop over the rows."""

from __future__ import annotations

import re

import numpy as np

from affect3d.io.mesh_parts import numbers

__all__ = ["clean_text", "positions_in_rows", "table", "words_a_row"]

_COMMENT = re.compile(rb"#[^\n]*")


def clean_text(data: bytes, comments: bool = True) -> bytes:
    """Text with one kind of line end and blank, without byte order mark and, if asked, without ``#`` comments."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if comments and b"#" in data:
        data = _COMMENT.sub(b"", data)
    return data.replace(b"\t", b" ")


def words_a_row(text: bytes, rows: int) -> np.ndarray:
    """How many words each row holds.

    Parameters
    ----------
    text : bytes
        Rows separated by single line ends, words by blanks.
    rows : int

    Returns
    -------
    (rows,) int64 array
    """
    letters = np.frombuffer(text, np.uint8)
    blank = letters <= 32
    starts = ~blank
    starts[1:] &= blank[:-1]
    ends = np.flatnonzero(letters == 10)
    bounds = np.concatenate([[0], np.cumsum(starts)[ends], [np.count_nonzero(starts)]])
    return np.diff(bounds)[:rows]


def positions_in_rows(sizes) -> tuple[np.ndarray, np.ndarray]:
    """Row and place in the row of each number of rows of the given sizes, all rows one after the other."""
    sizes = np.asarray(sizes, np.int64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    return row, np.arange(len(row)) - (np.cumsum(sizes) - sizes)[row]


def table(rows: list[bytes], widths, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of rows, the short ones filled up with zeros.

    Parameters
    ----------
    rows : list of bytes
        One row each, no line ends within.
    widths : collection of int
        How many numbers a row may have.
    what : str
        What a row is, for messages.

    Returns
    -------
    values : (R, W) float array
        W is the longest row.
    sizes : (R,) int array
        Numbers in each row.

    Raises
    ------
    ValueError
        If a row has another number of words, or one of them is no number.
    """
    text = b"\n".join(rows)
    sizes = words_a_row(text, len(rows))
    wrong = np.flatnonzero(~np.isin(sizes, list(widths)))
    if len(wrong):
        choices = " or ".join(str(w) for w in sorted(widths))
        raise ValueError(f"{what} {wrong[0]}: expected {choices} numbers, got {sizes[wrong[0]]}")
    values = numbers(text, what=what)
    if len(values) != sizes.sum():  # "1-2" reads as two numbers
        raise ValueError(f"{what}: expected {sizes.sum()} numbers, got {len(values)}")
    if not len(rows):
        return np.empty((0, max(widths))), sizes
    width = int(sizes.max())
    if sizes.min() == width:
        return values.reshape(-1, width), sizes
    filled = np.zeros((len(rows), width))
    filled[positions_in_rows(sizes)] = values
    return filled, sizes
