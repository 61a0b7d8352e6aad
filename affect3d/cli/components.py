"""`affect3d components`: what moves together, and only around one place, in the frames of a gallery."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]

DESCRIPTION = """\
Learn sparse localized components (Neumann et al. 2013) from the frames of a gallery and write them
to a .safetensors file: displacements that each lie around one place of the face, and weights in
[0, 1] (--constraint unit) or [-1, 1] (signed, so that a component deforms both ways)."""

EPILOG = """\
The penalty grows with the number of frames, as what it is weighed against does: --sparsity says how much it
is for 200 frames, where Neumann et al. use 2.  A larger one gives components that are more local."""

#: Weights and products of so many frames and components fit a machine of 4 GB.
LARGEST = 120_000_000
#: With --frames apex: of each sequence, so many that there are about as many as in the paper.
APEX_FRAMES = 12_000


def add_parser(commands, common) -> None:
    parser = commands.add_parser(
        "components", parents=[common], help="learn sparse localized components from a gallery",
        description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("store", metavar="STORE", help="a gallery")
    parser.add_argument("--count", required=True, type=numbers.whole(1, 5000), metavar="K", help="how many components")

    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, metavar="FILE", help="name of the .safetensors file")
    group.add_argument("--glb", metavar="FILE", help="the components as named morph targets of the head at rest")
    group.add_argument("--weights", action="store_true", help="keep the weights of the frames in the file")
    group.add_argument("--force", action="store_true", help="replace files that exist")

    group = parser.add_argument_group("which frames")
    group.add_argument(
        "--frames", choices=("apex", "all"), default="apex",
        help="the most expressive ones of each sequence (default), or all",
    )  # fmt: skip
    group.add_argument(
        "--apex", type=numbers.whole(1, 10_000), metavar="N",
        help=f"apex frames of each sequence (default: as many as make about {APEX_FRAMES})",
    )  # fmt: skip
    group.add_argument("--classes", nargs="+", type=numbers.whole(0, 99), metavar="C", help="valence-arousal classes")
    group.add_argument("--split", metavar="NAME", help="only the subjects of a split that the gallery names")

    group = parser.add_argument_group("how")
    group.add_argument("--constraint", choices=("unit", "signed"), default="unit", help="weights in [0, 1] or [-1, 1]")
    group.add_argument("--seeds", nargs="+", type=numbers.whole(0, 2**31 - 1), metavar="VERTEX",
                       help="vertices around which the first components start")  # fmt: skip
    group.add_argument("--sparsity", type=_positive, metavar="L",
                       help="weight of the penalty for 200 frames (default 2)")  # fmt: skip
    group.add_argument("--rounds", type=numbers.whole(1, 10_000), metavar="N", help="at most so many (default 50)")
    group.add_argument("--tolerance", type=_share, metavar="T",
                       help="stop when a round lowers the energy by less than this share (default 0.01)")  # fmt: skip
    group.add_argument("--start", metavar="FILE", help="go on from the components of this file")
    group.add_argument("--curve", nargs="+", type=numbers.whole(1, 5000), default=[], metavar="K",
                       help="report error and sparsity for these numbers of components, too")  # fmt: skip
    parser.set_defaults(run=_run)


def _positive(text: str) -> float:
    value = numbers._number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _share(text: str) -> float:
    value = numbers._number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {text}")
    return value


def _check(a) -> None:
    from affect3d.cli.outputs import check_output

    outputs = [(a.out, "--out", ".safetensors")] + ([(a.glb, "--glb", ".glb")] if a.glb else [])
    for name, option, suffix in outputs:
        if Path(name).suffix.lower() != suffix:
            raise UsageError(f"{option}: expected a name ending in {suffix}, got {name!r}")
        if os.path.realpath(name) in [os.path.realpath(p) for p in (a.store, a.start) if p]:
            raise UsageError(f"{name}: is an input as well and is never overwritten; name another output")
        if Path(name).exists() and not a.force:
            raise UsageError(f"{name}: exists already; name another output, or replace it with --force")
    if a.apex and a.frames == "all":
        raise UsageError("--apex goes with --frames apex only")
    if a.start and a.curve:
        raise UsageError("--start and --curve exclude each other: a curve starts with its smallest number")
    if any(k >= a.count for k in a.curve):
        raise UsageError(f"--curve: expected numbers below --count {a.count}, got {max(a.curve)}")
    if a.seeds and len(a.seeds) > a.count:
        raise UsageError(f"--seeds: expected at most --count {a.count} vertices, got {len(a.seeds)}")
    for name, _, _ in outputs:
        check_output(Path(name))


def _rows(gallery, a):
    """(M,) rows of the gallery that are learned from, and a sentence that says which they are."""
    import numpy as np

    rows = gallery.select(classes=a.classes, split=a.split)
    said = "all frames"
    if a.frames == "apex":
        sequences = len(np.unique(gallery.sequence[rows])) if len(rows) else 1
        many = a.apex or max(1, -(-APEX_FRAMES // sequences))
        rows = np.intersect1d(rows, gallery.apex_rows(many))
        said = f"the {many} most expressive frames of each sequence"
    if a.classes:
        said += f" of the classes {', '.join(map(str, a.classes))}"
    if a.split:
        said += f" of the split {a.split}"
    if not len(rows):
        raise ValueError(f"{a.store}: the gallery has no frames of these classes")
    if len(rows) * a.count > LARGEST:
        raise ValueError(f"--count: {a.count} components of {len(rows)} frames need too much memory; "
                         f"use --frames apex, or at most {LARGEST // len(rows)} components")  # fmt: skip
    return rows, said


def _run(a) -> Report:
    _check(a)
    import hashlib
    import time

    import numpy as np

    from affect3d.affect.store import open_gallery
    from affect3d.model.component_curves import component_curves
    from affect3d.model.component_file import (
        ComponentFile, components_to_morphable, load_components, save_components,
    )  # fmt: skip
    from affect3d.model.splocs import SplocsOptions, scaled_sparsity, sparse_localized_components
    from affect3d.progress import terminal

    began = time.perf_counter()
    gallery = open_gallery(a.store)
    rest, faces = np.asarray(gallery.rest, float), np.asarray(gallery.faces)
    seeds = tuple(a.seeds or ())
    if seeds and max(seeds) >= len(rest):
        raise UsageError(f"--seeds: vertices must lie in [0, {len(rest)}), got {max(seeds)}")
    start = None
    if a.start:
        start = load_components(a.start).learned
        if start.constraint != a.constraint:
            raise UsageError(f"--start: {a.start} was learned with --constraint {start.constraint}")
    rows, said = _rows(gallery, a)
    given = {"outer_iterations": a.rounds, "tolerance": a.tolerance}
    options = SplocsOptions(
        a.constraint, scaled_sparsity(len(rows), 2.0 if a.sparsity is None else a.sparsity),
        **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    frames = gallery.frames(rows)
    curves = None
    if a.curve:
        kept = {}
        curves = component_curves(
            frames, [*a.curve, a.count], rest, faces, options, seeds=seeds, keep=kept.__setitem__, progress=terminal
        )
        learned = kept[a.count]
    else:
        learned = sparse_localized_components(
            frames, a.count, rest, faces, options, seeds=seeds, start=start, progress=terminal
        )
    digest = hashlib.sha256(f"{gallery.content}".encode() + np.asarray(rows, "<i8").tobytes()).hexdigest()
    file = ComponentFile(learned, rest, faces, options, digest, f"{said} of {Path(a.store).name}: {len(rows)} frames")
    save_components(file, a.out, weights=a.weights)
    outputs = {"components": a.out}
    if a.glb:
        from affect3d.io.glb_write import write_model_glb

        write_model_glb(a.glb, components_to_morphable(file))
        outputs["glb"] = a.glb
    size = frames.shape[0] * frames.shape[1]
    error = float(np.sqrt(learned.residual / size))
    motion = float(np.sqrt(frames.moments()[1].sum() / size))
    data = {
        "command": "components", "outputs": outputs, "frames": len(rows), "which": said, "count": a.count,
        "options": asdict(options), "source": digest, "error_mm": error, "motion_mm": motion,
        "sparsity": float(learned.sparsity.mean()), "energies": learned.energies.tolist(),
        "converged": learned.converged, "reason": learned.reason, "centres": learned.centres.tolist(),
        "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    if curves is not None:
        data["curves"] = [
            {"count": int(n), "error_mm": float(e), "sparsity": float(s), "converged": bool(c)}
            for n, e, s, c in zip(curves.counts, curves.error, curves.sparsity, curves.converged)
        ]
    lines = [
        f"{a.count} components of {len(rows)} frames ({said})",
        f"error {error:.3f} mm where the motion is {motion:.3f} mm (root mean square over vertices)",
        f"a component leaves {learned.sparsity.mean():.0%} of the vertices in place",
        learned.reason,
    ]
    for row in data.get("curves", []):
        share = f"{row['sparsity']:.0%} of the vertices in place"
        lines.append(f"  {row['count']:5d} components: {row['error_mm']:.3f} mm, {share}")
    return Report(data, (*lines, *outputs.values()))
