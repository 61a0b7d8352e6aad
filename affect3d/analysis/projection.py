"""Component weights of all frames of a gallery, block by block, here or on a cluster, and again after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from affect3d.io.atomic import atomic_path
from affect3d.progress import Progress, silent

__all__ = ["ProjectedWeights", "ProjectionBlock", "project_block", "project_gallery"]

#: Frames of a block: with 500 components 33 MB.
BLOCK = 16_384


@dataclass(frozen=True)
class ProjectionBlock:
    """One job; all that a process on another machine, which sees the same files, must know.

    Attributes
    ----------
    store, content : str
        The gallery, and the digest that it must have.
    components : str
        File.
    out : str
        Where the weights go.
    first, last : int
        Rows.
    """

    store: str
    content: str
    components: str
    out: str
    first: int
    last: int


@dataclass(frozen=True)
class ProjectedWeights:
    """Weights in files, one for each block.

    Attributes
    ----------
    folder : Path
    count, width : int
        Frames and components.
    """

    folder: Path
    count: int
    width: int

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first row, weights (n, K) float32)`` in order."""
        for first, last, path in _plan(self.folder, self.count):
            weights = np.load(path, allow_pickle=False)
            if weights.shape != (last - first, self.width):
                raise ValueError(f"{path}: expected weights of shape {(last - first, self.width)}, got {weights.shape}")
            yield first, weights

    def rows(self, wanted) -> np.ndarray:
        """(M, K) float32 of ascending rows."""
        wanted = np.asarray(wanted, np.int64)
        parts = []
        for first, weights in self.blocks():
            inside = wanted[(wanted >= first) & (wanted < first + len(weights))]
            parts.append(weights[inside - first])
        return np.concatenate(parts)

    def remove(self) -> None:
        """Delete the files."""
        for _, _, path in _plan(self.folder, self.count):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def project_gallery(
    store, components, folder, width: int, scheduler: str | None = None, progress: Progress = silent
) -> ProjectedWeights:
    """Fit `width` components to every frame; blocks that are there already are not computed again.

    Parameters
    ----------
    store : GalleryStore
        Opened from a path, which is opened again where the work is done.
    components : path
        File that `save_components` wrote.
    folder : path
        For the blocks; made where it is missing.
    width : int
        K.
    scheduler : str, optional
        Address of a Dask scheduler.  A frame's weights depend on nothing but the frame, so the numbers are the same.
    progress : callable

    Raises
    ------
    RuntimeError
        If a block failed on the cluster, for the reason given there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plan = _plan(folder, len(store))
    jobs = [
        ProjectionBlock(
            os.path.abspath(store.path), store.content, os.path.abspath(components), os.path.abspath(path), a, b
        )
        for a, b, path in plan
        if not path.exists()
    ]
    done = len(plan) - len(jobs)
    label = f"{width} components, all frames"
    if scheduler is None:
        results = ((job, project_block(job)) for job in jobs)
    else:
        from affect3d.registration.workers import run_dask

        results = run_dask(project_block, jobs, scheduler)
    for job, result in results:
        if result is not None:
            raise RuntimeError(f"rows {job.first} to {job.last}: {getattr(result, 'reason', result)}")
        done += 1
        progress(done, len(plan), label)
    return ProjectedWeights(folder, len(store), width)


def project_block(job: ProjectionBlock) -> None:
    """Do one job: its file appears whole or not at all."""
    from affect3d.model.component_weights import component_weights

    store, components = _opened(job.store, job.content), _loaded(job.components)
    frames = store.frames(np.arange(job.first, job.last))
    weights = component_weights(frames, components.components, components.constraint)
    with atomic_path(job.out) as temporary:
        np.save(temporary, weights, allow_pickle=False)


def _plan(folder: Path, count: int) -> list[tuple[int, int, Path]]:
    return [(a, min(a + BLOCK, count), folder / f"{a // BLOCK:06d}.npy") for a in range(0, count, BLOCK)]


@lru_cache(maxsize=2)
def _opened(path, content):
    from affect3d.affect.store import open_gallery

    store = open_gallery(path)
    if store.content != content:
        raise ValueError(f"store: the gallery at {path} is not the one that the analysis began with")
    return store


@lru_cache(maxsize=1)
def _loaded(path):
    from affect3d.model.component_file import load_components

    return load_components(path).learned
