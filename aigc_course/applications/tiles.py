"""Seamless tiles: pictures whose edges meet, and how much of a step is left where they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_course import diffusion, sampling
from aigc_course.studio import walk


def draw_tiles(
    pipe: Any, prompts: Sequence[str], seamless: bool = True, steps: int = 12, scale: float = 2.0, seed: int = 1
) -> Tensor:
    """A picture for each prompt, all from one noise, drawn as `--tile` does: every convolution looks around the edge.

    seamless: False is the control, the same pictures with plain edges.  Gives (B, 3, H, W).
    """
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
    noise = sampling.start_noise(pipe, [seed] * len(prompts))
    with walk.circular(pipe, seamless):
        predict = sampling.guided(pipe, list(prompts), scale)
        return sampling.decode(pipe, sampling.ddim(predict, noise, schedule, steps))


def seam(pictures: Tensor) -> Tensor:
    """How large the step across the edges is beside a usual one: 1 cannot be told apart, 10 is a line.

    For each direction the mean |difference| between the last row and the first, which meet when the picture is laid
    beside itself, is divided by the mean |difference| of neighbouring rows inside.  (B, C, H, W) -> (B, 2): top to
    bottom, left to right.
    """
    if pictures.ndim != 4 or min(pictures.shape[2:]) < 3:
        raise ValueError(f"tiles are (B, C, H, W) with sides of 3 pixels or more, not {tuple(pictures.shape)}")
    across = [(pictures.select(d, -1) - pictures.select(d, 0)).abs().mean((1, 2)) for d in (2, 3)]
    inside = [pictures.diff(dim=d).abs().mean((1, 2, 3)) for d in (2, 3)]
    if not torch.stack(inside).all():
        raise ValueError("a picture of one colour has no steps inside, so no seam can be told from them")
    return torch.stack([step / usual for step, usual in zip(across, inside, strict=True)], 1)


def laid(pictures: Tensor, times: int = 2) -> Tensor:
    """Each picture beside itself, times × times: (B, C, times · H, times · W)."""
    return pictures.repeat(1, 1, times, times)
