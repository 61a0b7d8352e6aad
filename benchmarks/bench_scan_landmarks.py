"""Landmarks found on scans without hands: distance to the given ones, seconds, and what is refused.

    python benchmarks/bench_scan_landmarks.py [--shared FOLDER] [--turns 7] [--heads 16]

Three truths: `james.obj` with the points that came with it, the reference pairs with their points (1 mm of noise) and
random people and expressions of the default head and of ICT-FaceKit with the models' own points.  Each is turned at
random.  Conventions differ between all of these, so beside the mean distance stands the distance left when the
mean offset of each point over all heads of a row is taken away: that is what the finder itself scatters.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from affect3d.fitting.scan_landmarks import find_scan_landmarks
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.io.image import read_image
from affect3d.io.landmark_files import read_landmarks
from affect3d.io.mesh_file import read_mesh
from affect3d.mesh import Mesh
from affect3d.model.load import load_model

GROUPS = {"jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48),
          "lips": slice(48, 68)}  # fmt: skip
ACTS = [{}, {"mouthSmile": 0.9, "cheekSquint": 0.6}, {"browInnerUp": 0.9, "eyeWide": 0.7, "jawOpen": 0.5},
        {"browDown": 0.9, "noseSneer": 0.6, "mouthPress": 0.5}, {"jawOpen": 0.9}, {"eyeBlink": 1.0},
        {"mouthPucker": 0.8}, {"mouthFrown": 0.7, "browInnerUp": 0.6}]  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--heads", type=int, default=16)
    options = parser.parse_args(argv)
    print(f"{'':<34}{'found':>7}{'17-67':>7}{'median':>8}{'worst':>7}{'scatter':>9}"
          + "".join(f"{name:>7}" for name in GROUPS) + f"{'s':>7}{'max s':>7}")  # fmt: skip
    rng = np.random.default_rng(7)
    turns = [np.eye(3), rotation_exp([0, 0, np.pi]), rotation_exp([0, np.pi / 2, 0])]
    turns += [random_rotation(rng) for _ in range(max(options.turns - 3, 0))]
    path = options.shared / "scans" / "james.obj"
    if path.exists():
        mesh, truth = read_mesh(path, unit="mm"), read_landmarks(path.with_suffix(".ljson")).points
        texture = read_image(path.with_suffix(".jpg")).pixels
        rough = Mesh(mesh.vertices + rng.normal(0, 0.3, mesh.vertices.shape), mesh.faces)
        row("james, texture", [(mesh, truth, turn) for turn in turns], texture)
        row("james, shape", [(Mesh(mesh.vertices, mesh.faces), truth, turn) for turn in turns])
        row("james, shape, 0.3 mm noise", [(rough, truth, turn) for turn in turns])
        row("james, texture, frame before known", [(mesh, truth, turn) for turn in turns], texture, near=True)
    pairs = sorted((options.shared / "reference").glob("registration_*.npz"))
    if pairs:
        row("reference pairs", [(*pair(file), turn) for file in pairs for turn in (np.eye(3), random_rotation(rng))])
    ict = options.shared / "models" / "ict_facekit_light.npz"
    for name, spec in (("default head", "default"), ("ICT-FaceKit", f"ict:{ict}")):
        if spec != "default" and not ict.exists():
            continue
        model = load_model(spec)
        people = [(*person(model, i, rng), random_rotation(rng)) for i in range(options.heads)]
        row(name, people)
        row(f"{name}, 0.3 mm noise", [(noisy(mesh, rng), truth, turn) for mesh, truth, turn in people])
        row(f"{name}, holes", [(holed(mesh, rng), truth, turn) for mesh, truth, turn in people])
        row(f"{name}, frame before known", people, near=True)
        refusals(name, people)


def row(name, cases, texture=None, near=False):
    offsets, seconds, lost = [], [], 0
    for mesh, truth, turn in cases:
        turned = mesh.with_vertices(mesh.vertices @ turn.T)
        began = time.perf_counter()
        # the head of the frame before, some degrees away
        start = rotation_exp([0.05, 0.08, -0.03]) @ turn.T if near else None
        found = find_scan_landmarks(turned, texture, near=start)
        seconds.append(time.perf_counter() - began)
        if found.found:
            offsets.append(found.landmarks.points @ turn - truth)
        else:
            lost += 1
            print(f"    lost: {found.reason}")
    if not offsets:
        print(f"{name:<34}{0:>4}/{len(cases)}")
        return
    offsets = np.stack(offsets)
    error = np.linalg.norm(offsets, axis=2)
    inner = np.nanmean(error[:, 17:], axis=1)
    scatter = np.nanmean(np.linalg.norm(offsets - np.nanmean(offsets, axis=0), axis=2)[:, 17:])
    groups = "".join(f"{np.nanmean(error[:, part]):>7.1f}" if np.isfinite(error[:, part]).any() else f"{'-':>7}"
                     for part in GROUPS.values())  # fmt: skip
    print(f"{name:<34}{len(cases) - lost:>4}/{len(cases):<2}{inner.mean():>7.2f}{np.median(inner):>8.2f}"
          f"{inner.max():>7.2f}{scatter:>9.2f}{groups}{np.mean(seconds):>7.2f}{max(seconds):>7.2f}")  # fmt: skip


def refusals(name, people):
    """Heads without their faces, and backs of heads, must be refused."""
    taken = 0
    for mesh, _, turn in people[:6]:
        middle = mesh.vertices[mesh.faces].mean(1)
        back = Mesh(mesh.vertices @ turn.T, mesh.faces[middle[:, 2] < -20])
        found = find_scan_landmarks(back)
        taken += found.found
    print(f"{name + ', faces cut off':<34}{taken:>4}/{min(len(people), 6)} taken for faces")


def random_rotation(rng):
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    angle = 2 * np.arccos(np.clip(w, -1, 1))
    return rotation_exp(angle * np.array([x, y, z]) / max(np.linalg.norm([x, y, z]), 1e-12))


def pair(file):
    with np.load(file, allow_pickle=False) as data:
        truth = np.full((68, 3), np.nan)
        truth[17:] = data["scan_landmarks"]
        return Mesh(data["scan_vertices"], data["scan_faces"]), truth


def person(model, i, rng):
    act = {}
    for name, value in ACTS[i % len(ACTS)].items():
        sides = [full for full in model.expression_names if full in (name, name + "Left", name + "Right")]
        act.update({full: value for full in sides})
    vertices = model.instance(0.8 * rng.standard_normal(len(model.identity)), model.expression_vector(act))
    return Mesh(vertices, model.faces), model.landmarks["ibug68"].locate(vertices, model.faces)


def noisy(mesh, rng):
    return mesh.with_vertices(mesh.vertices + rng.normal(0, 0.3, mesh.vertices.shape))


def holed(mesh, rng, count=5, radius=8.0):
    """Holes on the side that looks forward."""
    middle = mesh.vertices[mesh.faces].mean(1)
    ahead = np.flatnonzero(vertex_normals(mesh.vertices, mesh.faces)[mesh.faces[:, 0], 2] > 0.5)
    kept = np.ones(len(mesh.faces), bool)
    for seed in rng.choice(ahead, count):
        kept &= np.linalg.norm(middle - middle[seed], axis=1) > radius
    return Mesh(mesh.vertices, mesh.faces[kept])


if __name__ == "__main__":
    main()
