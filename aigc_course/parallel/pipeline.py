"""Pipeline parallel: each process has some layers, and micro-batches follow one another through them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Span:
    """What one process computed from `start` to `end`, in seconds: kind "forward" or "backward" of a micro-batch."""

    rank: int
    kind: str
    micro_batch: int
    start: float
    end: float


def bubble(spans: Sequence[Span]) -> float:
    """The share of all processes' time, from the first start to the last end, in which they had nothing to do.

    With p equal stages and m micro-batches it is (p - 1) / (m + p - 1).  Huang et al. 2019.
    """
    if not spans:
        raise ValueError("there are no spans: only a pipeline (gpipe, 1f1b) writes down when it computed what")
    busy = sum(span.end - span.start for span in spans)
    whole = max(span.end for span in spans) - min(span.start for span in spans)
    return 1 - busy / (whole * len({span.rank for span in spans}))


def in_flight(spans: Sequence[Span]) -> tuple[int, ...]:
    """For each rank, the most micro-batches at once whose forward pass is kept, as the backward is still to come.

    GPipe keeps all of them everywhere; 1F1B at most as many as there are stages from here on.  Narayanan et al. 2021.
    """
    most = []
    for rank in range(1 + max((span.rank for span in spans), default=-1)):
        mine = sorted((span for span in spans if span.rank == rank), key=lambda span: span.start)
        kept = list(accumulate(1 if span.kind == "forward" else -1 for span in mine))
        most.append(max(kept))
    return tuple(most)


class _Words(nn.Module):
    """Tokens (B, T) become vectors (B, T, width), each with its place: how a GPT-2 begins."""

    def __init__(self, gpt: nn.Module):
        super().__init__()
        self.wte, self.wpe, self.drop = gpt.wte, gpt.wpe, gpt.drop

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.drop(self.wte(tokens) + self.wpe(places))


def chain(model: nn.Module) -> list[nn.Module]:
    """A model as a chain of parts, each of which needs only what the one before it made."""
    if isinstance(model, nn.Sequential):
        return list(model)
    gpt = getattr(model, "transformer", None)
    if not isinstance(getattr(gpt, "h", None), nn.ModuleList):
        raise ValueError(
            f"{type(model).__name__} is not known as a chain of layers, as a pipeline needs it: give an nn.Sequential "
            "or a GPT-2; the skips of a U-Net, say, jump over any cut"
        )
    if model.config._attn_implementation == "eager":
        raise ValueError('a block alone knows no mask: make the GPT-2 with attn_implementation="sdpa"')
    return [_Words(gpt), *gpt.h, nn.Sequential(gpt.ln_f, model.lm_head)]


def stages(model: nn.Module, processes: int) -> list[nn.Sequential]:
    """The chain cut into one stage for each process, of nearly equally many parts."""
    parts = chain(model)
    if len(parts) < processes:
        raise ValueError(
            f"{len(parts)} layers cannot make {processes} stages: use at most {len(parts)} processes, or more layers"
        )
    cuts = [round(stage * len(parts) / processes) for stage in range(processes + 1)]
    return [nn.Sequential(*parts[a:b]) for a, b in zip(cuts, cuts[1:])]


def names_of(model: nn.Module) -> dict[int, str]:
    """The name of each parameter, by its id; a shared one has the first of its names."""
    return {id(parameter): name for name, parameter in model.named_parameters()}


def shared(model: nn.Module, cut: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Parameters that several stages hold (a GPT-2 reads and writes with one table); their gradients must be added."""
    held = [{id(parameter) for parameter in stage.parameters()} for stage in cut]
    return {name: p for name, p in model.named_parameters() if sum(id(p) in ids for ids in held) > 1}


def add_up(parameters: Sequence[Tensor]) -> None:
    """Sum the gradients of shared parameters over all processes; one that has none adds zeros."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)


def schedule(way: str, stage: nn.Module, micro_batches: int, loss: Callable, device: torch.device) -> Any:
    """torch's schedule for this process's stage, "gpipe" or "1f1b", with a list `spans` of its last step."""
    from torch.distributed import pipelining

    spans: list[Span] = []
    kind = {"gpipe": pipelining.ScheduleGPipe, "1f1b": pipelining.Schedule1F1B}[way]
    made = kind(_watched(stage, device, spans), n_microbatches=micro_batches, loss_fn=loss)
    made.spans = spans
    return made


def step(made: Any, inputs: Any, targets: Any) -> Tensor:
    """Send all micro-batches through; every process learns the mean loss, which the last one computes."""
    made.spans.clear()
    losses: list[Tensor] = []
    first, last = dist.get_rank() == 0, dist.get_rank() == dist.get_world_size() - 1
    made.step(*([inputs] if first else []), **({"target": targets, "losses": losses} if last else {}))
    device = next(made._stage.submod.parameters()).device
    mean = torch.stack(losses).mean().detach().double() if last else torch.zeros((), dtype=torch.float64)
    mean = mean.to(device)
    dist.broadcast(mean, dist.get_world_size() - 1)
    return mean


def _watched(module: nn.Module, device: torch.device, spans: list[Span]) -> Any:
    """A stage that notes when it computes."""
    from torch.distributed.pipelining import PipelineStage

    rank = dist.get_rank()

    @contextmanager
    def noted(kind: str, micro_batch: int) -> Iterator[None]:
        start = time.monotonic()  # one clock for all processes of a machine
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spans.append(Span(rank, kind, micro_batch, start, time.monotonic()))

    class Watched(PipelineStage):
        def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
            with noted("forward", fwd_chunk_id):
                return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

        def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
            with noted("backward", bwd_chunk_id):
                return super().backward_one_chunk(bwd_chunk_id, *args, **kwargs)

    return Watched(module, rank, dist.get_world_size(), device)
