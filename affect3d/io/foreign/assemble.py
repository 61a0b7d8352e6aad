"""What every foreign layout becomes: one unit, one frame, outward triangles, deviations apart from modes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from affect3d.geometry.arrays import require_finite
from affect3d.io.units import MILLIMETRES, guess_unit
from affect3d.landmarks import MeshLandmarks
from affect3d.model.morphable import MorphableModel

__all__ = ["ForeignModel", "UNITS", "assemble", "expressions_of_modes", "pca_modes", "require_shape", "unit_modes"]

#: Millimetres in one of each unit that foreign models come in.
UNITS = {"um": 0.001, **MILLIMETRES}
#: Deviations at which an expression mode counts as fully there: 99.7 % of a normal distribution lie within.
FULL_DEVIATIONS = 3.0
# the size of a face crop to a head with shoulders, as `guess_unit` has it
_EXTENT = (80.0, 600.0)
# with the caller's word for the unit any size is taken that later squares cannot overflow, mm
_LARGEST = 1e7


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A model as its file holds it: the file's own unit, axes and order of corners.

    Attributes
    ----------
    mean : (V, 3) float array
    faces : (F, 3) int array
        Counted from 0.
    identity : (K, V, 3) float array
        Modes; times `identity_std` they are lengths in the file's unit.
    identity_std : (K,) float array
    expression : (E, V, 3) float array
        Lengths in the file's unit at full intensity.
    expression_names : tuple of str
    colour_mean, colour_modes, colour_std : optional
        As in `MorphableModel`.
    uv, uv_faces : optional
        As in `Mesh`.
    landmark_vertices : dict of str to (L,) int array
        Vertices of a scheme's points, -1 where there is none.
    landmark_points : dict of str to (L, 3) float array
        Points of a scheme in the file's unit and axes, NaN where there is none.
    parts : (F,) uint8 array, optional
        Index into `part_names` for each triangle; all of them are the first part if left out.
    part_names : tuple of str
        Synthesis takes what is called ``face`` for skin.
    unit : str, optional
        The unit that the layout's documentation states; None if it states none.
    name, licence, source : str
    notes : list of str
    """

    mean: np.ndarray
    faces: np.ndarray
    identity: np.ndarray
    identity_std: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    colour_mean: np.ndarray | None = None
    colour_modes: np.ndarray | None = None
    colour_std: np.ndarray | None = None
    uv: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    landmark_vertices: dict[str, np.ndarray] = field(default_factory=dict)
    landmark_points: dict[str, np.ndarray] = field(default_factory=dict)
    parts: np.ndarray | None = None
    part_names: tuple[str, ...] = ("face",)
    unit: str | None = None
    name: str = ""
    licence: str = ""
    source: str = ""
    notes: list[str] = field(default_factory=list)


