"""Where a training runs: device, precision, and several processes with a share of each batch, by Lightning Fabric.

Fabric picks the accelerator, sets the precision, starts the processes and carries tensors between them.  It does not
wrap networks: the methods here call parts of networks several times in a step, freeze and free them in between and
take gradients of gradients, which wrappers for data-parallel training do not follow.  Instead the gradients of an
optimizer are averaged over the processes right before it steps, which comes to the same.

Without Fabric one device with full precision is left, which needs nothing of it and gives the same bytes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from affect3d.gan.determinism import pick_device, step_seed

__all__ = ["DEVICES", "PRECISIONS", "Machine", "check_shares", "launch"]

DEVICES = ("auto", "cpu", "cuda", "mps")

#: By what Fabric calls them: weights and optimizers have 32 bits in both; "bf16" computes layers with 16 of them.
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}

_NEEDED = "several devices, bf16 and mps need Lightning Fabric: pip install 'affect3d[torch]'"


class Machine:
    """One of the processes that train together; with one device the only one.

    Attributes
    ----------
    device : torch.device
    rank, world : int
        Number of this process, and how many there are.
    """

    def __init__(self, fabric, device: torch.device | None = None, caller: int | None = None):
        self._fabric, self._caller = fabric, caller
        self.device = device if fabric is None else fabric.device
        self.rank, self.world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
        self._watched: list = []

    def autocast(self):
        """Context in which layers compute with the precision that was asked for."""
        return nullcontext() if self._fabric is None else self._fabric.autocast()

    def seed(self, seed: int, stage: int, index: int) -> int:
        """`determinism.step_seed`, another one for each process."""
        if self.rank == 0:
            return step_seed(seed, stage, index)
        values = np.random.SeedSequence([seed, stage, index, self.rank]).generate_state(1, np.uint64)
        return int(values[0] >> np.uint64(1))

    def share(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """This process's rows of a batch, on the device; errors as `check_shares`.

        Ends this process if the one that started it was killed.
        """
        if self._caller is not None and os.getppid() != self._caller:
            os._exit(1)  # nobody waits for it, and the folder of the run is to be free again
        if self.world > 1:
            check_shares(batch, self.world)
            batch = {key: value[self.rank :: self.world] for key, value in batch.items()}
        return {key: value.to(self.device) for key, value in batch.items()}

    def watch(self, optimizers: dict) -> None:
        """From now on, average the gradients of these optimizers over the processes before each step."""
        if self.world == 1:
            return
        for optimizer in optimizers.values():
            if not any(optimizer is known for known in self._watched):
                optimizer.register_step_pre_hook(self._average)
                self._watched.append(optimizer)

    def mean(self, losses: dict) -> dict:
        """Means of losses over the processes."""
        if self.world == 1:
            return losses
        values = torch.stack([torch.as_tensor(v, device=self.device).detach().float() for v in losses.values()])
        return dict(zip(losses, self._fabric.all_reduce(values, reduce_op="mean")))

    def same_buffers(self, networks: dict) -> None:
        """Give all processes the buffers of the first one (running means), so that a checkpoint of it is complete."""
        if self.world == 1:
            return
        for network in networks.values():
            for buffer in network.buffers():
                buffer.copy_(self._fabric.broadcast(buffer, src=0))

    def _average(self, optimizer, arguments, options) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not gradients:
            return
        # in one piece: a message for each weight would take longer than the step
        mean = self._fabric.all_reduce(torch.cat([g.reshape(-1) for g in gradients]), reduce_op="mean")
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients])):
            gradient.copy_(part.view_as(gradient))


def check_shares(batch: dict[str, Tensor], devices: int) -> None:
    """Raise ValueError unless the rows of a batch can be shared evenly, with two pictures for each device at least."""
    for count in {len(value) for value in batch.values()}:
        if devices > 1 and (count % devices or count < 2 * devices):
            raise ValueError(
                f"batch: expected a multiple of {devices} devices with 2 pictures for each at least, got {count}"
            )


def launch(function, device: str, precision: str, devices: int):
    """``function(machine)`` on the machine that is asked for; what it gives in the first process.

    Parameters
    ----------
    function : callable
        Runs in this process for one device, else in `devices` copies of it (which needs an operating system that can
        copy a process), so that what it changes in memory is lost and what it writes is not.
    device : str
        One of `DEVICES`; "auto" is a GPU of NVIDIA where there is one, else the CPU.
    precision : str
        One of `PRECISIONS`.
    devices : int
        How many; on the CPU as many processes.

    Raises
    ------
    ValueError
        If the device is not there, or not so many of it; also what `function` raised as ValueError.
    ImportError
        If Lightning Fabric is needed and missing.
    """
    place = pick_device(device)
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError:
        if devices > 1 or precision != "32" or place.type == "mps":
            raise ImportError(_NEEDED) from None
        return function(Machine(None, place))
    most = max(2, os.cpu_count() or 1)
    if place.type == "cpu" and devices > most:
        raise ValueError(f"devices: expected at most {most} processes on the cores here, got {devices}")
    # they report of themselves on stderr, where progress is shown
    for name in ("lightning.fabric", "lightning_fabric", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        fabric = Fabric(
            accelerator=place.type, devices=devices, precision=PRECISIONS[precision],
            strategy="ddp_fork" if devices > 1 else "auto",
        )  # fmt: skip
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"devices: cannot use {devices} of {place.type} here ({reason})") from None
    others = set(multiprocessing.active_children())
    try:
        return fabric.launch(_joined, function, os.getpid())
    except torch.multiprocessing.ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        kind, _, text = last.partition(": ")
        if kind == "ValueError":
            raise ValueError(text) from None
        raise
    except BaseException:  # stopped: Python would wait for the copies
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise


def _joined(fabric, function, caller: int):
    if fabric.world_size == 1:
        return function(Machine(fabric))
    # what the caller does at SIGTERM is not for its copies: they are ended by it as soon as one of them fails
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return function(Machine(fabric, caller=caller))
