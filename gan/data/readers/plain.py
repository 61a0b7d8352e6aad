"""One's own pictures in folders: people, and in them expressions."""

from __future__ import annotations

from affect3d.gan.data.listing import Entry, Listing
from affect3d.gan.data.readers.common import folder_of, pictures_in, require_entries

__all__ = ["list_folders"]


def list_folders(root) -> Listing:
    """Pictures as ``PERSON/EXPRESSION/anything.jpg``; the folder ``neutral`` holds the neutral faces.

    Expressions are named after the folders, in lower case and alphabetical order, "neutral" first.

    Raises
    ------
    ValueError
        If there is no such picture.
    """
    base = folder_of(root, "people", "")
    entries, names = [], set()
    for person in sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for shown in sorted(p for p in person.iterdir() if p.is_dir() and not p.name.startswith(".")):
            name = shown.name.lower()
            names.add(name)
            entries += [
                Entry(path, person.name, "", frame=k, expression=name, neutral=name == "neutral")
                for k, path in enumerate(pictures_in(shown))
            ]
    entries = require_entries(entries, base, "people", "anna/happiness/1.jpg")
    ordered = tuple(sorted(names, key=lambda n: (n != "neutral", n)))
    return Listing(entries, ordered, (), f"Pictures from the folder {base.name}.")
