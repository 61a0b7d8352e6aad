"""GNM Head: Google's ``gnm_head.npz``, version 3, in metres.

``template_vertex_positions`` (V, 3), ``triangles`` (T, 3) with ``triangle_uvs`` (T, 3, 2), ``vertex_identity_basis``
(I, V, 3) and ``expression_basis`` (E, V, 3), both for one standard deviation, with ``identity_names`` and
``expression_names``; ``vertex_groups`` (G, V) are weights of regions called ``vertex_group_names``.  Joints, skinning
and pose correctives move neck and eyeballs.

Source: "GNM Head: A Generative aNthropometric Model of the human head", 2026 (arXiv 2607.23687), and the documentation
of the package that reads it (google/GNM, ``gnm/shape``).
"""

from __future__ import annotations

import numpy as np

from affect3d.io.foreign.assemble import FULL_DEVIATIONS, ForeignModel, require_shape, unit_modes

__all__ = ["GROUPS", "VARIABLES", "gnm_model"]

VARIABLES = (
    "template_vertex_positions", "triangles", "vertex_identity_basis", "expression_basis", "expression_names",
    "triangle_uvs", "vertex_groups", "vertex_group_names",
)  # fmt: skip
#: Our parts and the vertex groups that mark them, later ones on top; what no group marks is the face.
GROUPS = (
    ("socket", ("eye_sockets", "left_eye_socket", "right_eye_socket")),
    ("mouth", ("mouth_sock",)),
    ("gums", ("upper_teeth_and_gums", "lower_teeth_and_gums")),
    ("tongue", ("tongue",)),
    ("eye_left", ("left_eye",)),
    ("eye_right", ("right_eye",)),
)
#: Teeth are a group across both jaws; without it a jaw's whole component counts as teeth.
_JAWS = (
    ("teeth_upper", ("upper_teeth_and_gums", "upper_teeth")),
    ("teeth_lower", ("lower_teeth_and_gums", "lower_teeth")),
)
#: The cornea is a clear shell before the iris, which would hide it.
_CLEAR = ("eye_exteriors", "eyeball_exterior")
#: Side of the first tile of texture coordinates in the square; seven others of a quarter fit beside and above it.
_FIRST, _TILES = 0.75, 8


def gnm_model(content: dict, keep: int | None = None, keep_expressions: int | None = None) -> ForeignModel:
    """The model in the arrays of the file.

    An expression mode called ``x`` comes as ``x`` at 3 deviations and ``x_minus`` at -3.  Corneas are left out;
    all vertices keep their numbers.

    Parameters
    ----------
    content : dict
        With the names in `VARIABLES`; the first four are needed.
    keep : int, optional
        Identity modes to keep, the first ones (of the head; eyeballs and teeth come after); all if left out.
    keep_expressions : int, optional
        Expression modes to keep, those that move the vertices most, in the file's order; all if left out.

    Raises
    ------
    ValueError
        If an array is missing or does not fit the others.
    """
    for name in VARIABLES[:4]:
        if not isinstance(content.get(name), np.ndarray) or content[name].dtype.kind not in "fiu":
            raise ValueError(f"{name}: is missing or no array of numbers")
    template, faces, identity, expression = (content[name] for name in VARIABLES[:4])
    require_shape(template, (None, 3), "template_vertex_positions")
    count = len(template)
    require_shape(faces, (None, 3), "triangles")
    require_shape(identity, (None, count, 3), "vertex_identity_basis")
    require_shape(expression, (None, count, 3), "expression_basis")
    if faces.dtype.kind == "f" or not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise ValueError(f"triangles: expected whole numbers in [0, {count}), got others")
    for name in (VARIABLES[0], *VARIABLES[2:4]):
        if not np.isfinite(content[name]).all():
            raise ValueError(f"{name}: expected finite numbers")
    notes = ["identity modes are for one standard deviation each", "expression modes at 3 and -3 deviations",
             "joints, skinning and pose correctives are left out"]  # fmt: skip
    modes, deviations = unit_modes(np.asarray(identity[:keep], np.float64))
    names = _texts(content.get("expression_names"), len(expression), "expression")
    moved, names = _both_ways(expression, names, keep_expressions)
    parts, part_names, drawn = _parts(content, faces)
    if not drawn.all():
        notes.append(f"{int((~drawn).sum())} triangles of the corneas are left out, which would hide the irises")
    uv, uv_faces = _texture_coordinates(content.get("triangle_uvs"), drawn, notes)
    return ForeignModel(
        mean=np.asarray(template, np.float64), faces=faces[drawn].astype(np.int64), identity=modes,
        identity_std=deviations, expression=moved, expression_names=names, unit="m", name="GNM Head",
        licence="Apache License 2.0, Google LLC", source="GNM Head, arXiv 2607.23687, 2026", notes=notes,
        parts=parts[drawn], part_names=part_names, uv=uv, uv_faces=uv_faces,
    )  # fmt: skip


