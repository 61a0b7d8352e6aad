"""What a database holds before any picture is opened, and how its pictures become a `FaceImages`.

A reader looks at folders and labels only, which is fast and finds a wrong folder at once.  Decoding,
landmarks and crops are the same for all of them and happen here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from affect3d.gan.data.crops import CropOptions, crop_image
from affect3d.gan.data.frames import open_frames
from affect3d.gan.data.images import FaceImages
from affect3d.progress import Progress, silent

__all__ = ["Entry", "Listing", "find_points", "read_faces"]


@dataclass(frozen=True, eq=False)
class Entry:
    """One picture of a database.

    Attributes
    ----------
    path : Path
        A picture, or a film.
    subject : str
        As the database names the person.
    sequence : str
        As it names the film or take; unique within the person.
    page : int
        Frame of the film at `path`; -1 where it is a picture.
    frame : int
        Place in the sequence.
    expression : str
        "" where it is not known.
    units : dict of int to float
        FACS intensities; a unit that is not named is not known.
    valence, arousal : float
        In [-1, 1]; NaN where not known.
    neutral : bool
        Whether it shows the neutral face of its person.
    points : (68, 2) float array, optional
        iBUG landmarks in pixels, where the database has them.
    """

    path: Path
    subject: str
    sequence: str = ""
    page: int = -1
    frame: int = 0
    expression: str = ""
    units: dict = field(default_factory=dict)
    valence: float = np.nan
    arousal: float = np.nan
    neutral: bool = False
    points: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Listing:
    """All pictures of a database, in a fixed order.

    Attributes
    ----------
    entries : tuple of Entry
    expression_names, unit_names : tuple of str
    source : str
    """

    entries: tuple[Entry, ...]
    expression_names: tuple[str, ...]
    unit_names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.entries)

    def keep(self, wanted: Callable[[Entry], bool]) -> Listing:
        """The entries for which `wanted` is true."""
        kept = tuple(e for e in self.entries if wanted(e))
        return Listing(kept, self.expression_names, self.unit_names, self.source)

    def without_neutral(self) -> list[str]:
        """Names of the people of whom no entry is neutral."""
        has = {e.subject for e in self.entries if e.neutral}
        return sorted({e.subject for e in self.entries} - has)

    def require_neutral(self) -> Listing:
        """This listing.

        Raises
        ------
        ValueError
            If a person has no neutral picture.
        """
        lacking = self.without_neutral()
        if lacking:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            raise ValueError(
                f"{self.source.split(',')[0].rstrip('.')}: no neutral face of {', '.join(lacking[:5])}{more}"
            )
        return self


def find_points(image, detector: str = "mediapipe", progress: Progress = silent) -> np.ndarray:
    """(68, 2) iBUG landmarks of the largest face in a picture.

    Raises
    ------
    affect3d.detect.NoFaceError
        If no face is found.
    """
    from affect3d.detect import NoFaceError, detect_faces, to_ibug68

    found = detect_faces(image, detector, progress=progress)
    if not found:
        raise NoFaceError("no face was found")
    return to_ibug68(found[0].landmarks).points[:, :2]


def read_faces(
    listing: Listing, crop: CropOptions, detector: str = "mediapipe", own_points: bool = True,
    skip_unusable: bool = False, find: Callable | None = None, progress: Progress = silent,
) -> FaceImages:  # fmt: skip
    """Open, align and crop the pictures of a listing.

    Parameters
    ----------
    listing : Listing
    crop : CropOptions
    detector : {"mediapipe", "dlib"}
        Finds the 68 points; the papers use dlib's.
    own_points : bool
        Use the landmarks that come with the database where it has some.
    skip_unusable : bool
        Leave out pictures that cannot be read or show no face, and say how many in the result's `source`; else
        the first of them is an error.
    find : callable, optional
        ``find(image) -> (68, 2)`` instead of the detector; raises ValueError where there is no face.
    progress : callable

    Returns
    -------
    FaceImages
        People, sequences and units are numbered in the order of their first appearance.  The neutral face
        of a picture is that of its own sequence if there is one, else the person's first.

    Raises
    ------
    ValueError
        If the listing is empty, or nothing usable is left; also a picture that cannot be read or has no face
        (unless `skip_unusable`), by one sentence that names it.
    """
    if not len(listing):
        raise ValueError("listing: expected at least one picture, got none")
    if find is None:

        def find(image):
            return find_points(image, detector, progress)

    pictures, kept, unusable = [], [], []
    frames = open_frames(listing.entries)
    for number, entry in enumerate(listing.entries):
        where = f"{entry.path}" + (f", frame {entry.page}" if entry.page >= 0 else "")
        try:
            image = next(frames)
            if isinstance(image, Exception):
                raise image
            points = entry.points if own_points and entry.points is not None else find(image)
            pictures.append(crop_image(image, points, crop))
            kept.append(entry)
        except (ValueError, OSError) as error:
            said = str(error) if str(entry.path) in str(error) else f"{where}: {error}"
            if not skip_unusable:
                raise ValueError(said) from None
            unusable.append(said)
        progress(number + 1, len(listing), "reading faces")
    if not kept:
        raise ValueError(f"listing: none of its {len(listing)} pictures can be used; the first: {unusable[0]}")
    source = listing.source
    if unusable:
        source += f" {len(unusable)} of {len(listing)} pictures were left out, the first because of {unusable[0]}."
    return labelled_faces(np.stack(pictures), kept, listing, source)


def labelled_faces(images, entries: Sequence[Entry], listing: Listing, source: str) -> FaceImages:
    """Pictures (N, H, W, C) with the labels of their entries, numbers for names."""
    people = {name: k for k, name in enumerate(dict.fromkeys(e.subject for e in entries))}
    films = {name: k for k, name in enumerate(dict.fromkeys((e.subject, e.sequence) for e in entries))}
    first_of_film, first_of_person = {}, {}
    for row, e in enumerate(entries):
        if e.neutral:
            first_of_film.setdefault((e.subject, e.sequence), row)
            first_of_person.setdefault(e.subject, row)
    names = listing.expression_names
    units = np.array([[e.units.get(int(n[2:]), np.nan) for n in listing.unit_names] for e in entries])
    return FaceImages(
        images, [people[e.subject] for e in entries],
        [names.index(e.expression) if e.expression in names else -1 for e in entries], names,
        units.reshape(len(entries), len(listing.unit_names)), listing.unit_names, [e.valence for e in entries],
        [e.arousal for e in entries], [films[e.subject, e.sequence] for e in entries], [e.frame for e in entries],
        [first_of_film.get((e.subject, e.sequence), first_of_person.get(e.subject, -1)) for e in entries], source,
    )  # fmt: skip
