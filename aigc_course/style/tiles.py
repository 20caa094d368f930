"""Large pictures, a tile at a time, as if they were made at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course.style.pictures import resized

TILE = 256  # pixels a tile is wide, without what is looked at around it
NORMS = nn.GroupNorm, nn.InstanceNorm2d


def thumbnail(pictures: Tensor, tile: int = TILE) -> Tensor:
    """The whole picture where it is made at once, else a copy reduced to the size of two tiles."""
    if whole(pictures, tile):
        return pictures
    times = 2 * tile / max(pictures.shape[2:])
    return resized(pictures, [max(8, round(times * n / 8) * 8) for n in pictures.shape[2:]])


def whole(pictures: Tensor, tile: int = TILE) -> bool:
    """Whether a picture is small enough to be made at once: at most two tiles a side."""
    return max(pictures.shape[2:]) <= 2 * tile


@contextmanager
def steady(network: nn.Module) -> Iterator[None]:
    """Inside, every norm of a network uses the moments that it found in its first pass.

    The first pass is of the whole picture, reduced; without this each tile would be normed by itself, and a plain one
    be blown up to noise.  Chen et al. 2022, "thumbnail instance normalization".
    """
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    hooks = [norm.register_forward_hook(lambda *seen: _normed(kept, *seen)) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _normed(kept: dict[int, tuple[Tensor, Tensor]], norm: nn.Module, given: tuple[Tensor], made: Tensor) -> Tensor:
    (x,) = given
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else x.shape[1]
    rows = x.unflatten(1, (groups, -1))  # (B, G, C/G, H, W)
    if id(norm) not in kept:
        variance, mean = torch.var_mean(rows, (2, 3, 4), correction=0, keepdim=True)
        kept[id(norm)] = mean, (variance + norm.eps).rsqrt()
        return made
    mean, factor = kept[id(norm)]
    x = ((rows - mean) * factor).flatten(1, 2)
    if norm.weight is None:
        return x
    return x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def fitted(pictures: Tensor, multiple: int = 8) -> Tensor:
    """Pictures continued below and to the right, so that both sides are multiples of a number."""
    height, width = pictures.shape[2:]
    below, beside = -height % multiple, -width % multiple
    return F.pad(pictures, (0, beside, 0, below), mode="replicate") if below or beside else pictures
