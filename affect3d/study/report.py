"""A study as one HTML page that can be mailed: the answer, the table, curves, errors over the plane, added pictures."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

import numpy as np

from affect3d.affect.vaspace import VASpace
from affect3d.analysis.validation_figures import _axes, _svg, embedded, plane_figure
from affect3d.analysis.validation_report import _STYLE
from affect3d.io.atomic import atomic_path
from affect3d.study.manifest import read_manifest, read_pictures
from affect3d.study.runs import FIT
from affect3d.study.study import predictions_of

__all__ = ["learning_figure", "write_study_report"]

_NAMES = {
    "none": "no augmentation", "classical": "classical augmentation", "3d-mean": "3D, class means",
    "3d-sampled": "3D, sampled", "3d-calibrated": "3D, calibrated labels", "3d-more": "3D, more faces",
    "3d-more-calibrated": "3D, more faces, calibrated",
    FIT: "fitted head, no network",
}  # fmt: skip
_TARGETS = ("valence", "arousal")
_TABLE_STYLE = """
.strip img{display:block;image-rendering:auto;max-width:100%}
.wide{overflow-x:auto}.wide td,.wide th{padding:.25em .4em}.wide th[colspan]{text-align:center}
.wide tr+tr th{text-align:right}.wide .group th{text-align:left;padding-top:.9em}
"""
_COLOURS = ("#777777", "#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#0987a0", "#222222")


def write_study_report(path, result: dict, videos, folder) -> None:
    """Write the page of `run_study`.

    Parameters
    ----------
    path : str or Path
        Ending in .html.
    result : dict
        What `run_study` returned.
    videos : FaceVideos
        The same ones.
    folder : path
        Of the study.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    OSError
        If it cannot be written.
    """
    folder = Path(folder)
    body = [
        "<h1>Does synthetic affect help?</h1>", *_lead(result),
        "<h2>People never seen</h2>", *_table(result),
        _figure(learning_figure(result["rows"]), "Mean concordance of valence and arousal against the number of people "
                "that are learned from; bars are 95 % intervals from a bootstrap over test people, points single "
                "seeds."),
        "<h2>Where the errors are</h2>", *_planes(result, videos, folder),
        "<h2>What was added</h2>", *_pictures(result, folder),
        "<h2>How it was done</h2>", *_method(result),
    ]  # fmt: skip
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Augmentation study</title>'
        f"<style>{_STYLE}{_TABLE_STYLE}</style><body>"
        + "\n".join(body) + "</body></html>\n"
    )  # fmt: skip
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")


def learning_figure(rows) -> str:
    """SVG: concordance, mean over both targets, against people, a line for each condition."""
    figure, axes = _axes(1, 1, 8.6, 3.6)
    axis = axes[0, 0]
    names = list(dict.fromkeys(row["condition"] for row in rows))
    for k, name in enumerate(names):
        own = sorted((row for row in rows if row["condition"] == name), key=lambda row: row["people"])
        # conditions stand beside one another, or their intervals would hide each other
        x = np.array([row["people"] for row in own], float) * (1 + 0.02 * (k - (len(names) - 1) / 2))
        score = [row["mean"]["ccc"] for row in own]
        y = np.array([s["value"] for s in score])
        colour = _COLOURS[k % len(_COLOURS)]
        axis.plot(x, y, "-o", color=colour, markersize=4, linewidth=1.4, label=_NAMES.get(name, name))
        if score[0]["low"] is not None:
            axis.vlines(x, [s["low"] for s in score], [s["high"] for s in score], color=colour, linewidth=1, alpha=0.6)
        for place, s in zip(x, score):
            axis.plot([place] * len(s["seeds"]), s["seeds"], ".", color=colour, markersize=3, alpha=0.5)
    axis.set_xscale("log")
    amounts = sorted({row["people"] for row in rows})
    axis.set_xticks(amounts, [str(a) for a in amounts])
    axis.minorticks_off()
    axis.set_xlabel("people learned from")
    axis.set_ylabel("CCC on people never seen")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _svg(figure)


def _lead(result) -> list[str]:
    against = [row for row in result["rows"] if row["against"] and row["condition"].startswith("3d-")]
    against = against or [row for row in result["rows"] if row["against"]]
    if not against:
        return ['<p class="lead">One condition only: nothing is compared.</p>']
    better = [row for row in against if row["against"]["ccc"]["low"] is not None and row["against"]["ccc"]["low"] > 0]
    worse = [row for row in against if row["against"]["ccc"]["high"] is not None and row["against"]["ccc"]["high"] < 0]
    base = _NAMES.get(result["baseline"], result["baseline"])
    said = (
        f"Of {len(against)} comparisons with {base}, concordance is higher beyond its interval in {len(better)}, "
        f"lower in {len(worse)}, and undecided in {len(against) - len(better) - len(worse)}."
    )
    lines = [f'<p class="lead">{escape(said)}</p>', "<ul>"]
    for row in against:
        ccc, mse = (_difference(row["against"][m]) for m in ("ccc", "mse"))
        lines.append(
            f"<li>{escape(_NAMES.get(row['condition'], row['condition']))}, {row['people']} people: CCC {ccc}; mean "
            f"square error {mse} (p = {row['against']['mse_p_value']:.2g})</li>"
        )
    lines.append("</ul>")
    by_fit = [row for row in result["rows"] if row["condition"] == FIT]
    if by_fit:
        said = ", ".join(f"{row['mean']['ccc']['value']:.3f} with {row['people']}" for row in by_fit)
        lines.append(
            f"<p>A linear regression on the head that is fitted to the frames, without any network, reaches a CCC of "
            f"{said} people. It is given landmarks.</p>"
        )
    lines.append(
        f'<p class="note">{result["frames"]:,} frames of {result["subjects"]} people in {result["clips"]} clips. '
        f"{escape(result['source'])}</p>"
    )
    return lines


def _table(result) -> list[str]:
    # a level of headings for what is predicted keeps twelve columns within a page
    each = ("CCC", "r", "MSE", "bias", "spread")
    lines = [
        '<div class="wide"><table><tr><th rowspan="2">condition</th><th>mean</th>'
        + "".join(f'<th colspan="{len(each)}">{name}</th>' for name in _TARGETS)
        + "</tr><tr><th>CCC</th>" + "".join(f"<th>{what}</th>" for what in each) * len(_TARGETS) + "</tr>"
    ]  # fmt: skip
    people = None
    for row in sorted(result["rows"], key=lambda r: r["people"]):
        if row["people"] != people:
            people = row["people"]
            lines.append(f'<tr class="group"><th colspan="{2 + len(each) * len(_TARGETS)}">{people} people</th></tr>')
        cells = [_score(row["mean"]["ccc"])]
        for name in _TARGETS:
            own = row[name]
            cells += [_score(own[measure]) for measure in ("ccc", "pearson", "mse")]
            cells += [f"{own['bias']:+.2f}", f"{own['spread']:.2f}"]
        cells = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f"<tr><td>{escape(_NAMES.get(row['condition'], row['condition']))}</td>{cells}</tr>")
    seeds, folds = result["options"]["seeds"], result["options"]["folds"]
    lines.append(
        f'</table></div><p class="note">Means over {seeds} seeds, each with another division into {folds} folds in '
        "which everybody is tested on once, after learning from so many people. Small: 95 % intervals from a bootstrap "
        "over people, whose draws all conditions share; they do not hold the spread between seeds, which the figure "
        "shows. Bias: mean prediction minus mean label; spread: standard deviation of predictions over that of labels. "
        "p-values: paired differences of each person's mean square error under random signs, not corrected for their "
        "number.</p>"
    )
    return lines


def _planes(result, videos, folder) -> list[str]:
    fewest = min(row["people"] for row in result["rows"])
    labels = np.stack([videos.valence, videos.arousal], 1)
    apart = (result["baseline"], FIT)
    own = [row for row in result["rows"] if row["people"] == fewest and row["condition"] not in apart]
    shown = [result["baseline"]]
    if own:
        shown.append(max(own, key=lambda row: row["mean"]["ccc"]["value"])["condition"])
    lines = []
    for condition in shown:
        rows, predicted = predictions_of(folder, condition, fewest)
        lines.append(_figure(
            plane_figure(labels[rows], predicted, VASpace(10, 10)),
            f"{_NAMES.get(condition, condition)}, {fewest} people: error by annotated class; arrows go to the mean "
            "prediction.",
        ))  # fmt: skip
    return lines


def _pictures(result, folder, frames: int = 5, each: int = 10) -> list[str]:
    lines, seen = [], set()
    for name in result["added_pictures"]:
        # the last folder: where other people's faces join one's own, theirs are what is new
        place = Path(folder) / result["folders"][name][-1]
        if place in seen or not (place / "manifest.json").is_file():
            continue
        seen.add(place)
        records = read_manifest(place)
        files = list(dict.fromkeys(r.file for r in records))
        wanted = {files[k] for k in np.linspace(0, len(files) - 1, min(frames, len(files))).astype(int)}
        strips = []
        for file in sorted(wanted):
            own = sorted((r for r in records if r.file == file), key=lambda r: (r.valence, r.arousal))
            own = [own[k] for k in np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)]
            strips.append(np.concatenate(list(read_pictures(place, own)), 1))
        width = max(s.shape[1] for s in strips)
        strips = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
        lines.append(
            f'<figure class="strip"><img alt="" src="{embedded(_png(np.concatenate(strips)))}"><figcaption>'
            f"{escape(_NAMES.get(name, name))}: {result['added_pictures'][name]:,} pictures in all. Each line is one "
            "source frame, from low to high valence.</figcaption></figure>"
        )
    neutral = result["neutral_frames"]
    lines.append(
        f'<p class="note">{neutral["count"]} neutral frames, by label and by the head fitted to them; '
        f"{neutral['refused']} more were neutral by label only and were not taken. All of them are in neutral.png.</p>"
    )
    return lines


def _method(result) -> list[str]:
    options = result["options"]
    films, network = options["films"], options["network"]
    lines = [
        f"<p>Crops of {options['crop']['size']} pixels; {escape(network['trunk'])} trunk, {network['layers']} gated "
        f"recurrent layer(s) of {network['hidden']}; {network['steps']} steps of {films['batch']} films of "
        f"{films['length']} frames; loss: {escape(network['loss'])}. Every condition makes as many steps with as many "
        f"films: with added pictures {films['share']:.0%} of a batch are made of these (weights of their labels: "
        f"{escape(films['classes'])}){_until(films)}, and less is seen of the true clips. Added films sweep over "
        "pictures of one frame. Nothing was chosen on test people; the number of steps is fixed. Pictures made of a "
        "person are used only where that person is learned from, and a study that would break this is refused.</p>"
    ]
    names = {row["condition"] for row in result["rows"]}
    if names & {"3d-calibrated", "3d-more-calibrated", FIT}:
        lines.append(
            "<p>Calibrated labels: the head is fitted to the labelled frames of those who are learned from, a ridge "
            "regression learns their labels from the fitted expressions, and the expression that is fitted to each "
            "made picture is labelled by it. The regression alone, tested on people never seen, is the row without a "
            "network: it sees the landmarks of the frames, which networks do not.</p>"
        )
    others = {name: count for name, count in result.get("neutral_faces", {}).items() if count}
    if others and any("more" in name for name in names):
        said = ", ".join(f"{count:,} ({escape(name)})" for name, count in others.items())
        lines.append(
            f"<p>Neutral faces of other people, who are neither learned from otherwise nor tested on: {said}.</p>"
        )
    for key, title in (("shared", "What world and augmenter share"), ("not_shared", "What they do not share")):
        if result["notes"].get(key):
            items = "".join(f"<li>{escape(text)}</li>" for text in result["notes"][key])
            lines.append(f"<h3>{title}</h3><ul>{items}</ul>")
    lines.append(f'<p class="note">Data {escape(result["data"])}, seed {options["seed"]}.</p>')
    return lines


def _until(films) -> str:
    if films["until"] == 1:
        return ""
    return f" until {films['until']:.0%} of the steps are made, true films only from there"


def _difference(score) -> str:
    between = "" if score["low"] is None else f" [{score['low']:+.3f}, {score['high']:+.3f}]"
    return f"{score['value']:+.3f}{between}"


def _score(score) -> str:
    between = (
        "" if score["low"] is None else f'<br><span class="interval">{score["low"]:.3f}–{score["high"]:.3f}</span>'
    )
    return f"{score['value']:.3f}{between}"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _png(picture) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", optimize=True)
    return out.getvalue()
