"""Style transfer by optimising the picture itself (Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc_course import losses
from aigc_course.style.features import Features
from aigc_course.style.statistics import grams

LARGEST = 512 * 512  # pixels: all maps of all layers are held for the gradient, and no tile knows the others


@dataclass(frozen=True, eq=False)
class Stroke:
    """What `on_step` is shown: evaluation `number` of `steps`, its losses, and the picture (B, 3, H, W) so far."""

    number: int
    steps: int
    loss: float
    content: float
    style: float
    picture: Tensor


def gatys(
    features: Features,
    content: Tensor,
    style: Tensor,
    weight: float = 3.0,
    smooth: float = 0.5,
    steps: int = 200,
    shown_by: str | None = None,
    painted_by: Sequence[str] | None = None,
    start: Tensor | None = None,
    on_step: Callable[[Stroke], Any] | None = None,
) -> Tensor:
    """Change the pixels until they show what the content shows, with the Gram matrices of the style.

    Gatys et al. 2016, eq. 7, by L-BFGS:  content loss + weight · style loss + smooth · total variation.
    shown_by: the layer of the content loss (None: the last but one);  painted_by: those of the style loss (all);
    start: where to begin, None at the content;  steps: evaluations of the loss.  Pictures (B, 3, H, W) in [-1, 1].
    """
    if content.shape[-2] * content.shape[-1] > LARGEST:
        size = f"{content.shape[-1]} × {content.shape[-2]}"
        raise ValueError(f"Gatys' method holds every map of {size} pixels at once: give at most {LARGEST} pixels, or "
                         "use method='adain', which works in tiles")  # fmt: skip
    shown_by, painted_by = shown_by or features.names[-2], painted_by or features.names
    with torch.no_grad():
        wanted = features(content)[shown_by]
        painted = {name: g for name, g in grams(features(style)).items() if name in painted_by}
    picture = (content if start is None else start).clone(memory_format=torch.contiguous_format).requires_grad_(True)
    optimiser = torch.optim.LBFGS([picture], max_iter=steps, max_eval=steps, history_size=20,
                                  tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe")  # fmt: skip
    number = 0

    def evaluate() -> Tensor:
        nonlocal number
        optimiser.zero_grad()
        maps = features(picture)
        now = {name: g for name, g in grams(maps).items() if name in painted_by}
        shows, paints = losses.content({shown_by: maps[shown_by]}, {shown_by: wanted}), losses.style(now, painted)
        loss = shows + weight * paints + smooth * losses.total_variation(picture)
        loss.backward()
        number += 1
        if on_step:
            now = picture.detach().clamp(-1, 1)
            on_step(Stroke(number, steps, loss.item(), shows.item(), paints.item(), now))
        return loss

    optimiser.step(evaluate)
    return picture.detach().clamp(-1, 1)
