"""Moving heads as .glb: named morph targets whose weights, and a node whose place and turn, are animated.

Viewers, Blender and game engines play the file.  The camera of the film is part of it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from affect3d.io.glb_write import glb_document, glb_path, save_glb
from affect3d.mesh import Mesh

__all__ = ["write_animated_glb"]

_METRES = 0.001
#: From OpenCV's camera (y down, z forward) to glTF's (y up, looking along -z).
_UPRIGHT = np.diag([1.0, -1.0, -1.0])


def write_animated_glb(
    path, mesh: Mesh, morph_targets: dict, weights, rotation=None, shift=None, rate: float = 30.0,
    field_of_view: float | None = None, aspect: float | None = None, texture=None,
) -> None:
    """Write a mesh that moves.

    Parameters
    ----------
    path : str or Path
        Suffix .glb.
    mesh : Mesh
        The head at rest, mm.
    morph_targets : dict of str to (V, 3) array
        Displacements at full intensity, mm; at least one.
    weights : (T, E) float array
        Of the targets in every frame, in their order.
    rotation, shift : (T, 3, 3) and (T, 3) float arrays, optional
        The head in the camera's frame (x right, y down, z forward; mm), both or neither.  In the file the camera
        stands in the origin and looks along -z with y up, as glTF wants it.
    rate : float
        Frames a second.
    field_of_view : float, optional
        Of the camera from top to bottom, radians, in (0, π); without it there is no camera.
    aspect : float, optional
        Width over height of the camera's picture.
    texture : (H, W, 3) uint8, optional
        As in `write_glb`.

    Raises
    ------
    ValueError
        If a shape does not fit, a number is not finite, or an argument is out of its range; also as `write_glb`.
    OSError
        If the file cannot be written.

    References
    ----------
    Khronos Group, "glTF 2.0 Specification", sections 3.11 (animations) and 3.10 (cameras).
    """
    path = glb_path(path)
    weights = np.asarray(weights, float)
    if not morph_targets:
        raise ValueError("morph_targets: expected at least one, got none")
    if weights.ndim != 2 or weights.shape[1] != len(morph_targets) or not len(weights):
        raise ValueError(f"weights: expected shape (T, {len(morph_targets)}) with T >= 1, got {weights.shape}")
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate: expected a positive number of frames a second, got {rate}")
    if (rotation is None) != (shift is None):
        raise ValueError("rotation, shift: expected both or neither")
    document, arrays = glb_document(path.stem, mesh, morph_targets, texture)
    times = (np.arange(len(weights)) / rate).astype("<f4")[:, None]
    clock = arrays.add(times, "SCALAR", use=None, bounds=True)
    tracks = [("weights", _finite(weights, "weights").reshape(-1), "SCALAR")]
    if rotation is not None:
        place, turn = _in_gltf(rotation, shift, len(weights))
        tracks += [("translation", place, "VEC3"), ("rotation", turn, "VEC4")]
        document["nodes"][0] |= {"translation": place[0].tolist(), "rotation": turn[0].tolist()}
    document["meshes"][0]["weights"] = _finite(weights[0], "weights").tolist()
    samplers = [
        {"input": clock, "output": arrays.add(values, kind, use=None), "interpolation": "LINEAR"}
        for _, values, kind in tracks
    ]
    channels = [
        {"sampler": k, "target": {"node": 0, "path": name}} for k, (name, _, _) in enumerate(tracks)
    ]
    document["animations"] = [{"name": path.stem, "samplers": samplers, "channels": channels}]
    if field_of_view is not None:
        if not 0 < field_of_view < np.pi:
            raise ValueError(f"field_of_view: expected radians in (0, pi), got {field_of_view}")
        if aspect is not None and not (np.isfinite(aspect) and aspect > 0):
            raise ValueError(f"aspect: expected a positive number, got {aspect}")
        lens = {"yfov": float(field_of_view), "znear": 0.01}
        lens |= {} if aspect is None else {"aspectRatio": float(aspect)}
        document["cameras"] = [{"name": "camera", "type": "perspective", "perspective": lens}]
        document["nodes"].append({"name": "camera", "camera": 0})
        document["scenes"][0]["nodes"].append(1)
    save_glb(path, document, arrays)


def _in_gltf(rotation, shift, count: int):
    """Translations (T, 3) in metres and unit quaternions (T, 4) x, y, z, w, without jumps of sign."""
    rotation, shift = np.asarray(rotation, float), np.asarray(shift, float)
    if rotation.shape != (count, 3, 3):
        raise ValueError(f"rotation: expected shape ({count}, 3, 3), got {rotation.shape}")
    if shift.shape != (count, 3):
        raise ValueError(f"shift: expected shape ({count}, 3), got {shift.shape}")
    for name, array in (("rotation", rotation), ("shift", shift)):
        _finite(array, name)
    if np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max() > 1e-6 or np.linalg.det(rotation).min() < 0:
        raise ValueError("rotation: expected rotations, got other matrices")
    turn = Rotation.from_matrix(_UPRIGHT @ rotation).as_quat()
    # q and -q are one rotation, but half-way between them lies another: players interpolate
    flips = np.where((turn[1:] * turn[:-1]).sum(1) < 0, -1.0, 1.0)
    turn[1:] *= np.cumprod(flips)[:, None]
    return _finite(shift @ _UPRIGHT.T * _METRES, "shift"), turn.astype("<f4")


def _finite(array, name: str) -> np.ndarray:
    small = np.asarray(array).astype("<f4")
    if not np.isfinite(small).all():
        raise ValueError(f"{name}: expected finite numbers that fit into float32")
    return small
