"""What StoicNet's paper reports (section 4.2): intensity before and after, distances of identity, verification."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from affect3d.gan.intensity import total_intensity
from affect3d.gan.methods import judged_pairs
from affect3d.gan.metrics import nearest_is_right
from affect3d.gan.recipes import applied
from affect3d.gan.recognizer import RecognizerOptions
from affect3d.gan.reports import PaperReport, unit_reader
from affect3d.gan.stoicnet.method import StoicNet
from affect3d.gan.stoicnet.tables import identity_table, intensity_by_expression, intensity_table
from affect3d.progress import Progress, silent

__all__ = ["report"]


def report(
    method: StoicNet, seen, unseen, judges, options: RecognizerOptions = RecognizerOptions(),
    progress: Progress = silent,
) -> PaperReport:  # fmt: skip
    """Tables 1 and 2, table 1 by expression, and both by stage of the result, for all pictures that are not neutral.

    Parameters
    ----------
    method : StoicNet
        In evaluation mode.
    seen, unseen : FaceImages
        People of the training, on whom the reader of action units is trained, and others.
    judges : evaluation.Judges
        Trained on `seen`.
    options : RecognizerOptions
        Of the reader.
    progress : callable

    Returns
    -------
    PaperReport
        numbers: "identity" (table 2 with the share whose nearest neutral face is of the right person), "intensity"
        ("shares", "by_expression", "reader"), "stages" (both by stage: input, reconstruction, x_l, x_h).
    """
    pairs = judged_pairs("stoicnet", unseen)
    sources = unseen.images[pairs[:, 0]]
    made = {
        "input": sources,
        "reconstructed": applied(method, method.reconstruct, sources),
        "neutralized, x_l": applied(method, lambda x: method.neutralize(x, enhance=False), sources),
        "neutralized, x_h": applied(method, method.neutralize, sources),
    }
    final = made["neutralized, x_h"]
    neutral = np.unique(pairs[:, 1])
    describe = judges.identity.descriptors
    gallery, owner = describe(unseen.images[neutral]), unseen.subject[neutral]
    stages = {
        name: {"nearest_is_right": nearest_is_right(describe(images), unseen.subject[pairs[:, 0]], gallery, owner)}
        for name, images in made.items()
    }
    left_out, intensity, identity, lines = [], None, None, []
    if len(owner) > 1 and len(np.unique(owner)) > 1:
        table = identity_table(describe, unseen, pairs, final, np.random.default_rng(options.seed))
        identity = asdict(table)
        lines.append(
            f"identity: distance {table.neutralized:.3f} from the input (the same person's neutral face "
            f"{table.positive:.3f}, another's {table.negative:.3f}), verified {table.verified:.3f}, "
            f"nearer than another {table.recognized:.3f}"
        )
    else:
        left_out.append("identity: one person has nobody to be told from")
    reader, quality = unit_reader(seen, unseen, options, progress)
    if reader is None:
        left_out.append(quality)
    else:
        table = intensity_table(reader, unseen, pairs, final)
        lowered = [(e - m) / e if e > 0 else None for e, m in zip(table.expressive, table.neutralized)]
        intensity = {
            "shares": {**{name: list(values) for name, values in asdict(table).items()}, "lowered": lowered},
            "by_expression": intensity_by_expression(reader, unseen, pairs, final), "reader": quality,
        }  # fmt: skip
        for name, images in made.items():
            stages[name]["intensity"] = float(total_intensity(reader.read(images)).mean())
        lines.append(
            f"intensity: {table.expressive[0]:.2f} before, {table.neutralized[0]:.2f} after, true neutral faces "
            f"{table.neutral[0]:.2f}"
        )
    numbers = {"pictures": len(pairs), "identity": identity, "intensity": intensity, "stages": stages,
               "left_out": left_out}  # fmt: skip
    return PaperReport(numbers, lines=tuple(lines))