def assemble(raw: ForeignModel, unit: str | None = None, axes: str = "+x+y+z", licence: str | None = None):
    """Bring a model into millimetres and into the model frame, with triangles that face outwards.

    Parameters
    ----------
    raw : ForeignModel
    unit : {"um", "mm", "cm", "m"}, optional
        The caller's word for the file's unit; it outranks what the layout documents.
    axes : str
        The file's axes that become ours (+x the subject's left, +y up, +z out of the face): "+x-z+y" says that
        our y is the file's -z and our z the file's y.
    licence : str, optional
        Replaces what the layout says.

    Returns
    -------
    MorphableModel

    Raises
    ------
    ValueError
        If no unit is known, the documented one makes no head of the mean, the axes mirror, or numbers or shapes
        do not fit.
    """
    mean = np.asarray(raw.mean, np.float64)
    require_finite(mean, "mean")
    faces = np.asarray(raw.faces)
    if not len(mean) or not len(faces):
        raise ValueError(f"expected vertices and triangles, got {len(mean)} and {len(faces)}")
    notes = list(raw.notes)
    turn = _turn(axes)
    scale, said = _scale(mean, unit, raw.unit)
    notes.append(said)
    if axes != "+x+y+z":
        notes.append(f"axes turned: ours are the file's {axes}")

    def lengths(array):
        return np.asarray(array, np.float64) @ turn.T * scale

    mean = lengths(mean)
    if np.abs(mean).max() > _LARGEST:
        raise ValueError(f"mean: has coordinates of {np.abs(mean).max():.3g} mm, which belong to no head")
    faces, flipped = _outward(mean, faces)
    if flipped:
        notes.append("triangles turned to face outwards")
    identity, std, dropped = _modes(raw.identity, np.asarray(raw.identity_std, np.float64) * scale, "identity")
    if dropped:
        notes.append(f"{dropped} identity modes without variance left out")
    colour = {}
    if raw.colour_mean is not None:
        modes, colour_std, dropped = _modes(raw.colour_modes, raw.colour_std, "colour")
        if dropped:
            notes.append(f"{dropped} colour modes without variance left out")
        colour = {"colour_mean": raw.colour_mean, "colour_modes": modes, "colour_std": colour_std}
    landmarks = _landmarks(raw, mean, faces, lengths)
    return MorphableModel(
        mean=mean, faces=faces,
        identity=identity if np.array_equal(turn, np.eye(3)) else (identity @ turn.T.astype(np.float32)),
        identity_std=std,
        expression=(np.asarray(raw.expression, np.float32) @ turn.T.astype(np.float32)) * np.float32(scale),
        expression_names=raw.expression_names, landmarks=landmarks, parts=raw.parts,
        part_names=raw.part_names, uv=raw.uv, uv_faces=raw.uv_faces, name=raw.name,
        licence=raw.licence if licence is None else licence, source=raw.source, notes="; ".join(notes), **colour,
    )  # fmt: skip


def pca_modes(basis, deviations, name: str, vertices: int, keep: int | None = None):
    """Columns of a PCA basis (3V, K) as modes (K', V, 3) float32, with their deviations (K',).

    Raises
    ------
    ValueError
        If rows or columns are not as many as `vertices` and `deviations` say, or deviations are negative.
    """
    deviations = np.asarray(deviations, np.float64).ravel()
    require_shape(basis, (3 * vertices, len(deviations)), f"{name} basis")
    if not np.isfinite(deviations).all() or (deviations < 0).any():
        raise ValueError(f"{name}: expected deviations that are finite and not negative")
    count = len(deviations) if keep is None else min(keep, len(deviations))
    modes = np.ascontiguousarray(np.asarray(basis)[:, :count].T, np.float32).reshape(count, vertices, 3)
    return modes, deviations[:count]


def expressions_of_modes(modes, deviations, mean=None):
    """Expressions in [0, 1] from modes whose coefficients are normally distributed.

    A mode goes both ways and an intensity only one, so each becomes two expressions: ``expression_00`` at three
    deviations and ``expression_00_minus`` at minus three.  A mean displacement that is not zero comes first, as
    ``expression_mean``.

    Returns
    -------
    expression : (E, V, 3) float32
    names : tuple of str
    """
    parts, names = [], []
    if mean is not None and np.any(mean):
        parts.append(np.asarray(mean, np.float32)[None])
        names.append("expression_mean")
    full = np.asarray(modes, np.float32) * np.asarray(FULL_DEVIATIONS * deviations, np.float32)[:, None, None]
    pairs = np.stack([full, -full], axis=1).reshape(-1, *full.shape[1:])
    for i in range(len(full)):
        names += [f"expression_{i:02d}", f"expression_{i:02d}_minus"]
    return np.concatenate([*parts, pairs]), tuple(names)


def unit_modes(directions):
    """Directions (K, V, 3) as unit vectors (K, V, 3) float32, and their lengths (K,)."""
    lengths = np.sqrt((directions**2).sum((1, 2)))
    return (directions / np.where(lengths > 0, lengths, 1)[:, None, None]).astype(np.float32), lengths


