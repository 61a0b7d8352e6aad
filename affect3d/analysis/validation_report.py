"""A validation as one HTML file that can be mailed: table, curves, tracks, errors, chance, components."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from affect3d.affect.vaspace import VASpace
from affect3d.analysis.validation import TARGETS
from affect3d.analysis.validation_figures import (
    chance_figure,
    component_pictures,
    density_figure,
    embedded,
    plane_figure,
    score_figure,
    tracks_figure,
)
from affect3d.io.atomic import atomic_path
from affect3d.progress import Progress, silent

__all__ = ["chosen_tracks", "write_validation_report"]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em;color:#222}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.2em;margin-top:2.2em}
.lead{font-size:1.1em}.note{color:#555;font-size:13px}
table{border-collapse:collapse;font-size:13px;margin:.8em 0}
td,th{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}tr.chosen td{font-weight:600;background:#f4f1ea}
.interval{color:#777;font-weight:400;font-size:11px;white-space:nowrap}
figure{margin:1em 0}figure svg{max-width:100%;height:auto}figcaption{font-size:13px;color:#555}
.faces{display:flex;flex-wrap:wrap;gap:6px}.faces div{font-size:12px;color:#555;text-align:center}
.faces img{width:150px;height:150px;display:block}
details{font-size:13px}summary{cursor:pointer}
"""


def write_validation_report(path, result: dict, store, out, progress: Progress = silent) -> None:
    """Write the report of `validate_gallery`.

    Parameters
    ----------
    path : str or Path
        Ending in .html.
    result : dict
        What `validate_gallery` returned.
    store : GalleryStore
        The same gallery.
    out : path
        Folder of the run, where components and predictions lie.
    progress : callable

    Raises
    ------
    ImportError
        If matplotlib is missing.
    OSError
        If it cannot be written.
    """
    out = Path(out)
    with np.load(out / "rows" / f"{result['chosen']}.npz", allow_pickle=False) as file:
        predicted = file["predicted"].astype(float)
    test = np.isin(
        store.subject, [i for i, n in enumerate(store.subjects) if n in set(result["split"]["test_subjects"])]
    )
    annotated = np.stack([store.valence, store.arousal], axis=1).astype(float)
    tracks = chosen_tracks(store, np.flatnonzero(test), annotated, predicted)
    progress(0, 2, "report")
    pictures = _components(store, out, result)
    progress(1, 2, "report")
    body = [
        "<h1>How much affect the geometry carries</h1>",
        *_lead(result),
        "<h2>People never seen</h2>",
        *_table(result),
        _figure(score_figure(result["rows"], result["chance"]),
                "Concordance on the held-out people; bars are 95 % intervals from a bootstrap over these people."),
        *_chance(result),
        "<h2>Over time</h2>",
        _figure(tracks_figure(tracks), f"Held-out sequences with {result['chosen']} components, from the best "
                "predicted (left) over the middle to the worst (right), by root mean square error."),
        "<h2>Where it errs</h2>",
        _figure(density_figure(annotated[test], predicted[test]), "Darker: more frames, on a logarithmic scale."),
        _figure(plane_figure(annotated[test], predicted[test], VASpace()),
                "Error in each class of held-out frames; arrows lead from a class to the mean prediction for it."),
        "<h2>Components</h2>",
        f"<p>The {len(pictures)} of {result['chosen']} components that explain most, at weight 1; orange is where skin "
        "moves, below how far at most.</p>",
        '<div class="faces">' + "".join(
            f'<div><img alt="component {k + 1}" src="{embedded(png)}">{k + 1}: {far:.1f} mm</div>'
            for k, (png, far) in enumerate(pictures)
        ) + "</div>",
        "<h2>How it was done</h2>",
        *_method(result),
    ]  # fmt: skip
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Affect in geometry</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    progress(2, 2, "report")


def chosen_tracks(store, rows, annotated, predicted, count: int = 6) -> list[tuple]:
    """Sequences from the best to the worst predicted, at even ranks: (title, frames, annotated, predicted) of each."""
    found = []
    for sequence in np.unique(store.sequence[rows]):
        members = rows[store.sequence[rows] == sequence]
        members = members[np.argsort(store.frame[members], kind="stable")]
        # a sequence in which nothing happens says little
        if len(members) >= 8 and np.hypot(*annotated[members].T).max() >= 0.3:
            error = np.sqrt(((annotated[members] - predicted[members]) ** 2).sum(1).mean())
            found.append((error, sequence, members))
    if not found:
        members = rows[store.sequence[rows] == store.sequence[rows[0]]]
        found = [(0.0, store.sequence[rows[0]], members)]
    found.sort(key=lambda item: (item[0], item[1]))
    picked = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    return [
        (_title(store, found[i][1], found[i][2][0]), store.frame[found[i][2]], annotated[found[i][2]],
         predicted[found[i][2]])
        for i in picked
    ]  # fmt: skip


def _title(store, sequence, row) -> str:
    subject, name = str(store.subjects[store.subject[row]]), str(store.sequences[sequence])
    lines = [name] if subject in name else [subject, name]
    return "\n".join(line if len(line) <= 22 else line[:21] + "…" for line in lines)


