"""The outline's part of a photometric fit: where the skin ends in the picture.

The head's own outline (edges between a triangle seen from outside and one seen from behind, with
nothing of the head beyond) is compared with the picture along its normal: from well inside outwards,
the first place where the colour leaves that of the skin.  Where there is no such place, hair or a
hand makes the outline, or it is as pale as the background, nothing is asked for.  Compare Bas, Smith,
Bolkart and Wuhrer, "Fitting a 3D Morphable Model to Edges: A Comparison Between Hard and Soft
Correspondences", ACCV Workshops 2016.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

__all__ = ["OutlineTerm"]

_STEPS = 29  # places looked at along a normal
_INSIDE, _OUTSIDE = 0.16, 0.12  # how far, in interocular distances


@lru_cache(maxsize=4)
def _edges(model):
    """Edges with two triangles whose ends are skin of the face, below the brows: vertices and triangles."""
    faces = model.faces
    wanted = model.part_faces("face", "head", "neck", "skin", "lips")
    numbers = np.flatnonzero(wanted)
    ends = np.sort(np.stack([faces[numbers], np.roll(faces[numbers], -1, axis=1)], 2).reshape(-1, 2), axis=1)
    key = ends[:, 0].astype(np.int64) * len(model.mean) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    owner = np.repeat(numbers, 3)[order]
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    ends = ends[order[same]]
    skin = model.part_vertices("face", "skin")
    height = model.mean[:, 1]
    marks = next(iter(model.landmarks.values()))
    located = marks.locate(model.mean, faces)
    # hair hides the outline of the forehead
    top = np.nanmedian(located[:, 1]) + 0.25 * np.nanmax(np.ptp(located[np.isfinite(located).all(1)], axis=0))
    keep = skin[ends].all(1) & (height[ends].max(1) < top)
    return ends[keep], np.column_stack([owner[same], owner[same + 1]])[keep]


class OutlineTerm:
    """Robust squared distances, along its normal, of the head's outline from that of the picture."""

    def __init__(self, model, modes: int, unit: float, sigma: float, count: int = 120):
        self.model, self.modes, self.unit, self.sigma, self.count = model, modes, unit, sigma, count
        self.found = 0

    def search(self, view, vertices, depth, low, scale, image):
        """Choose points of the outline and where the picture has them.

        `depth` is a depth buffer of the head whose pixel (0, 0) is `low` in the picture, `scale` of its
        pixels make one of the picture's.
        """
        self.found = 0
        ends, beside = _edges(self.model)
        if not len(ends):
            return
        flat, y = view.project(vertices)
        a, b, c = (flat[self.model.faces[:, k]] for k in range(3))
        u, v = b - a, c - a
        outside_seen = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
        on = np.flatnonzero(outside_seen[beside[:, 0]] != outside_seen[beside[:, 1]])
        if not len(on):
            return
        ends, beside = ends[on], beside[on]
        front = np.where(outside_seen[beside[:, 0]], beside[:, 0], beside[:, 1])
        p, q = flat[ends[:, 0]], flat[ends[:, 1]]
        line = q - p
        normal = np.column_stack([line[:, 1], -line[:, 0]])
        length = np.linalg.norm(normal, axis=1)
        middle = (p + q) / 2
        inner = flat[self.model.faces[front]].mean(1) - middle
        normal *= (-np.sign((normal * inner).sum(1)) / np.maximum(length, 1e-9))[:, None]
        near_depth = y[ends, 2].mean(1)
        # nothing of the head within 15 mm of depth just beyond the edge, and nothing before it
        height, width = depth.shape

        def depth_at(points):
            at = np.round((points - low) * scale).astype(int)
            inside = (at >= 0).all(1) & (at[:, 0] < width) & (at[:, 1] < height)
            at = np.clip(at, 0, [width - 1, height - 1])
            return np.where(inside, depth[at[:, 1], at[:, 0]], np.inf)

        free = length > 1e-6
        for far in (0.02, 0.05):
            free &= depth_at(middle + far * self.unit * normal) > near_depth + 15.0
        if not free.any():
            return
        chosen = np.flatnonzero(free)
        angle = np.arctan2(*(middle[chosen] - flat[np.unique(ends)].mean(0)).T)
        chosen = chosen[np.argsort(angle, kind="stable")]
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(self.count, len(chosen))).astype(int))]
        self._measure(image, ends[chosen], middle[chosen], normal[chosen])

    def _measure(self, image, ends, middle, normal):
        along = np.linspace(-_INSIDE, _OUTSIDE, _STEPS)
        places = middle[:, None] + along[None, :, None] * self.unit * normal[:, None]
        height, width = image.shape[:2]
        inside = ((places > 1) & (places < [width - 2, height - 2])).all((1, 2))
        flat = places.reshape(-1, 2).astype(np.float32)
        parts = [
            cv2.remap(image, flat[i : i + 30000, 0], flat[i : i + 30000, 1], cv2.INTER_LINEAR).reshape(-1, 3)
            for i in range(0, len(flat), 30000)
        ]
        colour = np.concatenate(parts).reshape(len(middle), _STEPS, 3).astype(float)
        reference = np.median(colour[:, :8], axis=1, keepdims=True)
        level = reference.mean(-1, keepdims=True)
        away = np.abs(colour - reference).mean(-1) / np.maximum(level[..., 0], 1e-3)
        noise = np.median(away[:, :8], axis=1)
        limit = np.maximum(0.2, 4 * noise)[:, None]
        beyond = away > limit
        # it must stay away for three places in a row
        stays = beyond[:, :-2] & beyond[:, 1:-1] & beyond[:, 2:]
        has = stays.any(1) & ~beyond[:, :4].any(1) & inside
        first = np.argmax(stays, axis=1)
        slope = np.abs(np.diff(colour, axis=1)).sum(-1)  # between places j and j + 1
        best = np.zeros(len(middle), int)
        top = np.full(len(middle), -1.0)
        rows = np.arange(len(middle))
        for shift in (-2, -1, 0, 1, 2):
            j = np.clip(first + shift, 0, _STEPS - 2)
            better = slope[rows, j] > top
            best[better], top[better] = j[better], slope[rows, j][better]
        has &= (best > 0) & (best < _STEPS - 3)
        offset = along[best] + 0.5 * (along[1] - along[0])
        keep = np.flatnonzero(has)
        self.found = len(keep)
        if not len(keep):
            return
        self.normal = normal[keep]
        self.aim = ((middle[keep] + (offset[keep, None] * self.unit) * normal[keep]) * normal[keep]).sum(1)
        m, k = self.model, self.modes
        ends = ends[keep]
        self.mean = m.mean[ends].mean(1)
        identity = m.identity[:k][:, ends].mean(2) * m.identity_std[:k, None, None]
        self.linear = np.concatenate([identity, m.expression[:, ends].mean(2)]).astype(float)

    def residual(self, view, coefficients):
        """(N,) in interocular distances; empty where nothing was found."""
        if not self.found:
            return np.zeros(0)
        flat = view.project(self.mean + np.tensordot(coefficients, self.linear, 1))[0]
        return ((flat * self.normal).sum(1) - self.aim) / self.unit

    def cost(self, view, coefficients) -> float:
        """Geman-McClure: at two deviations a point counts half as much as it would, it may be hair."""
        squared = self.residual(view, coefficients) ** 2 / self.sigma**2
        return float((squared / (1 + squared / 4)).sum())

    def equations(self, view, coefficients):
        """J^T W J and -J^T W r over (turn 3, shift 3, log focal, coefficients P); zeros where nothing was found."""
        if not self.found:
            return 0.0, 0.0
        residual = self.residual(view, coefficients)
        J = view.jacobian(self.mean + np.tensordot(coefficients, self.linear, 1), self.linear)
        J = np.einsum("nd,ndk->nk", self.normal, J) / self.unit
        w = 1 / self.sigma**2 / (1 + residual**2 / self.sigma**2 / 4) ** 2
        return J.T @ (J * w[:, None]), -J.T @ (w * residual)
