"""Numbers in few bits: each one becomes the code of the nearest of 16 or 256 levels, beside one scale for its block."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny


def dynamic_levels(bits: int = 8, signed: bool = True) -> Tensor:
    """Levels from -1 (unsigned: 0) to 1, half as many in each smaller power of ten.  Dettmers et al. 2022.

    Averages of gradients span many powers of ten: equal steps would round most of them to 0.
    """
    means = []
    for power in range(bits - 1):
        edges = torch.linspace(0.1, 1, 2**power * (1 if signed else 2) + 1) * 10.0 ** (power - bits + 2)
        means.append((edges[1:] + edges[:-1]) / 2)
    positive = torch.cat(means)
    return torch.cat([-positive if signed else positive[:0], torch.tensor([0.0, 1.0]), positive]).sort().values


def normal_levels() -> Tensor:
    """The 16 levels of NF4, from -1 to 1: each is taken equally often by normally distributed numbers, as weights are.

    Dettmers et al. 2023, section 3; 0 is one of them, so there are eight above it and seven below.
    """
    last = 1 - (1 / 30 + 1 / 32) / 2
    above, below = (torch.special.ndtri(torch.linspace(last, 0.5, n, dtype=torch.float64)[:-1]) for n in (9, 8))
    return (torch.cat([-below, torch.zeros(1), above]) / above.max()).sort().values.float()


def encode(blocks: Tensor, levels: Tensor, half: int | None = None) -> tuple[Tensor, Tensor]:
    """The codes of numbers (..., n), uint8, and the scale of each row, (..., 1): its largest size.

    half: the axis whose second half goes into the upper four bits of the first; for 16 levels.
    """
    scale = blocks.abs().amax(-1, keepdim=True)
    between = (levels[1:] + levels[:-1]) / 2
    relative = (blocks / scale.clamp(min=TINY)).contiguous()
    codes = torch.bucketize(relative, between, out_int32=True).to(torch.uint8)
    if half is not None:
        low, high = codes.chunk(2, half)
        codes = low | (high << 4)
    return codes, scale


def decode(codes: Tensor, scale: Tensor, levels: Tensor, half: int | None = None) -> Tensor:
    """The numbers that codes stand for; they were encoded with the same levels and half."""
    if half is not None:
        codes = torch.cat([codes & 15, codes >> 4], half)
    return levels.index_select(0, codes.flatten().int()).view(codes.shape).mul_(scale)
