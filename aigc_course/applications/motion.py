"""Moving pictures: frames between two pictures, frames after a sketch, and how much they flicker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_course import sampling
from aigc_course.studio import walk


def between(a: Tensor, b: Tensor, shares: Sequence[float] | Tensor) -> Tensor:
    """Latents on the way from a to b along the sphere, one for each share: (C, h, w), twice -> (N, C, h, w)."""
    return torch.stack([walk.slerp(a, b, float(share)) for share in shares])


def draw_between(
    pipe: Any, prompts: tuple[str, str], seeds: tuple[int, int], shares: Sequence[float] | Tensor,
    steps: int = 6, scale: float = 2.0,
) -> Tensor:  # fmt: skip
    """Frames from one picture to another, (N, 3, H, W): their noises along the sphere, their words along a line.

    shares: how far each frame is, 0 the first prompt and seed, 1 the second.
    """
    first, last = sampling.encode_words(pipe, list(prompts))
    words = torch.stack([torch.lerp(first, last, float(share)) for share in shares])
    a, b = sampling.start_noise(pipe, list(seeds))
    scheduler, times = walk.timetable(pipe, steps)
    return _walked(pipe, between(a, b, shares), words, scheduler, times, scale)


@torch.no_grad()
def _walked(pipe: Any, x_t: Tensor, words: Tensor, scheduler: Any, times: Tensor, scale: float) -> Tensor:
    """From x_t at times[0] to pictures; words: (N, L, D), other ones for each frame."""
    told = walk.Words(words[None], words.new_ones(1), sampling.encode_words(pipe, [""]), scale)
    for step in walk.walk(pipe, x_t, lambda number: told, scheduler, times):
        x_t = step.x_t
    return sampling.decode(pipe, x_t)


def evenly(draw: Callable[[Tensor], Tensor], count: int, begin: int = 6) -> tuple[Tensor, Tensor]:
    """`count` frames whose steps are as even as can be: a few first, then more where the steps are widest.

    draw: shares (N,) in [0, 1] -> frames (N, C, H, W).  Gives the shares, rising, and their frames; no frame is drawn
    twice.  A step is the mean |difference| of two neighbours.
    """
    if count < 2:
        raise ValueError(f"{count} frame is no motion; ask for 2 or more")
    shares = torch.linspace(0, 1, min(begin, count))
    frames = draw(shares)
    while len(shares) < count:
        new = _into_gaps(shares, paces(frames), min(begin, count - len(shares)))
        shares, order = torch.cat([shares, new]).sort()
        frames = torch.cat([frames, draw(new)])[order]
    return shares, frames


def _into_gaps(shares: Tensor, steps: Tensor, count: int) -> Tensor:
    """`count` new shares, one after another into the gap whose parts are then the widest; even within a gap."""
    parts = torch.ones_like(steps)
    for _ in range(count):
        parts[(steps / parts).argmax()] += 1
    gaps = zip(shares[:-1], shares[1:], parts.int().tolist(), strict=True)
    return torch.cat([torch.linspace(float(a), float(b), n + 1)[1:-1] for a, b, n in gaps])


@torch.no_grad()
def redraw_frames(
    pipe: Any, sketches: Tensor, prompt: str, noise: Tensor, strength: float = 0.6, steps: int = 10, scale: float = 2.0
) -> Tensor:
    """Each sketch of a motion taken `strength` of the way to noise and drawn again as the prompt says.

    noise: (1, C, h, w), the same for all frames, so that what stays in the sketch stays in the picture; or one each,
    (N, C, h, w).  Meng et al. 2022 ("SDEdit"), frame by frame.  (N, 3, H, W) -> the same.
    """
    scheduler, times = walk.timetable(pipe, steps, strength)
    noise = noise.expand(len(sketches), -1, -1, -1)
    x_t = scheduler.add_noise(walk.encode(pipe, sketches), noise, times[:1])
    words = sampling.encode_words(pipe, [prompt]).expand(len(sketches), -1, -1)
    return _walked(pipe, x_t, words, scheduler, times, scale)


# --- measures ---------------------------------------------------------------------------------------------------


def _checked(frames: Tensor, least: int) -> Tensor:
    if frames.ndim != 4 or len(frames) < least:
        raise ValueError(f"{least} frames or more are needed, (N, C, H, W), not {tuple(frames.shape)}")
    return frames.float()


def paces(frames: Tensor) -> Tensor:
    """How far each frame is from the next, the mean |difference| in 255ths: (N, C, H, W) -> (N - 1,)."""
    return _checked(frames, 2).diff(dim=0).abs().mean((1, 2, 3)) * 127.5


def flicker(frames: Tensor, still: Tensor | None = None) -> float:
    """How far a frame is from the mean of its two neighbours, in 255ths, over all frames and pixels.

    A fade and an even motion cost little, what comes for one frame and goes again costs all.  still: bool (H, W), the
    pixels that should not move, where any of it is flicker; None all.
    """
    frames = _checked(frames, 3)
    off = (frames[1:-1] - (frames[:-2] + frames[2:]) / 2).abs().mean((0, 1)) * 127.5  # (H, W)
    if still is None:
        return off.mean().item()
    if not still.any():
        raise ValueError("no pixel is still, so none can tell flicker from motion; leave `still` out")
    return off[still].mean().item()


def still_in(frames: Tensor, within: float = 0.02) -> Tensor:
    """The pixels that stay what they are in all frames, but for `within` of the range [-1, 1]: bool (H, W)."""
    frames = _checked(frames, 2)
    return (frames.amax(0) - frames.amin(0)).amax(0) <= within
