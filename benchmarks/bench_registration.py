"""Registration of the reference pairs: distance to the true corresponding vertex, and time.

    python benchmarks/bench_registration.py [--reference FOLDER] [--model ict_facekit_light.npz]

The pairs are not part of the repository; without them the script says so and ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from affect3d.mesh import Mesh
from affect3d.registration import register_nonrigid

#: meshmonk 0.3 (pyramid, its defaults, started from the landmark Procrustes), mean / 95 % in mm; 5.8 s each.
MESHMONK = {"smile": (1.83, 4.59), "surprise": (2.85, 10.02), "disgust": (2.68, 8.28), "holes": (2.92, 9.25)}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=SHARED / "reference")
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "ict_facekit_light.npz")
    options = parser.parse_args(argv)
    if not options.model.exists():
        print(f"{options.model} is not there, so there is nothing to register")
        return
    with np.load(options.model, allow_pickle=False) as file:
        faces, marks = file["faces"], file["landmarks_ibug68"][17:]
        template = Mesh(file["neutral"][:9409] * 10.0, faces[(faces < 9409).all(1)])
    print(f"{'pair':<10}{'mean mm':>9}{'95 % mm':>9}{'seconds':>9}   meshmonk 0.3")
    for name, (mean, high) in MESHMONK.items():
        path = options.reference / f"registration_{name}.npz"
        if not path.exists():
            continue
        with np.load(path, allow_pickle=False) as pair:
            scan, truth = Mesh(pair["scan_vertices"], pair["scan_faces"]), pair["true_vertices"]
            began = time.perf_counter()
            result = register_nonrigid(template, scan, marks, pair["scan_landmarks"])
            seconds = time.perf_counter() - began
        error = np.linalg.norm(result.vertices - truth, axis=1)
        print(f"{name:<10}{error.mean():>9.2f}{np.percentile(error, 95):>9.2f}{seconds:>9.1f}   {mean} / {high}, 5.8 s")


if __name__ == "__main__":
    main()
