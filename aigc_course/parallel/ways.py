"""One training, taken in several ways that all give the same weights, and what each process holds of it.

What is slow to import is imported where it is needed: every process starts anew.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from aigc_course.parallel import pipeline
from aigc_course.parallel.member import device
from aigc_course.parallel.processes import run
from aigc_course.parallel.split import blocks
from aigc_course.training import share

HELD = ("parameters", "gradients", "optimiser")


@dataclass(frozen=True)
class Task:
    """A few steps on one batch, told so that each process can take them.

    model: a function of a module, or a partial of one, that makes the model; it runs after `torch.manual_seed(0)`.
    inputs: what the model is given: a tensor, a tuple, or a dict of keyword arguments.
    loss: `loss(answer, targets)`, a mean in which each row of the batch counts alike; a function of a module.
        Chance and padding break that: draw noise before, and cut all rows to one length.
    optimiser: a class of `torch.optim`.  AdamW hardly feels a gradient's scale; SGD tells a sum from a mean.
    micro_batches: parts of a batch that follow one another through a pipeline.
    double: compute in float64.  In float32 AdamW divides the rounding error of a gradient near 0 by itself, and two
        orders of the same sum part by a share of the learning rate; that is no error of the way.
    plan: how tensor parallel splits layers, {name: "columns" or "rows"}; None for models that it knows.
    """

    model: Callable[[], nn.Module]
    inputs: Any
    targets: Any
    loss: Callable[[Any, Any], Tensor]
    steps: int = 3
    learning_rate: float = 1e-3
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    micro_batches: int = 4
    double: bool = False
    plan: dict[str, str] | None = None

    def __post_init__(self):
        for name in ("steps", "micro_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: ask for at least one")


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the loss of each step, the weights after the last, put together from all processes.

    held: for each rank, the bytes of parameters, gradients and optimiser states after the last step.
    apart: the largest difference between two ranks' copies of one weight.
    sent: for each rank, the bytes written to others in the last step, where the system counts them (Linux), else ().
    spans: of a pipeline's last step, with 0 where the first process began.
    """

    losses: tuple[float, ...]
    weights: dict[str, Tensor]
    held: tuple[dict[str, int], ...]
    seconds: float
    apart: float = 0.0
    spans: tuple[pipeline.Span, ...] = ()
    sent: tuple[int, ...] = ()


def train(task: Task, way: str, processes: int = 2, timeout: float = 60) -> Trained:
    """Take a task's steps on several processes, in one of the `WAYS`."""
    return train_each([(task, way)], processes, timeout)[0]


def train_each(trainings: Sequence[tuple[Task, str]], processes: int = 2, timeout: float = 60) -> list[Trained]:
    """Several trainings, (task, way) each, one after another in the same processes: to start them takes seconds."""
    for _, way in trainings:
        if way not in WAYS:
            raise ValueError(f"there is no way {way!r}: choose one of {', '.join(WAYS)}")
    shares = run(_train_each, processes, list(trainings), timeout=timeout)
    return [_joined(each) for each in zip(*shares)]


def alone(task: Task) -> Trained:
    """Take a task's steps here, in this process: what all other ways are compared with."""
    with torch.random.fork_rng():
        return _joined([_train(task, "alone")])


def difference(one: Trained, other: Trained) -> float:
    """The largest difference between two trainings' weights."""
    if one.weights.keys() != other.weights.keys():
        odd = sorted(one.weights.keys() ^ other.weights.keys())[0]
        raise ValueError(f"only one of these trainings has a weight {odd!r}: compare two of the same model")
    return max(_apart(value, other.weights[name]) for name, value in one.weights.items())


def _apart(one: Tensor, other: Tensor) -> float:
    return (one.double() - other.double()).abs().max().item()


def _joined(shares: Sequence[Trained]) -> Trained:
    """What the ranks have, together."""
    weights: dict[str, Tensor] = {}
    apart = 0.0
    for each in shares:
        for name, value in each.weights.items():
            apart = max(apart, _apart(value, weights.setdefault(name, value)))
    spans = [span for each in shares for span in each.spans]
    zero = min((span.start for span in spans), default=0.0)
    moved = (replace(span, start=span.start - zero, end=span.end - zero) for span in spans)
    held = tuple(held for each in shares for held in each.held)
    sent = tuple(n for each in shares for n in each.sent)
    return Trained(shares[0].losses, weights, held, max(each.seconds for each in shares), apart, tuple(moved), sent)


# In each process


@dataclass
class _Part:
    """What one process has of a training: parameters, and a function that leaves their gradients and tells the loss."""

    model: nn.Module
    gradient: Callable[[], Tensor]
    weights: dict[str, Tensor]
    back: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    spans: list[pipeline.Span] = field(default_factory=list)


def _train_each(trainings: Sequence[tuple[Task, str]]) -> list[Trained]:
    return [_train(task, way) for task, way in trainings]


