"""Differentiable rendering, time: ``python benchmarks/bench_render.py``.

A ball of 20,480 triangles at 256 x 256 pixels and one of 50,000 at 1024 x 1024, with colours at the vertices and
antialiased outlines, triangles seen from behind left out.  Forward is from homogeneous pixel coordinates to the
picture, backward from the picture's gradient to positions and colours.  The peer in the same run, where it is
installed, is DEODR 0.2.3; its time is that of its compiled renderer alone, without the outline flags that its caller
has to find.  Least and median times of the runs; on a busy machine only the least ones mean something.

With ``--device cuda``, the torch path on a GPU, by the same clock after synchronising.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch

from affect3d.render.differentiable import Topology, draw_colours, pixel_points
from affect3d.render.differentiable.backends import outline_flags


def ball(faces: int) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of about that many triangles, as parallels and meridians with shifted rows."""
    rows = round(float(np.sqrt(faces / 4)))
    columns = 2 * rows
    theta = np.linspace(0, np.pi, rows + 1)
    phi = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    vertices = 80 * np.column_stack([
        (np.sin(t) * np.sin(p)).ravel(), np.cos(t).ravel(), (np.sin(t) * np.cos(p)).ravel()
    ])  # fmt: skip
    grid = np.arange((rows + 1) * columns).reshape(rows + 1, columns)
    a, b = grid[:-1].ravel(), np.roll(grid, -1, axis=1)[:-1].ravel()
    c, d = np.roll(grid, -1, axis=1)[1:].ravel(), grid[1:].ravel()
    return vertices, np.vstack([np.column_stack([a, c, b]), np.column_stack([a, d, c])])


def scene(faces: int, size: int, device: str, dtype):
    vertices, triangles = ball(faces)
    numbers = (1.1 * size, [(size - 1) / 2] * 2, np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 220.0])
    camera = [torch.tensor(np.asarray(n), dtype=dtype, device=device) for n in numbers]
    points = pixel_points(torch.tensor(vertices, dtype=dtype, device=device), *camera)
    colours = torch.tensor(vertices / 160 + 0.5, dtype=dtype, device=device)
    return points, Topology.of(triangles, len(vertices), device), colours


def ours(points, topology, colours, size: int, repeats: int, backend: str = "auto"):
    wait = torch.cuda.synchronize if points.is_cuda else lambda: None
    forward, backward = [], []
    for _ in range(repeats):
        p, c = points.clone().requires_grad_(), colours.clone().requires_grad_()
        wait()
        start = time.perf_counter()
        picture = draw_colours(p, topology, c, size, size, cull=True, backend=backend)
        wait()
        middle = time.perf_counter()
        picture.backward(torch.ones_like(picture))
        wait()
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    return picture.detach(), forward[1:], backward[1:]


def deodr(points, topology, colours, size: int, repeats: int):
    import deodr.differentiable_renderer as peer

    p = points[0].double()
    faces = topology.faces.numpy().astype(np.uint32)
    count = len(p)
    forward, backward = [], []
    for _ in range(repeats):
        drawn = peer.Scene2D(
            faces=faces, faces_uv=faces, ij=(p[:, :2] / p[:, 2:]).numpy(), depths=p[:, 2].numpy(),
            textured=np.zeros(len(faces), bool), uv=np.zeros((count, 2)), shade=np.zeros(count),
            colors=colours.double().numpy(), shaded=np.zeros(len(faces), bool), edgeflags=outline_flags(p, topology),
            height=size, width=size, nb_colors=3, texture=np.zeros((0, 0, 3)), background_color=np.zeros(3),
            clockwise=False, backface_culling=True, perspective_correct=False,
        )  # fmt: skip
        start = time.perf_counter()
        picture, _ = drawn.render(1.0)
        middle = time.perf_counter()
        drawn.clear_gradients()
        drawn.render_backward(np.ones_like(picture))
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    return torch.from_numpy(picture), forward[1:], backward[1:]


def report(name: str, forward, backward) -> None:
    milliseconds = [1e3 * f(t) for t in (forward, backward) for f in (min, np.median)]
    print("{:<34} forward {:6.1f} ({:6.1f})   backward {:6.1f} ({:6.1f}) ms".format(name, *milliseconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="*", default=None, help="numbers of threads to try")
    options = parser.parse_args()
    most = torch.get_num_threads()
    threads = options.threads or sorted({1, most})
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, {most} threads; least time (median)")
    for faces, size in ((20_480, 256), (50_000, 1024)):
        print(f"\n{faces} triangles, {size} x {size} pixels")
        for dtype in (torch.float32, torch.float64):
            points, topology, colours = scene(faces, size, options.device, dtype)
            for count in threads if options.device == "cpu" else (most,):
                torch.set_num_threads(count)
                picture, forward, backward = ours(points, topology, colours, size, options.repeats)
                kind = f"{count} threads" if options.device == "cpu" else options.device
                report(f"affect3d {str(dtype)[6:]}, {kind}", forward, backward)
        if options.device == "cpu":
            try:
                other, forward, backward = deodr(points, topology, colours, size, options.repeats)
            except ImportError:
                print("deodr is not installed")
                continue
            report("deodr", forward, backward)
            print(f"mean difference of the pictures {float((picture[0] - other).abs().mean()):.1e} (colours in 0..1)")


if __name__ == "__main__":
    main()
