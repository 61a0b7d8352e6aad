"""Checkpoints and weights as safetensors with a JSON header; nothing in them is executed on reading.

A checkpoint holds the networks, the optimizers and how many steps were made: with that, `training.train` goes on
exactly, because all that a step draws follows from its number.  Weights hold the networks alone.

Tensors are named ``networks/NAME/KEY`` and ``optimizers/NAME/PARAMETER/KEY``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from affect3d.io.atomic import atomic_path

__all__ = ["FORMAT_VERSION", "RunState", "load_checkpoint", "load_weights", "read_header", "save_checkpoint",
           "save_weights"]  # fmt: skip

#: Written into every file; a reader refuses newer ones.
FORMAT_VERSION = 1

_KEY = "affect3d_gan"


@dataclass(frozen=True)
class RunState:
    """How far a run has come.

    Attributes
    ----------
    stage : int
        Number of the current stage.
    index : int
        Steps of it that were made.
    done : int
        Steps of all stages that were made.
    begun : bool
        Whether `begin` was called for that stage.
    """

    stage: int = 0
    index: int = 0
    done: int = 0
    begun: bool = False


def save_checkpoint(path, method, state: RunState, plan: dict) -> None:
    """Write everything that a resume needs; the file appears complete or not at all.

    Parameters
    ----------
    path : str or Path
    method : Method
    state : RunState
    plan : dict
        What `training.describe` gives.
    """
    tensors, groups = _network_tensors(method), {}
    for name, optimizer in method.optimizers.items():
        content = optimizer.state_dict()
        groups[name] = {"groups": content["param_groups"], "numbers": {}}
        for parameter, values in content["state"].items():
            for key, value in values.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizers/{name}/{parameter}/{key}"] = value
                elif value is not None:
                    groups[name]["numbers"].setdefault(str(parameter), {})[key] = value
    _write(path, tensors, {"kind": "checkpoint", "state": asdict(state), "optimizers": groups, "plan": _lasting(plan)})


def load_checkpoint(path, method, plan: dict, begin) -> RunState:
    """Put a checkpoint into `method`.

    Parameters
    ----------
    path : str or Path
    method : Method
        Built with the same options.
    plan : dict
        What `training.describe` gives for it; must be that of the checkpoint but for where and how often things
        are written.
    begin : callable
        ``begin(stage number)``; called before the optimizers are filled.

    Raises
    ------
    ValueError
        If the file is no such checkpoint or was written with other options or data.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    header, tensors = _read(path, "checkpoint")
    _same_plan(path, header["plan"], json.loads(json.dumps(plan)))
    try:
        state = RunState(**header["state"])
        if not 0 <= state.stage < len(method.stages):
            raise ValueError(f"stage {state.stage} of {len(method.stages)}")
        begin(state.stage)
        _fill_networks(method.networks, tensors)
        for name, optimizer in method.optimizers.items():
            _fill_optimizer(optimizer, name, header["optimizers"][name], tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"{path}: does not fit this method ({reason}); use another folder") from None
    return state


def save_weights(path, method, plan: dict) -> None:
    """Write the networks of `method` with the plan they were trained by."""
    _write(path, _network_tensors(method), {"kind": "weights", "plan": _lasting(plan)})


def load_weights(path, networks=None) -> dict:
    """Read weights, and fill `networks` with them.

    Parameters
    ----------
    path : str or Path
        weights.safetensors or checkpoint.safetensors.
    networks : dict of str to nn.Module, optional
        Filled in place, each on the device where it is; must be those of the file.

    Returns
    -------
    dict
        The plan: "method", "method_options", "train_options", "data", "stages", "networks".

    Raises
    ------
    ValueError
        If the file is no such file, or the networks differ from those in it.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    header, tensors = _read(path, None)
    if networks is not None:
        try:
            _fill_networks(networks, tensors)
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"{path}: holds other networks than expected ({reason})") from None
    return header["plan"]


def read_header(path) -> dict:
    """The plan of a file of weights or a checkpoint, without reading its tensors; errors as `load_weights`."""
    return _read(Path(path), None, tensors=False)[0]["plan"]


def _network_tensors(method) -> dict[str, torch.Tensor]:
    return {
        f"networks/{name}/{key}": value
        for name, network in method.networks.items()
        for key, value in network.state_dict().items()
    }


def _fill_networks(networks, tensors) -> None:
    names = {key.split("/")[1] for key in tensors if key.startswith("networks/")}
    if names != set(networks):
        raise KeyError(f"expected the networks {sorted(networks)}, got {sorted(names)}")
    for name, network in networks.items():
        start = f"networks/{name}/"
        network.load_state_dict({k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)})


def _fill_optimizer(optimizer, name, header, tensors) -> None:
    content: dict = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizers" and rest.startswith(f"{name}/"):
            parameter, _, field = rest[len(name) + 1 :].partition("/")
            content.setdefault(int(parameter), {})[field] = value
    for parameter, values in header["numbers"].items():
        content.setdefault(int(parameter), {}).update(values)
    optimizer.load_state_dict({"state": content, "param_groups": header["groups"]})


def _write(path, tensors, header) -> None:
    from safetensors.torch import save

    # copies: networks may share parts (a trunk), which the format does not know; each then holds the same numbers
    content = save(
        {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()},
        metadata={_KEY: json.dumps({"version": FORMAT_VERSION, **header}, sort_keys=True, allow_nan=False)},
    )
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(content)


def _read(path: Path, kind: str | None, tensors: bool = True) -> tuple[dict, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # the usual errors for files that are missing or forbidden
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(f"the header has no {_KEY!r}")
            header = json.loads(metadata[_KEY])
            if not isinstance(header, dict) or not isinstance(header.get("version"), int):
                raise ValueError("the header is no JSON object with a version")
            if header["version"] > FORMAT_VERSION:
                raise ValueError(f"version {header['version']} is newer than {FORMAT_VERSION}, update affect3d")
            if kind is not None and header.get("kind") != kind:
                raise ValueError(f"expected a {kind}, got {header.get('kind')}")
            plan = header.get("plan")
            if not isinstance(plan, dict) or not isinstance(plan.get("method"), str):
                raise ValueError("the header's plan names no method")
            return header, {key: file.get_tensor(key) for key in file.keys()} if tensors else {}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a file of affect3d.gan ({str(error).splitlines()[0]})") from None


#: Options of `TrainOptions` that may change between a run and its resume; files do not tell of them.
_FREE = ("device", "threads", "log_every", "sample_every", "checkpoint_every")

#: Options that files tell of only where they are not these, as before there were any.
_USUAL = {"precision": "32", "devices": 1}


def _lasting(plan: dict) -> dict:
    """The plan without what may change between a run and its resume."""
    options = plan.get("train_options", {})
    kept = {name: v for name, v in options.items() if name not in _FREE and _USUAL.get(name, ...) != v}
    return {**plan, "train_options": kept}


def _same_plan(path, there: dict, here: dict) -> None:
    here = _lasting(here)
    for part in ("method", "method_options", "train_options", "data", "stages", "networks"):
        a, b = there.get(part), here.get(part)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                part = next(k for k in sorted({*a, *b}) if a.get(k) != b.get(k))
                a, b = (side.get(part, _USUAL.get(part)) for side in (a, b))
            raise ValueError(f"{path}: belongs to a run with {part} {a}, not {b}; name another folder or remove it")
