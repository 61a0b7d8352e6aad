"""Fitting a head to landmarks, time and error: ``python benchmarks/bench_fitting.py``.

Heads of known pose, identity and expression are drawn as landmarks with 1 % of the interocular distance of noise and
fitted again.  The expression scores that a detector would give are the true ones, off by 0.1 (normal).  Errors are
those of the skin of the face in the picture (median and 95th percentile over its points, medians over four heads, in %
of the interocular distance), of the pose in degrees, and of the expression (mean over its coefficients).  The peer in
the same run is OpenCV's pose alone (`solvePnP`, SQPnP, on the mean head): what one gets without the other unknowns.

Times are only worth something on an idle machine: the matrices are small, and threads of BLAS that wait for a busy core
make a fit ten times slower.

With ``--photos``, also the distance between detected and fitted landmarks on real photographs, by group.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import cv2
import numpy as np

from affect3d.camera import Camera
from affect3d.detect import FaceDetection
from affect3d.fitting import fit_face
from affect3d.geometry.rotation import rotation_exp
from affect3d.landmark_groups import FOREHEAD, LID_PAIRS, LIP_PAIRS, OUTLINE, interocular
from affect3d.landmarks import Landmarks

SIZE, FOCAL = (1000, 1000), 1400.0
SHOWN = {"jawOpen": 0.3, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.5, "browInnerUp": 0.4, "eyeBlinkLeft": 0.2}
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)


def model_from(name: str | None):
    """The default head, or a model file."""
    from affect3d.model.load import load_model

    return load_model(name) if name else load_model()


def draw(model, scheme: str, yaw: float, seed: int):
    """One known head: a detection with noise, and what is true."""
    rng = np.random.default_rng(seed)
    identity = 0.8 * rng.normal(size=min(60, len(model.identity)))
    known = {name: value for name, value in SHOWN.items() if name in model.expression_names}
    expression = model.expression_vector(known)
    vertices = model.instance(identity, expression)
    landmarks = model.landmarks[scheme].locate(vertices, model.faces)
    T = np.eye(4)
    turn = rotation_exp([0, 0, np.radians(rng.uniform(-20, 20))]) @ rotation_exp([0, np.radians(yaw), 0])
    T[:3, :3] = turn @ np.diag([1.0, -1, -1])
    T[:3, 3] = np.array([0, 0, 700.0]) - T[:3, :3] @ np.nanmean(landmarks, 0)
    camera = Camera(FOCAL, (np.array(SIZE) - 1) / 2, SIZE, T)
    points = camera.project(landmarks)
    frontal = FOCAL / 700 * interocular(scheme, landmarks)  # px, not foreshortened
    points = points + 0.01 * frontal * rng.normal(size=points.shape)
    scores = {name: float(np.clip(v + 0.1 * rng.normal(), 0, 1)) for name, v in known.items()}
    box = np.r_[np.nanmin(points, 0), np.nanmax(points, 0)]
    return FaceDetection(box, 1.0, Landmarks(scheme, points), None, scores), camera, vertices, frontal


def best_time(function, repeat: int) -> float:
    """Milliseconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def degrees(R, S) -> float:
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(R @ S.T)[0])))


