"""The methods by name, and what each has to offer so that one command trains, uses and measures them all.

A *recipe* is a module with these names:

``prepare(faces, settings, batch, seed) -> (method, batches)``
    The method with initial weights, and its batches, for `training.train`; ``batch`` is the paper's if left out.
    ``settings`` are fields of the method's options; an unknown one is a ValueError that lists those there are.
``OPTIONS``
    The dataclass of these options; the command line reads numbers and texts by its types.
``restore(options) -> method``
    The method for options as `training.plain` saved them; `load_run` fills in the weights.
``edit(method, images, target) -> images``
    (N, H, W, C) uint8 to the same; ``target`` maps labels to weights.
``transform(method, faces, pairs) -> images``
    For rows (P, 2) of source and target in a `FaceImages`, the sources made into what the targets show: (P, H, W, C)
    uint8, to be compared with the targets.
``figures(method, faces) -> dict of str to (R, K, C, H, W)``, if it has any
    Grids in [-1, 1] for people to look at.
``report(method, seen, unseen, judges, options, progress) -> PaperReport``, if it has any
    What its paper reports besides the measures that all methods share: `affect3d.gan.reports`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from affect3d.gan.checkpoint import load_weights, read_header
from affect3d.gan.training import WEIGHTS

__all__ = ["METHODS", "TO_NEUTRAL", "able", "judged_pairs", "load_run", "recipe"]

#: Name on the command line -> module.
METHODS = {name: f"affect3d.gan.{name}.recipe" for name in ("cdaae", "fesgan", "stoicnet", "exprgan")}

#: Methods that make faces neutral and nothing else.
TO_NEUTRAL = ("stoicnet",)


def recipe(name: str) -> ModuleType:
    """The module of the method `name`.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    return import_module(METHODS[name])


def judged_pairs(name: str, faces, limit: int | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rows (P, 2) of source and target on which the method `name` is measured.

    All different pictures of one person and take with a labelled target; for those that only make faces
    neutral, each other picture with the neutral one.

    Parameters
    ----------
    name : str
    faces : FaceImages
    limit : int, optional
        Pairs at most, drawn with `rng`.

    Raises
    ------
    ValueError
        If there is no such pair.
    """
    if name in TO_NEUTRAL:
        from affect3d.gan.evaluation import some_of

        source = np.flatnonzero((faces.neutral >= 0) & (faces.neutral != np.arange(len(faces))))
        if not len(source):
            raise ValueError("faces: expected people with a neutral face and another one, got none")
        return some_of(np.column_stack([source, faces.neutral[source]]), limit, rng)
    from affect3d.gan.evaluation import evaluation_pairs

    return evaluation_pairs(faces, limit, rng)


def able(name: str, faces, pairs: np.ndarray) -> np.ndarray:
    """Which of the rows `pairs` (P, 2) of source and target the method `name` can make a picture for: (P,) bool.

    A method that makes faces neutral and nothing else can where the target is the neutral face of a source that is
    not neutral itself; the others always can.
    """
    if name not in TO_NEUTRAL:
        return np.ones(len(pairs), bool)
    return (faces.neutral[pairs[:, 0]] == pairs[:, 1]) & (pairs[:, 0] != pairs[:, 1])


def load_run(folder, name: str | None = None):
    """A trained method, in evaluation mode on the CPU.

    Parameters
    ----------
    folder : str or Path
        Of a finished run, or its file of weights.
    name : str, optional
        Refuse another method than this.

    Returns
    -------
    method : Method
    plan : dict
        As `training.describe` gives it.

    Raises
    ------
    ValueError
        If there are no weights, or those of another method.
    FileNotFoundError
        If there is no such folder.
    """
    if not Path(folder).exists():
        raise FileNotFoundError(f"{folder}: does not exist; expected the folder of a run")
    path = Path(folder) / WEIGHTS if Path(folder).is_dir() else Path(folder)
    if not path.exists():
        raise ValueError(f"{folder}: holds no {WEIGHTS}; train to the end first")
    plan = read_header(path)
    if name is not None and plan["method"] != name:
        raise ValueError(f"{path}: holds the method {plan['method']}, not {name}")
    try:
        method = recipe(plan["method"]).restore(plan["method_options"])
    except TypeError as error:  # options that this version does not know
        raise ValueError(f"{path}: was written by another version of affect3d ({error})") from None
    load_weights(path, method.networks)
    for network in method.networks.values():
        network.eval()
    return method, plan
