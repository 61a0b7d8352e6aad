"""The loop that trains every method: stages, losses, sample grids, checkpoints and an exact resume.

A *method* is an object with networks, optimizers and stages; `Method` below says what it has to have.
`train` calls `method.step` once for each step of each stage.  Everything a step draws follows from
the seed, the stage and the number of the step, and a batch is asked for by the number of its step, so the state
of a run is its networks, its optimizers and one count.  A run that was killed and started again with
the same arguments ends with the bytes it would have had without the kill (same machine, same number of threads).

Device, precision and several devices are the affair of `affect3d.gan.machine`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from affect3d.gan.checkpoint import RunState, load_checkpoint, load_weights, save_checkpoint, save_weights
from affect3d.gan.determinism import deterministic
from affect3d.gan.logs import LossLog, write_samples
from affect3d.gan.machine import DEVICES, PRECISIONS, Machine, check_shares, launch
from affect3d.io.folder_lock import one_run_in
from affect3d.io.json_file import write_json
from affect3d.progress import Progress, silent

__all__ = ["Batches", "Method", "Stage", "TrainOptions", "TrainResult", "describe", "train"]

CHECKPOINT, WEIGHTS, LOSSES, OPTIONS, SUMMARY = (
    "checkpoint.safetensors", "weights.safetensors", "losses.csv", "options.json", "summary.json",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A part of the training that has its own losses and trainable networks.

    Attributes
    ----------
    name : str
        As `Method.step` gets it.
    steps : int
        From 1.
    """

    name: str
    steps: int

    def __post_init__(self):
        if not self.name or self.steps < 1:
            raise ValueError(f"stage: expected a name and at least 1 step, got {self.name!r}, {self.steps}")


