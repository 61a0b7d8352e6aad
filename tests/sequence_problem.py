"""Recordings of known truth, made from a small face-like shell, for tests of batches of sequences."""

import json
from pathlib import Path

import numpy as np

from affect3d.geometry.rotation import rotation_exp
from affect3d.io.mesh_file import write_mesh
from affect3d.mesh import Mesh
from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch
from affect3d.registration.frames import find_frames
from affect3d.registration.nonrigid import NonRigidOptions
from affect3d.registration.template import Template

COLUMNS, ROWS = 25, 30
#: Enough for neutrals that differ as little from the template as ours.
QUICK = NonRigidOptions(stiffness=(3000, 300, 30, 3), iterations=3, passes=1)


def shell(columns=COLUMNS, rows=ROWS) -> Mesh:
    """An open face-like surface with a nose and two hollows, mm."""
    x, y = np.meshgrid(np.linspace(-60, 60, columns), np.linspace(-75, 75, rows))
    z = 45 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 110) ** 2, 0, 1))
    z += 18 * np.exp(-((x / 9) ** 2) - ((y + 5) / 18) ** 2)
    for side in (-1, 1):
        z -= 7 * np.exp(-(((x - 28 * side) / 12) ** 2) - ((y - 22) / 9) ** 2)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + columns + 1], -1), np.stack([i, i + columns + 1, i + columns], -1)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces)


_X, _Y, _ = shell().vertices.T
#: Vertices away from the border, beyond which a scan says nothing.
INNER = (np.abs(_X) < 50) & (np.abs(_Y) < 64)


def template() -> Template:
    mesh = shell()
    marks = np.full(68, -1)
    marks[27:67] = np.random.default_rng(1).choice(len(mesh.vertices), 40, replace=False)
    return Template(mesh, "ibug68", marks, "a small shell")


def performed(points, frame: float) -> np.ndarray:
    """Neutral at 0; a cheek swells and the head turns a little more with each frame."""
    x, y, _ = points.T
    strength = np.sin(frame / 6)
    out = points.copy()
    out[:, 2] += 5 * strength * np.exp(-((np.abs(x) - 35) / 16) ** 2 - ((y + 20) / 20) ** 2)
    out[:, 1] += 2 * strength * np.exp(-((y + 45) / 20) ** 2)
    turn = rotation_exp([0.03 * frame, -0.04 * frame, 0.01 * frame])
    return out @ turn.T + [1.5 * frame, 3, 20]


def undone(points, frame: float) -> np.ndarray:
    """Where the places that are at `points` in a frame were at rest, but for the small motion of the skin."""
    turn = rotation_exp([0.03 * frame, -0.04 * frame, 0.01 * frame])
    return (points - [1.5 * frame, 3, 20]) @ turn


def record(folder, sequences, count: int, first: float = 0, shift=(0, 0, 0), marks=(None,), names=None) -> dict:
    """Write sequences, each frame with another triangulation, noise and order; true vertices by name come back.

    The frame at which the performance is at 0 has landmarks beside it, and so have those named in `marks`.
    """
    truth, problem = {}, template()
    for which, sequence in enumerate(sequences):
        for k, name in zip(range(count), names or range(count)):
            rng = np.random.default_rng([which, k])
            dense = shell(51 + k % 3, 60 + k % 2)
            order = rng.permutation(len(dense.vertices))
            vertices = performed(dense.vertices, k + first) + shift + rng.normal(0, 0.05, dense.vertices.shape)
            path = Path(folder, sequence, f"{name}.ply")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mesh(path, Mesh(vertices[order], np.argsort(order)[dense.faces]), unit="mm")
            true = performed(problem.mesh.vertices, k + first) + shift
            truth[f"{sequence}/{name}"] = true
            if k + first == 0 or name in marks:
                points = [None if v < 0 else true[v].tolist() for v in problem.landmarks]
                content = {"scheme": "ibug68", "unit": "mm", "points": points}
                path.with_suffix(".landmarks.json").write_text(json.dumps(content))
    return truth


def frame_job():
    """A job of a frame, for what looks at names only."""
    from affect3d.registration.frame_work import FrameJob, Places

    return FrameJob("q/0", "q/0.ply", "0.ply", Places("out"), {"method": "track"})


def run(folder, out, **options):
    """Register all sequences of a folder."""
    frames = find_frames([folder])
    return register_batch(
        frames, template(), out, find_landmark_files(frames),
        BatchOptions(**{"method": "track", "neutral_options": QUICK, **options}),
    )  # fmt: skip
