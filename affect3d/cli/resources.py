"""The model and the gallery a command works with, loaded when first needed and then kept."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from affect3d.progress import Progress, silent

__all__ = ["Resources", "load_gallery_statistics"]


class Resources:
    """Model and statistics named on the command line.

    A photo that cannot be read is thus reported before a head is built for it.
    """

    def __init__(self, model: str | None, gallery: str | None, progress: Progress = silent):
        self._model = model
        self._gallery = gallery
        self._progress = progress

    @cached_property
    def model(self):
        """MorphableModel: the default head unless another is named."""
        from affect3d.model.load import load_model

        return load_model(self._model, progress=self._progress)

    @cached_property
    def statistics(self):
        """ClassStatistics: those that ship with the package unless a gallery is named."""
        from affect3d.affect import default_statistics

        return default_statistics() if self._gallery is None else load_gallery_statistics(self._gallery)

    def asked(self, options):
        """AffectQuery or NamedExpression: what `SynthesizeOptions` of a single expression ask for."""
        from affect3d.affect import express, named_expression

        if options.expression is not None:
            return named_expression(options.expression, options.strength)
        return express(self.statistics, options.valence, options.arousal)


def load_gallery_statistics(path):
    """ClassStatistics from a gallery (a Zarr store) or from a .npz that holds statistics already."""
    from affect3d.affect.statistics import class_statistics, load_statistics
    from affect3d.affect.store import open_gallery

    if Path(path).suffix.lower() == ".npz":
        return load_statistics(path)
    return class_statistics(open_gallery(path))
