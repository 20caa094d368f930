"""What a checkpoint holds, and how it is whole at every moment: files written beside the old ones, then swapped in."""

import hashlib
import json
import math
import os
import platform
import random
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from aigc_course.training import team

STATE, SUMS = "state.json", "manifest.json"
NEEDED = {"model.safetensors", "optimiser.safetensors", "rng.safetensors", STATE}
FILES = NEEDED | {"ema.safetensors", SUMS}


# What a checkpoint holds


def save(run: Any, folder: Path) -> None:
    """Write down where the run stands: the first process does, and all are asked for their part of it."""
    files = pack(run)
    if team.is_first():
        write(folder, files)


def pack(run: Any) -> dict[str, bytes]:
    """All that the next step depends on, as files."""
    kept = run.optimiser.state_dict()["state"]
    moments = {f"{index}.{key}": value for index, state in kept.items() for key, value in state.items()}
    scalars = {name: moments.pop(name) for name in list(moments) if not torch.is_tensor(moments[name])}
    now, start = random_state(run.generator, run.device), run.feed.start
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    state = {
        "step": run.step,
        "settings": asdict(run.settings),
        "data": run.feed.place(),
        "optimiser": scalars,
        "versions": versions,
        "losses": run.losses,
        "seconds": run.seconds,
    }
    files = {
        "model.safetensors": _bytes(_tensors(run.model)),
        "optimiser.safetensors": _bytes(moments),
        "rng.safetensors": _bytes(_above(now, "now.") | _above(start, "pass.")),
        STATE: json.dumps(state).encode(),
    }
    if run.averages:
        files["ema.safetensors"] = _bytes(run.averages)
    return files | {SUMS: json.dumps({name: _sum(data) for name, data in files.items()}, indent=1).encode()}


def resume(run: Any, folder: Path) -> None:
    """Put the run where its checkpoint was made, if there is one; that of another run is refused."""
    files = _read(folder)
    if not files:
        return
    state = json.loads(files[STATE])
    tensors = {Path(name).stem: safetensors.load(data) for name, data in files.items() if "tensors" in name}
    there, here = (
        _traits(state["settings"], tensors["model"]),
        _traits(asdict(run.settings), _tensors(run.model)),
    )
    _same_run(there, here, folder)
    fill(_tensors(run.model), tensors["model"])
    fill(run.averages, tensors.get("ema", {}))
    _fill_optimiser(run.optimiser, tensors["optimiser"], state["optimiser"])
    now, start = _below(tensors["rng"], "now."), _below(tensors["rng"], "pass.")
    set_random_state(start or now, run.generator, run.device)
    run.feed.return_to(state["data"], start)
    set_random_state(now, run.generator, run.device)
    run.losses, run.seconds, run.loaded = state["losses"], state["seconds"], state["step"]
    run.clock = time.perf_counter() - run.seconds[-1]


def _above(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _traits(settings: dict, tensors: dict[str, Tensor]) -> dict[str, str]:
    """What all checkpoints of one run have in common."""
    shapes = {f"parameter {name}": f"{tuple(value.shape)} {value.dtype}" for name, value in tensors.items()}
    return {name: repr(value) for name, value in settings.items()} | shapes


def _same_run(there: dict[str, str], here: dict[str, str], folder: Path) -> None:
    differing = [name for name in here | there if there.get(name) != here.get(name)]
    told = "; ".join(f"{name}: {there.get(name)} there, {here.get(name)} here" for name in differing[:3])
    if differing:
        fix = "name another folder, delete this one, or train with what it was made with"
        raise ValueError(f"{folder} holds the checkpoint of another run ({told}): {fix}")


def frozen(model: nn.Module) -> str:
    """What does not learn in a model, in a word: a checkpoint around other weights belongs to another run."""
    still = sorted((name, p) for name, p in model.named_parameters() if not p.requires_grad)
    if not still:
        return "nothing"
    found = hashlib.sha256()
    for name, p in still:
        found.update(name.encode())
        found.update(p.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return f"{len(still)} tensors, {found.hexdigest()[:8]}"


@torch.no_grad()
def fill(targets: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Copy values into the tensors of the same names."""
    for name, target in targets.items():
        target.copy_(values[name])


def _fill_optimiser(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor], scalars: dict) -> None:
    """Give each parameter its moments back, in its own memory layout, which fused kernels rely on."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = {}
    for name, value in (moments | scalars).items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        if torch.is_tensor(value) and value.dim() and value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())  # shared ones appear once


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    whole = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    return safetensors.save(whole, metadata={"format": "pt"})


def random_state(generator: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Where every source of chance stands: ours, torch's, numpy's and python's."""
    _, words, spare = random.getstate()
    _, keys, place, has_spare, numpy_spare = np.random.get_state()  # noqa: NPY002 - the global one is meant
    state = {
        "generator": team.all_states(generator.get_state()),
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words),
        "numpy": torch.tensor([*keys.tolist(), place, has_spare]),
        "spare": torch.tensor([math.nan if spare is None else spare, numpy_spare], dtype=torch.float64),
    }
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor], generator: torch.Generator, device: torch.device) -> None:
    """Put every source of chance back to where `random_state` found it."""
    generator.set_state(team.own_state(state["generator"]))
    torch.set_rng_state(state["torch"])
    spare, numpy_spare = state["spare"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(spare) else spare))
    *keys, place, has_spare = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), place, has_spare, numpy_spare))  # noqa: NPY002
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"])


# How a checkpoint is kept whole: written beside the old one, then swapped in by name


def _read(folder: Path) -> dict[str, bytes]:
    """The files of the checkpoint, known to be whole; none when there is no checkpoint."""
    _mend(folder)
    files = {name: (folder / name).read_bytes() for name in _ours(folder)}
    if not files:
        return {}
    try:
        sums = dict(json.loads(files[SUMS]))
    except (KeyError, TypeError, ValueError):
        sums = {SUMS: "unreadable"}
    damaged = sorted(name for name in NEEDED | set(sums) if sums.get(name) != _sum(files.get(name, b"")))
    if damaged:
        fix = "delete the folder to train from the start, or put a whole copy back"
        raise ValueError(f"the checkpoint in {folder} is damaged ({', '.join(damaged)}): {fix}")
    return files


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Replace the checkpoint; at each moment the old or the new one is whole, at worst under `.previous`."""
    fresh, previous = _beside(folder, ".partial"), _beside(folder, ".previous")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in files.items():
        with (fresh / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(fresh)
    folder.mkdir(exist_ok=True)
    folder.replace(previous)
    fresh.replace(folder)
    _sync(folder.parent)
    _retire(previous, folder)


def _mend(folder: Path) -> None:
    """Finish, or take back, a swap that was cut short."""
    previous = _beside(folder, ".previous")
    if not previous.exists():
        return
    if _ours(folder):
        _retire(previous, folder)
    else:
        folder.mkdir(exist_ok=True)
        _retire(folder, previous)
        previous.replace(folder)


def _retire(old: Path, new: Path) -> None:
    """Delete a checkpoint, but hand on any file in its folder that is not ours."""
    for file in old.iterdir():
        if file.name not in FILES:
            file.replace(new / file.name)
    shutil.rmtree(old)


def _ours(folder: Path) -> list[str]:
    return [name for name in FILES if (folder / name).is_file()]


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(folder: Path) -> None:
    """Ask the disk to keep the names in a folder, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
