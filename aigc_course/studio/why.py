"""Why this picture?  What each word looked at, what the words changed, the noise it began from, and each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import sampling
from aigc_course.studio import canvas
from aigc_course.studio.job import JobSpec
from aigc_course.studio.spelling import tokens_of
from aigc_course.studio.walk import Step


@dataclass(frozen=True, eq=False)
class Explanation:
    """What one picture can tell about itself.

    words: of the prompt;  heat: (W, h, w), how much each place attended to each word, mean over steps, layers and
    heads;  shares: (W,), each word's part of all that;  noise: (C, h, w), the latent it began from;
    difference: (steps, h, w), how far the words moved the prediction, conditional minus unconditional;
    moved: (steps, C, h, w), that difference itself, None without guidance;  x_t, x0: (steps, C, h, w), where the walk
    stood after each step, and what it expected;  pictures: x0 decoded, one for each step;  noisy: x_t, roughly, so
    too;  apart: numbers of some steps, from 1, and without: what was expected there without words, decoded;
    pooled: whether attention is only one of two ways that words take: all of them, pooled, also shift every block.
    """

    words: tuple[str, ...]
    heat: Tensor
    shares: Tensor
    noise: Tensor
    difference: Tensor
    moved: Tensor | None
    x_t: Tensor
    x0: Tensor
    pictures: tuple[Image.Image, ...]
    noisy: tuple[Image.Image, ...] = ()
    apart: tuple[int, ...] = ()
    without: tuple[Image.Image, ...] = ()
    pooled: bool = False


class _Recorder:
    """Attention as diffusers computes it, but the weights are kept: each call appends (B, places, tokens)."""

    def __init__(self, maps: list[Tensor]):
        self.maps = maps

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, attention_mask: Any = None, **_: Any
    ) -> Tensor:
        queries = attn.head_to_batch_dim(attn.to_q(hidden_states))
        keys, values = (attn.head_to_batch_dim(part(encoder_hidden_states)) for part in (attn.to_k, attn.to_v))
        weights = attn.get_attention_scores(queries, keys, attention_mask)  # (B · heads, places, tokens)
        self.maps.append(weights.unflatten(0, (len(hidden_states), attn.heads)).mean(1))
        mixed = attn.batch_to_head_dim(weights @ values)
        return attn.to_out[1](attn.to_out[0](mixed))


@contextmanager
def recording(unet: Any) -> Iterator[list[Tensor]]:
    """While this lasts, every cross-attention of a U-Net leaves its weights in the list."""
    maps: list[Tensor] = []
    before = dict(unet.attn_processors)
    unet.set_attn_processor({name: _Recorder(maps) if ".attn2." in name else old for name, old in before.items()})
    try:
        yield maps
    finally:
        unet.set_attn_processor(before)


@torch.no_grad()
def explain(pipe: Any, spec: JobSpec, noise: Tensor, steps: Sequence[Step], maps: Sequence[Tensor]) -> Explanation:
    """Put together what a recorded walk of one picture has left.  Words are those of all parts of the prompt."""
    size = noise.shape[-2:]
    words, heat = [], []
    for number, part in enumerate(spec.prompt):
        each = torch.stack([_square(one[-len(spec.prompt) + number], size) for one in maps]).mean(0)  # (L, h, w)
        for word, tokens in tokens_of(pipe.tokenizer, part.text):
            words.append(word)
            heat.append(each[tokens].sum(0))
    found = torch.stack(heat) if heat else torch.zeros(0, *size)
    x_t, x0 = (torch.cat([getattr(step, name) for step in steps]).float().cpu() for name in ("x_t", "x0"))
    moved = None
    if steps[0].uncond is not None:
        moved = torch.cat([step.cond - step.uncond for step in steps]).float().cpu()
    strength = torch.zeros(len(steps), *size) if moved is None else moved.square().mean(1).sqrt()
    pictures = [_decoded(pipe, step.x0) for step in steps]
    apart = [] if moved is None else few(len(steps))
    without = [_decoded(pipe, steps[number - 1].without) for number in apart]
    shares = found.mean((1, 2)) / found.mean((1, 2)).sum().clamp(min=1e-12)
    start = noise[0].float().cpu()
    pooled = getattr(pipe.unet.config, "addition_embed_type", None) == "text"
    return Explanation(
        tuple(words), found, shares, start, strength, moved, x_t, x0, tuple(pictures),
        apart=tuple(apart), without=tuple(without), pooled=pooled,
    )  # fmt: skip


def few(total: int, most: int = 6) -> list[int]:
    """Numbers of steps from the first to the last, evenly spread."""
    return sorted({1 + round(k * (total - 1) / max(1, most - 1)) for k in range(most)})


def _decoded(pipe: Any, latent: Tensor) -> Image.Image:
    return canvas.to_pictures(sampling.decode(pipe, latent))[0]


def _square(weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Weights (places, L) of a coarser or equal grid to (L, h, w)."""
    places, (h, w) = len(weights), size
    times = next(k for k in range(1, 65) if -(-h // k) * -(-w // k) <= places)
    grid = weights.float().cpu().T.unflatten(1, (-(-h // times), -(-w // times)))
    return torch.nn.functional.interpolate(grid[None], size, mode="bilinear")[0]
