"""Descriptors of true and synthesized pictures drawn in the plane by t-SNE (figure 9 of FESGAN's paper).

van der Maaten and Hinton, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9, 2008.  Distances
between far groups mean nothing in such a figure; whether true and synthesized points of one colour mix does.
"""

from __future__ import annotations

import io

import numpy as np

__all__ = ["embedded", "embedding_figure"]


def embedded(features, seed: int = 0, perplexity: float = 30.0) -> np.ndarray:
    """(N, 2) places of the rows of `features` (N, D); the same for the same numbers and seed.

    Raises
    ------
    ValueError
        If there are fewer than four rows, or a number is not finite.
    ImportError
        Without scikit-learn.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ImportError("t-SNE needs scikit-learn: pip install 'affect3d[analysis]'") from None
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 4 or not np.isfinite(features).all():
        raise ValueError(f"features: expected (N, D) finite numbers with N from 4, got shape {features.shape}")
    # every point has at most N - 1 neighbours, and a third of them is what the method's authors advise at most
    perplexity = min(perplexity, (len(features) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(features).astype(np.float64)


def embedding_figure(panels: dict, names: tuple[str, ...]) -> bytes:
    """A PNG with one panel for each entry: true pictures as dots, synthesized ones as crosses, coloured by label.

    Parameters
    ----------
    panels : dict of str to (true (N, 2), label (N,), made (M, 2), label (M,))
        Places from `embedded`; all panels share their axes.
    names : tuple of str
        Of the labels.

    Raises
    ------
    ValueError
        If there is no panel, or a label has no name.
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("this figure needs matplotlib: pip install 'affect3d[analysis]'") from None
    if not panels:
        raise ValueError("panels: expected one at least, got none")
    for title, (_, a, _, b) in panels.items():
        for label in (a, b):
            if len(label) and not 0 <= np.min(label) <= np.max(label) < len(names):
                raise ValueError(f"panels: {title!r} has labels outside [0, {len(names)})")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure((4 * columns, 3.7 * rows + 0.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.ravel(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False))
    colours = [f"C{k}" if k < 10 else "black" for k in range(len(names))]
    for axis, (title, (true, label, made, of)) in zip(axes, panels.items()):
        for k, name in enumerate(names):
            axis.scatter(*np.asarray(true)[np.asarray(label) == k].T, s=8, c=colours[k], alpha=0.45, label=name)
            axis.scatter(*np.asarray(made)[np.asarray(of) == k].T, s=16, c=colours[k], marker="x", linewidths=0.9)
        axis.set_title(title, fontsize=10)
        axis.set_xticks([]), axis.set_yticks([])
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(names)), fontsize=8, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
