"""Poisson blending beside OpenCV's seamlessClone, same masks, same run: ``python benchmarks/bench_poisson.py``.

Both get the same byte images and the same mask.  They do not answer the same question: seamlessClone solves in the
mask's bounding box and rounds, `poisson_blend` solves in the mask itself.  The residual is that of the discrete
equation, computed here in float64 from the float32 result.  Memory is the growth of the peak resident size of a fresh
process over one call, after a small one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time

import cv2
import numpy as np


def masks(n: int) -> dict[str, np.ndarray]:
    """Bool masks (n, n) of several shapes."""
    rng = np.random.default_rng(1)
    y, x = (np.mgrid[:n, :n] - n / 2) / n
    disc = x**2 + y**2 < 0.47**2
    blobs = cv2.GaussianBlur(rng.standard_normal((n, n)), (0, 0), 5) > 0
    blobs[[0, -1]] = blobs[:, [0, -1]] = False
    border = (x < 0.2) & (y > -0.3)
    return {
        "disc": disc,
        "face-like ellipse": (x / 0.24) ** 2 + (y / 0.33) ** 2 < 1,
        "ragged blobs": blobs,
        "holes (5 % of pixels)": disc & (rng.random((n, n)) > 0.05),
        "picture border": border,
    }


def pictures(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth random byte images (n, n, 3)."""
    rng = np.random.default_rng(0)
    out = []
    for sigma in (2, 4):
        image = cv2.GaussianBlur(rng.standard_normal((n, n, 3)), (0, 0), sigma)
        out.append(np.clip(128 + image / image.std() * 45, 0, 255).astype(np.uint8))
    return out[0], out[1]


def clone(source, photo, mask):
    """seamlessClone placed so that the mask's bounding box stays where it is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    centre = (int(columns[0] + columns[-1] + 1) // 2, int(rows[0] + rows[-1] + 1) // 2)
    return cv2.seamlessClone(source, photo, mask.astype(np.uint8) * 255, centre, cv2.NORMAL_CLONE)


def blend(source, photo, mask):
    from affect3d.render.poisson import poisson_blend

    return poisson_blend(source, photo, mask)


def residual(image, source, mask) -> float:
    """Largest violation of the discrete equation, in grey levels."""
    gap = image.astype(np.float64) - source
    flow = np.zeros_like(gap)
    for axis in (0, 1):
        step = np.diff(gap, axis=axis)
        pad = [(0, 0)] * 3
        pad[axis] = (0, 1)
        flow -= np.pad(step, pad)
        pad[axis] = (1, 0)
        flow += np.pad(step, pad)
    return float(abs(flow[mask]).max())


def best_time(function, *arguments, repeat: int) -> float:
    """Milliseconds of the fastest of `repeat` calls, after one that warms up."""
    function(*arguments)
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def _memory(function, n: int, name: str, queue) -> None:
    photo, source = pictures(48)
    function(source, photo, masks(48)["disc"])
    photo, source = pictures(n)
    mask = masks(n)[name]
    with open("/proc/self/clear_refs", "w") as file:  # forget the peak of making the pictures
        file.write("5")
    with open("/proc/self/status") as file:
        before = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    function(source, photo, mask)
    with open("/proc/self/status") as file:
        after = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    queue.put((after - before) / 1024)


def memory(function, n: int, name: str) -> float:
    """MiB that one call adds to the peak of a fresh process; nan where the system does not say."""
    # Freed arrays go back to the system at once, so that they cannot hide new ones.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_memory, args=(function, n, name, queue))
    process.start()
    process.join()
    return queue.get() if process.exitcode == 0 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="sides of the pictures, pixels")
    parser.add_argument("--repeat", type=int, default=7, help="calls of which the fastest counts")
    parser.add_argument("--no-memory", action="store_true", help="skip the memory columns, which start processes")
    options = parser.parse_args()

    start = time.perf_counter()
    import affect3d.render.poisson  # noqa: F401

    imported = time.perf_counter()
    photo, source = pictures(48)
    small = masks(48)["disc"]
    called = time.perf_counter()
    blend(source, photo, small)
    print(f"{platform.machine()}, {os.cpu_count()} cores, OpenCV {cv2.__version__} on {cv2.getNumThreads()} threads")
    print(f"import {imported - start:.2f} s, first call {time.perf_counter() - called:.2f} s")
    print("(a first call of seconds, not tenths, means that the compiled code was not cached yet)\n")
    header = f"{'px':>5} {'mask':<22} {'ours ms':>8} {'OpenCV ms':>10} {'ratio':>6} {'cycles':>6} {'residual':>9}"
    print(header + ("" if options.no_memory else f" {'ours MiB':>9} {'OpenCV MiB':>11}"))
    for n in options.sizes:
        photo, source = pictures(n)
        for name, mask in masks(n).items():
            result = blend(source, photo, mask)
            ours = best_time(blend, source, photo, mask, repeat=options.repeat)
            theirs = best_time(clone, source, photo, mask, repeat=options.repeat)
            line = f"{n:5d} {name:<22} {ours:8.1f} {theirs:10.1f} {ours / theirs:6.2f} {result.iterations:6d}"
            line += f" {residual(result.image, source, mask):9.4f}"
            if not options.no_memory:
                line += f" {memory(blend, n, name):9.0f} {memory(clone, n, name):11.0f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
