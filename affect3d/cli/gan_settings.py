"""`--set NAME=VALUE` of `affect3d gan`: texts as values of the types that options have."""

from __future__ import annotations

from affect3d.cli.errors import UsageError

__all__ = ["named_texts", "typed_settings"]

_WANTED = {bool: "true or false", int: "a whole number", float: "a number", tuple: "whole numbers with commas between"}


def named_texts(texts) -> tuple[tuple[str, str], ...]:
    """(name, text) of each NAME=VALUE.

    Raises
    ------
    UsageError
        If one is not of that form.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--set: expected NAME=VALUE, got {text!r}")
        pairs.append((name, value))
    return tuple(pairs)


def typed_settings(given, kinds: dict) -> dict:
    """(name, text) pairs as values.

    Parameters
    ----------
    given : sequence of (str, str)
    kinds : dict of str to type
        Of each option: bool, int, float, str, or tuple of whole numbers.  A name that is not there stays a text;
        options of any other type cannot be set.

    Raises
    ------
    UsageError
        If a text does not fit.
    """
    settings = {}
    for name, text in given:
        kind = kinds.get(name, str)
        try:
            if kind is bool:
                settings[name] = {"true": True, "false": False}[text.lower()]
            elif kind is tuple:
                settings[name] = tuple(int(word) for word in text.split(","))
            elif kind in (int, float, str):
                settings[name] = kind(text)
            else:
                raise ValueError
        except (KeyError, ValueError):
            wanted = _WANTED.get(kind, "another option")
            raise UsageError(f"--set: expected {wanted} for {name}, got {text!r}") from None
    return settings
