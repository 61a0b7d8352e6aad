"""Registration of scans with a known answer: distance to the true corresponding vertex, and time, beside meshmonk.

    python benchmarks/bench_registration.py [--reference FOLDER] [--model ict_facekit_light.npz] [--amberg]

The reference pairs and the ICT face are not part of the repository; without the face the script says so and
ends.  Further pairs are made from the face by the same recipe: another identity and expression, each triangle in
four, vertices shuffled, 0.15 mm of noise, landmarks wrong by 1 mm (and by 5 mm), holes and floating shards; two have
eyes and mouth closed by a surface, as scanners see eyeballs and teeth, where the template has openings.
`pip install meshmonk==0.3.0` adds the peer's column, run in turn on the same pairs.

``--modes N ...`` adds columns that begin from the first N identity modes and all expressions of the model that made the
scans, which has 100: what a template's own statistics are worth, no comparison with programs that have none.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.rotation import rotation_exp
from affect3d.geometry.triangles import vertex_normals
from affect3d.mesh import Mesh
from affect3d.registration import register_amberg, register_nonrigid
from affect3d.registration.model_fit import fit_modes
from affect3d.registration.prior import DisplacementPrior

SHARED = Path(__file__).resolve().parents[2] / "shared"
#: Expressions of the made pairs; names without a side stand for both.
EXPRESSIONS = {
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.5, "jawOpen": 0.25},
    "surprise": {"browInnerUp": 1, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.6},
    "disgust": {"browDown": 0.5, "noseSneer": 0.8, "mouthUpperUp": 0.7, "eyeSquint": 0.4},
    "fear": {"browInnerUp": 0.8, "eyeWide": 0.9, "mouthStretch": 0.7, "jawOpen": 0.3},
    "skew": {"jawLeft": 0.6, "mouthLeft": 0.6, "mouthSmile_L": 0.5, "browOuterUp_L": 0.8, "eyeBlink_R": 0.7},
    "pucker": {"mouthPucker": 0.9, "cheekPuff": 0.4},
}
#: Made pairs: name, seed, expression, damage, landmark error in mm (root mean square of the length is root 3 of it).
MADE = [
    ("smile", 11, "smile", "", 1.0), ("surprise", 12, "surprise", "", 1.0),
    ("disgust", 13, "disgust", "", 1.0), ("smile, holes", 14, "smile", "holes", 1.0),
    ("fear", 15, "fear", "", 1.0), ("skew", 16, "skew", "", 1.0), ("pucker", 17, "pucker", "", 1.0),
    ("smile, 5 mm", 11, "smile", "", 5 / np.sqrt(3)), ("fear, 5 mm", 15, "fear", "", 5 / np.sqrt(3)),
    ("smile, eyes closed", 18, "smile", "closed", 1.0), ("surprise, eyes closed", 19, "surprise", "closed", 1.0),
]  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=SHARED / "reference")
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "ict_facekit_light.npz")
    parser.add_argument("--amberg", action="store_true", help="add the published method (half a minute a pair)")
    parser.add_argument("--modes", type=int, nargs="*", default=[], metavar="N", help="begin from N identity modes")
    options = parser.parse_args(argv)
    if not options.model.exists():
        print(f"{options.model} is not there, so there is nothing to register")
        return
    with np.load(options.model, allow_pickle=False) as file:
        model = {name: file[name] for name in file.files}
    faces, marks = model["faces"], model["landmarks_ibug68"][17:]
    template = Mesh(model["neutral"][:9409] * 10.0, faces[(faces < 9409).all(1)])
    methods = {"nonrigid": nonrigid}
    if options.amberg:
        methods["amberg"] = amberg
    try:
        import meshmonk
    except ImportError:
        print("meshmonk is not installed; its column is left out")
    else:
        methods[meshmonk.__name__] = peer
    for count in options.modes:
        methods[f"{count} modes"] = by_modes(model, len(template.vertices), count)
    pairs = [(p.stem.removeprefix("registration_"), p) for p in sorted(options.reference.glob("registration_*.npz"))]
    nonrigid(template, *_problem(made(model, template, 1, "smile", "", 1.0))[:2], marks)  # compiles, warms caches
    print(f"{'mean / 95 % mm, s':<18}" + "".join(f"{name:>24}" for name in methods))
    totals = {name: [] for name in methods}
    for name, source in pairs + [(f"own {m[0]}", m[1:]) for m in MADE]:
        pair = dict(np.load(source, allow_pickle=False)) if isinstance(source, Path) else made(model, template, *source)
        scan, positions, truth = _problem(pair)
        line = f"{name:<18}"
        for method, function in methods.items():
            began = time.perf_counter()
            vertices = function(template, scan, positions, marks)
            seconds = time.perf_counter() - began
            error = np.linalg.norm(vertices - truth, axis=1)
            totals[method].append((error.mean(), np.percentile(error, 95), seconds))
            line += f"{error.mean():>9.2f} /{np.percentile(error, 95):>6.2f}{seconds:>6.1f} "
        print(line, flush=True)
    rows = (np.mean(t, axis=0) for t in totals.values())
    print(f"{'mean':<18}" + "".join(f"{m:>9.2f} /{h:>6.2f}{s:>6.1f} " for m, h, s in rows))


def nonrigid(template, scan, positions, marks):
    return register_nonrigid(template, scan, marks, positions).vertices


def amberg(template, scan, positions, marks):
    return register_amberg(template, scan, marks, positions).vertices


def by_modes(model, vertices: int, count: int):
    """`nonrigid` from where the first identity modes and all expressions put the template."""
    identity = 10 * model["identity"][:count, :vertices].astype(float)
    modes = DisplacementPrior(np.concatenate([identity, 3.5 * model["expression"][:, :vertices].astype(float)]))

    def register(template, scan, positions, marks):
        start = fit_modes(template, modes, scan, marks, positions).vertices
        return register_nonrigid(template.with_vertices(start), scan, marks, positions).vertices

    return register


def peer(template, scan, positions, marks):
    """meshmonk's pyramid with its defaults, started from the landmarks."""
    import meshmonk

    start = procrustes(template.vertices[marks], positions).apply(template.vertices)
    result = meshmonk.pyramid_register(
        floating_features=_features(start, template.faces), target_features=_features(scan.vertices, scan.faces),
        floating_faces=template.faces.astype(np.int32), target_faces=scan.faces.astype(np.int32),
        floating_flags=np.ones(len(start), np.float32), target_flags=np.ones(len(scan.vertices), np.float32),
    )
    return np.asarray(result.aligned_vertices, float)[:, :3]


