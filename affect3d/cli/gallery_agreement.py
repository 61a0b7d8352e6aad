"""`affect3d gallery agreement`: files of several annotators, brought together and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["agreement_report"]

_TARGETS = ("valence", "arousal")


def agreement_report(files, store, largest: int, out) -> Report:
    """Compare annotators; `store` and `out` may be None."""
    from affect3d.analysis.annotators import agreement, annotator_lags, corrected_mean, lags_behind, shifted
    from affect3d.cli.outputs import check_output

    if out is not None:
        if Path(out).suffix.lower() != ".csv":
            raise UsageError(f"--out: expected a name ending in .csv, got {out!r}")
        check_output(Path(out))
    names, people = _annotators(files)
    sequences, numbers = _aligned(people, names)
    signal = None if store is None else _geometry(store, sequences, numbers)
    data = {"command": "gallery agreement", "annotators": names, "sequences": list(sequences), "targets": {}}
    lines, means = [], {}
    for target in _TARGETS:
        if not any(getattr(track, target) is not None for person in people for track in person):
            continue
        pairs = [_rows(people, name, numbers[name], target) for name in sequences]
        _refuse_constant(pairs, names, target)
        plain = agreement(pairs)
        lags = annotator_lags(pairs, largest)
        moved = [[shifted(x[i], seen[i], lag) for i, lag in enumerate(lags)] for x, seen in pairs]
        after = agreement([(np.stack([v for v, _ in m]), np.stack([s for _, s in m])) for m in moved])
        facts = {
            "frames": int(sum(x.shape[1] for x, _ in pairs)),
            "not_annotated": [int(n) for n in sum((~seen).sum(1) for _, seen in pairs)],
            "lags": [float(x) for x in lags], "agreement": _said(plain), "without_lags": _said(after),
        }  # fmt: skip
        behind = None
        if signal is not None:
            size = [(np.abs(x), seen) for x, seen in pairs]
            behind = lags_behind(size, signal, largest)
            facts["behind_geometry"] = [
                {"frames": lag.frames, "correlation": lag.correlation, "known": not lag.edge} for lag in behind
            ]
        data["targets"][target] = facts
        lines += _table(target, names, facts)
        taken = lags if behind is None or any(lag.edge for lag in behind) else [lag.frames for lag in behind]
        means[target] = corrected_mean(pairs, taken)
    if out is not None:
        if set(means) != set(_TARGETS):
            raise UsageError("--out: expected files that hold valence and arousal")
        _write(out, sequences, numbers, means)
        data["outputs"] = {"labels": str(out)}
        lines.append(str(out))
    return Report(data, tuple(lines))


def _annotators(files):
    from affect3d.io.label_files import read_label_file

    people = [read_label_file(path) for path in files]
    names = [Path(path).stem for path in files]
    if len(set(names)) != len(names):
        names = [str(Path(path).with_suffix("")) for path in files]
    if len(set(names)) != len(names):
        raise UsageError("FILE: one file is named twice")
    return names, people


def _aligned(people, names):
    """Sequences that all annotated, and the numbers of their frames; single ones are taken to be the same."""
    from dataclasses import replace

    if all(len(person) == 1 for person in people):
        people[:] = [(replace(person[0], name=people[0][0].name),) for person in people]
    common = [track.name for track in people[0] if all(any(t.name == track.name for t in p) for p in people[1:])]
    if not common:
        raise ValueError(f"{names[1]}: has no sequence in common with {names[0]}; expected the same names in both")
    numbers = {}
    for name in common:
        tracks = [next(t for t in person if t.name == name) for person in people]
        first, last = min(t.frame[0] for t in tracks), max(t.frame[-1] for t in tracks)
        numbers[name] = np.arange(first, last + 1)
    return common, numbers


def _rows(people, sequence: str, numbers, target: str):
    """(A, T) values and whether each was annotated, at all frames of a sequence."""
    values, seen = np.zeros((len(people), len(numbers))), np.zeros((len(people), len(numbers)), bool)
    for i, person in enumerate(people):
        track = next(t for t in person if t.name == sequence)
        if getattr(track, target) is None:
            raise ValueError(f"{track.source}: holds no {target}, but another annotator's file does")
        place = track.frame - numbers[0]
        values[i, place], seen[i, place] = getattr(track, target), track.annotated
    return values, seen


def _refuse_constant(pairs, names, target: str) -> None:
    for i, name in enumerate(names):
        said = np.concatenate([x[i, seen[i]] for x, seen in pairs])
        if not len(said) or np.ptp(said) == 0:
            raise ValueError(f"{name}: {target} is the same number at all its frames, so no agreement can be measured")


def _geometry(store, sequences, numbers):
    """Distance from the neutral face at the annotated frames, from the gallery's sequences of the same names."""
    from affect3d.affect.store import open_gallery

    gallery = open_gallery(store)
    out = []
    for name in sequences:
        found = [k for k, other in enumerate(gallery.sequences) if name in (other, other.rpartition("/")[2])]
        if len(found) != 1:
            raise ValueError(f"--store: expected one sequence called {name!r} in {store}, found {len(found)}")
        rows = gallery.select(sequences=found[0])
        # a label file that counts from 1 and a gallery that counts from 0 mean the same first frame
        place = numbers[name] - numbers[name][0]
        out.append(np.interp(place, gallery.frame[rows] - gallery.frame[rows].min(), gallery.distance[rows]))
    return out


