"""Figures of a validation: scores, tracks over time, errors over the plane, chance, components on the face."""

from __future__ import annotations

import base64
import io

import numpy as np

from affect3d.analysis.registration_pictures import _drawn
from affect3d.geometry.triangles import vertex_normals
from affect3d.render.raster import interpolate
from affect3d.render.shading import linear_to_srgb

__all__ = ["chance_figure", "component_pictures", "density_figure", "plane_figure", "score_figure", "tracks_figure"]

#: One colour for each target, and one for what people said.
COLOURS = {"valence": "#b5482a", "arousal": "#2a6fb5"}
_INK, _FAINT = "#333333", "#999999"


def score_figure(rows, chance) -> str:
    """SVG: concordance on people never seen against the number of components, with 95 % intervals."""
    figure, axes = _axes(1, 1, 6.4, 3.4)
    axis = axes[0, 0]
    counts = [row["components"] for row in rows]
    for shift, (name, colour) in zip((-1, 1), COLOURS.items()):
        place = np.array(counts) + shift * 0.004 * max(counts)
        values = np.array([row[name]["ccc"]["value"] for row in rows], float)
        axis.plot(place, values, "o-", color=colour, label=name, markersize=4, linewidth=1.4)
        ends = [(row[name]["ccc"]["low"], row[name]["ccc"]["high"]) for row in rows]
        for x, (low, high) in zip(place, ends):
            if low is not None:
                axis.plot([x, x], [low, high], color=colour, linewidth=1, alpha=0.7)
        if chance:
            axis.axhline(chance[name]["p95"], color=colour, linestyle=":", linewidth=1)
            axis.text(1.01, chance[name]["p95"], "chance,\n95 %" if shift < 0 else "", transform=_right_of(axis),
                      fontsize=7, color=_FAINT, va="center")  # fmt: skip
    axis.set_xticks(counts)
    axis.set_xlabel("number of components")
    axis.set_ylabel("concordance (CCC)")
    axis.set_ylim(min(0, axis.get_ylim()[0]), 1)
    axis.legend(frameon=False, loc="lower right", ncols=2)
    return _svg(figure)


def tracks_figure(tracks) -> str:
    """SVG: annotated and predicted affect over the frames of some sequences.

    `tracks` is a list of (title, frames (T,), annotated (T, 2), predicted (T, 2)).
    """
    figure, axes = _axes(2, len(tracks), 2.1 * len(tracks) + 0.6, 3.6, sharey=True)
    for column, (title, frames, annotated, predicted) in enumerate(tracks):
        for line, (name, colour) in enumerate(COLOURS.items()):
            axis = axes[line, column]
            axis.axhline(0, color="#dddddd", linewidth=0.8)
            axis.plot(frames, annotated[:, line], color=_INK, linewidth=1.2, label="annotated")
            axis.plot(frames, predicted[:, line], color=colour, linewidth=1.2, label="predicted")
            axis.set_ylim(-1.02, 1.02)
            if column == 0:
                axis.set_ylabel(name)
            if line == 0:
                axis.set_title(title, fontsize=8)
                axis.tick_params(labelbottom=False)
            else:
                axis.set_xlabel("frame")
    for line in range(2):
        axes[line, -1].legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(figure)


