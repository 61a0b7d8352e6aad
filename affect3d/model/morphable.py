"""The morphable model: a mean head, identity modes and named expressions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from affect3d.geometry.arrays import frozen_array, require_finite
from affect3d.landmarks import MeshLandmarks
from affect3d.mesh import Mesh

__all__ = ["MorphableModel"]


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """Linear face model: mean + Σ identity + Σ expression.

    Coefficients of identity are in standard deviations, those of expression
    in [0, 1] (0 neutral, 1 the full shape).

    Attributes
    ----------
    mean : (V, 3) float64
        Neutral mean head, mm, model frame (+x subject's left, +y up, +z out).
    faces : (F, 3) int32
    identity : (K, V, 3) float32
        Identity modes; scaled by `identity_std` they are in mm.
    identity_std : (K,) float64
    expression : (E, V, 3) float32
        Displacements from neutral at full intensity, mm.
    expression_names : tuple of str
        ARKit names where the model allows.
    landmarks : dict of str to MeshLandmarks
    parts : (F,) uint8
        Index into `part_names` for each triangle.
    part_names : tuple of str
    colours : (V, 3) uint8, optional
        Plain sRGB colours for heads that are drawn without a photo; `colour_mean`, rounded, if only that is given.
    colour_mean : (V, 3) float32, optional
        Mean of the model's own colours, sRGB with 1 for full intensity.
    colour_modes : (C, V, 3) float32, optional
        Colour modes; scaled by `colour_std` they are changes of sRGB.  Given with the mean or not at all.
    colour_std : (C,) float64, optional
    uv, uv_faces
        As in `Mesh`.
    name, licence, source : str
    notes : str
        What a user must know of the deviations, units and origin.
    """

    mean: np.ndarray
    faces: np.ndarray
    identity: np.ndarray
    identity_std: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    landmarks: dict[str, MeshLandmarks] = field(default_factory=dict)
    parts: np.ndarray | None = None
    part_names: tuple[str, ...] = ("skin",)
    colours: np.ndarray | None = None
    uv: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    name: str = ""
    licence: str = ""
    source: str = ""
    notes: str = ""
    colour_mean: np.ndarray | None = None
    colour_modes: np.ndarray | None = None
    colour_std: np.ndarray | None = None

    def __post_init__(self):
        mesh = Mesh(self.mean, self.faces, self.uv, self.uv_faces, self.colours)
        count = len(mesh.vertices)
        colour = self._checked_colour(count)
        identity = frozen_array(self.identity, np.float32, "identity", (None, count, 3))
        expression = frozen_array(self.expression, np.float32, "expression", (None, count, 3))
        std = frozen_array(self.identity_std, np.float64, "identity_std", (len(identity),))
        require_finite(identity, "identity")
        require_finite(expression, "expression")
        if not (np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("identity_std: expected positive finite numbers")
        names = tuple(self.expression_names)
        if len(names) != len(expression) or len(set(names)) != len(names):
            raise ValueError(
                f"expression_names: expected {len(expression)} different names, got {len(set(names))} of {len(names)}"
            )
        parts = np.zeros(len(mesh.faces), np.uint8) if self.parts is None else self.parts
        parts = frozen_array(parts, np.uint8, "parts", (len(mesh.faces),))
        if len(parts) and parts.max() >= len(self.part_names):
            raise ValueError(f"parts: labels must lie in [0, {len(self.part_names)}), got {parts.max()}")
        for scheme, marks in self.landmarks.items():
            if marks.faces.max(initial=-1) >= len(mesh.faces):
                raise ValueError(f"landmarks[{scheme!r}]: triangle {marks.faces.max()} is not in the mesh")
        for key, value in dict(
            mean=mesh.vertices, faces=mesh.faces, identity=identity, identity_std=std, expression=expression,
            expression_names=names, parts=parts, part_names=tuple(self.part_names), colours=mesh.colours,
            uv=mesh.uv, uv_faces=mesh.uv_faces, landmarks=dict(self.landmarks),
        ).items():
            object.__setattr__(self, key, value)
        for key, value in colour.items():
            object.__setattr__(self, key, value)

    def _checked_colour(self, count: int) -> dict:
        """The colour basis as read-only arrays, and the plain colours where only the basis gives some."""
        given = (self.colour_mean, self.colour_modes, self.colour_std)
        if all(value is None for value in given):
            return {}
        if any(value is None for value in given):
            raise ValueError("colour_mean, colour_modes, colour_std: expected all three or none")
        mean = frozen_array(self.colour_mean, np.float32, "colour_mean", (count, 3))
        modes = frozen_array(self.colour_modes, np.float32, "colour_modes", (None, count, 3))
        std = frozen_array(self.colour_std, np.float64, "colour_std", (len(modes),))
        require_finite(mean, "colour_mean")
        require_finite(modes, "colour_modes")
        if not (np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("colour_std: expected positive finite numbers")
        checked = {"colour_mean": mean, "colour_modes": modes, "colour_std": std}
        if self.colours is None:
            checked["colours"] = frozen_array(_srgb(mean), np.uint8, "colours", (count, 3))
        return checked

    def colour_instance(self, coefficients=None) -> np.ndarray:
        """Colours (V, 3) uint8 sRGB for (<=C,) coefficients in standard deviations; the mean if left out.

        Raises
        ------
        ValueError
            If the model has no colours of its own, or the coefficients do not fit.
        """
        if self.colour_mean is None:
            raise ValueError("coefficients: this model has no colours of its own")
        if coefficients is None:
            return _srgb(self.colour_mean)
        c = _coefficients(coefficients, "coefficients", len(self.colour_modes), exact=False)
        change = np.tensordot(c * self.colour_std[: len(c)], self.colour_modes[: len(c)], 1)
        return _srgb(self.colour_mean + change)

    def instance(self, identity=None, expression=None) -> np.ndarray:
        """Vertices (V, 3) in mm for identity (<=K,) and expression (E,) coefficients.

        A shorter `identity` leaves the remaining modes at zero.
        """
        vertices = self.mean.copy()
        if identity is not None:
            c = _coefficients(identity, "identity", len(self.identity), exact=False)
            if len(c):
                vertices += np.tensordot(c * self.identity_std[: len(c)], self.identity[: len(c)], 1)
        if expression is not None:
            e = _coefficients(expression, "expression", len(self.expression), exact=True)
            used = np.flatnonzero(e)
            if len(used):
                vertices += np.tensordot(e[used], self.expression[used], 1)
        return vertices

    def mesh(self, identity=None, expression=None) -> Mesh:
        """The instance as a `Mesh`."""
        return Mesh(self.instance(identity, expression), self.faces, self.uv, self.uv_faces, self.colours)

    def expression_vector(self, weights: dict[str, float]) -> np.ndarray:
        """(E,) coefficients from a mapping of names; unknown names are an error."""
        vector = np.zeros(len(self.expression_names))
        index = {name: i for i, name in enumerate(self.expression_names)}
        for name, weight in weights.items():
            if name not in index:
                raise ValueError(f"weights: this model has no expression {name!r}")
            vector[index[name]] = weight
        return vector

    def part_vertices(self, *names: str) -> np.ndarray:
        """(V,) bool: vertices that belong to a triangle of one of the parts."""
        mask = np.zeros(len(self.mean), bool)
        mask[self.faces[self.part_faces(*names)]] = True
        return mask

    def part_faces(self, *names: str) -> np.ndarray:
        """(F,) bool: triangles of the named parts; a name the model lacks selects none."""
        wanted = [i for i, n in enumerate(self.part_names) if n in names]
        return np.isin(self.parts, wanted)


def _srgb(values) -> np.ndarray:
    return np.rint(np.clip(np.asarray(values, np.float64), 0, 1) * 255).astype(np.uint8)


def _coefficients(value, name: str, count: int, exact: bool) -> np.ndarray:
    array = np.asarray(value, float)
    if array.ndim != 1 or (len(array) != count if exact else len(array) > count):
        raise ValueError(f"{name}: expected {'' if exact else 'at most '}{count} coefficients, got shape {array.shape}")
    require_finite(array, name)
    return array
