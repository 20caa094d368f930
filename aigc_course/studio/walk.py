"""The walk from noise to pictures on the parts of a stock pipeline, one step at a time, so that it can be watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aigc_course import diffusion, runtime, sampling
from aigc_course.studio.spelling import heard


@dataclass(frozen=True, eq=False)
class Words:
    """What guidance is made of, for B pictures and P weighted prompts.

    conditions: (P, B, L, D);  weights: (P,), their sum is 1;  negative: (1, L, D);  scale: of guidance, 1 is none;
    chaos: 0 to 1, how much noise (B, L, D) the conditions carry at the noisy end of the walk.
    """

    conditions: Tensor
    weights: Tensor
    negative: Tensor
    scale: float
    chaos: float = 0.0
    noise: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """After step `number` of `total`: x_t as it stands, the clean latent x0 that the model expected, its two
    predictions, without and with the words, and what it would have expected without them (None: no guidance)."""

    number: int
    total: int
    t: int
    x_t: Tensor
    x0: Tensor
    uncond: Tensor | None
    cond: Tensor
    without: Tensor | None = None


# --- words --------------------------------------------------------------------------------------------------


@torch.no_grad()
def words(
    pipe: Any,
    prompts: Sequence[str],
    weights: Sequence[float],
    seeds: Sequence[int],
    scale: float = 2.0,
    negative: str = "",
    chaos: float = 0.0,
    weird: float = 0.0,
) -> Words:
    """Prompts as the denoiser reads them, for one picture per seed; what is too long is cut after a word.

    chaos, 0 to 1: each picture gets noise of its own on its words, most at the start of the walk and none at its end,
    so that they differ more than noise alone makes them (Sadat et al. 2023, "CADS").
    weird: one odd direction, the same for all pictures and prompts, is added to the words at every step, `weird` times
    as long as they spread; they keep their length.
    """
    told = _read(pipe, prompts)  # (P, L, D)
    if weird:
        odd = torch.randn(told.shape[1:], generator=runtime.generator()).to(told)
        told = _as_long_as(told + weird * odd * told.std(-1, keepdim=True), told)
    conditions = told[:, None].expand(-1, len(seeds), -1, -1)
    noise = None
    if chaos:
        drawn = [torch.randn(told.shape[1:], generator=runtime.generator(seed)) for seed in seeds]
        noise = torch.stack(drawn).to(told) * told.std()
    shares = torch.tensor(list(weights), dtype=torch.float64)
    shares = (shares / shares.sum()).to(told)
    return Words(conditions, shares, _read(pipe, [negative]), scale, chaos, noise)


def _read(pipe: Any, prompts: Sequence[str]) -> Tensor:
    return sampling.encode_words(pipe, [heard(pipe.tokenizer, prompt)[0] for prompt in prompts])


def _as_long_as(changed: Tensor, told: Tensor) -> Tensor:
    return changed * told.norm(dim=-1, keepdim=True) / changed.norm(dim=-1, keepdim=True)


def _conditions(told: Words, share: float) -> Tensor:
    """The words at a place of the walk, 1 its noisy start and 0 its end: their noise has gone at 0.6 of the way up."""
    loud = 3 * told.chaos * min(1.0, max(0.0, (share - 0.6) / 0.3))
    if told.noise is None or not loud:
        return told.conditions
    return _as_long_as(told.conditions + loud * told.noise, told.conditions)


@torch.no_grad()
def ask(
    pipe: Any, x_t: Tensor, t: Tensor, told: Words, share: float = 0.0, one_by_one: bool = False
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The guided prediction, and the two that it is made of: without words (or None) and with them, in one batch.

    Ho & Salimans 2022; several weighted prompts are composed as in Liu et al. 2022:  u + scale · Σ w (c - u).
    one_by_one: in batches of one, which take less memory and more time.
    """
    conditions, guided = _conditions(told, share), told.scale > 1
    parts, b = len(conditions), len(x_t)
    asked = [told.negative.expand(b, -1, -1)] * guided + list(conditions)
    batch = torch.cat([x_t] * len(asked)), torch.cat(asked)
    some = zip(*(each.split(1) for each in batch), strict=True) if one_by_one else [batch]
    out = torch.cat([pipe.unet(x, t, encoder_hidden_states=words).sample for x, words in some])
    cond = out[b * guided :].unflatten(0, (parts, b))
    weights = told.weights.view(-1, 1, 1, 1, 1)
    if not guided:
        cond = (weights * cond).sum(0)
        return cond, None, cond
    uncond = out[:b]
    pull = (weights * (cond - uncond)).sum(0)
    return uncond + told.scale * pull, uncond, uncond + pull


# --- the walk -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Kept:
    """What must stay while the rest is painted: clean latents x0 and their noise (B, C, h, w), mask 1 where new."""

    x0: Tensor
    noise: Tensor
    mask: Tensor


