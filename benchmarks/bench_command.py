"""`affect3d synthesize` as a user meets it: wall time and peak memory of whole processes.

    python benchmarks/bench_command.py [PHOTO...]

Without photos the astronaut that scikit-image ships is used, at 512 pixels and scaled to 1000.
The head and the networks are fetched and built first, so that only the work is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

PICTURE = ["--valence", "0.7", "--arousal", "0.4"]


def run(arguments):
    """Seconds, peak resident megabytes and the JSON report of one `affect3d` process."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    process = os.fork()
    if process == 0:
        os.dup2(writer, 1)
        os.execv(sys.executable, [sys.executable, "-m", "affect3d", *arguments, "--json"])
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"affect3d {' '.join(arguments)} failed: {text.strip()}")
    return seconds, usage.ru_maxrss / 1024, json.loads(text)


def photos(folder):
    """The astronaut in two sizes."""
    import cv2
    from skimage.data import astronaut

    from affect3d.io.image import write_image

    pixels = astronaut()
    for size in (512, 1000):
        path = folder / f"astronaut{size}.png"
        write_image(path, cv2.resize(pixels, (size, size), interpolation=cv2.INTER_CUBIC))
        yield path


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = options.photos or list(photos(folder))
        run(["synthesize", str(chosen[0]), *PICTURE, "--out", str(folder / "warm.png")])
        print(f"{'photo':<24} {'what':<10} {'cold s':>7} {'loaded s':>9} {'MB':>6}")
        for path in chosen:
            for what, extra, out in (
                ("picture", PICTURE, "one.png"),
                ("sheet", ["--grid"], "sheet.jpg"),
                ("film", ["--path", "0,0 0.8,0.5 -0.6,0.6"], "film.mp4"),
            ):
                seconds, megabytes, report = run(["synthesize", str(path), *extra, "--out", str(folder / out)])
                parts = report["results"][0]["seconds"]
                loaded = sum(value for key, value in parts.items() if key != "model")
                print(f"{path.name:<24.24} {what:<10} {seconds:7.2f} {loaded:9.2f} {megabytes:6.0f}", flush=True)


if __name__ == "__main__":
    main()
