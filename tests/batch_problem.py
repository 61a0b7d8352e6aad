"""A small template, scans of known truth made from it, and work that dies, for tests of batches of registrations."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from affect3d.io.mesh_file import write_mesh
from affect3d.landmarks import Landmarks
from affect3d.mesh import Mesh
from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch
from affect3d.registration.frames import find_frames
from affect3d.registration.nonrigid import NonRigidOptions
from affect3d.registration.template import Template

COLUMNS, ROWS = 15, 18
#: Enough for scans that differ as little as ours.
QUICK = NonRigidOptions(stiffness=(3000, 300, 30, 3), iterations=3)


def shell(columns=COLUMNS, rows=ROWS) -> Mesh:
    """An open face-like shell, about 120 x 150 mm, with a nose."""
    x, y = np.meshgrid(np.linspace(-60, 60, columns), np.linspace(-75, 75, rows))
    z = 45 * np.sqrt(np.clip(1 - (x / 90) ** 2 - (y / 110) ** 2, 0, 1))
    z += 16 * np.exp(-((x / 14) ** 2) - ((y + 5) / 20) ** 2)
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first, second = (i, i + 1, i + columns + 1), (i, i + columns + 1, i + columns)
    faces = np.concatenate([np.column_stack(first), np.column_stack(second)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), z.ravel()]), faces)


def small_template() -> Template:
    mesh = shell()
    marks = np.full(68, -1)
    marks[27:67] = np.random.default_rng(1).choice(len(mesh.vertices), 40, replace=False)
    return Template(mesh, "ibug68", marks, "a small shell")


def pose(points, seed: int) -> np.ndarray:
    """A smooth deformation of a few millimetres and a shift, different for each seed."""
    rng = np.random.default_rng(seed)
    x, y, _ = points.T
    out = points.copy()
    out[:, 2] += rng.uniform(2, 5) * np.exp(-(((x - rng.uniform(-30, 30)) / 25) ** 2) - (y / 30) ** 2)
    out[:, 1] += rng.uniform(1, 3) * np.exp(-(((y + 40) / 25) ** 2)) * np.abs(x) / 40
    return out + rng.uniform(-30, 30, 3)


def write_scan(path, seed: int, landmarks: bool = True, unit: str = "mm") -> np.ndarray:
    """A scan of 1,000 vertices with landmarks beside it; the true vertices of the template come back."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    template, dense = small_template(), shell(30, 36)
    truth = pose(template.mesh.vertices, seed)
    write_mesh(path, Mesh(pose(dense.vertices, seed), dense.faces), unit=unit)
    if landmarks:
        points = [None if v < 0 else truth[v].tolist() for v in template.landmarks]
        content = {"scheme": "ibug68", "unit": "mm", "points": points}
        path.with_suffix(".landmarks.json").write_text(json.dumps(content))
    return truth


def find_true(path, mesh):
    """Landmarks where `write_scan` put them, for scans named seed_NUMBER."""
    template, seed = small_template(), int(Path(path).stem.rpartition("_")[2])
    truth = pose(template.mesh.vertices, seed)
    return Landmarks("ibug68", np.where(template.landmarks[:, None] < 0, np.nan, truth[template.landmarks]), "mm"), ""


def find_none(path, mesh):
    return None, "the scan shows no face"


def find_death(path, mesh):
    """Dies like a process that ran out of memory; if a file `once` lies beside the scan, only the first time."""
    once = Path(path).with_suffix(".once")
    if once.exists() and Path(path).with_suffix(".died").exists():
        return find_true(path, mesh)
    Path(path).with_suffix(".died").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def work(job):
    """("die", ...) dies, ("once", file) dies once, others come back squared after a while."""
    if isinstance(job, tuple):
        kind, flag = job
        if kind == "once" and Path(flag).exists():
            return "alive"
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return job * job


def threads(job):
    """Most threads that any library of linear algebra would use in a worker."""
    from threadpoolctl import threadpool_info

    return max(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")


def run(folder, out, **options):
    """Register all scans of a folder."""
    frames = find_frames([folder])
    return register_batch(
        frames, small_template(), out, find_landmark_files(frames), BatchOptions(**{"method_options": QUICK, **options})
    )


def content(folder):
    """Bytes of every file of a run but the log of times."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file() and p.name != "times.jsonl"
    }


def times(out):
    """Frames that were worked on, in the order in which they ended."""
    return [json.loads(line)["name"] for line in Path(out, "times.jsonl").read_text().splitlines()]
