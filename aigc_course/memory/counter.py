"""Follows every storage from birth to death: counted once, however many tensors look at it, and filed by its use."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module
from torch.optim import optimizer as every_optimiser
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from aigc_course.memory.account import Account, Held, Moment
from aigc_course.memory.imagined import Imagined


@contextmanager
def counting(
    model: nn.Module,
    batch: Any = None,
    optimiser: torch.optim.Optimizer | None = None,
    imagined: Imagined | None = None,
) -> Iterator[Account]:
    """Count what any code in the block holds on the model's device: a step by hand, or `training.fit` as it is.

    The model, the batch and an optimiser that has stepped before are counted from the start; all else when it is made,
    or first read.  What one operation allocates and frees within itself is not seen.
    imagined: what runs the operations in place of their kernels, see `predict`.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    counter = _Counter(model, device.type, imagined)
    counter.hold(list(model.parameters()), "parameters")
    counter.hold([p.grad for p in trained], "gradients")
    counter.hold(list(optimiser.state.values()) if optimiser else [], "optimiser")
    counter.hold([list(model.buffers()), batch], "data")
    with ExitStack() as stack:
        for parameter in trained:
            hook = parameter.register_post_accumulate_grad_hook(lambda p: counter.file(p.grad, "gradients"))
            stack.callback(hook.remove)
        for hook in (
            every_optimiser.register_optimizer_step_pre_hook(counter.step_begins),
            every_optimiser.register_optimizer_step_post_hook(counter.step_ends),
            every_module.register_module_forward_pre_hook(counter.enter),
            every_module.register_module_forward_hook(counter.leave, always_call=True),
        ):
            stack.callback(hook.remove)
        stack.enter_context(_only_counted_references())
        stack.enter_context(counter)
        yield counter.account
    counter.close()


@contextmanager
def _only_counted_references() -> Iterator[None]:
    """Without the cycle collector, which would free things at a moment that no count can foresee."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Counter(TorchDispatchMode):
    """Sees each operation with its tensors, below autograd; keeps weak references only."""

    def __init__(self, model: nn.Module, device: str, imagined: Imagined | None):
        super().__init__()
        self.account = Account([], [Moment("start", "")])
        self.names = {id(module): name for name, module in model.named_modules()}
        self.device, self.imagined = device, imagined
        self.alive: dict[int, tuple[weakref.ref, Held]] = {}
        self.inside: list[str] = []
        self.stepping = False

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if any(is_traceable_wrapper_subclass(x) for x in given):
            return NotImplemented  # a quantised tensor, say: the operations it is made of come by next
        if operation.namespace == "prim":  # a fake is asked for its device
            return operation(*args, **kwargs)
        self.turn(self.phase())
        made = self.imagined.run(operation, args, kwargs) if self.imagined else operation(*args, **kwargs)
        self.account.moments.append(Moment(self.phase(), self.inside[-1] if self.inside else ""))
        if operation is not torch.ops.aten.lift_fresh.default:  # torch.tensor(...) hands over what it has just made
            self.hold([self.imagined.fake(x) for x in given] if self.imagined else given, "data")
        self.hold(made, "temporary")
        return made

    # What is held

    def hold(self, tensors: Any, kind: str) -> None:
        """Note every storage not yet known, and those whose size has changed."""
        for storage in self.storages(tensors):
            key, size = storage._cdata, storage.nbytes()
            known = self.alive[key][1] if key in self.alive else None
            if known is None or known.bytes != size:
                if known is not None:
                    known.died, kind = self.account.last, known.kind
                held = Held(size, self.account.last, kind, self.account.moments[-1])
                self.account.held.append(held)
                self.alive[key] = (weakref.ref(storage, lambda _, key=key: self.free(key)), held)

    def free(self, key: int) -> None:
        self.alive.pop(key)[1].died = self.account.last + 1

    def file(self, tensors: Any, kind: str) -> None:
        """Say what storages are for, now that it is known."""
        for storage in self.storages(tensors):
            if storage._cdata in self.alive:
                self.alive[storage._cdata][1].kind = kind

    def storages(self, tensors: Any) -> Iterator[torch.UntypedStorage]:
        for leaf in (tensors,) if isinstance(tensors, Tensor) else tree_leaves(tensors):
            if isinstance(leaf, Tensor) and is_traceable_wrapper_subclass(leaf):
                yield from self.storages([getattr(leaf, name) for name in leaf.__tensor_flatten__()[0]])
            elif isinstance(leaf, Tensor) and leaf.device.type == self.device and leaf.layout == torch.strided:
                yield leaf.untyped_storage()

    def close(self) -> None:
        """Stop watching; what is alive stays so in the account."""
        self.alive.clear()

    # Where we are

    def phase(self) -> str:
        if self.stepping:
            return "optimiser"
        if torch._C._current_graph_task_id() == -1:
            return "forward"
        return "again" if torch.is_grad_enabled() else "backward"  # checkpointing runs forward during backward

    def turn(self, phase: str) -> None:
        """When a forward pass is over, what it made and is still there waits for the backward pass."""
        before = self.account.moments[-1].phase
        if phase != before and (before, phase) in {
            ("forward", "backward"),
            ("again", "backward"),
            ("forward", "again"),
        }:
            for _, held in self.alive.values():
                if held.kind == "temporary" and held.made.phase == before:
                    held.kind = "activations"

    def enter(self, module: nn.Module, args: Any) -> None:
        if id(module) in self.names:
            self.inside.append(self.names[id(module)])

    def leave(self, module: nn.Module, args: Any, answer: Any) -> None:
        if id(module) in self.names and self.inside:
            self.inside.pop()

    def step_begins(self, optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.stepping = True

    def step_ends(self, optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self.stepping = False
        self.file(list(optimiser.state.values()), "optimiser")
