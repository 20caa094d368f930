"""Style transfer by optimising the picture itself (Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
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
    losses_of = _objective(features, content, style, shown_by or features.names[-2], painted_by or features.names)
    picture = (content if start is None else start).clone(memory_format=torch.contiguous_format).requires_grad_(True)
    optimiser = torch.optim.LBFGS([picture], max_iter=steps, max_eval=steps, history_size=20,
                                  tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe")  # fmt: skip
    number = count(1)

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        shows, paints = losses_of(picture)
        loss = shows + weight * paints + smooth * losses.total_variation(picture)
        loss.backward()
        if on_step:
            now = picture.detach().clamp(-1, 1)
            on_step(Stroke(next(number), steps, loss.item(), shows.item(), paints.item(), now))
        return loss

    optimiser.step(evaluate)
    return picture.detach().clamp(-1, 1)


def _objective(
    features: Features, content: Tensor, style: Tensor, shown_by: str, painted_by: Sequence[str]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The content loss and the style loss as functions of a picture; what they compare it with is computed once."""

    def of(maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: g for name, g in grams(maps).items() if name in painted_by}

    with torch.no_grad():
        wanted, painted = features(content)[shown_by], of(features(style))

    def losses_of(picture: Tensor) -> tuple[Tensor, Tensor]:
        maps = features(picture)
        return losses.content({shown_by: maps[shown_by]}, {shown_by: wanted}), losses.style(of(maps), painted)

    return losses_of
