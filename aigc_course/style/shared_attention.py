"""Style by looking: a picture attends to the keys and values of a reference while both are denoised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class SharedAttention:
    """Self-attention in which the first picture of a batch is seen by all others.  Hertz et al. 2024, section 4.

    Queries and keys get the reference's moments first (AdaIN over tokens), then everyone attends to its own keys and to
    those of the reference.  share: how much a key of the reference counts beside an own one; 0 is plain
    attention, and the reference itself is never changed.  groups: 2 with guidance, whose batches hold every picture
    twice, without words and with them.
    """

    def __init__(self, share: float = 1.0, groups: int = 2):
        if share < 0:
            raise ValueError(f"share={share}: choose 0 (nothing is shared) or more, such as 1")
        self.share, self.groups = share, groups

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        layers = attn.to_q, attn.to_k, attn.to_v
        query, key, value = (layer(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for layer in layers)
        first, own = self.reference, min(self.share, 1.0)
        query, key = (each.lerp(_like(each, first(each)), own) for each in (query, key))  # (B, heads, N, D)
        bias = query.new_zeros(2 * key.shape[2])
        bias[key.shape[2] :] = query.new_tensor(self.share).log()
        keys, values = (torch.cat([each, first(each)], 2) for each in (key, value))
        seen = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias.expand(query.shape[2], -1))
        return attn.to_out[1](attn.to_out[0](seen.transpose(1, 2).flatten(2)))

    def reference(self, of: Tensor) -> Tensor:
        """The first of each group, once for each of its members: the shape of what is given."""
        grouped = of.unflatten(0, (self.groups, -1))
        return grouped[:, :1].expand_as(grouped).flatten(0, 1)


def _like(tokens: Tensor, reference: Tensor) -> Tensor:
    """`statistics.adain` over tokens, channel by channel: (B, heads, N, D), twice."""
    mean, std = (f(tokens) for f in (_mean, _std))
    return (tokens - mean) / std * _std(reference) + _mean(reference)


def _mean(tokens: Tensor) -> Tensor:
    return tokens.mean(2, keepdim=True)


def _std(tokens: Tensor) -> Tensor:
    return tokens.std(2, keepdim=True, correction=0).clamp(min=1e-5)


@contextmanager
def shared(unet: Any, share: float = 1.0, groups: int = 2) -> Iterator[None]:
    """Inside, every self-attention of a denoiser is shared; afterwards all is as it was."""
    before = dict(unet.attn_processors)
    ours = {name: SharedAttention(share, groups) for name in before if "attn1" in name}
    unet.set_attn_processor(before | ours)
    try:
        yield
    finally:
        unet.set_attn_processor(before)
