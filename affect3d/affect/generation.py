"""A synthetic gallery of any size on any head, made sequence by sequence and written as it is made.

Unlike `affect3d.affect.gallery.generate_gallery`, whose performances all have one length and lie in memory, sequences
differ in length, every one is a function of the seed and its number alone, and a person may have a face of their own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from affect3d.affect.gallery import WORDS_CONVENTION
from affect3d.affect.gallery_head import GalleryHead, gallery_head
from affect3d.affect.performances import PerformanceOptions, perform_sequence, person_style
from affect3d.affect.store_frames import basis_gram, rms_distance
from affect3d.affect.store_writer import StoreBlock, StorePlan, write_store
from affect3d.affect.tables import ARKIT_SHAPES
from affect3d.progress import Progress, silent

__all__ = ["GenerationOptions", "SequencePlan", "generate_store", "plan_sequences"]

_LEAST_FRAMES = 8
_VERSION = 1
# what a random stream is for; each has one of its own, so that more sequences do not change the people
_LENGTHS, _STYLE, _IDENTITY, _PLAY, _SPLIT = range(5)
#: Deviations of identity beyond which no person lies.
_IDENTITY_LIMIT = 2.5


@dataclass(frozen=True)
class GenerationOptions:
    """How large a gallery, and how much people and annotators differ; the size of the paper's by default.

    Attributes
    ----------
    subjects, sequences, frames : int
        In all.  At least one sequence a subject and 8 frames a sequence.
    even : bool
        Sequences of one length, as far as the numbers allow; else their lengths differ (log-normal, deviation 0.4).
    frame_rate : float
        Frames a second, > 0; the paper's scans come 60 a second.
    test_share : float
        Share of the subjects in the split ``test``, the others being in ``train``; 0 stores no splits.
    annotators, style, asymmetry, label_noise : as in `affect3d.affect.performances.PerformanceOptions`
    label_lag : float
        Mean reaction time of annotators, in seconds.
    seed : int
    """

    subjects: int = 180
    sequences: int = 1580
    frames: int = 600_000
    even: bool = False
    frame_rate: float = 60.0
    test_share: float = 0.2
    annotators: int = 4
    style: float = 0.15
    asymmetry: float = 0.08
    label_noise: float = 0.04
    label_lag: float = 0.15
    seed: int = 0

    def __post_init__(self):
        for name in ("subjects", "sequences", "frames", "seed"):
            value, least = getattr(self, name), 0 if name == "seed" else 1
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        if self.sequences < self.subjects:
            raise ValueError(
                f"sequences: expected one of each of {self.subjects} subjects or more, got {self.sequences}"
            )
        if self.frames < _LEAST_FRAMES * self.sequences:
            raise ValueError(
                f"frames: expected {_LEAST_FRAMES} or more for each of {self.sequences} sequences, got {self.frames}"
            )
        if self.frames >= 2**31:
            raise ValueError(f"frames: expected fewer than {2**31}, got {self.frames}")
        if not (np.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise ValueError(f"frame_rate: expected a number above 0, got {self.frame_rate!r}")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share: expected a number in [0, 1), got {self.test_share!r}")
        self.performance()

    def performance(self) -> PerformanceOptions:
        """The same, as one performance needs it; the lag in frames."""
        return PerformanceOptions(
            1, 1, _LEAST_FRAMES, self.annotators, self.style, self.asymmetry, self.label_noise,
            self.label_lag * self.frame_rate,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SequencePlan:
    """Who performs which sequence, and how long.

    Attributes
    ----------
    subject : (Q,) int64
    length : (Q,) int64
        Frames.
    first : (Q + 1,) int64
        Row of the first frame; the last entry is the number of frames in all.
    """

    subject: np.ndarray
    length: np.ndarray
    first: np.ndarray


def plan_sequences(options: GenerationOptions) -> SequencePlan:
    """Deal sequences to subjects and frames to sequences; the sums are exactly what `options` asks for."""
    count = options.sequences
    share = np.ones(count)
    if not options.even:
        share = np.random.default_rng([options.seed, _LENGTHS]).lognormal(0, 0.4, count)
    spare = options.frames - _LEAST_FRAMES * count
    exact = spare * share / share.sum()
    length = np.floor(exact).astype(np.int64)
    # the frames that rounding down left over go to those that lost most by it
    length[np.argsort(length - exact, kind="stable")[: spare - int(length.sum())]] += 1
    length += _LEAST_FRAMES
    subject = np.arange(count) * options.subjects // count
    return SequencePlan(subject, length, np.concatenate([[0], np.cumsum(length)]))


def generate_store(
    path, options: GenerationOptions, model, meshes: bool = False, overwrite: bool = False,
    progress: Progress = silent,
) -> bool:  # fmt: skip
    """Generate a gallery and write it as it is generated; memory does not grow with the number of frames.

    Parameters
    ----------
    path : str or Path
    options : GenerationOptions
    model : MorphableModel
        The head that the coefficients belong to, or whose vertices are stored.
    meshes : bool
        Store vertices, each subject with an identity drawn from the model's modes; else coefficients and the head.
    overwrite : bool
        Whether another gallery at `path` may be replaced.
    progress : callable

    Returns
    -------
    bool
        False if the same gallery was there already.

    Raises
    ------
    ValueError, OSError
        As `affect3d.affect.gallery_head.gallery_head` and `affect3d.affect.store_writer.write_store`.
    """
    head = gallery_head(model)
    sequences = plan_sequences(options)
    maker = _Maker(options, sequences, head, meshes)
    kind = "vertices" if meshes else "coefficients"
    said = json.dumps([_VERSION, kind, asdict(options), head.digest()], sort_keys=True)
    number = np.repeat(np.arange(options.sequences), sequences.length)
    names = sequence_names(sequences)
    frames = tuple(f"{n}/{k:06d}" for n, many in zip(names, sequences.length) for k in range(many)) if meshes else ()
    lacks = f" This head lacks {', '.join(head.missing)}." if head.missing else ""
    plan = StorePlan(
        kind=kind, row_shape=head.rest.shape if meshes else (len(ARKIT_SHAPES),),
        content=hashlib.sha256(said.encode()).hexdigest(), subject=sequences.subject[number], sequence=number,
        frame=np.arange(options.frames) - sequences.first[number], neutral=sequences.first[number],
        subjects=tuple(subject_name(i) for i in range(options.subjects)), sequences=names, rest=head.rest,
        faces=head.faces, basis=head.basis, colours=head.colours, names=frames,
        attributes={
            "convention": WORDS_CONVENTION, "frame_rate": options.frame_rate, "model": head.name,
            "splits": _splits(options), "notes": (
                f"Synthetic: {options.subjects} synthetic people, {options.sequences} performances, seed "
                f"{options.seed}. Expressions are made from published tables and from this package's own choices where "
                f"no table exists; labels are computed, not annotated by people.{lacks}"
            ),
            **({} if meshes else {"expression_names": list(ARKIT_SHAPES)}),
        },
    )  # fmt: skip
    return write_store(path, plan, maker, overwrite, progress)


def subject_name(number: int) -> str:
    """S001 for 0."""
    return f"S{number + 1:03d}"


def sequence_names(plan: SequencePlan) -> tuple[str, ...]:
    """S001/01, S001/02, ...: the subject, and which of the subject's sequences it is."""
    first = np.searchsorted(plan.subject, plan.subject)
    return tuple(f"{subject_name(s)}/{k - f + 1:02d}" for k, (s, f) in enumerate(zip(plan.subject, first)))


