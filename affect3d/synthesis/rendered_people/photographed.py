"""Skins sampled from photographs that the user gives.

The head model is fitted to the face; every texel of the unrolled skin that the photograph shows takes its
colour from there, divided by the light that the colours themselves suggest.  What is hidden is taken from
the other side of the face, and then from around.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from affect3d.progress import Progress, silent
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.render.shading import estimate_lighting, harmonics, srgb_to_linear
from affect3d.synthesis.rendered_people.canvas import canvas_of
from affect3d.synthesis.rendered_people.draw import normals_of

__all__ = ["sampled_skin", "sampled_skins"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
#: Above this height of the mean head, mm, photographs may show hair instead of skin.
_HAIR_FROM = 50.0


def sampled_skins(photographs, model=None, progress: Progress = silent) -> list[np.ndarray]:
    """Skins of the largest face of each photograph, for `make_data`.

    Parameters
    ----------
    photographs : path or sequence of paths
        A folder of pictures (its subfolders are not searched), or the pictures.
    model : MorphableModel, optional
        The default head.
    progress : callable

    Returns
    -------
    list of (H, W, 3) float32
        Linear albedo on the sheet of `canvas_of`.

    Raises
    ------
    ValueError
        If there is no picture; also if one cannot be read or shows no face, by one sentence that names it.
    """
    from affect3d.detect import detect_faces
    from affect3d.fitting.facefit import fit_face
    from affect3d.io.image import read_image

    if isinstance(photographs, (str, os.PathLike)):
        folder = Path(photographs)
        if not folder.is_dir():
            raise ValueError(f"photographs: expected a folder of pictures, got {folder}")
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))
    else:
        paths = [Path(p) for p in photographs]
    if not paths:
        raise ValueError(f"photographs: no picture in {photographs}")
    if model is None:
        from affect3d.model.load import load_model

        model = load_model("default", progress)
    skins = []
    for number, path in enumerate(paths, 1):
        pixels = read_image(path).pixels
        found = detect_faces(pixels)
        if not found:
            raise ValueError(f"{path}: no face was found")
        fit = fit_face(found[0], model, (pixels.shape[1], pixels.shape[0]))
        skins.append(sampled_skin(pixels, fit.camera, fit.vertices(model), model))
        progress(number, len(paths), "sampling skins")
    return skins


def sampled_skin(pixels, camera, vertices, model) -> np.ndarray:
    """Albedo of one face.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        sRGB.
    camera : Camera
    vertices : (V, 3) float array
        The head in the photograph, mm.
    model : MorphableModel

    Returns
    -------
    (HEIGHT, WIDTH, 3) float32
        Linear, in [0, 1].

    Raises
    ------
    ValueError
        If the photograph shows hardly any of the face's skin.
    """
    canvas = canvas_of(model)
    vertices = np.ascontiguousarray(vertices, np.float64)
    points = screen_points(camera, vertices)
    # Texels are half a millimetre or more: pixels finer than that are averaged first.
    eye = np.linalg.norm(np.diff(model.landmarks["ibug68"].locate(points[:, :2], model.faces)[[36, 45]], axis=0))
    shrink = min(1.0, 180.0 / max(eye, 1.0))
    rows, columns = (max(1, round(n * shrink)) for n in pixels.shape[:2])
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA) if shrink < 1 else pixels
    points[:, :2] = (points[:, :2] + 0.5) * [columns / pixels.shape[1], rows / pixels.shape[0]] - 0.5
    depth = rasterize(points, model.faces, columns, rows).depth
    normals = normals_of(vertices, np.ascontiguousarray(model.faces)) @ camera.rotation.T
    seen = interpolate(canvas.raster, canvas.faces, np.column_stack([points, normals]))
    x, y = seen[..., 0], seen[..., 1]
    n = seen[..., 3:] / np.maximum(np.linalg.norm(seen[..., 3:], axis=-1, keepdims=True), 1e-6)
    colour = cv2.remap(srgb_to_linear(small), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    nearest = cv2.remap(np.where(np.isfinite(depth), depth, 0), x, y, cv2.INTER_NEAREST)
    inside = (x > 0) & (y > 0) & (x < columns - 1) & (y < rows - 1) & canvas.raster.covered
    front = np.clip((-n[..., 2] - 0.25) / 0.3, 0, 1)
    trusted = front * inside * (np.abs(seen[..., 2] - nearest) < 4.0) * np.clip(canvas.skin * 2 - 1, 0, 1)
    # Hair above and beside the face, clothes below the chin: what is there is filled in from the face.
    height, forward = canvas.place[..., 1], canvas.place[..., 2]
    trusted *= np.clip((_HAIR_FROM - height) / 8, 0, 1) * np.clip((height + 122) / 8, 0, 1)
    trusted *= np.clip((forward + 42) / 15, 0, 1)
    plain = (trusted > 0.5) & (canvas.lips < 0.05)
    if plain.sum() < 2000:
        raise ValueError(f"pixels: the photograph shows too little of the face's skin ({int(plain.sum())} texels)")

    luminance = colour @ np.float32([0.2126, 0.7152, 0.0722])
    light = estimate_lighting(n[plain], luminance[plain])
    shade = harmonics(n) @ light
    shade = np.clip(shade / np.median(shade[plain]), 0.35, 1.8)
    # Rendering darkens creases by their openness; the photograph's own creases must not be darkened twice.  In the
    # narrowest ones pixels mix with their lighter surroundings, and the whole division would leave bright lines.
    albedo = colour / (shade * (0.3 + 0.7 * np.maximum(canvas.open, 0.6)))[..., None]
    level = float(np.median((albedo @ np.float32([0.2126, 0.7152, 0.0722]))[plain]))
    albedo *= np.clip(level, 0.04, 0.55) / max(level, 1e-6)

    # The sheet's middle column is the middle of the face, so mirroring it is mirroring the face.
    other = trusted[:, ::-1] * 0.02
    weight = np.maximum(trusted + other, 0)
    known = (albedo * trusted[..., None] + albedo[:, ::-1] * other[..., None]) / np.maximum(weight, 1e-6)[..., None]
    return np.clip(_filled(known, np.clip(weight * 50, 0, 1)), 0.01, 0.9).astype(np.float32)


def _filled(values, weight):
    """Values where `weight` is one; elsewhere averages of what is near, on ever coarser grids."""
    out, sure = values * weight[..., None], weight.astype(np.float32)
    total, amount = out.copy(), sure.copy()
    size = 2.0
    while size < 4 * max(values.shape[:2]):
        stack = np.dstack([values * weight[..., None], weight]).astype(np.float32)
        near = cv2.GaussianBlur(stack, (0, 0), min(size, 120))
        room = np.clip(1 - amount, 0, 1) * np.clip(near[..., 3] * 20, 0, 1)
        total += near[..., :3] / np.maximum(near[..., 3:], 1e-9) * room[..., None]
        amount += room
        size *= 2
    mean = (values * weight[..., None]).sum((0, 1)) / max(weight.sum(), 1e-9)
    return total + np.clip(1 - amount, 0, 1)[..., None] * mean
