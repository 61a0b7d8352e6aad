"""What a batch of registrations costs beside the registrations: processes, records, and continuing a finished run.

    python benchmarks/bench_batch.py [--frames 60]

Scans and template are synthetic (1,080 and 270 vertices), so that little is computed and the rest shows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main(argv=None):
    import batch_problem

    from affect3d.registration.batch import BatchOptions, find_landmark_files, register_batch
    from affect3d.registration.frames import find_frames

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for k in range(options.frames):
            batch_problem.write_scan(Path(folder, f"scans/q/{k}.ply"), k)
        frames, template = find_frames([Path(folder, "scans")]), batch_problem.small_template()
        marks = find_landmark_files(frames)
        print(f"{'run':<32}{'seconds':>9}{'ms a frame':>12}")
        for name, out, jobs in (
            ("1 process", "one", 1), ("2 processes", "two", 2), ("2 processes, all was done", "two", 2),
        ):  # fmt: skip
            began = time.perf_counter()
            result = register_batch(frames, template, Path(folder, out), marks, BatchOptions(jobs=jobs))
            seconds = time.perf_counter() - began
            assert result.count("failed") == 0
            print(f"{name:<32}{seconds:>9.2f}{1000 * seconds / len(frames):>12.1f}")
        same = all(
            Path(folder, "one", base, file).read_bytes() == Path(folder, "two", base, file).read_bytes()
            for base in ("meshes/q", "records/q")
            for file in os.listdir(Path(folder, "one", base))
        )
        print(f"the same bytes from 1 and 2 processes: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
