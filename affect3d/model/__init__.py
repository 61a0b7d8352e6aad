"""Morphable models of the head."""

from affect3d.model.morphable import MorphableModel

__all__ = ["MorphableModel"]
