"""Seeds, devices and the settings under which the same seed gives the same bytes."""

from __future__ import annotations

import os
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["deterministic", "pick_device", "seeded", "step_seed"]

# asked in this way, whether there is a GPU does not start CUDA, which could not be used in copies of the process then
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")


def step_seed(seed: int, stage: int, index: int) -> int:
    """Seed of step `index` of stage number `stage`, in [0, 2**63)."""
    return int(np.random.SeedSequence([seed, stage, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def pick_device(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" stands for.

    Raises
    ------
    ValueError
        If a GPU is asked for and torch finds none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: torch finds no GPU here; use cpu, or install a torch that was built for CUDA")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device: torch finds no GPU of Apple here; use cpu")
    return torch.device(name)


@contextmanager
def seeded(seed: int):
    """Run the block with torch's generators seeded; afterwards they are as before.

    Networks are built within it, so that the same seed gives the same initial weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def deterministic(threads: int = 0):
    """Deterministic kernels and `threads` CPU threads (0: unchanged) in the block; afterwards as before."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only so
    with torch.random.fork_rng():
        try:
            if threads:
                torch.set_num_threads(threads)
            # warn_only: some CUDA kernels (resizing, for one) have no deterministic form, and no form at all is worse
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1], warn_only=warned)
            torch.backends.cudnn.benchmark = before[2]
