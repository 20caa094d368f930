"""From noise to picture, from picture to words, from a small picture to a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aigc_course import diffusion, runtime


@dataclass(frozen=True, eq=False)
class Step:
    """What `on_step` is shown after step `number` of `steps`, from 1.

    t: where x_t now stands, 0 at the end;  x0: the clean latent that the model expected for this step.
    """

    number: int
    steps: int
    t: int
    x_t: Tensor
    x0: Tensor


# --- before the first step ----------------------------------------------------------------------------------


@torch.no_grad()
def encode_words(pipe: Any, prompts: list[str]) -> Tensor:
    """The text encoder's state at each token of each prompt, padded to the most it reads: (B, L, D)."""
    if isinstance(prompts, str) or not len(prompts):
        raise ValueError(f"prompts is {prompts!r}; give a list of at least one, such as ['a red circle']")
    tokenizer = pipe.tokenizer
    longest = tokenizer.model_max_length
    for prompt in prompts:
        excess = len(tokenizer(prompt).input_ids) - longest
        if excess > 0:
            raise ValueError(f"{prompt!r} is {excess} tokens longer than {longest}, all we read; shorten it")
    tokens = tokenizer(list(prompts), padding="max_length", max_length=longest, return_tensors="pt")
    wants_mask = getattr(pipe.text_encoder.config, "use_attention_mask", None)
    mask = tokens.attention_mask.to(pipe.device) if wants_mask else None
    return pipe.text_encoder(tokens.input_ids.to(pipe.device), attention_mask=mask).last_hidden_state


def start_noise(pipe: Any, seeds: list[int]) -> Tensor:
    """Pure noise, one latent for each seed, whatever else is in the batch: (B, C, h, w)."""
    side = pipe.unet.config.sample_size
    shape = (pipe.unet.config.in_channels, side, side)
    noise = torch.stack([torch.randn(shape, generator=runtime.generator(seed)) for seed in seeds])
    return noise.to(pipe.device, pipe.unet.dtype)


# --- the model, asked with words ----------------------------------------------------------------------------


def guided(pipe: Any, prompts: list[str], scale: float = 2.0, negative: str = "") -> Callable[[Tensor, int], Tensor]:
    """The velocity as a function of (x_t, t), pulled towards the prompts and away from the negative one.

    Ho & Salimans 2022: `diffusion.guide` of two predictions, made in one batch.  scale 1 asks only once.
    """
    predicts = pipe.scheduler.config.prediction_type
    if predicts != "v_prediction":
        raise ValueError(f"this pipeline predicts {predicts!r}, no velocity; let it sample itself: pipe(prompts)")
    words = encode_words(pipe, prompts)
    nothing = encode_words(pipe, [negative]).expand_as(words)

    @torch.no_grad()
    def predict(x_t: Tensor, t: int) -> Tensor:
        if scale == 1:
            return _ask(pipe, x_t, t, words)
        uncond, cond = _ask(pipe, torch.cat([x_t, x_t]), t, torch.cat([nothing, words])).chunk(2)
        return diffusion.guide(uncond, cond, scale)

    return predict


def _ask(pipe: Any, x_t: Tensor, t: int, text: Tensor) -> Tensor:
    return pipe.unet(x_t.to(text.dtype), t, encoder_hidden_states=text).sample


# --- the walk -----------------------------------------------------------------------------------------------


def ddim(
    predict: Callable[[Tensor, int], Tensor],
    x_t: Tensor,
    schedule: diffusion.Schedule,
    steps: int = 25,
    on_step: Callable[[Step], Any] | None = None,
) -> Tensor:
    """Walk from noise to a clean latent: guess both ends of the circle, mix them again a little cleaner.

    Song et al. 2021, eq. 12 with σ = 0:  x_s = √ᾱ_s x₀ + √(1-ᾱ_s) ε, where x₀ and ε follow from the velocity.
    predict: (x_t, t) -> velocity;  x_t: (B, C, h, w), pure noise  ->  (B, C, h, w), float32.
    """
    x_t = x_t.float()
    for number, (t, after) in enumerate(_times(schedule.T, steps), start=1):
        v = predict(x_t, t).float()
        x0 = diffusion.x0_from_velocity(x_t, v, _abar(schedule, t, x_t))
        noise = diffusion.noise_from_velocity(x_t, v, _abar(schedule, t, x_t))
        x_t = diffusion.add_noise(x0, noise, _abar(schedule, after, x_t))
        if on_step:
            on_step(Step(number, steps, max(after, 0), x_t, x0))
    return x_t


