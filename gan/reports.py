"""What the paper of a method reports besides the measures that all methods share, as `gan evaluate` writes it.

A recipe that has such a report offers ``report(method, seen, unseen, judges, options, progress) -> PaperReport``.
Whatever reads pictures there (expressions, people, action units) is trained on true pictures of the people of the
training, `seen`, and judges pictures of people it has not seen.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace

import numpy as np

from affect3d.gan.intensity import UnitReader, reading_quality, train_unit_reader
from affect3d.gan.recognizer import RecognizerOptions
from affect3d.progress import Progress, silent

__all__ = ["PaperReport", "curve_plot", "in_range", "unit_reader"]


@dataclass(frozen=True, eq=False)
class PaperReport:
    """Numbers and pictures.

    Attributes
    ----------
    numbers : dict
        JSON-ready; a part that could not be measured is None and ``"left_out"`` says why.
    grids : dict of str to (R, K, C, H, W) float array
        In [-1, 1], by the name of their file.
    plots : dict of str to bytes
        PNG files.
    lines : tuple of str
        The most telling numbers, for people.
    """

    numbers: dict
    grids: dict = field(default_factory=dict)
    plots: dict = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def unit_reader(
    seen, unseen, options: RecognizerOptions, progress: Progress = silent
) -> tuple[UnitReader, dict] | tuple[None, str]:
    """A reader of action units trained on `seen` with what it is worth on `unseen`, or None and why there is none."""
    if not seen.unit_names or np.isnan(seen.units).any(1).all():
        return None, "intensity: the faces of the training have no action units, by which it is read"
    if unseen.unit_names != seen.unit_names:
        return None, "intensity: the faces have other action units than those of the training"
    reader = train_unit_reader(seen, replace(options, smoothing=0.0), progress)
    return reader, reading_quality(reader, unseen)


def in_range(images: np.ndarray) -> np.ndarray:
    """Pictures (..., H, W, C) uint8 as a grid wants them: (..., C, H, W) in [-1, 1]."""
    return np.moveaxis(np.asarray(images, np.float32) / 127.5 - 1, -1, -3)


def curve_plot(curves: dict, title: str, horizontal: str, vertical: str) -> bytes | None:
    """Lines by their names, as a PNG file; None without matplotlib.

    Parameters
    ----------
    curves : dict of str to (x (M,), y (M,))
    title, horizontal, vertical : str
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure((6, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for k, (name, (x, y)) in enumerate(curves.items()):
        axis.plot(x, y, marker="o", markersize=3.5, label=name, color=f"C{k % 10}")
    axis.set(title=title, xlabel=horizontal, ylabel=vertical)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
