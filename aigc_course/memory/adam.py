"""AdamW whose two averages are kept in 8 or 4 bits a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc_course.memory.codes import decode, dynamic_levels, encode

BLOCK = {8: 256, 4: 128}  # numbers that share a scale
AT_ONCE = 2**17  # numbers that are in float32 at one time


class QuantisedAdamW(torch.optim.Optimizer):
    """AdamW with its averages in blocks of codes (Dettmers et al. 2022; Li et al. 2023 for 4 bits).

    A few blocks at a time become float32, take their step, and are encoded again: 2.03 bytes a weight in 8 bits,
    1.06 in 4, where AdamW keeps 8.  The average of squares has no level 0: what is divided by it would explode.
    smallest: parameters with fewer numbers, such as norms and biases, keep float32, as the libraries do.
    """

    bits = 8

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        smallest: int = 4096,
    ):
        if not lr >= 0 or not all(0 <= beta < 1 for beta in betas) or not eps > 0:
            raise ValueError(f"lr={lr}, betas={betas}, eps={eps}: use lr >= 0, 0 <= betas < 1 and eps > 0")
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))
        self.smallest = smallest
        self._levels: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)
        return loss

    def _move(self, p: Tensor, group: dict) -> None:
        if p.grad.is_sparse:
            raise ValueError("a sparse gradient cannot be cut into blocks: make the embedding with sparse=False")
        state, order = self.state[p], p.dim_order()
        if not state:
            state.update(self._nothing(p))
        state["step"] += 1
        weights, gradient = p.permute(order).view(-1), p.grad.permute(order).reshape(-1)
        if "mean_scale" not in state:
            _average(state["mean"], state["square"], gradient.float(), group)
            _descend(weights, state["mean"], state["square"], state["step"], group)
            return
        for start in range(0, len(weights), AT_ONCE):
            self._move_part(weights[start : start + AT_ONCE], gradient[start : start + AT_ONCE], start, state, group)

    def _move_part(self, weights: Tensor, gradient: Tensor, start: int, state: dict, group: dict) -> None:
        """Some whole blocks (the last one filled up with zeros): out of their codes, a step, and back."""
        block, half = BLOCK[self.bits], 1 if self.bits == 4 else None
        rows = slice(start // block, (start + AT_ONCE) // block)
        keys = dict(zip(("mean", "square"), self._levels_on(weights.device), strict=True))
        found = {k: decode(state[k][rows], state[f"{k}_scale"][rows], keys[k], half).view(-1) for k in keys}
        gradient, short = gradient.float(), len(found["mean"]) - len(gradient)
        _average(*found.values(), F.pad(gradient, (0, short)) if short else gradient, group)
        for key, levels in keys.items():
            codes, scale = encode(found[key].view(-1, block), levels, half)
            state[key][rows], state[f"{key}_scale"][rows] = codes, scale
        _descend(weights, *(each[: len(weights)] for each in found.values()), state["step"], group)

    def _nothing(self, p: Tensor) -> dict[str, Any]:
        """The state before the first step; all codes count for 0 as their scale is 0."""
        if p.numel() < self.smallest:
            return {"step": 0} | {key: torch.zeros(p.numel(), device=p.device) for key in ("mean", "square")}
        block = BLOCK[self.bits]
        rows = -(-p.numel() // block)
        state: dict[str, Any] = {"step": 0}
        for key in ("mean", "square"):
            state[key] = torch.zeros(rows, block * self.bits // 8, dtype=torch.uint8, device=p.device)
            state[f"{key}_scale"] = torch.zeros(rows, 1, device=p.device)
        return state

    def _levels_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Levels of the average, and of the average of squares."""
        if device not in self._levels:
            if self.bits == 8:
                squares = dynamic_levels(8, signed=False)
                squares[0] = squares[1] / 2
            else:
                squares = torch.linspace(0, 1, 17)[1:]
            self._levels[device] = dynamic_levels(self.bits).to(device), squares.to(device)
        return self._levels[device]

    def load_state_dict(self, state_dict: dict) -> None:
        """As every optimiser does it, but codes stay codes: torch would turn them into the parameters' type."""
        super().load_state_dict(state_dict)
        for theirs, ours in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for index, p in zip(theirs["params"], ours["params"], strict=True):
                if index in state_dict["state"]:
                    kept = deepcopy(state_dict["state"][index])
                    self.state[p] = {k: v.to(p.device) if torch.is_tensor(v) else v for k, v in kept.items()}


class AdamW8bit(QuantisedAdamW):
    """AdamW with states of 8 bits, in blocks of 256."""

    bits = 8


class AdamW4bit(QuantisedAdamW):
    """AdamW with states of 4 bits, in blocks of 128."""

    bits = 4


def _average(mean: Tensor, square: Tensor, gradient: Tensor, group: dict) -> None:
    """Let the averages of gradients and of their squares follow, in place."""
    one, two = group["betas"]
    mean.lerp_(gradient, 1 - one)
    square.mul_(two).addcmul_(gradient, gradient, value=1 - two)


def _descend(weights: Tensor, mean: Tensor, square: Tensor, step: int, group: dict) -> None:
    """Loshchilov & Hutter 2019, algorithm 2, from averages that are there already."""
    one, two = (1 - beta**step for beta in group["betas"])
    weights.mul_(1 - group["lr"] * group["weight_decay"])
    weights.sub_(mean / (square / two).sqrt_().add_(group["eps"]), alpha=group["lr"] / one)
