"""Numbers on the command line, each checked where it is read."""

from __future__ import annotations

import argparse
import math

__all__ = ["affect", "part", "rate", "waypoints", "whole"]


def affect(text: str) -> float:
    """A valence or an arousal, in [-1, 1]."""
    value = _number(text)
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in [-1, 1], got {text}")
    return value


def part(text: str) -> float:
    """A part of a whole, such as of the radius of the valence-arousal plane, in (0, 1]."""
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 1], got {text}")
    return value


def rate(text: str) -> float:
    """Frames a second, in (0, 240]."""
    value = _number(text)
    if not 0 < value <= 240:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 240], got {text}")
    return value


def whole(low: int, high: int):
    """Reader of a whole number in [low, high]."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")
        return value

    return read


def waypoints(text: str) -> tuple[tuple[float, float], ...]:
    """Points of a way, as in "0,0 0.8,0.5 -0.6,0.6"."""
    points = []
    for word in text.replace(";", " ").split():
        parts = word.split(",")
        if len(parts) != 2:
            raise argparse.ArgumentTypeError(f"expected points as valence,arousal with spaces between, got {word!r}")
        points.append((affect(parts[0]), affect(parts[1])))
    if len(points) < 2:
        raise argparse.ArgumentTypeError(f'expected at least two points, as in "0,0 0.8,0.5", got {len(points)}')
    return tuple(points)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value
