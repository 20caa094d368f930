"""Style transfer by a denoiser: the content is noised half away and drawn again, told or shown another style."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc_course import lora, models, runtime, sampling, scenes
from aigc_course.scenes import Facts, Group
from aigc_course.style import adapter
from aigc_course.style.pictures import resized
from aigc_course.style.shared_attention import shared

NOISE = 0.8  # how far into the noise a content goes: less keeps its style, more loses what is there and gains no style
DEEPER = 0.92  # the same for a LoRA, whose style is new to the denoiser and needs more room
STEPS, SCALE = 25, 2.0
SOMETHING = Facts((Group(1, "large", "red", "circle"),), None, "meadow", None)  # where nothing can be read


def redraw(
    pipe: Any,
    contents: Tensor,
    prompts: Sequence[str],
    noise: float = NOISE,
    steps: int = STEPS,
    scale: float = SCALE,
    seed: int = 0,
    **more: Any,
) -> Tensor:
    """SDEdit (Meng et al. 2022), by diffusers' own picture-to-picture pipeline: pictures (B, 3, H, W), redrawn.

    noise: the share of the way to pure noise;  more: what else the pipeline is told.  Sides are multiples of 32.
    """
    from diffusers import StableDiffusionImg2ImgPipeline

    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    editor = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    editor.set_progress_bar_config(disable=True)
    noise = max(noise, 1.01 / steps)  # one step at least
    given = dict(image=contents.add(1) / 2, strength=noise, num_inference_steps=steps, guidance_scale=scale)
    sources = [runtime.generator(seed + k) for k in range(len(contents))]
    return editor(list(prompts), **given, generator=sources, output_type="pt", **more).images.float() * 2 - 1


def canvas(contents: Tensor, side: int = models.PICTURE) -> Tensor:
    """Contents as large as the denoiser draws: about side × side pixels, their aspect kept to multiples of 32."""
    height, width = contents.shape[2:]
    ratio = (height / width) ** 0.5
    sides = [max(32, round(side * share / 32) * 32) for share in (ratio, 1 / ratio)]
    return contents if [height, width] == sides else resized(contents, sides)


# --- words for what is shown --------------------------------------------------------------------------------


def told(captioner: Any, tokenizer: Any, contents: Tensor) -> list[Facts | None]:
    """What our captioner sees in pictures, their style left out; None where it names nothing that can be drawn."""
    square = resized(contents, [models.PICTURE] * 2) if contents.shape[2:] != (models.PICTURE,) * 2 else contents
    return [facts_in(words) for words in sampling.pictures_to_words(captioner, tokenizer, square)]


def facts_in(words: str) -> Facts | None:
    """The facts that words tell, their style left out; None where they name nothing that can be drawn."""
    try:
        return replace(scenes.read_caption(words), style=None)
    except ValueError:
        return None


def things(facts: Facts | None) -> list[str]:
    """The names of all things, as often as they are there."""
    return sorted(group.name for group in facts.groups for _ in range(group.count)) if facts else []


def worded(facts: Facts | None, style: str | None = None) -> str:
    """Facts as a prompt, in a style of the world, in a new one ("…, chalk style"), or with none told."""
    if facts is None:
        return f"{style} style" if style else ""
    rng = random.Random(0)
    if style is None or style in scenes.STYLES:
        return scenes.caption(replace(facts, style=style), rng)
    return f"{scenes.caption(facts, rng)}, {style} style"


@torch.no_grad()
def named(clip: Any, tokenizer: Any, pictures: Tensor, facts: Sequence[Facts | None]) -> list[str]:
    """Which of the world's styles each picture is nearest to: CLIP chooses among captions that differ in style alone.

    Radford et al. 2021, zero-shot.  facts: what each picture shows, as `told` finds it.
    """
    square = resized(pictures, [models.PICTURE] * 2)
    seen = _vector(clip.get_image_features(pixel_values=square.to(clip.device, clip.dtype)))
    texts = [worded(each or SOMETHING, style) for each in facts for style in scenes.STYLES]
    tokens = tokenizer(texts, padding=True, return_tensors="pt").input_ids
    words = F.normalize(_vector(clip.get_text_features(input_ids=tokens.to(clip.device))), dim=1)
    fit = torch.einsum("bd,bsd->bs", seen, words.unflatten(0, (len(seen), -1)))
    return [scenes.STYLES[n] for n in fit.argmax(1)]


def _vector(found: Any) -> Tensor:
    """The tensor in what transformers returns, which was once the tensor itself."""
    return getattr(found, "pooler_output", found)


# --- four ways to bring the style in ------------------------------------------------------------------------


def by_words(pipe: Any, contents: Tensor, facts: list, styles: list[str], strength: float = 1.0, **how: Any) -> Tensor:
    """The style is told in the prompt;  strength: the share of `NOISE` that the content is noised by."""
    prompts = [worded(*pair) for pair in zip(facts, styles, strict=True)]
    return redraw(pipe, contents, prompts, NOISE * strength, **how)


def by_lora(
    pipe: Any, contents: Tensor, facts: list, name: str, strength: float = 1.0, folder: Any = None, **how: Any
) -> Tensor:
    """The style is in a LoRA, `data/models/lora-<name>`, and in its word;  strength: the LoRA's scale."""
    if folder is None:
        models.verify(folder := models.folder_of(f"lora-{name}"))
    learns = [p for p in pipe.unet.parameters() if p.requires_grad]
    lora.load(pipe.unet, folder, "style")
    lora.combine(pipe.unet, {"style": strength})
    try:
        return redraw(pipe, contents, [worded(each, name) for each in facts], **{"noise": DEEPER} | how)
    finally:
        lora.remove(pipe.unet, "style")
        for parameter in learns:
            parameter.requires_grad_(True)


def by_sharing(
    pipe: Any, contents: Tensor, facts: list, styles: Tensor, seen: list, strength: float = 1.0, tell: bool = True,
    **how: Any,
) -> Tensor:  # fmt: skip
    """Each content is redrawn beside its style picture, and attends to it.

    styles: (B, 3, H, W), as large as the contents;  seen: what each shows and the word for its style, which the
    content's prompt tells too, as Hertz et al. do;  tell: False leaves the word out, so that attention is all there is.
    strength: the share of `NOISE`, and `SharedAttention`'s share.
    """
    made = []
    with shared(pipe.unet, strength):
        for k, (its, word) in enumerate(seen):
            prompts = [worded(its, word), worded(facts[k], word if tell else None)]
            made.append(redraw(pipe, torch.stack([styles[k], contents[k]]), prompts, NOISE * strength, **how)[1:])
    return torch.cat(made)


def by_picture(
    pipe: Any, contents: Tensor, facts: list, styles: Tensor, state: adapter.State, tower: Any, strength: float = 1.0,
    **how: Any,
) -> Tensor:  # fmt: skip
    """The style picture is read by an adapter, and no word tells it;  strength: the adapter's scale.

    One at a time: the pipeline repeats what it is shown for each prompt, and would mix the styles of a batch.
    """
    found, made = adapter.vectors(tower, resized(styles, [tower.config.image_size] * 2)), []
    how = {"seed": 0} | how
    with adapter.adapted(pipe, state, strength):
        for k, vector in enumerate(found):
            seen = [torch.stack([torch.zeros_like(vector), vector])[:, None]]  # nothing, for guidance, comes first
            own = how | {"seed": how["seed"] + k, "ip_adapter_image_embeds": seen}
            made.append(redraw(pipe, contents[k : k + 1], [worded(facts[k])], **own))
    return torch.cat(made)
