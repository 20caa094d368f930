"""Frozen weights in 8 or 4 bits: a layer decodes its own as it works, and again on the way back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course.memory.codes import decode, encode, normal_levels

GROUP = 64  # at most so many weights of one row share a scale in 4 bits; in 8 bits a whole row does
SMALLEST = 4096  # layers with fewer weights stay as they are


def quantise(model: nn.Module, bits: int = 8) -> list[str]:
    """Freeze the model's large layers and keep their weights in few bits; the paths of these layers are returned.

    8 bits: whole numbers from -127 to 127 times a scale for each output (Dettmers et al. 2022, LLM.int8).
    4 bits: the levels of NF4, a scale for at most 64 weights (Dettmers et al. 2023, QLoRA).
    `nn.Linear`, `nn.Conv2d` and GPT-2's `Conv1D`.  As they are stay layers of fewer than 4096 weights, those that share
    a weight with an embedding, and convolutions of raw pictures (few channels).  A LoRA is added afterwards.
    """
    if bits not in (8, 4):
        raise ValueError(f"bits={bits}: weights are kept in 8 bits or in 4")
    if any(hasattr(module, "low_rank") for module in model.modules()):
        raise ValueError("this model has a LoRA already: quantise first, then lora.add or lora.load")
    if any(isinstance(module, Quantised) for module in model.modules()):
        raise ValueError("this model is quantised already: memory.dequantise(model) first, or load it again")
    chosen = {path: layer for path, layer in model.named_modules() if _pays(layer, bits)}
    tied = _shared(model)
    chosen = {path: layer for path, layer in chosen.items() if path and id(layer.weight) not in tied}
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has no layer worth it: give a model with linear layers or convolutions "
            f"of {SMALLEST} weights or more"
        )
    for layer in chosen.values():
        _replace(model, layer, (QuantisedConv2d if isinstance(layer, nn.Conv2d) else QuantisedLinear)(layer, bits))
    return list(chosen)


def dequantise(model: nn.Module) -> list[str]:
    """Turn quantised layers into plain ones, whose weights are what was decoded; they stay frozen."""
    found = {path: layer for path, layer in model.named_modules() if isinstance(layer, Quantised)}
    if any(hasattr(layer, "low_rank") for layer in found.values()):
        raise ValueError("a LoRA stands beside these layers: lora.remove it first")
    for layer in found.values():
        _replace(model, layer, layer.plain())
    return list(found)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new.train(old.training))


def _shared(model: nn.Module) -> set[int]:
    """Weights that two modules hold."""
    held = [id(p) for module in model.modules() for p in module.parameters(recurse=False)]
    return {each for each in held if held.count(each) > 1}


def _pays(layer: nn.Module, bits: int) -> bool:
    from transformers.pytorch_utils import Conv1D

    if type(layer) not in (nn.Linear, nn.Conv2d, Conv1D) or layer.weight.numel() < SMALLEST:
        return False
    if isinstance(layer, nn.Conv2d):
        if layer.in_channels < 8 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return False
    rows, width = _matrix(layer).shape
    return bits == 8 or (rows % 2 == 0 and math.gcd(width, GROUP) >= 16)


def _matrix(layer: nn.Module) -> Tensor:
    """A layer's weight as (outputs, what one output reads)."""
    weight = layer.weight.detach()
    return weight.flatten(1) if isinstance(layer, (nn.Linear, nn.Conv2d)) else weight.T


class Quantised(nn.Module):
    """What quantised layers share.

    weight: codes; int8 in the plain weight's shape, or uint8 with half as many outputs, the second half of which is in
    the upper four bits.  scale: (outputs, groups).
    """

    bits: int

    def fill(self, matrix: Tensor, shape: torch.Size, bits: int) -> None:
        """Encode a matrix (outputs, inputs) that stands for a weight of some shape."""
        self.bits, self.shape = bits, shape
        if bits == 8:
            scale = matrix.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
            codes = (matrix / scale).round_().to(torch.int8).view(shape)
        else:
            levels = normal_levels().to(matrix)
            groups = matrix.unflatten(1, (-1, math.gcd(matrix.shape[1], GROUP)))
            codes, scale = encode(groups, levels, half=0)
            codes, scale = codes.view(shape[0] // 2, *shape[1:]), scale.flatten(1)
            self.register_buffer("levels", levels, persistent=False)
        self.weight, self.scale = (nn.Parameter(each, requires_grad=False) for each in (codes, scale))

    @torch.no_grad()
    def decoded(self) -> Tensor:
        """The weight in full, as it is used; made anew at each call."""
        outputs, groups = self.scale.shape
        if self.bits == 8:
            return self.weight.to(self.scale.dtype).mul_(self.scale.view(-1, *[1] * (self.weight.ndim - 1)))
        codes = self.weight.view(outputs // 2, groups, -1)
        return decode(codes, self.scale.unsqueeze(-1), self.levels, half=0).view(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        return _Frozen.apply(x, self)

    def plain(self) -> nn.Module:
        """The same layer with the decoded weight."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}"


class QuantisedLinear(Quantised, nn.Linear):
    """A frozen linear layer, `nn.Linear` or `Conv1D` before."""

    def __init__(self, layer: nn.Module, bits: int):
        nn.Module.__init__(self)
        matrix = _matrix(layer)
        self.out_features, self.in_features = matrix.shape
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self.fill(matrix, matrix.shape, bits)

    def out(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)

    def back(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return gradient @ weight

    def plain(self) -> nn.Linear:
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight, layer.bias = nn.Parameter(self.decoded(), requires_grad=False), self.bias
        return layer


class QuantisedConv2d(Quantised, nn.Conv2d):
    """A frozen convolution."""

    LOOK = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")

    def __init__(self, layer: nn.Conv2d, bits: int):
        nn.Module.__init__(self)
        for name in (*self.LOOK, "transposed", "output_padding", "_reversed_padding_repeated_twice"):
            setattr(self, name, getattr(layer, name))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self.fill(_matrix(layer), layer.weight.shape, bits)

    def out(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def back(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return nn.grad.conv2d_input(shape, weight, gradient, self.stride, self.padding, self.dilation, self.groups)

    def plain(self) -> nn.Conv2d:
        look = {name: getattr(self, name) for name in self.LOOK}
        layer = nn.Conv2d(**look, bias=False, device="meta")
        layer.weight, layer.bias = nn.Parameter(self.decoded(), requires_grad=False), self.bias
        return layer


class _Frozen(torch.autograd.Function):
    """Forward and backward through a layer that keeps its codes alone: the decoded weight is dropped in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Quantised) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.out(x, layer.decoded())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(gradient, ctx.layer.decoded().to(gradient.dtype), ctx.shape), None
