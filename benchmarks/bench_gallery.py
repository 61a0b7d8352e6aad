"""A gallery from generation to figures: seconds and peak memory of each step, and reading as the measure of the rest.

    python benchmarks/bench_gallery.py [--frames 60000] [--mesh-frames 6000] [--vertices 4500] [--folder FOLDER]

The paper's size is ``--frames 600000 --mesh-frames 60000``: 600,000 frames of 180 subjects in 1,580 sequences kept as
coefficients (some 40 MB), and 60,000 frames kept as meshes (3.2 GB).  Each step runs in a process of its own, so that
its memory is its own.  "bytes" reads the files of the frames and does nothing with them, "blocks" reads them through
the store; both after one reading, so that all find the files in the system's cache as far as they fit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.model import MorphableModel

SUBJECTS, SEQUENCES = 180, 1580


def head(vertices: int) -> MorphableModel:
    """A curved patch with smooth random expressions and identities, of about so many vertices."""
    side = max(4, round(np.sqrt(vertices)))
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-80, 80, side), np.linspace(-100, 100, side)))
    p = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([np.stack([p, p + 1, p + side + 1], 1), np.stack([p, p + side + 1, p + side], 1)])
    rng = np.random.default_rng(0)

    def bumps(count, size, width):
        centres = rng.uniform([-70, -90], [70, 90], (count, 2))
        reach = np.exp(-((x - centres[:, :1]) ** 2 + (y - centres[:, 1:]) ** 2) / (2 * width**2))
        return reach[..., None] * rng.normal(size=(count, 1, 3)) * size

    mean = np.stack([x, y, 60 - (x**2 + y**2) / 250], 1)
    return MorphableModel(
        mean, faces, bumps(20, 3, 50), np.ones(20), bumps(len(ARKIT_SHAPES), 6, 20), ARKIT_SHAPES,
        name="benchmark patch",
    )  # fmt: skip


def generate(path, frames, vertices, meshes):
    from affect3d.affect.generation import GenerationOptions, generate_store

    share = frames / 600_000
    sequences = max(12, round(SEQUENCES * share))
    options = GenerationOptions(max(4, round(SUBJECTS * share)), sequences, frames)
    generate_store(path, options, head(vertices), meshes)


def read_bytes(path):
    total = 0
    for file in sorted(Path(path).rglob("*")):
        if file.is_file() and "c" in file.relative_to(path).parts:
            total += len(file.read_bytes())
    return total


def read_blocks(path):
    from affect3d.affect.store import open_gallery

    for _, block in open_gallery(path).offsets().without_neutral().blocks():
        block[-1, 0].sum()


def statistics(path):
    from affect3d.affect.class_moments import class_moments
    from affect3d.affect.store import open_gallery

    class_moments(open_gallery(path))


def identity(path):
    from affect3d.affect.store import open_gallery
    from affect3d.analysis.class_identity import class_identity

    class_identity(open_gallery(path))


def apexes(path):
    from affect3d.affect.store import open_gallery

    open_gallery(path).apex_rows(8)


def picture(path):
    from affect3d.affect.store import open_gallery
    from affect3d.analysis.gallery_figures import write_gallery_picture

    with tempfile.TemporaryDirectory() as folder:
        write_gallery_picture(Path(folder) / "g.png", open_gallery(path))


def measured(work, *arguments, warm=None):
    """(seconds, peak MB) of `work` in a new process; `warm` compiles first, on something small."""
    queue = multiprocessing.get_context("spawn").Queue()
    child = multiprocessing.get_context("spawn").Process(target=_timed, args=(queue, work, arguments, warm))
    child.start()
    found = queue.get()
    child.join()
    return found


def _timed(queue, work, arguments, warm):
    if warm is not None:
        work(warm)
    seconds = []
    # what takes a moment is done three times, and the best counts: others use the machine too
    while not seconds or (len(seconds) < 3 and sum(seconds) < 10 and warm is not None):
        start = time.perf_counter()
        work(*arguments)
        seconds.append(time.perf_counter() - start)
    queue.put((min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--mesh-frames", type=int, default=6_000)
    parser.add_argument("--vertices", type=int, default=4_500)
    parser.add_argument("--folder", help="where the galleries are written and removed again")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-gallery-", dir=arguments.folder))
    try:
        for meshes, frames in ((False, arguments.frames), (True, arguments.mesh_frames)):
            store, small = folder / "gallery", folder / "small"
            generate(small, 400, arguments.vertices, meshes)
            print(f"{frames} frames as {'meshes' if meshes else 'coefficients'}, {arguments.vertices} vertices")
            print(f"  {'step':<12}{'seconds':>9}{'peak MB':>9}{'times bytes':>13}{'times blocks':>14}")
            rows = [("generate", *measured(generate, store, frames, arguments.vertices, meshes))]
            read_bytes(store)
            for name, work in (
                ("bytes", read_bytes), ("blocks", read_blocks), ("statistics", statistics), ("identity", identity),
                ("apexes", apexes), ("picture", picture),
            ):  # fmt: skip
                rows.append((name, *measured(work, store, warm=small)))
            seconds = {row[0]: row[1] for row in rows}
            for name, took, peak in rows:
                ratios = [took / max(seconds[k], 1e-9) for k in ("bytes", "blocks")]
                print(f"  {name:<12}{took:9.2f}{peak:9.0f}{ratios[0]:13.1f}{ratios[1]:14.1f}", flush=True)
            size = sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
            print(f"  {size / 2**20:.0f} MB on disk")
            shutil.rmtree(store)
            shutil.rmtree(small)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
