"""How well does `synthesize` keep the person and obey the affect?  One command, one table.

    python benchmarks/judge_synthesis.py PHOTO... --out out/judge [--sheet]

For every photo: the face at eight points of radius 0.8 in the valence-arousal plane.  Reported:

- identity: distance of dlib's 128-d descriptors, photo against result (needs affect3d[dlib]);
- obedience: landmarks found afresh on the result against where the result says they are, median
  over the 68 points, as a fraction of the interocular distance;
- order: are mouth corners raised in step with valence, eyes and mouth opened in step with arousal,
  measured on landmarks found afresh;
- smiles: for files named X_neutral and X_smiling, the mouth corners' movement in the synthesized
  smile over that in the real one; and in the smiling photo made neutral over that back to the real neutral face;
- seconds a result, and changed pixels outside the mask (must be none).

`--sheet` also writes a contact sheet a photo into --out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from affect3d.affect import default_statistics, named_expression
from affect3d.detect import detect_faces, identity_descriptor
from affect3d.detect.schemes import to_ibug68
from affect3d.io.image import read_image, write_image
from affect3d.model.load import load_model
from affect3d.synthesis import Portrait, circle_sheet
from affect3d.landmark_groups import EYE_CORNERS, MOUTH_CORNERS, interocular

RADIUS = 0.8
ANGLES = np.arange(8) * np.pi / 4
SMILE = (0.7, 0.3)


def ibug(pixels):
    """68 points and scores of the largest face."""
    faces = detect_faces(pixels)
    return None if not faces else to_ibug68(faces[0].landmarks).points[:, :2]


def identity(pixels):
    """dlib's descriptor of the largest face by dlib's own landmarks; None without dlib or a face."""
    try:
        faces = detect_faces(pixels, detector="dlib")
        return identity_descriptor(pixels, faces[0]) if faces else None
    except ImportError:
        return None


def measures(points):
    """Mouth-corner height, eye opening and mouth opening, in interocular distances."""
    unit = interocular("ibug68", points)
    right, left = (points[k] for k in EYE_CORNERS["ibug68"])
    across = (left - right) / np.linalg.norm(left - right)
    down = np.array([-across[1], across[0]])
    nose = points[33]
    corners = np.mean([(points[k] - nose) @ down for k in MOUTH_CORNERS["ibug68"]])
    width = np.linalg.norm(points[48] - points[54])
    eyes = np.mean([np.linalg.norm(points[a] - points[b]) for a, b in ((37, 41), (38, 40), (43, 47), (44, 46))])
    mouth = np.mean([np.linalg.norm(points[a] - points[b]) for a, b in ((61, 67), (62, 66), (63, 65))])
    return {"corners": -corners / unit, "width": width / unit, "eyes": eyes / unit, "mouth": mouth / unit}


def corner_shift(before, after):
    """(2, 2): movement of the mouth corners in the frame of the eyes and nose, interocular distances."""
    stable = [27, 28, 29, 30, 36, 39, 42, 45]
    a, b = after[stable], before[stable]
    ma, mb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mb).T @ (a - ma))
    d = np.diag([1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ d @ vt
    scale = np.trace(np.diag(s) @ d) / ((a - ma) ** 2).sum()
    aligned = scale * (after - ma) @ rotation.T + mb
    corners = list(MOUTH_CORNERS["ibug68"])
    return (aligned[corners] - before[corners]) / interocular("ibug68", before)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--out", default="out/judge")
    parser.add_argument("--model")
    parser.add_argument("--sheet", action="store_true")
    options = parser.parse_args(argv)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    model, statistics = load_model(options.model), default_statistics()
    rows, smiles = [], []
    for path in map(Path, options.photos):
        pixels = read_image(path).pixels
        began = time.perf_counter()
        portrait = Portrait.from_photo(pixels, model)
        setup = time.perf_counter() - began
        home = identity(pixels)
        row = {"photo": path.name, "fit_rms": portrait.fit.rms_relative, "setup_s": setup, "points": []}
        for angle in ANGLES:
            v, a = RADIUS * np.cos(angle), RADIUS * np.sin(angle)
            began = time.perf_counter()
            result = portrait.express(float(v), float(a), statistics)
            seconds = time.perf_counter() - began
            found = ibug(result.image)
            unit = interocular("ibug68", result.landmarks.points)
            point = {"v": v, "a": a, "seconds": seconds}
            point["outside"] = int((result.image != pixels)[~result.mask].any(-1).sum())
            if found is not None:
                error = np.linalg.norm(found - result.landmarks.points, axis=1) / unit
                point |= {"obedience": float(np.nanmedian(error)), **measures(found)}
            if home is not None:
                there = identity(result.image)
                if there is not None:
                    point["identity"] = float(np.linalg.norm(there - home))
            row["points"].append(point)
        rows.append(row)
        if options.sheet:
            write_image(out / f"{path.stem}.jpg", circle_sheet(portrait, statistics, RADIUS))
        twin = path.with_name(path.name.replace("_neutral", "_smiling"))
        if "_neutral" in path.name and twin.exists():
            smiling = read_image(twin).pixels
            before, smile = ibug(pixels), ibug(smiling)
            made = ibug(portrait.express(*SMILE, statistics).image)
            real, made = corner_shift(before, smile), corner_shift(before, made)
            along = (made * real).sum() / max((real**2).sum(), 1e-12)
            size = np.linalg.norm(made) / max(np.linalg.norm(real), 1e-12)
            calmed = ibug(Portrait.from_photo(smiling, model).show(named_expression("neutral")).image)
            calmed, back = corner_shift(smile, calmed), corner_shift(smile, before)
            smiles.append({
                "photo": path.name, "along": float(along), "size": float(size),
                "taken": float((calmed * back).sum()), "worn": float((back**2).sum()),
            })  # fmt: skip
        values = [p.get("identity", np.nan) for p in row["points"]]
        errors = [p.get("obedience", np.nan) for p in row["points"]]
        print(
            f"{path.name:<24} fit {row['fit_rms']:.3f}  "
            f"identity {np.nanmedian(values):.3f} max {np.nanmax(values):.3f}  "
            f"obedience {np.nanmedian(errors):.3f} max {np.nanmax(errors):.3f}  "
            f"{setup:.2f} + {np.median([p['seconds'] for p in row['points']]):.2f} s", flush=True,
        )
    points = [p for r in rows for p in r["points"]]
    summary = {
        "identity_median": float(np.nanmedian([p.get("identity", np.nan) for p in points])),
        "identity_max": float(np.nanmax([p.get("identity", np.nan) for p in points])),
        "obedience_median": float(np.nanmedian([p.get("obedience", np.nan) for p in points])),
        "not_found_again": sum("obedience" not in p for p in points),
        "outside_mask": sum(p["outside"] for p in points),
        "corner_valence_ordered": float(np.mean([_ordered(r, "corners", "v") for r in rows])),
        "eyes_arousal_ordered": float(np.mean([_ordered(r, "eyes", "a") for r in rows])),
        "mouth_arousal_ordered": float(np.mean([_ordered(r, "mouth", "a") for r in rows])),
    }
    if smiles:
        along = np.array([s["along"] for s in smiles])
        summary |= {
            "smile_right_direction": float((along > 0).mean()),
            "smile_within_two": float(((along > 0.5) & (along < 2)).mean()),
            "smile_ratio_median": float(np.median(along)),
            "smile_taken_away": sum(s["taken"] for s in smiles) / sum(s["worn"] for s in smiles),
        }
    for key, value in summary.items():
        print(f"{key:<26} {value:.3f}")
    (out / "judge.json").write_text(json.dumps({"summary": summary, "rows": rows, "smiles": smiles}, indent=1))


def _ordered(row, measure, axis):
    """Share of pairs of points, more than 0.5 apart along `axis`, that `measure` puts in that order."""
    good = total = 0
    for p in row["points"]:
        for q in row["points"]:
            if measure in p and measure in q and q[axis] - p[axis] > 0.5:
                total += 1
                good += q[measure] > p[measure]
    return good / max(total, 1)


if __name__ == "__main__":
    main()