def _lead(result) -> list[str]:
    gallery, split, chance = result["gallery"], result["split"], result["chance"]
    row = next(r for r in result["rows"] if r["components"] == result["chosen"])
    said = " and ".join(f"<b>{_number(row[name]['ccc']['value'])}</b> for {name}" for name in TARGETS)
    lines = [
        f'<p class="lead">From the shape of the face alone, the affect of people never seen is predicted with a '
        f"concordance of {said}.</p>",
    ]
    if chance:
        levels = " and ".join(f"{_number(chance[name]['p95'])} for {name}" for name in TARGETS)
        likely = max(chance[name]["p_value"] for name in TARGETS)
        lines.append(
            f"<p>With labels exchanged between sequences the same procedure reaches {levels} in one of twenty "
            "repetitions; the true labels do better than chance with p "
            f"{'≤' if likely <= 0.05 else '='} {likely:.2g}.</p>"
        )
    lines.append(
        f'<p class="note">{gallery["frames"]:,} frames of {gallery["subjects"]} subjects in {gallery["sequences"]:,} '
        f"sequences, {gallery['vertices']:,} vertices; {split['train_frames']:,} frames of "
        f"{len(split['train_subjects'])} subjects to learn from, {split['test_frames']:,} of "
        f"{len(split['test_subjects'])} others to test on (split: {escape(split['how'])}). Labels: "
        f"{escape(gallery['convention'] or 'what they mean is not stated')}</p>"
    )
    return lines


def _table(result) -> list[str]:
    head = "".join(f"<th>{title}, {name}</th>" for title in ("CCC", "MSE") for name in TARGETS)
    more = "".join(f"<th>{title}, {name}</th>" for title in ("r", "same sign") for name in TARGETS)
    lines = [f"<table><tr><th>components</th>{head}{more}<th>residual, mm</th></tr>"]
    for row in result["rows"]:
        cells = [
            f"<td>{_number(row[name][measure]['value'])}{_interval(row[name][measure])}</td>"
            for measure in ("ccc", "mse", "pearson", "sagr")
            for name in TARGETS
        ]
        mark = ' class="chosen"' if row["components"] == result["chosen"] else ""
        lines.append(f"<tr{mark}><td>{row['components']}</td>{''.join(cells)}<td>{row['residual_mm']:.2f}</td></tr>")
    lines.append("</table>")
    lines.append(
        f'<p class="note">Small: 95 % intervals over held-out people. Marked: {escape(result["chosen_by"])}. The '
        "residual is the root mean square distance between a held-out face and its reconstruction from the "
        "components.</p>"
    )
    return lines


def _chance(result) -> list[str]:
    chance = result["chance"]
    if not chance:
        return []
    return [
        "<h2>What chance gives</h2>",
        f"<p>Whole label tracks were exchanged between training sequences {chance['permutations']} times, "
        "each stretched to its new length, and everything after the projection was repeated on "
        f"{chance['training_rows']:,} frames. Tracks that all rise and fall keep doing so when they are exchanged, so "
        "this chance level may lie above zero.</p>",
        _figure(chance_figure(chance), ""),
    ]


def _components(store, out, result) -> list[tuple[bytes, float]]:
    from affect3d.model.component_file import load_components

    learned = load_components(out / "components" / f"{result['chosen']}.safetensors").learned
    return component_pictures(learned.components[:12], store.rest, store.faces)


def _method(result) -> list[str]:
    options = result["options"]
    lines = [
        f"<p>Sparse localized components ({escape(options['constraint'])} weights) from about "
        f"{options['apex_frames']:,} most expressive frames of the training people; weights of all frames; two "
        "canonical variates from the training frames; support vector regression with a Gaussian kernel on all of "
        "these, its constants chosen by "
        "cross-validation over training people; seed "
        f"{options['seed']}.</p>",
        "<table><tr><th>components</th><th>canonical correlations</th><th>target</th><th>C</th><th>epsilon</th>"
        "<th>gamma</th><th>CV CCC</th><th>features</th><th>kernel missing</th><th>duality gap</th></tr>",
    ]
    for row in result["rows"]:
        for t, name in enumerate(TARGETS):
            fit = row[name]["regression"]
            both = f"{', '.join(f'{c:.3f}' for c in row['canonical_correlations'])}" if t == 0 else ""
            lines.append(
                f"<tr><td>{row['components'] if t == 0 else ''}</td><td>{both}</td><td>{name}</td>"
                f"<td>{fit['cost']:g}</td>"
                f"<td>{fit['epsilon']:g}</td><td>{fit['gamma']:g}</td><td>{_number(row[name]['tuning']['ccc'])}</td>"
                f"<td>{fit['features']}</td><td>{fit['kernel_missing']:.0e}</td><td>{fit['duality_gap']:.0e}</td></tr>"
            )
    lines.append("</table>")
    exact = result["exact"]
    if exact and "missing" in exact:
        lines.append(f'<p class="note">Not compared with the exact solution: {escape(exact["missing"])}.</p>')
    elif exact:
        said = "; ".join(
            f"{name} {exact[name]['ccc']:.4f} against {exact[name]['ccc_exact']:.4f}, largest difference of a "
            f"prediction {exact[name]['largest_difference']:.3f}" for name in TARGETS
        )  # fmt: skip
        lines.append(
            f'<p class="note">On {exact["training_rows"]:,} frames, where scikit-learn\'s exact solution can be had: '
            f"concordance {said}. The duality gap says by what share of its objective the regression on all frames can "
            "still be above the optimum.</p>"
        )
    odd = [row for row in result["rows"] if not row["learned"]["converged"]]
    for row in odd:
        lines.append(f'<p class="note">{row["components"]} components: {escape(row["learned"]["reason"])}.</p>')
    split = result["split"]
    lines.append(
        f"<details><summary>Who was held out</summary><p>{escape(', '.join(split['test_subjects']))}</p></details>"
        f"<details><summary>Who was learned from</summary><p>{escape(', '.join(split['train_subjects']))}</p></details>"
        f'<p class="note">Gallery {escape(result["gallery"]["content"][:16])}, run {escape(result["digest"][:16])}.</p>'
    )
    return lines


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _number(value) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(score) -> str:
    return "" if score["low"] is None else f'<br><span class="interval">{score["low"]:.3f} – {score["high"]:.3f}</span>'
