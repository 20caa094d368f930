"""A new style, or a new thing, taught to a denoiser from many drawings: what a LoRA or a full fine-tune learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aigc_course import diffusion, evaluation, losses, models, runtime, sampling, scenes, training
from aigc_course.scenes import Sample

OF_STYLE = 3  # channels of `models.meaning` that tell the style; they come first
INSIDE, OF_THINGS = 6, 9  # the channel that is 1 inside the box of a thing; from the other on, its name and colour
PLACES = {  # where things stand, in quarters of a side from the middle
    2: ((-1, 0), (1, 0)),
    3: ((-1, -1), (1, -1), (0, 1)),
    4: ((-1, -1), (1, -1), (-1, 1), (1, 1)),
}
FOCUS, MEANT = 4.0, 4.0  # how much more a place inside a box, and a channel of meaning, count; as in its first training


@dataclass(frozen=True, eq=False)
class Drawings:
    """Latents (N, C, h, w), and the text states of a caption in each language (N, 2, L, D)."""

    latents: Tensor
    text: Tensor

    def batch(self, indices: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """The latents at some indices, each told in the language whose turn it is."""
        return self.latents[indices], self.text[indices, (indices + turn) % self.text.shape[1]]


def composed(sample: Sample) -> Sample:
    """The sample with its things at the few places where the text-to-image model has learnt to paint them.

    Two, three and four stand as `PLACES` says, and what is above another, above it.  A caption then tells where each
    thing is; any other layout starts as the blur of all.  One thing alone mostly stands in the middle.
    """
    things = sample.scene.things
    if len(things) == 1:
        at = [tuple(max(-1, min(1, round(2.4 * (side - 0.5)))) for side in (things[0].x, things[0].y))]
    else:
        at = PLACES[len(things)]
    if sample.scene.facts.relation == "above":
        at = [(down, across) for across, down in at]
    if sample.scene.is_pair:
        first = sample.scene.facts.groups[0]
        things = sorted(things, key=lambda one: one.kind != (first.size, first.colour, first.name))
    moved = [replace(one, x=0.5 + x / 4, y=0.5 + y / 4) for one, (x, y) in zip(things, at, strict=True)]
    return replace(sample, scene=replace(sample.scene, things=tuple(moved)))


@torch.no_grad()
def draw_lesson(
    pipe: Any, samples: Sequence[Sample], thing: str | None = None, style: str | None = None, seed: int = 0
) -> Drawings:
    """`scenes.new_pictures` of some scenes as latents, and what `scenes.new_caption` says of them as text states.

    The scenes are `composed`: who is shown a new style with things in strange places, forgets where things belong.
    Half of a latent says what is where.  The autoencoder's eye misreads that where the look is new, so it is written
    as it is, `models.meaning`; only the style, or the name and colour of a thing, stay as the eye sees them: what is
    new has no number of its own.
    """
    if not samples:
        raise ValueError("no scenes to draw: give some, such as scenes.samples(256, 'train', seed=1)")
    if thing is None and style is None:
        raise ValueError("nothing new to teach: name a thing, a style, or both")
    samples = [composed(one) for one in samples]
    pictures = scenes.new_pictures(samples, thing, style).to(pipe.device, pipe.vae.dtype)
    z = torch.cat([pipe.vae.encode(some).latent_dist.mode() for some in pictures.split(32)]).float()
    z *= pipe.vae.config.scaling_factor
    known = slice(OF_STYLE if style else 0, OF_THINGS if thing else models.MEANING)
    z[:, models.LOOK :][:, known] = models.meaning(samples, z.shape[-1])[:, known].to(z)
    told = [_captions(samples, language, thing, style, seed) for language in scenes.LANGUAGES]
    return Drawings(z, torch.stack([_states(pipe, texts) for texts in told], 1))


def _captions(samples: Sequence[Sample], language: str, thing: str | None, style: str | None, seed: int) -> list[str]:
    rngs = (random.Random(f"{seed}/{language}/{k}") for k in range(len(samples)))
    return [scenes.new_caption(one, rng, language, thing, style) for one, rng in zip(samples, rngs, strict=False)]


def _states(pipe: Any, texts: list[str]) -> Tensor:
    return torch.cat([sampling.encode_words(pipe, texts[k : k + 64]) for k in range(0, len(texts), 64)])


def focus_on_things(z: Tensor) -> Tensor:
    """How much each number of a latent counts, 1 on average: more inside the boxes of things, and more what is where.

    Otherwise a new look, which is most of what changes, would be learnt at the cost of the drawing.  (B, C, h, w).
    """
    places = 1 + (FOCUS - 1) * z[:, models.LOOK + INSIDE, None].clamp(0, 1)  # (B, 1, h, w)
    channels = torch.tensor([1.0] * models.LOOK + [MEANT] * models.MEANING, device=z.device).view(-1, 1, 1)
    return places / places.mean() * channels / channels.mean()


def learn_drawings(
    pipe: Any,
    drawings: Drawings,
    steps: int,
    batch: int = 16,
    learning_rate: float = 3e-3,
    seed: int = 0,
    **fit: Any,
) -> training.History:
    """Train what can learn in the denoiser (a LoRA that `lora.add` put there, or all of it) on drawings.

    learning_rate: 3e-3 suits a LoRA, 5e-4 all weights.  fit: what else `training.fit` is told, such as `progress`.
    """
    schedule = diffusion.Schedule.from_scheduler(pipe.scheduler)

    def loss(unet: Any, told: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        z, text = told
        focus = focus_on_things(z)
        return losses.denoising(unet, z, text, schedule, generator, gamma=None, focus=focus, late=1.5)

    batches = training.Shuffled(len(drawings.latents), min(batch, len(drawings.latents)), drawings.batch, seed)
    fit = dict(precision=runtime.training_precision(), generator=runtime.generator(seed, pipe.device)) | fit
    return training.fit(pipe.unet, batches, loss, steps, learning_rate=learning_rate, **fit)


@dataclass(frozen=True, eq=False)
class Judged:
    """Pictures of some prompts, and which of them are new as asked, and which still show the things asked for."""

    pictures: Tensor
    new: Tensor
    content: Tensor


def draw_and_judge(
    pipe: Any,
    judge: evaluation.Newcomers,
    samples: Sequence[Sample],
    thing: str | None = None,
    style: str | None = None,
    steps: int = 8,
    scale: float = 2.0,
    seed: int = 0,
) -> Judged:
    """Ask for the scenes with what is new in them, in both languages by turns; let the judge of newcomers look.

    new: the style is read as the new one (with a thing alone: the thing is there);  content: every thing that the
    words name is there.
    """
    languages = [scenes.LANGUAGES[k % len(scenes.LANGUAGES)] for k in range(len(samples))]
    prompts = [
        scenes.new_caption(one, random.Random(f"{seed}/{k}"), language, thing, style)
        for k, (one, language) in enumerate(zip(samples, languages, strict=True))
    ]
    pictures = sampling.words_to_pictures(pipe, prompts, steps, scale, seed=1000 * seed)
    seen = judge.read(pictures)
    named = [{thing} if thing else {each.name for each in one.scene.things} for one in samples]
    content = torch.tensor([names <= set(found.names) for names, found in zip(named, seen, strict=True)])
    new = torch.tensor([found.style == style for found in seen]) if style else content
    return Judged(pictures, new, content)