def timetable(pipe: Any, steps: int, strength: float = 1.0) -> tuple[Any, Tensor]:
    """A scheduler of the pipeline's kind of its own, and the times of the walk, or of its last part.

    strength: the share of the way back to noise that a given picture is taken, as in diffusers' img2img.
    """
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps, device=pipe.device)
    taken = max(1, min(int(steps * strength), steps))
    return scheduler, scheduler.timesteps[(steps - taken) * scheduler.order :]


def walk(
    pipe: Any,
    x_t: Tensor,
    told: Callable[[int], Words],
    scheduler: Any,
    times: Tensor,
    kept: Kept | None = None,
    cancel: threading.Event | None = None,
    one_by_one: bool = False,
) -> Iterator[Step]:
    """Step after step, from x_t at times[0]; ends early when `cancel` is set.  told: the words of step `number`."""
    length = scheduler.config.num_train_timesteps
    for number, t in enumerate(times, start=1):
        if cancel is not None and cancel.is_set():
            return
        seen = scheduler.scale_model_input(x_t, t)
        prediction, uncond, cond = ask(pipe, seen, t, told(number), float(t) / length, one_by_one)
        x0 = _expected(scheduler, x_t, t, prediction)
        without = None if uncond is None else _expected(scheduler, x_t, t, uncond)
        x_t = scheduler.step(prediction, t, x_t, return_dict=False)[0]
        if kept is not None:
            x_t, x0 = _keep(kept, x_t, scheduler, times, number), torch.lerp(kept.x0, x0, kept.mask)
        yield Step(number, len(times), int(t), x_t, x0, uncond, cond, without)


def _keep(kept: Kept, x_t: Tensor, scheduler: Any, times: Tensor, number: int) -> Tensor:
    """The known part as noisy as the next step expects it, the new part as it was made."""
    known = kept.x0
    if number < len(times):
        known = scheduler.add_noise(kept.x0, kept.noise, times[number : number + 1])
    return torch.lerp(known, x_t, kept.mask)


def _expected(scheduler: Any, x_t: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
    """The clean latent that a prediction implies, for the two things that pipelines predict."""
    kind = scheduler.config.prediction_type
    if hasattr(scheduler, "sigmas"):  # x_t = x0 + σ ε there
        index = scheduler.index_for_timestep(t) if scheduler.step_index is None else scheduler.step_index
        sigma = scheduler.sigmas[index].to(x_t)
        rate = (sigma**2 + 1) ** -0.5
        return x_t * rate**2 - prediction * sigma * rate if kind == "v_prediction" else x_t - sigma * prediction
    abar = scheduler.alphas_cumprod.to(x_t)[int(t)].expand(len(x_t))
    return (diffusion.x0_from_velocity if kind == "v_prediction" else diffusion.predict_x0)(x_t, prediction, abar)


def fresh_noise(pipe: Any, generators: Sequence[torch.Generator], size: tuple[int, int]) -> Tensor:
    """Pure noise (B, C, h, w) for pictures of a size in pixels, one generator each, as the stock pipeline draws it."""
    w, h = (side // pipe.vae_scale_factor for side in size)
    shape = (1, pipe.unet.config.in_channels, h, w)
    noise = torch.cat([torch.randn(shape, generator=one) for one in generators])
    return noise.to(pipe.device, pipe.unet.dtype)


# --- pictures and latents -----------------------------------------------------------------------------------


@torch.no_grad()
def encode(pipe: Any, pictures: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tensor:
    """Pictures (B, 3, H, W) to latents; with generators a draw from each posterior, as diffusers' img2img does."""
    given = pictures.to(pipe.device, pipe.vae.dtype)
    if generators is None:
        return pipe.vae.encode(given).latent_dist.mode() * pipe.vae.config.scaling_factor
    posteriors = [pipe.vae.encode(one[None]).latent_dist for one in given]
    drawn = [one.sample(generator) for one, generator in zip(posteriors, generators, strict=True)]
    return torch.cat(drawn) * pipe.vae.config.scaling_factor


@contextmanager
def circular(pipe: Any, on: bool = True) -> Iterator[None]:
    """While this lasts, every convolution sees the opposite edge beyond an edge: the picture can be laid as a tile."""
    layers = [m for part in (pipe.unet, pipe.vae) for m in part.modules() if isinstance(m, nn.Conv2d)] if on else []
    before = [layer.padding_mode for layer in layers]
    for layer in layers:
        layer.padding_mode = "circular"
    try:
        yield
    finally:
        for layer, mode in zip(layers, before, strict=True):
            layer.padding_mode = mode


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b along the sphere, latents (C, h, w): lengths, and so the loudness of noise, are kept on the way."""
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-3:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
