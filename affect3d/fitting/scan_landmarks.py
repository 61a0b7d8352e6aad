"""Landmarks on a scan, found without hands: drawn from many sides, seen by the photo detector, taken back to the skin.

Any orientation of the scan is tried; what a picture shows is believed only if the points that the surface gives
back for it have the shape of a face in space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from affect3d.detect.detection import FaceDetection
from affect3d.detect.faces import detect_faces
from affect3d.detect.mediapipe import LandmarkerOptions
from affect3d.detect.schemes import to_ibug68
from affect3d.fitting.scan_views import ScanView, draw_scan, smooth_normals
from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh
from affect3d.progress import Progress, silent
from affect3d.registration.target import trusted_faces

__all__ = ["ScanLandmarks", "find_scan_landmarks"]

#: Points 17 to 67 of iBUG on the neutral default head, mm, rounded: where things are on a face.
_FACE = np.array(
    [
        (-60, 12, -2), (-52, 22, 11), (-38, 26, 22), (-24, 25, 27), (-13, 19, 29), (13, 19, 29), (24, 25, 27),
        (38, 26, 22), (52, 22, 11), (60, 12, -2), (0, 1, 26), (0, -12, 29), (0, -25, 36), (0, -36, 44), (-14, -47, 28),
        (-8, -50, 32), (0, -50, 39), (8, -50, 32), (14, -47, 28), (-45, -2, 10), (-37, 2, 16), (-27, 2, 17),
        (-19, -4, 14), (-27, -6, 16), (-37, -6, 15), (19, -4, 14), (27, 2, 17), (37, 2, 16), (45, -2, 10),
        (37, -6, 15), (27, -6, 16), (-26, -76, 21), (-17, -67, 30), (-7, -64, 35), (0, -65, 36), (7, -64, 35),
        (17, -67, 30), (26, -76, 21), (17, -83, 26), (8, -86, 30), (0, -86, 31), (-8, -86, 30), (-17, -83, 26),
        (-24, -74, 19), (-6, -74, 27), (0, -74, 27), (6, -74, 27), (24, -74, 19), (6, -74, 29), (0, -74, 29),
        (-6, -74, 29),
    ],
    float,
)  # fmt: skip
_INNER = slice(17, 68)
#: The same with the jaw dropped as far as it goes: lower lip and corners against the rest of the face.
_FACE_OPEN = _FACE.copy()
_FACE_OPEN[38:43] += (0, -24, -10)
_FACE_OPEN[48:51] += (0, -24, -10)
_FACE_OPEN[[31, 37, 43, 47]] += (0, -10, -6)
#: Root mean square distance, in mm of a face of usual size, beyond which points are no face.
_PLAUSIBLE, _CLEAR = 10.0, 6.5
#: Log-odds of the detector from which a face is not taken the wrong way up; those that are stay below 15.
_CERTAIN = 16.0
#: Looked at closely, faces the right way up have 16 and more; what is below this is something else.
_DOUBTFUL = 13.0
#: Height of the pictures in faces; the detector wants some forehead and neck.
_CLOSE = 230.0
#: A face's size against the default head's: beyond this the unit is wrong.
_SIZES = (0.6, 1.6)


@dataclass(frozen=True, eq=False)
class ScanLandmarks:
    """Landmarks found on a scan.

    Attributes
    ----------
    landmarks : Landmarks or None
        Scheme ibug68, mm, in the scan's frame; NaN where the surface has no such point.
    rotation : (3, 3) float64
        Turns the scan into the model frame (+x to the subject's left, +y up, +z out of the face).
    found : bool
    reason : str
        A sentence: how it was found, or why not.
    error : float
        Root mean square distance in mm to the points of an average face; NaN where nothing was found.
    """

    landmarks: Landmarks | None
    rotation: np.ndarray
    found: bool
    reason: str
    error: float = float("nan")


@dataclass(frozen=True, eq=False)
class _Guess:
    rotation: np.ndarray
    centre: np.ndarray
    scale: float
    error: float


def find_scan_landmarks(mesh: Mesh, texture=None, near=None, progress: Progress = silent) -> ScanLandmarks:
    """Find the 68 landmarks of a face on a scan of any orientation.

    Parameters
    ----------
    mesh : Mesh
        mm; a face, a head or a bust, with other things around it.
    texture : (H, W, 3) uint8, optional
        For meshes with texture coordinates; without one the scan is drawn in its colours or shaded.
    near : (3, 3) float array, optional
        A rotation into the model frame that may be right, as of the frame before; it is tried first.
    progress : callable
        Shows the download of the detector on first use.

    Returns
    -------
    ScanLandmarks
        With a reason and without landmarks if no face was found.

    Raises
    ------
    ValueError
        If the mesh has no faces or `texture` is no picture.
    """
    if len(mesh.faces) == 0:
        raise ValueError("mesh: expected triangles, got none")
    if texture is not None:
        texture = np.asarray(texture)
        if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8:
            raise ValueError(f"texture: expected (H, W, 3) uint8, got {texture.shape} of {texture.dtype}")
    mesh = _without_dust(mesh)
    looks = [(texture, mesh.colours)]
    normals = smooth_normals(mesh)
    plain = Mesh(mesh.vertices, mesh.faces)
    if (texture is not None and mesh.uv is not None) or mesh.colours is not None:
        looks.append((None, None))  # a face may be clear in its shape and dark in its texture
    best = None
    for picture, colours in looks:
        drawn = mesh if picture is not None or colours is not None else plain
        best = _search(drawn, picture, normals, near, progress)
        if best is not None:
            break
    if best is None:
        reason = "no face was seen from any side; give landmarks in a file, or a scan that shows the whole face"
        return ScanLandmarks(None, np.eye(3), False, reason)
    for size in (320, 448):
        closer = _closer(drawn, picture, normals, best, size, progress)
        best = closer if closer is not None and closer.error < best.error + 1 else best
    points, certain = _gather(drawn, picture, normals, best, progress)
    if points is None:
        return ScanLandmarks(None, best.rotation, False, "the face was lost when looked at closely; give landmarks")
    final = _guess(points)
    if final is None or final.error > _PLAUSIBLE or certain < _DOUBTFUL:
        return ScanLandmarks(None, best.rotation, False, "what looked like a face does not have the shape of one")
    if not _SIZES[0] < final.scale < _SIZES[1]:
        reason = f"the face is {final.scale:.3g} times as large as a usual one; is its unit millimetres?"
        return ScanLandmarks(None, final.rotation, False, reason)
    points = _in_front(points, final)
    turned = np.degrees(np.arccos(np.clip((np.trace(final.rotation) - 1) / 2, -1, 1)))
    shown = "texture" if picture is not None else "colours" if colours is not None else "shape"
    reason = f"found in the {shown}, {final.error:.1f} mm from an average face"
    reason += f"; the scan was turned by {turned:.0f} degrees" if turned > 30 else ""
    return ScanLandmarks(Landmarks("ibug68", points, "mm"), final.rotation, True, reason, final.error)


def _without_dust(mesh: Mesh) -> Mesh:
    """Floating triangles would hide the face."""
    kept = trusted_faces(mesh.vertices, mesh.faces)
    if not len(kept):
        raise ValueError("mesh: expected a surface, got triangles without area only")
    uv_faces = None if mesh.uv is None else mesh.uv_faces[kept]
    return Mesh(mesh.vertices, mesh.faces[kept], mesh.uv, uv_faces, mesh.colours)


def _directions() -> Iterator[np.ndarray]:
    """Rotations into 26 views, each four ways up, the likeliest first: along the axes, then edges and corners of a
    cube."""
    sides = sorted(product((-1, 0, 1), repeat=3), key=lambda d: (np.abs(d).sum(), d != (0, 0, 1), d[2] == 0, d))
    for group in (sides[1:7], sides[7:]):
        for turn in (0, 2, 1, 3):
            for side in group:
                z = np.array(side) / np.linalg.norm(side)
                up = np.array([0, 1.0, 0]) if abs(z[1]) < 0.9 else np.array([0, 0, 1.0])
                x = np.cross(up, z)
                x /= np.linalg.norm(x)
                yield rotation_exp([0, 0, turn * np.pi / 2]) @ np.stack([x, np.cross(z, x), z])


def _search(mesh, texture, normals, near, progress) -> _Guess | None:
    """The most face-like view from anywhere, or None."""
    used = mesh.vertices[np.unique(mesh.faces)]
    low, high = np.percentile(used, [1, 99], axis=0)  # a stray vertex must not make the head a dot
    centre, extent = (low + high) / 2, 1.15 * float(np.linalg.norm(high - low)) or 1.0
    first = [] if near is None else [np.asarray(near, float)]
    # small faces in large pictures are looked for only where there is nothing larger: it takes far longer
    for tiles in (False, True):
        best = None
        for rotation in [*first, *_directions()]:
            view = draw_scan(mesh, rotation, centre, extent, 256, texture, normals)
            for face in _faces(view, progress, 2, tiles):
                guess = _guess(_lifted(view, face, mesh)[0])
                if guess is None or guess.error > _PLAUSIBLE:
                    continue
                # an upside-down face can have the shape of one, but the detector is less sure of it
                certain = _log_odds(face)
                away = np.arccos(np.clip((np.trace(guess.rotation @ rotation.T) - 1) / 2, -1, 1))
                if best is None or certain - guess.error > best[0]:
                    best = certain - guess.error, guess
                if guess.error < _CLEAR and away < 0.6 and certain > _CERTAIN:
                    return guess
        if best is not None:
            return best[1]
    return None


def _faces(view: ScanView, progress, passes: int, tiles: bool) -> tuple[FaceDetection, ...]:
    options = LandmarkerOptions(0.4, 0.4, passes, tiles=tiles, turned=False)
    return detect_faces(view.pixels, options=options, progress=progress)


def _log_odds(face: FaceDetection) -> float:
    return float(np.log(max(face.score, 1e-12) / max(1 - face.score, 1e-12)))


def _lifted(view: ScanView, face: FaceDetection, mesh: Mesh):
    return view.lift(to_ibug68(face.landmarks).points, mesh)


def _guess(points) -> _Guess | None:
    """Pose and size of the face whose 68 points these may be, its mouth shut or open; None if too many are missing."""
    guesses = [_guess_against(points[_INNER], face) for face in (_FACE, _FACE_OPEN)]
    return min((g for g in guesses if g is not None), key=lambda g: g.error, default=None)


def _guess_against(inner, face) -> _Guess | None:
    use = np.isfinite(inner).all(1)
    for _ in range(2):
        if use.sum() < 34:
            return None
        fit = procrustes(inner[use], face[use])
        if not np.isfinite(fit.scale) or fit.scale <= 0:
            return None
        error = np.linalg.norm(fit.apply(np.where(use[:, None], inner, 0)) - face, axis=1)
        kept = use & (error < max(3 * float(np.median(error[use])), 8.0))  # points that fell through an open mouth
        if (kept == use).all():
            break
        use = kept
    rms = float(np.sqrt((error[use] ** 2).mean()))
    middle = procrustes(face[use], inner[use]).apply(np.array([[0.0, -30.0, 10.0]]))[0]
    return _Guess(fit.rotation, middle, 1 / fit.scale, rms)


def _in_front(points, guess: _Guess, deepest: float = 30.0) -> np.ndarray:
    """Inner points far behind where a face has them fell through a hole, or into the mouth: they are missing."""
    depth = (points[_INNER] - guess.centre) @ guess.rotation[2] / guess.scale
    usual = _FACE[:, 2] - 10.0
    points = points.copy()
    points[_INNER][depth < usual - deepest] = np.nan
    return points


def _closer(mesh, texture, normals, guess: _Guess, size: int, progress) -> _Guess | None:
    view = draw_scan(mesh, guess.rotation, guess.centre, _CLOSE * guess.scale, size, texture, normals)
    found = [_guess(_lifted(view, face, mesh)[0]) for face in _faces(view, progress, 2, True)[:1]]
    return found[0] if found else None


def _gather(mesh, texture, normals, guess: _Guess, progress) -> tuple[np.ndarray | None, float]:
    """The 68 points, averaged over views a little to each side, each weighted by how squarely it sees the skin; and the
    detector's log-odds in the surest view."""
    points, weights, certain = [], [], -np.inf
    shaded = texture is None and mesh.colours is None
    for yaw, pitch in ((0, 0), (-25, 0), (25, 0), (0, 12), (0, -12)):
        rotation = rotation_exp([np.radians(pitch), 0, 0]) @ rotation_exp([0, np.radians(yaw), 0]) @ guess.rotation
        for light in ((0.1, 0.45, 0.9), (-0.5, 0.3, 0.8), (0.5, 0.3, 0.8))[: 3 if shaded and not (yaw or pitch) else 1]:
            view = draw_scan(mesh, rotation, guess.centre, _CLOSE * guess.scale, 512, texture, normals, light)
            for face in _faces(view, progress, 3, True)[:1]:
                certain = max(certain, _log_odds(face))
                place, cosine = _lifted(view, face, mesh)
                weight = np.where(np.isfinite(place).all(1), cosine**2, 0) * (2.0 if not (yaw or pitch) else 1.0)
                points.append(np.where(weight[:, None] > 0, place, 0))
                weights.append(weight)
    if not points:
        return None, certain
    points, weights = np.stack(points), np.stack(weights)
    for _ in range(3):  # views in which a ray passed the nose or fell into the mouth lose their say
        total = weights.sum(0)
        mean = (points * weights[..., None]).sum(0) / np.maximum(total, 1e-9)[:, None]
        away = np.linalg.norm(points - mean, axis=2) / guess.scale
        weights = weights / (1 + (away / 5) ** 2)
    return np.where((total > 0.02)[:, None], mean, np.nan), certain
