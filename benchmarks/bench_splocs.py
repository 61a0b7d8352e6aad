"""Sparse localized components on the reference problem: energy after each round, and seconds.

    python benchmarks/bench_splocs.py [FOLDER]

FOLDER holds ``models/ict_facekit_light.npz`` and ``reference/splocs_weights.npz``; by default the folder ``shared``
beside the repository, or the one that AFFECT3D_SHARED names.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from affect3d.model.splocs import SplocsOptions, sparse_localized_components

#: Energies of the authors' program (tneumann/splocs) on this problem; it took 27 s on an idle machine of two cores.
AUTHORS = (131313.24, 87594.61, 71368.25, 62408.31, 56720.83, 52740.37, 49505.40, 46932.73, 45230.41, 43663.48)


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


def main() -> None:
    chosen = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AFFECT3D_SHARED")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared"
    frames, rest, faces = problem(folder)
    sparse_localized_components(frames[:8, :300], 2, rest[:300])  # compile first
    for name, options in (
        ("ten rounds", SplocsOptions(outer_iterations=10, tolerance=0)),
        ("own convergence test, 1e-3", SplocsOptions(outer_iterations=200)),
        ("signed, ten rounds", SplocsOptions(constraint="signed", outer_iterations=10, tolerance=0)),
    ):
        begin = time.perf_counter()
        found = sparse_localized_components(frames, 50, rest, faces, options)
        seconds = time.perf_counter() - begin
        print(f"{name}: {seconds:.2f} s, {len(found.energies)} rounds, energy {found.energies[-1]:.2f}, "
              f"residual {found.residual / found.scale**2:.1f}, "
              f"vertices at rest {found.sparsity.mean():.2f}")  # fmt: skip
        if len(found.energies) == 10 and options.constraint == "unit":
            for ours, theirs in zip(found.energies, AUTHORS):
                print(f"  {ours:12.2f}   authors {theirs:12.2f}   ratio {ours / theirs:.4f}")


if __name__ == "__main__":
    main()
