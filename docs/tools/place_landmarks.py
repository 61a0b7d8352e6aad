"""Measure where MediaPipe's 478 points lie on a head model, on photographs of real faces.

    python docs/tools/place_landmarks.py MODEL OUT.npz PHOTO... [--rounds 3]

The model must know the iBUG 68 points.  Round one fits it by these, bends it onto them and reads off
which surface point each of the 478 detected points covers; the median over all photos is the new
table, made symmetric and put back on the skin.  Later rounds fit by the table of the round before.
Points of the inner lips and lids are then moved to the border that the model itself shows when its
mouth and eyes are open.  The table holds triangle numbers and barycentric coordinates only: nothing
of the photos.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from affect3d.camera import Camera
from affect3d.detect import detect_faces, to_ibug68
from affect3d.fitting import fit_face
from affect3d.geometry.proximity import nearest_on_mesh
from affect3d.io.image import read_image
from affect3d.landmark_groups import LID_PAIRS, LIP_PAIRS, OUTLINE, UNUSED, interocular
from affect3d.landmarks import Landmarks, MeshLandmarks
from affect3d.model.load import load_model
from affect3d.render.raster import interpolate, rasterize, screen_points
from affect3d.synthesis.conform import Conformer, open_pose

SCHEME = "mediapipe478"
SKIN = ("face", "lips", "head")
INSIDE = ("mouth", "teeth_upper", "teeth_lower", "gums", "tongue")


def measure(model, detection, size, fit_by: Landmarks):
    """Positions (478, 3) on the mean head of the points seen in one photo; NaN where none is."""
    fit = fit_face(replace(detection, landmarks=fit_by, depth=None), model, size)
    if fit.rms_relative > 0.06:
        return np.full((478, 3), np.nan)
    marks = model.landmarks[fit_by.scheme]
    used = np.flatnonzero(np.isfinite(fit.targets).all(1) & marks.present)
    used = used[~np.isin(used, OUTLINE[fit_by.scheme])]
    posed = model.instance(fit.identity, fit.expression)
    located = marks.locate(posed, model.faces)
    shift = np.zeros((len(used), 3))
    depth = fit.camera.to_camera(located[used])[:, 2:]
    shift[:, :2] = (fit.targets[used] - fit.camera.project(located[used])) * depth / fit.camera.focal
    pose = open_pose(model)
    conformer = Conformer(pose, marks.locate(pose, model.faces)[used], np.full(len(used), 0.05))
    posed = posed + conformer.spread(shift @ fit.camera.rotation)
    scale = 3.0
    camera = fit.camera.resized(int(size[0] * scale), int(size[1] * scale))
    skin = np.flatnonzero(model.part_faces(*SKIN))
    points = screen_points(camera, posed)
    raster = rasterize(points, model.faces[skin], *camera.size)
    place = interpolate(raster, model.faces[skin], model.mean)
    seen = detection.landmarks.points
    at = np.rint((seen + 0.5) * scale - 0.5)
    out = np.full((478, 3), np.nan)
    inside = (at >= 0).all(1) & (at < camera.size).all(1)
    columns, rows = at[inside].astype(int).T
    found = raster.face[rows, columns] >= 0
    out[np.flatnonzero(inside)[found]] = place[rows[found], columns[found]]
    # closed lips do not say which lip a point of the inner contour is on
    unit = interocular(SCHEME, seen)
    for upper, lower in LIP_PAIRS[SCHEME]:
        if np.linalg.norm(seen[upper] - seen[lower]) < 0.035 * unit:
            out[[upper, lower]] = np.nan
    return out


def mirror_pairs(shape):
    """(478,) the point on the other side, from the mean detected shape."""
    flipped = shape * [-1, 1]
    return cKDTree(shape).query(flipped)[1]


def borders(model):
    """Points of the mean head along the inner lips and the lids, as the open head shows them: name -> (N, 3)."""
    pose = open_pose(model)
    T = np.diag([1.0, -1, -1, 1])
    T[2, 3] = 900
    camera = Camera(9000.0, [1000, 900], (2000, 2000), T)
    raster = rasterize(screen_points(camera, pose), model.faces, 2000, 2000)
    place = interpolate(raster, model.faces, model.mean)
    part = np.where(raster.covered, model.parts[np.maximum(raster.face, 0)], 255)
    ids = {n: i for i, n in enumerate(model.part_names)}
    skin = np.isin(part, [ids[n] for n in SKIN if n in ids])
    found = {}
    for key, names in (("mouth", INSIDE), ("left", ("eye_left",)), ("right", ("eye_right",))):
        hole = np.isin(part, [ids[n] for n in names if n in ids])
        above = skin[:-1] & hole[1:]
        below = skin[1:] & hole[:-1]
        found[key] = place[:-1][above], place[1:][below]
    return found


def to_surface(model, positions):
    """(faces, weights) of the nearest skin points of the mean head."""
    skin = np.flatnonzero(model.part_faces("face", "lips", "head"))
    found = nearest_on_mesh(positions, model.mean, model.faces[skin])
    return skin[found.faces], found.weights


def snap(positions, rims):
    """Inner lips and lids onto the borders (upper, lower) that the open head shows, by nearest x."""
    out = positions.copy()
    corners = {"mouth": (78, 308)}
    for upper, lower in LIP_PAIRS[SCHEME]:
        for index, rim in ((upper, rims["mouth"][0]), (lower, rims["mouth"][1])):
            out[index] = _at(rim, positions[index])
    for k, (upper, lower) in enumerate(LID_PAIRS[SCHEME]):
        side = "right" if k < 7 else "left"
        for index, rim in ((upper, rims[side][0]), (lower, rims[side][1])):
            out[index] = _at(rim, positions[index])
    for index in corners["mouth"]:
        both = np.concatenate(rims["mouth"])
        out[index] = both[both[:, 0].argmin() if positions[index][0] < 0 else both[:, 0].argmax()]
    return out


def _at(rim, position):
    near = np.argsort(np.abs(rim[:, 0] - position[0]))[:9]
    return rim[near].mean(0)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    model = load_model(options.model)
    model = replace(model, landmarks={"ibug68": model.landmarks["ibug68"]})
    photos = []
    for path in options.photos:
        pixels = read_image(path).pixels
        faces = detect_faces(pixels)
        if faces:
            photos.append((faces[0], (pixels.shape[1], pixels.shape[0])))
    shape = np.mean([_frontal(d.landmarks.points) for d, _ in photos], axis=0)
    mirror = mirror_pairs(shape)
    rims = borders(model)
    previous = None
    for turn in range(options.rounds):
        rows = []
        for detection, size in photos:
            fit_by = to_ibug68(detection.landmarks) if turn == 0 else detection.landmarks
            rows.append(measure(model, detection, size, fit_by))
        positions = np.nanmedian(rows, axis=0)
        positions = (positions + positions[mirror] * [-1, 1, 1]) / 2
        lost = ~np.isfinite(positions).all(1)
        faces, weights = to_surface(model, np.nan_to_num(snap(positions, rims)))
        lost[list(UNUSED[SCHEME])] = True
        faces[lost], weights[lost] = -1, 0
        marks = MeshLandmarks(SCHEME, faces, weights)
        model = replace(model, landmarks={**model.landmarks, SCHEME: marks})
        where = marks.locate(model.mean, model.faces)
        change = np.nan if previous is None else np.nanmedian(np.linalg.norm(where - previous, axis=1))
        spread = np.nanmedian(np.linalg.norm(np.nanstd(rows, axis=0), axis=1))
        print(f"round {turn + 1}: {int(lost.sum())} points lost, median spread {spread:.2f} mm, moved {change:.2f} mm")
        previous = where
    table = {"faces": faces.astype(np.int32), "weights": weights.astype(np.float32), "triangles": len(model.faces)}
    np.savez_compressed(options.out, **table)


def _frontal(points):
    """Centred, upright, scaled to the interocular distance."""
    right, left = points[33], points[263]
    across = (left - right) / np.linalg.norm(left - right)
    frame = np.array([across, [-across[1], across[0]]])
    return (points - (left + right) / 2) @ frame.T / np.linalg.norm(left - right)


if __name__ == "__main__":
    main()
