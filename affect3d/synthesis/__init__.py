"""A photo and an affect in, pictures out."""

from affect3d.synthesis.portrait import Portrait, Synthesis

__all__ = ["Portrait", "Synthesis"]
