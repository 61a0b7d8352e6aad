"""Which pictures the papers put together: source and target rows of a `FaceImages`."""

from __future__ import annotations

import numpy as np

__all__ = [
    "last_frames", "neutral_pairs", "same_class_pairs", "same_person_pairs", "unit_pairs", "unlike_pairs",
]  # fmt: skip


def last_frames(faces, count: int = 3) -> np.ndarray:
    """(M,) int64: the last `count` frames of every film, in the order of the set.

    FESGAN and ExprGAN take the last three of CK+ and Oulu-CASIA as pictures of the apex.

    Raises
    ------
    ValueError
        If `count` is below one or a film has fewer frames than `count` and one more to begin with.
    """
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"count: expected a whole number from 1, got {count!r}")
    order = np.lexsort((faces.frame, faces.sequence))
    films, starts, lengths = np.unique(faces.sequence[order], return_index=True, return_counts=True)
    if len(films) and lengths.min() <= count:
        short = int(films[np.argmin(lengths)])
        raise ValueError(
            f"faces: film {short} has {lengths.min()} frames, too few to tell its last {count} from its beginning"
        )  # fmt: skip
    rows = [order[s + n - count : s + n] for s, n in zip(starts, lengths)]
    return np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)


def neutral_pairs(faces) -> np.ndarray:
    """(P, 2) int64 (expressive, neutral): every picture with its person's neutral face, itself included.

    StoicNet trains its neutralizer on "every image with the first image of the sequence".

    Raises
    ------
    ValueError
        If a person has no neutral face; the message names them.
    """
    lacking = np.unique(faces.subject[faces.neutral < 0])
    if len(lacking):
        named = ", ".join(map(str, lacking[:5])) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise ValueError(f"faces: pictures of subject {named} have no neutral face; leave them out or name one")
    return np.column_stack([np.arange(len(faces)), faces.neutral])


def same_person_pairs(faces, within: str = "sequence", limit: int | None = None, rng=None) -> np.ndarray:
    """(P, 2) int64 (source, target): every labelled picture with every one of the same person.

    CDAAE pairs each picture of RaFD with the eight of the same subject and gaze, itself included: 1,200
    pictures make 9,600 pairs.

    Parameters
    ----------
    faces : FaceImages
    within : {"sequence", "subject"}
        Only pictures of one take (one gaze and light), or all of the person.
    limit : int, optional
        Keep this many pairs at most, drawn with `rng`.
    rng : numpy.random.Generator, optional

    Raises
    ------
    ValueError
        If an option is not as above, or nothing has a label.
    """
    if within not in ("sequence", "subject"):
        raise ValueError(f"within: expected 'sequence' or 'subject', got {within!r}")
    labelled = _labelled(faces)
    group = faces.subject if within == "subject" else _takes(faces)
    parts = []
    for g in np.unique(group[labelled]):
        rows = labelled[group[labelled] == g]
        parts.append(np.stack(np.meshgrid(rows, rows, indexing="ij"), -1).reshape(-1, 2))
    return _limited(np.concatenate(parts), limit, rng)


def unit_pairs(faces, rng: np.random.Generator, active: int = 2000, inactive: int = 1000) -> np.ndarray:
    """(P, 2) int64 (source, target) for spontaneous action units, as CDAAE takes them from DISFA.

    For each unit up to `active` pictures that show it, drawn evenly and so in its own distribution of
    intensities, and up to `inactive` that do not, are targets.  The source of each is a random
    picture of the same person.

    Raises
    ------
    ValueError
        If `faces` have no units, or a number is negative.
    """
    if not len(faces.unit_names):
        raise ValueError("faces: expected action units, got a set without")
    if active < 0 or inactive < 0 or active + inactive == 0:
        raise ValueError(f"active, inactive: expected numbers from 0, not both 0, got {active}, {inactive}")
    targets = []
    for column in faces.units.T:
        known = ~np.isnan(column)
        for rows, most in ((np.flatnonzero(known & (column > 0)), active),
                           (np.flatnonzero(known & (column == 0)), inactive)):  # fmt: skip
            targets.append(rng.permutation(rows)[:most])
    targets = np.concatenate(targets)
    order = np.argsort(faces.subject, kind="stable")
    people, starts, counts = np.unique(faces.subject[order], return_index=True, return_counts=True)
    person = np.searchsorted(people, faces.subject[targets])
    sources = order[starts[person] + (rng.random(len(targets)) * counts[person]).astype(np.int64)]
    return np.column_stack([sources, targets])


def same_class_pairs(faces, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) int64 (x, x_p,r): every labelled picture with another one of the same expression, for FESR.

    Raises
    ------
    ValueError
        If an expression has a single picture.
    """
    labelled = _labelled(faces)
    chosen = np.empty(len(labelled), np.int64)
    for name in np.unique(faces.expression[labelled]):
        own = np.flatnonzero(faces.expression[labelled] == name)
        if len(own) < 2:
            raise ValueError(f"faces: row {labelled[own[0]]} has no partner: it is alone in its expression")
        # any step around the circle but none
        step = rng.integers(1, len(own), len(own))
        chosen[own] = labelled[own[(np.arange(len(own)) + step) % len(own)]]
    return np.column_stack([labelled, chosen])


def unlike_pairs(faces, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) int64 (source, target): every labelled picture with one of the same person and take that shows
    another expression.

    Raises
    ------
    ValueError
        If a person shows a single expression in a take.
    """
    labelled = _labelled(faces)
    take = _takes(faces)[labelled]
    order = np.argsort(take, kind="stable")
    chosen = np.empty(len(labelled), np.int64)
    for group in np.split(order, np.flatnonzero(np.diff(take[order])) + 1):
        shown = faces.expression[labelled[group]]
        for k, name in zip(group, shown):
            others = group[shown != name]
            if not len(others):
                raise ValueError(f"faces: row {labelled[k]} has no partner: its take shows one expression only")
            chosen[k] = labelled[others[int(rng.integers(len(others)))]]
    return np.column_stack([labelled, chosen])


def _labelled(faces) -> np.ndarray:
    rows = np.flatnonzero(faces.expression >= 0)
    if not len(rows):
        raise ValueError("faces: no picture has an expression label")
    return rows


def _takes(faces) -> np.ndarray:
    """A number for each (subject, sequence): sequences of two people may have one number."""
    return np.unique(np.column_stack([faces.subject, faces.sequence]), axis=0, return_inverse=True)[1].ravel()


def _limited(pairs, limit, rng):
    if limit is None or limit >= len(pairs):
        return pairs
    if rng is None or limit < 1:
        raise ValueError(f"limit: expected a number from 1 and an rng to draw with, got {limit} and {rng}")
    return pairs[np.sort(rng.permutation(len(pairs))[:limit])]