def require_shape(array, shape, name: str) -> None:
    """ValueError naming `name` if `array` has another shape; None in `shape` is any length."""
    got = np.shape(array)
    if len(got) != len(shape) or any(want is not None and want != have for want, have in zip(shape, got)):
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {got}")


def _turn(axes: str) -> np.ndarray:
    if not isinstance(axes, str) or not re.fullmatch(r"([+-][xyz]){3}", axes) or sorted(axes[1::2]) != ["x", "y", "z"]:
        raise ValueError(f"axes: expected three different axes with signs, as in +x+y+z or +x-z+y, got {axes!r}")
    turn = np.zeros((3, 3))
    for row, (sign, axis) in enumerate(zip(axes[::2], axes[1::2])):
        turn[row, "xyz".index(axis)] = 1.0 if sign == "+" else -1.0
    if np.linalg.det(turn) < 0:
        raise ValueError(f"axes: {axes} would change left and right; expected a turn without a reflection")
    return turn


def _scale(mean, unit, documented) -> tuple[float, str]:
    """Millimetres in one of the file's units, and the sentence for the notes."""
    if unit is not None:
        if unit not in UNITS:
            raise ValueError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
        return UNITS[unit], f"lengths were in {unit}, as the importer was told"
    extent = float((mean.max(0) - mean.min(0)).max())
    guess = guess_unit(mean).unit or ("um" if _EXTENT[0] <= extent * UNITS["um"] <= _EXTENT[1] else None)
    hint = f", which would be as large as a head in {guess}" if guess else ""
    if documented is None:
        raise ValueError(
            f"unit: this layout does not state its unit of length; say which (--unit {', '.join(UNITS)}); "
            f"the longest side of the mean is {extent:.4g}{hint}"
        )
    if not _EXTENT[0] <= extent * UNITS[documented] <= _EXTENT[1]:
        raise ValueError(
            f"unit: in {documented}, as this layout is documented, the mean is {extent * UNITS[documented]:.4g} mm "
            f"long and no head; say the unit (--unit){hint}"
        )
    return UNITS[documented], f"lengths were in {documented}, as the layout is documented"


def _outward(mean, faces):
    """Triangles whose normals point away from the middle of the vertices, all turned round if most do not.

    Heads and face masks are both star-shaped enough around their mean point for the sum to tell.
    """
    if not np.issubdtype(faces.dtype, np.integer) or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"triangles: expected whole numbers of shape (F, 3), got {faces.dtype} {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(mean):
        bad = faces.min() if faces.min() < 0 else faces.max()
        raise ValueError(f"triangles: indices must lie in [0, {len(mean)}), got {bad}")
    a, b, c = (mean[faces[:, k]] - mean.mean(0) for k in range(3))
    inward = np.einsum("fi,fi->", a, np.cross(b, c)) < 0
    return (faces[:, [0, 2, 1]] if inward else faces).astype(np.int32), bool(inward)


def _modes(modes, deviations, name: str):
    """Modes with variance; those whose deviation is nothing beside the first's are left out."""
    modes, deviations = np.asarray(modes, np.float32), np.asarray(deviations, np.float64)
    require_finite(modes, f"{name} modes")
    require_finite(deviations, f"{name} deviations")
    keep = deviations > 1e-9 * deviations.max(initial=0.0)
    return (modes if keep.all() else modes[keep]), deviations[keep], int((~keep).sum())


def _landmarks(raw: ForeignModel, mean, faces, lengths) -> dict[str, MeshLandmarks]:
    from affect3d.io.foreign.landmarks import landmarks_at_points, landmarks_at_vertices

    found = {scheme: landmarks_at_vertices(scheme, v, faces) for scheme, v in raw.landmark_vertices.items()}
    for scheme, points in raw.landmark_points.items():
        found[scheme] = landmarks_at_points(scheme, lengths(points), mean, faces)
    return found