def _texts(array, count: int, what: str) -> list[str]:
    """Names of modes, made different where the file repeats one; numbers where it has none."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "U" or array.shape != (count,):
        return [f"{what}_{i:03d}" for i in range(count)]
    names = [str(name) for name in array]
    return names if len(set(names)) == count else [f"{name}_{i:03d}" for i, name in enumerate(names)]


def _both_ways(expression, names: list[str], keep: int | None):
    """The strongest modes as shapes at 3 and -3 deviations."""
    chosen = np.arange(len(expression))
    if keep is not None and keep < len(chosen):
        size = np.linalg.norm(expression.reshape(len(expression), -1).astype(np.float64), axis=1)
        chosen = np.sort(np.argsort(-size, kind="stable")[:keep])
    full = np.float32(FULL_DEVIATIONS) * np.asarray(expression, np.float32)[chosen]
    shapes = np.stack([full, -full], axis=1).reshape(-1, *full.shape[1:])
    return shapes, tuple(name for i in chosen for name in (names[i], f"{names[i]}_minus"))


def _parts(content: dict, faces):
    """Part of each triangle, the names of the parts, and which triangles are drawn."""
    names = ["face"]
    parts, drawn = np.zeros(len(faces), np.uint8), np.ones(len(faces), bool)
    groups, called = content.get("vertex_groups"), content.get("vertex_group_names")
    if not isinstance(groups, np.ndarray) or not isinstance(called, np.ndarray):
        return parts, tuple(names), drawn
    count = len(content["template_vertex_positions"])
    require_shape(called, (None,), "vertex_group_names")
    require_shape(groups, (len(called), count), "vertex_groups")
    if groups.dtype.kind not in "fiub" or called.dtype.kind != "U":
        raise ValueError("vertex_groups, vertex_group_names: expected weights and text, got others")
    weights = {str(name): group for name, group in zip(called, groups)}

    def marked(*groups) -> np.ndarray:
        """Triangles of which all three corners lie in one of the groups."""
        inside = np.zeros(count, bool)
        for group in groups:
            if group in weights:
                inside |= weights[group] > 0.5
        return inside[faces].all(1)

    teeth = marked("teeth") if "teeth" in weights else np.ones(len(faces), bool)
    found = [(name, marked(*these)) for name, these in GROUPS]
    # above their own gums and below whatever else overlaps
    found[3:3] = [(name, marked(*these) & teeth) for name, these in _JAWS]
    for name, these in found:
        if these.any():
            parts[these] = len(names)
            names.append(name)
    return parts, tuple(names), ~marked(*_CLEAR)


def _texture_coordinates(corners, drawn, notes: list[str]):
    """Texture coordinates in the unit square; tiles beside the first (UDIM) are laid smaller around it."""
    if not isinstance(corners, np.ndarray) or corners.dtype.kind != "f" or corners.shape != (len(drawn), 3, 2):
        return None, None
    corners = np.asarray(corners[drawn], np.float64)
    if not np.isfinite(corners).all() or np.abs(corners).max(initial=0) > 1000:
        notes.append("texture coordinates are left out, for they are no numbers of a picture")
        return None, None
    # of a triangle its middle tells the tile, for corners may lie on the border between two
    tile = np.floor(corners.mean(1)).astype(np.int64)
    kinds, which = np.unique(tile[:, ::-1], axis=0, return_inverse=True)
    if len(kinds) > _TILES:
        notes.append(f"texture coordinates are left out: they fill {len(kinds)} tiles and {_TILES} fit")
        return None, None
    within = np.clip(corners - tile[:, None], 0, 1)
    if len(kinds) > 1:
        quarter = 1 - _FIRST
        places = [(0.0, 0.0), *((_FIRST, k * quarter) for k in range(4)), *((k * quarter, _FIRST) for k in range(3))]
        place, size = np.array(places)[which.ravel()], np.where(which.ravel() == 0, _FIRST, quarter)
        within = place[:, None] + within * size[:, None, None]
        notes.append("texture coordinates of several tiles were laid into one")
    uv, uv_faces = np.unique(within.reshape(-1, 2), axis=0, return_inverse=True)
    return uv, uv_faces.reshape(-1, 3).astype(np.int32)