def _times(T: int, steps: int) -> list[tuple[int, int]]:
    """From which t to which, for each step; -1 is the clean end.  Lin et al. 2024, table 2, "trailing".

    As diffusers does, each goes T // steps back: where T / steps is no whole number, not quite to the next t.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"{steps} sampling steps, but the schedule has {T}; use steps from 1 to {T}")
    starts = np.arange(T, 0, -T / steps).round()[:steps].astype(int) - 1
    return [(t, max(t - T // steps, -1)) for t in starts.tolist()]


def _abar(schedule: diffusion.Schedule, t: int, like: Tensor) -> Tensor:
    """ᾱ at t for every picture of a batch, 1 at the clean end: (B,)."""
    abar = schedule.abar[t] if t >= 0 else schedule.abar.new_ones(())
    return abar.to(like).expand(len(like))


# --- after the last step ------------------------------------------------------------------------------------


@torch.no_grad()
def decode(pipe: Any, z: Tensor) -> Tensor:
    """Clean latents to pictures: (B, C, h, w) -> (B, 3, H, W), float32 in [-1, 1]."""
    latents = z.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor
    return pipe.vae.decode(latents).sample.float().clamp(-1, 1)


def words_to_pictures(
    pipe: Any,
    prompts: list[str],
    steps: int = 25,
    scale: float = 2.0,
    seed: int | list[int] = 0,
    on_step: Callable[[Step], Any] | None = None,
) -> Tensor:
    """A picture for each prompt: noise, walked to a latent as the words pull, decoded.

    Gives (B, 3, H, W) in [-1, 1].  seed: one for each picture, or a number to count up from: seed, seed + 1 …
    """
    seeds = [seed + k for k in range(len(prompts))] if isinstance(seed, int) else list(seed)
    predict = guided(pipe, prompts, scale)
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts; give as many, or one number")
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)
    return decode(pipe, ddim(predict, start_noise(pipe, seeds), schedule, steps, on_step))


# --- from picture to words ----------------------------------------------------------------------------------


@torch.no_grad()
def pictures_to_words(model: Any, tokenizer: Any, pictures: Tensor, language: str = "en", beams: int = 1) -> list[str]:
    """The captioner's likeliest caption of each picture, (B, 3, H, W), in the language asked for.

    beams: how many beginnings are followed at once; 1 takes the likeliest token each time.
    """
    mark = tokenizer.convert_tokens_to_ids(f"<{language}>")
    if mark in (None, tokenizer.unk_token_id):
        raise ValueError(f"this captioner has no mark for {language!r}; ask in one of the languages it was taught")
    begun = torch.tensor([[tokenizer.bos_token_id, mark]]).expand(len(pictures), 2).to(model.device)
    said = model.generate(
        pixel_values=pictures.to(model.device, model.dtype),
        decoder_input_ids=begun,
        decoder_attention_mask=torch.ones_like(begun),
        max_new_tokens=tokenizer.model_max_length - 2,
        num_beams=beams,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer.batch_decode(said, skip_special_tokens=True)


# --- from a small picture to a large one --------------------------------------------------------------------


@torch.no_grad()
def upscale(model: Any, pictures: Tensor, tile: int = 128) -> Tensor:
    """Pictures with `model.times` as many pixels each way, a square of `tile` small pixels at a time.

    What is made in squares is what would be made at once (`in_tiles`), as a pixel depends on those at most
    `model.reach` small ones away.  (B, 3, H, W) -> (B, 3, 4H, 4W), both in [-1, 1].
    """
    _check_enlargeable(pictures, tile)
    some = next(model.parameters())
    return in_tiles(lambda seen: model(seen.to(some)), pictures, model.reach, tile, model.times).clamp_(-1, 1)


def in_tiles(
    paint: Callable[[Tensor], Tensor], pictures: Tensor, reach: int, tile: int = 256, times: int = 1
) -> Tensor:
    """`paint` of pictures, a square at a time, each together with the `reach` pixels around it; only its own are kept.

    Where no pixel depends on others farther than `reach`, that is `paint` of the whole, without seams to blend, and
    besides what is given and what is made, memory does not grow with the picture.
    times: how many pixels a side `paint` makes of one.  (B, C, H, W) -> (B, C, times · H, times · W), float32.
    """
    b, c, h, w = pictures.shape
    large = pictures.new_empty((b, c, times * h, times * w), dtype=torch.float32)
    for _ in tile_by_tile(paint, pictures, reach, large, tile):
        pass
    return large


def tile_by_tile(
    paint: Callable[[Tensor], Tensor], pictures: Tensor, reach: int, large: Tensor, tile: int = 256
) -> Iterator[int]:
    """`in_tiles` into `large`, a square at each step; yields how many are there.  How wide `large` is, says `times`."""
    (h, w), n = pictures.shape[-2:], large.shape[-1] // pictures.shape[-1]
    corners = product(range(0, h, tile), range(0, w, tile))
    for number, (top, left) in enumerate(corners, start=1):
        bottom, right = top + tile, left + tile
        above, before = min(top, reach), min(left, reach)  # as much as there is
        seen = pictures[..., top - above : bottom + reach, left - before : right + reach]
        place = large[..., n * top : n * bottom, n * left : n * right]
        made = paint(seen)[..., n * above :, n * before :]
        place.copy_(made[..., : place.shape[-2], : place.shape[-1]])
        yield number


def _check_enlargeable(pictures: Tensor, tile: int) -> None:
    shape = tuple(pictures.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise ValueError(f"only pictures (B, 3, H, W) can be enlarged, not {shape}; a single one is pictures[None]")
    if not pictures.is_floating_point() or not pictures.abs().max() <= 1.001:  # also where it is not a number
        found = f"{pictures.dtype}, {pictures.min().item():.4g} to {pictures.max().item():.4g}"
        raise ValueError(f"pictures lie in [-1, 1], these are {found}; bring bytes there with pictures / 127.5 - 1")
    if tile < 1:
        raise ValueError(f"tile={tile} pixels cannot be enlarged; use 1 or more, such as 128")


def lanczos(pictures: Tensor, times: int = 4) -> Tensor:
    """The same by a fixed rule, the control for `upscale`: each pixel is a weighted mean of the 6 × 6 around it.

    Duchon 1979, as Pillow does it.  (B, C, H, W) -> (B, C, 4H, 4W), both in [-1, 1].
    """
    b, c, h, w = pictures.shape
    planes = [Image.fromarray(plane) for plane in pictures.float().cpu().flatten(0, 1).numpy()]
    large = [np.asarray(plane.resize((times * w, times * h), Image.Resampling.LANCZOS)) for plane in planes]
    return torch.from_numpy(np.stack(large)).view(b, c, times * h, times * w).clamp(-1, 1)
