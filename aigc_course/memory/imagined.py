"""Operations on tensors that know their shape and hold no numbers, so that a step can be counted before it is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeCopyMode,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten
SMALL = 4096  # numbers, of floats; of whole numbers any


class Imagined:
    """A `FakeTensorMode` that takes the branches which the real step takes.

    Tokens, masks and steps decide branches and shapes.  So whole numbers and small tensors of a batch, constants,
    random draws, and all that is computed from these alone, are known besides.  What follows from weights is not: a
    number that a step asks of that (a norm, say) is answered with 1.
    """

    def __init__(self):
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.fakes = WeakIdKeyDictionary()  # real tensor -> its fake
        self.values = WeakIdKeyDictionary()  # fake -> its real value, if it is known

    def copy(self, given: Any) -> Any:
        """Copy a model or a batch, without its numbers."""
        with FakeCopyMode(self.mode):
            copied = deepcopy(given)
        for real, fake in zip(_tensors(given), _tensors(copied), strict=True):
            self.learn(fake, _own(real))
        return copied

    def fake(self, tensor: Tensor) -> Tensor:
        """A stand-in for a real tensor, the same each time, so that its views are views of one thing."""
        if isinstance(tensor, FakeTensor):
            return tensor
        if tensor not in self.fakes:
            self.fakes[tensor] = self.mode.from_tensor(tensor, static_shapes=True)
            self.learn(self.fakes[tensor], _own(tensor))
        return self.fakes[tensor]

    def run(self, operation: Any, args: tuple, kwargs: dict) -> Any:
        """The operation on fakes; on what is known besides, if that is all it reads."""
        if operation is aten.lift_fresh.default:  # a literal, such as the list in `x[:, [-1, 0]]`
            made = operation(*args, **kwargs)
            if not isinstance(args[0], FakeTensor):
                self.learn(made, _own(args[0]))
            return made
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not all(isinstance(x, FakeTensor) for x in given):
            args, kwargs = tree_map_only(Tensor, self.fake, (args, kwargs))
            given = [self.fake(x) for x in given]
        value = self.known(operation, args, kwargs) if given and all(x in self.values for x in given) else None
        if value is None and operation._schema.is_mutable:
            self.forget(operation, args, kwargs)
        if operation is aten.index.Tensor:
            args = (args[0], [each for index in args[1] for each in self.places(index)])
        try:
            made = operation(*args, **kwargs)
        except DynamicOutputShapeException:
            if value is None:
                raise
            made = tree_map_only(Tensor, self.fake, value)
        except DataDependentOutputException:
            if value is None and not (operation is aten._local_scalar_dense.default and given[0].is_floating_point()):
                raise
            made = 1.0 if value is None else value
        if operation in CORRECTED:
            made = CORRECTED[operation](made, args)
        if not given and isinstance(made, Tensor) and _small(made):  # a constant or a draw
            value = self.known(operation, args, kwargs)
        if value is not None:
            for fake, real in zip(tree_leaves(made), tree_leaves(value)):
                self.learn(fake, real)
        return made

    def known(self, operation: Any, args: tuple, kwargs: dict) -> Any:
        """The result on real tensors."""
        args, kwargs = tree_map_only(Tensor, self.values.__getitem__, (args, kwargs))
        with unset_fake_temporarily():
            return operation(*args, **kwargs)

    def learn(self, fake: Any, real: Any) -> None:
        """Keep a value, if it is one to keep."""
        if isinstance(fake, FakeTensor) and isinstance(real, Tensor) and _small(real):
            self.values[fake] = real

    def forget(self, operation: Any, args: tuple, kwargs: dict) -> None:
        """What the operation writes into is not known any more, nor are other views of it."""
        specs = operation._schema.arguments
        given = {spec.name: each for spec, each in zip(specs, args)} | kwargs
        written = [given.get(spec.name) for spec in specs if spec.alias_info and spec.alias_info.is_write]
        for fake in tree_leaves(written):
            if isinstance(fake, Tensor) and fake in self.values:
                lost = self.values[fake].untyped_storage()._cdata
                for each in [x for x, real in self.values.items() if real.untyped_storage()._cdata == lost]:
                    del self.values[each]

    def places(self, index: Tensor | None) -> list[Tensor | None]:
        """A known mask as the places it marks: only these say how many there are."""
        if index is None or index.dtype != torch.bool or index not in self.values:
            return [index]
        with unset_fake_temporarily():
            places = self.values[index].nonzero(as_tuple=True)
        return [self.mode.from_tensor(each, static_shapes=True) for each in places]


def _small(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() <= SMALL


def _own(tensor: Tensor) -> Tensor:
    """A copy of what is small, so that a step that changes it in place leaves the caller's alone."""
    with unset_fake_temporarily():
        return tensor.detach().clone() if _small(tensor) else tensor


def _tensors(given: Any) -> list[Tensor]:
    leaves = [x for each in tree_leaves(given) for x in (each.buffers() if isinstance(each, nn.Module) else [each])]
    return [x for x in leaves if isinstance(x, Tensor)]


@contextmanager
def as_if_real() -> Iterator[None]:
    """transformers takes fakes for a compilation and readies every mask: make it look at masks as in a real step."""
    imports = sys.modules.get("transformers.utils.import_utils")
    was = getattr(imports, "is_fake_tensor", None)
    if was:
        imports.is_fake_tensor = lambda x: False
    try:
        yield
    finally:
        if was:
            imports.is_fake_tensor = was


# Where a real kernel holds other memory than its fake says


def _statistics(made: tuple, given: tuple) -> tuple:
    """On a processor, mean and deviation of a norm are float32 where its weights are, whatever the input."""
    weights = [x for x in given[1:] if isinstance(x, Tensor)]
    wide = made[0].device.type == "cpu" and any(x.dtype == torch.float32 for x in weights)
    return (made[0], *(x.float() for x in made[1:])) if wide else made


def _gradients(made: tuple, given: tuple) -> tuple:
    """The gradient of a group norm's input has the type of the input, not the widest of all types."""
    return (made[0] if made[0] is None else made[0].to(given[1].dtype), *made[1:])


def _scalar(made: Tensor, given: tuple) -> Tensor:
    """The mean of squares is written over the squares: one number, in the storage of all."""
    return made if made.ndim else torch.sub(given[0], given[1]).as_strided((), ())


CORRECTED = {
    aten.native_layer_norm.default: _statistics,
    aten.native_group_norm.default: _statistics,
    aten.native_group_norm_backward.default: _gradients,
    aten.mse_loss.default: _scalar,
}
