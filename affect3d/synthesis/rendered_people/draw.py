"""One picture of a head: triangles in, sRGB out, every pixel the mean of several samples."""

from __future__ import annotations

import numba
import numpy as np

from affect3d.render.raster import rasterize
from affect3d.render.shading import linear_to_srgb

__all__ = ["EYE", "PLAIN", "SKIN", "normals_of", "shade_picture"]

#: Kinds of triangles: colour from the skin's sheet, from the eye's square, from the vertices.
SKIN, EYE, PLAIN = 0, 1, 2


@numba.njit(cache=True, nogil=True)
def normals_of(vertices, faces):  # pragma: no cover - compiled
    """(V, 3) unit normals, each triangle counting by its area."""
    out = np.zeros_like(vertices)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += nx
            out[k, 1] += ny
            out[k, 2] += nz
    for v in range(len(out)):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if length > 0:
            for k in range(3):
                out[v, k] /= length
    return out


def shade_picture(points, normals, faces, kinds, uv, colours, skin, eye, light, shine, background, size, samples):
    """Draw a head.

    Parameters
    ----------
    points : (V, 3) float array
        x, y in pixels of the picture and depth, as `render.raster.screen_points` gives.
    normals : (V, 3) float array
        In the frame of the camera (x right, y down, z away).
    faces : (F, 3) int array
    kinds : (F,) uint8
        `SKIN`, `EYE` or `PLAIN`.
    uv : (V, 2) float array
        Texels of the skin's sheet, or of the eye's square.
    colours : (V, 3) float array
        Linear colours of vertices of plain triangles.
    skin : (H, W, 4) float32
        Linear albedo, openness included, and the share of hair, which does not shine like skin.
    eye : (S, S, 3) float32
    light : Light
    shine : float
        Strength of the highlights of skin, in [0, 1].
    background : (2, 3) float array
        Linear colours at the top and at the bottom.
    size : int
        Side of the square picture in pixels.
    samples : int
        Along each side of a pixel.

    Returns
    -------
    (size, size, 3) float32
        Linear light, not clipped.
    """
    side = size * samples
    large = np.ascontiguousarray(points, np.float64).copy()
    large[:, :2] = (large[:, :2] + 0.5) * samples - 0.5
    raster = rasterize(large, faces, side, side, cull=True)
    out = np.empty((size, size, 3), np.float32)
    half = light.key - [0, 0, 1.0]
    _shade(
        raster.face, raster.weights, faces, kinds, uv, normals, colours, skin, eye,
        np.ascontiguousarray(light.coefficients), half / np.linalg.norm(half), light.key_colour, float(shine),
        np.ascontiguousarray(background, np.float64), samples, out,
    )  # fmt: skip
    return out


def to_srgb(linear) -> np.ndarray:
    """uint8 sRGB; light above 0.7 is compressed, so that highlights keep their form."""
    x = np.asarray(linear, np.float32)
    x = np.where(x > 0.7, 0.7 + 0.3 * (1 - np.exp(-(np.maximum(x, 0.7) - 0.7) / 0.3)), x)
    return np.rint(linear_to_srgb(x)).astype(np.uint8)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _shade(
    face, weights, faces, kinds, uv, normals, colours, skin, eye, sh, half, key_colour, shine, background, samples, out
):  # pragma: no cover - compiled
    size = out.shape[0]
    rgb = np.zeros(3)
    for row in range(size):
        for column in range(size):
            total0, total1, total2 = 0.0, 0.0, 0.0
            for sy in range(samples):
                for sx in range(samples):
                    i, j = row * samples + sy, column * samples + sx
                    f = face[i, j]
                    if f < 0:
                        t = (row + 0.5) / size
                        total0 += background[0, 0] * (1 - t) + background[1, 0] * t
                        total1 += background[0, 1] * (1 - t) + background[1, 1] * t
                        total2 += background[0, 2] * (1 - t) + background[1, 2] * t
                        continue
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    wa, wb, wc = weights[i, j, 0], weights[i, j, 1], weights[i, j, 2]
                    x = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
                    y = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
                    z = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
                    length = np.sqrt(x * x + y * y + z * z) + 1e-12
                    x, y, z = x / length, y / length, z / length
                    gloss, power, dark = 0.0, 12.0, 1.0
                    kind = kinds[f]
                    if kind == PLAIN:
                        for k in range(3):
                            rgb[k] = wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
                        gloss = 0.04
                    else:
                        u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
                        v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
                        sheet = skin if kind == SKIN else eye
                        u = min(max(u, 0.0), sheet.shape[1] - 1.001)
                        v = min(max(v, 0.0), sheet.shape[0] - 1.001)
                        iu, iv = int(u), int(v)
                        fu, fv = u - iu, v - iv
                        for k in range(3):
                            rgb[k] = (1 - fv) * ((1 - fu) * sheet[iv, iu, k] + fu * sheet[iv, iu + 1, k]) + fv * (
                                (1 - fu) * sheet[iv + 1, iu, k] + fu * sheet[iv + 1, iu + 1, k]
                            )
                        if kind == SKIN:
                            gloss = 0.16 * shine * (1 - 0.8 * sheet[iv, iu, 3])
                        else:
                            gloss, power = 0.9, 140.0
                            # the upper lid and its lashes shade the eyeball
                            dark = 1 - 0.5 * min(max((0.05 - y) / 0.35, 0.0), 1.0)
                    shine_here = max(x * half[0] + y * half[1] + z * half[2], 0.0) ** power * gloss
                    for k in range(3):
                        e = (
                            sh[0, k] + sh[1, k] * x + sh[2, k] * y + sh[3, k] * z + sh[4, k] * x * y
                            + sh[5, k] * x * z + sh[6, k] * y * z + sh[7, k] * (x * x - y * y)
                            + sh[8, k] * (3 * z * z - 1)
                        )
                        value = rgb[k] * dark * max(e, 0.02) + shine_here * key_colour[k]
                        if k == 0:
                            total0 += value
                        elif k == 1:
                            total1 += value
                        else:
                            total2 += value
            scale = 1.0 / (samples * samples)
            out[row, column, 0] = total0 * scale
            out[row, column, 1] = total1 * scale
            out[row, column, 2] = total2 * scale