def _said(found) -> dict:
    icc = found.icc
    return {
        "mean_pearson": found.mean_pearson, "mean_ccc": found.mean_ccc, "pearson": found.pearson.tolist(),
        "ccc": found.ccc.tolist(), "shared_frames": found.frames.tolist(),
        "icc": {
            "ICC(1,1)": icc.one_way, "ICC(2,1)": icc.two_way, "ICC(3,1)": icc.fixed, "ICC(1,k)": icc.one_way_mean,
            "ICC(2,k)": icc.two_way_mean, "ICC(3,k)": icc.fixed_mean, "frames": icc.targets, "annotators": icc.raters,
        },
    }  # fmt: skip


def _table(target: str, names, facts) -> list[str]:
    wide = max(len(name) for name in names)
    lines = [f"{target}: {facts['frames']} frames                 as annotated   without lags"]
    rows = [("mean Pearson of the pairs", "mean_pearson"), ("mean CCC of the pairs", "mean_ccc")]
    for title, key in rows:
        lines.append(f"  {title:<32}{facts['agreement'][key]:14.3f}{facts['without_lags'][key]:15.3f}")
    for key in ("ICC(2,1)", "ICC(3,1)", "ICC(2,k)"):
        before, after = facts["agreement"]["icc"][key], facts["without_lags"]["icc"][key]
        lines.append(f"  {key:<32}{before:14.3f}{after:15.3f}")
    for i, name in enumerate(names):
        others = [r for j, r in enumerate(facts["agreement"]["pearson"][i]) if j != i]
        line = f"  {name:<{wide}}  lag {facts['lags'][i]:+6.1f} frames   Pearson with the others {np.mean(others):.3f}"
        if "behind_geometry" in facts:
            lag = facts["behind_geometry"][i]
            line += f"   behind the face {lag['frames']:+.1f}" if lag["known"] else "   behind the face: not known"
        lines.append(line)
    return lines


def _write(out, sequences, numbers, means) -> None:
    """The mean as a table; moments that nobody annotated have no line."""
    import csv

    from affect3d.io.atomic import atomic_path

    with atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["sequence", "frame", "valence", "arousal"])
        for k, name in enumerate(sequences):
            (valence, raters), (arousal, others) = means["valence"][k], means["arousal"][k]
            for i, number in enumerate(numbers[name]):
                if raters[i] and others[i]:
                    table.writerow([name, int(number), f"{valence[i]:.6f}", f"{arousal[i]:.6f}"])