def _train(task: Task, way: str) -> Trained:
    torch.manual_seed(0)
    model = task.model()
    place = device() if dist.is_initialized() else next(model.parameters()).device
    dtype = torch.float64 if task.double else None
    model.to(place)
    if task.double:
        model.double()  # not .to(): diffusers would warn of a choice that is ours
    part = WAYS[way](model, _moved(task, place, dtype))
    # foreach: plain and distributed tensors cannot be stepped together
    optimiser = task.optimiser(part.model.parameters(), lr=task.learning_rate, foreach=False)
    losses, start = [], time.perf_counter()
    for _ in range(task.steps):
        optimiser.zero_grad()
        before = _written()
        losses.append(part.gradient().item())
        sent = tuple(now - then for now, then in zip(_written(), before))
        optimiser.step()
    seconds = time.perf_counter() - start
    weights = {name: part.back.get(name, nn.Identity())(_whole(p)) for name, p in part.weights.items()}
    held = (_held(part.model, optimiser),)
    return Trained(tuple(losses), weights, held, seconds, spans=tuple(part.spans), sent=sent)


def _written() -> tuple[int, ...]:
    """What this process has written so far, to sockets too; only Linux counts these."""
    import psutil

    return (psutil.Process().io_counters().write_chars,) if sys.platform == "linux" else ()


def _moved(task: Task, place: torch.device, dtype: torch.dtype | None) -> Task:
    move = partial(tree_map_only, Tensor, lambda x: x.to(place, dtype if x.is_floating_point() else None))
    return replace(task, inputs=move(task.inputs), targets=move(task.targets))


def _held(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, int]:
    from aigc_course import memory

    with memory.counting(model, optimiser=optimiser) as account:
        return {kind: account.at_peak[kind] for kind in HELD}


def _whole(parameter: Tensor) -> Tensor:
    """A parameter put together from the parts that the processes have."""
    value = parameter.detach()
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _named(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def _gradient(model: nn.Module, task: Task) -> Tensor:
    """The gradient of a loss, by one forward and one backward pass."""
    inputs = task.inputs
    if isinstance(inputs, dict):
        answer = model(**inputs)
    else:
        answer = model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
    loss = task.loss(answer, task.targets)
    loss.backward()
    return loss.detach()


def _alone(model: nn.Module, task: Task) -> _Part:
    return _Part(model, partial(_gradient, model, task), _named(model))


def _mine(task: Task) -> Task:
    inputs, targets = share((task.inputs, task.targets), dist.get_rank(), dist.get_world_size())
    return replace(task, inputs=inputs, targets=targets)


def _mean(value: Tensor) -> Tensor:
    dist.all_reduce(value)
    return value.div_(dist.get_world_size())


def _row(model: nn.Module) -> DeviceMesh:
    """All processes, side by side."""
    return dist.init_device_mesh(next(model.parameters()).device.type, (dist.get_world_size(),))


def _data(model: nn.Module, task: Task) -> _Part:
    """torch's DDP: while the backward pass still runs, gradients that are ready are averaged, many at a time."""
    wrapped = DistributedDataParallel(model, find_unused_parameters=True, gradient_as_bucket_view=True)
    mine = _mine(task)
    return _Part(model, lambda: _mean(_gradient(wrapped, mine)), _named(model))


def _data_by_hand(model: nn.Module, task: Task) -> _Part:
    """Each process takes its share of the batch; then all take the mean of their gradients."""
    mine = _mine(task)

    def gradient() -> Tensor:
        loss = _gradient(model, mine)
        for parameter in model.parameters():
            if parameter.grad is not None:
                _mean(parameter.grad)
        return _mean(loss)

    return _Part(model, gradient, _named(model))


def _sharded(model: nn.Module, task: Task) -> _Part:
    """torch's FSDP2: a process keeps its part of each parameter; a block is whole only while it is at work."""
    from torch.distributed.fsdp import fully_shard

    row, mine = _row(model), _mine(task)
    for block in blocks(model):
        fully_shard(block, mesh=row)
    fully_shard(model, mesh=row)
    return _Part(model, lambda: _mean(_gradient(model, mine)), _named(model))


def _tensor(model: nn.Module, task: Task) -> _Part:
    """Every process sees the whole batch, and has a part of each large matrix."""
    from aigc_course.parallel import tensor

    back = tensor.divide(model, task.plan or tensor.plan_of(model), _row(model))
    return _Part(model, partial(_gradient, model, task), _named(model), back)


def _pipeline(model: nn.Module, task: Task, way: str) -> _Part:
    """Every process has some of the layers; micro-batches pass through them."""
    share(task.inputs, 0, task.micro_batches)  # refuses a batch that cannot be cut
    names, cut = pipeline.names_of(model), pipeline.stages(model, dist.get_world_size())
    stage, shared = cut[dist.get_rank()], list(pipeline.shared(model, cut).values())
    made = pipeline.schedule(way, stage, task.micro_batches, task.loss, next(stage.parameters()).device)

    def gradient() -> Tensor:
        loss = pipeline.step(made, task.inputs, task.targets)
        pipeline.add_up(shared)
        return loss

    weights = {names[id(parameter)]: parameter for parameter in stage.parameters()}
    return _Part(stage, gradient, weights, spans=made.spans)


WAYS: dict[str, Callable[[nn.Module, Task], _Part]] = {
    "alone": _alone,
    "data": _data,
    "data by hand": _data_by_hand,
    "sharded": _sharded,
    "tensor": _tensor,
    "gpipe": partial(_pipeline, way="gpipe"),
    "1f1b": partial(_pipeline, way="1f1b"),
}
