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
    measures : dict
        Of `evaluation.evaluate_images`.
    images : (R, H, W, C) uint8
        What it made for the rows of pictures that are shown; white where it makes no such picture.
    """

    name: str
    measures: dict
    images: np.ndarray


def shown_pairs(faces, people: int = 6) -> np.ndarray:
    """Rows (R, 2) of source and target to look at: for each of the first people, the first picture and four others.

    Pictures of a person are taken from the take of the first one, spread over the labels.
    """
    pairs = []
    for subject in faces.subjects[:people]:
        rows = np.flatnonzero(faces.subject == subject)
        rows = rows[faces.sequence[rows] == faces.sequence[rows[0]]]
        if len(rows) > 1:
            spread = np.unique(np.linspace(1, len(rows) - 1, 4).round().astype(int))
            pairs += [(rows[0], rows[k]) for k in spread]
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
        If there is no method, or one has another number of pictures.
    """
    if not methods:
        raise ValueError("methods: expected one at least, got none")
    for method in methods:
        if len(method.images) != len(pairs):
            raise ValueError(f"methods: expected {len(pairs)} pictures of {method.name}, got {len(method.images)}")
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>2D methods side by side</title>"]
    parts.append(f"<style>{_STYLE}</style><h1>2D methods side by side</h1>")
    parts += [f"<p>{html.escape(text)}</p>" for text in (*notes, faces.source) if text]
    parts += [_measure_table(methods), _picture_table(faces, pairs, methods), *sections]
    if any("expression" in m.measures for m in methods):
        parts.append("<h2>What expressions were taken for</h2><p>Rows: the target; columns: what was recognized.</p>")
        parts += [_confusion(m) for m in methods if "expression" in m.measures]
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


def _measure_table(methods) -> str:
    values = [[_value(m.measures, keys) for m in methods] for _, keys, _, _ in _COLUMNS]
    head = "".join(f"<th>{html.escape(m.name)}</th>" for m in methods)
    rows = []
    for (title, keys, digits, better), row in zip(_COLUMNS, values):
        known = [v for v in row if v is not None]
        best = better(known) if len(known) > 1 else None
        cells = "".join(
            "<td>-</td>" if v is None else f"<td{' class=best' if v == best else ''}>{v:.{digits}f}</td>" for v in row
        )
        copying = _value(methods[0].measures, _OF_COPYING.get(keys, ()))
        rows.append(f"<tr><td>{title}</td>{cells}<td>{'-' if copying is None else f'{copying:.{digits}f}'}</td></tr>")
    return f"<table><tr><th></th>{head}<th>copying the source</th></tr>{''.join(rows)}</table>"


_OF_COPYING = {
    ("psnr",): ("psnr_of_copying",), ("ssim",): ("ssim_of_copying",),
    ("identity", "distance"): ("identity", "distance_of_copying"),
    ("identity", "verified"): ("identity", "verified_of_copying"),
}  # fmt: skip


def _value(measures: dict, keys: tuple[str, ...]):
    if not keys:
        return None
    for key in keys:
        measures = measures.get(key) if isinstance(measures, dict) else None
    return measures


def _picture_table(faces, pairs, methods) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in ("source", "true target", *(m.name for m in methods)))
    rows = []
    for k, (source, target) in enumerate(pairs):
        cells = [faces.images[source], faces.images[target], *(m.images[k] for m in methods)]
        label = faces.expression[target]
        name = faces.expression_names[label] if label >= 0 else ""
        rows.append(f"<tr>{''.join(f'<td>{_picture(x)}</td>' for x in cells)}<td>{html.escape(name)}</td></tr>")
    return f"<h2>The same faces</h2><table class=faces><tr>{head}<th></th></tr>{''.join(rows)}</table>"


def _confusion(method: Compared) -> str:
    found = method.measures["expression"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in found["names"])
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{n}</td>' for n in row)}</tr>"
        for name, row in zip(found["names"], found["confusion"])
    )
    return f"<h3>{html.escape(method.name)}</h3><table><tr><th></th>{head}</tr>{rows}</table>"


def _picture(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
