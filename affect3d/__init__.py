"""affect3d: 3D morphable models for facial affect."""

__version__ = "0.1.0"
