"""One self-contained HTML page that sets several trained methods side by side on the same faces."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.gan.augmentation import TRUE_ALONE
from affect3d.io.atomic import atomic_path

__all__ = ["Compared", "augmentation_section", "picture_section", "shown_pairs", "write_comparison"]


_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}.faces td,.faces th{padding:2px;text-align:center;border:0;font-size:13px}
img{width:96px;height:96px;image-rendering:pixelated;display:block}.best{font-weight:700}
.none{color:#999;font-size:13px}.faces .none{width:96px;background:#f6f6f6}
img.wide{width:auto;height:auto;max-width:100%;image-rendering:auto}
"""

#: Heading, path into the measures, digits, and which end is the better one.
_COLUMNS = (
    ("PSNR gain, changed pixels (dB)", ("changed", "gain"), 2, max),
    ("PSNR gain, visibly changed (dB)", ("visibly_changed", "gain"), 2, max),
    ("PSNR (dB)", ("psnr",), 2, max),
    ("SSIM", ("ssim",), 3, max),
    ("identity distance", ("identity", "distance"), 3, min),
    ("verified at 1 %", ("identity", "verified"), 3, max),
    ("nearest is right", ("identity", "nearest_is_right"), 3, max),
    ("expression recognized", ("expression", "accuracy"), 3, max),
)


@dataclass(frozen=True, eq=False)
class Compared:
    """One method on the page.

    Attributes
    ----------
    name : str
        Heading.
    measures : dict of str to dict or None
        For each group of targets, by its name, what `evaluation.evaluate_images` found; None where the method cannot
        make all of the group.  All methods have the same groups, and a group has the same pictures for all of them.
    images : (R, H, W, C) uint8
        What it made for the rows of pictures that are shown.
    able : (R,) bool array
        For which of them it makes a picture at all.
    """

    name: str
    measures: dict
    images: np.ndarray
    able: np.ndarray


def shown_pairs(faces, people: int = 6) -> np.ndarray:
    """Rows (R, 2) of source and target to look at, for each of the first people.

    The first picture with four others as targets, spread over the labels; and where their neutral face is known, it as
    target of the last of them.  Pictures of a person are taken from the take of the first one.
    """
    pairs = []
    for subject in faces.subjects[:people]:
        rows = np.flatnonzero(faces.subject == subject)
        rows = rows[faces.sequence[rows] == faces.sequence[rows[0]]]
        if len(rows) > 1:
            spread = np.unique(np.linspace(1, len(rows) - 1, 4).round().astype(int))
            pairs += [(rows[0], rows[k]) for k in spread]
            neutral = faces.neutral[rows[-1]]
            if neutral >= 0 and neutral != rows[-1]:
                pairs.append((rows[-1], neutral))
    return np.array(pairs, np.int64).reshape(-1, 2)


