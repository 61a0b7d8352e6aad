"""The gallery of performances with their affect labels, and its store on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affect3d.affect.performances import PerformanceOptions, perform
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.affect.vaspace import checked_affect
from affect3d.geometry.arrays import frozen_array, require_finite

__all__ = ["Gallery", "generate_gallery"]

#: What the labels of the default gallery mean.
WORDS_CONVENTION = (
    "words: valence and arousal as people rate emotion words (Russell and Mehrabian 1977), with the neutral face at "
    "the origin. Rated faces lie elsewhere: there a neutral face has arousal -0.40 and a happy one -0.04."
)
_FORMAT = "affect3d gallery 1"
#: The same arrays, with names of subjects and sequences and the head beside them.
_STREAMED = "affect3d gallery 2"
_CHUNK = 4096
_ARRAYS = ("expression", "valence", "arousal", "subject", "sequence", "frame", "neutral")


@dataclass(frozen=True, eq=False)
class Gallery:
    """Frames of performances as expression coefficients, with labels.

    Attributes
    ----------
    expression : (N, E) float32
        Coefficients in [0, 1].
    valence, arousal : (N,) float32
        Labels in [-1, 1].
    subject, sequence, frame : (N,) int32
        Who, in which performance (numbered through the gallery), at which frame of it.
    neutral : (N,) int32
        Index of the frame that shows this performance's neutral face.
    expression_names : tuple of str
        ARKit names, one for each column of `expression`.
    convention : str
        What the labels mean.
    notes : str
        Where the frames come from, and what a user must know of them.
    """

    expression: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    subject: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    neutral: np.ndarray
    expression_names: tuple[str, ...] = ARKIT_SHAPES
    convention: str = ""
    notes: str = ""

    def __post_init__(self):
        names = tuple(self.expression_names)
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"expression_names: expected different names, got {len(set(names))} of {len(names)}")
        expression = frozen_array(self.expression, np.float32, "expression", (None, len(names)))
        require_finite(expression, "expression")
        if expression.size and (expression.min() < 0 or expression.max() > 1):
            raise ValueError(
                f"expression: coefficients must lie in [0, 1], got {expression.min():g} to {expression.max():g}"
            )
        count = len(expression)
        checked_affect(self.valence, self.arousal)
        for name in ("valence", "arousal"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), np.float32, name, (count,)))
        for name in ("subject", "sequence", "frame", "neutral"):
            value = np.asarray(getattr(self, name))
            if not np.issubdtype(value.dtype, np.integer):
                raise ValueError(f"{name}: expected whole numbers, got {value.dtype}")
            if value.size and value.min() < 0:
                raise ValueError(f"{name}: expected numbers of at least 0, got {value.min()}")
            object.__setattr__(self, name, frozen_array(value, np.int32, name, (count,)))
        if count and self.neutral.max() >= count:
            raise ValueError(f"neutral: indices must lie in [0, {count}), got {self.neutral.max()}")
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "expression_names", names)

    def __len__(self) -> int:
        return len(self.expression)

    def save(self, path, overwrite: bool = False) -> None:
        """Write a Zarr store, chunked by frame.

        The store is written under a temporary name beside `path` and renamed
        when it is complete.

        Raises
        ------
        FileExistsError
            If `path` exists and `overwrite` is false.
        ImportError
            If the package zarr is missing.
        """
        zarr = _zarr()
        path = Path(path)
        if os.path.lexists(path) and not overwrite:
            raise FileExistsError(f"path: {path} exists; remove it or ask to overwrite it")
        if path.is_file() or path.is_symlink():
            raise FileExistsError(f"path: {path} is not a folder, so it is no gallery to overwrite")
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            fresh = temporary / "new"
            group = zarr.open_group(store=str(fresh), mode="w")
            for name in _ARRAYS:
                array = getattr(self, name)
                chunks = (max(1, min(_CHUNK, len(array))),) + array.shape[1:]
                group.create_array(name, shape=array.shape, chunks=chunks, dtype=array.dtype)[...] = array
            group.attrs.update(
                {
                    "format": _FORMAT, "expression_names": list(self.expression_names),
                    "convention": self.convention, "notes": self.notes,
                    "units": "expression coefficients in [0, 1]; valence and arousal in [-1, 1]",
                }  # fmt: skip
            )
            if path.exists():
                os.replace(path, temporary / "old")
            os.replace(fresh, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @staticmethod
    def load(path) -> Gallery:
        """Read a store that `save` wrote, or one of coefficients that `affect3d.affect.generation` did, whole.

        Raises
        ------
        FileNotFoundError
            If there is nothing at `path`.
        ValueError
            If what is there is no complete gallery.
        ImportError
            If the package zarr is missing.
        """
        zarr = _zarr()
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"path: there is no gallery at {path}")
        try:
            group = zarr.open_group(store=str(path), mode="r")
            if group.attrs.get("format") not in (_FORMAT, _STREAMED):
                raise ValueError(f"its format is {group.attrs.get('format')!r}, expected {_FORMAT!r}")
            arrays = {name: np.asarray(group[name][...]) for name in _ARRAYS}
            return Gallery(
                **arrays, expression_names=tuple(group.attrs["expression_names"]),
                convention=str(group.attrs["convention"]), notes=str(group.attrs["notes"]),
            )  # fmt: skip
        # zarr and its codecs raise many types for damaged files; to the user they are one fault.
        except Exception as error:
            raise ValueError(f"path: {path} is not a readable gallery ({type(error).__name__}: {error})") from error


def generate_gallery(options: PerformanceOptions | None = None, seed: int = 0) -> Gallery:
    """The default gallery: synthetic performances by synthetic people.

    Parameters
    ----------
    options : PerformanceOptions, optional
        By default 100 people, 80 performances each, 36 frames each.
    seed : int
        The same seed gives the same bytes.

    Returns
    -------
    Gallery
        Labels follow the *words* convention, see its `convention`.
    """
    options = options or PerformanceOptions()
    played = perform(options, np.random.default_rng(seed))
    s, q, t = options.subjects, options.sequences, options.frames
    subject, sequence, frame = np.unravel_index(np.arange(s * q * t), (s, q, t))
    sequence = subject * q + sequence
    return Gallery(
        expression=played.expression.reshape(s * q * t, -1),
        valence=played.valence.ravel(),
        arousal=played.arousal.ravel(),
        subject=subject,
        sequence=sequence,
        frame=frame,
        neutral=sequence * t,
        convention=WORDS_CONVENTION,
        notes=(
            f"Synthetic: {s} synthetic people, {q} performances each, seed {seed}. Expressions are made from published "
            "tables (CK+ action units, compound expressions) and from this package's own choices where no table "
            "exists; mouth corners, lids and jaw follow valence and arousal by design. Labels are computed, not "
            "annotated by people."
        ),
    )


def _zarr():
    try:
        import zarr
    except ImportError:
        raise ImportError("Galleries are stored with the package zarr, which is missing: pip install zarr") from None
    return zarr