def plane_figure(annotated, predicted, space) -> str:
    """SVG: root mean square error in each class, and where predictions go from there on average."""
    from matplotlib.colors import Normalize

    classes = space.class_of(annotated[:, 0], annotated[:, 1])
    count = np.bincount(classes, minlength=space.count)
    shift = np.stack([_mean_by(classes, predicted[:, t] - annotated[:, t], count) for t in range(2)], 1)
    error = np.sqrt(_mean_by(classes, ((predicted - annotated) ** 2).sum(1), count))
    figure, axes = _axes(1, 1, 5.4, 4.4)
    axis = axes[0, 0]
    shown = np.where(count > 0, error, np.nan).reshape(space.rows, space.columns)
    drawn = axis.imshow(shown, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis", norm=Normalize(0), aspect="equal")
    some = np.flatnonzero(count >= 5)
    x = -1 + (some % space.columns + 0.5) * 2 / space.columns
    y = -1 + (some // space.columns + 0.5) * 2 / space.rows
    axis.quiver(x, y, shift[some, 0], shift[some, 1], angles="xy", scale_units="xy", scale=1, color="white",
                width=0.004, edgecolor="black", linewidth=0.3)  # fmt: skip
    axis.set_xlabel("annotated valence")
    axis.set_ylabel("annotated arousal")
    bar = figure.colorbar(drawn, ax=axis, shrink=0.85)
    bar.set_label("root mean square distance")
    return _svg(figure)


def density_figure(annotated, predicted) -> str:
    """SVG: how often each prediction was given for each annotation."""
    figure, axes = _axes(1, 2, 7.2, 3.5, sharey=True)
    for t, (axis, name) in enumerate(zip(axes[0], COLOURS)):
        table, edges, _ = np.histogram2d(annotated[:, t], predicted[:, t], bins=50, range=[[-1, 1], [-1, 1]])
        axis.imshow(np.log1p(table.T), origin="lower", extent=(-1, 1, -1, 1), cmap="Greys", aspect="equal")
        axis.plot([-1, 1], [-1, 1], color=COLOURS[name], linewidth=1)
        axis.set_xlabel(f"annotated {name}")
        axis.set_ylabel(f"predicted {name}")
        axis.tick_params(labelleft=True)
    return _svg(figure)


def chance_figure(chance) -> str:
    """SVG: concordance with exchanged labels, and with the true ones."""
    figure, axes = _axes(1, 2, 7.2, 2.3, sharey=True)
    for axis, (name, colour) in zip(axes[0], COLOURS.items()):
        said = chance[name]
        low = min(-0.2, *said["permuted"])
        axis.hist(said["permuted"], bins=np.linspace(low, 1, 41), color="#bbbbbb")
        axis.axvline(said["observed"], color=colour, linewidth=2)
        side = "right" if said["observed"] > 0.5 else "left"
        axis.annotate("true labels ", (said["observed"], 0.9), xycoords=("data", "axes fraction"), color=colour,
                      ha=side, fontsize=8)  # fmt: skip
        axis.set_xlabel(f"concordance, {name}")
        axis.set_xlim(low, 1)
    axes[0, 0].set_ylabel("exchanged labels")
    return _svg(figure)


def component_pictures(components, rest, faces, size: int = 180) -> list[tuple[bytes, float]]:
    """PNG of each component at weight 1 on the rest face, coloured by how far skin moves, and the farthest, in mm.

    Parameters
    ----------
    components : (K, V, 3) float array
        mm.
    rest : (V, 3) float array, faces : (F, 3) int array
    size : int
        Pixels.
    """
    components = np.asarray(components, float)
    # the part of the head that these components move, with some of what surrounds it
    length = np.linalg.norm(components, axis=2)
    moved = rest[(length > 0.1 * np.maximum(length.max(1, keepdims=True), 1e-12)).any(0)]
    moved = moved if len(moved) else rest
    middle = (moved.min(0) + moved.max(0)) / 2
    reach = 0.6 * float(max(np.ptp(moved[:, :2], axis=0).max(), 1e-6))
    return [_component_picture(c, rest, faces, middle, reach, size) for c in components]


def picture_of_moved(rest, faces, moved, strength, middle, reach, size: int) -> np.ndarray:
    """(size, size, 3) uint8: the shape `moved`, grey where `strength` (V,) is 0 and orange where it is 1."""
    normals = vertex_normals(moved, faces)
    grey, warm = np.array([0.66, 0.65, 0.64]), np.array([0.80, 0.22, 0.05])
    light = np.array([0.25, 0.35, 0.9]) / np.linalg.norm([0.25, 0.35, 0.9])

    def colours(raster):
        n = interpolate(raster, faces, normals)
        n /= np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9)
        part = interpolate(raster, faces, strength[:, None])
        shade = 0.12 + 0.85 * np.clip(n @ light, 0, 1)[..., None]
        return np.rint(linear_to_srgb(np.clip(shade * (grey + part * (warm - grey)), 0, 1))).astype(np.uint8)

    return _drawn(moved, faces, middle, reach, size, colours)


def _component_picture(component, rest, faces, middle, reach, size) -> tuple[bytes, float]:
    from PIL import Image

    length = np.linalg.norm(component, axis=1)
    farthest = float(length.max())
    strength = length / farthest if farthest > 0 else length
    picture = picture_of_moved(rest, faces, rest + component, strength, middle, reach, size)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", optimize=True)
    return out.getvalue(), farthest


def embedded(png: bytes) -> str:
    """The picture as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _mean_by(classes, values, count) -> np.ndarray:
    return np.bincount(classes, values, len(count)) / np.maximum(count, 1)


def _right_of(axis):
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axis.transAxes, axis.transData)


def _axes(rows, columns, width, height, **options):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "The report's figures need matplotlib, which is missing: pip install 'affect3d[analysis]'"
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, color=_FAINT)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return figure, axes


def _svg(figure) -> str:
    import matplotlib

    out = io.StringIO()
    # a fixed salt and no date: the same numbers give the same bytes; text stays text, so it can be searched
    with matplotlib.rc_context({"svg.hashsalt": "affect3d", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