def write_comparison(
    path, faces, pairs: np.ndarray, methods: list[Compared], notes: tuple[str, ...] = (),
    sections: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Write the page; it appears complete or not at all.

    Parameters
    ----------
    path : str or Path
    faces : FaceImages
        Of people whom no method has seen.
    pairs : (R, 2) int array
        Rows of `faces` that are shown, as `shown_pairs` gives them.
    methods : list of Compared
    notes : tuple of str
        Sentences above the tables.
    sections : tuple of str
        HTML behind the pictures: `augmentation_section`, `picture_section`.

    Raises
    ------
    ValueError
        If there is no method, one has another number of pictures, or they have different groups.
    """
    if not methods:
        raise ValueError("methods: expected one at least, got none")
    groups = list(methods[0].measures)
    for method in methods:
        if not len(method.images) == len(method.able) == len(pairs):
            raise ValueError(f"methods: expected {len(pairs)} pictures of {method.name}, got {len(method.images)}")
        if list(method.measures) != groups:
            raise ValueError(f"methods: expected the groups {groups} of {method.name}, got {list(method.measures)}")
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>2D methods side by side</title>"]
    parts.append(f"<style>{_STYLE}</style><h1>2D methods side by side</h1>")
    parts += [f"<p>{html.escape(text)}</p>" for text in (*notes, faces.source) if text]
    for group in groups:
        parts.append(_measure_table(group, methods))
    parts += [_target_table(methods), _picture_table(faces, pairs, methods), *sections]
    parts += _confusions(methods)
    with atomic_path(path) as temporary:
        Path(temporary).write_text("\n".join(parts) + "\n", encoding="utf-8")


def augmentation_section(table: dict) -> str:
    """HTML of what `augmentation.augmentation_table` found."""
    rows = []
    for name, row in table["rows"].items():
        over = row["over_true"]
        gain = "-" if name == TRUE_ALONE else f"{100 * over['mean']:+.1f} ± {100 * over['standard_error']:.1f}"
        rows.append(
            f"<tr><td>{html.escape(name)}</td><td>{row['pictures']}</td>"
            f"<td>{100 * row['mean']:.1f} ± {100 * row['deviation']:.1f}</td><td>{gain}</td></tr>"
        )
    return (
        "<h2>Recognition with and without added pictures</h2>"
        f"<p>Recognizers of expressions trained on {table['people']} people's true pictures, and on these with every "
        f"other expression that a method makes of each; tested on {table['test_pictures']} true pictures of others. "
        f"Mean and standard deviation of {table['seeds']} seeds, and the mean difference of the same seeds with its "
        "standard error. The methods themselves were trained on all people who were not kept apart.</p>"
        "<table><tr><th>trained on</th><th>pictures</th><th>accuracy (%)</th><th>over true pictures alone</th></tr>"
        f"{''.join(rows)}</table>"
    )


def picture_section(title: str, text: str, png: bytes) -> str:
    """HTML of a figure."""
    return (
        f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>"
        f'<img class=wide alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )


#: Shown where a method makes no such pictures.
NOT_APPLICABLE = "<td class=none>not applicable</td>"


def _measure_table(group: str, methods) -> str:
    known = [m.measures[group] for m in methods if m.measures[group] is not None]
    if not known:
        return ""
    head = "".join(f"<th>{html.escape(m.name)}</th>" for m in methods)
    rows = []
    for title, keys, digits, better in _COLUMNS:
        values = [_value(m.measures[group], keys) for m in methods]
        numbers = [v for v in values if v is not None]
        best = better(numbers) if len(set(numbers)) > 1 else None
        cells = [
            NOT_APPLICABLE if m.measures[group] is None else _number(v, digits, v is not None and v == best)
            for m, v in zip(methods, values)
        ]
        for others in (_OF_COPYING, _OF_TRUE):
            cells.append(_number(_value(known[0], others.get(keys, ())), digits))
        rows.append(f"<tr><td>{title}</td>{''.join(cells)}</tr>")
    return (
        f"<h2>{html.escape(group[:1].upper() + group[1:])}</h2>"
        f"<p>{known[0]['pictures']} pictures of {known[0]['people']} people, the same for all methods.</p>"
        f"<table><tr><th></th>{head}<th>copying the source</th><th>true pictures</th></tr>{''.join(rows)}</table>"
    )


#: Where the measures hold the same for copies of the source, and for the true targets.
_OF_COPYING = {
    ("psnr",): ("psnr_of_copying",), ("ssim",): ("ssim_of_copying",),
    ("identity", "distance"): ("identity", "distance_of_copying"),
    ("identity", "verified"): ("identity", "verified_of_copying"),
}  # fmt: skip
_OF_TRUE = {("expression", "accuracy"): ("expression", "accuracy_on_true_pictures")}


def _number(value, digits: int, best: bool = False) -> str:
    if value is None:
        return "<td>-</td>"
    return f"<td{' class=best' if best else ''}>{value:.{digits}f}</td>"


def _value(measures: dict, keys: tuple[str, ...]):
    if not keys:
        return None
    for key in keys:
        measures = measures.get(key) if isinstance(measures, dict) else None
    return measures


def _target_table(methods) -> str:
    """Gain and recognition by expression, from the first group that each method makes all of."""
    found = [next((v for v in m.measures.values() if v is not None), {}).get("by_target", {}) for m in methods]
    names = list(dict.fromkeys(name for one in found for name in one))
    if not names:
        return ""
    rows = []
    for name in names:
        cells = []
        for one in found:
            if name not in one:
                cells.append(NOT_APPLICABLE)
                continue
            gain = one[name]["visible_gain"]
            text = "-" if gain is None else f"{gain:+.1f} dB"
            cells.append(f"<td>{text}, {100 * one[name]['recognized']:.0f} %</td>")
        true = next(one[name] for one in found if name in one)["recognized_on_true_pictures"]
        rows.append(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}<td>{100 * true:.0f} %</td></tr>")
    head = "".join(f"<th>{html.escape(m.name)}</th>" for m in methods)
    return (
        "<h2>By expression of the target</h2><p>Gain over copying the source in PSNR over visibly changed pixels, and "
        f"how often the expression is recognized.</p><table><tr><th></th>{head}<th>true pictures</th></tr>"
        f"{''.join(rows)}</table>"
    )


def _picture_table(faces, pairs, methods) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in ("source", "true target", *(m.name for m in methods)))
    rows = []
    for k, (source, target) in enumerate(pairs):
        cells = [f"<td>{_picture(faces.images[row])}</td>" for row in (source, target)]
        cells += [f"<td>{_picture(m.images[k])}</td>" if m.able[k] else NOT_APPLICABLE for m in methods]
        label = faces.expression[target]
        name = faces.expression_names[label] if label >= 0 else ""
        rows.append(f"<tr>{''.join(cells)}<td>{html.escape(name)}</td></tr>")
    return f"<h2>The same faces</h2><table class=faces><tr>{head}<th></th></tr>{''.join(rows)}</table>"


def _confusions(methods) -> list[str]:
    """Of each method that makes several expressions; one that makes a single one stands in the table by expression."""
    found = [(m.name, _first(m, "expression")) for m in methods]
    found = [(name, e) for name, e in found if e is not None and sum(any(row) for row in e["confusion"]) > 1]
    if not found:
        return []
    text = "<h2>What expressions were taken for</h2><p>Rows: the target; columns: what was recognized, in %.</p>"
    tables = [("true pictures", found[0][1]["names"], found[0][1]["confusion_on_true_pictures"])]
    tables += [(name, e["names"], e["confusion"]) for name, e in found]
    return [text, *(_confusion(*table) for table in tables)]


def _first(method: Compared, key: str):
    return next((v.get(key) for v in method.measures.values() if v is not None), None)


def _confusion(title: str, names, counts) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = []
    for k, (name, row) in enumerate(zip(names, counts)):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td style="background:rgba(70,130,180,{n / total:.2f})"{" class=best" if j == k else ""}>'
            f"{100 * n / total:.0f}</td>" for j, n in enumerate(row)
        )  # fmt: skip
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    return f"<h3>{html.escape(title)}</h3><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _picture(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
