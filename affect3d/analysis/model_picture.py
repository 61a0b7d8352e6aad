"""A head model at a glance: its mean, and what its first modes and expressions do, as one picture."""

from __future__ import annotations

import numpy as np

from affect3d.geometry.triangles import vertex_normals
from affect3d.model.morphable import MorphableModel
from affect3d.render.raster import interpolate, rasterize

__all__ = ["draw_modes"]

#: Deviations of the five columns.
DEVIATIONS = (-3.0, -1.5, 0.0, 1.5, 3.0)
#: Weights of the five columns for expressions that go one way.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LABEL = 22  # height of a line of text, pixels
_SKIN = np.array([200, 180, 168], np.float32)
_MOVED = np.array([214, 70, 44], np.float32)
_BACK = 255
# parts that frame the picture of an expression, in models that name their parts
_FACE = ("face", "lips")


def draw_modes(model: MorphableModel, rows: int = 4, cell: int = 190) -> np.ndarray:
    """Draw the mean and the first modes of identity, expression and colour.

    A row shows one mode at -3, -1.5, 0, 1.5 and 3 deviations, or one expression at a quarter of its way each; an
    expression and its partner ``..._minus`` share a row.  Red is where a vertex leaves the mean, full red the farthest
    that any does in the row, whose way in mm the label tells.

    Parameters
    ----------
    model : MorphableModel
    rows : int
        Rows for each of the three kinds, at most.
    cell : int
        Pixels of a head's side.

    Returns
    -------
    (H, W, 3) uint8
        sRGB.

    Raises
    ------
    ValueError
        If `rows` or `cell` is too small.
    """
    if rows < 1 or cell < 32:
        raise ValueError(f"rows, cell: expected at least 1 and 32, got {rows} and {cell}")
    # modes of identity change the whole head; expressions and colours are looked for in the face
    face = model.part_vertices(*_FACE)
    view, near = _View(model, cell, np.ones(len(model.mean), bool)), _View(model, cell, face if face.any() else ~face)
    strips = []
    for k in range(min(rows, len(model.identity))):
        heads = [model.instance(np.eye(1, k + 1, k)[0] * d) for d in DEVIATIONS]
        strips.append(_strip(view, f"identity {k}", heads, [f"{d:+g} sd" for d in DEVIATIONS]))
    for name, partner in _expressions(model)[:rows]:
        heads = [_expressed(model, name, partner, d / 3 if partner else w) for d, w in zip(DEVIATIONS, WEIGHTS)]
        says = [f"{d:+g} sd" for d in DEVIATIONS] if partner else [f"{w:g}" for w in WEIGHTS]
        strips.append(_strip(near, name, heads, says))
    if model.colour_mean is not None:
        for k in range(min(rows, len(model.colour_modes))):
            strips.append(_colour_strip(near, model, k))
    title = f"{model.name or 'unnamed model'}: {len(model.mean)} vertices, {len(model.identity)} identity modes, " + (
        f"{len(model.expression)} expressions"
        + (f", {len(model.colour_modes)} colour modes" if model.colour_mean is not None else "")
    )
    if not strips:
        strips = [_strip(view, "mean", [model.mean], [""])]
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate([_written(title, width, True), *strips])


def _expressions(model: MorphableModel) -> list[tuple[str, str | None]]:
    """Names of expressions, each with its way back where the model has one."""
    names = model.expression_names
    backs = {f"{name}_minus": name for name in names}
    # a name that is another's way back has no row of its own
    own = [name for name in names if backs.get(name) not in names]
    return [(name, f"{name}_minus" if f"{name}_minus" in names else None) for name in own]


def _expressed(model: MorphableModel, name: str, partner: str | None, weight: float) -> np.ndarray:
    chosen = partner if weight < 0 else name
    return model.instance(expression=model.expression_vector({chosen: abs(weight)}))


class _View:
    """An orthographic camera on some of the mean head's vertices, a little to the side so that depth shows."""

    def __init__(self, model: MorphableModel, cell: int, vertices):
        yaw, pitch = np.deg2rad(18.0), np.deg2rad(-8.0)
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        self.model, self.cell, self.turn = model, cell, tilt @ turn
        seen = (model.mean @ self.turn.T)[vertices]
        low, high = seen.min(0), seen.max(0)
        self.centre = (low + high) / 2
        # a quarter of the frame is left for what modes move
        self.scale = 0.78 * cell / max((high - low)[:2].max(), 1e-9)
        self.light = np.array([-0.35, 0.45, 0.82])

    def draw(self, vertices, colours) -> np.ndarray:
        """(cell, cell, 3) uint8 of vertices with colours (V, 3) in 0..255, lit from above left."""
        seen = vertices @ self.turn.T - self.centre
        middle = (self.cell - 1) / 2
        depth = seen[:, 2].max() + 1 - seen[:, 2]
        points = np.column_stack([middle + self.scale * seen[:, 0], middle - self.scale * seen[:, 1], depth])
        raster = rasterize(points, self.model.faces, self.cell, self.cell)
        normals = vertex_normals(vertices, self.model.faces) @ self.turn.T
        lit = 0.45 + 0.6 * np.abs(normals @ self.light)[:, None]
        picture = interpolate(raster, self.model.faces, np.clip(np.asarray(colours) * lit, 0, 255))
        picture[~raster.covered] = _BACK
        return np.rint(picture).astype(np.uint8)


def _strip(view: _View, name: str, heads, says) -> np.ndarray:
    """One row: heads from left to right, red where they leave the mean."""
    moves = [np.linalg.norm(head - view.model.mean, axis=1) for head in heads]
    farthest = max(move.max() for move in moves)
    cells = []
    for head, move in zip(heads, moves):
        red = (move / farthest if farthest > 0 else move)[:, None]
        cells.append(view.draw(head, _SKIN * (1 - red) + _MOVED * red))
    return _labelled(cells, f"{name} (up to {farthest:.1f} mm)", says)


def _colour_strip(view: _View, model: MorphableModel, k: int) -> np.ndarray:
    cells = [view.draw(model.mean, model.colour_instance(np.eye(1, k + 1, k)[0] * d)) for d in DEVIATIONS]
    return _labelled(cells, f"colour {k}", [f"{d:+g} sd" for d in DEVIATIONS])


def _labelled(cells, name: str, says) -> np.ndarray:
    below = np.concatenate([_written(text, cell.shape[1]) for text, cell in zip(says, cells)], axis=1)
    return np.concatenate([_written(name, below.shape[1], True), np.concatenate(cells, axis=1), below])


def _written(text: str, width: int, dark: bool = False) -> np.ndarray:
    """A line of text on white, (height, width, 3) uint8."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (width, _LABEL), (232, 234, 238) if dark else (_BACK,) * 3)
    # PIL's own font draws Latin only
    ImageDraw.Draw(line).text((8, 5), text.encode("ascii", "replace").decode(), fill=(20, 20, 20))
    return np.asarray(line)
