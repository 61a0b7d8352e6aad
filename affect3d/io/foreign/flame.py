"""FLAME: ``generic_model.pkl`` and its like (also as .npz), in metres.

``v_template`` (V, 3), ``f`` (F, 3) counted from 0, ``shapedirs`` (V, 3, 400): 300 directions of identity, then 100 of
expression, all for one standard deviation; ``posedirs`` (V, 3, 36), ``J_regressor`` (J, V), ``weights`` (V, J) and
``kintree_table`` (2, J) move the joints root, neck, jaw, left and right eye.

Source: Li, Bolkart, Black, Li and Romero, "Learning a Model of Facial Shape and Expression from 4D Scans", SIGGRAPH
Asia 2017, equations 1 to 4, and the files that come with it.
"""

from __future__ import annotations

import numpy as np

from affect3d.io.foreign.assemble import ForeignModel, expressions_of_modes, require_shape, unit_modes

__all__ = ["VARIABLES", "flame_model", "jaw_open"]

VARIABLES = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
#: Directions of identity in `shapedirs`; those behind them are of expression.
IDENTITY = 300
#: Angle of the jaw, in radians, at which jawOpen counts as fully there (20 degrees).
JAW_OPEN = np.deg2rad(20.0)
_JAW, _EYES = 2, (3, 4)


def flame_model(content: dict, keep: int | None = None, keep_expressions: int | None = None) -> ForeignModel:
    """The model in the dict of the file.

    Expression directions come as ``expression_00``, ``expression_00_minus``, ...; where the file has joints and
    weights, ``jawOpen`` is the straight way to the head whose jaw is open by 20 degrees.

    Parameters
    ----------
    content : dict
        With the names in `VARIABLES`; only the first three are needed.
    keep, keep_expressions : int, optional
        Identity and expression directions to keep; all of them if left out.

    Raises
    ------
    ValueError
        If an array is missing or does not fit the others.
    """
    if not isinstance(content, dict):
        raise ValueError(f"expected a dict with v_template, f and shapedirs, got {type(content).__name__}")
    for name in VARIABLES[:3]:
        if not isinstance(content.get(name), np.ndarray) or content[name].dtype.kind not in "fiu":
            raise ValueError(f"{name}: is missing or no array of numbers")
    template, faces, directions = (content[name] for name in VARIABLES[:3])
    require_shape(template, (None, 3), "v_template")
    count = len(template)
    require_shape(faces, (None, 3), "f")
    require_shape(directions, (count, 3, None), "shapedirs")
    if not np.isfinite(template).all() or not np.isfinite(directions).all():
        raise ValueError("v_template, shapedirs: expected finite numbers")
    if faces.dtype.kind == "f":
        if not np.isfinite(faces).all() or (faces != np.rint(faces)).any():
            raise ValueError("f: expected whole numbers")
    modes = np.moveaxis(np.asarray(directions, np.float64), 2, 0)
    identity, deviations = unit_modes(modes[: min(IDENTITY, len(modes) if keep is None else keep)])
    moved = modes[IDENTITY:][:keep_expressions]
    expression, names = expressions_of_modes(moved, np.ones(len(moved)))
    notes = ["identity directions are for one standard deviation each"]
    if len(moved):
        notes.append("expression directions at 3 and -3 deviations")
    opened, why = jaw_open(content)
    if opened is not None:
        expression, names = np.concatenate([opened[None].astype(np.float32), expression]), ("jawOpen", *names)
        notes.append("jawOpen is the straight way to a jaw turned by 20 degrees on the mean head, pose correctives "
                     "included")  # fmt: skip
    notes.append("joints, skinning and pose correctives are otherwise left out" if not why else why)
    return ForeignModel(
        mean=np.asarray(template, np.float64), faces=faces.astype(np.int64), identity=identity,
        identity_std=deviations, expression=expression, expression_names=names, unit="m", name="FLAME",
        licence="as agreed with the Max Planck Society; releases differ", source="Li et al., SIGGRAPH Asia 2017",
        notes=notes, parts=_parts(content, faces), part_names=("face", "eye_left", "eye_right"),
    )  # fmt: skip


def jaw_open(content: dict, angle: float = JAW_OPEN):
    """Displacement of the mean head when the jaw turns open: linear blend skinning with pose correctives.

    Parameters
    ----------
    content : dict
        Of the file.
    angle : float
        In radians, about the head's x axis through the jaw's joint; positive opens.

    Returns
    -------
    displacement : (V, 3) float64 or None
        In the file's unit; None if the file has no joints, or others than the five of FLAME.
    reason : str
        Why there is none; empty if there is one.
    """
    arrays = {name: content.get(name) for name in VARIABLES}
    if any(not isinstance(a, np.ndarray) or a.dtype.kind not in "fiu" for a in arrays.values()):
        return None, "no jawOpen: the file has no joints, weights or pose correctives that could be read"
    template = np.asarray(arrays["v_template"], np.float64)
    count, joints = len(template), arrays["weights"].shape[-1]
    require_shape(arrays["weights"], (count, joints), "weights")
    require_shape(arrays["J_regressor"], (joints, count), "J_regressor")
    require_shape(arrays["kintree_table"], (2, joints), "kintree_table")
    if joints != 5 or arrays["posedirs"].shape != (count, 3, 9 * (joints - 1)):
        return None, f"no jawOpen: expected the five joints of FLAME with 36 pose correctives, got {joints}"
    for name in ("posedirs", "J_regressor", "weights"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: expected finite numbers")
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    # the root has no correctives: the jaw's nine are the second of the four groups
    slot = slice(9 * (_JAW - 1), 9 * _JAW)
    shaped = template + np.asarray(arrays["posedirs"], np.float64)[:, :, slot] @ (turn - np.eye(3)).ravel()
    parents = arrays["kintree_table"][0]
    moved = [_JAW, *(j for j in range(joints) if j != _JAW and int(parents[j]) == _JAW)]
    weight = np.asarray(arrays["weights"], np.float64)[:, moved].sum(1)[:, None]
    joint = np.asarray(arrays["J_regressor"], np.float64)[_JAW] @ template
    return shaped + weight * ((shaped - joint) @ turn.T + joint - shaped) - template, ""


def _parts(content: dict, faces) -> np.ndarray:
    """The eyeballs are what the two eye joints move alone; the one at larger x is the subject's left."""
    weights, template = content.get("weights"), content["v_template"]
    parts = np.zeros(len(faces), np.uint8)
    if not isinstance(weights, np.ndarray) or weights.shape != (len(template), 5):
        return parts
    whose = [weights[:, joint] > 0.99 for joint in _EYES]
    if not all(ball.any() for ball in whose):
        return parts
    whose.sort(key=lambda ball: -template[ball, 0].mean())
    corners = faces.astype(np.int64)
    if corners.min(initial=0) < 0 or corners.max(initial=-1) >= len(template):
        return parts  # refused with a sentence where all models are
    for part, ball in enumerate(whose, 1):
        parts[ball[corners].all(1)] = part
    return parts