def _features(vertices, faces):
    return np.hstack([vertices, vertex_normals(vertices, faces)]).astype(np.float32)


def _problem(pair):
    return Mesh(pair["scan_vertices"], pair["scan_faces"]), pair["scan_landmarks"], pair["true_vertices"]


def made(model, template, seed, expression, damage, landmark_error):
    """A scan with a known answer, as the module says."""
    rng = np.random.default_rng(seed)
    count = len(template.vertices)
    modes = model["identity"][:, :count].astype(float)
    true = template.vertices + 10 * np.tensordot(rng.standard_normal(100), modes, 1)
    for name, weight in EXPRESSIONS[expression].items():
        for index, known in enumerate(model["expression_names"]):
            if str(known) in (name, f"{name}_L", f"{name}_R"):
                true = true + 10 * weight * model["expression"][index, :count].astype(float)
    true = true @ rotation_exp(rng.normal(0, 0.25, 3)).T + rng.normal(0, 60, 3)
    scanned = closed(true, template.faces) if damage == "closed" else (true, template.faces)
    vertices, faces = in_four(*scanned)
    vertices = vertices + rng.normal(0, 0.15, vertices.shape)
    if damage == "holes":
        vertices, faces = broken(vertices, faces, rng)
    order = rng.permutation(len(vertices))
    return {
        "scan_vertices": vertices[order], "scan_faces": np.argsort(order)[faces], "true_vertices": true,
        "scan_landmarks": true[model["landmarks_ibug68"][17:]] + rng.normal(0, landmark_error, (51, 3)),
    }  # fmt: skip


def in_four(vertices, faces):
    """Each triangle in four, the old vertices first."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, back = np.unique(sides, axis=0, return_inverse=True)
    ab, bc, ca = (back.reshape(-1, 3) + len(vertices)).T
    a, b, c = faces.T
    parts = (a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)
    return np.vstack([vertices, vertices[edges].mean(1)]), np.vstack([np.column_stack(p) for p in parts])


def closed(vertices, faces, rings=4):
    """The openings of eyes and mouth filled: eyeballs stand out by 4 mm, teeth lie 6 mm behind the lips."""
    edges = np.asarray(faces)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    codes = edges[:, 0].astype(np.int64) * len(vertices) + edges[:, 1]
    border = edges[~np.isin(codes, edges[:, 1].astype(np.int64) * len(vertices) + edges[:, 0])]
    after = {int(b): int(a) for a, b in border}
    loops = []
    while after:
        loop = [next(iter(after))]
        while loop[-1] in after:
            loop.append(after.pop(loop[-1]))
        loops.append(loop[:-1])
    loops.sort(key=len)
    for loop in loops[:-1]:
        rim = vertices[loop]
        middle, count = rim.mean(0), len(loop)
        out = np.cross(rim - middle, np.roll(rim, -1, 0) - middle).sum(0)
        deep = (4.0 if loop is not loops[-2] else -6.0) * out / np.linalg.norm(out)
        places = np.array(loop)
        for k in range(1, rings + 1):
            share = 1 - k / rings
            ring = middle + share * (rim - middle) + (1 - share**2) * deep if k < rings else (middle + deep)[None]
            new = len(vertices) + np.arange(count) % len(ring)
            vertices = np.vstack([vertices, ring])
            a, b, c, d = places, np.roll(places, -1), new, np.roll(new, -1)
            faces = np.vstack([faces, np.column_stack([a, b, c])] + ([np.column_stack([b, d, c])] if k < rings else []))
            places = new
    return vertices, faces


def broken(vertices, faces, rng):
    """Six holes and eight heaps of floating triangles."""
    keep = np.ones(len(vertices), bool)
    for middle in vertices[rng.choice(len(vertices), 6)]:
        keep &= np.linalg.norm(vertices - middle, axis=1) > rng.uniform(7, 13)
    faces = (np.cumsum(keep) - 1)[faces[keep[faces].all(1)]]
    vertices = vertices[keep]
    for _ in range(8):
        size = int(rng.integers(5, 20))
        heap = vertices[rng.integers(len(vertices))] + rng.normal(0, 30, 3) + rng.normal(0, 3, (size, 3))
        faces = np.vstack([faces, np.array([rng.choice(size, 3, replace=False) for _ in range(size)]) + len(vertices)])
        vertices = np.vstack([vertices, heap])
    return vertices, faces


if __name__ == "__main__":
    main()