@runtime_checkable
class Method(Protocol):
    """What `train` needs of a method.

    Attributes
    ----------
    name : str
        Written into checkpoints and weights: "cdaae", "fesgan", ...
    options : frozen dataclass
        Of numbers, texts, booleans, None and tuples of these, so that it is saved as JSON.
    networks : dict of str to nn.Module
        By the paper's symbols; all parameters and buffers that have to be kept.  Whatever a method
        keeps between steps (running means, codes) is a buffer of one of them.
    optimizers : dict of str to torch.optim.Optimizer
        On parameters of these networks.
    stages : tuple of Stage
        In their order.
    """

    name: str
    options: Any
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    stages: tuple[Stage, ...]

    def begin(self, stage: str) -> None:
        """Make the method ready for the steps of `stage`: freeze networks, replace optimizers.

        Called before the first step of a stage and after a resume in the midst of it (then before
        the optimizers' state is read), so it must not change any weight.
        """

    def step(self, stage: str, batch: dict[str, Tensor], generator: torch.Generator, index: int) -> dict[str, float]:
        """One update of everything that `stage` trains.

        Parameters
        ----------
        stage : str
            Name of the stage.
        batch : dict of str to Tensor
            What `Batches.batch` gave, on the method's device.
        generator : torch.Generator
            On the CPU, seeded for this step.  Every draw that has to go through a generator uses it (draw on
            the CPU and move); dropout and the like use torch's global generators, seeded for this step too.
        index : int
            Number of the step within the stage, from 0 (for warm-ups).

        Returns
        -------
        dict of str to float or Tensor
            Losses by the paper's symbols; detached tensors of one number spare a GPU the wait.
        """
        ...

    def sample(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """Pictures to look at: (R, K, C, H, W) in [-1, 1], R rows of K pictures; called without gradients."""
        ...


class Batches(Protocol):
    """Numbered batches; `gan/batches.py` makes them of arrays.

    Attributes
    ----------
    fingerprint : str
        Of the data and their order; a resume with other data is refused.
    """

    fingerprint: str

    def batch(self, stage: str, index: int) -> dict[str, Tensor]:
        """The batch of step `index` of `stage`: always the same one for the same numbers."""
        ...

    def preview(self) -> dict[str, Tensor]:
        """A batch for `Method.sample`, always the same one."""
        ...


@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; none of it changes what a method is.

    Attributes
    ----------
    seed : int
        Of all draws, from 0.
    device : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a GPU of NVIDIA where there is one.
    precision : {"32", "bf16"}
        "bf16" computes layers with 16 bits; weights and optimizers keep their 32.
    devices : int
        How many share each batch.  Results depend on it: each draws for itself.
    threads : int
        Of torch on the CPU; 0 leaves the choice to torch.  Sums depend on it in their last bits.  With several
        devices each process has one.
    log_every : int
        Steps whose mean losses make one row of losses.csv.
    sample_every : int
        Steps between sample grids; 0 for none.
    checkpoint_every : int
        Steps between checkpoints; there is one at the end of each stage besides.
    """

    seed: int = 0
    device: str = "auto"
    threads: int = 0
    log_every: int = 50
    sample_every: int = 500
    checkpoint_every: int = 500
    precision: str = "32"
    devices: int = 1

    def __post_init__(self):
        for name, allowed in (("device", DEVICES), ("precision", tuple(PRECISIONS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        lowest = {"seed": 0, "threads": 0, "log_every": 1, "sample_every": 0, "checkpoint_every": 1, "devices": 1}
        for name, low in lowest.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise ValueError(f"{name}: expected a whole number from {low}, got {value!r}")


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind.

    Attributes
    ----------
    folder : Path
    weights : Path
        The networks, as `checkpoint.load_weights` reads them.
    losses : dict of str to float
        Means over the last row of losses.csv.
    steps : int
        All that were made, those before a resume included.
    resumed_at : int
        Steps that were there already; 0 without a resume.
    seconds : float
        Of this call.
    """

    folder: Path
    weights: Path
    losses: dict[str, float]
    steps: int
    resumed_at: int
    seconds: float


def describe(method: Method, batches: Batches, options: TrainOptions) -> dict:
    """What a run would do, as JSON-ready values: for --dry-run and options.json.

    Returns
    -------
    dict
        "method", "method_options", "train_options", "data" (fingerprint), "stages" and
        "networks" with the number of parameters of each.
    """
    return {
        "method": method.name,
        "method_options": plain(method.options),
        "train_options": plain(options),
        "data": batches.fingerprint,
        "stages": [{"name": stage.name, "steps": stage.steps} for stage in method.stages],
        "networks": {name: sum(p.numel() for p in net.parameters()) for name, net in method.networks.items()},
    }


def train(
    method: Method, batches: Batches, options: TrainOptions, folder, progress: Progress = silent
) -> TrainResult:
    """Train `method`, or go on where an earlier call in the same folder was stopped.

    Parameters
    ----------
    method : Method
        Changed in place: its networks are the trained ones afterwards, on the device that was used.
    batches : Batches
    options : TrainOptions
    folder : str or Path
        Made if missing (not its parents).  Gets options.json, losses.csv, samples/STAGE-STEP.png,
        checkpoint.safetensors, weights.safetensors and, at the end, summary.json.
    progress : callable
        ``progress(done, total, label)`` with the steps of all stages.

    Raises
    ------
    ValueError
        If the folder holds a run with other options or data, another process trains in it, or a loss is not finite.
    OSError
        If the folder cannot be written.
    """
    folder = Path(folder)
    if options.devices > 1:
        check_shares(batches.batch(method.stages[0].name, 0), options.devices)
    folder.mkdir(exist_ok=True)
    with one_run_in(folder):
        found = launch(
            lambda machine: _train(machine, method, batches, options, folder, progress),
            options.device, options.precision, options.devices,
        )  # fmt: skip
        if options.devices > 1:  # trained in copies of this process
            load_weights(folder / WEIGHTS, method.networks)
    return TrainResult(folder, folder / WEIGHTS, **found)


def _train(machine: Machine, method, batches, options, folder: Path, progress) -> dict:
    """What each of the processes does; the first one writes.  Gives "losses", "steps", "resumed_at", "seconds"."""
    plan, first_process = describe(method, batches, options), machine.rank == 0
    began, total = time.perf_counter(), sum(stage.steps for stage in method.stages)
    with deterministic(options.threads if machine.world == 1 else 1):
        for network in method.networks.values():
            network.to(machine.device)
        state = _resume(folder, method, plan)
        log = LossLog.read(folder / LOSSES, state.done) if state.done else LossLog()
        if first_process:
            write_json(folder / OPTIONS, plan)
        done, last = state.done, dict(log.last)
        resumed_at = done
        for number, stage in enumerate(method.stages):
            if number < state.stage:
                continue
            first = state.index if number == state.stage else 0
            if first >= stage.steps:
                continue
            if not (number == state.stage and state.begun):
                _begin(method, stage.name)
            machine.watch(method.optimizers)
            for index in range(first, stage.steps):
                batch = machine.share(batches.batch(stage.name, index))
                seed = machine.seed(options.seed, number, index)
                torch.manual_seed(seed)  # dropout and the like; `deterministic` restores the caller's state
                with machine.autocast():
                    losses = method.step(stage.name, batch, torch.Generator().manual_seed(seed), index)
                log.add(machine.mean(losses))
                machine.same_buffers(method.networks)
                done, at_end = done + 1, index + 1 == stage.steps
                if not first_process:
                    continue
                save = at_end or (index + 1) % options.checkpoint_every == 0
                if save or (index + 1) % options.log_every == 0:
                    last = log.flush(done, stage.name)
                if options.sample_every and ((index + 1) % options.sample_every == 0 or at_end):
                    pictures = _sample(method, batches, machine.device, seed)
                    write_samples(folder / "samples" / f"{number + 1}-{stage.name}-{index + 1:06d}.png", pictures)
                if save:
                    log.write(folder / LOSSES)  # before the checkpoint: a resume drops rows that are too late
                    save_checkpoint(folder / CHECKPOINT, method, RunState(number, index + 1, done, True), plan)
                progress(done, total, f"{method.name} {stage.name}")
        if first_process:
            save_weights(folder / WEIGHTS, method, plan)
        threads = torch.get_num_threads()
    found = {"losses": last, "steps": done, "resumed_at": resumed_at, "seconds": time.perf_counter() - began}
    if first_process:
        write_json(folder / SUMMARY, {
            **found, "seconds": round(found["seconds"], 3), "device": str(machine.device), "devices": machine.world,
            "precision": options.precision, "threads": threads, "torch": torch.__version__,
        })  # fmt: skip
    return found


def plain(options) -> dict:
    """A dataclass of options as JSON-ready values, tuples as lists."""
    if not is_dataclass(options):
        raise ValueError(f"options: expected a dataclass, got {type(options).__name__}")

    def simple(value):
        if isinstance(value, dict):
            return {str(k): simple(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [simple(v) for v in value]
        if isinstance(value, (np.integer, np.floating, np.bool_)):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ValueError(f"options: expected numbers, texts and tuples of these, got {type(value).__name__}")

    return simple(asdict(options))


def _begin(method, stage: str) -> None:
    begin = getattr(method, "begin", None)
    if begin is not None:
        begin(stage)


def _resume(folder: Path, method, plan: dict) -> RunState:
    path = folder / CHECKPOINT
    if not path.exists():
        return RunState()
    return load_checkpoint(path, method, plan, lambda stage: _begin(method, method.stages[stage].name))


def _sample(method, batches, device, seed: int) -> np.ndarray:
    modes = {name: network.training for name, network in method.networks.items()}
    try:
        for network in method.networks.values():
            network.eval()
        with torch.no_grad():
            batch = {key: value.to(device) for key, value in batches.preview().items()}
            return method.sample(batch, torch.Generator().manual_seed(seed)).float().cpu().numpy()
    finally:
        for name, network in method.networks.items():
            network.train(modes[name])