def known_heads(model, repeat: int) -> None:
    skin = model.part_vertices("face", "lips")
    print(
        f"{'landmarks':<14} {'yaw':>4} {'fit ms':>7} {'iterations':>10} {'skin %':>7} {'95th %':>7} {'pose deg':>9}"
        f" {'expression':>10} {'pose-only ms':>13} {'skin %':>7} {'pose deg':>9}"
    )
    for scheme in ("mediapipe478", "ibug68"):
        if scheme not in model.landmarks:
            print(f"{scheme:<14} (the model has no such landmarks)")
            continue
        for yaw in (0, 15, 30, 45):
            rows = []
            for seed in range(4):
                detection, camera, vertices, frontal = draw(model, scheme, yaw, seed)
                fit = fit_face(detection, model, SIZE)
                ms = best_time(lambda: fit_face(detection, model, SIZE), repeat)

                def apart(other_camera, other):
                    d = other_camera.project(other[skin]) - camera.project(vertices[skin])
                    return 100 * np.linalg.norm(d, axis=1) / frontal

                error = apart(fit.camera, fit.vertices(model))
                truth = model.expression_vector({n: v for n, v in SHOWN.items() if n in model.expression_names})
                mean = model.landmarks[scheme].locate(model.mean, model.faces)
                used = np.isfinite(mean).all(1)
                K = fit.camera.focal * np.eye(3)
                K[:2, 2], K[2, 2] = fit.camera.centre, 1
                arguments = (mean[used], detection.landmarks.points[used], K, None)
                pose_ms = best_time(lambda: cv2.solvePnP(*arguments, flags=cv2.SOLVEPNP_SQPNP), repeat)
                _, vector, shift = cv2.solvePnP(*arguments, flags=cv2.SOLVEPNP_SQPNP)
                T = np.eye(4)
                T[:3, :3], T[:3, 3] = cv2.Rodrigues(vector)[0], shift.ravel()
                peer = Camera(fit.camera.focal, fit.camera.centre, SIZE, T)
                rows.append((
                    ms, fit.iterations, np.median(error), np.percentile(error, 95),
                    degrees(fit.camera.rotation, camera.rotation), np.abs(fit.expression - truth).mean(), pose_ms,
                    np.median(apart(peer, model.mean)), degrees(peer.rotation, camera.rotation),
                ))  # fmt: skip
            r = np.median(rows, axis=0)
            print(
                f"{scheme:<14} {yaw:>4} {r[0]:>7.1f} {r[1]:>10.0f} {r[2]:>7.2f} {r[3]:>7.2f} {r[4]:>9.2f}"
                f" {r[5]:>10.3f} {r[6]:>13.2f} {r[7]:>7.2f} {r[8]:>9.2f}"
            )


def photographs(model, folder: Path) -> None:
    """Median distance of detected and fitted landmarks by group, in % of the interocular distance."""
    from affect3d.detect import detect_faces
    from affect3d.io.image import read_image

    flat = lambda pairs: [k for pair in pairs for k in pair]  # noqa: E731
    scheme = "mediapipe478"
    jaw = [k for k in OUTLINE[scheme] if k not in FOREHEAD[scheme]]
    groups = {
        "lids": flat(LID_PAIRS[scheme]), "brows": BROWS, "outer lips": OUTER_LIPS,
        "inner lips": flat(LIP_PAIRS[scheme]), "jaw": jaw,
    }  # fmt: skip
    rows, times = [], []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
        photo = read_image(path)
        pixels = getattr(photo, "pixels", photo)
        faces = detect_faces(pixels)
        if not faces:
            print(f"no face in {path.name}")
            continue
        start = time.perf_counter()
        fit = fit_face(faces[0], model, pixels.shape[1::-1])
        times.append(1000 * (time.perf_counter() - start))
        distance = 100 * np.linalg.norm(fit.predicted - fit.targets, axis=1) / interocular(scheme, fit.targets)
        rows.append([np.nanmedian(distance[list(g)]) for g in groups.values()])
        if not fit.converged:
            print(f"{path.name}: {fit.reason}")
    if not rows:
        print(f"no photograph with a face in {folder}")
        return
    print(f"\n{len(rows)} photographs, {np.median(times):.0f} ms each; % of the interocular distance")
    for name, column in zip(groups, np.transpose(rows)):
        print(f"{name:<11} median {np.median(column):.2f}, worst photograph {column.max():.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model file instead of the default head")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--repeat", type=int, default=5, help="fits of which the fastest counts")
    options = parser.parse_args()
    model = model_from(options.model)
    start = time.perf_counter()
    detection = draw(model, "ibug68" if "mediapipe478" not in model.landmarks else "mediapipe478", 0, 0)[0]
    fit_face(detection, model, SIZE)
    print(f"{platform.machine()}, {os.cpu_count()} cores, model {model.name or options.model}")
    print(f"the first fit, with the rows of the model: {1000 * (time.perf_counter() - start):.0f} ms\n")
    known_heads(model, options.repeat)
    if options.photos:
        photographs(model, options.photos)


if __name__ == "__main__":
    main()
