"""One training step with each way of making it smaller as one argument: counted, predicted, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.autograd.profiler_legacy import profile
from torch.overrides import _get_current_function_mode_stack
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.checkpoint import checkpoint

from aigc_course import runtime
from aigc_course.memory.account import Account
from aigc_course.memory.counter import counting
from aigc_course.memory.imagined import Imagined, as_if_real

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SCALE = 2.0**16  # of losses in fp16, where a `GradScaler` starts


@dataclass(frozen=True)
class Plan:
    """How a step is taken.  What the model decides (frozen or quantised weights, LoRA) is decided there.

    loss: `loss(model, batch)`, one number, its mean over the batch.
    optimiser: makes one from the list of trained parameters; as in `training.fit`, AdamW without temporaries.
    precision: "bf16" or "fp16" run the loss under `torch.autocast`, the latter with a `GradScaler` (no overflow).
    accumulate: parts that the batch is cut into, whose gradients are added up.
    checkpointing: as the model's library does it; for other models see `checkpointing`.
    """

    loss: Callable[[nn.Module, Any], Tensor]
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer] = partial(torch.optim.AdamW, fused=True)
    precision: str = "fp32"
    accumulate: int = 1
    checkpointing: bool = False

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: choose one of {', '.join(PRECISIONS)}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate={self.accumulate}: a step needs at least one part of the batch")


def count(model: nn.Module | Callable, batch: Any, plan: Plan, steps: int = 2) -> Account:
    """Take some steps with a copy of the model and count every byte; the model itself stays as it is.

    The second step is the first that finds the optimiser's states in place, as all later ones do.
    model, batch: given, or functions that make them.
    """
    with torch.random.fork_rng(_cards(model)):
        return _counted(*_copied(model, batch), plan, steps)


def predict(model: nn.Module | Callable, batch: Any, plan: Plan, steps: int = 2) -> Account:
    """The same account without the numbers: on tensors that know their shape and hold no memory (`FakeTensorMode`).

    A model that does not fit into memory is given as the function that makes it.
    """
    imagined = Imagined()
    copies = [each if _makes(each) else imagined.copy(each) for each in _sound(model, batch)]
    try:
        with imagined.mode, as_if_real():
            return _counted(*(each() if _makes(each) else each for each in copies), plan, steps, imagined)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ValueError(
            f"a prediction has no numbers, and {error} asks for one that decides how the step goes on: "
            "use a loss whose shapes depend on whole numbers of the batch at most, or `count`"
        ) from error


@dataclass(frozen=True)
class Measured:
    """The same steps seen from outside, in bytes above what there was before.

    allocator: the most that PyTorch's allocator had given out: the counted storages and its kernels' own scratch.
    process: the growth of the whole process; None where an earlier peak hides it: measure in a fresh process.
    seconds: what the last step took.
    """

    allocator: int
    process: int | None
    seconds: float


def measure(model: nn.Module | Callable, batch: Any, plan: Plan, steps: int = 2) -> Measured:
    """Take the steps twice, each with a copy: once for the process and the clock, once for the allocator."""
    import psutil

    with torch.random.fork_rng(_cards(model)):
        before, record = psutil.Process().memory_info().rss, runtime.peak_rss()
        seconds = _timed(*_copied(model, batch), plan, steps)
        peak = runtime.peak_rss()
        allocator = _allocated(lambda: _timed(*_copied(model, batch), plan, steps), _cards(model))
    return Measured(allocator, peak - before if peak > record else None, seconds)


def _allocated(run: Callable[[], Any], cards: list) -> int:
    """The most bytes that the allocator had given out during a run, above those before it."""
    if cards:
        torch.cuda.reset_peak_memory_stats(cards[0])
        before = torch.cuda.memory_allocated(cards[0])
        run()
        return torch.cuda.max_memory_allocated(cards[0]) - before
    torch.autograd._enable_profiler_legacy(profile(profile_memory=True).config())  # torch.profiler talks on stderr
    try:
        run()
    finally:
        records = torch.autograd._disable_profiler_legacy()
    sizes = [each.cpu_memory_usage() for thread in records for each in thread if each.kind() == "memory_alloc"]
    return max(accumulate(sizes), default=0)


@contextmanager
def checkpointing(model: nn.Module, blocks: list[nn.Module] | None = None) -> Iterator[None]:
    """Keep what enters each block and compute the rest again in the backward pass.  Chen et al. 2016.

    blocks: modules of a plain model; None for a model of diffusers or transformers, which know their own.
    """
    if blocks is None:
        on, off = _switches(model)
        was = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        on()
        try:
            yield
        finally:
            if not was:
                off()
        return
    strangers = [block for block in blocks if not any(block is module for module in model.modules())]
    if strangers or not blocks:
        raise ValueError("these blocks are no modules of the model: give some of its own, such as list(model)")
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = partial(_twice, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before):
            vars(block).pop("forward") if forward is None else setattr(block, "forward", forward)


def _switches(model: nn.Module) -> tuple[Callable, Callable]:
    if hasattr(model, "activation_checkpointing_enable"):  # transformers
        how = {"use_reentrant": False, "context_fn": _modes}
        return partial(model.activation_checkpointing_enable, how), model.activation_checkpointing_disable
    if hasattr(model, "enable_gradient_checkpointing"):  # diffusers
        return partial(model.enable_gradient_checkpointing, _twice), model.disable_gradient_checkpointing
    raise ValueError(
        f"{type(model).__name__} has no checkpointing of its own: "
        "name its blocks, `with memory.checkpointing(model, blocks)`, and leave the plan's False"
    )


def _twice(block: Callable, *args: Any, **kwargs: Any) -> Any:
    return checkpoint(block, *args, use_reentrant=False, context_fn=_modes, **kwargs)


def _modes() -> tuple[Any, Any]:
    """Around a block now, and when it is computed again: the function modes of now, such as that of `fit` in bf16."""
    return nullcontext(), _Within(_get_current_function_mode_stack())


class _Within(ExitStack):
    def __init__(self, modes: list):
        super().__init__()
        self.modes = modes

    def __enter__(self) -> _Within:
        for mode in self.modes:
            self.enter_context(mode)
        return super().__enter__()


# The steps


def _counted(model: nn.Module, batch: Any, plan: Plan, steps: int, imagined: Imagined | None = None) -> Account:
    with _ready(model, batch, plan, steps) as step, counting(model, batch, imagined=imagined) as account:
        for _ in range(steps):
            step()
    return account


def _timed(model: nn.Module, batch: Any, plan: Plan, steps: int) -> float:
    """The seconds of the last step."""
    with _ready(model, batch, plan, steps) as step:
        for _ in range(steps):
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    return seconds


@contextmanager
def _ready(model: nn.Module, batch: Any, plan: Plan, steps: int) -> Iterator[Callable[[], None]]:
    """Everything that stands before the first step, with the step as a function."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("nothing in this model can learn: call requires_grad_(True) on the part to train")
    if steps < 1:
        raise ValueError(f"steps={steps}: take at least one step")
    _parts(batch, plan.accumulate)  # refuses what cannot be cut
    model.train()
    model.zero_grad()
    scaler = torch.amp.GradScaler(trained[0].device.type) if plan.precision == "fp16" else None
    with checkpointing(model) if plan.checkpointing else nullcontext():
        yield partial(_step, model, batch, plan, plan.optimiser(trained), scaler)


