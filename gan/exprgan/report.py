"""What ExprGAN's paper reports: intensity by code (figure 3), transfer (4), new people (5), table 1, retrieval (7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from affect3d.gan.batches import to_images
from affect3d.gan.exprgan.applications import (
    augmentation_table, controlled_code, generate, intensity_curve, strength_code,
)  # fmt: skip
from affect3d.gan.exprgan.method import ExprGAN
from affect3d.gan.intensity import expression_directions
from affect3d.gan.metrics import descriptor_distance
from affect3d.gan.recipes import applied
from affect3d.gan.recognizer import RecognizerOptions
from affect3d.gan.reports import PaperReport, curve_plot, in_range, unit_reader
from affect3d.progress import Progress, silent

__all__ = ["Transfer", "codes", "report", "retrieved", "transfers"]

#: Values of the code in the curve of intensity.
VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)
#: Pictures that the curve is measured on, and that are transferred, at most.
SOURCES = 100
#: Synthetic pictures of each expression in table 1; the paper's are 0, 500, 1000, 5000, 10000.
PER_CLASS = (0, 100, 500)


def report(
    method: ExprGAN, seen, unseen, judges, options: RecognizerOptions = RecognizerOptions(),
    progress: Progress = silent,
) -> PaperReport:  # fmt: skip
    """All of them, on people whom neither the method nor the judges have seen; arguments as for StoicNet's report.

    Returns
    -------
    PaperReport
        numbers: "intensity" (`strength_code` from -1 to 1, `controlled_code` from 0 to 1, and the reader's worth),
        "transfer", "retrieval", "augmentation" (table 1).
    """
    names = method.options.labels
    rng = np.random.default_rng(options.seed)
    numbers, grids, plots, lines, left_out = {}, {}, {}, [], []
    reader, quality = unit_reader(seen, unseen, options, progress)
    places = [unseen.expression_names.index(name) if name in unseen.expression_names else -1 for name in names]
    if reader is None:
        left_out.append(quality)
    elif -1 in places:
        reader = None
        left_out.append("intensity: the faces have other expressions than those of the training")
    numbers["intensity"] = None
    if reader is not None:
        sources = _sources(unseen)
        directions = expression_directions(seen)[[seen.expression_names.index(name) for name in names]]
        curves = {
            "strength_code": intensity_curve(method, reader.read, unseen.images[sources], directions, VALUES),
            "controlled_code": intensity_curve(
                method, reader.read, unseen.images[sources], directions, np.linspace(0, 1, 5), controlled_code
            ),
        }
        numbers["intensity"] = {
            "pictures": len(sources), **{name: curve.report(names) for name, curve in curves.items()}, "reader": quality
        }
        for kind, curve in curves.items():
            content = curve_plot(
                {name: (curve.values, row) for name, row in zip(names, curve.mean)}, "Intensity by the code",
                "code" if kind == "strength_code" else "|z_y|", "strength (1: the mean true picture)",
            )  # fmt: skip
            if content is not None:
                plots[f"intensity-{kind.partition('_')[0]}"] = content
        told = numbers["intensity"]["strength_code"]
        rising = [name for name, grows in told["rises_at_every_step"].items() if grows]
        lines.append(
            f"intensity: {told['mean'][0]:.2f} to {told['mean'][-1]:.2f} on the average, rising at every step for "
            f"{len(rising)} of {len(names)} expressions"
        )
    labelled = _labelled(unseen, names)
    numbers["transfer"] = numbers["retrieval"] = None
    if len(np.unique(unseen.subject[labelled])) < 2:
        left_out.append("transfer, retrieval: expected labelled pictures of two people or more")
    elif judges.expression is None or judges.expression_names != unseen.expression_names:
        left_out.append("transfer, retrieval: the faces have other expressions than those of the training")
    else:
        moved = transfers(method, unseen, labelled, judges, rng)
        numbers["transfer"] = {
            "pictures": len(moved.pairs), "expression": moved.expression, "nearer_to_A": moved.nearer_to_A
        }
        grids["transfer"] = _transfer_grid(method, unseen, labelled, judges)
        numbers["retrieval"], grids["retrieval"] = _retrieval(method, unseen, labelled, judges, reader, rng)
        lines.append(
            f"transfer: the expression of B recognized in {numbers['transfer']['expression']:.3f}, "
            f"nearer to A than to B in {numbers['transfer']['nearer_to_A']:.3f}"
        )
        same = {way: found["same_label"] for way, found in numbers["retrieval"]["by"].items()}
        lines.append("retrieval of the same expression: " + ", ".join(f"by {k} {v:.3f}" for k, v in same.items()))
    numbers["augmentation"] = None
    train = _labelled(seen, names)
    if len(train) and len(labelled):
        y = [np.array([names.index(s.expression_names[e]) for e in s.expression[rows]], np.int64)
             for s, rows in ((seen, train), (unseen, labelled))]  # fmt: skip
        table = augmentation_table(
            method, seen.images[train], y[0], unseen.images[labelled], y[1], PER_CLASS, options.steps,
            seed=options.seed, progress=progress,
        )  # fmt: skip
        numbers["augmentation"] = [{"synthetic": row.synthetic, "accuracy": row.accuracy} for row in table]
    grids["figure5"] = _new_people(method, options.seed)
    return PaperReport({**numbers, "left_out": left_out}, grids, plots, tuple(lines))


@dataclass(frozen=True, eq=False)
class Transfer:
    """Pictures of people A with the expressions of pictures of people B, and what they show.

    Attributes
    ----------
    pairs : (P, 2) int array
        Rows of A and B.
    images : (P, H, W, C) uint8
    expression : float
        Share in which the label of B is recognized.
    nearer_to_A : float
        Share whose descriptor is nearer to that of A's picture than to that of B's.
    """

    pairs: np.ndarray
    images: np.ndarray
    expression: float
    nearer_to_A: float


def transfers(method: ExprGAN, faces, rows: np.ndarray, judges, rng: np.random.Generator) -> Transfer:
    """Give pictures A the expressions of other people's pictures B: G_dec(g(x_A), c_B) with y_B by a classifier.

    Parameters
    ----------
    method : ExprGAN
    faces : FaceImages
    rows : (M,) int array
        Pictures of at least two people, labelled.
    judges : evaluation.Judges
    rng : numpy Generator
        Draws B, of somebody else.
    """
    a = _some(rows, SOURCES)
    b = np.array([rng.choice(rows[faces.subject[rows] != faces.subject[row]]) for row in a])
    c = codes(method, faces.images[b], _guessed(method, faces, b, judges))
    made = applied(method, method.synthesize, faces.images[a], c)
    describe = judges.identity.descriptors
    of_a, of_b, own = describe(faces.images[a]), describe(faces.images[b]), describe(made)
    return Transfer(
        np.column_stack([a, b]), made, float((judges.expression.predict(made) == faces.expression[b]).mean()),
        float((descriptor_distance(own, of_a) < descriptor_distance(own, of_b)).mean()),
    )  # fmt: skip


def codes(method: ExprGAN, images: np.ndarray, y: torch.Tensor) -> torch.Tensor:
    """Expression codes c, (N, K * d) on the CPU, of pictures (N, H, W, C) uint8 with labels y (N,), as Q sees them."""
    device = next(method.networks["Q"].parameters()).device
    parts = []
    with torch.no_grad():
        for k in range(0, len(images), 128):
            part = slice(k, k + 128)
            parts.append(method.expression_code(to_images(images[part]).to(device), y[part].to(device)).cpu())
    return torch.cat(parts)


def retrieved(distance: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """For each picture the nearest of another person's: (N,) int64; `distance` (N, N), `subject` (N,)."""
    return np.where(subject[:, None] == subject[None], np.inf, distance).argmin(1)


def _retrieval(method, faces, rows, judges, reader, rng) -> tuple[dict, np.ndarray]:
    """Figure 7: the nearest picture of somebody else by code c, by label y and by pixels x, and how well each does."""
    rows = _some(rows, 400)
    images, subject, label = faces.images[rows], faces.subject[rows], faces.expression[rows]
    y = _guessed(method, faces, rows, judges)
    c = codes(method, images, y).double()
    x = torch.from_numpy(images.reshape(len(rows), -1).astype(np.float32))
    distances = {
        "c": torch.cdist(c, c).numpy(),
        # all pictures of a label are as near, so which of them comes first is drawn
        "y": (y[:, None] != y[None]).numpy() + 0.5 * rng.random((len(rows), len(rows))),
        "x": torch.cdist(x, x).numpy(),
    }
    first = {way: retrieved(distance, subject) for way, distance in distances.items()}
    units = None if reader is None else reader.read(images)
    found = {}
    for way, place in first.items():
        found[way] = {"same_label": float((label[place] == label).mean()), "unit_difference": None}
        if units is not None:
            found[way]["unit_difference"] = float(np.abs(units[place] - units).sum(1).mean())
    drawn = np.array([(label[subject != s] == e).mean() for s, e in zip(subject, label)])
    shown = np.array([np.flatnonzero(label == e)[0] for e in np.unique(label)])
    grid = np.stack([np.stack([images[k], *(images[first[way][k]] for way in ("c", "y", "x"))]) for k in shown])
    return {"pictures": len(rows), "by": found, "same_label_by_chance": float(drawn.mean())}, in_range(grid)


def _transfer_grid(method, faces, rows, judges) -> np.ndarray:
    """A's picture before a row with the expressions of the pictures B, which stand in the row above all."""
    people = faces.subject[rows]
    first = [rows[people == s][0] for s in np.unique(people)[:5]]
    others = rows[people == np.unique(people)[-1]]
    _, shown = np.unique(faces.expression[others], return_index=True)
    b = others[shown]
    c = codes(method, faces.images[b], _guessed(method, faces, b, judges))
    blank = np.full(faces.size, 255, np.uint8)
    sheet = [np.stack([blank, *faces.images[b]])]
    for row in first:
        again = np.repeat(faces.images[[row]], len(b), 0)
        sheet.append(np.stack([faces.images[row], *applied(method, method.synthesize, again, c)]))
    return in_range(np.stack(sheet))


def _new_people(method, seed: int) -> np.ndarray:
    """Figure 5: a row for each person who does not exist, a column for each expression at full strength."""
    o, generator = method.options, torch.Generator().manual_seed(seed)
    y = torch.arange(len(o.labels))
    device = next(method.networks["G_dec"].parameters()).device
    rows = []
    with torch.no_grad():
        for _ in range(5):
            z = (torch.rand(1, o.identity, generator=generator) * 2 - 1).expand(len(y), -1)
            rows.append(method.networks["G_dec"](z.to(device), strength_code(method, y.to(device), 1.0)).cpu())
        rows.append(generate(method, y.to(device), generator).cpu())  # each somebody else, with a code that was drawn
    return torch.stack(rows).numpy()


def _guessed(method, faces, rows, judges) -> torch.Tensor:
    """Labels of the rows as places in the method's: the likeliest of these by the recognizer, "an expression
    classifier" of the paper's section on transfer."""
    own = [judges.expression_names.index(name) for name in method.options.labels]
    return torch.from_numpy(judges.expression.logits(faces.images[rows])[:, own].argmax(1))


def _labelled(faces, names) -> np.ndarray:
    shown = [k for k, name in enumerate(faces.expression_names) if name in names]
    return np.flatnonzero(np.isin(faces.expression, shown))


def _sources(faces) -> np.ndarray:
    """First and middle picture of each person."""
    rows = [np.flatnonzero(faces.subject == s) for s in faces.subjects]
    return _some(np.unique([r[k] for r in rows for k in (0, len(r) // 2)]), SOURCES)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, spread evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
