"""Several processes as one run, started by `accelerate launch` or `torchrun`: each has a share of every batch."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

PATIENCE = timedelta(hours=6)  # for the first process, while it draws what all will read


@lru_cache
def _meet() -> None:
    if dist.is_available() and not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        dist.init_process_group(timeout=PATIENCE)  # nccl between cards, gloo between processors


def size() -> int:
    """How many processes train together; 1 when nobody has started more."""
    _meet()
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that prints, measures and saves."""
    return rank() == 0


def first_then_others(do: Callable[[], Any]) -> Any:
    """Do it in the first process, and then in all others, which find its files."""
    done = do() if is_first() else None
    if size() > 1:
        dist.barrier()
    return done if is_first() else do()


def share(batch: Any, rank: int, processes: int) -> Any:
    """What one process gets of a batch: an equal part along the first axis of each tensor in it."""
    if processes == 1:
        return batch
    lengths = {len(each) for each in tree_leaves(batch) if isinstance(each, Tensor) and each.ndim}
    uneven = sorted(length for length in lengths if length % processes or not length)
    if uneven:
        raise ValueError(
            f"a batch of {uneven[0]} cannot be dealt evenly to {processes}: choose a multiple of {processes}"
        )
    return tree_map_only(Tensor, lambda each: each.chunk(processes)[rank] if each.ndim else each, batch)


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all processes, in one message."""
    if size() > 1:
        together = torch.cat([each.flatten() for each in tensors])
        dist.all_reduce(together)
        for each, mean in zip(tensors, together.div_(size()).split([each.numel() for each in tensors]), strict=True):
            each.copy_(mean.view_as(each))


@torch.no_grad()
def same(tensors: Sequence[Tensor]) -> None:
    """Give all processes what the first one has."""
    if size() > 1:
        for each in tensors:
            dist.broadcast(each, 0)


def as_the_first(answer: bool, place: torch.device) -> bool:
    """What the first process answers, which the others then do too."""
    told = torch.tensor(float(answer), device=place)
    same([told])
    return bool(told.item()) if size() > 1 else answer


def all_states(state: Tensor) -> Tensor:
    """The states of all processes' generators, a row each; of one process, its own as it is."""
    if size() == 1:
        return state
    place = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else state.device
    rows = [torch.empty_like(state, device=place) for _ in range(size())]
    dist.all_gather(rows, state.to(place))
    return torch.stack(rows).to(state.device)


def own_state(states: Tensor) -> Tensor:
    """This process's row of `all_states`."""
    return states[rank()].clone() if size() > 1 else states  # a view would crash `set_state`