def _step(model: nn.Module, batch: Any, plan: Plan, optimiser: torch.optim.Optimizer, scaler: Any) -> None:
    device, narrow = next(model.parameters()).device, PRECISIONS[plan.precision]
    optimiser.zero_grad()
    for part in _parts(batch, plan.accumulate):
        with torch.autocast(device.type, narrow) if narrow else nullcontext():
            loss = plan.loss(model, part)
        if not (torch.is_tensor(loss) and loss.numel() == 1 and loss.requires_grad):
            raise ValueError("the loss must be one number, as a tensor computed from the model's parameters")
        loss = loss / plan.accumulate
        (scaler.scale(loss) if scaler else loss).backward()
    if scaler:
        scaler.unscale_(optimiser)
        scaler.update(SCALE)
    optimiser.step()


def _parts(batch: Any, parts: int) -> list:
    """The batch cut into equal parts along the first axis of each of its tensors, which are views of it."""
    if parts == 1:
        return [batch]
    lengths = {len(x) for x in tree_leaves(batch) if isinstance(x, Tensor) and x.ndim}
    if len(lengths) != 1 or (length := lengths.pop()) % parts:
        raise ValueError(
            f"accumulate={parts}: the tensors of this batch cannot be cut into {parts} equal parts; "
            "their lengths must be the same, and a multiple of that"
        )
    size = length // parts
    return [tree_map_only(Tensor, partial(_cut, start=i * size, size=size), batch) for i in range(parts)]


def _cut(tensor: Tensor, start: int, size: int) -> Tensor:
    return tensor[start : start + size] if tensor.ndim else tensor


# Models and batches, or functions that make them


def _makes(given: Any) -> bool:
    return callable(given) and not isinstance(given, nn.Module)


def _sound(model: Any, batch: Any) -> tuple[Any, Any]:
    if not (isinstance(model, nn.Module) or callable(model)):
        raise TypeError(f"{type(model).__name__} is no model: give an nn.Module, or a function that makes one")
    if isinstance(model, nn.Module) and any(p.is_meta for p in model.parameters()):
        raise ValueError("this model lies on the device 'meta': give the function that makes it instead")
    return model, batch


def _copied(model: Any, batch: Any) -> tuple[nn.Module, Any]:
    model, batch = (each() if _makes(each) else deepcopy(each) for each in _sound(model, batch))
    return model, batch


def _cards(model: Any) -> list[torch.device]:
    """The GPU that a model is on, if it is on one."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return list({p.device for p in parameters if p.device.type == "cuda"})
