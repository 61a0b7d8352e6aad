"""The paper's figures 1 and 3 of any gallery: the histogram over the plane, and the mean face of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.affect.class_moments import ClassMoments, class_moments
from affect3d.affect.store import GalleryStore
from affect3d.affect.vaspace import VASpace
from affect3d.geometry.triangles import vertex_normals
from affect3d.io.atomic import atomic_path
from affect3d.progress import Progress, silent
from affect3d.render.raster import interpolate, rasterize
from affect3d.render.shading import linear_to_srgb, srgb_to_linear

__all__ = ["draw_face", "face_window", "mean_displacements", "write_gallery_picture"]

#: A class with fewer frames is left blank, as in `affect3d.affect.statistics.ClassStatistics`.
_LEAST = 20
_SKIN, _INSIDE = np.array([0.72, 0.50, 0.40]), np.array([0.10, 0.03, 0.03])
_LIGHTS = (((0.45, 0.62, 0.64), 0.78), ((-0.85, 0.10, 0.35), 0.16), ((0.0, -0.9, 0.3), 0.03))
_AMBIENT, _GLOSS, _GLOSS_POWER = 0.08, 0.10, 24
_INK, _FAINT = "#222222", "#8a8a8a"


def write_gallery_picture(
    path, store: GalleryStore, space: VASpace | None = None, face_pixels: int = 150, progress: Progress = silent
) -> ClassMoments:
    """Write one PNG: mean faces of the classes at their places on the plane, and beside them the histogram.

    Parameters
    ----------
    path : str or Path
    store : GalleryStore
        Read in one stream.
    space : VASpace, optional
        10 x 10 classes by default.
    face_pixels : int
        Side of a face, at least 32.
    progress : callable

    Returns
    -------
    ClassMoments
        What was drawn.

    Raises
    ------
    ValueError
        If `face_pixels` is too small.
    OSError
        If the file cannot be written.
    """
    if face_pixels < 32:
        raise ValueError(f"face_pixels: expected at least 32, got {face_pixels}")
    space = space or VASpace()
    found = class_moments(store, space, progress=progress)
    moved = mean_displacements(store, found)
    shown = found.count >= _LEAST
    window = face_window(store.rest, moved[shown] if shown.any() else moved)
    # a class's square is as wide as the faces are, so that each face lies where its labels do
    sheet = np.full((space.rows * face_pixels, space.columns * face_pixels, 3), 255, np.uint8)
    for k in np.flatnonzero(shown):
        row, column = divmod(int(k), space.columns)
        top = (space.rows - 1 - row) * face_pixels
        sheet[top : top + face_pixels, column * face_pixels : (column + 1) * face_pixels] = draw_face(
            store.rest + moved[k], store.faces, window, face_pixels, store.colours
        )
    figure = _figure(sheet, shown, found, store)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=figure.dpi, metadata={"Software": None})
    return found


def mean_displacements(store: GalleryStore, found: ClassMoments) -> np.ndarray:
    """(K, V, 3) mm: mean displacement of each class from the neutral face, of a gallery of either kind."""
    if store.kind == "vertices":
        return found.mean
    return np.tensordot(found.mean, np.asarray(store.basis, np.float64), 1)


def face_window(rest, moved) -> tuple[float, float, float]:
    """Where to look: x and y of the middle and half the side, mm, of a square around what moves.

    Parameters
    ----------
    rest : (V, 3) float array
    moved : (n, V, 3) float array
        Displacements.
    """
    rest = np.asarray(rest, float)
    length = np.linalg.norm(moved, axis=2).max(0) if len(moved) else np.zeros(len(rest))
    # a head with neck and nape is mostly not face: what hardly moves is left out, if enough of it does move
    kept = length > 0.05 * length.max() if length.max() > 0 else np.ones(len(rest), bool)
    kept &= rest[:, 2] > np.median(rest[:, 2])
    if kept.sum() < 3:
        kept[:] = True
    low, high = np.percentile(rest[kept, :2], [1, 99], axis=0)
    size, whole = float((high - low).max()), float(np.ptp(rest[:, :2], axis=0).max())
    reach = min(0.60 * size, 0.55 * whole)
    # the jaw moves most and reaches down to the throat, while brows move little below a forehead that does not: the
    # window ends a little below what moves and shows more above it
    bottom = max(low[1] - 0.10 * size, float(rest[:, 1].min()) - 0.05 * size)
    return float((low[0] + high[0]) / 2), float(bottom + reach), reach


def draw_face(vertices, faces, window, size: int, colours=None) -> np.ndarray:
    """(size, size, 3) uint8: a shape from the front in parallel projection, white around it.

    Parameters
    ----------
    vertices : (V, 3) float array
        mm, model frame.
    faces : (F, 3) int array
    window : what `face_window` gives
    size : int
        Pixels; drawn at three times the size and averaged down.
    colours : (V, 3) uint8 array, optional
        sRGB; one colour of skin if left out.
    """
    vertices = np.asarray(vertices, float)
    x, y, reach = window
    pixels = 3 * size
    scale = pixels / (2 * reach)
    points = np.stack(
        [
            (vertices[:, 0] - x) * scale + pixels / 2 - 0.5, (y - vertices[:, 1]) * scale + pixels / 2 - 0.5,
            1e5 - vertices[:, 2],  # from so far away perspective is none
        ],
        axis=1,
    )  # fmt: skip
    raster = rasterize(points, faces, pixels, pixels)
    normals = interpolate(raster, faces, vertex_normals(vertices, faces))
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    light = np.full(normals.shape[:2], _AMBIENT)
    for direction, strength in _LIGHTS:
        light += strength * np.clip(normals @ (np.array(direction) / np.linalg.norm(direction)), 0, None)
    inside = normals[..., 2:] < -0.05
    skin = _SKIN if colours is None else interpolate(raster, faces, srgb_to_linear(np.asarray(colours)))
    colour = light[..., None] * np.where(inside, _INSIDE, skin)
    # a little gloss (Blinn's, seen along z) shows folds and lips that a dull surface hides
    half = np.array(_LIGHTS[0][0]) / np.linalg.norm(_LIGHTS[0][0]) + (0, 0, 1)
    gloss = np.clip(normals @ (half / np.linalg.norm(half)), 0, None) ** _GLOSS_POWER
    colour = colour + np.where(inside, 0, _GLOSS * gloss[..., None])
    colour = np.where(raster.covered[..., None], np.clip(colour, 0, 1), 1.0)
    # light is averaged, not the numbers that stand for it
    colour = colour.reshape(size, 3, size, 3, 3).mean(axis=(1, 3))
    return np.rint(linear_to_srgb(colour)).astype(np.uint8)


def _figure(sheet, shown, found: ClassMoments, store: GalleryStore):
    try:
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
        from matplotlib.ticker import FuncFormatter
    except ImportError:
        raise ImportError("Pictures of galleries need the package matplotlib: pip install matplotlib") from None
    space, dpi = found.space, 100
    side_x, side_y = sheet.shape[1] / dpi, sheet.shape[0] / dpi
    # inches: the sheet at one pixel a pixel, the histogram beside it, equally high
    left, bottom, top, gap, right = 0.95, 1.15, 0.80, 1.35, 1.75
    width, height = left + side_x + gap + side_x + right, bottom + side_y + top
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    size = max(9.0, 1.05 * min(side_x, side_y))
    faces = figure.add_axes([left / width, bottom / height, side_x / width, side_y / height])
    plane = figure.add_axes([(left + side_x + gap) / width, bottom / height, side_x / width, side_y / height])
    faces.imshow(sheet, extent=(-1, 1, -1, 1), interpolation="nearest", aspect="auto", zorder=0)
    count = np.where(found.count > 0, found.count, 0).reshape(space.rows, space.columns)
    most = max(int(count.max()), 2)
    norm, colours = LogNorm(1, most), colormaps["viridis"].reversed()
    image = plane.imshow(
        np.ma.masked_equal(count, 0), extent=(-1, 1, -1, 1), origin="lower", norm=norm, cmap=colours, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for k in np.flatnonzero(found.count > 0):
        v, a = space.centre(int(k))
        shade = np.array(colours(norm(found.count[k]))[:3]) @ (0.2126, 0.7152, 0.0722)
        plane.text(
            v, a, _short(found.count[k]), ha="center", va="center", color="white" if shade < 0.5 else _INK,
            fontsize=0.72 * size * min(1, 10 / space.columns),
        )  # fmt: skip
    # a class that has too few frames for a mean is told from one that has none
    for k in np.flatnonzero((found.count > 0) & ~shown):
        v, a = space.centre(int(k))
        w, h = 2 / space.columns, 2 / space.rows
        faces.add_patch(Rectangle((v - w / 2, a - h / 2), w, h, facecolor="#f4f4f4", edgecolor="none", zorder=1))
    for axes in (faces, plane):
        axes.set_xlim(-1, 1), axes.set_ylim(-1, 1)
        axes.set_xticks(np.linspace(-1, 1, 11) if space.columns == 10 else np.linspace(-1, 1, 5))
        axes.set_yticks(np.linspace(-1, 1, 11) if space.rows == 10 else np.linspace(-1, 1, 5))
        for ticks in (axes.xaxis, axes.yaxis):
            ticks.set_major_formatter(FuncFormatter(lambda value, _: "0" if abs(value) < 1e-9 else f"{value:+.1f}"))
        axes.tick_params(labelsize=0.85 * size, color=_FAINT, labelcolor=_INK)
        for value in np.linspace(-1, 1, space.columns + 1)[1:-1]:
            axes.axvline(value, color="#dddddd", linewidth=0.6, zorder=2)
        for value in np.linspace(-1, 1, space.rows + 1)[1:-1]:
            axes.axhline(value, color="#dddddd", linewidth=0.6, zorder=2)
        # the axes of the plane where classes meet there, not through the middle of faces
        if space.rows % 2 == 0:
            axes.axhline(0, color=_FAINT, linewidth=1.2, zorder=3)
        if space.columns % 2 == 0:
            axes.axvline(0, color=_FAINT, linewidth=1.2, zorder=3)
        for spine in axes.spines.values():
            spine.set_color(_FAINT)
        axes.set_xlabel("valence  (unpleasant to pleasant)", fontsize=size, color=_INK, labelpad=0.5 * size)
    faces.set_ylabel("arousal  (calm to excited)", fontsize=size, color=_INK)
    plane.set_ylabel("arousal", fontsize=size, color=_INK)
    faces.set_title("Mean face of each class", fontsize=1.25 * size, color=_INK, loc="left", pad=0.6 * size)
    plane.set_title("Frames in each class", fontsize=1.25 * size, color=_INK, loc="left", pad=0.6 * size)
    bar = figure.add_axes([(left + 2 * side_x + gap + 0.3) / width, bottom / height, 0.28 / width, side_y / height])
    scale = figure.colorbar(image, cax=bar)
    ticks = [t for e in range(8) for t in (10**e, 3 * 10**e) if t <= most]
    scale.set_ticks(ticks, labels=[f"{t:,}" for t in ticks])
    scale.minorticks_off()
    scale.ax.tick_params(labelsize=0.85 * size, color=_FAINT, labelcolor=_INK)
    scale.set_label("frames (logarithmic)", fontsize=size, color=_INK)
    scale.outline.set_edgecolor(_FAINT)
    blank = f"blank: no frames; grey: fewer than {_LEAST}" if ((found.count > 0) & ~shown).any() else "blank: no frames"
    figure.text(
        left / width, 0.28 / height,
        f"{len(store):,} frames of {len(np.unique(store.subject)):,} subjects in {len(np.unique(store.sequence)):,} "
        f"sequences; {int(shown.sum())} of {space.count} classes have {_LEAST} frames or more ({blank}).  Mean "
        "displacement from the neutral face of the sequence, on the head at rest.",
        fontsize=0.85 * size, color=_INK, ha="left", va="center",
    )  # fmt: skip
    return figure


def _short(count: int) -> str:
    """At most four characters: 950, 1.2k, 18k, 1.3M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if count >= limit:
            value = count / limit
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(int(count))
