"""Sparse localized components: the reference problem against the paper's own way, and problems of the paper's size.

    python benchmarks/bench_splocs.py [--shared FOLDER] [reference] [learn] [project] [meshes]

`reference`: energies after each of ten rounds and seconds, of this package and of `plain_splocs.py` in the same run.
`learn`: 12,000 frames kept as coefficients, 84 and 500 components, with the convergence test and from a warm start.
`project`: weights of 600,000 frames for 84, 150, 200, 300 and 500 components.
`meshes`: 12,000 frames of 53,215 vertices, made on the fly from few shapes: seconds a round and memory.
All if none is named.  FOLDER holds ``models/ict_facekit_light.npz`` and ``reference/splocs_weights.npz``; by default
the folder ``shared`` beside the repository, or the one that AFFECT3D_SHARED names.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from plain_splocs import plain_splocs

from affect3d.affect.performances import PerformanceOptions, perform
from affect3d.model.component_weights import component_weights_stream
from affect3d.model.frame_products import CoefficientFrames, FrameArray
from affect3d.model.splocs import SplocsOptions, reconstruction_error, sparse_localized_components

#: Energies of the authors' program (tneumann/splocs) on this problem; it took 27 s on an idle machine of two cores.
AUTHORS = (131313.24, 87594.61, 71368.25, 62408.31, 56720.83, 52740.37, 49505.40, 46932.73, 45230.41, 43663.48)
COUNTS = (84, 150, 200, 300, 500)


def problem(folder: Path):
    """Frames (200, 9409, 3), rest (9409, 3) and faces of the reference problem."""
    with np.load(folder / "models" / "ict_facekit_light.npz", allow_pickle=False) as ict:
        neutral, faces = ict["neutral"][:9409].astype(float), ict["faces"]
        expression = ict["expression"][:, :9409].astype(float)
    with np.load(folder / "reference" / "splocs_weights.npz", allow_pickle=False) as file:
        weights = file["weights"]
    faces = faces[(faces < 9409).all(1)]
    frames = np.concatenate([neutral[None], neutral + np.tensordot(weights, expression, 1)])
    low, high = neutral.min(0), neutral.max(0)
    frames = (frames - (low + high) / 2) / (high - low).max()
    return frames, frames[0].copy(), faces


def small_face(folder: Path, cells: int = 50):
    """Rest (V, 3) mm, faces and 52 expressions of a face of some 5,000 vertices: the ICT face, neighbours merged."""
    with np.load(folder / "models" / "ict_facekit_light.npz", allow_pickle=False) as ict:
        rest, faces = ict["neutral"][:9409] * 10.0, ict["faces"]
        basis = ict["expression"][:52, :9409] * 10.0
    faces = faces[(faces < 9409).all(1)]
    cell = np.floor(rest / (np.ptp(rest[:, 0]) / cells)).astype(int)
    _, first, place = np.unique(cell, axis=0, return_index=True, return_inverse=True)
    faces = place.ravel()[faces]
    faces = faces[(faces != np.roll(faces, 1, 1)).all(1)]
    return rest[first], faces, basis[:, first]


def performances(frames: int):
    """(F, 52) float32 coefficients less those of the neutral frame, and the rows of the 12,000 apex frames."""
    sequences, length = max(1, frames // (180 * 370)), 370
    played = perform(PerformanceOptions(subjects=180, sequences=sequences, frames=length), np.random.default_rng(0))
    offsets = (played.expression - played.expression[:, :, :1]).reshape(-1, length, played.expression.shape[-1])
    each = max(1, 12_000 // len(offsets))
    apex = np.argsort(-(offsets**2).sum(2), axis=1, kind="stable")[:, : 5 * each : 5]
    rows = np.sort((apex + np.arange(len(offsets))[:, None] * length).ravel())
    return offsets.reshape(-1, offsets.shape[-1]), rows


def reference(folder: Path) -> None:
    frames, rest, faces = problem(folder)
    sparse_localized_components(frames[:8, :300], 2, rest[:300])  # compile first
    begin = time.perf_counter()
    _, _, plain = plain_splocs(frames, rest, faces, 50)
    slow = time.perf_counter() - begin
    print(f"the paper's way in plain NumPy: {slow:.2f} s, energy {plain[-1]:.2f}")
    for name, options in (
        ("ten rounds", SplocsOptions(outer_iterations=10, tolerance=0)),
        ("own convergence test", SplocsOptions(outer_iterations=200)),
        ("own convergence test, 1e-3", SplocsOptions(outer_iterations=200, tolerance=1e-3)),
        ("signed, ten rounds", SplocsOptions(constraint="signed", outer_iterations=10, tolerance=0)),
    ):
        begin = time.perf_counter()
        found = sparse_localized_components(frames, 50, rest, faces, options)
        seconds = time.perf_counter() - begin
        print(f"{name}: {seconds:.2f} s ({slow / seconds:.1f} times as fast as plain NumPy), "
              f"{len(found.energies)} rounds, energy {found.energies[-1]:.2f}, "
              f"residual {found.residual / found.scale**2:.1f}, "
              f"vertices at rest {found.sparsity.mean():.2f}")  # fmt: skip
        if len(found.energies) == 10 and options.constraint == "unit":
            for ours, theirs, also in zip(found.energies, AUTHORS, plain):
                print(f"  {ours:12.2f}   authors {theirs:12.2f}   plain NumPy {also:12.2f}   "
                      f"ours/authors {ours / theirs:.4f}")  # fmt: skip


def learn(folder: Path) -> dict:
    rest, faces, basis = small_face(folder)
    offsets, rows = performances(600_000)
    frames = CoefficientFrames(offsets[rows], basis)
    sparse_localized_components(frames.subset(np.arange(100)), 3, rest, faces, SplocsOptions(outer_iterations=1))
    print(f"{len(rows)} frames as coefficients, {len(rest)} vertices")
    known, start = {}, None
    for name, count, chain in (("from nothing", 84, False), ("from nothing", 500, False)) + tuple(
        ("from the one before", n, True) for n in COUNTS
    ):
        begin, busy = time.perf_counter(), time.process_time()
        found = sparse_localized_components(frames, count, rest, faces, start=start if chain else None)
        print(f"K = {count} {name}: {time.perf_counter() - begin:.1f} s ({time.process_time() - busy:.1f} s of all "
              f"processors), {len(found.energies)} rounds, energy "
              f"{found.energies[0]:.0f} -> {found.energies[-1]:.0f}, converged {found.converged}, error "
              f"{reconstruction_error(frames, found.components, found.weights):.4f}, "
              f"vertices at rest {found.sparsity.mean():.2f}", flush=True)  # fmt: skip
        if chain:
            start, known[count] = found, found.components
    return known


def project(folder: Path, known: dict | None) -> None:
    known = known or learn(folder)
    _, _, basis = small_face(folder)
    offsets, _ = performances(600_000)
    frames, total = CoefficientFrames(offsets, basis), 0.0
    for _ in component_weights_stream(frames.subset(np.arange(64)), next(iter(known.values()))):
        pass  # compile first
    for count, components in known.items():
        begin, busy = time.perf_counter(), time.process_time()
        rows = sum(len(weights) for _, weights in component_weights_stream(frames, components))
        seconds = time.perf_counter() - begin
        total += seconds
        print(f"K = {count}: weights of {rows} frames in {seconds:.1f} s "
              f"({time.process_time() - busy:.1f} s of all processors), peak {_peak():.2f} GB", flush=True)  # fmt: skip
    print(f"together {total:.1f} s")


class _Expanded:
    """Frames that are made when they are read: (F, V, 3) float32."""

    def __init__(self, offsets, basis):
        self._offsets, self._basis = offsets, basis.reshape(len(basis), -1).astype(np.float32)
        self.shape = (len(offsets), basis.shape[1], 3)

    def __getitem__(self, item):
        return (self._offsets[item].astype(np.float32) @ self._basis).reshape(-1, *self.shape[1:])


def meshes(folder: Path, rounds: int = 2, count: int = 84, vertices: int = 53_215) -> None:
    with np.load(folder / "models" / "ict_facekit_light.npz", allow_pickle=False) as ict:
        basis = ict["expression"][:52].astype(np.float32) * 10
    basis = basis[:, np.arange(vertices) % basis.shape[1]]  # as many numbers as a mesh of that size has
    offsets, rows = performances(600_000)
    frames = FrameArray(_Expanded(offsets[rows], basis))
    begin, marks = time.perf_counter(), []
    sparse_localized_components(frames, count, options=SplocsOptions(outer_iterations=rounds, tolerance=0),
                                progress=lambda *_: marks.append(time.perf_counter()))  # fmt: skip
    print(f"{frames.shape} frames as meshes, K = {count}: first round after {marks[0] - begin:.0f} s, then "
          f"{np.diff(marks).mean():.0f} s a round, peak {_peak():.2f} GB", flush=True)  # fmt: skip


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="reference, learn, project, meshes; all by default")
    parser.add_argument("--shared", type=Path, help="folder of development data")
    arguments = parser.parse_args()
    what = arguments.what or ["reference", "learn", "project", "meshes"]
    chosen = arguments.shared or os.environ.get("AFFECT3D_SHARED")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared"
    known = None
    for name in what:
        if name == "reference":
            reference(folder)
        elif name == "learn":
            known = learn(folder)
        elif name == "project":
            project(folder, known)
        elif name == "meshes":
            meshes(folder)
        else:
            parser.error(f"expected reference, learn, project or meshes, got {name!r}")


if __name__ == "__main__":
    main()
