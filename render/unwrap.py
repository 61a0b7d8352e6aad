"""The skin of a photo laid out flat: a texture for a fitted mesh, with what was seen and how well."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from affect3d.geometry.triangles import vertex_normals
from affect3d.render.pushpull import push_pull
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import harmonics, linear_to_srgb, srgb_to_linear

__all__ = ["UnwrappedTexture", "unwrap_texture"]

_LEAST = 0.1  # confidence below which a texel does not count as seen
_SHADE_FLOOR = 0.05  # of the brightest skin; dividing by less would only enlarge noise


@dataclass(frozen=True, eq=False)
class UnwrappedTexture:
    """A texture made from one photo.

    Attributes
    ----------
    texture : (T, T, 3) uint8
        sRGB; row 0 is the top, where the texture coordinate v is 1.  Filled everywhere.
    visible : (T, T) bool
        Texels seen in the photo.
    confidence : (T, T) float32
        In [0, 1]: how squarely and how sharply a texel was seen; for mirrored ones a part of what the
        other side has; 0 for what was made up.
    source : (T, T) uint8
        0 outside the layout, 1 seen, 2 mirrored, 3 made up from the surroundings.
    """

    texture: np.ndarray
    visible: np.ndarray
    confidence: np.ndarray
    source: np.ndarray


def unwrap_texture(
    image, camera, mesh, size: int = 512, rest=None, lighting=None, trust=None, skin=None
) -> UnwrappedTexture:
    """Texture of a fitted mesh from the photo it was fitted to.

    Parameters
    ----------
    image : (H, W, 3) uint8
        sRGB.
    camera : Camera
        Of that photo.
    mesh : Mesh
        With texture coordinates; mm.
    size : int
        Side of the texture, texels.
    rest : (V, 3) float array, optional
        The same vertices on a head whose left and right are mirror images (a model's mean).  Unseen
        texels then take the colour of their mirror image, adapted to the light of their side.
    lighting : (9, 3) float array, optional
        Spherical-harmonic light in the model frame; the texture then holds albedo (scaled so that its
        brightest tones stay where they were) instead of lit colour.
    trust : (H, W) float array, optional
        In [0, 1]: 0 where the photo shows something else than skin (hair, hands).
    skin : (F,) bool array, optional
        Triangles whose texels are wanted; others are left out of the picture's sampling and made up.

    Raises
    ------
    ValueError
        If the mesh has no texture coordinates, an argument has the wrong shape, or nothing is seen.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: expected (H, W, 3) uint8, got {image.dtype} {image.shape}")
    if image.shape[1::-1] != camera.size:
        raise ValueError(f"image: the camera's picture is {camera.size} (width, height), got {image.shape[1::-1]}")
    if mesh.uv is None:
        raise ValueError("mesh: expected texture coordinates (uv), it has none")
    if size < 2:
        raise ValueError(f"size: expected at least 2 texels, got {size}")
    if rest is not None and np.shape(rest) != mesh.vertices.shape:
        raise ValueError(f"rest: expected shape {mesh.vertices.shape}, got {np.shape(rest)}")
    if trust is not None and np.shape(trust) != image.shape[:2]:
        raise ValueError(f"trust: expected shape {image.shape[:2]}, got {np.shape(trust)}")
    layout = _layout(mesh, size)
    on = layout.covered
    if skin is not None:
        on = on & np.append(np.asarray(skin, bool), False)[layout.face]
    place, confidence, normal = _seen(image, camera, mesh, layout, on, trust)
    colour = np.zeros((size, size, 3), np.float32)
    colour[on] = _sampled(srgb_to_linear(image), place, layout.density(camera, mesh))
    if lighting is not None:
        shade = harmonics(normal) @ np.asarray(lighting, float)
        floor = _SHADE_FLOOR * shade.max()
        typical = np.median(shade[confidence[on] > 0.1], axis=0) if (confidence[on] > 0.1).any() else shade.max(0)
        colour[on] *= np.maximum(typical, floor) / np.maximum(shade, floor)
    visible = confidence > _LEAST
    if not visible.any():
        raise ValueError("camera: nothing of the mesh's skin is seen in the photo")
    source = np.where(layout.covered, 3, 0).astype(np.uint8)
    source[visible] = 1
    # grazing views show the background as soon as the outline is a pixel off: others are asked first
    known = np.clip((confidence - _LEAST) / (0.45 - _LEAST), 0, 1).astype(np.float32)
    if rest is not None:
        colour, known, confidence, source = _mirrored(
            colour, known, confidence, source, layout, np.asarray(rest), mesh, on
        )
    filled = push_pull(colour, known)
    texture = np.rint(linear_to_srgb(filled)).astype(np.uint8)
    return UnwrappedTexture(texture, visible, confidence.astype(np.float32), source)


class _Layout:
    """Which triangle, and where in it, each texel shows."""

    def __init__(self, raster):
        self.face, self.raster = raster.face, raster

    @property
    def covered(self):
        return self.face >= 0

    def density(self, camera, mesh) -> float:
        """Photo pixels by texel, across: the median over the texels."""
        weights = np.bincount(self.face[self.covered], minlength=len(mesh.faces))
        flat = screen_points(camera, mesh.vertices)[:, :2][mesh.faces]
        u, v = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
        area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
        on = weights > 0
        return float(np.sqrt(np.median(area[on] / weights[on])))


def _layout(mesh, size) -> _Layout:
    points = np.ones((len(mesh.uv), 3))
    points[:, 0] = mesh.uv[:, 0] * size - 0.5
    points[:, 1] = (1 - mesh.uv[:, 1]) * size - 0.5
    return _Layout(rasterize(points, mesh.uv_faces, size, size))


def _seen(image, camera, mesh, layout, on, trust):
    """Photo positions (N, 2) of the texels `on`, confidence (T, T), normals (N, 3)."""
    normals = vertex_normals(mesh.vertices, mesh.faces)
    both = interpolate(layout.raster, mesh.faces, np.hstack([mesh.vertices, normals]))[on].astype(float)
    position, normal = both[:, :3], both[:, 3:]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    screen = screen_points(camera, position)
    height, width = image.shape[:2]
    inside = ((screen[:, :2] > 0) & (screen[:, :2] < [width - 1, height - 1])).all(1) & (screen[:, 2] > 1)
    raster = rasterize(screen_points(camera, mesh.vertices), mesh.faces, width, height)
    # the farthest depth of the four pixels around: outlines are the business of the viewing angle
    far = cv2.dilate(np.where(np.isinf(raster.depth), 0, raster.depth), np.ones((3, 3)))
    at = np.clip(np.rint(screen[:, :2]), 0, [width - 1, height - 1]).astype(int)
    toward = camera.position - position
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    cosine = (normal * toward).sum(1)
    seen = inside & (screen[:, 2] < far[at[:, 1], at[:, 0]] + 1.0) & (cosine > 0.1)
    near = raster.depth[at[:, 1], at[:, 0]]
    seen &= screen[:, 2] < near + 4.0  # something else of the head lies before it
    score = np.where(seen, np.clip((cosine - 0.1) / 0.6, 0, 1), 0)
    if trust is not None:
        score *= np.asarray(trust, float)[at[:, 1], at[:, 0]]
    confidence = np.zeros(on.shape)
    confidence[on] = score
    return screen[:, :2], confidence, normal


def _sampled(linear, place, density):
    """The photo at positions (N, 2); blurred first where a texel takes in several pixels."""
    if density > 1:
        linear = cv2.GaussianBlur(linear, (0, 0), 0.5 * np.sqrt(density**2 - 1) + 1e-3)
    p = place.astype(np.float32)
    rows = 30000  # cv2 takes pictures of at most 32767 rows
    parts = [
        cv2.remap(
            linear, p[i : i + rows, :1], p[i : i + rows, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).reshape(-1, 3)
        for i in range(0, len(p), rows)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)


def _mirrored(colour, known, confidence, source, layout, rest, mesh, on):
    """Take unseen texels from the other side of the face, in the light of their own side."""
    position = interpolate(layout.raster, mesh.faces, rest)[on]
    tree = cKDTree(position)
    distance, index = tree.query(position * [-1, 1, 1], distance_upper_bound=5.0)
    paired = np.isfinite(distance)
    index = np.where(paired, index, 0)
    own, mine = colour[on], known[on]
    other, there = own[index], np.where(paired, mine[index], 0)
    # how much brighter this side is than the other, where both are seen, and smoothly beyond
    both = np.zeros(known.shape, np.float32)
    both[on] = mine * there
    ratio = np.zeros_like(colour)
    ratio[on] = np.log((own + 0.02) / (other + 0.02))
    amount = cv2.GaussianBlur(both, (0, 0), 6)
    ratio = cv2.GaussianBlur(ratio * both[..., None], (0, 0), 6) / np.maximum(amount, 1e-3)[..., None]
    ratio = push_pull(ratio, np.clip(2 * amount, 0, 1))
    moved = (other + 0.02) * np.exp(np.clip(ratio[on], -1.5, 1.5)) - 0.02
    share = mine[:, None]
    new = np.where(there[:, None] > 0, share * own + (1 - share) * np.clip(moved, 0, 1), own)
    colour, known, confidence, source = colour.copy(), known.copy(), confidence.copy(), source.copy()
    colour[on] = new
    known[on] = np.maximum(mine, there)
    here = confidence[on]
    confidence[on] = np.maximum(here, np.where(paired, 0.5 * here[index], 0))
    flags = source[on]
    flags[(flags == 3) & (there > 0)] = 2
    source[on] = flags
    return colour, known, confidence, source
