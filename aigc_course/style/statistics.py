"""What is left of feature maps when places are forgotten: Gram matrices and moments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Maps = dict[str, Tensor]


class Moments(NamedTuple):
    """Mean and standard deviation of each channel over all places: (B, C, 1, 1) each."""

    mean: Tensor
    std: Tensor


def gram(maps: Tensor) -> Tensor:
    """How strongly each two channels are active in the same places:  G = F Fᵀ / (H W).  Gatys et al. 2016, eq. 3.

    A sum over places, so that it does not know where anything is.  maps: (B, C, H, W) -> (B, C, C), symmetric.
    """
    rows = maps.flatten(2)  # (B, C, HW)
    return rows @ rows.mT / rows.shape[2]


def moments(maps: Tensor) -> Moments:
    """Mean and standard deviation of each channel, over all places.  maps: (B, C, H, W) -> (B, C, 1, 1), twice."""
    mean = maps.mean((2, 3), keepdim=True)
    variance = (maps - mean).square().mean((2, 3), keepdim=True)
    return Moments(mean, variance.clamp(min=1e-12).sqrt())  # the root of 0 has no slope


def adain(content: Tensor, style: Moments, own: Moments | None = None, least: float = 1e-5) -> Tensor:
    """Give each channel of the content the mean and the spread of the style.  Huang & Belongie 2017, eq. 8.

    σ(y) (x - μ(x)) / σ(x) + μ(y).  A channel that hardly varies (σ < least) keeps its shape as it is.
    content: (B, C, H, W);  own: its moments, where they are those of more than these maps (a picture made in tiles).
    """
    own = own or moments(content)
    return style.std * (content - own.mean) / own.std.clamp(min=least) + style.mean


def grams(maps: Maps) -> Maps:
    """`gram` of each layer."""
    return {name: gram(each) for name, each in maps.items()}


def all_moments(maps: Maps) -> Maps:
    """`moments` of each layer, mean and spread one beside the other: (B, 2, C)."""
    return {name: torch.stack([m.flatten(1) for m in moments(each)], 1) for name, each in maps.items()}