class _Maker:
    """``maker(first, last)`` gives a block of rows; what it remembers only saves time."""

    def __init__(self, options: GenerationOptions, plan: SequencePlan, head: GalleryHead, meshes: bool):
        self._options, self._plan, self._head, self._meshes = options, plan, head, meshes
        self._gram = basis_gram(head.basis)
        self._flat = np.ascontiguousarray(head.basis.reshape(len(head.basis), -1))
        self._style = lru_cache(maxsize=2)(self._make_style)
        self._face = lru_cache(maxsize=2)(self._make_face)
        self._played = lru_cache(maxsize=2)(self._play)

    def __call__(self, first: int, last: int) -> StoreBlock:
        starts = self._plan.first
        parts, faces = [], []
        for k in range(int(np.searchsorted(starts, first, "right")) - 1, int(np.searchsorted(starts, last))):
            expression, valence, arousal = self._played(k)
            here = slice(max(first - starts[k], 0), last - starts[k])
            offset = expression[here] - expression[0]
            parts.append((expression[here], valence[here], arousal[here], rms_distance(offset, self._gram)))
            faces += [int(self._plan.subject[k])] * len(offset)
        values, valence, arousal, distance = (np.concatenate(column) for column in zip(*parts))
        if self._meshes:
            values = (values @ self._flat).reshape(len(values), -1, 3)
            faces = np.array(faces)
            for subject in np.unique(faces):
                values[faces == subject] += self._face(int(subject))
        return StoreBlock(values, valence, arousal, distance)

    def _play(self, k: int):
        rng = np.random.default_rng([self._options.seed, _PLAY, k])
        style = self._style(int(self._plan.subject[k]))
        return perform_sequence(
            int(self._plan.length[k]), style, self._options.performance(), self._options.frame_rate, rng
        )

    def _make_style(self, subject: int):
        rng = np.random.default_rng([self._options.seed, _STYLE, subject])
        return person_style(self._options.performance(), rng)

    def _make_face(self, subject: int) -> np.ndarray:
        rng = np.random.default_rng([self._options.seed, _IDENTITY, subject])
        weights = np.clip(rng.standard_normal(len(self._head.identity)), -_IDENTITY_LIMIT, _IDENTITY_LIMIT)
        moved = np.tensordot(weights.astype(np.float32), self._head.identity, 1) if len(weights) else 0
        return self._head.rest + moved


def _splits(options: GenerationOptions) -> dict:
    if not options.test_share or options.subjects < 2:
        return {}
    rng = np.random.default_rng([options.seed, _SPLIT])
    count = int(np.clip(round(options.test_share * options.subjects), 1, options.subjects - 1))
    test = set(rng.permutation(options.subjects)[:count].tolist())
    return {
        "train": [subject_name(i) for i in range(options.subjects) if i not in test],
        "test": [subject_name(i) for i in sorted(test)],
    }
