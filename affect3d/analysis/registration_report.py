"""A run of registrations as one HTML file: verdicts, residuals, and the worst frames as pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from html import escape

import numpy as np

from affect3d.analysis.registration_pictures import BEYOND, SCALE_COLOURS, SCALE_MM, registration_panels
from affect3d.io.atomic import atomic_path
from affect3d.io.json_file import write_json
from affect3d.progress import Progress, silent
from affect3d.registration.batch import BatchResult, sequences_of
from affect3d.registration.frame_work import read_scan
from affect3d.registration.template import Template

__all__ = ["worst_frames", "write_registration_report", "write_registration_summary"]

#: Rows of a table; a run may have hundreds of thousands of frames, and the records hold them all.
_ROWS = 500

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;font-size:13px}
td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.kept{color:#1b7a3d}.pruned{color:#a15c00}.failed{color:#b3261e}
figure{margin:1.2em 0}figure img{width:260px;height:260px;margin-right:4px}
figcaption{font-size:13px;color:#444}.scale{display:flex;align-items:center;gap:.6em;font-size:13px;white-space:nowrap}
.bar{width:220px;height:14px}.beyond{width:14px;height:14px}
"""


def write_registration_report(
    path, result: BatchResult, template: Template, worst: int = 6, progress: Progress = silent
) -> None:
    """Write the summary of a run; it holds its pictures, so one file is all.

    The same run gives the same bytes.

    Parameters
    ----------
    path : str or Path
        Ending in .html.
    result : BatchResult
    template : Template
    worst : int
        Frames shown as pictures: pruned ones first, then kept ones, by their 95th-percentile residual.
    progress : callable

    Raises
    ------
    OSError
        If it cannot be written.
    """
    records = result.records
    counts = Counter(record.verdict for record in records)
    settings = records[0].settings if records else {}
    body = [
        "<h1>Registration of scans</h1>",
        f"<p>{len(records)} frames: {_counts(counts)}. Template: {escape(template.source or 'unnamed')}, "
        f"{len(template.mesh.vertices)} vertices. Method: {escape(str(settings.get('method', '')))}.</p>",
        "<p>A residual is the distance of a vertex of the registered template that found the scan to the scan's "
        "surface, in millimetres. Kept meshes are in <code>meshes/</code>; those in <code>pruned/</code> are to be "
        "looked at, not used.</p>",
        *_histograms(records),
        *_sequences(result),
        *_not_kept(records),
        *_pictures(result, template, worst, progress),
        *_all_frames(records),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Registration of scans</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # names may be no text


def write_registration_summary(path, result: BatchResult) -> None:
    """Write the numbers of a run as JSON: counts, quantiles of the kept frames, sequences, and who was not kept.

    What is known of each single frame is in its record.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    records = result.records
    kept = [record for record in records if record.verdict == "kept"]
    columns = {
        "residual_median_mm": [r.residuals["median"] for r in kept],
        "residual_p95_mm": [r.residuals["p95"] for r in kept],
        "landmark_error_mm": [r.landmark_error for r in kept if r.landmark_error is not None],
        "matched": [r.matched for r in kept],
    }
    levels = (0, 5, 25, 50, 75, 95, 100)
    write_json(path, {
        "frames": len(records),
        "counts": {verdict: result.count(verdict) for verdict in ("kept", "pruned", "failed")},
        "settings": records[0].settings if records else {},
        "percentiles_of_kept": {
            name: {str(p): round(float(v), 6) for p, v in zip(levels, np.percentile(values, levels))}
            for name, values in columns.items()
            if values
        },
        "sequences": {
            name: dict(sorted(Counter(records[i].verdict for i in members).items()))
            for name, members in sequences_of(result.frames).items()
        },
        "not_kept": {r.name: {"verdict": r.verdict, "why": r.why} for r in records if r.verdict != "kept"},
    })  # fmt: skip


def worst_frames(records, count: int) -> list[int]:
    """Positions of the frames to look at: pruned before kept, each from the largest 95th percentile down.

    Frames without a mesh have nothing to show and are left out.
    """
    shown = [i for i, record in enumerate(records) if record.mesh]
    shown.sort(key=lambda i: (records[i].verdict == "kept", -records[i].residuals.get("p95", np.inf), records[i].name))
    return shown[:count]


def _counts(counts) -> str:
    return ", ".join(f'<b class="{v}">{counts.get(v, 0)} {v}</b>' for v in ("kept", "pruned", "failed"))


def _histograms(records) -> list[str]:
    out = []
    for key, title in (("median", "Median residual"), ("p95", "95th percentile of the residuals")):
        kept = [r.residuals[key] for r in records if r.residuals and r.verdict == "kept"]
        others = [r.residuals[key] for r in records if r.residuals and r.verdict != "kept"]
        if kept or others:
            out += [f"<h2>{title}, mm</h2>", _histogram(kept, others)]
    return out


def _histogram(kept, others, bins: int = 30) -> str:
    """Stacked bars; the last one holds all that lies beyond."""
    values = np.array([*kept, *others])
    top = max(1.25 * float(np.percentile(values, 95)), 0.1)
    edges = np.linspace(0, top, bins + 1)
    tall = [np.histogram(np.minimum(v, top), edges)[0] for v in (np.array(kept), np.array(others))]
    most = max(int((tall[0] + tall[1]).max()), 1)
    width, height, left = 20, 140, 40
    bars = []
    for k in range(bins):
        base = height
        for counts, colour in zip(tall, ("#4a8f6a", "#d98c2b")):
            size = round(height * int(counts[k]) / most, 1)
            base -= size
            if size:
                bars.append(
                    f'<rect x="{left + k * width + 1}" y="{base + 10:.1f}" width="{width - 2}" height="{size}" '
                    f'fill="{colour}"><title>{edges[k]:.2f} to {edges[k + 1]:.2f} mm: {counts[k]}</title></rect>'
                )
    for k in range(0, bins + 1, 5):
        more = "+" if k == bins and values.max() > top else ""
        bars.append(
            f'<text x="{left + k * width}" y="{height + 26}" font-size="11" text-anchor="middle">'
            f"{edges[k]:.2f}{more}</text>"
        )
    bars.append(f'<text x="{left - 6}" y="18" font-size="11" text-anchor="end">{most}</text>')
    total = left + bins * width + 30
    return (
        f'<svg width="{total}" height="{height + 34}" role="img">' + "".join(bars) + "</svg>"
        "<p>Green: kept; orange: pruned. The last bar holds all beyond the scale.</p>"
    )


def _sequences(result: BatchResult) -> list[str]:
    groups = sequences_of(result.frames)
    if len(groups) < 2:
        return []
    rows = []
    for name, members in groups.items():
        records = [result.records[i] for i in members]
        counts = Counter(record.verdict for record in records)
        medians = [r.residuals["median"] for r in records if r.verdict == "kept" and r.residuals]
        typical = f"{np.median(medians):.2f}" if medians else ""
        rows.append((counts.get("kept", 0) / len(records), name, len(records), counts, typical))
    order = sorted(range(len(rows)), key=lambda i: (rows[i][0], i))[:_ROWS]
    cells = [
        f'<tr><td>{escape(name) or "(top)"}</td><td class="n">{total}</td><td class="n">{counts.get("kept", 0)}</td>'
        f'<td class="n">{counts.get("pruned", 0)}</td><td class="n">{counts.get("failed", 0)}</td>'
        f'<td class="n">{typical}</td></tr>'
        for _, name, total, counts, typical in (rows[i] for i in order)
    ]
    head = ("sequence", "frames", "kept", "pruned", "failed", "typical median, mm")
    return ["<h2>Sequences, those that lost most first</h2>", _table(head, cells, len(rows))]


def _not_kept(records) -> list[str]:
    bad = [record for record in records if record.verdict != "kept"]
    if not bad:
        return []
    cells = [
        f'<tr><td>{escape(r.name)}</td><td class="{r.verdict}">{r.verdict}</td><td>{escape(r.why)}</td></tr>'
        for r in bad[:_ROWS]
    ]
    return ["<h2>Frames that were not kept</h2>", _table(("frame", "verdict", "why"), cells, len(bad))]


def _pictures(result: BatchResult, template: Template, worst: int, progress: Progress) -> list[str]:
    chosen = worst_frames(result.records, worst)
    if not chosen:
        return []
    stops = ",".join("rgb({},{},{})".format(*colour) for colour in SCALE_COLOURS)
    out = [
        "<h2>The worst frames</h2>",
        "<p>From the left: the scan, the registered template, and the template's distance to the scan.</p>",
        f'<div class="scale">0 mm<div class="bar" style="background:linear-gradient(90deg,{stops})"></div>'
        f'{SCALE_MM:g} mm <div class="beyond" style="background:rgb{BEYOND}"></div>more</div>',
    ]
    for k, i in enumerate(chosen):
        progress(k + 1, len(chosen), "drawing the worst frames")
        out.append(_figure(result, i, template))
    return out


def _figure(result: BatchResult, i: int, template: Template) -> str:
    from affect3d.io.mesh_file import read_mesh

    record = result.records[i]
    caption = (
        f'{escape(record.name)}: <span class="{record.verdict}">{record.verdict}</span>, {_residuals(record)}'
        f"{'. ' + escape(record.why) if record.why else ''}"
    )
    try:
        scan, _, _ = read_scan(result.frames[i].path, record.unit, None)
        registered = read_mesh(result.mesh(record), unit="mm")
        panels = registration_panels(template.mesh, registered.vertices, scan)
    except (OSError, ValueError) as error:  # the scan may have gone since; a summary is still wanted
        why = escape(" ".join(str(error).split()))
        return f"<figure><figcaption>{caption}. No picture: {why}</figcaption></figure>"
    images = "".join(
        f'<img alt="{what} of {escape(record.name)}" src="data:image/png;base64,{_png(panel)}">'
        for what, panel in zip(("scan", "registration", "error map"), panels)
    )
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _all_frames(records) -> list[str]:
    cells = []
    for r in records[:_ROWS]:
        numbers = [r.residuals.get("median"), r.residuals.get("p95"), r.landmark_error]
        cells.append(
            f'<tr><td>{escape(r.name)}</td><td class="{r.verdict}">{r.verdict}</td>'
            + "".join(f'<td class="n">{"" if v is None else format(v, ".2f")}</td>' for v in numbers)
            + f'<td class="n">{r.matched:.0%}</td><td class="n">{r.distorted:.1%}</td>'
            + f"<td>{escape(r.landmarks)}</td></tr>"
        )
    head = ("frame", "verdict", "median, mm", "95 %, mm", "landmarks, mm", "matched", "bent", "landmarks from")
    return ["<h2>All frames</h2>", _table(head, cells, len(records))]


def _table(head, cells, total: int) -> str:
    more = f"<p>The first {len(cells)} of {total}.</p>" if total > len(cells) else ""
    names = "".join(f'<th class="{"n" if "mm" in h or h in _COUNTS else ""}">{h}</th>' for h in head)
    return f"{more}<table><tr>{names}</tr>{''.join(cells)}</table>"


_COUNTS = ("frames", "kept", "pruned", "failed", "matched", "bent")


def _residuals(record) -> str:
    if not record.residuals:
        return "no vertex found the scan"
    r = record.residuals
    return f"median {r['median']:.2f} mm, 95 % within {r['p95']:.2f} mm, {record.matched:.0%} matched"


def _png(picture) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
