"""affect3d: 3D morphable models for facial affect.

The names below are fetched when they are first used, so `import affect3d` costs nothing.
"""

__version__ = "0.1.0"

_WINDOW = {
    "Camera": "affect3d.camera",
    "Landmarks": "affect3d.landmarks",
    "Mesh": "affect3d.mesh",
    "MorphableModel": "affect3d.model",
    "Portrait": "affect3d.synthesis",
    "circle_sheet": "affect3d.synthesis",
    "default_statistics": "affect3d.affect",
    "grid_sheet": "affect3d.synthesis",
    "load_model": "affect3d.model.load",
    "named_expression": "affect3d.affect",
    "path_frames": "affect3d.synthesis",
    "read_image": "affect3d.io.image",
    "write_image": "affect3d.io.image",
    "write_video": "affect3d.io.video",
}

__all__ = ["__version__", *_WINDOW]


def __getattr__(name):
    if name not in _WINDOW:
        raise AttributeError(f"module 'affect3d' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WINDOW[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(_WINDOW))
