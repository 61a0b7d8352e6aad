"""Differentiable rendering, time: ``python benchmarks/bench_render.py``.

A ball of 20,480 triangles at 256 x 256 pixels and one of 50,000 at 1024 x 1024, with colours at the vertices and
antialiased outlines, triangles seen from behind left out.  Forward is from homogeneous pixel coordinates to the
picture, backward from the picture's gradient to positions and colours.

The peer in the same run, where it is installed, is DEODR 0.2.3, drawing the same colours into the same kind of
picture, in float64, which is all it has.  Not quite the same work: DEODR is given divided coordinates, depths and
the outline flags, and interpolates along the screen; ours starts from homogeneous coordinates, checks them,
finds the outlines itself, interpolates in perspective, and keeps what the way back needs.

The programs take turns, and the least of many times counts.  With one thread it is the processor time of the
process, which other work on the machine disturbs least.  With more it is the time on the clock, and beside it the
longest chain: processor time of the main thread plus that of the busiest other one, which is what the clock would
show on a machine with nothing else to do, memory and waking up threads aside.

"samples" is `draw` with a function of samples, as textures and light need it, here interpolated colours again; with
``--texture`` a mip-mapped texture of 1024 x 1024 texels instead.  With ``--device cuda`` the torch path on a GPU, by
the clock after synchronising.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch

from affect3d.render.differentiable import threads as pool_threads
from affect3d.render.differentiable import (
    Topology, draw, draw_colours, interpolate, pixel_points, screen_derivatives,
)  # fmt: skip
from affect3d.render.differentiable.backends import outline_flags
from affect3d.render.mipmap import footprint_level, mipmap, sample_mipmap

SCENES = ((20_480, 256), (50_000, 1024))


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


class Ours:
    """One picture and its gradient a call; a table of times."""

    def __init__(self, points, topology, colours, size: int, threads: int, samples: bool, texture: bool):
        self.scene, self.size, self.threads = (points, topology, colours), size, threads
        self.samples, self.texture = samples, texture
        device = "cpu, {} thread{}".format(threads, "" if threads == 1 else "s") if not points.is_cuda else "cuda"
        kind = "texture" if texture else "samples" if samples else "colours"
        self.name = f"affect3d {kind}, {str(points.dtype)[6:]}, {device}"
        self.alone = threads == 1 and not points.is_cuda
        self.texels = torch.rand(1024, 1024, 3, generator=torch.Generator().manual_seed(0)).to(points)

    def __call__(self, clock):
        points, topology, colours = self.scene
        torch.set_num_threads(self.threads)
        wait = torch.cuda.synchronize if points.is_cuda else lambda: None
        p, c = points.clone().requires_grad_(), colours.clone().requires_grad_()
        texels = self.texels.clone().requires_grad_() if self.texture else None

        def shade(samples):
            if not self.texture:
                return interpolate(c, topology.faces, samples)
            uv = interpolate(c[:, :2], topology.faces, samples)
            slope = screen_derivatives(p, topology.faces, samples)
            level = footprint_level(c.detach()[topology.faces[samples.face], :2], slope, (1024, 1024))
            return sample_mipmap(mipmap(texels), uv, level)

        wait()
        start = clock()
        if self.samples or self.texture:
            picture = draw(p, topology, self.size, self.size, shade, cull=True)
        else:
            picture = draw_colours(p, topology, c, self.size, self.size, cull=True)
        wait()
        middle = clock()
        self.picture = picture.detach()
        gradient = torch.ones_like(picture)
        wait()
        begin = clock()
        picture.backward(gradient)
        wait()
        return middle - start, clock() - begin


class Deodr:
    """The peer, in the same way."""

    name, alone = "deodr colours, float64, cpu, 1 thread", True

    def __init__(self, points, topology, colours, size: int):
        import deodr.differentiable_renderer as peer

        p = points[0].double()
        faces = topology.faces.numpy().astype(np.uint32)
        self.size, self.scene = size, lambda: peer.Scene2D(
            faces=faces, faces_uv=faces, ij=(p[:, :2] / p[:, 2:]).numpy(), depths=p[:, 2].numpy(),
            textured=np.zeros(len(faces), bool), uv=np.zeros((len(p), 2)), shade=np.zeros(len(p)),
            colors=colours.double().numpy(), shaded=np.zeros(len(faces), bool), edgeflags=flags,
            height=size, width=size, nb_colors=3, texture=np.zeros((0, 0, 3)), background_color=np.zeros(3),
            clockwise=False, backface_culling=True, perspective_correct=False,
        )  # fmt: skip
        flags = outline_flags(p, topology)

    def __call__(self, clock):
        drawn = self.scene()
        start = clock()
        picture, _ = drawn.render(1.0)
        middle = clock()
        self.picture = torch.from_numpy(picture)
        gradient = np.ones_like(picture)
        begin = clock()
        drawn.clear_gradients()
        drawn.render_backward(gradient)
        return middle - start, clock() - begin


def clocks() -> np.ndarray:
    """The clock, the processor time of the main thread, and that of each thread of the pool, in seconds."""
    out = np.zeros(2 + 64)
    pool = () if pool_threads._POOL is None else sorted(pool_threads._POOL[2]._threads, key=lambda t: t.ident)
    for k, thread in enumerate(pool):
        out[2 + k] = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    out[:2] = time.perf_counter(), time.thread_time()
    return out


def measure(programs, repeats: int) -> None:
    """Let the programs take turns and print a line for each, in milliseconds."""
    times = {program: [] for program in programs}
    for turn in range(repeats + 2):
        for program in programs:
            times[program].append(program(time.process_time if program.alone else clocks))
    for program in programs:
        found = 1e3 * np.array(times[program][2:])  # (repeats, 2) or (repeats, 2, clocks)
        if program.alone:
            report(program.name, found)
        else:
            report(program.name, found[..., 0])
            report("  its longest chain", found[..., 1] + found[..., 2:].max(-1))


def report(name: str, found) -> None:
    (forward, backward), (usual_f, usual_b) = found.min(0), np.median(found, 0)
    print(f"{name:<44} forward {forward:6.2f} ({usual_f:6.2f})   backward {backward:6.2f} ({usual_b:6.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, nargs="*", default=None, help="numbers of threads to try")
    parser.add_argument("--texture", action="store_true", help="a mip-mapped texture too")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    most = torch.get_num_threads()
    threads = [most] if cuda else options.threads or sorted({1, most})
    name = torch.cuda.get_device_name() if cuda else platform.machine()
    print(f"{name}, torch {torch.__version__}, {most} threads; least milliseconds (median)")
    for faces, size in SCENES:
        print(f"\n{faces} triangles, {size} x {size} pixels")
        programs = []
        for dtype in (torch.float32, torch.float64):
            arguments = *scene(faces, size, options.device, dtype), size
            programs += [Ours(*arguments, count, samples=False, texture=False) for count in threads]
            programs += [Ours(*arguments, count, samples=True, texture=False) for count in threads]
            if options.texture:
                programs += [Ours(*arguments, count, samples=True, texture=True) for count in threads]
        if not cuda:
            try:
                programs.append(Deodr(*arguments))
            except ImportError:
                print("deodr is not installed")
        measure(programs, options.repeats)
        if isinstance(programs[-1], Deodr):
            other = float((programs[0].picture[0] - programs[-1].picture).abs().mean())
            print(f"mean difference of the pictures {other:.1e} (colours in 0..1)")


if __name__ == "__main__":
    main()
