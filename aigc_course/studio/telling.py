"""Pictures told in words, and words weighed: what `describe` and `shorten` answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_course import models, runtime
from aigc_course.studio import canvas, walk
from aigc_course.studio.events import Event
from aigc_course.studio.spelling import heard, split_words

ALIKE = 0.5  # of the mean share of a word: what weighs less is left out of the shorter prompt


# --- captions -----------------------------------------------------------------------------------------------


def captions(
    engine: Any, picture: Image.Image, seeds: Sequence[int], cancel: threading.Event | None = None
) -> Iterator[Event]:
    """A caption of a picture for each seed; the answer is those that there was time for, if any.

    engine: has the models.
    """
    yield from engine.loading("captioner")
    model, tokenizer, shown, told = engine.model("captioner"), engine.model("tokenizer"), seen(picture), []
    for number, seed in enumerate(seeds, start=1):
        if cancel is not None and cancel.is_set():
            break
        told.append(caption(model, tokenizer, shown, seed))
        yield Event("step", number=number, total=len(seeds))
    if told:
        yield Event("told", answer=tuple(told))


def seen(picture: Image.Image) -> Tensor:
    """A picture as the captioner takes it: (1, 3, H, W)."""
    return canvas.to_tensor(canvas.fitted(picture, (models.PICTURE,) * 2))[None]


@torch.no_grad()
def caption(model: Any, tokenizer: Any, picture: Tensor, seed: int, language: str = "en", warmth: float = 1.0) -> str:
    """One caption of a picture (1, 3, H, W), drawn token by token; another seed may tell it otherwise.

    warmth: the logits are divided by it; 1 draws as the model believes, more is bolder.
    """
    generator = runtime.generator(seed)
    tokens = torch.tensor([[tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(f"<{language}>")]])
    seen = model.encoder(picture.to(model.device, model.dtype))
    for _ in range(tokenizer.model_max_length - 2):
        logits = model(encoder_outputs=seen, decoder_input_ids=tokens.to(model.device)).logits[0, -1].float().cpu()
        drawn = torch.multinomial((logits / warmth).softmax(0), 1, generator=generator)
        if drawn.item() == tokenizer.eos_token_id:
            break
        tokens = torch.cat([tokens, drawn[None]], 1)
    return tokenizer.decode(tokens[0], skip_special_tokens=True).strip()


# --- words, weighed -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Importance:
    """How much each word of a prompt moves the picture: shares that sum to 1; and the prompt without the idle words."""

    words: tuple[str, ...]
    shares: tuple[float, ...]
    shorter: str


@torch.no_grad()
def importance(pipe: Any, prompt: str, seed: int, scale: float = 2.0, steps: int = 10) -> Importance:
    """Leave out each word in turn and measure how far the prediction moves, along the prompt's own walk.

    The squared distance of the predictions with and without the word, summed over the walk of one picture.
    """
    prompt, _ = heard(pipe.tokenizer, prompt)
    spans = split_words(prompt)
    if not spans:
        raise ValueError("there are no words to weigh; write a prompt, such as 'a red house'")
    without = [" ".join((prompt[:start] + " " + prompt[stop:]).split()) for _, start, stop in spans]
    told = walk.words(pipe, [prompt], [1.0], [seed], scale)
    others = walk.words(pipe, without, [1.0] * len(without), [seed]).conditions[:, 0]  # (W, L, D)
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    x_t = walk.fresh_noise(pipe, [runtime.generator(seed)], (side, side))
    scheduler, times = walk.timetable(pipe, steps)
    moved = torch.zeros(len(spans))
    for step in walk.walk(pipe, x_t, lambda number: told, scheduler, times):
        asked = pipe.unet(x_t.expand(len(spans), -1, -1, -1), step.t, encoder_hidden_states=others).sample
        moved += (asked - step.cond).square().mean((1, 2, 3)).float().cpu()
        x_t = step.x_t
    shares = (moved / moved.sum().clamp(min=1e-12)).tolist()
    kept = [word for (word, _, _), share in zip(spans, shares, strict=True) if share >= ALIKE / len(spans)]
    joint = " " if prompt.isascii() else ""
    return Importance(tuple(word for word, _, _ in spans), tuple(shares), joint.join(kept))
